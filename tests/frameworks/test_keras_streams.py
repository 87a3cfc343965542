"""Streams of Keras models: any chunks give the bits of the whole, which is what the model computes."""

import doctest
import importlib
import os
import re

import numpy as np
import pytest

os.environ["KERAS_BACKEND"] = "torch"

import keras

import tconv.keras
from tconv.errors import ArgumentError, CheckError, DtypeError, ShapeError, StreamError

L, ops = keras.layers, keras.ops
C = 4


def sequential(*layers, shape=(None, C)):
    return keras.Sequential([keras.Input(shape), *layers])


def with_weights(model, seed=0):
    """Return the model with random weights, whose biases are not 0."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        values = 0.4 * rng.standard_normal(tuple(weight.shape))
        weight.assign((np.abs(values) + 0.5 if "variance" in weight.path else values).astype(np.float32))
    return model


def check(model, length=24, cuts=(1, 9)):
    """Compare a stream in random chunks with the whole, and the whole with the model. Return the stream."""
    rng = np.random.default_rng(length)
    stream = tconv.keras.stream(with_weights(model))
    first = not stream.channels_last[0]
    x = rng.standard_normal((1, C, length) if first else (1, length, C)).astype(np.float32)
    time, whole = 2 if first else 1, stream(x)
    expected = ops.convert_to_numpy(model(x))
    assert np.abs(whole - expected).max() <= 1e-5 * np.abs(expected).max()
    last = 1 if stream.channels_last[1] else 2
    for longest in cuts:
        stream.reset()
        parts, at = [], 0
        while at < length:
            count = 1 if longest == 1 else int(rng.integers(0, longest))
            parts.append(stream.push(x.take(range(at, min(at + count, length)), time)))
            at += count
        np.testing.assert_array_equal(np.concatenate([*parts, stream.flush()], last), whole)
    return stream


# -- layers ----------------------------------------------------------------------------------------------------------

CONVOLUTIONS = {
    f"{padding}, k={k}, s={s}, d={d}, g={g}": L.Conv1D(
        6, k, strides=s, padding=padding, dilation_rate=d, groups=g, activation="elu"
    )
    for padding in ("valid", "same", "causal")
    for k, s, d, g in ((3, 1, 1, 1), (4, 1, 2, 2), (5, 2, 1, 1), (4, 2, 1, 1), (3, 4, 1, 2))
}
TRANSPOSED = {
    f"{padding}, k={k}, s={s}, op={op}, d={d}": L.Conv1DTranspose(
        3, k, strides=s, padding=padding, output_padding=op, dilation_rate=d
    )
    for padding in ("valid", "same")
    for k, s, op, d in ((4, 2, None, 1), (3, 2, 1, 1), (5, 3, 0, 1), (2, 3, None, 1), (16, 8, None, 1), (3, 1, None, 2))
}
LAYERS = {
    "tconv's": tconv.keras.Conv1DTranspose(6, 4, strides=2, padding="same", dilation_rate=2, groups=2),
    "depthwise": L.DepthwiseConv1D(3, strides=2, padding="same", depth_multiplier=2),
    "separable": L.SeparableConv1D(5, 3, padding="same", depth_multiplier=2, activation="gelu"),
    "mean": L.AveragePooling1D(3, 2),
    "largest, same": L.MaxPooling1D(4, 3, padding="same"),
    "prelu": L.PReLU(shared_axes=[1]),
    "relu": L.ReLU(max_value=0.8, negative_slope=0.1),
    "softmax": L.Softmax(),
    "upsampling": L.UpSampling1D(3),
    "padding": L.ZeroPadding1D((2, 3)),
    "cropping": L.Cropping1D((2, 3)),
    "batch norm": L.BatchNormalization(),
    "layer norm": L.LayerNormalization(),
    "rms norm": L.RMSNormalization(),
    "every sample": L.TimeDistributed(L.Dense(3, activation="relu")),
    "rescaling": L.Rescaling(0.5, 0.25),
    "lstm": L.LSTM(3, return_sequences=True),
    "gru": L.GRU(3, return_sequences=True),
    "plain": L.SimpleRNN(3, return_sequences=True, use_bias=False),
}


@pytest.mark.parametrize("layer", CONVOLUTIONS.values(), ids=CONVOLUTIONS)
def test_convolutions(layer):
    check(sequential(layer))


@pytest.mark.parametrize("layer", TRANSPOSED.values(), ids=TRANSPOSED)
def test_transposed_convolutions(layer):
    check(sequential(layer), length=13)


@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
def test_layers(layer):
    check(sequential(layer))


@pytest.mark.parametrize("name", [*tconv.keras.stream_activations.ACTIVATIONS, "glu", "softmax", "log_softmax"])
def test_activations(name):
    check(sequential(L.Dense(6, activation=name)), cuts=(9,))


# -- models ----------------------------------------------------------------------------------------------------------


def test_a_decoder_with_everything_behind_each_other():
    layers = [
        L.Conv1D(8, 7, padding="causal"),
        L.BatchNormalization(),
        L.Conv1DTranspose(6, 8, strides=4, padding="same", activation="elu"),
        L.ZeroPadding1D((0, 5)),
        L.Conv1D(6, 3, padding="same", dilation_rate=3),
        L.LeakyReLU(0.1),
        L.Dropout(0.5),
        L.Cropping1D((0, 2)),
        L.Conv1DTranspose(1, 4, strides=2, padding="same", activation="tanh"),
    ]
    check(sequential(*layers))


def test_channels_first():
    layers = [
        L.Conv1D(6, 3, padding="same", data_format="channels_first"),
        L.Conv1DTranspose(6, 4, strides=2, padding="same", data_format="channels_first"),
        L.BatchNormalization(axis=1),
        L.PReLU(shared_axes=[2]),
    ]
    check(sequential(*layers, shape=(C, None)))
    check(sequential(*layers, L.Permute((2, 1)), L.Dense(3), shape=(C, None)))


def functional():
    """Return a functional model: gates, functions of keras.ops, a shared layer, a model within it."""
    x = keras.Input((None, C))
    h = L.Conv1D(8, 3, padding="causal")(x)
    gated = ops.tanh(h[..., :4]) * ops.sigmoid(h[..., 4:])
    left, right = ops.split(h, 2, axis=-1)
    inner = sequential(L.Dense(4), L.LeakyReLU())
    y = L.Add()([inner(gated * 0.5 + x), left, inner(right)])
    y = 1.0 - ops.maximum(y, -0.1) / (2 + ops.abs(right))
    y = ops.pad(y, ((0, 0), (3, 0), (0, 0)))[:, 1:-2]
    y = y + ops.sin(3.0 * y) ** 2 / 3.0
    many = [y, L.Subtract()([y, right]), L.Multiply()([y, left]), L.Maximum()([left, right]), L.Average()([y, x])]
    return keras.Model(x, L.Concatenate()(many))


def test_functional_models():
    check(functional(), length=14)
    check(sequential(functional(), L.Conv1DTranspose(2, 4, 2)), length=14, cuts=(9,))


def test_a_subclassed_model_is_recorded_by_calling_it():
    class Decoder(keras.Model):
        def __init__(self):
            super().__init__()
            self.up, self.mix = L.Conv1DTranspose(3, 4, 2, "same"), L.Dense(2)

        def call(self, x):
            return ops.tanh(self.mix(self.up(x))) * 2

    model, x = Decoder(), keras.Input((None, C))
    with pytest.raises(StreamError, match=re.escape("keras.Model(x, model.call(x))")):
        tconv.keras.stream(model, strict=True)
    check(keras.Model(x, model.call(x)))


def test_sessions_start_pause_and_end_on_their_own():
    model = with_weights(sequential(L.Conv1DTranspose(2, 5, 2), L.LSTM(3, return_sequences=True)))
    stream = tconv.keras.stream(model, batch=2)
    x = np.random.default_rng(0).standard_normal((2, 12, C), np.float32)
    whole = stream(x)
    parts = [
        stream.push({0: x[0, :5]})[0],
        stream.push({1: x[1, :3], 0: x[0, 5:6]})[0],
        stream.push({0: x[0, 6:]})[0],
        stream.flush(0),
    ]
    np.testing.assert_array_equal(np.concatenate(parts), whole[0])
    with pytest.raises(ArgumentError, match="ended"):
        stream.push({0: x[0]})
    assert stream.open() == 2


def test_the_contract_of_streams():
    layers = [L.Conv1DTranspose(5, 7, 3, "same"), L.GRU(3, return_sequences=True), L.Conv1D(2, 5, padding="same")]
    stream = tconv.keras.stream(with_weights(sequential(*layers)))
    x = np.random.default_rng(0).standard_normal((1, 24, C), np.float32)
    report = tconv.verify_stream(stream, x)
    assert stream.layout == "[N, t, 4] -> [N, t, 2]"
    assert repr(stream).startswith("<stream [N, t, 4] -> [N, t, 2] of float32, ")
    assert [row.layer for row in stream.report.look_ahead] == [layers[0].name, layers[2].name]
    assert stream.report.against == "Keras"
    assert not [text for text in report.checks.values() if text.startswith("not checked")], report


@pytest.mark.parametrize("name", ["model_stream", "stream_reading", "stream_convolutions"])
def test_examples(name):
    module = importlib.import_module(f"tconv.keras.{name}")
    assert doctest.testmod(module, optionflags=doctest.ELLIPSIS).failed == 0


def test_tensors_return_tensors():
    stream = tconv.keras.stream(with_weights(sequential(L.Conv1DTranspose(2, 4, 2))))
    x = ops.ones((1, 6, C))
    assert ops.is_tensor(stream(x))
    assert ops.is_tensor(stream.push(x))
    assert isinstance(stream.flush(), np.ndarray)


def test_a_stride_needs_whole_blocks_where_its_padding_depends_on_the_length():
    model = with_weights(sequential(L.Conv1D(3, 3, strides=2, padding="same")))
    stream = tconv.keras.stream(model)
    x = np.random.default_rng(0).standard_normal((1, 8, C), np.float32)
    first = stream.push(x[:, :7])
    with pytest.raises(ShapeError, match="until it is a multiple of 2"):
        stream.flush()
    made = np.concatenate([first, stream.push(x[:, 7:]), stream.flush()], 1)
    np.testing.assert_array_equal(made, stream(x))


# -- refusals --------------------------------------------------------------------------------------------------------


def functional_of(function):
    x = keras.Input((None, C))
    return keras.Model(x, function(x))


class Doubled(L.Conv1D):
    """Layer with a call of its own."""

    def call(self, x):
        return 2 * super().call(x)


REFUSED = {
    "depends on all of time": lambda: functional_of(lambda x: x * L.GlobalAveragePooling1D(keepdims=True)(x)),
    "(GroupNormalization) cannot be streamed": lambda: sequential(L.GroupNormalization(2)),
    "(Bidirectional) cannot be streamed": lambda: sequential(L.Bidirectional(L.LSTM(2, return_sequences=True))),
    "(MultiHeadAttention) cannot": lambda: functional_of(lambda x: L.MultiHeadAttention(1, 2)(x, x)),
    "Write return_sequences=True": lambda: sequential(L.LSTM(2)),
    "its first output needs the last": lambda: sequential(L.GRU(2, return_sequences=True, go_backwards=True)),
    "Write reset_after=True": lambda: sequential(L.GRU(2, return_sequences=True, reset_after=False)),
    "its activation is relu; tanh is needed": lambda: sequential(L.LSTM(2, "relu", return_sequences=True)),
    "is called with initial_state": lambda: functional_of(
        lambda x: L.GRU(2, return_sequences=True)(x, initial_state=ops.zeros((1, 2)))
    ),
    "Write keras.layers.PReLU(shared_axes=[1])": lambda: sequential(L.PReLU(), shape=(16, C)),
    "it computes in bfloat16": lambda: sequential(L.Dense(2, dtype="bfloat16")),
    "has a call of its own": lambda: sequential(Doubled(2, 3)),
    "its function is code": lambda: functional_of(L.Lambda(lambda x: 2 * x)),
    "code that cannot be read": lambda: sequential(L.Dense(2, activation=lambda x: x)),
    "ranges of channels and of time": lambda: functional_of(lambda x: x[:, ::-1]),
    "(Mean) cannot be streamed": lambda: functional_of(lambda x: x - ops.mean(x, 1, keepdims=True)),
    "the model has 2 outputs": lambda: functional_of(lambda x: [L.Dense(2)(x), x]),
    "[N, time, channels] is needed": lambda: sequential(L.Dense(2), shape=(C,)),
    "it takes channels_first": lambda: sequential(
        L.Conv1D(4, 3), L.Conv1D(2, 3, data_format="channels_first"), shape=(16, C)
    ),
    "is not built": lambda: keras.Sequential([L.Dense(2)]),
}


@pytest.mark.parametrize(("text", "model"), REFUSED.items(), ids=REFUSED)
def test_refusals(text, model):
    with pytest.raises(StreamError, match=re.escape(text)):
        tconv.keras.stream(model(), strict=True)


def test_bad_chunks_leave_the_state():
    stream = tconv.keras.stream(with_weights(sequential(L.Conv1DTranspose(2, 4, 2))))
    x = np.random.default_rng(0).standard_normal((1, 6, C), np.float32)
    first = stream.push(x[:, :3])
    for wrong, error in ((x[:, :, :3], ShapeError), (x[0], ShapeError), (x.astype(np.float64), DtypeError)):
        with pytest.raises(error, match="is needed"):
            stream.push(wrong)
    made = np.concatenate([first, stream.push(x[:, 3:]), stream.flush()], 1)
    np.testing.assert_array_equal(made, stream(x))


def test_only_models_have_streams():
    with pytest.raises(ArgumentError, match="a model or layer of Keras 3 is needed"):
        tconv.keras.stream(3)


# -- windows ---------------------------------------------------------------------------------------------------------


def windowed(model):
    """Return a stream on windows, compared with the model."""
    stream = tconv.keras.stream(with_weights(model))
    assert stream.reason
    x = np.random.default_rng(0).standard_normal((1, 24, C), np.float32)
    made = np.concatenate([stream.push(x[:, :9]), stream.push(x[:, 9:]), stream.flush()], 1)
    expected = ops.convert_to_numpy(model(x))
    np.testing.assert_allclose(made, expected, atol=1e-5 * np.abs(expected).max())
    return stream


def test_a_model_that_cannot_be_read_runs_on_windows():
    stream = windowed(sequential(Doubled(2, 3), L.Conv1DTranspose(3, 4, 2)))
    assert "Doubled has a call of its own" in stream.reason
    assert stream.report.way == "exact windows"
    with pytest.raises(StreamError, match=r"the time of a group.* and on windows of its input: "):
        tconv.keras.stream(sequential(L.Conv1D(3, 3), L.GroupNormalization(1)))


def test_a_model_without_time_is_refused_with_both_reasons():
    with pytest.raises(StreamError, match=r"Flatten.* and on windows of its input: the model (does not take|returns)"):
        tconv.keras.stream(sequential(L.Flatten(), shape=(16, C)))


def test_a_model_whose_backend_differs_is_refused():
    model = sequential(L.AveragePooling1D(3, 2, padding="same"))
    with pytest.raises(CheckError, match="differs from the model"):
        tconv.keras.stream(model, strict=True)
