"""One picture per trap: the thing that goes wrong, in numbers small enough to count.

`PICTURES` has one for every key in `tconv.checking.traps.TRAPS`.
"""

from __future__ import annotations

from collections.abc import Callable

from tconv.checking.pages.svg_parts import bars, box, drawing, grid, label, row, rule
from tconv.checking.trap import Trap


def trap_picture(key: str, trap: Trap) -> str:
    """Return the picture of a trap as HTML; nothing for a trap without one."""
    draw = PICTURES.get(key)
    return draw(trap) if draw is not None else ""


def frozen_size(_: Trap) -> str:
    """Draw the output rows of two input sizes, of which the second has one too many."""
    parts = [
        label(10, 18, "the example: 4 rows, output_padding 1"),
        row(10, 26, ["cell"] * 7 + ["bad"]),
        label(130, 37, "8 rows, as the network needs"),
        label(10, 66, "a second input, whose partner has 9 rows"),
        row(10, 74, ["cell"] * 9 + ["bad"]),
        label(158, 85, "10 rows: 1 too many", "badtext"),
        label(10, 112, "the 1 was computed from the example, and stays", "small"),
    ]
    return drawing(120, parts, "An output_padding taken from an example gives other sizes one row too many")


def negative_pads(_: Trap) -> str:
    """Draw an output that reaches beyond the last product."""
    parts = [
        label(10, 18, "rows with products"),
        row(24, 26, ["cell"] * 9),
        row(10, 26, ["empty"]),
        row(150, 26, ["empty"] * 2),
        label(10, 58, "negative pads extend the output by rows"),
        label(10, 73, "that contain only bias"),
    ]
    return drawing(84, parts, "Negative pads extend the output by rows that contain only bias")


def wrong_axis(_: Trap) -> str:
    """Draw scales along the rows and along the columns of a weight [C_in, C_out]."""
    shades = ["cell", "bad", "empty"]
    parts = [
        label(10, 18, "as it is: a scale per row"),
        grid(30, 40, [[shade] * 4 for shade in shades], 18),
        label(172, 18, "right: a scale per column"),
        grid(192, 40, [[*shades, "cell"]] * 3, 18),
        *(label(x, 34, "C_out", "small") for x in (48, 210)),
        *(label(x, 70, "C_in", "small") for x in (4, 166)),
        label(10, 116, "weight [C_in, C_out, ...]: outputs have one scale each,"),
        label(10, 131, "so it belongs to axis 1"),
    ]
    return drawing(140, parts, "Scales along the input channels instead of the output channels")


def large_kernel(_: Trap) -> str:
    """Draw a kernel beside the largest that chips take."""
    parts = [
        label(10, 18, "usual chips take"),
        grid(10, 28, [["cell"] * 4] * 4, 10),
        label(120, 18, "this kernel"),
        grid(120, 28, [["cell"] * 4 + ["bad"] * 4] * 4 + [["bad"] * 8] * 4, 10),
        label(10, 126, "limits in numbers: --target NAME", "small"),
    ]
    return drawing(134, parts, "A kernel that is larger than most chips take")


def half_floats(_: Trap) -> str:
    """Draw the range of float16 and two numbers outside of it."""
    parts = [
        label(10, 18, "numbers that float16 can store"),
        rule(10, 50, 310, 50),
        box(60, 42, 190, 16, "cell"),
        label(60, 74, "6e-8", "small middle"),
        label(250, 74, "65504", "small middle"),
        box(24, 44, 12, 12, "bad"),
        label(30, 36, "0", "middle badtext"),
        box(276, 44, 12, 12, "bad"),
        label(282, 36, "inf", "middle badtext"),
        label(10, 96, "smaller numbers become 0, larger ones infinite"),
    ]
    return drawing(106, parts, "Numbers outside float16's range become 0 or infinite")


def nan_spreads(_: Trap) -> str:
    """Draw one NaN tap and all outputs of its phase."""
    phase = [["bad" if i % 2 == 0 and j % 2 == 0 else "cell" for j in range(8)] for i in range(6)]
    parts = [
        label(10, 18, "kernel"),
        grid(10, 28, [["bad", "cell", "cell"], ["cell"] * 3, ["cell"] * 3]),
        label(15, 86, "one NaN", "small"),
        label(110, 18, "output, stride 2"),
        grid(110, 28, phase),
        label(110, 124, "one output in four is NaN; the next layers spread it", "small"),
    ]
    return drawing(132, parts, "One NaN in the kernel makes every output of its phase NaN")


