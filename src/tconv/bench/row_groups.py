"""The rows of a run, and the peers' part in them: a row is a layer in one dtype and one layout.

The rows of a layer in one dtype are a group: they are loaded together and their samples are interleaved, so that the
times of both layouts, and of float32 beside another dtype, are those of the same seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from types import MappingProxyType
from typing import Generic, NamedTuple, Protocol, TypeVar

from tconv.bench.dtypes import BYTES
from tconv.bench.layers import Layer
from tconv.bench.peers.interface import Peer

BASELINE = "tconv float32"
"""Name, in the rows of other dtypes, of tconv's own time in float32."""


class Row(NamedTuple):
    """A layer in a dtype and a layout."""

    layer: Layer
    dtype: str = "float32"
    layout: str = "first"


class _Named(Protocol):
    @property
    def name(self) -> str: ...


P = TypeVar("P", bound=_Named)


class Part(NamedTuple, Generic[P]):
    """One peer's column in one row."""

    peer: P
    row: Row
    """Row that the peer loads: that of the entry, or for `BASELINE` the same in float32."""
    name: str
    """Name of the column."""


class Group(NamedTuple, Generic[P]):
    """The rows of a layer in one dtype, each with the parts of its peers."""

    layer: Layer
    dtype: str
    parts: dict[str, list[Part[P]]]
    """Parts by layout."""


def groups(
    layers: Iterable[Layer],
    dtypes: Sequence[str],
    layouts: Sequence[str],
    peers: Sequence[P],
    known: Mapping[str, Peer] = MappingProxyType({}),
) -> list[Group[P]]:
    """Return the groups of a run, dtype by dtype.

    With channels first alone, peers that are compared with it in another layout (`Peer.elsewhere`, found in `known` by
    name) have a row of that layout, without tconv.
    """
    made = []
    own = [peer for peer in peers if peer.name == "tconv"]
    for dtype, layer in product(dtypes, layers):
        parts: dict[str, list[Part[P]]] = {}
        for layout in layouts:
            row = Row(layer, dtype, layout)
            parts[layout] = [Part(peer, row, peer.name) for peer in peers]
            if BYTES[dtype] != BYTES["float32"]:
                parts[layout] += [Part(peer, row._replace(dtype="float32"), BASELINE) for peer in own]
        if tuple(layouts) == ("first",):
            for peer in (peer for peer in peers if peer.name in known):
                for layout in known[peer.name].elsewhere:
                    parts.setdefault(layout, []).append(Part(peer, Row(layer, dtype, layout), peer.name))
                if "first" not in known[peer.name].layouts:
                    parts["first"] = [part for part in parts["first"] if part.peer is not peer]
        made.append(Group(layer, dtype, parts))
    return made
