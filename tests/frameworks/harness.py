"""One native call against one `conv_transpose` in that dialect: equal, refused on both sides, or a listed fault."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import tconv

Words = dict[str, Any]


def whole_numbers(rng: np.random.Generator, shape: Sequence[int], dtype: str = "float32") -> np.ndarray:
    """Random asymmetric data without zeros: whole numbers small enough that every sum is exact in float32."""
    return (rng.integers(1, 9, tuple(shape)) * rng.choice([-1, 1], tuple(shape))).astype(dtype)


class Conformance:
    """Counts what happened over many calls; `check` raises AssertionError with the call that disagrees."""

    def __init__(
        self,
        name: str,
        native: Callable[..., Any],
        unsupported: Callable[[Exception, Words], bool] | None = None,
        versions: str = "",
    ) -> None:
        """`native(x, w, bias, words)` makes the framework's own call on NumPy arrays and returns a NumPy array.

        Only faults whose `versions` hold this string count, where the faults of one dialect are of several packages.

        `unsupported(error, words)` says that the framework's build lacks a kernel for a call that its rules allow.
        """
        self.name, self.native = name, native
        self.speaker = tconv.dialect(name)
        self.unsupported = unsupported or (lambda error, words: False)
        self.faults = [fault for fault in self.speaker.faults if versions in fault.versions]
        self.tally: Counter[str] = Counter()

    def check(self, x: np.ndarray, w: np.ndarray, bias: np.ndarray | None, words: Words) -> None:
        ours, said = None, ""
        try:
            ours = tconv.conv_transpose(x, w, bias, dialect=self.name, **words)
        except tconv.TconvError as error:
            said = str(error)
        else:
            tconv.prepare(w, bias, dialect=self.name, **words)  # refuses nothing that there is an x for
        try:
            theirs = np.asarray(self.native(x, w, bias, words))
        except Exception as error:  # each framework has its own kinds
            if self.unsupported(error, words):
                self.tally["unsupported there"] += 1
                return
            theirs, refusal = None, f"{type(error).__name__}: {str(error)[:300]}"
        if theirs is None and ours is None:
            self.tally["refused"] += 1
            return
        if theirs is not None and ours is not None and theirs.shape == ours.shape and np.array_equal(theirs, ours):
            self.tally["equal"] += 1
            return
        if theirs is not None and theirs.size == 0 and x.size and "the output would be" in said:
            self.tally["zero-size outputs are refused here"] += 1
            return
        if fault := self._fault(x, w, words):
            self.tally[f"fault: {fault}"] += 1
            return
        call = f"x{x.shape} w{w.shape} bias={bias is not None} {words}"
        if theirs is None:
            raise AssertionError(f"{self.name} refuses ({refusal}), we give {ours.shape}: {call}")
        if ours is None:
            raise AssertionError(f"we refuse ({said}), {self.name} gives {theirs.shape}: {call}")
        raise AssertionError(f"{self.name} gives {theirs.shape}, we {ours.shape}, with other values: {call}")

    def _fault(self, x: np.ndarray, w: np.ndarray, words: Words) -> str | None:
        if not self.faults:
            return None
        try:
            call = self.speaker.read(x.shape, w.shape, words)
        except tconv.TconvError:
            return None
        sizes = call.data.sizes(x.shape)[2]
        return next((fault.what for fault in self.faults if fault.applies(call.geometry, sizes, words)), None)


# -- the way back: geometry to native words and code ---------------------------------------------------------------


def random_geometry(
    rng: np.random.Generator, ranks: tuple[int, int], groups: Sequence[int]
) -> tuple[tconv.Geometry, tuple[int, ...]]:
    """A geometry whose crop may be positive, uneven or negative, and an input shape that it makes something of."""
    while True:
        ndim = int(rng.integers(ranks[0], ranks[1] + 1))
        crop = rng.integers(-2, 4, (ndim, 2)).tolist() if rng.random() < 0.7 else 0
        kernel, stride, dilation = (rng.integers(1, high, ndim) for high in (5, 4, 3))
        if rng.random() < 0.5:
            dilation[:] = 1
        g = tconv.Geometry(kernel, stride, crop, dilation, int(rng.choice(groups)))
        n = tuple(int(size) for size in rng.integers(1, 5, ndim))
        if all(full - lo - hi > 0 for full, (lo, hi) in zip(g.full_shape(n), g.crop, strict=True)):
            return g, n


def as_native(layout: tconv.dialects.DataLayout, x: np.ndarray) -> np.ndarray:
    """A canonical [N, C, *spatial] array in a native layout."""
    native = np.empty(layout.native_shape(x.shape), x.dtype)
    layout.canonical(native)[...] = x
    return native


def check_writing(
    name: str,
    names: Words,
    *,
    count: int = 200,
    ranks: tuple[int, int] = (1, 3),
    groups: Sequence[int] = (1, 1, 2),
    wrap: Callable[[np.ndarray], Any] = lambda array: array,
    unwrap: Callable[[Any], np.ndarray] = np.asarray,
) -> Counter[str]:
    """Random geometries said in native words: read back they are the same, and the code, run, is the operator.

    `names` are the modules that the code uses, `wrap` makes a native array of a NumPy array, `unwrap` the reverse.
    """
    rng = np.random.default_rng(len(name))
    speaker, tally = tconv.dialect(name), Counter()
    for _ in range(count):
        g, n = random_geometry(rng, ranks, groups)
        layout = speaker.data_layout(g.ndim, g.ndim + 2)
        x = whole_numbers(rng, (2 if "N" in layout.axes else 1, 2 * g.groups, *n))
        w = whole_numbers(rng, (2 * g.groups, 3, *g.kernel))
        native_x, native_w = as_native(layout, x), np.array(speaker.to_native(w, g.groups), order="C")
        try:
            code = speaker.code(g, n)
        except tconv.TconvError:
            tally["cannot be said"] += 1
            continue
        if not speaker.reasons_against(g, n):
            assert speaker.read(native_x.shape, native_w.shape, speaker.arguments(g, n)).geometry == g, (g, n)
        scope = {**names, "x": wrap(native_x), "weight": wrap(native_w)}
        exec(code, scope)
        expected = as_native(speaker.result_layout(g.ndim, g.ndim + 2), tconv.conv_transpose(x, w, geometry=g))
        assert np.array_equal(unwrap(scope["y"]), expected), f"{g} at {n}: {code}"
        tally["one call" if "\n" not in code else "call and slice"] += 1
    return tally


def check_adjoint(name: str, x: np.ndarray, w: np.ndarray, words: Words) -> bool:
    """<conv(v), x> == <v, conv_transpose(x)>: the same words bring `conv` to the same geometry. False if refused."""
    x, w = x.astype("float64"), w.astype("float64")
    try:
        y = tconv.conv_transpose(x, w, dialect=name, **words)
    except tconv.TconvError:
        return False
    v = whole_numbers(np.random.default_rng(x.size), y.shape, "float64")
    u = tconv.conv(v, w, dialect=name, **words)
    assert u.shape == x.shape, f"{name}: {u.shape} instead of {x.shape} for {words}"
    assert (u * x).sum() == (v * y).sum(), f"{name}: not the adjoint for {words}"
    return True
