"""One file per peer, each with a `PEER` in it. A new member is one file and one line in `_MEMBERS`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib import import_module

from tconv.bench.layers import known_name
from tconv.bench.peers.interface import Peer

_MEMBERS = (
    "tconv",
    "torch",
    "torch_cl",
    "shuffle",
    "torch_compile",
    "onnxruntime",
    "openvino",
    "tensorflow",
    "jax",
    "xnnpack",
)


def names() -> tuple[str, ...]:
    """All peers that `tconv bench` runs if none is named."""
    return _MEMBERS


def select(wanted: Sequence[str], methods: Iterable[str]) -> list[str]:
    """Return the peers of these names, "tconv:METHOD" being one of tconv's `methods`; all for no name.

    Raises ArgumentError, with close matches, for a name that is not there.
    """
    known = [*_MEMBERS, *(f"tconv:{method}" for method in methods)]
    chosen = [known_name(name, known, "peer") for name in wanted] or list(_MEMBERS)
    return list(dict.fromkeys(chosen))


def peer(name: str) -> Peer:
    """The peer of this name; what follows a colon is for the peer itself."""
    found: Peer = import_module(f"tconv.bench.peers.{name.partition(':')[0]}").PEER
    return found
