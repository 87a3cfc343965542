"""Limits of the pictures with numbers, and the largest part of an array that stays within them.

Every picture that refuses an array proposes this part.
"""

from __future__ import annotations

from collections.abc import Callable

LARGEST = 80
"""Most cells across: a wider or higher picture has numbers too small to read."""

Shape = tuple[int, ...]


def part_text(name: str, part: Shape) -> str:
    """Return the leading part of an array as it is written.

    >>> part_text("x", (4, 2))
    'x[:4, :2]'
    """
    return f"{name}[{', '.join(f':{n}' for n in part)}]"


def largest_part(shape: Shape, readable: Callable[[Shape], bool]) -> Shape | None:
    """Return the largest leading part of this shape that is readable, shrunk evenly; None if not even one element is.

    >>> largest_part((100, 7), lambda shape: sum(shape) < 12)
    (5, 5)
    """
    part = tuple(min(n, LARGEST) for n in shape)
    while max(part) > 1 and not readable(part):
        part = tuple(n - (n == max(part)) for n in part)
    return part if readable(part) else None
