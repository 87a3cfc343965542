"""Lazy arrays: any chunks have the bits of the whole; the graph is small, and tasks have what they read and no more."""

from __future__ import annotations

import gc
import pickle
import weakref
from collections import Counter

import dask
import dask.array
import numpy as np
import pytest
import xarray
import zarr
from dask.base import tokenize

import tconv
import tconv.scale
from tconv.errors import ArgumentError, ArrayError, DtypeError, FileError, ShapeError
from tconv.models import Convolution, Network, Node, Sum
from tconv.models.steps.pooling import GlobalMean
from tconv.scale.chunks.axis_chunks import output_scale
from tconv.scale.chunks.shared_object import Shared
from tconv.scale.chunks.thread_share import thread_team
from tconv.scale.operators.layer import LayerOperator, computed
from tconv.scale.operators.network import NetworkOperator


def whole(x, weight, bias, geometry, activation=None):
    """Return the outputs of a batch, each image at once."""
    operator = LayerOperator(weight, bias, geometry, activation)
    return np.stack([computed(operator, image) for image in x])


def random_call(rng, ndim, dtype="float32", groups=1):
    """Return an input, weight, bias and geometry without symmetry."""
    kernel = tuple(map(int, rng.integers(1, 6, ndim)))
    stride, dilation = (tuple(map(int, rng.integers(1, 4, ndim))) for _ in range(2))
    crop = tuple((int(rng.integers(-2, 3)), int(rng.integers(-2, 3))) for _ in range(ndim))
    geometry = tconv.Geometry(kernel, stride, crop, dilation, groups)
    sizes = tuple(map(int, rng.integers(9, 14, ndim)))
    x = rng.standard_normal((2, 2 * groups, *sizes)).astype(dtype)
    weight = rng.standard_normal((2 * groups, 3, *kernel)).astype(dtype)
    return x, weight, rng.standard_normal(3 * groups).astype(dtype), geometry


def random_chunks(rng, shape):
    """Return sizes that add up to those of a shape, along each axis."""
    parts = []
    for size in shape:
        cuts = sorted({0, size, *map(int, rng.integers(0, size + 1, 3))})
        parts.append(tuple(int(each) for each in np.diff(cuts)))
    return tuple(parts)


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_any_chunks_of_input_and_output_have_the_bits_of_the_whole(ndim):
    rng = np.random.default_rng(ndim)
    for _ in range(7 if ndim < 3 else 3):
        x, weight, bias, geometry = random_call(rng, ndim, groups=int(rng.integers(1, 3)))
        expected = whole(x, weight, bias, geometry)
        given = dask.array.from_array(x, chunks=random_chunks(rng, x.shape))
        asked = random_chunks(rng, expected.shape)
        for chunks in (None, asked):
            y = tconv.scale.conv_transpose(given, weight, bias, geometry=geometry, chunks=chunks)
            assert chunks is None or y.chunks == asked
            assert (y.shape, y.dtype) == (expected.shape, expected.dtype)
            np.testing.assert_array_equal(y.compute(scheduler="sync"), expected, strict=True)


@pytest.mark.parametrize("dtype", ["float16", "float64", "complex64", "int16"])
def test_dtypes(dtype):
    rng = np.random.default_rng(5)
    x, weight, bias, geometry = random_call(rng, 2)
    if dtype == "int16":
        x, weight, bias = (100 * x).astype("uint8"), (100 * weight).astype("int16"), (100 * bias).astype("int16")
        expected = tconv.conv_transpose(x, weight, bias, geometry=geometry)
    else:
        x, weight, bias = (each.astype(dtype) for each in (x, weight, bias))
        expected = whole(x, weight, bias, geometry)
    y = tconv.scale.conv_transpose(dask.array.from_array(x, chunks=5), weight, bias, geometry=geometry)
    assert y.dtype == expected.dtype
    np.testing.assert_array_equal(y.compute(scheduler="sync"), expected)


@pytest.mark.parametrize("dtype", [">f4", ">i2"])
def test_weights_are_copied_and_bytes_may_have_any_order(dtype):
    rng = np.random.default_rng(8)
    x, weight, bias = ((50 * rng.standard_normal(shape)).astype(dtype) for shape in ((1, 2, 9, 8), (2, 3, 4, 4), (3,)))
    expected = tconv.conv_transpose(x, weight, bias, stride=2, method="auto" if dtype == ">i2" else "simd")
    y = tconv.scale.conv_transpose(dask.array.from_array(x, chunks=4), weight, bias, stride=2)
    weight[...], bias[...] = 1, 1  # after the call
    np.testing.assert_array_equal(y.compute(scheduler="sync"), expected, strict=True)


