"""Picture of the transposed convolution as the textbook draws it: each input element paints its kernel, all are summed.

Source: Zhang, Lipton, Li and Smola, "Dive into Deep Learning", section "Transposed Convolution", the figures for
stride 1 and stride 2.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tconv._arrays import Array
from tconv.draw import matrix_picture
from tconv.draw.arguments import flat_arrays, geometry_of, has_output
from tconv.draw.array_grid import ArrayGrid, brackets, size_of
from tconv.draw.cell_board import Board, short, width_of
from tconv.draw.output_canvas import Canvas, draw_output, scattered
from tconv.draw.palette import Theme, theme_of
from tconv.draw.picture_limits import LARGEST, largest_part, part_text
from tconv.draw.scatter_layout import Arrangement, arrange
from tconv.errors import ShapeError
from tconv.geometry import Geometry

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PAINTS = "each input element paints its kernel"


def scatter(x: Any, w: Any, *, ax: Axes | None = None, theme: str = "light", **spec: Any) -> Axes:
    """Draw how each element of x paints its kernel into the output, and how the painted kernels are summed.

    >>> import tconv
    >>> ax = tconv.draw.scatter([[0, 1], [2, 3]], [[0, 1], [2, 3]], stride=2)
    >>> [text.get_text() for text in ax.texts if (text.get_gid() or "").startswith("output")][8:]
    ['0', '2', '0', '3', '4', '6', '6', '9']

    `ax.figure.savefig("scatter.svg")` writes it. x and w are bare arrays of 1, 2 or 3 axes of any library,
    without batch and channels; `spec` is stride, padding, output_padding, dilation, crop, or geometry, as of
    `tconv.definition.scatter`. Dtypes may differ. A volume is a row of planes. `theme` is "light" or "dark".

    Each input element has a colour. In the output a cell that one element reaches has its colour, a sum of several is
    grey, stronger for more of them, and a cell that no element reaches has no colour. The cells that the crop (padding)
    cuts away are hatched and the others framed; a negative crop frames rows beyond the full result, which are zero.

    Every number is a text of the Axes, and its gid names it: "input[0,1]", "kernel[1,0]", "painted[0,1][2,2]" (input
    element, place in the full result), "output[2,2]", "full[0,0]" (cut away). Draws on `ax`, or on an Axes that fills
    a new Figure (which pyplot does not manage), and returns the Axes. Numbers are sized for its current size.

    Raises ShapeError for arrays with other axes, and if the picture would be over 80 cells wide or high, so that the
    numbers could not be read; GeometryError, DtypeError, ArrayError and ArgumentError for arrays, a spec or an ax that
    cannot be drawn; MissingExtraError without matplotlib.
    """
    colours = theme_of(theme)
    x, w = flat_arrays(x=x, w=w)
    g = geometry_of(w.shape, spec)
    g.output_shape(x.shape)  # refuses an empty output
    canvas = Canvas(g, x.shape)
    if not _readable(canvas):
        raise ShapeError(_too_large(canvas))
    places = arrange(x.shape, w.shape, canvas.shape)
    paint = _paint(x, w, canvas, colours)
    longest = max(len(short(value)) for array in (x, w, paint.sums, *paint.products) for value in array.flat)
    board = Board.of(ax, places.width, places.height, longest, colours)
    board.array(ArrayGrid(*places.input, x.shape), "INPUT", x, paint.colours)
    board.array(ArrayGrid(*places.kernel, w.shape), "KERNEL", w, colours.blank(w.shape))
    _draw_painted(board, places, canvas, paint)
    output = _output_colours(canvas, paint, colours)
    draw_output(board, ArrayGrid(*places.output, canvas.shape), canvas, paint.sums, output)
    for (centre, height), sign in places.signs:
        board.note(centre, height, sign, 0.7)
    return board.ax


class _Paint(NamedTuple):
    """Numbers and colours of one call."""

    colours: Array  # of the input elements
    reached: Array  # the cells among an element's extent that its taps reach
    products: list[Array]  # per input element in C order, its kernel times the element
    windows: list[tuple[slice, ...]]  # and where on the canvas
    sums: Array


def _paint(x: Array, w: Array, canvas: Canvas, theme: Theme) -> _Paint:
    g = canvas.geometry
    plain = Geometry(g.kernel, g.stride, 0, g.dilation)
    elements = [tuple(slice(i, i + 1) for i in index) for index in np.ndindex(*x.shape)]
    return _Paint(
        colours=theme.shades(x.shape),
        reached=scattered(np.ones((1,) * x.ndim, int), np.ones(w.shape, int), plain) > 0,
        products=[scattered(x[element], w, plain) for element in elements],
        windows=[canvas.uncropped.output_window(element) for element in elements],
        sums=canvas.sums(x, w),
    )


def _draw_painted(board: Board, places: Arrangement, canvas: Canvas, paint: _Paint) -> None:
    for at, element in enumerate(np.ndindex(*paint.colours.shape[:-1])):
        grid, window, colour = ArrayGrid(*places.painted[at], canvas.shape), paint.windows[at], paint.colours[element]
        colours = board.theme.blank(canvas.shape)
        colours[window][paint.reached] = colour
        board.fill(grid, colours)
        ink = board.theme.ink_on(colour)
        for offset in zip(*np.nonzero(paint.reached), strict=True):
            index = tuple(int(side.start + o) for side, o in zip(window, offset, strict=True))
            gid = f"painted{brackets(element)}{brackets(canvas.full_index(index))}"
            board.number(grid.cell(index), short(paint.products[at][offset]), gid, ink)
        if canvas.cropped:
            for part in grid.part(canvas.output):
                board.frame(part, 0.04, board.theme.muted)
    first = places.painted[0]
    wide = max(left for left, _ in places.painted) + ArrayGrid(*first, canvas.shape).size[1] - first[0]
    if wide > width_of(_PAINTS, 0.4):
        board.note(first[0] + wide / 2, first[1] - 0.45, _PAINTS, 0.4)


def _output_colours(canvas: Canvas, paint: _Paint, theme: Theme) -> Array:
    """Return the colours of the canvas: an element's own where it is alone, a grey where several meet."""
    colours = theme.greys(canvas.counts)
    for at, element in enumerate(np.ndindex(*paint.colours.shape[:-1])):
        window = paint.windows[at]
        alone = paint.reached & (canvas.counts[window] == 1)
        colours[window][alone] = paint.colours[element]
    return colours


