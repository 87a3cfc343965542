"""`stream`: a Keras model as a stream, in the model's own layout."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from tconv._arguments import sample_rate_of
from tconv._arrays import Array
from tconv.errors import ArgumentError, CheckError, DtypeError, ShapeError, StreamError
from tconv.keras.stream_reading import KerasReading, input_of, layout_of, read_model
from tconv.keras.stream_values import TimeValue
from tconv.keras.whole_blocks import Blocks
from tconv.streaming.layer_digest import fingerprint
from tconv.streaming.look_ahead import layer_names
from tconv.streaming.report import StreamReport
from tconv.streaming.sessions import Stream
from tconv.streaming.stream_graph import StreamGraph
from tconv.streaming.window_stream import WindowStream

TOLERANCE = 1e-4
"""Largest difference between the stream and the model on the example, relative to the largest output."""

_LENGTHS = 64, 96, 120, 240, 256, 480, 960, 1024, 5040, 1 << 14, 1 << 16
"""Lengths of an example that are tried, until every layer has an output."""


class ModelStream(Stream):
    """Stream of a Keras model: chunks are [N, n, C], or [N, C, n] if the model has channels first.

    Everything else is as in `Stream`; `print(stream.report)` shows the latency and where it comes from.
    Chunks are arrays, or tensors of Keras' backend, and so are outputs.

    >>> import keras, numpy as np, tconv.keras
    >>> model = keras.Sequential([keras.Input((None, 4)), keras.layers.Conv1DTranspose(1, 4, 2, padding="same")])
    >>> stream = tconv.keras.stream(model)
    >>> x = np.random.default_rng(0).standard_normal((1, 10, 4), np.float32)
    >>> chunks = [stream.push(x[:, :3]), stream.push(x[:, 3:]), stream.flush()]
    >>> bool((np.concatenate(chunks, 1) == stream(x)).all())
    True
    """

    channels_last = False, False
    """True for channels last, of the input and of the output"""
    difference = math.nan
    """largest difference from the model's own output on the example, relative to the largest output"""
    reason: str | None = None
    """reason why the model runs on windows of its input; None for one whose layers were read"""
    _block_lengths: tuple[Blocks, ...] = ()

    def __init__(self, reading: KerasReading, batch: int = 1, *, sample_rate: float | None = None) -> None:
        super().__init__(StreamGraph(reading.nodes, reading.channels), batch, sample_rate=sample_rate)
        self.channels_last, self._block_lengths = reading.channels_last, reading.blocks
        names = [layer or name for layer, name in zip(reading.layers, layer_names(self.graph), strict=True)]
        self.report = StreamReport(self.graph, names, sample_rate=sample_rate, against="Keras")

    def __repr__(self) -> str:
        return f"<stream {self.layout} of {self.graph.dtype}, {len(self.sessions)} sessions>"

    @property
    def time_axis(self) -> int:
        """Axis of time in the chunks."""
        return 1 if self.channels_last[0] else 2

    @property
    def layout(self) -> str:
        """Layouts of chunks and outputs, such as "[N, t, 8] -> [N, t, 1]"."""
        sides = zip((self.graph.channels[0], self.graph.channels[-1]), self.channels_last, strict=True)
        return " -> ".join(f"[N, t, {channels}]" if last else f"[N, {channels}, t]" for channels, last in sides)

    def push(self, chunk: Any) -> Any:
        """Return the outputs that are final with this chunk [N, n, C], or with a chunk [n, C] of every session named.

        Raises ShapeError, DtypeError and ArgumentError as `Stream.push`; the state is unchanged then.
        """
        if isinstance(chunk, Mapping):
            made = super().push({session: self._inside(each, 2) for session, each in chunk.items()})
            return {session: self._outside(out, chunk[session]) for session, out in made.items()}
        return self._outside(super().push(self._inside(chunk, 3)), chunk)

    def flush(self, session: int | None = None) -> Any:
        """Return the outputs that are left at the end of a session [m, C'], or of all [N, m, C'], as NumPy arrays.

        Raises ShapeError, and changes nothing, for a length that a strided layer with padding="same" cannot have.
        """
        for number in self.sessions if session is None else (session,):
            self._check_length(self._session(number).received)
        return self._outside(super().flush(session), None)

    def __call__(self, x: Any) -> Any:
        """Return the output of whole inputs, computed at once."""
        inside = self._inside(x, 3)
        self._check_length(inside.shape[2])
        return self._outside(super().__call__(inside), x)

    def _check_length(self, length: int) -> None:
        """Raise ShapeError for a length of the whole input that is not one of whole blocks."""
        sizes = self.graph.sizes(length) if self._block_lengths and length else ()
        for place, size, layer in self._block_lengths if sizes else ():
            if sizes[place] % size:
                raise ShapeError(
                    f'an input of {length} samples has {sizes[place]} at layer "{layer}", whose padding depends on '
                    f"that number modulo {size}. Push more samples, until it is a multiple of {size}"
                )

    def _inside(self, chunk: Any, axes: int) -> Array:
        """Return a chunk as [..., C, n]."""
        array = _array(chunk)
        channels = self.graph.channels[0]
        if array.ndim != axes or array.shape[-1 if self.channels_last[0] else -2] != channels:
            needed = f"n, {channels}" if self.channels_last[0] else f"{channels}, n"
            raise ShapeError(f"the chunk has shape {array.shape}; [{'N, ' * (axes == 3)}{needed}] is needed")
        return np.ascontiguousarray(array.swapaxes(-1, -2) if self.channels_last[0] else array)

    def _outside(self, out: Array, chunk: Any) -> Any:
        """Return an output in the model's layout, as a tensor if the chunk is one."""
        array = np.ascontiguousarray(out.swapaxes(-1, -2) if self.channels_last[1] else out)
        return keras.ops.convert_to_tensor(array) if _is_tensor(chunk) else array


