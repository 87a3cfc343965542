"""Arrays of NumPy, PyTorch, TensorFlow and JAX: recognition, conversion to NumPy without a copy, and back.

Libraries are recognised through `sys.modules`: an array can only belong to one that the caller has imported. Nothing
here imports a framework, and no array is detached from a gradient silently.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np

from tconv.errors import ArrayError, DtypeError, OutputError

Array = np.ndarray[Any, Any]
"""A NumPy array of any shape and dtype: the one alias that every module of tconv imports."""

_CASTABLE = {"f": "iuf", "V": "iuf", "c": "iufc"}  # kinds of numbers that each kind can represent; bfloat16 is V


def _kinds(module: str, *names: str) -> tuple[type, ...]:
    """Return the named types of a module that the caller has imported; () if it is not (yet) imported."""
    loaded = sys.modules.get(module)
    kinds = [getattr(loaded, name, None) for name in names]
    return tuple(kind for kind in kinds if isinstance(kind, type))


# -- NumPy -------------------------------------------------------------------------------------------------------


def _is_plain(entry: Any) -> bool:
    """Return True for a list of numbers and lists of numbers only: arrays in it would lose masks and gradients."""
    if isinstance(entry, (list, tuple)):
        return all(map(_is_plain, entry))
    return isinstance(entry, (int, float, complex, np.generic))


def _stacking(arrays: Any, name: str) -> str:
    """Return the advice for a list of arrays: to stack those of one library and shape, else to choose."""
    shapes = {tuple(getattr(entry, "shape", ())) for entry in arrays}
    libraries = {key for entry in arrays for key, each in _LIBRARIES.items() if isinstance(entry, each.kinds())}
    if len(shapes) == 1 and () not in shapes and len(libraries) == 1:
        return f"Write {_LIBRARIES[libraries.pop()].module}.stack({name})"
    return "Use one of its entries, or an array of numbers"


def _take_numpy(array: Any, name: str) -> Array:
    if isinstance(array, (list, tuple)) and not _is_plain(array):
        raise ArrayError(
            f"{name} is a list that contains more than numbers; one array is needed. {_stacking(array, name)}"
        )
    if isinstance(array, _kinds("numpy.ma", "MaskedArray")):
        raise ArrayError(f"{name} is a masked array, and a convolution has no rule for masks. Write {name}.filled(0)")
    return np.asarray(array)  # also drops np.matrix and np.memmap subclasses, whose operators differ


# -- PyTorch -----------------------------------------------------------------------------------------------------


def _take_torch(tensor: Any, name: str) -> Array:
    torch = sys.modules["torch"]
    if tensor.requires_grad:
        if torch.is_grad_enabled():
            raise ArrayError(
                f"{name} is a torch tensor that requires gradients, which NumPy kernels would lose. Write "
                f"{name}.detach(), or torch.no_grad() around the call, or tconv.torch.conv_transpose to train"
            )
        tensor = tensor.detach()
    if _is_traced_by_torch(tensor):
        raise ArrayError(
            f"{name} is being traced or differentiated in forward mode, which NumPy kernels would lose. Write the call "
            "outside, or tconv.torch.conv_transpose inside"
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
        if "ScalarType" in str(error):
            kind = str(tensor.dtype).removeprefix("torch.")
            supported = "complex64" if kind.startswith("complex") else "float32"
            raise DtypeError(
                f"{name} is {kind}, which NumPy does not have. Write {cast('torch', name, f'torch.{supported}')}"
            ) from None
        raise ArrayError(
            f"{name} is a {type(tensor).__name__} without memory of its own (traced, vmapped or of an unknown dtype: "
            f"{error}). Write the call outside the transform, with plain tensors"
        ) from None
    return array


@cache
def _torch_names() -> Any:
    """Return the module of PyTorch's undocumented names, which imports PyTorch."""
    return import_module("tconv._arrays.torch_names")


