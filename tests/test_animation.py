"""The animations: every number of every frame is the definition's, in the frames, in the SVG and in the files."""

from __future__ import annotations

import itertools
import math
import re
import shutil
import sys
import warnings
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.animation import FFMpegWriter
from PIL import Image

import tconv
from tconv import definition
from tconv.draw import animate
from tconv.draw.animation import Animation
from tconv.draw.animation.figure_film import FigureFilm
from tconv.draw.cell_board import short
from tconv.errors import (
    ArgumentError,
    DialectError,
    FileError,
    GeometryError,
    MissingExtraError,
    ShapeError,
    TconvError,
)  # fmt: skip

VIEWS = ("scatter", "gather", "zero_insertion")


@st.composite
def operators(draw_):
    """Whole numbers x and w, and a geometry with any crop that leaves an output."""
    ndim = draw_(st.integers(1, 2))
    each = lambda low, high: tuple(draw_(st.integers(low, high)) for _ in range(ndim))  # noqa: E731
    shape, kernel, stride, dilation = each(1, 3), each(1, 3), each(1, 3), each(1, 2)
    crop = tuple((draw_(st.integers(-2, 4)), draw_(st.integers(-2, 4))) for _ in range(ndim))
    full = tconv.Geometry(kernel, stride, 0, dilation).full_shape(shape)
    crop = tuple((lo, hi) if n - lo - hi >= 1 else (0, 0) for n, (lo, hi) in zip(full, crop, strict=True))
    rng = np.random.default_rng(draw_(st.integers(0, 2**32 - 1)))
    return rng.integers(-9, 10, shape), rng.integers(-9, 10, kernel), tconv.Geometry(kernel, stride, crop, dilation)


def part_of(animation, name):
    """Return the slices of the bold frame in a grid."""
    return animation._film.grids[name].part


def output_of(frame, animation):
    return frame.numbers["output"][part_of(animation, "output")]


