"""Type of a cause: one thing that may have gone wrong in a call, and the statements that fix it.

Every family of causes yields these from a `CauseContext`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from tconv._arrays import Array
from tconv.diagnosis.call_model import CallModel
from tconv.diagnosis.fix_writer import FixWriter
from tconv.dialects import Dialect

Change = Callable[[CallModel], CallModel | None]
Transform = Callable[[Array], Array]
Part = Literal[
    "weight", "grid", "bias", "x", "result", "rounding", "fault", "crop", "scale", "layout", "axes", "border", "places"
]


@dataclass(frozen=True, eq=False)
class Cause:
    """One thing that may have been done differently from the call that was given.

    A cause before the result has `change`, which returns the call with this cause, or None where it is impossible. A
    cause in the result has `transform`, on [N, C, *spatial], and its `inverse` where there is one. `apply` and
    `undo` are Python statements that change x, weight, bias or y in the dialect of the fix: `apply` fixes a call that
    lacks this change, `undo` one that has it wrongly.
    """

    name: str
    part: Part
    """Part of the call that it changes; "grid" is stride and dilation, "result" is y, "border" what lies beyond x or y,
    "places" are some places of y.
    """
    text: str
    change: Change | None = None
    transform: Transform | None = None
    inverse: Transform | None = None
    apply: str = ""
    undo: str = ""
    source: str = ""
    """An issue, owner/repo#number, that describes it."""
    certain: bool = field(default=True)
    """True if it predicts every number, False if it explains most of them or their statistics."""
    tried_with: Literal["all", "crop", "nothing"] = field(default="all")
    """Second causes that it is tried with: rare ones with none, or only with the crop and the common causes, so that
    the number of pairs stays small.
    """
    common: bool = field(default=False)
    """True if it is so common that rare causes are tried together with it."""


class CauseContext(NamedTuple):
    """Everything that a family of causes may read."""

    call: CallModel
    dialect: Dialect
    """Dialect of the call."""
    native: dict[str, Any]
    """Native arguments of the call."""
    output_shape: tuple[int, ...]
    """Shape [N, C, *spatial] of the output to explain."""
    writer: FixWriter
    quantized: bool = False
    """True if the output was quantized to int8 or int16."""
    narrow: str = ""
    """"float16" or "bfloat16" if the output has only numbers of this format."""
