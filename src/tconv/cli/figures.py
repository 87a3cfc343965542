"""Pictures that a command draws beside its text: refused before the work, where they could not be written behind it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tconv.errors import FileError, MissingExtraError
from tconv.io.output_files import NewFile


@contextmanager
def new_picture(path: Path | None, beside_json: bool = False) -> Iterator[Callable[[Callable[[], Any]], None]]:
    """Gives the function that writes what a drawing function draws to this file, or does nothing if there is none.

    >>> with new_picture(None) as draw:
    ...     draw(lambda: print("not called"))

    Entered before the work: raises FileError where the ending is no format of pictures or the place cannot be written,
    and MissingExtraError without matplotlib. `beside_json`: that it is written is said on stderr.
    """
    if path is None:
        yield lambda drawn: None
        return
    try:
        from matplotlib.backend_bases import FigureCanvasBase
    except ImportError:
        raise MissingExtraError("a picture", "matplotlib", "draw") from None
    form = path.suffix.lower().removeprefix(".")
    if form not in FigureCanvasBase.get_supported_filetypes():
        raise FileError(f"{path} names no format of pictures. Write a name that ends in .svg, .png or .pdf")
    with NewFile([path]) as new:

        def write(drawn: Callable[[], Any]) -> None:
            figure = drawn().get_figure(root=True)
            figure.savefig(new.file, format=form, bbox_inches="tight")

        yield write
    print(f"wrote {new.path}", file=sys.stderr if beside_json else sys.stdout)
