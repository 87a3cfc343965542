"""Test of the fixes that `diagnose` writes: each is run on one framework's arrays, as if pasted into the wrong code.

The tests named test_diagnose_* in this folder run it, one framework a process.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from harness import as_native

import tconv
from random_calls.fix_code import recomputes
from tconv import Geometry


class Call(NamedTuple):
    """Canonical arrays and a geometry."""

    x: np.ndarray
    w: np.ndarray
    bias: np.ndarray | None
    geometry: Geometry

    @property
    def y(self) -> np.ndarray:
        return tconv.conv_transpose(self.x, self.w, self.bias, geometry=self.geometry)

    def but(self, **parts: Any) -> Call:
        """Return the call with another stride, crop or dilation."""
        g = self.geometry
        arguments = {"stride": g.stride, "crop": g.crop, "dilation": g.dilation, **parts}
        return self._replace(geometry=Geometry(g.kernel, groups=g.groups, **arguments))


class Wrong(NamedTuple):
    """The wrong call, its output, and the array before it was reshaped, if it was."""

    call: Call
    y: np.ndarray
    stored: np.ndarray | None = None
    right: Call | None = None
    """The right call, where it is not the one that the fault was made from."""


def _wrong(call: Call, stored: np.ndarray | None = None) -> Wrong:
    return Wrong(call, call.y, stored)


def _read_as_channels_first(a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the array with channels last, and its memory read as channels first."""
    last = np.ascontiguousarray(np.moveaxis(a, 1, -1))
    return last, last.reshape(a.shape)


def _reshaped_x(c: Call) -> Wrong:
    stored, x = _read_as_channels_first(c.x)
    return _wrong(c._replace(x=x), stored)


def _reshaped_y(c: Call) -> Wrong:
    stored, y = _read_as_channels_first(c.y)
    return Wrong(c, y, stored)


def _reshaped_weight(c: Call) -> Wrong | None:
    if c.geometry.groups > 1:
        return None
    stored = tconv.convert(c.w, source="torch", target="tensorflow")
    return _wrong(c._replace(w=np.ascontiguousarray(stored).reshape(c.w.shape)), stored)


def _regrouped(c: Call) -> Wrong | None:
    groups = c.geometry.groups
    if groups == 1:
        return None
    stored = tconv.convert(c.w, source="torch", target="ncnn", groups=groups)
    return _wrong(c._replace(w=np.ascontiguousarray(stored).reshape(c.w.shape)), stored)


def _swapped(c: Call) -> Wrong | None:
    return _wrong(c._replace(w=c.w.swapaxes(0, 1))) if c.geometry.groups == 1 and c.w.shape[0] == c.w.shape[1] else None


def _scaled(c: Call, scale: bool, offset: bool) -> Wrong:
    rng = np.random.default_rng(c.x.size)
    shape = (-1, *[1] * c.geometry.ndim)
    y = c.y * rng.uniform(0.5, 2, c.y.shape[1]).reshape(shape) if scale else c.y
    return Wrong(c, (y + rng.standard_normal(c.y.shape[1]).reshape(shape) if offset else y).astype("f"))


def _padded_input(c: Call) -> Wrong | None:
    """The input padded by the crop, and the output cut to size at its end."""
    g, crop = c.geometry, []
    for (lo, _), s, F, L in zip(g.crop, g.stride, g.full_shape(c.x.shape[2:]), c.y.shape[2:], strict=True):
        start = -s * max(lo, 0)
        crop.append((start, F - start - L))
    return _wrong(c.but(crop=crop)) if min(crop)[0] < 0 else None


def _border(c: Call, mode: str) -> Wrong:
    """The input padded with other numbers than zeros is right, and the call as it is wrong."""
    x, g = np.pad(c.x, ((0, 0), (0, 0), *[(1, 1)] * c.geometry.ndim), mode=mode), c.geometry
    crop = [(lo + s, hi + s) for (lo, hi), s in zip(g.crop, g.stride, strict=True)]
    return Wrong(c, c.y, right=c._replace(x=x).but(crop=crop))


def _unfilled(c: Call, with_bias: bool) -> Wrong | None:
    """The last rows without a result."""
    y = c.y.copy()
    if c.bias is None and with_bias:
        return None
    for axis in range(2, y.ndim):
        np.moveaxis(y, axis, 0)[-1] = c.bias.reshape(-1, *[1] * (y.ndim - 3)) if with_bias else 0
    return Wrong(c, y)


def _one_stride(c: Call) -> Wrong | None:
    stride = c.geometry.stride
    return _wrong(c.but(stride=max(stride))) if len(set(stride)) > 1 else None


def _rotated(a: np.ndarray) -> np.ndarray:
    """The spatial axes one place further, the first of them reversed."""
    return np.flip(np.moveaxis(a, 2, -1), 2)


