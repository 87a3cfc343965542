"""Sizes of exported programs: numbers, or SymPy's text of an expression, as a short one: "2*s53 + 1"."""

from __future__ import annotations

import ast
from typing import Any

from tconv.models.inventory.model_layer import Size

_MOST = 2000
_JOINED = {"Add": " + ", "Mul": "*"}
_CALLS = {"FloorDiv": "//", "CleanDiv": "//", "Mod": "%", "Pow": "**", "PythonMod": "%"}


def size_of(entry: Any) -> Size:
    """Return a size: a number, a text, or None for one that cannot be read."""
    if not isinstance(entry, dict):
        return entry if type(entry) is int else None
    if type(entry.get("as_int")) is int:
        return int(entry["as_int"])
    inner = entry.get("as_expr")
    text = inner.get("expr_str") if isinstance(inner, dict) else None
    return expression_of(text) if isinstance(text, str) else None


def expression_of(text: str) -> Size:
    """Return SymPy's text of an expression as a short one; None for one that is too long or unknown."""
    if len(text) > _MOST:
        return None
    try:
        found = _shown(ast.parse(text, mode="eval").body, 0)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    return int(found) if found.lstrip("-").isdigit() and len(found) < 19 else found[:200]


def _shown(node: ast.AST, depth: int) -> str:
    if depth > 50:
        raise ValueError("too deep")
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, float, str)):
        return str(node.value)[:100]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        name, parts = node.func.id, [_shown(part, depth + 1) for part in node.args]
        if name in ("Integer", "Symbol", "Float") and parts:
            return parts[0]
        if name == "Rational" and len(parts) == 2:
            return f"{parts[0]}/{parts[1]}"
        if name in _JOINED:
            around = [
                f"({part})" if name == "Mul" and " " in part else part
                for part in sorted(parts, key=_constants_at(name))
            ]
            return _JOINED[name].join(around).replace("+ -", "- ")
        if name in _CALLS and len(parts) == 2:
            return _CALLS[name].join(f"({part})" if not part.isalnum() else part for part in parts)
        return f"{name}({', '.join(parts)})"
    if isinstance(node, (ast.Name, ast.BinOp, ast.UnaryOp)):
        return ast.unparse(node)[:200]
    raise ValueError("another kind of expression")


def _constants_at(name: str) -> Any:
    """Return a key that sorts numbers to the end of sums and to the front of products."""
    return lambda part: part.lstrip("-").isdigit() == (name == "Add")
