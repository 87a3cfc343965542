"""What to say when channels do not match: shapes that fit two layouts are how people go silently wrong."""

from __future__ import annotations

from tconv.dialects import dialect, names
from tconv.dialects.base import Call, Dialect


def channel_advice(
    current: Dialect, call: Call, x_shape: tuple[int, ...], weight_shape: tuple[int, ...], channel: str = "I"
) -> str:
    """Which other layout of weight or data would fit, and what to write. x must match the weight's axis `channel`."""
    have = call.data.sizes(x_shape)[1]
    ndim = call.geometry.ndim
    grouped = call.weight.grouped

    def channels(layout: Dialect) -> int:
        return layout.weight_layout(ndim).sizes(weight_shape)[channel] * (
            call.geometry.groups if layout.weight_grouped != channel and layout.weight_grouped == grouped else 1
        )

    for name in names():
        other = dialect(name)
        if other.weight_pattern == current.weight_pattern or len(other.weight_layout(ndim).axes) != len(weight_shape):
            continue
        for pattern in (None, *other.data_patterns):  # None: x as it was read
            data = call.data if pattern is None else other.data_layout(ndim, len(x_shape))
            if len(data.axes) != len(x_shape) or channels(other) != data.sizes(x_shape)[1]:
                continue
            default = other.data_layout(ndim, len(x_shape))
            fit = f"It fits {other.framework}'s layout {other.weight_layout(ndim).describe()}. Write "
            if default.axes == data.axes:
                fit += f'dialect="{name}", or '
            elif "data_format" in other.layout_arguments:
                fit += f'dialect="{name}", data_format="{_data_format(ndim)}", or '
            changed = (
                ""
                if pattern is None or data.axes == call.data.axes
                else f", and x in {current.framework}'s layout {call.data.describe()}"
            )
            return fit + f'convert the weight: tconv.convert(weight, source="{name}", target="{current.name}"){changed}'
    need = channels(current)
    for axis, size in enumerate(x_shape):
        if size == need and call.data.axes[axis] != "N":
            to = call.data.axes.index("C")
            return (
                f"Axis {axis} of x has {need}. Write np.moveaxis(x, {axis}, {to}) if that is the channel axis, "
                f"so that x is {call.data.describe()}"
            )
    return f"Write an x with {need} channels in {call.data.describe()}, or the weight of a layer that takes {have}"


def _data_format(ndim: int) -> str:
    return "NC" + {1: "W", 2: "HW", 3: "DHW"}[ndim]