def _is_traced_by_torch(tensor: Any) -> bool:
    """Return True if a tracer, a dispatch mode or forward-mode differentiation would lose track of the result."""
    names = _torch_names()
    return bool(names.is_dual(tensor) or names.is_tracing() or names.inside_dispatch_mode())


def _needs_torch_adapter(tensor: Any) -> bool:
    """Return True if a gradient, a transform or a tracer must follow the operations on a tensor."""
    torch = sys.modules["torch"]
    if tensor.requires_grad and torch.is_grad_enabled():
        return True
    return bool(_torch_names().inside_transform()) or _is_traced_by_torch(tensor)


def _target_torch(tensor: Any, name: str) -> Array:
    if tensor.is_conj() or tensor.is_neg():
        raise OutputError(f"{name} is a conjugated or negated view, without memory of its own. Write {name}.clone()")
    array = _take_torch(tensor, name)
    # autograd is told of the write, so that a backward pass that needs the old values raises instead of using the new
    sys.modules["torch"].autograd.graph.increment_version(tensor)
    return array


def _give_torch(array: Array) -> Any:
    torch = sys.modules["torch"]
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


# -- TensorFlow --------------------------------------------------------------------------------------------------


def _take_tensorflow(tensor: Any, name: str) -> Array:
    if hasattr(tensor, "read_value"):  # a Variable: a tape watches the tensor that is read from it
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
            f"tf.stop_gradient({name}), or the call outside the tape, or tf.nn.conv2d_transpose to train"
        )
    return np.asarray(tensor.numpy())


def _give_tensorflow(array: Array) -> Any:
    return sys.modules["tensorflow"].convert_to_tensor(array)


# -- JAX ---------------------------------------------------------------------------------------------------------


def _take_jax(array: Any, name: str) -> Array:
    if isinstance(array, sys.modules["jax"].core.Tracer):
        raise ArrayError(
            f"{name} is a JAX tracer (inside jit, grad or vmap), which has no values. Write the call outside the "
            "transform, or jax.lax.conv_transpose inside"
        )
    return np.asarray(array)


def _give_jax(array: Array) -> Any:
    jax = sys.modules["jax"]
    if array.dtype.name in ("int64", "float64", "complex128") and not has_wide_jax():
        raise DtypeError(
            f"the result is {array.dtype}, which JAX reduces to half its width by default (integers are summed in "
            'int64). Write jax.config.update("jax_enable_x64", True) first, or np.asarray(...) around the arguments'
        )
    return jax.numpy.asarray(array)


class _Library(NamedTuple):
    """One library of arrays: its types, conversions from and to NumPy, and expressions for messages."""

    kinds: Callable[[], tuple[type, ...]]
    take: Callable[[Any, str], Array]
    give: Callable[[Array], Any]
    target: Callable[[Any, str], Array] | None  # the view for `out=`; None where arrays are immutable
    module: str  # its name in messages
    cast: str  # expression that converts {name} to {dtype}
    adopt: str  # expression that converts an array of another library
    permute: str  # expression that permutes axes
    adapter: str | None = None  # "module:function" that runs calls which gradients or tracers must follow
    needs_adapter: Callable[[Any], bool] = lambda array: False


_LIBRARIES = {
    "numpy": _Library(
        lambda: (np.ndarray, np.generic, list, tuple, int, float, complex),
        _take_numpy,
        lambda array: array,
        lambda array, name: np.asarray(array),
        "np",
        "{name}.astype({dtype})",
        "numpy.asarray({name})",
        "np.transpose({name}, {axes})",
    ),
    "torch": _Library(
        lambda: _kinds("torch", "Tensor"),
        _take_torch,
        _give_torch,
        _target_torch,
        "torch",
        "{name}.to({dtype})",
        "torch.as_tensor({name})",
        "{name}.permute{axes}",
        "tconv.torch.dialect_calls:run",
        _needs_torch_adapter,
    ),
    "tensorflow": _Library(
        lambda: _kinds("tensorflow", "Tensor", "Variable"),
        _take_tensorflow,
        _give_tensorflow,
        None,
        "tf",
        "tf.cast({name}, {dtype})",
        "tf.convert_to_tensor({name})",
        "tf.transpose({name}, {axes})",
    ),
    "jax": _Library(
        lambda: _kinds("jax", "Array"),
        _take_jax,
        _give_jax,
        None,
        "jnp",
        "{name}.astype({dtype})",
        "jnp.asarray({name})",
        "jnp.transpose({name}, {axes})",
    ),
}


