"""Advice for the error about channels of x and weight that do not match: the layout in which they would.

Shapes that fit two layouts are a common cause of silently wrong results.
"""

from __future__ import annotations

import re

from tconv._arrays import permuted
from tconv.dialects import dialect, names
from tconv.dialects.base import Dialect, NativeCall, keywords
from tconv.dialects.layouts import DataLayout, WeightLayout


def suggest_layout(
    current: Dialect,
    call: NativeCall,
    x_shape: tuple[int, ...],
    weight_shape: tuple[int, ...],
    library: str,
    channel: str = "I",
) -> str:
    """Return which other layout of weight or data would fit, and what to write.

    `channel` is the axis of the weight, "I" or "O", that has to have the channels of x.
    """
    ndim, groups = call.geometry.ndim, call.geometry.groups
    have = call.data.sizes(x_shape)[1]

    def needed_channels(layout: WeightLayout) -> int:
        return layout.sizes(weight_shape)[channel] * (1 if layout.grouped == channel else groups)

    other_channel = "O" if channel == "I" else "I"
    if groups == 1 and call.weight.sizes(weight_shape)[other_channel] == have:
        order = list(range(len(weight_shape)))
        i, o = call.weight.axes.index("I"), call.weight.axes.index("O")
        order[i], order[o] = o, i
        return f"It fits with its channel axes swapped. Write {permuted(library, 'weight', tuple(order))}"
    dialects = [dialect(name) for name in names()]
    for other in sorted(dialects, key=lambda other: other.weight_flip):  # those that store taps reversed come last
        fewest, most = other.ranks
        if not fewest <= ndim <= (most or ndim):
            continue
        layout = other.weight_layout(ndim)
        if other.weight_pattern == current.weight_pattern or len(layout.axes) != len(weight_shape):
            continue
        for data in (
            call.data,
            other.data_layout(ndim, len(x_shape)),
        ):  # the layout of x in this call, then that of the other dialect
            if len(data.axes) != len(x_shape) or needed_channels(layout) != data.sizes(x_shape)[1]:
                continue
            flipped = ", which stores the taps reversed" if layout.flip != call.weight.flip else ""
            code = _conversions(current, other, call.data, data)
            return f"It fits {other.framework}'s layout {layout.describe()}{flipped}. Write {code}"
    need = needed_channels(call.weight)
    for axis, size in enumerate(x_shape):
        if size == need and call.data.axes[axis] != "N":
            order = [other_axis for other_axis in range(len(x_shape)) if other_axis != axis]
            order.insert(call.data.axes.index("C"), axis)
            return (
                f"Axis {axis} of x has {need} elements. Write {permuted(library, 'x', tuple(order))} if that is the "
                f"channel axis; x is then {call.data.describe()}"
            )
    return (
        f"Use an x with {need} channels, laid out as {call.data.describe()}, or the weight of a layer that takes "
        f"{have} channels"
    )


def without_dialect(words: str) -> str:
    """Return the advice for a function that has no argument `dialect`: the conversion of the weight alone."""
    return re.sub(r'dialect="\w+"[^:]*, or convert the weight: ', "", words)


def _conversions(current: Dialect, other: Dialect, read: DataLayout, data: DataLayout) -> str:
    """Return the code that takes a weight in the other dialect's layout, with x laid out as `data`."""
    converted = f'tconv.convert(weight, source="{other.name}", target="{current.name}")'
    if data != read:
        converted += f", and x in {current.framework}'s layout {read.describe()}"
    arguments = other.data_layout_arguments(data)
    if arguments is None:
        return converted
    options = keywords(arguments, {}).replace("'", '"')
    return f'dialect="{other.name}"{options}, or convert the weight: {converted}'
