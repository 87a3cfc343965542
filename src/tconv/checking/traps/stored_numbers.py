"""Traps of the numbers in a weight: NaN, inf, and channels that are zero or the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tconv.checking.trap import Trap
from tconv.checking.traps.trap_context import TrapContext, TrapKind

_NON_FINITE = TrapKind(
    "non-finite-weight",
    "wrong",
    "a weight with NaN or inf",
    "Numbers of the weight are NaN or infinite, as training that diverged or a float16 conversion that overflowed "
    "leaves "
    "them. Every output that they reach is NaN or infinite; kernels that pad with zeros make more of them NaN.",
    "every runtime; which outputs are NaN differs between them",
    "IEEE 754: 0 * inf is NaN",
    "the checkpoint before it, or the weight converted from float32 again",
)
_ALL_ZERO = TrapKind(
    "zero-weight",
    "note",
    "a weight that is all zeros",
    "Every number of the weight is 0: the output is the bias. Layers that are initialised so and never trained look "
    "so, "
    "and readers that did not find the numbers.",
    "every runtime",
    "observed in files",
    "the trained checkpoint",
)
_DEAD = TrapKind(
    "zero-channels",
    "note",
    "channels whose weights are all zeros",
    "Output channels without a weight are their bias everywhere; input channels without one are computed for nothing. "
    "Both can be removed without changing a number.",
    "every runtime (time and memory)",
    "observed in files",
    "the layer without these channels",
)
_EQUAL = TrapKind(
    "equal-channels",
    "note",
    "output channels with the same weights",
    "Output channels of one group have exactly the same weights, so they differ by their bias at most. Trained "
    "channels "
    "do not come out so; an initializer that fills all channels alike, or a wrong copy, does.",
    "every runtime",
    "observed in files",
    "tconv.initializers for layers before training; the checkpoint compared",
)
KINDS = (_NON_FINITE, _ALL_ZERO, _DEAD, _EQUAL)


def of_layer(context: TrapContext) -> Iterator[Trap]:
    """Yield the traps of a weight's numbers."""
    numbers, layer = context.check.statistics, context.layer
    if numbers is None or not numbers.size:
        return
    if numbers.nan or numbers.inf:
        channels = numbers.non_finite_outputs
        what = f"{numbers.nan:,} NaN and {numbers.inf:,} inf of {numbers.size:,} numbers, in {_listed(channels)}"
        yield _NON_FINITE.trap(layer, what, nan=numbers.nan, inf=numbers.inf, outputs=list(channels[:64]))
        return
    if numbers.zeros == numbers.size:
        yield _ALL_ZERO.trap(layer, f"all {numbers.size:,} numbers are 0")
        return
    if numbers.dead_inputs or numbers.dead_outputs:
        parts = [
            _listed(channels, side)
            for channels, side in ((numbers.dead_outputs, "output"), (numbers.dead_inputs, "input"))
            if channels
        ]
        outputs, inputs = list(numbers.dead_outputs[:64]), list(numbers.dead_inputs[:64])
        yield _DEAD.trap(layer, f"{' and '.join(parts)} have no weight", outputs=outputs, inputs=inputs)
    if numbers.equal_outputs and not context.is_depthwise:
        pairs = ", ".join(f"{a} and {b}" for a, b in numbers.equal_outputs[:3])
        what = f"{len(numbers.equal_outputs)} pairs of output channels have the same weights: {pairs}"
        yield _EQUAL.trap(layer, what, pairs=[list(pair) for pair in numbers.equal_outputs])


def _listed(channels: Sequence[int], side: str = "output") -> str:
    shown = ", ".join(map(str, channels[:6])) + (" ..." if len(channels) > 6 else "")
    many = len(channels) != 1
    return f"{len(channels)} {side} channel{'s' * many} ({shown})"
