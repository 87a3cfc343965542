"""A learned network as what makes pictures larger: bicubic interpolation, and the detail that a network adds to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tconv import models
from tconv.errors import ArgumentError
from tconv.kernels.problem import Problem
from tconv.models.error_bound import Piece, piece
from tconv.models.image_model import Model, copied
from tconv.upsampling.filters import NamedFilter
from tconv.upsampling.strips import strips
from tconv.upsampling.upsampler import Array, Frame, Load, Truth, reach
from tconv.weights.interpolation import Interpolation

NAME = "photo"
_FLOAT32 = np.dtype(np.float32)


def by_model(name: str, scale: int) -> Learned:
    """The networks that come with tconv, at any scale from 2: one of theirs that divides it, or the detail resampled.

    Raises ArgumentError for another name or scale.
    """
    if name != NAME:
        raise ArgumentError(f"--model is {name!r}; there is {NAME}. Write --model {NAME}, or --weights FILE")
    if scale < 2:
        raise ArgumentError(
            f"--scale is {scale}, and --model makes pictures larger. Write --scale 2, or --kernel bicubic"
        )
    fitting = [each for each in models.PHOTO_SCALES if scale % each == 0]
    return Learned(models.photo(max(fitting, default=3)), scale, name)


def by_weights(path: Path, scale: int | None) -> Learned:
    """A network of the user's, at its own scale or a multiple. Raises ArgumentError for another scale."""
    model = models.load(path)
    scale = model.scale if scale is None else scale
    if scale % model.scale:
        raise ArgumentError(
            f"--scale is {scale}, and {path} makes pictures {model.scale} times larger. Write --scale {model.scale}, "
            "or a multiple"
        )
    return Learned(model, scale, path.name)


