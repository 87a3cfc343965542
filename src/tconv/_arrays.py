"""Which library does an array come from, and its elements as NumPy without a copy.

Libraries are recognised through `sys.modules`: an array can only be theirs if the caller has imported them. Nothing
here imports a framework, and nothing is detached from a gradient silently.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np

from tconv.errors import ArrayError, DtypeError, OutputError

Array = np.ndarray[Any, Any]
"""A NumPy array of any shape and dtype: the one alias that every module of tconv imports."""

_HELD = {"f": "iuf", "V": "iuf", "c": "iufc"}  # kinds of numbers that floats can hold; NumPy knows bfloat16 as V


def _kinds(module: str, *names: str) -> tuple[type, ...]:
    """The named types of a module that the caller has imported; () otherwise, or while it is still being imported."""
    loaded = sys.modules.get(module)
    kinds = [getattr(loaded, name, None) for name in names]
    return tuple(kind for kind in kinds if isinstance(kind, type))


# -- NumPy -------------------------------------------------------------------------------------------------------


def _is_plain(entry: Any) -> bool:
    """Whether a list holds numbers and lists of numbers alone: arrays in it would lose their masks and gradients."""
    if isinstance(entry, (list, tuple)):
        return all(map(_is_plain, entry))
    return isinstance(entry, (int, float, complex, np.generic))


def _take_numpy(array: Any, name: str) -> Array:
    if isinstance(array, (list, tuple)) and not _is_plain(array):
        raise ArrayError(f"{name} is a list that holds more than numbers; one array is needed. Write np.stack({name})")
    if isinstance(array, np.ma.MaskedArray):
        raise ArrayError(f"{name} is a masked array, and a convolution has no rule for a mask. Write {name}.filled(0)")
    return np.asarray(array)  # also drops np.matrix and np.memmap subclasses, whose operators differ


# -- PyTorch -----------------------------------------------------------------------------------------------------


def _take_torch(tensor: Any, name: str) -> Array:
    torch = sys.modules["torch"]
    if tensor.requires_grad:
        if torch.is_grad_enabled():
            raise ArrayError(
                f"{name} is a torch tensor that requires gradients, which NumPy kernels would lose. Write "
                f"{name}.detach(), "
                "or torch.no_grad() around the call, or tconv.torch.conv_transpose to train"
            )
        tensor = tensor.detach()
    if _is_watched_by_torch(torch, tensor):
        raise ArrayError(
            f"{name} is being traced or differentiated forward, which NumPy kernels would lose. Write the call "
            "outside, "
            "or tconv.torch.conv_transpose inside"
        )
    if tensor.device.type == "meta":
        raise ArrayError(f"{name} is a meta tensor, which has no values. Write the call with tensors on the CPU")
    if tensor.device.type != "cpu":
        raise ArrayError(f"{name} is on {tensor.device}; this method runs on the CPU. Write {name}.cpu()")
    if tensor.is_quantized:
        raise ArrayError(f"{name} is a quantized tensor; plain numbers are needed. Write {name}.dequantize()")
    if tensor.layout is not torch.strided:
        raise ArrayError(f"{name} is a {tensor.layout} tensor; a dense one is needed. Write {name}.to_dense()")
    try:
        dense = tensor.resolve_conj().resolve_neg()
        if dense.dtype is torch.bfloat16:
            array: Array = dense.view(torch.int16).numpy().view(bfloat16(name))
        else:
            array = dense.numpy()
    except DtypeError:
        raise
    except (RuntimeError, TypeError) as error:  # fake and functorch tensors have no memory
        raise ArrayError(
            f"{name} is a {type(tensor).__name__} without memory of its own (traced, vmapped or of an unknown "
            f"dtype: {error}). "
            "Write the call outside the transform, with plain tensors"
        ) from None
    return array


def _is_watched_by_torch(torch: Any, tensor: Any) -> bool:
    """Whether a tracer, a dispatch mode or forward-mode differentiation would lose sight of the result."""
    forward = torch.autograd.forward_ad
    dual = forward._current_level >= 0 and forward.unpack_dual(tensor).tangent is not None
    mode = torch.utils._python_dispatch._get_current_dispatch_mode()
    return bool(dual or torch.jit.is_tracing() or mode is not None)


def _watched_torch(tensor: Any) -> bool:
    """Whether a gradient, a transform or a tracer has to see what becomes of a tensor."""
    torch = sys.modules["torch"]
    if tensor.requires_grad and torch.is_grad_enabled():
        return True
    return torch._C._functorch.maybe_current_level() is not None or _is_watched_by_torch(torch, tensor)


def _target_torch(tensor: Any, name: str) -> Array:
    if tensor.is_conj() or tensor.is_neg():
        raise OutputError(f"{name} is a conjugated or negated view, without memory of its own. Write {name}.clone()")
    array = _take_torch(tensor, name)
    # autograd learns of the write, so that a backward pass that saved the old values refuses instead of using the new
    sys.modules["torch"].autograd.graph.increment_version(tensor)
    return array


def _give_torch(array: Array) -> Any:
    torch = sys.modules["torch"]
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


# -- TensorFlow --------------------------------------------------------------------------------------------------


def _take_tensorflow(tensor: Any, name: str) -> Array:
    if hasattr(tensor, "read_value"):  # a Variable: what a tape watches is the tensor read from it
        tensor = tensor.value()
    if not hasattr(tensor, "numpy"):
        raise ArrayError(
            f"{name} is a symbolic TensorFlow tensor, which has no values yet. Write the call outside tf.function, "
            "or tf.numpy_function around it, or tf.nn.conv2d_transpose inside"
        )
    record = sys.modules.get("tensorflow.python.eager.record")
    forward = sys.modules.get("tensorflow.python.eager.forwardprop_util")
    watched = record is not None and record.should_record_backprop([tensor])
    if watched or (forward is not None and forward.pack_tangents([tensor]).tangents):
        raise ArrayError(
            f"{name} is watched by a tf.GradientTape or ForwardAccumulator, which would lose it here. Write "
            f"tf.stop_gradient({name}), "
            "or the call outside the tape, or tf.nn.conv2d_transpose to train"
        )
    return np.asarray(tensor.numpy())


def _give_tensorflow(array: Array) -> Any:
    return sys.modules["tensorflow"].convert_to_tensor(array)


# -- JAX ---------------------------------------------------------------------------------------------------------


def _take_jax(array: Any, name: str) -> Array:
    if isinstance(array, sys.modules["jax"].core.Tracer):
        raise ArrayError(
            f"{name} is a JAX tracer (inside jit, grad or vmap), which has no values. Write the call outside "
            "the transform, "
            "or jax.lax.conv_transpose inside"
        )
    return np.asarray(array)


def _give_jax(array: Array) -> Any:
    jax = sys.modules["jax"]
    if array.dtype.name in ("int64", "float64", "complex128") and not jax.config.jax_enable_x64:
        raise DtypeError(
            f"the result is {array.dtype}, which JAX cuts to half its width by default (integers are summed in int64). "
            'Write jax.config.update("jax_enable_x64", True) first, or np.asarray(...) around the arguments'
        )
    return jax.numpy.asarray(array)


class _Library(NamedTuple):
    kinds: Callable[[], tuple[type, ...]]
    take: Callable[[Any, str], Array]
    give: Callable[[Array], Any]
    target: Callable[[Any, str], Array] | None  # the view to write a result through; None where arrays cannot change
    cast: str  # how its users convert {name} to {dtype}
    adopt: str  # how they make an array of another library theirs
    permute: str  # how they order axes
    face: str | None = None  # "module:function" that runs calls whose arrays are watched
    watched: Callable[[Any], bool] = lambda array: False


_LIBRARIES = {
    "numpy": _Library(
        lambda: (np.ndarray, np.generic, list, tuple, int, float, complex),
        _take_numpy,
        lambda array: array,
        lambda array, name: np.asarray(array),
        "{name}.astype({dtype})",
        "numpy.asarray({name})",
        "np.transpose({name}, {axes})",
    ),
    "torch": _Library(
        lambda: _kinds("torch", "Tensor"),
        _take_torch,
        _give_torch,
        _target_torch,
        "{name}.to({dtype})",
        "torch.as_tensor({name})",
        "{name}.permute{axes}",
        "tconv.torch.dialect_calls:run",
        _watched_torch,
    ),
    "tensorflow": _Library(
        lambda: _kinds("tensorflow", "Tensor", "Variable"),
        _take_tensorflow,
        _give_tensorflow,
        None,
        "tf.cast({name}, {dtype})",
        "tf.convert_to_tensor({name})",
        "tf.transpose({name}, {axes})",
    ),
    "jax": _Library(
        lambda: _kinds("jax", "Array"),
        _take_jax,
        _give_jax,
        None,
        "{name}.astype({dtype})",
        "jnp.asarray({name})",
        "jnp.transpose({name}, {axes})",
    ),
}


def bfloat16(name: str) -> Any:
    """NumPy's bfloat16 dtype, which the package ml_dtypes provides."""
    try:
        import ml_dtypes
    except ImportError:
        raise DtypeError(
            f"{name} is bfloat16, which NumPy knows through ml_dtypes. Write: pip install ml_dtypes"
        ) from None
    return ml_dtypes.bfloat16


