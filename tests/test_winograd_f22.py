"""Tests of the method "winograd": equal to the definition, and numbers that it cannot compute with go to "simd"."""

import itertools

import numpy as np
import pytest

import tconv
from dtypes import KERNEL_DTYPES, dtype_of, rounded, same_bits
from layouts import channels_last
from random_calls import problems
from tconv.errors import MethodError

pytest.importorskip("llvmlite")

LAYERS = {
    # x, weight, arguments
    "rows and columns": ((2, 33, 20, 31), (33, 21, 4, 4), {"stride": 2, "padding": 1}),
    "tiny images": ((37, 40, 4, 4), (40, 30, 4, 4), {"stride": 2, "padding": 1}),
    "one tap beside two": ((1, 140, 18, 18), (140, 16, 3, 3), {"stride": 2, "padding": 1, "output_padding": 1}),
    "stride one": ((1, 20, 15, 50), (20, 12, 2, 2), {}),
    "a signal": ((2, 300, 500), (300, 32, 16), {"stride": 8, "padding": 4}),
    "a signal, no vector of phases": ((1, 64, 333), (64, 24, 10), {"stride": 5}),
    "a volume": ((1, 24, 7, 9, 10), (24, 18, 4, 4, 4), {"stride": 2, "padding": 1}),
    "columns only": ((1, 30, 12, 40), (30, 16, 2, 4), {"stride": 2, "padding": (0, 1)}),
    "rows only": ((1, 30, 40, 12), (30, 16, 4, 2), {"stride": 2, "padding": (1, 0)}),
    "five taps of rows": ((1, 16, 21, 40), (16, 16, 5, 4), {"stride": (1, 2)}),
    "long rows": ((1, 16, 6, 700), (16, 9, 4, 4), {"stride": 2}),
    "lopsided crop": ((1, 16, 19, 30), (16, 9, 5, 5), {"stride": 3, "crop": ((0, 17), (19, 1))}),
    "extended output": ((1, 16, 9, 9), (16, 9, 3, 3), {"stride": 2, "crop": ((-9, -3), (-1, -40))}),
}


def arrays(name, whole=True, seed=0, dtype="float32"):
    shape, weight, _ = LAYERS[name]
    rng = np.random.default_rng(seed)
    draw = (lambda *s: rng.integers(-5, 6, s)) if whole else (lambda *s: rng.standard_normal(s))
    return tuple(np.asarray(a, dtype_of(dtype)) for a in (draw(*shape), draw(*weight), draw(weight[1])))


def run(x, w, bias=None, **arguments):
    return tconv.conv_transpose(x, w, bias, method="winograd", **arguments)


def direct(x, w, bias=None, **arguments):
    return tconv.conv_transpose(x, w, bias, method="simd", **arguments)


@pytest.mark.parametrize("dtype", KERNEL_DTYPES)
@pytest.mark.parametrize("name", LAYERS)
def test_whole_numbers_are_exact(name, dtype):
    x, w, bias = arrays(name, dtype=dtype)
    arguments = LAYERS[name][2]
    expected = tconv.definition.scatter(x.astype(np.int64), w.astype(np.int64), bias.astype(np.int64), **arguments)
    for source, arrange in itertools.product((x, channels_last(x)), (np.asarray, channels_last)):
        out = arrange(np.full(expected.shape, np.nan, x.dtype))
        np.testing.assert_array_equal(run(source, w, bias, out=out, **arguments), rounded(expected, dtype))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", LAYERS)
def test_two_byte_floats_have_the_sums_of_float32_rounded_once(name, dtype):
    given, arguments = arrays(name, whole=False, dtype=dtype), LAYERS[name][2]
    wide = run(*(array.astype(np.float32) for array in given), **arguments)
    same_bits(run(*given, **arguments), wide.astype(dtype_of(dtype)))


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_random_filtered_layers(ndim):
    rng = np.random.default_rng(ndim)
    for turn in range(60):
        p = problems.problem(rng, ndim, "pairs")
        converted = p.converted(dtype_of(KERNEL_DTYPES[turn % 4]))
        converted.check(problems.run(converted))


@pytest.mark.parametrize("dtype", KERNEL_DTYPES)
@pytest.mark.parametrize("name", LAYERS)
def test_the_number_of_threads_does_not_change_the_bits(name, dtype, threads):
    inputs, arguments = arrays(name, whole=False, dtype=dtype), LAYERS[name][2]
    threads(1)
    expected = run(*inputs, **arguments)
    for count in (2, 3, 7, 2):
        threads(count)
        same_bits(run(*inputs, **arguments), expected)


