"""Picture of the operator as a matrix: K, whose rows are inputs and whose columns are outputs, and its transpose.

It shows the bands of small matrices; `tconv.matrix` has the numbers of large ones.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tconv import definition
from tconv._arguments import Ints, ints_of
from tconv._arrays import Array
from tconv.draw.arguments import flat_arrays, geometry_of, names_input_shape
from tconv.draw.array_grid import TIMES, ArrayGrid, Place, brackets, size_of
from tconv.draw.cell_board import READABLE, Board, short
from tconv.draw.palette import theme_of
from tconv.draw.picture_limits import part_text
from tconv.errors import ShapeError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LARGEST = 512
"""Most inputs + outputs: the bands of a larger K are too thin to see."""

MOST_TAPS = 4096
"""Most elements of the kernel, which is the key to the colours."""

_COMFORTABLE = 45  # cells across up to which titles and the kernel have the size of K's cells


@names_input_shape
def matrix(w: Any, input_shape: Ints, *, ax: Axes | None = None, theme: str = "light", **spec: Any) -> Axes:
    """Draw the kernel, K and K.T: the same tap has the same colour everywhere, so that the bands of K can be seen.

    >>> import tconv
    >>> ax = tconv.draw.matrix([[1, 2], [3, 4]], (2, 2))
    >>> [text.get_text() for text in ax.texts if (text.get_gid() or "").startswith("K[0,")]
    ['1', '2', '0', '3', '4', '0', '0', '0', '0']

    `ax.figure.savefig("matrix.svg")` writes it. w is a bare array of 1, 2 or 3 axes of any library, `input_shape` the
    spatial shape of x (an int: the same on every axis), `spec` that of `tconv.definition.scatter`: stride, padding,
    output_padding, dilation, crop, or geometry. `theme` is "light" or "dark".

    K is the matrix of `tconv.matrix`: [inputs, outputs], numbered in C order, so that y.ravel() = K.T @ x.ravel(). Thin
    lines separate the rows of the input image and of the output image. If the cells are large enough, every number is a
    text of the Axes whose gid names it, "K[3,8]", "K.T[8,3]", "kernel[1,0]"; a faint 0 marks a place without a tap.
    Smaller cells have colours only. Draws on `ax`, or on an Axes that fills a new Figure (which pyplot does not
    manage), and returns the Axes. Numbers are sized for its current size.

    Raises ShapeError for a w with other axes or more than 4096 taps and for more than 512 inputs and outputs together;
    GeometryError, DtypeError, ArrayError and ArgumentError for a w, spec or ax that cannot be drawn; MissingExtraError
    without matplotlib.
    """
    colours_of = theme_of(theme)
    (w,) = flat_arrays(w=w)
    g = geometry_of(w.shape, spec)
    if w.size > MOST_TAPS:
        raise ShapeError(
            f"w has shape {w.shape}, {w.size} taps; up to {MOST_TAPS} are drawn. Write a part of it, "
            f"{part_text('w', tuple(min(n, 8) for n in w.shape))}"
        )
    small = ints_of(input_shape, "input_shape", g.ndim)
    large = g.output_shape(small)
    inputs, outputs = math.prod(small), math.prod(large)
    if inputs + outputs > LARGEST:
        raise ShapeError(
            f"K would have {inputs} rows and {outputs} columns; up to {LARGEST} of both together are drawn. "
            f"Write a smaller input_shape, whose K has the same bands, or tconv.matrix(w, {small}) for the numbers"
        )
    values = definition.dense(w[None, None, None], g, small)[0, 0, 0]
    # the same matrix of tap numbers has the number of the tap at each place, and 0 where there is none
    numbers = np.arange(1, w.size + 1).reshape(1, 1, 1, *w.shape)
    taps = definition.dense(numbers, g, small)[0, 0, 0]

    characters = max(len(brackets(shape)) for shape in (small, large))
    places = _places(size_of(w.shape), inputs, outputs, characters)
    longest = max(len(short(value)) for value in w.flat)
    board = Board.of(ax, places.width, places.height, longest, colours_of)
    shades = colours_of.shades(w.shape)
    colours = np.concatenate([colours_of.blank((1,)), shades.reshape(-1, 3)])[taps]
    x, y = _Side("x", "INPUT", small), _Side("y", "OUTPUT", large)
    _draw_key(board, places, w, shades)
    _draw(board, places, _Matrix("K", places.K, values, taps, colours, x, y))
    _draw(board, places, _Matrix("K.T", places.KT, values.T, taps.T, colours.transpose(1, 0, 2), y, x))
    return board.ax


class _Side(NamedTuple):
    """Array whose elements the rows or the columns of a matrix stand for: x or y."""

    letter: str
    name: str
    shape: tuple[int, ...]


class _Matrix(NamedTuple):
    """K or K.T and the place of its upper left corner; `taps` is 0 where there is no tap."""

    name: str
    place: Place
    values: Array
    taps: Array
    colours: Array
    down: _Side
    across: _Side


class _Places(NamedTuple):
    """The size of the picture and the upper left corners of its grids, in cells of K.

    `unit` is the side of a cell of the kernel, `label` the length of a label.
    """

    width: float
    height: float
    unit: float
    label: float
    kernel: Place
    K: Place
    KT: Place


def _places(kernel: tuple[float, float], inputs: int, outputs: int, characters: int) -> _Places:
    """Return the places of kernel, K and K.T beside each other, with labels of a letter and `characters` more."""
    unit = max(1.0, (kernel[1] + inputs + outputs) / _COMFORTABLE)
    edge, title, label = 0.5 * unit, 1.5 * unit, (0.62 + 0.22 * characters) * unit
    height = max(inputs, outputs, unit * kernel[0] + label)
    K = edge + kernel[1] * unit + unit + label
    KT = K + outputs + unit + label
    below = edge + title + label
    return _Places(
        width=max(KT + inputs + edge, KT + inputs / 2 + 1.4 * unit),  # room for the words above a narrow one
        height=below + height + edge,
        unit=unit,
        label=label,
        kernel=(edge, below + (height - unit * kernel[0]) / 2),
        K=(K, below + (height - inputs) / 2),
        KT=(KT, below + (height - outputs) / 2),
    )


def _draw_key(board: Board, places: _Places, w: Array, shades: Array) -> None:
    """Draw the kernel as the key to the colours."""
    key = ArrayGrid(*places.kernel, w.shape, places.unit)
    board.fill(key, shades)
    board.caption(key, "KERNEL", unit=places.unit)
    if board.font(places.unit) < READABLE:
        return
    for index in np.ndindex(*w.shape):
        gid, ink = f"kernel{brackets(index)}", board.theme.ink_on(shades[index])
        board.number(key.cell(index), short(w[index]), gid, ink, places.unit)


def _draw(board: Board, places: _Places, m: _Matrix) -> None:
    """Draw one matrix, with thin lines between the rows of the images that its rows and columns stand for."""
    (left, top), (rows, columns), theme = m.place, m.values.shape, board.theme
    grid = ArrayGrid(left, top, m.values.shape)
    numbered = board.font() >= READABLE
    line = 0.035 * places.unit
    board.fill(grid, m.colours, lines=numbered, frame=line)
    for at in range(m.down.shape[-1], rows, m.down.shape[-1]):
        board.rule((left, top + at), (left + columns, top + at), line)
    for at in range(m.across.shape[-1], columns, m.across.shape[-1]):
        board.rule((left + at, top), (left + at, top + rows), line)
    size, gap = 0.34 * places.unit, 0.2 * places.unit
    upwards: dict[str, Any] = {"rotation": 90}
    if numbered:
        for index in np.ndindex(rows, columns):
            colour = theme.ink_on(m.colours[index]) if m.taps[index] else theme.faint
            board.number(grid.cell(index), short(m.values[index]), f"{m.name}{brackets(index)}", colour)
        for at, index in enumerate(np.ndindex(*m.down.shape)):
            board.note(left - gap, top + at + 0.5, f"{m.down.letter}{brackets(index)}", size, ha="right")
        for at, index in enumerate(np.ndindex(*m.across.shape)):
            label = f"{m.across.letter}{brackets(index)}"
            board.note(left + at + 0.5, top - gap, label, size, va="bottom", **upwards)
    else:
        sides = (f"{count} {side.name}S" for count, side in ((rows, m.down), (columns, m.across)))
        board.note(left - gap, top + rows / 2, next(sides), size, ha="right", va="center", **upwards)
        board.note(left + columns / 2, top - gap, next(sides), size, va="bottom")
    above = (places.label if numbered else 0.6 * places.unit) + 0.3 * places.unit
    board.text(left + columns / 2, top - above - 0.62 * places.unit, m.name, 0.5 * places.unit, weight="bold")
    board.note(left + columns / 2, top - above, f"{m.down.name} {TIMES} {m.across.name}", 0.3 * places.unit)
