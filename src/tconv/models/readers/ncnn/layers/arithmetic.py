"""Sums, products and the like of two values or of a value and a constant, and normalization."""

from __future__ import annotations

from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.models.readers.ncnn.layer import LayerOutput, NcnnLayer, per_channel
from tconv.models.steps.arithmetic import Affine, Combination, Sum
from tconv.models.steps.pointwise import Pointwise

_OPERATIONS = ("add", "sub", "mul", "div", "max", "min", "pow", "rsub", "rdiv", "rpow")
_SWAPPED = {"sub": "rsub", "div": "rdiv", "pow": "rpow", "rsub": "sub", "rdiv": "div", "rpow": "pow"}
_PAIRS: dict[str, Any] = {
    "add": Sum(),
    "sub": Sum((1.0, -1.0)),
    "mul": Combination("multiply"),
    "div": Combination("divide"),
    "max": Combination("maximum"),
    "min": Combination("minimum"),
}


def binary(layer: NcnnLayer) -> list[LayerOutput]:
    """Append an operation of two values, or of one and a constant."""
    line, number = layer.line, layer.line.whole(0, 0)
    operation = _OPERATIONS[number] if 0 <= number < len(_OPERATIONS) else ""
    if not operation:
        known = ", ".join(f"{n} ({name})" for n, name in enumerate(_OPERATIONS))
        raise layer.refusal(f"with the operation {number}; {known} are read")
    if line.whole(1, 0):
        return [_with_constant(layer, operation, layer.value(), np.full(1, line.number(2, 0.0), np.float32))]
    if len(layer.inputs) != 2:
        raise layer.refusal(f"of {len(layer.inputs)} inputs; 2 are needed, or 1 and a constant")
    x, z = layer.inputs
    if x.constant is not None:
        x, z, operation = z, x, _SWAPPED.get(operation, operation)
    if x.constant is not None:
        raise layer.refusal("of two constants; a value that is computed from the picture is needed")
    if z.constant is not None:
        return [_with_constant(layer, operation, x, _spread(layer, z.constant, x))]
    if operation in ("rsub", "rdiv"):
        x, z, operation = z, x, _SWAPPED[operation]
    if operation not in _PAIRS:
        raise layer.refusal(f"that takes a power ({operation}) of two values; a number as the exponent is needed")
    vector, other = sorted((x, z), key=lambda value: value.axes)
    if vector.axes < other.axes and vector.channels not in (1, other.channels):
        raise layer.refusal(
            f"of a vector of {vector.channels} numbers and {other.channels} channels; as many are needed"
        )
    return [layer.add(_PAIRS[operation], x, z)]


def _spread(layer: NcnnLayer, constant: Array, x: LayerOutput) -> Array:
    """Return a constant as ncnn combines it with a value: [C, 1, 1], or as it is."""
    if x.axes == 1:
        if constant.ndim != 1:
            raise layer.refusal(
                f"of a vector and a constant of shape {constant.shape}; one of [{x.channels}] is needed"
            )
        return per_channel(constant)
    if constant.ndim == 1:
        if len(constant) not in (1, x.channels):
            raise layer.refusal(
                f"of {x.channels} channels and a constant of {len(constant)} numbers, which ncnn lays along the width; "
                "one number for each channel is needed"
            )
        return per_channel(constant)
    if constant.ndim == 2:  # ncnn lays it along channels and rows
        return constant[..., None]
    return constant


def _with_constant(layer: NcnnLayer, operation: str, x: LayerOutput, constant: Array) -> LayerOutput:
    one, none = np.ones(1, np.float32), np.zeros(1, np.float32)
    if operation in ("rdiv", "div") and not constant.all():
        raise layer.refusal("that divides by or into 0; other numbers are needed")
    if operation == "rdiv":
        x, operation = layer.add(Pointwise("reciprocal"), x), "mul"
    if operation in ("add", "sub", "rsub"):
        scale = -one if operation == "rsub" else one
        return layer.add(Affine(scale, -constant if operation == "sub" else constant), x)
    if operation in ("mul", "div"):
        return layer.add(Affine(constant if operation == "mul" else 1 / constant, none), x)
    numbers = np.unique(constant)
    if len(numbers) > 1:
        raise layer.refusal(f"with {operation} of {len(numbers)} different numbers; one number is needed")
    number = float(numbers[0])
    if operation in ("max", "min"):
        limits = (number, np.inf) if operation == "max" else (-np.inf, number)
        return layer.add(Pointwise(("clamp", *limits)), x)
    if operation == "pow":
        if number == 1:
            return x
        if number == 2:
            return layer.add(Combination("multiply"), x, x)
        functions = {0.5: "sqrt", -0.5: "rsqrt", -1: "reciprocal"}
        if number in functions:
            return layer.add(Pointwise(functions[number]), x)
        raise layer.refusal(f"with the exponent {number:g}; 1, 2, 0.5, -0.5 or -1 is needed")
    raise layer.refusal(f"with {number:g} to the power of its input, which is not read; UnaryOp 7 (exp) is")


