"""What to say when channels do not match: shapes that fit two layouts are how people go silently wrong."""

from __future__ import annotations

from tconv._arrays import permuted
from tconv.dialects import dialect, names
from tconv.dialects.base import Call, Dialect, written
from tconv.dialects.layouts import DataLayout, WeightLayout


def channel_advice(
    current: Dialect,
    call: Call,
    x_shape: tuple[int, ...],
    weight_shape: tuple[int, ...],
    library: str,
    channel: str = "I",
) -> str:
    """Which other layout of weight or data would fit, and what to write. x must match the weight's axis `channel`."""
    ndim, groups = call.geometry.ndim, call.geometry.groups
    have = call.data.sizes(x_shape)[1]

    def wanted(layout: WeightLayout) -> int:
        return layout.sizes(weight_shape)[channel] * (1 if layout.grouped == channel else groups)

    other_channel = "O" if channel == "I" else "I"
    if groups == 1 and call.weight.sizes(weight_shape)[other_channel] == have:
        order = list(range(len(weight_shape)))
        i, o = call.weight.axes.index("I"), call.weight.axes.index("O")
        order[i], order[o] = o, i
        return f"It fits with its channel axes swapped. Write {permuted(library, 'weight', tuple(order))}"
    speakers = [dialect(name) for name in names()]
    for other in sorted(speakers, key=lambda speaker: speaker.weight_flip):  # those that store taps reversed come last
        fewest, most = other.ranks
        if not fewest <= ndim <= (most or ndim):
            continue
        layout = other.weight_layout(ndim)
        if other.weight_pattern == current.weight_pattern or len(layout.axes) != len(weight_shape):
            continue
        for data in (call.data, other.data_layout(ndim, len(x_shape))):  # x as it was read, then as the other reads it
            if len(data.axes) != len(x_shape) or wanted(layout) != data.sizes(x_shape)[1]:
                continue
            flipped = ", whose taps are stored reversed" if layout.flip != call.weight.flip else ""
            ways = _ways(current, other, call.data, data)
            return f"It fits {other.framework}'s layout {layout.describe()}{flipped}. Write {ways}"
    need = wanted(call.weight)
    for axis, size in enumerate(x_shape):
        if size == need and call.data.axes[axis] != "N":
            to = call.data.axes.index("C")
            order = [place for place in range(len(x_shape)) if place != axis]
            order.insert(to, axis)
            return (
                f"Axis {axis} of x has {need}. Write {permuted(library, 'x', tuple(order))} if that is the "
                "channel axis, "
                f"so that x is {call.data.describe()}"
            )
    return f"Write an x with {need} channels in {call.data.describe()}, or the weight of a layer that takes {have}"


def _ways(current: Dialect, other: Dialect, read: DataLayout, data: DataLayout) -> str:
    """The calls that take a weight in the other dialect's layout, x being laid out as `data`."""
    converted = f'tconv.convert(weight, source="{other.name}", target="{current.name}")'
    if data != read:
        converted += f", and x in {current.framework}'s layout {read.describe()}"
    words = other.data_words(data)
    if words is None:
        return converted
    said = written(words, {}).replace("'", '"')
    return f'dialect="{other.name}"{said}, or convert the weight: {converted}'
