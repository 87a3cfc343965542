"""`stream`: a Keras model as a stream, in the model's own layout."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from tconv._arrays import Array
from tconv.errors import ArgumentError, CheckError, DtypeError, ShapeError
from tconv.keras.stream_reading import KerasReading, read_model
from tconv.streaming.sessions import Stream
from tconv.streaming.stream_graph import StreamGraph

TOLERANCE = 1e-4
"""Largest difference between the stream and the model on the example, relative to the largest output."""

_LENGTHS = 64, 96, 120, 240, 256, 480, 960, 1024, 5040, 1 << 14, 1 << 16
"""Lengths of an example that are tried, until every layer has an output."""


class ModelStream:
    """Stream of a Keras model: chunks are [N, n, C], or [N, C, n] if the model has channels first.

    It has all methods of `Stream`. Chunks are arrays, or tensors of Keras' backend; the outputs are of the same kind.

    >>> import keras, numpy as np, tconv.keras
    >>> model = keras.Sequential([keras.Input((None, 4)), keras.layers.Conv1DTranspose(1, 4, 2, padding="same")])
    >>> stream = tconv.keras.stream(model)
    >>> x = np.random.default_rng(0).standard_normal((1, 10, 4), np.float32)
    >>> chunks = [stream.push(x[:, :3]), stream.push(x[:, 3:]), stream.flush()]
    >>> bool((np.concatenate(chunks, 1) == stream(x)).all())
    True
    """

    def __init__(self, stream: Stream, reading: KerasReading, difference: float) -> None:
        self._stream, self.channels_last = stream, reading.channels_last
        self.difference = difference
        """Largest difference from the model's own output on the example, relative to the largest output."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "_stream":
            raise AttributeError(name)
        return getattr(self._stream, name)

    def push(self, chunk: Any) -> Any:
        """Return the outputs that are final with this chunk [N, n, C], or with a chunk [n, C] of every session named.

        Raises ShapeError, DtypeError and ArgumentError as `Stream.push`; the state is unchanged then.
        """
        if isinstance(chunk, Mapping):
            given = {session: self._inside(each, 2) for session, each in chunk.items()}
            made = self._stream.push(given)
            return {session: self._outside(out, chunk[session]) for session, out in made.items()}
        return self._outside(self._stream.push(self._inside(chunk, 3)), chunk)

    def flush(self, session: int | None = None) -> Array:
        """Return the outputs that are left at the end of a session [m, C'], or of all [N, m, C'], as NumPy arrays."""
        result: Array = self._outside(self._stream.flush(session), None)
        return result

    def __call__(self, x: Any) -> Any:
        """Return the output of whole inputs, computed at once."""
        return self._outside(self._stream(self._inside(x, 3)), x)

    def _inside(self, chunk: Any, axes: int) -> Array:
        """Return a chunk as [..., C, n]."""
        array = _array(chunk)
        channels = self._stream.graph.channels[0]
        if array.ndim != axes or array.shape[-1 if self.channels_last[0] else -2] != channels:
            needed = f"n, {channels}" if self.channels_last[0] else f"{channels}, n"
            raise ShapeError(f"the chunk has shape {array.shape}; [{'N, ' * (axes == 3)}{needed}] is needed")
        return np.ascontiguousarray(array.swapaxes(-1, -2) if self.channels_last[0] else array)

    def _outside(self, out: Array, chunk: Any) -> Any:
        """Return an output in the model's layout, as a tensor if the chunk is one."""
        array = np.ascontiguousarray(out.swapaxes(-1, -2) if self.channels_last[1] else out)
        return keras.ops.convert_to_tensor(array) if _is_tensor(chunk) else array


def stream(
    model: Any, example: Any = None, *, sample_rate: float | None = None, batch: int = 1, strict: bool = True
) -> ModelStream:
    """Return a stream of a Functional or Sequential model, or of one layer: any chunks give the bits of the whole.

    >>> import keras, tconv.keras
    >>> model = keras.Sequential(
    ...     [
    ...         keras.Input((None, 8)),
    ...         keras.layers.Conv1DTranspose(4, 8, strides=4, padding="same", activation="elu"),
    ...         keras.layers.Conv1D(1, 7, padding="causal", activation="tanh"),
    ...     ]
    ... )
    >>> stream = tconv.keras.stream(model, sample_rate=24000)
    >>> stream.push(keras.ops.ones((1, 5, 8))).shape == (1, 18, 1)
    True

    The model takes [N, T, C], or [N, C, T] with channels first, float32; so does the stream, of any backend. The layers
    are read once: weights that change later have no effect on the stream. `docs/streaming.md` lists what is read.

    `example` is an input of the model, by default random numbers. The model runs on it, and so does the stream at once;
    with `strict` a difference above 1e-4 of the largest output is an error, and `stream.difference` has it in any case.
    `sample_rate` of the output, in Hz, gives the latency in milliseconds. `batch` sessions run side by side.

    Raises ArgumentError for a model with a layer that cannot be streamed, named with the reason, and CheckError for a
    stream that differs from the model.
    """
    reading = read_model(model)
    graph = StreamGraph(reading.nodes, reading.channels)
    made = Stream(graph, batch)
    checked = ModelStream(made, reading, 0.0)
    checked.difference = _difference(model, checked, _example(graph, reading, model) if example is None else example)
    if strict and not checked.difference <= TOLERANCE:
        raise CheckError(
            f"the stream differs from the model by {checked.difference:.1e} of its largest output; {TOLERANCE:.0e} is "
            "allowed. Keras' backends differ for some layers: use another one, or write strict=False"
        )
    return checked


def _example(graph: StreamGraph, reading: KerasReading, model: Any) -> Array:
    """Return random numbers of a length for which every layer has an output."""
    last = reading.channels_last[0]
    fixed = model.input_shape[1 if last else 2]
    reason: Exception | None = None
    for length in _LENGTHS if fixed is None else (fixed,):
        try:
            graph.sizes(length)
        except ShapeError as error:
            reason = error
            continue
        x = np.random.default_rng(0).standard_normal((1, length, reading.channels), np.float32)
        return x if last else np.ascontiguousarray(x.swapaxes(1, 2))
    raise ArgumentError(f"no length of an example fits every layer ({reason}). Write example= with one")


def _difference(model: Any, made: ModelStream, example: Any) -> float:
    """Return the largest difference between stream and model on an example, relative to the largest output."""
    x = _array(example)
    expected = _array(model(keras.ops.convert_to_tensor(x), training=False)).astype(np.float64)
    got = made(x)
    if got.shape != expected.shape:
        raise CheckError(f"the stream returns {got.shape} for the example, and the model {expected.shape}")
    largest = float(np.abs(expected).max(initial=0.0))
    return float(np.abs(got - expected).max(initial=0.0)) / max(largest, 1e-30)


def _is_tensor(x: Any) -> bool:
    return not isinstance(x, np.ndarray) and bool(keras.ops.is_tensor(x))


def _array(x: Any) -> Array:
    """Return an array of NumPy. Raises DtypeError for dtypes other than float32."""
    array = np.asarray(keras.ops.convert_to_numpy(x) if _is_tensor(x) else x)
    if array.dtype != np.float32:
        raise DtypeError(f"the input is {array.dtype}; float32 is needed. Write x.astype(np.float32)")
    return array