def elementwise(layer: NcnnLayer) -> list[LayerOutput]:
    """Append a product, a sum with coefficients or the largest of two or more values of one size."""
    values, number = layer.values(), layer.line.whole(0, 0)
    coefficients = [float(np.float32(each)) for each in layer.line.lists.get(1, [])]
    if len({(value.channels, value.axes, value.single) for value in values}) > 1 or len(values) < 2:
        raise layer.refusal(f"of {[value.channels for value in values]} channels; 2 or more of one size are needed")
    if number == 1:
        if coefficients and (len(coefficients) != len(values) or not np.isfinite(coefficients).all()):
            raise layer.refusal(f"with the coefficients {coefficients} of {len(values)} inputs; as many are needed")
        scales = coefficients or [1.0] * len(values)
        result = layer.add(Sum((scales[0], scales[1])), *values[:2])
        for scale, value in zip(scales[2:], values[2:], strict=True):
            result = layer.add(Sum((1.0, scale)), result, value)
        return [result]
    if number not in (0, 2):
        raise layer.refusal(f"with the operation {number}; 0 (product), 1 (sum) and 2 (the largest) are read")
    result = values[0]
    for value in values[1:]:
        result = layer.add(Combination("multiply" if number == 0 else "maximum"), result, value)
    return [result]


def scale(layer: NcnnLayer) -> list[LayerOutput]:
    """Append a product with a number for each channel, in the file or computed (key 0 = -233), plus a bias."""
    if layer.line.whole(0, 0) == -233:
        x, factors = layer.values(2)
        if layer.line.whole(1, 0):
            raise layer.refusal("with a bias and a scale that is computed; one or the other is needed")
        if factors.axes != 1 or factors.channels != x.channels:
            raise layer.refusal(
                f"of {x.channels} channels by {factors.channels} numbers; a vector of as many is needed"
            )
        return [layer.add(Combination("multiply"), x, factors)]
    x, factors_, bias = layer.value(), layer.required("scale"), layer.floats("bias")
    shift = np.zeros(1, np.float32) if bias is None else bias
    return [_affine(layer, x, factors_, shift)]


def bias(layer: NcnnLayer) -> list[LayerOutput]:
    """Append a sum with a number for each channel."""
    return [_affine(layer, layer.value(), np.ones(1, np.float32), layer.required("bias"))]


def batch_norm(layer: NcnnLayer) -> list[LayerOutput]:
    """Append a batch normalization with the statistics of the file."""
    slope, mean, variance, shift = (layer.required(role).astype(np.float64) for role in ("scale", "mean", "var", "B"))
    deviation = np.sqrt(np.maximum(variance + layer.line.number(1, 0.0), 0))
    factor = slope / np.where(deviation == 0, 1e-4, deviation)  # as ncnn does
    return [_affine(layer, layer.value(), factor, shift - mean * factor)]


def dropout(layer: NcnnLayer) -> list[LayerOutput]:
    """Append the constant factor of a dropout, which is 1 in nearly all networks."""
    factor, x = layer.line.number(0, 1.0), layer.value()
    return [x if factor == 1 else _affine(layer, x, np.full(1, factor, np.float32), np.zeros(1, np.float32))]


def memory_data(layer: NcnnLayer) -> list[LayerOutput]:
    """Return a constant of the file."""
    line = layer.line
    w, h, c, d = (line.whole(key, 0, least=0) for key in (0, 1, 2, 11))
    if d:
        raise layer.refusal("of four axes; up to three are read")
    shape = (c, h, w) if c else (h, w) if h else (w,)
    numbers = layer.required("data").reshape(shape)
    return [LayerOutput(-1, shape[0], len(shape), constant=numbers)]


def _affine(layer: NcnnLayer, x: LayerOutput, factor: Array, shift: Array) -> LayerOutput:
    factor, shift = (per_channel(each.astype(np.float32)) for each in (factor, shift))
    for each in (factor, shift):
        if len(each) not in (1, x.channels):
            raise layer.refusal(f"of {len(each)} numbers on {x.channels} channels; as many are needed")
    return layer.add(Affine(factor, shift), x)
