"""Wrong biases that are read off the outputs: in another order, scaled, rounded, wrong in some channels or places.

`output_scales` finds an offset for each channel, of which `with_reason` says where it comes from; `in_places` looks for
a bias that is added more or less than once, depending on the place.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import product

import numpy as np

from tconv._arrays import Array
from tconv.diagnosis.call_model import CallModel, axis_names
from tconv.diagnosis.causes.cause import Cause
from tconv.diagnosis.fitted.corrupted_parts import parts_of
from tconv.diagnosis.fitted.observation import Observation
from tconv.diagnosis.fitted.output_permutation import order_words
from tconv.diagnosis.fitted.part_names import Part, channel_words
from tconv.diagnosis.fix_writer import FixWriter
from tconv.diagnosis.float_formats import FORMATS

_CLEAR = 50.0  # times the limit of rounding: least size of a bias whose multiples are counted


def with_reason(cause: Cause, offset: Array, limit: Array, call: CallModel | None, writer: FixWriter) -> Cause:
    """Return the cause of these offsets, [C], as a change of the call's bias, if it is a plain one.

    `limit` [C] is the largest error of an offset.
    """
    bias = None if call is None else call.bias
    if call is None or bias is None or not bias.any() or np.iscomplexobj(offset):
        return _in_some(cause, offset, limit, None)
    wrong = bias + offset
    if (np.abs(wrong) <= limit).all():
        lacks = ("bias = None", f"y = y + {writer.bias()}")
        return replace(cause, name="bias missing", text="the bias is missing", apply=lacks[0], undo=lacks[1])
    if (order := _order(bias, wrong, limit)) is not None:
        return _reordered(cause, order, writer)
    factor = float((bias * wrong).sum() / (bias**2).sum())
    if len(bias) > 1 and (np.abs(wrong - factor * bias) <= limit).all():
        text = f"the bias is multiplied by {factor:.6g}{_counted(factor, call)}"
        number = round(factor, 6)
        statements = (f"bias = {number} * bias", f"bias = bias / {number}" if number else "")
        return replace(cause, name="bias scaled", text=text, apply=statements[0], undo=statements[1] or cause.undo)
    for steps in (127.0, 127.5, 128.0):
        step = np.abs(bias).max() / steps
        if len(bias) > 1 and (np.abs(np.clip(np.rint(bias / step), -128, 127) * step - wrong) <= limit).all():
            text = f"the bias is quantized to int8, one scale for all channels, in steps of {step:.6g}"
            return replace(cause, name="int8 bias", text=text)
    for form in FORMATS:
        if (np.abs(form.round(bias) - wrong) <= limit).all():
            return replace(cause, name=f"bias in {form.name}", text=f"the bias is rounded to {form.name}")
    return _in_some(cause, offset, limit, bias)


def _order(bias: Array, wrong: Array, limit: Array) -> list[int] | None:
    """Return the order that gives the wrong bias; None if there is none."""
    own, theirs = np.argsort(bias, kind="stable"), np.argsort(wrong, kind="stable")
    if len(bias) < 2 or not (np.abs(bias[own] - wrong[theirs]) <= limit[theirs]).all():
        return None
    order = np.empty(len(bias), int)
    order[theirs] = own
    return [int(number) for number in order]


def _reordered(cause: Cause, order: list[int], writer: FixWriter) -> Cause:
    count = len(order)
    step = -order[0] % count
    if order == [(number - step) % count for number in range(count)]:
        step = step if step <= count // 2 else step - count
        text = f"the bias is rolled by {step}: channel {step % count} has the bias of channel 0"
        return replace(cause, name="bias rolled", text=text, apply=writer.roll_bias(step), undo=writer.roll_bias(-step))
    inverse = [order.index(number) for number in range(count)]
    return replace(
        cause,
        name="bias in another order",
        text=f"the bias's channels are in another order: {order_words(order)}",
        apply=writer.take_bias(order),
        undo=writer.take_bias(inverse),
    )


def _counted(factor: float, call: CallModel) -> str:
    """Return what is counted by the number of times that the bias is added."""
    inner, taps = call.in_channels // call.groups, int(np.prod(call.geometry.kernel))
    counts = {
        "input channel of a group" if call.groups > 1 else "input channel": inner,
        "tap of the kernel": taps,
        "product": inner * taps,
        "group": call.groups,
        "image": len(call.x),
    }
    names = [name for name, count in counts.items() if count > 1 and abs(factor - count) < 1e-4 * count]
    return f": it is added once per {' or '.join(names)}" if names else ""


def _in_some(cause: Cause, offset: Array, limit: Array, bias: Array | None) -> Cause:
    """Return the cause with the channels named, if they are half of all or fewer."""
    rows = np.flatnonzero(np.abs(offset) > limit)
    if not 0 < len(rows) <= len(offset) // 2:
        return cause
    words = channel_words(rows, len(offset))
    if bias is None:
        numbers = ", ".join(f"{value:.6g}" for value in offset[rows][:4]) + (", ..." if len(rows) > 4 else "")
        return replace(cause, text=f"a constant is added to {words}, {numbers}: another bias, or none")
    if (np.abs(bias + offset)[rows] <= limit[rows]).all():
        return replace(cause, name="bias missing in some channels", text=f"{words} lack{_s(rows)} the bias")
    pairs = ", ".join(f"{(bias + offset)[row]:.6g} instead of {bias[row]:.6g}" for row in rows[:4])
    verb = "is" if len(rows) == 1 else "are"
    pairs += ", ..." if len(rows) > 4 else ""
    return replace(cause, name="bias wrong in some channels", text=f"the bias of {words} {verb} {pairs}")


def _s(rows: Array) -> str:
    return "s" if len(rows) == 1 else ""


def in_places(observation: Observation) -> Iterator[Cause]:
    """Yield a bias that is added once per tap that meets in an output, or that some rows lack or have twice."""
    whole, y, finite = observation.whole, observation.y, observation.finite
    if whole is None or whole.call.bias is None or np.iscomplexobj(y):
        return
    bias, column = whole.call.bias, (-1, *[1] * (y.ndim - 2))
    if np.abs(bias).max(initial=0.0) <= _CLEAR * observation.tolerance.planes.max(initial=0.0):
        return
    rest = np.where(finite, y - observation.predicted, 0)
    if (other := _along_another_axis(observation, bias, rest)) is not None:
        yield other
        return
    times = np.tensordot(bias, rest[0], 1) / (bias**2).sum()  # how often the bias is added beyond once, per place
    if (np.abs(times - times.flat[0]) <= 1e-3).all():
        return
    if (np.abs(rest - bias.reshape(column) * np.rint(times)) > observation.limits)[finite].any():
        return
    times = np.rint(times)
    if words := _places_text(times, whole.call, observation):
        name, text = words
        yield Cause(name, "places", text, transform=partial(np.add, bias.reshape(column) * times))


def _along_another_axis(observation: Observation, bias: Array, rest: Array) -> Cause | None:
    """Return the bias that is broadcast along a spatial axis of as many elements; None if it is not."""
    y, finite = observation.y, observation.finite
    for axis in range(2, y.ndim):
        if y.shape[axis] != len(bias) or observation.first_row:
            continue
        along = np.broadcast_to(bias.reshape(-1, *[1] * (y.ndim - 1 - axis)), y.shape[2:])
        added = along - bias.reshape(-1, *[1] * (y.ndim - 2))
        if (np.abs(rest - added) <= observation.limits)[finite].all():
            name = axis_names(y.ndim - 2)[axis]
            text = f"the bias is added along {name}, which has as many elements as there are channels"
            return Cause("bias on another axis", "places", text, transform=partial(np.add, added))
    return None


def _places_text(times: Array, call: CallModel, observation: Observation) -> tuple[str, str] | None:
    """Return the name and text for a bias that is added 1 + `times` times in each place."""
    assert observation.whole is not None
    g, n = call.geometry, call.x.shape[2:]
    one = CallModel(np.ones((1, 1, *n)), np.ones((1, 1, *g.kernel)), None, replace(g, groups=1))
    met = one.window(observation.whole.window)[0, 0]
    far = tuple(g.extent)
    wide = np.ones((1, 1, *(size + 2 * e for size, e in zip(n, far, strict=True))))
    crop = tuple((lo + s * e, hi + s * e) for (lo, hi), s, e in zip(g.crop, g.stride, far, strict=True))
    inside = replace(one, x=wide, geometry=replace(g, groups=1, crop=crop)).window(observation.whole.window)[0, 0]
    inner = call.in_channels // g.groups
    for counts, each in product((met, inside), dict.fromkeys((1, inner))):
        most = each * int(counts.max())
        if most > 1 and np.array_equal(times, each * counts - 1):
            once = "once per tap" if each == 1 else "once per product, of a tap and an input channel,"
            name = "bias once per tap" if each == 1 else "bias once per product"
            return name, f"the bias is added {once} that meets in an output, up to {most} times"
    if not met[times != 0].any():
        return None  # without products there is nothing but the bias: the rows are zeros, or were not written
    levels = np.unique(times[times != 0])
    if len(levels) != 1:
        return None
    bad = np.broadcast_to(times != 0, (1, 1, *times.shape))
    parts = [part for part in parts_of(bad, g.stride) if np.array_equal(part.mask(), bad)]
    if not parts:
        return None
    part: Part = next((part for part in parts if part.own_phases()), parts[0]).moved(observation.first_row)
    label = part.label()
    if levels[0] == -1:
        return "bias missing in some places", f"{label} lack{'s' * part.is_single} the bias"
    return (
        "bias more than once in some places",
        f"{label} ha{'s' if part.is_single else 've'} the bias {int(levels[0]) + 1} times",
    )