# -- too large ---------------------------------------------------------------------------------------------------


def _readable(canvas: Canvas) -> bool:
    # a grid that is too large alone, or painted grids that are too many, need no arrangement
    x_shape, shape = canvas.input_shape, canvas.shape
    if max(*size_of(x_shape), *size_of(shape)) > LARGEST or math.prod((*x_shape, *size_of(shape))) > LARGEST**2:
        return False
    return arrange(x_shape, canvas.geometry.kernel, shape).readable


def _too_large(canvas: Canvas) -> str:
    """Return the error message, with the largest leading part of x that can be drawn, if there is one."""
    g, x_shape, full = canvas.geometry, canvas.input_shape, canvas.shape
    part = largest_part(x_shape, lambda shape: has_output(g, shape) and _readable(Canvas(g, shape)))
    if part:
        proposal = f"a part of it, {part_text('x', part)}"
    else:
        proposal = f"a smaller kernel, stride, dilation or {'padding' if canvas.cut else 'negative crop'}"
    inputs = math.prod(x_shape)
    if inputs + math.prod(full) <= matrix_picture.LARGEST:
        proposal += f", or tconv.draw.matrix(w, {x_shape}), which needs no numbers"
    return (
        f"x has shape {x_shape}, and each of its {inputs} elements would be drawn on a grid of {full}; "
        f"the numbers can be read up to {LARGEST} cells across the whole picture. Write {proposal}"
    )
