"""`tconv explain` for a stack of layers: the table of its windows, and what follows for chunks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from tconv.cli.stack_words import stack_layers
from tconv.dialects import dialect as find_dialect
from tconv.errors import ArgumentError
from tconv.streaming.stack_window import StackWindow, window


def print_stack(
    words: Sequence[str],
    dialect: str,
    input: Sequence[int] | None,
    sample_rate: float | None,
    chunk: int | None,
    as_json: bool,
) -> None:
    """Print the windows of a stack as text or as JSON."""
    layers = stack_layers(words, find_dialect(dialect), input)
    stack = window(layers, sample_rate=sample_rate)
    sizes = None if input is None else tuple(input) * (stack.ndim if len(input) == 1 else 1)
    output = None if sizes is None else stack.output_shape(sizes)
    chunks = None if chunk is None else _chunk_facts(stack, chunk)
    if as_json:
        print(json.dumps(_facts(stack, sizes, output, chunks)))
        return
    parts = [str(stack), *_notes(stack, words)]
    if sizes is not None and output is not None:
        parts.append("\n".join(_size_lines(stack, sizes, output)))
    if chunks is not None:
        parts.append("\n".join(_chunk_lines(chunks)))
    print("\n\n".join(parts))


def _notes(stack: StackWindow, words: Sequence[str]) -> list[str]:
    """Return a note on a kernel of several numbers, which may have been meant as kernel, stride and padding."""
    kernel = stack.layers[0].geometry.kernel
    written = "x".join(map(str, kernel))
    if len(kernel) < 2 or written in " ".join(words):
        return []
    first, second, *_ = kernel
    return [
        f"Note: {' '.join(map(str, kernel))} was read as a kernel of {len(kernel)} axes, {written}. For a stride, "
        f"write {first} stride {second}; for this kernel, {written}"
    ]


def _facts(
    stack: StackWindow, sizes: tuple[int, ...] | None, output: tuple[int, ...] | None, chunks: dict[str, Any] | None
) -> dict[str, Any]:
    """Return everything that the command prints."""
    rows = []
    for place, layer in enumerate(stack.layers):
        g = layer.geometry
        rows.append(
            {
                "kind": layer.name,
                "kernel": g.kernel,
                "stride": g.stride,
                "dilation": g.dilation,
                "crop" if layer.is_transposed else "padding": g.crop,
                "rate": [str(axis.rates[place + 1]) for axis in stack.stacks],
                "receptive_field": [axis.receptive_fields[place] for axis in stack.stacks],
                "look_ahead": [float(axis.look_ahead[place]) for axis in stack.stacks],
            }
        )
    return {
        "layers": rows,
        "rate": list(map(str, stack.rate)),
        "period": stack.period,
        "receptive_field": stack.receptive_field,
        "left_context": stack.left_context,
        "right_context": stack.right_context,
        "latency": stack.latency,
        "latency_ms": stack.latency_ms,
        "first_output": stack.first_output,
        "sample_rate": stack.sample_rate,
        "input": sizes,
        "output": output,
        "chunk": chunks,
    }


def _size_lines(stack: StackWindow, sizes: tuple[int, ...], output: tuple[int, ...]) -> list[str]:
    """Return the size of the output, and by how much it differs from the input's times the rate."""
    lines = [f"{_by(sizes)} inputs give {_by(output)} outputs"]
    for axis, (size, made, rate) in enumerate(zip(sizes, output, stack.rate, strict=True)):
        missing = size * rate - made
        if missing:
            more = "fewer" if missing > 0 else "more"
            on = "" if stack.ndim == 1 else f" on axis {axis}"
            lines.append(
                f"not {size} * {rate} = {size * rate}{on}, but {abs(missing)} {more}: a slice that assumes the product "
                f"{'loses' if missing > 0 else 'repeats'} them in every chunk"
            )
    return lines


def _chunk_facts(stack: StackWindow, chunk: int) -> dict[str, Any]:
    if stack.ndim > 1:
        raise ArgumentError(f"--chunk is for stacks along time; this has {stack.ndim} axes. Write layers of one axis")
    (period,), (left,), (right,), (rate,) = stack.period, stack.left_context, stack.right_context, stack.rate
    if chunk < 1 or chunk % period:
        needed = "a positive number" if period == 1 else f"a multiple of {period}, after which the windows repeat,"
        raise ArgumentError(
            f"--chunk is {chunk}; {needed} of inputs is needed. Write --chunk {max(1, -(-chunk // period)) * period}"
        )
    alone = stack.final_window(slice(0, chunk))[0] if stack.stacks[0].is_connected else slice(0, int(chunk * rate))
    return {
        "inputs": chunk,
        "outputs": int(chunk * rate),
        "with_context": left + chunk + right,
        "work": (left + chunk + right) / chunk,
        "right_alone": alone.stop - alone.start,
        "milliseconds": None if stack.sample_rate is None else 1000 * float(chunk * rate) / stack.sample_rate,
    }


def _chunk_lines(facts: dict[str, Any]) -> list[str]:
    inputs, outputs = facts["inputs"], facts["outputs"]
    time = "" if facts["milliseconds"] is None else f" = {facts['milliseconds']:.4g} ms"
    context = facts["with_context"] - inputs
    return [
        f"a chunk of {inputs} inputs: {outputs} outputs{time}",
        f"  alone            {facts['right_alone']} of them are right; the others read inputs outside of it",
        f"  with context     {inputs} + {context} = {facts['with_context']} inputs are computed for it: "
        f"{facts['work']:.2f} times the work",
        f"  as a stream      {inputs} inputs are computed, once; outputs come as soon as they are final",
    ]


def _by(sizes: tuple[int, ...]) -> str:
    return " x ".join(map(str, sizes))
