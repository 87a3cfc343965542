"""Pictures of traps about sizes and borders: frozen sizes, pads in front, negative pads."""

from __future__ import annotations

from tconv.checking.pages.trap_pictures.svg_parts import arrow, box, drawing, grid, label, row
from tconv.checking.trap import Trap


def frozen_padding(_: Trap) -> str:
    """Draw two sizes of a decoder whose output meets the rows of another path: the example, and another one."""
    parts = [
        label(10, 18, "the example: 4 rows of x, output_padding 1"),
        label(10, 36, "y", "small"),
        row(28, 27, ["cell"] * 7 + ["bad"]),
        label(10, 52, "other", "small"),
        row(36, 43, ["empty"] * 8),
        label(156, 46, "8 rows and 8 rows"),
        label(10, 80, "another input: 5 rows of x"),
        label(10, 98, "y", "small"),
        row(28, 89, ["cell"] * 9 + ["bad"]),
        label(10, 114, "other", "small"),
        row(36, 105, ["empty"] * 9),
        label(184, 108, "10 rows and 9 rows", "badtext"),
    ]
    return drawing(128, parts, "An output_padding from an example: another input gives one row too many")


def frozen_shape(_: Trap) -> str:
    """Draw three sizes of x, and the one size of y."""
    parts = [label(10, 18, "x"), label(150, 18, "y: the size of the example")]
    for place, (count, good) in enumerate(((3, False), (4, True), (6, False))):
        y = 28 + 22 * place
        parts += [row(10, y, ["cell"] * count), arrow(104, y + 6, 140), row(150, y, ["cell"] * (8 if good else 6))]
        parts += [row(150 + 14 * 6, y, ["bad"] * 2)] if not good and count < 4 else []
        parts += [row(150 + 14 * 6, y, ["cell"] * 2 + ["empty"] * 4)] if count > 4 else []
    parts += [
        label(10, 108, "a smaller x: the last rows contain only bias", "small"),
        label(10, 121, "a larger x: the rows behind are thrown away", "small"),
    ]
    return drawing(130, parts, "An output_shape from an example: every input gives that size")


def pad_in_front(_: Trap) -> str:
    """Draw x with a ring of zeros, which costs a copy, and the crop that does the same."""
    ring = [["empty" if i in (0, 5) or j in (0, 5) else "cell" for j in range(6)] for i in range(6)]
    parts = [
        label(10, 18, "Pad: a copy of x with zeros"),
        grid(10, 28, ring),
        label(180, 18, "the same: smaller pads"),
        grid(194, 42, [["cell"] * 4] * 4),
        label(10, 130, "one row of zeros is worth a stride of y"),
    ]
    return drawing(140, parts, "A Pad in front copies x; smaller pads of the layer do the same")


def fused_pad(trap: Trap) -> str:
    """Draw the output that is right, and the smaller one of a runtime that fuses a Pad without the stride."""
    wrong, right = _size(trap, "got", 10), _size(trap, "expected", 12)
    parts = [
        label(10, 18, "Pad by 1, then stride 2"),
        box(10, 28, 96, 96, "cell"),
        label(58, 80, f"{right} x {right}", "middle"),
        label(160, 18, "fused, without the stride"),
        box(160, 28, 96, 96, "empty"),
        box(168, 36, 80, 80, "bad"),
        label(208, 80, f"{wrong} x {wrong}", "middle"),
        label(10, 142, "an example: one row of x is worth two of y", "small"),
    ]
    return drawing(150, parts, "A Pad that is fused without the stride gives an output that is too small")


def _size(trap: Trap, name: str, default: int) -> int:
    value = trap.numbers.get(name)
    return value if isinstance(value, int) and 0 < value < 10**6 else default


def pad_mode(_: Trap) -> str:
    """Draw a border of reflected elements and the zeros that a converter may put in its place."""
    parts = [
        label(10, 18, "reflected border"),
        row(10, 28, ["bad"] * 2 + ["cell"] * 4 + ["bad"] * 2, 18, list("32123432")),
        label(10, 70, "taken for zeros"),
        row(10, 80, ["bad"] * 2 + ["cell"] * 4 + ["bad"] * 2, 18, list("00123400")),
        label(10, 122, "the middle is right, the borders are not", "small"),
    ]
    return drawing(130, parts, "A border that is not zeros, taken for zeros")


def negative_pads(_: Trap) -> str:
    """Draw an output that reaches beyond the last product."""
    parts = [
        label(10, 18, "y: rows with products, and rows beyond them"),
        row(10, 28, ["empty"] + ["cell"] * 9 + ["empty"] * 2, 18),
        label(10, 66, "negative pads ask for the dashed rows, which"),
        label(10, 81, "contain only bias: some runtimes refuse them,"),
        label(10, 96, "others crop instead"),
    ]
    return drawing(106, parts, "Negative pads extend the output by rows that contain only bias")


def other_size(_: Trap) -> str:
    """Draw an output of the right size and one of another."""
    parts = [
        label(10, 18, "by the rules"),
        grid(10, 28, [["cell"] * 6] * 6),
        label(150, 18, "this version"),
        grid(150, 28, [["cell"] * 5 + ["bad"]] * 5 + [["bad"] * 6]),
        label(10, 132, "another size: a row or column too many or too few", "small"),
    ]
    return drawing(140, parts, "A runtime whose output has another size")


def refused_sizes(_: Trap) -> str:
    """Draw an input that goes into a model, and no output."""
    parts = [
        grid(10, 28, [["cell"] * 4] * 4),
        arrow(84, 56, 116),
        box(130, 28, 80, 56, "empty"),
        label(170, 60, "the model", "middle"),
        arrow(220, 56, 252),
        label(262, 60, "an error", "badtext"),
    ]
    return drawing(110, parts, "A model that its runtime refuses to run with these sizes")


def halves(_: Trap) -> str:
    """Draw an odd crop, which takes one more element from one side, and the same from the other."""
    parts = [
        label(10, 18, "an odd crop by the rules: more on one side"),
        row(10, 28, ["empty"] + ["cell"] * 8 + ["empty"] * 2, 18),
        label(10, 70, "this version: more on the other side"),
        row(10, 80, ["empty"] * 2 + ["bad"] * 8 + ["empty"], 18),
        label(10, 122, "the same size, one element off", "small"),
    ]
    return drawing(130, parts, "An odd crop is halved the other way round: the output is one element off")
