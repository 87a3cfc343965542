"""`tconv.tensorflow.conv_transpose`, with the signature of `tf.nn.conv_transpose`."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tconv._arguments import shown
from tconv.errors import ArgumentError, ShapeError, TconvError
from tconv.tensorflow.call_reading import Arguments, Call, Described, read
from tconv.tensorflow.errors import as_tensorflow_error
from tconv.tensorflow.operator import apply_operator, apply_rule
from tconv.tensorflow.tracing_context import without_autograph


def conv_transpose(
    input: Any,
    filters: Any,
    output_shape: Any,
    strides: Any,
    padding: Any = "SAME",
    data_format: str | None = None,
    dilations: Any = None,
    name: str | None = None,
    *,
    groups: int = 1,
    crop: Any = None,
    bias: Any = None,
) -> Any:
    """`tf.nn.conv_transpose` in 1-D, 2-D or 3-D, by the filters' axes, on tconv's kernel where that pays.

    >>> import tensorflow as tf, tconv.tensorflow
    >>> x, filters = tf.ones((1, 8, 8, 64)), tf.ones((4, 4, 32, 64))
    >>> y = tconv.tensorflow.conv_transpose(x, filters, output_shape=[1, 16, 16, 32], strides=2)
    >>> y.shape
    TensorShape([1, 16, 16, 32])

    input [N, *spatial, C_in] (or [N, C_in, *spatial] with data_format="NCHW"), filters [*kernel, C_out/groups, C_in],
    bias [C_out]. `output_shape` is the whole shape, or the spatial sizes alone; it may be a tensor, or have tensors as
    entries, as tf.shape(x)[0]. `strides`, `padding` ("SAME", "VALID" or pairs) and `dilations` mean what they mean in
    tf.nn, in any number of dimensions, in both data formats, with any dilation and any number of groups. `groups`
    may be left out where output_shape has C_out. `crop` has one (lo, hi) pair per spatial axis, what is cut off the
    full result (negative extends it), instead of padding and output_shape=None.

    float32, float64, float16 and bfloat16 run on the CPU; `tconv.tensorflow.plan` says on what, and why. Eager, in
    `tf.function`, with gradients of any order, in `tf.vectorized_map`. Where a graph is compiled (jit_compile=True),
    saved, or may run on a GPU, it has TensorFlow's own operators only.

    Raises ShapeError, GeometryError, ArgumentError and DtypeError while tracing; all of them are
    tf.errors.InvalidArgumentError, too, and the first two ValueError. Sizes that are known when the graph runs only
    raise tf.errors.InvalidArgumentError then.
    """
    x = input if isinstance(input, tf.Tensor) else tf.convert_to_tensor(input)
    weight = filters if isinstance(filters, tf.Tensor) else tf.convert_to_tensor(filters, dtype_hint=x.dtype)
    if bias is not None and not isinstance(bias, tf.Tensor):
        bias = tf.convert_to_tensor(bias, dtype_hint=x.dtype)
    try:
        sizes, call = read_call(x, weight, bias, output_shape, strides, padding, data_format, dilations, groups, crop)
    except TconvError as error:
        raise as_tensorflow_error(error) from None
    if not tf.executing_eagerly():
        x = _with_known_sizes(x, weight, output_shape, call)
    if call.operator is not None:
        return apply_operator(call.operator, x, weight, bias, name)
    return apply_rule(call.rule, x, weight, bias, sizes, name)


def _with_known_sizes(x: Any, weight: Any, output_shape: Any, call: Call) -> Any:
    """Return x with the batch and the channels that follow from other tensors, checked when the graph runs.

    Batch and channels of an output_shape that are not known while tracing are checked then, too: no output would have
    them, or they would mean groups.
    """
    axes, entries = call.rule.x_layout.axes, _entries(output_shape, weight)
    batch, channels = axes.index("N"), axes.index("C")
    sizes = x.shape.as_list()
    whole = entries is not None and len(entries) == len(sizes)
    known = [*sizes]
    if known[channels] is None:
        known[channels] = weight.shape[-1]
    if known[batch] is None and whole and (given := _static(entries[batch])) is not None and given >= 0:
        known[batch] = given
    if whole and _static(entries[batch]) is None and not _is_batch_of(entries[batch], x):
        first = tf.cast(entries[batch], tf.int32)
        words = "output_shape has another batch than x. Write tf.shape(x)[0] there"
        tf.debugging.Assert((first == tf.shape(x)[batch]) | (first == -1), [words, first])
    if known != sizes:
        x = tf.ensure_shape(x, known)
    if whole and _static(entries[channels]) is None:
        returned = tf.shape(weight)[-2] * call.rule.groups
        words = "output_shape has other channels than the filters return, which means groups. Write groups="
        tf.debugging.assert_equal(tf.cast(entries[channels], tf.int32), returned, words)
    return x


def _is_batch_of(entry: Any, x: Any) -> bool:
    """Return True for tf.shape(x)[0] of the same graph, as nearly all calls have it: it needs no check."""
    sliced = getattr(entry, "op", None)
    if sliced is None or sliced.type != "StridedSlice":
        return False
    shape, begin = sliced.inputs[0].op, tf.get_static_value(sliced.inputs[1])
    return shape.type == "Shape" and shape.inputs[0] is x and begin is not None and list(begin) == [0]


def read_call(x: Any, weight: Any, bias: Any, output_shape: Any, *arguments: Any) -> Any:
    """Return the spatial sizes of y as they were given, and the meaning of the call."""
    entries = _entries(output_shape, weight)
    static = None if entries is None else tuple(map(_static, entries))
    call = read(
        _described(x, "input"),
        _described(weight, "filters"),
        None if bias is None else _described(bias, "bias"),
        Arguments(static, *map(_hashable, arguments)),
    )
    if call.operator is not None:
        return None, call
    layout = call.rule.y_layout
    whole = len(entries) == len(layout.axes)
    spatial = [entries[at if whole else axis] for at, axis in enumerate(layout.axes) if isinstance(axis, int)]
    return tf.stack([tf.cast(size, tf.int32) for size in spatial]), call


def _described(tensor: Any, name: str) -> Described:
    shape = tensor.shape
    if shape.rank is None:
        raise ShapeError(
            f"{name} has an unknown rank; it is needed while the function is traced. Write tf.ensure_shape({name}, "
            "[None, None, None, 3]), for example"
        )
    return Described(tuple(shape.as_list()), tensor.dtype.name)


def _entries(output_shape: Any, weight: Any) -> Any:
    """Return the entries of an output_shape, integers or scalar tensors; None if there is none."""
    if output_shape is None or type(output_shape) in (list, tuple):
        return output_shape
    if isinstance(output_shape, tf.TensorShape):
        return tuple(output_shape.as_list())
    if isinstance(output_shape, int):
        return (output_shape,)
    tensor = tf.convert_to_tensor(output_shape)
    if not tensor.dtype.is_integer or tensor.shape.rank not in (None, 1):
        raise ArgumentError(
            f"output_shape is {shown(output_shape)}; a sequence of integers, or an integer tensor with one axis, is "
            "needed. Write output_shape=[N, height, width, C_out]"
        )
    if tf.executing_eagerly():
        return tuple(tensor.numpy().tolist())
    count = tensor.shape[0] if tensor.shape.rank else None
    count = weight.shape.rank if count is None else count
    known = tf.get_static_value(tensor, partial=True)
    return [tensor[at] if known is None or known[at] is None else int(known[at]) for at in range(count)]


def _static(entry: Any) -> Any:
    """Return an entry of an output_shape as an int; None if it is a tensor without a known value."""
    if type(entry) is int or not isinstance(entry, (tf.Tensor, tf.Variable)):
        return entry
    value = tf.get_static_value(entry)
    return None if value is None else int(value)


def _hashable(value: Any) -> Any:
    """Return an argument with tuples for its lists."""
    return tuple(map(_hashable, value)) if type(value) in (list, tuple) else value


without_autograph(conv_transpose)
