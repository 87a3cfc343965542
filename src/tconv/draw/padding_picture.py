"""Picture of padding: what each native call removes from the full result, and on which side.

Source of the rules: `tconv.dialects`, one file a framework.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tconv._arguments import Ints
from tconv.draw import padding_calls
from tconv.draw.arguments import geometry_of, names_input_shape, sizes_of
from tconv.draw.array_grid import ArrayGrid, Place, by, size_of
from tconv.draw.cell_board import Board, short, width_of
from tconv.draw.output_canvas import Canvas, draw_output
from tconv.draw.padding_calls import PaddedCall
from tconv.draw.palette import theme_of
from tconv.draw.picture_limits import LARGEST, largest_part
from tconv.errors import ShapeError, TconvError
from tconv.geometry import Geometry

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MARGIN, _GAP = 0.6, 1.6
_ABOVE, _BELOW = 1.5, 1.4  # cells of the words above and below each panel
_WIDE = 46  # cells across up to which panels are beside each other
_NAME, _WORDS = 0.42, 0.32  # sizes of the two lines above


@names_input_shape
def padding(
    kernel: Ints,
    input_shape: Ints,
    *calls: Any,
    stride: Ints = 1,
    dilation: Ints = 1,
    ax: Axes | None = None,
    theme: str = "light",
) -> Axes:
    """Draw what the padding of each call removes: one full result, and the part of it that each call returns.

    >>> import tconv
    >>> ax = tconv.draw.padding(3, 4, dict(dialect="torch", padding=1), dict(dialect="keras", padding="same"), stride=2)
    >>> [text.get_text() for text in ax.texts if "removes" in text.get_text()]
    ['removes 1 in front, 1 behind', 'removes 0 in front, 1 behind']

    `kernel` and `input_shape` are spatial sizes, `stride` and `dilation` of the layer that all calls share: one int per
    axis, or one for all; 1 to 3 axes. Each of `calls` is a dict of native arguments and the `dialect` of their words,
    as `tconv.conv_transpose` takes them (the stride is added in the dialect's own word); without any, the calls that
    people compare are drawn: PyTorch's padding, and SAME of Keras, TensorFlow, ONNX and JAX. `theme` is "light" or
    "dark".

    The numbers are the sums for an input of 1, 2, 3, ... and a kernel of 1, 2, 3, ..., in C order. Cells that a call
    removes are hatched, its output is framed; beyond the full result it is zero. Calls that remove the same have one
    colour. Every number is a text of the Axes, and its gid names it, after the number of its call: "output[0][2,2]",
    "full[1][0,0]" (removed).

    Draws on `ax`, or on an Axes that fills a new Figure (which pyplot does not manage), and returns the Axes. Raises
    ShapeError if the picture would be over 80 cells wide or high; ArgumentError for something else than a call, and
    what a dialect raises for its words; MissingExtraError without matplotlib.
    """
    colours = theme_of(theme)
    kernel, input_shape = sizes_of(kernel, input_shape)
    layer = geometry_of(kernel, {"stride": stride, "dilation": dilation})
    layer.output_shape(input_shape)
    compared = padding_calls.read(layer, input_shape, calls) or padding_calls.usual(layer, input_shape)
    canvases = [Canvas(call.geometry, input_shape) for call in compared]
    places = _arrange(compared, canvases, layer, input_shape)
    if max(places.width, places.height) > LARGEST:
        raise ShapeError(_too_large(layer, input_shape, calls))
    x, w = (np.arange(1, np.prod(shape) + 1).reshape(shape) for shape in (input_shape, kernel))
    sums = [canvas.sums(x, w) for canvas in canvases]
    longest = max(len(short(value)) for each in sums for value in each.flat)
    board = Board.of(ax, places.width, places.height, longest, colours)
    board.note(_MARGIN, _MARGIN, _layer(layer, input_shape), ha="left")
    crops = list(dict.fromkeys(call.geometry.crop for call in compared))
    hues = colours.shades((len(crops),))
    for number, (call, canvas, (left, top), grid) in enumerate(
        zip(compared, canvases, places.panels, places.grids, strict=True)
    ):
        board.text(left, top - 1.1, call.framework, _NAME, ha="left", weight="bold")
        board.note(left, top - 0.45, call.words, _WORDS, ha="left")
        shades = np.broadcast_to(hues[crops.index(call.geometry.crop)], (*canvas.shape, 3))
        bold = np.ones(canvas.shape, bool)
        place = ArrayGrid(*grid, canvas.shape)
        draw_output(board, place, canvas, sums[number], shades, bold=bold, prefix=f"[{number}]", caption=False)
        below = top + places.panel[0]
        size = f"OUTPUT {by(canvas.output_shape)}"
        board.text(left, below + 0.45, size, 0.36, ha="left", color=colours.output, weight="bold")
        board.note(left, below + 0.95, _removed(call.geometry), 0.3, ha="left")
    return board.ax


class _PanelPlaces(NamedTuple):
    """The size of the picture, of a panel (height, width), and the corners of panels and of the grids in them."""

    width: float
    height: float
    panel: Place
    panels: list[Place]
    grids: list[Place]


def _arrange(
    calls: list[PaddedCall], canvases: list[Canvas], layer: Geometry, input_shape: tuple[int, ...]
) -> _PanelPlaces:
    """Return the places: panels below each other, in 2-D beside each other too; the full results are aligned."""
    before = [[max(0, -lo) for lo, _ in call.geometry.crop] for call in calls]
    first = np.max(before, axis=0)
    grid_sizes, offsets = [], []
    for canvas, own in zip(canvases, before, strict=True):
        across, down = [(0, *(first - own))[-1], (0, *(first - own))[-2]] if layer.ndim < 3 else [0, 0]
        height, width = size_of(canvas.shape)
        grid_sizes.append((height + down, width + across))
        offsets.append((across, down))
    height = max(size for size, _ in grid_sizes)
    words = (width_of(text, size) for call in calls for text, size in _texts(call))
    width = max(*(size for _, size in grid_sizes), *words)
    per_line = max(1, int((_WIDE + _GAP) // (width + _GAP))) if layer.ndim == 2 else 1
    per_line = -(-len(calls) // -(-len(calls) // per_line))  # as many on every line
    panels, step = [], height + _ABOVE + _BELOW
    top = _MARGIN + 0.5 + _ABOVE
    for number in range(len(calls)):
        line, column = divmod(number, per_line)
        panels.append((_MARGIN + column * (width + _GAP), top + line * step))
    lines = -(-len(calls) // per_line)
    across = min(per_line, len(calls))
    whole = max(across * (width + _GAP) - _GAP, width_of(_layer(layer, input_shape), 0.34))
    grids = [(left + dx, top + dy) for (left, top), (dx, dy) in zip(panels, offsets, strict=True)]
    return _PanelPlaces(whole + 2 * _MARGIN, top + lines * step - _ABOVE + 0.2, (height, width), panels, grids)


def _texts(call: PaddedCall) -> list[tuple[str, float]]:
    """Return the widest texts of a panel and their sizes."""
    return [(call.framework, 1.1 * _NAME), (call.words, _WORDS), (_removed(call.geometry), 0.3)]


def _layer(layer: Geometry, input_shape: tuple[int, ...]) -> str:
    dilation = f", dilation {by(layer.dilation)}" if max(layer.dilation) > 1 else ""
    return (
        f"INPUT {by(input_shape)}, kernel {by(layer.kernel)}, stride {by(layer.stride)}{dilation}: "
        f"full result {by(layer.full_shape(input_shape))}, hatched: removed; same colour: same crop"
    )


def _removed(geometry: Geometry) -> str:
    """Return what the crop removes from each axis in words."""
    if not any(map(any, geometry.crop)):
        return "removes nothing"
    sides = {1: [("in front", "behind")], 2: [("top", "bottom"), ("left", "right")]}.get(
        geometry.ndim, [("front", "back"), ("top", "bottom"), ("left", "right")]
    )
    removed: list[str] = []
    added: list[str] = []
    for names, pair in zip(sides, geometry.crop, strict=True):
        for name, amount in zip(names, pair, strict=True):
            (removed if amount >= 0 else added).append(f"{abs(amount)} {name}")
    words = [f"removes {', '.join(removed)}"] * bool(removed) + [f"adds {', '.join(added)}"] * bool(added)
    return ", ".join(words)


def _too_large(layer: Geometry, input_shape: tuple[int, ...], calls: tuple[Any, ...]) -> str:
    """Return the error message, with the largest input that can be drawn, if there is one."""

    def fits(shape: tuple[int, ...]) -> bool:
        try:
            compared = padding_calls.read(layer, shape, calls) or padding_calls.usual(layer, shape)
        except TconvError:  # such as an output_shape that fits the whole input alone
            return False
        canvases = [Canvas(call.geometry, shape) for call in compared]
        places = _arrange(compared, canvases, layer, shape)
        return max(places.width, places.height) <= LARGEST

    part = largest_part(input_shape, fits)
    proposal = f"input_shape={part}" if part else "a smaller kernel, stride or dilation, or fewer calls"
    return (
        f"input_shape is {input_shape}, and each call would be drawn on a full result of "
        f"{layer.full_shape(input_shape)}; the numbers can be read up to {LARGEST} cells across the whole picture. "
        f"Write {proposal}"
    )
