"""Picture of a checkerboard: the response of weights to a constant input.

A `Checkerboard` draws itself with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tconv._arrays import Array
from tconv.draw.cell_board import axes_of, write_axes
from tconv.draw.palette import theme_of
from tconv.errors import ShapeError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from tconv.weights.artifacts import Checkerboard

_LEAST = 24  # least places across, so that the pattern is repeated often enough to be seen


def response(
    before: Checkerboard, after: Checkerboard | None = None, *, ax: Axes | None = None, theme: str = "light"
) -> Axes:
    """Draw the output for a constant input, and beside it the output with corrected weights.

    >>> import numpy as np, tconv
    >>> w = np.random.default_rng(0).standard_normal((8, 4, 4, 4))
    >>> before = tconv.checkerboard(w, stride=2)
    >>> after = tconv.checkerboard(tconv.artifacts.equalise(w, stride=2), stride=2)
    >>> tconv.draw.response(before, after).get_title()
    'output channel 0 of a constant input: pattern 99 % of it before, 0 % after'

    Shown is the output channel with the strongest pattern, a few periods of it, for the constant input that shows it
    most (the leading singular vector); both pictures have the same input and the same grey levels. For one spatial axis
    lines are drawn, for three or more the last two axes. `theme` is "light" or "dark".

    Raises ShapeError if the two are not of the same layers, ArgumentError for an ax that is not a flat Axes,
    MissingExtraError without matplotlib.
    """
    if after is not None and after.response.shape != before.response.shape:
        raise ShapeError(
            f"before has a response of shape {before.response.shape} and after of {after.response.shape}, [C_in, "
            "C_out, *period]; they must agree, because they are compared place by place. Write the reports of the same "
            "layers with other weights"
        )
    channel = int(np.argmax(before.by_channel))
    pattern = before.response[:, channel].reshape(len(before.response), -1)
    deviation = pattern - pattern.mean(1, keepdims=True)
    direction = np.ones(len(deviation))
    if deviation.any():  # the leading singular vector, from the small matrix of products of channels
        deviation /= np.abs(deviation).max()
        direction = np.linalg.eigh(deviation @ deviation.conj().T)[1][:, -1].conj()
    reports = [before] if after is None else [before, after]
    tiles = [np.real(np.tensordot(direction, each.response[:, channel], (0, 0))) for each in reports]
    shares = [_share(tile) for tile in tiles]
    colours = theme_of(theme)
    ax = axes_of(ax, 3.2 * len(tiles) + 0.4, 3.4, colours)
    text = f"{shares[0]:.0%} of it" if after is None else f"{shares[0]:.0%} of it before, {shares[1]:.0%} after"
    ax.set_title(f"output channel {channel} of a constant input: pattern {text}".replace("%", " %"), fontsize=8)
    write_axes(ax, colours)
    pictures = [_periods(tile) for tile in tiles]
    if pictures[0].ndim == 1:
        for picture, label, colour in zip(pictures, ("before", "after"), colours.lines, strict=False):
            ax.plot(picture, drawstyle="steps-mid", label=label, linewidth=1, color=colour)
        if after is not None:
            ax.legend(facecolor=colours.surface, edgecolor=colours.edge, labelcolor=colours.ink)
        return ax
    gap = np.full((pictures[0].shape[0], max(1, pictures[0].shape[1] // 12)), np.nan)
    row = np.concatenate([part for picture in pictures for part in (picture, gap)][:-1], axis=1)
    middle = float(tiles[0].mean())
    reach = float(np.abs(tiles[0] - middle).max()) or 1.0
    ax.imshow(np.ma.masked_invalid(row), cmap="gray", vmin=middle - reach, vmax=middle + reach, interpolation="nearest")
    ax.set_axis_off()
    return ax


def _share(tile: Array) -> float:
    """Return the pattern's share of the root mean square."""
    tile = tile / (np.abs(tile).max() or 1.0)  # squares of very large numbers overflow, those of very small ones are 0
    power = float((tile**2).mean())
    return float(np.sqrt(((tile - tile.mean()) ** 2).mean() / power)) if power > 0 else 0.0


def _periods(tile: Array) -> Array:
    """Return a few periods of the last two axes."""
    while tile.ndim > 2:
        tile = tile[0]
    repeats = [max(2, -(-_LEAST // size)) for size in tile.shape]
    return np.tile(tile, repeats)
