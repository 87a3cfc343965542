"""Layers and chains tile by tile: the bits of the whole, in every dtype and number of axes, from the fewest inputs."""

from __future__ import annotations

import pickle
import threading

import ml_dtypes
import numpy as np
import pytest

import tconv
from tconv import Geometry
from tconv.errors import ArgumentError, DtypeError, ShapeError, TconvError
from tconv.scale.layer_call import layer
from tconv.scale.operators.chain import ChainOperator
from tconv.scale.operators.layer import LayerOperator, computed
from tconv.scale.operators.layer_sum import FOUR, ORDERED
from tconv.scale.operators.reading import operator_of
from tconv.scale.stores.memory_array import ArraySource
from tconv.streaming.layer_digest import fingerprint
from tile_checks import assert_tiles, bits, random_tiles, tile

FLOATS = ["float32", "float64", "float16", "bfloat16"]
COMPLEX = ["complex64", "complex128"]
INTEGERS = ["int8", "uint8", "int64"]


def numbers(rng, shape, dtype):
    """Return random numbers of any dtype."""
    if np.dtype(dtype).kind in "iu":
        return rng.integers(0, 100, shape).astype(dtype)
    values = rng.standard_normal(shape)
    if np.dtype(dtype).kind == "c":
        values = values + 1j * rng.standard_normal(shape)
    return values.astype(dtype)


def random_geometry(rng, ndim):
    """Return a geometry with output gaps, dilation and crops of both signs at times, and sizes that it takes."""
    while True:
        kernel, stride = (rng.integers(1, 5, ndim).tolist() for _ in "ks")
        crop = [tuple(rng.integers(-3, 3, 2).tolist()) for _ in range(ndim)]
        geometry = Geometry(kernel, stride, crop, rng.integers(1, 3, ndim).tolist(), int(rng.choice([1, 1, 2, 3])))
        sizes = tuple(rng.integers(1, (60, 20, 8, 5)[ndim - 1], ndim).tolist())
        try:
            geometry.output_shape(sizes)
        except ShapeError:
            continue
        return geometry, sizes


def random_layer(rng, ndim, dtype, activation=None):
    """Return a layer and an image."""
    geometry, sizes = random_geometry(rng, ndim)
    into, out = rng.integers(1, 6, 2).tolist()
    groups = geometry.groups
    weight = numbers(rng, (into * groups, out, *geometry.kernel), dtype)
    bias = numbers(rng, (out * groups,), dtype)
    return LayerOperator(weight, bias, geometry, activation), numbers(rng, (into * groups, *sizes), dtype)


def native(name):
    return ml_dtypes.bfloat16 if name == "bfloat16" else np.dtype(name)


@pytest.mark.parametrize("ndim", [1, 2, 3, 4])
@pytest.mark.parametrize("name", FLOATS)
def test_tiles_of_floats_have_the_bits_of_the_direct_sum(name, ndim):
    rng = np.random.default_rng(10 * ndim + len(name))
    activation = (None, "relu", ("leaky_relu", 0.1), ("clamp", -1, 1))[ndim - 1]
    operator, x = random_layer(rng, ndim, native(name), activation)
    assert operator.method == "simd"
    weight, bias, geometry, _ = operator.fingerprint_parts()
    prepared = tconv.prepare(weight, bias, geometry=geometry, activation=activation, method="simd")
    whole = computed(operator, x)
    np.testing.assert_array_equal(bits(whole), bits(prepared(x[None])[0]))
    assert_tiles(rng, operator, x, whole, 4)


@pytest.mark.parametrize("ndim", [1, 2, 3])
@pytest.mark.parametrize("name", [*COMPLEX, *INTEGERS])
def test_tiles_of_complex_numbers_and_integers_have_the_bits_of_the_whole(name, ndim):
    rng = np.random.default_rng(20 * ndim + len(name))
    operator, x = random_layer(rng, ndim, np.dtype(name))
    assert operator.method == (FOUR if name in COMPLEX else ORDERED)
    weight, bias, geometry, _ = operator.fingerprint_parts()
    whole = computed(operator, x)
    expected = tconv.conv_transpose(x[None], weight, bias, geometry=geometry)[0]
    assert whole.dtype == expected.dtype
    exact = name in INTEGERS
    np.testing.assert_allclose(whole, expected, rtol=0, atol=0 if exact else 1e-4 if name == "complex64" else 1e-12)
    assert_tiles(rng, operator, x, whole, 4)


