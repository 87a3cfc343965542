"""Every step, and chains of steps, equal the transposed convolution exactly on whole numbers."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pytest

import tconv
from tconv import Geometry
from tconv.errors import MethodError, ShapeError
from tconv.rewriting.expression import Expression, layer
from tconv.rewriting.facts import cost_of
from tconv.rewriting.operations import Add, Concat, Constant, Conv, ConvTranspose, Pad, Reshape, SizeOf, Slice, Split
from tconv.rewriting.steps import STEPS
from tconv.rewriting.steps.step import RewriteStep


class Case:
    """Random asymmetric layer with its words, an input, and the output by definition."""

    def __init__(self, seed):
        rng = np.random.default_rng(seed)
        ndim = int(rng.choice([1, 1, 2, 2, 2, 3]))
        top = {1: (10, 6, 8), 2: (6, 5, 6), 3: (4, 4, 4)}[ndim]
        k, s, n = ([int(rng.integers(1, most)) for _ in range(ndim)] for most in top)
        d = [int(rng.choice([1, 1, 2, 3, 4])) for _ in range(ndim)]
        groups = int(rng.choice([1, 1, 2, 3]))
        c_in, c_out = groups * int(rng.integers(1, 4)), int(rng.integers(1, 4))
        crop = [
            self._crop(rng, stride * (size - 1) + gap * (taps - 1) + 1)
            for stride, size, gap, taps in zip(s, n, d, k, strict=True)
        ]
        self.geometry = Geometry(k, s, crop, d, groups)
        self.x = rng.integers(-4, 5, (int(rng.integers(0, 4)), c_in, *n)).astype(np.float64)
        self.weight = rng.integers(-4, 5, (c_in, c_out, *k)).astype(np.float64)
        self.bias = [None, rng.integers(-4, 5, c_out * groups).astype(np.float64), np.full(c_out * groups, 2.0)][
            int(rng.integers(3))
        ]
        self.words = {"output_padding": tuple(max(0, -hi) + int(rng.integers(0, 2)) for _, hi in crop)}
        self.expected = tconv.conv_transpose(self.x, self.weight, self.bias, geometry=self.geometry)

    @staticmethod
    def _crop(rng, full):
        """Return a small crop, or a huge one, of which one output remains at least."""
        while True:
            low, high = (-1, 3) if rng.random() < 0.5 else (-3, full + 2)
            lo, hi = (int(rng.integers(low, high)) for _ in range(2))
            if full - lo - hi >= 1:
                return lo, hi

    def expression(self, known):
        return layer(self.weight, self.bias, self.geometry, self.x.shape if known else None, **self.words)

    def check(self, expression, note):
        got = expression.evaluate(self.x)
        assert got.shape == self.expected.shape, (note, self.geometry)
        np.testing.assert_array_equal(got, self.expected, err_msg=f"{note} {self.geometry}")
        predicted = expression.shapes[expression.output]
        assert all(size in (None, real) for size, real in zip(predicted, got.shape, strict=True)), note


def applied(expression, step, variant):
    """Return the expression with a step on all layers that it takes, and the number of those."""
    count = 0
    for operation in expression.layers:
        sizes = expression.shapes[operation.inputs[0]]
        if not step.reasons_against(operation, sizes, **variant):
            expression, count = expression.replaced(operation, step.apply(operation, sizes, **variant)), count + 1
    return expression, count


@pytest.mark.parametrize("start", range(0, 120, 30))
def test_every_step_and_form(start):
    taken = Counter()
    for seed in range(start, start + 30):
        case = Case(seed)
        for known in (False, True):
            expression = case.expression(known)
            (operation,) = expression.operations
            for name, step in STEPS.items():
                for variant in step.variants(operation, expression.input):
                    if step.reasons_against(operation, expression.input, **variant):
                        continue
                    taken[name] += 1
                    case.check(step.apply(operation, expression.input, **variant), (seed, name, variant, known))
    assert set(STEPS) - set(taken) <= {"split-stride", "matmul"}, "a step was never taken"


def test_chains_of_two_and_three_steps():
    rng, lengths = np.random.default_rng(1), Counter()
    for seed in range(1000, 1150):
        case = Case(seed)
        expression, names = case.expression(bool(seed % 2)), []
        while expression.layers and len(names) < 3:
            step = STEPS[rng.choice(list(STEPS))]
            forms = step.variants(expression.layers[0], expression.shapes[expression.layers[0].inputs[0]])
            if not forms:
                continue
            expression, count = applied(expression, step, forms[rng.integers(len(forms))])
            if len(expression.operations) > 400:
                break
            if count or rng.random() < 0.2:
                names.append(step.name)
        lengths[len(names)] += 1
        case.check(expression, (seed, names))
    assert lengths[2] > 20
    assert lengths[3] > 20


KEPT = {
    "conv+depth_to_space": (Geometry((4, 4), 2, 1), {}, ("conv", "depth_to_space")),
    "phases": (Geometry((4, 4), 2, 1), {}, ("conv", "concat", "depth_to_space")),
    "matmul": (Geometry((2, 2), 2), {}, ("transpose", "matmul", "depth_to_space")),
    "explicit-pads": (Geometry((3, 3), 2, ((0, 1), (0, 1))), {}, ("conv_transpose", "slice")),
    "no-pads": (Geometry((4, 4), 2, 1), {}, ("conv_transpose", "slice")),
    "no-output-padding": (Geometry((3, 3), 2, ((1, 0), (1, 0))), {"output_padding": (1, 1)}, ("conv_transpose",)),
    "kernel-to-stride": (Geometry((2, 2), 3), {}, ("conv_transpose",)),
    "dilation-to-kernel": (Geometry((3, 3), 2, 0, 2), {}, ("conv_transpose",)),
    "no-groups": (Geometry((3, 3), 2, 0, 1, 2), {}, ("conv_transpose",)),
    "split-groups": (Geometry((3, 3), 2, 0, 1, 2), {}, ("split", "conv_transpose", "concat")),
    "split-stride": (Geometry((4, 4), 4), {}, ("conv_transpose",)),
    "2d": (Geometry(4, 2, 1), {}, ("unsqueeze", "conv_transpose", "squeeze")),
    "overlap-add": (Geometry(8, 2, 3), {}, ("transpose", "matmul", "split", "pad", "add", "reshape", "slice")),
}


@pytest.mark.parametrize("name", KEPT)
def test_operations_of_a_step(name):
    g, words, kinds = KEPT[name]
    weight = np.ones((4, 3, *g.kernel), np.float32)
    expression = layer(weight, None, g, **words)
    result = STEPS[name].apply(expression.operations[0], expression.input)
    assert result.kinds == kinds
    assert result.operations[-1].outputs[0] == result.output
    assert all(constant.dtype == np.float32 for operation in result.operations for constant in operation.constants)


def macs(expression, shape):
    return cost_of(expression, shape).macs


def test_phases_multiply_no_zero():
    """Convolutions of phases have the taps of the layer, each once, however dilation and stride share factors."""
    for g in (Geometry((5, 3), (2, 3)), Geometry(7, 4, 0, 2), Geometry((3, 3), (2, 4), 0, (2, 6)), Geometry(2, 5)):
        expression = layer(np.ones((2, 3, *g.kernel)), None, g)
        result = STEPS["phases"].apply(expression.operations[0], expression.input)
        taps = sum(np.prod(op.weight.shape[2:]) for op in result.operations if isinstance(op, Conv))
        assert taps == np.prod(g.kernel)


def test_no_dilation_multiplies_no_zero_of_the_kernel():
    expression = layer(np.ones((2, 3, 4)), None, Geometry(4, 3, 0, 2))
    result = STEPS["no-dilation"].apply(expression.operations[0], expression.input)
    assert [op.geometry for op in result.layers] == [Geometry(4, 3)] * 2
    shared = {id(op.weight) for op in result.layers}
    assert len(shared) == 1, "the layers have one weight"
    spread = STEPS["dilation-to-kernel"].apply(expression.operations[0], expression.input)
    assert spread.layers[0].geometry == Geometry(7, 3)
    grid = layer(np.ones((2, 3, 4)), None, Geometry(4, 4, 0, 2))
    assert STEPS["no-dilation"].apply(grid.operations[0], grid.input).layers[0].geometry == Geometry(4, 2)


def test_waste_is_said_where_it_is():
    expression = layer(np.ones((4, 4, 3, 3)), None, Geometry((3, 3), 2, 0, 1, 2))
    before = macs(expression, (1, 4, 64, 64))
    for name in ("conv+depth_to_space", "no-groups", "zero-insertion"):
        step = STEPS[name]
        after = macs(step.apply(expression.operations[0], expression.input), (1, 4, 64, 64))
        assert after > 1.5 * before
        assert step.waste
    for name in ("phases", "split-groups", "no-pads"):
        assert not STEPS[name].waste


# -- sizes that a file gives ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", ["SAME_UPPER", "SAME_LOWER", "NOTSET"])
@pytest.mark.parametrize("bias", [False, True])
def test_output_shape_with_varying_sizes(rule, bias):
    """A size in the file is one slice for all sizes of the input, also where the output is larger than the reach."""
    rng = np.random.default_rng(3)
    w, b = rng.integers(-4, 5, (2, 3, 3, 4)).astype(float), np.array([1.0, 2.0, 3.0]) if bias else None
    words = {"output_shape": (9, 14), "auto_pad": rule, "output_padding": (1, 0)}
    expression = layer(w, b, Geometry((3, 4), (2, 3)), **words)
    result = STEPS["explicit-pads"].apply(expression.operations[0], expression.input)
    assert all(op.output_shape is None for op in result.layers)
    for n in [(1, 1), (2, 3), (3, 4), (4, 5), (5, 6), (9, 9)]:
        x = rng.integers(-4, 5, (2, 2, *n)).astype(float)
        read = tconv.dialect("onnx").geometry(
            kernel=(3, 4), input=n, strides=(2, 3), auto_pad=rule, output_shape=(9, 14), output_padding=(1, 0)
        )
        expected = tconv.conv_transpose(x, w, b, geometry=read)
        np.testing.assert_array_equal(result.evaluate(x), expected)
        np.testing.assert_array_equal(expression.evaluate(x), expected)
    reasons = STEPS["phases"].reasons_against(expression.operations[0], expression.input)
    assert reasons == ["its crop depends on the input's size, which varies; write explicit-pads before it"]


def test_auto_pad_becomes_numbers():
    g = Geometry((3, 3), 2, ((0, 1), (0, 1)))
    expression = layer(np.ones((2, 3, 3, 3)), None, g, auto_pad="SAME_UPPER")
    step, operation = STEPS["explicit-pads"], expression.operations[0]
    numbers = step.apply(operation, expression.input, form="numbers").layers[0]
    assert (numbers.auto_pad, numbers.geometry.crop) == ("NOTSET", g.crop)
    equal = step.apply(operation, expression.input, form="slice")
    assert equal.layers[0].geometry.crop == ((0, 0), (0, 0))
    lower = layer(np.ones((2, 3, 3, 3)), None, Geometry((3, 3), 2, ((1, 0), (1, 0))), auto_pad="SAME_LOWER")
    kept = step.apply(lower.operations[0], lower.input, form="symmetric").layers[0]
    assert (kept.geometry.crop, kept.output_padding) == (((1, 0), (1, 0)), (1, 1))


# -- dtypes, and what is refused ----------------------------------------------------------------------------------


def half(name):
    return np.dtype(name) if name == "float16" else pytest.importorskip("ml_dtypes").bfloat16


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_half_types_keep_their_dtype_and_refuse_sums(name):
    dtype = np.dtype(half(name))
    rng = np.random.default_rng(0)
    w, x = (rng.integers(-2, 3, shape).astype(dtype) for shape in [(2, 2, 4, 4), (1, 2, 3, 3)])
    b = np.array([1, 2]).astype(dtype)
    expression = layer(w, b, Geometry((4, 4), 2, 1))
    operation = expression.operations[0]
    for step in ("conv+depth_to_space", "phases", "no-pads", "zero-insertion"):
        got = STEPS[step].apply(operation, expression.input)
        assert {constant.dtype for op in got.operations for constant in op.constants} == {dtype}
        y = got.evaluate(x)
        assert y.dtype == dtype
        np.testing.assert_array_equal(y.astype(float), expression.evaluate(x).astype(float))
    for step in ("no-bias", "split-kernel"):
        (reason,) = STEPS[step].reasons_against(operation, expression.input)
        assert reason == f"it adds values that {name} has already rounded, and rounds the sum again"


def test_integers_are_exact():
    rng = np.random.default_rng(0)
    w, x = (rng.integers(-100, 100, shape).astype(np.int8) for shape in [(3, 2, 5), (2, 3, 4)])
    expression = layer(w, None, Geometry(5, 3, 1))
    for name in ("conv+depth_to_space", "phases", "zero-insertion"):
        result = STEPS[name].apply(expression.operations[0], expression.input)
        expected = tconv.conv_transpose(x, w, geometry=Geometry(5, 3, 1))
        np.testing.assert_array_equal(result.evaluate(x), expected)


def test_weights_with_nan_are_not_multiplied_by_zeros():
    w = np.ones((1, 1, 3), np.float32)
    w[0, 0, 1] = np.nan
    expression = layer(w, None, Geometry(3, 2))
    (reason,) = STEPS["phases"].reasons_against(expression.operations[0], expression.input)
    assert reason == "its weight has NaN or infinity, which zeros would spread to other outputs"
    assert not STEPS["no-pads"].reasons_against(*_op(layer(w, None, Geometry(3, 2, 1))))


def _op(expression):
    return expression.operations[0], expression.input


REFUSALS = {
    "matmul": (
        Geometry(3, 2),
        "its kernel spans 3 elements on spatial axis 0 and its stride is 2, so that kernels overlap",
    ),
    "no-groups": (Geometry(3, 2), "it has one group"),
    "split-groups": (Geometry(3, 2), "it has one group"),
    "no-dilation": (Geometry(3, 2), "it has no dilation"),
    "no-pads": (Geometry(3, 2), "it has no pads"),
    "no-bias": (Geometry(3, 2), "it has no bias"),
    "no-output-padding": (Geometry(3, 2), "it has no output_padding"),
    "explicit-pads": (Geometry(3, 2, 1), "its pads are equal already, and there is no output_padding"),
    "split-stride": (Geometry(3, 3), "no stride of (3,) is a product of two numbers above 1"),
    "kernel-to-stride": (Geometry(3, 2), "no kernel size of (3,) is below the stride (2,)"),
    "overlap-add": (Geometry((3, 3), 2), "it has 2 spatial axes; one is needed"),
    "2d": (Geometry((3, 3), 2), "it has 2 spatial axes; 1 or 3 are needed"),
    "split-kernel": (Geometry(1, 2), "its kernel is (1,), which is small enough"),
    "phases": (Geometry((2, 2), (20, 20)), "it would have 400 phases; 256 operations are allowed"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refusals_give_the_reason(name):
    g, reason = REFUSALS[name]
    expression = layer(np.ones((2, 3, *g.kernel)), None, g)
    (found,) = STEPS[name].reasons_against(*_op(expression))
    assert found.startswith(reason)
    with pytest.raises(MethodError, match=re.escape(f"{name} cannot rewrite this layer: {reason}")):
        STEPS[name].apply(*_op(expression))


def test_huge_results_are_refused_without_computing_them():
    weight = Constant.of(np.ones((8192, 1, 4, 4), np.float32))
    expression = layer(weight, None, Geometry((4, 4), 2, 1, 1, 8192))
    (reason,) = STEPS["no-groups"].reasons_against(*_op(expression))
    assert reason == "its weights would take 4096 MB; 1024 are allowed"
    (reason,) = STEPS["split-groups"].reasons_against(*_op(expression))
    assert reason == "it would have 8192 groups; 256 operations are allowed"


# -- expressions ----------------------------------------------------------------------------------------------------


def test_expressions_that_do_not_fit_are_refused():
    w = np.ones((2, 3, 3))
    with pytest.raises(ShapeError, match=r"conv_transpose of values \(0,\) was given \(1, 4, 5\); it needs 2 channels"):
        layer(w, None, Geometry(3), (1, 4, 5))
    with pytest.raises(ShapeError, match="it needs a bias of 3 numbers"):
        layer(w, np.ones(2), Geometry(3))
    with pytest.raises(ShapeError, match="reads value 5, which no operation before it writes"):
        Expression((Add((0, 5), (1,)),), (1, 2, 3))
    with pytest.raises(ShapeError, match="writes value 0, which exists"):
        Expression((Pad((0,), (0,), ((0, 0),) * 3),), (1, 2, 3))
    with pytest.raises(ShapeError, match="pads of at least 0"):
        Expression((Pad((0,), (1,), ((0, 0), (0, 0), (-1, 0))),), (1, 2, 3))
    with pytest.raises(ShapeError, match="as many elements as"):
        Expression((Reshape((0,), (1,), (1, 2, SizeOf(0, 2, 2))),), (1, 2, 3))
    with pytest.raises(ShapeError, match="equal sizes on axis 2"):
        Expression((Slice((0,), (1,), (2,), (0,), (1,), (1,)), Concat((0, 1), (2,), 1)), (1, 2, 3))
    with pytest.raises(ShapeError, match="a multiple of 2 on the axis"):
        Expression((Split((0,), (1, 2), 2),), (1, 2, 3))


def test_unknown_sizes_stay_unknown_and_known_ones_are_inferred():
    expression = layer(np.ones((2, 3, 4, 4)), None, Geometry((4, 4), 2, 1), (None, 2, None, 5))
    for step in ("phases", "conv+depth_to_space", "no-pads", "zero-insertion"):
        result = STEPS[step].apply(*_op(expression))
        assert result.shapes[result.output] == (None, 3, None, 10)
        known = result.with_input((2, 2, 7, 5))
        assert known.shapes[known.output] == (2, 3, 14, 10)


def test_every_step_is_described():
    for name, step in STEPS.items():
        assert isinstance(step, RewriteStep)
        assert step.name == name
        assert step.summary
        assert not step.summary.endswith(".")
    assert isinstance(layer(np.ones((1, 1, 2)), None, Geometry(2)).operations[0], ConvTranspose)
