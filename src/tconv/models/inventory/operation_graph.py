"""Operations of a model and the values between them, in which neighbours are found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tconv.models.inventory.model_layer import MOST_AFTER, MOST_BEFORE, Neighbour, StoredArray


@dataclass(frozen=True, eq=False)
class Operation:
    """One operation; values are known by names."""

    op: str
    name: str
    inputs: tuple[str, ...] = ()
    """Values that are no constants."""
    outputs: tuple[str, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)
    constants: Mapping[str, StoredArray] = field(default_factory=dict)

    @property
    def neighbour(self) -> Neighbour:
        """The record of it."""
        return Neighbour(self.op, self.name, self.attributes, self.constants, self.inputs, self.outputs)


class OperationGraph:
    """Operations by the values that they compute and read."""

    def __init__(self, operations: Iterable[Operation], outputs: Iterable[str] = ()) -> None:
        self.operations = list(operations)
        self._sources: dict[str, Operation] = {}
        self._readers: dict[str, list[Operation]] = {}
        self._ends = set(outputs)
        for operation in self.operations:
            self._sources.update((value, operation) for value in operation.outputs)
            for value in dict.fromkeys(operation.inputs):
                self._readers.setdefault(value, []).append(operation)

    @property
    def counts(self) -> Counter[str]:
        """Number of times that there is each operation."""
        return Counter(operation.op for operation in self.operations)

    def source(self, value: str) -> Operation | None:
        """Return the operation that computes a value; None for an input of the model."""
        return self._sources.get(value)

    def only_reader(self, value: str) -> Operation | None:
        """Return the operation that reads a value, if it is the only one."""
        readers = self._readers.get(value, [])
        return readers[0] if len(readers) == 1 and value not in self._ends else None

    def before(self, value: str) -> tuple[Neighbour, ...]:
        """Return the operations that compute a value, the nearest first, as far as each is the only source."""
        found: list[Neighbour] = []
        while len(found) < MOST_BEFORE and (operation := self._sources.get(value)):
            found.append(operation.neighbour)
            if len(operation.inputs) != 1:
                break
            value = operation.inputs[0]
        return tuple(found)

    def after(self, value: str) -> tuple[Neighbour, ...]:
        """Return the operations that read a value, then those behind the first of them while it is alone."""
        found: list[Neighbour] = []
        while len(found) < MOST_AFTER and (readers := self._readers.get(value)):
            found += [reader.neighbour for reader in readers]
            if len(readers) > 1 or value in self._ends or len(readers[0].outputs) != 1:
                break
            value = readers[0].outputs[0]
        return tuple(found[:MOST_AFTER])
