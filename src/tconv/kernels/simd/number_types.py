"""Questions about LLVM's types of numbers and of vectors of numbers."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

_BYTES = {"half": 2, "bfloat": 2, "float": 4, "double": 8}


def element_of(kind: Any) -> Any:
    """Return the type of a vector's numbers; that of a number is returned unchanged."""
    return kind.element if isinstance(kind, ir.VectorType) else kind


def is_integer(kind: Any) -> bool:
    """Return True for integers and vectors of them."""
    return isinstance(element_of(kind), ir.IntType)


def bytes_of(kind: Any) -> int:
    """Return the bytes of a number."""
    return kind.width // 8 if isinstance(kind, ir.IntType) else _BYTES[str(kind)]


def mangled(vector: Any) -> str:
    """Return a type of vectors as LLVM has it in the names of its functions."""
    return f"v{vector.count}{'i' if is_integer(vector) else 'f'}{8 * bytes_of(vector.element)}"
