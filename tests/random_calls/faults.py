"""Random float32 calls in which one thing went wrong, for tests of `tconv.diagnose`.

Every fault is computed here independently, with NumPy and `conv_transpose`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

import tconv
from random_calls.sizes import choice, has_output, integers, random_sizes
from tconv import Geometry, TconvError


class Call(NamedTuple):
    """A call with PyTorch's arguments."""

    x: np.ndarray
    w: np.ndarray
    bias: np.ndarray | None
    arguments: dict

    @property
    def geometry(self) -> Geometry:
        return tconv.dialect("torch").geometry(kernel=self.w.shape[2:], **self.arguments)

    @property
    def y(self) -> np.ndarray:
        return tconv.conv_transpose(self.x, self.w, self.bias, **self.arguments)

    def other(self, **parts) -> np.ndarray:
        """Return the output of the same call with another x, w, bias or geometry."""
        geometry = parts.pop("geometry", self.geometry)
        call = self._replace(**parts)
        return tconv.conv_transpose(call.x, call.w, call.bias, geometry=geometry)

    def cropped(self, crop) -> np.ndarray:
        g = self.geometry
        return self.other(geometry=Geometry(g.kernel, g.stride, crop, g.dilation, g.groups))


def random_call(rng: np.random.Generator, ndim: int | None = None) -> Call:
    """Draw a call with bias, of asymmetric normal numbers, whose input has at least 4 elements on each axis."""
    while True:
        nd = ndim or choice(rng, (1, 2, 2, 2, 3))
        sizes = random_sizes(
            rng,
            nd,
            n=(4, {1: 39, 2: 9, 3: 5}[nd]),
            k=(2, 5),
            d=(1, 2),
            dilated=0.3,
            groups=(1, 1, 1, 2, 3),
            in_per_group=(1, 2, 3, 4, 5),
            out_per_group=(1, 2, 3, 4, 5),
        )
        limits = [max(pair) for pair in zip(sizes.s, sizes.d, strict=True)]
        arguments = {
            "stride": sizes.s,
            "padding": integers(rng, nd, (0, 2)),
            "output_padding": tuple(int(rng.integers(0, limit)) if rng.random() < 0.5 else 0 for limit in limits),
            "dilation": sizes.d,
            "groups": sizes.groups,
        }
        x, w, bias = (
            rng.standard_normal(shape).astype(np.float32)
            for shape in (
                (sizes.batch, sizes.c_in, *sizes.n),
                (sizes.c_in, sizes.out_per_group, *sizes.k),
                (sizes.c_out,),
            )
        )
        call = Call(x, w, bias, arguments)
        if has_output(call.geometry, sizes.n):
            return call


def _grouped_swap(c: Call) -> np.ndarray | None:
    G = c.arguments["groups"]
    inner, outer = c.w.shape[0] // G, c.w.shape[1]
    if inner != outer or inner == 1:
        return None
    return c.other(w=np.concatenate([part.swapaxes(0, 1) for part in np.split(c.w, G)]))


