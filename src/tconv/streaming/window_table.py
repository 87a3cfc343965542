"""Text of the windows of a stack: a table of its layers, and what follows for chunks and latency."""

from __future__ import annotations

from collections.abc import Sequence

from tconv.streaming.axis_stack import AxisStack


def stack_text(stack: AxisStack, names: Sequence[str], sample_rate: float | None = None) -> str:
    """Return the layers of one axis as a table, and the sizes, context and latency of the whole below it."""
    kinds = {layer.is_transposed for layer in stack.layers}
    crop = "crop" if kinds == {True} else "padding" if kinds == {False} else "crop/padding"
    rows = [("layer", "kernel", "stride", "dilation", crop, "rate", "receptive field", "look-ahead")]
    for number, (name, layer, rate, field, ahead) in enumerate(
        zip(names, stack.layers, stack.rates[1:], stack.receptive_fields, stack.look_ahead, strict=True), 1
    ):
        numbers = (layer.taps, layer.stride, layer.dilation, f"{layer.lo}:{layer.hi}", rate, field, ahead)
        rows.append((f"{number} {name}", *map(str, numbers)))  # type: ignore[arg-type]
    return "\n".join([*columns(rows), "", *_summary(stack, sample_rate)])


def _summary(stack: AxisStack, sample_rate: float | None) -> list[str]:
    rate, period, first = stack.rate, stack.period, stack.first_output
    left, right = stack.context
    chunks = "a chunk" if period == 1 else f"a chunk, a multiple of {period} inputs,"
    return [
        f"rate             {count_of(rate.numerator, 'output')} per "
        + ("input" if rate.denominator == 1 else f"{rate.denominator} inputs"),
        f"receptive field  {count_of(stack.receptive_fields[-1], 'input')}: the most that one output reads",
        f"context          {count_of(left, 'input')} before {chunks} and {right} behind it, for all of its outputs",
        f"latency          {latency_text(stack.withheld, sample_rate)}",
        "first output     " + ("never" if first is None else f"after {count_of(first, 'input')}"),
    ]


def latency_text(latency: int, sample_rate: float | None) -> str:
    """Return the latency with its meaning.

    >>> latency_text(60, 24_000)
    '60 outputs = 2.5 ms at 24000 Hz: of those that belong to the inputs so far, the last 60 are not final yet'
    """
    if not latency:
        return "0: causal, all outputs that belong to the inputs so far are final"
    time = "" if sample_rate is None else f" = {1000 * latency / sample_rate:.4g} ms at {sample_rate:g} Hz"
    last = "the last one is" if latency == 1 else f"the last {latency} are"
    return f"{count_of(latency, 'output')}{time}: of those that belong to the inputs so far, {last} not final yet"


def count_of(number: int, noun: str) -> str:
    """Return a number of things.

    >>> count_of(1, "input"), count_of(2, "input")
    ('1 input', '2 inputs')
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table: the first column to the left, the others to the right."""
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    ]
