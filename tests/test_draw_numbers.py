"""The pictures of gather, phases, overlap, padding and channels: every drawn number is the definition's."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tconv
from drawn_numbers import as_array, cut_away, drawn, geometries, meshes, of, scattered, texts, uncropped
from tconv import draw
from tconv.draw import padding_calls
from tconv.draw.output_canvas import Canvas
from tconv.draw.registry import PICTURES

K3 = np.arange(1, 10).reshape(3, 3)


def random_call(case, seed):
    """Return x, w and the geometry of a random layer of whole numbers."""
    shape, geometry = case
    rng = np.random.default_rng(seed)
    return rng.integers(-9, 10, shape), rng.integers(-9, 10, geometry.kernel), geometry


def terms_of(g, input_shape, place):
    """Return {input: tap} of an output element, by trying all pairs."""
    found = {}
    for i in np.ndindex(*input_shape):
        for t in np.ndindex(*g.kernel):
            axes = zip(i, t, g.stride, g.dilation, g.crop, place, strict=True)
            if all(s * a + d * b - lo == o for a, b, s, d, (lo, _), o in axes):
                found[i] = t
    return found


class TestGather:
    @settings(deadline=None, max_examples=12)
    @given(geometries(), st.integers(0, 2**32 - 1), st.data())
    def test_every_number_is_the_definitions(self, case, seed, data):
        x, w, g = random_call(case, seed)
        y = scattered(x, w, g)
        place = tuple(data.draw(st.integers(0, n - 1)) for n in y.shape)
        numbers = drawn(draw.gather(x, w, output=place, geometry=g))
        for name, array in (("input", x), ("kernel", w), ("output", y)):
            np.testing.assert_array_equal(as_array(numbers[name], array.shape), array)
        assert numbers.get("full", {}) == cut_away(x, w, g)
        terms = terms_of(g, x.shape, place)
        assert numbers.get("taken", {}) == {(place, i): str(x[i]) for i in terms}
        assert numbers.get("tap", {}) == {(place, t): str(w[t]) for t in terms.values()}
        assert numbers.get("product", {}) == {(place, i): str(x[i] * w[t]) for i, t in terms.items()}
        assert numbers["sum"] == {(place,): str(y[place])}

    def test_several_places_are_drawn_below_each_other(self):
        x, places = np.array([[1, 2], [3, -4]]), [(0, 0), (1, 1), (0, 1)]
        numbers = drawn(draw.gather(x, K3, output=places, stride=2, padding=1))
        y = scattered(x, K3, tconv.Geometry((3, 3), 2, 1))
        assert numbers["sum"] == {(place,): str(y[place]) for place in places}
        for place in places:
            assert of(numbers["output"], place) == texts(y)
            assert of(numbers["input"], place) == texts(x)

    @pytest.mark.parametrize(
        ("x", "w", "spec", "place"),
        [
            (np.ones((3, 3), int), K3, {"stride": 2, "padding": 1}, (1, 1)),  # the first of those near to the middle
            (np.ones(5, int), [1, 2], {}, (2,)),
            (np.ones(2, int), [1], {"stride": 3}, (0,)),  # the places between sum nothing
        ],
    )
    def test_the_usual_place_sums_the_most(self, x, w, spec, place):
        assert set(drawn(draw.gather(x, w, **spec))["sum"]) == {(place,)}

    def test_an_input_and_its_tap_have_one_colour(self):
        ax = draw.gather([[1, 2], [3, 4]], K3, output=(1, 1), stride=2, padding=1)
        given_, kernel = (mesh.get_array() for mesh in meshes(ax)[:2])
        for i, t in terms_of(tconv.Geometry((3, 3), 2, 1), (2, 2), (1, 1)).items():
            assert (given_[i] == kernel[t]).all()
        assert (kernel == 1).all(axis=2).sum() == 9 - 4

    def test_an_output_without_a_tap_says_so(self):
        ax = draw.gather([1, 2], [5], output=1, stride=2)
        assert drawn(ax)["sum"] == {((1,),): "0"}
        assert "no tap lands here:" in {text.get_text() for text in ax.texts}

    def test_the_rule_is_written(self):
        ax = draw.gather(np.ones((2, 2), int), K3, output=(0, 1), stride=(2, 1), dilation=(1, 3), padding=1)
        assert "rows: 2i + t = 1, columns: j + 3t = 2" in {text.get_text() for text in ax.texts}


class TestPhases:
    @settings(deadline=None, max_examples=12)
    @given(geometries(), st.integers(0, 2**32 - 1))
    def test_every_number_is_the_definitions(self, case, seed):
        x, w, g = random_call(case, seed)
        numbers = drawn(draw.phases(w, x=x, geometry=g))
        full, y = scattered(x, w, uncropped(g)), scattered(x, w, g)
        for name, array in (("input", x), ("kernel", w), ("output", y)):
            np.testing.assert_array_equal(as_array(numbers[name], array.shape), array)
        assert numbers.get("full", {}) == cut_away(x, w, g)
        taps = {}
        for t in np.ndindex(*w.shape):
            phase = tuple(d * b % s for d, b, s in zip(g.dilation, t, g.stride, strict=True))
            taps[phase, t] = str(w[t])
        assert numbers["tap"] == taps, "every tap is in one phase"
        parts = {}
        for o in np.ndindex(*full.shape):
            pairs = [divmod(a, s) for a, s in zip(o, g.stride, strict=True)]
            parts[tuple(r for _, r in pairs), tuple(j for j, _ in pairs)] = str(full[o])
        assert numbers["phase"] == parts, "every output is in one phase"

    def test_a_phase_is_a_convolution_with_stride_1_of_the_places_beside_its_taps(self):
        """The places are read from the picture: x at i - shift, times the tap, summed over the taps of a phase."""
        x, w = np.array([2, -1, 3, 5]), np.array([1, 10, 100, 1000, 10000])
        ax = draw.phases(w, x=x, stride=2)
        place = {text.get_position(): text.get_text() for text in ax.texts}
        numbers = drawn(ax)
        for r in range(2):
            total = {}
            for text in ax.texts:
                if (text.get_gid() or "").startswith(f"tap[{r}]"):
                    column, row = text.get_position()
                    label = next(t for (x_, y_), t in place.items() if x_ == column and 0 < row - y_ < 1 and "i" in t)
                    shift = int(label.partition("\u2212")[2] or 0)
                    for i, value in enumerate(x):
                        total[i + shift] = total.get(i + shift, 0) + value * int(text.get_text())
            assert {str(j): text for ((j,),), text in of(numbers["phase"], (r,)).items()} == {
                str(j): str(value) for j, value in total.items()
            }

    def test_a_tap_has_the_colour_of_its_outputs(self):
        ax = draw.phases(K3, stride=2)
        _, kernel, *_, output = (mesh.get_array() for mesh in meshes(ax))
        for t in np.ndindex(3, 3):
            np.testing.assert_array_equal(output[t], kernel[t])
        assert len({tuple(colour) for colour in kernel.reshape(-1, 3)}) == 4

    def test_a_phase_without_a_tap_or_without_a_place_says_so(self):
        words = [text.get_text() for text in draw.phases([1, 2], x=[1], stride=4).texts]
        assert words.count("no tap") == words.count("no place") == 2


class TestOverlap:
    @settings(deadline=None, max_examples=12)
    @given(geometries())
    def test_every_number_is_the_definitions(self, case):
        shape, g = case
        numbers = drawn(draw.overlap(g.kernel, shape, geometry=g))
        x, w = np.ones(shape, int), np.ones(g.kernel, int)
        y = scattered(x, w, g)
        np.testing.assert_array_equal(as_array(numbers["output"], y.shape), y)
        assert numbers.get("full", {}) == cut_away(x, w, g)
        assert numbers["phase"] == {(phase.offset,): str(phase.tap_count) for phase in g.phases}

    def test_phases_are_the_middle_of_a_large_output(self):
        g = tconv.Geometry((5, 3), (3, 2), 0, (2, 1))
        middle = scattered(np.ones((12, 12), int), np.ones((5, 3), int), g)[15:18, 10:12]
        phases = drawn(draw.overlap((5, 3), (2, 2), geometry=g))["phase"]
        np.testing.assert_array_equal(as_array(phases, (3, 2)), middle)

    @pytest.mark.parametrize(
        ("kernel", "spec", "verdict"),
        [
            ((4, 4), {"stride": 2, "padding": 1}, "even: 4 taps in every phase"),
            ((3, 3), {"stride": 2}, "uneven: 1 to 4 taps"),
            (2, {"stride": 3}, "uneven: 0 to 1 taps, some outputs are only bias"),
            (2, {"stride": 2}, "even: 1 tap in every phase"),
        ],
    )
    def test_the_verdict(self, kernel, spec, verdict):
        assert verdict in {text.get_text() for text in draw.overlap(kernel, 3, **spec).texts}


CALLS = [
    {"dialect": "torch", "padding": 1, "output_padding": 1},
    {"dialect": "keras", "padding": "same"},
    {"dialect": "tensorflow", "padding": "SAME", "output_shape": (6, 6)},
    {"dialect": "onnx", "auto_pad": "SAME_LOWER"},
    {"dialect": "jax", "padding": "SAME"},
    {"dialect": "ncnn", "pad_left": 1},
    {"dialect": "haiku", "padding": "VALID"},
    {"dialect": "mlx", "padding": 1},
    {"dialect": "torch", "crop": ((-1, 2), (1, -2))},
    "equinox",
]


class TestPadding:
    def test_every_number_is_the_definitions(self):
        """Each call's output is what the operator returns for it, in its dialect's own layouts and words."""
        ax = draw.padding((3, 3), (3, 3), *CALLS, stride=2)
        numbers = drawn(ax)
        x, w = np.arange(1, 10).reshape(3, 3), K3
        for number, call in enumerate(CALLS):
            native = {"dialect": call} if isinstance(call, str) else dict(call)
            name = native.pop("dialect")
            names = tconv.dialect(name).argument_names()
            stride = {"stride": 2} if "stride" in names else {"strides": (2, 2)} if "strides" in names else {}
            stride |= {"stride_w": 2, "stride_h": 2} if name == "ncnn" else {}
            g = tconv.dialect(name).geometry(kernel=(3, 3), input=(3, 3), **native, **stride)
            assert of(numbers["output"], (number,)) == texts(scattered(x, w, g))
            assert of(numbers.get("full", {}), (number,)) == cut_away(x, w, g)

    @pytest.mark.parametrize(("kernel", "shape", "stride"), [(3, (4,), 2), ((4, 3), (2, 3), (2, 3)), (2, (2, 1, 2), 2)])
    def test_the_usual_calls(self, kernel, shape, stride):
        ax = draw.padding(kernel, shape, stride=stride)
        calls = padding_calls.usual(
            tconv.Geometry((kernel,) * len(shape) if isinstance(kernel, int) else kernel, stride), shape
        )
        assert len(calls) >= 5
        x, numbers = np.arange(1, math.prod(shape) + 1).reshape(shape), drawn(ax)
        for number, call in enumerate(calls):
            w = np.arange(1, math.prod(call.geometry.kernel) + 1).reshape(call.geometry.kernel)
            assert of(numbers["output"], (number,)) == texts(scattered(x, w, call.geometry))

    def test_the_full_results_are_aligned_and_equal_crops_have_one_colour(self):
        ax = draw.padding(3, 4, {"padding": 1}, {"crop": ((-2, 0),)}, {"dialect": "keras", "padding": "same"}, stride=2)
        lefts = [mesh.get_datalim(ax.transData).x0 for mesh in meshes(ax)]
        cell = (lefts[0] - lefts[1]) / 2
        assert cell > 0
        assert lefts[0] == lefts[2]
        ax = draw.padding(
            3, 4, {"dialect": "keras", "padding": "same"}, {"dialect": "jax", "padding": "SAME"}, {}, stride=2
        )
        one, same, other = (mesh.get_array()[0, 1] for mesh in meshes(ax))
        np.testing.assert_array_equal(one, same)
        assert (one != other).any()

    def test_a_call_is_written_as_it_was_given(self):
        words = [text.get_text() for text in draw.padding(3, 4, *CALLS[:2], stride=2).texts]
        assert {"PyTorch", "padding=1, output_padding=1", "Keras", "padding='same'"} <= set(words)
        assert {"removes 1 in front, 0 behind", "removes 0 in front, 1 behind", "OUTPUT 8"} <= set(words)


class TestChannels:
    @pytest.mark.parametrize("kernel", [(2,), (2, 3), (2, 1, 2)])
    @pytest.mark.parametrize(("c_in", "per_group", "groups"), [(3, 2, 1), (4, 1, 2), (3, 1, 3)])
    def test_a_kernel_is_the_answer_to_one_element_of_its_channel(self, kernel, c_in, per_group, groups):
        w = np.random.default_rng(0).integers(-9, 10, (c_in, per_group, *kernel))
        numbers = drawn(draw.channels(w, groups=groups))["kernel"]
        expected = {}
        for c in range(c_in):
            x = np.zeros((1, c_in, *[1] * len(kernel)), int)
            x[0, c] = 1
            y = tconv.definition.scatter(x, w, groups=groups)[0]
            group = c * groups // c_in
            for o in range(len(y)):
                if o // per_group == group:
                    expected |= {((c, o), t): str(y[o][t]) for t in np.ndindex(*kernel)}
                else:
                    assert not y[o].any()
        assert numbers == expected

    def test_sizes_alone_are_drawn_without_numbers(self):
        ax = draw.channels((6, 4), groups=2)
        assert drawn(ax) == {}
        assert len(meshes(ax)) == 12
        assert "groups=2: 12 of 24 pairs have a kernel" in {text.get_text() for text in ax.texts}


def test_the_registry_draws_every_picture():
    x, w = np.array([[1, 2], [3, -4]]), K3
    g = tconv.Geometry((3, 3), 2, 1)
    for name, picture in PICTURES.items():
        assert picture.function is getattr(draw, name)
        ax = picture.draw(x, w, g, theme="dark")
        numbers = drawn(ax)
        if name in ("scatter", "gather", "phases"):
            assert numbers["kernel"] == texts(w)
        if name not in ("channels", "padding"):
            assert (
                (math.prod(g.output_shape((2, 2))) == len(numbers["output"])) if "output" in numbers else numbers["K"]
            )
    assert drawn(PICTURES["gather"].draw(x, w, g, output=(0, 0)))["sum"] == {((0, 0),): "5"}
    assert len(meshes(PICTURES["padding"].draw(x, w, g, calls=[{"padding": 1}]))) == 1
    weight = np.ones((2, 1, 3), int)
    assert len(drawn(PICTURES["channels"].draw(x, w, tconv.Geometry(3, groups=2), weight=weight))["kernel"]) == 6


@settings(deadline=None, max_examples=30)
@given(geometries())
def test_every_cell_that_is_cut_away_is_hatched_once(case):
    shape, g = case
    canvas = Canvas(g, shape)
    hatched = np.zeros(canvas.shape, int)
    for box in canvas.cut:
        hatched[box] += 1
    hatched[canvas.output] += 1
    assert (hatched == 1).all()
