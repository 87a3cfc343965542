"""Activations that files spell out in products, sums and simpler functions, as one step.

All are a product k x (a f(c x + e) + b) with a function f and constants, in whatever order the factors stand.
"""

from __future__ import annotations

from math import inf, isclose, pi, sqrt
from typing import Any, NamedTuple

import numpy as np

from tconv.errors import TconvError
from tconv.models.simplification.affine import constants_per_channel
from tconv.models.simplification.graph import NodeGraph
from tconv.models.steps.arithmetic import Affine, Combination, Sum
from tconv.models.steps.pointwise import Pointwise

_CUBE = 0.044715
"""Coefficient of x^3 in GELU's approximation by tanh (Hendrycks and Gimpel 2016, arXiv:1606.08415)."""


class _Line(NamedTuple):
    """Number `scale` x + `shift` of another node's x."""

    place: int
    scale: float
    shift: float


def spelled_activation(graph: NodeGraph, number: int) -> bool:
    """Put SiLU, Swish, Mish, GELU or hard Swish in place of the product that it is."""
    if not _is_product(graph, number):
        return False
    constant, factors = _factors(graph, number)
    if len(factors) != 2:
        return False
    for x, gate in (factors, factors[::-1]):
        found = _activation(graph, constant, x, gate)
        if found is not None:
            return _replaced(graph, number, found, x)
    return False


def larger_of_slopes(graph: NodeGraph, number: int) -> bool:
    """Put a leaky ReLU in place of max(x, s x), for 0 <= s <= 1."""
    step, inputs = graph.step(number), graph.inputs(number)
    if not isinstance(step, Combination) or step.operation != "maximum" or len(inputs) != 2:
        return False
    for x, other in (inputs, inputs[::-1]):
        line = _line(graph, other)
        if line.place == x != other and line.shift == 0 and 0 <= line.scale <= 1 and _same(graph, x, number):
            graph.replace(number, Pointwise(("leaky_relu", line.scale)), (x,))
            return True
    return False


def sum_of_slopes(graph: NodeGraph, number: int) -> bool:
    """Put a PReLU in place of relu(x) - s relu(-x), as TensorFlow's and Keras's exports have it."""
    step, inputs = graph.step(number), graph.inputs(number)
    if not isinstance(step, Sum):
        return False
    for one, other in ((0, 1), (1, 0)):
        if step.scales[one] != 1 or not _is_relu(graph, inputs[one]):
            continue
        (x,), negative = graph.inputs(inputs[one]), inputs[other]
        factor: Any = step.scales[other]
        between = graph.step(negative)
        if isinstance(between, Affine):
            found, (source,) = constants_per_channel(between, graph.channels(negative)), graph.inputs(negative)
            if found is None or found[1].any() or not _same(graph, source, negative):
                continue
            negative, factor = source, found[0] * factor
        if _is_relu(graph, negative) and _is_negative(graph, graph.inputs(negative)[0], x):
            slopes = np.broadcast_to(-factor, (graph.channels(x),)).astype(np.float32)
            same = bool((slopes == slopes[0]).all())
            return _replaced(graph, number, ("leaky_relu", float(slopes[0])) if same else ("prelu", slopes), x)
    return False


def _is_relu(graph: NodeGraph, number: int) -> bool:
    step = graph.step(number)
    return isinstance(step, Pointwise) and step.activation == "relu"


def _is_negative(graph: NodeGraph, number: int, x: int) -> bool:
    """Return True for -x."""
    step = graph.step(number)
    if isinstance(step, Pointwise):
        return step.activation == "negate" and graph.inputs(number) == (x,)
    return number != x and _line(graph, number) == (x, -1.0, 0.0)


def merged_clamps(graph: NodeGraph, number: int) -> bool:
    """Merge limits of limits: ReLU, then at most 6, is a ReLU6."""
    step, place = graph.step(number), graph.inputs(number)[0]
    before = graph.step(place)
    if not isinstance(step, Pointwise) or not isinstance(before, Pointwise) or graph.only_reader(place) != number:
        return False
    inner, outer = _limits(before.activation), _limits(step.activation)
    if inner is None or outer is None:
        return False
    low, high = (min(max(limit, outer[0]), outer[1]) for limit in inner)
    graph.replace(number, Pointwise(("clamp", low, high)), graph.inputs(place))
    return True


def _replaced(graph: NodeGraph, number: int, activation: Any, x: int) -> bool:
    step = Pointwise(activation)
    try:
        step.output_channels([graph.channels(x)])
    except TconvError:  # no step of that name
        return False
    graph.replace(number, step, (x,))
    return True


def _limits(activation: Any) -> tuple[float, float] | None:
    """Return the limits of an activation that only limits; None for others."""
    name, *numbers = activation if isinstance(activation, tuple) else (activation,)
    if name == "clamp":
        return float(numbers[0]), float(numbers[1])
    return {"relu": (0.0, inf), "relu6": (0.0, 6.0)}.get(name)


