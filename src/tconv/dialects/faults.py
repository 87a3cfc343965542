"""The list of known faults of frameworks and runtimes: where a named version deviates from its own rules.

Each is recorded once, in `FAULTS`, with the dialects whose calls it affects, also where the runtime is no dialect of
its own (MNN, ONNX's reference evaluator); those of converters and fusions are in `converter_faults`. `Dialect.faults`
returns those of one dialect. `tconv.diagnose` names them where they could explain a difference, `tconv.check` where
they affect a layer; `tconv.diagnosis.causes.fault_effects` has the outputs that they give. The tests let a framework
differ only where a fault applies.
"""

from __future__ import annotations

import math
from functools import cache

from tconv.dialects.converter_faults import CONVERTER_FAULTS
from tconv.dialects.fault import Fault
from tconv.dialects.fault_conditions import (
    crop_beyond_full,
    empty_with_dynamic_weight,
    grouped_output_shape,
    inferred_size_differs,
    mnn_crops_otherwise,
    negative_pads,
    odd_same_crop,
    output_padding_from_stride,
    output_shape_in_halves,
    output_shape_without_same,
    pads_beside_output_shape,
    same_in_halves,
    shifted_pointwise,
    side_beyond_extent,
    side_beyond_full,
    ungrouped_same_upper_output_shape,
    valid_has_pads,
    valid_size_refused,
    xla_ends_process,
    xla_reads_outside,
)

_REFERENCE = "onnx 1.23.2, ReferenceEvaluator"
_OPENVINO_ONNX = "openvino 2026.4.1, ONNX importer"

