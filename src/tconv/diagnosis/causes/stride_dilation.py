"""Causes in stride and dilation: ignored, exchanged, or counted differently. The crop stays as it is.

They are tried on every call.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tconv.diagnosis.causes.cause import Cause, CauseContext


def causes(context: CauseContext) -> Iterator[Cause]:
    """Yield the changes of this call's stride and dilation."""
    g = context.call.geometry

    def grid(name: str, text: str, **parts: Any) -> Cause:
        return Cause(name, "grid", text, lambda call: call.with_geometry(**parts))

    ones = (1,) * g.ndim
    taps = [k > 1 for k in g.kernel]
    if any(d > 1 and k for d, k in zip(g.dilation, taps, strict=True)):
        yield grid("dilation ignored", f"the dilation {g.dilation} is ignored", dilation=1)
    if any(taps):
        more = tuple(d + 1 for d in g.dilation)
        yield grid("dilation off by one", f"the dilation is {more}: one more, as where 0 means none", dilation=more)
        if min(g.dilation) > 1 and max(g.dilation) > 2:
            less = tuple(d - 1 for d in g.dilation)
            yield grid("dilation one less", f"the dilation is {less}: one less", dilation=less)
    if g.stride != g.stride[::-1]:
        yield grid(
            "stride axes exchanged", f"the stride is {g.stride[::-1]}, its axes exchanged", stride=g.stride[::-1]
        )
    if g.dilation != g.dilation[::-1]:
        yield grid(
            "dilation axes exchanged",
            f"the dilation is {g.dilation[::-1]}, its axes exchanged",
            dilation=g.dilation[::-1],
        )
    if g.stride != ones:
        yield grid("stride ignored", f"the stride {g.stride} is ignored", stride=1)
    if g.stride != g.dilation:
        text = f"stride {g.stride} and dilation {g.dilation} are exchanged"
        yield grid("stride and dilation exchanged", text, stride=g.dilation, dilation=g.stride)
    for step in (1, -1):
        stride = tuple(s + step for s in g.stride)
        if min(stride) >= 1 and stride != ones:
            yield grid(f"stride {'one more' if step > 0 else 'one less'}", f"the stride is {stride}", stride=stride)