def bfloat16(name: str) -> Any:
    """Return NumPy's bfloat16 dtype, which the package ml_dtypes provides. Raises DtypeError without it."""
    try:
        import ml_dtypes
    except ImportError:
        raise DtypeError(
            f"{name} is bfloat16, a dtype that NumPy has only with ml_dtypes. Write: pip install ml_dtypes"
        ) from None
    return ml_dtypes.bfloat16


def library_of(array: Any, name: str) -> str:
    """Return the name of the library that this array belongs to. Raises ArrayError for any other object."""
    for library, entry in _LIBRARIES.items():
        if isinstance(array, entry.kinds()):
            return library
    raise ArrayError(
        f"{name} is a {type(array).__module__}.{type(array).__qualname__}; arrays of NumPy, PyTorch, TensorFlow and "
        f"JAX are taken. Write {_instead(array, name)}"
    )


_CONVERSIONS: tuple[tuple[str, Callable[[Any], Any]], ...] = (
    ("numpy.asarray({name})", np.asarray),
    ("{name}.numpy()", lambda array: array.numpy()),
    ("{name}.detach().numpy()", lambda array: array.detach().numpy()),
    ("{name}.get()", lambda array: array.get()),
    ("{name}[...]", lambda array: array[...]),
)
"""Expressions that make an array of other objects, such as arrays of further libraries; tried in this order.

None takes the weight out of a layer: without its stride and padding it gives other numbers.
"""


def _instead(array: Any, name: str) -> str:
    """Return the first expression that gives an array of numbers, which is tried before it is proposed."""
    for code, convert in _CONVERSIONS:
        try:
            made = convert(array)
            numbers = take(made, name)[1] if _is_known(made) else None
        except Exception:  # whatever an unknown object raises
            continue
        if numbers is not None and (numbers.dtype.kind in "biufc" or numbers.dtype.name == "bfloat16"):
            if numbers.ndim == 1 and numbers.dtype.kind in "iu" and "Shape" in type(array).__name__:
                return f"numpy.zeros(tuple({name}), numpy.float32) for an array of these sizes"
            return code.format(name=name)
    if callable(array):  # a module or a function
        return "the array that is meant in its place, and for that of a layer the layer's arguments"
    return "an array of numbers, such as numpy.ones((2, 3, 4, 4), numpy.float32)"


def _is_known(array: Any) -> bool:
    return any(isinstance(array, entry.kinds()) for entry in _LIBRARIES.values())


def adapter_for(*given: Any) -> Callable[..., Any] | None:
    """Return the framework's function that runs a call on these arrays, if a gradient or tracer must follow it."""
    for entry in _LIBRARIES.values():
        if entry.adapter is None:
            continue
        kinds = entry.kinds()
        own = [array for array in given if isinstance(array, kinds)]
        if any(entry.needs_adapter(array) for array in own):
            module, _, function = entry.adapter.partition(":")
            run: Callable[..., Any] = getattr(import_module(module), function)
            return run
    return None


def take(array: Any, name: str) -> tuple[str, Array]:
    """Return the array's library, and its elements as a NumPy view. Raises ArrayError or DtypeError."""
    library = library_of(array, name)
    try:
        taken = _LIBRARIES[library].take(array, name)
    except ValueError as error:  # a ragged list
        raise ArrayError(f"{name} is a nested list of unequal rows ({error}). Use rows of equal length") from None
    return library, taken


