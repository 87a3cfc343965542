"""One file per framework: its native arguments and layouts <-> `Geometry` and canonical arrays.

A new member is one file with a `Dialect` in it, and one line in `_MEMBERS`.
"""

from __future__ import annotations

import difflib
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np

from tconv.dialects.base import Call, Dialect, Fault
from tconv.dialects.layouts import DataLayout, WeightLayout
from tconv.errors import ArgumentError, DialectError

_MEMBERS = {
    "torch": "torch:Torch",
    "tensorflow": "tensorflow:TensorFlow",
    "onnx": "onnx:Onnx",
}

__all__ = ["Call", "DataLayout", "Dialect", "Fault", "WeightLayout", "convert", "dialect", "names"]


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
    >>> tconv.dialect("tensorflow").geometry(kernel=(3, 3), input=(4, 4), output_shape=(8, 8), strides=2).crop
    ((0, 1), (0, 1))

    Raises DialectError for a name that there is not.
    """
    if not isinstance(name, str) or name not in _MEMBERS:
        close = difflib.get_close_matches(str(name).lower(), _MEMBERS, 1)
        raise DialectError(
            f"dialect is {name!r}; there are {', '.join(_MEMBERS)}. Write dialect={close[0] if close else 'torch'!r}"
        )
    return _member(name)


def convert(weight: Any, *, source: str, target: str, groups: int = 1, **native: Any) -> Any:
    """A transposed convolution's weight, carried from one framework's layout to another's.

    >>> import numpy as np, tconv
    >>> w = np.zeros((3, 3, 64, 32), np.float32)                    # TensorFlow: [kh, kw, C_out, C_in]
    >>> tconv.convert(w, source="tensorflow", target="torch").shape
    (32, 64, 3, 3)

    `native` holds arguments of either dialect that change its weight layout. Takes and returns an array of NumPy,
    PyTorch, TensorFlow or JAX; the result is a contiguous array of its own. Raises ShapeError if the weight has no
    spatial axis or `groups` does not divide its channels, ArgumentError for an argument that neither dialect has.
    """
    from tconv import arrays

    ends = dialect(source), dialect(target)
    for name in native:
        if not any(name in end.layout_arguments for end in ends):
            raise ArgumentError(
                f"{name}= changes no weight layout of {source} or {target}. Write convert(weight, source=, "
                "target=, groups=)"
            )
    words = [{name: value for name, value in native.items() if name in end.layout_arguments} for end in ends]
    library, w = arrays.take(weight, "weight")
    canonical = ends[0].to_canonical(w, groups, **words[0])
    return arrays.give(np.array(ends[1].to_native(canonical, groups, **words[1]), order="C"), library)
