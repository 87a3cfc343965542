"""The correctness gate: inputs, a float64 reference output, and the largest error that an output may have.

x and weight are rounded to the dtype that is measured before the reference is computed: it is the exact result of what
every peer is given. The reference is computed by the polyphase method in float64, which is fast enough for large
layers. It is itself compared with `tconv.definition.gather`, the readable form of the operator, at random outputs
before it is used.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tconv import Geometry, conv_transpose, definition
from tconv.bench.dtypes import BYTES, UNITS, rounded, summed
from tconv.bench.layers import Layer
from tconv.errors import TconvError

if TYPE_CHECKING:  # at run time only public names of tconv: see `tconv.bench.revision`
    from tconv._arrays import Array

MORE_ROUNDINGS = 8
"""Spacings of a 2-byte dtype, in units of the root mean square, by which a peer's repeated roundings may exceed one."""

_TAP_VISITS = 20_000  # taps that the definition visits for one layer: about a tenth of a second
_CHANNELS = 16


class Reference(NamedTuple):
    """The reference of a layer: a folder with x.npy, w.npy and reference.npy, and facts about the last."""

    folder: Path
    rms: float
    """Root mean square of the reference output."""
    checked: int
    """Number of its elements that were compared with the definition."""
    dtype: str = "float32"
    """Dtype that x and w were rounded to."""
    activation: str = ""
    """Activation that follows the layer: "relu", or "" for none."""


class Limits(NamedTuple):
    """Largest error of an output: `sums` x the reference's root mean square + `rounding` x the element's own size."""

    sums: float
    rounding: float = 0.0


class Comparison(NamedTuple):
    """Result of comparing one output with the reference."""

    error: float
    """Largest difference beyond the rounding of the output itself, in units of the reference's root mean square; NaN if
    the output contains NaN."""
    fault: str
    """Reason to refuse the output; empty if it is right."""


def tolerance(terms: int, dtype: str = "float32") -> float:
    """Return the largest error that the sums' rounding explains, in units of the reference's root mean square.

    >>> f"{tolerance(1024):.1e}"
    '1.7e-05'

    A float32 sum of K random products in one chain has an error that grows with sqrt(K) in units of the sum's own size
    (Higham 2002, ch. 2.6); the largest over the outputs of the registry's layers is 2 * 2**-23 * (sqrt(K) + 4) at most,
    observed with PyTorch, OpenVINO, TensorFlow and XNNPACK. Twice that is allowed: minimal filtering needs it, and
    sums in a shorter dtype are a hundred times further away. float64 has the same factor of its own spacing; float16
    and bfloat16 are summed in float32. TF32 rounds the inputs, too: 8 of its spacings more.
    """
    rounding = 8 * UNITS[dtype] if dtype == "tf32" else 0.0
    return rounding + 4 * UNITS[summed(dtype)] * (math.sqrt(terms) + 4)


def limits(terms: int, dtype: str, inputs: str, once: bool) -> Limits:
    """Return the limits of an output in a dtype, of x and weight that were rounded to the dtype `inputs`.

    A 2-byte output is rounded to nearest, by half a spacing of its own size. With `once`, that is all; otherwise a peer
    may round more than once (as it adds up taps in the short dtype): MORE_ROUNDINGS spacings.
    """
    allowed = tolerance(terms, dtype)
    if BYTES[inputs] > BYTES[dtype]:  # they are rounded again
        allowed += 8 * UNITS[dtype]
    if BYTES[dtype] > 2:
        return Limits(allowed)
    return Limits(allowed + (0.0 if once else MORE_ROUNDINGS * UNITS[dtype]), UNITS[dtype] / 2)


