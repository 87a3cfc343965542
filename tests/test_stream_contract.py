"""`tconv.verify_stream`: streams that keep the contract pass, and each kind of broken one is named."""

import re

import numpy as np
import pytest

import tconv
from stream_breakers import BROKEN, WindowedStream
from tconv import Geometry
from tconv.errors import ArgumentError, ContractError, ShapeError, TconvError

X = np.random.default_rng(1).standard_normal((1, 3, 40), np.float32)


def test_a_stream_of_another_library_passes():
    report = tconv.verify_stream(WindowedStream(), X, context=(2, 0))
    assert report.checks["latency"] == "0 output samples wait for inputs, as the stream says"
    assert report.checks["sessions"].startswith("not checked")
    assert "2 inputs before its own, and 0 after it, as the context (2, 0) says" in str(report)
    tconv.verify_stream(WindowedStream, X, reference=WindowedStream())  # a function that makes one


class OneChannel(WindowedStream):
    """Stream whose outputs have no axis of channels, so that time is another axis in them."""

    def __call__(self, x):
        return super().__call__(x)[:, 0]

    def push(self, chunk):
        if self.ended or chunk.shape[:2] != (1, 3):
            raise ValueError("refused")
        x = np.concatenate([self.window, chunk], 2)
        self.window = x[:, :, max(0, x.shape[2] - self.context) :].copy()
        return self(x)[:, 4 * (x.shape[2] - chunk.shape[2]) :] if chunk.shape[2] else None

    def flush(self):
        self.ended = True


def test_time_may_be_another_axis_of_the_outputs():
    report = tconv.verify_stream(OneChannel(), X)
    assert report.subject == "[1, 3, 40] -> [1, 160], time on axis 2 and 1"
    assert not report.checks["latency"].startswith("not checked")


@pytest.mark.parametrize("kind", BROKEN, ids=lambda kind: kind.__name__)
def test_each_broken_stream_is_named(kind):
    with pytest.raises(ContractError, match=BROKEN[kind]):
        tconv.verify_stream(kind(), X)


def test_another_order_of_sums_needs_a_tolerance():
    kind = next(kind for kind in BROKEN if kind.__name__ == "TailOfSums")
    reference = WindowedStream()
    report = tconv.verify_stream(TailOfSumsWithoutState(kind), X, reference=reference, tolerance=1e-5)
    assert report.checks["cuts"].startswith("within 1e-05")


class TailOfSumsWithoutState:
    """The stream without its state, which is another one's."""

    def __init__(self, kind):
        stream = kind()
        self.push, self.flush, self.reset = stream.push, stream.flush, stream.reset


class WithoutEmptyChunks(WindowedStream):
    """Stream with an error for chunks without a sample."""

    def made(self, x, count):
        return super().made(x, count) if count else [][0]


class AllAtTheEnd(WindowedStream):
    """Stream that keeps its input, and computes nothing before the flush."""

    latency = None

    def push(self, chunk):
        if self.ended or chunk.shape[:2] != (1, 3):
            raise ValueError("refused")
        self.window = np.concatenate([self.window, chunk], 2)

    def flush(self):
        self.ended = True
        return self(self.window)


def test_errors_of_the_stream_are_breaches():
    with pytest.raises(
        ContractError, match=r"^push of an empty chunk \(chunk \d+ of the cuts 0, [\d, .]+\) raised IndexError: list"
    ) as caught:
        tconv.verify_stream(WithoutEmptyChunks(), X)
    assert isinstance(caught.value.__cause__, IndexError)
    with pytest.raises(ArgumentError, match=r"the example has shape \(1, 2, 40\); the whole of 40 samples raised"):
        tconv.verify_stream(WindowedStream(), X[:, :2])


def test_a_stream_that_waits_for_the_end_is_named():
    report = tconv.verify_stream(AllAtTheEnd(), X)
    assert report.checks["final"] == "nothing comes before flush, of an input of 40 samples"
    assert report.checks["latency"].startswith("nothing comes before flush")


def test_a_wrong_context_is_named():
    with pytest.raises(ContractError, match=r"context is \(1, 0\); an output changes with an input 2 samples before"):
        tconv.verify_stream(WindowedStream(), X, context=(1, 0))


def test_objects_that_are_no_streams_are_refused():
    with pytest.raises(ArgumentError, match=r"without push, flush, reset; .* Write tconv.stream\(layer\)"):
        tconv.verify_stream(object(), X)
    with pytest.raises(ShapeError, match="3 samples on axis 2"):
        tconv.verify_stream(WindowedStream(), X[:, :, :3])
    with pytest.raises(ArgumentError, match="time_axis is 3"):
        tconv.verify_stream(WindowedStream(), X, time_axis=3)
    for wrong, text in (
        ({"tolerance": -1}, "tolerance is -1; a number from 0 on is needed"),
        ({"tolerance": "small"}, "tolerance is 'small'"),
        ({"context": (1, 0, 2)}, "context"),
        ({"context": "wide"}, "context"),
        ({"seed": 0.5}, "seed is 0.5; an integer is needed"),
    ):
        with pytest.raises(TconvError, match=re.escape(text)):
            tconv.verify_stream(WindowedStream(), X, **wrong)


@pytest.mark.parametrize(
    ("weight", "arguments", "shape"),
    [
        ((3, 2, 8), {"stride": 4, "padding": 2}, (2, 3, 40)),
        ((3, 2, 8), {"stride": 4, "padding": 2, "dialect": "keras"}, None),
        ((3, 2, 4, 3), {"geometry": Geometry((4, 3), (2, 1), ((0, 2), (1, 1)))}, (1, 3, 30, 5)),
        ((4, 2, 5), {"geometry": Geometry(5, 3, [(-2, -4)], 2, 2)}, (1, 4, 30)),
        ((4, 2, 2), {"geometry": Geometry(2, 5, [(0, -3)])}, (1, 4, 30)),
    ],
)
def test_streams_of_layers_keep_the_contract(weight, arguments, shape):
    rng = np.random.default_rng(0)
    if arguments.get("dialect") == "keras":
        w, x = rng.standard_normal((8, 2, 3)), rng.standard_normal((1, 40, 3))
        stream = tconv.stream(w, rng.standard_normal(2), dialect="keras", strides=4, padding="same")
    else:
        w, x = rng.standard_normal(weight, np.float32), rng.standard_normal(shape, np.float32)
        groups = arguments["geometry"].groups if "geometry" in arguments else 1
        bias = rng.standard_normal(weight[1] * groups, np.float32)
        stream = tconv.stream(w, bias, batch=len(x), **arguments)
    report = tconv.verify_stream(stream, x)
    assert not [text for name, text in report.checks.items() if text.startswith("not checked")], report
