"""Equal nodes with equal inputs, as one."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from tconv.models.simplification.graph import NodeGraph

_MOST_READERS = 1000
"""Readers of a node beyond which equal ones are not looked for: each is compared with all others."""


def shared_node(graph: NodeGraph, number: int) -> bool:
    """Read a node before that computes the same from the same inputs."""
    inputs = graph.inputs(number)
    if len(graph.readers(inputs[0])) > _MOST_READERS:
        return False
    candidates = [each for each in set(graph.readers(inputs[0])) if each != number and graph.inputs(each) == inputs]
    for other in candidates:
        if is_same(graph.step(other), graph.step(number)) and graph.runs_before(other, number):
            return graph.bypass(number, other)
    return False


def is_same(one: Any, other: Any) -> bool:
    """Return True for steps of one type with equal constants."""
    if one is other:
        return True
    if type(one) is not type(other) or not is_dataclass(one):
        return False
    names = [each.name for each in fields(one) if each.init]
    return all(_is_equal(getattr(one, name), getattr(other, name)) for name in names)


def _is_equal(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return one.shape == other.shape and one.dtype == other.dtype and one.tobytes() == other.tobytes()
    if type(one) is not type(other):
        return False
    if isinstance(one, tuple):
        return len(one) == len(other) and all(map(_is_equal, one, other))
    return bool(one == other)
