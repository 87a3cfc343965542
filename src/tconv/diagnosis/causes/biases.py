"""Causes in the bias."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from tconv.diagnosis.canonical_call import Array, Setting
from tconv.diagnosis.causes.cause import Cause
from tconv.diagnosis.fix_writer import Hand


def causes(setting: Setting, hand: Hand) -> Iterator[Cause]:
    """All that can be done to this bias."""
    b, G = setting.bias, setting.groups
    if b is None or not b.any():
        return

    def bias(name: str, words: str, turn: Callable[[Array], Array | None], apply: str = "", undo: str = "") -> Cause:
        return Cause(
            name,
            "bias",
            words,
            lambda s: replace(s, bias=None if s.bias is None else turn(s.bias)),
            apply=apply,
            undo=undo,
        )

    added = hand.bias()
    yield bias("bias missing", "the bias is missing", lambda b: None, "bias = None", f"y = y + {added}")
    yield bias("bias twice", "the bias is added twice", lambda b: 2 * b, "bias = 2 * bias", f"y = y - {added}")
    yield bias("bias negated", "the bias is subtracted", lambda b: -b, "bias = -bias", f"y = y + 2 * {added}")
    if len(b) > 1:
        first = f"{added} - bias[0]"
        yield bias(
            "first bias everywhere",
            "every channel has the first channel's bias",
            lambda b: np.full_like(b, b[0]),
            "bias = 0 * bias + bias[0]",
            f"y = y + ({first})",
        )
        yield bias(
            "bias reversed",
            "the bias's channels stand in reverse order",
            lambda b: b[::-1],
            hand.reverse("bias"),
            hand.reverse("bias"),
        )
    if 1 < G < len(b):
        yield bias(
            "bias interleaved",
            "the bias's channels are sorted by their number within the group, not by group",
            lambda b: b.reshape(G, -1).T.ravel(),
        )
        yield bias(
            "first group's bias everywhere",
            "every group has the first group's bias",
            lambda b: np.tile(b[: len(b) // G], G),
        )
