"""TorchScript's functions on numbers, lists and texts, for arguments that are known."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from tconv.models.inventory.pytorch.script_values import Number, is_known

_MOST_ITEMS = 10_000
_MOST_BITS = 4096

_PLAIN: dict[str, Callable[..., Any]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
    "sub": operator.sub,
    "div": operator.truediv,
    "floordiv": operator.floordiv,
    "floor_divide": operator.floordiv,
    "remainder": operator.mod,
    "neg": operator.neg,
    "__is__": operator.is_,
    "__isnot__": operator.is_not,
    "__not__": operator.not_,
    "__and__": operator.and_,
    "__or__": operator.or_,
    "__contains__": operator.contains,
    "len": len,
    "Int": int,
    "Float": float,
    "Bool": bool,
    "IntImplicit": int,
    "FloatImplicit": float,
    "ScalarImplicit": lambda value: value,
    "NumToTensor": lambda value: value,
    "floor": lambda value: int(value // 1),
    "ceil": lambda value: int(-(-value // 1)),
    "abs": abs,
    "max": max,
    "min": min,
    "list": list,
}
_SIGNS = {"add": "+", "sub": "-", "mul": "*", "floordiv": "//", "floor_divide": "//", "div": "/", "remainder": "%"}
_TRUTHS = ("__is__", "__isnot__")


def known_result(name: str, values: list[Any]) -> tuple[bool, Any]:
    """Return (True, result) of a function whose arguments are known, else (False, None).

    Raises ZeroDivisionError and the like, as the script would.
    """
    if name in _TRUTHS and len(values) == 2 and any(value is None for value in values):
        others = [value for value in values if value is not None]
        if not others or not isinstance(others[0], Number):
            return True, bool(others) == (name == "__isnot__")
    if name in ("len", "list") and len(values) == 1 and isinstance(values[0], (list, tuple)):
        return True, len(values[0]) if name == "len" else list(values[0])
    if name == "append" and len(values) == 2 and isinstance(values[0], list):
        if len(values[0]) < _MOST_ITEMS:
            values[0].append(values[1])
        return True, values[0]
    if name == "slice" and values and isinstance(values[0], (list, tuple, str)) and is_known(values[1:]):
        return True, values[0][slice(*(values[1:] if len(values) > 2 else [*values[1:], None]))]
    if name == "add" and len(values) >= 2 and all(isinstance(value, list) for value in values[:2]):
        return True, (values[0] + values[1])[:_MOST_ITEMS]
    if not is_known(values):
        return False, None
    if name == "format":
        return True, str(values[0])[:200]
    if name == "add" and len(values) >= 2:
        return True, _sum(values[0], values[1])
    if name in _SIGNS and any(not isinstance(value, (int, float)) for value in values) and name != "mul":
        return True, Number()  # text and tuples have other meanings in Python
    if name == "mul" and len(values) == 2:
        return True, _product(*values)
    if name == "pow" and len(values) == 2 and all(isinstance(value, (int, float)) for value in values):
        return True, float(values[0]) ** min(float(values[1]), 64.0)
    if name in _PLAIN:
        return True, _bounded(_PLAIN[name](*values))
    return False, None


def _sum(one: Any, two: Any) -> Any:
    if isinstance(one, (str, tuple)) and len(one) + len(two) > _MOST_ITEMS:
        return Number()
    return _bounded(one + two)


def _product(one: Any, two: Any) -> Any:
    items = [value for value in (one, two) if isinstance(value, (list, tuple, str))]
    if items:
        (count,) = [value for value in (one, two) if isinstance(value, int)]
        return items[0] * max(min(count, _MOST_ITEMS // max(len(items[0]), 1)), 0)
    return _bounded(one * two)


def _bounded(value: Any) -> Any:
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:
        raise OverflowError("a number of thousands of digits")
    return value


def expression(name: str, values: list[Any]) -> str:
    """Return the text of an operation on numbers; "" for one that has none."""
    texts = [value.expression if isinstance(value, Number) else str(value) for value in values[:2]]
    if name in ("NumToTensor", "Int", "IntImplicit", "ScalarImplicit", "Float") and texts:
        return texts[0]
    if name not in _SIGNS or len(texts) != 2 or not all(texts) or sum(map(len, texts)) > 80:
        return ""
    return f" {_SIGNS[name]} ".join(text if text.isalnum() or "(" in text else f"({text})" for text in texts)
