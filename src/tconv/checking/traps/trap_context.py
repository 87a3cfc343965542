"""Facts about one layer that the conditions of traps read, and the record of a kind of trap."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.checking.layer_check import LayerCheck
from tconv.checking.layer_reading import ReadLayer
from tconv.checking.trap import Severity, Trap
from tconv.geometry import Geometry
from tconv.models.inventory.model_layer import ModelInventory, ModelLayer
from tconv.targets.layer_facts import LayerFacts


@dataclass(frozen=True)
class TrapKind:
    """One kind of trap: a row of docs/traps.md, a rule of a SARIF file, a word for --fail-on."""

    key: str
    severity: Severity
    title: str
    """Name in a few words."""
    meaning: str
    """Condition and consequence, in a sentence or two."""
    who: str
    """Runtimes and versions that are hit."""
    source: str
    instead: str
    """Line or setting to write in its place."""

    def trap(self, layer: ModelLayer | None, what: str, *, instead: str = "", who: str = "", **numbers: Any) -> Trap:
        """Return the trap of a layer, or of the whole file, with the sentence about this file."""
        name = "" if layer is None else layer.name
        return Trap(self.key, name, self.severity, what, who or self.who, self.source, instead or self.instead, numbers)


@dataclass(frozen=True, eq=False)
class TrapContext:
    """One layer with all that is known about it."""

    model: ModelInventory
    read: ReadLayer
    check: LayerCheck
    facts: LayerFacts | None
    weight: Array | None
    """[C_in, C_out/groups, *kernel]; None if its numbers are not in the file."""

    @property
    def layer(self) -> ModelLayer:
        """The layer as the inventory has it."""
        return self.read.layer

    @property
    def geometry(self) -> Geometry | None:
        """Its geometry for the sample sizes."""
        return self.read.geometry

    def bias(self) -> Array | None:
        """Return the bias; None if there is none, or it cannot be read."""
        if self.layer.bias is None:
            return None
        try:
            return np.asarray(self.layer.bias.read()).reshape(-1)
        except Exception:  # a constant is read late, and a damaged file fails here in the words of its reader
            return None

    @property
    def has_open_sizes(self) -> bool:
        """True if the file leaves a spatial size of x open."""
        shapes = self.read.shapes
        return shapes is not None and any(not isinstance(size, int) for size in shapes.x[2:])

    @property
    def scales_axis(self) -> str:
        """Channels that have a scale each in a quantized weight: "I", "O"; "" for none, or one scale."""
        stored, call = self.layer.weight, self.read.call
        if stored is None or stored.quantization is None or stored.quantization.axis is None or call is None:
            return ""
        axis = call.weight.axes[stored.quantization.axis]
        return axis if isinstance(axis, str) and axis in "IO" else ""

    @property
    def is_depthwise(self) -> bool:
        """True for as many groups as input channels, more than one."""
        g = self.geometry
        return g is not None and g.groups > 1 and g.groups == self.read.in_channels
