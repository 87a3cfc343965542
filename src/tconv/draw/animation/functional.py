"""`animate`: one transposed convolution as an animation, to look at in a notebook and to save."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from html import escape
from io import BytesIO
from pathlib import Path
from typing import Any

from tconv._arguments import Ints, int_of, shown
from tconv.draw.animation.animated_operator import AnimatedOperator
from tconv.draw.animation.film import Film, Frame
from tconv.draw.animation.svg_writer import svg_text
from tconv.draw.animation.video_writers import write_gif, write_mp4
from tconv.draw.animation.views import VIEWS
from tconv.draw.operands import read_operands
from tconv.draw.palette import Theme, theme_of
from tconv.draw.picture_limits import part_text
from tconv.errors import ArgumentError, FileError, ShapeError
from tconv.io.output_files import NewFile

_MOST_AXES = 2
MOST_FRAMES = 400
MOST_CELLS = 60
"""Most cells across: of a wider or higher film the numbers cannot be read."""

ENDINGS = (".svg", ".gif", ".mp4")

NARROWEST, WIDEST = 100, 3840
"""Pixels across of a GIF or an MP4: letters of a few pixels, and the width of the usual large screen."""

MOST_PIXELS = 10**9
"""Most pixels of all frames together, a byte each while a GIF is written."""


class Animation:
    """An animation: `frames` are its numbers, `save` writes it, and a notebook shows it as animated SVG.

    >>> animation = animate([1, 2], [3, 4], stride=2, view="gather")
    >>> [frame.sentence[1] for frame in animation.frames[:-1]]
    ['= 1·3 = 3', '= 1·4 = 4', '= 2·3 = 6', '= 2·4 = 8']
    """

    def __init__(self, film: Film, theme: Theme, seconds: float) -> None:
        self._film, self._theme, self._seconds = film, theme, seconds

    @property
    def frames(self) -> Sequence[Frame]:
        """Frames in order; the last one shows the whole output.

        `numbers` of each has a masked array for each grid ("input", "kernel", "output", ...): masked are empty cells.
        `sentence` is the text below them.
        """
        return self._film.frames

    @property
    def seconds(self) -> float:
        """Length: a frame stays as long as was asked for, the last one longer."""
        return self._seconds * sum(frame.beats for frame in self.frames)

    @property
    def title(self) -> str:
        """First line of text: the view, the settings and the sizes."""
        return self._film.title

    @property
    def svg(self) -> str:
        """The animation as SVG: one file without scripts, at rest where the reader asks for reduced motion."""
        return svg_text(self._film, self._theme, self._seconds)

    def save(self, path: str | Path, overwrite: bool = False, *, width: int | None = None) -> Path:
        """Write the animation and return its path; the ending decides the format: .svg, .gif or .mp4.

        `width` are the pixels across of a .gif or .mp4, 1920 for a projector; left out, 40 for each cell and at
        most 1200. An SVG has any size.

        Raises FileError for another ending, for a path that exists (unless `overwrite`) or cannot be written, and for
        .mp4 without ffmpeg; ArgumentError for a width below 100 or above 3840, too many pixels, or that of an SVG;
        MissingExtraError for .gif and .mp4 without matplotlib.
        """
        path = Path(path)
        ending = path.suffix.lower()
        if ending not in ENDINGS:
            raise FileError(
                f"{path} {f'ends in {ending!r}' if ending else 'has no ending'}; animations are written as "
                f"{', '.join(ENDINGS)}. Write {path.with_suffix('.svg') if path.name else 'scatter.svg'}"
            )
        self.check_width(ending, width)
        with NewFile([path], overwrite, ", or overwrite=True") as new:
            new.file.write(self.encoded(ending, width))
        return new.path

    def check_width(self, ending: str, width: int | None) -> None:
        """Raise ArgumentError for a width that `save` refuses in a file with this ending."""
        if width is None:
            return
        if ending == ".svg":
            raise ArgumentError("width= was given; an SVG has any size. Write it without width=, or a .gif or .mp4")
        width = int_of(width, "width", example="width=1920")
        if not NARROWEST <= width <= WIDEST:
            raise ArgumentError(
                f"width is {width}; {NARROWEST} to {WIDEST} pixels are needed. Write width=1920, for example"
            )
        pixels = len(self.frames) * width**2 * self._film.height / self._film.width
        if pixels > MOST_PIXELS:
            fewer = max(NARROWEST, int(width * math.sqrt(MOST_PIXELS / pixels)))
            raise ArgumentError(
                f"width is {width}, and {len(self.frames)} frames would have {pixels:.1e} pixels; at most "
                f"{MOST_PIXELS:.0e} are written. Write width={fewer}"
            )

    def encoded(self, ending: str, width: int | None = None) -> bytes:
        """Return the content of a file with this ending: ".svg", ".gif" or ".mp4". Raises what `save` raises."""
        self.check_width(ending, width)
        if ending == ".svg":
            return self.svg.encode()
        file = BytesIO()
        write = write_gif if ending == ".gif" else write_mp4
        write(self._film, self._theme, self._seconds, file, width)
        return file.getvalue()

    def _repr_html_(self) -> str:
        """Return the animation as an image of its own: its styles do not meet those of the page."""
        source = base64.b64encode(self.svg.encode()).decode()
        return f'<img alt="{escape(self.title)}" src="data:image/svg+xml;base64,{source}" style="max-width:100%">'

    def __repr__(self) -> str:
        return f"<Animation: {self.title}; {len(self.frames)} frames>"


def animate(
    x: Any = None,
    w: Any = None,
    *,
    view: str = "scatter",
    input: Ints | None = None,
    kernel: Ints | None = None,
    dialect: str | None = None,
    theme: str = "light",
    seconds: float = 1.0,
    **spec: Any,
) -> Animation:
    """Return an animation of one transposed convolution: your arrays, or your sizes.

    >>> import tconv
    >>> animation = tconv.draw.animate([[0, 1], [2, 3]], [[0, 1], [2, 3]], stride=2)
    >>> animation
    <Animation: Scatter: kernel 2 × 2, stride 2: 2 × 2 → 4 × 4; 5 frames>
    >>> animation.frames[-1].numbers["output"].tolist()
    [[0, 0, 0, 1], [0, 0, 2, 3], [0, 2, 0, 3], [4, 6, 6, 9]]
    >>> tconv.draw.animate(kernel=(3, 3), input=(4, 4), view="gather", dialect="keras", strides=2, padding="same")
    <Animation: Gather: kernel 3 × 3, stride 2, crop (0, 1): 4 × 4 → 8 × 8; 65 frames>

    `animation.save("scatter.gif")` writes it (.svg, .gif, or .mp4 where ffmpeg is installed); a notebook shows it.
    x and w are bare 1-D or 2-D arrays of any library. Instead of them `input` and `kernel` give sizes alone; the
    elements are then 1 to 9, again and again. An int for both is one axis, one alone as many as the other array has,
    and an int for the kernel alone is a square. `spec` is that of `tconv.definition.scatter`: stride, padding,
    output_padding, dilation, crop, or geometry; with a `dialect`, that dialect's own arguments, and w has its taps in
    the order in which the dialect stores them.

    Views: "scatter", each input element paints its multiple of the kernel into the output; "gather", each output
    element collects the products that reach it; "zero_insertion", the flipped kernel slides with stride 1 over the
    input with zeros in it. What the crop (padding) cuts off is hatched. A frame stays `seconds`; `theme` is "light" or
    "dark".

    Raises ShapeError for other axes, and if there would be over 60 cells across or 400 frames; GeometryError,
    DialectError, DtypeError, ArrayError and ArgumentError for what describes no operator or animation.
    """
    if not isinstance(view, str) or view not in VIEWS:
        meant = view.replace("-", "_").replace(" ", "_") if isinstance(view, str) else ""
        near = meant if meant in VIEWS else "scatter"
        raise ArgumentError(f"view is {shown(view)}; there are {', '.join(map(repr, VIEWS))}. Write view={near!r}")
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0.02 <= seconds <= 60:
        raise ArgumentError(f"seconds is {shown(seconds)}; a frame stays from 0.02 to 60 seconds. Write seconds=1")
    colours = theme_of(theme)
    operation = AnimatedOperator(read_operands(x, w, input=input, kernel=kernel, dialect=dialect, **spec))
    if operation.x.ndim > _MOST_AXES:
        raise ShapeError(
            f"x has shape {operation.x.shape}; animations have 1 or 2 axes. Write a slice of both arrays, x[0] and "
            "w[0], or tconv.draw.scatter(...), which draws volumes"
        )
    _refuse_large(operation, view, x is not None)
    return Animation(VIEWS[view](operation), colours, seconds)


def _refuse_large(operation: AnimatedOperator, view: str, is_array: bool) -> None:
    """Raise ShapeError for an animation that could not be read, or would never end."""
    widest = max(*operation.canvas.shape, *operation.full_shape, *operation.x.shape)
    frames = math.prod(operation.x.shape if view == "scatter" else operation.output_shape)
    if widest > MOST_CELLS or frames > MOST_FRAMES:
        what = f"{widest} cells across" if widest > MOST_CELLS else f"{frames} frames"
        part = tuple(min(n, 4) for n in operation.x.shape)
        smaller = f"a part of it, {part_text('x', part)}" if is_array else f"a smaller input={part}"
        raise ShapeError(
            f"x has shape {operation.x.shape}, and the animation would have {what}; at most {MOST_CELLS} cells and "
            f"{MOST_FRAMES} frames can be followed. Write {smaller}, which moves alike"
        )
