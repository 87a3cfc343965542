"""Recurrent layers along time: the definition, and the same bits for any chunks and any number of sessions."""

import itertools

import numpy as np
import pytest

from stream_steps import cut, in_parts, numbers, whole
from tconv.errors import ArgumentError, ShapeError
from tconv.models import Sum
from tconv.models.layers import Node
from tconv.streaming.recurrent import CELLS, Recurrent, RecurrentWeights
from tconv.streaming.sessions import Stream
from tconv.streaming.stream_graph import StreamGraph


def layer(rng, cell, into, units, projected=None, dtype=np.float32):
    rows, read = CELLS[cell].gates * units, projected or units
    shapes = (rows, into), (rows, read), (rows,), (rows,)
    arrays = [numbers(rng, *shape, dtype=dtype) / 4 for shape in shapes]
    return RecurrentWeights(*arrays, None if projected is None else numbers(rng, projected, units, dtype=dtype))


def stack(rng, cell, sizes, projected=None, dtype=np.float32):
    outputs = [sizes[0], *([projected] * (len(sizes) - 1) if projected else sizes[1:])]
    pairs = zip(outputs, sizes[1:], strict=False)
    return Recurrent(cell, tuple(layer(rng, cell, *pair, projected, dtype) for pair in pairs))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def defined(step, x):
    """Return the outputs [P, T] of the definition for x [C, T], in float64."""
    for weights in step.layers:
        w, u, b, v, p = (None if each is None else each.astype(np.float64) for each in weights)
        units, made = len(u) // CELLS[step.cell].gates, []
        h, c = np.zeros(u.shape[1]), np.zeros(units)
        for sample in x.T:
            a, r = np.split(w @ sample + b, len(u) // units), np.split(u @ h + v, len(u) // units)
            if step.cell == "lstm":
                i, f, g, o = (each + other for each, other in zip(a, r, strict=True))
                c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
                h = sigmoid(o) * np.tanh(c)
                h = h if p is None else p @ h
            elif step.cell == "gru":
                reset, update = sigmoid(a[0] + r[0]), sigmoid(a[1] + r[1])
                h = (1 - update) * np.tanh(a[2] + reset * r[2]) + update * h
            else:
                h = np.tanh(a[0] + r[0]) if step.cell == "tanh" else np.maximum(a[0] + r[0], 0)
            made.append(h)
        x = np.array(made).T
    return x


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_it_is_the_definition(cell, dtype):
    rng = np.random.default_rng(1)
    step = stack(rng, cell, [5, 7, 6], dtype=dtype)
    x = numbers(rng, 2, 5, 1, 40, dtype=dtype)
    y = whole(step, x)
    for session in range(2):
        wanted = defined(step, x[session, :, 0].astype(np.float64))
        np.testing.assert_allclose(y[session, :, 0], wanted, 1e-3, 4e3 * np.finfo(dtype).eps)


def test_an_output_is_projected():
    rng = np.random.default_rng(2)
    step = stack(rng, "lstm", [5, 7, 7], projected=3)
    x = numbers(rng, 1, 5, 1, 30)
    np.testing.assert_allclose(whole(step, x)[0, :, 0], defined(step, x[0, :, 0]), 1e-3, 1e-5)
    np.testing.assert_array_equal(in_parts(step, cut(rng, 30, 4), x), whole(step, x))


@pytest.mark.parametrize("cell", CELLS)
def test_the_bits_depend_on_no_cut_and_no_other_session(cell):
    rng = np.random.default_rng(3)
    step = stack(rng, cell, [33, 40, 36])
    x = numbers(rng, 21, 33, 1, 90)
    y = whole(step, x)
    for borders in (list(range(91)), cut(rng, 90, 9), cut(rng, 90, 40)):
        np.testing.assert_array_equal(in_parts(step, borders, x[:3]), y[:3])
    for sessions in (slice(0, 1), slice(2, 4), slice(5, 14), slice(0, 17)):
        np.testing.assert_array_equal(in_parts(step, cut(rng, 90, 50), x[sessions]), y[sessions])
    strided = np.zeros((21, 33, 1, 180), np.float32)[..., ::2]
    strided[...] = x
    np.testing.assert_array_equal(whole(step, strided), y)


def test_the_bits_depend_on_no_threads(python):
    text = """
import numpy as np, tconv, hashlib
from stream_steps import numbers, whole
from test_stream_recurrent import stack
tconv.set_num_threads(int({threads}))
rng = np.random.default_rng(4)
step = stack(rng, "lstm", [64, 256, 256])
print(hashlib.md5(whole(step, numbers(rng, 1, 64, 1, 70)).tobytes()).hexdigest())
"""
    assert python(text.format(threads=1)) == python(text.format(threads=2), OPENBLAS_NUM_THREADS=1)


def test_bits_hold_without_the_kernel(python):
    text = """
import numpy as np
from stream_steps import cut, in_parts, numbers, whole
from test_stream_recurrent import stack
rng = np.random.default_rng(5)
step = stack(rng, "gru", [24, 48, 48])
x = numbers(rng, 5, 24, 1, 40)
y = whole(step, x)
assert (in_parts(step, cut(rng, 40, 5), x[:2]) == y[:2]).all()
assert np.isfinite(y).all()
"""
    python(text, TCONV_SIMD="0")


def test_a_stream_keeps_its_memory():
    rng = np.random.default_rng(6)
    step = stack(rng, "lstm", [6, 6, 6])
    graph = StreamGraph([Node(step, (0,)), Node(Sum(), (0, 1))], 6)
    stream = Stream(graph, batch=2)
    x = numbers(rng, 2, 6, 50)
    borders = cut(rng, 50, 7)
    chunks = [stream.push(x[:, :, a:b]) for a, b in itertools.pairwise(borders)]
    np.testing.assert_array_equal(np.concatenate([*chunks, stream.flush()], 2), stream(x))


def test_infinities_are_numbers():
    rng = np.random.default_rng(7)
    step = stack(rng, "lstm", [3, 4])
    x = numbers(rng, 1, 3, 1, 9)
    x[0, 0, 0, 4] = 3e38
    y = whole(step, x)
    assert np.isfinite(y).all()
    x[0, 1, 0, 5] = np.nan
    y = whole(step, x)
    assert np.isfinite(y[..., :5]).all()
    assert np.isnan(y[..., 5:]).all()


def test_weights_that_do_not_fit_are_refused():
    rng = np.random.default_rng(8)
    good = layer(rng, "lstm", 3, 4)
    with pytest.raises(ArgumentError, match="cell is 'rnn'; one of lstm, gru, tanh, relu is needed"):
        Recurrent("rnn", (good,))
    with pytest.raises(ArgumentError, match="has no layer; at least one is needed"):
        Recurrent("lstm", ())
    with pytest.raises(ShapeError, match=r"hidden_bias of layer 0 of the lstm has shape \(15,\); \(16,\) is needed"):
        Recurrent("lstm", (good._replace(hidden_bias=good.hidden_bias[1:]),))
    with pytest.raises(ShapeError, match=r"input of layer 1 of the lstm has shape \(16, 3\); \(16, 4\) is needed"):
        Recurrent("lstm", (good, good))
    with pytest.raises(ShapeError, match="it has a weight for 3 input channels; it is given 4"):
        StreamGraph([Node(Recurrent("lstm", (good,)), (0,))], 4)
