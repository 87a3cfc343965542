"""Picture of an encoder-decoder: the sizes down and up a U-Net, and what makes each skip connection fit."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from tconv._arguments import Ints, entries_of, int_of, ints_of
from tconv.dialects import dialect as find_dialect
from tconv.draw.array_grid import Place, by
from tconv.draw.cell_board import Board, width_of
from tconv.draw.dialect_words import layer_words
from tconv.draw.encoder_decoder import Architecture, Sizes, SkipLevel, path, solved
from tconv.draw.layer_list import numbered_steps, steps_of
from tconv.draw.palette import Theme, theme_of
from tconv.errors import ArgumentError
from tconv.geometry import Geometry

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DEEPEST = 12
"""Most levels: more halve any size that fits into memory to nothing."""

MOST_CONVOLUTIONS = 9
"""Most convolutions of a level, whose sizes stand on one line."""

_LEVEL = 2.3  # height of a level
_BOX = 0.9  # height of a box
_STEP = 1.3  # by how much each level is further inside
_SIZE, _SMALL = 0.4, 0.36  # of texts
_MARGIN = 0.5
_TOP = 1.4


def architecture_sizes(
    layers: Iterable[Any] | None = None,
    *,
    input: Ints | None = None,
    depth: int = 4,
    kernel: Ints = 2,
    down_kernel: Ints | None = None,
    down_padding: Ints = 0,
    convolutions: int = 2,
    convolution_kernel: Ints = 3,
    convolution_padding: Ints | None = None,
    skips: bool = True,
    dialect: str = "torch",
    **spec: Any,
) -> Architecture:
    """Return the sizes down and up an encoder-decoder, with what each level needs to meet its skip connection.

    >>> import tconv
    >>> print(tconv.draw.architecture_sizes(input=(101, 101), depth=3))
    101 × 101 → 101 × 101: 2 of 3 levels do not fit as they are; all are solved. Padded to 104 × 104, the input needs \
