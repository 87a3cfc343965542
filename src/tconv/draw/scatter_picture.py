"""Picture of the transposed convolution as the textbook draws it: each input element paints its kernel, all are summed.

Source: Zhang, Lipton, Li and Smola, "Dive into Deep Learning", section "Transposed Convolution", the figures for
stride 1 and stride 2.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tconv import definition
from tconv._arrays import Array
from tconv.draw import matrix_picture, palette
from tconv.draw.arguments import flat_arrays, geometry_of
from tconv.draw.cell_board import Board, Place, brackets, cell, flat, grid, short
from tconv.draw.scatter_layout import LARGEST, Arrangement, arrange
from tconv.errors import ShapeError
from tconv.geometry import Geometry

if TYPE_CHECKING:
    from matplotlib.axes import Axes


_CAPTION = 9  # width of the caption above the painted grids, in cells


def scatter(x: Any, w: Any, *, ax: Axes | None = None, **spec: Any) -> Axes:
    """Draw how each element of x paints its kernel into the output, and how the painted kernels are summed.

    >>> import tconv
    >>> ax = tconv.draw.scatter([[0, 1], [2, 3]], [[0, 1], [2, 3]], stride=2)
    >>> [text.get_text() for text in ax.texts if (text.get_gid() or "").startswith("output")][8:]
    ['0', '2', '0', '3', '4', '6', '6', '9']

    `ax.figure.savefig("scatter.svg")` writes it. x and w are bare 1-D or 2-D arrays of any library; `spec` is that of
    `tconv.definition.scatter`: stride, padding, output_padding, dilation, crop, or geometry. Dtypes may differ.

    Each input element has a colour. In the output a cell that one element reaches has its colour, a sum of several is
    grey, darker for more of them, and a cell that no element reaches is white. The cells that the crop (padding) cuts
    away are hatched and the others framed; a negative crop frames rows beyond the full result, which are zero.

    Every number is a text of the Axes, and its gid names it: "input[0,1]", "kernel[1,0]", "painted[0,1][2,2]" (input
    element, place in the full result), "output[2,2]", "full[0,0]" (cut away). Draws on `ax`, or on an Axes that fills
    a new Figure (which pyplot does not manage), and returns the Axes. Numbers are sized for its current size.

    Raises ShapeError for arrays with other axes, and if the picture would be over 80 cells wide or high, so that the
    numbers could not be read; GeometryError, DtypeError, ArrayError and ArgumentError for arrays, a spec or an ax that
    cannot be drawn; MissingExtraError without matplotlib.
    """
    x, w = flat_arrays(x=x, w=w)
    g = geometry_of(w.shape, spec)
    g.output_shape(x.shape)  # refuses an empty output
    # the canvas is the full result and, where the crop is negative, the rows beyond it
    canvas = Geometry(g.kernel, g.stride, [(min(lo, 0), min(hi, 0)) for lo, hi in g.crop], g.dilation)
    if not _readable(x.shape, canvas):
        raise ShapeError(_too_large(x.shape, canvas))
    places = _arrange(x.shape, canvas)
    paint = _paint(x, w, g, canvas)
    longest = max(len(short(value)) for array in (x, w, paint.sums, *paint.products) for value in array.flat)
    board = Board.of(ax, places.width, places.height, longest)
    _draw_operands(board, places, x, w, paint)
    _draw_painted(board, places, paint)
    _draw_output(board, places, paint)
    for (centre, height), sign in places.signs:
        board.text(centre, height, sign, 0.7, color=palette.MUTED)
    return board.ax


class _Paint(NamedTuple):
    """Numbers and colours of one call, on a canvas that starts at `origin` of the full result."""

    colours: Array  # of the input elements
    reached: Array  # the cells among an element's extent that its taps reach
    products: list[Array]  # per input element in C order, its kernel times the element
    windows: list[tuple[slice, ...]]  # and where on the canvas
    counts: Array  # per canvas cell, how many elements reach it
    sums: Array
    origin: tuple[int, ...]
    output: tuple[slice, ...]  # the part of the canvas that the crop leaves
    cropped: bool


def _paint(x: Array, w: Array, g: Geometry, canvas: Geometry) -> _Paint:
    plain = Geometry(g.kernel, g.stride, 0, g.dilation)
    ones, kernel_ones = np.ones(x.shape, int), np.ones(w.shape, int)
    elements = [tuple(slice(i, i + 1) for i in index) for index in np.ndindex(*x.shape)]
    shape = canvas.output_shape(x.shape)
    return _Paint(
        colours=palette.shades(x.shape),
        reached=definition.scatter(ones[elements[0]], kernel_ones, geometry=plain) > 0,
        products=[definition.scatter(x[element], w, geometry=plain) for element in elements],
        windows=[canvas.output_window(element) for element in elements],
        counts=definition.scatter(ones, kernel_ones, geometry=canvas),
        sums=definition.scatter(x, w, geometry=canvas),
        origin=tuple(lo for lo, _ in canvas.crop),
        output=tuple(slice(max(lo, 0), n - max(hi, 0)) for n, (lo, hi) in zip(shape, g.crop, strict=True)),
        cropped=any(lo or hi for lo, hi in g.crop),
    )


def _draw_operands(board: Board, places: Arrangement, x: Array, w: Array, paint: _Paint) -> None:
    blank = np.ones((*w.shape, 3))
    for name, array, place, colours in (("input", x, places.input, paint.colours), ("kernel", w, places.kernel, blank)):
        board.fill(*place, grid(colours))
        for index in np.ndindex(*array.shape):
            board.number(*cell(place, index), short(array[index]), f"{name}{brackets(index)}")
        _caption(board, place, flat(array.shape)[1], name.capitalize())


def _draw_painted(board: Board, places: Arrangement, paint: _Paint) -> None:
    for at, element in enumerate(np.ndindex(*paint.colours.shape[:-1])):
        place, window = places.painted[at], paint.windows[at]
        colours = np.ones((*paint.sums.shape, 3))
        colours[window][paint.reached] = paint.colours[element]
        board.fill(*place, grid(colours))
        for offset in zip(*np.nonzero(paint.reached), strict=True):
            index = tuple(int(side.start + o) for side, o in zip(window, offset, strict=True))
            text = short(paint.products[at][offset])
            board.number(*cell(place, index), text, f"painted{brackets(element)}{_full(index, paint)}")
        if paint.cropped:
            _frame(board, place, paint.output, 0.04, palette.MUTED)
    wide = max(left for left, _ in places.painted) + flat(paint.sums.shape)[1] - places.painted[0][0]
    if wide > _CAPTION:
        _caption(board, places.painted[0], wide, "each input element paints its kernel", color=palette.MUTED)


def _draw_output(board: Board, places: Arrangement, paint: _Paint) -> None:
    colours = palette.greys(paint.counts)
    for at, element in enumerate(np.ndindex(*paint.colours.shape[:-1])):
        window = paint.windows[at]
        alone = paint.reached & (paint.counts[window] == 1)
        colours[window][alone] = paint.colours[element]
    remains = np.zeros(paint.sums.shape, bool)
    remains[paint.output] = True
    board.fill(*places.output, grid(np.where(remains[..., None], colours, 1.0)))
    for index in np.ndindex(*paint.sums.shape):
        left, top = cell(places.output, index)
        output = tuple(i - side.start for i, side in zip(index, paint.output, strict=True))
        gid = f"output{brackets(output)}" if remains[index] else f"full{_full(index, paint)}"
        if not remains[index]:
            board.hatch(left, top, 1, 1)
        prominent = remains[index] and paint.counts[index]
        board.number(left, top, short(paint.sums[index]), gid, palette.INK if prominent else palette.MUTED)
    if paint.cropped:
        _frame(board, places.output, paint.output, 0.11, palette.INK)
    _caption(board, places.output, flat(paint.sums.shape)[1], "Output")


def _frame(board: Board, place: Place, part: tuple[slice, ...], width: float, colour: str) -> None:
    rows, columns = flat(tuple(side.stop - side.start for side in part))
    board.frame(*cell(place, tuple(side.start for side in part)), rows, columns, width, colour)


def _caption(board: Board, place: Place, width: float, text: str, **style: Any) -> None:
    board.text(place[0] + width / 2, place[1] - 0.45, text, 0.4, **style)


def _full(index: tuple[int, ...], paint: _Paint) -> str:
    """Return a canvas cell as an index of the full result, in brackets."""
    return brackets(tuple(i + o for i, o in zip(index, paint.origin, strict=True)))


# -- too large ---------------------------------------------------------------------------------------------------


def _arrange(x_shape: tuple[int, ...], canvas: Geometry) -> Arrangement:
    return arrange(flat(x_shape), flat(canvas.kernel), flat(canvas.output_shape(x_shape)), long=canvas.ndim == 1)


def _readable(x_shape: tuple[int, ...], canvas: Geometry) -> bool:
    # a grid that is too large alone needs no arrangement
    return max(*x_shape, *canvas.output_shape(x_shape)) <= LARGEST and _arrange(x_shape, canvas).readable


def _too_large(x_shape: tuple[int, ...], canvas: Geometry) -> str:
    """Return the error message, with the largest leading part of x that can be drawn, if there is one."""
    part = tuple(min(n, LARGEST) for n in x_shape)
    while max(part) > 1 and not _readable(part, canvas):
        part = tuple(n - (n == max(part)) for n in part)
    if _readable(part, canvas):
        proposal = f"a part of it, x[{', '.join(f':{n}' for n in part)}]"
    else:
        proposal = "a smaller kernel, stride, dilation or negative crop"
    inputs, full = math.prod(x_shape), canvas.output_shape(x_shape)
    if inputs + math.prod(full) <= matrix_picture.LARGEST:
        proposal += f", or tconv.draw.matrix(w, {x_shape}), which needs no numbers"
    return (
        f"x has shape {x_shape}, and each of its {inputs} elements would be drawn on a grid of {full}; "
        f"the numbers can be read up to {LARGEST} cells across the whole picture. Write {proposal}"
    )