def _same(c: Call) -> np.ndarray:
    g = c.geometry
    rest = [e - s for e, s in zip(g.extent, g.stride, strict=True)]
    return c.cropped([(max(r, 0) // 2, r - max(r, 0) // 2) for r in rest])


def rounded(a: np.ndarray, bits: int = 10) -> np.ndarray:
    """Round float32 to this many mantissa bits, half up. On random numbers every rounding to nearest gives the same."""
    drop = 23 - bits
    whole = a.astype(np.float32).view(np.uint32)
    return ((whole + np.uint32(1 << (drop - 1))) & np.uint32(0xFFFFFFFF << drop & 0xFFFFFFFF)).view(np.float32)


def _interleaved(y: np.ndarray, groups: int) -> np.ndarray | None:
    per = y.shape[1] // groups
    if groups == 1 or per == 1:
        return None
    return y[:, [g * per + j for j in range(per) for g in range(groups)]]


def _fold_wrong(c: Call, rng: np.random.Generator) -> np.ndarray | None:
    """The scales of C_out multiplied onto the input channels of the right, folded weight."""
    if c.arguments["groups"] > 1 or c.w.shape[0] != c.w.shape[1] or c.w.shape[0] == 1:
        return None
    s = (rng.uniform(0.5, 2, len(c.w)) * rng.choice([-1, 1], len(c.w))).astype(np.float32)
    shape = (-1, *[1] * (c.w.ndim - 2))
    return c.other(w=c.w / s.reshape(1, *shape) * s.reshape(-1, 1, *shape[1:]))


def _regrouped(c: Call) -> np.ndarray | None:
    G = c.arguments["groups"]
    if G == 1 or c.w.size == 1:
        return None
    native = tconv.convert(c.w, source="torch", target="ncnn", groups=G)
    return c.other(w=native.reshape(c.w.shape))


def _uninitialised(c: Call, rng: np.random.Generator) -> np.ndarray | None:
    y = c.y.copy()
    if y.shape[-1] < 4:
        return None
    y[..., -1] = rng.standard_normal(y.shape[:-1]) * 1e3
    return y


def _channels_replaced(c: Call, rng: np.random.Generator, zero: bool) -> np.ndarray | None:
    """Some channels, a range or any, with zeros or other numbers."""
    y, count = c.y.copy(), c.y.shape[1]
    if count < 2 or y[0, 0].size < 8:
        return None
    first = int(rng.integers(0, count))
    which = slice(first, int(rng.integers(first + 1, count + 1))) if rng.random() < 0.5 else rng.random(count) < 0.4
    if y[:, which].size in (0, y.size):
        return None
    y[:, which] = 0 if zero else rng.standard_normal(y[:, which].shape)
    return y


def _inputs_missing(c: Call, rng: np.random.Generator) -> np.ndarray | None:
    """Some input channels left out, but not all of a group, in an output with enough places to tell their shares."""
    if len(c.y) * c.y[0, 0].size < 4 * (len(c.w) // c.arguments["groups"] + 1):
        return None
    keep = rng.random(len(c.w)) < 0.6
    if keep.all() or not keep.reshape(c.arguments["groups"], -1).any(1).all():
        return None
    return c.other(w=c.w * keep.reshape(-1, *[1] * (c.w.ndim - 1)).astype("f"))


def _bias_per_tap(c: Call) -> np.ndarray | None:
    g, n = c.geometry, c.x.shape[2:]
    single = Geometry(g.kernel, g.stride, g.crop, g.dilation)
    times = tconv.conv_transpose(np.ones((1, 1, *n), "f"), np.ones((1, 1, *g.kernel), "f"), geometry=single)
    return c.other(bias=None) + c.bias.reshape(-1, *[1] * len(n)) * times if times.max() > 1 else None


def _bias_of_one_channel(c: Call, rng: np.random.Generator) -> np.ndarray | None:
    if len(c.bias) < 2:
        return None
    bias = c.bias.copy()
    bias[int(rng.integers(len(bias)))] += np.float32(rng.uniform(0.5, 2))
    return c.other(bias=bias)


def _in_steps(y: np.ndarray) -> np.ndarray:
    step = np.float32(np.ptp(y) / 250)
    return (np.rint(y / step) * step).astype(np.float32)


def _in_int8(c: Call) -> np.ndarray | None:
    """x with one scale and zero point per image, the weight with one scale per output channel, as TFLite's kernel."""
    if c.x[0].size < 2 or c.w.shape[0] == c.arguments["groups"]:
        return None
    axes = tuple(range(1, c.x.ndim))
    size = np.maximum(c.x.max(axes, keepdims=True), 0) - np.minimum(c.x.min(axes, keepdims=True), 0)
    x = np.rint(c.x / (size / np.float32(255))) * (size / np.float32(255))
    parts = c.w.reshape(c.arguments["groups"], -1, *c.w.shape[1:])
    scale = np.abs(parts).max((1, *range(3, parts.ndim)), keepdims=True) / np.float32(127)
    return c.other(x=x.astype("f"), w=(np.rint(parts / scale) * scale).reshape(c.w.shape).astype("f"))


def _phases_replaced(c: Call, rng: np.random.Generator, zero: bool) -> np.ndarray | None:
    """One phase or several, with zeros or other numbers; each phase has some taps, or its right numbers prove nothing."""
    y, s = c.y.copy(), c.geometry.stride
    phases = list(np.ndindex(*s))
    reached = all(min(counts) > 0 for counts in c.geometry.overlap)
    if len(phases) < 2 or not reached or any(3 * step > L for L, step in zip(y.shape[2:], s, strict=True)):
        return None
    for number in rng.permutation(len(phases))[: int(rng.integers(1, len(phases)))]:
        part = y[(..., *(slice(r, None, step) for r, step in zip(phases[number], s, strict=True)))]
        part[...] = 0 if zero else rng.standard_normal(part.shape)
    return y


def _channels_last(a: np.ndarray) -> np.ndarray | None:
    return None if a.shape[1] == 1 else np.ascontiguousarray(np.moveaxis(a, 1, -1)).reshape(a.shape)


def _grid(c: Call, **parts) -> np.ndarray:
    g = c.geometry
    steps = {"stride": g.stride, "dilation": g.dilation, **parts}
    return c.other(geometry=Geometry(g.kernel, steps["stride"], g.crop, steps["dilation"], g.groups))


def _reordered(a: np.ndarray, rng: np.random.Generator, flips: bool = False) -> np.ndarray | None:
    """The spatial axes in a random other order, some of them reversed if `flips`."""
    order = rng.permutation(a.ndim - 2)
    flipped = tuple(int(axis) + 2 for axis in np.flatnonzero(rng.random(a.ndim - 2) < 0.5)) if flips else ()
    if (order == np.arange(a.ndim - 2)).all() or (
        flips and not any(a.shape[order[axis - 2] + 2] > 1 for axis in flipped)
    ):
        return None
    return np.flip(a.transpose(0, 1, *(order + 2)), flipped)


def _with_x(c: Call, x: np.ndarray | None) -> np.ndarray | None:
    return None if x is None else c.other(x=x)


def _with_kernel(c: Call, w: np.ndarray | None) -> np.ndarray | None:
    g = c.geometry
    return None if w is None else c.other(w=w, geometry=Geometry(w.shape[2:], g.stride, g.crop, g.dilation, g.groups))


def _padded_input(c: Call, front: bool, direct: bool) -> np.ndarray | None:
    """The input padded by padding, or by kernel - 1 - padding, and the output cut to size at one end."""
    g, L = c.geometry, c.y.shape[2:]
    pads = [k - 1 - p if direct else p for k, p in zip(g.kernel, c.arguments["padding"], strict=True)]
    if min(pads) < 0 or max(pads) == 0:
        return None
    padded = np.pad(c.x, ((0, 0), (0, 0), *((p, p) for p in pads)))
    full = c.other(x=padded, geometry=Geometry(g.kernel, g.stride, 0, g.dilation, g.groups))
    rest = [size - length for size, length in zip(full.shape[2:], L, strict=True)]
    if min(rest) < 0:
        return None
    return full[(..., *(slice(r * front, r * front + length) for r, length in zip(rest, L, strict=True)))]


def _same_everywhere(c: Call, part: str) -> np.ndarray | None:
    steps = c.arguments[part]
    return _grid(c, **{part: max(steps)}) if len(set(steps)) > 1 else None


def _unfilled(c: Call, with_bias: bool) -> np.ndarray | None:
    """The rows of output_padding without a result, with or without the bias; on the axes that have them."""
    y, extra = c.y.copy(), c.arguments["output_padding"]
    if not any(extra):
        return None
    for axis, op in enumerate(extra, 2):
        rows = np.moveaxis(y, axis, 0)[y.shape[axis] - op :]
        rows[...] = c.bias.reshape(-1, *[1] * (y.ndim - 3)) if with_bias else 0
    return y


def _border(c: Call, mode: str) -> np.ndarray | None:
    """The input continued by 3 elements on each side, and as much more of the output cropped."""
    if min(c.x.shape[2:]) < 4:
        return None
    g, x = c.geometry, np.pad(c.x, ((0, 0), (0, 0), *[(3, 3)] * (c.x.ndim - 2)), mode=mode)
    if any(max(e - 1 - lo, e - 1 - hi) >= 4 * s for (lo, hi), e, s in zip(g.crop, g.extent, g.stride, strict=True)):
        return None  # y reads further than that
    crop = [(lo + 3 * s, hi + 3 * s) for (lo, hi), s in zip(g.crop, g.stride, strict=True)]
    return c.other(x=x, geometry=Geometry(g.kernel, g.stride, crop, g.dilation, g.groups))


def _phases_rolled(c: Call) -> np.ndarray | None:
    """The phases along one axis, each one place further."""
    y = c.y
    for axis, s in enumerate(c.geometry.stride, 2) if max(c.geometry.dilation) == 1 else ():
        if s > 1 and y.shape[axis] % s == 0 and y.shape[axis] >= 2 * s and c.geometry.kernel[axis - 2] > s:
            apart = np.moveaxis(y, axis, -1).reshape(*np.delete(y.shape, axis), -1, s)
            return np.moveaxis(np.roll(apart, 1, -1).reshape(*apart.shape[:-2], -1), -1, axis)
    return None


def _tap_missing(c: Call, rng: np.random.Generator) -> np.ndarray | None:
    """The sums without one tap of several in its phase."""
    g = c.geometry
    if max(g.dilation) > 1 or not any(k >= 2 * s for k, s in zip(g.kernel, g.stride, strict=True)):
        return None
    w = c.w.copy()
    w[(..., *(int(rng.integers(k)) for k in g.kernel))] = 0
    return c.other(w=w)


FAULTS = {
    "kernel flipped": lambda c, rng: c.other(w=np.flip(c.w, tuple(range(2, c.w.ndim)))),
    "channels swapped": lambda c, rng: _grouped_swap(c),
    "kernel axes exchanged": lambda c, rng: c.other(w=c.w.swapaxes(2, -1)) if c.w.shape[2] == c.w.shape[-1] else None,
    "weight reshaped from tensorflow's layout": lambda c, rng: (
        c.other(w=np.ascontiguousarray(np.moveaxis(c.w, (1, 0), (-2, -1))).reshape(c.w.shape))
        if c.arguments["groups"] == 1
        else None
    ),
    "group order of the weight": lambda c, rng: _regrouped(c),
    "y groups interleaved": lambda c, rng: _interleaved(c.y, c.arguments["groups"]),
    "x groups interleaved": lambda c, rng: (
        None if (x := _interleaved(c.x, c.arguments["groups"])) is None else c.other(x=x)
    ),
    "x reshaped to channels first": lambda c, rng: None if (x := _channels_last(c.x)) is None else c.other(x=x),
    "x axes exchanged": lambda c, rng: c.other(x=c.x.swapaxes(2, -1)) if c.x.shape[2] == c.x.shape[-1] else None,
    "y reshaped to channels first": lambda c, rng: _channels_last(c.y),
    "crop sides exchanged": lambda c, rng: c.cropped([(hi, lo) for lo, hi in c.geometry.crop]),
    "output_padding ignored": lambda c, rng: c.cropped([(lo, lo) for lo, _ in c.geometry.crop]),
    "output_padding as padding": lambda c, rng: c.cropped([(lo, 2 * lo - hi) for lo, hi in c.geometry.crop]),
    "padding ignored": lambda c, rng: c.cropped([(0, hi - lo) for lo, hi in c.geometry.crop]),
    "padding as input padding": lambda c, rng: c.cropped(
        [(-s * lo, hi - lo - s * lo) for (lo, hi), s in zip(c.geometry.crop, c.geometry.stride, strict=True)]
    ),
    "padding as padding of the dilated input": lambda c, rng: c.cropped(
        [(e - 1 - lo, e - 1 - 2 * lo + hi) for (lo, hi), e in zip(c.geometry.crop, c.geometry.extent, strict=True)]
    ),
    "SAME of JAX": lambda c, rng: _same(c),
    "off by one element": lambda c, rng: c.cropped([(lo + 1, hi - 1) for lo, hi in c.geometry.crop]),
    "off by one stride": lambda c, rng: c.cropped(
        [(lo + s, hi - s) for (lo, hi), s in zip(c.geometry.crop, c.geometry.stride, strict=True)]
    ),
    "dilation ignored": lambda c, rng: _grid(c, dilation=1),
    "stride axes exchanged": lambda c, rng: _grid(c, stride=c.geometry.stride[::-1]),
    "bias missing": lambda c, rng: c.other(bias=None),
    "bias twice": lambda c, rng: c.other(bias=2 * c.bias),
    "bias rolled": lambda c, rng: c.other(bias=np.roll(c.bias, int(rng.integers(1, 4)))),
    "bias in another order": lambda c, rng: c.other(bias=rng.permutation(c.bias)),
    "bias scaled": lambda c, rng: c.other(bias=c.bias * np.float32(rng.uniform(0.2, 4))) if len(c.bias) > 1 else None,
    "bias once per tap": lambda c, rng: _bias_per_tap(c),
    "bias wrong in some channels": lambda c, rng: _bias_of_one_channel(c, rng),
    "TF32": lambda c, rng: c.other(x=rounded(c.x), w=rounded(c.w)),
    "bfloat16": lambda c, rng: c.other(x=rounded(c.x, 7), w=rounded(c.w, 7)),
    "float16": lambda c, rng: c.other(x=c.x.astype("f2").astype("f4"), w=c.w.astype("f2").astype("f4")),
    "x axes in another order": lambda c, rng: _with_x(c, _reordered(c.x, rng)),
    "kernel axes in another order": lambda c, rng: _with_kernel(c, _reordered(c.w, rng)),
    "y axes in another order": lambda c, rng: _reordered(c.y, rng),
    "x axes exchanged and flipped": lambda c, rng: _with_x(c, _reordered(c.x, rng, flips=True)),
    "kernel axes exchanged and flipped": lambda c, rng: _with_kernel(c, _reordered(c.w, rng, flips=True)),
    "y axes exchanged and flipped": lambda c, rng: _reordered(c.y, rng, flips=True),
    "padding as input padding, cut at the end": lambda c, rng: _padded_input(c, front=False, direct=False),
    "padding as input padding, cut at the front": lambda c, rng: _padded_input(c, front=True, direct=False),
    "kernel - 1 - padding as input padding, cut at the end": lambda c, rng: _padded_input(c, front=False, direct=True),
    "kernel - 1 - padding as input padding, cut at the front": lambda c, rng: _padded_input(c, front=True, direct=True),
    "padding ignored on axis 0": lambda c, rng: c.cropped(
        [(0, c.geometry.crop[0][1] - c.geometry.crop[0][0]), *c.geometry.crop[1:]]
    ),
    "whole crop at the end": lambda c, rng: c.cropped([(0, lo + hi) for lo, hi in c.geometry.crop]),
    "one stride for all axes": lambda c, rng: _same_everywhere(c, "stride"),
    "one dilation for all axes": lambda c, rng: _same_everywhere(c, "dilation"),
    "stride ignored on axis 0": lambda c, rng: _grid(c, stride=(1, *c.geometry.stride[1:])),
    "rows of zeros": lambda c, rng: _unfilled(c, with_bias=False),
    "rows of the bias alone": lambda c, rng: _unfilled(c, with_bias=True),
    "circular border": lambda c, rng: _border(c, "wrap"),
    "reflect border": lambda c, rng: _border(c, "reflect"),
    "replicate border": lambda c, rng: _border(c, "edge"),
    "symmetric border": lambda c, rng: _border(c, "symmetric"),
    "BatchNorm folded on the wrong axis": _fold_wrong,
    "uninitialised rows": _uninitialised,
    "result rounded to int8": lambda c, rng: _in_steps(c.y) if c.y.size >= 100 else None,
    "int8 x and weight": lambda c, rng: _in_int8(c),
    "input channels missing": lambda c, rng: _inputs_missing(c, rng),
    "channels spoiled": lambda c, rng: _channels_replaced(c, rng, zero=bool(rng.integers(2))),
    "phases in another order": lambda c, rng: _phases_rolled(c),
    "taps missing": _tap_missing,
    "phase spoiled": lambda c, rng: _phases_replaced(c, rng, zero=bool(rng.integers(2))),
}
"""Each fault, as a function that returns the wrong output of a call, or None if the call cannot have the fault."""

SAME_THING = {
    "float16": {"TF32"},
    "channels swapped": {"group order of the weight"},
    "x axes in another order": {"x axes exchanged"},
    "kernel axes in another order": {"kernel axes exchanged"},
    "y axes in another order": {"y axes exchanged"},
    "padding ignored on axis 0": {"padding ignored"},
    "stride ignored on axis 0": {"stride ignored"},
    "symmetric border": {"replicate border"},
    "bias rolled": {"bias reversed"},
    "bias once per tap": {"bias twice"},
    "bias in another order": {"bias rolled", "bias reversed", "bias interleaved"},
}
"""Faults that give the same numbers: float16 has TF32's ten bits; square groups read in the other order are transposed;
a change on axis 0 is one on all axes if the others have none to change; one mirrored element is the edge; few numbers
have few orders; two taps meet in every output where the kernel is twice the stride."""


def random_fault(rng: np.random.Generator) -> tuple[str, Call, np.ndarray]:
    """Draw the name of one fault, a call, and its wrong output, which differs from the right one by more than rounding."""
    while True:
        name = str(rng.choice(list(FAULTS)))
        call = random_call(rng)
        try:
            got = FAULTS[name](call, rng)
        except TconvError:
            continue
        if got is None or got.size < 24 or (np.ptp(got.reshape(*got.shape[:2], -1), axis=2) == 0).all():
            continue
        right = call.y
        if got.shape == right.shape and np.abs(got - right).max() < 1e-3 * right.std():
            continue
        return name, call, got


def noise(rng, number):
    """Draw a call and an unrelated output: other numbers, whole numbers, or the output of another call."""
    call = random_call(rng)
    if number % 4 == 2:
        call = call._replace(x=np.rint(3 * call.x), w=np.rint(3 * call.w), bias=np.rint(3 * call.bias))
        return call, np.rint(rng.standard_normal(call.y.shape) * call.y.std()).astype(np.float32)
    if number % 4 == 3:
        return call, call.other(
            x=rng.standard_normal(call.x.shape).astype("f"), w=rng.standard_normal(call.w.shape).astype("f")
        )
    y = rng.standard_normal(call.y.shape)
    return call, (y * call.y.std() + call.y.mean() if number % 4 else y).astype(np.float32)
