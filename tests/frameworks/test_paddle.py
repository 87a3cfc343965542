"""PaddlePaddle in a process of its own: random native arguments, its own example, the code it is given."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from harness import Conformance, check_adjoint, check_writing, whole_numbers
from paddle.nn import functional

import tconv
from tconv.errors import ArgumentError, GeometryError, ShapeError

CALLS = {1: functional.conv1d_transpose, 2: functional.conv2d_transpose, 3: functional.conv3d_transpose}
FORMATS = {1: ("NCL", "NLC"), 2: ("NCHW", "NHWC"), 3: ("NCDHW", "NDHWC")}


def native(x, w, bias, words):
    assert not deadly(x, w, words)
    tensors = [None if array is None else paddle.to_tensor(array) for array in (x, w, bias)]
    return CALLS[w.ndim - 2](*tensors, **words).numpy()


def deadly(x, w, words):
    """Whether Paddle may end the process: the listed fault."""
    speaker = tconv.dialect("paddle")
    try:
        call = speaker.read(x.shape, w.shape, words)
    except tconv.TconvError:
        return False
    return speaker.faults[0].applies(call.geometry, call.data.sizes(x.shape)[2], words)


def random_call(rng, ndim):
    """x, weight, bias and native arguments, some of them illegal."""
    draw = lambda lo, hi: [int(v) for v in rng.integers(lo, hi, ndim)]  # noqa: E731
    groups = int(rng.choice([1, 1, 1, 2, 3]))
    c_in, c_out = groups * int(rng.choice([1, 2, 5, 7])), int(rng.integers(1, 4))
    n, k, s, d = draw(1, 6), draw(1, 5), draw(1, 5), draw(1, 4)
    if rng.random() < 0.5:
        d = [1] * ndim
    last = bool(rng.random() < 0.3)
    words = {"stride": s, "dilation": d, "groups": groups}
    if last or rng.random() < 0.5:
        words["data_format"] = FORMATS[ndim][last]
    pairs = [[int(v) for v in rng.integers(0, 4, 2)] for _ in range(ndim)]
    form = rng.choice(["int", "axes", "flat", "pairs", "SAME", "same", "VALID", ""])
    outer = [[0, 0], [0, 0]]
    if form == "int":
        words["padding"] = pairs[0][0]
    elif form == "axes":
        words["padding"] = [a for a, _ in pairs]
    elif form == "flat":
        words["padding"] = [side for pair in pairs for side in pair]
    elif form == "pairs":
        words["padding"] = [outer[0], *pairs, outer[1]] if last else [*outer, *pairs]
    elif form:
        words["padding"] = str(form)
    chance = rng.random()
    if chance < 0.35:
        words["output_padding"] = [
            int(rng.integers(0, max(pair) + (rng.random() < 0.05))) for pair in zip(s, d, strict=True)
        ]
    elif chance < 0.75:
        try:
            base = tconv.dialect("paddle").geometry(kernel=k, input=n, **words).output_shape(n)
        except tconv.TconvError:
            base = [3] * ndim
        words["output_size"] = [
            L + int(rng.integers(-(rng.random() < 0.1), s_ + (rng.random() < 0.1)))
            for L, s_ in zip(base, s, strict=True)
        ]
    for name in ("stride", "dilation", "output_padding", "output_size"):
        if name in words and rng.random() < 0.3:
            words[name] = words[name][0]
    illegal = rng.random()
    if illegal < 0.01:
        words["padding"] = "FULL"
    elif illegal < 0.02:
        words["padding"] = [-1] * ndim
    elif illegal < 0.03:
        words["padding"] = [pairs[0], *outer, *pairs[1:]]
    elif illegal < 0.04:
        words["data_format"] = "CHWN"
    elif illegal < 0.05:
        words["stride"] = [*s, 1]
    elif illegal < 0.06 and "output_size" in words:
        words["output_padding"] = [0] * ndim
    elif illegal < 0.07:
        words["stride"] = 0
    batch, channels = int(rng.integers(1, 3)), c_in + (illegal > 0.98)
    x = whole_numbers(rng, [batch, *n, channels] if last else [batch, channels, *n])
    w = whole_numbers(rng, [c_in, c_out, *k])
    return x, w, whole_numbers(rng, [c_out * groups]) if rng.random() < 0.5 else None, words


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_random_native_arguments(ndim):
    rng = np.random.default_rng(ndim)
    conformance = Conformance("paddle", native)
    for _ in range({1: 1500, 2: 2000, 3: 800}[ndim]):
        conformance.check(*random_call(rng, ndim))
    print(conformance.tally)
    assert conformance.tally["equal"] > 300
    assert conformance.tally["refused"] > 100


def test_the_adjoint():
    rng, held = np.random.default_rng(5), 0
    for _ in range(400):
        x, w, _, words = random_call(rng, int(rng.integers(1, 4)))
        held += check_adjoint("paddle", x, w, words)
    assert held > 200


def test_code_runs():
    tally = check_writing("paddle", {"paddle": paddle}, wrap=paddle.to_tensor, groups=[1, 2, 3])
    assert tally["one call"] > 30
    assert tally["call and slice"] > 50
    assert not tally["cannot be said"]


def test_weights_are_pytorchs():
    w = whole_numbers(np.random.default_rng(0), (6, 2, 3, 4))
    for groups in (1, 3):
        np.testing.assert_array_equal(tconv.convert(w, source="torch", target="paddle", groups=groups), w)
        np.testing.assert_array_equal(tconv.convert(w, source="paddle", target="torch", groups=groups), w)


def test_its_own_example():
    x = np.float32([[[4, 0, 9, 7], [8, 0, 9, 2]]])
    w = np.float32([[[7, 0]], [[4, 2]]])
    y = tconv.conv_transpose(x, w, dialect="paddle")
    np.testing.assert_array_equal(y, np.float32([[[60, 16, 99, 75, 4]]]))
    np.testing.assert_array_equal(y, native(x, w, None, {}))


def test_same_is_not_s_times_n():
    """The padding of a convolution over n, and a dilation that is dropped: (n, k, s) and the size."""
    for n, k, s, size in ((4, 3, 2, 8), (5, 3, 2, 9), (4, 3, 3, 10), (6, 5, 2, 12), (3, 1, 4, 9)):
        g = tconv.dialect("paddle").geometry(kernel=k, input=n, stride=s, padding="SAME", dilation=3)
        assert g.output_shape(n) == (size,)
        assert g.dilation == (1,)
        x, w = np.ones((1, 1, n), "f"), np.ones((1, 1, k), "f")
        assert native(x, w, None, {"stride": s, "padding": "SAME", "dilation": 3}).shape == (1, 1, size)


def test_an_empty_batch():
    x, w = np.ones((0, 2, 3, 4), "f"), np.ones((2, 3, 2, 2), "f")
    words = {"stride": 2, "output_padding": 1}
    assert tconv.conv_transpose(x, w, dialect="paddle", **words).shape == native(x, w, None, words).shape


def test_what_is_refused():
    x, w = np.ones((1, 2, 4, 4), "f"), np.ones((2, 3, 3, 3), "f")
    call = lambda **words: tconv.conv_transpose(x, w, dialect="paddle", **words)  # noqa: E731
    with pytest.raises(ArgumentError, match='padding is \'FULL\'; Paddle knows "SAME" and "VALID"'):
        call(padding="FULL")
    with pytest.raises(ArgumentError, match="output_size was given together with output_padding"):
        call(stride=2, output_size=9, output_padding=[0, 0])
    with pytest.raises(ShapeError, match="output_size asks for 11 on spatial axis 0; Paddle makes 9 to 10 of 4"):
        call(stride=2, output_size=11)
    with pytest.raises(GeometryError, match=r"padding is \(\(-1, -1\), \(-1, -1\)\); Paddle needs it to be at least 0"):
        call(padding=-1)
    with pytest.raises(
        GeometryError, match="output_padding is 2 on spatial axis 0; Paddle needs it smaller than the stride"
    ):
        call(stride=2, output_padding=2)
    with pytest.raises(ArgumentError, match='data_format is \'NCDHW\'; with 2 spatial axes it is "NCHW" or "NHWC"'):
        call(data_format="NCDHW")
    with pytest.raises(GeometryError, match="the pairs of batch and channels must be"):
        call(padding=[[1, 1], [0, 0], [0, 0], [0, 0]])
