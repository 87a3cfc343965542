"""The call of a single layer of Keras, replaced and put back: its class, its weights and its configuration stay.

A model that is saved, cloned or pickled is therefore Keras' own, and needs no tconv.
"""

from __future__ import annotations

from typing import Any

import keras

from tconv.keras import backend_call

STOCK = (keras.layers.Conv1DTranspose, keras.layers.Conv2DTranspose, keras.layers.Conv3DTranspose)
"""Keras' layers."""


class KernelCall:
    """Call of a layer on tconv's operator."""

    def __init__(self, layer: Any) -> None:
        self._layer = layer

    def __call__(self, inputs: Any) -> Any:
        return backend_call.call(self._layer, inputs)


def install(layer: Any) -> None:
    """Run a layer on tconv's operator from now on; programs that are compiled already keep what they have."""
    vars(layer)["call"] = KernelCall(layer)


def uninstall(layer: Any) -> None:
    """Undo `install`."""
    if is_installed(layer):
        del vars(layer)["call"]


def is_installed(layer: Any) -> bool:
    """Return True for a layer that `install` has changed."""
    return isinstance(vars(layer).get("call"), KernelCall)


def sublayers(layer: Any) -> list[Any]:
    """Return the layers that a model, a wrapper or another layer contains."""
    # the only undocumented name of Keras that is used: `layers` is of models, and lacks those of wrappers
    return list(getattr(layer, "_layers", getattr(layer, "layers", ())))


def reason_against(layer: Any) -> str:
    """Return the reason to leave a layer of Keras alone, or an empty text."""
    kind = type(layer)
    if kind.__module__.partition(".")[0] == "tconv":
        return "it is tconv's already"
    if "call" in vars(layer) and not is_installed(layer):
        return "its call was replaced by other code"
    if kind.call is not next(stock for stock in STOCK if isinstance(layer, stock)).call:
        return f"{kind.__qualname__} has a call of its own"
    return ""