@pytest.mark.parametrize("name", ["float16", "float32", "complex64"])
def test_tiles_with_weights_of_inf_and_inputs_of_nan_have_the_bits_of_the_whole(name):
    rng = np.random.default_rng(len(name))
    operator, x = random_layer(rng, 2, np.dtype(name))
    weight, bias, geometry, _ = operator.fingerprint_parts()
    weight.flat[1], x.flat[3] = np.inf, np.nan
    operator = LayerOperator(weight, bias, geometry)
    assert operator.method == ORDERED
    whole = computed(operator, x)
    expected = tconv.conv_transpose(x[None], weight, bias, geometry=geometry, method="taps")[0]
    np.testing.assert_array_equal(np.isfinite(whole), np.isfinite(expected))
    assert_tiles(rng, operator, x, whole, 4)


def test_tiles_without_machine_code_have_the_bits_of_the_whole(monkeypatch):
    monkeypatch.setattr("tconv.kernels.simd.direct.reason_unavailable", lambda: "it is off in this test")
    for name in ("float32", "bfloat16", "complex64"):
        rng = np.random.default_rng(len(name))
        operator, x = random_layer(rng, 2, native(name))
        assert operator.method == ORDERED
        assert_tiles(rng, operator, x, computed(operator, x), 2)


def test_one_pixel_axes_and_gaps_between_outputs():
    rng = np.random.default_rng(5)
    for sizes in ((1, 1), (1, 9), (9, 1)):
        operator = LayerOperator(
            numbers(rng, (2, 3, 2, 2), "f4"), numbers(rng, 3, "f4"), Geometry((2, 2), (5, 4), (-1, -2))
        )
        x = numbers(rng, (2, *sizes), "f4")
        assert_tiles(rng, operator, x, computed(operator, x), 6)


def test_windows_are_minimal():
    """Each of the first and the last inputs of a window changes an output of the tile, and no other input does."""
    rng = np.random.default_rng(6)
    for ndim in (1, 1, 1, 2, 2, 3):
        geometry, sizes = random_geometry(rng, ndim)
        geometry = Geometry(geometry.kernel, geometry.stride, geometry.crop, geometry.dilation)
        operator = LayerOperator(np.ones((1, 1, *geometry.kernel)), None, geometry)
        for outputs in random_tiles(rng, operator.output_sizes(sizes), 6):
            reached = []
            for axis in range(ndim):
                touched = []
                for place in range(sizes[axis]):
                    x = np.zeros((1, *sizes))
                    x[(slice(None),) * (axis + 1) + (place,)] = 1
                    touched.append(computed(operator, x)[:, *outputs].any())
                reached.append(np.flatnonzero(touched))
            window = operator.window(outputs, sizes)
            for places, span in zip(reached, window, strict=True):
                if all(each.size for each in reached):
                    assert (places[0], places[-1] + 1) == (span.start, span.stop)
                else:  # outputs of a gap, or beyond the input: one input stands for none
                    assert span.stop - span.start >= 1


def test_a_window_that_is_one_smaller_is_wrong():
    rng = np.random.default_rng(7)
    operator = LayerOperator(numbers(rng, (2, 2, 4, 4), "f4"), numbers(rng, 2, "f4"), Geometry((4, 4), 2, 1))
    x = numbers(rng, (2, 20, 20), "f4")
    outputs, sizes = (slice(11, 17), slice(8, 15)), (20, 20)
    window = operator.window(outputs, sizes)
    whole = computed(operator, x)[:, *outputs]
    for axis in (0, 1):
        for place in (window[axis].start, window[axis].stop - 1):
            changed = x.copy()
            changed[(slice(None),) * (axis + 1) + (place,)] = 0
            assert not np.array_equal(tile(operator, changed, outputs), whole)
        for place in (window[axis].start - 1, window[axis].stop):
            changed = x.copy()
            changed[(slice(None),) * (axis + 1) + (place,)] = 0
            np.testing.assert_array_equal(tile(operator, changed, outputs), whole)


def test_threads_share_an_operator():
    rng = np.random.default_rng(8)
    operator = LayerOperator(numbers(rng, (6, 4, 4, 4), "f4"), numbers(rng, 4, "f4"), Geometry((4, 4), 2, 1), "relu")
    x = numbers(rng, (6, 80, 70), "f4")
    whole, wrong = computed(operator, x), []

    def run(seed):
        own = np.random.default_rng(seed)
        tiles = random_tiles(own, whole.shape[1:], 40)
        wrong.extend(each for each in tiles if not np.array_equal(tile(operator, x, each), whole[:, *each]))

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(60)
    assert not wrong


