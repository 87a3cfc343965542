"""Interface of a framework's comparison: the sides of a case, which live in one process, and their check."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from tconv.bench.peers.interface import UnableError

KINDS = ("layers", "training", "overhead", "models")
"""Kinds of cases: forward passes of layers, their training steps, calls of a tiny layer, whole models."""
OWN = "tconv"
"""Side of every case that is tconv's."""
ALONE = "layers alone"
"""Side that runs a model's transposed convolutions and nothing else, for their share of the model's time."""


class Case(NamedTuple):
    """A model or layer by name, in a dtype and layout; `backend` is that of Keras."""

    name: str
    dtype: str = "float32"
    layout: str = "first"
    backend: str = ""


class Gap(NamedTuple):
    """Distance of one side's outputs from the right ones."""

    difference: float
    allowed: float
    place: str = "the outputs"
    """The output that is meant."""

    @property
    def wrong(self) -> bool:
        """True if it is larger than allowed, or NaN."""
        return not self.difference <= self.allowed


class Sides(NamedTuple):
    """The sides of a case, each a call that returns its outputs when they are computed, and facts for the table.

    `gap` compares the outputs of a side with the right ones. `absent` has the reason of each side that this case lacks.
    """

    calls: dict[str, Callable[[], Any]]
    gap: Callable[[str, Any], Gap]
    facts: dict[str, Any]
    absent: dict[str, str] = {}  # noqa: RUF012  # never changed
    begin: Callable[[], None] = lambda: None
    """Called after the check, before anything is timed."""
    again: bool = False
    """True if a second call gives the same outputs; these are then the ones that are checked."""


class Framework(NamedTuple):
    """One framework that tconv is compared with, inside its own programs."""

    title: str
    packages: tuple[str, ...]
    """Distributions whose versions are recorded; the first is the one to install."""
    kinds: tuple[str, ...]
    """Kinds of cases that it has, the usual one first."""
    names: Callable[[str], list[str]]
    """Names of the cases of a kind."""
    select: Callable[[str, Sequence[str]], list[str]]
    """Return the cases of a kind with these names; all for no name. Raises ArgumentError for an unknown one."""
    start: Callable[[int, str], None]
    """Import the framework with this many threads, on a backend. Raises ImportError."""
    build: Callable[[str, Case], Sides]
    """Build a case of a kind. Raises UnableError with the reason if there is none."""
    dtypes: tuple[str, ...] = ("float32",)
    layouts: tuple[str, ...] = ("first",)
    """Layouts that it has, the usual one first."""
    backends: tuple[str, ...] = ("",)
    shared: bool = False
    """True if cases follow each other in one process; otherwise each has its own."""
    gate: str = ""
    """A sentence about the check; empty for the one of PyTorch, which depends on the dtype."""


def reason_of(error: Exception) -> str:
    """Return the reason for a table why a side is absent."""
    text = str(error) if isinstance(error, UnableError) else f"{type(error).__name__}: {error}"
    return " ".join(text.split())[:300]
