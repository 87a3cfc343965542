"""Trap of a layer that most targets refuse, counted over the profiles of `tconv.targets`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import Any

from tconv.checking.target_answers import every_target
from tconv.checking.trap import Trap
from tconv.checking.traps.trap_context import TrapContext, TrapKind

_SHARE = 0.5
_SHAPES = ("ndim", "kernel", "stride", "dilation", "groups", "pads", "output_padding", "output_shape", "auto_pad")
"""Rules that a layer breaks by its own arguments; not by its number type, its batch, or sizes that vary."""

_WORDS = {
    "ndim": "its number of axes (ndim)",
    "pads": "its pads",
    "output_padding": "output_padding",
    "output_shape": "output_shape",
    "auto_pad": "auto_pad",
    **{key: f"the {key}" for key in ("kernel", "stride", "dilation", "groups")},
}
"""Words for the rules in a sentence."""

_REFUSED = TrapKind(
    "most-targets-refuse",
    "note",
    "a layer that most targets refuse",
    "More than half of the targets that have a transposed convolution refuse this one for its dimensions, kernel, "
    "stride, "
    "dilation, groups or pads.",
    "the targets that the sentence counts: tconv check --target NAME has the numbers of each",
    "the profiles of tconv.targets, each with its source",
    "tconv rewrite --target NAME, which writes what the target accepts",
)
KINDS = (_REFUSED,)


@cache
def _targets() -> tuple[Any, ...]:
    return tuple(target for target in every_target() if target.accepts_operation("conv_transpose"))


def of_layer(context: TrapContext) -> Iterator[Trap]:
    """Yield the trap of a layer that most targets refuse."""
    if context.facts is None:
        return
    refusing: list[str] = []
    reasons: Counter[str] = Counter()
    for target in _targets():
        keys = {limit.key.split(".")[0] for limit in target.limits_against(context.facts)}.intersection(_SHAPES)
        if keys:
            refusing.append(target.name)
            reasons.update(keys)
    if len(refusing) > _SHARE * len(_targets()):
        counts = ", ".join(f"{count} for {_WORDS[key]}" for key, count in reasons.most_common(4))
        what = f"{len(refusing)} of {len(_targets())} targets refuse it: {counts}"
        yield _REFUSED.trap(context.layer, what, targets=refusing, limits=dict(reasons))
