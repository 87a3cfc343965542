"""Pictures that a command draws beside its text.

A picture that could not be written is refused before the work.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tconv.errors import FileError, MissingExtraError
from tconv.io.output_files import NewFile

_OTHER = {"pgf", "raw", "rgba"}
"""Formats of matplotlib that no viewer opens: pgf needs LaTeX, the others are pixels without their size."""


@contextmanager
def new_picture(path: Path | None, beside_json: bool = False) -> Iterator[Callable[[Callable[[], Any]], None]]:
    """Yield a function that writes the figure of a drawing function to this file; it does nothing for None.

    >>> with new_picture(None) as draw:
    ...     draw(lambda: print("not called"))

    Enter it before the work: it raises FileError for an ending that is not a picture format and for a place that cannot
    be written, and MissingExtraError without matplotlib. With `beside_json`, the line "wrote ..." goes to stderr.
    """
    if path is None:
        yield lambda drawn: None
        return
    form = picture_format(path)
    with NewFile([path]) as new:
        yield lambda drawn: write_figure(drawn(), new, form)
    print(f"wrote {new.path}", file=sys.stderr if beside_json else sys.stdout)


def picture_format(path: Path) -> str:
    """Return the format of a picture's name. Raises FileError for another ending, MissingExtraError without matplotlib.

    >>> picture_format(Path("scatter.PNG"))
    'png'
    """
    try:
        from matplotlib.backend_bases import FigureCanvasBase
    except ImportError:
        raise MissingExtraError("a picture", "matplotlib", "draw") from None
    form = path.suffix.lower().removeprefix(".")
    if form not in FigureCanvasBase.get_supported_filetypes().keys() - _OTHER:
        raise FileError(f"{path} does not end in a picture format. Choose a name that ends in .svg, .png or .pdf")
    return form


def write_figure(axes: Any, new: NewFile, form: str) -> None:
    """Write the figure of these Axes into an open file."""
    axes.get_figure(root=True).savefig(new.file, format=form, bbox_inches="tight")
