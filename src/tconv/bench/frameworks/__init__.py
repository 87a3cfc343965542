"""The frameworks that `tconv bench --framework` compares with tconv: PyTorch, JAX, TensorFlow and Keras.

Each file defines one `FRAMEWORK`. A new one is one file and one line in `_MEMBERS`.
"""

from __future__ import annotations

from importlib import import_module

from tconv.bench.frameworks.interface import Framework
from tconv.bench.layers import known_name

_MEMBERS = ("torch", "jax", "tensorflow", "keras")


def names() -> tuple[str, ...]:
    """Return the names of all frameworks."""
    return _MEMBERS


def framework(name: str) -> Framework:
    """Return the framework of this name. Raises ArgumentError, with close matches, for an unknown name."""
    member: Framework = import_module(f"tconv.bench.frameworks.{known_name(name, _MEMBERS, 'framework')}").FRAMEWORK
    return member
