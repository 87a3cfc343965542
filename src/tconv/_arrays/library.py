"""Entry of one library of arrays in the registry, and what the entries share."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tconv.errors import DtypeError

Array = np.ndarray[Any, Any]
"""A NumPy array of any shape and dtype: the one alias that every module of tconv imports."""


class Library(NamedTuple):
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


def loaded_kinds(module: str, *names: str) -> tuple[type, ...]:
    """Return the named types of a module that the caller has imported; () if it is not (yet) imported."""
    loaded = sys.modules.get(module)
    kinds = [getattr(loaded, name, None) for name in names]
    return tuple(kind for kind in kinds if isinstance(kind, type))


def bfloat16(name: str) -> Any:
    """Return NumPy's bfloat16 dtype, which the package ml_dtypes provides. Raises DtypeError without it."""
    try:
        import ml_dtypes
    except ImportError:
        raise DtypeError(
            f"{name} is bfloat16, a dtype that NumPy has only with ml_dtypes. Write: pip install ml_dtypes"
        ) from None
    return ml_dtypes.bfloat16