no correction.
    <BLANKLINE>
    level  down       skip       up                   as given   what makes it fit
    0      101 × 101  101 × 101  50 × 50 → 101 × 101  100 × 100  output_padding=1
    1      50 × 50    50 × 50    25 × 25 → 50 × 50    50 × 50    fits
    2      25 × 25    25 × 25    12 × 12 → 25 × 25    24 × 24    output_padding=1
    3      12 × 12

    `input` is the spatial size, an int for one axis. Without `layers` it is a U-Net of `depth` levels: `convolutions`
    of `convolution_kernel` (their padding keeps the size unless given), a step down with the stride of the transposed
    convolution (a pooling, or a convolution of `down_kernel` and `down_padding`), and the transposed convolution of
    `kernel` and `spec`, in the words of the `dialect`; its stride is 2 unless given.

    `layers` are the layers of your own in the order of the forward pass: of PyTorch or Keras, read by their attributes
    without running them, `tconv.Geometry(...)` for a transposed convolution and `.convolution` of one for an ordinary
    one. Each layer with a stride keeps the size before it for a skip connection, and each transposed convolution with a
    stride meets the last one kept, unless `skips` is False.

    Raises ShapeError where a size becomes smaller than a kernel, and GeometryError, DialectError and ArgumentError for
    layers and words that describe none.
    """
    if input is None:
        raise ArgumentError("there is no size. Write input=(101, 101), the spatial size of the input")
    entries = entries_of(input)
    size = ints_of(input, "input", 1 if entries is None else len(entries), least=1)
    ndim = len(size)
    find_dialect(dialect)
    if layers is not None:
        if spec:
            name = next(iter(spec))
            raise ArgumentError(f"{name}= was given beside layers, which have their own. Write it without {name}=")
        return solved(steps_of(layers, ndim), size, dialect, skips)
    levels = int_of(depth, "depth", least=1)
    if levels > DEEPEST:
        raise ArgumentError(f"depth is {levels}; there are at most {DEEPEST} levels. Write depth=4, for example")
    up = _rising(dialect, ints_of(kernel, "kernel", ndim, least=1), spec)
    strides = up((64,) * ndim).stride
    if max(strides) == 1:
        raise ArgumentError(
            "the stride is 1 on every axis, so that no level is smaller than the one above; at least 2 on one axis is "
            "needed. Use a stride of 2, which is the usual one"
        )
    lower = Geometry(
        strides if down_kernel is None else ints_of(down_kernel, "down_kernel", ndim, least=1),
        strides,
        ints_of(down_padding, "down_padding", ndim, least=0),
    )
    sizes = ints_of(convolution_kernel, "convolution_kernel", ndim, least=1)
    same = [((k - 1) // 2, k // 2) for k in sizes]
    pads = same if convolution_padding is None else ints_of(convolution_padding, "convolution_padding", ndim, least=0)
    count = int_of(convolutions, "convolutions", least=0)
    if count > MOST_CONVOLUTIONS:
        raise ArgumentError(
            f"convolutions is {count}; a level has at most {MOST_CONVOLUTIONS}. Write convolutions=2, for example"
        )
    return solved(
        numbered_steps(levels, up, lower, count, Geometry(sizes, 1, pads), down_kernel is None),
        size,
        dialect,
        skips,
    )


def _rising(dialect: str, kernel: Sizes, spec: dict[str, Any]) -> Callable[[Sizes], Geometry]:
    """Return the rule of the transposed convolution: its geometry for an input of this size."""
    rules = find_dialect(dialect)
    spec = layer_words(rules, Geometry(kernel, 2), spec) | spec

    def rule(small: Sizes) -> Geometry:
        return rules.geometry(kernel=kernel, input=small, **spec)

    return rule


def architecture(
    layers: Iterable[Any] | None = None, *, theme: str = "light", ax: Axes | None = None, **settings: Any
) -> Axes:
    """Draw the sizes down and up an encoder-decoder, and what makes each skip connection fit.

    >>> import tconv
    >>> ax = tconv.draw.architecture(input=(101, 101), depth=3)
    >>> [text.get_text() for text in ax.texts if (text.get_gid() or "").startswith("skip")]
    ['output_padding=1', 'fits', 'output_padding=1']

    `ax.figure.savefig("architecture.svg")` writes it. `layers` and `settings` are those of `architecture_sizes`: input,
    depth, kernel, stride, padding, ... or layers of your own. On the left are the sizes on the way down, on the right
    those on the way up, and between them what the transposed convolution needs to meet the size of the skip connection:
    "fits", an argument, a slice of its result, or, where no setting reaches it, the size to which the skip is cropped.

    The texts have gids: "encoder[0]" (highest level), "bottom", "decoder[0]", "skip[0]". `theme` is "light" or "dark".
    Draws on `ax`, or on an Axes that fills a new Figure (which pyplot does not manage), and returns the Axes.

    Raises what `architecture_sizes` raises, ArgumentError for a theme or an ax that there is not, MissingExtraError
    without matplotlib.
    """
    colours = theme_of(theme)
    return _Picture(architecture_sizes(layers, **settings), colours, ax).draw()


class _Picture:
    """Boxes of sizes in the shape of a U, with arrows between them."""

    def __init__(self, made: Architecture, theme: Theme, ax: Axes | None) -> None:
        self._made, self._theme = made, theme
        self._down, self._up = len(made.sizes), len(made.levels)
        self._rows = max(self._down, self._up)
        names = [*(step.name for step in made.down), *(level.name for level in made.levels)]
        self._label = max([width_of(name, _SMALL) for name in names] + [0.0]) + 0.6
        texts = [path(sizes) for sizes in (*made.sizes, made.bottom, *made.after)]
        self._box = max(width_of(text, _SIZE) for text in texts) + 0.6
        between = max([width_of(_verdict(level), _SMALL) for level in made.levels] + [2.0]) + 1.4
        inner = max(between, self._box + 2 * _STEP) - 2 * _STEP
        self._left = _MARGIN + self._label
        self._width = 2 * (self._left + self._box + _STEP * self._rows) + inner
        self._width = max(self._width, width_of(made.summary, _SMALL) + 2 * _MARGIN)
        self._left = (self._width - inner) / 2 - self._box - _STEP * self._rows
        height = _TOP + _LEVEL * self._rows + _BOX + 1.6
        self._board = Board.of(ax, self._width, height, 8, theme)
        self._height = height

    def draw(self) -> Axes:
        """Draw everything and return the Axes."""
        made = self._made
        self._board.text(_MARGIN, self._height - 0.7, made.summary, _SMALL, ha="left", color=self._theme.muted)
        for row, sizes in enumerate(made.sizes):
            row += self._rows - self._down
            self._sizes(row, "left", path(sizes), f"encoder[{row}]", self._theme.input)
            self._arrow(row, "left", made.down[row - self._rows + self._down].name)
        self._sizes(self._rows, "middle", path(made.bottom), "bottom", self._theme.ink)
        for number, level in enumerate(made.levels):
            row = self._rows - 1 - number
            self._sizes(row, "right", path(made.after[number]), f"decoder[{row}]", self._theme.output)
            self._arrow(row, "right", level.name)
            if level.skip is not None:
                self._skip(row, level)
        first, last = self._centre(self._rows - self._down, "left"), self._centre(self._rows - self._up, "right")
        for (x, y), name, colour in ((first, "INPUT", self._theme.input), (last, "OUTPUT", self._theme.output)):
            self._board.text(x, y - _BOX / 2 - 0.45, name, 0.4, weight="bold", color=colour)
        return self._board.ax

    def _centre(self, row: int, side: str) -> tuple[float, float]:
        """Return the middle of the box of a row."""
        y = _TOP + _LEVEL * row + _BOX / 2
        if side == "middle" or row == self._rows:
            return self._width / 2, y
        x = self._left + _STEP * row + self._box / 2
        return (x, y) if side == "left" else (self._width - x, y)

    def _sizes(self, row: int, side: str, text: str, gid: str, colour: str) -> None:
        from matplotlib.patches import FancyBboxPatch

        x, y = self._centre(row, side)
        corner = (x - self._box / 2, y - _BOX / 2)
        style: dict[str, Any] = {"facecolor": self._theme.surface, "edgecolor": colour, "zorder": 2}
        shape = "round,pad=0,rounding_size=0.15"
        width = 0.06 * self._board.points
        self._board.ax.add_patch(FancyBboxPatch(corner, self._box, _BOX, boxstyle=shape, linewidth=width, **style))
        self._board.text(x, y, text, _SIZE, gid=gid)

    def _arrow(self, row: int, side: str, label: str) -> None:
        """Draw the arrow between a row and the one below, with the layer's name outside of the U."""
        x, y = self._centre(row, side)
        below = self._centre(row + 1, side)
        start, end = (x, y + _BOX / 2), (x + (0.9 if side == "left" else -0.9), below[1] - _BOX / 2)
        if row + 1 == self._rows:
            shift = min(self._box / 2 - 0.4, 1.0)
            end = (below[0] + (-shift if side == "left" else shift), below[1] - _BOX / 2)
        ends = (start, end) if side == "left" else (end, start)
        self._line(*ends, "-|>", self._theme.edge)
        at = x - 0.3 if side == "left" else x + 0.3
        self._board.note(at, (start[1] + end[1]) / 2, label, _SMALL, ha="right" if side == "left" else "left")

    def _skip(self, row: int, level: SkipLevel) -> None:
        (left, y), (right, _) = self._centre(row, "left"), self._centre(row, "right")
        start, end = (left + self._box / 2, y), (right - self._box / 2, y)
        colour = self._theme.muted if level.fits else self._theme.chosen
        self._line(start, end, "-|>", colour, linestyle="--")
        weight = "normal" if level.fits else "bold"
        x = (start[0] + end[0]) / 2
        self._board.text(x, y - 0.36, _verdict(level), _SMALL, color=colour, weight=weight, gid=f"skip[{row}]")
        if not level.fits:
            why = f"not {by(level.plain)}" if level.is_solved else f"no setting reaches {by(level.skip or ())}"
            self._board.note(x, y + 0.38, why, 0.85 * _SMALL)

    def _line(self, start: Place, end: Place, arrow: str, colour: str, **style: Any) -> None:
        line = {"arrowstyle": arrow, "color": colour, "linewidth": 0.05 * self._board.points, **style}
        self._board.ax.annotate("", end, start, arrowprops={"shrinkA": 0, "shrinkB": 0, **line}, zorder=1.5)


def _verdict(level: SkipLevel) -> str:
    """Return the text on a skip connection."""
    return level.remedy or "fits"
