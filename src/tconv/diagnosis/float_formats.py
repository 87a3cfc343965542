"""Float formats with fewer bits than float32, and rounding to them.

Causes of precision round operands or results to these formats.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tconv._arrays import Array


@dataclass(frozen=True)
class FloatFormat:
    """A float format with float32's range: its stored fraction bits and its rounding rule."""

    name: str
    bits: int
    rule: str = "even"
    """Direction of ties, to "even" or "away" from zero; or "zero", where every number is cut towards zero."""

    @property
    def spacing(self) -> float:
        """Spacing of the format's numbers around 1."""
        return 2.0**-self.bits

    def round(self, array: Array) -> Array:
        """Return an array with its numbers rounded to this format."""
        if array.dtype.kind == "c":
            return self.round(array.real) + 1j * self.round(array.imag)
        if array.dtype.itemsize < 4 or array.dtype.kind != "f" or array.dtype.itemsize > 8:
            return self.round(array.astype(np.float64)).astype(array.dtype)
        # the bits of a float are an integer that grows with it, and a carry out of the fraction raises the exponent
        kind = np.dtype(f"i{array.dtype.itemsize}").type
        dropped = np.finfo(array.dtype).nmant - self.bits
        half, mask = kind(1 << (dropped - 1)), kind(-1 << dropped)
        bits = np.ascontiguousarray(array).view(kind)
        if self.rule == "zero":
            bits = bits & mask
        elif self.rule == "away":
            bits = (bits + half) & mask
        else:
            bits = (bits + ((bits >> kind(dropped)) & kind(1)) + (half - kind(1))) & mask
        rounded: Array = bits.view(array.dtype)
        return np.where(np.isfinite(array), rounded, array)

    def holds(self, array: Array) -> bool:
        """Return True if every element is a number of the format."""
        return bool((self.round(array) == array).all())


FORMATS = tuple(
    FloatFormat(name, bits, rule) for rule in ("even", "away", "zero") for name, bits in (("TF32", 10), ("bfloat16", 7))
)
"""TF32 and bfloat16 by each rule. float16 rounds as TF32 does wherever it does not overflow or become subnormal."""
NARROW = {"bfloat16": FORMATS[1], "float16": FORMATS[0]}
"""Formats of 2 bytes that layers are computed in. Numbers of bfloat16 have few enough bits for float16, too."""


def narrow_format(y: Array) -> str:
    """Return the name of the first format of 2 bytes that has all finite numbers of y; "" if none has."""
    for part in (y.ravel()[:4096], y):  # a few say no of most outputs
        known = np.where(np.isfinite(part), part, 0)
        narrow = next((name for name, form in NARROW.items() if form.holds(known)), "")
        if not narrow:
            break
    return narrow
