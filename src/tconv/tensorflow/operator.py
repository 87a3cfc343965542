"""The transposed convolution of tensors and its adjoint, with derivatives of any order in both modes.

T(x, w) is bilinear. With its adjoint C(y, w), a strided convolution, and its weight gradient W(x, y), a correlation,

    <y, T(x, w)> = <x, C(y, w)> = <w, W(x, y)>

so the derivatives of each of the three are the two others, and nothing else is needed for any order. `apply` and
`adjoint` compute T and C on native tensors of any layout. T runs on tconv's kernel where it can; C and W, and T
elsewhere, in TensorFlow's standard operators.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

import tensorflow as tf

from tconv.dialects.layouts import DataLayout, WeightLayout
from tconv.geometry import Geometry
from tconv.tensorflow import nn_gradients, standard
from tconv.tensorflow.dispatch import may_run_nn, reason_for_nn, run_nn
from tconv.tensorflow.op_kernel import TYPES, registered
from tconv.tensorflow.operator_rule import Operator, OperatorRule, rule_of_attributes
from tconv.tensorflow.registration import OPERATOR
from tconv.tensorflow.spatial_fit import extend
from tconv.tensorflow.tracing_context import (
    is_compiled,
    is_for_a_file,
    reason_for_standard,
    run_operator,
    standard_operators,
    without_autograph,
)


def apply(
    x: Any,
    weight: Any,
    bias: Any,
    geometry: Geometry,
    data: DataLayout,
    weight_layout: WeightLayout,
    result: DataLayout,
) -> Any:
    """Return T(x, weight) + bias for native tensors of one dtype.

    x has the layout `data` and y the layout `result`; `bias` is [C_out] or None. Sizes of x may be unknown while a
    function is traced. The caller has checked ranks, channels and dtypes.
    """
    return apply_operator(Operator(geometry, data, weight_layout, result), x, weight, bias)


def apply_operator(operator: Operator, x: Any, weight: Any, bias: Any = None, name: str | None = None) -> Any:
    """Return T(x, weight) + bias of an operator."""
    if reason_against_kernel(x, weight):
        y = _standard(operator, x.dtype).transposed(x, weight)
    elif may_run_nn(operator) and reason_for_nn(operator, x.shape, weight.shape, x.dtype):
        y = run_nn(operator, x, weight, name)
    else:
        return _run_kernel(operator.rule, operator, x, weight, bias, None, name)
    return y if bias is None else add_bias(y, bias, operator.y_layout)


def apply_rule(rule: OperatorRule, x: Any, weight: Any, bias: Any, sizes: Any, name: str | None = None) -> Any:
    """Return T(x, weight) + bias with a crop that follows from `sizes`, the spatial sizes of y, an int32 tensor.

    Sizes that the padding does not allow raise InvalidArgumentError when the graph runs.
    """
    operator = _uncropped(rule, weight)
    if not reason_against_kernel(x, weight):
        return _run_kernel(rule, operator, x, weight, bias, sizes, name)
    if is_compiled():
        x = _of_allowed_sizes(rule, operator, x, sizes)
    full = _standard(operator, x.dtype).transposed(x, weight)
    pairs = _dynamic_crop(rule, operator, x, sizes)
    y = extend(full, [(-lo, -hi) for lo, hi in pairs], rule.y_layout)
    return y if bias is None else add_bias(y, bias, rule.y_layout)


def adjoint(
    y: Any, weight: Any, geometry: Geometry, data: DataLayout, weight_layout: WeightLayout, result: DataLayout
) -> Any:
    """Return C(y, weight), the strided convolution whose transpose `apply` is, for y of layout `data`.

    Rows of y that are left over behind the last window do not count, as in any convolution.
    """
    operator = Operator(geometry, result, weight_layout, data)
    sizes = spatial_sizes(y, operator.y_layout)
    axes = list(zip(sizes, geometry.crop, geometry.extent, geometry.stride, strict=True))
    rests = [(L + lo + hi - e) % s for L, (lo, hi), e, s in axes]
    if all(isinstance(rest, int) for rest in rests):
        # the rows left over are cropped, so that the transpose returns the shape of y
        crop = tuple((lo, hi - rest) for (lo, hi), rest in zip(geometry.crop, rests, strict=True))
        return _standard(replace(operator, geometry=replace(geometry, crop=crop)), y.dtype).conv(y, weight)
    pairs = [(lo, hi - rest) for (lo, hi), rest in zip(geometry.crop, rests, strict=True)]
    return _standard(operator.uncropped, y.dtype).conv(extend(y, pairs, operator.y_layout), weight)


without_autograph(apply)
without_autograph(adjoint)


def spatial_sizes(tensor: Any, layout: DataLayout) -> list[Any]:
    """Return the size of each spatial axis, an int, or a scalar tensor where it is not known yet."""
    static = tensor.shape.as_list()
    dynamic: Any = None if None not in static else tf.shape(tensor)
    sizes = {axis: at for at, axis in enumerate(layout.axes) if isinstance(axis, int)}
    return [dynamic[sizes[axis]] if static[sizes[axis]] is None else static[sizes[axis]] for axis in sorted(sizes)]


def add_bias(y: Any, bias: Any, layout: DataLayout) -> Any:
    """Return y plus one number per channel."""
    return y + tf.reshape(bias, [-1 if axis == "C" else 1 for axis in layout.axes])


def bias_gradient(dy: Any, layout: DataLayout) -> Any:
    """Return the sum over everything but the channels."""
    return tf.reduce_sum(dy, [at for at, axis in enumerate(layout.axes) if axis != "C"])


def _standard(operator: Operator, dtype: Any) -> Differentiable:
    """Return T, C and W in standard operators, for the graph that is being traced now.

    Complex derivatives have conjugates in TensorFlow, which its own ones take care of.
    """
    return plain(operator) if dtype.is_complex or is_for_a_file() else differentiable(operator)


# -- sizes that are known at run time only -----------------------------------------------------------------------------


def _uncropped(rule: OperatorRule, weight: Any) -> Operator:
    """Return the operator of a rule without a crop."""
    kernel = rule.weight_layout.kernel(tuple(weight.shape.as_list()))
    return plain_operator(replace(rule, padding="CROP", crop=((0, 0),) * len(kernel)), kernel)


@lru_cache(maxsize=1024)
def plain_operator(rule: OperatorRule, kernel: tuple[int, ...]) -> Operator:
    """Return the operator of a rule with a given crop."""
    return rule.operator(kernel, kernel, None)


def _of_allowed_sizes(rule: OperatorRule, operator: Operator, x: Any, sizes: Any) -> Any:
    """Return x as it is, by reshapes that XLA refuses for sizes of y that the padding does not allow."""
    g, sizes, same = operator.geometry, tf.convert_to_tensor(sizes), x
    for at, axis in enumerate(rule.x_layout.axes):
        if isinstance(axis, int):  # one at a time: sizes of two axes may have the right product
            s, e = g.stride[axis], g.extent[axis]
            more = s - 1 if rule.padding == "SAME" else sum(rule.crop[axis]) - e + s
            shape = tf.unstack(tf.shape(x))
            shape[at] = tf.maximum((sizes[axis] + more) // s, 0)  # -1 would mean any size
            same = tf.reshape(same, shape)
            same.set_shape(x.shape)
    return same


def _dynamic_crop(rule: OperatorRule, operator: Operator, x: Any, sizes: Any) -> list[tuple[Any, Any]]:
    """Return the crop as tensors, in a graph that raises for sizes that the padding does not allow."""
    g = operator.geometry
    crop = []
    for axis, (n, s, e) in enumerate(zip(spatial_sizes(x, rule.x_layout), g.stride, g.extent, strict=True)):
        size = tf.convert_to_tensor(sizes)[axis]
        rest = s * (n - 1) + e - size
        pair = None if rule.padding == "SAME" else rule.crop[axis]
        last = s * n if pair is None else s * n + e - 1 - sum(pair)
        least = f"{rule.padding} padding with stride {s} makes x of this size from an output of {s} sizes, not of"
        legal = tf.debugging.Assert((size > last - s) & (size <= last) & (size >= 1), [least, size])
        with tf.control_dependencies([] if legal is None else [legal]):
            lo = tf.maximum(rest, 0) // 2 if pair is None else tf.constant(pair[0])
        crop.append((lo, rest - lo))
    return crop


# -- the kernel ------------------------------------------------------------------------------------------------------


_KERNEL_TYPES = frozenset(TYPES)


def reason_against_kernel(x: Any, weight: Any) -> str:
    """Return the reason why T cannot run on tconv's kernel here; empty if it can."""
    if x.dtype not in _KERNEL_TYPES:
        return f"x is {x.dtype.name}; the kernel computes float32, float64, float16 and bfloat16"
    return registered() or reason_for_standard(x, weight)


