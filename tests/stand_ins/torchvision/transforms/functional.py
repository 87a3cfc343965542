"""Stand-in for torchvision.transforms.functional."""

from __future__ import annotations

from enum import Enum


class InterpolationMode(Enum):
    BILINEAR = "bilinear"


def normalize(*arguments, **words):
    raise NotImplementedError("a stand-in; RestoreFormer needs torchvision")


def rotate(*arguments, **words):
    raise NotImplementedError("a stand-in; LaMa needs torchvision")
