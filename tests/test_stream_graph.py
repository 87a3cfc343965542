"""Streams of graphs: any chunks give the bits of the whole."""

import numpy as np
import pytest

from tconv import Geometry
from tconv.models import Convolution
from tconv.models.layers import Node
from tconv.models.steps.arithmetic import Sum
from tconv.models.steps.padding import Padding
from tconv.models.steps.pointwise import Pointwise
from tconv.models.steps.strided_convolution import StridedConvolution
from tconv.streaming.sessions import Stream
from tconv.streaming.stream_graph import StreamGraph


def numbers(rng, *shape):
    return rng.standard_normal(shape, dtype=np.float32)


def conv(rng, into, out, kernel, sides, dilation=1):
    weight = numbers(rng, out, into, 1, kernel)
    return Convolution.ordinary(weight, numbers(rng, out), ((0, 0), sides), (1, dilation))


def decoder(rng):
    """Return a graph with every kind of border: reflected, causal, centred, looking ahead, strided, skipped."""
    up = Geometry((1, 8), (1, 4), ((0, 0), (2, 2)))
    return StreamGraph(
        [
            Node(Padding(((0, 0), (6, 0)), "reflect"), (0,)),
            Node(conv(rng, 3, 8, 7, (0, 0)), (1,)),
            Node(Pointwise("elu"), (2,)),
            Node(Convolution(numbers(rng, 8, 6, 1, 8), up, numbers(rng, 6)), (3,)),
            Node(conv(rng, 6, 6, 3, (3, 3), 3), (4,)),
            Node(Sum(), (4, 5)),
            Node(StridedConvolution(numbers(rng, 5, 6, 1, 4), numbers(rng, 5), (1, 2), ((0, 0), (1, 1))), (6,)),
            Node(Padding(((0, 0), (3, 4)), "reflect"), (7,)),
            Node(conv(rng, 5, 2, 8, (0, 0)), (8,)),
            Node(Pointwise("tanh"), (9,)),
        ],
        3,
    )


@pytest.mark.parametrize("longest", [1, 2, 5, 30])
def test_any_chunks_give_the_bits_of_the_whole(longest):
    rng = np.random.default_rng(longest)
    stream = Stream(decoder(rng), batch=2)
    x = numbers(rng, 2, 3, 57)
    whole = stream(x)
    chunks, at = [], 0
    while at < x.shape[2]:
        count = 1 if longest == 1 else int(rng.integers(0, longest))
        chunks.append(stream.push(x[:, :, at : at + count]))
        at += count
    made = np.concatenate([*chunks, stream.flush()], 2)
    np.testing.assert_array_equal(made, whole)


def test_counts_predict_latency_and_state():
    graph = decoder(np.random.default_rng(0))
    stream = Stream(graph, sample_rate=1000)
    assert graph.rates[-1] == 2
    assert graph.period == 1
    x = numbers(np.random.default_rng(1), 1, 3, 64)
    made = 0
    for at in range(64):
        made += stream.push(x[:, :, at : at + 1]).shape[2]
        state = stream.state(0)
        arrays = [array for name, array in state.items() if "_" in name]
        assert sum(array.nbytes for array in arrays) == graph.state_bytes_after(at + 1)
    assert 2 * 64 - made == stream.latency
    assert stream.latency_ms == stream.latency
    assert stream.state_bytes == graph.state_bytes_after(64)
