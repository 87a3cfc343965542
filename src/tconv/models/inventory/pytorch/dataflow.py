"""Dataflow of a program: the call that makes each value, and those that read it."""

from __future__ import annotations

from tconv.models.inventory.pytorch.constant_folding import FoldedConstants
from tconv.models.inventory.pytorch.program import AtenCall, Program, values_in

_NOTHING = ("detach", "alias", "clone", "contiguous", "lift_fresh_copy", "dropout", "feature_dropout")
_NO_DATA = (
    "_assert_tensor_metadata",
    "_assert_scalar",
    "_assert_async",
    "sym_size",
    "size",
    "sym_numel",
    "sym_stride",
    "dim",
    "sym_constrain_range_for_size",
)
"""Operations that read no numbers of a tensor."""


class Dataflow:
    """Edges between the calls of a program; calls that copy, or read sizes alone, are passed over."""

    def __init__(self, program: Program, constants: FoldedConstants) -> None:
        self.results = program.results
        self._constants = constants
        self._same: dict[str, str] = {}
        self.made_by: dict[str, AtenCall] = {}
        self._readers: dict[str, list[AtenCall]] = {}
        for call in program.calls:
            op = call.op.rpartition(".")[2]
            sources = self.sources(call)
            if op in _NO_DATA:
                continue
            if op in _NOTHING and len(sources) == 1 and len(call.outputs) == 1:
                self._same[call.outputs[0]] = sources[0]
                continue
            for source in sources:
                self._readers.setdefault(source, []).append(call)
            for output in call.outputs:
                self.made_by.setdefault(output, call)
        for copy in self._same:
            if (source := self.source(copy)) in self.made_by:
                self.made_by.setdefault(copy, self.made_by[source])
        self.results = frozenset(self.source(name) for name in program.results)

    def source(self, name: str) -> str:
        """Return the value that a copy has its numbers from."""
        seen = set()
        while name in self._same and name not in seen:
            seen.add(name)
            name = self._same[name]
        return name

    def sources(self, call: AtenCall) -> list[str]:
        """Return the values that a call reads and that are no constants, without copies."""
        given = dict.fromkeys(value.name for value in values_in(list(call.arguments.values())) if value.name)
        return list(dict.fromkeys(self.source(name) for name in given if name not in self._constants))

    def readers(self, name: str) -> list[AtenCall]:
        """Return the calls that read a value."""
        return self._readers.get(self.source(name), [])

    def before(self, call: AtenCall, most: int) -> list[AtenCall]:
        """Return the calls before one, the nearest first, while each is the only source of the next."""
        found: list[AtenCall] = []
        while len(found) < most:
            sources = [name for name in self.sources(call) if name in self.made_by or found == []]
            if len(sources) != 1 or sources[0] not in self.made_by:
                break
            call = self.made_by[sources[0]]
            if any(call is each for each in found):
                break
            found.append(call)
        return found

    def after(self, call: AtenCall, most: int) -> list[AtenCall]:
        """Return the calls that read a call's first output, then those behind it while it is alone."""
        found: list[AtenCall] = []
        while call.outputs and len(found) < most:
            readers = self.readers(call.outputs[0])[: most - len(found)]
            if not readers or any(each is call or any(each is other for other in found) for each in readers):
                break
            found += readers
            if len(readers) != 1:
                break
            call = readers[0]
        return found