def test_layout_of_a_dialect_activation_and_one_image():
    rng = np.random.default_rng(1)
    x = rng.standard_normal((1, 9, 11, 2)).astype("float32")
    weight, bias = rng.standard_normal((4, 3, 5, 2)).astype("float32"), np.float32([1, -2, 3, 4, 5])
    call = {"dialect": "tensorflow", "strides": 2, "padding": "SAME", "output_shape": (1, 18, 22, 5)}
    y = tconv.scale.conv_transpose(dask.array.from_array(x, chunks=4), weight, bias, **call)
    expected = tconv.conv_transpose(x, weight, bias, method="simd", **call)
    np.testing.assert_array_equal(y.compute(scheduler="sync"), expected)
    image, weight = np.ascontiguousarray(x[0].transpose(2, 0, 1)), rng.standard_normal((2, 3, 3, 3)).astype("float32")
    y = tconv.scale.conv_transpose(dask.array.from_array(image, chunks=(2, 4, 5)), weight, bias[:3], activation="relu")
    expected = np.maximum(tconv.conv_transpose(image, weight, bias[:3], method="simd"), 0)
    np.testing.assert_array_equal(y.compute(scheduler="sync"), expected)


@pytest.mark.parametrize("scheduler", ["threads", "processes"])
def test_schedulers_have_the_same_bits(scheduler):
    rng = np.random.default_rng(2)
    x, weight, bias, geometry = random_call(rng, 2)
    y = tconv.scale.conv_transpose(dask.array.from_array(x, chunks=(1, 2, 5, 5)), weight, bias, geometry=geometry)
    options = {"num_workers": 1} if scheduler == "processes" else {}
    np.testing.assert_array_equal(y.compute(scheduler=scheduler, **options), whole(x, weight, bias, geometry))


# -- chunks ------------------------------------------------------------------------------------------------------


def lazy_ones(shape, chunks):
    return dask.array.ones(shape, chunks=chunks, dtype="float32")


UP = np.ones((1, 1, 4, 4), np.float32)


def test_default_chunks_are_those_of_the_input_times_the_stride():
    y = tconv.scale.conv_transpose(lazy_ones((1, 1, 25, 30), (1, 1, 10, 30)), UP, stride=2, padding=1)
    assert y.chunks == ((1,), (1,), (20, 20, 10), (60,))
    y = tconv.scale.conv_transpose(lazy_ones((1, 1, 25, 30), (1, 1, 10, 30)), UP, stride=2)
    assert y.chunks == ((1,), (1,), (20, 20, 12), (62,))
    # a crop of more than a chunk moves the borders to the outputs that read them
    y = tconv.scale.conv_transpose(lazy_ones((1, 1, 40, 40), (1, 1, 10, 40)), UP, stride=2, padding=21)
    assert y.chunks[2] == (20, 20)
    layer = tconv.scale.layer(UP, stride=2, padding=1)
    assert output_scale(layer, (25, 30), 0) == (2, 0)


@pytest.mark.parametrize(
    ("chunks", "found"),
    [
        (7, ((1,), (1,), (7, 7, 6), (7, 7, 7, 7, 2))),
        ({-1: 10}, ((1,), (1,), (20,), (10, 10, 10))),
        ((1, 1, -1, (11, 19)), ((1,), (1,), (20,), (11, 19))),
        ((None, None, 5, None), ((1,), (1,), (5, 5, 5, 5), (30,))),
        ("auto", ((1,), (1,), (20,), (30,))),
    ],
)
def test_chunks_are_those_asked_for(chunks, found):
    x = lazy_ones((1, 1, 10, 15), -1)
    assert tconv.scale.conv_transpose(x, UP, stride=2, padding=1, chunks=chunks).chunks == found


def test_chunks_of_channels_and_images():
    rng = np.random.default_rng(3)
    x, weight, bias, geometry = random_call(rng, 2)
    given = dask.array.from_array(x, chunks=(1, 1, 5, 5))
    y = tconv.scale.conv_transpose(given, weight, bias, geometry=geometry, chunks={0: 2, 1: (1, 2)})
    assert y.chunks[:2] == ((2,), (1, 2))
    np.testing.assert_array_equal(y.compute(scheduler="sync"), whole(x, weight, bias, geometry))


