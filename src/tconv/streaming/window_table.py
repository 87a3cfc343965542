"""Text of a stack's windows: a table of its layers, and what follows for chunks and latency."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tconv.streaming.chain_layers import ChainLayer
    from tconv.streaming.stack_window import Window

_HEADER = ("layer", "kernel", "stride", "dilation", "crop", "rate", "receptive field", "look-ahead")


def window_table(window: Window) -> str:
    """Return the table of every axis, or one for all axes if they are equal."""
    axes = [[layer.along(axis) for layer in window.layers] for axis in range(window.ndim)]
    if all(axis == axes[0] for axis in axes):
        return _of_axis(window, 0, "" if window.ndim == 1 else f"the same on all {window.ndim} axes\n")
    return "\n\n".join(_of_axis(window, axis, f"axis {axis}\n") for axis in range(window.ndim))


def _of_axis(window: Window, axis: int, heading: str) -> str:
    stack, layers = window.stacks[axis], window.layers
    rows = []
    for number, (layer, rate, width, ahead) in enumerate(
        zip(layers, stack.rates[1:], stack.receptive_fields, stack.look_ahead, strict=True), 1
    ):
        along = layer.along(axis)
        rows.append(
            (
                f"{number} {layer.name}",
                *map(str, (along.taps, along.stride, along.dilation)),
                f"{along.lo}:{along.hi}",
                str(rate),
                str(width),
                str(ahead),
            )
        )
    lines = columns([_header(layers), *rows])
    return heading + "\n".join([*lines, "", *_summary(window, axis)])


def _header(layers: Sequence[ChainLayer]) -> tuple[str, ...]:
    kinds = {layer.is_transposed for layer in layers}
    crop = "crop" if kinds == {True} else "padding" if kinds == {False} else "crop/padding"
    return tuple(crop if name == "crop" else name for name in _HEADER)


def _summary(window: Window, axis: int) -> list[str]:
    rate, period = window.rate[axis], window.period[axis]
    per = f"{_count(rate.numerator, 'output')} per {'input' if rate.denominator == 1 else f'{rate.denominator} inputs'}"
    field, left, right = window.receptive_field[axis], window.left_context[axis], window.right_context[axis]
    chunks = "a chunk" if period == 1 else f"a chunk, a multiple of {_count(period, 'input')},"
    first, latency = window.first_output[axis], window.latency[axis]
    lines = [
        f"rate             {per}",
        f"receptive field  {_count(field, 'input')}: the most that one output reads",
        f"context          {left} before {chunks} and {_count(right, 'input')} behind it, for all of its outputs",
        f"latency          {_latency(window, latency)}",
        "first output     " + ("never" if first is None else f"after {_count(first, 'input')}"),
    ]
    if window.output is not None and window.input is not None:
        asked, needed = window.output[axis], window.input[axis]
        lines.append(f"outputs {asked.start}:{asked.stop}  need inputs {needed.start}:{needed.stop}")
    return lines


def _latency(window: Window, latency: int) -> str:
    if not latency:
        return "0: causal, all outputs of the inputs so far are final"
    text = f"{_count(latency, 'output')}"
    if window.sample_rate is not None:
        text += f" = {1000 * latency / window.sample_rate:.4g} ms at {window.sample_rate:g} Hz"
    return f"{text}: of those that belong to the inputs so far, the last {latency} are not final yet"


def _count(number: int, noun: str) -> str:
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
