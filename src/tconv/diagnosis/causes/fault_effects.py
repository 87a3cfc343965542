"""Causes that are listed faults of named runtime versions: the call that each runtime makes of the given one.

The list of faults, with versions, condition and source, is in `tconv.dialects.faults`. This file has the effect of each
fault whose outcome is "another output", by the fault's key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from tconv.diagnosis.call_model import CallModel
from tconv.diagnosis.causes.cause import Cause, CauseContext
from tconv.dialects import Dialect
from tconv.dialects.fault import Fault
from tconv.dialects.fault_conditions import mnn_crop_in_front, total_pads
from tconv.errors import TconvError

Native = dict[str, Any]
"""Native arguments of a call."""
Effect = Callable[[CallModel, Native], CallModel | None]
"""Function that returns the call as a runtime with the fault makes it; None where its numbers are not known."""


def causes(context: CauseContext) -> Iterator[Cause]:
    """Yield the listed faults that change this call."""
    computations = ("layer", "int8 layer") if context.quantized else ("layer",)
    for fault in _applying(context.call, context.dialect, context.native, computations):
        if fault.key in EFFECTS:
            text = f"a listed fault, {fault.name} ({fault.source})"
            change = partial(_changed, EFFECTS[fault.key], context.native)
            yield Cause(fault.name, "fault", text, change, source=fault.source)


def possible_faults(call: CallModel, dialect: Dialect, native: Native) -> list[str]:
    """Return the dialect's faults that apply to this call, known effect or not: hints where nothing fits."""
    return [f"{fault.name} ({fault.source})" for fault in _applying(call, dialect, native, ("layer",))]


def _applying(call: CallModel, dialect: Dialect, native: Native, computations: Sequence[str]) -> Iterator[Fault]:
    for fault in dialect.faults:
        if fault.computation not in computations:
            continue
        try:
            applies = fault.applies(call.geometry, call.x.shape[2:], native)
        except (TconvError, AttributeError, TypeError, ValueError):  # arguments that this rule does not expect
            continue
        if applies:
            yield fault


def _changed(effect: Effect, native: Native, call: CallModel) -> CallModel | None:
    return effect(call, native)


def _is_depthwise(call: CallModel) -> bool:
    return call.in_channels == call.out_channels == call.groups


# -- effects ----------------------------------------------------------------------------------------------------------


def _with_front(call: CallModel, front: list[int]) -> CallModel:
    """Return the call with this crop in front, and an output of the same size."""
    crop = [(first, lo + hi - first) for first, (lo, hi) in zip(front, call.geometry.crop, strict=True)]
    return call.with_geometry(crop=tuple(crop))


def _nothing_in_front(call: CallModel, native: Native) -> CallModel:
    return _with_front(call, [0] * call.geometry.ndim)


def _halves_exchanged(call: CallModel, native: Native) -> CallModel:
    """Return the call whose odd pads are split with the larger half on the other side; negative pads are 0 in front."""
    totals = total_pads(call.geometry, native)
    return _with_front(
        call, [total - lo if total > 0 else 0 for total, (lo, _) in zip(totals, call.geometry.crop, strict=True)]
    )


def _no_negative_pads(call: CallModel, native: Native) -> CallModel:
    """Return the call with negative pads taken as 0: the size is that of output_shape, or F + output_padding."""
    crop = []
    for (lo, hi), total in zip(call.geometry.crop, total_pads(call.geometry, native), strict=True):
        whole = (0, lo + hi if native.get("output_shape") is not None else lo + hi - total)
        crop.append(whole if total < 0 else (lo, hi))
    return call.with_geometry(crop=tuple(crop))


def _pads_as_given(call: CallModel, native: Native) -> CallModel | None:
    """Return the call with only the given pads in front; None where the reference evaluator refuses the node."""
    g = call.geometry
    pads = list(native.get("pads") or [0] * 2 * g.ndim)
    axes = zip(g.crop, pads[: g.ndim], pads[g.ndim :], g.stride, strict=True)
    fits = all(0 <= begin + end - (lo + hi) < s for (lo, hi), begin, end, s in axes)
    return _with_front(call, pads[: g.ndim]) if fits and (g.groups == 1 or _is_depthwise(call)) else None


