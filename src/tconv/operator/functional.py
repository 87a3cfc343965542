"""`conv_transpose` and `conv`: the public functions of arrays.

A call is looked up in the cache of calls, else read, and run by the chosen method.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from tconv import _arrays, kernels
from tconv._arrays import Array
from tconv._memory import empty, refuse_too_large
from tconv.dialects.framework_layers import call_of, refuse_activation
from tconv.errors import OutputError
from tconv.geometry import Geometry
from tconv.kernels import tap_products
from tconv.kernels.problem import is_plain
from tconv.operator import call_cache
from tconv.operator.call_reading import CanonicalCall, GivenCall, read_call
from tconv.operator.method_choice import choose_method


def conv_transpose(
    x: Any,
    weight: Any,
    bias: Any = None,
    *,
    dialect: str = "torch",
    geometry: Geometry | None = None,
    out: Any = None,
    method: str = "auto",
    **native: Any,
) -> Any:
    """Return the transposed convolution of x with weight.

    >>> import numpy as np, tconv
    >>> x = np.float32([[[[0, 1], [2, 3]]]])                        # [N, C_in, h, w]
    >>> tconv.conv_transpose(x, x, stride=2)[0, 0]                  # weight [C_in, C_out/groups, kh, kw]
    array([[0., 0., 0., 1.],
           [0., 0., 2., 3.],
           [0., 2., 0., 3.],
           [4., 6., 6., 9.]], dtype=float32)

    `dialect` names the framework whose layouts, argument names and meanings the call uses.

    - "torch": x [N, C_in, *spatial] or [C_in, *spatial], weight [C_in, C_out/groups, *kernel]; stride, padding,
      output_padding, groups, dilation; crop=((lo, hi), ...) instead of the paddings.
    - "tensorflow": x [N, *spatial, C_in], weight [*kernel, C_out, C_in]; output_shape, strides, padding, data_format,
      dilations.
    - "onnx": as "torch", with the attributes of the ConvTranspose node.

    `geometry` is a `Geometry` instead of all that, in PyTorch's layouts. Any number of spatial axes.

    `weight` may be a layer of PyTorch, Keras, Flax NNX, Equinox, Paddle, MLX or tinygrad, which has its own bias,
    dialect and arguments; its arrays are used as arrays of x's library.

    x, weight and bias [C_out] are arrays of one library (NumPy, PyTorch, TensorFlow, JAX) and one dtype: float16,
    bfloat16, float32, float64, complex64, complex128, or integers, of any mixture. 2-byte floats are summed in float32
    and rounded once; integers are summed and returned as int64. A bias may be a list of numbers. The result is a new
    array of that library, or `out`.

    Tensors that need gradients, tracers, symbolic tensors and those that a tape watches are computed by the operators
    of their framework's face, `tconv.torch`, `tconv.jax` or `tconv.tensorflow`, which its transforms follow. Such calls
    take no `out` and no `method`. All others run on the CPU at once: an array of JAX that jit closes over, too, whose
    result is a constant of the program.

    `method` is "auto", or one that `tconv.plan` names. Formula: `tconv.definition.scatter`.

    Raises ShapeError, DtypeError, GeometryError, ArgumentError, ArrayError, OutputError, TooLargeError, all of
    them TconvError.
    """
    key = call_cache.key(x, weight, bias, out, dialect, geometry, method, native)
    if key is not None:
        result = call_cache.run_cached(key, x, weight, bias, out)
        if result is not None:
            return result
    elif callable(weight):  # no array is; a layer of a framework
        weight, bias, dialect, native, layer = call_of(weight, bias, dialect, geometry, native, x=x)
        refuse_activation(layer, "conv_transpose has none", "tconv.prepare(weight)(x)")
    if key is None and (adapter := _arrays.adapter_for(x, weight, bias, out)) is not None:
        return adapter(GivenCall(x, weight, bias, dialect, geometry, native, out, str(method)))
    # the specialized call of the machine code checks that the weight is finite
    unchecked = key is not None and method == "auto"
    call = read_call(x, weight, bias, dialect, geometry, native, finite=True if unchecked else None)
    chosen = choose_method(call.problem, str(method))
    if unchecked and kernels.kernel(chosen).specialize is None:
        call = read_call(x, weight, bias, dialect, geometry, native)
        chosen = choose_method(call.problem, str(method))
    p = call.problem
    shape = (p.batch, p.out_channels, *p.output_shape)
    target = empty(call.result.native_shape(shape), p.result) if out is None else check_out(out, call)
    specialized = specialize(chosen, call, target)
    if specialized is not None:
        if not specialized(call.native_x, call.native_weight, call.bias, target):
            # the weight is not finite: another method, within the memory of the machine
            call = call._replace(problem=replace(call.problem, finite_weight=False))
            run(choose_method(call.problem, "auto"), call, target)
        elif key is not None:
            call_cache.add(key, specialized, target.shape, target.dtype)
    else:
        run(chosen, call, target)
    return out if out is not None else _arrays.give(target, call.library)


def run(method: str, call: CanonicalCall, target: Array) -> None:
    """Run a method: fill target, an array of the result's native shape."""
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):  # inf and NaN are values here
        kernel = kernels.kernel(method)
        kernel.run(call.problem, call.x, call.weight, call.bias, call.result.canonical(target))


