"""Functions of single numbers that networks have as activations, beside those of `tconv.prepare`.

Each fills `y` from `x`, arrays of one shape and dtype, float32 or float64; `x` and `z` may be overwritten. They follow
their limits at inf, pass NaN on, and have no terms that cancel. Errors in float32 against exact values are in half
steps of the result.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from tconv._arrays import Array
from tconv.errors import ArgumentError
from tconv.kernels.simd import elementwise


class Function(NamedTuple):
    """Function of x with numbers, which have defaults, and the roundings of its result, in half steps.

    `terms` returns, for absolute x, the size of numbers whose difference the result is, if it may be much smaller.
    """

    fill: Callable[..., None]
    numbers: tuple[float, ...] = ()
    needed: int = 0
    """Numbers that must be given; the others have defaults."""
    roundings: int = 8
    terms: Callable[..., Array] | None = None


def _sigmoid(x: Array, y: Array, z: Array) -> None:
    if elementwise.fill("sigmoid", (x,), (), y):
        return
    np.negative(x, out=y)
    np.exp(y, out=y)
    y += 1
    np.reciprocal(y, out=y)


def _swish(x: Array, y: Array, z: Array, beta: float = 1.0) -> None:
    if beta == 1 and elementwise.fill("silu", (x,), (), y):
        return
    np.multiply(x, -beta, out=y)
    np.exp(y, out=y)
    y += 1
    np.maximum(x, -1e3 / beta, out=x)  # -inf / inf would be NaN
    np.divide(x, y, out=y)


def _gelu(x: Array, y: Array, z: Array) -> None:
    # x minus, or just, |x| times the probability beyond |x|: nothing cancels
    np.abs(x, out=z)
    np.minimum(z, 40, out=z)
    np.maximum(x, 0, out=x)
    w = z * math.sqrt(0.5)
    _tail(w, y)
    y *= 0.5
    y *= z
    np.subtract(x, y, out=y)


def _tail(x: Array, y: Array) -> None:
    """Fill y with 1 - erf(x) for x from 0 on, and overwrite x.

    In float32 by the Chebyshev fit of Press et al., Numerical Recipes (erfcc), whose own relative error is 1.2e-7.
    """
    if x.dtype != np.float32:
        y[...] = np.frompyfunc(math.erfc, 1, 1)(x)
        return
    t = x * np.float32(0.5)
    t += 1
    np.reciprocal(t, out=t)
    y[...] = _TAIL[-1]
    for coefficient in _TAIL[-2::-1]:
        y *= t
        y += coefficient
    np.square(x, out=x)
    y -= x
    np.exp(y, out=y)
    y *= t


_TAIL = np.array(
    [
        -1.26551223, 1.00002368, 0.37409196, 0.09678418, -0.18628806, 0.27886807, -1.13520398, 1.48851587, -0.82215223,
        0.17087277,
    ],
    np.float32,
)  # fmt: skip


def _erf(x: Array, y: Array, z: Array) -> None:
    """Fill in erf(x); in float32 a quotient of polynomials on [-4, 4], as Eigen and XLA have it."""
    if x.dtype != np.float32:
        y[...] = np.frompyfunc(math.erf, 1, 1)(x)
        return
    np.clip(x, -4, 4, out=x)
    w = np.square(x)
    for target, coefficients in ((y, _ERF[0]), (z, _ERF[1])):
        target[...] = coefficients[-1]
        for coefficient in coefficients[-2::-1]:
            target *= w
            target += coefficient
    y /= z
    y *= x
    np.clip(y, -1, 1, out=y)


_ERF = (
    np.array([
        -1.60960333262415e-02, -2.95459980854025e-03, -7.34990630326855e-04, -5.69250639462346e-05,
        -2.10102402082508e-06, 2.77068142495902e-08, -2.72614225801306e-10,
    ], np.float32),
    np.array([
        -1.42647390514189e-02, -7.37332916720468e-03, -1.68282697438203e-03, -2.13374055278905e-04,
        -1.45660718464996e-05,
    ], np.float32),
)  # fmt: skip


def _gelu_tanh(x: Array, y: Array, z: Array) -> None:
    np.maximum(x, -40, out=x)
    np.square(x, out=y)
    y *= 0.044715
    y += 1
    y *= -2 * math.sqrt(2 / math.pi)
    y *= x
    np.exp(y, out=y)  # (1 + tanh(u)) / 2 = 1 / (1 + exp(-2u))
    y += 1
    np.divide(x, y, out=y)


def _mish(x: Array, y: Array, z: Array) -> None:
    # tanh(log(1 + e)) = n / (n + 2) for n = e (e + 2)
    np.minimum(x, 20, out=y)
    np.exp(y, out=y)
    np.add(y, 2, out=z)
    y *= z
    np.add(y, 2, out=z)
    y /= z
    np.maximum(x, -1e3, out=x)
    y *= x


def _hard_sigmoid(x: Array, y: Array, z: Array, alpha: float, beta: float) -> None:
    np.multiply(x, alpha, out=y)
    y += beta
    np.clip(y, 0, 1, out=y)


def _hard_swish(x: Array, y: Array, z: Array, alpha: float, beta: float) -> None:
    _hard_sigmoid(x, y, z, alpha, beta)
    np.maximum(x, -1e3 - abs(beta / alpha), out=x)  # below it all products are 0
    y *= x


def _elu(x: Array, y: Array, z: Array, alpha: float) -> None:
    if elementwise.fill("elu", (x,), (alpha,), y):
        return
    np.minimum(x, 0, out=y)
    np.expm1(y, out=y)
    if alpha != 1:
        y *= alpha
    np.maximum(x, 0, out=x)
    y += x  # one of both is 0


def _selu(x: Array, y: Array, z: Array, alpha: float, gamma: float) -> None:
    _elu(x, y, z, alpha)
    y *= gamma


def _softplus(x: Array, y: Array, z: Array) -> None:
    np.abs(x, out=y)
    np.negative(y, out=y)
    np.exp(y, out=y)
    np.log1p(y, out=y)
    np.maximum(x, 0, out=x)
    y += x


def _softsign(x: Array, y: Array, z: Array) -> None:
    np.clip(x, -1e30, 1e30, out=x)
    np.abs(x, out=y)
    y += 1
    np.divide(x, y, out=y)


def _rsqrt(x: Array, y: Array, z: Array) -> None:
    np.sqrt(x, out=y)
    np.reciprocal(y, out=y)


def _tanh(x: Array, y: Array, z: Array) -> None:
    if not elementwise.fill("tanh", (x,), (), y):
        np.tanh(x, out=y)


def _power(x: Array, y: Array, z: Array, exponent: float) -> None:
    y[...] = x**exponent  # NumPy has shorter ways for 2, 1/2 and others


def _ufunc(ufunc: np.ufunc) -> Callable[..., None]:
    def fill(x: Array, y: Array, z: Array) -> None:
        ufunc(x, out=y)

    return fill


FUNCTIONS: dict[str, Function] = {
    "sigmoid": Function(_sigmoid),
    "tanh": Function(_tanh),
    "silu": Function(_swish),
    "swish": Function(_swish, (1.0,)),
    "gelu": Function(_gelu, terms=lambda x: np.minimum(np.abs(x), 40)),
    "gelu_tanh": Function(_gelu_tanh, terms=lambda x: np.minimum(np.abs(x), 40)),
    "mish": Function(_mish),
    "hard_sigmoid": Function(
        _hard_sigmoid, (1 / 6, 0.5), terms=lambda x, alpha, beta: abs(alpha) * np.abs(x) + abs(beta)
    ),
    "hard_swish": Function(
        _hard_swish, (1 / 6, 0.5), terms=lambda x, alpha, beta: (abs(alpha) * np.abs(x) + abs(beta)) * np.abs(x)
    ),
    "elu": Function(_elu, (1.0,)),
    "selu": Function(_selu, (1.6732632423543772, 1.0507009873554805)),
    "softplus": Function(_softplus),
    "softsign": Function(_softsign),
    "erf": Function(_erf),
    "exp": Function(_ufunc(np.exp)),
    "log": Function(_ufunc(np.log)),
    "sqrt": Function(_ufunc(np.sqrt)),
    "rsqrt": Function(_rsqrt),
    "square": Function(_ufunc(np.square)),
    "power": Function(_power, (1.0,), needed=1),
    "reciprocal": Function(_ufunc(np.reciprocal)),
    "abs": Function(_ufunc(np.abs)),
    "negate": Function(_ufunc(np.negative)),
    "floor": Function(_ufunc(np.floor)),
    "ceil": Function(_ufunc(np.ceil)),
    "round": Function(_ufunc(np.rint)),
    "sin": Function(_ufunc(np.sin), terms=np.ones_like),
    "cos": Function(_ufunc(np.cos), terms=np.ones_like),
}
"""Functions by name. "hard_sigmoid" limits alpha x + beta to 0..1, "hard_swish" is x times that; "round" takes even."""


def function_of(activation: object) -> tuple[Function, tuple[float, ...]] | None:
    """Return the function of a name, or of a tuple of a name and its numbers; None for a name that is not in FUNCTIONS.

    Raises ArgumentError for numbers that do not fit.
    """
    name, *given = activation if isinstance(activation, tuple) and activation else (activation,)
    if not isinstance(name, str) or name not in FUNCTIONS:
        return None
    function = FUNCTIONS[name]
    largest = float(np.finfo(np.float32).max)  # beyond it numbers are inf in float32
    most, finite = len(function.numbers), all(isinstance(n, (int, float)) and abs(n) <= largest for n in given)
    if not finite or not function.needed <= len(given) <= most or (given and len(given) < most):
        example = f'("{name}", {", ".join(f"{n:g}" for n in function.numbers)})' if most else f'"{name}"'
        needed = f"{most} finite number{'s' * (most != 1)}" if most else "no number"
        raise ArgumentError(f"activation is {activation}; {name} has {needed}. Write {example}, for example")
    numbers = tuple(float(n) for n in given) or function.numbers
    if name in ("swish", "hard_swish") and numbers[0] <= 0:
        raise ArgumentError(f"activation is {activation}; its first number must be above 0")
    return function, numbers