def look(array: Any, name: str) -> tuple[str, Array]:
    """Return what `take` returns, for a report: a torch tensor that requires gradients is taken without them."""
    detached = library_of(array, name) == "torch" and array.requires_grad
    return take(array.detach() if detached else array, name)


def take_all(*, bias: Any = None, **arrays: Any) -> tuple[str, list[Any]]:
    """Return the library of all arrays of one call, and the arrays as NumPy, bias last. A bias of None remains None.

    A bias given as a list of numbers gets the dtype of the first array, if that is a float dtype. Raises ArrayError if
    the arrays belong to several libraries.
    """
    given = arrays if bias is None else {**arrays, "bias": bias}
    taken = {name: take(array, name) for name, array in given.items()}
    if isinstance(bias, (list, tuple)):
        (library, first_array), (_, numbers) = next(iter(taken.values())), taken["bias"]
        if library == "numpy" and numbers.dtype.kind in _CASTABLE.get(first_array.dtype.kind, ""):
            taken["bias"] = library, numbers.astype(first_array.dtype)
    libraries = {library for library, _ in taken.values()}
    if len(libraries) > 1:
        sources = ", ".join(f"{name} from {library}" for name, (library, _) in taken.items())
        first = next(library for library, _ in taken.values())
        conversions = ", ".join(
            adopted(first, library, name, array.dtype.name)
            for name, (library, array) in taken.items()
            if library != first
        )
        raise ArrayError(f"the call mixes libraries: {sources}; one is needed. Write {conversions}")
    return libraries.pop(), [*(array for _, array in taken.values()), *([None] if bias is None else [])]


def adopted(first: str, library: str, name: str, dtype: str) -> str:
    """Return the expression that converts an array of a library to one of the first array's."""
    if dtype == "bfloat16" and first == "torch":  # PyTorch and NumPy do not read each other's
        array = name if library == "numpy" else f"np.asarray({name})"
        return f"torch.as_tensor({array}.view(np.int16)).view(torch.bfloat16)"
    if dtype == "bfloat16" and library == "torch":
        name = f"{name}.view(torch.int16).numpy().view(ml_dtypes.bfloat16)"
        if first == "numpy":
            return name
    return _LIBRARIES[first].adopt.format(name=name)


def give(array: Array, library: str) -> Any:
    """Return a NumPy result as an array of this library, without a copy if the library allows it."""
    return _LIBRARIES[library].give(array)


def target(out: Any, name: str, library: str) -> Array | None:
    """Return a NumPy view of `out` for a result of this library; None if it is not a mutable array of the library."""
    view = _LIBRARIES[library].target
    if view is None or library_of(out, name) != library or isinstance(out, (list, tuple)) or np.isscalar(out):
        return None
    return view(out, name)


def permuted(library: str, name: str, axes: tuple[int, ...]) -> str:
    """Return the expression that permutes the axes of an array of this library, for a message."""
    return _LIBRARIES[library].permute.format(name=name, axes=axes)


def cast(library: str, name: str, dtype: str) -> str:
    """Return the expression that converts an array of this library to a dtype, for a message."""
    return _LIBRARIES[library].cast.format(name=name, dtype=dtype)


def converted(library: str, name: str, dtype: str) -> str:
    """Return the expression that converts an array of this library, or a list, to a dtype of this name."""
    if library == "numpy":
        return f"np.asarray({name}, np.{dtype})"
    return cast(library, name, f"{_LIBRARIES[library].module}.{dtype}")


def has_wide_jax() -> bool:
    """Return True if JAX has dtypes of 64 bits, which it has not by default."""
    return bool(sys.modules["jax"].config.jax_enable_x64)


def is_finite(array: Array) -> bool:
    """Return True if no element is inf or NaN."""
    return array.dtype.kind in "iu" or bool(np.isfinite(array).all())
