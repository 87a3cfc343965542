"""Causes in the bias: missing, added twice, negated, or in another order of channels.

They are tried on every call with a bias.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from tconv._arrays import Array
from tconv.diagnosis.causes.cause import Cause, CauseContext


def causes(context: CauseContext) -> Iterator[Cause]:
    """Yield the changes of this bias; none if there is no bias or it is zero."""
    b, G, writer = context.call.bias, context.call.groups, context.writer
    if b is None or not b.any():
        return

    def bias(name: str, text: str, change: Callable[[Array], Array | None], apply: str = "", undo: str = "") -> Cause:
        return Cause(
            name,
            "bias",
            text,
            lambda call: replace(call, bias=None if call.bias is None else change(call.bias)),
            apply=apply,
            undo=undo,
        )

    added = writer.bias()
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
            "the bias's channels are in reverse order",
            lambda b: b[::-1],
            writer.reverse("bias"),
            writer.reverse("bias"),
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
