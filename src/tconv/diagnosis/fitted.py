"""Causes whose numbers are read off the output: scales, offsets, orders of channels, spoiled rows, coarse rounding."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from tconv.diagnosis.cause import Cause
from tconv.diagnosis.hand import Hand
from tconv.diagnosis.rounding import FORMATS, Tolerance
from tconv.diagnosis.setting import Array, Setting, Window

_AXES = {1: ("w",), 2: ("h", "w"), 3: ("d", "h", "w")}
_MOST_INPUTS = 64  # input channels whose scales are fitted
_LOOSE = 1e-3  # of a factor that least squares found: rounding times the condition of a few dozen random columns
_FOLD = "tconv.fold_batchnorm(weight, bias, gamma, beta, mean, variance"


def axis_names(ndim: int) -> tuple[str, ...]:
    """Images, channels and the spatial axes, as a report names them."""
    return ("image", "channel", *_AXES.get(ndim, tuple(f"axis {a}" for a in range(ndim))))


def _samples(y: Array, finite: Array, most: int = 4096) -> Any:
    """Places of one image and all channels, spread out, where every channel is finite: an index [places]."""
    ok = np.flatnonzero(finite.all(axis=(0, 1)).ravel())
    return ok if len(ok) <= most else ok[np.linspace(0, len(ok) - 1, most).astype(int)]


def _flat(array: Array) -> Array:
    return array.reshape(*array.shape[:2], -1)


def reordered(expected: Array, y: Array, finite: Array, allowed: Array, hand: Hand) -> Iterator[Cause]:
    """The images, or the channels, in another order."""
    for axis, name, letter in ((1, "channels", "C"), (0, "images", "N")):
        count = y.shape[axis]
        if not 1 < count <= 1024:
            continue
        a, b = (np.moveaxis(array, axis, 0).reshape(count, -1) for array in (expected, y))
        limit, ok = (
            np.moveaxis(np.broadcast_to(array, y.shape), axis, 0).reshape(count, -1) for array in (allowed, finite)
        )
        at = np.linspace(0, a.shape[1] - 1, min(64, a.shape[1])).astype(int)
        close = ((np.abs(a[None][..., at] - b[:, None, at]) <= 4 * limit[:, None, at]) | ~ok[:, None, at]).all(-1)
        order = [_choice(row, number) for number, row in enumerate(close)]
        if None in order or sorted(map(int, order)) != list(range(count)) or order == list(range(count)):  # type: ignore[arg-type]
            continue
        taken = [int(number) for number in order if number is not None]
        said = str(taken) if count <= 16 else f"[{', '.join(map(str, taken[:8]))}, ...]"
        inverse = np.argsort(taken)

        def turn(y: Array, axis: int = axis, taken: list[int] = taken) -> Array:
            return np.take(y, taken, axis)

        def back(y: Array, axis: int = axis, inverse: Array = inverse) -> Array:
            return np.take(y, inverse, axis)

        label = f"y {name} reversed" if taken == list(range(count))[::-1] else f"{name} in another order"
        yield Cause(
            label,
            "result",
            f"y's {name} stand in another order: {said}",
            turn=turn,
            back=back,
            apply=hand.take("y", letter, taken) if letter in hand.data.axes else "",
            undo=hand.take("y", letter, inverse.tolist()) if letter in hand.data.axes else "",
        )


def _choice(row: Array, number: int) -> int | None:
    """The one that agrees, the one in place first; None if there is none."""
    return number if row[number] else int(row.argmax()) if row.any() else None


def scaled(expected: Array, y: Array, finite: Array, tolerance: Tolerance, hand: Hand) -> Iterator[Cause]:
    """One factor, a factor per channel, an offset per channel, or both: y = a * expected + b."""
    places = _samples(y, finite)
    if len(places) * len(y) < 6:
        return
    P, Y = (np.moveaxis(_flat(array)[..., places], 1, 0).reshape(array.shape[1], -1) for array in (expected, y))
    allowed = np.moveaxis(_flat(tolerance.at(y))[..., places], 1, 0).reshape(y.shape[1], -1)
    p, q = P.mean(1, keepdims=True), Y.mean(1, keepdims=True)
    if (np.abs(P - Y) <= allowed).all():
        return  # what differs lies elsewhere
    spread = (np.abs(P - p) ** 2).sum(1)
    if not (spread > 0).all() or not (np.abs(Y - q).max(1) > 4 * allowed.max(1)).all():
        return  # a constant has no factor
    free = ((P - p).conj() * (Y - q)).sum(1) / spread
    through = (P.conj() * Y).sum(1) / (np.abs(P) ** 2).sum(1)
    one = np.full_like(free, (P.conj() * Y).sum() / (np.abs(P) ** 2).sum())
    zero = np.zeros_like(q[:, 0])
    offset = (q - p)[:, 0]
    settled = (
        ("scaled", one, zero),
        ("offset per channel", np.ones_like(free), offset),
        ("scale per channel", through, zero),
        ("scale and offset per channel", free, (q - free[:, None] * p)[:, 0]),
    )
    for name, a, b in settled:
        wide = allowed * np.maximum(1, np.abs(a[:, None])) * 2
        if not (np.abs(a[:, None] * P + b[:, None] - Y) <= wide).all() or min(np.abs(a)) < 1e-6:
            continue
        yield _affine(name, a, b, y.ndim - 2, hand)
        return


def _affine(name: str, a: Array, b: Array, ndim: int, hand: Hand) -> Cause:
    def numbers(values: Array) -> str:
        said = ", ".join(f"{value:.6g}" for value in values[:4])
        return f"[{said}{', ...' if len(values) > 4 else ''}]"

    words = {
        "scaled": f"y is multiplied by {a[0]:.6g}",
        "offset per channel": f"a constant is added to each channel, {numbers(b)}: another bias, or none",
        "scale per channel": f"each output channel is multiplied by a number of its own, {numbers(a)}: a scale per "
        "channel (of quantization, or of a BatchNorm) that is in one of them and not in the other",
        "scale and offset per channel": f"each output channel has a scale {numbers(a)} and an offset {numbers(b)}: a "
        "BatchNorm that is in one of them and not in the other",
    }[name]
    shape = (-1, *[1] * ndim)
    fixes = {
        "scaled": (f"y = y * {a[0]:.9g}", f"y = y / {a[0]:.9g}"),
        "offset per channel": ("", ""),
        "scale per channel": ("", ""),
        "scale and offset per channel": ("", ""),
    }
    if len(b) <= 16 and name == "offset per channel":
        listed = (
            f"numpy.reshape({[float(f'{v:.9g}') for v in b.real]}, {shape if hand.data.axes[-1] != 'C' else (-1,)})"
        )
        fixes[name] = (f"y = y + {listed}", f"y = y - {listed}")
    if name.endswith("per channel") and name.startswith("scale"):
        fixes[name] = (f"weight, bias = {_FOLD})", f"weight, bias = {_FOLD})")
    apply, undo = fixes[name]

    def change(s: Setting) -> Setting:
        per = s.weight.shape[1]
        factor = np.repeat(a.reshape(s.groups, 1, per), s.in_channels // s.groups, 1).reshape(
            s.in_channels, per, *[1] * ndim
        )
        bias = b if s.bias is None else a * s.bias + b
        return replace(s, weight=s.weight * factor, bias=bias)

    return Cause(
        name,
        "scale",
        words,
        change=change,
        turn=lambda y: a.reshape(shape) * y + b.reshape(shape),
        apply=apply,
        undo=undo,
    )


def wrong_axis(setting: Setting, y: Array, finite: Array, tolerance: Tolerance) -> Iterator[Cause]:
    """Scales of a BatchNorm, or of quantization, multiplied onto another axis of the weight than C_out.

    y[o] = sum over i of factor[i, o] * (x[i] through weight[i, o]) + offset[o] is solved by least squares; the factors
    are then s[number[i, o]] / s[o] for the number that the wrong reading of the weight gives, or they are not.
    """
    G, per, outs = setting.groups, setting.in_channels // setting.groups, setting.weight.shape[1]
    if per > _MOST_INPUTS or setting.out_channels > 256 or setting.in_channels == 0:
        return
    window, images = _some(y.shape, (per + 1) * 4)
    if window is None:
        return
    apart = replace(setting, bias=None, geometry=replace(setting.geometry, groups=setting.in_channels))
    parts = _flat(apart.window(window, images)).reshape(-1, G, per, outs, math.prod(s.stop - s.start for s in window))
    place: Any = (images, slice(None), *window)
    Y = _flat(y[place]).reshape(len(parts), G, outs, -1)
    counts = _flat(finite[place]).reshape(Y.shape)
    allowed = np.broadcast_to(_flat(tolerance.at(y[place], images)), (len(Y), G * outs, Y.shape[-1])).reshape(Y.shape)
    factors = np.ones((G, per, outs))
    offsets = np.zeros((G, outs))
    for g, o in np.ndindex(G, outs):
        A = np.moveaxis(parts[:, g, :, o], 1, -1).reshape(-1, per)
        target, ok = Y[:, g, o].ravel(), counts[:, g, o].ravel()
        if ok.sum() < 2 * (per + 1) or np.iscomplexobj(A):
            return
        solved, *_ = np.linalg.lstsq(np.column_stack([A, np.ones(len(A))])[ok], target[ok])
        error = np.abs(A @ solved[:-1] + solved[-1] - target)[ok]
        if not (error <= 4 * allowed[:, g, o].ravel()[ok]).all():
            return
        factors[g, :, o], offsets[g, o] = solved[:-1], solved[-1]
    if np.abs(factors - 1).max() < _LOOSE:
        return
    own = np.arange(G * outs).reshape(G, 1, outs) + np.zeros((1, per, 1), int)
    flat = (np.arange(G * per).reshape(G, per, 1) * outs + np.arange(outs)) // per
    readings = [("weight.view(C_out, -1) scales other rows than C_out", flat)]
    if G * per == G * outs:
        readings.insert(
            0, ("the scales stand on the weight's input channels", np.arange(G * per).reshape(G, per, 1) + 0 * own)
        )
    for words, number in readings:
        if (number == own).all() or not _consistent(factors, number, own):
            continue
        made = setting.weight.reshape(G, per, outs, *setting.weight.shape[2:]) * factors.reshape(
            *factors.shape, *[1] * setting.geometry.ndim
        )
        changed = replace(setting, weight=made.reshape(setting.weight.shape), bias=offsets.ravel())
        yield Cause(
            "BatchNorm folded on the wrong axis",
            "weight",
            f"a BatchNorm is folded on the wrong axis of the weight: {words}",
            partial(_always, changed),
            apply=f"weight, bias = {_FOLD}{f', groups={G}' if G > 1 else ''})",
            undo=f"weight, bias = {_FOLD}{f', groups={G}' if G > 1 else ''})",
            source="ultralytics/ultralytics#25364",
        )
        return
    common = factors.mean(axis=(0, 2) if G == 1 else 2, keepdims=True)
    if np.abs(factors - common).max() < _LOOSE * np.abs(common).max():
        scale = (factors[:, :, 0]).ravel()
        made = setting.weight * scale.reshape(-1, *[1] * (setting.weight.ndim - 1))
        changed = replace(setting, weight=made, bias=offsets.ravel())
        words = "each input channel is multiplied by a number of its own"
        yield Cause("scale per input channel", "weight", words, partial(_always, changed))


def _always(changed: Setting, _: Setting) -> Setting:
    return changed


def _consistent(factors: Array, number: Array, own: Array) -> bool:
    """Whether factors == s[number] / s[own] for some s: the null vector of s[number] - factor * s[own]."""
    count = int(max(own.max(), number.max())) + 1
    system = np.zeros((factors.size, count))
    rows = np.arange(factors.size)
    np.add.at(system, (rows, number.ravel()), 1.0)
    np.add.at(system, (rows, own.ravel()), -factors.ravel())
    used = np.abs(system).max(0) > 0
    _, values, vectors = np.linalg.svd(system[:, used], full_matrices=False)
    null = vectors[values <= _LOOSE * values[0]]  # one vector for each set of channels that meet, such as a group
    if not len(null) or len(null) == used.sum():
        return False
    s = np.cos(np.arange(len(null))) @ null  # any mixture of them: none of it is zero, if some mixture has no zero
    return bool(np.abs(s).min() > _LOOSE * np.abs(s).max())


def _some(shape: tuple[int, ...], wanted: int) -> tuple[Window | None, slice]:
    """A window with at least that many places, in as many images as that takes; None if there are not so many."""
    sizes = list(shape[2:])
    window = [min(size, max(4, round(wanted ** (1 / len(sizes))) + 1)) for size in sizes]
    while math.prod(window) < wanted and window != sizes:
        window = [min(size, 2 * w) for size, w in zip(sizes, window, strict=True)]
    images = min(shape[0], -(-wanted // math.prod(window)))
    if images * math.prod(window) < wanted:
        return None, slice(0, 0)
    return tuple(slice((size - w) // 2, (size - w) // 2 + w) for size, w in zip(sizes, window, strict=True)), slice(
        0, images
    )


def spoiled(expected: Array, y: Array, finite: Array, allowed: Array, *, alone: bool = False) -> Iterator[Cause]:
    """Rows, columns, channels or images that hold something else, all others being right."""
    bad = ~finite | (np.abs(expected - y) > allowed)
    if not bad.any():
        return
    ndim = y.ndim - 2
    axes = (*range(2, y.ndim), 1, 0)
    names = axis_names(ndim)
    for axis in axes:
        rows = np.flatnonzero(bad.any(axis=tuple(a for a in range(y.ndim) if a != axis)))
        if not 0 < len(rows) <= y.shape[axis] // 2:
            continue
        if not informative(np.delete(y, rows, axis)):  # phases without a tap hold the bias alone, whatever x is
            continue
        held = np.take(y, rows, axis)
        ends = rows[0] + len(rows) == y.shape[axis] and rows[-1] == y.shape[axis] - 1
        where = _listed(rows)
        if not np.isfinite(held).any():
            what, name = "NaN or inf", "NaN rows"
        elif not held.any():
            what, name = "zeros", "rows of zeros"
        elif held.size > 1 and (held == held.flat[0]).all():
            what, name = f"{held.flat[0]:.6g} everywhere", "constant rows"
        else:
            what, name = "other numbers", "uninitialised rows"
        if axis < 2:
            name = f"{names[axis]}s spoiled"
        tail = ", the end of the axis, which output_padding extends" if ends and axis > 1 and not alone else ""
        guess = ": memory that was not written, or written over" if name == "uninitialised rows" else ""
        plural = "s" * (len(rows) > 1)
        side = {"image": "image", "channel": "channel"}.get(names[axis], f"row{plural} along {names[axis]}")
        label = f"{names[axis]}{plural}" if axis < 2 else side
        fixed, taken = y, bad

        def turn(p: Array, fixed: Array = fixed, taken: Array = taken) -> Array:
            return np.where(taken, fixed, p)

        yield Cause(
            name,
            "result",
            f"{label} {where} hold{'s' * (len(rows) == 1)} {what}{tail}{guess}; all else is right",
            turn=turn,
        )
        return


def _listed(rows: Array) -> str:
    if len(rows) > 2 and rows[-1] - rows[0] + 1 == len(rows):
        return f"{rows[0]} to {rows[-1]}"
    return ", ".join(map(str, rows[:8])) + (", ..." if len(rows) > 8 else "")


def informative(values: Array) -> bool:
    """Whether numbers that agree with a prediction say anything: a few different ones in one plane."""
    planes = values.reshape(-1, math.prod(values.shape[2:]))[:64, :4096]
    return any(len(np.unique(plane)) >= 4 for plane in planes)


def coarse(expected: Array, y: Array, finite: Array, tolerance: Tolerance, unit: float) -> Iterator[Cause]:
    """A result that was rounded itself, or a difference of the size that rounding makes."""
    distance = np.where(finite, np.abs(expected - y), 0)
    power = math.sqrt((np.abs(y[finite]) ** 2).mean()) if finite.any() else 0.0
    if not power > 0:
        return
    known = np.where(finite, y, 0)
    if (distance <= tolerance.at(known)).all():
        if not finite.all():
            words = f"NaN or inf stand in {int((~finite).sum())} of {finite.size} places; all else is right"
            yield Cause("NaN or inf", "result", words, turn=lambda p: p)
        return
    for form in FORMATS:
        few = known.ravel()[:4096]
        if not (form.round(few) == few).all() or not (form.round(known) == known).all():
            continue
        steps = 1.0 if form.rule == "zero" else 0.51
        if (distance <= steps * form.spacing * np.abs(known) + tolerance.at(known)).all():
            cut = ", towards zero" if form.rule == "zero" else ""
            words = f"y is rounded to {form.bits} fraction bits ({form.name}){cut}"
            yield Cause(f"result rounded to {form.name}", "rounding", words, turn=form.round)
            return
    for name, step in (("float32", 2.0**-20), ("TF32 or float16", 2.0**-10), ("bfloat16", 2.0**-7)):
        if step > unit and distance.max() <= 8 * step * power:
            words = (
                f"the difference is of the size that {name} products leave ({distance.max() / power:.1e} of "
                "y's root mean square)"
            )
            fixed = y

            def turn(p: Array, fixed: Array = fixed) -> Array:
                return fixed

            yield Cause(
                f"rounding of {name}",
                "rounding",
                words,
                turn=turn,
                certain=False,
                undo="torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False"
                if "TF32" in name
                else "",
            )
            return
