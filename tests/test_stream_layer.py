"""`tconv.stream`: any cuts of any layer give the bits of the whole, in every dialect, dtype and number of axes."""

import itertools
import pickle
import re
import subprocess
import sys

import hypothesis
import hypothesis.strategies as st
import ml_dtypes
import numpy as np
import pytest

import tconv
from random_calls.strategies import shaped
from tconv import Geometry, TconvError
from tconv.errors import MethodError
from tconv.streaming.layer_step import LayerStep
from tconv.streaming.time_step import ENDLESS

DTYPES = [np.float32, np.float64, np.float16, ml_dtypes.bfloat16, np.complex64, np.complex128, np.int8, np.int64]


def numbers(rng, dtype, *shape):
    """Return random numbers of a dtype, negative ones too."""
    if np.dtype(dtype).kind in "iu":
        return rng.integers(-100, 100, shape).astype(dtype)
    values = rng.standard_normal(shape)
    return (values + 1j * rng.standard_normal(shape) if np.dtype(dtype).kind == "c" else values).astype(dtype)


def cut(rng, total, longest):
    places = [0]
    while places[-1] < total:
        places.append(min(total, places[-1] + int(rng.integers(0, longest + 1))))
    return list(itertools.pairwise(places)) if total else []


def streamed(stream, x, rng, longest=4, axis=2):
    """Return all outputs of a new input in random chunks, and the flush."""
    stream.reset()
    along = lambda a, b: (slice(None),) * axis + (slice(a, b),)  # noqa: E731
    parts = [stream.push(x[along(a, b)]) for a, b in cut(rng, x.shape[axis], longest)]
    return np.concatenate([*parts, stream.flush()], axis)


def same_bits(a, b):
    assert a.dtype == b.dtype
    assert a.shape == b.shape
    assert np.ascontiguousarray(a).tobytes() == np.ascontiguousarray(b).tobytes()


@hypothesis.given(shaped(largest=5), st.sampled_from(DTYPES), st.integers(0, 2**32 - 1), st.integers(1, 9))
@hypothesis.settings(max_examples=20, deadline=None)
def test_any_cuts_give_the_bits_of_the_whole(case, dtype, seed, longest):
    g, sizes = case
    rng = np.random.default_rng(seed)
    sizes = sizes[0] + int(rng.integers(0, 12)), *sizes[1:]
    into, out, batch = int(rng.integers(1, 20)) * g.groups, int(rng.integers(1, 20)), int(rng.integers(1, 4))
    w, bias = numbers(rng, dtype, into, out, *g.kernel), numbers(rng, dtype, out * g.groups) + np.ones(1, dtype)
    activation = ("leaky_relu", 0.1) if np.dtype(dtype).kind not in "ic" and seed % 2 else None
    x = numbers(rng, dtype, batch, into, *sizes)
    stream = tconv.stream(w, bias.astype(dtype), geometry=g, batch=batch, activation=activation)
    whole = stream(x)
    same_bits(streamed(stream, x, rng, longest), whole)
    try:  # the direct sum, where it runs
        layer = tconv.prepare(w, bias.astype(dtype), geometry=g, activation=activation, method="simd")
        same_bits(layer(x), whole)
    except MethodError:
        layer = tconv.prepare(w, bias.astype(dtype), geometry=g, activation=activation)
        np.testing.assert_allclose(layer(x), whole, rtol=1e-4, atol=1e-2)


@hypothesis.given(shaped(ndims=(1,), largest=6), st.integers(0, 2**32 - 1))
@hypothesis.settings(max_examples=10, deadline=None)
def test_the_state_is_the_window_of_inputs_and_no_more(case, seed):
    """The held samples are those that an output to come reads, by the definition; what was given is all that is known."""
    g, _ = case
    rng = np.random.default_rng(seed)
    w = numbers(rng, np.float32, 2 * g.groups, 1, *g.kernel)
    stream = tconv.stream(w, np.ones(g.groups, np.float32), geometry=g)
    (k,), (s,), (d,), ((lo, _),) = g.kernel, g.stride, g.dilation, g.crop
    given = held = 0
    for n in range(1, 18):
        given += stream.push(numbers(rng, np.float32, 1, 2 * g.groups, 1)).shape[2]
        held = sum(array.shape[1] for name, array in stream.state(0).items() if name == "value_0")
        known = min(max(0, s * n - lo), max(0, g.full_shape((n,))[0] - sum(g.crop[0])))
        assert given == known  # every output whose inputs are there, and that no end takes back
        later = [(o + lo - d * t, s) for o in range(given, given + 2 * s * d * k) for t in range(k)]
        read = min(i for i, rest in itertools.starmap(divmod, later) if not rest)
        assert held == max(0, n - max(0, read))
    assert stream.state_bytes == held * 2 * g.groups * 4


