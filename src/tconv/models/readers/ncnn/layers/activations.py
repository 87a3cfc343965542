"""Activations: layers of their own, and those that convolutions include."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tconv.models.readers.ncnn.layer import LayerOutput, NcnnLayer
from tconv.models.readers.ncnn.param_file import ACTIVATIONS, Line
from tconv.models.steps.arithmetic import Affine, Combination
from tconv.models.steps.pointwise import Pointwise

_UNARY = (
    "abs",
    None,  # negation
    "floor",
    "ceil",
    "square",
    "sqrt",
    "rsqrt",
    "exp",
    "log",
    "sin",
    "cos",
    None,  # tan
    None,  # asin
    None,  # acos
    None,  # atan
    "reciprocal",
    "tanh",
)
"""Functions of UnaryOp by their numbers."""


def included(layer: NcnnLayer, x: LayerOutput) -> LayerOutput:
    """Append the activation that a convolution includes: its number in key 9, its parameters in the array 10."""
    kind, numbers = layer.line.whole(9, 0), layer.line.lists.get(10, [])
    needed = {0: 0, 1: 0, 2: 1, 3: 2, 4: 0, 5: 0, 6: 2}
    if not 0 <= kind < len(ACTIVATIONS) or len(numbers) < needed[kind]:
        known = ", ".join(f"{n} ({name}, {needed[n]} numbers)" for n, name in enumerate(ACTIVATIONS) if n)
        raise layer.refusal(f"with activation {kind} and {len(numbers)} numbers; {known} are read")
    if not all(map(math.isfinite, numbers)):
        raise layer.refusal(f"with the numbers {numbers} of its activation; finite ones are needed")
    activation: Any = (
        None,
        "relu",
        ("leaky_relu", *numbers[:1]),
        ("clamp", *numbers[:2]),
        "sigmoid",
        "mish",
        ("hard_swish", *numbers[:2]),
    )[kind]
    return x if activation is None else layer.add(Pointwise(activation), x)


def _of(choose: Callable[[Line], Any]) -> Callable[[NcnnLayer], list[LayerOutput]]:
    """Return the reader of a layer that applies the activation that `choose` finds in its line."""

    def read(layer: NcnnLayer) -> list[LayerOutput]:
        return [layer.add(Pointwise(choose(layer.line)), layer.value())]

    return read


def _relu(line: Line) -> Any:
    slope = line.number(0, 0.0)
    return ("leaky_relu", slope) if slope else "relu"


def _hard(name: str) -> Callable[[Line], Any]:
    return lambda line: (name, line.number(0, 0.2), line.number(1, 0.5))


def _clip(line: Line) -> Any:
    return "clamp", line.numbers.get(0, -math.inf), line.numbers.get(1, math.inf)


def prelu(layer: NcnnLayer) -> list[LayerOutput]:
    """Append a PReLU, with one slope or one for each channel."""
    x, slopes = layer.value(), layer.required("slope")
    if len(slopes) not in (1, x.channels):
        raise layer.refusal(f"of {len(slopes)} slopes on {x.channels} channels; 1 or as many are needed")
    return [layer.add(Pointwise(("prelu", slopes)), x)]


def unary(layer: NcnnLayer) -> list[LayerOutput]:
    """Append a function of each number."""
    x, number = layer.value(), layer.line.whole(0, 0)
    if number == 1:
        return [layer.add(Affine(scale=np.full(1, -1, np.float32)), x)]
    name = _UNARY[number] if 0 <= number < len(_UNARY) else None
    if name is None:
        known = ", ".join(f"{n} ({name})" for n, name in enumerate(_UNARY) if name)
        raise layer.refusal(f"with the function {number}; 1 (negation), {known} are read")
    if name == "square":
        return [layer.add(Combination("multiply"), x, x)]
    return [layer.add(Pointwise(name), x)]


def power(layer: NcnnLayer) -> list[LayerOutput]:
    """Append (shift + scale * x) ** power, for powers of 1 and 2."""
    x, line = layer.value(), layer.line
    exponent, scale, shift = line.number(0, 1.0), line.number(1, 1.0), line.number(2, 0.0)
    if exponent not in (1, 2):
        raise layer.refusal(f"with the exponent {exponent:g}; 1 or 2 is needed")
    if (scale, shift) != (1, 0):
        x = layer.add(Affine(np.full(1, scale, np.float32), np.full(1, shift, np.float32)), x)
    return [layer.add(Combination("multiply"), x, x) if exponent == 2 else x]


LAYERS: dict[str, Callable[[NcnnLayer], list[LayerOutput]]] = {
    "ReLU": _of(_relu),
    "PReLU": prelu,
    "Clip": _of(_clip),
    "Sigmoid": _of(lambda line: "sigmoid"),
    "TanH": _of(lambda line: "tanh"),
    "Swish": _of(lambda line: "silu"),
    "HardSwish": _of(_hard("hard_swish")),
    "HardSigmoid": _of(_hard("hard_sigmoid")),
    "Mish": _of(lambda line: "mish"),
    "GELU": _of(lambda line: "gelu_tanh" if line.whole(0, 0) else "gelu"),
    "ELU": _of(lambda line: ("elu", line.number(0, 0.1))),
    "SELU": _of(lambda line: ("selu", line.number(0, 1.67326324), line.number(1, 1.050700987))),
    "Softplus": _of(lambda line: "softplus"),
    "AbsVal": _of(lambda line: "abs"),
    "Exp": _of(lambda line: "exp"),
    "UnaryOp": unary,
    "Power": power,
}
"""Layers of this family."""
