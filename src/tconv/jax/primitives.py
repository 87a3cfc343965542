"""The operator as three primitives of JAX, T, C and W, with all rules of differentiation.

    T(x, w): the transposed convolution   C(y, w): its adjoint, a strided convolution   W(x, y): the gradient of w

They are the three sides of one trilinear form, <y, T(x, w)> = <x, C(y, w)> = <w, W(x, y)>: linear in each argument, and
the transpose of each in each argument is one of the three. So the rules below cover both modes and every order.
`jax.custom_vjp` would be shorter for the first gradient, but it has no forward mode, and with it no `jax.jvp`,
`jax.linearize`, `jax.hessian`, and no gradients of gradients in mixed modes.

Arrays are in the caller's layouts: x and y with a batch axis, the weight in any `WeightLayout`. All sizes fit exactly:
y has the output size of x. Only a y of symbolic sizes may be longer, by elements that no window of C reaches.
"""

from __future__ import annotations

import math
from functools import lru_cache, partial, reduce
from typing import Any

import jax
import jax.numpy as jnp

from tconv.dialects import DataLayout
from tconv.errors import ShapeError
from tconv.geometry import Geometry
from tconv.jax import standard
from tconv.jax.call_layouts import Layouts, channels, weight_shape
from tconv.jax.jax_names import (
    Primitive,
    Zero,
    as_one_operation,
    defbilinear,
    defjvp,
    is_undefined_primal,
    match_varying,
    precision_context,
    primitive_transposes,
    spread_like,
    spread_over,
)

TRANSPOSED, TRANSPOSED_BIAS, CONV, WEIGHT_GRADIENT = (
    Primitive(f"tconv_{name}") for name in ("conv_transpose", "conv_transpose_bias", "conv", "weight_gradient")
)
"""T(x, w); T(x, w) + bias; C(y, w); W(x, y). All have the parameters geometry, layouts, precision and dtype, which is
that of the result."""
PRIMITIVES = (TRANSPOSED, TRANSPOSED_BIAS, CONV, WEIGHT_GRADIENT)


def bind(primitive: Any, *operands: Any, **parameters: Any) -> Any:
    """Call a primitive on arrays or tracers."""
    return primitive.bind(*match_varying(*operands), **parameters)


# -- shapes ------------------------------------------------------------------------------------------------------------


