"""Layers in the words of any dialect, as operations that can be computed tile by tile."""

from __future__ import annotations

from typing import Any

import numpy as np

from tconv import _arrays
from tconv._arguments import Ints, entries_of, ints_of
from tconv._arrays import Array
from tconv.dialects import DataLayout, Dialect, NativeCall
from tconv.dialects import dialect as find_dialect
from tconv.dialects.base import OUTPUT_SIZE_ARGUMENTS
from tconv.dialects.tensorflow_padding import NATURAL
from tconv.errors import ArgumentError
from tconv.geometry import Geometry
from tconv.operator.call_reading import read_layer
from tconv.operator.prepared import layer_call
from tconv.scale.operators.layer import LayerOperator
from tconv.scale.regions import Sizes

_TRIALS = (7, 8, 64, 129, 1_000_003)
"""Sizes for which the crop must be the same, where the sizes of the input are not known."""


def layer(
    weight: Any,
    bias: Any = None,
    *,
    dialect: str = "torch",
    geometry: Geometry | None = None,
    activation: Any = None,
    sizes: Ints | None = None,
    **native: Any,
) -> LayerOperator:
    """Return a transposed convolution that can be computed tile by tile, of images [N, C, *sizes].

    >>> import numpy as np
    >>> layer(np.ones((8, 3, 4, 4), np.float32), stride=2, padding=1).output_sizes((1000, 1000))
    (2000, 2000)

    The arguments are those of `tconv.prepare`: `weight` may be a layer of a framework, `dialect` says whose words the
    others are. Images are [N, C, *sizes] in every dialect. Where the crop depends on the sizes of the input (an
    output_shape, for example), `sizes` are needed, and the layer is for images of these sizes only.

    Raises the errors of `tconv.prepare`, and ArgumentError for arguments that need sizes.
    """
    return layer_called(weight, bias, dialect, geometry, native, activation, sizes=sizes)


def layer_called(
    weight: Any,
    bias: Any,
    name_of_dialect: str,
    geometry: Geometry | None,
    native: dict[str, Any],
    activation: Any,
    *,
    sizes: Ints | None,
    dtype: Any = None,
) -> LayerOperator:
    """Return the layer of a call of `tconv.prepare`."""
    weight, bias, words, native, activation = layer_call(weight, bias, name_of_dialect, geometry, native, activation)
    library, (w, b) = _arrays.take_all(weight=weight, bias=bias)
    if geometry is None:
        if words in ("tensorflow", "tflite") and native.get("output_shape") is None:
            native = {**native, "output_shape": NATURAL}
        read_layer(library, w, b, words, None, native)
        call = _call(find_dialect(words), w.shape, native, sizes)
        geometry, layout = call.geometry, call.weight
    else:
        read_layer(library, w, b, words, geometry, native)
        layout = find_dialect("torch").weight_layout(geometry.ndim)
    # copies, which nobody changes
    own = own_array(layout.canonical(w, geometry.groups))
    made = LayerOperator(own, None if b is None else own_array(b), geometry, activation)
    return made if dtype is None else made.reading(dtype)


def own_array(array: Array) -> Array:
    """Return a copy that cannot be changed."""
    copy = np.array(array, array.dtype.newbyteorder("="), order="C")
    copy.flags.writeable = False
    return copy


def _call(speaker: Dialect, shape: tuple[int, ...], native: dict[str, Any], sizes: Ints | None) -> NativeCall:
    """Return the meaning of arguments for an input of these sizes, or for any; raise ArgumentError if there is none."""
    given = [name for name in OUTPUT_SIZE_ARGUMENTS if native.get(name) is not None and native[name] is not NATURAL]
    call = None if given else speaker.read_without_x(shape, native)
    if sizes is None:
        if call is not None:
            trials = [_read(speaker, call.data, shape, native, (size,) * call.geometry.ndim) for size in _TRIALS]
            if len({each.geometry for each in trials}) == 1:
                return call
        what = f"{given[0]} is that" if given else f"these arguments of {speaker.framework} have the meaning"
        raise ArgumentError(
            f"{what} of one size of the input, which is not known. Write sizes=, those of the input, or "
            "geometry=tconv.Geometry(kernel, stride, crop) with a weight [C_in, C_out/groups, *kernel]"
        )
    wanted = entries_of(sizes) or (sizes,)
    numbers = ints_of(wanted, "sizes", len(wanted), least=1)
    layout = {name: value for name, value in native.items() if name in speaker.layout_arguments}
    return _read(speaker, speaker.data_layout(len(numbers), len(numbers) + 2, **layout), shape, native, numbers)


def _read(
    speaker: Dialect, data: DataLayout, shape: tuple[int, ...], native: dict[str, Any], sizes: Sizes
) -> NativeCall:
    """Return the meaning of a call with an input of these sizes."""
    layout = {name: value for name, value in native.items() if name in speaker.layout_arguments}
    channels = speaker.weight_layout(len(sizes), **layout).sizes(shape)["I"]
    output = next((native[name] for name in OUTPUT_SIZE_ARGUMENTS if name in native), None)
    entries = entries_of(output) or ()
    batch = data.sizes(entries)[0] if len(entries) == len(data.axes) else 1
    batch = batch if isinstance(batch, int) and batch > 0 else 1
    return speaker.read(data.native_shape((batch, channels, *sizes)), shape, native)
