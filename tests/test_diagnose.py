"""diagnose: the fault that was made is the cause that is named, the fix repairs it, and noise has no cause."""

from __future__ import annotations

import re

import numpy as np
import pytest

import tconv
from issue_reports import CASES, LISTED
from random_calls.faults import SAME_THING, noise, random_call, random_fault, rounded
from tconv.errors import ArgumentError, DialectError, DtypeError, GeometryError, ShapeError


def names(found):
    """Return all names of the first finding if it is a single cause."""
    first = found.findings[0] if found.findings else None
    return {*first.causes, *first.also} if first and len(first.causes) == 1 else set()


@pytest.mark.parametrize("build", CASES + LISTED, ids=lambda build: build.thread[:60])
def test_real_threads_and_listed_faults(build):
    case = build(np.random.default_rng(3))
    found = case.diagnose()
    assert found.verdict == "found", str(found)
    assert set(found.findings[0].causes) <= case.cause, str(found)
    assert found.findings[0].residual <= 2 * found.rounding
    assert found.before is None or found.before > 10 * found.rounding


@pytest.mark.slow
def test_hundreds_of_random_single_faults():
    rng, missed = np.random.default_rng(1), []
    for _ in range(300):
        name, call, got = random_fault(rng)
        found = tconv.diagnose(got, call.y, x=call.x, weight=call.w, bias=call.bias, **call.arguments)
        if not names(found) & ({name} | SAME_THING.get(name, set())):
            missed.append((name, found.cause, call.arguments))
    assert len(missed) <= 3, missed


@pytest.mark.slow
def test_noise_has_no_cause():
    """benchmarks/diagnose.py tests ten thousand pairs of outputs."""
    rng = np.random.default_rng(7)
    for number in range(40):
        call, got = noise(rng, number)
        found = tconv.diagnose(got, call.y, x=call.x, weight=call.w, bias=call.bias, **call.arguments)
        assert not found.findings, str(found)
        assert found.verdict in ("none", "untellable")
        assert not tconv.diagnose(got, call.y).findings, str(found)


def test_pairs_of_causes():
    rng, right, count = np.random.default_rng(2), 0, 60
    pairs = [
        ({"kernel flipped", "bias missing"}, lambda c: c.other(w=np.flip(c.w, tuple(range(2, c.w.ndim))), bias=None)),
        ({"bias twice", "off by one element"}, lambda c: c._replace(bias=2 * c.bias).cropped([(lo + 1, hi - 1) for lo, hi in c.geometry.crop])),
        ({"x channels reversed", "kernel flipped"}, lambda c: c.other(x=c.x[:, ::-1], w=np.flip(c.w, tuple(range(2, c.w.ndim))))),
    ]  # fmt: skip
    for number in range(count):
        causes, build = pairs[number % len(pairs)]
        call = random_call(rng)
        while call.x.shape[1] == 1:
            call = random_call(rng)
        found = tconv.diagnose(build(call), call.y, x=call.x, weight=call.w, bias=call.bias, **call.arguments)
        first = found.findings[0] if found.findings else None
        right += first is not None and len(causes & {*first.causes, *first.also}) == 2
    assert right >= 0.95 * count


# -- the fix ----------------------------------------------------------------------------------------------------------


def test_the_line_for_a_bias_and_for_a_weight():
    rng = np.random.default_rng(0)
    x, w, b = (rng.standard_normal(shape).astype("f") for shape in ((1, 3, 6, 6), (3, 3, 3, 3), (3,)))
    arguments = {"x": x, "weight": w, "bias": b, "stride": 2}
    expected = tconv.conv_transpose(x, w, b, stride=2)
    assert (
        tconv.diagnose(tconv.conv_transpose(x, w, stride=2), expected, **arguments).fix
        == "y = y + bias.reshape(-1, 1, 1)"
    )
    # the call describes got, so the call itself is fixed
    assert tconv.diagnose(expected, tconv.conv_transpose(x, w, stride=2), **arguments).fix == "bias = None"
    swapped = tconv.conv_transpose(x, w.swapaxes(0, 1), b, stride=2)
    assert tconv.diagnose(expected, swapped, **arguments).fix == "weight = np.swapaxes(weight, 0, 1)"
    assert tconv.diagnose(expected, swapped, **arguments, target="torch").fix == "weight = weight.transpose(0, 1)"


