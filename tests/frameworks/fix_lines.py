"""The lines that `diagnose` writes, pasted into the code that made the wrong output, in one framework's arrays and words."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from harness import as_native

import tconv
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
        """The same with another stride, crop or dilation."""
        g = self.geometry
        words = {"stride": g.stride, "crop": g.crop, "dilation": g.dilation, **parts}
        return self._replace(geometry=Geometry(g.kernel, groups=g.groups, **words))


class Wrong(NamedTuple):
    """The call that was made in the place of the right one, what came out, and the array before it was reshaped."""

    call: Call
    y: np.ndarray
    stored: np.ndarray | None = None


def _made(call: Call, stored: np.ndarray | None = None) -> Wrong:
    return Wrong(call, call.y, stored)


def _laid(a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Channels last, and its memory taken for channels first."""
    last = np.ascontiguousarray(np.moveaxis(a, 1, -1))
    return last, last.reshape(a.shape)


def _reshaped_x(c: Call) -> Wrong:
    stored, x = _laid(c.x)
    return _made(c._replace(x=x), stored)


def _reshaped_y(c: Call) -> Wrong:
    stored, y = _laid(c.y)
    return Wrong(c, y, stored)


def _reshaped_weight(c: Call) -> Wrong | None:
    if c.geometry.groups > 1:
        return None
    stored = tconv.convert(c.w, source="torch", target="tensorflow")
    return _made(c._replace(w=np.ascontiguousarray(stored).reshape(c.w.shape)), stored)


def _regrouped(c: Call) -> Wrong | None:
    groups = c.geometry.groups
    if groups == 1:
        return None
    stored = tconv.convert(c.w, source="torch", target="ncnn", groups=groups)
    return _made(c._replace(w=np.ascontiguousarray(stored).reshape(c.w.shape)), stored)


def _swapped(c: Call) -> Wrong | None:
    return _made(c._replace(w=c.w.swapaxes(0, 1))) if c.geometry.groups == 1 and c.w.shape[0] == c.w.shape[1] else None


def _scaled(c: Call, scale: bool, offset: bool) -> Wrong:
    rng = np.random.default_rng(c.x.size)
    shape = (-1, *[1] * c.geometry.ndim)
    y = c.y * rng.uniform(0.5, 2, c.y.shape[1]).reshape(shape) if scale else c.y
    return Wrong(c, (y + rng.standard_normal(c.y.shape[1]).reshape(shape) if offset else y).astype("f"))


def _interleaved(a: np.ndarray, groups: int) -> np.ndarray:
    return a.reshape(len(a), groups, -1, *a.shape[2:]).swapaxes(1, 2).reshape(a.shape)


