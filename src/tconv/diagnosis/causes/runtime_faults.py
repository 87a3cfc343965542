"""Listed faults of named runtime versions, as changes of a call: what each makes of it instead.

The dialects list where a fault applies (`Dialect.faults`); this file says what comes out there, where that is known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from tconv.diagnosis.canonical_call import Setting
from tconv.diagnosis.causes.cause import Cause
from tconv.dialects import Dialect
from tconv.errors import TconvError

Words = dict[str, Any]


def _auto(native: Words) -> str:
    return str(native.get("auto_pad") or "NOTSET").upper()


def _same(native: Words) -> bool:
    return _auto(native).startswith("SAME")


def _sized(native: Words) -> bool:
    return native.get("output_shape") is not None


def _exchanged(s: Setting, native: Words) -> Setting:
    return s.with_geometry(crop=tuple((hi, lo) for lo, hi in s.geometry.crop))


def _other_half(s: Setting, native: Words) -> Setting:
    """An odd total shared out the other way; output_padding stays at the end."""
    crop = [(hi + op, lo - op) for (lo, hi), op in zip(s.geometry.crop, _extra(s, native), strict=True)]
    return s.with_geometry(crop=tuple(crop))


def _nothing_in_front(s: Setting, native: Words) -> Setting:
    return s.with_geometry(crop=tuple((0, lo + hi) for lo, hi in s.geometry.crop))


def _extra(s: Setting, native: Words) -> tuple[int, ...]:
    extra = native.get("output_padding") or 0
    return (extra,) * s.geometry.ndim if isinstance(extra, int) else tuple(extra)


def _negative(s: Setting, native: Words) -> list[bool]:
    """Per axis, whether the pads to share out are below 0."""
    return [lo + hi + op < 0 for (lo, hi), op in zip(s.geometry.crop, _extra(s, native), strict=True)]


def _no_negative_pads(s: Setting, native: Words) -> Setting:
    """Nothing in front; the size is what output_shape asks for, or F + output_padding."""
    axes = zip(s.geometry.crop, _extra(s, native), _negative(s, native), strict=True)
    crop = [((0, lo + hi if _sized(native) else -op) if below else (lo, hi)) for (lo, hi), op, below in axes]
    return s.with_geometry(crop=tuple(crop))


def _same_lower(s: Setting, native: Words) -> Setting:
    rest = [e - st for e, st in zip(s.geometry.extent, s.geometry.stride, strict=True)]
    return s.with_geometry(crop=tuple((total - total // 2, total // 2) for total in rest))


def _without_dilation(s: Setting, native: Words) -> Setting:
    rest = [k - st for k, st in zip(s.geometry.kernel, s.geometry.stride, strict=True)]
    return s.with_geometry(dilation=1, crop=tuple((max(total, 0) // 2, total - max(total, 0) // 2) for total in rest))


def _first_bias(s: Setting, native: Words) -> Setting | None:
    return None if s.bias is None else replace(s, bias=np.full_like(s.bias, s.bias[0]))


def _cropped_input(s: Setting, native: Words) -> Setting | None:
    """MLX: a crop beyond extent - 1 is taken from x, before its zeros are put in."""
    cut, crop = [], []
    for n, (lo, hi), e in zip(s.x.shape[2:], s.geometry.crop, s.geometry.extent, strict=True):
        before, behind = max(0, lo - (e - 1)), max(0, hi - (e - 1))
        if before + behind >= n:
            return None
        cut.append(slice(before, n - behind))
        crop.append((min(lo, e - 1), min(hi, e - 1)))
    window: Any = (..., *cut)
    return replace(s.with_geometry(crop=tuple(crop)), x=s.x[window])


class Known(NamedTuple):
    """One fault: where it is listed, which calls it meets, and what it makes of them."""

    versions: str
    what: str
    source: str
    dialects: tuple[str, ...]
    applies: Callable[[Setting, Words], bool]
    effect: Callable[[Setting, Words], Setting | None]


KNOWN = (
    Known(
        "onnxruntime before 1.13",
        "SAME_UPPER and SAME_LOWER were swapped",
        "microsoft/onnxruntime#12537",
        ("onnx", "onnxruntime"),
        lambda s, w: _same(w),
        _other_half,
    ),
    Known(
        "onnxruntime before 1.14",
        "output_shape without auto_pad cropped the smaller half in front",
        "microsoft/onnxruntime#13311",
        ("onnx", "onnxruntime"),
        lambda s, w: _sized(w) and not _same(w),
        _other_half,
    ),
    Known(
        "onnxruntime 1.32.0; OpenVINO, MNN, TVM and OpenCV importers",
        "pads that SAME_* or output_shape make negative are taken as 0",
        "observed with onnxruntime 1.32.0",
        ("onnx", "openvino"),
        lambda s, w: (_same(w) or _sized(w)) and any(_negative(s, w)),
        _no_negative_pads,
    ),
    Known(
        "openvino 2026.4.1, ONNX importer",
        "output_shape with SAME_UPPER crops the larger half in front",
        "observed with openvino 2026.4.1",
        ("onnx", "openvino"),
        lambda s, w: _sized(w) and _auto(w) == "SAME_UPPER",
        _other_half,
    ),
    Known(
        "openvino 2026.4.1, ONNX importer",
        "output_shape with groups crops nothing in front",
        "observed with openvino 2026.4.1",
        ("onnx", "openvino"),
        lambda s, w: _sized(w) and s.groups > 1,
        _nothing_in_front,
    ),
    Known(
        "onnx 1.23.2, ReferenceEvaluator; TVM and OpenCV importers",
        "output_shape is taken with pads of 0: nothing is cropped in front",
        "observed with onnx 1.23.2",
        ("onnx",),
        lambda s, w: _sized(w),
        _nothing_in_front,
    ),
    Known(
        "onnx 1.23.2, ReferenceEvaluator",
        "a depthwise node gets the first channel's bias everywhere",
        "observed with onnx 1.23.2",
        ("onnx",),
        lambda s, w: s.groups > 1 and s.bias is not None,
        _first_bias,
    ),
    Known(
        "MNN, ONNX importer",
        "SAME_LOWER, and output_shape without auto_pad, are done as SAME_UPPER",
        "observed with MNN",
        ("onnx",),
        lambda s, w: _auto(w) == "SAME_LOWER" or (_sized(w) and not _same(w)),
        _other_half,
    ),
    Known(
        "MNN, ONNX importer",
        "the dilation is ignored with SAME_*",
        "observed with MNN",
        ("onnx",),
        lambda s, w: _same(w) and max(s.geometry.dilation) > 1,
        _without_dilation,
    ),
    Known(
        "tinygrad 0.14.0, ONNX importer",
        "auto_pad=VALID is taken as SAME_LOWER",
        "observed with tinygrad 0.14.0",
        ("onnx", "tinygrad"),
        lambda s, w: _auto(w) == "VALID",
        _same_lower,
    ),
    Known(
        "keras 3.10.0, torch backend",
        '"same" with an odd crop takes the larger half of it in front',
        "keras-team/keras#22876",
        ("keras",),
        lambda s, w: str(w.get("padding")).lower() == "same",
        _exchanged,
    ),
    Known(
        "mlx 0.32.4",
        "a crop beyond extent - 1 is taken from the input, before its stride",
        "observed with mlx 0.32.4",
        ("mlx", "mlx_general"),
        lambda s, w: any(max(pair) >= e for pair, e in zip(s.geometry.crop, s.geometry.extent, strict=True)),
        _cropped_input,
    ),
)


def _effect(known: Known, native: Words, setting: Setting) -> Setting | None:
    return known.effect(setting, native)


def causes(setting: Setting, speaker: Dialect, native: Words) -> Iterator[Cause]:
    """The faults that this call would meet, as causes."""
    for known in KNOWN:
        if speaker.name in known.dialects and known.applies(setting, native):
            words = f"a listed fault, {known.versions}: {known.what} ({known.source})"
            yield Cause(
                f"{known.versions}: {known.what}", "fault", words, partial(_effect, known, native), source=known.source
            )


def unexplained(setting: Setting, speaker: Dialect, native: Words) -> list[str]:
    """Faults of this dialect that the call would meet, whatever they make of it: a place to look where nothing fits."""
    found = []
    for fault in speaker.faults:
        try:
            if fault.applies(setting.geometry, setting.x.shape[2:], native):
                found.append(f"{fault.versions}: {fault.what} ({fault.source})")
        except (TconvError, AttributeError, TypeError, ValueError):  # words that this rule was not written for
            continue
    return found
