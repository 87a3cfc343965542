"""The list of known faults of frameworks and runtimes: where a named version deviates from its own rules.

Each is recorded once, in `FAULTS`, with the dialects whose calls it affects, also where the runtime is no dialect of
its own (MNN, ONNX's reference evaluator). `Dialect.faults` returns those of one dialect. `tconv.diagnose` names them
where they could explain a difference; `tconv.diagnosis.causes.fault_effects` has the outputs that they give. The tests
let a framework differ only where a fault applies.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from tconv._arguments import ints_of
from tconv.dialects.jax_padding import dilated_input_padding
from tconv.dialects.tensorflow_padding import legal_output_sizes, spatial_output_shape
from tconv.geometry import Geometry

Native = dict[str, Any]
Sizes = tuple[int, ...]
Outcome = Literal["another output", "unknown output", "refusal", "end of the process"]


@dataclass(frozen=True)
class Fault:
    """Known fault of a named version, and the calls that it affects."""

    key: str
    """Name of this fault in `FAULTS`."""
    dialects: tuple[str, ...]
    """Dialects whose calls it affects."""
    versions: str
    """Package and versions, as in "onnxruntime 1.32.0"."""
    what: str
    """Description of the fault in a sentence: the behaviour in place of the rules."""
    source: str
    """An issue, owner/repo#number, or "observed" with the version it was observed with."""
    outcome: Outcome
    """Result of an affected call. "another output" has its numbers in `tconv.diagnosis.causes.fault_effects`."""
    applies: Callable[[Geometry, Sizes, Native], bool]
    """Condition: True for the geometry, the input's spatial shape and the native arguments of an affected call."""

    @property
    def name(self) -> str:
        """Versions and description in one line."""
        return f"{self.versions}: {self.what}"


# -- conditions --------------------------------------------------------------------------------------------------


def xla_reads_outside(geometry: Geometry) -> bool:
    """Return True where XLA's CPU kernel may read outside x: some a < 0 and 0 < b <= -a, and nothing is dilated."""
    undilated = geometry.ndim <= 2 and max(*geometry.stride, *geometry.dilation) == 1
    return undilated and any(a < 0 < b <= -a for a, b in dilated_input_padding(geometry))


def xla_ends_process(geometry: Geometry, input: Sizes) -> bool:
    """Return True where XLA ends the process.

    It exchanges input and kernel where the kernel is larger, and forgets to on an unpadded axis of 2 taps.
    """
    if geometry.groups > 1:
        return False
    padding = dilated_input_padding(geometry)
    axes = list(zip(input, geometry.kernel, geometry.stride, geometry.dilation, padding, strict=True))
    forgotten = [(k, s, d, pad) == (2, 2, 1, (0, 0)) for _, k, s, d, pad in axes]
    others = [(n, k) for (n, k, *_), skip in zip(axes, forgotten, strict=True) if not skip]
    kernel_is_larger = math.prod(k for _, k in others) > math.prod(n for n, _ in others)
    return kernel_is_larger and any(skip and n != 2 for skip, n in zip(forgotten, input, strict=True))


def _auto_pad(native: Native) -> str:
    return str(native.get("auto_pad", "NOTSET"))


def _is_same(native: Native) -> bool:
    return _auto_pad(native) in ("SAME_UPPER", "SAME_LOWER")


def _has_output_shape(native: Native) -> bool:
    return native.get("output_shape") is not None


def _output_shape_without_same(geometry: Geometry, input: Sizes, native: Native) -> bool:
    return _has_output_shape(native) and _auto_pad(native) in ("NOTSET", "VALID")


def _output_padding(geometry: Geometry, native: Native) -> Sizes:
    return ints_of(native.get("output_padding", 0), "output_padding", geometry.ndim)


def _output_padding_from_stride(geometry: Geometry, input: Sizes, native: Native) -> bool:
    return any(op >= s for op, s in zip(_output_padding(geometry, native), geometry.stride, strict=True))


def total_pads(geometry: Geometry, native: Native) -> Sizes:
    """Return the total of an ONNX node's pads on each axis, F + output_padding - L, which may be negative."""
    axes = zip(geometry.crop, _output_padding(geometry, native), strict=True)
    return tuple(lo + hi + op for (lo, hi), op in axes)


def _odd_pads(geometry: Geometry, native: Native) -> bool:
    """Return True if some axis has pads that are split into unequal halves. Negative pads are another fault."""
    return any(total > 0 and total % 2 for total in total_pads(geometry, native))


def _same_in_halves(geometry: Geometry, input: Sizes, native: Native) -> bool:
    return _is_same(native) and _odd_pads(geometry, native)


def _output_shape_in_halves(geometry: Geometry, input: Sizes, native: Native) -> bool:
    return _output_shape_without_same(geometry, input, native) and _odd_pads(geometry, native)


def _ungrouped_same_upper_output_shape(geometry: Geometry, input: Sizes, native: Native) -> bool:
    stated = _has_output_shape(native) and _auto_pad(native) == "SAME_UPPER"
    return stated and geometry.groups == 1 and _odd_pads(geometry, native)


