"""Arithmetic on sizes that may be names: sums, multiples and quotients as text, such as "2*time + 1".

>>> times("time", 2), plus("2*time", -3), plus("2*time - 3", 3), quotient("2*time + 1", 2), quotient("h", 2)
('2*time', '2*time - 3', '2*time', 'time', 'h//2')
>>> times(plus("h", 1), 2), plus("h", "h"), times(quotient(plus("h", 1), 2), 2), product([3, "h", 2])
('2*h + 2', '2*h', '2*((h + 1)//2)', '6*h')
>>> quotient(quotient("h", 2), 2), quotient(quotient(plus("h", -1), 2), 2)
('h//4', '(h - 1)//4')
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from tconv.models.inventory.model_layer import Size

_LONGEST = 80
"""Longest text of a size; a longer one becomes a size that is not known."""
_SUM = re.compile(r"(.*\S) ([+-]) (\d{1,9})")
_MULTIPLE = re.compile(r"(\d{1,9})\*(.*)", re.DOTALL)
_QUOTIENT = re.compile(r"(\(.*\)|[^+\-*/ ()]+)//(\d{1,9})")
_OPERATORS = re.compile(r"[+\-*/ ()]")


class _Linear(NamedTuple):
    """Number times a text, plus a number."""

    factor: int
    base: str
    offset: int

    def text(self) -> Size:
        if not self.factor:
            return self.offset
        base = f"({self.base})" if _OPERATORS.search(self.base) and (self.factor > 1 or self.offset) else self.base
        scaled = f"{self.factor}*{base}" if self.factor > 1 else base
        sign = "+" if self.offset > 0 else "-"
        whole = f"{scaled} {sign} {abs(self.offset)}" if self.offset else scaled
        return whole if len(whole) <= _LONGEST else None


def _linear(size: str) -> _Linear:
    base, factor, offset = size, 1, 0
    if found := _SUM.fullmatch(base):
        base, offset = found[1], int(found[2] + found[3])
    if found := _MULTIPLE.fullmatch(base):
        factor, base = int(found[1]), found[2]
    inner = base[1:-1] if base.startswith("(") and base.endswith(")") and _balanced(base[1:-1]) else None
    if inner is not None:
        return _Linear(factor, inner, offset)
    if _OPERATORS.search(base):  # of another form: one text
        return _Linear(1, size, 0)
    return _Linear(factor, base, offset)


def _balanced(text: str) -> bool:
    depth = 0
    for letter in text:
        depth += (letter == "(") - (letter == ")")
        if depth < 0:
            return False
    return depth == 0


def plus(size: Size, other: Size) -> Size:
    """Return the sum of two sizes; None if one is not known."""
    if isinstance(size, int) and isinstance(other, int):
        return size + other
    if size is None or other is None:
        return None
    if isinstance(size, int):
        size, other = other, size
    assert isinstance(size, str)
    first = _linear(size)
    if isinstance(other, int):
        return first._replace(offset=first.offset + other).text()
    second = _linear(other)
    if first.base == second.base:
        return _Linear(first.factor + second.factor, first.base, first.offset + second.offset).text()
    return _Linear(1, f"{size} + {other}", 0).text()


def minus(size: Size, other: Size) -> Size:
    """Return the difference of two sizes; None if it is not known."""
    if isinstance(other, int):
        return plus(size, -other)
    if isinstance(size, str) and isinstance(other, str):
        first, second = _linear(size), _linear(other)
        if first.base == second.base and first.factor >= second.factor:
            return _Linear(first.factor - second.factor, first.base, first.offset - second.offset).text()
    return None


def times(size: Size, factor: Size) -> Size:
    """Return the product of two sizes; None if it is not known."""
    if isinstance(size, int) and isinstance(factor, int):
        return size * factor
    if isinstance(size, int):
        size, factor = factor, size
    if size is None or factor is None or not isinstance(factor, int):
        return None if size is None or factor is None else _Linear(1, f"({size})*({factor})", 0).text()
    assert isinstance(size, str)
    if factor <= 0:
        return 0 if factor == 0 else None
    linear = _linear(size)
    return _Linear(linear.factor * factor, linear.base, linear.offset * factor).text()


def quotient(size: Size, divisor: Size) -> Size:
    """Return a size divided by a number, rounded down; None if it is not known."""
    if size is None or not isinstance(divisor, int) or divisor <= 0:
        return None
    if isinstance(size, int):
        return size // divisor
    linear = _linear(size)
    if divisor == 1:
        return size
    if linear.factor % divisor == 0:
        return _Linear(linear.factor // divisor, linear.base, linear.offset // divisor).text()
    if (found := _QUOTIENT.fullmatch(size)) and _balanced(found[1]):  # (n//a)//b is n//(a*b)
        return quotient(found[1][1:-1] if found[1].startswith("(") else found[1], int(found[2]) * divisor)
    inner = f"({size})" if _OPERATORS.search(size) else size
    return _Linear(1, f"{inner}//{divisor}", 0).text()


def product(sizes: Iterable[Size]) -> Size:
    """Return the product of sizes; None if it is not known."""
    result: Size = 1
    for size in sizes:
        result = times(result, size)
    return result


# -- numbers for the names -------------------------------------------------------------------------------------------

_OPERATIONS: dict[type[Any], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Div: operator.floordiv,
    ast.Mod: operator.mod,
}
_LONGEST_READ = 300  # characters of an expression that is evaluated
_LARGEST = 1 << 40
_NAME = re.compile(r"[\w.]*[^\W\d][\w.]*")
"""Name of a size: letters of any script, digits, dots, as in "p2o.DynamicDimension.1"."""


def symbol(name: str) -> str:
    """Return the name that a file gives to a size as an expression: one with other characters becomes one symbol.

    >>> symbol("2*h + 1"), symbol("image.height"), symbol("image width"), symbol("seq-len"), symbol("floor(h/2)")
    ('2*h + 1', 'image.height', 'image_width', 'seq_len', 'floor_h_2')
    """
    compound = re.search(r"[^\W\d]-[^\W\d]", name)  # "seq-len"; exporters write spaces around their signs
    if compound is None and _tree(name) is not None:
        return name
    return re.sub(r"[^\w.]+", "_", name).strip("_") or name


def symbols_in(size: str) -> tuple[str, ...]:
    """Return the symbols of an expression; a text that is no expression is one symbol."""
    tree = _tree(size)
    if tree is None:
        return (size,)
    return tuple(dict.fromkeys(_NAME.findall(size)))


def evaluate(size: str, values: Mapping[str, int]) -> int | None:
    """Return the number of an expression of sums, products and quotients; None if it is another, or far too large."""
    if size in values:
        return values[size]
    tree = _tree(size)
    if tree is None:
        return None
    return _number(tree, {f"name{n}": values[name] for n, name in enumerate(symbols_in(size)) if name in values})


def _tree(size: str) -> ast.expr | None:
    if len(size) > _LONGEST_READ:
        return None
    try:
        places: dict[str, str] = {}
        safe = _NAME.sub(lambda found: places.setdefault(found[0], f"name{len(places)}"), size)
        tree = ast.parse(safe, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    return tree if all(isinstance(node, _NODES) for node in ast.walk(tree)) else None


_NODES = (
    *(ast.BinOp, ast.UnaryOp, ast.USub, ast.Name, ast.Load, ast.Constant),
    *_OPERATIONS,
)


def _number(node: ast.expr, values: Mapping[str, int]) -> int | None:
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, int) else None
    if isinstance(node, ast.Name):
        return values.get(node.id)
    if isinstance(node, ast.UnaryOp):
        inner = _number(node.operand, values)
        return None if inner is None else -inner
    if not isinstance(node, ast.BinOp):
        return None
    left, right = _number(node.left, values), _number(node.right, values)
    if left is None or right is None or (right == 0 and not isinstance(node.op, (ast.Add, ast.Sub, ast.Mult))):
        return None
    result = _OPERATIONS[type(node.op)](left, right)
    return result if abs(result) < _LARGEST else None
