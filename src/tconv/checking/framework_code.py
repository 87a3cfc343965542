"""One layer written for five frameworks."""

from __future__ import annotations

from tconv.checking.layer_check import NativeLayer
from tconv.dialects import dialect
from tconv.errors import TconvError
from tconv.geometry import Geometry

FRAMEWORKS = ("torch", "tensorflow", "keras", "jax", "onnx")


def native_layers(geometry: Geometry, sizes: tuple[int, ...]) -> dict[str, NativeLayer]:
    """Return the layer in each framework's words, for these spatial sizes of x."""
    return {name: _native(name, geometry, sizes) for name in FRAMEWORKS}


def _native(name: str, geometry: Geometry, sizes: tuple[int, ...]) -> NativeLayer:
    rules = dialect(name)
    try:
        reasons = tuple(rules.reasons_against(geometry, sizes))
        return NativeLayer(rules.code(geometry, sizes), reasons)
    except TconvError as error:
        return NativeLayer("", (str(error),))
