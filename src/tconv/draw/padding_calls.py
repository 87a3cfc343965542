"""Native calls of several dialects on one layer: what each of them removes from the full result.

The padding picture compares them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from tconv import dialects
from tconv._arguments import shown
from tconv.dialects.base import compact
from tconv.draw.dialect_words import layer_words
from tconv.errors import ArgumentError, TconvError
from tconv.geometry import Geometry


class PaddedCall(NamedTuple):
    """One native call: the framework, the arguments that choose the crop as they are written, and their meaning."""

    framework: str
    words: str
    geometry: Geometry


def read(layer: Geometry, input_shape: tuple[int, ...], calls: Sequence[Any]) -> list[PaddedCall]:
    """Return the calls on a layer without a crop. Raises ArgumentError, and what the dialects raise.

    >>> [call] = read(Geometry((3,), 2), (4,), [{"dialect": "keras", "padding": "same"}])
    >>> call.framework, call.words, call.geometry.crop
    ('Keras', "padding='same'", ((0, 1),))
    """
    return [_call(layer, input_shape, call) for call in calls]


def usual(layer: Geometry, input_shape: tuple[int, ...]) -> list[PaddedCall]:
    """Return the calls that people compare, those that can be written for this layer."""
    return read(layer, input_shape, usual_calls(layer, input_shape))


def usual_calls(layer: Geometry, input_shape: tuple[int, ...]) -> list[dict[str, Any]]:
    """Return the native arguments, with their dialect, of the calls that people compare."""
    pads = [(e - 1) // 2 for e in layer.extent]
    extra = [s - e + 2 * p for s, e, p in zip(layer.stride, layer.extent, pads, strict=True)]
    large = tuple(s * n for s, n in zip(layer.stride, input_shape, strict=True))
    found: list[dict[str, Any]] = []
    for call in (
        {"dialect": "torch", "padding": compact(pads)},
        {"dialect": "torch", "padding": compact(pads), "output_padding": compact(extra)} if any(extra) else None,
        {"dialect": "keras", "padding": "same"},
        {"dialect": "tensorflow", "padding": "SAME", "output_shape": large},
        {"dialect": "onnx", "auto_pad": "SAME_UPPER"},
        {"dialect": "onnx", "auto_pad": "SAME_LOWER"},
        {"dialect": "jax", "padding": "SAME"},
    ):
        with suppress(TconvError):  # a dialect may not have this layer
            if call is not None:
                _call(layer, input_shape, call)
                found.append(call)
    return found


def _call(layer: Geometry, input_shape: tuple[int, ...], given: Any) -> PaddedCall:
    if isinstance(given, str):
        given = {"dialect": given}
    if not isinstance(given, Mapping):
        raise ArgumentError(
            f"a call to compare is {shown(given)}; the native arguments are needed, and the dialect of their words. "
            'Write dict(dialect="keras", padding="same")'
        )
    native = {str(name): value for name, value in given.items()}
    if sizes := [name for name in ("kernel", "input", "output") if name in native]:
        raise ArgumentError(
            f"{sizes[0]}= was given in a call to compare; all calls are of one layer. Write "
            f"tconv.draw.padding(kernel, input_shape, ...), and the call without {sizes[0]}="
        )
    dialect = dialects.dialect(native.pop("dialect", "torch"))
    words = ", ".join(f"{name}={shown(value)}" for name, value in native.items())
    geometry = dialect.geometry(kernel=layer.kernel, input=input_shape, **layer_words(dialect, layer, native), **native)
    if geometry.groups > 1:
        raise ArgumentError("groups change no place. Write the calls to compare without them")
    geometry.output_shape(input_shape)  # refuses an empty output
    return PaddedCall(dialect.framework, words or "no padding", geometry)
