"""Causes that are listed faults of named runtime versions: the call that each runtime makes of the given one.

The dialects list where a fault applies (`Dialect.faults`). This file has its effect, where that is known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from tconv.diagnosis.call_model import CallModel
from tconv.diagnosis.causes.cause import Cause, CauseContext
from tconv.dialects import Dialect
from tconv.errors import TconvError

Native = dict[str, Any]
"""Native arguments of a call."""


class RuntimeFault(NamedTuple):
    """One listed fault: the versions that have it, the calls that it changes, and its effect."""

    versions: str
    text: str
    source: str
    dialects: tuple[str, ...]
    applies: Callable[[CallModel, Native], bool]
    effect: Callable[[CallModel, Native], CallModel | None]


def causes(context: CauseContext) -> Iterator[Cause]:
    """Yield the listed faults that change this call."""
    for fault in RUNTIME_FAULTS:
        if context.dialect.name in fault.dialects and fault.applies(context.call, context.native):
            name = f"{fault.versions}: {fault.text}"
            text = f"a listed fault, {name} ({fault.source})"
            yield Cause(name, "fault", text, partial(_effect, fault, context.native), source=fault.source)


def _effect(fault: RuntimeFault, native: Native, call: CallModel) -> CallModel | None:
    return fault.effect(call, native)


def possible_faults(call: CallModel, dialect: Dialect, native: Native) -> list[str]:
    """Return the dialect's faults that apply to this call, known effect or not: hints where nothing fits."""
    found = []
    for fault in dialect.faults:
        try:
            if fault.applies(call.geometry, call.x.shape[2:], native):
                found.append(f"{fault.versions}: {fault.what} ({fault.source})")
        except (TconvError, AttributeError, TypeError, ValueError):  # arguments that this rule does not expect
            continue
    return found


# -- conditions and effects -------------------------------------------------------------------------------------------


def _auto_pad(native: Native) -> str:
    return str(native.get("auto_pad") or "NOTSET").upper()


def _has_same(native: Native) -> bool:
    return _auto_pad(native).startswith("SAME")


def _has_output_shape(native: Native) -> bool:
    return native.get("output_shape") is not None


def _sides_exchanged(call: CallModel, native: Native) -> CallModel:
    return call.with_geometry(crop=tuple((hi, lo) for lo, hi in call.geometry.crop))


def _halves_exchanged(call: CallModel, native: Native) -> CallModel:
    """Return the call whose odd totals are split with the larger half on the other side; output_padding stays."""
    crop = [(hi + op, lo - op) for (lo, hi), op in zip(call.geometry.crop, _output_padding(call, native), strict=True)]
    return call.with_geometry(crop=tuple(crop))


def _nothing_in_front(call: CallModel, native: Native) -> CallModel:
    return call.with_geometry(crop=tuple((0, lo + hi) for lo, hi in call.geometry.crop))


def _output_padding(call: CallModel, native: Native) -> tuple[int, ...]:
    extra = native.get("output_padding") or 0
    return (extra,) * call.geometry.ndim if isinstance(extra, int) else tuple(extra)


def _negative_pads(call: CallModel, native: Native) -> list[bool]:
    """Return, per axis, True if the sum of the pads is below 0."""
    return [lo + hi + op < 0 for (lo, hi), op in zip(call.geometry.crop, _output_padding(call, native), strict=True)]


def _no_negative_pads(call: CallModel, native: Native) -> CallModel:
    """Return the call with negative pads taken as 0: the size is that of output_shape, or F + output_padding."""
    axes = zip(call.geometry.crop, _output_padding(call, native), _negative_pads(call, native), strict=True)
    crop = [((0, lo + hi if _has_output_shape(native) else -op) if below else (lo, hi)) for (lo, hi), op, below in axes]
    return call.with_geometry(crop=tuple(crop))


