"""Pictures of traps about channels: scales and biases on the wrong axis, groups, channels that are read swapped."""

from __future__ import annotations

from tconv.checking.pages.trap_pictures.svg_parts import drawing, grid, label
from tconv.checking.trap import Trap


def wrong_axis(_: Trap) -> str:
    """Draw scales along the rows and along the columns of a weight [C_in, C_out]."""
    shades = ["cell", "bad", "empty"]
    parts = [
        label(10, 18, "a scale per row (C_in)"),
        grid(30, 28, [[shade] * 4 for shade in shades], 18),
        label(172, 18, "per column (C_out)"),
        grid(192, 28, [[*shades, "cell"]] * 3, 18),
        label(10, 104, "weight [C_in, C_out/g, kernel]: a scale of outputs"),
        label(10, 119, "is one of columns, unlike a convolution's"),
    ]
    return drawing(130, parts, "Scales of rows and of columns of a weight whose outputs are its columns")


def grouped_scales(_: Trap) -> str:
    """Draw a weight of two groups, whose axis 1 has the channels of one group."""
    parts = [
        label(10, 18, "2 groups: C_in 4, C_out 6"),
        grid(10, 28, [["cell"] * 3] * 2 + [["bad"] * 3] * 2, 18),
        label(80, 50, "outputs 0, 1, 2"),
        label(80, 86, "outputs 3, 4, 5"),
        label(10, 122, "axis 1 has 3 places for the scales of 6 outputs"),
    ]
    return drawing(132, parts, "With groups, axis 1 of the weight has the channels of one group only")


def swapped_channels(_: Trap) -> str:
    """Draw a weight of 2 x 5 channels, and the same numbers read as 5 x 2."""
    parts = [
        label(10, 18, "weight, C_in 2, C_out 5"),
        grid(10, 28, [["cell"] * 5, ["bad"] * 5], 16),
        label(170, 18, "as it is read: 5 x 2"),
        grid(170, 28, [["cell"] * 2] * 2 + [["cell", "bad"]] + [["bad"] * 2] * 2, 16),
        label(10, 128, "other numbers meet, without an error", "small"),
    ]
    return drawing(136, parts, "The same numbers read with the channels swapped")


def unequal_groups(_: Trap) -> str:
    """Draw the block diagonal of a grouped layer, and blocks that were mixed up."""
    right = [["cell" if i // 2 == j // 2 else "empty" for j in range(6)] for i in range(6)]
    wrong = [["bad" if (i + j) % 3 == 0 else "empty" for j in range(6)] for i in range(6)]
    parts = [
        label(10, 18, "3 groups, by the rules"),
        grid(10, 28, right),
        label(170, 18, "this version"),
        grid(170, 28, wrong),
        label(10, 130, "each output reads the inputs of its group only", "small"),
    ]
    return drawing(138, parts, "Channels of a grouped layer in another order")


def zero_weight(_: Trap) -> str:
    """Draw a weight of zeros only."""
    parts = [
        label(10, 18, "weight"),
        grid(10, 28, [["empty"] * 5] * 3, 16),
        label(120, 50, "all zeros: y is the bias"),
    ]
    return drawing(84, parts, "A weight that is all zeros")


def equal_channels(_: Trap) -> str:
    """Draw a weight two columns of which are equal."""
    rows = [["bad" if j in (1, 4) else "cell" for j in range(6)] for _ in range(4)]
    parts = [
        label(10, 18, "weight [C_in, C_out]"),
        grid(10, 28, rows, 16),
        label(120, 56, "two outputs with exactly"),
        label(120, 71, "the same weights"),
    ]
    return drawing(100, parts, "Output channels with the same weights")


def dead_channels(_: Trap) -> str:
    """Draw a weight with a row and a column of zeros."""
    rows = [["empty" if i == 1 or j == 3 else "cell" for j in range(6)] for i in range(5)]
    parts = [
        label(10, 18, "weight [C_in, C_out]"),
        grid(10, 28, rows, 16),
        label(120, 54, "an input that nobody reads"),
        label(120, 72, "an output that is always"),
        label(120, 87, "its bias"),
    ]
    return drawing(116, parts, "Channels whose numbers are all zero")