@pytest.mark.parametrize(
    ("groups", "c_in", "c_out"), [(1, 3, 5), (1, 5, 5), (2, 4, 6), (2, 6, 4), (2, 4, 4), (3, 6, 9)]
)
def test_a_batchnorm_folded_through_a_view(groups, c_in, c_out):
    """weight.view(C_out, -1) is no axis of this weight; it is seen with the folded and with the unfolded weight."""
    rng = np.random.default_rng(c_in)
    x, w, b = (rng.standard_normal(s).astype("f") for s in ((2, c_in, 8, 8), (c_in, c_out // groups, 3, 3), (c_out,)))
    scale = rng.uniform(0.5, 2, c_out).astype("f")
    arguments = {"stride": 2, "groups": groups}
    right = tconv.scale_channels(w, scale, groups=groups)
    wrong = (w.reshape(c_out, -1) * scale[:, None]).reshape(w.shape)
    got, expected = (tconv.conv_transpose(x, each, b, **arguments) for each in (wrong, right))
    for weight in (right, w):
        found = tconv.diagnose(got, expected, x=x, weight=weight, bias=b, **arguments)
        assert found.cause == "BatchNorm folded on the wrong axis", str(found)
    # the fix folds it again, in any dialect's layout
    zero = np.zeros(c_out)
    norm = {"bias": b, "gamma": scale, "beta": scale * 0, "mean": zero, "variance": zero + 1 - 1e-5, "eps": 1e-5}
    for target in ("torch", "onnx", *(("keras", "jax") if groups == 1 else ("ncnn",))):
        fix = tconv.diagnose(got, expected, x=x, weight=right, bias=b, target=target, **arguments).fix
        scope = {"tconv": tconv, "weight": tconv.convert(w, source="torch", target=target, groups=groups), **norm}
        exec(fix, scope)
        folded = tconv.convert(right, source="torch", target=target, groups=groups)
        np.testing.assert_allclose(scope["weight"], folded, rtol=1e-6, err_msg=fix)


@pytest.mark.parametrize(("target", "groups"), [("onnx", 1), ("onnx", 2), ("keras", 1)])
@pytest.mark.parametrize("dtype", ["f4", "f8", "c8"])
@pytest.mark.parametrize("cause", ["scaled", "offset per channel", "scale per channel", "scale and offset per channel"])
def test_the_fix_of_scales_and_offsets_runs_as_printed(cause, dtype, target, groups):
    """All numbers are written out, for a call that describes either output."""
    rng = np.random.default_rng(3)

    def draw(*shape):
        turn = 1j if dtype == "c8" else 0
        return (rng.standard_normal(shape) + turn * rng.standard_normal(shape)).astype(dtype)

    x, w, b = draw(2, 4, 6, 5), draw(4, 6 // groups, 3, 3), draw(6)
    arguments = {"stride": 2, "groups": groups}
    right = tconv.conv_transpose(x, w, b, **arguments)
    a, c = draw(6).reshape(-1, 1, 1) + 3, draw(6).reshape(-1, 1, 1)
    wrong = {
        "scaled": a[0] * right,
        "offset per channel": right + c,
        "scale per channel": a * right,
        "scale and offset per channel": a * right + c,
    }[cause]
    for got, expected in ((wrong, right), (right, wrong)):
        found = tconv.diagnose(got, expected, x=x, weight=w, bias=b, target=target, **arguments)
        assert found.cause == cause, str(found)
        order = (0, 2, 3, 1) if target == "keras" else (0, 1, 2, 3)
        scope = {"np": np, "y": got.transpose(order)}
        exec(found.fix, scope)
        assert found.fix in str(found)
        limit = 1e-12 if dtype == "f8" else 1e-5
        np.testing.assert_allclose(scope["y"], expected.transpose(order), rtol=limit, atol=100 * limit)


def test_native_layout_arguments_are_in_the_line_that_folds():
    rng = np.random.default_rng(0)
    x, w, scale = rng.standard_normal((1, 9, 9, 5)), rng.standard_normal((3, 3, 5, 5)), rng.uniform(0.5, 2, 5)
    arguments = {"dialect": "jax", "strides": (2, 2), "padding": "SAME", "transpose_kernel": True}
    right, wrong = (tconv.conv_transpose(x, w * s, **arguments) for s in (scale[:, None], scale))
    found = tconv.diagnose(wrong, right, x=x, weight=w * scale[:, None], target="jax", **arguments)
    assert found.cause == "BatchNorm folded on the wrong axis", str(found)
    norm = {"bias": None, "gamma": scale, "beta": None, "mean": 0 * scale, "variance": 0 * scale + 1 - 1e-5}
    norm["eps"] = 1e-5
    scope = {"tconv": tconv, "weight": w, **norm}
    exec(found.fix, scope)
    np.testing.assert_allclose(scope["weight"], w * scale[:, None])


def test_the_statement_undoes_the_fault():
    """Run on the wrong array it gives the right one. Here with NumPy; tests/frameworks does it with each framework."""
    rng, run = np.random.default_rng(3), set()
    for _ in range(300):
        c = random_call(rng)
        G, spatial = c.arguments["groups"], tuple(range(2, c.w.ndim))
        wrong_w = {"kernel flipped": np.flip(c.w, spatial), "groups reversed": np.concatenate(np.split(c.w, G)[::-1])}
        if G == 1 and c.w.shape[0] == c.w.shape[1]:
            wrong_w["channels swapped"] = c.w.swapaxes(0, 1)
        if G > 1:
            wrong_w["input channels of the groups interleaved"] = (
                c.w.reshape(G, -1, *c.w.shape[1:]).swapaxes(0, 1).reshape(c.w.shape)
            )
        y = c.y
        wrong_y = {"y channels reversed": y[:, ::-1], "y flipped on axis 0": np.flip(y, 2)}
        if G > 1:
            wrong_y["y groups interleaved"] = y.reshape(len(y), G, -1, *y.shape[2:]).swapaxes(1, 2).reshape(y.shape)
        wrong_y["bias missing"] = c.other(bias=None)
        for cause, weight in wrong_w.items():
            found = tconv.diagnose(c.other(w=weight), y, x=c.x, weight=c.w, bias=c.bias, target="onnx", **c.arguments)
            if found.cause == cause:
                scope = {"np": np, "weight": weight}
                exec(found.fix, scope)
                np.testing.assert_array_equal(scope["weight"], c.w, err_msg=found.fix)
                run.add(cause)
        for cause, got in wrong_y.items():
            found = tconv.diagnose(got, y, x=c.x, weight=c.w, bias=c.bias, target="onnx", **c.arguments)
            if found.cause == cause:
                scope = {"np": np, "y": got, "bias": c.bias}
                exec(found.fix, scope)
                np.testing.assert_allclose(scope["y"], y, atol=1e-5, err_msg=found.fix)
                run.add(cause)
        if len(run) == 8:
            break
    assert len(run) == 8, run


# -- outputs alone ----------------------------------------------------------------------------------------------------


Y = np.random.default_rng(5).standard_normal((2, 3, 12, 10)).astype("f")
ALONE = [
    ("cropped", Y[:, :, 1:, :-1]),
    ("not cropped", np.pad(Y, ((0, 0), (0, 0), (1, 0), (0, 2)))),
    ("shifted", np.roll(Y, 1, 2)),
    ("axes exchanged", Y.swapaxes(2, 3)),
    ("y flipped on axis 1", Y[..., ::-1]),
    ("y flipped", Y[..., ::-1, ::-1]),
    ("y channels reversed", Y[:, ::-1]),
    ("channels in another order", Y[:, [1, 2, 0]]),
    ("y reshaped to channels first", np.ascontiguousarray(np.moveaxis(Y, 1, -1)).reshape(Y.shape)),
    ("scaled", Y * np.float32(0.25)),
    ("offset per channel", Y + np.float32([1, 2, 3]).reshape(-1, 1, 1)),
    ("scale per channel", Y * np.float32([1, 2, 3]).reshape(-1, 1, 1)),
    ("ReLU", np.maximum(Y, 0)),
    ("result rounded to bfloat16", (Y.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)),
    ("NaN rows", np.where(np.arange(10) > 8, np.nan, Y).astype("f")),
]


@pytest.mark.parametrize(("cause", "got"), ALONE, ids=[name for name, _ in ALONE])
def test_outputs_alone(cause, got):
    found = tconv.diagnose(got, Y)
    assert found.cause == cause, str(found)
    assert any("with x=, weight=" in note for note in found.notes)


def test_the_fix_of_outputs_alone():
    got = np.pad(Y, ((0, 0), (0, 0), (1, 0), (0, 2)))
    scope = {"y": got}
    exec(tconv.diagnose(got, Y).fix, scope)
    np.testing.assert_array_equal(scope["y"], Y)


# -- the report -----------------------------------------------------------------------------------------------------


def call(seed=0, **arguments):
    rng = np.random.default_rng(seed)
    x, w = rng.standard_normal((1, 3, 7, 7)).astype("f"), rng.standard_normal((3, 3, 3, 3)).astype("f")
    return x, w, tconv.conv_transpose(x, w, stride=2, **arguments)


def test_the_report():
    x, w, y = call()
    text = str(tconv.diagnose(tconv.conv_transpose(x, w[:, :, ::-1, ::-1], stride=2), y, x=x, weight=w, stride=2))
    lines = text.splitlines()
    assert lines[0] == "cause     got is what the call gives if the kernel's taps are reversed"
    assert re.match(r"residual  [\d.]+ before, [\d.e-]+ after; rounding is up to [\d.e-]+ ", lines[1])
    assert lines[2] == "fix       weight = np.flip(weight, (2, 3))"
    assert lines[3] == "note      the call describes expected"
    assert re.match(
        r"tried     \d+ causes and every crop near the call's, \d+ single and 0 paired hypotheses, ", lines[4]
    )


def test_equal_outputs_and_outputs_of_another_layout():
    x, w, y = call()
    assert tconv.diagnose(y, y, x=x, weight=w, stride=2).verdict == "equal"
    assert tconv.diagnose(y, y * np.float32(1 + 2e-7)).verdict == "equal"
    found = tconv.diagnose(y.transpose(0, 2, 3, 1), y, x=x, weight=w, stride=2)
    assert (found.cause, found.fix) == ("data layout", "y = np.transpose(y, (0, 3, 1, 2))")


def test_a_symmetric_kernel_hides_causes():
    x, w, _ = call()
    w = w + w[:, :, ::-1, ::-1]
    w = w + w.swapaxes(0, 1)
    y = tconv.conv_transpose(x, w, stride=2)
    found = tconv.diagnose(tconv.conv_transpose(x, w, stride=2, padding=1), y, x=x, weight=w, stride=2)
    (note,) = [note for note in found.notes if "cannot be seen" in note]
    assert "kernel flipped" in note
    assert "channels swapped" in note


def test_causes_that_fit_alike_are_all_listed():
    x, w, _ = call()
    w = w + w[:, :, ::-1, ::-1].swapaxes(2, 3)  # reversed, it has its axes exchanged
    y = tconv.conv_transpose(x, w, stride=2)
    found = tconv.diagnose(tconv.conv_transpose(x, w[:, :, ::-1, ::-1], stride=2), y, x=x, weight=w, stride=2)
    assert {finding.causes for finding in found.findings} >= {("kernel flipped",), ("kernel axes exchanged",)}
    assert "fits too  " in str(found)


def test_constant_outputs_and_nan():
    x, w, y = call()
    found = tconv.diagnose(np.ones_like(y), y, x=x, weight=w, stride=2)
    assert found.verdict == "untellable"
    assert "got is 1 everywhere; a flip, swap or shift cannot be seen in it" in str(found)
    assert "x is zero everywhere" in str(tconv.diagnose(y, 2 * y, x=0 * x, weight=w, stride=2))
    broken = y.copy()
    broken[..., -1] = np.nan
    found = tconv.diagnose(broken, y, x=x, weight=w, stride=2)
    assert found.cause == "NaN rows"
    assert f"got contains NaN or inf in {3 * y.shape[2]} of {y.size} places" in str(found)
    assert "contains no finite number" in str(tconv.diagnose(np.full_like(y, np.nan), y, x=x, weight=w, stride=2))


def test_few_whole_numbers_are_not_enough():
    """Two small integers fit one of a hundred hypotheses by chance: the report says so and names no cause."""
    rng, explained = np.random.default_rng(0), 0
    for _ in range(60):
        x, w = rng.integers(1, 3, (1, 1, 1)).astype("f"), rng.integers(-2, 3, (1, 1, 2)).astype("f")
        got, y = rng.integers(-2, 3, (1, 1, 2)).astype("f"), tconv.conv_transpose(x, w)
        found = tconv.diagnose(got, y, x=x, weight=w)
        assert not found.findings, str(found)
        explained += "may fit by chance" in str(found)
    assert explained


def test_the_call_may_describe_neither():
    """Both outputs have a bias that the call lacks; the flip is found all the same."""
    x, w, y = call()
    b = np.float32([1, 2, 3]).reshape(-1, 1, 1)
    wrong = tconv.conv_transpose(x, w[:, :, ::-1, ::-1], stride=2)
    found = tconv.diagnose(wrong + b, y + b, x=x, weight=w, stride=2)
    assert found.cause == "kernel flipped", str(found)
    assert any("describes neither output" in note for note in found.notes)


def test_complex_numbers():
    x, w, _ = call()
    z, v = (x + 1j * x[:, ::-1]).astype("c8"), (w + 1j * w[::-1]).astype("c8")
    right = tconv.conv_transpose(z, v, stride=2)
    flipped = tconv.conv_transpose(z, v[:, :, ::-1, ::-1], stride=2)
    assert tconv.diagnose(flipped, right, x=z, weight=v, stride=2).cause == "kernel flipped"


def test_any_number_of_axes_and_arguments_of_any_dialect():
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((1, 2, 3, 3, 3, 3)), rng.standard_normal((2, 2, 2, 2, 2, 2))
    y = tconv.conv_transpose(x, w, stride=2)
    found = tconv.diagnose(tconv.conv_transpose(x, w, stride=2, crop=1), y, x=x, weight=w, stride=2)
    scope = {"tconv": tconv, "x": x, "weight": w}
    exec(found.fix, scope)  # PyTorch has no call for four axes
    np.testing.assert_array_equal(scope["y"], y)
    x, w = (
        rng.standard_normal((3, 7, 7)),
        rng.standard_normal((3, 4, 3, 3)),
    )  # one image, with a batch in the other output
    y = tconv.conv_transpose(x, w, stride=2)
    got = tconv.conv_transpose(x[None], w[:, :, ::-1, ::-1], stride=2)
    assert tconv.diagnose(got, y, x=x, weight=w, stride=2).cause == "kernel flipped"
    x, w = rng.standard_normal((1, 4, 6, 6)), rng.standard_normal((2, 2, 3, 3, 3))  # OpenVINO's groups have an axis
    arguments = {"dialect": "openvino", "strides": [2, 2]}
    y = tconv.conv_transpose(x, w, **arguments)
    got = tconv.conv_transpose(x, np.ascontiguousarray(w[::-1]), **arguments)
    assert tconv.diagnose(got, y, x=x, weight=w, **arguments).cause == "groups reversed"


X1, W1 = np.ones((1, 3, 7, 7)), np.ones((3, 3, 3, 3))
Y1 = np.ones((1, 3, 15, 15))
BAD = [
    (ArgumentError, (Y1, None), {}, "got and expected are both needed. Write tconv.diagnose(got, expected, x=x, weight=weight)"),
    (ArgumentError, (Y1, Y1), {"x": X1}, "x and weight are needed together. Write both, or neither"),
    (ArgumentError, (Y1, Y1), {"x": X1, "weights": X1}, "weights= is not an argument of the torch dialect"),
    (ArgumentError, (Y1, Y1), {"weight": X1, "strides": 2}, "strides= is not an argument of the torch dialect"),
    (ArgumentError, (Y1, Y1), {"bias": X1}, "x and weight are needed together"),
    (ShapeError, (np.ones((1, 5, 15, 15)), Y1), {"x": X1, "weight": W1, "stride": 2}, "got has shape (1, 5, 15, 15); the call gives (1, 3, 15, 15), [N, C, h, w], and no order of axes makes batch 1 and channels 3 agree"),
    (ShapeError, (np.ones((4, 5)), np.ones((1, 2, 3, 4))), {}, "they need the same number of axes. Write got[None] to add a batch axis"),
    (ShapeError, (np.ones((1, 5, 4, 4)), np.ones((1, 3, 4, 4))), {}, "batch or channels differ, and no order of axes makes them agree"),
    (ShapeError, (Y1, Y1), {"x": X1, "weight": np.ones((4, 3, 3, 3))}, "weight (4, 3, 3, 3) has 4 input channels as PyTorch reads it; x has 3"),
    (GeometryError, (Y1, Y1), {"x": X1, "weight": W1, "stride": 0}, "stride is 0; it must be at least 1"),
    (DialectError, (Y1, Y1), {"x": X1, "weight": W1, "dialect": "caffe"}, "dialect is 'caffe'; there are"),
    (DialectError, (Y1, 1 + Y1), {"target": "caffe"}, "target is 'caffe'; there are"),
    (DialectError, (Y1, Y1), {"x": X1, "weight": W1, "stride": 2, "target": "caffe"}, "target is 'caffe'; there are"),
    (ArgumentError, (Y1, Y1), {"stride": 2, "padding": 1}, "stride= and padding= would describe a call, but x and weight are missing, and without them only the outputs are compared. Write x and weight, too, or leave stride= out"),
    (ArgumentError, (Y1, Y1), {"geometry": tconv.Geometry(3)}, "geometry= would describe a call"),
    (ShapeError, (Y1[:0], Y1), {}, "got has shape (0, 3, 15, 15) and no element"),
    (ArgumentError, (Y1, Y1), {"x": X1, "weight": np.full_like(W1, np.nan)}, "weight contains NaN or inf in 81 of 81 places, so no cause can be found"),
    (ArgumentError, (Y1, Y1), {"strides": 2}, "strides= is not an argument of the torch dialect"),
    (DtypeError, (np.array("a"), Y1), {}, "got has dtype <U1; numbers are needed"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "outputs", "arguments", "message"), BAD, ids=[case[3][:50] for case in BAD])
def test_bad_input(kind, outputs, arguments, message):
    with pytest.raises(kind, match=re.escape(message)) as caught:
        tconv.diagnose(*outputs, **arguments)
    assert "Write" in str(caught.value)


@pytest.mark.slow
def test_large_outputs_take_seconds():
    """A thousand rows and columns, all compared in bands. There is no time limit but the suite's."""
    rng = np.random.default_rng(0)
    x, w, b = (rng.standard_normal(shape).astype("f") for shape in ((1, 4, 500, 500), (4, 2, 3, 3), (2,)))
    arguments = {"stride": 2, "padding": 1, "output_padding": 1}
    y = tconv.conv_transpose(x, w, b, **arguments)
    got = tconv.conv_transpose(x, w, stride=2, crop=((0, 1), (0, 1)))
    found = tconv.diagnose(got, y, x=x, weight=w, bias=b, **arguments)
    assert y.shape[2:] == (1000, 1000)
    assert set(found.findings[0].causes) == {"bias missing", "output_padding at the front"}


def test_scattered_nan_is_named():
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((1, 3, 9, 9)).astype("f4"), rng.standard_normal((3, 4, 4, 4)).astype("f4")
    y = tconv.conv_transpose(x, w, stride=2)
    for share in (0.01, 0.1, 0.4):
        spoiled = np.where(rng.random(y.shape) < share, np.float32(np.nan), y)
        found = tconv.diagnose(spoiled, y, x=x, weight=w, stride=2)
        assert found.cause == "NaN or inf", found
        assert f"in {int(np.isnan(spoiled).sum())} of {y.size} places" in str(found)
        assert not found.fix


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("target", ["onnx", "onnxruntime", "torch", "jax", "keras", "openvino", "ncnn"])
def test_a_fix_that_recomputes_y_has_the_bias(target, groups):
    rng = np.random.default_rng(0)
    x, w, b = rng.standard_normal((1, 4, 8, 8)), rng.standard_normal((4, 6 // groups, 3, 3)), rng.standard_normal(6)
    arguments = {"stride": 2, "padding": 1, "groups": groups}
    right = tconv.conv_transpose(x, w, b, **arguments)
    wrong = tconv.conv_transpose(x, w, b, **arguments | {"padding": 0})[:, :, :15, :15]
    found = tconv.diagnose(wrong, right, x=x, weight=w, bias=b, target=target, **arguments)
    assert found.verdict == "found", found
    assert "bias" in found.fix.replace("use_bias", "")
    if target == "onnx" and groups > 1:
        assert "ReferenceEvaluator" not in found.fix  # it gets groups wrong


@pytest.mark.parametrize("given", ["right", "wrong"])
@pytest.mark.parametrize(
    ("stored", "shape", "groups"),
    [
        *(
            (stored, shape, 1)
            for stored in ("tensorflow", "jax", "ncnn")
            for shape in ((5, 7, 3, 3), (6, 6, 4, 4), (4, 3, 3, 2))
        ),
        ("ncnn", (6, 2, 3, 3), 2),  # elsewhere a weight has one group
    ],
    ids=str,
)
def test_reshaped_weights_are_named_from_either_side(given, shape, groups, stored):
    """The caller often has only the weight that was reshaped."""
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((1, shape[0], 7, 6)), rng.standard_normal(shape)
    native = tconv.convert(w, source="torch", target=stored, groups=groups)
    if stored == "jax":  # its layout alone, without the reversed taps
        native = native[::-1, ::-1]
    broken = np.ascontiguousarray(native).reshape(shape)
    arguments = {"stride": 2, "padding": 1, "groups": groups}
    right, wrong = (tconv.conv_transpose(x, weight, **arguments) for weight in (w, broken))
    found = tconv.diagnose(wrong, right, x=x, weight=w if given == "right" else broken, **arguments)
    if stored == "ncnn" and shape[0] == shape[1]:  # nothing was reshaped then
        assert found.cause == "channels swapped", found
        return
    names = {"right": ("weight reshaped", "group order of the weight"), "wrong": ("weight is memory",)}[given]
    assert found.verdict == "found", found
    assert found.cause.startswith(names), found
    space = {"weight": broken, "stored": native, "tconv": tconv, "np": np}
    exec(found.fix, space)
    np.testing.assert_array_equal(space["weight"], w)


@pytest.mark.parametrize("wrong_arguments", [{"dilation": 2, "padding": 2}, {"stride": 1}, {"dilation": 2}], ids=str)
def test_two_faults_in_a_call_that_describes_neither_output_are_both_named(wrong_arguments):
    rng = np.random.default_rng(0)
    x, w, b = rng.standard_normal((1, 4, 12, 12)), rng.standard_normal((4, 3, 3, 3)), rng.standard_normal(3)
    arguments = {"stride": 2, "padding": 1}
    right, wrong = tconv.conv_transpose(x, w, b, **arguments), tconv.conv_transpose(x, w, **arguments | wrong_arguments)
    found = tconv.diagnose(wrong, right, x=x, weight=w, bias=b, **arguments | wrong_arguments)
    assert found.verdict == "found"
    assert {"bias missing"} < set(found.findings[0].causes), found
    # either one fault leads from the call to the other output, and the call has a fix, or each output has its own
    right_call = "y = tconv.conv_transpose(x, weight, bias, stride=2, padding=1)"
    assert found.fix == ("" if "padding" in wrong_arguments else right_call)


def test_a_real_call_and_complex_outputs():
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((1, 6, 8, 8)), rng.standard_normal((6, 5, 3, 3))
    y = tconv.conv_transpose(x, w, stride=2)
    for got, expected in ((y + 1j, y), (y, y + 1j), (y * 1j, y)):
        found = tconv.diagnose(got, expected, x=x, weight=w, stride=2)
        assert found.findings, found
        assert found.findings[0].residual <= 2 * found.rounding


def test_without_finite_numbers_there_is_no_distance():
    y = np.random.default_rng(0).standard_normal((1, 2, 9, 9))
    found = tconv.diagnose(np.full_like(y, np.nan), y)
    assert found.verdict == "untellable"
    assert np.isnan(found.before)
    assert "residual  no place is finite in both; rounding" in str(found)


def test_outputs_alone_have_no_fix_for_one_of_two_causes():
    """The order of the axes has a fix, and the crop has none."""
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((1, 4, 8, 8)), rng.standard_normal((4, 6, 3, 3))
    expected = tconv.conv_transpose(x, w, stride=2, padding=1, output_padding=1)
    got = tconv.conv_transpose(x, w, stride=2, crop=((0, 1), (0, 1)))
    assert tconv.diagnose(expected.transpose(0, 2, 3, 1), expected).fix == "y = np.transpose(y, (0, 3, 1, 2))"
    found = tconv.diagnose(got, expected.transpose(0, 2, 3, 1))
    assert len(found.findings[0].causes) == 2, found
    assert found.fix == ""


def test_two_causes_have_no_fix_if_one_has_none():
    """A flipped kernel has a fix; numbers that a ReLU cut off cannot be brought back."""
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((1, 6, 6, 6)), rng.standard_normal((6, 3, 3, 3))
    right = tconv.conv_transpose(x, w, stride=2, padding=1)
    flipped = tconv.conv_transpose(x, w[:, :, ::-1, ::-1], stride=2, padding=1)
    alone, both = (
        tconv.diagnose(wrong, right, x=x, weight=w, stride=2, padding=1) for wrong in (flipped, flipped.clip(0))
    )
    assert alone.fix == "weight = np.flip(weight, (2, 3))"
    assert "kernel flipped" in both.findings[0].causes, both
    assert len(both.findings[0].causes) == 2
    assert both.fix == ""


IN_ANOTHER_ORDER = [
    ((6, 4, 3, 3), {"stride": 2, "padding": 1}),
    ((5, 7, 4), {"stride": 3, "dilation": 2}),
    ((8, 1, 3, 3), {"stride": 2, "groups": 8}),
    ((6, 2, 3, 3), {"stride": 2, "groups": 3}),
    ((12, 3, 2, 2, 3), {"stride": (1, 2, 2)}),
]


@pytest.mark.parametrize(
    ("side", "shape", "arguments"),
    [
        (side, *call)
        for side in ("input", "output")
        for call in IN_ANOTHER_ORDER
        if side == "input" or "groups" not in call[1]  # output channels of a group are no axis of the weight alone
    ],
    ids=str,
)
def test_channels_of_the_weight_in_another_order(side, shape, arguments):
    """The order is read off the output, given either weight, and the fix restores it."""
    rng = np.random.default_rng(len(shape))
    n = {3: (60,), 4: (9, 11), 5: (6, 7, 8)}[len(shape)]
    groups = arguments.get("groups", 1)
    x, w = rng.standard_normal((2, shape[0], *n)).astype("f"), rng.standard_normal(shape).astype("f")
    b = rng.standard_normal(shape[1] * groups).astype("f")
    axis = 0 if side == "input" else 1
    broken = np.take(w, np.roll(rng.permutation(shape[axis]), 1), axis)
    if np.array_equal(broken, np.flip(w, axis)) or np.array_equal(broken, w):
        broken = np.roll(w, 1, axis)
    right, wrong = (tconv.conv_transpose(x, weight, b, **arguments) for weight in (w, broken))
    for got, expected, given in ((wrong, right, w), (wrong, right, broken)):
        found = tconv.diagnose(got, expected, x=x, weight=given, bias=b, **arguments)
        assert found.cause == f"{side} channels of the weight in another order", str(found)
        scope = {"weight": broken}
        exec(found.fix, scope)
        np.testing.assert_array_equal(scope["weight"], w)


@pytest.mark.parametrize("given", ["right", "wrong"])
@pytest.mark.parametrize(("channels", "multiplier", "inner"), [(6, 1, True), (3, 2, True), (5, 3, False)])
@pytest.mark.parametrize("target", ["onnx", "ncnn"])
def test_a_depthwise_weight_of_tensorflow(given, channels, multiplier, inner, target):
    """TensorFlow's [kh, kw, C, multiplier], whose multiplier belongs to the input or to the output channels."""
    rng = np.random.default_rng(0)
    stored = rng.standard_normal((3, 4, channels, multiplier)).astype("f")
    shape = (channels * multiplier, 1, 3, 4) if inner else (channels, multiplier, 3, 4)
    w, broken = stored.transpose(2, 3, 0, 1).reshape(shape), stored.reshape(shape)
    x = rng.standard_normal((1, shape[0], 7, 6)).astype("f")
    arguments = {"stride": 2, "groups": channels}
    right, wrong = (tconv.conv_transpose(x, weight, **arguments) for weight in (w, broken))
    found = tconv.diagnose(wrong, right, x=x, weight=w if given == "right" else broken, target=target, **arguments)
    kind = {"right": "weight reshaped from", "wrong": "weight is memory in"}[given]
    assert found.cause == f"{kind} tensorflow's depthwise layout", str(found)
    scope = {"np": np, "tconv": tconv, "stored": stored, "weight": broken}
    exec(found.fix, scope)
    np.testing.assert_array_equal(scope["weight"], tconv.convert(w, source="torch", target=target, groups=channels))


SECOND = {
    "kernel flipped": lambda c: c.other(w=np.flip(c.w, tuple(range(2, c.w.ndim)))),
    "x channels reversed": lambda c: c.other(x=c.x[:, ::-1]),
    "off by one element": lambda c: c.cropped([(lo + 1, hi - 1) for lo, hi in c.geometry.crop]),
    "full result": lambda c: c.cropped([(0, 0)] * len(c.geometry.crop)),
    "y flipped on axis 0": lambda c: np.flip(c.y, 2),
    "TF32": lambda c: c.other(x=rounded(c.x, 10), w=rounded(c.w, 10)),
}


@pytest.mark.parametrize("cause", SECOND)
def test_a_bias_that_was_not_given_and_a_second_fault(cause):
    """The call is given as in the wrong code: without the bias of the right output, and with the fault."""
    rng, right, count = np.random.default_rng(9), 0, 12
    for _ in range(count):
        call = random_call(rng)
        while min(call.x.shape[1:]) == 1 or not any(lo or hi for lo, hi in call.geometry.crop):
            call = random_call(rng)
        plain, other = call.other(bias=None), SECOND[cause](call)
        for got, expected in ((plain, other), (other, plain)):
            found = tconv.diagnose(got, expected, x=call.x, weight=call.w, target="onnxruntime", **call.arguments)
            first = found.findings[0] if found.findings else None
            named = {*first.causes, *first.also} if first else set()
            right += {"offset per channel", cause} <= named
            if got is plain and cause in ("kernel flipped", "y flipped on axis 0") and cause in named:
                scope = {"np": np, "weight": call.w}
                for statement in sorted(found.fix.split("; "), key=lambda line: line.startswith("y")):
                    if statement.startswith("y") and "y" not in scope:  # here the wrong code computes y
                        scope["y"] = call.other(w=scope["weight"], bias=None)
                    exec(statement, scope)
                np.testing.assert_allclose(scope["y"], expected, rtol=1e-4, atol=1e-4)
    assert right >= 2 * count - 2, right


def test_noise_is_no_bias_that_was_not_given():
    rng = np.random.default_rng(10)
    for number in range(24):
        call, got = noise(rng, number)
        found = tconv.diagnose(got, call.y, x=call.x, weight=call.w, **call.arguments)
        assert not found.findings, str(found)


@pytest.mark.parametrize("named", [{}, {"dialect": "torch"}, {"target": "torch"}], ids=str)
def test_the_dialect_of_the_fix(named):
    """It is NumPy's and tconv's if all arrays are NumPy's and no dialect is named."""
    x, w, y = call()
    cases = {
        "weight = {np}": (tconv.conv_transpose(x, w[:, :, ::-1, ::-1], stride=2), {"x": x, "weight": w, "stride": 2}),
        "y = {call}": (call(padding=1)[2], {"x": x, "weight": w, "stride": 2}),
        "y = {np}": (y[:, ::-1], {"x": x, "weight": w, "stride": 2}),
    }
    for got, arguments in cases.values():
        fix = tconv.diagnose(got, y, **arguments, **named).fix
        assert ("np." in fix or "tconv." in fix) is not bool(named), fix
        assert "numpy" not in fix
        assert ("torch" in fix or ".flip(" in fix.replace("np.flip(", "")) is bool(named), fix
    alone = tconv.diagnose(y[..., ::-1], y, **named).fix
    assert alone == ("y = y.flip(3)" if named else "y = np.flip(y, (3,))")


def test_the_neutral_line_computes_what_was_expected():
    """Any crop, dilation, groups and bias, in any number of axes, for a call that describes either output."""
    rng, run = np.random.default_rng(11), 0
    for number in range(60):
        c = random_call(rng)
        crop = [(lo + 1 - number % 3, hi - number % 2) for lo, hi in c.geometry.crop]
        try:
            other = c.cropped(crop)
        except ShapeError:
            continue
        bias = {"bias": c.bias} if number % 4 else {}
        right, wrong = (y if bias else y - c.bias.reshape(-1, *[1] * (y.ndim - 2)) for y in (c.y, other))
        for got, expected in ((wrong, right), (right, wrong)):
            found = tconv.diagnose(got, expected, x=c.x, weight=c.w, **bias, **c.arguments)
            if found.verdict != "found" or not found.fix.startswith("y = tconv.conv_transpose(x, weight"):
                continue
            scope = {"tconv": tconv, "x": c.x, "weight": c.w, **bias}
            exec(found.fix, scope)
            np.testing.assert_allclose(scope["y"], expected, rtol=1e-4, atol=1e-4)
            run += 1
    assert run > 60, run