def specialize(method: str, call: CanonicalCall, target: Array, **more: Any) -> call_cache.SpecializedRun | None:
    """Return a checked call as a function of native arrays of its shapes and strides; None if it has no such form."""
    kernel, out = kernels.kernel(method), call.result.canonical(target)
    arrays = (call.x, out, call.native_weight, call.bias)
    if kernel.specialize is None or not all(array is None or is_plain(array) for array in arrays):
        return None
    return kernel.specialize(call.problem, call.x.strides, out.strides, layout=call.weight_layout, **more)


def conv(x: Any, weight: Any, *, dialect: str = "torch", geometry: Geometry | None = None, **native: Any) -> Any:
    """Return the convolution of x whose transpose is `conv_transpose` with the same weight and arguments.

    >>> import numpy as np, tconv
    >>> tconv.conv(np.arange(9.).reshape(1, 1, 3, 3), np.float64([[[[1, 2], [3, 4]]]]))[0, 0]
    array([[27., 37.],
           [57., 67.]])

    x has the shape that `conv_transpose` returns, [N, C_out, *spatial] in the dialect's layout; the result is
    [N, C_in, *spatial] with n = (L + lo + hi - extent)//s + 1 per axis. Layouts, dtypes and errors are those of
    `conv_transpose`. There is no bias; that of a layer is left out. An output_shape, in the dialects that have one, is
    not needed: x has that shape.
    Weights are not conjugated.
    """
    weight, _, dialect, native, _ = call_of(weight, None, dialect, geometry, native, x=x)
    if (adapter := _arrays.adapter_for(x, weight)) is not None:
        return adapter(GivenCall(x, weight, None, dialect, geometry, native, adjoint=True))
    call = read_call(x, weight, None, dialect, geometry, native, adjoint=True)
    p = call.problem
    shape = (p.batch, p.in_channels, *p.input_shape)
    size = math.prod(shape) * p.result.itemsize
    refuse_too_large(
        call.x.nbytes + call.weight.nbytes + size + tap_products.conv_scratch_bytes(p, call.x.size), size, shape
    )
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        u = tap_products.conv(p.geometry, call.x, call.weight, p.accumulate).astype(p.result, copy=False)
    native_u = np.empty(call.result.native_shape(u.shape), u.dtype)
    if call.result.canonical(native_u).strides == u.strides:
        return _arrays.give(u.reshape(native_u.shape), call.library)
    call.result.canonical(native_u)[...] = u
    return _arrays.give(native_u, call.library)


def check_out(out: Any, call: CanonicalCall) -> Array:
    """Return `out` as a NumPy view for the result. Raises OutputError if it does not fit."""
    target = _arrays.target(out, "out", call.library)
    if target is None:
        raise OutputError(
            f"out is a {type(out).__module__}.{type(out).__qualname__}; a writable array of x's library "
            f"({call.library}) is needed. "
            "Write y = conv_transpose(...) without out="
        )
    p = call.problem
    needed = call.result.native_shape((p.batch, p.out_channels, *p.output_shape))
    if target.shape != needed or target.dtype.name != call.problem.result.name or not target.dtype.isnative:
        raise OutputError(
            f"out has shape {target.shape} and dtype {target.dtype}; {needed} and {call.problem.result} are needed. "
            f"Write out=np.empty({needed}, np.dtype({call.problem.result.name!r}))"
        )
    if not target.flags.writeable:
        raise OutputError("out is read-only; a writable array is needed. Write out=out.copy()")
    if _overlaps_itself(target):
        raise OutputError("several elements of out share the same memory; each needs its own. Write out=out.copy()")
    for name, array in (("x", call.x), ("weight", call.weight), ("bias", call.bias)):
        if array is not None and _shares(target, array):
            raise OutputError(
                f"out shares memory with {name}, which would be overwritten while it is read. "
                "Pass an out with memory of its own"
            )
    return target


def _shares(a: Array, b: Array) -> bool:
    """Return True if two arrays share an element, or if that is too hard to find out."""
    try:
        return np.shares_memory(a, b, max_work=10_000)  # type: ignore[arg-type]
    except np.exceptions.TooHardError:
        return True


def _overlaps_itself(array: Array) -> bool:
    """Return True if two elements may share memory: a stride is shorter than the span of the axes with shorter ones."""
    if array.size == 0:  # its strides have no meaning
        return False
    span = array.itemsize
    for stride, size in sorted(
        (abs(stride), size) for stride, size in zip(array.strides, array.shape, strict=True) if size > 1
    ):
        if stride < span:
            return True
        span = stride * (size - 1) + span
    return False


for _function in (conv_transpose, conv):
    # tf.function calls functions with this attribute unchanged: AutoGraph would rewrite them and hide their errors
    vars(_function)["autograph_info__"] = {}