def fused_pad(trap: Trap) -> str:
    """Draw the output that is right, and the smaller one of a runtime that fuses a Pad without the stride."""
    wrong, right = _sizes(trap, "got", 10), _sizes(trap, "expected", 12)
    parts = [
        label(10, 18, "Pad by 1, then stride 2"),
        box(10, 28, 96, 96, "cell"),
        label(58, 80, f"{right} x {right}", "middle"),
        label(170, 18, "fused, without the stride"),
        box(170, 28, 96, 96, "empty"),
        box(178, 36, 80, 80, "bad"),
        label(218, 80, f"{wrong} x {wrong}", "middle"),
        label(10, 142, "a row of x is worth a stride of y"),
    ]
    return drawing(152, parts, "A Pad in front that is fused without the stride gives an output that is too small")


def _sizes(trap: Trap, name: str, default: int) -> int:
    value = trap.numbers.get(name)
    return value if isinstance(value, int) and 0 < value < 10**6 else default


def uneven_overlap(trap: Trap) -> str:
    """Draw the taps that meet in each output: those of the layer, if its numbers have them."""
    given = trap.numbers.get("overlap")
    counts = [2, 1]
    if (
        isinstance(given, (list, tuple))
        and given
        and all(isinstance(count, int) and 0 <= count < 1000 for count in given)
    ):
        counts = list(given)[:8]
    repeated = (counts * 8)[: max(8, len(counts))]
    most = max(*repeated, 1)
    heights = [max(1.0, 56 * count / most) for count in repeated]
    styles = ["cell" if count == most else "bad" for count in repeated]
    parts = [
        label(10, 18, "taps that meet in each output"),
        bars(10, 86, heights, styles, 24),
        *(label(20 + 24 * place, 100, str(count), "middle") for place, count in enumerate(repeated)),
        label(10, 120, "a level input comes out as this pattern", "small"),
    ]
    return drawing(128, parts, "Uneven numbers of taps per output: a checkerboard")


def swapped_channels(_: Trap) -> str:
    """Draw a weight of 2 x 5 channels, and the same numbers read as 5 x 2."""
    parts = [
        label(10, 18, "weight, C_in 2, C_out 5"),
        grid(10, 28, [["cell"] * 5, ["bad"] * 5], 16),
        label(170, 18, "as it is read: 5 x 2"),
        grid(170, 28, [["cell"] * 2] * 2 + [["cell", "bad"]] + [["bad"] * 2] * 2, 16),
        label(10, 128, "other numbers meet, without an error"),
    ]
    return drawing(138, parts, "The same numbers read with the channels swapped")


def shifted_output(_: Trap) -> str:
    """Draw the outputs of two runtimes, one element apart."""
    parts = [
        label(10, 18, "by the rules"),
        row(10, 26, ["cell"] * 9, 18, list("012345678")),
        label(10, 64, "this version"),
        row(10, 72, ["cell"] * 8 + ["bad"], 18, [*"12345678", "?"]),
        label(10, 112, "the same shape, other numbers", "small"),
    ]
    return drawing(120, parts, "Two runtimes whose outputs have the same shape and other numbers")


def refused(_: Trap) -> str:
    """Draw a node that a runtime stops at."""
    parts = [
        label(10, 18, "loading or running stops at the node"),
        row(20, 30, ["cell", "cell"], 44),
        row(108, 30, ["bad"], 44),
        row(152, 30, ["empty", "empty"], 44),
        label(129, 57, "x", "middle badtext"),
        label(10, 98, "an error, and no numbers", "small"),
    ]
    return drawing(106, parts, "A runtime refuses the node")


def inserted_zeros(_: Trap) -> str:
    """Draw an input with zeros between its elements."""
    spread = [["cell" if i % 2 == 0 and j % 2 == 0 else "empty" for j in range(7)] for i in range(5)]
    parts = [
        label(10, 18, "x with zeros between, then a convolution"),
        grid(10, 28, spread),
        label(124, 52, "of four multiplications"),
        label(124, 67, "three are by zero"),
    ]
    return drawing(108, parts, "A convolution over an input with zeros between its elements")


PICTURES: dict[str, Callable[[Trap], str]] = {
    "frozen-output-padding": frozen_size,
    "zero-pad-in-front": fused_pad,
    "large-kernel": large_kernel,
    "uneven-overlap": uneven_overlap,
}