def test_sessions_start_pause_and_stop_on_their_own():
    rng = np.random.default_rng(3)
    g = Geometry(9, 3, [(2, 7)], 2, 2)
    w, bias = numbers(rng, np.float32, 6, 5, 9), numbers(rng, np.float32, 10)
    stream = tconv.stream(w, bias, geometry=g, batch=2)
    inputs, places, made, ended = {}, {}, {}, {}
    for _ in range(200):
        number = stream.open() if len(stream.sessions) < 6 and rng.random() < 0.2 else None
        for session in stream.sessions:
            if session not in inputs:
                inputs[session], places[session], made[session] = numbers(rng, np.float32, 6, 40), 0, []
        assert number is None or number in inputs
        some = [session for session in stream.sessions if rng.random() < 0.6]
        chunks = {}
        for session in some:
            count = int(rng.integers(0, 6))
            chunks[session] = inputs[session][:, places[session] : places[session] + count]
            places[session] += chunks[session].shape[1]
        for session, part in stream.push(chunks).items():
            made[session].append(part)
        for session in [each for each in stream.sessions if places[each] == 40]:
            same_bits(np.concatenate([*made[session], stream.flush(session)], 1), stream(inputs[session][None])[0])
            ended[session] = True
            stream.close(session)
        if stream.sessions and rng.random() < 0.1:
            session = stream.sessions[0]
            stream.reset(session)
            places[session], made[session] = 0, []
    assert len(ended) > 5


