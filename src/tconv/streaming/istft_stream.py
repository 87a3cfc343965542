"""`ISTFTStream`: sessions that push frames of spectra and get samples of signals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from tconv import _arrays
from tconv._arguments import int_of
from tconv._arrays import Array
from tconv.errors import ArgumentError, ArrayError, DtypeError, ShapeError
from tconv.streaming.inverse_stft import LEAST, InverseSTFT
from tconv.streaming.session import open_sessions_hint
from tconv.streaming.sessions import Stream
from tconv.streaming.stream_graph import StreamGraph, StreamNode


class ISTFTStream:
    """Inverse STFT in chunks: frames [N, K, n], complex, to samples [N, m], for N sessions, or {session: frames}.

    Real frames have their real and imaginary parts in a last axis: [N, K, n, 2]. Arrays may belong to any library.
    """

    def __init__(
        self, step: InverseSTFT, dtype: Any = np.float32, *, batch: int = 1, sample_rate: float | None = None
    ) -> None:
        self._step = step
        self._dtype = np.dtype(dtype)
        longer = replace(step, longer=True)
        graph = StreamGraph([StreamNode(longer, (0,))], 2 * step.frequencies, self._dtype)
        self._stream = Stream(graph, batch, sample_rate=sample_rate)
        self._library = "numpy"

    # -- chunks --------------------------------------------------------------------------------------------------

    def push(self, frames: Any) -> Any:
        """Return the samples that are final with these frames, of all sessions, or of those that a dictionary names.

        Raises ShapeError, DtypeError, ArrayError, and ArgumentError after `flush`; nothing has changed then.
        """
        if isinstance(frames, Mapping):
            taken = {number: self._taken(each, 2) for number, each in frames.items()}
            return {number: self._given(each[0]) for number, each in self._stream.push(taken).items()}
        whole, known = self._taken(frames, 3), len(self._stream.sessions)
        if len(whole) != known:
            k = self._step.frequencies
            raise ShapeError(
                f"the chunk has shape {tuple(np.shape(frames))}; [{known}, {k}, n] is needed; "
                f"{open_sessions_hint(len(whole), known)}"
            )
        return self._given(self._stream.push(whole)[:, 0])

    def flush(self, session: int | None = None, length: int | None = None) -> Any:
        """Return the samples that are left, at the end of a session, or of all; with `length`, up to so many in all.

        Without it the end is that of `torch.istft`. A longer signal goes on into what centred frames cut off, and with
        zeros behind it. Raises ArgumentError for a length below the samples that the session has given, or where the
        squares of the window add up to nothing.
        """
        numbers = self._stream.sessions if session is None else (session,)
        counts = [int(self._stream.state(number)["received"]) for number in numbers]
        wanted = [self._wanted(count, length) for count in counts]
        given = [self._stream.graph.moment(count).counts[-1] for count in counts]
        for number, samples, end in zip(numbers, given, wanted, strict=True):
            if end < samples:
                raise ArgumentError(
                    f"length is {length}; session {number} has given {samples} samples already. Write "
                    f"length={samples} or more"
                )
        if session is not None:
            return self._given(_cut(self._stream.flush(session)[0], wanted[0] - given[0]))
        if len(set(counts)) > 1:
            raise ShapeError(f"the sessions have {counts} frames. Write stream.flush(session) for each of them")
        left = self._stream.flush()[:, 0]
        return self._given(_cut(left, wanted[0] - given[0]) if numbers else left)

    def __call__(self, frames: Any, length: int | None = None) -> Any:
        """Return the samples of whole spectra, computed at once: the bits of all chunks together."""
        spectra = self._taken(frames, 3)
        end = self._wanted(spectra.shape[2], length)
        if end < 1:
            raise ShapeError(f"no sample is left of {spectra.shape[2]} frames. Write more frames")
        return self._given(_cut(self._stream(spectra)[:, 0], end))

    def _wanted(self, frames: int, length: int | None) -> int:
        """Return the samples of a whole signal. Raises ArgumentError for one that cannot be told."""
        natural = max(0, self._step.natural(frames)) if frames else 0
        if length is None:
            return natural
        result = int_of(length, "length", least=0, example="length=24000")
        full = natural + self._step.crop[1]
        if (
            frames
            and result > natural
            and self._step.squares(slice(natural, min(result, full)), frames).min(initial=np.inf) < LEAST
        ):
            raise ArgumentError(
                f"length is {result}; beyond {natural} samples the squares of the window of {frames} frames add up to "
                f"nothing. Write length={natural} or less"
            )
        return result

    def _taken(self, frames: Any, ndim: int) -> Array:
        """Return frames as real [N, 2 K, n], or without N. Raises ShapeError, DtypeError."""
        if frames is None:
            raise ArrayError("the chunk is None; frames are needed. Write stream.flush() for the end of the input")
        library, array = _arrays.take(frames, "the chunk")
        k, is_complex = self._step.frequencies, array.dtype.kind == "c"
        shape = array.shape if is_complex else array.shape[:-1]
        if len(shape) != ndim or shape[-2] != k or (not is_complex and array.shape[-1] != 2):
            axes = "N, " * (ndim == 3) + f"{k}, n"
            raise ShapeError(
                f"the chunk has shape {array.shape}; [{axes}] of complex numbers, or [{axes}, 2] of real ones, is "
                "needed"
            )
        real, imaginary = (array.real, array.imag) if is_complex else (array[..., 0], array[..., 1])
        if real.dtype != self._dtype:
            wanted = np.result_type(self._dtype, np.complex64)
            raise DtypeError(f"the chunk is {array.dtype}; {wanted}, or {self._dtype} with both parts, is needed")
        self._library = library
        return np.concatenate([real, imaginary], -2)

    def _given(self, samples: Array) -> Any:
        return samples if self._library == "numpy" else _arrays.give(samples, self._library)

    # -- sessions ------------------------------------------------------------------------------------------------

    @property
    def sessions(self) -> tuple[int, ...]:
        """Numbers of the sessions."""
        return self._stream.sessions

    def open(self) -> int:
        """Return the number of a new session."""
        return self._stream.open()

    def close(self, session: int) -> None:
        """Drop a session."""
        self._stream.close(session)

    def reset(self, session: int | None = None) -> None:
        """Begin a session, or all, anew."""
        self._stream.reset(session)

    def state(self, session: int | None = None) -> dict[str, Array]:
        """Return the state of a session, or of all, as NumPy arrays, for `restore` here or in another process."""
        return self._stream.state(session)

    def restore(self, state: Any, session: int | None = None) -> None:
        """Go on where a state was saved. Raises ArgumentError or ShapeError for the state of another stream."""
        self._stream.restore(state, session)

    @property
    def latency(self) -> int:
        """Samples that are withheld: n frames have n times the hop of them, less these."""
        return self._stream.latency

    @property
    def latency_ms(self) -> float | None:
        """Milliseconds of the latency; None without the `sample_rate`."""
        return self._stream.latency_ms

    @property
    def state_bytes(self) -> int:
        """Bytes of the state of one session: what its frames add to samples still to come."""
        return self._stream.state_bytes


def _cut(samples: Array, length: int) -> Array:
    """Return the first samples, and zeros behind them if there are fewer."""
    missing = max(0, length - samples.shape[-1])
    if missing:
        return np.pad(samples, [(0, 0)] * (samples.ndim - 1) + [(0, missing)])
    return samples[..., :length]
