"""The peers: libraries that `tconv bench` compares with tconv, and tconv itself.

Each file defines one `PEER`. A new peer is one file and one line in `_MEMBERS`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib import import_module

from tconv.bench.layers import known_name
from tconv.bench.peers.interface import Peer

_MEMBERS = (
    "tconv",
    "torch",
    "shuffle",
    "torch_compile",
    "onnxruntime",
    "openvino",
    "tensorflow",
    "jax",
    "xnnpack",
)


def names() -> tuple[str, ...]:
    """Return the peers that `tconv bench` runs by default."""
    return _MEMBERS


def select(wanted: Sequence[str], methods: Iterable[str]) -> list[str]:
    """Return the peers of these names, "tconv:METHOD" being one of tconv's `methods`; all for no name.

    Raises ArgumentError, with close matches, for an unknown name.
    """
    known = [*_MEMBERS, *(f"tconv:{method}" for method in methods)]
    selected = [known_name(name, known, "peer") for name in wanted] or list(_MEMBERS)
    return list(dict.fromkeys(selected))


def peer(name: str) -> Peer:
    """Return the peer of this name. Text after a colon, as in "tconv:taps", is for the peer itself."""
    member: Peer = import_module(f"tconv.bench.peers.{name.partition(':')[0]}").PEER
    return member
