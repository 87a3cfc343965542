"""Picture of the difference of two outputs: the largest at each place.

A `Diagnosis` draws itself with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tconv import _arrays
from tconv._arrays import Array
from tconv.draw.cell_board import axes_of, write_axes
from tconv.draw.palette import theme_of
from tconv.errors import ShapeError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LARGEST = 2000  # places across; of larger outputs the largest difference of each block is shown


def difference(
    got: Any, expected: Any, *, title: str | None = None, ax: Axes | None = None, theme: str = "light"
) -> Axes:
    """Draw |got - expected|: the largest over images and channels at each place.

    >>> import numpy as np, tconv
    >>> ax = tconv.draw.difference(np.eye(4)[None, None], np.zeros((1, 1, 4, 4)))
    >>> ax.get_title()
    'largest difference 1, at (0, 0)'

    `ax.figure.savefig("difference.png")` writes it. got and expected are arrays [N, C, *spatial] of any library; for
    one spatial axis a line is drawn, for three or more the largest over all but the last two. Of outputs with different
    sizes the common part is compared, and the title says so. Places that are not finite, or that only one of the two
    has, are blue. `theme` is "light" or "dark".

    Raises ShapeError for arrays that are not outputs of one layer, ArgumentError for an ax that is not a flat Axes,
    MissingExtraError without matplotlib.
    """
    a, b = (np.asarray(_arrays.take(array, name)[1]) for array, name in ((got, "got"), (expected, "expected")))
    if a.ndim != b.ndim or a.ndim < 3 or a.shape[:2] != b.shape[:2]:
        raise ShapeError(
            f"got has shape {a.shape} and expected {b.shape}; two outputs [N, C, *spatial] of one layer are needed. "
            "Write y[None] to add a batch axis, or tconv.diagnose(got, expected) for other differences"
        )
    sizes = tuple(map(min, a.shape[2:], b.shape[2:]))
    part: Any = (..., *(slice(0, size) for size in sizes))
    flat = np.full(tuple(map(max, a.shape[2:], b.shape[2:])), np.nan)
    with np.errstate(invalid="ignore"):
        distance = np.abs(a[part] - b[part]).astype(float)
    flat[part] = distance.reshape(-1, *sizes).max(0) if distance.size else np.zeros(sizes)
    if flat.ndim > 2:
        leading = tuple(slice(0, size) for size in sizes[:-2])  # the common part
        flat = flat[leading].reshape(-1, *flat.shape[-2:]).max(0)
    colours = theme_of(theme)
    ax = axes_of(ax, 6, 2.5 if len(sizes) == 1 else 5, colours)
    cut = f"; sizes {a.shape[2:]} and {b.shape[2:]}, compared in their common part" if a.shape != b.shape else ""
    finite = np.isfinite(flat)
    text, largest = "no place is finite in both", 0.0
    if finite.any():
        largest = float(flat[finite].max())
        place = np.unravel_index(int(np.where(finite, flat, -1).argmax()), flat.shape)
        text = f"largest difference {largest:.3g}, at ({', '.join(str(int(i)) for i in place)})"
    ax.set_title("\n".join(filter(None, [title, text + cut])), fontsize=9)
    write_axes(ax, colours)
    if flat.ndim == 1:
        ax.plot(np.arange(len(flat)), flat, color=colours.ink, linewidth=0.8)
        ax.set_xlabel("output place")
        return ax
    shown = np.ma.masked_invalid(_blocks(flat))
    from matplotlib import colormaps

    ramp = colormaps["magma_r" if theme == "light" else "magma"].with_extremes(bad="#4477AA")
    extent = (0, flat.shape[1], flat.shape[0], 0)
    image = ax.imshow(shown, cmap=ramp, extent=extent, interpolation="nearest", vmin=0, vmax=largest or 1.0)
    if largest > 0:
        write_axes(ax.figure.colorbar(image, ax=ax, shrink=0.8).ax, colours)
    return ax


def _blocks(flat: Array) -> Array:
    """Return a picture of at most 2000 places across: of a larger one, the largest number of each block."""
    step = max(1, -(-max(flat.shape) // _LARGEST))
    if step == 1:
        return flat
    rows, columns = (-(-size // step) * step for size in flat.shape)
    padded = np.pad(flat, ((0, rows - flat.shape[0]), (0, columns - flat.shape[1])), constant_values=0)
    blocks: Array = padded.reshape(rows // step, step, columns // step, step).max((1, 3))
    return blocks
