"""Fingerprint of the layers of a stream: a digest of their settings and weights, the same on every machine."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from tconv._cached_property import cached_property

_BYTES = 16


def fingerprint(*parts: Any) -> str:
    """Return the hexadecimal digest of layers, numbers, words, arrays, and tuples of them.

    >>> fingerprint(1, "relu") == fingerprint(1, "relu6")
    False
    """
    digest = hashlib.blake2b(digest_size=_BYTES)
    _add(digest, parts)
    return digest.hexdigest()


def _add(digest: Any, part: Any) -> None:
    """Add a part with its kind, so that no two sequences of parts have the same bytes."""
    if isinstance(part, np.ndarray):
        digest.update(f"array {part.dtype.str} {part.shape};".encode())
        digest.update(np.ascontiguousarray(part).reshape(-1).view(np.uint8).data if part.size else b"")
    elif part is None or isinstance(part, bool | int | float | str | Fraction | slice | np.generic | np.dtype):
        digest.update(f"{type(part).__name__} {part!r};".encode())
    elif isinstance(part, Mapping):
        _add(digest, tuple(sorted(part.items())))
    elif isinstance(part, Sequence):
        digest.update(f"sequence {len(part)};".encode())
        for each in part:
            _add(digest, each)
    elif callable(getattr(part, "fingerprint_parts", None)):
        digest.update(f"{type(part).__name__};".encode())
        _add(digest, part.fingerprint_parts())
    elif dataclasses.is_dataclass(part):
        digest.update(f"{type(part).__name__};".encode())
        _add(digest, {each.name: getattr(part, each.name) for each in dataclasses.fields(part) if each.init})
    elif callable(part) and hasattr(part, "__qualname__"):
        digest.update(f"function {part.__module__}.{part.__qualname__};".encode())
    elif hasattr(part, "__dict__"):
        digest.update(f"{type(part).__name__};".encode())
        _add(digest, {name: value for name, value in vars(part).items() if not _is_cache(part, name)})
    else:
        digest.update(f"{type(part).__name__} {part!r};".encode())


def _is_cache(part: Any, name: str) -> bool:
    """Return True for an attribute that is not one of the layer's settings."""
    return name[0] == "_" or isinstance(getattr(type(part), name, None), cached_property)