def output_sizes(g: Geometry, sizes: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the spatial shape of y, also for symbolic sizes of `jax.export`."""
    axes = zip(sizes, g.stride, g.extent, g.crop, strict=True)
    return tuple(s * (n - 1) + e - lo - hi for n, s, e, (lo, hi) in axes)


def input_sizes(g: Geometry, sizes: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the spatial shape of x from that of y."""
    axes = zip(sizes, g.stride, g.extent, g.crop, strict=True)
    return tuple((L + lo + hi - e) // s + 1 for L, s, e, (lo, hi) in axes)


def _shape_of_transposed(x: Any, w: Any, bias: Any = None, *, geometry: Geometry, layouts: Layouts) -> Any:
    batch, count, sizes = layouts.x.sizes(x.shape)
    c_in, c_out = _checked_channels(w, geometry, layouts)
    if count != c_in:
        raise ShapeError(f"x {x.shape} has {count} channels; the weight {w.shape} needs {c_in}. Use another x")
    if bias is not None and tuple(bias.shape) != (c_out,):
        raise ShapeError(f"bias has shape {bias.shape}; ({c_out},) is needed. Write one number per output channel")
    return layouts.y.native_shape((batch, c_out, *output_sizes(geometry, sizes)))


def _shape_of_conv(y: Any, w: Any, *, geometry: Geometry, layouts: Layouts) -> Any:
    batch, count, sizes = layouts.y.sizes(y.shape)
    c_in, c_out = _checked_channels(w, geometry, layouts)
    if count != c_out:
        raise ShapeError(f"y {y.shape} has {count} channels; the weight {w.shape} needs {c_out}. Use another y")
    return layouts.x.native_shape((batch, c_in, *input_sizes(geometry, sizes)))


def _shape_of_gradient(x: Any, y: Any, *, geometry: Geometry, layouts: Layouts) -> Any:
    return weight_shape(layouts.weight, layouts.x.sizes(x.shape)[1], layouts.y.sizes(y.shape)[1], geometry)


def _checked_channels(w: Any, geometry: Geometry, layouts: Layouts) -> tuple[int, int]:
    c_in, c_out = channels(layouts.weight, w.shape, geometry.groups)
    if layouts.weight.kernel(w.shape) != geometry.kernel or c_in % geometry.groups or c_out % geometry.groups:
        raise ShapeError(
            f"the weight {w.shape}, as {layouts.weight.describe()}, does not fit the kernel {geometry.kernel} with "
            f"{geometry.groups} groups. Use the weight and the geometry of one layer"
        )
    return c_in, c_out


_SHAPES = dict(
    zip(PRIMITIVES, (_shape_of_transposed, _shape_of_transposed, _shape_of_conv, _shape_of_gradient), strict=True)
)


_MOST_BYTES = 1 << 63
"""Bytes from which on no result is given to XLA, which counts them in 64 bits."""


def _aval(primitive: Any, *operands: Any, geometry: Geometry, layouts: Layouts, precision: Any, dtype: Any) -> Any:
    shape = _SHAPES[primitive](*operands, geometry=geometry, layouts=layouts)
    if all(isinstance(size, int) for size in shape) and math.prod(shape) * dtype.itemsize >= _MOST_BYTES:
        raise ShapeError(
            f"the result would have the shape {shape}, which no memory holds. Use a smaller stride or crop"
        )
    weak = all(getattr(operand, "weak_type", False) for operand in operands)
    sharding = _sharding(primitive, operands, layouts, len(shape))
    more = {} if sharding is None else {"sharding": sharding}
    return operands[0].update(shape=shape, dtype=dtype, weak_type=weak, **more)


def _sharding(primitive: Any, operands: Any, layouts: Layouts, ndim: int) -> Any:
    """Return how the result is spread over a mesh with explicit axes."""
    x, y = (layout.axes.index("N") for layout in (layouts.x, layouts.y))
    of_operands, of_result = {CONV: ((y, -1), x), WEIGHT_GRADIENT: ((x, y), None)}.get(primitive, ((x, -1, -1), y))
    return spread_over(operands, of_operands[: len(operands)], of_result, ndim)


# -- computation -------------------------------------------------------------------------------------------------------


def _standard_transposed(x: Any, w: Any, bias: Any = None, *, geometry: Any, layouts: Any, **kind: Any) -> Any:
    y = _in_one_dtype(standard.conv_transpose, (x, w), kind, geometry, layouts.x, layouts.weight, layouts.y)
    return y if bias is None else y + along_channels(bias.astype(y.dtype), layouts.y)


def _standard_conv(y: Any, w: Any, *, geometry: Any, layouts: Any, **kind: Any) -> Any:
    return _in_one_dtype(standard.conv, (y, w), kind, geometry, layouts.y, layouts.weight, layouts.x)


def _standard_gradient(x: Any, y: Any, *, geometry: Any, layouts: Any, **kind: Any) -> Any:
    return _in_one_dtype(standard.weight_gradient, (x, y), kind, geometry, layouts.x, layouts.y, layouts.weight)


def _in_one_dtype(function: Any, operands: Any, kind: dict[str, Any], *arguments: Any) -> Any:
    # in gradients of a call with preferred_element_type the dtypes differ, and sums are in the wider one
    dtype = kind["dtype"]
    common = common_dtype(dtype, *(operand.dtype for operand in operands))
    with precision_context(kind["precision"]):
        return function(*(operand.astype(common) for operand in operands), *arguments).astype(dtype)


def common_dtype(*dtypes: Any) -> Any:
    """Return the dtype that others are converted to; where JAX has no rule, as for 8-bit floats, the widest."""
    try:
        return reduce(jnp.promote_types, dtypes)
    except ValueError:
        return max(dtypes, key=lambda dtype: dtype.itemsize)


def along_channels(bias: Any, layout: DataLayout) -> Any:
    """Return a bias [C] that broadcasts over arrays of this layout."""
    return bias.reshape([-1 if axis == "C" else 1 for axis in layout.axes])


STANDARD = dict(
    zip(PRIMITIVES, (_standard_transposed, _standard_transposed, _standard_conv, _standard_gradient), strict=True)
)
"""Each primitive as a function of arrays, in JAX's own operators."""


@lru_cache(maxsize=1024)
def _compiled(primitive: Any, parameters: Any) -> Any:
    return jax.jit(as_one_operation(partial(primitive.bind, **dict(parameters)), primitive.name))


def _run(primitive: Any, *operands: Any, **parameters: Any) -> Any:
    with jax.disable_jit(False):
        return _compiled(primitive, tuple(parameters.items()))(*operands)


# -- derivatives -------------------------------------------------------------------------------------------------------


def _lengthened(array: Any, shape: Any) -> Any:
    """Return an array with zeros at its end up to a shape: of a y of symbolic sizes, what no window reaches."""
    if tuple(array.shape) == tuple(shape) or all(isinstance(size, int) for size in shape):
        return array
    more = [(0, size - given, 0) for size, given in zip(shape, array.shape, strict=True)]
    return jax.lax.pad(array, jnp.zeros((), array.dtype), more)


def _bilinear(primitive: Any, in_first: Any, in_second: Any) -> None:
    """Register the transposes of a primitive in its two arguments: pairs of a primitive and the order of operands."""

    def rule(cotangent: Any, first: Any, second: Any, *, at: int, **parameters: Any) -> Any:
        other = second if at == 0 else first
        result = (first, second)[at].aval
        transpose, cotangent_first = in_first if at == 0 else in_second
        operands = (cotangent, other) if cotangent_first else (other, cotangent)
        return _lengthened(bind(transpose, *operands, **{**parameters, "dtype": result.dtype}), result.shape)

    defbilinear(primitive, partial(rule, at=0), partial(rule, at=1))


_bilinear(TRANSPOSED, (CONV, True), (WEIGHT_GRADIENT, False))
_bilinear(CONV, (TRANSPOSED, True), (WEIGHT_GRADIENT, True))
_bilinear(WEIGHT_GRADIENT, (CONV, False), (TRANSPOSED, False))


def _spread(bias: Any, x: Any, w: Any, *_: Any, **parameters: Any) -> Any:
    """Return the tangent of y for one of the bias."""
    geometry, layouts = parameters["geometry"], parameters["layouts"]
    shape = _shape_of_transposed(x, w, geometry=geometry, layouts=layouts)
    tangent = jnp.broadcast_to(along_channels(bias.astype(parameters["dtype"]), layouts.y), shape)
    return spread_like(tangent, _sharding(TRANSPOSED, [jax.typeof(x), jax.typeof(w)], layouts, len(shape)))


defjvp(
    TRANSPOSED_BIAS,
    lambda tangent, x, w, bias, **parameters: bind(TRANSPOSED, tangent, w, **parameters),
    lambda tangent, x, w, bias, **parameters: bind(TRANSPOSED, x, tangent, **parameters),
    _spread,
)


def _transpose_with_bias(cotangent: Any, x: Any, w: Any, bias: Any, **parameters: Any) -> Any:
    """Return the transpose of a call that is linear in the bias together with x or with the weight."""
    first, second = is_undefined_primal(x), is_undefined_primal(w)
    if not is_undefined_primal(bias) or first is second:
        raise NotImplementedError(
            "the call is not linear in the arguments to transpose. Transpose x and the bias, or the weight and the bias"
        )
    if type(cotangent) is Zero:
        return tuple(Zero(each.aval) if is_undefined_primal(each) else None for each in (x, w, bias))
    axes = tuple(at for at, axis in enumerate(parameters["layouts"].y.axes) if axis != "C")
    of_bias = cotangent.sum(axes).astype(bias.aval.dtype)
    if first:
        return bind(CONV, cotangent, w, **{**parameters, "dtype": x.aval.dtype}), None, of_bias
    return None, bind(WEIGHT_GRADIENT, x, cotangent, **{**parameters, "dtype": w.aval.dtype}), of_bias


primitive_transposes[TRANSPOSED_BIAS] = _transpose_with_bias


for _primitive in PRIMITIVES:
    _primitive.def_impl(partial(_run, _primitive))
    _primitive.def_abstract_eval(partial(_aval, _primitive))