class ModelWindowStream(ModelStream, WindowStream):
    """Stream of a Keras model that cannot be read: it runs on exact windows of its inputs.

    >>> import keras, numpy as np, tconv.keras
    >>> inputs = keras.Input((None, 4))
    >>> doubled = keras.layers.Lambda(lambda x: 2 * x)(inputs)  # code of its own, which is not read
    >>> model = keras.Model(inputs, keras.layers.Conv1DTranspose(1, 4, 2, padding="same")(doubled))
    >>> stream = tconv.keras.stream(model, np.ones((1, 10, 4), np.float32))
    >>> type(stream).__name__
    'ModelWindowStream'

    Its outputs differ from those of the whole by rounding, and it repeats work; see `WindowStream`.
    """

    def __init__(
        self, model: Any, value: TimeValue, reason: str, batch: int = 1, *, sample_rate: float | None = None
    ) -> None:
        channels, channels_last = value.channels, value.channels_last

        def run(x: Array) -> Array:
            given = x.swapaxes(1, 2) if channels_last else x
            try:
                made = _called(model, given)
            except Exception as error:  # of the model's own code
                raise StreamError(f"the model does not take an input of shape {given.shape}: {error}") from error
            if made.ndim != 3:
                raise StreamError(f"the model returns shape {made.shape}; three axes, one of them time, are needed")
            return made.swapaxes(1, 2) if channels_last else made

        weights = fingerprint(*(np.asarray(keras.ops.convert_to_numpy(weight)) for weight in model.weights))
        WindowStream.__init__(self, run, channels, batch, sample_rate=sample_rate, identity=weights)
        self.channels_last, self.reason = (channels_last, channels_last), reason
        self.report = self.report_of(model.name, sample_rate=sample_rate, against="Keras", reason=reason)


def stream(
    model: Any, example: Any = None, *, sample_rate: float | None = None, batch: int = 1, strict: bool = False
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

    `example` is an input of the model, by default random numbers. The model runs on it once, and so does the stream:
    one that differs by more than 1e-4 of the largest output is not returned; `stream.difference` has the number.
    `sample_rate` of the output, in Hz, gives the latency in milliseconds. `batch` sessions run side by side.

    A model that cannot be read, or that differs, runs on exact windows of its input instead (`ModelWindowStream`), all
    that its outputs depend on, if there are such: `stream.reason` says why, its bits are those of the model on the
    windows, and its work is repeated. It needs an `example` if it states no shape of its input. With `strict` it is an
    error. What reads all of time is no stream.

    Raises StreamError for a layer that cannot be streamed, named with the reason, CheckError for a strict stream that
    differs from the model, and ArgumentError for anything else than a model.
    """
    sample_rate = sample_rate_of(sample_rate)
    try:
        made = ModelStream(read_model(model), batch, sample_rate=sample_rate)
        made.difference = _difference(model, made, _example(made, model) if example is None else example)
        made.report.difference = made.difference
        if not made.difference <= TOLERANCE:
            raise CheckError(
                f"the stream differs from the model by {made.difference:.1e} of its largest output; {TOLERANCE:.0e} is "
                "allowed. Keras' backends differ for some layers: use another one, or write strict=False"
            )
    except (StreamError, CheckError) as error:
        if strict:
            raise
        return _windowed(model, example, str(error), batch, sample_rate)
    return made


def _windowed(model: Any, example: Any, reason: str, batch: int, sample_rate: float | None) -> ModelWindowStream:
    """Return the stream of a model on windows. Raises StreamError, with both reasons, if there are none."""
    if example is None and getattr(model, "built", True) and getattr(model, "input_shape", None) is None:
        raise StreamError(f"{reason.rstrip('.')}, or tconv.keras.stream(model, example) with an input of it")
    try:
        if example is None:
            value = input_of(model)
        else:
            last, shape = layout_of(model, (None, None, None)), _array(example).shape
            value = TimeValue(0, shape[2 if last else 1], last)
        return ModelWindowStream(model, value, reason, batch, sample_rate=sample_rate)
    except StreamError as error:
        raise StreamError(f"{reason.rstrip('.')}; and on windows of its input: {error}") from None


def _called(model: Any, x: Array) -> Array:
    """Return the model's own output for an array."""
    return _array(model(keras.ops.convert_to_tensor(np.ascontiguousarray(x)), training=False))


def _example(made: ModelStream, model: Any) -> Array:
    """Return random numbers of a length for which every layer has an output."""
    last = made.channels_last[0]
    fixed = model.input_shape[1 if last else 2]
    reason: Exception | None = None
    for length in _LENGTHS if fixed is None else (fixed,):
        try:
            made.graph.sizes(length)
            made._check_length(length)
        except ShapeError as error:
            reason = error
            continue
        x = np.random.default_rng(0).standard_normal((1, length, made.graph.channels[0]), np.float32)
        return x if last else np.ascontiguousarray(x.swapaxes(1, 2))
    raise ArgumentError(f"no length of an example fits every layer ({reason}). Write example= with one")


def _difference(model: Any, made: ModelStream, example: Any) -> float:
    """Return the largest difference between stream and model on an example, relative to the largest output."""
    x = _array(example)
    expected = _called(model, x).astype(np.float64)
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
