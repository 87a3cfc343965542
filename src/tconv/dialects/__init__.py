"""One file per framework: its native arguments and layouts <-> `Geometry` and canonical arrays.

A new member is one file with a `Dialect` in it, and one line in `_MEMBERS`.
"""

from __future__ import annotations

import difflib
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np

from tconv.dialects.base import Call, Dialect
from tconv.dialects.layouts import DataLayout, WeightLayout
from tconv.errors import DialectError, ShapeError

_MEMBERS = {
    "torch": "torch:Torch",
    "tensorflow": "tensorflow:TensorFlow",
    "onnx": "onnx:Onnx",
}

__all__ = ["Call", "DataLayout", "Dialect", "WeightLayout", "convert", "dialect", "names"]


def names() -> tuple[str, ...]:
    """The names of all dialects."""
    return tuple(_MEMBERS)


@cache
def _member(name: str) -> Dialect:
    module, kind = _MEMBERS[name].split(":")
    found: Dialect = getattr(import_module(f"tconv.dialects.{module}"), kind)()
    return found


def dialect(name: str) -> Dialect:
    """The dialect of this name.

    >>> import tconv
    >>> tconv.dialect("tensorflow").geometry(kernel=(3, 3), input=(4, 4), output_shape=(8, 8), strides=2, padding="SAME").crop
    ((0, 1), (0, 1))

    Raises DialectError for a name that there is not.
    """
    if not isinstance(name, str) or name not in _MEMBERS:
        close = difflib.get_close_matches(str(name).lower(), _MEMBERS, 1)
        raise DialectError(
            f"dialect is {name!r}; there are {', '.join(_MEMBERS)}. Write dialect={close[0] if close else 'torch'!r}"
        )
    return _member(name)


def convert(weight: Any, *, source: str, target: str, groups: int = 1) -> Any:
    """A transposed convolution's weight, carried from one framework's layout to another's.

    >>> import numpy as np, tconv
    >>> w = np.zeros((3, 3, 64, 32), np.float32)                    # TensorFlow: [kh, kw, C_out, C_in]
    >>> tconv.convert(w, source="tensorflow", target="torch").shape
    (32, 64, 3, 3)

    Takes and returns an array of NumPy, PyTorch, TensorFlow or JAX; NumPy results are contiguous copies.
    Raises ShapeError if the weight has no spatial axis or `groups` does not divide its channels.
    """
    from tconv import arrays

    source_dialect, target_dialect = dialect(source), dialect(target)
    library, w = arrays.take(weight, "weight")
    ndim = w.ndim - len(source_dialect.weight_pattern.replace("*", ""))
    if ndim < 1:
        raise ShapeError(
            f"weight has shape {w.shape}; {source_dialect.framework}'s layout needs at least one spatial axis: "
            f"{source_dialect.weight_layout(2).describe()} in 2-D. Write the whole weight of one layer"
        )
    layout = source_dialect.weight_layout(ndim)
    whole = layout.sizes(w.shape)[layout.grouped]
    if groups < 1 or whole % groups:
        raise ShapeError(
            f"weight has shape {w.shape}, with {whole} grouped channels; groups={groups} does not divide them. Write a divisor"
        )
    canonical = layout.canonical(w, groups)
    return arrays.give(np.ascontiguousarray(target_dialect.weight_layout(ndim).native(canonical, groups)), library)
