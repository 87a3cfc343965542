"""Element types of the arrays of one call: one float dtype, or integers of any kind; else an error.

An error proposes a dtype in which no array loses numbers: no fraction, no range, no imaginary part.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import numpy as np

from tconv import _arrays
from tconv._arrays import Array
from tconv.errors import DtypeError, ShapeError

FLOATS = ("float16", "bfloat16", "float32", "float64", "complex64", "complex128")
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32")
_LARGEST_LOOKED_AT = 1 << 24  # elements of which a message computes the maximum


class _Format(NamedTuple):
    """Kind of number, and the bits that represent it exactly: of a mantissa, or of an integer without its sign."""

    kind: str
    bits: int


def check_dtypes(library: str, **arrays: Array | None) -> None:
    """Raise DtypeError for element types that are not supported, or mixed otherwise than integers with integers."""
    present = {name: array for name, array in arrays.items() if array is not None}
    if "bias" in present and present["bias"].ndim == 0:
        raise ShapeError(
            "bias is a single number; one number per output channel is needed. Write bias=np.full(C_out, number), and "
            "other arguments by name, for example stride=2"
        )
    names = {array.dtype.name for array in present.values()}
    if names.issubset(INTEGERS) or (len(names) == 1 and names.issubset(FLOATS)):
        return
    advice = _advice(library, present)
    for name, array in present.items():
        if array.dtype.name not in (*FLOATS, *INTEGERS):
            raise DtypeError(
                f"{name} has dtype {array.dtype}; {', '.join(FLOATS)} and integers up to 64 bits (not uint64) "
                f"are supported. Write {advice}"
            )
    first, reference = next(iter(present.items()))  # x, or the weight where there is no x yet
    name, other = next((name, array) for name, array in present.items() if array.dtype.name != reference.dtype.name)
    raise DtypeError(
        f"{first} is {reference.dtype.name} and {name} is {other.dtype.name}; mixed dtypes are refused, except "
        f"integers, and one is needed. Write {advice}"
    )


def _advice(library: str, arrays: dict[str, Array]) -> str:
    """Return the conversions to dtypes that fit together and lose nothing, or what is lost where none exists."""
    formats = {name: _format_of(array.dtype) for name, array in arrays.items()}
    bias = arrays.get("bias")
    if bias is not None and bias.dtype.name in INTEGERS and 0 not in bias.strides:  # not a tensor's stand-in
        formats["bias"] = _Format("integer", _bits_in_use(bias))
    if any(each is None for each in formats.values()):
        return "arrays of numbers, of dtype np.float32, for example"
    known = [each for each in formats.values() if each is not None]
    if all(each.kind == "integer" for each in known):
        needed = {name: _integer_for(array) for name, array in arrays.items() if array.dtype.name not in INTEGERS}
        if "float64" not in needed.values():
            note = ", whose values end at 2**63 - 1" if "int64" in needed.values() else ""
            return _conversions(library, arrays, needed) + note
    bits = max(each.bits for each in known)
    is_complex = any(each.kind == "complex" for each in known)
    target = ("complex64" if bits <= 24 else "complex128") if is_complex else ("float32" if bits <= 24 else "float64")
    note = ", which rounds numbers of more than 53 bits; no supported dtype has more" if bits > 53 else ""
    needed = {name: target for name, array in arrays.items() if array.dtype.name != target}
    return _conversions(library, arrays, needed) + note


def _format_of(dtype: np.dtype[Any]) -> _Format | None:
    """Return the format of a dtype, also of those of ml_dtypes; None if its elements are not numbers."""
    if dtype.kind == "O":  # Python's numbers, as floats
        return _Format("float", 53)
    if dtype.kind == "b":
        return _Format("integer", 1)
    if dtype.kind in "iu":
        return _Format("integer", 8 * dtype.itemsize - (dtype.kind == "i"))
    if dtype.kind in "fc" and not dtype.name.startswith("float8"):
        return _Format("complex" if dtype.kind == "c" else "float", np.finfo(dtype).nmant + 1)
    kind = re.match(r"b?(u?int|float|complex)\d", dtype.name)
    return kind and _Format("integer" if kind[1].endswith("int") else kind[1], 11)


def _bits_in_use(array: Array) -> int:
    """Return the bits of the largest integer in a bias, without a sign: a bias often has small numbers."""
    return max((abs(number).bit_length() for number in array.ravel().tolist()), default=0)


def _integer_for(array: Array) -> str:
    """Return the integer dtype for an array of another one, "float64" if values of uint64 exceed int64."""
    if array.dtype.kind == "b":
        return "uint8"
    if array.dtype.name != "uint64":
        return "int8"
    known = 0 < array.size <= _LARGEST_LOOKED_AT
    return "float64" if known and int(array.max()) > np.iinfo(np.int64).max else "int64"


def _conversions(library: str, arrays: dict[str, Array], needed: dict[str, str]) -> str:
    """Return the expressions that convert the named arrays; all become NumPy's where JAX lacks the dtype."""
    if (
        library == "jax"
        and not _arrays.has_wide_jax()
        and not {"int64", "float64", "complex128"}.isdisjoint(needed.values())
    ):
        library, needed = "numpy", dict.fromkeys(arrays, next(iter(needed.values())))
    return " and ".join(_arrays.converted(library, name, dtype) for name, dtype in needed.items())
