"""Inverse STFT along time: the definition, and the same bits for any chunks."""

import numpy as np
import pytest

from stream_steps import cut, in_parts, numbers, whole
from tconv.errors import ArgumentError, DtypeError, ShapeError
from tconv.models.layers import Convolution, Node
from tconv.streaming.channel_norm import ChannelNorm
from tconv.streaming.inverse_stft import InverseSTFT, padded_window
from tconv.streaming.istft_stream import ISTFTStream
from tconv.streaming.sessions import Stream
from tconv.streaming.stream_graph import StreamGraph


def window(n, zero=0.0):
    """Return an asymmetric window."""
    return np.sin(np.pi * (np.arange(n) + 0.3) / n) ** 2 * np.linspace(1, 1.5, n) + zero


STEPS = {
    "16 by 4": InverseSTFT(window(16), 4, (8, 8)),
    "16 by 5, normalized": InverseSTFT(window(16), 5, (8, 8), normalized=True),
    "15 by 4, from the first sample on": InverseSTFT(window(15, 0.1), 4),
    "a shorter window": InverseSTFT(padded_window(window(11), 16), 3, (8, 8)),
    "same padding": InverseSTFT(window(16), 4, (6, 6)),
    "all frequencies": InverseSTFT(window(12), 4, (6, 6), onesided=False),
    "without overlap": InverseSTFT(window(8, 0.2), 8, (4, 4)),
    "an hop above half a frame": InverseSTFT(window(9, 0.2), 7, (4, 4)),
    "every sample": InverseSTFT(window(4), 1, (2, 2)),
    "the whole end": InverseSTFT(window(16), 4, (8, 8), longer=True),
}


