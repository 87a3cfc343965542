"""Conversion of float16 and bfloat16 from and to float32 in machine code, as numbers or vectors of 16-bit integers.

Where the chip has instructions for float16 they are used; else, and always for bfloat16, integer arithmetic: exact for
denormals, whatever the thread does with denormals of float32. A float32 is rounded to the nearest, ties to even; above
the largest number it becomes infinite, and NaN stays NaN.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from tconv.kernels.simd.cpu_target import target

I16, I32, _F32, _F16 = ir.IntType(16), ir.IntType(32), ir.FloatType(), ir.HalfType()


class _Bfloat16(ir.Type):  # type: ignore[misc]
    """LLVM's type of bfloat16, which llvmlite lacks."""

    def _to_string(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Bfloat16)

    def __hash__(self) -> int:
        return hash(_Bfloat16)


BFLOAT16 = _Bfloat16()


def _like(value: Any, element: Any) -> Any:
    """Return the type of as many of these elements as a value has."""
    return ir.VectorType(element, value.type.count) if isinstance(value.type, ir.VectorType) else element


def _constant(value: Any, element: Any, number: float) -> Any:
    """Return a number as a constant of as many elements as a value has."""
    kind = _like(value, element)
    return ir.Constant(kind, [number] * kind.count if isinstance(kind, ir.VectorType) else number)


def widened(b: ir.IRBuilder, bits: Any, stored: str) -> Any:
    """Return the float32 of the bits of float16 or bfloat16."""
    if stored == "float16" and target().converts_float16:
        return b.fpext(b.bitcast(bits, _like(bits, _F16)), _like(bits, _F32))

    def integer(number: int) -> Any:
        return _constant(bits, I32, number)

    wide = b.zext(bits, _like(bits, I32))
    if stored == "bfloat16":
        return b.bitcast(b.shl(wide, integer(16)), _like(bits, _F32))
    sign = b.shl(b.and_(wide, integer(0x8000)), integer(16))
    size = b.and_(wide, integer(0x7FFF))
    # the exponents of float32 are larger by 112, and that of infinities and NaN by 112 once more
    special = b.select(b.icmp_unsigned(">=", size, integer(0x7C00)), integer(112 << 23), integer(0))
    normal = b.add(b.add(b.shl(size, integer(13)), integer(112 << 23)), special)
    denormal = b.bitcast(b.fmul(b.uitofp(size, _like(bits, _F32)), _constant(bits, _F32, 2.0**-24)), _like(bits, I32))
    small = b.icmp_unsigned("<", size, integer(0x0400))
    return b.bitcast(b.or_(sign, b.select(small, denormal, normal)), _like(bits, _F32))


def narrowed(b: ir.IRBuilder, numbers: Any, stored: str) -> Any:
    """Return the bits of float16 or bfloat16 that are nearest to float32 numbers."""
    if stored == "float16" and target().converts_float16:
        return b.bitcast(b.fptrunc(numbers, _like(numbers, _F16)), _like(numbers, I16))

    def integer(number: int) -> Any:
        return _constant(numbers, I32, number)

    def rounded(value: Any, dropped: int) -> Any:
        """Return value >> dropped, rounded to even."""
        odd = b.and_(b.lshr(value, integer(dropped)), integer(1))
        return b.lshr(b.add(value, b.add(odd, integer((1 << (dropped - 1)) - 1))), integer(dropped))

    bits = b.bitcast(numbers, _like(numbers, I32))
    is_nan = b.fcmp_unordered("uno", numbers, numbers)
    if stored == "bfloat16":
        # only that of NaN could carry into the sign
        return b.trunc(b.select(is_nan, integer(0x7FC0), rounded(bits, 16)), _like(numbers, I16))
    sign, size = b.and_(bits, integer(1 << 31)), b.and_(bits, integer((1 << 31) - 1))
    normal = rounded(b.sub(size, integer(112 << 23)), 13)
    # in 0.5 + number the last bit is that of the smallest denormal
    half = _constant(numbers, _F32, 0.5)
    shifted = b.bitcast(b.fadd(b.bitcast(size, _like(numbers, _F32)), half), _like(numbers, I32))
    denormal = b.sub(shifted, integer(0x3F000000))
    narrow = b.select(b.icmp_unsigned("<", size, integer(113 << 23)), denormal, normal)
    # from the middle between the largest number and the next on, all are infinite
    narrow = b.select(b.icmp_unsigned(">=", size, integer(0x477FF000)), integer(0x7C00), narrow)
    narrow = b.select(is_nan, integer(0x7E00), narrow)
    return b.trunc(b.or_(b.lshr(sign, integer(16)), narrow), _like(numbers, I16))


def rounded_by_chip(b: ir.IRBuilder, numbers: Any) -> Any:
    """Return the bits of bfloat16 that are nearest to a vector of float32, by AVX512-BF16: denormals become 0."""
    return b.bitcast(b.fptrunc(numbers, _like(numbers, BFLOAT16)), _like(numbers, I16))
