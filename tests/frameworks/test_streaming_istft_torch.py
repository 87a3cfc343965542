"""StreamingISTFT beside torch.istft."""

import itertools

import numpy as np
import pytest
import torch

import tconv.torch
from tconv.errors import ArgumentError, ArrayError, ShapeError

CASES = [
    # n_fft, hop_length, win_length, center, normalized, onesided
    (1024, 256, 1024, True, False, None),
    (1024, 256, 800, True, True, True),
    (16, 4, 16, False, False, None),
    (16, 5, 12, True, False, False),
    (15, 4, None, True, True, None),
    (8, None, 8, False, True, False),
]


def spectra(n_fft, onesided, frames, dtype=torch.complex64):
    torch.manual_seed(frames)
    return torch.randn(2, n_fft if onesided is False else n_fft // 2 + 1, frames, dtype=dtype)


@pytest.mark.filterwarnings("ignore:The length of signal is shorter")
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
def test_it_is_torch_istft(case, dtype):
    n, hop, size, center, normalized, onesided = case
    real = torch.float64 if dtype is torch.complex128 else torch.float32
    window = torch.hann_window(size or n, dtype=real) + (0 if center else 0.1)
    arguments = n, hop, size, window, center, normalized, onesided
    rng = np.random.default_rng(0)
    for frames in (2, 3, 30):
        x = spectra(n, onesided, frames, dtype)
        natural = torch.istft(x, *arguments).shape[1]
        for length in (None, natural + 1, natural + n):
            stream = tconv.torch.StreamingISTFT(*arguments, batch=2)
            try:
                wanted = torch.istft(x, *arguments, length=length)
            except RuntimeError:  # the window is 0 there
                with pytest.raises(ArgumentError, match=f"beyond {natural} samples the squares"):
                    stream(x, length=length)
                continue
            whole = stream(x, length=length)
            assert whole.dtype is real
            torch.testing.assert_close(whole, wanted, rtol=1e-4, atol=500 * torch.finfo(real).eps)
            cuts = [0, *sorted(rng.integers(0, frames + 1, 3).tolist()), frames]
            chunks = [stream.push(x[:, :, a:b]) for a, b in itertools.pairwise(cuts)]
            assert torch.equal(torch.cat([*chunks, stream.flush(length=length)], 1), whole)


def test_real_parts_and_sessions():
    window = torch.hann_window(16)
    stream = tconv.torch.StreamingISTFT(16, window=window, batch=2)
    x = spectra(16, None, 9)
    made = stream.push({1: torch.view_as_real(x[1])})
    assert torch.equal(torch.cat([made[1], stream.flush(1)]), stream(x)[1])
    with pytest.raises(ArgumentError, match=r"window is torch.float32 \(16,\); a real tensor of \(12,\) is needed"):
        tconv.torch.StreamingISTFT(16, win_length=12, window=window)
    with pytest.raises(ArgumentError, match="win_length is 20; 16, which is n_fft, or less is needed"):
        tconv.torch.StreamingISTFT(16, win_length=20)
    with pytest.raises(ArgumentError, match=r"length is 3000; a stream .* Write flush\(length=3000\)"):
        tconv.torch.StreamingISTFT(16, window=window, length=3000)
    with pytest.raises(ArgumentError, match="return_complex is True; complex signals are not streamed"):
        tconv.torch.StreamingISTFT(16, window=window, return_complex=True)
    alone = tconv.torch.StreamingISTFT(16, window=window, return_complex=False)
    with pytest.raises(ShapeError, match=r"\(2, 9, 9\); \[1, 9, n\] is needed; it has 2 sessions\. Write batch=2"):
        alone.push(x)
    with pytest.raises(ArrayError, match=r"the chunk is None; frames are needed\. Write stream\.flush\(\)"):
        alone.push(None)
