"""Traps of quantized weights: scales along the wrong axis, and integer kernels that need others."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tconv._arrays import Array
from tconv.checking.trap import Trap
from tconv.checking.traps.trap_context import TrapContext, TrapKind
from tconv.models.inventory.model_layer import Quantization

_FULL = 0.95  # share of slices along an axis that reach the largest integer, from which it is that of the scales
_NOT_FULL = 0.5
_MOST_NUMBERS = 1 << 26

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
    "The integers fill their range in each slice along the other channel axis, and do not along the axis of the "
    "scales: "
    "the weight was quantized along one axis, and is read along the other. Right weights fill it along their own axis, "
    f"because each scale is the slice's largest number; named where {_FULL:.0%} of the other slices are full, and "
    f"fewer "
    f"than {_NOT_FULL:.0%} of their own.",
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
    "one scale for the whole weight, or one layer for each group: tconv rewrite --steps split-groups",
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
    own, across = (filled_share(integers, at, quantization.dtype) for at in (quantization.axis, other))
    if across >= _FULL and own < _NOT_FULL and integers.shape[other] >= 4:
        what = (
            f"{across:.0%} of the {integers.shape[other]} slices along axis {other} reach the largest integer, and "
            f"{own:.0%} of the {integers.shape[quantization.axis]} along axis {quantization.axis}, which the scales "
            "belong to"
        )
        yield _WRONG.trap(context.layer, what, filled=own, filled_across=across)


def stored_integers(weight: Array, quantization: Quantization) -> Array:
    """Return the integers of a weight that was read as what they stand for."""
    shape = [1] * weight.ndim
    if quantization.axis is not None:
        shape[quantization.axis] = -1
    scales = np.asarray(quantization.scales, np.float64).reshape(shape)
    integers: Array = np.rint(weight / np.where(scales == 0, 1, scales))
    return integers


def filled_share(integers: Array, axis: int, dtype: str) -> float:
    """Return the share of slices along an axis whose largest integer, without the zero point, is that of the type."""
    bits = 4 if "int4" in dtype else 16 if "int16" in dtype else 8
    axes = tuple(at for at in range(integers.ndim) if at != axis)
    sizes = np.abs(integers).max(axes)
    live = sizes > 0
    # symmetric ranges end at 127; some quantizers use 63 for chips without saturation, so the largest counts
    top = min(float(2 ** (bits - 1) - 1), float(sizes.max(initial=0)))
    return float((sizes[live] >= top - 0.5).mean()) if live.any() and top > 0 else 0.0
