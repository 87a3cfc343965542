"""Record of a known fault of a framework, runtime or converter, and the surroundings of a layer that can decide."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tconv.dialects.fault_conditions import Native, Sizes
from tconv.geometry import Geometry

Outcome = Literal["another output", "unknown output", "another shape", "refusal", "end of the process"]


@dataclass(frozen=True)
class LayerSurroundings:
    """Parts of a layer in a model that are not in its call."""

    geometry: Geometry
    in_channels: int
    out_channels: int
    before: Sequence[Any] = ()
    """Operations before it, the nearest first, each with .op, .attributes and .constants."""
    after: Sequence[Any] = ()
    """Operations behind it, the nearest first."""
    open_sizes: bool = False
    """True if the file leaves a spatial size open."""
    bias: bool = False
    scales_axis: str = ""
    """Channels that have a scale each, where the weight is quantized: "I" for those of the input, "O"; else ""."""


@dataclass(frozen=True)
class Fault:
    """Known fault of a named version, and the calls that it affects."""

    key: str
    """Name of this fault in `FAULTS`."""
    dialects: tuple[str, ...]
    """Dialects whose calls it affects."""
    versions: str
    """Package and versions, as in "onnxruntime 1.32.0"."""
    what: str
    """Description of the fault in a sentence: the behaviour in place of the rules."""
    source: str
    """An issue, owner/repo#number, or "observed" with the version it was observed with."""
    outcome: Outcome
    """Result of an affected call. "another output" has its numbers in `tconv.diagnosis.causes.fault_effects`."""
    applies: Callable[[Geometry, Sizes, Native], bool]
    """Condition: True for the geometry, the input's spatial shape and the native arguments of an affected call."""
    computation: Literal["layer", "int8 layer", "gradient of x", "fusion", "conversion"] = "layer"
    """Computation that it affects. A layer is one of floats; an int8 layer has x, weight and y in 8 bits; a fusion is
    that of a layer with its neighbours; a conversion is made by a converter or optimizer, before anything is run."""
    around: Callable[[LayerSurroundings], bool] | None = None
    """Condition on channels and neighbours; None where the call decides."""
    reach: Literal["in use", "past", "development", "on request"] = "in use"
    """Use of the software: "past" for versions before a right one, "development" for evaluators and inference that
    nobody deploys, "on request" for conversions that only some users ask for, such as quantization."""

    @property
    def name(self) -> str:
        """Versions and description in one line."""
        return f"{self.versions}: {self.what}"
