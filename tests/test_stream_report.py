"""The report of a stream against the stream: latency, context, look-ahead, and the causal variant that it names."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tconv import Geometry, window
from tconv.models import Convolution
from tconv.models.layers import Node
from tconv.models.steps.arithmetic import Sum
from tconv.models.steps.padding import Padding
from tconv.models.steps.pointwise import Pointwise
from tconv.models.steps.strided_convolution import StridedConvolution
from tconv.streaming.chain_layers import ordinary_convolution
from tconv.streaming.report import StreamReport
from tconv.streaming.stream_graph import StreamGraph


def ones(*shape):
    return np.ones(shape, np.float32)


def conv(kernel, sides, dilation=1):
    return Convolution.ordinary(ones(1, 1, 1, kernel), ones(1), ((0, 0), sides), (1, dilation))


def up(kernel, stride, crop):
    return Convolution(ones(1, 1, 1, kernel), Geometry((1, kernel), (1, stride), ((0, 0), crop)), ones(1))


def strided(kernel, stride, sides):
    return StridedConvolution(ones(1, 1, 1, kernel), ones(1), (1, stride), ((0, 0), sides))


def chain(*steps):
    return StreamGraph([Node(step, (place,)) for place, step in enumerate(steps)], 1)


def decoder():
    """Return a vocoder with two branches in each block, of which one waits longer."""
    return StreamGraph(
        [
            Node(conv(7, (3, 3)), (0,)),
            Node(up(16, 8, (4, 4)), (1,)),
            Node(conv(3, (1, 1)), (2,)),
            Node(conv(11, (15, 15), 3), (2,)),
            Node(Sum(), (3, 4)),
            Node(Pointwise("elu"), (5,)),
            Node(up(4, 2, (1, 1)), (6,)),
            Node(Padding(((0, 0), (3, 3)), "reflect"), (7,)),
            Node(conv(7, (0, 0)), (8,)),
            Node(Pointwise("tanh"), (9,)),
        ],
        1,
    )


def reads(graph, length):
    """Return [inputs, outputs] of a linear graph: True where an input changes an output."""
    base = graph.whole(ones(1, 1, 1, length))
    x = np.repeat(ones(1, 1, 1, length), length, 0)
    x[range(length), 0, 0, range(length)] = 2
    return (graph.whole(x) != base)[:, 0, 0]


@pytest.mark.parametrize(
    "graph",
    [
        chain(conv(7, (3, 3)), up(16, 8, (4, 4)), conv(5, (4, 4), 2)),
        chain(conv(3, (2, 0)), up(6, 3, (0, 3)), conv(1, (0, 0))),
        chain(up(4, 2, (1, 1)), strided(6, 3, (2, 1)), up(3, 3, (0, 0))),
    ],
)
def test_context_is_that_of_the_outputs_themselves(graph):
    report = StreamReport(graph)
    length = 40 * graph.period
    joined = reads(graph, length)
    outputs, middle = int(graph.period * report.rate), 20 * graph.period
    at = int(middle * report.rate)
    chunk = np.flatnonzero(joined[:, at : at + outputs].any(1))
    assert report.left_context == max(0, middle - chunk[0])
    assert report.right_context == max(0, chunk[-1] + 1 - middle - graph.period)
    spans = [np.flatnonzero(joined[:, place]) for place in range(at, at + outputs)]
    assert report.receptive_field == max(span[-1] - span[0] + 1 for span in spans)


@st.composite
def layers(draw):
    kernel, dilation = draw(st.integers(1, 5)), draw(st.integers(1, 2))
    reach = dilation * (kernel - 1)
    lo = draw(st.integers(0, reach))
    kind = draw(st.sampled_from(["convolution", "transposed", "strided"]))
    if kind == "convolution":
        return ordinary_convolution(kernel, 1, [(lo, reach - lo)], dilation), conv(kernel, (lo, reach - lo), dilation)
    stride = draw(st.integers(1, 3))
    lo, total = draw(st.integers(0, kernel - 1)), kernel - 1
    if kind == "strided":
        sides = (lo, total - lo)
        return ordinary_convolution(kernel, stride, [sides]), strided(kernel, stride, sides)
    kernel += stride
    sides = (lo % (kernel - stride + 1), max(0, kernel - stride - lo))
    return Geometry(kernel, stride, [sides]), up(kernel, stride, sides)


@settings(max_examples=40)
@given(st.lists(layers(), min_size=1, max_size=4))
def test_a_chain_has_the_window_of_its_geometries(drawn):
    geometries, steps = zip(*drawn, strict=True)
    report, w = StreamReport(chain(*steps)), window(geometries)
    assert (report.rate,) == w.rate
    assert (report.latency,) == w.latency
    assert report.graph.period == w.period[0]
    assert (report.left_context, report.right_context) == (w.left_context[0], w.right_context[0])
    assert report.receptive_field == w.receptive_field[0]
    assert sum(row.samples for row in report.look_ahead) == w.stacks[0].latency


def test_look_ahead_follows_the_path_that_waits_longest():
    report = StreamReport(decoder(), sample_rate=24_000)
    assert [(*row,) for row in report.look_ahead] == [
        ("1 convolution", 48, "padding 3:3 -> 6:0"),
        ("2 transposed convolution", 8, "crop 4:4 -> 0:8"),
        ("4 convolution", 30, "padding 15:15 -> 30:0"),
        ("7 transposed convolution", 1, "crop 1:1 -> 0:2"),
        ("9 convolution", 3, "padding 3:3 -> 6:0"),
    ]
    assert report.latency == sum(row.samples for row in report.look_ahead) == 90
    assert report.latency_ms == 3.75
    assert report.causal_latency == 0


def test_the_causal_variant_is_what_it_says():
    graph = chain(conv(6, (6, 0)), conv(7, (9, 3)), up(6, 2, (0, 4)), Padding(((0, 0), (9, 0))), conv(9, (0, 0)))
    # padded more than enough, its outputs come before their time, but for the last layer's
    assert [row.samples for row in StreamReport(graph).look_ahead] == [-2, -6, -1]
    assert StreamReport(graph).causal_latency == StreamReport(graph).latency == 0
    valid = chain(conv(7, (0, 0)))  # 6 outputs fewer than inputs
    (row,) = StreamReport(valid).look_ahead
    assert row == ("1 convolution", Fraction(6), "padding 0:0 -> 6:0")
    assert StreamReport(valid).causal_latency == 0


def test_a_variant_that_does_not_fit_is_not_promised():
    """Two convolutions that read one padding need different ones, and moved crops can leave a sum of other lengths."""
    shared = [
        Node(Padding(((0, 0), (3, 3))), (0,)),
        Node(conv(7, (0, 0)), (1,)),
        Node(conv(5, (-1, -1)), (1,)),
        Node(Sum(), (2, 3)),
    ]
    assert StreamReport(StreamGraph(shared, 1)).causal_latency is None
    lengths = [Node(conv(5, (0, 0)), (0,)), Node(Padding(((0, 0), (-2, -2))), (0,)), Node(Sum(), (1, 2))]
    report = StreamReport(StreamGraph(lengths, 1))
    assert report.causal_latency is None
    assert "With all of these moved" not in str(report)


class Accumulator:
    """Sum of all inputs so far."""

    def output_channels(self, given):
        return given[0]

    def extent(self, sizes):
        return sizes[0]

    def source(self, number, outputs, sizes):
        return slice(outputs.start, max(outputs.stop, outputs.start + 1))

    def first(self, output):
        return output

    def new_memory(self):
        return (np.zeros(1, np.float32),)

    def compute(self, given, sizes, out, memory=()):
        raise NotImplementedError


def test_recurrent_layers_remember_all_inputs():
    report = StreamReport(chain(Accumulator(), conv(3, (1, 1))))
    assert report.left_context is None
    assert report.receptive_field is None
    assert report.right_context == 1
    assert "context          the outputs of one input depend on all inputs before it and 1 after it" in str(report)


def test_the_text():
    report = StreamReport(decoder(), sample_rate=24_000, difference=2.345e-7)
    assert str(report).splitlines() == [
        "stateful: chunks of any length give the same bits as stream(x), the whole at once",
        "PyTorch's own offline result: at most 2.3e-07 of the largest output from it on the example",
        "",
        "rate             16 outputs per input",
        "latency          90 outputs = 3.75 ms at 24000 Hz: a push holds back the last ones until later inputs come",
        "context          the outputs of one input depend on 6 inputs before it and 6 after it",
        "receptive field  13 inputs: the most that a single output depends on",
        f"state            {report.state_bytes:,} bytes per session",
        "work             1.00 of the offline run's: nothing is computed twice",
        "",
        "look-ahead of             outputs  share              none with",
        "1 convolution                  48    53%     padding 3:3 -> 6:0",
        "2 transposed convolution        8     9%        crop 4:4 -> 0:8",
        "4 convolution                  30    33%  padding 15:15 -> 30:0",
        "7 transposed convolution        1     1%        crop 1:1 -> 0:2",
        "9 convolution                   3     3%     padding 3:3 -> 6:0",
        "With all of these moved, in a model made and trained so, the latency is 0: 90 outputs less.",
    ]
    windows = str(StreamReport(decoder(), is_stateful=False, work=2.5, difference=0.0, against="Keras"))
    assert windows.startswith(
        "exact windows: every output is computed from all inputs that it depends on; equal but for"
    )
    assert "Keras's own offline result: equal to it, bit for bit, on the example" in windows
    assert "work             2.50 of the offline run's: contexts are computed again" in windows
    deep = str(StreamReport(chain(*[conv(2 * k + 3, (k + 1, k + 1)) for k in range(14)])))
    rows = [line.split() for line in deep.splitlines()]
    assert ["14", "convolution", "14", "13%", "padding", "14:14", "->", "28:0"] in rows
    assert ["4", "others,", "in", "sum", "10", "10%", "each", "moved", "likewise"] in rows
    causal = str(StreamReport(chain(conv(3, (2, 0))), sample_rate=8000))
    assert "latency          0 outputs: causal" in causal
    assert "look-ahead of" not in causal
