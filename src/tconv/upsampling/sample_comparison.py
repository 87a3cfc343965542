"""Comparison of an enlarged sample photograph with its original, and with a plainer filter.

The command reports it when it runs without an input.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO, NamedTuple

from tconv._arrays import Array
from tconv.io.picture_writing import format_for, write_picture
from tconv.upsampling import sample_photo, torch_comparison
from tconv.upsampling.inputs import SampleInput
from tconv.upsampling.learned import LearnedUpsampler
from tconv.upsampling.metrics import psnr, ssim
from tconv.upsampling.upsampler import Upsampler


class Comparison(NamedTuple):
    """PSNR and SSIM by the upsampler's name and the plainer filter's, the pictures shown, and PyTorch's time."""

    psnr: dict[str, float]
    ssim: dict[str, float]
    panels: dict[str, Array]
    """8-bit pixels [3, H, W] by name, in the order in which they are shown."""
    torch: torch_comparison.Times | None


def compare(source: SampleInput, upsampler: Upsampler, result: Array) -> Comparison:
    """Compare the result, 8-bit pixels [3, H, W], with the original photograph."""
    original, plain = source.original, sample_photo.enlarged(source.small, source.scale, upsampler.plainer)
    pictures = {upsampler.name: result, upsampler.plainer: plain}
    scores = [{name: score(original, picture) for name, picture in pictures.items()} for score in (psnr, ssim)]
    same = upsampler.name == upsampler.plainer or source.scale == 1  # at its own size, nearest is the original
    shown = {"network" if upsampler.learned else upsampler.name: result, "original": original}
    panels = shown if same else {upsampler.plainer: plain} | shown
    times = None
    if isinstance(upsampler, LearnedUpsampler):
        times = torch_comparison.times(upsampler.model, source.small)
    return Comparison(scores[0], scores[1], panels, times)


def write_side_by_side(file: BinaryIO, panels: dict[str, Array]) -> None:
    """Write one detail of every picture, next to each other, into an open PNG file."""
    detail = sample_photo.side_by_side(list(panels.values()))
    form, _ = format_for(Path("detail.png"), detail.shape, detail.dtype, alpha=False)
    write_picture(file, form, detail, alpha=False)
