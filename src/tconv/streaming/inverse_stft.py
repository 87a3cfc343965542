"""Inverse short-time Fourier transform along time: frames of a spectrum to samples of a signal.

It is a transposed convolution of stride `hop` whose taps are windowed waves, divided by the sum of the squared windows.
A frame is transformed by FFT, in float64: at 1024 samples it takes a tenth of the time of the taps' products. Windowed
frames are added in the order of time, and samples that later frames add to are the memory of a session. So every sample
is the same sum in the same order for any chunks, and no frame is transformed twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tconv._arguments import int_of
from tconv._arrays import Array
from tconv._cached_property import cached_property
from tconv._memory import empty
from tconv.errors import ArgumentError, ShapeError
from tconv.models.steps.step import single
from tconv.streaming.time_step import TimeSpan

_COMPLEX = np.dtype(np.complex128)
_BLOCK = 32
"""Frames that are transformed at once."""
LEAST = 1e-11
"""Sum of squared windows below which no signal can be told, as PyTorch has it."""


@dataclass(frozen=True, eq=False)
class InverseSTFT:
    """TimeStep of an inverse STFT: channels are the real parts of all frequencies, then the imaginary ones; 1 output.

    `window` is [n_fft]; `crop` are the samples that are cut off at both ends, n_fft // 2 each for centred frames.
    Frequencies are n_fft // 2 + 1, or n_fft if not `onesided`; `normalized` ones were divided by sqrt(n_fft). With
    `longer` the end is not cut: whoever reads it cuts, as a wanted length needs it.

    >>> step = InverseSTFT(np.hanning(1025)[:-1], 256, (512, 512))
    >>> step.output_channels([2 * 513]), step.extent([10])
    (1, 2304)

    Raises ArgumentError for windows whose squares do not add up to more than 0 everywhere.
    """

    window: Array
    hop: int
    crop: tuple[int, int] = (0, 0)
    normalized: bool = False
    onesided: bool = True
    longer: bool = False

    def __post_init__(self) -> None:
        if self.window.ndim != 1 or not self.window.size or self.window.dtype.kind not in "fiu":
            raise ArgumentError(
                f"window is {self.window.dtype} of shape {self.window.shape}; [n_fft] real numbers are needed"
            )
        int_of(self.hop, "hop", least=1, example="hop=256")
        for frames in range(1, -(-self.n_fft // self.hop) + 2):
            size = self.natural(frames)
            if size > 0 and (least := self.squares(slice(0, size), frames).min()) < LEAST:
                raise ArgumentError(
                    f"the squares of the window add up to {least:.2g} somewhere in {frames} frames; more than "
                    f"{LEAST:g} is needed everywhere. Write a smaller hop, a window without zeros, or center=True"
                )

    @property
    def n_fft(self) -> int:
        """Samples of a frame."""
        return len(self.window)

    @property
    def frequencies(self) -> int:
        """Frequencies of a frame."""
        return self.n_fft // 2 + 1 if self.onesided else self.n_fft

    # -- lengths and windows -------------------------------------------------------------------------------------

    def output_channels(self, given: Sequence[int]) -> int:
        """Return 1. Raises ShapeError for other channels than real and imaginary parts of all frequencies."""
        if single(given) != 2 * self.frequencies:
            raise ShapeError(
                f"an inverse STFT of {self.n_fft} samples has {self.frequencies} frequencies: {2 * self.frequencies} "
                f"channels, real parts first, are needed; it is given {given[0]}"
            )
        return 1

    def natural(self, frames: int) -> int:
        """Return the samples of a signal of so many frames, without both crops."""
        return self.hop * (frames - 1) + self.n_fft - sum(self.crop)

    def extent(self, sizes: Sequence[int]) -> int:
        """Return the samples of the signal. Raises ShapeError if there is none."""
        result = self.natural(sizes[0]) + (self.crop[1] if self.longer else 0)
        if result < 1:
            raise ShapeError(f"nothing is left of {sizes[0]} frames but the crop {self.crop}; more frames are needed")
        return result

    def source(self, number: int, outputs: slice, sizes: Sequence[int]) -> slice:
        """Return the frames that these outputs read and those before them did not; one at least."""
        stop = (outputs.stop - 1 + self.crop[0]) // self.hop + 1
        # a signal that ends here does not end before these outputs
        stop = max(stop, -((self.n_fft - sum(self.crop) - outputs.stop) // self.hop) + 1)
        stop = min(stop, sizes[0])
        return slice(max(0, min(self.first(outputs.start), stop - 1)), stop)

    def first(self, output: int) -> int:
        """Return the first frame that has not been added before this output."""
        return (output + self.crop[0] - 1) // self.hop + 1 if output else 0

    def new_memory(self) -> tuple[Array, ...]:
        """Return zeros [n_fft], float64: what the frames so far add to the samples from the next one on."""
        return (np.zeros(self.n_fft),)

    # -- sums ----------------------------------------------------------------------------------------------------

    def compute(
        self, given: Sequence[TimeSpan], sizes: Sequence[int], out: TimeSpan, memory: Sequence[Array] = ()
    ) -> None:
        """Fill out [sessions, 1, 1, samples], and advance the memory."""
        (partial,), y = memory, out.values[:, 0, 0]
        step = _BLOCK * self.hop
        with np.errstate(all="ignore"):  # inf and NaN are values here
            for low in range(0, y.shape[1], step):
                target = y[:, low : low + step]
                count = target.shape[1]
                outputs = slice(out.start + low, out.start + low + count)
                sums = self._sums(given[0], sizes[0], outputs, partial)
                np.divide(sums[:, :count], self.squares(outputs, sizes[0]), out=target, casting="same_kind")
                partial[...] = sums[:, count : count + self.n_fft]

    def _sums(self, spectrum: TimeSpan, frames: int, outputs: slice, partial: Array) -> Array:
        """Return sums [sessions, samples] over these outputs, and over n_fft samples behind them.

        They are `partial` and the frames that these outputs are the first to read, added in the order of time.
        """
        begin, hop = outputs.start + self.crop[0], self.hop
        first, stop = self.first(outputs.start), min((outputs.stop - 1 + self.crop[0]) // hop + 1, frames)
        count, size = max(0, stop - first), outputs.stop - outputs.start + self.n_fft
        at = first * hop - begin  # of the first of them, before 0 where it is cut off
        cut = max(0, -at)
        sums = np.zeros((len(partial), cut + max(size, at + (count + self._reach) * hop)))
        sums[:, cut : cut + self.n_fft] = partial
        if count:
            values = spectrum.values[:, :, 0, first - spectrum.start : stop - spectrum.start]
            signals = self._signals(values).reshape(len(partial), count, self._reach, hop)
            place = cut + at
            blocks = sums[:, place : place + (count + self._reach - 1) * hop].reshape(len(partial), -1, hop)
            for part in range(
                self._reach - 1, -1, -1
            ):  # the last part of an early frame before the first of a late one
                blocks[:, part : part + count] += signals[:, :, part]
        return sums[:, cut:]

    def _signals(self, spectrum: Array) -> Array:
        """Return the windowed frames [sessions, frames, samples] of a spectrum [sessions, channels, frames].

        Zeros behind them fill a whole number of hops.
        """
        # the second half of both sides says nothing new, and PyTorch does not read it either
        k, read, by_frame = self.frequencies, self.n_fft // 2 + 1, spectrum.transpose(0, 2, 1)
        values = empty((*by_frame.shape[:2], read), _COMPLEX)
        values.real, values.imag = by_frame[:, :, :read], by_frame[:, :, k : k + read]
        signals = np.fft.irfft(values, self.n_fft)
        signals *= self._factors
        rest = self._reach * self.hop - self.n_fft
        return np.pad(signals, ((0, 0), (0, 0), (0, rest))) if rest else signals

    @cached_property
    def _factors(self) -> Array:
        """Window, with the factor of normalized spectra."""
        return self.window.astype(np.float64) * (np.sqrt(self.n_fft) if self.normalized else 1.0)

    # -- squares of windows --------------------------------------------------------------------------------------

    def squares(self, outputs: slice, frames: int) -> Array:
        """Return the sums of the squared windows over these outputs of so many frames, float64."""
        start, stop = outputs.start + self.crop[0], outputs.stop + self.crop[0]
        # between both ends all windows that may reach a sample are there
        low = min(max(start, (self._reach - 1) * self.hop), stop)
        high = max(low, min(stop, frames * self.hop))
        phase, count = low % self.hop, high - low
        if count == stop - start <= _BLOCK * self.hop:
            return self._steady[phase : phase + count]
        middle = np.resize(self._steady[phase : phase + self.hop], count)
        first, last = (self._summed(np.arange(*span), frames) for span in ((start, low), (high, stop)))
        return np.concatenate([first, middle, last])

    @property
    def _reach(self) -> int:
        """Frames that one sample may lie in."""
        return -(-self.n_fft // self.hop)

    @cached_property
    def _steady(self) -> Array:
        """Sums far from both ends: one period, repeated."""
        first = self._reach * self.hop
        return np.tile(self._summed(np.arange(first, first + self.hop), 2 * self._reach), _BLOCK + 1)

    def _summed(self, samples: Array, frames: int) -> Array:
        """Return the sums for samples counted from the start of the first frame."""
        squares, sums = self.window.astype(np.float64) ** 2, np.zeros(len(samples))
        for back in range(self._reach - 1, -1, -1):
            frame, tap = samples // self.hop - back, samples % self.hop + back * self.hop
            reads = (frame >= 0) & (frame < frames) & (tap < self.n_fft)
            sums += np.where(reads, squares[np.minimum(tap, self.n_fft - 1)], 0)
        return sums


def padded_window(window: Any, n_fft: int) -> Array:
    """Return a window with zeros around it, n_fft samples, as `torch.istft` centres shorter ones."""
    left = (n_fft - len(window)) // 2
    result: Array = np.pad(window, (left, n_fft - len(window) - left))
    return result
