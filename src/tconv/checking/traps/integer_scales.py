"""Traps of quantized weights: scales along the wrong axis, and integer kernels that need others."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tconv._arrays import Array
from tconv.checking.trap import Trap
from tconv.checking.traps.trap_context import TrapContext, TrapKind
from tconv.models.inventory.model_layer import Quantization

_CHANCE = 1e-4
"""Probability by chance below which the other axis is named."""
_MOST_FULL = 5000  # numbers at the end of the range, from which every slice has some by chance
_MOST_NUMBERS = 1 << 24

_INPUT = TrapKind(
    "scales-per-input-channel",
    "refused",
    "one scale for each input channel",
    "The weight has one scale for each input channel, axis 0 of [C_in, C_out/g, *k], as an ordinary convolution has "
    "for its outputs. A sum over input channels cannot take the scale out, so integer kernels refuse the layer or run "
    "it in floats.",
    "TensorRT, PyTorch's and ExecuTorch's integer kernels, XNNPACK (axis 1, one group)",
    "NVIDIA/TensorRT#1694; microsoft/onnxruntime#19694; pytorch/executorch#8462",
    "one scale for each output channel: axis 1",
)
_WRONG = TrapKind(
    "scales-on-wrong-axis",
    "wrong",
    "scales of the output channels applied to the input channels, or the reverse",
    "The integers reach the end of their range in every slice along the other channel axis, and not in every slice "
    "along "
    "the axis of the scales: the weight was quantized along one axis, and is read along the other. Right weights reach "
    "it "
    "along their own axis, because each scale is the slice's largest number. Named where so many numbers at random "
    "places "
    f"would reach every slice of the other axis with a probability below {_CHANCE:g}.",
    "every runtime: the numbers themselves are wrong",
    "microsoft/onnxruntime#19694; onnx/tensorflow-onnx#2134",
    "the axis of DequantizeLinear exchanged (1 for 0), or the weight quantized again",
)
_GROUPED = TrapKind(
    "grouped-per-channel-scales",
    "refused",
    "one scale per channel and groups",
    "The layer has groups, and its weight one scale per channel. Axis 1 of [C_in, C_out/g, *k] has the channels of one "
    "group only, so groups share scales or need another layout; many integer kernels refuse it.",
    "ExecuTorch XNNPACK and Arm Ethos-U backends, ONNX Runtime's quantizer",
    "executorch backends/xnnpack gemm_configs; pytorch/executorch#17668",
    "one scale for the whole weight, or one layer for each group: "
    "tconv rewrite MODEL.onnx -o OUT.onnx --step split-groups",
)
KINDS = (_INPUT, _WRONG, _GROUPED)


def of_layer(context: TrapContext) -> Iterator[Trap]:
    """Yield the traps of a quantized weight."""
    stored, call, axis = context.layer.weight, context.read.call, context.scales_axis
    if stored is None or stored.quantization is None or call is None or not axis:
        return
    g, count = call.geometry, int(np.size(stored.quantization.scales))
    if axis == "I" and g.groups != context.read.in_channels:
        what = (
            f"{count} scales for {context.read.in_channels} input channels; the layer has "
            f"{context.read.out_channels} output channels"
        )
        yield _INPUT.trap(context.layer, what, scales=count)
    if g.groups > 1:
        what = f"{g.groups} groups and {count} scales for {context.read.out_channels} output channels"
        yield _GROUPED.trap(context.layer, what, groups=g.groups, scales=count)
    yield from _saturation(context, stored.quantization)


def _saturation(context: TrapContext, quantization: Quantization) -> Iterator[Trap]:
    stored, call = context.layer.weight, context.read.call
    if stored is None or call is None or quantization.axis is None or np.prod(stored.shape) > _MOST_NUMBERS:
        return
    letters = list(call.weight.axes)
    other = letters.index("O" if context.scales_axis == "I" else "I")
    try:
        integers = stored_integers(np.asarray(stored.read()), quantization)
    except Exception:  # numbers that cannot be read are a note of the layer
        return
    axis = quantization.axis
    full = np.abs(integers) >= largest_integer(integers, quantization.dtype) - 0.5
    own, across = (slices_reached(full, at) for at in (axis, other))
    if own >= full.shape[axis] or across < full.shape[other]:
        return
    chance = every_slice_chance(int(full.sum()), full.shape[other])
    if chance < _CHANCE:
        what = (
            f"all {across} slices along axis {other} reach the largest integer, and {own} of {full.shape[axis]} along "
            f"axis {axis}, which the scales belong to (probability by chance {chance:.0e})"
        )
        yield _WRONG.trap(context.layer, what, reached=own, reached_across=across, chance=chance)


def stored_integers(weight: Array, quantization: Quantization) -> Array:
    """Return the integers of a weight that was read as what they stand for."""
    shape = [1] * weight.ndim
    if quantization.axis is not None:
        shape[quantization.axis] = -1
    scales = np.asarray(quantization.scales, np.float64).reshape(shape)
    integers: Array = np.rint(weight / np.where(scales == 0, 1, scales))
    return integers


def largest_integer(integers: Array, dtype: str) -> float:
    """Return the end of the range: that of the type, or the largest number, if a quantizer uses a part of it only."""
    bits = 4 if "int4" in dtype else 16 if "int16" in dtype else 8
    return max(1.0, min(float(2 ** (bits - 1) - 1), float(np.abs(integers).max(initial=0))))


def slices_reached(full: Array, axis: int) -> int:
    """Return the number of slices along an axis in which some number is at the end of the range."""
    return int(full.any(tuple(at for at in range(full.ndim) if at != axis)).sum())


def every_slice_chance(count: int, slices: int) -> float:
    """Return the probability that `count` numbers at random places reach every one of `slices` slices."""
    if count > _MOST_FULL:
        return 1.0
    reached = np.zeros(slices + 1)  # probability of each number of reached slices
    reached[0] = 1
    old = np.arange(slices + 1) / slices
    for _ in range(count):
        reached[1:] = reached[1:] * old[1:] + reached[:-1] * (1 - old[:-1])
        reached[0] = 0
    return float(reached[-1])
