"""Traps of float types: numbers that 2 bytes cannot have, and runtimes that lack a type or compute in another."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tconv._arrays import Array
from tconv.checking.trap import Trap
from tconv.checking.traps.trap_context import TrapContext, TrapKind
from tconv.checking.weight_numbers import LARGEST_FLOAT16

_LOST = 5e-3
"""Error of a weight in float16, of its root mean square; the rounding of normal numbers gives 2e-4."""
_MOST_NUMBERS = 1 << 26
_PART = 1 << 22

_OVERFLOW = TrapKind(
    "float16-overflow",
    "note",
    "numbers too large for float16",
    f"Numbers of a float32 weight are above {LARGEST_FLOAT16:.0f}, the largest float16. Converted, they are infinite, "
    f"and "
    "the outputs NaN.",
    "conversions to float16, and runtimes that compute in it by default (chips, Core ML, TensorRT with fp16, ncnn)",
    "IEEE 754 binary16",
    "this layer left in float32 when the model is converted, or its weight scaled down and the scale moved on",
)
_SUBNORMAL = TrapKind(
    "float16-underflow",
    "note",
    "numbers too small for float16",
    "Most of a float32 weight is below 2**-14, where float16 has fewer bits and then none. Converted, the weight as a "
    f"whole is wrong by more than {_LOST:.1%} of its root mean square, where rounding explains 0.02%.",
    "conversions to float16; chips that flush such numbers to 0 lose more",
    "IEEE 754 binary16",
    "the weight scaled up and the scale moved into the next layer, or this layer left in float32",
)
_FLOAT16 = TrapKind(
    "float16-layer",
    "note",
    "a float16 layer",
    "x, weight and y are float16. The sum of many products differs between runtimes: some add in float32 and round "
    "once, "
    "some round each tap, and overflow to inf and NaN on the way; CPUs convert to float32 and back, or take many times "
    "as long.",
    "PyTorch 2.13 (rounds each tap where the CPU lacks AVX512-FP16: NaN for 0; CPU many times slower), TensorFlow 2.21 "
    "(NaN eager, 0 compiled), onnx 1.23.2 ReferenceEvaluator (adds in float16); ONNX Runtime on a CPU converts to "
    "float32",
    "pytorch/pytorch#146508, #153276, #153700; findings torch_float16_nan, torch_float16_transposed_sums, "
    "tensorflow_float16_jit, onnx_reference_float16",
    "float32 for this layer on CPUs; tconv adds in float32 and rounds once",
)
_BFLOAT16 = TrapKind(
    "bfloat16-layer",
    "note",
    "a bfloat16 layer",
    "x, weight and y are bfloat16. Several runtimes compute such a layer in float32 without saying so, or have no "
    "kernel "
    "for it.",
    "OpenVINO 2026.4.1 (stays float32 in a model that reports bfloat16), ONNX Runtime 1.32.0 on a CPU (no kernel)",
    "finding openvino_bfloat16_hint; onnx ConvTranspose has bfloat16 from opset 22 on",
    "float32, or the time of the layer measured: tconv check --run",
)
_FLOAT64 = TrapKind(
    "float64-layer",
    "refused",
    "a float64 layer",
    "x, weight and y are float64. ONNX allows it; ONNX Runtime has no such kernel and refuses the whole file.",
    "ONNX Runtime 1.32.0 on a CPU",
    "observed with onnxruntime 1.32.0",
    "the model in float32 before its export",
)
KINDS = (_OVERFLOW, _SUBNORMAL, _FLOAT16, _BFLOAT16, _FLOAT64)


def of_layer(context: TrapContext) -> Iterator[Trap]:
    """Yield the traps of the layer's float type."""
    layer, numbers = context.layer, context.check.statistics
    if layer.dtype == "float16":
        yield _FLOAT16.trap(layer, "x, weight and y are float16")
    elif layer.dtype == "bfloat16":
        yield _BFLOAT16.trap(layer, "x, weight and y are bfloat16")
    elif layer.dtype == "float64" and layer.dialect == "onnx" and layer.form == "transposed convolution":
        yield _FLOAT64.trap(layer, "x, weight and y are float64")
    if numbers is None or context.weight is None or layer.dtype not in ("float32", "float64"):
        return
    if numbers.beyond_float16:
        largest = max(abs(numbers.minimum or 0), abs(numbers.maximum or 0))
        what = f"{numbers.beyond_float16:,} of {numbers.size:,} numbers are above 65504, up to {largest:.3g}"
        yield _OVERFLOW.trap(layer, what, count=numbers.beyond_float16)
    elif numbers.rms and numbers.subnormal_float16 > numbers.size // 2 and numbers.size <= _MOST_NUMBERS:
        lost = float16_error(context.weight) / numbers.rms
        if lost > _LOST:
            what = (
                f"{numbers.subnormal_float16:,} of {numbers.size:,} numbers are below 2**-14 (root mean square "
                f"{numbers.rms:.2g}); in float16 the weight is wrong by {lost:.1%} of that"
            )
            yield _SUBNORMAL.trap(layer, what, count=numbers.subnormal_float16, error=lost)


def float16_error(weight: Array) -> float:
    """Return the root mean square of what a weight loses in float16, of its finite numbers."""
    total, flat = 0.0, weight.reshape(-1)
    for start in range(0, flat.size, _PART):
        part = flat[start : start + _PART].astype(np.float32)
        part = part[np.isfinite(part)]
        total += float(np.square(part - part.astype(np.float16).astype(np.float32), dtype=np.float64).sum())
    return float(np.sqrt(total / max(1, flat.size)))
