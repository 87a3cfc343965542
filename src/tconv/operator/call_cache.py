"""Cache of validated calls: shapes, strides, dtypes and arguments that were checked once are not checked again.

Reading a call's arguments takes longer than a small transposed convolution. The result is cached under all that it
depends on; in a repeated call only the addresses of the arrays are new. The numbers of a weight are not part of the
key: every call reads them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv._memory import empty
from tconv.operator.call_reading import arguments_key

SpecializedRun = Callable[[Array, Array, "Array | None", Array], bool]
_MOST = 512
_NUMBERS = {np.dtype(kind).num for kind in (np.float32, np.float64, np.float16)}
"""NumPy's numbers of the dtypes that have specialized calls, beside bfloat16."""
_FIRST_REGISTERED = 256
"""Least number of a dtype that another package adds to NumPy, such as bfloat16."""

_calls: dict[Any, tuple[SpecializedRun, tuple[int, ...], np.dtype[Any]]] = {}


def key(
    x: Any, weight: Any, bias: Any, out: Any, dialect: Any, geometry: Any, method: Any, native: dict[str, Any]
) -> Any:
    """Return a key of all that a call depends on, except the numbers in its arrays; None if it is read every time."""
    if type(method) is not str or type(x) is not np.ndarray:
        return None
    dtype = x.dtype
    number = dtype.num
    if not (number in _NUMBERS or number >= _FIRST_REGISTERED) or not dtype.isnative:
        return None
    described: list[Any] = [method, number]
    for array in (x, weight, bias, out):
        if array is None:
            described.append(None)
        elif type(array) is np.ndarray and array.dtype == dtype and array.flags.aligned:
            described.append((array.shape, array.strides))
        else:
            return None
    arguments = arguments_key(dialect, geometry, native)
    return None if arguments is None else (*described, *arguments)


def run_cached(key: Any, x: Array, weight: Array, bias: Array | None, out: Array | None) -> Array | None:
    """Return the result of a cached call; None if the call is not cached, or has to be read again."""
    cached = _calls.get(key)
    if cached is None:
        return None
    run, shape, dtype = cached
    if out is None:
        target = empty(shape, dtype)
    else:
        target = out
        others = (x, weight) if bias is None else (x, weight, bias)
        if not out.flags.writeable or any(np.may_share_memory(out, array) for array in others):
            return None  # reading it again raises the error, or shows that no element is shared
    return target if run(x, weight, bias, target) else None


def add(key: Any, run: SpecializedRun, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Add a checked call: its function of arrays, and the native shape and dtype of its result."""
    # no lock: if threads collide, an entry is lost, and the next such call is read again
    if len(_calls) >= _MOST:
        _calls.clear()
    _calls[key] = run, shape, dtype
