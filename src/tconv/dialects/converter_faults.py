"""Known faults of converters, optimizers and fusions: correct layers that become other ones.

They depend on a layer's neighbours, channels or open sizes as much as on its call. `faults` has all others, and the
whole list.
"""

from __future__ import annotations

import math
from typing import Any

from tconv.dialects.fault import Fault, LayerSurroundings
from tconv.dialects.fault_conditions import Native, Sizes, has_output_shape, is_same, output_padding
from tconv.geometry import Geometry

BATCHNORMS = ("BatchNormalization", "batch_norm", "BatchNorm", "FusedBatchNorm")
"""Parts of the names that formats give a BatchNorm."""


def is_batchnorm(operation: Any) -> bool:
    """Return True for a BatchNorm of any format."""
    return any(name.lower() in operation.op.lower() for name in BATCHNORMS)


def zero_pad(operation: Any, ndim: int) -> list[tuple[int, int]] | None:
    """Return the zeros that an ONNX Pad adds around the spatial axes, (before, after) each; None for another one."""
    if operation.op != "Pad" or str(operation.attributes.get("mode", "constant")) != "constant":
        return None
    pads = operation.attributes.get("pads")
    value = operation.attributes.get("constant_value", operation.attributes.get("value", 0))
    try:
        numbers = [int(pad) for pad in pads or ()]
        filling = float(value or 0)
    except (TypeError, ValueError):
        return None
    half = len(numbers) // 2
    if filling or half != ndim + 2 or any(numbers[at] for at in (0, 1, half, half + 1)):
        return None
    pairs = list(zip(numbers[2:half], numbers[half + 2 :], strict=True))
    return pairs if any(map(any, pairs)) and min(map(min, pairs)) >= 0 else None


def _fused_pad(layer: LayerSurroundings) -> bool:
    """Return True for a zero Pad that OpenVINO subtracts from the pads, without the stride; it keeps larger ones."""
    g = layer.geometry
    added = zero_pad(layer.before[0], g.ndim) if layer.before else None
    if added is None:
        return False
    axes = list(zip(added, g.crop, g.stride, strict=True))
    fits = all(pad[0] <= crop[0] and pad[1] <= crop[1] for pad, crop, _ in axes)
    return fits and any(s > 1 and any(pad) for pad, _, s in axes)


def _same_pads(geometry: Geometry, input: Sizes, native: Native) -> bool:
    crops = any(lo > 0 or hi > 0 for lo, hi in geometry.crop)
    return is_same(native) and not has_output_shape(native) and crops


def _crop_in_front_of_output_shape(geometry: Geometry, input: Sizes, native: Native) -> bool:
    return has_output_shape(native) and any(lo for lo, _ in geometry.crop)


def _output_shape_decides(geometry: Geometry, input: Sizes, native: Native) -> bool:
    """Return True where the crop is another one than that of the pads alone."""
    n = geometry.ndim
    pads = list(native.get("pads") or [0] * 2 * n)
    extra = output_padding(geometry, native)
    own = tuple((pads[axis], pads[axis + n] - extra[axis]) for axis in range(n))
    return has_output_shape(native) and own != geometry.crop


def _not_in_halves(geometry: Geometry, input: Sizes, native: Native) -> bool:
    """Return True where the crop in front is not half of the whole crop, rounded towards 0."""
    return any(lo != int((lo + hi) / 2) for lo, hi in geometry.crop)


def _same_below_stride(geometry: Geometry, input: Sizes, native: Native) -> bool:
    same = str(native.get("padding", "")).lower() == "same"
    return same and _small_kernel(geometry, input, native)


def _small_kernel(geometry: Geometry, input: Sizes, native: Native) -> bool:
    return any(e < s for e, s in zip(geometry.extent, geometry.stride, strict=True))


def _always(geometry: Geometry, input: Sizes, native: Native) -> bool:
    return True


def _shared_columns(geometry: Geometry, input: Sizes, native: Native) -> bool:
    return geometry.groups > 1


def _mul_beside_channels(layer: LayerSurroundings) -> bool:
    """Return True for a Mul with as many factors as there are channels, along another axis."""
    if not layer.after or layer.after[0].op != "Mul":
        return False
    for factors in layer.after[0].constants.values():
        place = len(factors.shape) - layer.geometry.ndim - 1  # of the channels, from the last axis on
        channels = factors.shape[place] if place >= 0 else 1
        if math.prod(factors.shape) == layer.out_channels > 1 and channels == 1:
            return True
    return False