FAULTS: dict[str, Callable[[Call], Wrong | None]] = {
    "kernel flipped": lambda c: _made(c._replace(w=np.flip(c.w, tuple(range(2, c.w.ndim))))),
    "kernel flipped on axis 0": lambda c: _made(c._replace(w=np.flip(c.w, 2))),
    "kernel axes exchanged": lambda c: _made(c._replace(w=c.w.swapaxes(2, -1))) if len(set(c.w.shape[2:])) == 1 else None,
    "channels swapped": _swapped,
    "weight reshaped": _reshaped_weight,
    "group order of the weight": _regrouped,
    "x reshaped": _reshaped_x,
    "x channels reversed": lambda c: _made(c._replace(x=c.x[:, ::-1])),
    "x flipped on axis 0": lambda c: _made(c._replace(x=np.flip(c.x, 2))),
    "x axes exchanged": lambda c: _made(c._replace(x=c.x.swapaxes(2, -1))) if c.x.shape[2] == c.x.shape[-1] else None,
    "x groups interleaved": lambda c: _made(c._replace(x=_interleaved(c.x, c.geometry.groups))),
    "y reshaped": _reshaped_y,
    "y channels reversed": lambda c: Wrong(c, c.y[:, ::-1]),
    "y channels in another order": lambda c: Wrong(c, c.y[:, np.random.default_rng(1).permutation(c.y.shape[1])]),
    "y flipped on axis 0": lambda c: Wrong(c, np.flip(c.y, 2)),
    "y axes exchanged": lambda c: Wrong(c, c.y.swapaxes(2, -1)) if c.y.shape[2] == c.y.shape[-1] else None,
    "y groups interleaved": lambda c: Wrong(c, _interleaved(c.y, c.geometry.groups)),
    "bias missing": lambda c: _made(c._replace(bias=None)),
    "bias twice": lambda c: _made(c._replace(bias=2 * c.bias)),
    "bias negated": lambda c: _made(c._replace(bias=-c.bias)),
    "bias reversed": lambda c: _made(c._replace(bias=c.bias[::-1])),
    "first bias everywhere": lambda c: _made(c._replace(bias=np.full_like(c.bias, c.bias[0]))),
    "scale per channel": lambda c: _scaled(c, True, False),
    "offset per channel": lambda c: _scaled(c, False, True),
    "scale and offset per channel": lambda c: _scaled(c, True, True),
    "scale": lambda c: Wrong(c, (c.y * np.float32(1.75))),
    "crop sides exchanged": lambda c: _made(c.but(crop=[(hi, lo) for lo, hi in c.geometry.crop])),
    "padding ignored": lambda c: _made(c.but(crop=[(0, hi - lo) for lo, hi in c.geometry.crop])),
    "off by one element": lambda c: _made(c.but(crop=[(lo + 1, hi - 1) for lo, hi in c.geometry.crop])),
    "nothing cropped": lambda c: _made(c.but(crop=0)),
    "stride ignored": lambda c: _made(c.but(stride=1)),
    "dilation ignored": lambda c: _made(c.but(dilation=1)),
}  # fmt: skip
"""Each a call gone wrong, told by the arrays that it was made with; None or the right numbers where it cannot be."""


NO_LINE = {
    "stride ignored", "dilation ignored", "weight reshaped", "group order of the weight", "x groups interleaved",
    "x reshaped",
}  # fmt: skip
"""What need not have a line where the call that is told is the wrong one; where it is the right one, all have."""


def random_call(rng: np.random.Generator, groups: int, same: bool) -> Call:
    """Asymmetric numbers, large enough that causes can be told apart; cropped as TensorFlow's SAME, or at random."""
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


def makes_anew(code: str) -> bool:
    """Whether the code makes y anew: it does not read the one that is there."""
    for statement in ast.parse(code).body:
        names = [node for node in ast.walk(statement) if isinstance(node, ast.Name) and node.id == "y"]
        if any(isinstance(node.ctx, ast.Load) for node in names):
            return False
        if names:
            return True
    return False


def check_mending(
    target: str,
    names: dict[str, Any],
    *,
    rounds: int = 1,
    groups: tuple[int, ...] = (1, 2),
    batch: int = 2,
    layout: Callable[[int], dict[str, Any]] | None = None,
    wrap: Callable[[np.ndarray], Any] = lambda array: array,
    unwrap: Callable[[Any], np.ndarray] = np.asarray,
) -> Counter[str]:
    """Random calls with every fault: the line in the target's words, run on its arrays, gives what was expected.

    The call that diagnose is told is the right one, or the one that was made; in PyTorch's layouts, or in the
    target's own words where they have some for this geometry, once more with those of another `layout` (of so many
    spatial axes). A line that makes y anew is run on the arrays that were
    told; another one on those of the wrong call, in the target's layouts, which then is made again.
    """
    rng, tally = np.random.default_rng(0), Counter()
    speaker = tconv.dialect(target)
    for name, fault in FAULTS.items():
        for number in range(2 * rounds):
            for count in groups:
                right = random_call(rng, count, same=number % 2 > 0)
                right = right._replace(x=right.x[:batch])
                wrong = fault(right)
                if wrong is None or (wrong.y.shape == right.y.shape and np.allclose(wrong.y, right.y, atol=1e-2)):
                    tally["no such fault"] += 1
                    continue
                for told in (right, wrong.call):
                    ndim = right.geometry.ndim
                    for dialect, words in [("torch", {}), (target, {}), *([(target, layout(ndim))] if layout else [])]:
                        told_so = (
                            f"{name}, told {'the right' if told is right else 'the wrong'} call in {dialect}'s words"
                        )
                        way = (speaker, dialect, words, names, wrap, unwrap)
                        tally[_check(f"{told_so} {words or ''}", name, right, wrong, told, *way)] += 1
    assert tally["no such fault"] <= 0.3 * 2 * rounds * len(groups) * len(FAULTS), tally
    return tally


