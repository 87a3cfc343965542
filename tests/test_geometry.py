"""Sizes, phases, windows and costs against brute force over positions."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tconv
from random_calls.strategies import geometries, shaped
from tconv import Geometry
from tconv.errors import GeometryError, ShapeError


def products(g, n):
    """Yield (input index, tap, output index) of all products of a transposed convolution, cropped ones included."""
    for i, t in product(np.ndindex(*n), np.ndindex(*g.kernel)):
        yield (
            i,
            t,
            tuple(s * a + d * b - lo for a, b, s, d, (lo, _) in zip(i, t, g.stride, g.dilation, g.crop, strict=True)),
        )


def inside(o, shape):
    return all(0 <= a < size for a, size in zip(o, shape, strict=True))


@given(shaped(ndims=(1, 2)))
def test_sizes(drawn):
    g, n = drawn
    y = tconv.definition.scatter(np.ones((1, g.groups, *n)), np.ones((g.groups, 1, *g.kernel)), geometry=g)
    assert g.output_shape(n) == y.shape[2:]
    assert g.input_shape(g.output_shape(n)) == n
    assert g.conv_shape(g.output_shape(n)) == n
    assert g.full_shape(n) == tuple(L + lo + hi for L, (lo, hi) in zip(g.output_shape(n), g.crop, strict=True))


@given(geometries(ndims=(1,)), st.integers(1, 12))
def test_input_shape_is_none_exactly_where_no_input_fits(g, size):
    fitting = []
    for n in range(1, 40):
        try:
            if g.output_shape(n) == (size,):
                fitting.append((n,))
        except ShapeError:
            continue
    assert g.input_shape(size) == (fitting[0] if fitting else None)


@given(geometries(ndims=(1, 2)))
def test_phases_contain_every_tap_once(g):
    assert len(g.phases) == np.prod(g.stride)
    seen = []
    for phase in g.phases:
        for taps in product(*phase.taps):
            seen.append(taps)
            place = tuple(d * t for d, t in zip(g.dilation, taps, strict=True))
            shifts = [
                row[taps_of_axis.index(t)] for row, taps_of_axis, t in zip(phase.shifts, phase.taps, taps, strict=True)
            ]
            assert place == tuple(s * q + r for s, q, r in zip(g.stride, shifts, phase.offset, strict=True))
        counts = [row[r] for row, r in zip(g.overlap, phase.offset, strict=True)]
        assert phase.tap_count == np.prod(counts)
    assert sorted(seen) == list(np.ndindex(*g.kernel))


@given(shaped(ndims=(1, 2), largest=6), st.data())
def test_windows_are_the_smallest(drawn, data):
    g, n = drawn
    L = g.output_shape(n)

    def part(shape):
        return [slice(a := data.draw(st.integers(-2, size)), data.draw(st.integers(a, size + 2))) for size in shape]

    def hull(points):
        return (min(points), max(points) + 1) if points else (0, 0)

    outputs, inputs = part(L), part(n)
    from_outputs, from_inputs = g.input_window(outputs, n), g.output_window(inputs, n)
    for axis in range(g.ndim):  # axes are independent of each other
        line = Geometry(g.kernel[axis], g.stride[axis], [g.crop[axis]], g.dilation[axis])
        pairs = [(i[0], o[0]) for i, _, o in products(line, n[axis : axis + 1]) if inside(o, L[axis : axis + 1])]
        window = from_outputs[axis]
        assert (window.start, window.stop) == hull(
            [i for i, o in pairs if o in range(outputs[axis].start, outputs[axis].stop)]
        )
        window = from_inputs[axis]
        assert (window.start, window.stop) == hull(
            [o for i, o in pairs if i in range(inputs[axis].start, inputs[axis].stop)]
        )


@given(shaped(ndims=(1, 2), largest=6), st.data())
def test_a_window_of_the_input_gives_that_part_of_the_output(drawn, data):
    g, n = drawn
    L = g.output_shape(n)
    part = tuple(slice(a := data.draw(st.integers(0, size - 1)), data.draw(st.integers(a + 1, size))) for size in L)
    window = g.input_window(part, n)
    rng = np.random.default_rng(0)
    x, w = rng.integers(-9, 10, (1, g.groups, *n)), rng.integers(-9, 10, (g.groups, 2, *g.kernel))
    y = tconv.conv_transpose(x, w, geometry=g)[(..., *part)]
    if any(needed.stop == 0 for needed in window):
        assert not y.any()
        return
    crop = []
    for needed, wanted, s, e, (lo, _) in zip(window, part, g.stride, g.extent, g.crop, strict=True):
        front = wanted.start + lo - s * needed.start
        crop.append((front, s * (needed.stop - needed.start - 1) + e - front - (wanted.stop - wanted.start)))
    tile = Geometry(g.kernel, g.stride, crop, g.dilation, g.groups)
    np.testing.assert_array_equal(tconv.conv_transpose(x[(..., *window)], w, geometry=tile), y)


def test_endless_windows():
    g = Geometry(kernel=4, stride=2, crop=1)
    assert g.input_window([slice(4, 6)]) == (slice(1, 4),)
    assert g.input_window([slice(0, 1)]) == (slice(-1, 1),)
    assert g.output_window([slice(2, 3)]) == (slice(3, 7),)
    assert Geometry(kernel=1, stride=4).input_window([slice(1, 3)], 5) == (slice(0, 0),)


@given(shaped(ndims=(1, 2)), st.integers(1, 3), st.integers(1, 3), st.integers(0, 2))
def test_macs(drawn, a, b, batch):
    g, n = drawn
    c_in, c_out = a * g.groups, b * g.groups
    count = sum(inside(o, g.output_shape(n)) for _, _, o in products(g, n))
    macs = g.macs(n, c_in, c_out, batch)
    assert macs.exact == batch * c_in * b * count
    assert macs.border_free == batch * c_in * b * np.prod(n) * np.prod(g.kernel)


@given(geometries(ndims=(1,)))
def test_receptive_field(g):
    n = (40,)
    uncropped = Geometry(g.kernel, g.stride, 0, g.dilation)
    reach = {}
    for i, _, o in products(uncropped, n):
        reach.setdefault(o, []).append(i[0])
    assert g.receptive_field == (max(max(inputs) - min(inputs) + 1 for inputs in reach.values()),)


def test_sizes_of_any_magnitude_are_counted_at_once():
    """With k a multiple of s*d the counts have a plain form."""
    k, n = 6 * 10**14, 10**15
    g = Geometry((k,), 3, 0, 2)
    assert g.overlap == ((k // 3,) * 3,)
    assert g.receptive_field == (2 * (k // 3 - 1) + 1,)
    assert g.macs((n,)).exact == n * k
    cut = Geometry((n,), 1, [(0, 2 * n - 1 - n // 2)])  # what is left is a triangle: i + t < n//2
    assert cut.macs((n,)).exact == n // 2 * (n // 2 + 1) // 2


def test_nothing_overflows():
    g = Geometry(kernel=(3,), stride=2**40)
    assert g.full_shape(2**40) == (2**40 * (2**40 - 1) + 3,)
    assert g.macs(2**62, 2**20, 2**20).exact == 3 * 2**102
    assert Geometry(3).macs(4, np.int32(2**16), np.int32(2**16)).border_free == 12 * 2**32


def test_one_spec_one_value():
    a, b = Geometry(kernel=[3, 3], stride=2, crop=1), Geometry((3, np.int64(3)), (2, 2), ((1, 1), (1, 1)), 1, 1)
    assert a == b
    assert hash(a) == hash(b)
    assert {a: 1}[b] == 1
    with pytest.raises(AttributeError):
        a.stride = (1, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kernel": ()}, r"kernel is \(\), without a spatial axis; at least one is needed\. Write kernel=\(3, 3\)"),
        (
            {"kernel": (3, 0)},
            r"kernel is \(3, 0\); every entry must be at least 1\. Write kernel=\(3, 1\), for example",
        ),
        ({"kernel": 3, "stride": 0}, r"stride is 0; it must be at least 1"),
        ({"kernel": 3, "stride": 1.5}, r"stride is 1\.5; an integer is needed\. Write stride=2"),
        (
            {"kernel": (3, 3, 3), "stride": (2, 1.5, 1)},
            r"stride is \(2, 1\.5, 1\); every entry must be an integer\. Write stride=\(2, 2, 1\), for example",
        ),
        (
            {"kernel": (3, 3), "dilation": np.ones((500, 500))},
            r"dilation is \(array.{0,95}\.\.\., which has 500 entries; there are 2 spatial axes",
        ),
        ({"kernel": 3, "stride": (n for n in [2])}, r"stride is <generator .*>; an integer is needed\. Write stride=2"),
        ({"kernel": 3, "stride": True}, r"stride is True; an integer is needed"),
        ({"kernel": 3, "stride": "2"}, r"stride is '2'; an integer is needed"),
        (
            {"kernel": (3, 3), "stride": (1, 2, 3)},
            r"stride is \(1, 2, 3\), which has 3 entries; there are 2 spatial axes\. Write one integer for all axes, or \(1, 1\)",
        ),
        (
            {"kernel": (3, 3), "crop": (1, 2, 3)},
            r"crop is \(1, 2, 3\), which has 3 entries; there are 2 spatial axes\. Write crop=\(\(1, 1\), \(1, 1\)\): one",
        ),
        (
            {"kernel": (3, 3), "crop": [(1, 2, 3), 1]},
            r"crop contains \(1, 2, 3\); one \(lo, hi\) pair of integers per spatial axis is needed\. Write crop=\(\(1, 1\), \(1, 1\)\)",
        ),
        ({"kernel": 3, "crop": 0.5}, r"crop is 0\.5; an integer is needed\. Write crop=1, for example"),
        ({"kernel": 3, "dilation": -1}, r"dilation is -1; it must be at least 1"),
        ({"kernel": 3, "groups": 0}, r"groups is 0; it must be at least 1"),
        ({"kernel": 3, "groups": 1.5}, r"groups is 1\.5; an integer is needed\. Write groups=1, for example"),
    ],
)
def test_invalid_geometries_are_refused(arguments, message):
    with pytest.raises(GeometryError, match=message):
        Geometry(**arguments)


def test_invalid_shapes_are_refused():
    g = Geometry(kernel=(3, 3), stride=2, crop=3)
    with pytest.raises(
        ShapeError,
        match=r"the output would be \(-3, 11\): spatial axis 0 has 3 elements and the crop \(3, 3\) removes all of them; at least "
        r"one must remain\. Use a smaller crop \(padding\)$",
    ):
        g.output_shape((1, 8))
    with pytest.raises(
        ShapeError, match=r"the input has spatial shape \(0, 4\); every axis needs at least 1 element\. Use"
    ):
        g.output_shape((0, 4))
    with pytest.raises(
        ShapeError,
        match=r"the convolution of \(1,\) would be \(-3,\): on spatial axis 0 the kernel spans 5 elements, but there are only "
        r"1\. Use a larger array or a smaller kernel$",
    ):
        Geometry(kernel=5).conv_shape(1)
    with pytest.raises(GeometryError, match=r"input_shape is \(8, 1\.5\); .* Write input_shape=\(8, 8\), for example"):
        g.output_shape((8, 1.5))
    with pytest.raises(GeometryError, match=r"output_shape is \(8,\), .* Write output_shape=\(8, 8\)"):
        g.conv_shape((8,))
    with pytest.raises(GeometryError, match=r"the stop of the output window's slice is 1\.5; .* Write slice\(0, 16\)"):
        g.input_window([slice(0, 1.5), slice(0, 1)])
    with pytest.raises(ShapeError, match=r"the output window contains 5; a slice"):
        g.input_window(5)
    with pytest.raises(
        ShapeError, match=r"the output window has 1 slices; there are 2 spatial axes\. Use one slice per axis$"
    ):
        g.input_window([slice(0, 1)])
    with pytest.raises(ShapeError, match=r"a slice with start, stop and step 1 is needed"):
        g.input_window([slice(0, 4, 2), slice(0, 1)])
    with pytest.raises(GeometryError, match=r"in_channels is 3, which 2 groups do not divide\. Use a multiple of 2$"):
        Geometry(kernel=3, groups=2).macs(4, 3, 2)
