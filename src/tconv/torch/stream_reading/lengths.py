"""Padding, pooling and interpolation along time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any

from tconv.errors import StreamError
from tconv.models.steps.padding import Padding
from tconv.models.steps.pooling import Pooling
from tconv.models.steps.resizing import Resize
from tconv.torch.stream_reading.convolutions import check_channels_before_time
from tconv.torch.stream_reading.module_graph import ModuleGraphReader, arguments, number_of
from tconv.torch.stream_recording import RecordedOperation
from tconv.torch.stream_runs import OtherLengthError, Varying

_MODES = {"constant": "constant", "reflect": "reflect", "replicate": "edge"}

_MOST_MULTIPLE = 64
"""Largest multiple to which a module may pad, besides its strides."""


def end_of(added: Sequence[int], lengths: Sequence[int], strides: Iterable[int]) -> tuple[int, int]:
    """Return (hi, s): samples at the end of an input of each length, hi and more up to a multiple of s with these.

    `strides` are the s to try first; (hi, 1) for a number that is the same for all lengths. Raises StreamError.
    """
    if len(set(added)) == 1:
        return added[0], 1
    likely = sorted({*strides} - {1})
    for stride in [*likely, *(each for each in range(2, _MOST_MULTIPLE + 1) if each not in likely)]:
        hi = min(added)
        for low in range(hi, hi - stride, -1):
            if all(more == low + -(length + low) % stride for more, length in zip(added, lengths, strict=True)):
                return low, stride
    raise OtherLengthError(
        f"the end is at {list(added)} for inputs of {list(lengths)}: no rule of the length that a stream knows"
    )


def pad(reader: ModuleGraphReader, operation: RecordedOperation) -> int:
    """Read padding of time, with a rule for its end where that depends on the length."""
    a = arguments(operation, "input", "pad", mode="constant", value=None)
    layout, place, lengths = reader.layout(a.input), reader.place(a.input), reader.lengths(a.input)
    if a.mode not in _MODES:
        raise StreamError(f"pad has mode {a.mode!r}, which reads the other end of time")
    pairs = [a.pad[at : at + 2] for at in range(0, len(a.pad), 2)]
    for number, pair in enumerate(pairs):
        if tuple(pair) != (0, 0) and layout.axes[-1 - number] != "T":
            raise StreamError("pad adds channels or sessions")
    turn = len(layout.axes) - 1 - layout.time
    if turn >= len(pairs):
        return place
    lo, added = number_of(pairs[turn][0], "the padding before time"), pairs[turn][1]
    given = added.values if isinstance(added, Varying) else [number_of(added, "the padding")] * len(lengths)
    mode, value = _MODES[a.mode], float(reader.constant(a.value or 0, layout)[0])
    padded = [length + lo for length in lengths]
    try:
        hi, multiple = end_of(given, padded, reader.strides)
        steps = [Padding(((0, 0), (lo, hi)), mode, value, (1, multiple))]
    except StreamError:  # the rule may be one of the length without what is before it
        hi, multiple = end_of(given, lengths, reader.strides)
        steps = [Padding(((0, 0), (0, hi)), mode, value, (1, multiple)), Padding(((0, 0), (lo, 0)), mode, value)]
    if mode != "constant" and min(lo, hi) < 0:
        raise StreamError("pad reflects, or repeats, on one side and crops on the other")
    for step in steps:
        if step.sides[1] != (0, 0) or step.multiple[1] > 1:
            place = reader.add(step, place)
    return place


def interpolate(reader: ModuleGraphReader, operation: RecordedOperation) -> int:
    """Read interpolation by a factor."""
    a = arguments(
        operation,
        "input",
        size=None,
        scale_factor=None,
        mode="nearest",
        align_corners=None,
        recompute_scale_factor=None,
        antialias=False,
    )
    check_channels_before_time(reader, a.input, "interpolation")
    before, after = reader.lengths(a.input), reader.lengths(operation.results[0])
    factor = a.scale_factor[0] if isinstance(a.scale_factor, tuple) else a.scale_factor
    if factor is None:
        ratios = {Fraction(two, one) for one, two in zip(before, after, strict=True)}
        if len(ratios) > 1:
            raise StreamError(f"interpolation makes {list(after)} samples of {list(before)}: no common factor")
        exact = ratios.pop()
    else:
        exact = Fraction(factor).limit_denominator(1000)
        if float(exact) != float(factor):
            raise StreamError(f"interpolation has the factor {factor}, which is no short fraction")
    if a.align_corners or a.antialias or a.mode not in ("nearest", "linear", "nearest-exact"):
        kind = "corners at the ends of time" if a.align_corners else f"mode {a.mode!r}"
        raise StreamError(f"interpolation has {kind}")
    factors: Any = (1, int(exact) if exact.denominator == 1 else exact)
    if a.mode == "nearest-exact":
        step = Resize(factors, "nearest", "half_pixel", "round_half_up")
    else:
        step = Resize(factors, a.mode)
    return reader.add(step, reader.place(a.input))


def repeat_interleave(reader: ModuleGraphReader, operation: RecordedOperation) -> int:
    """Read each sample several times."""
    a = arguments(operation, "input", "repeats", dim=None, output_size=None)
    axis = reader.axis(a.input, a.dim)
    if reader.layout(a.input).axes[axis] != "T":
        raise StreamError("repeat_interleave repeats channels or sessions")
    return reader.add(Resize((1, number_of(a.repeats, "repeats")), "nearest"), reader.place(a.input))


def avg_pool1d(reader: ModuleGraphReader, operation: RecordedOperation) -> int:
    """Read means of windows."""
    a = arguments(operation, "input", "kernel_size", stride=None, padding=0, ceil_mode=False, count_include_pad=True)
    return _pooled(reader, a, "mean", bool(a.count_include_pad))


def max_pool1d(reader: ModuleGraphReader, operation: RecordedOperation) -> int:
    """Read largest values of windows."""
    a = arguments(
        operation, "input", "kernel_size", stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False
    )
    if number_of(a.dilation, "dilation") != 1 or a.return_indices:
        raise StreamError("max_pool1d has a dilation, or returns indices")
    return _pooled(reader, a, "max", False)


def _pooled(reader: ModuleGraphReader, a: Any, kind: str, counts: bool) -> int:
    check_channels_before_time(reader, a.input, "pooling")
    kernel, padding = number_of(a.kernel_size, "kernel_size"), number_of(a.padding, "padding")
    stride = kernel if a.stride in (None, ()) else number_of(a.stride, "stride")
    sides = ((0, 0), (padding, padding))
    step = Pooling(kind, (1, kernel), (1, stride), sides, bool(a.ceil_mode), counts)
    return reader.add(step, reader.place(a.input))