def library_of(array: Any, name: str) -> str:
    """The name of the library that this array belongs to, or an ArrayError."""
    for library, entry in _LIBRARIES.items():
        if isinstance(array, entry.kinds()):
            return library
    raise ArrayError(
        f"{name} is a {type(array).__module__}.{type(array).__qualname__}; arrays of NumPy, PyTorch, TensorFlow "
        "and JAX are taken. "
        f"Write numpy.asarray({name})"
    )


def face(*given: Any) -> Callable[..., Any] | None:
    """What runs a call on these arrays, if a gradient, a transform or a tracer has to see it; else None."""
    for entry in _LIBRARIES.values():
        if entry.face is None:
            continue
        kinds = entry.kinds()
        own = [array for array in given if isinstance(array, kinds)]
        if any(entry.watched(array) for array in own):
            module, _, function = entry.face.partition(":")
            run: Callable[..., Any] = getattr(import_module(module), function)
            return run
    return None


def take(array: Any, name: str) -> tuple[str, Array]:
    """The array's library, and its elements as a NumPy view."""
    library = library_of(array, name)
    try:
        taken = _LIBRARIES[library].take(array, name)
    except ValueError as error:  # a ragged list
        raise ArrayError(f"{name} is a nested list that makes no array ({error}). Write rows of equal length") from None
    return library, taken