class TestFrames:
    @settings(deadline=None, max_examples=25)
    @given(operators())
    def test_the_scatter_adds_one_element_after_the_other(self, case):
        x, w, g = case
        animation = animate(x, w, geometry=g)
        assert len(animation.frames) == x.size + 1
        painted = np.zeros_like(x)
        for element, frame in zip(np.ndindex(*x.shape), animation.frames, strict=False):
            painted[element] = x[element]
            np.testing.assert_array_equal(frame.numbers["product"], x[element] * w)
            shown = output_of(frame, animation)
            reached = (
                definition.scatter(
                    (np.arange(x.size).reshape(x.shape) <= np.ravel_multi_index(element, x.shape)) * 1,
                    np.ones_like(w),
                    geometry=g,
                )
                > 0
            )
            np.testing.assert_array_equal(~np.ma.getmaskarray(shown), reached)
            np.testing.assert_array_equal(shown.filled(0), definition.scatter(painted, w, geometry=g))
        last = animation.frames[-1]
        np.testing.assert_array_equal(output_of(last, animation).filled(10**6), definition.scatter(x, w, geometry=g))
        assert last.numbers["output"].count() == math.prod(g.output_shape(x.shape)), "what is cut off has no number"

    @pytest.mark.parametrize(("x", "dtype"), [([1e8, 1, -1e8], np.float32), ([2048, 1, 1, 1], np.float16)])
    def test_sums_are_rounded_once(self, x, dtype):
        x, w = np.array(x, dtype), np.ones(4, dtype)
        animation = animate(x, w)
        y = definition.scatter(x, w)
        for frame in animation.frames[-2:]:
            np.testing.assert_array_equal(output_of(frame, animation).astype(dtype), y)

    @settings(deadline=None, max_examples=25)
    @given(operators())
    def test_the_whole_canvas_is_the_full_result_before_the_crop(self, case):
        x, w, g = case
        animation = animate(x, w, geometry=g)
        plain = tconv.Geometry(g.kernel, g.stride, [(min(lo, 0), min(hi, 0)) for lo, hi in g.crop], g.dilation)
        np.testing.assert_array_equal(
            animation.frames[-2].numbers["output"].filled(0), definition.scatter(x, w, geometry=plain)
        )

    @settings(deadline=None, max_examples=25)
    @given(operators())
    def test_the_gather_writes_each_sum_in_numbers(self, case):
        x, w, g = case
        animation = animate(x, w, view="gather", geometry=g)
        y = definition.gather(x, w, geometry=g)
        assert len(animation.frames) == y.size + 1
        for at, (output, frame) in enumerate(zip(np.ndindex(*y.shape), animation.frames, strict=False)):
            np.testing.assert_array_equal(output_of(frame, animation).compressed(), y.ravel()[: at + 1])
            names, numbers = frame.sentence
            assert names.startswith(f"y[{','.join(map(str, output))}] = ")
            if "no input" in names:
                assert y[output] == 0
                continue
            terms = re.findall(r"x\[([\d,]+)\]·w\[([\d,]+)\]", names)
            assert sum(x[index(i)] * w[index(t)] for i, t in terms) == y[output]
            terms, value = numbers.removeprefix("= ").rsplit(" = ", 1)
            assert eval(terms.replace("·", "*")) == int(value) == y[output]
            # the colours pair each input element with its tap
            pairs = {(index(i), index(t)) for i, t in re.findall(r"x\[([\d,]+)\]·w\[([\d,]+)\]", names)}
            tints = frame.tints
            assert pairs == {
                (i, t)
                for i in zip(*np.nonzero(tints["input"]), strict=True)
                for t in zip(*np.nonzero(tints["kernel"]), strict=True)
                if tints["input"][i] == tints["kernel"][t]
            }

    @settings(deadline=None, max_examples=25)
    @given(operators())
    def test_the_flipped_kernel_slides_over_the_input_with_zeros(self, case):
        x, w, g = case
        animation = animate(x, w, view="zero_insertion", geometry=g)
        y = definition.zero_insertion(x, w, geometry=g)
        inputs = part_of(animation, "input")
        for at, (output, frame) in enumerate(zip(np.ndindex(*y.shape), animation.frames, strict=False)):
            board, kernel = frame.numbers["input"], frame.numbers["kernel"]
            window, place = frame.boxes
            assert (window.grid, place.grid, place.start) == ("input", "output", output)
            under = board[tuple(slice(a, a + n) for a, n in zip(window.start, window.shape, strict=True))]
            assert under.shape == kernel.shape == g.extent, "the window lies inside of the zeros"
            assert (under * kernel).sum() == y[output]
            np.testing.assert_array_equal(frame.numbers["output"].compressed(), y.ravel()[: at + 1])
        np.testing.assert_array_equal(kernel[tuple(slice(None, None, d) for d in g.dilation)], np.flip(w))
        np.testing.assert_array_equal(board[inputs][tuple(slice(None, None, s) for s in g.stride)], x)

    def test_sizes_alone_count(self):
        first = animate(kernel=(2, 2), input=(2, 3)).frames[0].numbers
        np.testing.assert_array_equal(first["input"], [[1, 2, 3], [4, 5, 6]])
        np.testing.assert_array_equal(first["kernel"], [[1, 2], [3, 4]])
        assert animate().frames[0].numbers["input"].shape == (3, 3)
        assert animate(kernel=3).frames[0].numbers["input"].shape == (3, 3)
        assert animate(kernel=3, input=4).frames[0].numbers["input"].shape == (4,)
        assert animate(kernel=2, geometry=tconv.Geometry(2)).frames[0].numbers["input"].shape == (3,)
        assert animate(geometry=tconv.Geometry((2, 2))).frames[0].numbers["kernel"].shape == (2, 2)

    @pytest.mark.parametrize(
        ("name", "native"),
        [
            ("keras", {"strides": 2, "padding": "same"}),
            ("jax", {"strides": (2, 2), "padding": "SAME"}),
            ("tensorflow", {"strides": 2, "padding": "SAME", "output_shape": (6, 5)}),
            ("onnx", {"strides": 2, "auto_pad": "SAME_UPPER"}),
        ],
    )
    def test_the_words_of_a_dialect_are_those_of_conv_transpose(self, name, native):
        rng = np.random.default_rng(3)
        x, w = rng.integers(-9, 10, (3, 3)), rng.integers(-9, 10, (3, 3))
        rules = tconv.dialect(name)
        axes = rules.data_layout(2, 4).axes
        as_native = {"output_shape": [1, *native["output_shape"], 1]} if "output_shape" in native else {}
        layout = rules.weight_layout(2).axes
        y = tconv.conv_transpose(
            x.reshape([3 if isinstance(axis, int) else 1 for axis in axes]),
            w.reshape([3 if isinstance(axis, int) else 1 for axis in layout]),
            dialect=name,
            **(native | as_native),
        )
        animation = animate(x, w, dialect=name, **native)
        last = output_of(animation.frames[-1], animation)
        np.testing.assert_array_equal(last.ravel(), np.asarray(y).ravel())

    def test_the_titles_say_what_was_set(self):
        assert animate(kernel=3, input=3, stride=2, padding=1, output_padding=1).title == (
            "Scatter: kernel 3, stride 2, padding 1, output_padding 1: 3 → 6"
        )
        assert "crop (0, 1)" in animate(kernel=3, input=4, dialect="keras", strides=2, padding="same").title
        assert any("cut off by padding" in note for note in animate(kernel=3, padding=1)._film.notes)


