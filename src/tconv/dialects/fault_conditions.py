"""Conditions of known faults: functions of a call that return True where a fault of the list affects it.

`faults` has the list. A condition takes the geometry, the input's spatial shape and the native arguments.
"""

from __future__ import annotations

import math
from typing import Any

from tconv._arguments import ints_of
from tconv.dialects.jax_padding import dilated_input_padding
from tconv.dialects.tensorflow_padding import legal_output_sizes, spatial_output_shape
from tconv.geometry import Geometry

Native = dict[str, Any]
Sizes = tuple[int, ...]


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


def auto_pad(native: Native) -> str:
    return str(native.get("auto_pad", "NOTSET"))


def is_same(native: Native) -> bool:
    return auto_pad(native) in ("SAME_UPPER", "SAME_LOWER")


def has_output_shape(native: Native) -> bool:
    return native.get("output_shape") is not None


def output_shape_without_same(geometry: Geometry, input: Sizes, native: Native) -> bool:
    return has_output_shape(native) and auto_pad(native) in ("NOTSET", "VALID")


def output_padding(geometry: Geometry, native: Native) -> Sizes:
    return ints_of(native.get("output_padding", 0), "output_padding", geometry.ndim)


def output_padding_from_stride(geometry: Geometry, input: Sizes, native: Native) -> bool:
    return any(op >= s for op, s in zip(output_padding(geometry, native), geometry.stride, strict=True))


def total_pads(geometry: Geometry, native: Native) -> Sizes:
    """Return the total of an ONNX node's pads on each axis, F + output_padding - L, which may be negative."""
    axes = zip(geometry.crop, output_padding(geometry, native), strict=True)
    return tuple(lo + hi + op for (lo, hi), op in axes)


def odd_pads(geometry: Geometry, native: Native) -> bool:
    """Return True if some axis has pads that are split into unequal halves. Negative pads are another fault."""
    return any(total > 0 and total % 2 for total in total_pads(geometry, native))


def same_in_halves(geometry: Geometry, input: Sizes, native: Native) -> bool:
    return is_same(native) and odd_pads(geometry, native)


def output_shape_in_halves(geometry: Geometry, input: Sizes, native: Native) -> bool:
    return output_shape_without_same(geometry, input, native) and odd_pads(geometry, native)


def ungrouped_same_upper_output_shape(geometry: Geometry, input: Sizes, native: Native) -> bool:
    stated = has_output_shape(native) and auto_pad(native) == "SAME_UPPER"
    return stated and geometry.groups == 1 and odd_pads(geometry, native)


def grouped_output_shape(geometry: Geometry, input: Sizes, native: Native) -> bool:
    return has_output_shape(native) and geometry.groups > 1 and any(lo for lo, _ in geometry.crop)


def negative_pads(geometry: Geometry, input: Sizes, native: Native) -> bool:
    """Return True for negative pads whose loss shows: any of SAME_*; of an output_shape those in front, or a stride."""
    totals = total_pads(geometry, native)
    if not has_output_shape(native):
        return is_same(native) and min(totals) < 0
    axes = zip(geometry.crop, totals, geometry.stride, strict=True)
    return any(total < 0 and (lo < 0 or lo + hi <= -s) for (lo, hi), total, s in axes)


def valid_has_pads(geometry: Geometry, input: Sizes, native: Native) -> bool:
    """Return True for VALID with pads of SAME that are not all 0."""
    axes = zip(geometry.extent, geometry.stride, output_padding(geometry, native), strict=True)
    valid = auto_pad(native) == "VALID" and not has_output_shape(native)
    return valid and any(e - s + op for e, s, op in axes)


def mnn_crop_in_front(geometry: Geometry, input: Sizes) -> Sizes:
    """Return the crop in front that MNN computes for SAME_* and output_shape: half of the undilated rest, towards 0."""
    axes = zip(geometry.stride, input, geometry.kernel, geometry.output_shape(input), strict=True)
    return tuple(int((s * (n - 1) + k - L) / 2) for s, n, k, L in axes)


def mnn_crops_otherwise(geometry: Geometry, input: Sizes, native: Native) -> bool:
    observed = geometry.ndim <= 2 and geometry.groups == 1
    if not observed or not (is_same(native) or has_output_shape(native)):
        return False
    return mnn_crop_in_front(geometry, input) != tuple(lo for lo, _ in geometry.crop)


def inferred_size_differs(geometry: Geometry, input: Sizes, native: Native) -> bool:
    if not is_same(native) or has_output_shape(native):
        return False
    axes = zip(geometry.stride, input, geometry.full_shape(input), output_padding(geometry, native), strict=True)
    return any(min(s * n, F) + op != s * n for s, n, F, op in axes)


def pads_beside_output_shape(geometry: Geometry, input: Sizes, native: Native) -> bool:
    """Return True for a grouped node of OpenVINO with an output_shape, whose pads in front matter."""
    begin, explicit = native.get("pads_begin"), str(native.get("auto_pad") or "explicit").lower() == "explicit"
    if geometry.groups == 1 or begin is None or not explicit or not has_output_shape(native):
        return False
    return any(ints_of(begin, "pads_begin", geometry.ndim))


def shifted_pointwise(geometry: Geometry, input: Sizes, native: Native) -> bool:
    pointwise = max(geometry.kernel) == max(geometry.stride) == 1
    return pointwise and any(lo for lo, _ in geometry.crop) and not any(lo + hi for lo, hi in geometry.crop)


def odd_same_crop(geometry: Geometry, input: Sizes, native: Native) -> bool:
    same = str(native.get("padding", "valid")).lower() == "same"
    return same and any(sum(pair) > 0 and sum(pair) % 2 for pair in geometry.crop)


def valid_size_refused(geometry: Geometry, input: Sizes, native: Native) -> bool:
    """Return True for a "VALID" call in 2-D with an output_shape that the operator's own kernel refuses."""
    if geometry.ndim != 2 or native.get("padding") != "VALID":
        return False
    large = spatial_output_shape(native.get("output_shape"), geometry, input, "TRANSPOSE_CONV", -1)
    axes = zip(large or (), input, geometry.extent, geometry.stride, strict=True)
    return any(L not in legal_output_sizes((0, 0), n, e, s) for L, n, e, s in axes)


def crop_beyond_full(geometry: Geometry, input: Sizes, native: Native) -> bool:
    return any(sum(pair) > F for pair, F in zip(geometry.crop, geometry.full_shape(input), strict=True))


def side_beyond_full(geometry: Geometry, input: Sizes, native: Native) -> bool:
    return any(max(pair) > F for pair, F in zip(geometry.crop, geometry.full_shape(input), strict=True))


def side_beyond_extent(geometry: Geometry, input: Sizes, native: Native) -> bool:
    return any(max(pair) >= e for pair, e in zip(geometry.crop, geometry.extent, strict=True))


def empty_with_dynamic_weight(geometry: Geometry, input: Sizes, native: Native) -> bool:
    empty = any(sum(pair) >= F for pair, F in zip(geometry.crop, geometry.full_shape(input), strict=True))
    return bool(native.get("dynamic_weight")) and geometry.ndim == 2 and empty