def test_no_image_and_one_pixel():
    y = tconv.scale.conv_transpose(lazy_ones((0, 1, 5, 1), -1), UP, stride=2, padding=1)
    assert y.compute(scheduler="sync").shape == (0, 1, 10, 2)
    y = tconv.scale.conv_transpose(lazy_ones((1, 1, 3, 1), 1), UP, stride=2, padding=1)
    np.testing.assert_array_equal(
        y.compute(scheduler="sync"), tconv.conv_transpose(np.ones((1, 1, 3, 1), "f"), UP, stride=2, padding=1)
    )


# -- the graph ---------------------------------------------------------------------------------------------------


def kinds(graph):
    """Return the number of tasks by the function that they call."""
    return Counter(getattr(getattr(task, "func", None), "__name__", type(task).__name__) for task in graph.values())


def test_graph_is_linear_and_holds_the_weights_once():
    weight = np.random.default_rng(0).standard_normal((1, 1, 40, 40)).astype("float32")
    sizes = []
    for count in (5, 10):
        x = lazy_ones((1, 1, count * 50, count * 50), (1, 1, 50, 50))
        y = tconv.scale.conv_transpose(x, weight, stride=20, padding=10)
        layer = y.dask.layers[y.name]
        found = kinds(layer)
        assert found == {"compute_chunk": count**2, "cut_strips": count**2, "DataNode": 1}
        tasks = [task for task in layer.values() if type(task).__name__ == "Task"]
        sizes.append(len(pickle.dumps(tasks)) / len(tasks))
    assert max(sizes) < 400 < weight.nbytes


def test_kernels_without_overlap_need_no_strips():
    y = tconv.scale.conv_transpose(lazy_ones((1, 1, 40, 40), (1, 1, 10, 10)), np.ones((1, 1, 2, 2), "f"), stride=2)
    assert kinds(y.dask.layers[y.name]) == {"compute_chunk": 16, "DataNode": 1}


def test_strips_and_not_chunks_go_to_neighbours():
    y = tconv.scale.conv_transpose(lazy_ones((1, 1, 90, 90), (1, 1, 30, 30)), UP, stride=2, padding=1)
    middle = y.dask[(y.name, 0, 0, 1, 1)]
    whole_chunks = [key for key in middle.dependencies if key[0].startswith("ones")]
    assert [key[3:] for key in whole_chunks] == [(1, 1)]
    assert len(middle.dependencies) == 1 + 8 + 1
    strips = y.dask.layers[y.name]
    cut = next(task for key, task in strips.items() if key[0].startswith("conv_transpose-strips") and key[3:] == (1, 1))
    pieces = cut(
        {key: y.dask[key]() if "plan" in str(key) else np.ones((1, 1, 30, 30), "f") for key in cut.dependencies}
    )
    assert sum(piece.size for piece in pieces.values()) == 4 * 30 + 4


def test_a_slice_computes_its_own_chunks_alone():
    y = tconv.scale.conv_transpose(lazy_ones((1, 1, 90, 90), (1, 1, 30, 30)), UP, stride=2, padding=1)
    (graph,) = dask.optimize(y[:, :, 70:71, 70:71])
    found = kinds(dict(graph.dask))
    assert found["compute_chunk"] + found["_execute_subgraph"] <= 2
    assert len(dict(graph.dask)) < 25
    again = y.persist(scheduler="sync")
    np.testing.assert_array_equal(again[:, :, 5:9].compute(), y[:, :, 5:9].compute())


def test_names_depend_on_all_that_the_numbers_depend_on_and_nothing_else():
    x = lazy_ones((1, 1, 20, 20), 10)

    def name(given=x, weight=UP, **call):
        return tconv.scale.conv_transpose(given, weight, **{"stride": 2, "padding": 1, **call}).name

    assert name() == name(weight=UP.copy())
    names = [name(), name(x + 1), name(weight=2 * UP), name(padding=0), name(bias=np.ones(1, "f")), name(chunks=7)]
    assert len(set(names)) == len(names)
    y = tconv.scale.conv_transpose(x, UP, stride=2)
    assert tokenize(y) == tokenize(tconv.scale.conv_transpose(x, UP, stride=2))


def test_lazy_arrays_can_be_pickled():
    y = tconv.scale.conv_transpose(lazy_ones((1, 1, 20, 20), 10), UP, stride=2)
    other = pickle.loads(pickle.dumps(y))
    np.testing.assert_array_equal(other.compute(scheduler="sync"), y.compute(scheduler="sync"))


def test_a_process_keeps_one_object_of_a_fingerprint():
    content = pickle.dumps(Shared("0123", np.arange(1000)))
    first, second = pickle.loads(content), pickle.loads(content)
    assert first is second
    assert first.value is second.value
    assert pickle.loads(pickle.dumps(first)) is first
    content = pickle.dumps(Shared("4567", np.arange(9), outlives_tasks=False))
    kept = weakref.ref(pickle.loads(content))
    gc.collect()
    assert kept() is None