_LIST = (
    Fault(
        "xla_reads_outside",
        ("jax", "flax", "equinox", "haiku"),
        "jaxlib 0.10.2, CPU",
        "with stride 1 in 1-D and 2-D, a crop of more than the kernel spans in front, and less behind, reads outside x",
        "openxla/xla#48713; observed with jaxlib 0.10.2",
        "unknown output",
        lambda geometry, input, native: xla_reads_outside(geometry),
    ),
    Fault(
        "keras_torch_same",
        ("keras",),
        "keras 3.10.0, torch backend",
        '"same" with an odd crop takes the larger half of it in front, one element off, or is refused',
        "keras-team/keras#22876; observed with keras 3.10.0, and no more with 3.15.1",
        "another output",
        odd_same_crop,
        reach="past",
    ),
    Fault(
        "xla_ends_process",
        ("jax", "flax", "equinox", "haiku", "keras"),
        "jaxlib 0.10.2",
        "2 taps at stride 2 cropped by 1 on both sides, with a kernel larger than x on the other axes, "
        "ends the process",
        "observed with jaxlib 0.10.2: SwapConvOperands in XLA's AlgebraicSimplifier",
        "end of the process",
        lambda geometry, input, native: xla_ends_process(geometry, input),
    ),
    Fault(
        "onnx_reference_groups",
        ("onnx",),
        _REFERENCE,
        "a depthwise node with bias gets the first channel's bias everywhere; most other groups are refused",
        "observed with onnx 1.23.2",
        "another output",
        lambda geometry, input, native: geometry.groups > 1,
        reach="development",
    ),
    Fault(
        "onnx_reference_output_shape",
        ("onnx",),
        _REFERENCE,
        "output_shape without SAME_UPPER or SAME_LOWER crops only the pads given in front; most sizes are refused",
        "observed with onnx 1.23.2",
        "another output",
        output_shape_without_same,
        reach="development",
    ),
    Fault(
        "onnx_output_padding_from_stride",
        ("onnx",),
        f"{_REFERENCE}; onnxruntime 1.32.0",
        "output_padding of at least the stride is refused, though it is below the dilation",
        "observed with onnx 1.23.2 and onnxruntime 1.32.0; onnxruntime 1.24 takes it",
        "refusal",
        output_padding_from_stride,
    ),
    Fault(
        "openvino_onnx_output_shape",
        ("onnx",),
        _OPENVINO_ONNX,
        "output_shape with SAME_UPPER crops the larger half in front",
        "observed with openvino 2026.4.1",
        "another output",
        ungrouped_same_upper_output_shape,
    ),
    Fault(
        "openvino_onnx_group_output_shape",
        ("onnx",),
        _OPENVINO_ONNX,
        "output_shape with groups crops nothing in front",
        "observed with openvino 2026.4.1",
        "another output",
        grouped_output_shape,
    ),
    Fault(
        "onnx_negative_pads",
        ("onnx",),
        f"onnxruntime 1.32.0; {_OPENVINO_ONNX}",
        "pads that SAME_* or output_shape make negative are taken as 0; ONNX Runtime refuses a stride or more",
        "observed with onnxruntime 1.32.0 (the dialect onnxruntime has this rule) and openvino 2026.4.1",
        "another output",
        negative_pads,
    ),
    Fault(
        "onnx_negative_pads_refused",
        ("onnx",),
        f"onnxruntime 1.32.0; {_OPENVINO_ONNX}",
        "negative pads are refused: by ONNX Runtime where the kernel's size is known, by OpenVINO in front",
        "observed with onnxruntime 1.32.0 and openvino 2026.4.1; onnxruntime 1.20.1 extends the output by them",
        "refusal",
        lambda geometry, input, native: min(native.get("pads") or [0]) < 0,
    ),
    Fault(
        "tinygrad_onnx_valid",
        ("onnx",),
        "tinygrad 0.14.0, ONNX importer",
        "auto_pad=VALID is taken as SAME_LOWER",
        "observed with tinygrad 0.14.0",
        "another output",
        valid_has_pads,
    ),
    Fault(
        "onnx_shape_inference_same",
        ("onnx",),
        "onnx 1.23.2, shape inference",
        "the inferred size under SAME_* is min(s*n, F) + output_padding; it is s*n",
        "onnx/onnx#4299; observed with onnx 1.23.2",
        "unknown output",
        inferred_size_differs,
        reach="development",
    ),
    Fault(
        "onnxruntime_same_swapped",
        ("onnx", "onnxruntime"),
        "onnxruntime before 1.13",
        "SAME_UPPER and SAME_LOWER were swapped",
        "microsoft/onnxruntime#12537; observed with onnxruntime 1.12.1, and no more with 1.13.1",
        "another output",
        same_in_halves,
        reach="past",
    ),
    Fault(
        "onnxruntime_output_shape_halves",
        ("onnx", "onnxruntime"),
        "onnxruntime before 1.14",
        "output_shape without SAME_UPPER or SAME_LOWER cropped the smaller half in front",
        "microsoft/onnxruntime#13311; observed with onnxruntime 1.13.1, and no more with 1.14.1",
        "another output",
        output_shape_in_halves,
        reach="past",
    ),
    Fault(
        "mnn_crop_in_front",
        ("onnx",),
        "MNN 3.6.1, ONNX importer",
        "SAME_* and output_shape crop the smaller half in front, of pads counted without dilation and output_padding",
        "observed with MNN 3.6.1, 1-D and 2-D, one group",
        "another output",
        mnn_crops_otherwise,
    ),
    Fault(
        "openvino_shifted_pointwise",
        ("openvino",),
        "openvino 2026.4.1, CPU",
        "with kernel 1, stride 1 and an output of the input's size, pads that shift the output are ignored",
        "observed with openvino 2026.4.1",
        "another output",
        shifted_pointwise,
    ),
    Fault(
        "openvino_group_pads",
        ("openvino",),
        "openvino 2026.4.1, group_convolution_backprop_data",
        "pads given beside output_shape are dropped",
        "observed with openvino 2026.4.1",
        "another output",
        pads_beside_output_shape,
    ),
    Fault(
        "paddle_ends_process",
        ("paddle",),
        "paddlepaddle 3.3.1, CPU",
        "padding that leaves less than nothing of the output can end the process with a segmentation fault",
        "observed with paddlepaddle 3.3.1",
        "end of the process",
        crop_beyond_full,
    ),
    Fault(
        "paddle_output_padding_from_stride",
        ("paddle",),
        "paddlepaddle 3.3.1, CPU",
        "output_padding of at least the stride is refused, though it is below the dilation",
        "observed with paddlepaddle 3.3.1",
        "refusal",
        output_padding_from_stride,
    ),
    Fault(
        "tinygrad_crop_and_extension",
        ("tinygrad",),
        "tinygrad 0.14.0",
        "a crop of more than the full result on one side, with an extension on the other, is refused",
        "observed with tinygrad 0.14.0",
        "refusal",
        side_beyond_full,
    ),
    Fault(
        "mlx_crop_from_input",
        ("mlx", "mlx_general"),
        "mlx 0.32.4",
        "a crop beyond extent - 1 is taken from the input, before its stride: wrong size and values, or an error",
        "observed with mlx 0.32.4",
        "another output",
        side_beyond_extent,
    ),
    Fault(
        "mlx_gradient_shape",
        ("mlx",),
        "mlx 0.32.4",
        "the gradient of x is shorter than x where output_padding exceeds padding",
        "observed with mlx 0.32.4",
        "another shape",
        lambda geometry, input, native: any(hi < 0 for _, hi in geometry.crop),
        "gradient of x",
    ),
    Fault(
        "torch_x86_int8_channels",
        ("torch",),
        "torch 2.13.0, quantized engines x86 and onednn on a CPU with VNNI",
        "the channels of an int8 weight are read in another order unless there are as many of input as of output",
        "observed with torch 2.13.0; the engines fbgemm and qnnpack are right",
        "another output",
        lambda geometry, input, native: True,  # which calls, their channels tell
        "int8 layer",
        lambda layer: layer.in_channels != layer.out_channels,
    ),
    Fault(
        "ncnn_mat_planes",
        ("ncnn",),
        "ncnn 1.0.20261020, Python",
        "a grouped 2-D layer can read the planes of ncnn.Mat(array) at the wrong positions, where their size is not a "
        "multiple of 4 elements; ncnn.Mat(array).clone() is read right",
        "observed with ncnn 1.0.20261020",
        "unknown output",
        lambda geometry, input, native: geometry.ndim == 2 and geometry.groups > 1 and math.prod(input) % 4 > 0,
    ),
    Fault(
        "ncnn_empty_output",
        ("ncnn",),
        "ncnn 1.0.20261020",
        "with dynamic_weight, pads that leave nothing of a 2-D output end the process with a segmentation fault",
        "observed with ncnn 1.0.20261020",
        "end of the process",
        empty_with_dynamic_weight,
    ),
    Fault(
        "xnnpack_valid_size",
        ("tflite",),
        "ai-edge-litert 2.3.0, XNNPACK",
        'a "VALID" call in 2-D with an output_shape that the operator refuses gives another shape instead',
        "observed with ai-edge-litert 2.3.0",
        "unknown output",
        valid_size_refused,
    ),
)

_EVERY = (*_LIST, *CONVERTER_FAULTS)

FAULTS = {fault.key: fault for fault in _EVERY}
"""Every known fault, by its key."""


@cache
def faults_of(dialect: str) -> tuple[Fault, ...]:
    """Return the known faults that affect calls of this dialect."""
    return tuple(fault for fault in _EVERY if dialect in fault.dialects)