def _moved_kernel(c: Call, w: np.ndarray) -> Wrong:
    g = c.geometry
    return _wrong(Call(c.x, w, c.bias, Geometry(w.shape[2:], g.stride, g.crop, g.dilation, g.groups)))


def _with_bias(c: Call, change: Callable[[np.ndarray], np.ndarray | None]) -> Wrong | None:
    return None if c.bias is None else _wrong(c._replace(bias=change(c.bias)))


def _bias_per_tap(c: Call) -> Wrong | None:
    """Return the output with the bias added once per tap that meets in it; no call of the dialect gives that."""
    g, n = c.geometry, c.x.shape[2:]
    one = Geometry(g.kernel, g.stride, g.crop, g.dilation)
    times = tconv.conv_transpose(np.ones((1, 1, *n), "f"), np.ones((1, 1, *g.kernel), "f"), geometry=one)
    if times.max() < 2:
        return None
    return Wrong(c, c._replace(bias=None).y + c.bias.reshape(-1, *[1] * len(n)) * times)


def _interleaved(a: np.ndarray, groups: int) -> np.ndarray:
    return a.reshape(len(a), groups, -1, *a.shape[2:]).swapaxes(1, 2).reshape(a.shape)


FAULTS: dict[str, Callable[[Call], Wrong | None]] = {
    "kernel flipped": lambda c: _wrong(c._replace(w=np.flip(c.w, tuple(range(2, c.w.ndim))))),
    "kernel flipped on axis 0": lambda c: _wrong(c._replace(w=np.flip(c.w, 2))),
    "kernel axes exchanged": lambda c: _wrong(c._replace(w=c.w.swapaxes(2, -1))) if len(set(c.w.shape[2:])) == 1 else None,
    "channels swapped": _swapped,
    "weight reshaped": _reshaped_weight,
    "group order of the weight": _regrouped,
    "x reshaped": _reshaped_x,
    "x channels reversed": lambda c: _wrong(c._replace(x=c.x[:, ::-1])),
    "x flipped on axis 0": lambda c: _wrong(c._replace(x=np.flip(c.x, 2))),
    "x axes exchanged": lambda c: _wrong(c._replace(x=c.x.swapaxes(2, -1))) if c.x.shape[2] == c.x.shape[-1] else None,
    "x groups interleaved": lambda c: _wrong(c._replace(x=_interleaved(c.x, c.geometry.groups))),
    "y reshaped": _reshaped_y,
    "y channels reversed": lambda c: Wrong(c, c.y[:, ::-1]),
    "y channels in another order": lambda c: Wrong(c, c.y[:, np.random.default_rng(1).permutation(c.y.shape[1])]),
    "y flipped on axis 0": lambda c: Wrong(c, np.flip(c.y, 2)),
    "y axes exchanged": lambda c: Wrong(c, c.y.swapaxes(2, -1)) if c.y.shape[2] == c.y.shape[-1] else None,
    "y groups interleaved": lambda c: Wrong(c, _interleaved(c.y, c.geometry.groups)),
    "x axes moved": lambda c: _wrong(c._replace(x=np.moveaxis(c.x, 2, -1))) if c.geometry.ndim > 2 else None,
    "x axes moved and flipped": lambda c: _wrong(c._replace(x=_rotated(c.x))) if c.geometry.ndim > 1 else None,
    "kernel axes moved": lambda c: _moved_kernel(c, np.moveaxis(c.w, 2, -1)) if c.geometry.ndim > 2 else None,
    "kernel axes moved and flipped": lambda c: _moved_kernel(c, _rotated(c.w)) if c.geometry.ndim > 1 else None,
    "y axes moved": lambda c: Wrong(c, np.moveaxis(c.y, 2, -1)) if c.geometry.ndim > 2 else None,
    "y axes moved and flipped": lambda c: Wrong(c, _rotated(c.y)) if c.geometry.ndim > 1 else None,
    "bias missing": lambda c: _with_bias(c, lambda b: None),
    "bias twice": lambda c: _with_bias(c, lambda b: 2 * b),
    "bias negated": lambda c: _with_bias(c, lambda b: -b),
    "bias reversed": lambda c: _with_bias(c, lambda b: b[::-1]),
    "bias rolled": lambda c: _with_bias(c, lambda b: np.roll(b, 1)),
    "bias in another order": lambda c: _with_bias(c, lambda b: b[np.random.default_rng(2).permutation(len(b))]),
    "bias scaled": lambda c: _with_bias(c, lambda b: b * np.float32(3.25)),
    "bias of one channel": lambda c: _with_bias(c, lambda b: b + np.float32(np.arange(len(b)) == 1)),
    "bias once per tap": lambda c: None if c.bias is None else _bias_per_tap(c),
    "first bias everywhere": lambda c: _with_bias(c, lambda b: np.full_like(b, b[0])),
    "scale per channel": lambda c: _scaled(c, True, False),
    "offset per channel": lambda c: _scaled(c, False, True),
    "scale and offset per channel": lambda c: _scaled(c, True, True),
    "scale": lambda c: Wrong(c, (c.y * np.float32(1.75))),
    "crop sides exchanged": lambda c: _wrong(c.but(crop=[(hi, lo) for lo, hi in c.geometry.crop])),
    "padding ignored": lambda c: _wrong(c.but(crop=[(0, hi - lo) for lo, hi in c.geometry.crop])),
    "off by one element": lambda c: _wrong(c.but(crop=[(lo + 1, hi - 1) for lo, hi in c.geometry.crop])),
    "nothing cropped": lambda c: _wrong(c.but(crop=0)),
    "stride ignored": lambda c: _wrong(c.but(stride=1)),
    "dilation ignored": lambda c: _wrong(c.but(dilation=1)),
    "one stride for all axes": _one_stride,
    "padding as input padding, cut at the end": _padded_input,
    "rows of zeros": lambda c: _unfilled(c, False),
    "rows of the bias alone": lambda c: _unfilled(c, True),
    "circular border": lambda c: _border(c, "wrap"),
    "reflect border": lambda c: _border(c, "reflect"),
    "replicate border": lambda c: _border(c, "edge"),
}  # fmt: skip
"""Each fault as a function from the right call to the wrong one; None or the right numbers if it has no such fault."""


