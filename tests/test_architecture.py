"""The sizes down and up an encoder-decoder: each is that of the layers run, and each remedy meets its skip connection."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tconv
from tconv.draw import architecture, architecture_sizes
from tconv.errors import ArgumentError, GeometryError, ShapeError, TconvError


@st.composite
def unets(draw_):
    stride = draw_(st.integers(2, 3))
    kernel = draw_(st.integers(1, 5))
    return {
        "input": (draw_(st.integers(20, 90)),),
        "depth": draw_(st.integers(1, 3)),
        "kernel": kernel,
        "stride": stride,
        "padding": draw_(st.integers(0, (kernel - 1) // 2)),
        "down_kernel": draw_(st.integers(1, 4)),
        "down_padding": draw_(st.integers(0, 1)),
        "convolutions": draw_(st.integers(0, 2)),
        "convolution_padding": draw_(st.sampled_from([None, 0, 1])),
    }


@settings(deadline=None, max_examples=60)
@given(unets())
def test_every_size_is_that_of_the_layers_run(case):
    try:
        made = architecture_sizes(**case)
    except ShapeError:  # too small for so many levels
        return
    convolution = tconv.Geometry(3, 1, 1 if case["convolution_padding"] is None else case["convolution_padding"])
    down = tconv.Geometry(case["down_kernel"], case["stride"], case["down_padding"])

    def block(size):
        for _ in range(case["convolutions"]):
            size = tconv.definition.conv(np.ones(size, int), np.ones(3, int), geometry=convolution).shape
        return size

    size, skips = case["input"], []
    for sizes in made.sizes:
        assert sizes[0] == size
        size = block(size)
        assert sizes[-1] == size
        skips.append(size)
        size = tconv.definition.conv(np.ones(size, int), np.ones(down.kernel, int), geometry=down).shape
    assert made.bottom[-1] == block(size)
    size = block(size)
    for level, after in zip(made.levels, made.after, strict=True):
        skip = skips.pop()
        assert (level.small, level.skip) == (size, skip)
        ones = np.ones(size, int), np.ones(case["kernel"], int)
        assert level.plain == tconv.definition.scatter(*ones, stride=case["stride"], padding=case["padding"]).shape
        output = tconv.definition.scatter(*ones, geometry=level.geometry).shape
        assert level.output == output
        if level.is_solved:
            assert output == skip, "the corrected layer meets its skip connection"
        else:  # no setting of the solver's domain does
            found = tconv.solve(input=size, output=skip, kernel=case["kernel"], stride=case["stride"])
            assert not found
            assert output[0] < skip[0]
        assert level.fits == (level.plain == skip) == (level.remedy == "")
        size = block(output)
        assert after[-1] == size
    assert made.output == size
    if made.better_input is not None:
        assert architecture_sizes(**case | {"input": made.better_input}).fits
        assert made.better_input[0] > case["input"][0]


def test_odd_sizes_get_an_output_padding():
    made = architecture_sizes(input=(101, 101))
    assert [level.remedy for level in made.levels] == ["", "output_padding=1", "", "output_padding=1"]
    assert made.better_input == (112, 112)
    assert "2 of 4 levels do not fit as they are; all are solved. Padded to 112 × 112" in made.summary
    assert [level.remedy for level in architecture_sizes(input=(97, 130), depth=2).levels] == [
        "output_padding=(0, 1)",
        "output_padding=(1, 0)",
    ]
    assert architecture_sizes(input=64).fits


def test_the_first_unet_crops_its_skips():
    """Sizes as in the figure of Ronneberger, Fischer and Brox 2015, arXiv:1505.04597."""
    made = architecture_sizes(input=(572, 572), convolution_padding=0)
    assert made.output == (388, 388)
    assert [level.skip[0] for level in made.levels] == [64, 136, 280, 568]
    assert [level.output[0] for level in made.levels] == [56, 104, 200, 392]
    assert made.levels[0].remedy == "crop the skip to 56 × 56"
    assert "for 4 no setting does, and the skip connection is cropped" in made.summary


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("keras", {"strides": 2, "padding": "same"}),
        ("torch", {"stride": 2, "padding": 1}),
        ("onnx", {"strides": 2, "auto_pad": "SAME_UPPER"}),
        ("jax", {"strides": (2,), "padding": "SAME"}),
    ],
)
def test_the_remedy_is_in_the_words_of_the_dialect(name, words):
    made = architecture_sizes(
        input=45, kernel=3, depth=3, dialect=name, down_kernel=3, down_padding=1, convolutions=0, **words
    )
    rules = tconv.dialect(name)
    for level in made.levels:
        assert level.is_solved
        assert level.given == rules.geometry(kernel=(3,), input=level.small, **words)
        if level.remedy.startswith("y = y["):
            y = np.arange(level.plain[0])[None, :, None] if name == "keras" else np.arange(level.plain[0])[None, None]
            exec(level.remedy, scope := {"y": y})
            first = level.geometry.crop[0][0] - level.given.crop[0][0]
            assert scope["y"].ravel().tolist() == list(range(first, first + level.skip[0]))
        elif level.remedy:
            changed = eval(f"dict({level.remedy})")
            now = rules.arguments(level.geometry, level.small)
            assert changed.items() <= now.items()
            assert rules.geometry(kernel=(3,), input=level.small, **now).output_shape(level.small) == level.skip


class Layer:
    """Layer of a framework by its name and attributes."""

    def __new__(cls, kind, **attributes):
        return type(kind, (), attributes | {"__call__": lambda self, x: x})()


def test_layers_of_frameworks_are_read_by_their_attributes():
    layers = [
        Layer("Conv2d", kernel_size=(3, 3), stride=(1, 1), padding="same", dilation=(1, 1), transposed=False),
        Layer("ReLU"),
        Layer("MaxPool2d", kernel_size=3, stride=2, padding=1, dilation=1, ceil_mode=False),
        Layer("Conv2D", kernel_size=(5, 5), strides=(2, 2), padding="same", dilation_rate=(1, 1)),
        Layer("Dropout"),
        Layer("Conv2DTranspose", kernel_size=(4, 4), strides=(2, 2), padding="same", output_padding=None, dilation_rate=1),
        Layer("ConvTranspose2d", kernel_size=(2, 2), stride=(2, 2), padding=(0, 0), output_padding=(0, 0), dilation=(1, 1), transposed=True),
    ]  # fmt: skip
    made = architecture_sizes([layers[:2], layers[2:]], input=(33, 30))  # sequences in it are those of a block
    assert made.sizes == (((33, 30), (33, 30)), ((17, 15),))
    assert made.bottom == ((9, 8),)
    assert [(level.skip, level.plain) for level in made.levels] == [((17, 15), (18, 16)), ((33, 30), (34, 30))]
    assert [level.remedy for level in made.levels] == ["y = y[:, :, :17, :15]", "y = y[:, :, :33, :]"]
    assert made.output == (33, 30)


@pytest.mark.parametrize(
    ("name", "words"), [("torch", {"crop": ((0, 0),)}), ("mlx_general", {}), ("ncnn", {}), ("onnx", {})]
)
def test_the_usual_stride_is_2(name, words):
    made = architecture_sizes(input=45, depth=2, dialect=name, **words)
    assert [level.geometry.stride for level in made.levels] == [(2,), (2,)]


def test_any_number_of_axes_has_sizes():
    assert architecture_sizes(input=(5, 6, 7, 8), depth=1, convolutions=0).levels[0].skip == (5, 6, 7, 8)


def test_geometries_are_layers():
    down, up = tconv.Geometry(4, 2, 1).convolution, tconv.Geometry(4, 2, 1)
    made = architecture_sizes([down, down, up, up], input=22)
    assert made.bottom == ((5,),)
    assert [level.output for level in made.levels] == [(11,), (22,)]
    plain = architecture_sizes([down, down, up, up], input=22, skips=False)
    assert plain.fits
    assert plain.output == (20,)
    assert "no skip" in str(plain)


def texts(ax):
    return {text.get_gid(): text.get_text() for text in ax.texts if text.get_gid()}


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_picture_shows_the_sizes(theme):
    settings_ = {"input": (101, 99), "depth": 3, "convolution_padding": 0, "convolutions": 1}
    made, drawn = architecture_sizes(**settings_), texts(architecture(**settings_, theme=theme))
    for row, sizes in enumerate(made.sizes):
        assert numbers(drawn[f"encoder[{row}]"]) == list(sizes)
    assert numbers(drawn["bottom"]) == list(made.bottom)
    for row, (level, after) in enumerate(zip(reversed(made.levels), reversed(made.after), strict=True)):
        assert numbers(drawn[f"decoder[{row}]"]) == list(after)
        assert drawn[f"skip[{row}]"] == (level.remedy or "fits")


def numbers(text):
    return [tuple(map(int, size.split(" × "))) for size in text.split(" → ")]


def test_the_table_is_aligned_and_ends_at_the_bottom():
    lines = str(architecture_sizes(input=(101, 101), depth=2)).splitlines()
    assert lines[2].split("  ")[0] == "level"
    assert re.fullmatch(r"2 +25 × 25", lines[-1])
    assert "50 × 50 → 101 × 101" in lines[3]


def test_every_level_stands_in_the_table():
    down, up = tconv.Geometry(2, 2).convolution, tconv.Geometry(2, 2)

    def cells(*layers):
        return [re.split(" {2,}", line) for line in str(architecture_sizes(layers, input=5)).splitlines()[3:]]

    assert cells(down, up, up) == [
        ["0", "-", "5 → 10", "10", "no skip"],
        ["1", "5", "5", "2 → 5", "4", "output_padding=1"],
        ["2", "2"],
    ]
    assert cells(down, down, up) == [["0", "5"], ["1", "2", "2", "1 → 2", "2", "fits"], ["2", "1"]]
    assert architecture_sizes([up, up], input=5).summary == "5 → 20: there is no skip connection."


class Module:
    """A module of one's own, as torch.nn.Module: it can be called, and has no order of layers."""

    def __call__(self, x):
        return x


