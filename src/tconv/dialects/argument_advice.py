"""Advice for arguments that no dialect can express: what is beyond x, and the order of axes."""

from __future__ import annotations

from typing import Any

from tconv.dialects.base import OUTPUT_SIZE_ARGUMENTS, Dialect
from tconv.errors import ArgumentError

_PADDING_MODES = {
    "circular": "wrap",
    "wrap": "wrap",
    "reflect": "reflect",
    "replicate": "edge",
    "edge": "edge",
    "symmetric": "symmetric",
}
"""Names of frameworks for what is beyond an image, except zeros, and NumPy's."""


def refuse_padding_mode(
    speaker: Dialect, x_shape: tuple[int, ...] | None, weight_shape: tuple[int, ...], native: dict[str, Any]
) -> None:
    """Raise ArgumentError for a padding_mode other than zeros, with the lines that compute it.

    x is extended by as many elements as the kernel reaches beyond it, and the result is cut by stride times as many.
    """
    mode = native.get("padding_mode")
    if not isinstance(mode, str) or mode.lower() not in _PADDING_MODES:
        return
    rest = {name: value for name, value in native.items() if name != "padding_mode"}
    ndim = speaker.spatial_axes(weight_shape, rest)
    layout = {name: value for name, value in rest.items() if name in speaker.layout_arguments}
    if x_shape is None:
        channels = speaker.weight_layout(ndim, **layout).sizes(weight_shape)["I"]
        x_shape = speaker.data_layout(ndim, ndim + 2, **layout).native_shape((1, channels, *[7] * ndim))
    call = speaker.read(x_shape, weight_shape, rest)
    g = call.geometry
    beyond = [
        (d * (k - 1) + max(0, -lo, -hi)) // s
        for k, s, d, (lo, hi) in zip(g.kernel, g.stride, g.dilation, g.crop, strict=True)
    ]
    pads = [(beyond[axis],) * 2 if isinstance(axis, int) else (0, 0) for axis in call.data.axes]
    cuts = [g.stride[axis] * beyond[axis] if isinstance(axis, int) else 0 for axis in call.result.axes]
    slices = ", ".join(f"{cut}:-{cut}" if cut else ":" for cut in cuts)
    more = tuple(2 * s * width for s, width in zip(g.stride, beyond, strict=True))
    given = next((name for name in OUTPUT_SIZE_ARGUMENTS if name in rest), None)
    sizes = "" if given is None else f", {given}= larger by {more} on the spatial axes"
    lines = (
        f"x = np.pad(x, {pads}, {_PADDING_MODES[mode.lower()]!r}), the call without padding_mode={sizes}, and "
        f"y = y[{slices}]"
    )
    raise ArgumentError(
        f"padding_mode is {mode!r}, and beyond x there are always zeros. Write "
        + (lines if any(beyond) else "the call without padding_mode=, as this kernel does not reach beyond x")
    )


def without_data_format(speaker: Dialect, data_format: Any) -> str:
    """Return the advice for a data_format, in a dialect that has one order of axes."""
    last, own = str(data_format).lower().endswith(("c", "last")), speaker.data_patterns[0].endswith("C")
    if last == own or not isinstance(data_format, str):
        return "Write the call without data_format="
    first = speaker.data_patterns[0].index("C") if last else int(data_format.upper().startswith(("N", "CHANNELS")))
    source, target = (-1, first) if last else (first, -1)
    return (
        f"Write x = np.moveaxis(x, {source}, {target}), of a tensor x.movedim({source}, {target}), the call without "
        f"data_format=, and y = np.moveaxis(y, {target}, {source})"
    )
