"""`tconv.conv_transpose` and `tconv.conv` on TensorFlow's symbolic and watched tensors, and on variables under a tape.

The arguments of any dialect are translated, and the call runs on the operators of `tconv.tensorflow.operator`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from tconv._arguments import entries_of, shown
from tconv.dialects import dialect
from tconv.errors import ArrayError, DtypeError, ShapeError
from tconv.operator.call_reading import GivenCall
from tconv.operator.traced_call import Face, TracedCall, describe_arrays, read_traced_call
from tconv.tensorflow import operator
from tconv.tensorflow.functional import conv_transpose


def run(given: GivenCall) -> tf.Tensor:
    """Run a call of any dialect on TensorFlow's operators, after the checks of `tconv.conv_transpose`."""
    x, weight, bias = (tf.convert_to_tensor(each) if isinstance(each, tf.Variable) else each for each in given[:3])
    native = given.native
    if "output_shape" in native:
        entries = _entries(native["output_shape"])
        if given.dialect == "tensorflow" and given.geometry is None and not given.adjoint and _is_open(x, entries):
            describe_arrays(_FACE, given._replace(x=x, weight=weight, bias=bias))
            dialect(given.dialect).check_names(native)
            return conv_transpose(x, weight, bias=bias, **{"strides": 1, **native})
        x, native = _with_known_batch(x, native, entries)
    call = read_traced_call(_FACE, given._replace(x=x, weight=weight, bias=bias, native=native))
    if call.is_integer:
        raise DtypeError(
            f"x is {x.dtype.name}, and TensorFlow's operators convolve no integers inside tf.function. Write "
            "tf.cast(x, tf.float64) and tf.cast(weight, tf.float64), which are exact up to 2**53, or the call outside"
        )
    if call.geometry.ndim > 3:
        raise ArrayError(
            f"the call has {call.geometry.ndim} spatial axes, and TensorFlow's operators take 1 to 3. Write "
            f"{_FACE.instead}"
        )
    if x.dtype.is_complex:
        y = _of_real_parts(x, weight, call, given.adjoint)
        return y if bias is None else operator.add_bias(y, bias, call.result)
    return _real(x, weight, bias, call, given.adjoint)


def _real(x: Any, weight: Any, bias: Any, call: TracedCall, adjoint: bool) -> Any:
    if adjoint:
        return operator.adjoint(x, weight, call.geometry, call.data, call.weight, call.result)
    return operator.apply(x, weight, bias, call.geometry, call.data, call.weight, call.result)


def _of_real_parts(x: Any, weight: Any, call: TracedCall, adjoint: bool) -> Any:
    """Return the call of complex tensors: TensorFlow's convolutions are of real ones, and the operator is bilinear."""
    (a, b), (c, d) = ((tf.math.real(each), tf.math.imag(each)) for each in (x, weight))
    ac, bd, ad, bc = (_real(one, other, None, call, adjoint) for one, other in ((a, c), (b, d), (a, d), (b, c)))
    return tf.complex(ac - bd, ad + bc)


def _entries(output_shape: Any) -> list[Any] | None:
    """Return the entries of an output_shape, with None for those that only a running function knows; None without."""
    if isinstance(output_shape, tf.Tensor) and not hasattr(output_shape, "numpy"):
        known = tf.get_static_value(output_shape, partial=True)
        rank = output_shape.shape[0] if output_shape.shape.rank == 1 else None
        return ([None] * rank if rank else None) if known is None else np.asarray(known).tolist()
    found = entries_of(output_shape)
    if found is None:
        return None
    entries = [tf.get_static_value(entry) if isinstance(entry, tf.Tensor) else entry for entry in found]
    return [entry.item() if isinstance(entry, np.generic) else entry for entry in entries]


def _is_open(x: Any, entries: list[Any] | None) -> bool:
    """Return True if sizes beside the batch are open, on which a crop depends that `conv_transpose` computes then."""
    if entries is None or not isinstance(x, tf.Tensor) or x.shape.rank is None:
        return False
    return None in x.shape.as_list()[1:] or None in (entries[1:] if len(entries) == x.shape.rank else entries)


def _with_known_batch(x: Any, native: dict[str, Any], entries: list[Any] | None) -> tuple[Any, dict[str, Any]]:
    """Return x and the arguments with an output_shape of numbers, as far as they are known.

    The batch may be a tensor, as in [tf.shape(x)[0], 8, 8, 3]: it becomes -1, which is x's own. A number that is
    given for an unknown batch is checked when the function runs. Raises ShapeError for other sizes that are not known.
    """
    rank = x.shape.rank if isinstance(x, tf.Tensor) else None
    whole = entries is not None and len(entries) == rank
    if entries is None or None in (entries[1:] if whole else entries):
        if entries is None and not isinstance(native["output_shape"], tf.Tensor):
            return x, native  # reading it raises the error
        raise ShapeError(
            f"output_shape is {shown(native['output_shape'])}, whose sizes are not known while the function is traced; "
            'only the batch may be. Write numbers, or tconv.conv_transpose(..., dialect="tensorflow"), where they may'
        )
    if whole and entries[0] is None:
        entries = [-1, *entries[1:]]
    elif whole and x.shape[0] is None and isinstance(entries[0], int) and entries[0] > 0:
        x = tf.ensure_shape(x, [entries[0], *x.shape[1:]])
    return x, {**native, "output_shape": entries}


def _described(tensor: tf.Tensor, name: str) -> tuple[tuple[Any, ...], np.dtype[Any]]:
    """Return a tensor's shape, with None for unknown sizes, and dtype. Raises ShapeError for an unknown rank."""
    if tensor.shape.rank is None:
        raise ShapeError(
            f"{name} has an unknown number of axes. Write tf.ensure_shape({name}, [None, 8, 8, 3]), for example"
        )
    try:
        return tuple(tensor.shape.as_list()), np.dtype(tensor.dtype.as_numpy_dtype)
    except TypeError:
        raise DtypeError(f"{name} has dtype {tensor.dtype.name}; numbers are needed. Write tf.cast(...)") from None


_FACE = Face(
    "tensorflow",
    "TensorFlow's operators",
    (tf.Tensor,),
    _described,
    "tf.stop_gradient(x), outside of tf.function",
    "tf.ensure_shape({name}, [...]) with its sizes",
)