def write_reference(layer: Layer, dtype: str, folder: Path, seed: int, activation: str = "") -> Reference:
    """Write random x and w (standard normal, rounded to the dtype) and the float64 reference output as files.

    x and w are stored in the dtype of the sums, float32 or float64. The reference's root mean square is that before the
    activation.

    Raises TconvError if the reference differs from the definition.
    """
    rng = np.random.default_rng(seed)
    g = layer.geometry
    x_shape, stored = (layer.batch, layer.in_channels, *layer.input_shape), np.dtype(summed(dtype)).type
    x, w = (rounded(rng.standard_normal(shape, stored), dtype) for shape in (x_shape, layer.weight_shape))
    np.save(folder / "x.npy", x)
    np.save(folder / "w.npy", w)
    wide = w.astype(np.float64)
    y = np.lib.format.open_memmap(folder / "reference.npy", "w+", np.float64, layer.output_shape)
    conv_transpose(x.astype(np.float64), wide, geometry=g, out=y, method="polyphase")
    rms = math.sqrt(math.fsum(float(np.square(image).sum()) for image in y) / y.size)
    checked = _compare_with_definition(layer, x, wide, y, rms, rng)
    if activation == "relu":
        np.maximum(y, 0, out=y)
    y.flush()
    return Reference(folder, rms, checked, dtype, activation)


def _compare_with_definition(layer: Layer, x: Array, w: Array, y: Array, rms: float, rng: np.random.Generator) -> int:
    """Compare random elements of y with the definition; return their number. Raises TconvError."""
    g = layer.geometry
    allowed = tolerance(layer.terms, "float64") * rms
    positions = min(256, max(128, _TAP_VISITS // math.prod(g.kernel)))
    checked = 0
    for _ in range(positions):
        n = int(rng.integers(layer.batch))
        place = tuple(int(rng.integers(size)) for size in y.shape[2:])
        element: Any = (n, slice(None), *place)
        channels = rng.permutation(w.shape[1])[:_CHANNELS]
        got = y[element].reshape(g.groups, -1)[:, channels].ravel()
        error = float(np.abs(got - by_definition(g, x[n : n + 1], w[:, channels], place)).max())
        if not error <= allowed:
            raise TconvError(
                f"layer {layer.name!r}: the float64 result at {place} of image {n} differs from the definition by "
                f"{error:.1e}, {allowed:.1e} is allowed; no peer can be checked against it. Report this as a bug, with "
                "the output of tconv env"
            )
        checked += got.size
    return checked


def by_definition(g: Geometry, x: Array, w: Array, place: tuple[int, ...]) -> Array:
    """Return all channels at one output position, by `definition.gather` on the inputs that reach it."""
    window = g.input_window([slice(at, at + 1) for at in place], x.shape[2:])
    channels = w.shape[1] * g.groups
    if any(part.start == part.stop for part in window):
        return np.zeros(channels)
    inputs: Any = (..., *window)
    small = x[inputs].astype(np.float64)
    front = [at + lo - s * part.start for at, (lo, _), s, part in zip(place, g.crop, g.stride, window, strict=True)]
    full = g.full_shape(small.shape[2:])
    crop = [(lo, size - lo - 1) for lo, size in zip(front, full, strict=True)]
    element: Array = definition.gather(small, w, geometry=Geometry(g.kernel, g.stride, crop, g.dilation, g.groups))
    return element.reshape(channels)


def compare(output: Any, reference: Array, rms: float, limits: Limits) -> Comparison:
    """Compare an output with the reference [N, C, *L], plane by plane.

    >>> compare(np.ones((1, 1, 3)), np.ones((1, 1, 3)), 1.0, Limits(1e-6))
    Comparison(error=0.0, fault='')
    """
    got = np.asarray(output)
    if got.shape != reference.shape:
        return Comparison(math.nan, f"the output has shape {got.shape}; {reference.shape} is right")
    worst, where = 0.0, (0, 0)
    for n in range(len(reference)):
        for c in range(reference.shape[1]):
            right = reference[n, c]
            beyond = np.abs(got[n, c] - right) - limits.rounding * np.abs(right)
            error = float(beyond.max()) / rms
            if not error <= worst:  # also true for NaN
                worst, where = error, (n, c)
                if math.isnan(error):
                    return Comparison(error, f"the output of image {n}, channel {c} contains NaN")
    if worst > limits.sums:
        place = f"image {where[0]}, channel {where[1]}"
        return Comparison(worst, f"error {worst:.1e} at {place}; rounding explains {limits.sums:.1e}")
    return Comparison(worst, "")
