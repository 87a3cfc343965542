"""A cause: one way in which a call goes wrong, how it changes the call, its words, and the line that mends it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tconv.diagnosis.canonical_call import Array, Setting

Change = Callable[[Setting], Setting | None]
Turn = Callable[[Array], Array]


@dataclass(frozen=True, eq=False)
class Cause:
    """One thing that may have been done otherwise.

    `change` makes the other call of a call, or None where it cannot be made. What is done to the result instead has
    `turn`, on [N, C, *spatial]; `back` undoes it, where it can be undone. `apply` and `undo` are Python statements that
    change x, weight, bias or y in the words of the dialect that the fix is written in: `apply` for a call that lacks
    this, `undo` for one that has it wrongly.
    """

    name: str
    part: str
    words: str
    change: Change | None = None
    turn: Turn | None = None
    back: Turn | None = None
    apply: str = ""
    undo: str = ""
    source: str = ""
    """An issue, owner/repo#number, that describes it."""
    certain: bool = field(default=True)
    """Whether it predicts every number; otherwise it explains most of them, or their statistics."""