def _grouped_batchnorm(layer: LayerSurroundings) -> bool:
    several = layer.out_channels > layer.geometry.groups
    return several and bool(layer.after) and is_batchnorm(layer.after[0])


CONVERTER_FAULTS = (
    Fault(
        "openvino_fused_pad",
        ("onnx",),
        "openvino 2026.4.1",
        "a Pad with zeros in front is subtracted from the pads without the stride: 10 x 10 for 12 x 12",
        "observed with openvino 2026.4.1",
        "another shape",
        _always,
        "fusion",
        _fused_pad,
    ),
    Fault(
        "openvino_onnx_same_dynamic",
        ("onnx",),
        "openvino 2026.4.1, ONNX importer",
        "auto_pad=SAME_* is ignored where the input's size is open: nothing is cropped",
        "observed with openvino 2026.4.1",
        "another shape",
        _same_pads,
        "fusion",
        lambda layer: layer.open_sizes,
    ),
    Fault(
        "onnxslim_mul_beside_channels",
        ("onnx",),
        "onnxslim 0.1.98",
        "a Mul with one factor for each row or column is folded into the channels, if there are as many",
        "observed with onnxslim 0.1.98",
        "unknown output",
        _always,
        "conversion",
        _mul_beside_channels,
    ),
    Fault(
        "onnx2torch_output_shape",
        ("onnx",),
        "onnx2torch 1.5.15",
        "output_shape is ignored: only the pads crop",
        "observed with onnx2torch 1.5.15",
        "another shape",
        _output_shape_decides,
        "conversion",
        reach="on request",
    ),
    Fault(
        "tract_onnx_output_shape",
        ("onnx",),
        "tract 0.23.9, ONNX importer",
        "output_shape crops at the end alone",
        "observed with tract 0.23.9",
        "unknown output",
        _crop_in_front_of_output_shape,
        "conversion",
        reach="on request",
    ),
    Fault(
        "onnx2tf_volume_bias",
        ("onnx",),
        "onnx2tf 1.29.24",
        "the bias of a 3-D layer with one group is left out",
        "observed with onnx2tf 1.29.24",
        "unknown output",
        lambda geometry, input, native: geometry.ndim == 3 and geometry.groups == 1,
        "conversion",
        lambda layer: layer.bias,
        reach="on request",
    ),
    Fault(
        "onnxruntime_quantizer_groups",
        ("onnx",),
        "onnxruntime 1.32.0, quantize_static with per_channel",
        "a grouped layer with a bias is refused, because the weight has one scale for each channel of a group only",
        "observed with onnxruntime 1.32.0",
        "refusal",
        _shared_columns,
        "conversion",
        lambda layer: layer.bias and layer.out_channels > layer.geometry.groups,
        reach="on request",
    ),
    Fault(
        "tf2onnx_crop_in_halves",
        ("tensorflow",),
        "tf2onnx 1.17.0",
        "explicit paddings are dropped: half of the whole crop is taken in front",
        "observed with tf2onnx 1.17.0",
        "unknown output",
        _not_in_halves,
        "conversion",
        reach="on request",
    ),
    Fault(
        "keras_onnx_negative_pads",
        ("keras", "tensorflow"),
        "keras 3.15.1, export to ONNX; tf2onnx 1.17.0",
        "SAME with a kernel below the stride is written with negative pads, which ONNX Runtime refuses",
        "observed with keras 3.15.1 and onnxruntime 1.32.0",
        "refusal",
        _same_below_stride,
        "conversion",
        reach="on request",
    ),
    Fault(
        "nobuco_small_kernel",
        ("torch",),
        "nobuco 0.17.0",
        "with a kernel below the stride the output has s*n elements, s - k too many",
        "observed with nobuco 0.17.0",
        "another shape",
        _small_kernel,
        "conversion",
        reach="on request",
    ),
    Fault(
        "coremltools_grouped_batchnorm",
        ("torch",),
        "coremltools 9.0",
        "the BatchNorm behind is folded into the channels of another group",
        "observed with coremltools 9.0",
        "unknown output",
        _shared_columns,
        "conversion",
        _grouped_batchnorm,
        reach="on request",
    ),
    Fault(
        "torchao_input_scales",
        ("torch",),
        "torchao 0.18.0, quantizers with per-channel weights",
        "the scales belong to the input's channels, axis 0, where integer kernels need one for each output channel",
        "pytorch/pytorch#184076; observed with torchao 0.18.0",
        "refusal",
        _always,
        "conversion",
        lambda layer: layer.scales_axis == "I",
    ),
)
"""Known faults of conversions and fusions."""
