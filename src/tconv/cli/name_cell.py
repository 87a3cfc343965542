"""Cell of a table whose long words break behind their own separators: "frozen-output-" before "padding"."""

from __future__ import annotations

import re
from collections.abc import Iterator

from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.text import Text

_LEAST = 18
_PART = re.compile(r"[^-_/.: ]*[-_/.: ]*")


class NameCell:
    """Names, one a line, in whatever width the table leaves them."""

    def __init__(self, names: Text) -> None:
        self._names = names

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        longest = max((line.cell_len for line in self._names.split("\n")), default=0)
        return Measurement(min(_LEAST, longest), longest).with_maximum(options.max_width)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for line in self._names.split("\n"):
            yield from line.divide(list(breaks_of(line.plain, options.max_width)))


def breaks_of(name: str, width: int) -> Iterator[int]:
    """Yield the places where a name is broken, so that no line is longer than `width`.

    >>> list(breaks_of("frozen-output-padding", 19)), list(breaks_of("abcdef", 4))
    ([14], [4])
    """
    start = at = 0
    for part in _PART.finditer(name):
        while part.end() - start > width:
            start = at if at > start else start + width
            yield start
        at = part.end()
