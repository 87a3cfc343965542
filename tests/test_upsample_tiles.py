"""Tiles of enlarged pictures: the bits of the whole, for every method, dtype, size of tile and rule of the border."""

from __future__ import annotations

import itertools
import pickle
from fractions import Fraction

import numpy as np
import pytest

import tconv
from tconv import Geometry
from tconv.errors import CheckError
from tconv.models.image_model import Model
from tconv.models.layers import Convolution, Node
from tconv.models.network import Network
from tconv.models.steps.arithmetic import Combination
from tconv.models.steps.pooling import GlobalMean
from tconv.scale.regions import grid, region_sizes
from tconv.streaming.layer_digest import fingerprint
from tconv.upsampling import tile_upsampler
from tconv.upsampling.missing_data import MissingData
from tconv.upsampling.stored_values import StoredValues
from tconv.upsampling.strips import enlarge
from tconv.upsampling.target_size import read_target_size
from tconv.upsampling.tile_upsampler import UpsamplerOperator
from tconv.upsampling.upsampler_selection import Selection

DTYPES = ["u1", "i2", "u2", "f2", "f4", "i4", "f8"]
TILES = [(7, 11), (5, 300), (64, 6)]


def picture(shape, dtype, seed=0):
    rng, dtype = np.random.default_rng(seed), np.dtype(dtype)
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        return rng.integers(info.min // 2, info.max, shape, dtype)
    x = rng.random(shape)
    return (x + 1j * rng.random(shape) if dtype.kind == "c" else x).astype(dtype)


def selected(shape, scale=None, width=None, height=None, **method):
    selection = Selection(read_target_size(scale, width, height), **method)
    return selection.for_pictures().fitted(*shape)


def operator_for(x, alpha=False, options=None, **values):
    upsampler = selected(x.shape[1:], **options or {"scale": 2, "kernel": "bicubic"})
    return UpsamplerOperator(upsampler, len(x), StoredValues(x.dtype, alpha and not upsampler.mixes), **values)


def whole_of(operator, x):
    """Return what `tconv.upsample` makes of a whole picture [C, H, W], strip by strip."""
    out = np.empty((operator.channels[1], *operator.output_sizes(x.shape[1:])), x.dtype)
    enlarge(x, operator.upsampler, operator.values, out, None)
    return out


def tiled(operator, x, tile):
    """Return the picture that tiles make, each from its own copy of what it reads."""
    sizes = x.shape[1:]
    total = operator.output_sizes(sizes)
    context = operator.prepare(lambda region: x[:, *region], sizes, 1 << 28)
    result = np.empty((operator.channels[1], *total), operator.result)
    for outputs in grid(total, tile):
        window = operator.window(outputs, sizes)
        assert all(0 <= span.start < span.stop <= size for span, size in zip(window, sizes, strict=True))
        out = np.empty((operator.channels[1], *region_sizes(outputs)), operator.result)
        operator.compute(x[:, *window].copy(), window, sizes, outputs, out, context)
        result[:, *outputs] = out
    return result


def assert_tiles_have_the_bits_of_the_whole(operator, x, tiles):
    whole = whole_of(operator, x)
    for tile in tiles:
        np.testing.assert_array_equal(tiled(operator, x, tile), whole, f"tiles {tile}")
    assert operator.checks.results.outputs > 0


def kernel(*shape):
    return np.random.default_rng(3).random(shape)


FILTERS = {
    "nearest x2": {"scale": 2, "kernel": "nearest"},
    "bicubic x3": {"scale": 3, "kernel": "bicubic"},
    "lanczos x2": {"scale": 2, "kernel": "lanczos"},
    "bilinear x1.5": {"scale": 1.5, "kernel": "bilinear"},
    "bicubic x1/3": {"scale": Fraction(1, 3), "kernel": "bicubic"},
    "lanczos to 31 x 90": {"width": 31, "height": 90, "kernel": "lanczos"},
    "kernel x2": {"scale": 2, "kernel": kernel(5, 4)},
    "kernel x3, narrow": {"scale": 3, "kernel": kernel(3, 9)},
    "kernel x2.5": {"scale": 2.5, "kernel": kernel(3, 7)},
    "across channels": {"scale": 2, "kernel": kernel(3, 2, 4, 6)},
    "across channels x1.5": {"scale": 1.5, "kernel": kernel(3, 4, 3, 3)},
}


@pytest.mark.parametrize("method", FILTERS)
@pytest.mark.parametrize("shape", [(3, 23, 31), (3, 1, 1), (3, 1, 23), (3, 29, 1)], ids=str)
def test_tiles_of_filters_have_the_bits_of_the_whole(shape, method):
    for dtype in "u1", "f4":
        x = picture(shape, dtype)
        tiles = TILES if min(shape[1:]) > 1 else [(11, 17)]
        assert_tiles_have_the_bits_of_the_whole(operator_for(x, options=FILTERS[method]), x, tiles)


@pytest.mark.parametrize("dtype", [*DTYPES, "c8"])
@pytest.mark.parametrize("alpha", [False, True])
def test_every_dtype_and_opacity(dtype, alpha):
    if alpha and dtype == "c8":
        return
    x = picture((4, 19, 26), dtype)
    for options in FILTERS["bicubic x3"], FILTERS["kernel x2.5"]:
        assert_tiles_have_the_bits_of_the_whole(operator_for(x, alpha, options), x, [(8, 13)])


def test_tiles_of_one_pixel():
    x = picture((1, 5, 6), "u1")
    assert_tiles_have_the_bits_of_the_whole(operator_for(x), x, [(1, 1), (1, 12), (10, 1)])


def test_strips_inside_a_tile_do_not_show(monkeypatch):
    monkeypatch.setattr(tile_upsampler, "_STRIP", 700)
    x = picture((3, 17, 22), "u1")
    for options in FILTERS["bicubic x3"], FILTERS["kernel x2"], {"scale": 5, "model": "photo"}:
        assert_tiles_have_the_bits_of_the_whole(operator_for(x, options=options), x, [(40, 50)])


# -- networks ----------------------------------------------------------------------------------------------------

NETWORKS = {
    "photo x2": {"scale": 2, "model": "photo"},
    "photo x5": {"scale": 5, "model": "photo"},
    "photo to 90 x 41": {"width": 90, "height": 41, "model": "photo"},
}


@pytest.mark.parametrize(("channels", "dtype", "alpha"), [(3, "u1", False), (4, "u2", True), (1, "f2", False)])
@pytest.mark.parametrize("method", NETWORKS)
def test_tiles_of_networks_have_the_bits_of_the_whole(method, channels, dtype, alpha):
    x = picture((channels, 21, 34), dtype)
    operator = operator_for(x, alpha, NETWORKS[method])
    assert_tiles_have_the_bits_of_the_whole(operator, x, [(13, 50)])


def network_of(kernel=3, channels=3, seed=1):
    rng = np.random.default_rng(seed)
    layers = [
        Convolution(
            (rng.standard_normal((channels, 8, kernel, kernel)) / kernel).astype("f4"),
            Geometry((kernel, kernel), 1, kernel // 2),
            rng.random(8).astype("f4"),
            "relu",
        ),
        Convolution(
            (rng.standard_normal((8, channels, 4, 4)) / 6).astype("f4"),
            Geometry((4, 4), 2, 1),
            rng.random(channels).astype("f4"),
        ),
    ]
    return Network([Node(layers[0], (0,)), Node(layers[1], (1,))])


@pytest.mark.parametrize("beyond", ["edge", "reflect"])
def test_a_network_of_ones_own_with_another_range_and_order(beyond):
    model = Model.of(network_of(), "mine", value_range=(-1, 1), order="BGR", beyond=beyond)
    x = picture((3, 25, 18), "u1")
    for scale in 2, 3:
        operator = operator_for(x, options={"scale": scale, "weights": model})
        assert_tiles_have_the_bits_of_the_whole(operator, x, [(9, 7), (64, 6)])


def test_a_network_with_means_over_the_whole_picture():
    rng = np.random.default_rng(4)
    weight = (rng.standard_normal((3, 3, 4, 4)) / 4).astype("f4")
    gate = Convolution(rng.standard_normal((3, 3, 1, 1)).astype("f4"), Geometry((1, 1)), rng.random(3).astype("f4"))
    nodes = [
        Node(Convolution(weight, Geometry((4, 4), 2, 1), rng.random(3).astype("f4")), (0,)),
        Node(GlobalMean(), (1,)),
        Node(gate, (2,)),
        Node(Combination("multiply"), (1, 3)),
    ]
    model = Model.of(Network(nodes), "gated")
    x = picture((3, 37, 46), "u1")
    x[0, 5:9, 3:8] = 7
    for masks in False, True:
        values = {"masks": masks, "nodata": 7 if masks else None}
        operator = operator_for(x, options={"scale": 2, "weights": model}, **values)
        missing = MissingData(x, values["nodata"], False)
        filled = missing.filled(x, operator.upsampler) if masks else x
        whole = whole_of(operator, filled)
        if masks:
            missing.mark(whole, False)
        for tile in (16, 24), (200, 200):
            np.testing.assert_array_equal(tiled(operator, x, tile), whole)
        assert operator.checks.results.layer_outputs > 0


def test_a_deep_network_is_checked_layer_by_layer(monkeypatch):
    from tconv.upsampling import learned

    monkeypatch.setattr(learned, "_LONG", 0)
    x = picture((3, 40, 44), "u1")
    operator = operator_for(x, options={"scale": 2, "weights": Model.of(network_of(), "deep")})
    assert_tiles_have_the_bits_of_the_whole(operator, x, [(40, 88)])
    assert operator.checks.results.layers >= 1


# -- missing data --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["bicubic x3", "bicubic x1/3", "kernel x2", "photo x2", "across channels"])
@pytest.mark.parametrize("nodata", [None, -7])
def test_missing_data_are_filled_as_in_the_whole(method, nodata):
    dtype = "f4" if nodata is None else "i2"
    x, rng = picture((3, 41, 37), dtype), np.random.default_rng(5)
    holes = rng.random(x.shape) < 0.1
    holes[:, 8:25, 5:20] = True
    holes[1] = holes[0]
    x[holes] = np.nan if nodata is None else nodata
    operator = operator_for(x, options={**FILTERS, **NETWORKS}[method], masks=True, nodata=nodata)
    missing = MissingData(x, nodata, False)
    whole = whole_of(operator, missing.filled(x, operator.upsampler))
    missing.mark(whole, operator.upsampler.mixes)
    for tile in (13, 17), (200, 9):
        np.testing.assert_array_equal(tiled(operator, x, tile), whole)


# -- the check, other processes, and what is stated ------------------------------------------------------------------


def test_a_wrong_output_of_a_tile_is_found(monkeypatch):
    x = picture((3, 20, 30), "u1")
    operator = operator_for(x)
    real = type(operator.upsampler).strip
    monkeypatch.setattr(type(operator.upsampler), "strip", lambda self, *given: real(self, *given) + 1)
    outputs, out = (slice(10, 20), slice(16, 32)), np.empty((3, 10, 16), "u1")
    window = operator.window(outputs, (20, 30))
    with pytest.raises(CheckError, match=r"The tile of rows 10 to 20 and columns 16 to 32 was not written"):
        operator.compute(x[:, *window], window, (20, 30), outputs, out)


def test_without_a_check_nothing_is_recomputed():
    x = picture((3, 20, 30), "u1")
    operator = operator_for(x, checked=False)
    tiled(operator, x, (10, 10))
    assert operator.checks.results.outputs == 0


@pytest.mark.parametrize("method", ["kernel x2.5", "photo x2"])
def test_another_process_computes_the_same_bits(method):
    x = picture((3, 17, 19), "u1")
    operator = operator_for(x, options={**FILTERS, **NETWORKS}[method])
    other = pickle.loads(pickle.dumps(operator))
    np.testing.assert_array_equal(tiled(other, x, (16, 16)), whole_of(operator, x))
    assert fingerprint(other) == fingerprint(operator)


def test_fingerprints_differ_where_results_may():
    x = picture((3, 17, 19), "u1")
    variants = [{**FILTERS, **NETWORKS}[name] for name in [*FILTERS, *NETWORKS]]
    variants += [{"scale": 2, "kernel": kernel(5, 4) * 2}, {"scale": 2, "weights": Model.of(network_of(), "mine")}]
    variants += [{"scale": 2, "weights": Model.of(network_of(seed=2), "mine")}]
    prints = [fingerprint(operator_for(x, options=options)) for options in variants]
    prints.append(fingerprint(operator_for(x[[0, 1, 2, 2]], True)))
    prints += [fingerprint(operator_for(x, masks=True, nodata=number)) for number in (None, 0)]
    assert all(first != second for first, second in itertools.combinations(prints, 2))


def test_predicted_scratch_memory_is_enough():
    tracemalloc = pytest.importorskip("tracemalloc")
    x = picture((3, 300, 300), "u1")
    for options in FILTERS["bicubic x3"], FILTERS["bilinear x1.5"], FILTERS["kernel x2"], FILTERS["bicubic x1/3"]:
        operator = operator_for(x, options=options, checked=False)
        outputs = tuple(slice(0, min(400, size)) for size in operator.output_sizes((300, 300)))
        window = operator.window(outputs, (300, 300))
        given, out = x[:, *window].copy(), np.empty((3, *region_sizes(outputs)), "u1")
        operator.compute(given, window, (300, 300), outputs, out)
        tconv.trim_pool()
        tracemalloc.start()
        operator.compute(given, window, (300, 300), outputs, out)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak <= operator.scratch_bytes(outputs, (300, 300)), options