def test_one_team_of_threads_computes_at_a_time(monkeypatch):
    inside, most = [], []
    real = LayerOperator.compute

    def compute(self, *given):
        inside.append(1)
        most.append(len(inside))
        real(self, *given)
        inside.pop()

    monkeypatch.setattr(LayerOperator, "compute", compute)
    y = tconv.scale.conv_transpose(lazy_ones((1, 1, 200, 200), (1, 1, 20, 20)), UP, stride=2, padding=1)
    y.compute(scheduler="threads", num_workers=4)
    assert set(most) == {1}
    with pytest.raises(RuntimeError), thread_team():
        raise RuntimeError
    with thread_team():  # an error has released it
        pass


# -- other arrays ------------------------------------------------------------------------------------------------


def test_stores_are_read_by_the_tasks_themselves(tmp_path):
    rng = np.random.default_rng(4)
    x, weight, bias, geometry = random_call(rng, 2)
    expected = whole(x, weight, bias, geometry)
    array = zarr.create_array(str(tmp_path / "x.zarr"), data=x, chunks=(1, 2, 4, 5))
    np.save(tmp_path / "x.npy", x)
    for given in (array, np.load(tmp_path / "x.npy", mmap_mode="r")):
        y = tconv.scale.conv_transpose(given, weight, bias, geometry=geometry, chunks=(2, 3, 7, 8))
        assert set(kinds(y.dask)) == {"compute_stored_chunk", "DataNode"}
        np.testing.assert_array_equal(y.compute(scheduler="threads"), expected)
    layer = tconv.scale.layer(weight, bias, geometry=geometry)
    for path in ("x.zarr", "x.npy"):
        y = tconv.scale.apply(layer, str(tmp_path / path))
        np.testing.assert_array_equal(y.compute(scheduler="sync"), expected)
    assert tconv.scale.apply(layer, array).name == tconv.scale.apply(layer, array).name
    with pytest.raises(FileError, match="does not exist"):
        tconv.scale.apply(layer, str(tmp_path / "none.zarr"))


def test_parts_of_a_file_and_stores_in_memory_are_told_apart(tmp_path):
    x = np.random.default_rng(9).standard_normal((1, 1, 12, 6)).astype("f")
    np.save(tmp_path / "x.npy", x)
    mapped, parts = np.load(tmp_path / "x.npy", mmap_mode="r"), (x[:, :, :6], x[:, :, 6:], x[:, :, ::2])
    given = [mapped[:, :, :6], mapped[:, :, 6:], mapped[:, :, ::2]]
    given += [zarr.create_array(zarr.storage.MemoryStore(), data=part) for part in parts]
    lazy = [tconv.scale.apply(tconv.scale.layer(UP, stride=2), each) for each in given]
    for y, part in zip(dask.compute(*lazy, scheduler="sync"), 2 * parts, strict=True):
        np.testing.assert_array_equal(y, tconv.conv_transpose(part, UP, stride=2, method="simd"))


def test_arrays_of_numpy_are_cut_under_the_chunks_of_the_output():
    x = np.arange(2 * 300, dtype=np.float32).reshape(1, 1, 20, 30)
    y = tconv.scale.conv_transpose(x, UP, stride=2, padding=1, chunks=(1, 1, 20, 20))
    assert y.chunks[2:] == ((20, 20), (20, 20, 20))
    np.testing.assert_array_equal(
        y.compute(scheduler="sync"), tconv.conv_transpose(x, UP, stride=2, padding=1, method="simd")
    )


def test_a_chain_and_a_network_with_several_axes_of_images():
    rng = np.random.default_rng(6)
    layers = [tconv.scale.layer(rng.standard_normal((1, 1, 3, 3)).astype("f"), stride=s, padding=1) for s in (2, 1)]
    x = rng.standard_normal((2, 3, 9, 8)).astype("float32")
    y = tconv.scale.apply(layers, dask.array.from_array(x, chunks=(1, 2, 4, 4)), axes="tnyx")
    from tconv.scale.operators.reading import operator_of

    operator = operator_of(layers)
    expected = np.stack([[computed(operator, image[None])[0] for image in each] for each in x])
    np.testing.assert_array_equal(y.compute(scheduler="sync"), expected)


def test_more_channels_than_axes_get_an_axis():
    layer = tconv.scale.layer(np.ones((1, 3, 2, 2), "f"), stride=2)
    y = tconv.scale.apply(layer, lazy_ones((6, 8), 4))
    assert y.shape == (3, 12, 16)
    assert y.compute(scheduler="sync").shape == y.shape