def _grouped_output_shape(geometry: Geometry, input: Sizes, native: Native) -> bool:
    return _has_output_shape(native) and geometry.groups > 1 and any(lo for lo, _ in geometry.crop)


def _negative_pads(geometry: Geometry, input: Sizes, native: Native) -> bool:
    negative = any(total < 0 for total in total_pads(geometry, native))
    return negative and (_is_same(native) or _has_output_shape(native))


def _valid_has_pads(geometry: Geometry, input: Sizes, native: Native) -> bool:
    """Return True for VALID with pads of SAME that are not all 0."""
    axes = zip(geometry.extent, geometry.stride, _output_padding(geometry, native), strict=True)
    valid = _auto_pad(native) == "VALID" and not _has_output_shape(native)
    return valid and any(e - s + op for e, s, op in axes)


def mnn_crop_in_front(geometry: Geometry, input: Sizes) -> Sizes:
    """Return the crop in front that MNN computes for SAME_* and output_shape: half of the undilated rest, towards 0."""
    axes = zip(geometry.stride, input, geometry.kernel, geometry.output_shape(input), strict=True)
    return tuple(int((s * (n - 1) + k - L) / 2) for s, n, k, L in axes)


def _mnn_crops_otherwise(geometry: Geometry, input: Sizes, native: Native) -> bool:
    observed = geometry.ndim <= 2 and geometry.groups == 1
    if not observed or not (_is_same(native) or _has_output_shape(native)):
        return False
    return mnn_crop_in_front(geometry, input) != tuple(lo for lo, _ in geometry.crop)


def _inferred_size_differs(geometry: Geometry, input: Sizes, native: Native) -> bool:
    if not _is_same(native) or _has_output_shape(native):
        return False
    axes = zip(geometry.stride, input, geometry.full_shape(input), _output_padding(geometry, native), strict=True)
    return any(min(s * n, F) + op != s * n for s, n, F, op in axes)


def _pads_beside_output_shape(geometry: Geometry, input: Sizes, native: Native) -> bool:
    """Return True for a grouped node of OpenVINO with an output_shape, whose pads in front matter."""
    begin, explicit = native.get("pads_begin"), str(native.get("auto_pad") or "explicit").lower() == "explicit"
    if geometry.groups == 1 or begin is None or not explicit or not _has_output_shape(native):
        return False
    return any(ints_of(begin, "pads_begin", geometry.ndim))


def _shifted_pointwise(geometry: Geometry, input: Sizes, native: Native) -> bool:
    pointwise = max(geometry.kernel) == max(geometry.stride) == 1
    return pointwise and any(lo for lo, _ in geometry.crop) and not any(lo + hi for lo, hi in geometry.crop)


def _odd_same_crop(geometry: Geometry, input: Sizes, native: Native) -> bool:
    same = str(native.get("padding", "valid")).lower() == "same"
    return same and any(sum(pair) > 0 and sum(pair) % 2 for pair in geometry.crop)


def _valid_size_refused(geometry: Geometry, input: Sizes, native: Native) -> bool:
    """Return True for a "VALID" call in 2-D with an output_shape that the operator's own kernel refuses."""
    if geometry.ndim != 2 or native.get("padding") != "VALID":
        return False
    large = spatial_output_shape(native.get("output_shape"), geometry, input, "TRANSPOSE_CONV", -1)
    axes = zip(large, input, geometry.extent, geometry.stride, strict=True)
    return any(L not in legal_output_sizes((0, 0), n, e, s) for L, n, e, s in axes)


def _crop_beyond_full(geometry: Geometry, input: Sizes, native: Native) -> bool:
    return any(sum(pair) > F for pair, F in zip(geometry.crop, geometry.full_shape(input), strict=True))


def _side_beyond_full(geometry: Geometry, input: Sizes, native: Native) -> bool:
    return any(max(pair) > F for pair, F in zip(geometry.crop, geometry.full_shape(input), strict=True))


def _side_beyond_extent(geometry: Geometry, input: Sizes, native: Native) -> bool:
    return any(max(pair) >= e for pair, e in zip(geometry.crop, geometry.extent, strict=True))


def _empty_with_dynamic_weight(geometry: Geometry, input: Sizes, native: Native) -> bool:
    empty = any(sum(pair) >= F for pair, F in zip(geometry.crop, geometry.full_shape(input), strict=True))
    return bool(native.get("dynamic_weight")) and geometry.ndim == 2 and empty


