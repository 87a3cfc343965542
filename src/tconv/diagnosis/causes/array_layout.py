"""Causes in x and y: reshaped instead of transposed, axes exchanged or reversed, channels in another order, a ReLU.

Those in x change the call; those in y are also tried on outputs without a call.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import product
from typing import NamedTuple

import numpy as np

from tconv._arrays import Array
from tconv.diagnosis.call_model import CallModel, axis_names
from tconv.diagnosis.causes.axis_orders import changes_of_axes
from tconv.diagnosis.causes.cause import Cause, CauseContext, Change, Transform
from tconv.diagnosis.fix_writer import FixWriter
from tconv.geometry import Geometry


class _Reordering(NamedTuple):
    """Numbers of x or y moved to other places."""

    name: str
    text: str
    transform: Transform
    inverse: Transform
    undo: str
    """Statement that undoes it."""

    @property
    def apply(self) -> str:
        """Statement that applies it, where undoing it is the same; "" otherwise."""
        return self.undo if "reversed" in self.name else ""


def causes(context: CauseContext) -> Iterator[Cause]:
    """Yield the changes of x, then those of y."""
    yield from input_causes(context.call, context.writer)
    yield from result_causes(context.call.geometry, context.output_shape, context.writer)


def input_causes(call: CallModel, writer: FixWriter) -> Iterator[Cause]:
    """Yield the changes of x; exchanged axes may also change its shape."""
    x, ndim = call.x, call.geometry.ndim
    for each in _reorderings("x", x.shape, call.groups, writer):
        yield Cause(each.name, "x", each.text, _input(each.transform), apply=each.apply, undo=each.undo)
    for change in changes_of_axes(x.shape[2:]):
        usual = change.swaps_ends and x.shape[2] == x.shape[-1]
        yield Cause(
            change.name("x"),
            "x",
            change.text("x"),
            _input(change.transform),
            apply=change.apply(writer, "x"),
            undo=change.undo(writer, "x"),
            tried_with="all" if usual else change.tried_with,
        )
    names = axis_names(ndim)
    for outer, axis in product((1, 0), range(2, x.ndim)):
        if x.shape[outer] == x.shape[axis] > 1:
            statement = writer.swap("x", "NC"[outer], axis - 2)
            yield Cause(
                "x axes exchanged",
                "x",
                f"x's axes {names[outer]} and {names[axis]}, both of size {x.shape[axis]}, are exchanged",
                _input(partial(np.swapaxes, axis1=outer, axis2=axis)),
                apply=statement,
                undo=statement,
                tried_with="crop",
            )
    for axis in range(ndim):
        if x.shape[axis + 2] > 1:
            statement = writer.flip("x", [axis])
            yield Cause(
                f"x flipped on axis {axis}",
                "x",
                f"x is reversed along spatial axis {axis}",
                _input(partial(np.flip, axis=axis + 2)),
                apply=statement,
                undo=statement,
            )


def result_causes(geometry: Geometry, shape: tuple[int, ...], writer: FixWriter) -> Iterator[Cause]:
    """Yield the changes of y; `shape` is the shape [N, C, *spatial] of the output to explain."""
    for each in _reorderings("y", shape, geometry.groups, writer):
        yield Cause(
            each.name,
            "result",
            each.text,
            transform=each.transform,
            inverse=each.inverse,
            apply=each.apply,
            undo=each.undo,
        )
    for axis in range(geometry.ndim):
        if shape[axis + 2] > 1:
            statement, flip = writer.flip("y", [axis]), partial(np.flip, axis=axis + 2)
            yield Cause(
                f"y flipped on axis {axis}",
                "result",
                f"y is reversed along spatial axis {axis}",
                transform=flip,
                inverse=flip,
                apply=statement,
                undo=statement,
            )
    for change in changes_of_axes(shape[2:]):
        if not change.flipped:
            yield Cause(
                change.name("y"),
                "result",
                change.text("y"),
                transform=change.transform,
                inverse=change.inverse,
                apply=change.apply(writer, "y"),
                undo=change.undo(writer, "y"),
                tried_with="all" if change.swaps_ends else change.tried_with,
            )
    steps = geometry.stride
    if max(steps) > 1 and all(L % s == 0 for L, s in zip(shape[2:], steps, strict=True)):
        yield Cause(
            "phases not interleaved",
            "result",
            "the phases of the output are side by side instead of interleaved",
            transform=partial(_phases_apart, steps),
            inverse=partial(_phases_interleaved, steps),
            source="microsoft/onnxruntime#32506",
        )
    yield Cause(
        "ReLU", "result", "a ReLU is applied to y", transform=lambda y: np.maximum(y, 0), apply="y = y * (y > 0)"
    )


def _input(transform: Transform) -> Change:
    return lambda call: replace(call, x=transform(call.x))


# -- reorderings that x and y have in common --------------------------------------------------------------------------


def _reorderings(name: str, shape: tuple[int, ...], groups: int, writer: FixWriter) -> Iterator[_Reordering]:
    """Yield reorderings of an array `name` of shape [N, C, *spatial]."""
    channels, spatial = shape[1], shape[2:]
    ndim = len(spatial)
    if channels > 1:
        yield _Reordering(
            f"{name} channels reversed",
            f"{name}'s channels are in reverse order",
            _channels_reversed,
            _channels_reversed,
            writer.flip(name, ["C"]),
        )
        if np.prod(spatial) > 1:
            yield _Reordering(
                f"{name} reshaped to channels first",
                f"{name}'s memory with channels last was reshaped to channels first instead of transposed",
                _last_read_as_first,
                _first_read_as_last,
                writer.data_from_stored(name, "N*C", ndim),
            )
            yield _Reordering(
                f"{name} reshaped to channels last",
                f"{name}'s memory with channels first was reshaped to channels last instead of transposed",
                _first_read_as_last,
                _last_read_as_first,
                writer.data_from_stored(name, "NC*", ndim),
            )
    if groups > 1 and channels // groups > 1:
        per = channels // groups
        interleave, separate = partial(_interleaved, groups), partial(_separated, groups)
        text = f"{name}'s channels are interleaved: sorted by their number within the group, not by group"
        undo = writer.shuffle(name, per, groups)
        yield _Reordering(f"{name} groups interleaved", text, interleave, separate, undo)
        if per != groups:
            text = f"{name}'s channels are sorted as if those of the groups had been interleaved before"
            undo = writer.shuffle(name, groups, per)
            yield _Reordering(f"{name} groups de-interleaved", text, separate, interleave, undo)


def _channels_reversed(a: Array) -> Array:
    return a[:, ::-1]


def _last_read_as_first(a: Array) -> Array:
    """Return the memory of [N, *spatial, C] read as [N, C, *spatial]."""
    return np.ascontiguousarray(np.moveaxis(a, 1, -1)).reshape(a.shape)


def _first_read_as_last(a: Array) -> Array:
    """Return the memory of [N, C, *spatial] read as [N, *spatial, C], in canonical order again."""
    return np.moveaxis(np.ascontiguousarray(a).reshape(a.shape[0], *a.shape[2:], a.shape[1]), -1, 1)


def _interleaved(groups: int, a: Array) -> Array:
    """Return channels [groups, columns] in the order [columns, groups]."""
    return a.reshape(len(a), groups, -1, *a.shape[2:]).swapaxes(1, 2).reshape(a.shape)


def _separated(groups: int, a: Array) -> Array:
    """Return channels [columns, groups] in the order [groups, columns]."""
    return a.reshape(len(a), -1, groups, *a.shape[2:]).swapaxes(1, 2).reshape(a.shape)


def _phases_apart(steps: tuple[int, ...], a: Array) -> Array:
    """Return, along each axis, outputs 0, s, 2s, ... first, then 1, s + 1, ..."""
    for axis, s in enumerate(steps, 2):
        a = np.concatenate([np.take(a, range(r, a.shape[axis], s), axis) for r in range(s)], axis)
    return a


def _phases_interleaved(steps: tuple[int, ...], a: Array) -> Array:
    """Undo `_phases_apart`."""
    for axis, s in enumerate(steps, 2):
        order = np.arange(a.shape[axis]).reshape(s, -1).T.ravel()
        a = np.take(a, order, axis)
    return a
