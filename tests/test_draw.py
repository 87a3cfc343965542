"""The pictures: every drawn number is the definition's and can be read."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

import tconv
from drawn_numbers import as_array, assert_nothing_overlaps, cut_away, drawn, geometries, meshes, scattered
from tconv import _textbook_arguments, definition, draw
from tconv.draw.registry import PICTURES as PICTURES_OF_LAYERS
from tconv.errors import (
    ArgumentError,
    ArrayError,
    DtypeError,
    GeometryError,
    MissingExtraError,
    ShapeError,
    TconvError,
)

X = K = [[0, 1], [2, 3]]
K3 = np.arange(1, 10).reshape(3, 3)


def check_scatter(x, w, **spec):
    """Compare every drawn number with the definition, exactly: the data are small integers."""
    numbers = drawn(draw.scatter(x, w, **spec))
    g = _textbook_arguments.geometry_of(w.shape, spec)
    np.testing.assert_array_equal(as_array(numbers["input"], x.shape), x)
    np.testing.assert_array_equal(as_array(numbers["kernel"], w.shape), w)
    y = scattered(x, w, g)
    np.testing.assert_array_equal(as_array(numbers["output"], y.shape), y)

    painted = {}
    for i in np.ndindex(*x.shape):
        for t in np.ndindex(*w.shape):
            place = tuple(s * a + d * b for s, a, d, b in zip(g.stride, i, g.dilation, t, strict=True))
            painted[i, place] = str(x[i] * w[t])
    assert numbers["painted"] == painted

    # only the numbers that are cut away are drawn as parts of the full result
    assert numbers.get("full", {}) == cut_away(x, w, g)


class TestScatter:
    @pytest.mark.parametrize(
        ("stride", "output"),
        [(1, [[0, 0, 1], [0, 4, 6], [4, 12, 9]]), (2, [[0, 0, 0, 1], [0, 0, 2, 3], [0, 2, 0, 3], [4, 6, 6, 9]])],
    )
    def test_the_textbooks_figures(self, stride, output):
        numbers = drawn(draw.scatter(X, K, stride=stride))
        np.testing.assert_array_equal(as_array(numbers["output"], np.shape(output)), output)
        # an element paints zeros too, and leaves everything else blank
        first = {place: text for (element, place), text in numbers["painted"].items() if element == (0, 0)}
        assert first == dict.fromkeys([(0, 0), (0, 1), (1, 0), (1, 1)], "0")
        last = [text for (element, _), text in numbers["painted"].items() if element == (1, 1)]
        assert last == ["0", "3", "6", "9"]

    def test_padding_cuts_the_textbooks_figure_to_its_middle(self):
        numbers = drawn(draw.scatter(X, K, padding=1))
        assert numbers["output"] == {((0, 0),): "4"}
        assert len(numbers["full"]) == 8
        assert numbers["full"][((2, 1),)] == "12"

    @settings(deadline=None, max_examples=25)
    @given(geometries(), st.integers(0, 2**32 - 1))
    def test_every_number_is_the_definitions(self, case, seed):
        shape, geometry = case
        rng = np.random.default_rng(seed)
        check_scatter(rng.integers(-9, 10, shape), rng.integers(-9, 10, geometry.kernel), geometry=geometry)

    @pytest.mark.parametrize(
        "spec",
        [
            {"stride": 2, "padding": 1},
            {"stride": (2, 1), "dilation": (1, 2), "padding": (1, 0)},
            {"stride": 3, "padding": 1, "output_padding": 2},
            {"crop": ((-1, 2), (3, -2))},
            {"crop": ((7, -4), (0, 0))},  # only rows beyond the full result remain
        ],
    )
    def test_every_argument_of_the_definition(self, spec):
        check_scatter(np.arange(6).reshape(2, 3) - 2, K3, **spec)

    def test_cells_have_the_colours_of_their_elements(self):
        ax = draw.scatter([[1, 2], [3, 4]], np.ones((3, 3), int), stride=2)
        given_, kernel, *painted, output = (mesh.get_array() for mesh in meshes(ax))
        assert len({tuple(colour) for colour in given_.reshape(4, 3)}) == 4
        assert (kernel == 1).all()
        for at, grid in enumerate(painted):
            element = divmod(at, 2)
            place = tuple(slice(2 * i, 2 * i + 3) for i in element)
            assert (grid[place] == given_[element]).all()
            assert (grid == 1).all(axis=2).sum() == 25 - 9
        np.testing.assert_array_equal(output[0, 0], given_[0, 0])
        np.testing.assert_array_equal(output[4, 0], given_[1, 0])
        assert len(set(output[0, 2])) == 1, "a sum is grey"
        assert output[2, 2, 0] < output[0, 2, 0] < 1, "and the darker, the more are summed"

    def test_a_cell_that_no_element_reaches_is_white(self):
        ax = draw.scatter([1, 2], [5], stride=2)
        assert drawn(ax)["output"] == {((0,),): "5", ((1,),): "0", ((2,),): "10"}
        np.testing.assert_array_equal(meshes(ax)[-1].get_array()[0, 1], [1, 1, 1])

    def test_the_output_is_framed_and_cropped_cells_are_hatched(self):
        ax = draw.scatter([1, 2, 3], [1, 1], crop=((1, -1),))
        hatched = [patch for patch in ax.patches if patch.get_hatch()]
        assert len(hatched) == len(drawn(ax)["full"]) == 1
        boldest = max(ax.patches, key=lambda patch: patch.get_linewidth())
        assert (boldest.get_width(), boldest.get_height()) == (4, 1)
        assert boldest.get_x() == hatched[0].get_x() + 1


class TestMatrix:
    def test_the_textbooks_matrix(self):
        numbers = drawn(draw.matrix([[1, 2], [3, 4]], (2, 2)))
        expected = [
            [1, 2, 0, 3, 4, 0, 0, 0, 0],
            [0, 1, 2, 0, 3, 4, 0, 0, 0],
            [0, 0, 0, 1, 2, 0, 3, 4, 0],
            [0, 0, 0, 0, 1, 2, 0, 3, 4],
        ]
        np.testing.assert_array_equal(as_array(numbers["K"], (4, 9)), expected)
        np.testing.assert_array_equal(as_array(numbers["K.T"], (9, 4)), np.transpose(expected))

    @settings(deadline=None, max_examples=15)
    @given(geometries(most_axes=2), st.integers(0, 2**32 - 1))
    def test_every_number_is_the_definitions(self, case, seed):
        shape, geometry = case
        w = np.random.default_rng(seed).integers(-9, 10, geometry.kernel)
        ax = Figure(figsize=(60, 60)).add_axes((0, 0, 1, 1))  # large enough for the numbers of the largest of these
        numbers = drawn(draw.matrix(w, shape, geometry=geometry, ax=ax))
        dense = definition.dense(w[None, None, None], geometry, shape)[0, 0, 0]
        np.testing.assert_array_equal(as_array(numbers["kernel"], w.shape), w)
        np.testing.assert_array_equal(as_array(numbers["K"], dense.shape), dense)
        np.testing.assert_array_equal(as_array(numbers["K.T"], dense.T.shape), dense.T)

    def test_the_sparse_matrix_is_the_same(self):
        numbers = drawn(draw.matrix(K3, 3, stride=2, padding=1))
        sparse = tconv.matrix(K3, (3, 3), stride=2, padding=1).toarray()
        np.testing.assert_array_equal(as_array(numbers["K"], sparse.shape), sparse)

    def test_a_tap_has_one_colour_everywhere(self):
        w = [[1, 2, 3], [4, 0, 6]]  # a tap of weight 0 is a tap
        kernel, K_, KT = (mesh.get_array() for mesh in meshes(draw.matrix(w, (2, 2), stride=2)))
        dense = definition.dense(np.array(w)[None, None, None], tconv.Geometry((2, 3), 2), (2, 2))[0, 0, 0]
        np.testing.assert_array_equal(K_, KT.transpose(1, 0, 2))
        for value, colour in zip(np.ravel(w), kernel.reshape(-1, 3), strict=True):
            if value:
                assert (K_[dense == value] == colour).all()
        assert (K_ != 1).any(axis=2).sum() == 4 * 6

    def test_labels_name_the_rows_and_columns(self):
        labels = [text.get_text() for text in draw.matrix([1, 2], 2).texts if text.get_gid() is None]
        assert labels == [
            *["KERNEL", "2"],
            *["x[0]", "x[1]", "y[0]", "y[1]", "y[2]", "K", "INPUT \u00d7 OUTPUT"],
            *["y[0]", "y[1]", "y[2]", "x[0]", "x[1]", "K.T", "OUTPUT \u00d7 INPUT"],
        ]

    def test_lines_separate_the_rows_of_the_images(self):
        ax = draw.matrix(np.ones((2, 2), int), (2, 3))  # K is 6 x 12: inputs in rows of 3, outputs in rows of 4
        assert len(ax.lines) == 2 * (1 + 2)
        assert len(draw.matrix([1, 2], 5).lines) == 0

    def test_a_large_matrix_has_colours_only(self):
        ax = draw.matrix(np.ones((4, 4)), (8, 8), stride=2, padding=1)
        assert set(drawn(ax)) == {"kernel"}
        assert {"64 INPUTS", "256 OUTPUTS"} <= {text.get_text() for text in ax.texts}
        assert [mesh.get_array().shape[:2] for mesh in meshes(ax)] == [(4, 4), (64, 256), (256, 64)]

    def test_small_axes_have_colours_only(self):
        ax = Figure(figsize=(1.5, 1)).add_subplot()
        assert drawn(draw.matrix([[1, 2], [3, 4]], (2, 2), ax=ax)) == {}


PICTURES = {
    "stride 1": lambda **ax: draw.scatter(X, K, **ax),
    "stride 2": lambda **ax: draw.scatter(X, K, stride=2, **ax),
    "3 x 3, cropped": lambda **ax: draw.scatter(K3, K3, stride=2, padding=1, **ax),
    "dilated": lambda **ax: draw.scatter(X, K, dilation=2, **ax),
    "1-D": lambda **ax: draw.scatter([1.5, 2, 1 / 3], [1, -1e9, 1e-9], stride=2, crop=((1, -1),), **ax),
    "narrow": lambda **ax: draw.scatter([[1], [2]], [[1], [2]], **ax),
    "one": lambda **ax: draw.scatter([[1]], [[1]], **ax),
    "complex": lambda **ax: draw.scatter([1 - 2j, 1j / 3], [1, 2], **ax),
    "the largest": lambda **ax: draw.scatter(np.full((6, 6), 99), K3, **ax),
    "4 x 9": lambda **ax: draw.matrix([[1, 2], [3, 4]], (2, 2), **ax),
    "9 x 25": lambda **ax: draw.matrix(K3 / 3, (3, 3), stride=2, padding=1, **ax),
    "long labels": lambda **ax: draw.matrix(np.ones((1, 12), int), (1, 4), **ax),
    "1-D matrix": lambda **ax: draw.matrix([1, 2, -1], 12, stride=2, **ax),
    "64 x 256": lambda **ax: draw.matrix(np.ones((4, 4)), (8, 8), stride=2, padding=1, **ax),
    "1 x 1": lambda **ax: draw.matrix([[1]], (1, 1), **ax),
    "volume": lambda **ax: draw.scatter(
        np.ones((2, 1, 2), int), np.ones((2, 2, 1), int), stride=2, padding=(1, 0, 0), **ax
    ),
    "volume's matrix": lambda **ax: draw.matrix(np.ones((2, 1, 2), int), (2, 2, 1), **ax),
}


class TestLayout:
    @pytest.mark.parametrize("name", PICTURES)
    def test_nothing_overlaps_and_nothing_leaves_the_picture(self, name):
        ax = PICTURES[name]()
        assert_nothing_overlaps(ax)

    def test_the_layout_follows_the_input(self):
        def rows(ax):
            return len({mesh.get_datalim(ax.transData).y0 for mesh in meshes(ax)[2:-1]})

        assert rows(draw.scatter(X, K)) == 1
        assert rows(draw.scatter(np.ones((3, 3)), np.ones((3, 3)))) == 3
        assert rows(draw.scatter([1, 2, 3, 4], [1, 2])) == 4, "1-D: a column addition"
        assert rows(draw.scatter(np.ones((1, 12)), np.ones((1, 3)), stride=2)) == 12

    def test_numbers_are_sized_for_the_axes(self):
        small, large = (Figure(figsize=(width, width)).add_axes((0, 0, 1, 1)) for width in (5, 10))
        sizes = [draw.scatter(X, K, ax=ax).texts[0].get_fontsize() for ax in (small, large)]
        assert sizes[1] == pytest.approx(2 * sizes[0])

    def test_a_layout_engine_runs_before_the_numbers_are_sized(self):
        ax = Figure(figsize=(10, 6), layout="constrained").subplots(2)[1]
        assert set(drawn(draw.matrix(K, 2, ax=ax))) == {"kernel", "K", "K.T"}

    def test_numbers_are_sized_for_a_subfigure(self):
        parts = Figure(figsize=(20, 10)).subfigures(1, 2)
        sizes = [draw.scatter(X, K, ax=figure.add_axes((0, 0, 1, 1))).texts[0].get_fontsize() for figure in parts]
        whole = draw.scatter(X, K, ax=Figure(figsize=(10, 10)).add_axes((0, 0, 1, 1)))
        assert sizes == pytest.approx([whole.texts[0].get_fontsize()] * 2)


class TestNumbers:
    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (3, "3"),
            (-12, "-12"),
            (999999, "999999"),
            (12345678, "1.23e7"),
            (2.0, "2"),
            (-0.0, "0"),
            (1 / 3, "0.333"),
            (-1.5e-9, "-1.5e-9"),
            (np.float32(0.1), "0.1"),
            (np.iinfo(np.int64).min, "-9.22e18"),
            (float("nan"), "nan"),
            (float("-inf"), "-inf"),
            (1 - 2j, "1-2j"),
            (0.5 + 1j / 3, "0.5+0.333j"),
        ],
    )
    def test_are_short(self, value, text):
        assert drawn(draw.scatter([value], [1]))["output"] == {((0,),): text}

    def test_integers_and_floats_are_combined(self):
        assert drawn(draw.scatter([1, 2], [0.5, 0.25]))["output"] == {((0,),): "0.5", ((1,),): "1.25", ((2,),): "0.5"}


class TestAxes:
    @pytest.mark.parametrize("name", ["stride 1", "4 x 9"])
    def test_the_given_axes_are_returned(self, name):
        ax = Figure().subplots()
        assert PICTURES[name](ax=ax) is ax

    @pytest.mark.parametrize("name", ["stride 2", "4 x 9"])
    def test_without_axes_a_figure_is_made_that_can_be_saved(self, name, tmp_path):
        import matplotlib.pyplot as plt

        before = plt.get_fignums()
        ax = PICTURES[name]()
        for suffix in ("png", "svg", "pdf"):
            ax.figure.savefig(tmp_path / f"picture.{suffix}")
            assert (tmp_path / f"picture.{suffix}").stat().st_size > 1000
        assert plt.get_fignums() == before

    def test_other_libraries(self):
        torch = pytest.importorskip("torch")
        numbers = drawn(draw.scatter(torch.tensor(X), torch.tensor(K)))
        assert numbers == drawn(draw.scatter(X, K))
        half = torch.tensor(K, dtype=torch.bfloat16)
        assert drawn(draw.scatter(torch.tensor(X), half)) == numbers


class TestRefusals:
    @pytest.mark.parametrize(
        ("error", "call", "message"),
        [
            (
                ShapeError,
                lambda: draw.scatter(np.ones((1, 1, 2, 2)), K),
                "x has shape (1, 1, 2, 2); a bare array of 1, 2 or 3 axes is needed, without batch and channels. "
                "Write x[0, 0], one channel of one image",
            ),
            (
                ShapeError,
                lambda: draw.matrix(np.float64(3), 2),
                "w has shape (); a bare array of 1, 2 or 3 axes is needed, without batch and channels. Write [w]",
            ),
            (
                ShapeError,
                lambda: draw.scatter([1, 2], K),
                "x has shape (2,) and w has shape (2, 2); both must have the same number of axes. "
                "Write x[None], which adds axes of one element",
            ),
            (
                ShapeError,
                lambda: draw.scatter(np.ones((8, 8)), np.ones((3, 3))),
                "x has shape (8, 8), and each of its 64 elements would be drawn on a grid of (10, 10); the numbers can "
                "be read up to 80 cells across the whole picture. Write a part of it, x[:6, :6], or "
                "tconv.draw.matrix(w, (8, 8)), which needs no numbers",
            ),
            (
                ShapeError,
                lambda: draw.scatter(np.ones((1000, 1000)), K, stride=2),
                "x has shape (1000, 1000), and each of its 1000000 elements would be drawn on a grid of (2000, 2000); "
                "the numbers can be read up to 80 cells across the whole picture. Write a part of it, x[:5, :5]",
            ),
            (
                ShapeError,
                lambda: draw.scatter(X, np.ones((99, 99))),
                "x has shape (2, 2), and each of its 4 elements would be drawn on a grid of (100, 100); the numbers "
                "can be read up to 80 cells across the whole picture. Write a smaller kernel, stride, "
                "dilation or negative crop",
            ),
            (
                ShapeError,
                lambda: draw.matrix(K, (20, 20)),
                "K would have 400 rows and 441 columns; up to 512 of both together are drawn. Write a smaller "
                "input_shape, whose K has the same bands, or tconv.matrix(w, (20, 20)) for the numbers",
            ),
            (
                ShapeError,
                lambda: draw.scatter(np.ones((0, 2)), K),
                "the input has spatial shape (0, 2); every axis needs at least 1 element. "
                "Use an array without empty spatial axes",
            ),
            (
                ShapeError,
                lambda: draw.scatter(X, K, padding=2),
                "the output would be (-1, -1): spatial axis 0 has 3 elements and the crop (2, 2) removes all of "
                "them; at least one must remain. Use a smaller crop (padding)",
            ),
            (
                GeometryError,
                lambda: draw.matrix(K, (1, 2, 2)),
                "input_shape is (1, 2, 2), which has 3 entries; there are 2 spatial axes. "
                "Write one integer for all axes, or (1, 1)",
            ),
            (
                GeometryError,
                lambda: draw.scatter(X, K, stride=0),
                "stride is 0; it must be at least 1. Write stride=1, for example",
            ),
            (
                GeometryError,
                lambda: draw.scatter(X, K, geometry=tconv.Geometry((3, 3))),
                "geometry has kernel (3, 3) and 1 groups; the kernel given is (2, 2), of one channel. "
                "Write tconv.Geometry(kernel=(2, 2), ...)",
            ),
            (
                ArgumentError,
                lambda: draw.scatter(X, K, groups=2),
                "groups= was given; the arguments are stride, padding, output_padding, dilation, crop and geometry. "
                "Write the call without groups=",
            ),
            (
                ArgumentError,
                lambda: draw.scatter(X, K, geometry=tconv.Geometry((2, 2)), stride=2),
                "geometry= was given together with stride=, which it contains already. Write geometry= alone",
            ),
            (
                ArgumentError,
                lambda: draw.matrix(K, 2, geometry=2),
                "geometry is 2; a tconv.Geometry is needed. Write geometry=tconv.Geometry(kernel=(2, 2), stride=2)",
            ),
            (
                ArgumentError,
                lambda: draw.scatter(X, K, ax=Figure()),
                "ax is matplotlib.figure.Figure; a flat Axes of matplotlib is needed. "
                "Write ax=matplotlib.pyplot.figure().add_subplot(), or leave ax out",
            ),
            (
                ArgumentError,
                lambda: draw.matrix(K, 2, ax=Figure().add_subplot(projection="polar")),
                "ax is matplotlib.projections.polar.PolarAxes; a flat Axes of matplotlib is needed. "
                "Write ax=matplotlib.pyplot.figure().add_subplot(), or leave ax out",
            ),
            (
                ArrayError,
                lambda: draw.scatter(X, None),
                "w is a builtins.NoneType; arrays of NumPy, PyTorch, TensorFlow and JAX are taken. "
                "Write an array of numbers, such as numpy.ones((2, 3, 4, 4), numpy.float32)",
            ),
            (
                DtypeError,
                lambda: draw.scatter(np.ones((2, 2), bool), K),
                "x has dtype bool; numbers are needed, and integers must fit int64. Write np.asarray(x, np.int64)",
            ),
            (
                ArrayError,
                lambda: draw.scatter("X", K),
                "x is a builtins.str; arrays of NumPy, PyTorch, TensorFlow and JAX are taken. Write an array of numbers, such as numpy.ones((2, 3, 4, 4), numpy.float32)",
            ),
        ],
    )
    def test_messages(self, error, call, message):
        with pytest.raises(TconvError) as caught:
            call()
        assert type(caught.value) is error
        assert str(caught.value) == message

    def test_the_proposals_of_messages_are_drawn(self):
        draw.scatter(np.ones((6, 6)), np.ones((3, 3)))
        draw.scatter(np.ones((5, 5)), K, stride=2)

    def test_without_matplotlib_the_extra_is_named(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "matplotlib.axes", None)
        with pytest.raises(MissingExtraError) as caught:
            draw.scatter(X, K)
        assert (
            str(caught.value) == 'tconv.draw needs matplotlib, which is not installed. Write: pip install "tconv[draw]"'
        )


def test_importing_draw_does_not_import_matplotlib():
    code = "import sys, tconv.draw; tconv.draw.scatter, tconv.draw.matrix; assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("sizes", [(9,), (7, 5), (3, 4, 5)])
def test_a_difference_is_drawn_at_its_place(sizes):
    """The largest over images, channels and leading axes is at its place and in the title."""
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 2, 3, *sizes))
    distance = np.abs(a - b).reshape(-1, *sizes).max(0)
    flat = distance.reshape(-1, *sizes[-2:]).max(0) if len(sizes) > 2 else distance
    ax = draw.difference(a, b)
    place = tuple(int(i) for i in np.unravel_index(flat.argmax(), flat.shape))
    assert ax.get_title() == f"largest difference {flat.max():.3g}, at ({', '.join(map(str, place))})"
    shown = ax.lines[0].get_ydata() if len(sizes) == 1 else ax.get_images()[0].get_array()
    np.testing.assert_allclose(shown, flat)


def test_a_difference_of_sizes_nan_and_too_many_places():
    a, b = np.zeros((1, 1, 4, 6)), np.zeros((1, 1, 5, 5))
    a[0, 0, 1, 2], a[0, 0, 3, 3] = np.nan, 2
    ax = draw.difference(a, b, title="why")
    assert (
        ax.get_title() == "why\nlargest difference 2, at (3, 3); sizes (4, 6) and (5, 5), compared in their common part"
    )
    shown = ax.get_images()[0].get_array()
    assert (shown.shape, shown[:4, :5].mask.sum(), shown.max()) == ((5, 6), 1, 2)
    assert shown.mask[4:].all()  # only one of the two has these places
    assert shown.mask[:, 5:].all()
    line = draw.difference(np.zeros((1, 1, 4)), np.ones((1, 1, 6))).lines[0].get_ydata()
    np.testing.assert_array_equal(line, [1, 1, 1, 1, np.nan, np.nan])
    deep = draw.difference(np.zeros((1, 1, 2, 4, 3)), np.ones((1, 1, 3, 4, 4))).get_images()[0].get_array()
    assert (deep.shape, deep.mask.sum(), deep.min()) == ((4, 4), 4, 1)
    same = draw.difference(b, b)
    (image,) = same.get_images()
    assert image.norm(0.0) == 0  # without a difference all is 0, and there is no colour bar
    assert len(same.figure.axes) == 1
    assert draw.difference(b, b + np.nan).get_title() == "no place is finite in both"
    large = np.zeros((1, 1, 4001, 3))
    large[0, 0, 4000, 1] = 7
    (image,) = draw.difference(large, 0 * large).get_images()
    assert (image.get_array().shape, image.get_array().max()) == ((1334, 1), 7)
    with pytest.raises(ShapeError, match=r"got has shape \(1, 1, 4, 6\) and expected \(1, 2, 4, 6\).*Write y\[None\]"):
        draw.difference(a, np.zeros((1, 2, 4, 6)))


def test_the_public_names():
    assert draw.__all__ == sorted(draw.__all__)
    assert {"difference", "response", *PICTURES_OF_LAYERS} <= set(draw.__all__)
    assert all(callable(getattr(draw, name)) for name in draw.__all__)