def _check(said, name, right, wrong, told, speaker, dialect, extra, names, wrap, unwrap) -> str:
    g, ndim = told.geometry, told.geometry.ndim
    data, result = (made(ndim, ndim + 2, **extra) for made in (speaker.data_layout, speaker.result_layout))
    native = lambda w: np.array(speaker.to_native(w, g.groups, **extra), order="C")  # noqa: E731
    if dialect == "torch":
        x, w, words, outputs = told.x, told.w, {"geometry": g}, (wrong.y, right.y)
    else:
        x, w, outputs = as_native(data, told.x), native(told.w), (as_native(result, y) for y in (wrong.y, right.y))
        try:
            words = speaker.arguments(g, told.x.shape[2:]) | extra
            speaker.read(x.shape, w.shape, words)
        except tconv.TconvError:
            return "no words for the call"
        words["dialect"] = dialect
    found = tconv.diagnose(*outputs, x=x, weight=w, bias=told.bias, target=speaker.name, **words)
    if not found.fix:
        assert name in NO_LINE, f"{said}: no line\n{found}"
        assert told is not right, f"{said}: no line\n{found}"
        return "no line"
    if "gamma" in found.fix:
        return "a BatchNorm's numbers are for the reader to fill in"
    said = f"{said}: {found.fix}"
    stored = wrong.stored
    if stored is not None:
        stored = wrap(stored if "N" in data.axes or "reshaped" not in name or name[0] == "w" else stored[0])
    scope = {**names, "tconv": tconv, "np": np, "stored": stored}
    anew = makes_anew(found.fix)
    if anew:
        scope |= {"x": wrap(x), "weight": wrap(w), "bias": None if told.bias is None else wrap(told.bias)}
    else:
        made = wrong.call
        scope |= {
            "x": wrap(as_native(data, made.x)),
            "weight": wrap(native(made.w)),
            "bias": wrap(right.bias if made.bias is None else made.bias),
            "y": wrap(as_native(result, wrong.y)),
        }
        if "reshape(weight" in found.fix or "weight.reshape" in found.fix:  # about memory as it was told
            scope["weight"] = wrap(w)
        if "y" in _written(found.fix) and told.bias is not None:
            scope["bias"] = wrap(told.bias)  # a line about y means the numbers that were told
    try:
        exec(found.fix, scope)
        if "y" in _written(found.fix):
            y = result.canonical(np.asarray(unwrap(scope["y"])))
        else:
            y = Call(
                data.canonical(np.asarray(unwrap(scope["x"]))),
                speaker.to_canonical(np.asarray(unwrap(scope["weight"])), g.groups, **extra),
                None if wrong.call.bias is None else np.asarray(unwrap(scope["bias"])),
                wrong.call.geometry,
            ).y
    except Exception as error:
        raise AssertionError(f"{said}\n{type(error).__name__}: {error}\n{found}") from error
    limit = 1e-4 * np.abs(right.y).max()
    assert y.shape == right.y.shape, f"{said}\n{y.shape} instead of {right.y.shape}\n{found}"
    assert np.abs(y - right.y).max() <= limit, f"{said}\nother numbers\n{found}"
    return "made anew" if anew else "mended"


def _written(code: str) -> set[str]:
    return {
        node.id for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