def _run_kernel(
    rule: OperatorRule, operator: Operator, x: Any, weight: Any, bias: Any, sizes: Any, name: str | None
) -> Any:
    some, last = [] if bias is None else [bias], [] if sizes is None else [sizes]
    shape: list[int | None] = []
    if not tf.executing_eagerly():
        shape = static_shape(x.shape, weight.shape, operator)
        if sizes is not None:
            known: Any = tf.get_static_value(sizes, partial=True)
            named = dict(zip(range(len(rule.strides)), [None] * 9 if known is None else known, strict=False))
            shape = [named[axis] if isinstance(axis, int) else shape[at] for at, axis in enumerate(rule.y_layout.axes)]
    return run_operator(x, weight, some, last, rule.attributes, shape, name)


def _gradient(op: Any, dy: Any) -> list[Any]:
    """Return the derivatives with respect to the inputs of an operator, of a graph or recorded by a tape."""
    x, weight, *rest = op.inputs
    rule, dy = rule_of(op), tf.convert_to_tensor(dy)  # that of tf.gather is tf.IndexedSlices
    skipped = getattr(op, "skip_input_indices", None) or ()
    if rule.padding == "CROP":
        operator = plain_operator(rule, rule.weight_layout.kernel(tuple(weight.shape.as_list())))
        large = dy
    else:
        operator = _uncropped(rule, weight)
        pairs = _dynamic_crop(rule, operator, x, rest[-1])
        large = extend(dy, pairs, rule.y_layout)
    functions = _standard(operator, x.dtype)
    gradients = [
        None if 0 in skipped else functions.conv(large, weight),
        None if 1 in skipped else functions.weight_gradient(x, large),
    ]
    if op.get_attr("B"):
        gradients.append(None if 2 in skipped else bias_gradient(dy, rule.y_layout))
    return gradients + [None] * op.get_attr("S")


