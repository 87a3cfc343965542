"""`tconv.jax.conv_transpose` and `plan`: jax.lax.conv_transpose in its own words, with groups, any crop and a bias."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from tconv.errors import ArgumentError
from tconv.jax.call_layouts import canonical_strides
from tconv.jax.call_reading import array_of, bias_of, read, result_dtype
from tconv.jax.jax_names import canonical_precision
from tconv.jax.kernel_choice import choose
from tconv.jax.operator import apply
from tconv.jax.primitives import TRANSPOSED, TRANSPOSED_BIAS
from tconv.kernels.problem import Problem
from tconv.operator.method_choice import explain_method


def conv_transpose(
    lhs: Any,
    rhs: Any,
    strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]] | None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: Any = None,
    transpose_kernel: bool = False,
    precision: Any = None,
    preferred_element_type: Any = None,
    use_consistent_padding: bool = False,
    *,
    feature_group_count: int = 1,
    output_padding: int | Sequence[int] | None = None,
    crop: int | Sequence[tuple[int, int]] | None = None,
    bias: Any = None,
) -> jax.Array:
    """`jax.lax.conv_transpose`, on the CPU on tconv's kernel, also inside of `jax.jit`, with all derivatives.

    >>> import jax, jax.numpy as jnp, tconv.jax
    >>> x, w = jnp.ones((1, 8, 8, 64)), jnp.ones((4, 4, 64, 32))          # [N, h, w, C], [kh, kw, C_in, C_out]
    >>> f = jax.jit(lambda x, w: tconv.jax.conv_transpose(x, w, (2, 2), "SAME"))
    >>> f(x, w).shape
    (1, 16, 16, 32)
    >>> jax.grad(lambda w: (f(x, w) ** 2).sum())(w).shape
    (4, 4, 64, 32)

    The arguments up to use_consistent_padding are those of lax, in its order and meaning: lhs [N, *spatial, C_in] and
    rhs [*kernel, C_in, C_out], or the axes that dimension_numbers names, for any number of spatial axes; padding is
    "SAME", "VALID" or a pair for each axis.

    - feature_group_count: rhs is [*kernel, C_in/groups, C_out], as in jax.lax.conv_general_dilated; with
      transpose_kernel=True [*kernel, C_out/groups, C_in], which is the weight of the convolution.
    - output_padding: elements that the output has more at the end of each axis. They are real sums where the padding
      had cut some off.
    - crop: pairs (lo, hi) of elements that are cut from the full output, instead of padding, which is then None.
    - bias [C_out], an array or a list of numbers.

    Dtypes are as in lax: one for lhs and rhs, and integers wrap around. The kernel computes float32, float64, float16
    and bfloat16 (summed in float32, and rounded once). Other dtypes, other platforms, and programs of `jax.export` run
    standard operators of JAX; `tconv.jax.plan` with the same arguments lists the reasons.

    Raises, while JAX traces, ShapeError and GeometryError, which are ValueErrors, and ArgumentError, ArrayError and
    DtypeError, which are TypeErrors.
    """
    x, weight = array_of(lhs, "lhs"), array_of(rhs, "rhs")
    dtype = result_dtype(x, weight, preferred_element_type)
    offset = bias_of(bias, x, dtype)
    kind = {"precision": canonical_precision(precision), "preferred_element_type": dtype}
    lax = _arguments(strides, padding, rhs_dilation, dimension_numbers, transpose_kernel, use_consistent_padding)
    if weight.ndim == x.ndim == 2:  # without spatial axes it is a product of matrices
        more = feature_group_count, output_padding, crop
        return _product(x, weight, offset, {**lax, **kind, "precision": precision}, more)
    call = read(x, weight, offset, lax, feature_group_count, output_padding, crop)
    return apply(x, weight, offset, call.geometry, call.data, call.weight, call.result, **kind)


def _arguments(
    strides: Any, padding: Any, dilation: Any, numbers: Any, transpose_kernel: Any, consistent: Any
) -> dict[str, Any]:
    return {
        "strides": strides,
        "padding": padding,
        "rhs_dilation": dilation,
        "dimension_numbers": numbers,
        "transpose_kernel": transpose_kernel,
        "use_consistent_padding": consistent,
    }


def _product(x: Any, weight: Any, bias: Any, lax: dict[str, Any], more: Any) -> Any:
    """Return lax's own result for arrays without spatial axes."""
    groups, extra, crop = more
    if groups != 1 or extra or crop:
        raise ArgumentError(
            "lhs has no spatial axes, so feature_group_count=, output_padding= and crop= mean nothing. Leave them out"
        )
    if not lax["use_consistent_padding"]:
        del lax["use_consistent_padding"]  # JAX 0.6 to 0.8 does not have it
    y = jax.lax.conv_transpose(x, weight, **lax)
    if bias is None:
        return y
    numbers = lax["dimension_numbers"]
    axis = 1 if numbers is None or not isinstance(numbers[2], str) else numbers[2].index("C")
    return y + jnp.expand_dims(bias, 1 - axis)