NO_FIX = {
    "stride ignored", "dilation ignored", "weight reshaped", "group order of the weight", "x groups interleaved",
    "x reshaped", "one stride for all axes",
}  # fmt: skip
"""Faults that need no fix if the given call is the wrong one. With the right call every fault has one."""


def random_call(rng: np.random.Generator, groups: int, same: bool) -> Call:
    """Return a random call, large enough to tell causes apart, cropped as TensorFlow's SAME if `same`, else at random."""
    while True:
        ndim = int(rng.choice([1, 2, 2, 3]))
        k, s = (tuple(int(v) for v in rng.integers(lo, hi, ndim)) for lo, hi in ((2, 5), (1, 4)))
        if ndim > 1 and rng.random() < 0.5:
            k = (k[0],) * ndim
        d = tuple(int(v) for v in rng.integers(1, 3, ndim)) if rng.random() < 0.3 else (1,) * ndim
        crop = [(int(lo), int(hi)) for lo, hi in zip(rng.integers(0, 3, ndim), rng.integers(-1, 3, ndim), strict=True)]
        n = tuple(int(v) for v in rng.integers(5, {1: 24, 2: 9, 3: 6}[ndim], ndim))
        if rng.random() < 0.5:
            n = (n[0],) * ndim
        inner, outer = (int(v) for v in rng.integers(2, 5, 2))
        outer = inner if rng.random() < 0.4 else outer
        if same:
            d = (1,) * ndim
            rest = [max(a - b, 0) for a, b in zip(k, s, strict=True)]
            crop = [(r // 2, a - b - r // 2) for r, a, b in zip(rest, k, s, strict=True)]
        g = Geometry(k, s, crop, d, groups)
        if min(g.output_shape(n), default=0) < 4:
            continue
        x, w, bias = (
            rng.standard_normal(shape).astype("f")
            for shape in ((2, groups * inner, *n), (groups * inner, outer, *k), (groups * outer,))
        )
        return Call(x, w, bias, g)


def check_fixes(
    target: str,
    names: dict[str, Any],
    *,
    rounds: int = 1,
    groups: tuple[int, ...] = (1, 2),
    batch: int = 2,
    layout: Callable[[int], dict[str, Any]] | None = None,
    wrap: Callable[[np.ndarray], Any] = lambda array: array,
    unwrap: Callable[[Any], np.ndarray] = np.asarray,
    half: bool = False,
) -> Counter[str]:
    """Check that the fix in the target's dialect, run on its arrays, gives the expected output, for every fault.

    diagnose is given a call in PyTorch's layouts, in the target's own arguments if they can express this geometry, and
    once more with those of another `layout`, a function of the number of spatial axes. It is the right call and the wrong
    one in turn, so that each fault meets both with each dialect, each number of groups and each kind of crop.

    With `half`, for a library whose lines are another one's, each call is given in one of the dialects in turn.

    A fix that recomputes y is run on the arrays that were given. Another fix is run on those of the wrong call, in the
    target's layouts, and then the wrong call is run again. Returns the number of checks by their result.
    """
    rng, tally = np.random.default_rng(0), Counter()
    framework = (tconv.dialect(target), names, wrap, unwrap)
    for index, (name, fault) in enumerate(FAULTS.items()):
        for number in range(2 * rounds):
            for count in groups:
                right = random_call(rng, count, same=number % 2 > 0)
                right = right._replace(x=right.x[:batch], bias=right.bias if rng.random() < 0.7 else None)
                wrong = fault(right)
                only_wrong = wrong is not None and wrong.right is not None  # the right call has another x
                right = wrong.right if only_wrong else right
                if wrong is None or (wrong.y.shape == right.y.shape and np.allclose(wrong.y, right.y, atol=1e-2)):
                    tally["no such fault"] += 1
                    continue
                ndim = right.geometry.ndim
                more = [(target, layout(ndim))] if layout else []
                for at, (dialect, extra) in enumerate([("torch", {}), (target, {}), *more]):
                    if half and (index + count + at) % 2 > 0:
                        continue
                    is_right = (index + number + count + at) % 2 > 0 and not only_wrong
                    given, which = (right, "right") if is_right else (wrong.call, "wrong")
                    label = f"{name}, given the {which} call in the {dialect} dialect {extra or ''}"
                    tally[_check(label, name, right, wrong, given, dialect, extra, *framework)] += 1
    assert tally["no such fault"] <= 0.4 * 2 * rounds * len(groups) * len(FAULTS), tally
    return tally


def _check(label, name, right, wrong, given, dialect, extra, target, names, wrap, unwrap) -> str:
    """Check one fix, and return the result. Raises AssertionError."""
    g, ndim = given.geometry, given.geometry.ndim
    data, result = (layout(ndim, ndim + 2, **extra) for layout in (target.data_layout, target.result_layout))
    native = lambda w: np.array(target.to_native(w, g.groups, **extra), order="C")  # noqa: E731
    if dialect == "torch":
        x, w, arguments, outputs = given.x, given.w, {"geometry": g}, (wrong.y, right.y)
    else:
        x, w, outputs = as_native(data, given.x), native(given.w), (as_native(result, y) for y in (wrong.y, right.y))
        try:
            arguments = target.arguments(g, given.x.shape[2:]) | extra
            target.read(x.shape, w.shape, arguments)
        except tconv.TconvError:
            return "the dialect cannot express the call"
        arguments["dialect"] = dialect
    found = tconv.diagnose(*outputs, x=x, weight=w, bias=given.bias, target=target.name, **arguments)
    if not found.fix:
        assert name in NO_FIX, f"{label}: no fix\n{found}"
        assert given is not right, f"{label}: no fix\n{found}"
        return "no fix"
    if "gamma" in found.fix:
        return "the reader fills in a BatchNorm's numbers"
    label = f"{label}: {found.fix}"
    stored = wrong.stored
    if stored is not None:
        stored = wrap(stored if "N" in data.axes or "reshaped" not in name or name[0] == "w" else stored[0])
    scope = {**names, "tconv": tconv, "np": np, "stored": stored}
    recomputed = recomputes(found.fix)
    if recomputed:
        scope |= {"x": wrap(x), "weight": wrap(w)} | ({} if given.bias is None else {"bias": wrap(given.bias)})
    else:
        called = wrong.call
        scope |= {
            "x": wrap(as_native(data, called.x)),
            "weight": wrap(native(called.w)),
            "y": wrap(as_native(result, wrong.y)),
        }
        if right.bias is not None:
            scope["bias"] = wrap(right.bias if called.bias is None else called.bias)
        if "reshape(weight" in found.fix or "weight.reshape" in found.fix:  # reads the memory of the given weight
            scope["weight"] = wrap(w)
        if "y" in _assigned(found.fix) and given.bias is not None:
            scope["bias"] = wrap(given.bias)  # a line about y means the bias that was given
    try:
        exec(found.fix, scope)
        if "y" in _assigned(found.fix):
            y = result.canonical(np.asarray(unwrap(scope["y"])))
        else:
            x = data.canonical(np.asarray(unwrap(scope["x"])))
            w = target.to_canonical(np.asarray(unwrap(scope["weight"])), g.groups, **extra)
            bias = None if wrong.call.bias is None else np.asarray(unwrap(scope["bias"]))
            y = _moved_kernel(wrong.call._replace(x=x, bias=bias), w).y
    except Exception as error:
        raise AssertionError(f"{label}\n{type(error).__name__}: {error}\n{found}") from error
    limit = 1e-4 * np.abs(right.y).max()
    assert y.shape == right.y.shape, f"{label}\n{y.shape} instead of {right.y.shape}\n{found}"
    assert np.abs(y - right.y).max() <= limit, f"{label}\nother numbers\n{found}"
    return "recomputed" if recomputed else "fixed"


def _assigned(code: str) -> set[str]:
    return {
        node.id for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
