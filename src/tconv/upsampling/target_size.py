"""Size of a result: a scale, or a width or height in pixels, and what they make of the size of an image."""

from __future__ import annotations

import math
import numbers
import re
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

from tconv._arguments import shown
from tconv.errors import ArgumentError
from tconv.upsampling.option_names import PYTHON, Naming

_DIGITS = 1000
"""Digits of a number that are read; Python refuses to read very many."""
_LEAST, _LARGEST = 1e-100, 10**100
"""Limits of the numbers whose memory is still predicted."""


class TargetSize(NamedTuple):
    """Scale, or width and height in pixels, of which one is enough: the other side then keeps the aspect ratio.

    >>> TargetSize(Fraction(3, 2)).of(101, 60)
    (152, 90)
    >>> TargetSize(width=1920).of(600, 800)
    (1440, 1920)

    Halves are rounded up, and no side is smaller than one pixel.
    """

    scale: Fraction | None = None
    width: int | None = None
    height: int | None = None

    @property
    def in_pixels(self) -> bool:
        """True for a width or a height."""
        return self.scale is None

    @property
    def size_option(self) -> str:
        """Name of the option that states the size; of two, that of the width."""
        return "scale" if self.scale is not None else "width" if self.width is not None else "height"

    @property
    def description(self) -> str:
        """The size as text, for a report: "1.5 times", or "1920 pixels wide"."""
        if self.scale is not None:
            return f"{self.text} times"
        sides = [(self.width, "wide"), (self.height, "high")]
        return " and ".join(f"{side} pixels {name}" for side, name in sides if side is not None)

    @property
    def text(self) -> str:
        """The scale as text: "2", "1.5", "1.33333"."""
        assert self.scale is not None
        return str(self.scale) if self.scale.denominator == 1 else f"{float(self.scale):.6g}"

    def option(self, naming: Naming) -> str:
        """Return the options that state this size, as the caller writes them."""
        sides = [("scale", self.scale and float(self.text)), ("width", self.width), ("height", self.height)]
        return " ".join(
            f"{naming.name(name)}{naming.separator}{value:.6g}" if name == "scale" else naming.example(name, value)
            for name, value in sides
            if value is not None
        )

    def ratios(self, height: int, width: int) -> tuple[Fraction, Fraction]:
        """Return how many times higher and wider an image of this size becomes, before rounding."""
        if self.scale is not None:
            return self.scale, self.scale
        down = None if self.height is None else Fraction(self.height, height)
        across = None if self.width is None else Fraction(self.width, width)
        down, across = down or across, across or down
        assert down is not None
        assert across is not None
        return down, across

    def label(self, height: int, width: int) -> str:
        """Return the size of an image's result as names of files have it: pixels if those were asked for, or the scale.

        >>> TargetSize(Fraction(3, 2)).label(600, 800), TargetSize(width=1600).label(600, 800)
        ('x1.5', '1600x1200')
        """
        down, across = self.of(height, width)
        return f"{across}x{down}" if self.in_pixels else f"x{self.text}"

    def of(self, height: int, width: int) -> tuple[int, int]:
        """Return height and width of the result of an image of this size."""
        down, across = self.ratios(height, width)
        high, wide = (max(1, math.floor(n * ratio + Fraction(1, 2))) for n, ratio in ((height, down), (width, across)))
        return high, wide


def read_target_size(scale: Any, width: Any, height: Any, naming: Naming = PYTHON) -> TargetSize | None:
    """Return the size that the options of a call state; None if there are none of them.

    Raises ArgumentError for other values than numbers above 0, and for a scale beside a width or height.
    """
    given = [naming.name(name) for name, value in (("width", width), ("height", height)) if value is not None]
    if scale is not None and given:
        raise ArgumentError(
            f"{naming.name('scale')} and {' and '.join(given)} were given; each states the size. Use one of them"
        )
    if given:
        sides = [_side(value, name, naming) for value, name in ((width, "width"), (height, "height"))]
        return TargetSize(None, *sides)
    return None if scale is None else TargetSize(_scale(scale, naming))


def _scale(value: Any, naming: Naming) -> Fraction:
    ratio = _ratio(value, naming)
    if ratio is None or ratio <= 0:
        raise ArgumentError(
            f"{naming.name('scale')} is {_shown(value, naming)}; a number above 0 is needed, 2 or 1.5 for example. "
            f"Write {naming.name('scale')}{naming.separator}{_meant(value)}"
        )
    if ratio >= _LARGEST:
        decimal = isinstance(value, str) and value.isdecimal()
        digits = len(value) if decimal else int(math.log10(ratio.numerator) - math.log10(ratio.denominator)) + 1
        raise ArgumentError(
            f"{naming.name('scale')} is a number of {digits} digits, too large for any memory. Write "
            f"{naming.example('scale', 2)}"
        )
    return ratio


def _meant(value: Any) -> str:
    """Return the scale that a message proposes instead of a text: "1.5" for "1,5", "3" for "3x", else "2"."""
    found = (
        re.fullmatch(r"x?([0-9]{1,3})([.,][0-9]{1,6})?[x\u00d7]?", value.strip()) if isinstance(value, str) else None
    )
    text = "" if found is None else found[1] + (found[2] or "").replace(",", ".")
    return text if text and float(text) > 0 else "2"


def _ratio(value: Any, naming: Naming) -> Fraction | None:
    """Return a finite number as a fraction, 0.1 as one tenth; of a command its text. None for anything else."""
    if isinstance(value, bool) or (isinstance(value, str) and not naming.prefix):
        return None
    try:
        if isinstance(value, numbers.Rational):
            return Fraction(value)
        if isinstance(value, str) and re.fullmatch(r"[0-9]+(/[0-9]+)?", value):
            return Fraction(*map(_whole, value.split("/")))
        number = float(value)
        exact = value if isinstance(value, (str, Decimal)) else repr(number)
        # others would be powers of ten of any size
        return Fraction(exact) if _LEAST < abs(number) < _LARGEST else None
    except (ValueError, TypeError, OverflowError, ZeroDivisionError):
        return None


def _whole(text: str) -> int:
    """Return digits as an integer; after the first thousand all count as zeros."""
    zeros: int = 10 ** len(text[_DIGITS:])
    return int(text[:_DIGITS]) * zeros


def _shown(value: Any, naming: Naming) -> str:
    text = shown(value)
    return (text[1:-1] or "empty") if isinstance(value, str) and naming.prefix else text


def _side(value: Any, name: str, naming: Naming) -> int | None:
    if value is None:
        return None
    ratio = _ratio(value, naming)
    if ratio is None or ratio >= _LARGEST or ratio.denominator != 1 or ratio < 1:
        raise ArgumentError(
            f"{naming.name(name)} is {_shown(value, naming)}; a whole number of pixels, 1 or more, is needed. Write "
            f"{naming.example(name, 1920)}"
        )
    return int(ratio)
