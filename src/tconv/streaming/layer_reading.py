"""Reading of the arguments of one layer in any dialect, where the length of the input is not known.

The crop along time must be the same for every length. Rules that need the whole length are refused.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from tconv import _arrays
from tconv._arrays import Array
from tconv.dialects import DataLayout, Dialect, NativeCall, dialect
from tconv.dialects.base import OUTPUT_SIZE_ARGUMENTS
from tconv.dialects.tensorflow_padding import NATURAL
from tconv.errors import ArgumentError, TconvError
from tconv.geometry import Geometry
from tconv.kernels.problem import accumulator
from tconv.operator.call_reading import read_layer
from tconv.operator.prepared import layer_call

_LENGTHS = (7, 8, 64, 129, 1_000_003)
"""Lengths for which the crop must be the same."""
_TRIAL = 7
"""Size of the other axes before the first chunk."""


class StreamLayer(NamedTuple):
    """One layer in canonical terms, and the layouts of its chunks."""

    weight: Array
    bias: Array | None
    activation: Any
    geometry_for: Callable[[tuple[int, ...]], Geometry]
    """geometry for the sizes of the axes behind time"""
    data: DataLayout
    result: DataLayout
    library: str
    groups: int

    @property
    def in_channels(self) -> int:
        """Input channels."""
        return int(self.weight.shape[0])

    @property
    def out_channels(self) -> int:
        """Output channels."""
        return int(self.weight.shape[1]) * self.groups


def read_stream_layer(
    weight: Any, bias: Any, name: str, geometry: Geometry | None, activation: Any, native: dict[str, Any]
) -> StreamLayer:
    """Return the layer that these arguments of `tconv.prepare` mean.

    Raises its errors, and ArgumentError for arguments whose meaning depends on the length of the input.
    """
    weight, bias, name, native, activation = layer_call(weight, bias, name, geometry, native, activation)
    library, (w, b) = _arrays.take_all(weight=weight, bias=bias)
    if geometry is None:
        native = _natural(dialect(name), native)
        call, geometry_for = _read(dialect(name), w.shape, native)
    read_layer(library, w, b, name, geometry, native)
    if geometry is not None:
        layout = DataLayout.of("NC*", geometry.ndim)
        call = NativeCall(geometry, layout, dialect("torch").weight_layout(geometry.ndim), layout)
        geometry_for = partial(_same, geometry)
    dtype = accumulator(w.dtype) if w.dtype.kind in "iu" else w.dtype.newbyteorder("=")
    # copies, which nobody changes
    own = np.array(call.weight.canonical(w, call.geometry.groups), dtype, order="C")
    own.flags.writeable = False
    own_bias = None if b is None else np.array(b, dtype, order="C")
    return StreamLayer(own, own_bias, activation, geometry_for, call.data, call.result, library, call.geometry.groups)


def _same(geometry: Geometry, rest: tuple[int, ...]) -> Geometry:
    return geometry


def _read(
    speaker: Dialect, shape: tuple[int, ...], native: dict[str, Any]
) -> tuple[NativeCall, Callable[[tuple[int, ...]], Geometry]]:
    """Return the meaning of a call with any length, and its geometry as a function of the other sizes."""
    call = speaker.read_without_x(shape, native)
    if call is None or _sizes_given(native):
        raise _length_needed(speaker, shape, native)
    channels = call.weight.sizes(shape)["I"] * (1 if call.weight.grouped == "I" else call.geometry.groups)
    data = call.data

    def geometry_for(rest: tuple[int, ...]) -> Geometry:
        found = {
            speaker.read(data.native_shape((1, channels, length, *rest)), shape, native).geometry for length in _LENGTHS
        }
        if len(found) > 1:
            raise _length_needed(speaker, shape, native)
        return found.pop()

    geometry_for((_TRIAL,) * (call.geometry.ndim - 1))  # raises the error that the first chunk would raise
    return call, geometry_for


def _natural(speaker: Dialect, native: dict[str, Any]) -> dict[str, Any]:
    """Return arguments with the natural output_shape where a dialect needs one, and none was given."""
    needed = speaker.name in ("tensorflow", "tflite") and native.get("output_shape") is None
    return {**native, "output_shape": NATURAL} if needed else native


def _sizes_given(native: dict[str, Any]) -> list[str]:
    """Return the names of the arguments that give a size of the output."""
    return [name for name in OUTPUT_SIZE_ARGUMENTS if native.get(name) is not None and native[name] is not NATURAL]


def _length_needed(speaker: Dialect, shape: tuple[int, ...], native: dict[str, Any]) -> TconvError:
    """Return the error for arguments that mean another crop for every length of the input."""
    given = _sizes_given(native)
    subject = f"the meaning of {speaker.framework}'s arguments depends on the sizes of x"
    instead = "geometry=tconv.Geometry(kernel, stride, crop), with a weight [C_in, C_out/groups, *kernel]"
    if given:
        subject = f"{given[0]} is that of the whole output"
        rest = {name: value for name, value in native.items() if name not in OUTPUT_SIZE_ARGUMENTS}
        with suppress(TconvError):
            _read(speaker, shape, _natural(speaker, rest))
            instead = f"the call without {given[0]}="
    return ArgumentError(f"{subject}, and a stream does not know its length. Write {instead}")