def rule_of(op: Any) -> OperatorRule:
    """Return the rule of an operator in a graph, or of one that a tape has recorded."""
    strides, dilations, crop = (tuple(op.get_attr(key)) for key in ("strides", "dilations", "crop"))
    padding, layouts = (tf.compat.as_str(op.get_attr(key)) for key in ("padding", "layouts"))
    return _cached_rule(strides, dilations, crop, op.get_attr("groups"), padding, layouts)


_cached_rule = lru_cache(maxsize=1024)(rule_of_attributes)


tf.RegisterGradient(OPERATOR)(_gradient)


# -- the three, closed under differentiation -------------------------------------------------------------------------


class Differentiable(NamedTuple):
    """T, C and W of an operator in TensorFlow's own operators, each with the others as its derivatives."""

    transposed: Callable[[Any, Any], Any]
    conv: Callable[[Any, Any], Any]
    weight_gradient: Callable[[Any, Any], Any]


@lru_cache(maxsize=1024)
def plain(operator: Operator) -> Differentiable:
    """Return T(x, w), C(y, w) and W(x, y) with the derivatives that TensorFlow finds in their standard operators."""
    g, data, layout, result = operator.geometry, operator.x_layout, operator.weight_layout, operator.y_layout

    def transposed(x: Any, weight: Any) -> Any:
        y = standard.conv_transpose(x, weight, g, data, layout, result)
        if not tf.executing_eagerly():
            y.set_shape(static_shape(x.shape, weight.shape, operator))
        return y

    return Differentiable(
        transposed,
        lambda y, weight: standard.conv(y, weight, g, result, layout, data),
        lambda x, y: standard.weight_gradient(x, y, g, data, result, layout),
    )