@pytest.mark.parametrize(("stride", "dilation"), [(1, 2), (2, 1), (3, 1)])
def test_a_causal_convolution_has_the_sizes_of_its_padding_in_front(stride, dilation):
    layer = Layer("Conv1D", kernel_size=(3,), strides=(stride,), padding="causal", dilation_rate=(dilation,))
    front = tconv.Geometry(3, stride, [(2 * dilation, 0)], dilation)
    for size in range(1, 9):
        assert architecture_sizes([layer], input=size).output == front.conv_shape((size,))


def test_a_keras_sequential_is_read_by_its_layers():
    words = {"kernel_size": (3,), "padding": "same", "dilation_rate": (1,)}
    down, up = Layer("Conv1D", strides=(2,), **words), Layer("Conv1DTranspose", strides=(2,), **words)
    nested = Layer("Sequential", layers=[Layer("Sequential", layers=[down]), up])
    assert architecture_sizes(nested, input=9).sizes == architecture_sizes([down, up], input=9).sizes


@pytest.mark.parametrize(
    ("arguments", "kind", "text"),
    [
        ({"input": 0}, GeometryError, "at least 1"),
        ({"input": 7}, ShapeError, "Use a larger input, or fewer levels"),
        ({"input": 64, "convolutions": 10}, ArgumentError, "a level has at most 9. Write convolutions=2"),
        ({"input": 64, "depth": 0}, GeometryError, "at least 1"),
        ({"input": 64, "depth": 99}, ArgumentError, "Write depth=4"),
        ({"input": 64, "stride": 1}, ArgumentError, "Use a stride of 2"),
        ({"input": 64, "kernel": (2, 2)}, GeometryError, "kernel is (2, 2)"),
        ({"input": 64, "strides": 2}, ArgumentError, "Write stride="),
        ({"input": 64, "padding": 9}, ShapeError, "Use a smaller crop"),
        ({"input": 64, "dialect": "tensorflow", "padding": "SAME"}, TconvError, "output_shape"),
        ({"input": 64, "convolution_kernel": 3, "convolution_padding": -1}, GeometryError, "at least 0"),
        ({"input": 64, "layers": [3]}, ArgumentError, "layer 0 is 3"),
        ({"input": 64, "layers": 3}, ArgumentError, "a list of layers"),
        ({"input": 64, "layers": [Layer("Upsample", scale_factor=2)]}, ArgumentError, "effect on the size is not known"),
        ({"input": 64, "layers": [Layer("MaxPool1d", kernel_size=2, stride=2, padding=0, ceil_mode=True)]}, ArgumentError, "ceil_mode"),
        ({"input": 64, "layers": [Layer("Conv1D", kernel_size=3, strides=1, padding="full")]}, ArgumentError, "Write the layer with one of these"),
        ({"input": 64, "layers": [Layer("PixelShuffle", upscale_factor=2)]}, ArgumentError, "effect on the size is not known"),
        ({"input": 64, "layers": [Layer("Unfold", kernel_size=2, stride=2, padding=0)]}, ArgumentError, "effect on the size"),
        ({"input": 64, "layers": [Layer("GLU", dim=-1)]}, ArgumentError, "effect on the size"),
        ({"input": 64, "layers": [tconv.Geometry((2, 2))]}, GeometryError, "input_shape"),
        ({}, ArgumentError, "there is no size. Write input=(101, 101)"),
        ({"input": 64, "layers": Module()}, ArgumentError, "layers is a Module; its forward pass is not read. Write a list of its layers"),
        ({"input": 64, "layers": [Module()]}, ArgumentError, "of a module of your own, its layers in the order of the forward pass"),
        ({"input": 64, "layers": [], "stride": 2}, ArgumentError, "Write it without stride="),
    ],
)  # fmt: skip
def test_bad_arguments_say_what_to_write(arguments, kind, text):
    with pytest.raises(kind) as caught:
        architecture_sizes(**arguments)
    assert text in str(caught.value)


def test_deep_and_large_networks_are_drawn():
    ax = architecture(input=(2**13 - 1,), depth=12, convolutions=0)
    assert len(texts(ax)) == 12 * 3 + 1
    assert architecture_sizes(input=10**12 + 1, depth=12, convolutions=0).levels[-1].skip == (10**12 + 1,)
    assert math.prod(architecture_sizes([], input=5).output) == 5
    assert texts(architecture([], input=5)) == {"bottom": "5"}