class Learned:
    """A `Model` strip by strip, at its scale; at another one its output is interpolated.

    The model makes f times the size. Interpolated r times, every d-th pixel of that is kept: f*r = d*scale, d odd, so
    that pixels keep their centres.
    """

    mixes, strip_bytes, block = False, 1 << 26, 24
    plainer = "bicubic"

    def __init__(self, model: Model, scale: int, name: str) -> None:
        self.model, self.scale, self.name = model, scale, name
        divides = scale % model.scale == 0
        self._step = 1 if divides else model.scale
        times = scale // model.scale if divides else scale
        self._more = Interpolation("bicubic", times) if times > 1 else None
        self._filter = NamedFilter(model.adds or "bicubic", scale)
        layers = len(model.network.nodes)
        self.words = f"{model.words} (a network of {layers} layers{f', added to {model.adds}' if model.adds else ''})"
        if self._more is not None:
            self.words += f", its x{model.scale} interpolated to x{scale}"
        self.notes: list[str] = []

    def channels(self, channels: int) -> int:
        """As many as come in: grey or colours, with opacity or without."""
        return channels

    def passes(self, shape: tuple[int, int, int], dtype: np.dtype[Any]) -> list[Problem]:
        """The layers, the interpolation of what they make, and of what that is added to."""
        around, model = 2 * self.model.border, self.model
        passes = model.network.problems((shape[1] + around, shape[2] + around))
        if self._more is not None:
            made = model.shown_channels(shape[0]), model.scale * shape[1], model.scale * shape[2]
            passes += NamedFilter("bicubic", self._more.scale).passes(made, _FLOAT32)
        return passes + (self._filter.passes(shape, dtype) if model.adds else [])

    def scratch_bytes(self, shape: tuple[int, int, int]) -> int:
        """What the layers hold of their outputs, and what is interpolated of a strip of them."""
        around, (channels, height, width) = 2 * self.model.border, shape
        held = self.model.network.scratch_bytes((height + around, width + around))
        if self._more is None:
            return held
        rows = next(strips(self, shape, _FLOAT32.itemsize)).stop
        # what is not kept of the rows, then of the columns; the latter also as it was for the strip before
        tall, wide = (rows * self._step * width * scale for scale in (self.model.scale, self.scale))
        more: int = self.model.shown_channels(channels) * (tall + 2 * wide) * _FLOAT32.itemsize
        return held + more

    def _fine(self, rows: slice) -> slice:
        """The rows of the network's output, interpolated, among which these output rows are."""
        return slice(self._step * rows.start + self._step // 2, self._step * (rows.stop - 1) + self._step // 2 + 1)

    def _made(self, rows: slice, height: int) -> slice:
        """The rows of the network's output that these output rows need."""
        return rows if self._more is None else self._more.window(self._fine(rows), self.model.scale * height)

    def window(self, rows: slice, height: int) -> slice:
        """What the network and the filter need; beyond the image, copies of its outermost rows."""
        both = self.model.window(self._made(rows, height), height), self._filter.window(rows, height)
        return slice(min(each.start for each in both), max(each.stop for each in both))

    def strip(self, x: Array, first: int, rows: slice, frame: Frame) -> Array:
        """Output rows from input rows."""
        colours = x[:-1] if frame.alpha else x
        seen = (colours / frame.white).astype(np.float32)
        made = self._made(rows, frame.height)
        wanted = self.model.window(made, frame.height)
        around = copied(seen, slice(wanted.start - first, wanted.stop - first), 1)
        detail = self.model.detail(around, wanted.start, frame.height, made)
        if self._more is not None:
            detail = self._more.strip(detail, made.start, self._fine(rows), self._step)
        detail = detail * np.float32(frame.white)
        if self.model.adds is None and not frame.alpha:
            return detail.astype(x.dtype, copy=False)
        inside = slice(max(0, -first), frame.height - first)
        base = self._filter.strip(x[:, inside], max(0, first), rows, frame)
        painted = base[: len(colours)]
        if self.model.adds is None:
            painted[...] = detail
        else:
            painted += detail
        return base

    # -- the definition ------------------------------------------------------------------------------------------

    def truth(self, load: Load, shape: tuple[int, int, int], y: Array, x: Array, frame: Frame) -> Truth:
        """The filter's definition at each place, and the network's in float64, a block of places at a time."""
        base = self._filter.truth(load, shape, y, x, frame)
        values, error = base.values, np.finfo(np.float32).eps * base.roundings * base.mass
        colours = len(values) - frame.alpha
        if self.model.adds is None:
            values[:colours], error[:colours] = 0, 0
        cells = (y // self.block) * (1 << 32) + x // self.block
        for cell in np.unique(cells):
            members = np.flatnonzero(cells == cell)
            rows, columns = (slice(at[members].min(), at[members].max() + 1) for at in (y, x))
            found = self._piece(load, shape, (rows, columns), frame)
            there = y[members] - rows.start, x[members] - columns.start
            values[:colours, members] += frame.white * found.values[:, *there]
            error[:colours, members] += frame.white * found.error[:, *there]
            # what the sum of the two is rounded by
            error[:colours, members] += np.finfo(np.float32).eps * np.abs(values[:colours, members])
        return base._replace(values=values, error=error)

    def _piece(self, load: Load, shape: tuple[int, int, int], outputs: tuple[slice, slice], frame: Frame) -> Piece:
        """Rows and columns of the network's output, in float64."""
        model, sizes = self.model, shape[1:]
        made = tuple(self._made(span, size) for span, size in zip(outputs, sizes, strict=True))
        around = [size + 2 * model.border for size in sizes]
        spans = [model.network.window(made[axis], around[axis], axis) for axis in (0, 1)]
        rows, columns = (np.arange(span.start, span.stop)[None] - model.border for span in spans)
        colours = load(rows, columns)[:, 0]
        if frame.alpha:
            colours = colours[:-1]
        seen = model.seen(colours / frame.white)
        found = piece(model.network, seen, (spans[0], spans[1]), (around[0], around[1]), (made[0], made[1]))
        shown = found.through(lambda part: model.shown(part, len(colours)))
        return shown if self._more is None else shown.through(lambda part: self._interpolated(part, made, outputs))

    def _interpolated(self, part: Array, made: tuple[slice, ...], outputs: tuple[slice, slice]) -> Array:
        """Of the network's rows and columns `made`, the output rows and columns: each a sum over a few taps."""
        assert self._more is not None
        for axis, (held, span) in enumerate(zip(made, outputs, strict=True), 1):
            fine = self._fine(span)
            met = reach(np.arange(fine.start, fine.stop, self._step), held.stop, self._more.geometry)
            there = met.there & (met.inputs >= held.start)
            weights = np.where(there, self._more.taps[met.taps % self._more.size], 0)
            weights /= weights.sum(1, keepdims=True)
            taken = np.moveaxis(part, axis, -1)[..., np.clip(met.inputs, held.start, held.stop - 1) - held.start]
            # an infinite neighbour that no tap reaches must not count
            part = np.moveaxis((np.where(there, taken, 0) * weights).sum(-1), -1, axis)
        return part
