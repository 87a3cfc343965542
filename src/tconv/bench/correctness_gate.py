"""The correctness gate: inputs, their float64 truth, and how far an output may be from it.

The truth is the polyphase method in float64, which is fast enough for large layers, and is itself compared with
`tconv.definition.gather`, the operator written to be read, at random outputs before it is believed.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tconv import Geometry, conv_transpose, definition
from tconv.bench.layers import Layer
from tconv.errors import TconvError

if TYPE_CHECKING:  # at run time only public names of tconv: see `tconv.bench.revision`
    from tconv._arrays import Array

UNITS = {"f32": 2.0**-23, "tf32": 2.0**-10, "bf16": 2.0**-7}
"""Spacing of the numbers around 1 in each precision."""

_TAP_VISITS = 20_000  # how many taps the definition walks for one layer: about a tenth of a second
_CHANNELS = 16


class Truth(NamedTuple):
    """What a layer is checked against: files x.npy, w.npy and truth.npy, and the size of the truth."""

    folder: Path
    rms: float
    """Root of the mean square of the truth."""
    checked: int
    """How many of its elements were compared with the definition."""


def tolerance(terms: int, precision: str = "f32") -> float:
    """The largest error that rounding explains, in units of the truth's root mean square.

    >>> f"{tolerance(1024):.1e}"
    '1.7e-05'

    A float32 sum of K random products in one chain has an error that grows with sqrt(K) in units of the sum's own size
    (Higham 2002, ch. 2.6); the largest over the outputs of the registry's layers is 2 * 2**-23 * (sqrt(K) + 4) at most,
    observed with PyTorch, OpenVINO, TensorFlow and XNNPACK. Twice that is allowed: minimal filtering needs it, and
    bfloat16 and TF32 are a hundred times further away. They round the inputs, too: 8 spacings more.
    """
    rounding = 0.0 if precision == "f32" else 8 * UNITS[precision]
    return rounding + 4 * UNITS["f32"] * (math.sqrt(terms) + 4)


def write(layer: Layer, folder: Path, seed: int) -> Truth:
    """Random x and w (standard normal, float32) and the truth as files. Raises TconvError if the truth is none."""
    rng = np.random.default_rng(seed)
    g = layer.geometry
    x = rng.standard_normal((layer.batch, layer.in_channels, *layer.input_shape), np.float32)
    w = rng.standard_normal(layer.weight_shape, np.float32)
    np.save(folder / "x.npy", x)
    np.save(folder / "w.npy", w)
    wide = w.astype(np.float64)
    truth = np.lib.format.open_memmap(folder / "truth.npy", "w+", np.float64, layer.output_shape)
    conv_transpose(x.astype(np.float64), wide, geometry=g, out=truth, method="polyphase")
    rms = math.sqrt(math.fsum(float(np.square(image).sum()) for image in truth) / truth.size)
    checked = _compare_with_definition(layer, x, wide, truth, rms, rng)
    truth.flush()
    return Truth(folder, rms, checked)


def _compare_with_definition(
    layer: Layer, x: Array, w: Array, truth: Array, rms: float, rng: np.random.Generator
) -> int:
    g = layer.geometry
    allowed = 2.0**-52 / UNITS["f32"] * tolerance(layer.terms) * rms
    positions = min(256, max(128, _TAP_VISITS // math.prod(g.kernel)))
    checked = 0
    for _ in range(positions):
        n = int(rng.integers(layer.batch))
        place = tuple(int(rng.integers(size)) for size in truth.shape[2:])
        element: Any = (n, slice(None), *place)
        channels = rng.permutation(w.shape[1])[:_CHANNELS]
        got = truth[element].reshape(g.groups, -1)[:, channels].ravel()
        error = float(np.abs(got - by_definition(g, x[n : n + 1], w[:, channels], place)).max())
        if not error <= allowed:
            raise TconvError(
                f"layer {layer.name!r}: the float64 result at {place} of image {n} is {error:.1e} away from the "
                f"definition, {allowed:.1e} is allowed; no peer can be checked against it. Write an issue with "
                "the output of tconv env"
            )
        checked += got.size
    return checked


def by_definition(g: Geometry, x: Array, w: Array, place: tuple[int, ...]) -> Array:
    """All channels of one output element, by `definition.gather` on the inputs that reach it."""
    window = g.input_window([slice(at, at + 1) for at in place], x.shape[2:])
    channels = w.shape[1] * g.groups
    if any(part.start == part.stop for part in window):
        return np.zeros(channels)
    inputs: Any = (..., *window)
    small = x[inputs].astype(np.float64)
    front = [at + lo - s * part.start for at, (lo, _), s, part in zip(place, g.crop, g.stride, window, strict=True)]
    whole = g.full_shape(small.shape[2:])
    crop = [(lo, size - lo - 1) for lo, size in zip(front, whole, strict=True)]
    one: Array = definition.gather(small, w, geometry=Geometry(g.kernel, g.stride, crop, g.dilation, g.groups))
    return one.reshape(channels)


class Verdict(NamedTuple):
    """What the gate says about one output."""

    error: float
    """Largest distance from the truth, in units of its root mean square; NaN if the output holds any."""
    words: str
    """Why the output is refused; empty if it is not."""


def judge(output: Any, truth: Array, rms: float, allowed: float) -> Verdict:
    """Compare an output with the truth, plane by plane.

    >>> judge(np.ones((1, 1, 3)), np.ones((1, 1, 3)), 1.0, 1e-6)
    Verdict(error=0.0, words='')
    """
    got = np.asarray(output)
    if got.shape != truth.shape:
        return Verdict(math.nan, f"the output has shape {got.shape}; {truth.shape} is right")
    worst, where = 0.0, (0, 0)
    for n in range(len(truth)):
        for c in range(truth.shape[1]):
            error = float(np.abs(got[n, c] - truth[n, c]).max()) / rms
            if not error <= worst:  # NaN comes first
                worst, where = error, (n, c)
                if math.isnan(error):
                    return Verdict(error, f"the output of image {n}, channel {c} holds NaN")
    if worst > allowed:
        return Verdict(worst, f"error {worst:.1e} at image {where[0]}, channel {where[1]}; {allowed:.1e} is rounding")
    return Verdict(worst, "")