def _same_lower(call: CallModel, native: Native) -> CallModel:
    rest = [e - st for e, st in zip(call.geometry.extent, call.geometry.stride, strict=True)]
    return call.with_geometry(crop=tuple((total - total // 2, total // 2) for total in rest))


def _without_dilation(call: CallModel, native: Native) -> CallModel:
    rest = [k - st for k, st in zip(call.geometry.kernel, call.geometry.stride, strict=True)]
    return call.with_geometry(
        dilation=1, crop=tuple((max(total, 0) // 2, total - max(total, 0) // 2) for total in rest)
    )


def _first_bias(call: CallModel, native: Native) -> CallModel | None:
    return None if call.bias is None else replace(call, bias=np.full_like(call.bias, call.bias[0]))


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


# -- the list -------------------------------------------------------------------------------------------------------

RUNTIME_FAULTS = (
    RuntimeFault(
        "onnxruntime before 1.13",
        "SAME_UPPER and SAME_LOWER were swapped",
        "microsoft/onnxruntime#12537",
        ("onnx", "onnxruntime"),
        lambda call, native: _has_same(native),
        _halves_exchanged,
    ),
    RuntimeFault(
        "onnxruntime before 1.14",
        "output_shape without auto_pad cropped the smaller half in front",
        "microsoft/onnxruntime#13311",
        ("onnx", "onnxruntime"),
        lambda call, native: _has_output_shape(native) and not _has_same(native),
        _halves_exchanged,
    ),
    RuntimeFault(
        "onnxruntime 1.32.0; OpenVINO, MNN, TVM and OpenCV importers",
        "pads that SAME_* or output_shape make negative are taken as 0",
        "observed with onnxruntime 1.32.0",
        ("onnx", "openvino"),
        lambda call, native: (_has_same(native) or _has_output_shape(native)) and any(_negative_pads(call, native)),
        _no_negative_pads,
    ),
    RuntimeFault(
        "openvino 2026.4.1, ONNX importer",
        "output_shape with SAME_UPPER crops the larger half in front",
        "observed with openvino 2026.4.1",
        ("onnx", "openvino"),
        lambda call, native: _has_output_shape(native) and _auto_pad(native) == "SAME_UPPER",
        _halves_exchanged,
    ),
    RuntimeFault(
        "openvino 2026.4.1, ONNX importer",
        "output_shape with groups crops nothing in front",
        "observed with openvino 2026.4.1",
        ("onnx", "openvino"),
        lambda call, native: _has_output_shape(native) and call.groups > 1,
        _nothing_in_front,
    ),
    RuntimeFault(
        "onnx 1.23.2, ReferenceEvaluator; TVM and OpenCV importers",
        "output_shape is taken with pads of 0: nothing is cropped in front",
        "observed with onnx 1.23.2",
        ("onnx",),
        lambda call, native: _has_output_shape(native),
        _nothing_in_front,
    ),
    RuntimeFault(
        "onnx 1.23.2, ReferenceEvaluator",
        "a depthwise node gets the first channel's bias everywhere",
        "observed with onnx 1.23.2",
        ("onnx",),
        lambda call, native: call.groups > 1 and call.bias is not None,
        _first_bias,
    ),
    RuntimeFault(
        "MNN, ONNX importer",
        "SAME_LOWER, and output_shape without auto_pad, are done as SAME_UPPER",
        "observed with MNN",
        ("onnx",),
        lambda call, native: _auto_pad(native) == "SAME_LOWER" or (_has_output_shape(native) and not _has_same(native)),
        _halves_exchanged,
    ),
    RuntimeFault(
        "MNN, ONNX importer",
        "the dilation is ignored with SAME_*",
        "observed with MNN",
        ("onnx",),
        lambda call, native: _has_same(native) and max(call.geometry.dilation) > 1,
        _without_dilation,
    ),
    RuntimeFault(
        "tinygrad 0.14.0, ONNX importer",
        "auto_pad=VALID is taken as SAME_LOWER",
        "observed with tinygrad 0.14.0",
        ("onnx", "tinygrad"),
        lambda call, native: _auto_pad(native) == "VALID",
        _same_lower,
    ),
    RuntimeFault(
        "keras 3.10.0, torch backend",
        '"same" with an odd crop takes the larger half of it in front',
        "keras-team/keras#22876",
        ("keras",),
        lambda call, native: str(native.get("padding")).lower() == "same",
        _sides_exchanged,
    ),
    RuntimeFault(
        "mlx 0.32.4",
        "a crop beyond extent - 1 is taken from the input, before its stride",
        "observed with mlx 0.32.4",
        ("mlx", "mlx_general"),
        lambda call, native: any(
            max(pair) >= e for pair, e in zip(call.geometry.crop, call.geometry.extent, strict=True)
        ),
        _cropped_input,
    ),
)
