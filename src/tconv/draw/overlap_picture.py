"""Picture of the overlap: how many taps meet in each output, which shows a checkerboard before any training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tconv._arguments import Ints
from tconv._arrays import Array
from tconv.draw.arguments import geometry_of, has_output, names_input_shape, sizes_of
from tconv.draw.array_grid import ArrayGrid, Place, by, size_of
from tconv.draw.cell_board import CAPTION, Board, short, width_of
from tconv.draw.output_canvas import Canvas, draw_output
from tconv.draw.palette import theme_of
from tconv.draw.picture_limits import LARGEST, largest_part
from tconv.errors import ShapeError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MARGIN, _GAP = 0.6, 2.0
_ADVICE = "PHASE: taps of the outputs whose place modulo the stride is the same, away from borders"
_LONGEST = "uneven: 10 to 100 taps, some outputs are only bias"


@names_input_shape
def overlap(kernel: Ints, input_shape: Ints, *, ax: Axes | None = None, theme: str = "light", **spec: Any) -> Axes:
    """Draw how many taps meet in each output: the same number everywhere inside, or a checkerboard.

    >>> import tconv
    >>> ax = tconv.draw.overlap((3, 3), (4, 4), stride=2, padding=1)
    >>> [text.get_text() for text in ax.texts if (text.get_gid() or "").startswith("phase")]
    ['4', '2', '2', '1']

    `kernel` is the spatial size, one int per axis (an int is one axis, or as many as `input_shape` has), `input_shape`
    the spatial shape of x (an int: the same on every axis); `spec` is stride, padding, output_padding, dilation, crop,
    or geometry. Up to 3 axes are drawn, a volume as a row of planes. `theme` is "light" or "dark".

    The small array has the number of taps of each phase: of outputs away from the borders whose place modulo the stride
    is the same. Uneven numbers make some outputs larger than their neighbours (a checkerboard) unless the weights
    compensate; a kernel that the stride divides is even. Cells that the crop (padding) cuts away are hatched. Every
    number is a text of the Axes, and its gid names it: "output[2,2]", "full[0,0]" (cut away), "phase[0,1]".

    Draws on `ax`, or on an Axes that fills a new Figure (which pyplot does not manage), and returns the Axes. Raises
    ShapeError for more than 3 axes, and if the picture would be over 80 cells wide or high; GeometryError and
    ArgumentError for sizes, a spec, an ax or a theme that cannot be drawn; MissingExtraError without matplotlib.
    """
    colours = theme_of(theme)
    kernel, input_shape = sizes_of(kernel, input_shape)
    g = geometry_of(kernel, spec)
    g.output_shape(input_shape)  # refuses an empty output
    canvas = Canvas(g, input_shape)
    if not _readable(canvas):
        raise ShapeError(_too_large(canvas))
    places = _arrange(canvas)
    per_phase = np.array([phase.tap_count for phase in g.phases]).reshape(g.stride)
    most = max(int(canvas.counts.max()), int(per_phase.max()))
    board = Board.of(ax, places.width, places.height, len(short(most)), colours)
    grid = ArrayGrid(*places.output, canvas.shape)
    draw_output(board, grid, canvas, canvas.counts, colours.blues(canvas.counts, most))
    phases, shades = ArrayGrid(*places.phases, g.stride), colours.blues(per_phase, most)
    board.array(phases, "PHASE", per_phase, shades)
    left = places.output[0]
    board.note(left, _MARGIN, _layer(canvas), ha="left")
    board.text(left, places.height - _MARGIN - 0.75, _verdict(per_phase), 0.36, ha="left", weight="bold")
    board.note(left, places.height - _MARGIN, _ADVICE, ha="left")
    return board.ax


class _OverlapPlaces(NamedTuple):
    """The size of the picture in cells, and the corners of its arrays."""

    width: float
    height: float
    output: Place
    phases: Place


def _arrange(canvas: Canvas) -> _OverlapPlaces:
    """Return the places of the output and of the phases: beside it in 2-D, below a row or planes otherwise."""
    size, small = size_of(canvas.shape), size_of(canvas.geometry.stride)
    output = 2 * _MARGIN, _MARGIN + 0.5 + CAPTION
    words = max(width_of(_layer(canvas), 0.34), width_of(_ADVICE, 0.34), width_of(_LONGEST, 0.4))
    if len(canvas.shape) == 2:
        phases = output[0] + size[1] + _GAP, output[1]
        width, bottom = phases[0] + small[1], output[1] + max(size[0], small[0])
    else:
        phases = output[0], output[1] + size[0] + _MARGIN + CAPTION
        width, bottom = output[0] + max(size[1], small[1]), phases[1] + small[0]
    return _OverlapPlaces(max(width, output[0] + words) + 2 * _MARGIN, bottom + 2.5 * _MARGIN + 0.75, output, phases)


def _layer(canvas: Canvas) -> str:
    """Return the layer in words."""
    g = canvas.geometry
    dilation = f", dilation {by(g.dilation)}" if max(g.dilation) > 1 else ""
    return f"taps that meet: INPUT {by(canvas.input_shape)}, kernel {by(g.kernel)}, stride {by(g.stride)}{dilation}"


def _verdict(per_phase: Array) -> str:
    least, most = int(per_phase.min()), int(per_phase.max())
    if least == most:
        return f"even: {most} {'tap' if most == 1 else 'taps'} in every phase"
    bare = ", some outputs are only bias" if least == 0 else ""
    return f"uneven: {least} to {most} taps{bare}"


# -- too large ---------------------------------------------------------------------------------------------------


def _readable(canvas: Canvas) -> bool:
    if max(*canvas.shape, *canvas.geometry.stride) > LARGEST:
        return False
    places = _arrange(canvas)
    return max(places.width, places.height) <= LARGEST


def _too_large(canvas: Canvas) -> str:
    """Return the error message, with the largest input that can be drawn, if there is one."""
    g = canvas.geometry
    part = largest_part(canvas.input_shape, lambda shape: has_output(g, shape) and _readable(Canvas(g, shape)))
    proposal = f"input_shape={part}, which has the same phases" if part else "a smaller kernel, stride or dilation"
    return (
        f"input_shape is {canvas.input_shape}, and the full result has shape {canvas.shape}; the numbers can be read "
        f"up to {LARGEST} cells across the whole picture. Write {proposal}"
    )
