"""Picture of the channels: which input channel reaches which output channel, each pair through a kernel of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tconv import _textbook_arguments
from tconv._arguments import entries_of, int_of, ints_of
from tconv._arrays import Array
from tconv.draw.array_grid import MOST_AXES, TIMES, ArrayGrid, brackets, by, size_of
from tconv.draw.cell_board import Board, short, width_of
from tconv.draw.palette import theme_of
from tconv.draw.picture_limits import LARGEST, largest_part, part_text
from tconv.errors import GeometryError, ShapeError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MARGIN, _LABEL, _GAP = 0.6, 1.9, 0.5


def channels(weight: Any, *, groups: int = 1, ax: Axes | None = None, theme: str = "light") -> Axes:
    """Draw the kernel of every pair of an input channel and an output channel, and the pairs that groups leave out.

    >>> import numpy as np, tconv
    >>> ax = tconv.draw.channels(np.arange(16).reshape(4, 1, 2, 2), groups=2)
    >>> [text.get_text() for text in ax.texts if (text.get_gid() or "").startswith("kernel[2,1]")]
    ['8', '9', '10', '11']

    `weight` is an array [C_in, C_out/groups, *kernel] of any library with 1 to 3 spatial axes (PyTorch's and ONNX's
    layout; `tconv.convert` writes it), or the two numbers (C_in, C_out), whose pairs are drawn without numbers.
    `theme` is "light" or "dark".

    A row is an input channel and a column an output channel. An output channel sums what the input channels of its
    group give it, each through its kernel: y[o] = sum of x[c] through kernel[c,o] over the c of the group. Each group
    has a colour; a dot marks a pair without a kernel. Every number is a text of the Axes, and its gid names it, by the
    pair and the tap: "kernel[2,1][0,1]".

    Draws on `ax`, or on an Axes that fills a new Figure (which pyplot does not manage), and returns the Axes. Raises
    ShapeError for a weight with other axes, and if the picture would be over 80 cells wide or high; GeometryError for
    channels that the groups do not divide; DtypeError, ArrayError and ArgumentError for a weight, an ax or a theme that
    cannot be drawn; MissingExtraError without matplotlib.
    """
    colours = theme_of(theme)
    groups = int_of(groups, "groups", least=1, example="groups=1")
    c_in, c_out, w = _read(weight, groups)
    kernel = (1, 1) if w is None else w.shape[2:]
    size = size_of(kernel)
    if not _readable((c_in, c_out), size):
        raise ShapeError(_too_large(c_in, c_out, groups, kernel, w is None))
    height, width = _extent((c_in, c_out), size)
    words = _words(c_in, c_out, groups, w)
    longest = 1 if w is None else max(len(short(value)) for value in w.flat)
    board = Board.of(ax, max(width, 2 * _MARGIN + width_of(words, 0.34)), height, longest, colours)
    hues = colours.shades((groups,))
    left, top = _MARGIN + _LABEL, _MARGIN + _LABEL
    board.text(left, _MARGIN + 0.2, "OUTPUT channels", 0.4, ha="left", color=colours.output, weight="bold")
    board.text(_MARGIN + 0.3, top, "INPUT channels", 0.4, va="top", rotation=90, color=colours.input, weight="bold")
    for o in range(c_out):
        board.note(left + o * (size[1] + _GAP) + size[1] / 2, top - 0.45, f"y[{o}]", 0.36)
    for c in range(c_in):
        board.note(left - 0.25, top + c * (size[0] + _GAP) + size[0] / 2, f"x[{c}]", 0.36, ha="right")
        for o in range(c_out):
            grid = ArrayGrid(left + o * (size[1] + _GAP), top + c * (size[0] + _GAP), kernel)
            group = c * groups // c_in
            if group != o * groups // c_out:
                board.text(grid.middle, grid.top + size[0] / 2, "\u00b7", 0.5, color=colours.muted)
                continue
            board.fill(grid, np.broadcast_to(hues[group], (*kernel, 3)))
            if w is None:
                continue
            own = w[c, o % (c_out // groups)]
            for index in np.ndindex(*kernel):
                gid = f"kernel{brackets((c, o))}{brackets(index)}"
                board.number(grid.cell(index), short(own[index]), gid, colours.ink_on(hues[group]))
    board.note(_MARGIN, height - _MARGIN, words, ha="left")
    return board.ax


def _read(weight: Any, groups: int) -> tuple[int, int, Array | None]:
    """Return C_in, C_out and the weight as NumPy, None for sizes alone. Raises ShapeError, GeometryError."""
    entries = entries_of(weight)
    if entries is not None and len(entries) == 2 and all(entries_of(entry) is None for entry in entries):
        c_in, c_out = ints_of(entries, "weight", 2, least=1, needed="two are needed: (C_in, C_out)")
        w = None
    else:
        _, (w, _) = _textbook_arguments.take(weight=weight)
        if not 3 <= w.ndim <= 2 + MOST_AXES or 0 in w.shape:
            raise ShapeError(
                f"weight has shape {w.shape}; [C_in, C_out/groups, *kernel] with 1 to {MOST_AXES} spatial axes is "
                "needed. Write weight[None, None] for the bare kernel of one channel, or (C_in, C_out) for the "
                "channels alone"
            )
        c_in, c_out = w.shape[0], w.shape[1] * groups
    for name, count in (("input", c_in), ("output", c_out)):
        if count % groups:
            raise GeometryError(
                f"there are {count} {name} channels, which {groups} groups do not divide. Use a multiple of {groups}, "
                "or other groups"
            )
    return c_in, c_out, w


def _words(c_in: int, c_out: int, groups: int, w: Array | None) -> str:
    pairs = f"{c_in * c_out // groups} of {c_in * c_out} pairs have a kernel"
    if groups == 1:
        pairs = f"every pair has a kernel: {c_in} {TIMES} {c_out}"
    layout = "" if w is None else f"; weight [C_in, C_out/groups, *kernel] = {by(w.shape)}"
    return f"groups={groups}: {pairs}{layout}"


# -- sizes -------------------------------------------------------------------------------------------------------


def _extent(counts: tuple[int, ...], size: tuple[float, float]) -> tuple[float, float]:
    """Return the height and width of the picture."""
    height, width = (count * (side + _GAP) - _GAP for count, side in zip(counts, size, strict=True))
    return 2 * _MARGIN + _LABEL + max(height, 4.2) + 1.0, 2 * _MARGIN + _LABEL + max(width, 4.5)


def _readable(counts: tuple[int, ...], size: tuple[float, float]) -> bool:
    return max(_extent(counts, size)) <= LARGEST


def _too_large(c_in: int, c_out: int, groups: int, kernel: tuple[int, ...], bare: bool) -> str:
    """Return the error message, with the largest part of the weight that can be drawn, if there is one."""
    part = largest_part((c_in, c_out), lambda counts: _readable(counts, size_of(kernel)))
    if part is None:
        proposal = "a weight with a smaller kernel"
    elif bare:
        proposal = f"fewer channels, {part}" if groups == 1 else f"fewer channels or groups, up to {part}"
    elif groups == 1:
        proposal = f"a part of it, {part_text('weight', part)}"
    else:
        fewer = max(1, min(part[0] // (c_in // groups), part[1] // (c_out // groups)))
        proposal = f"the first groups, weight[:{fewer * (c_in // groups)}] with groups={fewer}"
    return (
        f"{c_in} input channels and {c_out} output channels have kernels of shape {kernel}; the numbers can be read up "
        f"to {LARGEST} cells across the whole picture. Write {proposal}"
    )