def test_dataarrays_keep_their_names_attributes_and_coordinates_that_hold():
    rng = np.random.default_rng(7)
    values = rng.standard_normal((2, 1, 6, 5)).astype("float32")
    given = xarray.DataArray(
        values,
        dims=("time", "band", "lat", "lon"),
        coords={
            "time": [10, 20],
            "lat": 50 - 0.5 * np.arange(6),
            "lon": [1.0, 2, 4, 8, 16],
            "mask": (("lat",), np.ones(6)),
        },
        attrs={"units": "K"},
        name="t2m",
    )
    layer = tconv.scale.layer(UP, stride=2, padding=1)
    for data in (given, given.chunk({"lat": 3})):
        y = tconv.scale.apply(layer, data)
        assert (y.dims, y.name, y.attrs) == (given.dims, "t2m", {"units": "K"})
        assert sorted(y.coords) == ["lat", "time"]
        np.testing.assert_allclose(y.lat, 50.125 - 0.25 * np.arange(12))
        np.testing.assert_array_equal(y.values, tconv.conv_transpose(values, UP, stride=2, padding=1, method="simd"))
    assert isinstance(tconv.scale.conv_transpose(given.chunk(), UP, stride=2), xarray.DataArray)
    with pytest.raises(ArrayError, match="one DataArray is needed"):
        tconv.scale.apply(layer, given.to_dataset())


# -- refusals ----------------------------------------------------------------------------------------------------


def test_refusals():
    x = lazy_ones((1, 1, 8, 8), 4)
    unknown = dask.array.concatenate([x[0, 0].ravel()[x[0, 0].ravel() > 0]])
    with pytest.raises(ShapeError, match=r"compute_chunk_sizes\(\)"):
        tconv.scale.conv_transpose(unknown[None, None], np.ones((1, 1, 3), "f"))
    with pytest.raises(DtypeError, match="float64"):
        tconv.scale.conv_transpose(x.astype("float64"), UP)
    with pytest.raises(ShapeError, match="x has 1"):
        tconv.scale.conv_transpose(x, np.ones((2, 1, 3, 3), "f"))
    with pytest.raises(ShapeError, match="at least 1 element"):
        tconv.scale.conv_transpose(lazy_ones((1, 1, 0, 8), -1), UP)
    for chunks in (0, (1, 1, 4), {"x": 3}, (1, 1, (3, 4), 8), "three", (1, 1, 0.5, 8)):
        with pytest.raises(ArgumentError, match="which does not fit the output"):
            tconv.scale.conv_transpose(x, UP, chunks=chunks)
    with pytest.raises(ArrayError, match="an array of Dask, NumPy, Zarr or xarray"):
        tconv.scale.apply(tconv.scale.layer(UP), object())
    with pytest.raises(ShapeError, match="axes="):
        tconv.scale.apply(tconv.scale.layer(UP), lazy_ones((8, 8, 3), 4))
    with pytest.raises(DtypeError, match="activations"):
        tconv.scale.conv_transpose(x.astype("int32"), UP.astype("int32"), activation="relu")


def test_chunks_of_another_dtype_than_announced_are_refused():
    x = lazy_ones((1, 1, 8, 8), 4).map_blocks(lambda block: block.astype("float64"), dtype="float32")
    with pytest.raises(DtypeError, match="the lazy array states NumPy arrays of float32"):
        tconv.scale.conv_transpose(x, UP).compute(scheduler="sync")


def test_networks_with_means_over_the_image_take_stores(tmp_path):
    convolution = Convolution.ordinary(
        np.random.default_rng(0).standard_normal((2, 2, 3, 3)).astype("f"), np.ones(2, "f"), [(1, 1), (1, 1)]
    )
    network = Network([Node(convolution, (0,)), Node(GlobalMean(), (1,)), Node(Sum(), (1, 2))])
    x = np.random.default_rng(1).standard_normal((3, 2, 40, 30)).astype("float32")
    expected = np.stack([computed(NetworkOperator(network), image) for image in x])
    store = zarr.create_array(str(tmp_path / "x.zarr"), data=x, chunks=(1, 2, 16, 16))
    y = tconv.scale.apply(network, store, chunks=(2, 2, 17, 30))
    assert kinds(y.dask)["read_whole_image"] == 3
    np.testing.assert_array_equal(y.compute(scheduler="threads"), expected)
    with pytest.raises(ArgumentError, match="means over the whole image"):
        tconv.scale.apply(network, dask.array.from_array(x, chunks=10))