def test_equal_tiles_are_planned_once():
    rng = np.random.default_rng(9)
    operator = LayerOperator(numbers(rng, (3, 3, 4, 4), "f4"), numbers(rng, 3, "f4"), Geometry((4, 4), 2, 1))
    x = numbers(rng, (3, 60, 60), "f4")
    for row in range(10, 100, 10):
        for column in range(10, 100, 10):
            tile(operator, x, (slice(row, row + 10), slice(column, column + 10)))
    assert len(operator.sum._calls) == 1


@pytest.mark.parametrize("name", ["float32", "complex64", "int16"])
def test_copies_for_other_processes_have_the_same_bits(name):
    rng = np.random.default_rng(10)
    operator, x = random_layer(rng, 2, np.dtype(name))
    whole = computed(operator, x)
    stored = pickle.dumps(operator)
    assert len(stored) < 3 * operator.fingerprint_parts()[0].nbytes + 4000  # no packed weights
    np.testing.assert_array_equal(bits(computed(pickle.loads(stored), x)), bits(whole))


def test_the_fingerprint_knows_weight_bias_geometry_and_activation():
    rng = np.random.default_rng(11)
    weight, bias, geometry = numbers(rng, (2, 3, 4), "f4"), numbers(rng, 3, "f4"), Geometry(4, 2, 1)
    other_weight, other_bias = weight.copy(), bias.copy()
    other_weight[0, 0, 0] += 1
    other_bias[2] += 1
    layers = [
        LayerOperator(weight, bias, geometry),
        LayerOperator(other_weight, bias, geometry),
        LayerOperator(weight, other_bias, geometry),
        LayerOperator(weight, None, geometry),
        LayerOperator(weight, bias, Geometry(4, 2, [(2, 0)])),
        LayerOperator(weight, bias, geometry, "relu"),
        LayerOperator(weight, bias, geometry, ("leaky_relu", 0.1)),
        LayerOperator(weight.astype("f8"), bias.astype("f8"), geometry),
    ]
    assert len({fingerprint(each) for each in layers}) == len(layers)
    assert len({fingerprint(ChainOperator([each])) for each in layers}) == len(layers)
    assert fingerprint(layers[0]) == fingerprint(pickle.loads(pickle.dumps(layers[0])))


def test_predicted_work_and_memory():
    operator = LayerOperator(np.ones((2, 3, 4, 4), np.float32), None, Geometry((4, 4), 2, 1))
    outputs, sizes = (slice(64, 128), slice(0, 64)), (100, 100)
    assert operator.work(outputs, sizes) == 64 * 64 * 2 * 3 * 16 // 4
    even, odd = (operator.scratch_bytes(span, sizes) for span in (outputs, (slice(63, 126), slice(0, 63))))
    assert odd > even  # a packed weight for each phase that a tile begins with


# -- chains ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_tiles_of_chains_have_the_bits_of_the_whole(ndim):
    rng = np.random.default_rng(30 + ndim)
    for name in ("float32", ("float64", "float16", "complex64")[ndim - 1]):
        operators, channels, sizes = [], 3, tuple(rng.integers(2, 7, ndim).tolist())
        x, given = numbers(rng, (3, *sizes), name), sizes
        while len(operators) < 3:
            geometry, _ = random_geometry(rng, ndim)
            geometry = Geometry(geometry.kernel, geometry.stride, geometry.crop, geometry.dilation)
            out = int(rng.integers(1, 5))
            weight, bias = numbers(rng, (channels, out, *geometry.kernel), name), numbers(rng, out, name)
            operator = LayerOperator(weight, bias, geometry, "relu" if name == "float32" else None)
            try:
                sizes = operator.output_sizes(sizes)
            except ShapeError:
                continue
            operators.append(operator)
            channels = out
        chain = pickle.loads(pickle.dumps(ChainOperator(operators)))
        whole = x
        for operator in operators:
            whole = computed(operator, whole)
        np.testing.assert_array_equal(bits(computed(chain, x)), bits(whole))
        assert chain.output_sizes(given) == whole.shape[1:]
        assert_tiles(rng, chain, x, whole, 3)


