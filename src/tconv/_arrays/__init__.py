"""Arrays of NumPy, PyTorch, TensorFlow and JAX: recognition, conversion to NumPy without a copy, and back.

Libraries are recognised through `sys.modules`: an array can only belong to one that the caller has imported. Nothing
here imports a framework, and no array is detached from a gradient silently. There is one file per library.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np

from tconv._arrays import jax_arrays, numpy_arrays, tensorflow_tensors, torch_tensors
from tconv._arrays.jax_arrays import has_wide_jax as has_wide_jax
from tconv._arrays.jax_arrays import refuse_narrow_jax as refuse_narrow_jax
from tconv._arrays.library import Array as Array
from tconv._arrays.library import bfloat16 as bfloat16
from tconv.errors import ArrayError

LIBRARIES = {
    "numpy": numpy_arrays.LIBRARY,
    "torch": torch_tensors.LIBRARY,
    "tensorflow": tensorflow_tensors.LIBRARY,
    "jax": jax_arrays.LIBRARY,
}
"""Libraries of arrays by name, in the order in which an array is looked for."""

_CASTABLE = {"f": "iuf", "V": "iuf", "c": "iufc"}  # kinds of numbers that each kind can represent; bfloat16 is V


def library_of(array: Any, name: str) -> str:
    """Return the name of the library that this array belongs to. Raises ArrayError for any other object."""
    for library, entry in LIBRARIES.items():
        if isinstance(array, entry.kinds()):
            return library
    raise ArrayError(
        f"{name} is a {type(array).__module__}.{type(array).__qualname__}; arrays of NumPy, PyTorch, TensorFlow and "
        f"JAX are taken. Write {_instead(array, name)}"
    )


def is_of(library: str, array: Any) -> bool:
    """Return True if an array belongs to this library."""
    return isinstance(array, LIBRARIES[library].kinds())


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
    if type(array).__name__ == "KerasTensor":
        return "a layer such as tconv.keras.Conv2DTranspose, or the call inside of a layer's call()"
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
    return any(isinstance(array, entry.kinds()) for entry in LIBRARIES.values())


def adapter_for(*given: Any) -> Callable[..., Any] | None:
    """Return the framework's function that runs a call on these arrays, if a gradient or tracer must follow it."""
    for entry in LIBRARIES.values():
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
    if isinstance(array, (list, tuple)) and not numpy_arrays.is_plain_list(array):
        raise ArrayError(
            f"{name} is a list that contains more than numbers; one array is needed. {_stacking(array, name)}"
        )
    try:
        taken = LIBRARIES[library].take(array, name)
    except ValueError as error:  # a ragged list
        raise ArrayError(f"{name} is a nested list of unequal rows ({error}). Use rows of equal length") from None
    return library, taken


def _stacking(arrays: Any, name: str) -> str:
    """Return the advice for a list of arrays: to stack those of one library and shape, else to choose."""
    shapes = {tuple(getattr(entry, "shape", ())) for entry in arrays}
    libraries = {key for entry in arrays for key, each in LIBRARIES.items() if isinstance(entry, each.kinds())}
    if len(shapes) == 1 and () not in shapes and len(libraries) == 1:
        return f"Write {LIBRARIES[libraries.pop()].module}.stack({name})"
    return "Use one of its entries, or an array of numbers"


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
    return LIBRARIES[first].adopt.format(name=name)


def give(array: Array, library: str) -> Any:
    """Return a NumPy result as an array of this library, without a copy if the library allows it."""
    return LIBRARIES[library].give(array)


def target(out: Any, name: str, library: str) -> Array | None:
    """Return a NumPy view of `out` for a result of this library; None if it is not a mutable array of the library."""
    view = LIBRARIES[library].target
    if view is None or library_of(out, name) != library or isinstance(out, (list, tuple)) or np.isscalar(out):
        return None
    return view(out, name)


def permuted(library: str, name: str, axes: tuple[int, ...]) -> str:
    """Return the expression that permutes the axes of an array of this library, for a message."""
    return LIBRARIES[library].permute.format(name=name, axes=axes)


def cast(library: str, name: str, dtype: str) -> str:
    """Return the expression that converts an array of this library to a dtype, for a message."""
    return LIBRARIES[library].cast.format(name=name, dtype=dtype)


def converted(library: str, name: str, dtype: str) -> str:
    """Return the expression that converts an array of this library, or a list, to a dtype of this name."""
    if library == "numpy":
        return f"np.asarray({name}, np.{dtype})"
    return cast(library, name, f"{LIBRARIES[library].module}.{dtype}")


def is_finite(array: Array) -> bool:
    """Return True if no element is inf or NaN."""
    return array.dtype.kind in "iu" or bool(np.isfinite(array).all())