@pytest.mark.parametrize("dtype", KERNEL_DTYPES)
@pytest.mark.parametrize("name", LAYERS)
def test_neighbours_in_the_batch_and_layouts_do_not_change_the_bits(name, dtype):
    (x, w, bias), arguments = arrays(name, whole=False, dtype=dtype), LAYERS[name][2]
    alone = run(x[:1], w, bias, **arguments)
    batch = np.random.default_rng(3).standard_normal((9, *x.shape[1:])).astype(x.dtype)
    batch[5] = x[0]
    same_bits(run(batch, w, bias, **arguments)[5:6], alone)
    same_bits(np.ascontiguousarray(run(channels_last(x[:1]), w, bias, **arguments)), alone)


def test_the_choice_depends_on_sizes_alone(threads):
    x, w = np.broadcast_to(np.float32(0), (64, 256, 8, 8)), np.broadcast_to(np.float32(0), (256, 128, 4, 4))
    for count in (1, 2, 7):
        threads(count)
        assert tconv.plan(x, w, stride=2, padding=1).method == "winograd"
        assert tconv.plan(x[:1, :, :2, :2], w, stride=2, padding=1).method == "simd"  # 4 positions of 16 lanes
        large = np.broadcast_to(np.float32(0), (1, 128, 128, 128))
        assert tconv.plan(large, w[:128, :3], stride=2, padding=1).method == "simd"  # its planes would cost more


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", LAYERS)
def test_rounding_stays_near_that_of_the_direct_sum(name, dtype):
    if dtype == "float64" and (name == "a signal" or np.finfo(np.longdouble).nmant < 63):
        pytest.skip("there is no wider dtype, or it takes too long")
    (x, w, bias), arguments = arrays(name, whole=False, dtype=dtype), LAYERS[name][2]
    wide = np.float64 if dtype == "float32" else np.longdouble
    true = tconv.definition.scatter(*(a.astype(wide) for a in (x, w, bias)), **arguments)
    ours, theirs = (np.sqrt(np.mean((call(x, w, bias, **arguments) - true) ** 2)) for call in (run, direct))
    assert ours <= 2.5 * theirs
    # rounding errors are proportional to it: where all inputs cancel, too
    mass = tconv.conv_transpose(*(np.abs(a).astype("f8") for a in (x, w, bias)), **arguments)
    assert (np.abs(run(x, w, bias, **arguments) - true) <= 20 * np.finfo(x.dtype).eps * mass.max()).all()


LARGE = {
    "float32": (np.inf, -np.inf, np.nan, 3e38, 2e19),
    "float64": (np.inf, np.nan, 1e308, 2e154),
    "float16": (np.inf, np.nan),
    "bfloat16": (-np.inf, np.nan, 3e38, 2e19),
}