def index(text):
    return tuple(map(int, text.split(",")))


def shown_in_svg(svg, at, beats):
    """Return {cell: text} of the numbers that an SVG shows in one frame, by its style rules."""
    root = ElementTree.fromstring(svg)
    rules = dict(re.findall(r"@keyframes (\w+)\{((?:[\d.]+%\{[^}]*\})*)\}", svg))
    time = 100 * sum(beats[:at]) / sum(beats) + 1e-3
    found = {}
    for text in root.iter("{http://www.w3.org/2000/svg}text"):
        cell = text.get("data-cell")
        if cell is None:
            continue
        state = text.get("visibility")
        if text.get("class") in rules:
            for start, value in re.findall(r"([\d.]+)%\{visibility:(\w+)\}", rules[text.get("class")]):
                state = value if float(start) <= time else state
        if state == "visible":
            assert cell not in found
            found[cell] = text.text
    return found


class TestSvg:
    @pytest.mark.parametrize(("view", "theme"), list(zip(VIEWS, ("light", "dark", "light"), strict=True)))
    def test_every_frame_shows_its_numbers(self, view, theme):
        rng = np.random.default_rng(5)
        x, w = rng.integers(-9, 10, (2, 3)), rng.integers(-9, 10, (3, 2))
        animation = animate(x, w, view=view, stride=2, crop=((1, -1), (0, 1)), theme=theme)
        svg = animation.svg
        beats = [frame.beats for frame in animation.frames]
        for at, frame in enumerate(animation.frames):
            expected = {
                f"{name}[{','.join(map(str, place))}]": short(numbers.data[place])
                for name, numbers in frame.numbers.items()
                for place in zip(*np.nonzero(~np.ma.getmaskarray(numbers)), strict=True)
            }
            assert shown_in_svg(svg, at, beats) == expected

    def test_it_is_self_contained_small_and_at_rest_on_request(self):
        svg = animate(kernel=(3, 3), input=(3, 3), stride=2, padding=1).svg
        assert len(svg) < 50_000
        assert "prefers-reduced-motion" in svg
        assert not re.search(r"<script|href|url\((?!#)|@import|https?://(?!www\.w3\.org/2000/svg)", svg)
        root = ElementTree.fromstring(svg)
        assert root.get("role") == "img"
        assert root.find("{http://www.w3.org/2000/svg}title").text.startswith("Scatter: kernel 3 × 3")
        # without animations the last frame stands there
        numbers = [
            t for t in root.iter("{http://www.w3.org/2000/svg}text") if (t.get("data-cell") or "").startswith("output")
        ]
        visible = [t.text for t in numbers if t.get("visibility") == "visible"]
        y = definition.scatter(np.arange(1, 10).reshape(3, 3), np.arange(1, 10).reshape(3, 3), stride=2, padding=1)
        assert visible == [str(value) for value in y.ravel()]

    def test_a_notebook_shows_it_as_an_image_of_its_own(self):
        html = animate(kernel=2, input=3)._repr_html_()
        assert html.startswith('<img alt="Scatter: kernel 2, stride 1: 3 → 4" src="data:image/svg+xml;base64,')

    def test_one_theme_is_dark(self):
        light, dark = (animate(kernel=2, theme=theme).svg for theme in ("light", "dark"))
        assert "#15181c" in dark
        assert "#15181c" not in light


