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
_MOST_NUMBERS = 1 << 26
"""Weights of more numbers are not drawn, so that a page of many large layers is written in seconds."""


@dataclass(frozen=True, eq=False)
class Responses:
    """Responses of the output channel with the strongest pattern, and the mixture of input channels that shows it most.

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


def responses_of(weight: Array, geometry: Geometry) -> Responses | None:
    """Return the responses of a canonical weight [C_in, C_out/groups, *kernel].

    None if there is nothing to draw: more than three spatial axes, an empty, too large or non-finite weight.
    """
    if geometry.ndim > 3 or not 0 < weight.size <= _MOST_NUMBERS or max(geometry.extent) > 4096:
        return None
    w = np.asarray(weight, np.float64)
    if not np.isfinite(w).all():
        return None
    gains = gains_of(w, geometry).reshape(*w.shape[:2], -1)
    group, channel = _strongest(gains, geometry.groups)
    size = len(w) // geometry.groups
    rows = slice(group * size, (group + 1) * size)
    mixture, pattern = _mixture(gains[rows, channel])
    kernel = np.tensordot(mixture, w[rows, channel], (0, 0))
    single = replace(geometry, groups=1)
    plain = replace(single, crop=((0, 0),) * geometry.ndim)
    n = _input_shape(single)
    impulse = _run(np.ones((1,) * geometry.ndim), kernel, plain)
    constant = _run(np.ones(n), kernel, single)
    whole = constant.shape
    impulse, constant = _plane(impulse), _plane(constant)
    most = _MOST[constant.ndim]
    shown = constant[tuple(slice(0, most) for _ in constant.shape)]
    impulse = impulse[tuple(slice(0, most) for _ in impulse.shape)]
    return Responses(group * w.shape[1] + channel, size, impulse, shown, n, shown.shape, whole, pattern)


def _strongest(gains: Array, groups: int) -> tuple[int, int]:
    """Return the group and the channel in it whose phases differ most, by gains [C_in, C_out/groups, phases]."""
    spread = ((gains - gains.mean(2, keepdims=True)) ** 2).sum(2)
    by_channel = spread.reshape(groups, -1, spread.shape[1]).sum(1)
    group, channel = np.unravel_index(int(by_channel.argmax()), by_channel.shape)
    return int(group), int(channel)


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
