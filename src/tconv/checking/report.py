"""Result of a check: every transposed convolution of a model, and its traps, as text and as JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

import numpy as np

from tconv.checking.layer_check import LayerCheck
from tconv.checking.summary import text
from tconv.checking.trap import SEVERITIES, Trap
from tconv.models.inventory.model_layer import ModelInventory


@dataclass(frozen=True)
class ModelRun:
    """One run of the model, or the reason why there was none."""

    runtime: str
    """Program that ran it: "onnxruntime 1.32.0"; "" if none did."""
    inputs: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Shapes of the inputs, by name."""
    error: str = ""
    """Reason for which there was no run."""


@dataclass(frozen=True)
class Machine:
    """Peaks of this machine, by which bounds are computed."""

    gflops: float
    """Multiply-adds of float32 in 10**9 operations per second, two for each."""
    gbytes: float
    """Bytes copied, read and written together, in 10**9 per second."""
    threads: int
    source: str = ""
    """Name of the measurement that had the highest rate: "fma", "sgemm"."""


@dataclass(frozen=True, eq=False)
class Check:
    """Answer of `tconv.check`. `print` it."""

    source: str
    """Name of the file, or type of the module."""
    format: str
    layers: tuple[LayerCheck, ...]
    producer: str = ""
    version: str = ""
    file_traps: tuple[Trap, ...] = ()
    """Traps of the whole file; those of layers are in `layers`."""
    targets: tuple[str, ...] = ()
    """Names of the targets that were asked for."""
    run: ModelRun | None = None
    machine: Machine | None = None
    notes: tuple[str, ...] = ()
    """Parts of the file that could not be read."""
    inventory: ModelInventory | None = field(default=None, repr=False)

    @property
    def traps(self) -> tuple[Trap, ...]:
        """All traps, the gravest first, then in the order of the layers."""
        every = [*self.file_traps, *(trap for layer in self.layers for trap in layer.traps)]
        return tuple(sorted(every, key=lambda trap: SEVERITIES.index(trap.severity)))

    def facts(self) -> dict[str, Any]:
        """Return everything as dictionaries, lists, texts and numbers, for JSON. No number is NaN or infinite."""
        return {
            "tconv_check": 1,
            "source": self.source,
            "format": self.format,
            "producer": self.producer,
            "version": self.version,
            "layers": [_layer_facts(layer) for layer in self.layers],
            "traps": [plain(trap.facts()) for trap in self.traps],
            "targets": list(self.targets),
            "run": plain(self.run),
            "machine": plain(self.machine),
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        return text(self)


def _layer_facts(check: LayerCheck) -> dict[str, Any]:
    layer, g = check.layer, check.geometry
    geometry = None if g is None else {name: plain(getattr(g, name)) for name in _GEOMETRY}
    return {
        "name": layer.name,
        "place": layer.place,
        "location": plain(layer.location),
        "op": layer.op,
        "form": layer.form,
        "dialect": layer.dialect,
        "arguments": plain(layer.arguments),
        "dtype": layer.dtype,
        "activation": layer.activation,
        "weight": None if layer.weight is None else _array_facts(layer.weight),
        "bias": None if layer.bias is None else _array_facts(layer.bias),
        "in_channels": check.in_channels,
        "out_channels": check.out_channels,
        "geometry": geometry,
        "crop_origin": layer.crop_origin,
        "shapes": plain(check.shapes),
        "macs": None if check.macs is None else {"exact": check.macs.exact, "border_free": check.macs.border_free},
        "bytes": None if check.nbytes is None else {**plain(check.nbytes), "total": check.nbytes.total},
        "timing": plain(check.timing),
        "overlap": plain(check.overlap),
        "receptive_field": plain(check.receptive_field),
        "checkerboard": plain(check.checkerboard),
        "statistics": plain(check.statistics),
        "calls": {name: plain(call) for name, call in check.calls.items()},
        "agreement": plain(check.agreement),
        "traps": [plain(trap.facts()) for trap in check.traps],
        "targets": {name: plain(answer) for name, answer in check.targets.items()},
        "notes": list(check.notes),
    }


_GEOMETRY = ("kernel", "stride", "crop", "dilation", "groups")


def _array_facts(array: Any) -> dict[str, Any]:
    """Return shape, types and origin of a stored array, without its numbers."""
    scales = array.quantization
    quantization = (
        None if scales is None else {"dtype": scales.dtype, "axis": scales.axis, "scales": scales.scales.size}
    )
    return {
        "shape": plain(array.shape),
        "dtype": array.dtype,
        "stored_dtype": array.stored_dtype or array.dtype,
        "origin": array.origin,
        "nbytes": int(array.nbytes),
        "quantization": quantization,
    }


def plain(value: Any) -> Any:
    """Return a value as JSON has it: dataclasses as dictionaries, arrays as lists, NaN and inf as None."""
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(entry) for entry in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, (int, str, bool)) or value is None:
        return value
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return str(value)