class TestFiles:
    def test_a_gif_has_all_frames_and_their_times(self, tmp_path):
        animation = animate(kernel=2, input=3, seconds=0.5)
        path = animation.save(tmp_path / "scatter.gif")
        image = Image.open(path)
        assert image.n_frames == len(animation.frames) == 4
        assert image.info["loop"] == 0
        times = []
        for at in range(image.n_frames):
            image.seek(at)
            times.append(image.info["duration"])
        assert times == [500, 500, 500, 2000]

    def test_the_figure_shows_the_numbers_of_the_frame(self):
        animation = animate([[1, -2]], [[3], [4]], view="gather", stride=2, crop=((0, 1), (-1, 0)))
        figure = FigureFilm(animation._film, animation._theme)
        for frame in animation.frames:
            figure.show(frame)
            texts = {text.get_gid(): text.get_text() for text in figure.ax.texts if text.get_gid()}
            for name, numbers in frame.numbers.items():
                for place in np.ndindex(*numbers.shape):
                    shown = texts.get(f"{name}[{','.join(map(str, place))}]", "")
                    assert shown == ("" if np.ma.getmaskarray(numbers)[place] else str(numbers[place]))
            assert {text.get_text() for text in figure.ax.texts} >= set(frame.sentence)

    @pytest.mark.parametrize("width", [333, 1000])
    def test_a_gif_is_as_wide_as_asked_for(self, width, tmp_path):
        animation = animate(kernel=1, input=1)
        assert Image.open(animation.save(tmp_path / "scatter.gif", width=width)).width == width
        assert animation.seconds == 5

    @pytest.mark.parametrize(
        ("name", "width", "text"),
        [
            ("a.svg", 500, "an SVG has any size"),
            ("a.gif", 99, "width is 99; 100 to 3840 pixels are needed. Write width=1920"),
            ("a.mp4", 3841, "Write width=1920"),
        ],
    )
    def test_another_width_is_refused(self, name, width, text, tmp_path):
        with pytest.raises(ArgumentError, match=text):
            animate(kernel=2).save(tmp_path / name, width=width)
        assert not (tmp_path / name).exists()

    def test_too_many_pixels_are_refused(self, tmp_path):
        film = animate(kernel=2, input=(14, 14), view="gather")
        with pytest.raises(ArgumentError, match=r"226 frames would have .* pixels; at most 1e\+09.* Write width=(\d+)"):
            film.check_width(".gif", 3840)

    @pytest.mark.skipif(not shutil.which("ffmpeg"), reason="there is no ffmpeg")
    def test_an_mp4(self, tmp_path):
        path = animate(kernel=1, input=1, seconds=0.1).save(tmp_path / "scatter.mp4")
        assert path.read_bytes()[4:8] == b"ftyp"

    def test_without_matplotlib_an_svg_is_written_and_the_extra_is_named_for_the_others(self, tmp_path, monkeypatch):
        for module in ("matplotlib", "matplotlib.axes", "matplotlib.animation", "PIL"):
            monkeypatch.setitem(sys.modules, module, None)
        animation = animate(kernel=(2, 2), input=(12, 12))
        assert animation.save(tmp_path / "scatter.svg").exists()
        for name in ("scatter.gif", "scatter.mp4"):
            with pytest.raises(MissingExtraError, match=r"tconv\[draw\]"):
                animation.save(tmp_path / name)
            assert not (tmp_path / name).exists()

    def test_without_ffmpeg_the_other_formats_are_named(self, tmp_path, monkeypatch):
        monkeypatch.setattr(FFMpegWriter, "isAvailable", classmethod(lambda kind: False))
        with pytest.raises(
            FileError, match=r"ffmpeg, which is not installed here. Choose a name that ends in .gif or .svg"
        ):
            animate(kernel=2).save(tmp_path / "scatter.mp4")
        assert not list(tmp_path.iterdir()), "nothing half-written is left"

    def test_an_existing_file_is_refused(self, tmp_path):
        path = tmp_path / "scatter.svg"
        path.write_text("mine")
        with pytest.raises(FileError, match=r"exists, and nothing is overwritten.*overwrite=True"):
            animate(kernel=2).save(path)
        assert path.read_text() == "mine"
        assert animate(kernel=2).save(path, overwrite=True) == path
        assert path.read_text().startswith("<svg")

    @pytest.mark.parametrize("name", ["scatter", "scatter.webm", "scatter.png", ".svg"])
    def test_another_ending_is_refused(self, name, tmp_path):
        with pytest.raises(FileError, match=r"animations are written as \.svg, \.gif, \.mp4"):
            animate(kernel=2).save(tmp_path / name)


