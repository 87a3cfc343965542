"""`StreamingISTFT`: PyTorch's inverse STFT in chunks."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from tconv._arguments import int_of, shown
from tconv.errors import ArgumentError
from tconv.streaming.inverse_stft import InverseSTFT, padded_window
from tconv.streaming.istft_stream import ISTFTStream


class StreamingISTFT(ISTFTStream):
    """`torch.istft` that takes frames in chunks: the arguments are those of `torch.istft`.

    >>> import torch, tconv.torch
    >>> window, frames = torch.hann_window(1024), torch.randn(2, 513, 40, dtype=torch.complex64)
    >>> stream = tconv.torch.StreamingISTFT(1024, 256, window=window, batch=2)
    >>> chunks = [stream.push(frames[:, :, i : i + 3]) for i in range(0, 40, 3)] + [stream.flush(length=10000)]
    >>> samples = torch.cat(chunks, 1)
    >>> torch.equal(samples, stream(frames, length=10000)), stream.latency
    (True, 512)
    >>> torch.allclose(samples, torch.istft(frames, 1024, 256, window=window, length=10000), atol=1e-6)
    True

    `push(frames)` takes complex tensors [N, n_fft // 2 + 1, n] (n_fft frequencies if not onesided), or real ones with a
    last axis of 2, of N = `batch` sessions, and returns samples [N, m]; `push({session: frames})` those of some of
    them, [m]. `flush(length=None)` returns the rest, to the end or the length that `torch.istft` has. Transforms and
    sums are float64, rounded once: the samples do not depend on chunks, batch or threads. The sums of a window's
    squares, by which `torch.istft` divides, must be above 0 from the first sample on.

    Raises ArgumentError for arguments that `torch.istft` does not take, for a `length`, which belongs to `flush`, and
    for `return_complex=True`: complex signals are not streamed.
    """

    def __init__(
        self,
        n_fft: int,
        hop_length: int | None = None,
        win_length: int | None = None,
        window: torch.Tensor | None = None,
        center: bool = True,
        normalized: bool = False,
        onesided: bool | None = None,
        length: None = None,
        return_complex: bool = False,
        *,
        batch: int = 1,
        sample_rate: float | None = None,
    ) -> None:
        if length is not None:
            raise ArgumentError(
                f"length is {shown(length)}; a stream does not know it before its end. Write flush(length=3000)"
            )
        if return_complex:
            raise ArgumentError(
                f"return_complex is {shown(return_complex)}; complex signals are not streamed. Write the call without "
                "return_complex="
            )
        step, dtype = istft_step(n_fft, hop_length, win_length, window, center, normalized, onesided)
        super().__init__(step, dtype, batch=batch, sample_rate=sample_rate)
        self._library = "torch"


def istft_step(
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: torch.Tensor | None = None,
    center: bool = True,
    normalized: bool = False,
    onesided: bool | None = None,
) -> tuple[InverseSTFT, np.dtype[Any]]:
    """Return the step of `torch.istft` with these arguments, and the dtype of its real numbers: float32 or float64."""
    n_fft = int_of(n_fft, "n_fft", least=1, example="n_fft=1024")
    hop = int_of(n_fft // 4 if hop_length is None else hop_length, "hop_length", least=1, example="hop_length=256")
    size = int_of(n_fft if win_length is None else win_length, "win_length", least=1, example=f"win_length={n_fft}")
    if size > n_fft:
        raise ArgumentError(f"win_length is {size}; {n_fft}, which is n_fft, or less is needed")
    if window is None:
        window = torch.ones(size, dtype=torch.get_default_dtype())
    if not isinstance(window, torch.Tensor) or window.shape != (size,) or window.is_complex():
        shape = f"{window.dtype} {tuple(window.shape)}" if isinstance(window, torch.Tensor) else type(window).__name__
        raise ArgumentError(f"window is {shape}; a real tensor of ({size},) is needed. Write torch.hann_window({size})")
    array = window.detach().cpu().to(torch.float64).numpy()
    dtype = np.dtype(np.float64 if window.dtype is torch.float64 else np.float32)
    crop = (n_fft // 2, n_fft // 2) if center else (0, 0)
    return InverseSTFT(padded_window(array, n_fft), hop, crop, bool(normalized), onesided is not False), dtype