@pytest.mark.parametrize(("dtype", "value"), [(name, value) for name, values in LARGE.items() for value in values])
@pytest.mark.parametrize("name", ["rows and columns", "a signal", "a volume"])
def test_inputs_whose_differences_are_not_finite_are_computed_directly(name, dtype, value):
    x, w, bias = arrays(name, dtype=dtype)
    arguments = LAYERS[name][2]
    for place in (0, -1, x[0].size // 2):
        changed = x.copy()
        changed.flat[place] = value
        same_bits(run(changed, w, bias, **arguments), direct(changed, w, bias, **arguments))
    same_bits(run(x, w, bias, **arguments), direct(x, w, bias, **arguments))  # exact in both: whole numbers


@pytest.mark.parametrize("name", ["tiny images", "a signal", "lopsided crop"])
def test_many_large_inputs_are_not_taken_for_infinite(name, threads):
    """The sum of all squares overflows, that of one output's inputs does not; the number of threads has no effect."""
    (x, w, bias), arguments = arrays(name, whole=False), LAYERS[name][2]
    x = x * np.float32(5e17)
    threads(1)
    expected = run(x, w, bias, **arguments)
    assert (expected != direct(x, w, bias, **arguments)).any()
    for count in (2, 7):
        threads(count)
        same_bits(run(x, w, bias, **arguments), expected)


@pytest.mark.parametrize(
    ("dtype", "value"),
    [*(("float32", value) for value in (1e13, 3e38, np.inf, np.nan)), ("float64", 1e150), ("bfloat16", 1e13)],
)
def test_weights_whose_sums_may_overflow_are_computed_directly(dtype, value):
    x, w, bias = arrays("rows and columns", dtype=dtype)
    arguments = LAYERS["rows and columns"][2]
    layer = tconv.prepare(w, bias, method="winograd", **arguments)
    same_bits(layer(x), run(x, w, bias, **arguments))
    w[3, 2, 1, 0] = value
    if np.isfinite(value):
        same_bits(run(x, w, bias, **arguments), direct(x, w, bias, **arguments))
        same_bits(tconv.prepare(w, bias, method="winograd", **arguments)(x), direct(x, w, bias, **arguments))
    else:
        with pytest.raises(MethodError, match="inf or NaN"):
            run(x, w, bias, **arguments)


def test_a_weight_that_becomes_infinite_is_seen():
    x, w, bias = arrays("rows and columns")
    arguments = LAYERS["rows and columns"][2]
    out = np.empty_like(run(x, w, bias, **arguments))
    run(x, w, bias, out=out, **arguments)
    w[0, 0, 0, 0] = np.inf
    expected = tconv.conv_transpose(x, w, bias, method="taps", **arguments)
    np.testing.assert_array_equal(tconv.conv_transpose(x, w, bias, **arguments), expected)


def test_a_changed_weight_is_seen():
    x, w, bias = arrays("rows and columns")
    arguments = LAYERS["rows and columns"][2]
    run(x, w, bias, **arguments)
    w[1, 2, 3, 3] += 1
    same_bits(run(x, w, bias, **arguments), direct(x, w, bias, **arguments))


@pytest.mark.parametrize("activation", ["relu", ("leaky_relu", 0.25), ("clamp", -3.0, 60.0)], ids=str)
@pytest.mark.parametrize("last", [False, True], ids=["channels first", "channels last"])
def test_a_prepared_layer_applies_its_activation(activation, last):
    x, w, bias = arrays("tiny images")
    arguments = LAYERS["tiny images"][2]
    x = channels_last(x) if last else x
    layers = [
        tconv.prepare(w, bias, method=method, activation=activation, **arguments) for method in ("winograd", "simd")
    ]
    out = (channels_last if last else np.asarray)(np.empty((37, 30, 8, 8), np.float32))
    same_bits(np.ascontiguousarray(layers[0](x, out=out)), np.ascontiguousarray(layers[1](x)))


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_of_any_crop_is_prepared(name):
    """Before there is an x, no crop can be too large."""
    x, w, bias = arrays(name)
    arguments = LAYERS[name][2]
    same_bits(tconv.prepare(w, bias, method="winograd", **arguments)(x), run(x, w, bias, **arguments))


def test_a_crop_costs_nothing(threads):
    """Memory and work are those of the output; inputs that only cropped outputs need are not read."""
    threads(2)
    x, w = np.broadcast_to(np.float32(0), (4, 32, 2000, 2000)), np.broadcast_to(np.float32(0), (32, 32, 4, 4))
    plans = [
        tconv.plan(x, w, stride=2, crop=((lo, 4002 - 64 - lo),) * 2, method="winograd")
        for lo in (-900, 0, 1, 3001, 3900)
    ]
    assert max(each.scratch_bytes for each in plans) < 8 << 20


def test_inputs_that_no_output_reads_are_detected_by_all_tilings_or_none(threads):
    """Tiles of whole rows read the same cropped elements as pieces do."""
    rng = np.random.default_rng(0)
    for length, crop in itertools.product(range(33, 57), (3, 5)):
        x, w = (rng.standard_normal(s).astype(np.float32) for s in ((3, 16, 7, length), (16, 8, 4, 4)))
        arguments = {"stride": 2, "crop": ((2, 2), (2, crop))}
        for place in range(-4, 0):
            changed = x.copy()
            changed[..., place] = np.inf
            outputs = []
            for count in (1, 4, 7):
                threads(count)
                outputs.append(run(changed, w, **arguments))
            same_bits(outputs[0], outputs[1])
            same_bits(outputs[0], outputs[2])


@pytest.mark.parametrize(
    ("shape", "weight", "arguments", "reason"),
    [
        ((1, 4, 9, 9), (4, 4, 2, 2), {"stride": 2}, "stride < kernel"),
        ((1, 4, 9, 9), (4, 4, 5, 5), {"stride": 2}, "stride < kernel"),
        ((1, 4, 9, 9), (4, 2, 4, 4), {"stride": 2, "groups": 2}, "groups"),
        ((1, 4, 9, 9), (4, 2, 2, 4), {"stride": (3, 2)}, "without taps"),
        ((1, 4, 9, 9), (4, 2, 100, 4), {"stride": (1, 2)}, "more than 32 taps"),
        ((1, 4, 9, 9), (4, 2, 4, 4), {"stride": 2, "dilation": 2}, "without taps"),
    ],
)
def test_problems_that_it_cannot_run_are_refused(shape, weight, arguments, reason):
    x, w = np.ones(shape, "f4"), np.ones(weight, "f4")
    with pytest.raises(MethodError, match=reason):
        run(x, w, **arguments)
    with pytest.raises(MethodError, match="complex64"):
        run(x.astype("c8"), w.astype("c8"), **arguments)
    assert tconv.plan(x, w, **arguments).method == "simd"
