"""Checks of a dialect against its framework: random native calls, the code that the dialect writes, and the adjoint.

A native call and `conv_transpose` in its dialect must give equal results, both refuse, or meet a listed fault. A fault
whose effect is listed must give that output, or an error.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import tconv
from random_calls import random_geometry, whole_numbers
from tconv.diagnosis.call_model import CallModel, whole
from tconv.diagnosis.causes.fault_effects import EFFECTS
from tconv.dialects.fault import Fault
from tconv.dialects.faults import FAULTS
from tconv.errors import ArgumentError
from tconv.operator.call_reading import read_call

Arguments = dict[str, Any]
"""Native arguments of a call."""


class Conformance:
    """Comparison of many native calls with tconv; `tally` counts the results."""

    def __init__(
        self,
        name: str,
        native: Callable[..., Any],
        unsupported: Callable[[Exception, Arguments], bool] | None = None,
        versions: str = "",
    ) -> None:
        """Compare with `native(x, w, bias, arguments)`, the framework's own call on NumPy arrays.

        Only faults whose `versions` contain this text count, where the faults of a dialect are of several packages.
        `unsupported(error, arguments)` is True if the framework's build lacks a kernel for a call that its rules allow.
        """
        self.name, self.native = name, native
        self.dialect = tconv.dialect(name)
        self.unsupported = unsupported or (lambda error, arguments: False)
        self.faults = [
            fault for fault in self.dialect.faults if versions in fault.versions and fault.computation == "layer"
        ]
        self.tally: Counter[str] = Counter()

    def check(self, x: np.ndarray, w: np.ndarray, bias: np.ndarray | None, arguments: Arguments) -> None:
        """Count one call. Raises AssertionError, with the call, if the results differ without a listed fault."""
        ours, our_refusal = None, ""
        try:
            ours = tconv.conv_transpose(x, w, bias, dialect=self.name, **arguments)
        except tconv.TconvError as error:
            our_refusal = str(error)
        else:
            tconv.prepare(w, bias, dialect=self.name, **arguments)  # accepts all arguments that are valid with some x
        try:
            theirs = np.asarray(self.native(x, w, bias, arguments))
        except Exception as error:  # each framework has its own kinds
            if self.unsupported(error, arguments):
                self.tally["unsupported there"] += 1
                return
            theirs, refusal = None, f"{type(error).__name__}: {str(error)[:300]}"
        if theirs is None and ours is None:
            self.tally["refused"] += 1
            return
        if theirs is not None and ours is not None and theirs.shape == ours.shape and np.array_equal(theirs, ours):
            self.tally["equal"] += 1
            return
        if theirs is not None and theirs.size == 0 and x.size and "the output would be" in our_refusal:
            self.tally["zero-size outputs are refused here"] += 1
            return
        if faults := self._faults(x, w, arguments):
            keys = [fault.key for fault in faults]
            if theirs is not None and ours is not None and self._is_output_of(keys, x, w, bias, arguments, theirs):
                self.tally[f"output of fault: {keys[0]}"] += 1
            self.tally[f"fault: {keys[0]}"] += 1
            return
        call = f"x{x.shape} w{w.shape} bias={bias is not None} {arguments}"
        if theirs is None:
            raise AssertionError(f"{self.name} refuses ({refusal}), tconv gives {ours.shape}: {call}")
        if ours is None:
            raise AssertionError(f"tconv refuses ({our_refusal}), {self.name} gives {theirs.shape}: {call}")
        raise AssertionError(f"{self.name} gives {theirs.shape}, tconv {ours.shape}, with other values: {call}")

    def _faults(self, x: np.ndarray, w: np.ndarray, arguments: Arguments) -> list[Fault]:
        """Return the listed faults that this call meets."""
        if not self.faults:
            return []
        try:
            call = self.dialect.read(x.shape, w.shape, arguments)
        except tconv.TconvError:
            return []
        sizes = call.data.sizes(x.shape)[2]
        return [fault for fault in self.faults if fault.applies(call.geometry, sizes, arguments)]

    def _is_output_of(self, keys: list[str], x, w, bias, arguments: Arguments, y: np.ndarray) -> bool:
        """Return True if y is the listed output of these faults, of one or of all together; False if that is unknown.

        Raises AssertionError if y is another output.
        """
        call = read_call(x, w, bias, self.name, None, arguments)
        model = CallModel(call.x, call.weight, call.bias, call.problem.geometry)
        models = [EFFECTS[key](model, arguments) if key in EFFECTS else None for key in keys]
        together = model
        for key in keys:
            together = EFFECTS[key](together, arguments) if together and key in EFFECTS else None
        models.append(together)
        if any(each is None or each.spatial is None for each in models):
            return False
        layout = self.dialect.read(x.shape, w.shape, arguments).result
        outputs = [as_native(layout, each.window(whole(each.spatial))) for each in models]
        shown = f"x{x.shape} w{w.shape} bias={bias is not None} {arguments}"
        assert any(np.array_equal(y, output) for output in outputs), f"not the output of {keys}: {shown}"
        return True


def meets_fault(key: str, name: str, x: np.ndarray, w: np.ndarray, arguments: Arguments) -> bool:
    """Return True if a call in this dialect meets the listed fault of this key."""
    try:
        call = tconv.dialect(name).read(x.shape, w.shape, arguments)
    except tconv.TconvError:
        return False
    return FAULTS[key].applies(call.geometry, call.data.sizes(x.shape)[2], arguments)


def per_axis_or_one(rng: np.random.Generator, value: Sequence[int], probability: float = 0.5) -> Any:
    """Return the first number alone where all are equal, with this probability, else the sequence."""
    return value[0] if len(set(value)) == 1 and rng.random() < probability else value


def _affects_layer(
    fault: Fault, geometry: tconv.Geometry, input: tuple[int, ...], dialect: tconv.dialects.Dialect
) -> bool:
    return fault.computation == "layer" and fault.applies(geometry, input, dialect.arguments(geometry, input))


# -- from geometries to native arguments and code ------------------------------------------------------------------


def as_native(layout: tconv.dialects.DataLayout, x: np.ndarray) -> np.ndarray:
    """Return a canonical [N, C, *spatial] array in a native layout."""
    native = np.empty(layout.native_shape(x.shape), x.dtype)
    layout.canonical(native)[...] = x
    return native


def check_code(
    name: str,
    modules: dict[str, Any],
    *,
    count: int = 200,
    ranks: tuple[int, int] = (1, 3),
    groups: Sequence[int] = (1, 1, 2),
    wrap: Callable[[np.ndarray], Any] = lambda array: array,
    unwrap: Callable[[Any], np.ndarray] = np.asarray,
) -> Counter[str]:
    """Check `arguments` and `code` of random geometries: the arguments mean them, and the code computes the operator.

    Only where a listed fault applies may the code give another result.

    `modules` are the names that the code uses; `wrap` makes a native array of a NumPy array, and `unwrap` the reverse.
    """
    rng = np.random.default_rng(len(name))
    dialect, tally = tconv.dialect(name), Counter()
    ndims = range(ranks[0], ranks[1] + 1)
    for _ in range(count):
        g, n = random_geometry(rng, ndims, n=(1, 4), d=(1, 2), dilated=0.5, crop=(-2, 3), cropped=0.7, groups=groups)
        layout = dialect.data_layout(g.ndim, g.ndim + 2)
        x = whole_numbers(rng, (2 if "N" in layout.axes else 1, 2 * g.groups, *n))
        w = whole_numbers(rng, (2 * g.groups, 3, *g.kernel))
        native_x, native_w = as_native(layout, x), np.array(dialect.to_native(w, g.groups), order="C")
        try:
            code = dialect.code(g, n)
        except tconv.TconvError:
            tally["cannot be expressed"] += 1
            continue
        if not dialect.reasons_against(g, n):
            assert dialect.read(native_x.shape, native_w.shape, dialect.arguments(g, n)).geometry == g, (g, n)
        scope = {**modules, "x": wrap(native_x), "weight": wrap(native_w)}
        exec(code, scope)
        expected = as_native(dialect.result_layout(g.ndim, g.ndim + 2), tconv.conv_transpose(x, w, geometry=g))
        if not np.array_equal(unwrap(scope["y"]), expected):
            met = [fault.key for fault in dialect.faults if _affects_layer(fault, g, n, dialect)]
            assert met, f"{g} at {n}: {code}"
            tally[f"fault: {met[0]}"] += 1
            continue
        tally["one call" if "\n" not in code else "call and slice"] += 1
    return tally


def check_adjoint(name: str, x: np.ndarray, w: np.ndarray, arguments: Arguments) -> bool:
    """Check <conv(v), x> == <v, conv_transpose(x)> with the same native arguments. Returns False if they are refused."""
    x, w = x.astype("float64"), w.astype("float64")
    try:
        y = tconv.conv_transpose(x, w, dialect=name, **arguments)
    except tconv.TconvError:
        return False
    v = whole_numbers(np.random.default_rng(x.size), y.shape, "float64")
    u = tconv.conv(v, w, dialect=name, **arguments)
    assert u.shape == x.shape, f"{name}: {u.shape} instead of {x.shape} for {arguments}"
    assert (u * x).sum() == (v * y).sum(), f"{name}: not the adjoint for {arguments}"
    return True


# -- layers -------------------------------------------------------------------------------------------------------------


def check_layer(
    layer: Any, run: Callable[[np.ndarray], Any], name: str, weight: Any, bias: Any, shape, groups=1
) -> None:
    """Check that every function that takes a weight takes a framework's layer, with its arguments and its bias.

    `run` applies the layer to a NumPy array of this `shape`; weight and bias are its arrays as NumPy's.
    """
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape).astype("f")
    prepared = tconv.prepare(layer)
    expected = np.asarray(run(x))
    got = np.asarray(prepared(x if prepared.library == "numpy" else run.wrap(x)))
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, atol=1e-4 * max(1, abs(expected).max()))
    for target in ("torch", "keras", "onnx", "ncnn"):
        if groups > 1 and target == "keras":
            continue
        there = np.asarray(tconv.convert(layer, target=target))
        np.testing.assert_array_equal(there, tconv.convert(weight, source=name, target=target, groups=groups))
    np.testing.assert_array_equal(
        np.asarray(tconv.convert(layer, source=name, target="torch")), np.asarray(tconv.convert(layer, target="torch"))
    )
    other = "torch" if name != "torch" else "keras"
    with pytest.raises(
        ArgumentError, match=f"source is '{other}', and the weight is a .* Write source='{name}', or le"
    ):
        tconv.convert(layer, source=other, target="onnx")
    with pytest.raises(ArgumentError, match="groups= was given together with a "):
        tconv.convert(layer, target="onnx", groups=7)
    own = {} if groups == 1 else {"groups": groups}
    count = len(tconv.channel_scales(weight, dialect=name, **own))
    np.testing.assert_array_equal(
        np.asarray(tconv.channel_scales(layer)), tconv.channel_scales(weight, dialect=name, **own)
    )
    numbers = rng.uniform(0.5, 2, (4, count)).astype("f")
    eps = {} if tconv.dialect(name).batchnorm_eps is not None else {"eps": 1e-5}
    folded = tconv.fold_batchnorm(layer, None, *numbers, **eps)
    for part, same in zip(
        folded, tconv.fold_batchnorm(weight, bias, *numbers, dialect=name, **own, **eps), strict=True
    ):
        np.testing.assert_array_equal(np.asarray(part), same)
    board = tconv.checkerboard(layer)
    for call in (tconv.artifacts.equalise, tconv.artifacts.icnr):
        changed = call(layer)
        assert np.shape(changed) == weight.shape
    assert board.score > 0.01
    assert tconv.checkerboard([layer]).score == board.score
    with pytest.raises(ArgumentError, match=r"\w+= was given together with a "):
        tconv.checkerboard(layer, stride=7)
    for given in (x, x if prepared.library == "numpy" else run.wrap(x)):  # the result is an array of the library of x
        y = tconv.conv_transpose(given, layer)
        assert isinstance(y, type(given))
        y = np.asarray(y.detach() if hasattr(y, "detach") else y)
        assert y.shape == expected.shape
        np.testing.assert_allclose(y, expected, atol=1e-4 * max(1, abs(expected).max()))
    assert tconv.plan(x, layer).problem == prepared.plan(x).problem
    image = x if tconv.dialect(name).data_layout(x.ndim - 2, x.ndim).axes[0] != "N" else x[0]
    A = tconv.linear_operator(layer, image.shape)
    zero = np.asarray(run(np.zeros_like(x)))
    linear = (expected - zero).reshape(-1, A.shape[0])[0]  # of the first image, without the bias
    np.testing.assert_allclose(A @ image.ravel(), linear, atol=1e-4 * max(1, abs(linear).max()))
    assert tconv.matrix(layer, image.shape).shape == A.shape[::-1]
    assert tconv.diagnose(expected, expected, x=x, weight=layer).verdict == "equal"
    if abs(zero).max() > 0.01:
        found = tconv.diagnose(expected - zero, expected, x=x, weight=layer)
        assert "bias" in found.cause, found
    for call in (
        lambda **more: tconv.conv_transpose(x, layer, **more),
        lambda **more: tconv.plan(x, layer, **more),
        lambda **more: tconv.prepare(layer, **more),
        lambda **more: tconv.linear_operator(layer, image.shape, **more),
        lambda **more: tconv.diagnose(expected, expected, x=x, weight=layer, **more),
    ):
        for more in ({"geometry": tconv.Geometry(3)}, {"dialect": "onnx"}, {"padding": 77}):
            with pytest.raises(
                ArgumentError, match=rf"{next(iter(more))}= was given together with a .* Write the call without"
            ):
                call(**more)
