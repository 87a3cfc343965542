"""Small expressions of rules, such as "dilation*(kernel - 1)": read into a tree and computed, never run as code.

An expression has whole numbers, quantities ("kernel", "kernel.h", "kernel.product"), + - * // %, parentheses, and
max(a, b) and min(a, b), which are taken per axis.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tconv.targets.layer_facts import LayerFacts
from tconv.targets.quantities import FLAGS, PARTS, QUANTITIES, TEXTS, Number, Values, part_of

LONGEST = 200
"""Characters of an expression at most."""

_TOKEN = re.compile(r"\s*(?:(\d{1,12})(?![\w.])|([a-z_]+(?:\.[a-z]+)?)(?![\w.])|(//|[-+*%(),]))")

_OPERATORS: dict[str, Callable[[int, int], Number]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "//": lambda a, b: a // b if b else None,
    "%": lambda a, b: a % b if b else None,
    "max": max,
    "min": min,
}


@dataclass(frozen=True)
class Expression:
    """One number, quantity or operation."""

    text: str
    number: int | None = None
    quantity: str = ""
    part: str = ""
    operator: str = ""
    operands: tuple[Expression, ...] = ()

    def values(self, facts: LayerFacts) -> Values:
        """Return the values for a layer: one, one per axis, or one per end of each axis."""
        if self.number is not None:
            return Values((self.number,))
        if self.quantity:
            quantity = QUANTITIES[self.quantity]
            return part_of(quantity, self.part, facts) if self.part else quantity.values(facts)
        left, right = (operand.values(facts) for operand in self.operands)
        longer = left if len(left.entries) >= len(right.entries) else right
        compute = _OPERATORS[self.operator]

        def entry(index: int) -> Number:
            """Return one entry of the result; None if a part of it is not known."""
            a, b = left.entry(index), right.entry(index)
            return None if a is None or b is None else compute(int(a), int(b))

        return Values(tuple(map(entry, range(len(longer.entries)))), longer.kind)

    @property
    def is_text(self) -> bool:
        """True for a quantity whose value is a text."""
        return self.quantity in TEXTS

    @property
    def is_flag(self) -> bool:
        """True for a quantity that is true or false."""
        return self.quantity in FLAGS

    @property
    def words(self) -> str:
        """Words of a message: "the kernel's height is" without the verb."""
        if not self.quantity:
            return self.text
        quantity = QUANTITIES[self.quantity]
        return f"{quantity.owner or quantity.words}'s {PARTS[self.part][1]}" if self.part else quantity.words

    def names(self) -> Iterator[str]:
        """Yield the quantities in it."""
        if self.quantity:
            yield self.quantity
        for operand in self.operands:
            yield from operand.names()


def _tokens(text: str) -> list[str]:
    """Return the parts of an expression. Raises ValueError for a character that belongs to none."""
    if len(text) > LONGEST:
        raise ValueError(f"it has {len(text)} characters; at most {LONGEST} are read")
    tokens: list[str] = []
    position, end = 0, len(text.rstrip())
    while position < end:
        match = _TOKEN.match(text, position)
        if not match:
            raise ValueError(
                f"{text[position:].strip()[:20]!r} is no number, quantity, + - * // %, max, min or parenthesis"
            )
        tokens.append(match[0].strip())
        position = match.end()
    return tokens


class _Reader:
    """Tokens of an expression, read from left to right."""

    def __init__(self, text: str) -> None:
        self.tokens = _tokens(text)
        self.position = 0

    def next(self) -> str:
        """Return the token at the position, "" at the end."""
        return self.tokens[self.position] if self.position < len(self.tokens) else ""

    def take(self) -> str:
        """Return the token at the position, and go on."""
        token = self.next()
        self.position += 1
        return token

    def operation(self, operators: tuple[str, ...], operand: Callable[[], Expression]) -> Expression:
        """Read operands that stand between operators of one rank."""
        result = operand()
        while self.next() in operators:
            sign = self.take()
            right = operand()
            text = f"{result.text}{sign}{right.text}" if len(operators) > 2 else f"{result.text} {sign} {right.text}"
            result = Expression(text, operator=sign, operands=(result, right))
        return result

    def sum(self) -> Expression:
        """Read products that are added."""
        return self.operation(("+", "-"), self.product)

    def product(self) -> Expression:
        """Read factors."""
        return self.operation(("*", "//", "%"), self.factor)

    def factor(self) -> Expression:
        """Read a number, a quantity, or an expression in parentheses."""
        token = self.take()
        if token == "(":
            inner = self.sum()
            if self.take() != ")":
                raise ValueError("a parenthesis is not closed")
            return Expression(
                f"({inner.text})", inner.number, inner.quantity, inner.part, inner.operator, inner.operands
            )
        if token[:1].isdigit():
            return Expression(str(int(token)), number=int(token))
        if token in ("max", "min"):
            return self.pair(token)
        if token and not token[0].isalpha():
            raise ValueError(f"a number or a quantity is missing before {token!r}")
        return _named(token)

    def pair(self, name: str) -> Expression:
        """Read both operands of max or min."""
        signs, operands = [], []
        for _ in range(2):
            signs.append(self.take())
            operands.append(self.sum())
        if [*signs, self.take()] != ["(", ",", ")"]:
            raise ValueError(f"{name} has two operands: {name}(stride, dilation)")
        left, right = operands
        return Expression(f"{name}({left.text}, {right.text})", operator=name, operands=(left, right))


def _named(token: str) -> Expression:
    """Return the quantity of this name. Raises ValueError for another text."""
    name, _, part = token.partition(".")
    if name not in QUANTITIES:
        import difflib  # for the message alone

        close = difflib.get_close_matches(name, QUANTITIES, 1) if name else []
        hint = f". Write {close[0]}" if close else f"; there are {', '.join(QUANTITIES)}"
        raise ValueError(f"{token!r} is no quantity{hint}" if token else "a number or a quantity is missing at its end")
    if part and (part not in PARTS or QUANTITIES[name].absent is None):
        parts = ", ".join(f".{each}" for each in PARTS) if QUANTITIES[name].absent is not None else "no parts"
        raise ValueError(f"{token!r} is no part of {name}, which has {parts}")
    return Expression(token, quantity=name, part=part)


def expression_of(text: str | int) -> Expression:
    """Return an expression read from its text. Raises ValueError, which says what is wrong with it.

    >>> facts = LayerFacts((4, 6), (2, 2), (1, 3), (1, 1), (1, 1), (0, 0), 1, 8, 8)
    >>> expression_of("dilation*(kernel - 1)").values(facts).entries
    (3, 15)
    """
    if isinstance(text, int):
        return Expression(str(text), number=text)
    reader = _Reader(text)
    result = reader.sum()
    if reader.position < len(reader.tokens):
        raise ValueError(f"{reader.next()!r} is not expected there")
    if result.operator and any(name in TEXTS or name in FLAGS for name in result.names()):
        raise ValueError("a quantity that is a text or true or false cannot be computed with")
    return result
