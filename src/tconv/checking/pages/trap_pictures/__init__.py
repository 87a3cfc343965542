"""One picture per trap: the thing that goes wrong, in numbers small enough to count.

`PICTURES` has those that belong to one trap; the other listed faults of runtimes have the picture of their outcome.
"""

from __future__ import annotations

from collections.abc import Callable

from tconv.checking.pages.trap_pictures import channels, graphs, numbers, sizes
from tconv.checking.trap import Trap
from tconv.dialects.faults import FAULTS

__all__ = ["OUTCOMES", "PICTURES", "trap_picture"]

PICTURES: dict[str, Callable[[Trap], str]] = {
    "frozen-output-padding": sizes.frozen_padding,
    "frozen-output-shape": sizes.frozen_shape,
    "pad-in-front": sizes.pad_in_front,
    "pad-mode": sizes.pad_mode,
    "batchnorm-behind": graphs.foldable_norm,
    "inserted-zeros": numbers.inserted_zeros,
    "weight-at-run-time": graphs.computed_weight,
    "batchnorm-wrong-axis": channels.wrong_axis,
    "scales-per-input-channel": channels.wrong_axis,
    "scales-on-wrong-axis": channels.wrong_axis,
    "grouped-per-channel-scales": channels.grouped_scales,
    "non-finite-weight": numbers.nan_spreads,
    "zero-weight": channels.zero_weight,
    "zero-channels": channels.dead_channels,
    "equal-channels": channels.equal_channels,
    "float16-overflow": numbers.half_floats,
    "float16-underflow": numbers.half_floats,
    "float16-layer": numbers.half_sums,
    "bfloat16-layer": numbers.half_sums,
    "float64-layer": graphs.refused,
    "uneven-overlap": numbers.uneven_overlap,
    "outputs-without-tap": numbers.gaps,
    "huge-kernel": numbers.huge_kernel,
    "most-targets-refuse": numbers.limits,
    "new-opset": graphs.newer_file,
    "bfloat16-before-opset-22": graphs.version_line,
    "invalid-arguments": graphs.refused,
    "custom-operator": graphs.custom_operator,
    "run-differs": graphs.other_numbers,
    "run-other-shape": sizes.other_size,
    "run-fails": sizes.refused_sizes,
    "openvino-fused-pad": sizes.fused_pad,
    "torch-x86-int8-channels": channels.swapped_channels,
    "torchao-input-scales": channels.wrong_axis,
    "coremltools-grouped-batchnorm": channels.unequal_groups,
    "onnx-negative-pads": sizes.negative_pads,
    "onnx-negative-pads-refused": sizes.negative_pads,
    "keras-onnx-negative-pads": sizes.negative_pads,
    "keras-torch-same": sizes.halves,
    "onnxruntime-same-swapped": sizes.halves,
    "onnxruntime-output-shape-halves": sizes.halves,
    "tf2onnx-crop-in-halves": sizes.halves,
    "mnn-crop-in-front": sizes.halves,
}
"""Function that draws each trap, by its key."""

OUTCOMES: dict[str, Callable[[Trap], str]] = {
    "another output": graphs.other_numbers,
    "unknown output": graphs.unknown_numbers,
    "another shape": sizes.other_size,
    "refusal": graphs.refused,
    "end of the process": graphs.process_ends,
}
"""Function that draws a listed fault, by its outcome."""


def trap_picture(key: str, trap: Trap) -> str:
    """Return the picture of a trap as HTML; nothing for a trap that is not known, unless it is a refusal."""
    draw = PICTURES.get(key)
    if draw is None:
        fault = FAULTS.get(key.replace("-", "_"))
        draw = OUTCOMES["refusal"] if trap.severity == "refused" else None
        draw = draw if fault is None else OUTCOMES.get(fault.outcome)
    return draw(trap) if draw is not None else ""
