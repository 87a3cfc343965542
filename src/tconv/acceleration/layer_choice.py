"""Choice of the layers of a model that run on tconv's kernel: those that make the model faster as it runs.

Two questions are asked, each in passes of both forms that take turns (`paired_timing`):

1. Which layers are faster in their places (or, where a compiled model has no place for a clock, in programs of their
   own)? A layer stays if the interval of what it saves lies above zero.
2. Is the model faster with them, and by how much? They stay if the interval of the gain lies above one. This counts
   what no clock around a layer sees: the caches and the memory that the next layers find. The passes are new ones: the
   layers were chosen because they did well in the others, so that those would tell too high a gain.

A layer or a model whose interval contains no gain and no loss is left to its framework: a change that cannot be
measured is no reason to change a model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from tconv.acceleration.paired_timing import Estimate, Pairs, Sides, compare

_LAYER_SECONDS, _LAYER_LEAST, _LAYER_MOST = 1.5, 3, 100
_MODEL_SECONDS, _MODEL_LEAST, _MODEL_MOST = 3.0, 6, 300
"""Of pairs: fewer than six have no interval of 95%. A layer that three pairs chose by chance is in question 2, too."""
_NONE = Estimate(1.0, 1.0, 1.0)
_AGAIN = "; times vary, so accelerate again on a machine at rest"
_VAGUE = 1.1
"""An interval of a gain tells little if its ends differ by more than this factor."""


class Choice(NamedTuple):
    """Layers that stay on tconv's kernel, the reasons against the others, and the measured times."""

    pairs: Pairs
    """Times with all layers on the kernel."""
    left: dict[str, str]
    """Names of the layers that are left to the framework, with the reason."""
    gain: Estimate
    """The framework's time of the model divided by that with the layers that stay; 1 if none does."""


def choose(
    prepare: Callable[[], Any],
    run: Callable[[], Any],
    sides: Sides,
    clocked: dict[str, list[Any]],
    reasons: Mapping[str, Sequence[str]],
    leave: Callable[[str], None],
    pairs: Pairs | None = None,
) -> Choice:
    """Time a model whose layers are all on the kernel, and call `leave` with the name of each that does not pay in it.

    `clocked` has the modules whose time counts for a layer: itself, and those that are fused with it; `reasons` those
    of layers whose call goes to the framework's operator anyway. `pairs` are times of the layers that are known
    already: then the modules have no clocks. A pass is run 18 times if it takes long, and otherwise for about 4.5
    seconds, but not more than 1600 times.
    """
    if pairs is None:
        pairs = compare(prepare, run, sides, clocked, seconds=_LAYER_SECONDS, least=_LAYER_LEAST, most=_LAYER_MOST)
    left = {name: reason for name in clocked if (reason := _reason_against_layer(name, pairs, reasons))}
    staying = [name for name in clocked if name not in left]
    for name in left:
        _leave(name, sides, clocked, leave)
    if not staying:
        return Choice(pairs, left, _NONE)
    gain = compare(prepare, run, sides, {}, seconds=_MODEL_SECONDS, least=_MODEL_LEAST, most=_MODEL_MOST).gain
    if gain.low > 1.0:
        return Choice(pairs, left, gain)
    for name in staying:
        _leave(name, sides, clocked, leave)
        left[name] = f"the model is not measurably faster with it ({gain_text(gain)})"
    return Choice(pairs, left, _NONE)


def _leave(name: str, sides: Sides, clocked: dict[str, list[Any]], leave: Callable[[str], None]) -> None:
    for module in clocked[name]:
        sides.remove(module)
    leave(name)


def _reason_against_layer(name: str, pairs: Pairs, reasons: Mapping[str, Sequence[str]]) -> str:
    """Return the reason to leave a layer to its framework, or an empty text."""
    if pairs.saved(name).low > 0:
        return ""
    if reasons.get(name):
        return "; ".join(reasons[name])
    stock, ours = pairs.seconds(name)
    if stock == 0:
        return "the example does not reach it in every pass"
    ratio = stock / max(ours, 1e-12)
    return f"in this model it is not measurably faster ({ratio:.2f}x{_AGAIN * (ratio > _VAGUE)})"


def gain_text(gain: Estimate) -> str:
    """Return a gain and its interval as a text; with advice if it tells little."""
    text = f"{gain.value:.2f}x, 95%: {gain.low:.2f} to {gain.high:.2f}"
    vague = gain.high > _VAGUE * gain.low
    return text + _AGAIN * vague