def look(array: Any, name: str) -> tuple[str, Array]:
    """As `take`, for a report that nothing is computed from: a torch tensor that requires gradients is only read."""
    detached = library_of(array, name) == "torch" and array.requires_grad
    return take(array.detach() if detached else array, name)


def take_all(*, bias: Any = None, **arrays: Any) -> tuple[str, list[Any]]:
    """All arrays of one call, bias last; they must come from one library. A bias of None stays None.

    A bias written as a list of numbers takes the dtype of a first array of floats.
    """
    given = arrays if bias is None else {**arrays, "bias": bias}
    taken = {name: take(array, name) for name, array in given.items()}
    if isinstance(bias, (list, tuple)):
        (owner, leader), (_, numbers) = next(iter(taken.values())), taken["bias"]
        if owner == "numpy" and numbers.dtype.kind in _HELD.get(leader.dtype.kind, ""):
            taken["bias"] = owner, numbers.astype(leader.dtype)
    libraries = {library for library, _ in taken.values()}
    if len(libraries) > 1:
        said = ", ".join(f"{name} from {library}" for name, (library, _) in taken.items())
        first = next(library for library, _ in taken.values())
        write = ", ".join(
            _LIBRARIES[first].adopt.format(name=name) for name, (library, _) in taken.items() if library != first
        )
        raise ArrayError(f"the call mixes libraries: {said}; one is needed. Write {write}")
    return libraries.pop(), [*(array for _, array in taken.values()), *([None] if bias is None else [])]


def give(array: Array, library: str) -> Any:
    """A NumPy result as an array of this library, without a copy where the library allows it."""
    return _LIBRARIES[library].give(array)


def target(out: Any, name: str, library: str) -> Array | None:
    """A view to write a result of this library through, or None where it is no array that can be written."""
    view = _LIBRARIES[library].target
    if view is None or library_of(out, name) != library or isinstance(out, (list, tuple)) or np.isscalar(out):
        return None
    return view(out, name)


def permuted(library: str, name: str, axes: tuple[int, ...]) -> str:
    """The expression that orders the axes of an array of this library, for a message."""
    return _LIBRARIES[library].permute.format(name=name, axes=axes)


def cast(library: str, name: str, dtype: str) -> str:
    """The expression that converts an array of this library, for a message."""
    return _LIBRARIES[library].cast.format(name=name, dtype=dtype)


def is_finite(array: Array) -> bool:
    """Whether no element is inf or NaN."""
    return array.dtype.kind in "iu" or bool(np.isfinite(array).all())
