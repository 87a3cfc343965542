"""Bad arguments of the pictures: an error says what was given, what was needed and what to write, and that works."""

from __future__ import annotations

import re

import numpy as np
import pytest
from matplotlib.figure import Figure

import tconv
from drawn_numbers import drawn
from tconv import draw
from tconv.draw.registry import PICTURES
from tconv.errors import ArgumentError, ArrayError, DialectError, DtypeError, GeometryError, ShapeError, TconvError

X = [[1, 2], [3, 4]]
K3 = np.arange(1, 10).reshape(3, 3)
LARGE = np.ones((100, 100), int)


@pytest.mark.parametrize(
    ("error", "call", "message"),
    [
        (
            ArgumentError,
            lambda: draw.gather(X, K3, output=(4, 0), stride=2, padding=1),
            "output is (4, 0); the output has shape (3, 3), and its places are counted from 0. Write output=(2, 0)",
        ),
        (
            ArgumentError,
            lambda: draw.gather(X, K3, output=(-1, 0)),
            "output is (-1, 0); the output has shape (4, 4), and its places are counted from 0. Write output=(0, 0)",
        ),
        (
            ArgumentError,
            lambda: draw.gather(X, K3, output=[(0, 0), (0, 0)]),
            "output is [(0, 0), (0, 0)], which has a place twice. Write each place once",
        ),
        (
            GeometryError,
            lambda: draw.gather(X, K3, output=(1, 1, 1)),
            "output is (1, 1, 1), which has 3 entries; there are 2 spatial axes. Write one integer for all axes, or (1, 1)",
        ),
        (
            ShapeError,
            lambda: draw.gather(LARGE, K3),
            "x has shape 100 \u00d7 100 and the full result 102 \u00d7 102, beside 1 sum in numbers; they can be read up "
            "to 80 cells across the whole picture. Write a part of it, x[:36, :36]",
        ),
        (
            ShapeError,
            lambda: draw.gather(X, K3, output=[(i, j) for i in range(4) for j in range(4)]),
            "x has shape 2 \u00d7 2 and the full result 4 \u00d7 4, beside 16 sums in numbers; they can be read up to 80 "
            "cells across the whole picture. Write fewer places in output=, or a part of it, x[:1, :1]",
        ),
        (
            ShapeError,
            lambda: draw.phases(K3, x=LARGE, stride=2),
            "the 4 phases of a kernel of shape (3, 3) and an input of shape (100, 100) would be drawn; the numbers can be "
            "read up to 80 cells across the whole picture. Write a part of x, x[:12, :12]",
        ),
        (
            ShapeError,
            lambda: draw.phases([1, 2], stride=10**9),
            "the 1000000000 phases of a kernel of shape (2,) and an input of shape (4,) would be drawn; the numbers can "
            "be read up to 80 cells across the whole picture. Write a smaller kernel, stride or dilation",
        ),
        (
            ShapeError,
            lambda: draw.phases(K3, x=[1, 2]),
            "x has shape (2,) and w has shape (3, 3); both must have the same number of axes. Write x[None], which adds "
            "axes of one element",
        ),
        (
            ArrayError,
            lambda: draw.phases("w"),
            "w is a builtins.str; arrays of NumPy, PyTorch, TensorFlow and JAX are taken. Write an array of numbers, such "
            "as numpy.ones((2, 3, 4, 4), numpy.float32)",
        ),
        (
            ArgumentError,
            lambda: draw.phases(K3, groups=2),
            "groups= was given; the arguments are stride, padding, output_padding, dilation, crop and geometry. Write the "
            "call without groups=",
        ),
        (
            ShapeError,
            lambda: draw.overlap((3, 3), (100, 100), stride=2),
            "input_shape is (100, 100), and the full result has shape (201, 201); the numbers can be read up to 80 cells "
            "across the whole picture. Write input_shape=(36, 36), which has the same phases",
        ),
        (
            ShapeError,
            lambda: draw.overlap(10**9, 10**9, stride=10**9),
            "input_shape is (1000000000,), and the full result has shape (1000000000000000000,); the numbers can be read "
            "up to 80 cells across the whole picture. Write a smaller kernel, stride or dilation",
        ),
        (
            ShapeError,
            lambda: draw.overlap((3, 3, 3, 3), 2),
            "kernel is (3, 3, 3, 3) and input_shape 2; up to 3 axes can be drawn. Write the sizes of 3 of them",
        ),
        (
            GeometryError,
            lambda: draw.overlap((3, 3), (4, 4, 4)),
            "kernel is (3, 3), which has 2 entries; there are 3 spatial axes. Write one integer for all axes, or (3, 3, 3)",
        ),
        (
            ShapeError,
            lambda: draw.overlap(3, 0),
            "the input has spatial shape (0,); every axis needs at least 1 element. Use an array without empty spatial "
            "axes",
        ),
        (
            GeometryError,
            lambda: draw.overlap(0, 3),
            "kernel is 0; it must be at least 1. Write kernel=1, for example",
        ),
        (
            ShapeError,
            lambda: draw.padding((3, 3), (100, 100), {"padding": 1}, stride=2),
            "input_shape is (100, 100), and each call would be drawn on a full result of (201, 201); the numbers can be "
            "read up to 80 cells across the whole picture. Write input_shape=(37, 37)",
        ),
        (
            ShapeError,
            lambda: draw.padding(3, 100, {"dialect": "tensorflow", "output_shape": (200,)}, stride=2),
            "input_shape is (100,), and each call would be drawn on a full result of (201,); the numbers can be read up "
            "to 80 cells across the whole picture. Write a smaller kernel, stride or dilation, or fewer calls",
        ),
        (
            ArgumentError,
            lambda: draw.padding(3, 4, 1),
            "a call to compare is 1; the native arguments are needed, and the dialect of their words. Write "
            'dict(dialect="keras", padding="same")',
        ),
        (
            ArgumentError,
            lambda: draw.padding(3, 4, {"kernel": 5}),
            "kernel= was given in a call to compare; all calls are of one layer. Write tconv.draw.padding(kernel, "
            "input_shape, ...), and the call without kernel=",
        ),
        (
            ArgumentError,
            lambda: draw.padding(3, 4, {"groups": 2}),
            "groups change no place. Write the calls to compare without them",
        ),
        (
            ArgumentError,
            lambda: draw.padding(3, 4, {"dialect": "haiku"}, dilation=2),
            "dilation is (2,), which the haiku dialect has no word for. Write the calls to compare without that of haiku, "
            "or dilation=1",
        ),
        (
            DialectError,
            lambda: draw.padding(3, 4, "pytorch"),
            "dialect is 'pytorch'; there are " + ", ".join(tconv.dialects.names()) + ". Write dialect='torch'",
        ),
        (
            ArgumentError,
            lambda: draw.padding(3, 4, {"dialect": "keras", "padding": 1}),
            'padding is 1; Keras takes "valid" or "same". Use one of them, or dialect="torch" with padding=1 or crop=',
        ),
        (
            ShapeError,
            lambda: draw.padding(3, 1, {"padding": 3}),
            "the output would be (-3,): spatial axis 0 has 3 elements and the crop (3, 3) removes all of them; at least "
            "one must remain. Use a smaller crop (padding)",
        ),
        (
            ShapeError,
            lambda: draw.channels(K3),
            "weight has shape (3, 3); [C_in, C_out/groups, *kernel] with 1 to 3 spatial axes is needed. Write "
            "weight[None, None] for the bare kernel of one channel, or (C_in, C_out) for the channels alone",
        ),
        (
            GeometryError,
            lambda: draw.channels((4, 6), groups=4),
            "there are 6 output channels, which 4 groups do not divide. Use a multiple of 4, or other groups",
        ),
        (
            GeometryError,
            lambda: draw.channels((4, 6), groups=0),
            "groups is 0; it must be at least 1. Write groups=1, for example",
        ),
        (
            ShapeError,
            lambda: draw.channels(np.ones((64, 32, 4, 4))),
            "64 input channels and 32 output channels have kernels of shape (4, 4); the numbers can be read up to 80 "
            "cells across the whole picture. Write a part of it, weight[:16, :16]",
        ),
        (
            ShapeError,
            lambda: draw.channels(np.ones((64, 2, 4, 4)), groups=16),
            "64 input channels and 32 output channels have kernels of shape (4, 4); the numbers can be read up to 80 "
            "cells across the whole picture. Write the first groups, weight[:16] with groups=4",
        ),
        (
            ShapeError,
            lambda: draw.channels((100, 3)),
            "100 input channels and 3 output channels have kernels of shape (1, 1); the numbers can be read up to 80 "
            "cells across the whole picture. Write fewer channels, (50, 3)",
        ),
        (
            ShapeError,
            lambda: draw.matrix(np.ones((65, 64), int), 1, padding=32),
            "w has shape (65, 64), 4160 taps; up to 4096 are drawn. Write a part of it, w[:8, :8]",
        ),
        (
            ShapeError,  # without trying an arrangement of 110592 grids
            lambda: draw.scatter(np.ones((48, 48, 48), int), np.ones((2, 2, 2), int)),
            "x has shape (48, 48, 48), and each of its 110592 elements would be drawn on a grid of (49, 49, 49); the "
            "numbers can be read up to 80 cells across the whole picture. Write a part of it, x[:2, :2, :2]",
        ),
        (
            ArgumentError,
            lambda: draw.scatter(K3, K3, strides=2),
            "strides= was given; the arguments are stride, padding, output_padding, dilation, crop and geometry. Write "
            "stride=2",
        ),
        (
            ArgumentError,
            lambda: draw.phases(K3, strides=2, dialect="keras"),
            "dialect= was given; the arguments are stride, padding, output_padding, dilation, crop and geometry. Write "
            "geometry=tconv.dialect('keras').geometry(kernel=(3, 3), strides=2)",
        ),
        (
            ArgumentError,
            lambda: draw.phases(K3, geometry=tconv.Geometry((3, 3)), dialect="keras"),
            "dialect= was given; the arguments are stride, padding, output_padding, dilation, crop and geometry. Write the "
            "call without dialect=",
        ),
        (
            ArgumentError,
            lambda: draw.gather(K3, K3, at=(1, 2)),
            "at= was given; the place is output=. Write output=(1, 2)",
        ),
        (
            ArgumentError,
            lambda: draw.overlap(3, input=4),
            "input= was given; the size of the input is input_shape= in this picture. Write input_shape=4",
        ),
        (
            DtypeError,
            lambda: draw.channels(np.ones((1, 1, 2), bool)),
            "weight has dtype bool; numbers are needed, and integers must fit int64. Write np.asarray(weight, np.int64)",
        ),
    ],
)
def test_messages(error, call, message):
    with pytest.raises(TconvError) as caught:
        call()
    assert type(caught.value) is error
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("accepted", "refused"),
    [
        (lambda n: draw.gather(LARGE[:n, :1], K3[:, :1]), 75),
        (lambda n: draw.phases(K3[:, :1], x=LARGE[:n, :1], stride=(2, 1)), 36),
        (lambda n: draw.overlap(3, n, stride=2), 38),
        (lambda n: draw.padding((3, 1), (n, 1), {"padding": (1, 0)}, stride=2), 37),
        (lambda n: draw.channels((n, 1)), 50),
    ],
)
def test_the_proposal_is_the_largest_that_is_drawn(accepted, refused):
    assert accepted(refused) is not None
    with pytest.raises(ShapeError):
        accepted(refused + 1)


def test_no_part_is_proposed_where_none_has_an_output():
    with pytest.raises(ShapeError, match="Write a smaller kernel, stride, dilation or padding"):
        draw.scatter(LARGE, K3, padding=9)


@pytest.mark.parametrize("name", ["gather", "phases", "overlap", "padding", "channels"])
def test_another_ax_is_refused(name):
    with pytest.raises(ArgumentError, match=re.escape("ax is matplotlib.figure.Figure; a flat Axes")):
        PICTURES[name].draw(np.ones((2, 2)), K3, tconv.Geometry((3, 3)), ax=Figure())


def test_small_integers_do_not_overflow():
    numbers = drawn(draw.gather(np.array([100], np.int8), np.array([100], np.int8)))
    assert numbers["product"] == {((0,), (0,)): "10000"}