@pytest.mark.parametrize(
    ("arguments", "kind", "text"),
    [
        ({"view": "paint"}, ArgumentError, "there are 'scatter', 'gather', 'zero_insertion'. Write view='scatter'"),
        ({"view": ["scatter"]}, ArgumentError, "Write view='scatter'"),
        ({"theme": "blue"}, ArgumentError, 'Write theme="dark"'),
        ({"seconds": 0}, ArgumentError, "Write seconds=1"),
        ({"seconds": math.nan}, ArgumentError, "Write seconds=1"),
        ({"kernel": 0}, GeometryError, "it must be at least 1"),
        ({"kernel": (3, 3, 3)}, ShapeError, "animations have 1 or 2 axes"),
        ({"kernel": 10**9}, ShapeError, "at most 512 on an axis"),
        ({"input": 10**9, "kernel": 3}, ShapeError, "at most 512 on an axis"),
        ({"x": [1, 2], "input": 3}, ArgumentError, "Write the call without input="),
        ({"w": [1, 2], "kernel": 3}, ArgumentError, "Write the call without kernel="),
        ({"w": np.ones((1, 1, 2, 2))}, ShapeError, "a bare array of 1, 2 or 3 axes is needed"),
        ({"w": np.ones((0, 2))}, ShapeError, "without an element"),
        ({"x": np.ones((0,)), "w": [1]}, ShapeError, "without an element"),
        ({"kernel": 3, "padding": 9}, ShapeError, "Use a smaller crop"),
        ({"kernel": 3, "stride": 10**12}, ShapeError, "at most 60 cells"),
        ({"kernel": (3, 3), "input": (12, 12), "stride": 2, "view": "gather"}, ShapeError, "at most 60 cells and 400 frames"),
        ({"kernel": 3, "padding": "same"}, GeometryError, "an integer is needed"),
        ({"kernel": 3, "strides": 2}, ArgumentError, "the arguments are stride, padding, output_padding, dilation, crop and geometry. Write stride=2"),
        ({"x": np.ones((70, 3)), "kernel": 2}, ShapeError, "Write a part of it, x[:4, :3], which moves alike"),
        ({"view": "zero-insertion"}, ArgumentError, "Write view='zero_insertion'"),
        ({"kernel": 3, "dialect": "keras", "stride": 2}, ArgumentError, "Write strides="),
        ({"kernel": 3, "dialect": "kerass"}, DialectError, "keras"),
        ({"kernel": 3, "dialect": "torch", "geometry": tconv.Geometry(3)}, ArgumentError, "Write geometry= alone"),
        ({"kernel": 3, "dialect": "torch", "groups": 2}, GeometryError, "Write it without groups"),
        ({"kernel": (3,), "crop": ((0, -(10**9)),)}, ShapeError, "at most 60 cells"),
    ],
)  # fmt: skip
def test_bad_arguments_say_what_to_write(arguments, kind, text):
    with pytest.raises(kind) as caught:
        animate(**arguments)
    assert text in str(caught.value)


def test_numbers_that_are_not_finite_are_shown():
    with warnings.catch_warnings(action="error"):
        last = animate([1, 2], [np.inf, 3], stride=2).frames[-1]
    assert last.numbers["output"].tolist() == [np.inf, 3, np.inf, 6]


@pytest.mark.parametrize(
    ("kernel", "stride", "text"),
    [
        (3, 2, "Grey cells are sums of several products."),
        (2, 2, "Every cell has one product: nothing overlaps."),
        (1, 2, "1 of its cells no element reaches: 0, or the bias."),
    ],
)
def test_the_last_frame_says_what_its_cells_are(kernel, stride, text):
    assert animate(kernel=kernel, input=2, stride=stride).frames[-1].sentence[1] == text


def test_an_int_is_as_many_axes_as_the_other_size_has():
    assert animate(kernel=2, input=(2, 3)).title == animate(kernel=(2, 2), input=(2, 3)).title
    assert animate(kernel=(2, 3), input=3).title == animate(kernel=(2, 3), input=(3, 3)).title
    assert animate(np.ones((2, 2)), kernel=2).title == "Scatter: kernel 2 × 2, stride 1: 2 × 2 → 3 × 3"


def test_the_widest_animations_are_made():
    for view, theme in itertools.product(VIEWS, ("light", "dark")):
        made = animate(kernel=9, input=8, stride=6, view=view, theme=theme)
        assert isinstance(made, Animation)
        assert len(made.svg) < 200_000


def test_errors_are_tconv_errors():
    with pytest.raises(TconvError):
        animate(x="abc")