def _same_lower(call: CallModel, native: Native) -> CallModel:
    """Return the call with the pads of SAME_LOWER. The given crop is VALID's, (0, -output_padding)."""
    g, crop = call.geometry, []
    for e, s, (_, hi) in zip(g.extent, g.stride, g.crop, strict=True):
        total = e - s - hi
        crop.append((total - total // 2, total // 2 + hi))
    return call.with_geometry(crop=tuple(crop))


def _mnn_crop(call: CallModel, native: Native) -> CallModel:
    return _with_front(call, list(mnn_crop_in_front(call.geometry, call.x.shape[2:])))


def _odd_crop_exchanged(call: CallModel, native: Native) -> CallModel:
    crop = [(hi, lo) if lo + hi > 0 else (lo, hi) for lo, hi in call.geometry.crop]
    return call.with_geometry(crop=tuple(crop))


def _uncropped(call: CallModel, native: Native) -> CallModel:
    return call.with_geometry(crop=0)


def _first_bias(call: CallModel, native: Native) -> CallModel | None:
    """Return a depthwise call with the first channel's bias everywhere; other grouped nodes are refused."""
    if call.bias is None or not _is_depthwise(call):
        return None
    return replace(call, bias=np.full_like(call.bias, call.bias[0]))


def _cropped_input(call: CallModel, native: Native) -> CallModel | None:
    """Return the call as MLX makes it: a crop beyond extent - 1 is cut from x before its zeros are inserted."""
    cut, crop = [], []
    for n, (lo, hi), e in zip(call.x.shape[2:], call.geometry.crop, call.geometry.extent, strict=True):
        before, behind = max(0, lo - (e - 1)), max(0, hi - (e - 1))
        if before + behind >= n:
            return None
        cut.append(slice(before, n - behind))
        crop.append((min(lo, e - 1), min(hi, e - 1)))
    window: Any = (..., *cut)
    return replace(call.with_geometry(crop=tuple(crop)), x=call.x[window])


def _channels_read_in_another_order(call: CallModel, native: Native) -> CallModel | None:
    """Return the call as PyTorch's int8 kernels make it: each group's [C_in, C_out] is written as [C_out, C_in].

    None where there are as many of each, which are read right.
    """
    G, inner, outer = call.groups, call.in_channels // call.groups, call.weight.shape[1]
    if inner == outer:
        return None
    taps = call.weight.shape[2:]
    swapped = np.ascontiguousarray(call.weight.reshape(G, outer, inner, *taps).swapaxes(1, 2))
    read = swapped.reshape(G, outer, inner, *taps).swapaxes(1, 2)
    return replace(call, weight=np.ascontiguousarray(read).reshape(call.weight.shape))


EFFECTS: dict[str, Effect] = {
    "keras_torch_same": _odd_crop_exchanged,
    "onnx_reference_groups": _first_bias,
    "onnx_reference_output_shape": _pads_as_given,
    "openvino_onnx_output_shape": _halves_exchanged,
    "openvino_onnx_group_output_shape": _nothing_in_front,
    "onnx_negative_pads": _no_negative_pads,
    "tinygrad_onnx_valid": _same_lower,
    "onnxruntime_same_swapped": _halves_exchanged,
    "onnxruntime_output_shape_halves": _halves_exchanged,
    "mnn_crop_in_front": _mnn_crop,
    "openvino_shifted_pointwise": _uncropped,
    "openvino_group_pads": _nothing_in_front,
    "mlx_crop_from_input": _cropped_input,
    "torch_x86_int8_channels": _channels_read_in_another_order,
}
"""Effect of each listed fault whose outcome is "another output", by its key in `tconv.dialects.faults.FAULTS`."""
