"""Picture of the gather: the inputs and taps that one output element sums, their products, and the sum.

The scatter asks what an input paints; this is the same operator, asked from the output.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tconv._arguments import entries_of, ints_of, shown
from tconv._arrays import Array
from tconv.draw.arguments import flat_arrays, geometry_of, has_output
from tconv.draw.array_grid import TIMES, ArrayGrid, before_letter, brackets, by, size_of
from tconv.draw.cell_board import Board, short, width_of
from tconv.draw.gather_layout import Band, arrange
from tconv.draw.output_canvas import Canvas, Index, Product, draw_output
from tconv.draw.palette import theme_of
from tconv.draw.picture_limits import LARGEST, largest_part, part_text
from tconv.errors import ArgumentError, ShapeError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_AXES = {1: ("",), 2: ("rows: ", "columns: "), 3: ("planes: ", "rows: ", "columns: ")}
_LETTERS = "ijk"


def gather(x: Any, w: Any, *, output: Any = None, ax: Axes | None = None, theme: str = "light", **spec: Any) -> Axes:
    """Draw what one output element sums: the inputs it reads, the tap of each, their products, and the sum.

    >>> import tconv
    >>> ax = tconv.draw.gather([[1, 2], [3, 4]], [[1, 2, 3], [4, 5, 6], [7, 8, 9]], output=(1, 1), stride=2, padding=1)
    >>> [text.get_text() for text in ax.texts if (text.get_gid() or "").startswith(("product", "sum"))]
    ['9', '14', '9', '4', '36']

    x and w are bare arrays of 1, 2 or 3 axes of any library, without batch and channels; `spec` is stride, padding,
    output_padding, dilation, crop, or geometry. `output` is the place of the element in the output, or a list of
    places, which are drawn below each other; by default the one nearest to the middle of those that sum the most.
    `theme` is "light" or "dark".

    An input and its tap have the same colour; what is not summed is quiet. Cells that the crop (padding) cuts away are
    hatched. Every number is a text of the Axes, and its gid names it; an index of the output comes first where several
    numbers belong to one: "input[0,1]", "kernel[2,1]", "output[1,1]", "full[0,0]" (cut away), and of the sum in numbers
    "taken[1,1][0,1]" (an input), "tap[1,1][2,1]" (its tap), "product[1,1][0,1]", "sum[1,1]". With several places the
    first four begin with the place, too: "input[1,1][0,1]". Draws on `ax`, or on an Axes that fills a new Figure (which
    pyplot does not manage), and returns the Axes. Numbers are sized for its current size.

    Raises ShapeError for arrays with other axes, and if the picture would be over 80 cells wide or high; ArgumentError
    for a place outside the output; GeometryError, DtypeError, ArrayError and ArgumentError for arrays, a spec, an ax or
    a theme that cannot be drawn; MissingExtraError without matplotlib.
    """
    colours = theme_of(theme)
    if "at" in spec:
        raise ArgumentError(f"at= was given; the place is output=. Write output={shown(spec['at'])}")
    x, w = flat_arrays(x=x, w=w)
    g = geometry_of(w.shape, spec)
    g.output_shape(x.shape)  # refuses an empty output
    canvas = Canvas(g, x.shape)
    if max(*size_of(x.shape), *size_of(canvas.shape)) > LARGEST:
        raise ShapeError(_too_large(canvas, 1))
    places = _places(canvas, output)
    terms = [canvas.products(place) for place in places]
    words = max(width_of(_equation(canvas, place), 0.3) for place in places)
    bands = arrange(x.shape, w.shape, canvas.shape, [len(each) for each in terms], words)
    if not bands.readable:
        raise ShapeError(_too_large(canvas, len(places)))
    sums = canvas.sums(x, w)
    products = [x[term.input] * w[term.tap] for each in terms for term in each]
    longest = max(len(short(value)) for value in (*x.flat, *w.flat, *sums.flat, *products))
    board = Board.of(ax, bands.width, bands.height, longest, colours)
    for place, band, each in zip(places, bands.bands, terms, strict=True):
        prefix = brackets(place) if len(places) > 1 else ""
        _draw_band(board, band, _Numbers(x, w, sums, canvas), place, each, prefix)
    return board.ax


class _Numbers(NamedTuple):
    """Arrays of one call; `sums` are the numbers of the canvas."""

    x: Array
    w: Array
    sums: Array
    canvas: Canvas


def _places(canvas: Canvas, output: Any) -> list[Index]:
    """Return the places that `output` names. Raises ArgumentError for one outside the output."""
    shape = canvas.output_shape
    if output is None:
        counts = canvas.counts[canvas.output]
        middle = np.reshape([(n - 1) / 2 for n in shape], (-1, *[1] * len(shape)))
        distance = np.abs(np.indices(shape) - middle).sum(0)
        best = np.where(counts == counts.max(), distance, np.inf).argmin()
        return [tuple(int(i) for i in np.unravel_index(best, shape))]
    entries = entries_of(output)
    several = entries is not None and (
        any(entries_of(entry) is not None for entry in entries) or (len(shape) == 1 and len(entries) > 1)
    )
    places = [ints_of(entry, "output", len(shape)) for entry in (entries if several and entries else [output])]
    for place in places:
        if not all(0 <= i < n for i, n in zip(place, shape, strict=True)):
            inside = tuple(min(max(i, 0), n - 1) for i, n in zip(place, shape, strict=True))
            raise ArgumentError(
                f"output is {place}; the output has shape {shape}, and its places are counted from 0. Write "
                f"output={inside}"
            )
    if len(set(places)) < len(places):
        raise ArgumentError(f"output is {places}, which has a place twice. Write each place once")
    return places


def _draw_band(board: Board, band: Band, call: _Numbers, place: Index, terms: list[Product], prefix: str) -> None:
    theme, canvas = board.theme, call.canvas
    hues = theme.shades((max(1, len(terms)),))
    for name, array, corner, side in (("INPUT", call.x, band.input, 0), ("KERNEL", call.w, band.kernel, 1)):
        colours, used = theme.blank(array.shape), np.zeros(array.shape, bool)
        for term, hue in zip(terms, hues, strict=False):
            colours[term[side]], used[term[side]] = hue, True
        board.array(ArrayGrid(*corner, array.shape), name, array, colours, used, prefix)
    _draw_sum(board, band, call, place, terms)
    grid, cell = ArrayGrid(*band.output, canvas.shape), canvas.cell_of(place)
    bold = np.zeros(canvas.shape, bool)
    bold[cell] = True
    draw_output(board, grid, canvas, call.sums, theme.blank(canvas.shape), bold=bold, prefix=prefix)
    board.frame(ArrayGrid(*grid.cell(cell), (1, 1)), 0.14, theme.chosen)
    for centre, sign in band.signs:
        board.note(*centre, sign, 0.7)


def _draw_sum(board: Board, band: Band, call: _Numbers, place: Index, terms: list[Product]) -> None:
    """Draw the sum in numbers: a line for each product, with its input and its tap, and the sum below."""
    theme, at = board.theme, brackets(place)
    equation, name = _equation(call.canvas, place), f"output{at}"
    board.text(band.lines.middle, band.lines.top - 0.9, name, 0.36, color=theme.chosen, weight="bold")
    board.note(band.lines.middle, band.lines.top - 0.38, equation, 0.3)
    hues = theme.shades((max(1, len(terms)),))
    for line, term in enumerate(terms):
        left, top = band.lines.corner(line)
        first, second, third = left + 2.6, left + 4.2, left + 5.8
        i, t = brackets(term.input), brackets(term.tap)
        board.note(left + 2.45, top + 0.3, f"x{i}", 0.27, ha="right")
        board.note(left + 2.45, top + 0.7, f"w{t}", 0.27, ha="right")
        values = (("taken", first, i, call.x[term.input]), ("tap", second, t, call.w[term.tap]))
        for gid, column, index, value in values:
            board.fill(ArrayGrid(column, top, (1, 1)), hues[line].reshape(1, 1, 3))
            board.number((column, top), short(value), f"{gid}{at}{index}", theme.ink_on(hues[line]))
        board.note(first + 1.3, top + 0.5, TIMES, 0.5)
        board.note(second + 1.3, top + 0.5, "=", 0.5)
        text = short(call.x[term.input] * call.w[term.tap])
        board.number((third, top), text, f"product{at}{i}", theme.ink)
    left, top = band.lines.corner(len(terms))
    if not terms:
        board.note(left + 5.5, top + 0.5, "no tap lands here:", 0.34, ha="right")
    elif len(terms) > 1:
        board.note(left + 5.5, top + 0.5, f"sum of {len(terms)} products", 0.3, ha="right")
    else:
        board.note(left + 5.5, top + 0.5, "one product", 0.3, ha="right")
    total = ArrayGrid(left + 5.8, top, (1, 1))
    board.frame(total, 0.1, theme.chosen)
    value = call.sums[call.canvas.cell_of(place)]
    board.number((total.left, total.top), short(value), f"sum{at}", theme.ink, weight="bold")


def _equation(canvas: Canvas, place: Index) -> str:
    """Return the rule that selects the products, per axis: "rows: 2i + t = 3"."""
    g, parts = canvas.geometry, []
    axes = zip(_AXES[g.ndim], _LETTERS, place, g.crop, g.stride, g.dilation, strict=False)
    for name, letter, o, (lo, _), s, d in axes:
        parts.append(f"{name}{before_letter(s)}{letter} + {before_letter(d)}t = {o + lo}")
    return ", ".join(parts)


def _readable(canvas: Canvas, count: int) -> bool:
    """Return True if a picture of `count` elements of this output is readable, whichever they are."""
    if max(*size_of(canvas.input_shape), *size_of(canvas.shape)) > LARGEST:
        return False
    g = canvas.geometry
    axes = zip(canvas.input_shape, g.kernel, g.stride, g.dilation, strict=True)
    taps = math.prod(min(n, (k - 1) // (s // math.gcd(s, d)) + 1) for n, k, s, d in axes)
    return arrange(canvas.input_shape, g.kernel, canvas.shape, [taps] * count).readable


def _too_large(canvas: Canvas, count: int) -> str:
    """Return the error message, with the largest leading part of x that can be drawn, if there is one."""

    def fits(shape: Index) -> bool:
        return has_output(canvas.geometry, shape) and _readable(Canvas(canvas.geometry, shape), count)

    part = largest_part(canvas.input_shape, fits)
    proposal = f"a part of it, {part_text('x', part)}" if part else "a smaller kernel, stride or dilation"
    if count > 1:
        proposal = f"fewer places in output=, or {proposal}"
    return (
        f"x has shape {by(canvas.input_shape)} and the full result {by(canvas.shape)}, beside {count} "
        f"{'sum' if count == 1 else 'sums'} in numbers; they can be read up to {LARGEST} cells across the whole "
        f"picture. Write {proposal}"
    )
