"""Causes in the weight: taps reversed, axes exchanged, memory read in another layout, groups in another order.

They are tried on every call, alone and in pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from tconv._arrays import Array
from tconv.diagnosis.call_model import CallModel
from tconv.diagnosis.causes.axis_orders import AxisOrder, changes_of_axes
from tconv.diagnosis.causes.cause import Cause, CauseContext, Change
from tconv.diagnosis.fix_writer import FixWriter
from tconv.dialects.layouts import WeightLayout

_STORED = (("tensorflow", "*OI"), ("jax", "*IO"), ("tflite", "O*I"))
"""Layouts that a weight may have been stored in: for each order of axes, one dialect that uses it."""


def _weight(transform: Callable[[Array], Array]) -> Change:
    return lambda call: replace(call, weight=transform(call.weight))


def _reordered(change: AxisOrder, call: CallModel) -> CallModel:
    kernel = tuple(call.geometry.kernel[axis] for axis in change.order)
    return replace(call, weight=change.transform(call.weight)).with_geometry(kernel=kernel)


def causes(context: CauseContext) -> Iterator[Cause]:
    """Yield the changes of this weight; exchanged axes may also change the shape of the kernel."""
    call, writer = context.call, context.writer
    w, g, G = call.weight, call.geometry, call.groups
    spatial = tuple(range(2, w.ndim))
    flip = writer.flip("weight", range(g.ndim))
    if max(g.kernel) > 1:
        yield Cause(
            "kernel flipped",
            "weight",
            "the kernel's taps are reversed",
            _weight(lambda w: np.flip(w, spatial)),
            apply=flip,
            undo=flip,
            common=True,
        )
    yield from _swapped(call, writer)
    yield from _regrouped(call, writer)
    for change in changes_of_axes(g.kernel) if max(g.kernel) > 1 else ():
        if change.moves or len(change.flipped) < sum(k > 1 for k in g.kernel):  # all of them are the flip above
            yield Cause(
                change.name("kernel"),
                "weight",
                change.text("the kernel"),
                partial(_reordered, change),
                apply=change.apply(writer, "weight"),
                undo=change.undo(writer, "weight"),
                tried_with="all" if change.swaps_ends and g.kernel == g.kernel[::-1] else change.tried_with,
            )
    for axis in range(g.ndim) if g.ndim > 1 else ():
        if g.kernel[axis] > 1 and sum(k > 1 for k in g.kernel) > 1:
            statement = writer.flip("weight", [axis])
            yield Cause(
                f"kernel flipped on axis {axis}",
                "weight",
                f"the kernel's taps are reversed along spatial axis {axis} alone",
                _weight(partial(np.flip, axis=axis + 2)),
                apply=statement,
                undo=statement,
            )
    for name, pattern in _STORED:
        layout = WeightLayout.of(pattern, g.ndim)
        if G == 1 and not _is_reshape(layout, w.shape):
            yield Cause(
                f"weight reshaped from {name}'s layout",
                "weight",
                f"the weight's memory in {name}'s layout {layout.describe()} was reshaped instead of transposed",
                _weight(partial(_reshaped, layout, 1)),
                undo=writer.weight_from_stored(name),
            )
            yield _memory_of(name, layout, w, writer)
    yield from _depthwise(call, writer)


def _depthwise(call: CallModel, writer: FixWriter) -> Iterator[Cause]:
    """Yield a depthwise weight as TensorFlow stores it, [*k, C, multiplier], whose groups have an axis of their own."""
    w, g, G = call.weight, call.geometry, call.groups
    inner, outer = w.shape[0] // G, w.shape[1]
    layout = WeightLayout.of("*IO", g.ndim)
    if G == 1 or min(inner, outer) > 1 or _is_reshape(layout, w.shape):
        return
    stored = "tensorflow's depthwise layout [kernel, C, multiplier]"
    yield Cause(
        "weight reshaped from tensorflow's depthwise layout",
        "weight",
        f"the weight's memory in {stored} was reshaped instead of transposed",
        _weight(partial(_reshaped, layout, 1)),
        undo=writer.depthwise_weight("stored", w.shape),
    )
    yield Cause(
        "weight is memory in tensorflow's depthwise layout",
        "weight",
        f"the weight's memory is read in {stored}: it was reshaped instead of transposed",
        _weight(partial(_reread, layout, 1)),
        apply=writer.depthwise_weight(f"weight.reshape{(*g.kernel, G, max(inner, outer))}", w.shape),
    )


def _memory_of(name: str, layout: WeightLayout, w: Array, writer: FixWriter) -> Cause:
    """Return the cause for a given weight that is the reshaped one: its memory has to be read as it was stored."""
    shape = layout.native(w, writer.groups).shape
    return Cause(
        f"weight is memory in {name}'s layout",
        "weight",
        f"the weight's memory is read in {name}'s layout {layout.describe()}: it was reshaped instead of transposed",
        _weight(partial(_reread, layout, writer.groups)),
        apply=writer.weight_from_memory(name, shape),
    )


def _reshaped(layout: WeightLayout, groups: int, w: Array) -> Array:
    """Return the memory of w in this layout, read in the canonical layout."""
    return np.ascontiguousarray(layout.native(w, groups)).reshape(w.shape)


def _reread(layout: WeightLayout, groups: int, w: Array) -> Array:
    """Return the memory of w, read in this layout."""
    return layout.canonical(np.ascontiguousarray(w).reshape(layout.native(w, groups).shape), groups)


def _is_reshape(layout: WeightLayout, shape: tuple[int, ...]) -> bool:
    """Return True if the memory of this layout, read in the canonical layout, is the same weight."""
    numbers = np.arange(np.prod(shape)).reshape(shape)
    return bool((layout.native(numbers, 1).ravel() == numbers.ravel()).all())


def _swapped(call: CallModel, writer: FixWriter) -> Iterator[Cause]:
    """Yield a weight with input and output channels exchanged."""
    w, G = call.weight, call.groups
    inner, outer = w.shape[0] // G, w.shape[1]
    if max(inner, outer) == 1 or inner * outer == 1:
        return
    if G > 1:
        return  # that is the group order, below
    if inner == outer:
        statement = writer.swap("weight", "I", "O")
        yield Cause(
            "channels swapped",
            "weight",
            "the weight's input and output channels are exchanged",
            _weight(lambda w: w.swapaxes(0, 1)),
            apply=statement,
            undo=statement,
        )
    elif min(inner, outer) > 1:
        yield Cause(
            "weight reshaped from C_out first",
            "weight",
            "the weight's memory in [C_out, C_in, ...] was reshaped to [C_in, C_out, ...] instead of transposed",
            _weight(lambda w: np.ascontiguousarray(w.swapaxes(0, 1)).reshape(w.shape)),
            undo=writer.weight_from_stored("ncnn"),
        )
        yield _memory_of("ncnn", WeightLayout.of("OI*", call.geometry.ndim, grouped="O"), w, writer)


def _regrouped(call: CallModel, writer: FixWriter) -> Iterator[Cause]:
    """Yield weights whose groups or their channels are in another order."""
    w, G = call.weight, call.groups
    inner, outer = w.shape[0] // G, w.shape[1]
    if G == 1:
        return
    if outer > 1 or inner > 1:
        layout = WeightLayout.of("OI*", call.geometry.ndim, grouped="O")
        yield Cause(
            "group order of the weight",
            "weight",
            "the weight's groups were laid out as [C_out, C_in/groups, ...] and read as [C_in, C_out/groups, ...]"
            + (": input and output channels are exchanged in each" if inner == outer else ""),
            _weight(partial(_reshaped, layout, G)),
            undo=writer.weight_from_stored("ncnn"),
        )
        yield _memory_of("ncnn", layout, w, writer)
    rows = np.arange(w.shape[0])
    orders = {"groups reversed": ("the weight's groups are in reverse order", rows.reshape(G, inner)[::-1].ravel())}
    if inner > 1:
        mixed = "the weight's input channels are sorted by their number within the group, not by group"
        orders["input channels of the groups interleaved"] = (mixed, rows.reshape(G, inner).T.ravel())
        parted = "the weight's input channels are sorted as if those of the groups had been interleaved before"
        orders["input channels of the groups de-interleaved"] = (parted, rows.reshape(inner, G).T.ravel())
    for name, (text, order) in orders.items():
        apply, undo = (writer.take_weight("I", each.tolist()) for each in (order, np.argsort(order)))
        yield Cause(name, "weight", text, _weight(partial(np.take, indices=order, axis=0)), apply=apply, undo=undo)