class CallPlan(NamedTuple):
    """Result of `plan`: `method` is tconv's "simd" or "winograd", or "jax"; `reasons` are those against the kernel.

    >>> import jax, tconv.jax
    >>> x, w = jax.ShapeDtypeStruct((1, 8, 8, 64), "float32"), jax.ShapeDtypeStruct((4, 4, 64, 32), "float32")
    >>> found = tconv.jax.plan(x, w, (2, 2), "SAME")
    >>> found.method, found.reasons
    ('simd', ())
    """

    method: str
    reasons: tuple[str, ...]
    problem: Problem | None
    """None if the kernel has no problem for the call: another dtype, or sizes that are not known."""
    strides: tuple[tuple[int, ...], tuple[int, ...]] | None = None
    """Strides of canonical x and y, in elements, where the kernel runs."""

    def __str__(self) -> str:
        if self.problem is None or self.method == "jax":
            return f"method    jax: standard operators\n          not simd: {'; '.join(self.reasons)}"
        chosen = explain_method(self.problem, "auto", self.strides)
        return str(chosen if chosen.method == self.method else explain_method(self.problem, self.method, self.strides))


def plan(lhs: Any, rhs: Any, *arguments: Any, bias: Any = None, **named: Any) -> CallPlan:
    """Return how `conv_transpose` with the same arguments runs inside of a program on the default platform.

    >>> import jax, tconv.jax
    >>> x, w = jax.ShapeDtypeStruct((1, 8, 8, 64), "float32"), jax.ShapeDtypeStruct((4, 4, 64, 32), "float32")
    >>> tconv.jax.plan(x, w, (2, 2), "SAME").reasons
    ()

    Only shapes and dtypes are used, so a jax.ShapeDtypeStruct stands for an array. Under `jax.export` the standard
    operators run, whatever the plan says. Raises the errors of `conv_transpose`.
    """
    given = [
        each if isinstance(each, jax.ShapeDtypeStruct) else array_of(each, name)
        for name, each in zip(("lhs", "rhs"), (lhs, rhs), strict=True)
    ]
    traced = jax.make_jaxpr(lambda x, w, b: conv_transpose(x, w, *arguments, bias=b, **named))(*given, bias)
    equation = next((one for one in traced.jaxpr.eqns if one.primitive in (TRANSPOSED, TRANSPOSED_BIAS)), None)
    if equation is None:
        return CallPlan("jax", ("without spatial axes the call is a product of matrices",), None)
    x, weight, *offset = (operand.aval for operand in equation.invars)
    parameters, layouts = equation.params, equation.params["layouts"]
    choice = choose(x, weight, offset[0] if offset else None, parameters["geometry"], layouts, parameters["dtype"])
    reasons = choice.reasons
    if (platform := jax.default_backend()) != "cpu":
        reasons = (f"the platform is {platform}; the kernel runs on the CPU", *reasons)
    if reasons or choice.problem is None:
        return CallPlan("jax", reasons, choice.problem)
    p = choice.problem
    strides = canonical_strides(p, layouts, 1)
    return CallPlan(choice.method, (), p, strides)
