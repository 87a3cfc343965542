"""Causes in the weight: taps reversed, axes exchanged, memory read in another order, groups sorted otherwise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from tconv.diagnosis.canonical_call import Array, Setting
from tconv.diagnosis.causes.cause import Cause, Change
from tconv.diagnosis.fix_writer import Hand
from tconv.dialects.layouts import WeightLayout

_STORED = (("tensorflow", "*OI"), ("jax", "*IO"), ("tflite", "O*I"))
"""Whose layouts a weight may have been stored in before it was read as another: one dialect for each order of axes."""


def _weight(turn: Callable[[Array], Array]) -> Change:
    return lambda setting: replace(setting, weight=turn(setting.weight))


def causes(setting: Setting, hand: Hand) -> Iterator[Cause]:
    """All that can be done to this weight without changing its shape."""
    w, g, G = setting.weight, setting.geometry, setting.groups
    spatial = tuple(range(2, w.ndim))
    flip = hand.flip("weight", range(g.ndim))
    if max(g.kernel) > 1:
        yield Cause(
            "kernel flipped",
            "weight",
            "the kernel's taps are reversed",
            _weight(lambda w: np.flip(w, spatial)),
            apply=flip,
            undo=flip,
        )
    yield from _swapped(setting, hand)
    yield from _regrouped(setting, hand)
    if g.ndim > 1 and g.kernel == g.kernel[::-1] and max(g.kernel) > 1:
        words = hand.swap("weight", 0, g.ndim - 1)
        yield Cause(
            "kernel axes exchanged",
            "weight",
            "the kernel's first and last spatial axes are exchanged",
            _weight(lambda w: np.swapaxes(w, 2, w.ndim - 1)),
            apply=words,
            undo=words,
        )
    for axis in range(g.ndim) if g.ndim > 1 else ():
        if g.kernel[axis] > 1 and sum(k > 1 for k in g.kernel) > 1:
            words = hand.flip("weight", [axis])
            yield Cause(
                f"kernel flipped on axis {axis}",
                "weight",
                f"the kernel's taps are reversed along spatial axis {axis} alone",
                _weight(partial(np.flip, axis=axis + 2)),
                apply=words,
                undo=words,
            )
    for name, pattern in _STORED:
        layout = WeightLayout.of(pattern, g.ndim)
        if G == 1 and not _is_reshape(layout, w.shape):
            yield Cause(
                f"weight reshaped from {name}'s layout",
                "weight",
                f"the weight's memory in {name}'s layout {layout.describe()} was reshaped where its axes had to "
                "be transposed",
                _weight(partial(_reshaped, layout, 1)),
                undo=hand.stored(name),
            )
            yield _memory_of(name, layout, w, hand)
    yield from _depthwise(setting, hand)


def _depthwise(setting: Setting, hand: Hand) -> Iterator[Cause]:
    """A depthwise weight as TensorFlow stores it, [*k, C, multiplier]: its groups have an axis of their own."""
    w, g, G = setting.weight, setting.geometry, setting.groups
    inner, outer = w.shape[0] // G, w.shape[1]
    layout = WeightLayout.of("*IO", g.ndim)
    if G == 1 or min(inner, outer) > 1 or _is_reshape(layout, w.shape):
        return
    said = "tensorflow's depthwise layout [kernel, C, multiplier]"
    yield Cause(
        "weight reshaped from tensorflow's depthwise layout",
        "weight",
        f"the weight's memory in {said} was reshaped where its axes had to be transposed",
        _weight(partial(_reshaped, layout, 1)),
        undo=hand.depthwise("stored", w.shape),
    )
    yield Cause(
        "weight is memory in tensorflow's depthwise layout",
        "weight",
        f"the weight's memory is read in {said}: it was reshaped where its axes had to be transposed",
        _weight(partial(_reread, layout, 1)),
        apply=hand.depthwise(f"weight.reshape{(*g.kernel, G, max(inner, outer))}", w.shape),
    )


def _memory_of(name: str, layout: WeightLayout, w: Array, hand: Hand) -> Cause:
    """The weight that was given is the broken one: its memory is to be read in the layout in which it was stored."""
    shape = layout.native(w, hand.groups).shape
    return Cause(
        f"weight is memory in {name}'s layout",
        "weight",
        f"the weight's memory is read in {name}'s layout {layout.describe()}: it was reshaped where its axes had to be "
        "transposed",
        _weight(partial(_reread, layout, hand.groups)),
        apply=hand.reread(name, shape),
    )


def _reshaped(layout: WeightLayout, groups: int, w: Array) -> Array:
    """The memory of w in this layout, read as w is."""
    return np.ascontiguousarray(layout.native(w, groups)).reshape(w.shape)


def _reread(layout: WeightLayout, groups: int, w: Array) -> Array:
    """The memory of w, read in this layout."""
    return layout.canonical(np.ascontiguousarray(w).reshape(layout.native(w, groups).shape), groups)


def _is_reshape(layout: WeightLayout, shape: tuple[int, ...]) -> bool:
    """Whether reading the memory of this layout as the canonical one moves nothing."""
    numbers = np.arange(np.prod(shape)).reshape(shape)
    return bool((layout.native(numbers, 1).ravel() == numbers.ravel()).all())


def _swapped(setting: Setting, hand: Hand) -> Iterator[Cause]:
    """Input and output channels exchanged."""
    w, G = setting.weight, setting.groups
    inner, outer = w.shape[0] // G, w.shape[1]
    if max(inner, outer) == 1 or inner * outer == 1:
        return
    if G > 1:
        return  # it is the group order then
    if inner == outer:
        words = hand.swap("weight", "I", "O")
        yield Cause(
            "channels swapped",
            "weight",
            "the weight's input and output channels are exchanged",
            _weight(lambda w: w.swapaxes(0, 1)),
            apply=words,
            undo=words,
        )
    elif min(inner, outer) > 1:
        yield Cause(
            "weight reshaped from C_out first",
            "weight",
            "the weight's memory in [C_out, C_in, ...] was reshaped to [C_in, C_out, ...] where axes had to "
            "be transposed",
            _weight(lambda w: np.ascontiguousarray(w.swapaxes(0, 1)).reshape(w.shape)),
            undo=hand.stored("ncnn"),
        )
        yield _memory_of("ncnn", WeightLayout.of("OI*", setting.geometry.ndim, grouped="O"), w, hand)


def _regrouped(setting: Setting, hand: Hand) -> Iterator[Cause]:
    """Groups that were sorted otherwise."""
    w, G = setting.weight, setting.groups
    inner, outer = w.shape[0] // G, w.shape[1]
    if G == 1:
        return
    if outer > 1 or inner > 1:
        layout = WeightLayout.of("OI*", setting.geometry.ndim, grouped="O")
        yield Cause(
            "group order of the weight",
            "weight",
            "the weight's groups were laid out as [C_out, C_in/groups, ...] and read as [C_in, C_out/groups, ...]"
            + (": input and output channels are exchanged in each" if inner == outer else ""),
            _weight(partial(_reshaped, layout, G)),
            undo=hand.stored("ncnn"),
        )
        yield _memory_of("ncnn", layout, w, hand)
    rows = np.arange(w.shape[0])
    orders = {"groups reversed": ("the weight's groups stand in reverse order", rows.reshape(G, inner)[::-1].ravel())}
    if inner > 1:
        mixed = "the weight's input channels are sorted by their number within the group, not by group"
        orders["input channels of the groups interleaved"] = (mixed, rows.reshape(G, inner).T.ravel())
        parted = "the weight's input channels are sorted as if the groups' had been interleaved before"
        orders["input channels of the groups de-interleaved"] = (parted, rows.reshape(inner, G).T.ravel())
    for name, (words, order) in orders.items():
        apply, undo = (_taken(hand, each) for each in (order, np.argsort(order)))
        yield Cause(name, "weight", words, _weight(partial(np.take, indices=order, axis=0)), apply=apply, undo=undo)


def _taken(hand: Hand, order: Array) -> str:
    """The statement that puts the input channels into this order, in a layout that has them on one axis."""
    return hand.take("weight", "I", order.tolist()) if hand.weight.grouped == "I" else ""