def test_a_state_goes_on_in_another_process(tmp_path):
    rng, shape = np.random.default_rng(0), (4, 3, 5, 3)
    w, bias, x = (
        numbers(rng, np.float32, *shape),
        numbers(rng, np.float32, 3),
        numbers(rng, np.float32, 1, 4, 30, *shape[3:]),
    )
    stream = tconv.stream(w, bias, stride=3, padding=1)
    whole = stream(x)
    before = stream.push(x[:, :, :17])
    np.savez(tmp_path / "state.npz", **stream.state())
    np.savez(tmp_path / "layer.npz", w=w, bias=bias, x=x)
    code = (
        "import numpy as np, tconv, sys\n"
        "layer, state = np.load('layer.npz'), np.load('state.npz')\n"
        "stream = tconv.stream(layer['w'], layer['bias'], stride=3, padding=1)\n"
        "stream.restore(state)\n"
        "rest = [stream.push(layer['x'][:, :, 17 + i : 18 + i]) for i in range(13)] + [stream.flush()]\n"
        "np.save('rest.npy', np.concatenate(rest, 2))\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)
    same_bits(np.concatenate([before, np.load(tmp_path / "rest.npy")], 2), whole)
    stream.push(x[:, :, 17:20])  # the saved state is no view of the stream's
    with pytest.raises(TconvError, match="another stream"):
        tconv.stream(2 * w, bias, stride=3, padding=1).restore(np.load(tmp_path / "state.npz"))


def test_nan_does_not_outlive_its_window():
    rng = np.random.default_rng(0)
    w, bias = numbers(rng, np.float32, 3, 2, 8), numbers(rng, np.float32, 2)
    stream = tconv.stream(w, bias, stride=2, padding=3)
    x = numbers(rng, np.float32, 1, 3, 30)
    x[0, 1, 11] = np.nan
    made = streamed(stream, x, rng)
    wrong = np.flatnonzero(np.isnan(made).any((0, 1)))
    (window,) = Geometry(8, 2, 3).output_window([slice(11, 12)])
    assert (wrong[0], wrong[-1] + 1) == (window.start, window.stop)
    same_bits(made, stream(x))


@pytest.mark.parametrize("why", ["no kernel", "a weight is infinite"])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_without_machine_code_each_sample_is_computed_alone(monkeypatch, why, dtype):
    if why == "no kernel":
        monkeypatch.setattr("tconv.kernels.simd.direct.reason_unavailable", lambda: "it is off")
    rng = np.random.default_rng(0)
    for shape in [(4, 3, 7), (4, 3, 5, 4)]:
        w, bias = numbers(rng, dtype, *shape), numbers(rng, dtype, 3)
        if why != "no kernel":
            w.flat[3] = np.inf
        stream = tconv.stream(w, bias, stride=2, padding=1, activation="relu", batch=2)
        x = numbers(rng, dtype, 2, 4, 19, *shape[3:])
        whole = stream(x)
        same_bits(streamed(stream, x, rng), whole)
        expected = tconv.definition.scatter(x.astype("f8"), w.astype("f8"), bias.astype("f8"), stride=2, padding=1)
        np.testing.assert_allclose(
            whole.astype("f8"), np.maximum(expected, 0), atol=1e-4 if dtype == np.float32 else 0.1
        )


@pytest.mark.parametrize(
    ("dialect", "weight", "arguments", "shape"),
    [
        ("keras", (5, 3, 4), {"strides": 2, "padding": "same"}, (2, 20, 4)),
        ("keras", (5, 3, 4), {"strides": 2, "padding": "valid", "data_format": "channels_first"}, (2, 4, 20)),
        ("keras", (5, 2, 3, 4), {"strides": (2, 1), "padding": "same"}, (2, 20, 6, 4)),
        ("jax", (5, 4, 3), {"strides": (3,), "padding": "SAME"}, (2, 20, 4)),
        (
            "jax",
            (5, 4, 3),
            {"strides": (2,), "padding": "VALID", "dimension_numbers": ("NCH", "HIO", "NCH")},
            (2, 4, 20),
        ),
        ("flax", (5, 4, 3), {"strides": (2,), "padding": "SAME"}, (2, 20, 4)),
        ("onnx", (4, 3, 5), {"strides": [2], "auto_pad": "SAME_LOWER"}, (2, 4, 20)),
        ("onnx", (4, 3, 5), {"strides": [2], "pads": [1, 2], "output_padding": [1]}, (2, 4, 20)),
        ("paddle", (4, 3, 5), {"stride": 2, "padding": 1, "data_format": "NLC"}, (2, 20, 4)),
        ("mlx", (3, 5, 4), {"stride": 2, "padding": 1}, (2, 20, 4)),
        ("equinox", (3, 4, 5), {"stride": 2, "padding": "SAME"}, (4, 20)),
        ("torch", (4, 3, 5), {"stride": 4, "crop": ((0, 1),)}, (2, 4, 20)),
    ],
)
def test_dialects(dialect, weight, arguments, shape):
    rng = np.random.default_rng(0)
    w, bias, x = numbers(rng, np.float32, *weight), numbers(rng, np.float32, 3), numbers(rng, np.float32, *shape)
    batch = shape[0] if len(shape) == len(weight) and dialect != "equinox" else 1
    stream = tconv.stream(w, bias, dialect=dialect, batch=batch, **arguments)
    same_bits(stream(x), tconv.conv_transpose(x, w, bias, dialect=dialect, method="simd", **arguments))
    same_bits(streamed(stream, x, rng, axis=stream.time_axis), stream(x))
    if stream.has_batch:
        chunk = np.take(x, range(7), stream.time_axis)[0]
        stream.reset()
        made = stream.push({0: chunk})[0]
        assert made.ndim == chunk.ndim
        assert made.shape[stream.time_axis - 1] > 0


@pytest.mark.parametrize(
    ("dialect", "weight", "arguments", "shape", "sizes"),
    [
        ("tensorflow", (16, 3, 4), {"strides": 8, "padding": "SAME"}, (2, 20, 4), (160,)),
        ("tensorflow", (16, 3, 4), {"strides": 8, "padding": "VALID"}, (2, 20, 4), (168,)),
        ("tensorflow", (2, 3, 4), {"strides": 3, "padding": "VALID"}, (2, 20, 4), (59,)),
        ("tensorflow", (5, 3, 4), {"strides": 2, "data_format": "NCW"}, (2, 4, 20), (40,)),
        (
            "tensorflow",
            (5, 3, 3, 4),
            {"strides": 2, "padding": [[0, 0], [1, 2], [1, 0], [0, 0]]},
            (2, 9, 5, 4),
            (18, 10),
        ),
        ("tflite", (3, 5, 4, 4), {"strides": (2, 3), "padding": "SAME"}, (2, 9, 5, 4), (18, 15)),
    ],
)
def test_tensorflow_needs_no_output_shape(dialect, weight, arguments, shape, sizes):
    rng = np.random.default_rng(0)
    w, bias, x = numbers(rng, np.float32, *weight), numbers(rng, np.float32, 3), numbers(rng, np.float32, *shape)
    stream = tconv.stream(w, bias, dialect=dialect, batch=2, **arguments)
    whole = tconv.conv_transpose(x, w, bias, dialect=dialect, method="simd", output_shape=sizes, **arguments)
    same_bits(stream(x), whole)
    same_bits(streamed(stream, x, rng, axis=stream.time_axis), whole)


def test_a_layer_of_another_length_is_refused():
    def refusal(*given, **named):
        with pytest.raises(TconvError) as caught:
            tconv.stream(*given, **named)
        return str(caught.value)

    w = np.ones((4, 3, 5), np.float32)
    assert refusal(w, dialect="onnx", strides=[2], output_shape=[40]) == (
        "output_shape is that of the whole output, and a stream does not know its length. Write the call without "
        "output_shape="
    )
    text = refusal(w, dialect="tensorflow", strides=2, output_shape=(1, 40, 3))
    assert text.endswith("and a stream does not know its length. Write the call without output_shape=")
    assert "padding is 'same'; TensorFlow takes \"SAME\"" in refusal(w, dialect="tensorflow", padding="same")
    assert "depends on the sizes of x" in refusal(w, dialect="paddle", stride=2, padding="SAME")
    assert "geometry=tconv.Geometry(" in refusal(w, dialect="paddle", stride=2, padding="SAME")
    assert "Write stride=" in refusal(w, strides=2)
    assert "bias has shape" in refusal(w, np.ones(4, np.float32))
    assert "activations are for real floats" in refusal(w.astype(int), activation="relu")
    assert "batch is -1" in refusal(w, batch=-1)
    for rate in (0, -1, float("nan"), "x", True):
        assert "samples per second of the output are needed" in refusal(w, sample_rate=rate)
    assert "have no axis for it" in refusal(w, dialect="equinox", batch=2)
    assert "method" in refusal(w, method="taps")
    assert refusal(w, activation="gelu").startswith("activation is 'gelu'")


def test_messages_and_that_a_refused_chunk_changes_nothing():
    rng = np.random.default_rng(0)
    w, bias, x = numbers(rng, np.float32, 4, 3, 6), numbers(rng, np.float32, 3), numbers(rng, np.float32, 2, 4, 30)
    stream = tconv.stream(w, bias, stride=2, padding=1, batch=2)
    parts = [stream.push(x[:, :, :11])]
    refused = {
        "the chunk has shape (1, 4, 5); [2, 4, t] is needed. Write stream.push({session: chunk}) for some": x[
            :1, :, :5
        ],
        "[2, 4, t] is needed. Write batch=3 where the stream is made, or stream.open()": np.ones((3, 4, 5), np.float32),
        "the chunk is None; an array is needed. Write stream.flush()": None,
        "the chunk has shape (2, 5, 3); [2, 4, t] is needed": np.ones((2, 5, 3), np.float32),
        "is needed. Write chunk with its axes in this order": x[:, :, :5].transpose(0, 2, 1),
        "the chunk has shape (4, 5); [2, 4, t] is needed. Write chunk[None] for one session": x[0, :, :5],
        "the chunk is float64; the stream has a weight of float32. Write np.asarray(chunk, np.float32)": x.astype("f8"),
        "there is no session 7; the sessions are 0, 1. Write stream.open() for a new one": {
            0: x[0, :, :2],
            7: x[0, :, :2],
        },
        "the chunk of session 1 has shape (3, 2); [4, t] is needed": {0: x[0, :, :2], 1: x[0, :3, :2]},
    }
    for text, chunk in refused.items():
        with pytest.raises(TconvError, match=re.escape(text)):
            stream.push(chunk)
    parts += [stream.push(x[:, :, 11:]), stream.flush()]
    same_bits(np.concatenate(parts, 2), stream(x))
    with pytest.raises(TconvError, match="ended"):
        stream.push(x)
    for bad in (3, {}, {"0.received": np.array(1)}, tconv.stream(w, stride=2).state()):
        with pytest.raises(TconvError):
            stream.restore(bad)
    stream.reset()
    same_bits(np.concatenate([stream.push(x), stream.flush()], 2), stream(x))


def test_a_changed_count_in_a_state_is_refused():
    w, x = np.ones((2, 1, 4), np.float32), np.ones((1, 2, 90), np.float32)
    stream = tconv.stream(w, np.ones(1, np.float32), stride=2)
    stream.push(x)
    state = stream.state()
    with pytest.raises(TconvError, match="not as it was saved"):
        stream.restore({**state, "0.received": state["0.received"] + 1})
    stream.restore(state)
    with pytest.raises(TconvError, match=r"Write stream\.open\(\) first: no session is open"):
        tconv.stream(w, batch=0).push(x)


def test_sizes_behind_time_come_with_the_first_chunk():
    rng = np.random.default_rng(0)
    w, bias = numbers(rng, np.float32, 4, 3, 4, 3), numbers(rng, np.float32, 3)
    stream = tconv.stream(w, bias, stride=2, padding=1)
    for name in ("flush", "state"):
        with pytest.raises(TconvError, match=r"the first chunk has\. Write stream\.push"):
            getattr(stream, name)()
    assert stream.latency == tconv.stream(w[..., 1], stride=2, padding=1).latency == 1
    extra = stream.open()
    for width in (5, 8):
        x = numbers(rng, np.float32, 2, 4, 9, width)
        parts = [stream.push(x[:, :, a:b]) for a, b in cut(rng, 9, 3)]
        with pytest.raises(TconvError, match=r"the stream began with .* Write stream.reset\(\)"):
            stream.push(x[..., 1:])
        same_bits(np.concatenate([*parts, stream.flush()], 2), stream(x))
        same_bits(
            stream(x[:, :, 2:, 1:]), tconv.conv_transpose(x[:, :, 2:, 1:], w, bias, stride=2, padding=1, method="simd")
        )
        stream.reset()
    stream.close(extra)
    assert stream.push(numbers(rng, np.float32, 1, 4, 0, 3)).shape == (1, 3, 0, 5)


def test_sessions_have_numbers_of_any_integer_type_and_keep_their_order_in_states_of_any_order():
    rng = np.random.default_rng(0)
    w, x = numbers(rng, np.float32, 1, 2, 5, 3), numbers(rng, np.float32, 2, 1, 9, 4)
    stream = tconv.stream(w, np.ones(2, np.float32), stride=2, batch=0, sample_rate=np.float32(8000))
    sessions = [stream.open() for _ in range(12)]
    for session in sessions:
        if session not in (2, 10):
            stream.close(session)
    parts = [stream.push({np.int64(2): x[0, :, :4], 10: x[1, :, :4]})]
    state = stream.state()
    stream.restore({name: state[name] for name in sorted(state)})  # "10." before "2.", as files may have them
    assert stream.sessions == (2, 10)
    first = np.stack([parts[0][2], parts[0][10]])
    same_bits(np.concatenate([first, stream.push(x[:, :, 4:]), stream.flush()], 2), stream(x))
    for wrong in (np.array([2, 10]), True, 2.0, "2"):
        with pytest.raises(TconvError, match="the sessions are 2, 10"):
            stream.close(wrong)


def test_a_state_of_huge_numbers_is_no_work():
    stream = tconv.stream(np.ones((1, 2, 5, 3), np.float32), np.ones(2, np.float32))
    stream.push(np.ones((1, 1, 9, 4), np.float32))
    state = stream.state()
    with pytest.raises(TconvError, match="no sizes of the axes behind time"):
        stream.restore({**state, "sizes": np.array([1 << 63], np.uint64)})
    far = 10**20
    stream.restore({name.replace("0.", f"{far}.", 1): array for name, array in state.items()})
    assert (stream.sessions, stream.open()) == ((far,), far + 1)
    stream.reset()
    assert stream.push(np.ones((2, 1, 9, 5), np.float32)).shape == (2, 2, 9, 7)


def test_a_step_states_its_windows():
    step = LayerStep(np.ones((2, 3, 7), np.float32), np.ones(3, np.float32), Geometry(7, 3, [(2, 1)], 2), None)
    g = Geometry(7, 3, [(2, 1)], 2)
    for start in range(40):
        (window,) = g.input_window([slice(start, start + 3)])
        source = step.source(0, slice(start, start + 3), [ENDLESS])
        assert source == slice(max(0, window.start), window.stop)
        assert step.first(start) <= window.start
    assert step.extent([30]) == g.output_shape((30,))[0]
    with pytest.raises(TconvError, match="a weight for 2 input channels; it is given 4"):
        step.output_channels([4])
    assert pickle.loads(pickle.dumps(step)).extent([30]) == step.extent([30])
