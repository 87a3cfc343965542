"""Causes in the data: x or y reshaped for transposed, axes exchanged, channels or groups in another order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from tconv.diagnosis.canonical_call import Array, Setting
from tconv.diagnosis.causes.cause import Cause, Change, Turn
from tconv.diagnosis.fix_writer import Hand

Pair = tuple[Turn, Turn]


def _last_read_as_first(a: Array) -> Array:
    """The memory of [N, *spatial, C] as [N, C, *spatial]."""
    return np.ascontiguousarray(np.moveaxis(a, 1, -1)).reshape(a.shape)


def _first_read_as_last(a: Array) -> Array:
    """The memory of [N, C, *spatial] as [N, *spatial, C], in canonical order again."""
    return np.moveaxis(np.ascontiguousarray(a).reshape(a.shape[0], *a.shape[2:], a.shape[1]), -1, 1)


def _shuffled(rows: int) -> Pair:
    """Channels [rows, columns] to [columns, rows], and back."""

    def forth(a: Array) -> Array:
        return a.reshape(len(a), rows, -1, *a.shape[2:]).swapaxes(1, 2).reshape(a.shape)

    def back(a: Array) -> Array:
        return a.reshape(len(a), -1, rows, *a.shape[2:]).swapaxes(1, 2).reshape(a.shape)

    return forth, back


def _phases(steps: tuple[int, ...]) -> Pair:
    """Along each axis, outputs 0, s, 2s, ... first, then 1, s + 1, ...; and back."""

    def forth(a: Array) -> Array:
        for axis, s in enumerate(steps, 2):
            a = np.concatenate([np.take(a, range(r, a.shape[axis], s), axis) for r in range(s)], axis)
        return a

    def back(a: Array) -> Array:
        for axis, s in enumerate(steps, 2):
            order = np.arange(a.shape[axis]).reshape(s, -1).T.ravel()
            a = np.take(a, order, axis)
        return a

    return forth, back


def _memory(a: str, ndim: int, hand: Hand) -> Iterator[tuple[str, str, Pair, str]]:
    """Reading one layout's memory as the other's: name, words, and the turn with its inverse."""
    yield (
        f"{a} reshaped to channels first",
        f"{a}'s memory with channels last was reshaped to channels first where its axes had to be transposed",
        (_last_read_as_first, _first_read_as_last),
        hand.laid(a, "N*C", ndim),
    )
    yield (
        f"{a} reshaped to channels last",
        f"{a}'s memory with channels first was reshaped to channels last where its axes had to be transposed",
        (_first_read_as_last, _last_read_as_first),
        hand.laid(a, "NC*", ndim),
    )


def _orders(
    name: str, channels: int, groups: int, ndim: int, shape: tuple[int, ...], hand: Hand
) -> Iterator[tuple[str, str, Pair, str]]:
    """What x and y have in common: (name, words, (turn, back), statement that undoes it)."""
    if channels > 1:
        flip = hand.flip(name, ["C"])
        yield (
            f"{name} channels reversed",
            f"{name}'s channels stand in reverse order",
            (lambda a: a[:, ::-1],) * 2,
            flip,
        )
        if np.prod(shape) > 1:
            yield from _memory(name, ndim, hand)
    if ndim > 1 and max(shape) > 1:
        ends = (lambda a: np.swapaxes(a, 2, a.ndim - 1),) * 2
        words = f"{name}'s first and last spatial axes are exchanged"
        yield f"{name} axes exchanged", words, ends, hand.swap(name, 0, ndim - 1)
    if groups > 1 and channels // groups > 1:
        per = channels // groups
        one = f"{name}'s channels are interleaved: sorted by their number within the group, not by group"
        yield f"{name} groups interleaved", one, _shuffled(groups), hand.shuffle(name, per, groups)
        if per != groups:
            other = f"{name}'s channels are sorted as if the groups' had been interleaved before"
            yield f"{name} groups de-interleaved", other, _shuffled(groups)[::-1], hand.shuffle(name, groups, per)


def _input(turn: Turn) -> Change:
    return lambda setting: replace(setting, x=turn(setting.x))


def input_causes(setting: Setting, hand: Hand) -> Iterator[Cause]:
    """All that can be done to x without changing its shape."""
    x, ndim = setting.x, setting.geometry.ndim
    for name, words, (turn, _), undo in _orders("x", x.shape[1], setting.groups, ndim, x.shape[2:], hand):
        if turn(x).shape == x.shape:
            involution = "reversed" in name or "exchanged" in name
            yield Cause(name, "x", words, _input(turn), apply=undo if involution else "", undo=undo)
    for axis in range(ndim):
        if x.shape[axis + 2] > 1:
            words = hand.flip("x", [axis])
            yield Cause(
                f"x flipped on axis {axis}",
                "x",
                f"x is reversed along spatial axis {axis}",
                _input(partial(np.flip, axis=axis + 2)),
                apply=words,
                undo=words,
            )


def result_causes(setting: Setting, shape: tuple[int, ...], hand: Hand) -> Iterator[Cause]:
    """All that can be done to y; `shape` is the canonical shape of the output that was given."""
    ndim = setting.geometry.ndim
    for name, words, (turn, back), undo in _orders("y", shape[1], setting.groups, ndim, shape[2:], hand):
        involution = "reversed" in name or "exchanged" in name
        yield Cause(name, "result", words, turn=turn, back=back, apply=undo if involution else "", undo=undo)
    for axis in range(ndim):
        if shape[axis + 2] > 1:
            words = hand.flip("y", [axis])
            same = (partial(np.flip, axis=axis + 2),) * 2
            yield Cause(
                f"y flipped on axis {axis}",
                "result",
                f"y is reversed along spatial axis {axis}",
                turn=same[0],
                back=same[1],
                apply=words,
                undo=words,
            )
    steps = setting.geometry.stride
    if max(steps) > 1 and all(L % s == 0 for L, s in zip(shape[2:], steps, strict=True)):
        forth, back = _phases(steps)
        yield Cause(
            "phases not interleaved",
            "result",
            "the phases of the output stand side by side, they are not interleaved",
            turn=forth,
            back=back,
            source="microsoft/onnxruntime#32506",
        )
    yield Cause("ReLU", "result", "a ReLU is applied to y", turn=lambda y: np.maximum(y, 0), apply="y = y * (y > 0)")
