"""`tconv explain`: sizes, formula, overlap and picture of one transposed convolution, and its call in each dialect.

A stack of layers has its windows explained by `explain_stack`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from tconv.cli.explain_stack import print_stack
from tconv.cli.figures import new_picture
from tconv.cli.layer_options import Sizes, Texts, read_layer, words_of
from tconv.cli.stack_words import EXAMPLE, refuse_options_of_one_layer
from tconv.dialects import dialect as find_dialect
from tconv.dialects import names
from tconv.errors import ArgumentError, DialectError, ShapeError, TconvError
from tconv.geometry import Geometry

_WIDEST = 50  # positions in the text picture, two columns each
_USUAL = ("torch", "tensorflow", "keras", "jax", "onnx")  # the dialects shown without --all
_MOST_PHASES = 1 << 16  # the overlap has a number for each


def run(
    *layers: str,
    kernel: Sizes = None,
    stride: Sizes = None,
    padding: Texts = None,
    output_padding: Sizes = None,
    dilation: Sizes = None,
    groups: int = 1,
    input: Sizes = None,
    output: Sizes = None,
    dialect: str = "torch",
    option: Texts = None,
    sample_rate: float | None = None,
    chunk: int | None = None,
    picture: Annotated[Path | None, Parameter(name=["-o", "--picture"])] = None,
    every: Annotated[bool, Parameter(name="--all", negative="")] = False,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> None:
    """Explain a transposed convolution: sizes, formula, overlap, a picture, the same call in other dialects.

    Or a stack of layers: its receptive field, context and latency, and where its look-ahead comes from. Write
    tconv explain conv 7 padding 3, transposed 16 stride 8 padding 4 --sample-rate 24000, for example.

    Parameters
    ----------
    layers
        Layers of a stack: conv or transposed, the kernel, and names and numbers as stride 8 padding 4.
    kernel
        Kernel size: one number for all axes, or one per axis.
    stride
        Stride. Default 1.
    padding
        Padding of the dialect: numbers, or SAME or VALID.
    output_padding
        Extra size at the end, in the dialects that have it.
    dilation
        Dilation. Default 1.
    groups
        Groups.
    input
        Spatial size of the input. Default 4 on each axis.
    output
        Spatial size of the output, in the dialects that need it.
    dialect
        Dialect of these options.
    option
        Further native arguments, NAME=VALUE, the value as JSON or plain text.
    sample_rate
        Of a stack: samples per second of its output, for the latency in milliseconds.
    chunk
        Of a stack: inputs of a chunk, for the work with context and without.
    picture
        Also draw the scatter to this file (.svg, .png, .pdf); needs the extra "draw".
    every
        Show the call in all dialects, not only the most common.
    as_json
        Print one JSON object instead of text.
    """
    if layers:
        one = {
            "kernel": kernel,
            "stride": stride,
            "padding": padding,
            "output_padding": output_padding,
            "dilation": dilation,
            "groups": groups != 1,
            "output": output,
            "option": option,
            "picture": picture,
            "all": every,
        }
        refuse_options_of_one_layer(one)
        print_stack(layers, dialect, input, sample_rate, chunk, as_json)
        return
    if kernel is None:
        raise ArgumentError(f"there is no layer. Write tconv explain --kernel 4 --stride 2, or a stack: {EXAMPLE}")
    if sample_rate is not None or chunk is not None:
        flag = "--chunk 8" if sample_rate is None else "--sample-rate 24000"
        raise ArgumentError(f"{flag.split()[0]} is for layers of a stack, without --kernel. Write {EXAMPLE} {flag}")
    layer = read_layer(kernel, stride, padding, output_padding, dilation, groups, input, output, dialect, option)
    n = layer.input
    with words_of(len(layer.kernel), padding, output_padding):
        geometry = layer.geometry
        if max(geometry.stride) > _MOST_PHASES:
            raise ArgumentError(
                f"stride is {max(geometry.stride)}; the taps of each phase are counted, and an axis may have at most "
                f"{_MOST_PHASES} phases. Write stride={_MOST_PHASES}, or less"
            )
        shown = names() if every or as_json else [name for name in names() if name in (*_USUAL, dialect)]
        facts = _facts(geometry, n, dialect, shown)
    with new_picture(picture, as_json) as draw:
        if picture is not None:
            _refuse_unreadable(geometry, n)
        print(json.dumps(facts) if as_json else _text(geometry, n, facts))
        draw(lambda: _scatter(geometry, n))


def _facts(g: Geometry, n: tuple[int, ...], dialect: str, shown: Sequence[str]) -> dict[str, Any]:
    """Return everything that the command prints."""
    macs = g.macs(n, g.groups, g.groups)  # one channel per group
    calls = {}
    for name in shown:
        try:
            calls[name] = find_dialect(name).code(g, n)
        except TconvError as error:
            calls[name] = f"# {error}"
    return {
        "dialect": dialect,
        "geometry": asdict(g),
        "input": n,
        "full": g.full_shape(n),
        "output": g.output_shape(n),
        "overlap": g.overlap,
        "receptive_field": g.receptive_field,
        "macs_exact": macs.exact,
        "macs_border_free": macs.border_free,
        "calls": calls,
    }


def _text(g: Geometry, n: tuple[int, ...], facts: dict[str, Any]) -> str:
    axes = f"; one spatial axis, write --input {n[0]} {n[0]} for two" if len(n) == 1 else ""
    lines = [
        f"{_by(n)} -> {_by(facts['output'])}   (full result {_by(facts['full'])}{axes})",
        "",
        "size per axis: stride*(input - 1) + dilation*(kernel - 1) + 1 - crop in front - crop behind",
    ]
    for axis, (size, k, s, d, (lo, hi), L) in enumerate(
        zip(n, g.kernel, g.stride, g.dilation, g.crop, facts["output"], strict=True)
    ):
        behind = f"- {hi}" if hi >= 0 else f"+ {-hi}"
        front = f"- {lo}" if lo >= 0 else f"+ {-lo}"
        lines.append(f"  axis {axis}: {s}*({size} - 1) + {d}*({k} - 1) + 1 {front} {behind} = {L}")
    lines += ["", "overlap: taps that are summed in each output, by its phase (position in the full result mod stride)"]
    for axis, counts in enumerate(g.overlap):
        even = _evenness(counts, g.dilation[axis])
        lines.append(f"  axis {axis}: {' '.join(map(str, counts[:16]))}{' ...' * (len(counts) > 16)}   ({even})")
    lines += ["", *_picture(g, n), ""]
    lines.append(
        f"receptive field {_by(g.receptive_field)}; {facts['macs_exact']} multiply-adds per channel pair "
        f"({facts['macs_border_free']} without a border)"
    )
    lines += ["", "the same call in each dialect, with x and weight in its layouts:"]
    width = max(map(len, facts["calls"]))
    for name, code in facts["calls"].items():
        lines.append(f"  {name:<{width}}  " + code.replace("\n", f"\n  {'':<{width}}  "))
    return "\n".join(lines)


def _evenness(counts: tuple[int, ...], dilation: int) -> str:
    """Return a description of the overlap counts of one axis."""
    if len(set(counts)) == 1:
        return "even"
    if 0 in counts:
        cause = (
            "the dilation shares a factor with the stride" if dilation > 1 else "the kernel is smaller than the stride"
        )
        return f"outputs without a tap contain only bias: {cause}"
    return "uneven: a checkerboard is likely" + ("" if dilation > 1 else ", make the kernel a multiple of the stride")


def _by(sizes: tuple[int, ...]) -> str:
    return " x ".join(map(str, sizes))


def _picture(g: Geometry, n: tuple[int, ...]) -> list[str]:
    """Return the scatter along the last axis as text: a row of tap numbers per input element, and the crop as x."""
    s, d, k, (lo, hi) = g.stride[-1], g.dilation[-1], g.kernel[-1], g.crop[-1]
    full = g.full_shape(n)[-1]
    front, behind = max(0, -lo), max(0, -hi)
    width = full + front + behind
    if width > _WIDEST or n[-1] > 12 or k > 36:
        return [f"scatter along the last axis: {full} positions, too many for a line of this picture"]
    taps = "0123456789abcdefghijklmnopqrstuvwxyz"
    rows = ["scatter along the last axis: a row per input element, the number of the tap; rows are summed downwards"]
    for i in range(n[-1]):
        row = ["."] * width
        for t in range(k):
            row[front + s * i + d * t] = taps[t]
        rows.append(f"  x[{i}]".ljust(9) + " ".join(row))
    crop = ["y"] * width
    crop[: max(0, lo)] = ["x"] * max(0, lo)
    if hi > 0:
        crop[-hi:] = ["x"] * hi
    rows.append("  crop".ljust(9) + " ".join(crop) + "   (y is output, x is cropped)")
    return rows


def _refuse_unreadable(g: Geometry, n: tuple[int, ...]) -> None:
    """Raise DialectError or ShapeError for a picture that would be unreadable."""
    from tconv.draw.picture_limits import LARGEST

    if g.ndim > 2:
        raise DialectError(f"the picture shows 1 or 2 axes; there are {g.ndim}. Use fewer axes, or leave out -o")
    if max(full := g.full_shape(n)) > LARGEST:
        raise ShapeError(
            f"the full result has {_by(full)} cells; up to {LARGEST} on an axis can be drawn. Use a smaller "
            "--kernel, --stride or --input, or leave out -o"
        )


def _scatter(g: Geometry, n: tuple[int, ...]) -> Any:
    """Return the picture of the scatter of 0, 1, 2, ... with the kernel 1, 2, 3, ...; in 1-D and 2-D."""
    import numpy as np

    from tconv import draw

    x, w = np.arange(np.prod(n)).reshape(n), np.arange(1, np.prod(g.kernel) + 1).reshape(g.kernel)
    return draw.scatter(x, w, geometry=Geometry(g.kernel, g.stride, g.crop, g.dilation))
