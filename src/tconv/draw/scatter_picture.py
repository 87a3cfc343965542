"""The textbook's picture of the transposed convolution: each input element paints its kernel, and the paint is summed.

Source: Zhang, Lipton, Li and Smola, "Dive into Deep Learning", section "Transposed Convolution", the figures for
stride 1 and stride 2.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tconv import definition
from tconv.draw import matrix_picture, palette
from tconv.draw.arguments import Array, flat_arrays, geometry_of
from tconv.draw.cell_board import Board, Place, brackets, cell, flat, grid, short
from tconv.draw.scatter_layout import LARGEST, Arrangement, arrange
from tconv.errors import ShapeError
from tconv.geometry import Geometry

if TYPE_CHECKING:
    from matplotlib.axes import Axes


_WORDS = 9  # cells that the words above the painted grids take


def scatter(x: Any, w: Any, *, ax: Axes | None = None, **spec: Any) -> Axes:
    """Draw how each element of x paints its kernel into the output, and how the painted kernels are summed.

    >>> import tconv
    >>> ax = tconv.draw.scatter([[0, 1], [2, 3]], [[0, 1], [2, 3]], stride=2)
    >>> [text.get_text() for text in ax.texts if (text.get_gid() or "").startswith("output")][8:]
    ['0', '2', '0', '3', '4', '6', '6', '9']

    `ax.figure.savefig("scatter.svg")` writes it. x and w are bare 1-D or 2-D arrays of any library; `spec` is that of
    `tconv.definition.scatter`: stride, padding, output_padding, dilation, crop, or geometry. Dtypes may differ.

    A colour belongs to one input element. In the output a cell that one element reaches has its colour, a sum of
    several is grey, the darker the more of them, and a cell that none reaches is white. What the crop (padding) cuts
    away is hatched and what stays is framed; a negative crop frames rows beyond the full result, which hold only zeros.

    Every number is a text of the Axes, and its gid names it: "input[0,1]", "kernel[1,0]", "painted[0,1][2,2]" (input
    element, place in the full result), "output[2,2]", "full[0,0]" (cut away). Draws on `ax`, or on an Axes that fills
    a new Figure (pyplot does not know it), and returns the Axes. Numbers are sized for the Axes as it is now.

    Raises ShapeError for arrays that are not bare, and where the picture would be over 80 cells wide or high, so that
    no number could be read; GeometryError, DtypeError, ArrayError and ArgumentError for arrays, a spec or an ax that
    cannot be drawn; MissingExtraError without matplotlib.
    """
    x, w = flat_arrays(x=x, w=w)
    g = geometry_of(w.shape, spec)
    g.output_shape(x.shape)  # refuses an empty output
    # the canvas holds the full result and, where the crop is negative, the rows beyond it
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
        board.say(centre, height, sign, 0.7, color=palette.MUTED)
    return board.ax


class _Paint(NamedTuple):
    """All that the definition says about one call, on a canvas that starts at `origin` of the full result."""

    colours: Array  # of the input elements
    reached: Array  # the cells among an element's extent that its taps reach
    products: list[Array]  # per input element in C order, its kernel times the element
    windows: list[tuple[slice, ...]]  # and where on the canvas
    counts: Array  # per canvas cell, how many elements reach it
    sums: Array
    origin: tuple[int, ...]
    kept: tuple[slice, ...]
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
        kept=tuple(slice(max(lo, 0), n - max(hi, 0)) for n, (lo, hi) in zip(shape, g.crop, strict=True)),
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
            _frame(board, place, paint.kept, 0.04, palette.MUTED)
    wide = max(left for left, _ in places.painted) + flat(paint.sums.shape)[1] - places.painted[0][0]
    if wide > _WORDS:
        _caption(board, places.painted[0], wide, "each input element paints its kernel", color=palette.MUTED)


def _draw_output(board: Board, places: Arrangement, paint: _Paint) -> None:
    colours = palette.greys(paint.counts)
    for at, element in enumerate(np.ndindex(*paint.colours.shape[:-1])):
        window = paint.windows[at]
        alone = paint.reached & (paint.counts[window] == 1)
        colours[window][alone] = paint.colours[element]
    stays = np.zeros(paint.sums.shape, bool)
    stays[paint.kept] = True
    board.fill(*places.output, grid(np.where(stays[..., None], colours, 1.0)))
    for index in np.ndindex(*paint.sums.shape):
        left, top = cell(places.output, index)
        output = tuple(i - side.start for i, side in zip(index, paint.kept, strict=True))
        gid = f"output{brackets(output)}" if stays[index] else f"full{_full(index, paint)}"
        if not stays[index]:
            board.hatch(left, top, 1, 1)
        loud = stays[index] and paint.counts[index]
        board.number(left, top, short(paint.sums[index]), gid, palette.INK if loud else palette.MUTED)
    if paint.cropped:
        _frame(board, places.output, paint.kept, 0.11, palette.INK)
    _caption(board, places.output, flat(paint.sums.shape)[1], "Output")


def _frame(board: Board, place: Place, kept: tuple[slice, ...], width: float, colour: str) -> None:
    rows, columns = flat(tuple(side.stop - side.start for side in kept))
    board.frame(*cell(place, tuple(side.start for side in kept)), rows, columns, width, colour)


def _caption(board: Board, place: Place, width: float, text: str, **style: Any) -> None:
    board.say(place[0] + width / 2, place[1] - 0.45, text, 0.4, **style)


def _full(index: tuple[int, ...], paint: _Paint) -> str:
    """A canvas cell as an index of the full result."""
    return brackets(tuple(i + o for i, o in zip(index, paint.origin, strict=True)))


# -- too large ---------------------------------------------------------------------------------------------------


def _arrange(x_shape: tuple[int, ...], canvas: Geometry) -> Arrangement:
    return arrange(flat(x_shape), flat(canvas.kernel), flat(canvas.output_shape(x_shape)), long=canvas.ndim == 1)


def _readable(x_shape: tuple[int, ...], canvas: Geometry) -> bool:
    # a grid that is too large by itself is not worth arranging
    return max(*x_shape, *canvas.output_shape(x_shape)) <= LARGEST and _arrange(x_shape, canvas).readable


def _too_large(x_shape: tuple[int, ...], canvas: Geometry) -> str:
    """The words of the refusal, with the largest leading part of x that can be drawn, if any can."""
    part = tuple(min(n, LARGEST) for n in x_shape)
    while max(part) > 1 and not _readable(part, canvas):
        part = tuple(n - (n == max(part)) for n in part)
    if _readable(part, canvas):
        write = f"a part of it, x[{', '.join(f':{n}' for n in part)}]"
    else:
        write = "a smaller kernel, stride, dilation or negative crop"
    inputs, full = math.prod(x_shape), canvas.output_shape(x_shape)
    if inputs + math.prod(full) <= matrix_picture.LARGEST:
        write += f", or tconv.draw.matrix(w, {x_shape}), which can do without numbers"
    return (
        f"x has shape {x_shape}, and each of its {inputs} elements would be drawn on a grid of {full}; "
        f"the numbers can be read up to {LARGEST} cells across the whole picture. Write {write}"
    )
