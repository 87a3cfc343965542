"""Program of calls of PyTorch's operations, in the order of their execution: the common form of the three readers.

Names of values are unique. A call's arguments are constants of Python, a `Value`, or lists of those.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tconv.models.inventory.model_layer import ModelInput, Size, StoredArray


@dataclass(frozen=True)
class Value:
    """A tensor, or a number, that the program computes or is given, by name."""

    name: str
    expression: str = ""
    """Text of a number that is computed from sizes: "2*s53"; "" for tensors and unknown numbers."""


@dataclass(frozen=True, eq=False)
class AtenCall:
    """One call of an operation."""

    op: str
    """"aten.conv_transpose2d": the namespace and the name, without the overload."""
    arguments: dict[str, Any]
    """Arguments by PyTorch's names; those that are left out have their default."""
    outputs: tuple[str, ...]
    module: str = ""
    """Name of the module whose forward makes the call: "decoder.up.1"."""
    graph: str = ""
    """Name of the inner graph (a branch, a loop) that has the call; "" for the program itself."""
    frozen: bool = False
    """True if a trace has turned an output_size into numbers."""


@dataclass(frozen=True)
class Meta:
    """Sizes and type of a tensor, as far as they are known."""

    shape: tuple[Size, ...] | None = None
    dtype: str = ""


@dataclass(eq=False)
class Program:
    """Calls in order, with the constants that they read."""

    calls: list[AtenCall] = field(default_factory=list)
    constants: dict[str, StoredArray] = field(default_factory=dict)
    """Parameters, buffers and constants, by the names of their values."""
    absent: dict[str, str] = field(default_factory=dict)
    """Sentences on parameters whose numbers cannot be read, by the names of their values."""
    metas: dict[str, Meta] = field(default_factory=dict)
    inputs: list[ModelInput] = field(default_factory=list)
    outputs: list[ModelInput] = field(default_factory=list)
    results: frozenset[str] = frozenset()
    """Names of values that the program returns."""
    limitations: list[str] = field(default_factory=list)

    def operations(self) -> Counter[str]:
        """Return the number of calls of each operation."""
        return Counter(call.op for call in self.calls)


def values_in(argument: Any) -> Iterator[Value]:
    """Yield the values in an argument, those of nested lists one after another."""
    if isinstance(argument, Value):
        yield argument
    elif isinstance(argument, (list, tuple)):
        for part in argument:
            yield from values_in(part)


def place_of(number: int, call: AtenCall, program: Program) -> str:
    """Return the way to a call: "decoder.up.1, operation 12 of 40"."""
    inner = f", in {call.graph}" if call.graph else ""
    where = f"{call.module}, " if call.module else ""
    return f"{where}operation {number + 1} of {len(program.calls)}{inner}"