# -- the list ----------------------------------------------------------------------------------------------------

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
        _odd_same_crop,
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
    ),
    Fault(
        "onnx_reference_output_shape",
        ("onnx",),
        _REFERENCE,
        "output_shape without SAME_UPPER or SAME_LOWER crops only the pads given in front; most sizes are refused",
        "observed with onnx 1.23.2",
        "another output",
        _output_shape_without_same,
    ),
    Fault(
        "onnx_output_padding_from_stride",
        ("onnx",),
        f"{_REFERENCE}; onnxruntime 1.32.0",
        "output_padding of at least the stride is refused, though it is below the dilation",
        "observed with onnx 1.23.2 and onnxruntime 1.32.0; onnxruntime 1.24 takes it",
        "refusal",
        _output_padding_from_stride,
    ),
    Fault(
        "openvino_onnx_output_shape",
        ("onnx",),
        _OPENVINO_ONNX,
        "output_shape with SAME_UPPER crops the larger half in front",
        "observed with openvino 2026.4.1",
        "another output",
        _ungrouped_same_upper_output_shape,
    ),
    Fault(
        "openvino_onnx_group_output_shape",
        ("onnx",),
        _OPENVINO_ONNX,
        "output_shape with groups crops nothing in front",
        "observed with openvino 2026.4.1",
        "another output",
        _grouped_output_shape,
    ),
    Fault(
        "onnx_negative_pads",
        ("onnx",),
        f"onnxruntime 1.32.0; {_OPENVINO_ONNX}",
        "pads that SAME_* or output_shape make negative are taken as 0",
        "observed with onnxruntime 1.32.0 (the dialect onnxruntime has this rule) and openvino 2026.4.1",
        "another output",
        _negative_pads,
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
        _valid_has_pads,
    ),
    Fault(
        "onnx_shape_inference_same",
        ("onnx",),
        "onnx 1.23.2, shape inference",
        "the inferred size under SAME_* is min(s*n, F) + output_padding; it is s*n",
        "onnx/onnx#4299; observed with onnx 1.23.2",
        "unknown output",
        _inferred_size_differs,
    ),
    Fault(
        "onnxruntime_same_swapped",
        ("onnx", "onnxruntime"),
        "onnxruntime before 1.13",
        "SAME_UPPER and SAME_LOWER were swapped",
        "microsoft/onnxruntime#12537; observed with onnxruntime 1.12.1, and no more with 1.13.1",
        "another output",
        _same_in_halves,
    ),
    Fault(
        "onnxruntime_output_shape_halves",
        ("onnx", "onnxruntime"),
        "onnxruntime before 1.14",
        "output_shape without SAME_UPPER or SAME_LOWER cropped the smaller half in front",
        "microsoft/onnxruntime#13311; observed with onnxruntime 1.13.1, and no more with 1.14.1",
        "another output",
        _output_shape_in_halves,
    ),
    Fault(
        "mnn_crop_in_front",
        ("onnx",),
        "MNN 3.6.1, ONNX importer",
        "SAME_* and output_shape crop the smaller half in front, of pads counted without dilation and output_padding",
        "observed with MNN 3.6.1, 1-D and 2-D, one group",
        "another output",
        _mnn_crops_otherwise,
    ),
    Fault(
        "openvino_shifted_pointwise",
        ("openvino",),
        "openvino 2026.4.1, CPU",
        "with kernel 1, stride 1 and an output of the input's size, pads that shift the output are ignored",
        "observed with openvino 2026.4.1",
        "another output",
        _shifted_pointwise,
    ),
    Fault(
        "openvino_group_pads",
        ("openvino",),
        "openvino 2026.4.1, group_convolution_backprop_data",
        "pads given beside output_shape are dropped",
        "observed with openvino 2026.4.1",
        "another output",
        _pads_beside_output_shape,
    ),
    Fault(
        "paddle_ends_process",
        ("paddle",),
        "paddlepaddle 3.3.1, CPU",
        "padding that leaves less than nothing of the output can end the process with a segmentation fault",
        "observed with paddlepaddle 3.3.1",
        "end of the process",
        _crop_beyond_full,
    ),
    Fault(
        "paddle_output_padding_from_stride",
        ("paddle",),
        "paddlepaddle 3.3.1, CPU",
        "output_padding of at least the stride is refused, though it is below the dilation",
        "observed with paddlepaddle 3.3.1",
        "refusal",
        _output_padding_from_stride,
    ),
    Fault(
        "tinygrad_crop_and_extension",
        ("tinygrad",),
        "tinygrad 0.14.0",
        "a crop of more than the full result on one side, with an extension on the other, is refused",
        "observed with tinygrad 0.14.0",
        "refusal",
        _side_beyond_full,
    ),
    Fault(
        "mlx_crop_from_input",
        ("mlx", "mlx_general"),
        "mlx 0.32.4",
        "a crop beyond extent - 1 is taken from the input, before its stride: wrong size and values, or an error",
        "observed with mlx 0.32.4",
        "another output",
        _side_beyond_extent,
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
        _empty_with_dynamic_weight,
    ),
    Fault(
        "xnnpack_valid_size",
        ("tflite",),
        "ai-edge-litert 2.3.0, XNNPACK",
        'a "VALID" call in 2-D with an output_shape that the operator refuses gives another shape instead',
        "observed with ai-edge-litert 2.3.0",
        "unknown output",
        _valid_size_refused,
    ),
)

FAULTS = {fault.key: fault for fault in _LIST}
"""Every known fault, by its key."""


@cache
def faults_of(dialect: str) -> tuple[Fault, ...]:
    """Return the known faults that affect calls of this dialect."""
    return tuple(fault for fault in _LIST if dialect in fault.dialects)