def defined(step, spectrum):
    """Return the signal [T] of a spectrum [channels, frames]: sums of windowed waves over the squares of windows."""
    n, frames = step.n_fft, spectrum.shape[1]
    sums, squares = np.zeros((2, n + step.hop * (frames - 1)))
    values = spectrum[: step.frequencies] + 1j * spectrum[step.frequencies :]
    for frame in range(frames):
        signal = np.zeros(n)
        for k in range(n // 2 + 1):
            weight = 1 if k in (0, n / 2) else 2
            wave = np.exp(2j * np.pi * k * np.arange(n) / n)
            if k in (0, n / 2):
                wave = wave.real
            signal += weight * (values[k, frame] * wave).real / (n**0.5 if step.normalized else n)
        place = slice(frame * step.hop, frame * step.hop + n)
        sums[place] += signal * step.window
        squares[place] += step.window**2
    lo, hi = step.crop[0], 0 if step.longer else step.crop[1]
    with np.errstate(invalid="ignore"):
        return (sums / squares)[lo : len(sums) - hi]


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_it_is_the_definition(name, dtype):
    rng, step = np.random.default_rng(1), STEPS[name]
    for frames in (1, 2, 3, 20):
        x = numbers(rng, 2, 2 * step.frequencies, 1, frames, dtype=dtype)
        if step.natural(frames) < 1:
            continue
        y = whole(step, x)
        assert y.shape == (2, 1, 1, step.extent([frames]))
        np.testing.assert_allclose(y[1, 0, 0], defined(step, x[1, :, 0]), 1e-5, 40 * np.finfo(dtype).eps)


@pytest.mark.parametrize("name", STEPS)
def test_the_bits_depend_on_no_cut(name):
    rng, step = np.random.default_rng(2), STEPS[name]
    x = numbers(rng, 3, 2 * step.frequencies, 1, 90)
    y = whole(step, x)
    size = y.shape[-1]
    for longest in (1, step.hop, 9, 300):
        np.testing.assert_array_equal(in_parts(step, cut(rng, size, longest), x[:2]), y[:2])
    stream = Stream(StreamGraph([Node(step, (0,))], 2 * step.frequencies), batch=3)
    chunks = [x[:, :, 0, a:b] for a, b in zip([0, 1, 2, 2, 9], [1, 2, 2, 9, 90], strict=True)]
    made = np.concatenate([*map(stream.push, chunks), stream.flush()], 2)
    np.testing.assert_array_equal(made, y[:, :, 0])


def test_the_size_of_blocks_does_not_matter():
    rng, step = np.random.default_rng(3), STEPS["16 by 4"]
    x = numbers(rng, 1, 18, 1, 700)
    y = whole(step, x)
    np.testing.assert_array_equal(in_parts(step, [0, 1, 1000, 2795, 2796], x), y)


def test_nan_does_not_outlive_its_frames():
    step = STEPS["16 by 4"]
    x = numbers(np.random.default_rng(4), 1, 18, 1, 30)
    y = whole(step, x)
    x[0, 3, 0, 10] = np.nan
    found = whole(step, x)[0, 0, 0]
    assert np.isnan(found[32:48]).any()
    np.testing.assert_array_equal(np.delete(found, range(32, 48)), np.delete(y[0, 0, 0], range(32, 48)))


def test_sessions_end_at_lengths_of_their_own():
    rng, step = np.random.default_rng(5), STEPS["16 by 4"]
    stream = ISTFTStream(step, batch=2, sample_rate=8000)
    spectra = (numbers(rng, 2, 9, 25) + 1j * numbers(rng, 2, 9, 25)).astype(np.complex64)
    parts = [stream.push({0: spectra[0, :, :7]})[0]]
    stream.push({1: spectra[1]})
    state = stream.state(0)
    parts += [stream.push({0: spectra[0, :, 7:]})[0], stream.flush(0, length=99)]
    np.testing.assert_array_equal(np.concatenate(parts), stream(spectra, length=99)[0])
    with pytest.raises(ArgumentError, match=r"session 1 has given 92 samples already\. Write length=92 or more"):
        stream.flush(1, length=50)
    assert len(stream.flush(1, length=120)) == 120 - 92
    stream.reset()
    stream.restore(state, 0)
    real = np.stack([spectra[0].real, spectra[0].imag], -1)
    np.testing.assert_array_equal(
        np.concatenate([parts[0], stream.push({0: real[:, 7:]})[0]]), np.concatenate(parts[:2])
    )
    assert (stream.latency, stream.latency_ms, stream.state_bytes) == (8, 1.0, 16 * 8)


def test_bad_input_is_refused():
    stream = ISTFTStream(STEPS["16 by 4"])
    with pytest.raises(
        ShapeError, match=r"shape \(1, 8, 3\); \[N, 9, n\] of complex numbers, or \[N, 9, n, 2\] of real"
    ):
        stream.push(np.zeros((1, 8, 3), np.complex64))
    with pytest.raises(DtypeError, match="the chunk is complex128; complex64, or float32 with both parts, is needed"):
        stream.push(np.zeros((1, 9, 3), np.complex128))
    with pytest.raises(ArgumentError, match="squares of the window add up to 0 somewhere in 1 frames"):
        InverseSTFT(np.hanning(17)[:-1], 4)
    with pytest.raises(ShapeError, match="has 9 frequencies: 18 channels, real parts first, are needed; it is given 9"):
        StreamGraph([Node(STEPS["16 by 4"], (0,))], 9)
    with pytest.raises(ShapeError, match="nothing is left of 1 frames"):
        whole(STEPS["16 by 4"], np.zeros((1, 18, 1, 1), np.float32))
    stream.push(np.zeros((1, 9, 30), np.complex64))
    stream.flush()
    with pytest.raises(ArgumentError, match="has ended"):
        stream.push(np.zeros((1, 9, 3), np.complex64))


def test_a_decoder_may_end_in_it():
    rng, step = np.random.default_rng(6), STEPS["16 by 5, normalized"]
    weight = numbers(rng, 18, 4, 1, 3)
    nodes = [
        Node(Convolution.ordinary(weight, numbers(rng, 18), ((0, 0), (1, 1))), (0,)),
        Node(ChannelNorm(numbers(rng, 18)), (1,)),
        Node(step, (2,)),
    ]
    graph = StreamGraph(nodes, 4)
    stream = Stream(graph, batch=2)
    x = numbers(rng, 2, 4, 70)
    chunks = [stream.push(x[:, :, t : t + 1]) for t in range(40)]
    state = stream.state()
    restored = Stream(graph, batch=0)
    restored.restore(state)
    chunks += [restored.push(x[:, :, 40:47]), restored.push(x[:, :, 47:]), restored.flush()]
    np.testing.assert_array_equal(np.concatenate(chunks, 2), stream(x))