def _activation(graph: NodeGraph, constant: float, x: int, gate: int) -> Any:
    """Return the activation that constant * x * gate is; None for none."""
    outer = _line(graph, gate)
    step = graph.step(outer.place)
    if not isinstance(step, Pointwise) or not _same(graph, x, outer.place):
        return None
    a, b, inner = constant * outer.scale, constant * outer.shift, _line(graph, graph.inputs(outer.place)[0])
    name, *numbers = step.activation if isinstance(step.activation, tuple) else (step.activation,)
    half = _near(a, 0.5) and _near(b, 0.5)
    if inner.place != x:
        if name == "tanh" and b == 0 and _near(a, 1) and inner[1:] == (1.0, 0.0):
            below = graph.step(inner.place)
            soft = isinstance(below, Pointwise) and below.activation in ("softplus", ("softplus",))
            return "mish" if soft and graph.inputs(inner.place) == (x,) else None
        return "gelu_tanh" if name == "tanh" and half and _is_cubic(graph, inner, x) else None
    if limits := _limits(step.activation):
        # x clamp(x / 6 + 1/2, 0, 1) in all its scales: the constants follow from the slope and both limits
        slope = a * inner.scale
        ends = [a * limit + b for limit in limits]
        middle = a * inner.shift + b
        fits = _near(slope, 1 / 6) and _near(middle, 0.5) and abs(ends[0]) < 1e-6 and _near(ends[1], 1)
        return "hard_swish" if fits else None
    if inner.shift != 0:
        return None
    if name == "sigmoid" and not numbers and b == 0 and _near(a, 1):
        return _swish(inner.scale)
    if name == "tanh" and half:  # sigmoid(2 y) = tanh(y) / 2 + 1 / 2
        return _swish(2 * inner.scale)
    if name == "erf" and half and _near(inner.scale, 1 / sqrt(2)):
        return "gelu"
    return None


def _swish(slope: float) -> Any:
    return "silu" if slope == 1 else ("swish", slope)


def _is_cubic(graph: NodeGraph, inner: _Line, x: int) -> bool:
    """Return True for sqrt(2 / pi) (x + 0.044715 x^3)."""
    step = graph.step(inner.place)
    if not _near(inner.scale, sqrt(2 / pi)) or inner.shift or not isinstance(step, Sum):
        return False
    inputs = graph.inputs(inner.place)
    for one, other in ((0, 1), (1, 0)):
        if inputs[one] != x or step.scales[one] != 1:
            continue
        constant, factors = (
            _factors(graph, inputs[other]) if _is_product(graph, inputs[other]) else (1.0, [inputs[other]])
        )
        is_power = len(factors) == 1 and _is_power(graph, factors[0], x)
        if (is_power or factors == [x] * 3) and _near(constant * step.scales[other], _CUBE):
            return True
    return False


def _is_power(graph: NodeGraph, number: int, x: int) -> bool:
    """Return True for x^3."""
    step = graph.step(number)
    return isinstance(step, Pointwise) and step.activation == ("power", 3) and graph.inputs(number) == (x,)


def _is_product(graph: NodeGraph, number: int) -> bool:
    step = graph.step(number)
    if isinstance(step, Affine):
        return _line(graph, number).place != number and _line(graph, number).shift == 0
    return isinstance(step, Combination) and step.operation == "multiply"


def _factors(graph: NodeGraph, number: int, depth: int = 4) -> tuple[float, list[int]]:
    """Return the constant factor of a product, and its other factors, in order.

    Products in it that nothing else reads are part of it, `depth` of them one in the other.
    """
    constant = 1.0
    factors: list[int] = []
    for place in graph.inputs(number):
        if depth > 0 and graph.only_reader(place) is not None and _is_product(graph, place):
            inner, more = _factors(graph, place, depth - 1)
            constant, factors = constant * inner, [*factors, *more]
        else:
            factors.append(place)
    if isinstance(graph.step(number), Affine):
        constant *= _line(graph, number).scale
    return constant, factors


def _line(graph: NodeGraph, number: int) -> _Line:
    """Return a node as a multiple of another one and a constant; itself for anything else."""
    step = graph.step(number)
    if isinstance(step, Affine):
        (source,) = graph.inputs(number)
        found = constants_per_channel(step, graph.channels(number))
        if found is not None and graph.channels(source) == graph.channels(number):
            scale, shift = found
            if (scale == scale[0]).all() and (shift == shift[0]).all():
                return _Line(source, float(scale[0]), float(shift[0]))
    return _Line(number, 1.0, 0.0)


def _same(graph: NodeGraph, one: int, other: int) -> bool:
    """Return True for values of as many channels: none of them counts for all of the other's."""
    return graph.channels(one) == graph.channels(other)


def _near(value: float, wanted: float) -> bool:
    return bool(np.isfinite(value)) and isclose(value, wanted, rel_tol=2e-6)
