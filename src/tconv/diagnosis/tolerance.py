"""How far a result may be from the truth by rounding alone, and formats of fewer bits.

A float32 sum of K terms has an error that grows with sqrt(K) in units of the sums' own size (Higham 2002, ch. 2.6);
4 * 2**-23 * (sqrt(K) + 4) of it is what the gate of `tconv bench` allows, and what is allowed here. The size is the
root of the mean over one plane of y**2 + sum((x*w)**2): sums that cancel have rounded on their way.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from tconv.diagnosis.canonical_call import Array, Setting

_SPACING = {"float16": 2.0**-10, "bfloat16": 2.0**-7, "float32": 2.0**-23, "float64": 2.0**-52}
_SPACING |= {"complex64": 2.0**-23, "complex128": 2.0**-52}


def spacing(dtype: np.dtype[Any]) -> float:
    """Spacing of a dtype's numbers around 1; 0 for integers, which are exact."""
    return _SPACING.get(dtype.name, 0.0)


def held(array: Array) -> np.dtype[Any]:
    """The dtype that an array was computed in: float64 numbers that float32 holds exactly were computed in float32."""
    own: np.dtype[Any] = array.dtype
    if own != np.float64:
        return own
    with np.errstate(over="ignore", invalid="ignore"):
        narrow = array.astype(np.float32)
    same = np.array_equal(narrow, array, equal_nan=True)
    return np.dtype(np.float32) if same and not (np.rint(array) == array).all() else own


@dataclass(frozen=True, eq=False)
class Tolerance:
    """What rounding explains at each place of an output: planes [N, C, 1...] + relative * |y|."""

    planes: Array
    relative: float

    def at(self, y: Array, images: slice = slice(None), channels: Any = slice(None)) -> Array:
        """The largest allowed distance from y [N, C, *window], or from a part of its images and channels."""
        found: Array = self.planes[images][:, channels] + self.relative * np.abs(y)
        return found


def tolerance(setting: Setting, y: Array, dtype: np.dtype[Any], power: Array | None = None) -> Tolerance:
    """For y [N, C_out, *L], held in `dtype`, as the result of a call; `power` is that of y, if it is known."""
    g, G = setting.geometry, setting.groups
    sums = _squares(setting.x).reshape(len(setting.x), G, -1)
    taps = _squares(setting.weight).reshape(G, -1, setting.weight.shape[1])
    products = np.einsum("ngc,gco->ngo", sums, taps).reshape(len(setting.x), -1)
    products /= math.prod(g.full_shape(setting.x.shape[2:]))
    size = np.sqrt(np.nan_to_num(products)[: len(y)] + (power_of(y) if power is None else power))
    # results of 2-byte floats are summed in float32 and rounded once; exact integers may still have been floats
    unit = min(max(spacing(dtype), 2.0**-52), 2.0**-23)
    planes = 4 * unit * (math.sqrt(setting.terms) + 4) * size
    return Tolerance(planes.reshape(*planes.shape, *[1] * g.ndim), spacing(dtype))


def tolerance_alone(y: Array, dtype: np.dtype[Any]) -> Tolerance:
    """For two outputs of which nothing else is known: as if 4096 products were summed."""
    unit = min(max(spacing(dtype), 2.0**-52), 2.0**-23)
    planes = 4 * unit * (math.sqrt(4096) + 4) * np.sqrt(power_of(y))
    return Tolerance(planes.reshape(*planes.shape, *[1] * (y.ndim - 2)), spacing(dtype))


def _squares(array: Array) -> Array:
    """Sums of the squares over all but the first two axes."""
    total: Array = (np.abs(array.reshape(*array.shape[:2], math.prod(array.shape[2:]))) ** 2).sum(-1)
    return total


def power_of(y: Array) -> Array:
    """Mean of the squares of each plane's finite elements, [N, C]."""
    flat = y.reshape(*y.shape[:2], -1)
    quick: Array = np.einsum("ncp,ncp->nc", flat, flat.conj()).real / flat.shape[2]  # without arrays of y's size
    if np.isfinite(quick).all():
        return quick
    squares = np.abs(flat) ** 2
    finite = np.isfinite(squares)
    power: Array = np.where(finite, squares, 0).sum(-1) / np.maximum(1, finite.sum(-1))
    return power


# -- formats of fewer bits -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Format:
    """A float format by its stored fraction bits, of float32's range, and how it rounds."""

    name: str
    bits: int
    rule: str = "even"
    """Where ties go: to "even", "away" from zero; or "zero", where everything goes."""

    @property
    def spacing(self) -> float:
        """Spacing of its numbers around 1."""
        return 2.0**-self.bits

    def round(self, array: Array) -> Array:
        """The numbers of this format that these become."""
        if array.dtype.kind == "c":
            return self.round(array.real) + 1j * self.round(array.imag)
        fraction, exponent = np.frexp(array)
        scaled = np.ldexp(fraction, self.bits + 1)
        if self.rule == "away":
            kept = np.trunc(scaled + np.copysign(0.5, scaled))
        else:
            kept = np.trunc(scaled) if self.rule == "zero" else np.rint(scaled)
        rounded: Array = np.ldexp(kept, exponent - self.bits - 1)
        return rounded


FORMATS = tuple(
    Format(name, bits, rule) for rule in ("even", "away", "zero") for name, bits in (("TF32", 10), ("bfloat16", 7))
)
"""float16 rounds as TF32 does wherever it does not overflow or become subnormal."""
