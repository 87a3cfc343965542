"""Advice for arguments that no dialect can express: what is beyond x, and the order of axes."""

from __future__ import annotations

from typing import Any

from tconv.dialects.layouts import DataLayout
from tconv.errors import ArgumentError
from tconv.geometry import Geometry

PADDING_MODES = {
    "circular": "wrap",
    "wrap": "wrap",
    "reflect": "reflect",
    "replicate": "edge",
    "edge": "edge",
    "symmetric": "symmetric",
}
"""Names of frameworks for what is beyond an image, except zeros, and NumPy's."""


def refuse_padding_mode(
    mode: str, geometry: Geometry, data: DataLayout, result: DataLayout, size_argument: str | None
) -> None:
    """Raise ArgumentError for a padding_mode other than zeros, with the lines that compute it.

    x is extended by as many elements as the kernel reaches beyond it, and the result is cut by stride times as many.
    `size_argument` is the name of the argument with the output size, if the call has one.
    """
    g = geometry
    beyond = [
        (d * (k - 1) + max(0, -lo, -hi)) // s
        for k, s, d, (lo, hi) in zip(g.kernel, g.stride, g.dilation, g.crop, strict=True)
    ]
    pads = [(beyond[axis],) * 2 if isinstance(axis, int) else (0, 0) for axis in data.axes]
    cuts = [g.stride[axis] * beyond[axis] if isinstance(axis, int) else 0 for axis in result.axes]
    slices = ", ".join(f"{cut}:-{cut}" if cut else ":" for cut in cuts)
    more = tuple(2 * s * width for s, width in zip(g.stride, beyond, strict=True))
    sizes = "" if size_argument is None else f", {size_argument}= larger by {more} on the spatial axes"
    lines = (
        f"x = np.pad(x, {pads}, {PADDING_MODES[mode.lower()]!r}), the call without padding_mode={sizes}, and "
        f"y = y[{slices}]"
    )
    raise ArgumentError(
        f"padding_mode is {mode!r}, and beyond x there are always zeros. Write "
        + (lines if any(beyond) else "the call without padding_mode=, as this kernel does not reach beyond x")
    )


def without_data_format(pattern: str, data_format: Any) -> str:
    """Return the advice for a data_format, in a dialect whose x has the order of axes of `pattern`."""
    last, own = str(data_format).lower().endswith(("c", "last")), pattern.endswith("C")
    if last == own or not isinstance(data_format, str):
        return "Write the call without data_format="
    first = pattern.index("C") if last else int(data_format.upper().startswith(("N", "CHANNELS")))
    source, target = (-1, first) if last else (first, -1)
    return (
        f"Write x = np.moveaxis(x, {source}, {target}), of a tensor x.movedim({source}, {target}), the call without "
        f"data_format=, and y = np.moveaxis(y, {target}, {source})"
    )
