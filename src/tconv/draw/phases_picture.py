"""Picture of the phases: the taps sorted by the output they land in, each phase a convolution with stride 1.

Source of the phases: Shi et al. 2016, arXiv:1609.07009; `tconv.Geometry.phases` has their taps and shifts.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tconv._arrays import Array
from tconv.draw.arguments import flat_arrays, geometry_of, has_output
from tconv.draw.array_grid import MOST_AXES, ArrayGrid, Place, before_letter, brackets, by, size_of
from tconv.draw.cell_board import CAPTION, Board, short, width_of
from tconv.draw.output_canvas import Canvas, Index, draw_output
from tconv.draw.palette import theme_of
from tconv.draw.picture_limits import LARGEST, largest_part, part_text
from tconv.errors import ShapeError
from tconv.geometry import Geometry, Phase

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MARGIN, _GAP = 0.6, 1.3
_BLOCK_GAP = 1.4  # cells between blocks
_HEAD = 1.5  # above the arrays of a block: its place in the full result, and the inputs that its columns read
_SIDE = 1.1  # beside them: the inputs that its rows read
_LETTERS = "ijk"
_USUAL_INPUT = {1: (4,), 2: (2, 2), 3: (1, 2, 2)}


def phases(w: Any, *, x: Any = None, ax: Axes | None = None, theme: str = "light", **spec: Any) -> Axes:
    """Draw which tap lands in which phase, the convolution with stride 1 that each phase is, and how they interleave.

    >>> import tconv
    >>> ax = tconv.draw.phases([1, 2, 3], x=[1, 1, 1], stride=2)
    >>> {text.get_gid(): text.get_text() for text in ax.texts if (text.get_gid() or "").startswith("tap")}
    {'tap[0][0]': '1', 'tap[0][2]': '3', 'tap[1][1]': '2'}

    w and x are bare arrays of 1, 2 or 3 axes of any library, without batch and channels; by default x is 1, 2, 3, ...
    on a few places. `spec` is stride, padding, output_padding, dilation, crop, or geometry. `theme` is "light" or
    "dark".

    Per axis tap t lands in phase r = (d*t) mod s, and reads the input (d*t) div s before: its shift. Each phase has a
    colour, in the kernel, in its own taps with the inputs that they read, and in the output. Cells that the crop
    (padding) cuts away are hatched. Every number is a text of the Axes, and its gid names it: "input[0,1]",
    "kernel[2,1]", "tap[0,1][2,1]" (phase, tap), "phase[0,1][0,2]" (phase, its own place), "output[1,1]", "full[0,0]"
    (cut away).

    Draws on `ax`, or on an Axes that fills a new Figure (which pyplot does not manage), and returns the Axes. Raises
    ShapeError for arrays with other axes, and if the picture would be over 80 cells wide or high; GeometryError,
    DtypeError, ArrayError and ArgumentError for arrays, a spec, an ax or a theme that cannot be drawn;
    MissingExtraError without matplotlib.
    """
    colours = theme_of(theme)
    w, x = (flat_arrays(w=w)[0], None) if x is None else flat_arrays(x=x, w=w)[::-1]
    g = geometry_of(w.shape, spec)
    if x is None:
        shape = _USUAL_INPUT[g.ndim]
        x = np.arange(1, math.prod(shape) + 1).reshape(shape)
    canvas = Canvas(g, x.shape)
    g.output_shape(x.shape)  # refuses an empty output
    if not _readable(canvas):
        raise ShapeError(_too_large(canvas))
    plain = Geometry(g.kernel, g.stride, 0, g.dilation)
    full = Canvas(plain, x.shape).sums(x, w)
    places = _arrange(canvas)
    longest = max(len(short(value)) for array in (x, w, full) for value in array.flat)
    board = Board.of(ax, places.width, places.height, longest, colours)
    shades = colours.shades(g.stride)
    board.array(ArrayGrid(*places.input, x.shape), "INPUT", x, colours.blank(x.shape))
    board.array(ArrayGrid(*places.kernel, w.shape), "KERNEL", w, shades[_residues(g.kernel, g.dilation, g.stride)])
    for block, phase in zip(places.blocks, g.phases, strict=True):
        _draw_phase(board, block, phase, g, w, full[tuple(map(slice, phase.offset, full.shape, g.stride))], shades)
    first = [-min(lo, 0) for lo, _ in g.crop]
    where = tuple((np.indices(canvas.shape)[a] - first[a]) % s for a, s in enumerate(g.stride))
    grid = ArrayGrid(*places.output, canvas.shape)
    draw_output(board, grid, canvas, canvas.sums(x, w), shades[where], bold=np.ones(canvas.shape, bool))
    for centre, sign in places.signs:
        board.note(*centre, sign, 0.7)
    board.note(_MARGIN, places.height - _MARGIN, _words(g), ha="left")
    return board.ax


def _residues(sizes: Index, step: Index, stride: Index) -> tuple[Array, ...]:
    """Return the phase of each tap as an index of arrays: (d*t) mod s per axis."""
    return tuple(np.indices(sizes)[a] * d % s for a, (d, s) in enumerate(zip(step, stride, strict=True)))


def _draw_phase(
    board: Board, block: _Block, phase: Phase, g: Geometry, w: Array, numbers: Array, shades: Array
) -> None:
    """Draw one phase: its place, its taps with the inputs that they read, and its own result."""
    theme, hue, at = board.theme, shades[phase.offset], brackets(phase.offset)
    ink, axes = theme.ink_on(hue), list(zip(_LETTERS, g.stride, phase.offset, strict=False))
    place = ", ".join(f"{before_letter(s)}{letter}{f' + {r}' if r else ''}" for letter, s, r in axes)
    board.text(block.left, block.top - 1.1, f"full[{place}]", 0.34, ha="left", weight="bold")
    taps, result = (ArrayGrid(*corner, shape) for corner, shape in (block.taps, block.result))
    if phase.tap_count:
        reads = [
            [f"{letter}\u2212{shift}" if shift else letter for shift in shifts]
            for letter, shifts in zip(_LETTERS, phase.shifts, strict=False)
        ]
        board.fill(taps, np.broadcast_to(hue, (*taps.shape, 3)), planes=reads[0] if g.ndim == MOST_AXES else None)
        for own in np.ndindex(*taps.shape):
            index = tuple(each[i] for each, i in zip(phase.taps, own, strict=True))
            board.number(taps.cell(own), short(w[index]), f"tap{at}{brackets(index)}", ink)
        head = next(iter(taps.planes()))[1]
        level = head.top - 0.3 if g.ndim < MOST_AXES else head.top + head.size[0] + 0.3  # planes have labels above
        for column, text in enumerate(reads[-1]):
            board.note(head.left + column + 0.5, level, text, 0.31)
        if g.ndim > 1:
            for row, text in enumerate(reads[-2]):
                board.note(head.left - 0.15, head.top + row + 0.5, text, 0.31, ha="right")
        board.note(result.left - _GAP / 2, result.top + result.size[0] / 2, "=", 0.6)
    else:
        board.note(taps.left, taps.top + 0.5, "no tap", 0.3, ha="left")
    if not numbers.size:
        board.note(result.left, result.top + 0.5, "no place", 0.3, ha="left")
        return
    board.fill(result, np.broadcast_to(hue, (*numbers.shape, 3)))
    for index in np.ndindex(*numbers.shape):
        board.number(result.cell(index), short(numbers[index]), f"phase{at}{brackets(index)}", ink)


def _words(g: Geometry) -> str:
    count = math.prod(g.stride)
    if count == 1:
        return "stride 1 has one phase: all taps"
    return (
        f"{count} phases, each a convolution with stride 1 of the INPUT at the places beside its taps; stride "
        f"{by(g.stride)} interleaves them"
    )


# -- layout ------------------------------------------------------------------------------------------------------


class _Block(NamedTuple):
    """Place of one phase, and the corner and shape of its taps and of its result."""

    left: float
    top: float
    taps: tuple[Place, Index]
    result: tuple[Place, Index]


class _PhasePlaces(NamedTuple):
    """Size of the picture in cells, corners of its arrays, one block per phase, and signs (centre, text)."""

    width: float
    height: float
    input: Place
    kernel: Place
    output: Place
    blocks: list[_Block]
    signs: tuple[tuple[Place, str], ...]


def _arrange(canvas: Canvas) -> _PhasePlaces:
    """Return the places: input and kernel, the blocks in the order of the phases in the output, the output.

    The output is beside the blocks, a volume below them.
    """
    g = canvas.geometry
    full = g.full_shape(canvas.input_shape)
    shapes = []
    for phase in g.phases:
        own = tuple(max(0, -((r - n) // s)) for r, n, s in zip(phase.offset, full, g.stride, strict=True))
        shapes.append((tuple(map(len, phase.taps)), own))
    per_line = g.stride[-1] if g.ndim > 1 else 1
    side = _SIDE if g.ndim > 1 else 0.0
    sizes = [(_size(taps), _size(own)) for taps, own in shapes]
    widest = max(side + taps[1] + _GAP + own[1] for taps, own in sizes)
    widest = max(widest, width_of(f"full[{', '.join(f'{s}i + {s}' for s in g.stride)}]", 0.36))
    left = 2 * _MARGIN + max(size_of(canvas.input_shape)[1], size_of(g.kernel)[1], 1.6) + _GAP
    blocks, top = [], _MARGIN
    for start in range(0, len(shapes), per_line):
        line = range(start, start + per_line)
        height = max(max(sizes[at][0][0], sizes[at][1][0]) for at in line)
        for column, at in enumerate(line):
            x, y = left + column * (widest + _BLOCK_GAP), top + _HEAD
            taps, own = shapes[at]
            right = x + side + sizes[at][0][1] + _GAP
            middle = y + height / 2
            corners = (x + side, middle - sizes[at][0][0] / 2), (right, middle - sizes[at][1][0] / 2)
            blocks.append(_Block(x, y, (corners[0], taps), (corners[1], own)))
        top += _HEAD + height + 0.5
    size, x_size, w_size = size_of(canvas.shape), size_of(canvas.input_shape), size_of(g.kernel)
    operands = 2 * CAPTION + x_size[0] + w_size[0] + _MARGIN
    below = g.ndim == MOST_AXES
    body = max(top - _MARGIN, operands, 0.0 if below else size[0] + CAPTION)
    shift = (body - (top - _MARGIN)) / 2
    blocks = [_moved(block, shift) for block in blocks]
    first = _MARGIN + (body - operands) / 2 + CAPTION
    middle = _MARGIN + body / 2
    right = left + per_line * (widest + _BLOCK_GAP) + _GAP
    output = right, middle + CAPTION / 2 - size[0] / 2
    signs: tuple[tuple[Place, str], ...] = (((right - 0.5 * _GAP - 0.5 * _BLOCK_GAP, middle), "\u2192"),)
    if below:
        right, signs = right - _BLOCK_GAP - _GAP, ()
        output = left, body + 2 * _MARGIN + CAPTION
    width = max(right, output[0] + size[1], _MARGIN + width_of(_words(g), 0.34)) + 2 * _MARGIN
    height = max(body + _MARGIN, output[1] + size[0]) + 3 * _MARGIN
    kernel = 2 * _MARGIN, first + x_size[0] + _MARGIN + CAPTION
    return _PhasePlaces(width, height, (2 * _MARGIN, first), kernel, output, blocks, signs)


def _size(shape: Index) -> Place:
    return size_of(shape) if math.prod(shape) else (1.0, 1.6)  # a word stands in place of an empty array


def _moved(block: _Block, down: float) -> _Block:
    def lower(part: tuple[Place, Index]) -> tuple[Place, Index]:
        return (part[0][0], part[0][1] + down), part[1]

    return _Block(block.left, block.top + down, lower(block.taps), lower(block.result))


def _readable(canvas: Canvas) -> bool:
    g = canvas.geometry
    if max(*canvas.shape, *g.stride, *g.kernel) > LARGEST or math.prod(g.stride) > LARGEST:
        return False
    places = _arrange(canvas)
    return max(places.width, places.height) <= LARGEST


def _too_large(canvas: Canvas) -> str:
    """Return the error message, with the largest leading part of x that can be drawn, if there is one."""
    g = canvas.geometry
    part = largest_part(canvas.input_shape, lambda shape: has_output(g, shape) and _readable(Canvas(g, shape)))
    proposal = f"a part of x, {part_text('x', part)}" if part else "a smaller kernel, stride or dilation"
    return (
        f"the {math.prod(g.stride)} phases of a kernel of shape {g.kernel} and an input of shape "
        f"{canvas.input_shape} would be drawn; the numbers can be read up to {LARGEST} cells across the whole "
        f"picture. Write {proposal}"
    )
