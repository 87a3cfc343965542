"""Records of what a check finds about one layer: its shapes, cost, weight and checkerboard, and its place elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tconv._arrays import Array
from tconv.checking.trap import Trap
from tconv.geometry import Geometry, Macs
from tconv.models.inventory.model_layer import ModelLayer, Size


@dataclass(frozen=True)
class Shapes:
    """Sizes of x and y in canonical order, [N, C, *spatial]; names where they vary, None where they are not known."""

    x: tuple[Size, ...]
    y: tuple[Size, ...]
    sample_x: tuple[int, ...]
    """Sizes of x that the numbers of this report are computed for."""
    sample_y: tuple[int, ...] | None
    """Sizes of y that follow; None if the layer cannot take such an x."""
    chosen: tuple[str, ...] = ()
    """Sizes that the file leaves open and that were chosen: "time = 64"."""
    source: str = "the file"
    """"the file", "a run" if a run gave the sizes, or "a sample size"."""


@dataclass(frozen=True)
class Bytes:
    """Bytes that the layer reads and writes once; activations in the type in which it computes."""

    weight: int
    x: int
    y: int
    stored: int = 0
    """Bytes of the weight in the file, if they are others."""

    @property
    def total(self) -> int:
        """Bytes of all three."""
        return self.weight + self.x + self.y


@dataclass(frozen=True)
class Timing:
    """Time of a layer beside the least that its arithmetic and its bytes need on this machine."""

    bound: float | None
    """Seconds: max(2 * MACs / peak, bytes / bandwidth)."""
    bound_by: str = ""
    """"arithmetic" or "bytes"."""
    tconv: float | None = None
    """Seconds on tconv's kernel, median."""
    runtime: float | None = None
    """Seconds on the runtime, the layer alone, median."""
    runtime_name: str = ""
    note: str = ""
    """Reason for a time that is missing."""


@dataclass(frozen=True)
class CheckerboardVerdict:
    """Score of the layer's weight, from 0 to 1, and its meaning."""

    score: float | None
    verdict: str
    """"even", "a checkerboard", or "not measured"."""
    worst_channel: int | None = None
    worst: float | None = None
    reason: str = ""
    """Reason for which it was not measured."""


@dataclass(frozen=True)
class WeightStatistics:
    """Numbers of a weight that decide whether a runtime computes with it rightly."""

    minimum: float | None
    """Of the finite numbers; None if there are none."""
    maximum: float | None
    rms: float | None
    nan: int = 0
    inf: int = 0
    zeros: int = 0
    size: int = 0
    beyond_float16: int = 0
    """Numbers above 65504, which are infinite in float16."""
    subnormal_float16: int = 0
    """Numbers other than 0 below 2**-14, which float16 stores with fewer bits, or as 0."""
    dead_inputs: tuple[int, ...] = ()
    """Input channels whose numbers are all 0."""
    dead_outputs: tuple[int, ...] = ()
    equal_outputs: tuple[tuple[int, int], ...] = ()
    """Pairs of output channels with the same numbers, all zeros apart."""
    non_finite_outputs: tuple[int, ...] = ()
    """Output channels with a NaN or inf."""


@dataclass(frozen=True)
class NativeLayer:
    """The layer written for another framework."""

    code: str
    """Python from x and weight to y, in native layouts; "" if it cannot be written."""
    reasons: tuple[str, ...] = ()
    """Parts that the call alone cannot say: the code has a slice for them then, or there is none."""


@dataclass(frozen=True)
class TargetAnswer:
    """Answer of one target for a layer."""

    accepted: bool | None
    """None if the layer is not known well enough."""
    limits: tuple[Mapping[str, Any], ...] = ()
    """Limits that the layer breaks: {"key", "text", "source"}."""
    steps: tuple[str, ...] = ()
    """Names of the rewriting steps after which it is accepted, in order; empty without a plan."""
    plan: str = ""
    """The plan as text, or the reasons why none helps."""
    open_limits: tuple[Mapping[str, Any], ...] = ()
    """Limits that depend on a size which the file leaves open."""


@dataclass(frozen=True)
class Agreement:
    """Output of the layer in a run, beside that of the definition-following kernel for the same x."""

    runtime: str
    difference: float | None
    """Largest difference over the root mean square of the definition's output; None if the shapes differ."""
    rounding: float
    """Difference that rounding explains, in the same units."""
    shape: tuple[int, ...] = ()
    """Shape of the runtime's output, in its own layout."""
    expected: tuple[int, ...] = ()
    agrees: bool = True
    note: str = ""


@dataclass(frozen=True, eq=False)
class LayerCheck:
    """All that a check finds about one layer."""

    layer: ModelLayer
    geometry: Geometry | None
    """None if it could not be read, or depends on sizes that are computed at run time; `notes` says why."""
    in_channels: int | None = None
    out_channels: int | None = None
    shapes: Shapes | None = None
    macs: Macs | None = None
    """For the sample sizes of `shapes`."""
    nbytes: Bytes | None = None
    timing: Timing | None = None
    """Only of a check with run=True."""
    checkerboard: CheckerboardVerdict | None = None
    statistics: WeightStatistics | None = None
    calls: Mapping[str, NativeLayer] = field(default_factory=dict)
    """The layer by dialect: "torch", "tensorflow", "keras", "jax", "onnx"."""
    agreement: Agreement | None = None
    """Only of a check with run=True."""
    traps: tuple[Trap, ...] = ()
    targets: Mapping[str, TargetAnswer] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    """Parts that could not be read or measured, and why."""
    read_weight: Callable[[], Array | None] | None = field(default=None, repr=False)
    """Function that returns the weight in canonical order, read anew."""

    def canonical_weight(self) -> Array | None:
        """Return the weight as [C_in, C_out/groups, *kernel], read anew; None if it cannot be read."""
        try:
            return None if self.read_weight is None else self.read_weight()
        except Exception:  # a constant is read late, and a damaged file fails here in the words of its reader
            return None

    @property
    def name(self) -> str:
        """Name of the layer in the file."""
        return self.layer.name

    @property
    def overlap(self) -> tuple[tuple[int, ...], ...]:
        """Taps per phase and axis; empty without a geometry."""
        return () if self.geometry is None else self.geometry.overlap

    @property
    def receptive_field(self) -> tuple[int, ...]:
        """Inputs per axis that one output can depend on."""
        return () if self.geometry is None else self.geometry.receptive_field
