"""Responses of a layer's own weight that are small enough to be drawn: to one impulse, and to a constant input."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from tconv._arrays import Array
from tconv.geometry import Geometry
from tconv.operator.functional import conv_transpose
from tconv.weights.artifacts.phase_gains import gains_of

_LEAST = 20
"""Least outputs across, so that a pattern is repeated often enough to be seen."""
_MOST = {1: 480, 2: 72}
"""Most outputs across by the axes that are drawn."""
_AT_ONCE = 1 << 20
"""Numbers of a weight that are looked at together."""


@dataclass(frozen=True, eq=False)
class Responses:
    """Responses of one output channel, and the mixture of input channels that shows its pattern most.

    Arrays are [L] or [H, W]: one or two spatial axes, of three the middle plane.
    """

    channel: int
    inputs: int
    """Input channels that are mixed."""
    impulse: Array
    """Uncropped output for one 1 in a field of zeros: the kernel, spread by the dilation."""
    constant: Array
    """Output for a constant 1, with borders and crop; the front part of a long one."""
    input_shape: tuple[int, ...]
    shown: tuple[int, ...]
    whole: tuple[int, ...]
    """Sizes of the constant's output that are shown, and that there are."""
    pattern: float
    """Share of the pattern in the root mean square of this channel, far from the borders."""


def responses_of(weight: Array, geometry: Geometry, channel: int | None = None) -> Responses | None:
    """Return the responses of one output channel of a canonical weight [C_in, C_out/groups, *kernel].

    Without a `channel`, it is the one whose phases differ most in absolute numbers.

    None if there is nothing to draw: more than three spatial axes, a huge kernel, an empty or non-finite weight.
    """
    if geometry.ndim > 3 or not weight.size or max(geometry.extent) > 4096:
        return None
    known = channel is not None and 0 <= channel < geometry.groups * weight.shape[1]
    strongest = _strongest(weight, geometry)
    if strongest is None:
        return None
    group, column = divmod(channel, weight.shape[1]) if channel is not None and known else strongest
    size = len(weight) // geometry.groups
    taps = np.asarray(weight[group * size : (group + 1) * size, column], np.float64)
    mixture, pattern = _mixture(gains_of(taps[:, None], geometry).reshape(size, -1))
    kernel = np.tensordot(mixture, taps, (0, 0))
    single = replace(geometry, groups=1)
    plain = replace(single, crop=((0, 0),) * geometry.ndim)
    n = _input_shape(single)
    impulse = _plane(_run(np.ones((1,) * geometry.ndim), kernel, plain))
    constant = _run(np.ones(n), kernel, single)
    whole, constant = constant.shape, _plane(constant)
    shown, impulse = (each[(slice(0, _MOST[each.ndim]),) * each.ndim] for each in (constant, impulse))
    return Responses(group * weight.shape[1] + column, size, impulse, shown, n, shown.shape, whole, pattern)


def _strongest(weight: Array, g: Geometry) -> tuple[int, int] | None:
    """Return the group and the channel in it whose phases differ most; None for a weight that is not finite.

    A few channels are converted to float64 at a time, as weights may be large.
    """
    spreads, step = [], max(1, _AT_ONCE // (weight.size // weight.shape[1]))
    for start in range(0, weight.shape[1], step):
        part = np.asarray(weight[:, start : start + step], np.float64)
        if not np.isfinite(part).all():
            return None
        gains = gains_of(part, g).reshape(*part.shape[:2], -1)
        spread = ((gains - gains.mean(2, keepdims=True)) ** 2).sum(2)
        spreads.append(spread.reshape(g.groups, -1, spread.shape[1]).sum(1))
    by_channel = np.concatenate(spreads, axis=1)
    group, column = np.unravel_index(int(by_channel.argmax()), by_channel.shape)
    return int(group), int(column)


def _mixture(gains: Array) -> tuple[Array, float]:
    """Return weights of the input channels, of length 1, and the pattern's share: from gains [C_in, phases]."""
    deviation = gains - gains.mean(1, keepdims=True)
    mixture = np.full(len(gains), 1 / math.sqrt(len(gains)))
    if np.abs(deviation).max() > 1e-9 * (np.abs(gains).max() or 1.0):
        # the leading singular vector, from the smaller matrix of products
        if len(deviation) <= deviation.shape[1]:
            mixture = np.linalg.eigh(deviation @ deviation.T)[1][:, -1]
        else:
            mixture = deviation @ np.linalg.eigh(deviation.T @ deviation)[1][:, -1]
            mixture /= np.linalg.norm(mixture)
    mixed = mixture @ gains
    if mixed.sum() < 0:
        mixture, mixed = -mixture, -mixed
    power = float((mixed**2).mean())
    return mixture, math.sqrt(float(((mixed - mixed.mean()) ** 2).mean()) / power) if power else 0.0


def _input_shape(g: Geometry) -> tuple[int, ...]:
    """Return the least input whose output shows borders and a few periods between them."""
    needed = []
    for extent, s, crop in zip(g.extent, g.stride, g.crop, strict=True):
        wanted = max(_LEAST, 3 * s, min(2 * extent, extent + 4 * s)) + max(0, sum(crop))
        needed.append(max(2, -(-(wanted - extent) // s) + 1))
    return tuple(needed)


def _run(x: Array, kernel: Array, geometry: Geometry) -> Array:
    y: Array = conv_transpose(x[None, None], kernel[None, None], geometry=geometry, method="polyphase")[0, 0]
    return y


def _plane(response: Array) -> Array:
    """Return the last two axes of a response, in the middle of the first of three."""
    return response[len(response) // 2] if response.ndim == 3 else response