@lru_cache(maxsize=1024)
def differentiable(operator: Operator) -> Differentiable:
    """Return T(x, w), C(y, w) and W(x, y) of an operator. C needs a y without rows left over."""
    own = plain(operator)

    @_with_gradients
    def transposed(x: Any, weight: Any) -> Any:
        return own.transposed(x, weight), lambda dy: (conv(dy, weight), weight_gradient(x, dy))

    @_with_gradients
    def conv(y: Any, weight: Any) -> Any:
        x = None if reason_for_standard(y, weight) else nn_gradients.conv(operator, y, weight)
        x = own.conv(y, weight) if x is None else x
        return x, lambda dx: (apply_operator(operator, dx, weight), weight_gradient(dx, y))

    @_with_gradients
    def weight_gradient(x: Any, y: Any) -> Any:
        weight = None if reason_for_standard(x, y) else nn_gradients.weight_gradient(operator, x, y)
        weight = own.weight_gradient(x, y) if weight is None else weight
        return weight, lambda dw: (conv(y, dw), apply_operator(operator, x, dw))

    return Differentiable(transposed, conv, weight_gradient)


def _with_gradients(function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Return a function of two tensors that returns a result and its gradients as `tf.custom_gradient` does.

    In a graph the gradients refer to copies of the tensors (which cost nothing): those of an outer graph would be out
    of scope where TensorFlow differentiates a gradient.
    """
    own = tf.custom_gradient(lambda a, b: _in_like_graphs(function(a, b), a, b))

    def differentiated(a: Any, b: Any) -> Any:
        return own(a, b) if tf.executing_eagerly() else own(tf.identity(a), tf.identity(b))

    return differentiated


def _in_like_graphs(both: tuple[Any, Callable[[Any], Any]], a: Any, b: Any) -> tuple[Any, Callable[[Any], Any]]:
    """Return a result and its gradients, which are standard operators, too, if the present graph has no others.

    The graph of a gradient does not tell that it is compiled as its function is.
    """
    result, gradients = both
    if tf.executing_eagerly() or not reason_for_standard(a, b):
        return both

    def in_standard_operators(d: Any) -> Any:
        with standard_operators():
            return gradients(d)

    return result, in_standard_operators


def static_shape(x_shape: Any, weight_shape: Any, operator: Operator) -> list[int | None]:
    """Return the shape of y, None where it is not known."""
    g = operator.geometry
    named = dict(zip(operator.x_layout.axes, x_shape.as_list(), strict=True))
    per_weight = operator.weight_layout.sizes(tuple(weight_shape.as_list()))["O"]
    groups = 1 if operator.weight_layout.grouped == "O" else g.groups
    for axis, (s, e, (lo, hi)) in enumerate(zip(g.stride, g.extent, g.crop, strict=True)):
        n = named[axis]
        named[axis] = None if n is None else s * (n - 1) + e - lo - hi
    named["C"] = None if per_weight is None else per_weight * groups
    return [named.get(axis, 1) for axis in operator.y_layout.axes]
