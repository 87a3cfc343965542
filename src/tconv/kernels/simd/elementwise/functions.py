"""Arithmetic of functions of vectors of float32, in the language of `vector_ir`.

All of them come from expm1 of numbers that are not above 0. With n = round(x / ln 2) and r = x - n ln 2,

    expm1(x) = 2^n expm1(r) + (2^n - 1)

where expm1(r) is its Taylor series up to r^7: beyond it are less than 2e-8 of the result for |r| <= ln(2) / 2. Nothing
cancels: for n = 0 the second term is 0, for n < 0 it is the larger one. Infinite inputs have their limits, NaN stays.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from tconv.kernels.simd.number_types import mangled
from tconv.kernels.simd.vector_ir import Function, Value

_LEAST = -87.0
"""Below it exp is taken as 0: 2^n would not be a normal number."""
_ROUND = 12582912.0
"""1.5 * 2^23: adding it rounds to whole numbers, which the lowest bits of the sum then are."""
_LN2 = 0.693359375, -2.12194440e-4
"""ln 2 in two parts: n times the first is exact."""
_TERMS = 1 / 2, 1 / 6, 1 / 24, 1 / 120, 1 / 720, 1 / 5040


def splat(f: Function, number: float) -> Value:
    """Return a vector of a constant."""
    return f.value(number, f.vector)


def quotient(f: Function, a: Value, b: Value) -> Value:
    """Return a / b."""
    return Value(f, f.b.fdiv(a.ir, b.ir))


def _parts(f: Function, x: Value) -> tuple[Value, Value]:
    """Return 2^n and expm1(r) of numbers that are not above 0."""
    x = f.select(x < splat(f, _LEAST), splat(f, _LEAST), x)
    shifted = f.fma(x, splat(f, 1.4426950408889634), splat(f, _ROUND))
    n = shifted - splat(f, _ROUND)
    r = f.fma(n, splat(f, -_LN2[0]), x)
    r = f.fma(n, splat(f, -_LN2[1]), r)
    series = splat(f, _TERMS[-1])
    for term in _TERMS[-2::-1]:
        series = f.fma(series, r, splat(f, term))
    bits = f.b.bitcast(shifted.ir, f.bits)
    power = f.b.add(f.b.shl(bits, _integers(f, 23)), _integers(f, 127 << 23))
    return Value(f, f.b.bitcast(power, f.vector)), f.fma(series, r * r, r)


def _integers(f: Function, number: int) -> Any:
    return ir.Constant(f.bits, [number] * f.lanes)


def expm1_below(f: Function, x: Value) -> Value:
    """Return exp(x) - 1 of numbers that are not above 0."""
    power, rest = _parts(f, x)
    return f.fma(power, rest, power - splat(f, 1.0))


def absolute(f: Function, x: Value) -> Value:
    """Return |x|."""
    kind = ir.FunctionType(f.vector, [f.vector])
    return Value(f, f.b.call(f.intrinsic(f"llvm.fabs.{mangled(f.vector)}", kind), [x.ir]))


def elu(f: Function, x: Value, alpha: Value) -> Value:
    """Return x above 0, else alpha (exp(x) - 1)."""
    below = f.select(x > f.zero(), f.zero(), x)
    return f.select(x > f.zero(), x, expm1_below(f, below) * alpha)


def tanh(f: Function, x: Value) -> Value:
    """Return the hyperbolic tangent: -t / (t + 2) with t = expm1(-2 |x|), and the sign of x."""
    t = expm1_below(f, absolute(f, x) * splat(f, -2.0))
    size = quotient(f, t, splat(f, -2.0) - t)
    kind = ir.FunctionType(f.vector, [f.vector] * 2)
    signed = f.intrinsic(f"llvm.copysign.{mangled(f.vector)}", kind)
    return Value(f, f.b.call(signed, [size.ir, x.ir]))


def sigmoid(f: Function, x: Value) -> Value:
    """Return 1 / (1 + exp(-x)); for x below 0 that is e / (1 + e) with e = exp(x)."""
    below = absolute(f, x) * splat(f, -1.0)
    power, rest = _parts(f, below)
    e = f.select(below < splat(f, _LEAST), f.zero(), f.fma(power, rest, power))
    return quotient(f, f.select(x < f.zero(), e, splat(f, 1.0)), e + splat(f, 1.0))


def silu(f: Function, x: Value) -> Value:
    """Return x sigmoid(x); below -1000 it is 0, also of -inf."""
    return f.select(x < splat(f, -1e3), splat(f, -1e3), x) * sigmoid(f, x)
