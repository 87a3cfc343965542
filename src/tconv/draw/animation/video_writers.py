"""Writers of GIF and MP4: each frame is drawn by matplotlib; Pillow and ffmpeg encode them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from subprocess import CalledProcessError
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO

import numpy as np

from tconv._arrays import Array
from tconv.draw.animation.figure_film import FigureFilm
from tconv.draw.animation.film import Film, Frame
from tconv.draw.palette import Theme
from tconv.errors import FileError


def pictures(drawn: FigureFilm, frames: Sequence[Frame]) -> Iterator[Array]:
    """Yield frames as RGB, [height, width, 3] of uint8."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas: Any = FigureCanvasAgg(drawn.figure)
    drawn.figure.set_dpi(drawn.dpi)
    for frame in frames:
        drawn.show(frame)
        canvas.draw()
        yield np.asarray(canvas.buffer_rgba())[..., :3].copy()


def write_gif(film: Film, theme: Theme, seconds: float, file: BinaryIO, width: int | None = None) -> None:
    """Write the film as a GIF that repeats without end, with the length of each frame, `width` pixels wide.

    Raises MissingExtraError without matplotlib.
    """
    drawn = FigureFilm(film, theme, width)
    from PIL import Image  # matplotlib needs it

    palette = Image.new("P", (1, 1))  # one for all frames: then each stores only what changed
    some = [film.frames[0], film.frames[len(film.frames) // 2], film.frames[-1]]
    palette.putpalette(_common_colours(list(pictures(drawn, some))).tobytes())
    images = [
        Image.fromarray(picture).quantize(palette=palette, dither=Image.Dither.NONE)
        for picture in pictures(drawn, film.frames)
    ]
    lengths = [round(1000 * seconds * frame.beats) for frame in film.frames]
    images[0].save(file, "GIF", save_all=True, append_images=images[1:], duration=lengths, loop=0, optimize=True)


def _common_colours(drawn: list[Array]) -> Array:
    """Return the 255 most frequent colours of some frames, [colours, 3] of uint8."""
    some = np.concatenate(drawn).reshape(-1, 3).astype(np.uint32)
    codes, counts = np.unique(some @ np.array([1 << 16, 1 << 8, 1], np.uint32), return_counts=True)
    frequent = codes[np.argsort(-counts, kind="stable")[:255]]
    return np.stack([frequent >> 16, frequent >> 8 & 255, frequent & 255], 1).astype(np.uint8)


def write_mp4(film: Film, theme: Theme, seconds: float, file: BinaryIO, width: int | None = None) -> None:
    """Write the film as H.264, `width` pixels wide, one less if it is odd.

    Raises FileError without ffmpeg, or if it cannot encode the film, and MissingExtraError without matplotlib.
    """
    drawn = FigureFilm(film, theme, width)
    from matplotlib.animation import FFMpegWriter

    if not FFMpegWriter.isAvailable():
        raise FileError(
            "an MP4 is written by ffmpeg, which is not installed here. Choose a name that ends in .gif or .svg, or "
            "install ffmpeg"
        )
    rate: Any = 1 / seconds  # ffmpeg takes fractions
    writer: Any = FFMpegWriter(fps=rate, codec="h264", metadata={"title": film.title})
    with TemporaryDirectory() as folder:
        path = Path(folder) / "film.mp4"
        try:
            with writer.saving(drawn.figure, str(path), drawn.dpi):
                for frame in film.frames:
                    drawn.show(frame)
                    for _ in range(frame.beats):
                        writer.grab_frame()
        except (CalledProcessError, OSError) as error:
            raise FileError(
                f"ffmpeg could not encode the film: {error}. Choose a name that ends in .gif or .svg"
            ) from None
        file.write(path.read_bytes())
