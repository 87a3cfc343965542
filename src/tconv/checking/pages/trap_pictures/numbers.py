"""Pictures of traps about the numbers of a weight and its kernel: float16, NaN, integers, size, overlap."""

from __future__ import annotations

from tconv.checking.pages.trap_pictures.svg_parts import bars, box, drawing, grid, label, row, rule
from tconv.checking.trap import Trap


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
        label(10, 96, "smaller numbers become 0, larger ones infinite", "small"),
    ]
    return drawing(104, parts, "Numbers outside float16's range become 0 or infinite")


def nan_spreads(_: Trap) -> str:
    """Draw one NaN tap and all outputs of its phase."""
    phase = [["bad" if i % 2 == 0 and j % 2 == 0 else "cell" for j in range(8)] for i in range(6)]
    parts = [
        label(10, 18, "kernel"),
        grid(10, 28, [["bad", "cell"], ["cell"] * 2]),
        label(10, 70, "one NaN", "small"),
        label(110, 18, "output, stride 2"),
        grid(110, 28, phase),
        label(10, 128, "a quarter of the output is NaN; the next layer spreads it", "small"),
    ]
    return drawing(136, parts, "One NaN in the kernel makes every output of its phase NaN")


def half_sums(_: Trap) -> str:
    """Draw a sum that is rounded once, and one that is rounded at every product."""
    parts = [
        label(10, 18, "summed in float32, rounded once"),
        bars(10, 66, [8, 15, 22, 29, 36], ["cell"] * 5, 20),
        label(124, 60, "one rounding"),
        label(10, 92, "rounded at every product"),
        bars(10, 140, [8, 16, 20, 32, 32], ["bad"] * 5, 20),
        label(124, 134, "an error for each product"),
    ]
    return drawing(150, parts, "Sums of 16-bit numbers differ between runtimes")


def gaps(_: Trap) -> str:
    """Draw the outputs of a kernel of two taps at stride 3."""
    parts = [
        label(10, 18, "kernel 2, stride 3"),
        row(10, 28, ["cell", "cell", "empty"] * 4, 18, list("xxbxxbxxbxxb")),
        label(10, 68, "b: outputs that no tap reaches, which are the bias", "small"),
    ]
    return drawing(76, parts, "A stride above the kernel leaves outputs without a tap")


def huge_kernel(_: Trap) -> str:
    """Draw the overlapping responses of a long 1-D kernel."""
    parts = [
        label(10, 18, "one axis, 512 taps or more, few channels"),
        *(box(10 + 44 * place, 28 + 14 * place, 160, 10, "cell") for place in range(4)),
        label(10, 102, "a matrix of columns for it is many times as large as y", "small"),
    ]
    return drawing(110, parts, "A 1-D kernel of many taps")


def limits(_: Trap) -> str:
    """Draw a layer beyond the limits of most targets."""
    parts = [
        label(10, 18, "the layer beside what targets accept"),
        *(box(10, 28 + 16 * place, width, 11, "cell") for place, width in enumerate((120, 60, 200, 90))),
        rule(170, 24, 170, 92),
        label(176, 92, "this layer", "badtext"),
        label(10, 112, "every limit in numbers: --target NAME", "small"),
    ]
    return drawing(120, parts, "A layer beyond the limits of most targets")


def uneven_overlap(trap: Trap) -> str:
    """Draw the taps that meet in each output: those of the layer, if its numbers have them."""
    given = trap.numbers.get("overlap")
    counts = [2, 1]
    if isinstance(given, (list, tuple)) and given and all(isinstance(n, int) and 0 <= n < 1000 for n in given):
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


def inserted_zeros(_: Trap) -> str:
    """Draw an input with zeros between its elements."""
    spread = [["cell" if i % 2 == 0 and j % 2 == 0 else "empty" for j in range(7)] for i in range(5)]
    parts = [
        label(10, 18, "x with zeros between, then a convolution"),
        grid(10, 28, spread),
        label(124, 52, "at stride 2, three of"),
        label(124, 67, "four products are zero"),
    ]
    return drawing(106, parts, "A convolution over an input with zeros between its elements")
