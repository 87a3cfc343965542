"""Values that the reader of TorchScript follows: constants, tensors and unknown numbers, objects, functions."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import Any

from tconv.models.inventory.pytorch.object_pickle import Record


@dataclass(frozen=True, eq=False)
class ScriptObject:
    """An object of the file, and the way to it from the model."""

    record: Record
    path: str


@dataclass(frozen=True)
class Dotted:
    """A name that the code writes with dots: "torch.conv2d", "__torch__.torch.nn.functional.pad"."""

    name: str


@dataclass(frozen=True, eq=False)
class Method:
    """A method of an object."""

    owner: ScriptObject
    definition: ast.FunctionDef


@dataclass(frozen=True, eq=False)
class Packed:
    """Weight and arguments that a quantized operation has packed."""

    arguments: dict[str, Any]


@dataclass(frozen=True)
class Number:
    """A number, list of sizes, or condition, that depends on the input."""

    expression: str = ""
    """Its text, "2*size(x, 2)"; "" for one that has none."""


class Raised(Exception):  # noqa: N818  a statement of the script, not a fault
    """End of a path of the script that raises an error."""


class Returned(Exception):  # noqa: N818
    """End of a function of the script."""

    def __init__(self, value: Any) -> None:
        super().__init__()
        self.value = value


def is_known(value: Any) -> bool:
    """Return True for constants of Python, and lists of them."""
    if isinstance(value, (list, tuple)):
        return all(map(is_known, value))
    return value is None or isinstance(value, (bool, int, float, str, complex))