def test_a_window_of_a_chain_that_is_one_smaller_is_wrong():
    rng = np.random.default_rng(40)
    layers = [LayerOperator(numbers(rng, (1, 1, 4), "f4"), numbers(rng, 1, "f4"), Geometry(4, 2, 1)) for _ in "ab"]
    chain, x, outputs = ChainOperator(layers), numbers(rng, (1, 60), "f4"), (slice(100, 117),)
    whole, (window,) = computed(chain, x)[:, 100:117], chain.window(outputs, (60,))
    for place, differs in ((-1, False), (0, True)):
        for at in (window.start + place, window.stop - 1 - place):
            changed = x.copy()
            changed[:, at] += 1
            assert np.array_equal(computed(chain, changed)[:, 100:117], whole) != differs


def test_chains_refuse_what_does_not_fit():
    one = LayerOperator(np.ones((1, 2, 4), np.float32), None, Geometry(4, 2, 1))
    with pytest.raises(ShapeError, match="layer 1 of the chain has 1 input channels; the one before it has 2"):
        ChainOperator([one, one])
    with pytest.raises(DtypeError, match="layer 1 of the chain reads float64; the one before it returns float32"):
        ChainOperator([one, LayerOperator(np.ones((2, 1, 4)), None, Geometry(4, 2, 1))])
    with pytest.raises(ShapeError, match="layer 1 of the chain has 2 spatial axes and the one before it 1"):
        ChainOperator([one, LayerOperator(np.ones((2, 1, 4, 4), np.float32), None, Geometry((4, 4), 2, 1))])
    with pytest.raises(ArgumentError, match="the chain has no layer"):
        ChainOperator([])


# -- reading -----------------------------------------------------------------------------------------------------


def test_layers_of_every_dialect_become_canonical():
    rng = np.random.default_rng(50)
    weight = numbers(rng, (3, 3, 5, 4), "f4")  # [kh, kw, C_out, C_in]
    bias = numbers(rng, 5, "f4")
    x = numbers(rng, (1, 7, 9, 4), "f4")
    expected = tconv.conv_transpose(x, weight, bias, dialect="keras", strides=2, padding="same", method="simd")
    made = layer(weight, bias, dialect="keras", strides=2, padding="same")
    np.testing.assert_array_equal(computed(made, np.moveaxis(x[0], 2, 0)), np.moveaxis(expected[0], 2, 0))
    assert made.channels == (4, 5)
    weight[...] = 0  # the layer has a copy
    np.testing.assert_array_equal(computed(made, np.moveaxis(x[0], 2, 0)), np.moveaxis(expected[0], 2, 0))


def test_arguments_that_depend_on_sizes_need_them():
    weight = np.ones((3, 3, 5, 4), np.float32)
    shape = {"dialect": "tensorflow", "strides": 2, "padding": "SAME", "output_shape": (1, 19, 19, 5)}
    with pytest.raises(ArgumentError, match="output_shape is that of one size of the input, which is not known"):
        layer(weight, **shape)
    assert layer(weight, sizes=(10, 10), **shape).output_sizes((10, 10)) == (19, 19)
    assert layer(weight, dialect="tensorflow", strides=2, padding="SAME").output_sizes((10, 10)) == (20, 20)


def test_prepared_layers_and_lists_are_read():
    weight = np.ones((3, 3, 4, 4), np.float32)
    prepared = tconv.prepare(weight, np.ones(3, np.float32), stride=2, padding=1, activation="relu")
    one = operator_of(prepared)
    assert isinstance(one, LayerOperator)
    assert one.activation == "relu"
    several = operator_of([prepared, [prepared]])
    assert isinstance(several, ChainOperator)
    assert several.output_sizes((5, 6)) == (20, 24)
    assert operator_of(several) is several


def test_integers_are_read_in_the_dtype_of_the_source():
    one = layer(np.ones((1, 1, 2), np.int8), stride=2)
    assert (one.dtype, one.result) == (np.int8, np.int64)
    source = ArraySource(np.full((1, 1, 9), 200, np.uint8))
    read = operator_of(one, source)
    assert (read.dtype, read.result) == (np.uint8, np.int64)
    np.testing.assert_array_equal(computed(read, source.array[0]), np.full((1, 18), 200))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (3, "network is 3; a file of weights"),
        (None, "network is None; a file of weights"),
        (np.ones((3, 3)), "network is an array of shape"),
        ("missing.onnx", "missing.onnx does not exist"),
        ("network.foo", "network.foo ends in .foo"),
        ([], "the chain has no layer"),
    ],
)
def test_other_networks_are_refused(given, message):
    with pytest.raises(TconvError, match=message):
        operator_of(given)


def test_activations_of_integers_are_refused():
    with pytest.raises(DtypeError, match="the weight is int32; activations are for real floats"):
        layer(np.ones((1, 1, 2), np.int32), activation="relu")
