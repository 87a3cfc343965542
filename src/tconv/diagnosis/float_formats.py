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
        fraction, exponent = np.frexp(array)
        scaled = np.ldexp(fraction, self.bits + 1)
        if self.rule == "away":
            whole = np.trunc(scaled + np.copysign(0.5, scaled))
        else:
            whole = np.trunc(scaled) if self.rule == "zero" else np.rint(scaled)
        rounded: Array = np.ldexp(whole, exponent - self.bits - 1)
        return rounded


FORMATS = tuple(
    FloatFormat(name, bits, rule) for rule in ("even", "away", "zero") for name, bits in (("TF32", 10), ("bfloat16", 7))
)
"""TF32 and bfloat16 by each rule. float16 rounds as TF32 does wherever it does not overflow or become subnormal."""
