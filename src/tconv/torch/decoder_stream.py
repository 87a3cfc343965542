"""`stream`: a whole module of PyTorch as a stream of chunks."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from typing import Any

import numpy as np
import torch

from tconv._arguments import int_of, sample_rate_of
from tconv._arrays import Array
from tconv._arrays.torch_names import is_compiled, uncompiled
from tconv.errors import ArgumentError, StreamError
from tconv.streaming.look_ahead import layer_names
from tconv.streaming.native_stream import NativeStream
from tconv.streaming.report import StreamReport
from tconv.streaming.stream_graph import StreamGraph
from tconv.streaming.window_stream import WindowStream
from tconv.torch.forward_pass import eval_without_gradients
from tconv.torch.module_call import ModuleCall, made_example
from tconv.torch.module_comparison import Difference, ShortInputError, compare, mean_and_spread
from tconv.torch.module_reading import FEWEST, ModuleReading, PlainAxes, plain_axes, read_module, tensors_of
from tconv.torch.stream_layout import ModuleLayout
from tconv.torch.stream_recording import AllOfTimeError, NumbersReadError, check_numbers_unread


class ModuleStream(NativeStream):
    """Sessions of a module that push chunks of tensors in its own layout. `tconv.torch.stream` returns it.

    >>> import torch, tconv.torch
    >>> stream = tconv.torch.stream(torch.nn.ConvTranspose1d(8, 1, 8, 4, 2))
    >>> stream.push(torch.randn(1, 8, 5)).shape, stream.reason
    (torch.Size([1, 1, 18]), None)

    `print(stream.report)` shows the latency, where it comes from, context, state, and the difference from the module.
    """

    difference: Difference | None = None
    """Differences from the module that were seen; for one on windows, from its own whole output."""
    reason: str | None = None
    """Reason why the module runs on windows of its input; None for one whose layers were read."""

    def __init__(
        self, graph: StreamGraph, layout: ModuleLayout, report: StreamReport, batch: int, sample_rate: float | None
    ) -> None:
        shown: Any = layout  # it has what `ChunkLayout` has
        super().__init__(lambda rest: (graph, ()), shown, batch=batch, sample_rate=sample_rate)
        self._report = report

    @property
    def layout(self) -> str:
        """Layouts of chunks and outputs, such as "[N, 128, t] -> [N, 1, t]"."""
        return self._layout.text()

    @property
    def report(self) -> StreamReport:
        """Report of latency, context and state; `print` shows it."""
        return self._report


def stream(
    module: torch.nn.Module,
    example: Any = None,
    *,
    sample_rate: float | None = None,
    batch: int = 1,
    time_axis: int | None = None,
    strict: bool = False,
) -> ModuleStream:
    """Return a module as a stream: chunks of its input give the bits of its whole output.

    >>> import torch, tconv.torch
    >>> decoder = torch.nn.Sequential(
    ...     torch.nn.Conv1d(8, 16, 7, padding=3), torch.nn.ELU(), torch.nn.ConvTranspose1d(16, 1, 8, 4, 2)
    ... )
    >>> stream = tconv.torch.stream(decoder)
    >>> x = torch.randn(1, 8, 50)
    >>> chunks = [stream.push(x[:, :, i : i + 6]) for i in range(0, 50, 6)] + [stream.flush()]
    >>> torch.equal(torch.cat(chunks, 2), stream(x)), torch.allclose(stream(x), decoder(x), atol=1e-5)
    (True, True)
    >>> stream.layout, stream.latency
    ('[N, 8, t] -> [N, 1, t]', 14)

    The module runs in eval mode on the example, at a few lengths; its operations become a graph of steps along time,
    which is compared with the module before it is returned. `example` is its input, or a tuple or dict of arguments, of
    which the first tensor is what the stream takes and the others are constants; without one, it is random numbers for
    the first layer. Time is the axis whose size the module's outputs follow; `time_axis` names one where several do.
    Chunks are tensors in the module's own layout, of any length along time; `batch` sessions go on independently:

        stream.push(chunk)              # [N, C, n] -> [N, C', m], m differs from call to call
        stream.push({3: chunk})         # [C, n] of session 3, without the axis of sessions -> {3: [C', m]}
        stream.flush()                  # the outputs that were waiting for inputs; then reset() begins anew
        stream(x)                       # the output of a whole x

    Weights are those of this moment. Convolutions, transposed convolutions, padding, pooling, interpolation, functions
    of single numbers, arithmetic, LSTM, GRU, and normalization with stored statistics or over channels are read. A
    module with other operations runs on exact windows of its input, all that its outputs depend on, if there are such:
    `stream.reason` says why, its bits and weights are those of the module when it runs, and its work is repeated.
    `strict=True` raises StreamError instead. What reads all of time (attention, group norm, means over time,
    bidirectional layers) is no stream. Nor is a module whose Python reads numbers of a value
    (`if x.abs().mean() > 0.5`), on which what it does may depend, or one that computes something else for short inputs.
    A rule for inputs longer than 2048 samples and the example is not seen.

    Streams of modules are float32: one with a float64 example runs on windows. Write module.float(), example.float().

    `sample_rate`, that of the output, gives `latency_ms`. Raises ArgumentError for another object or an example that
    the module does not take, and StreamError, with the operation and its module, if neither way is exact.
    """
    _check_module(module)
    sample_rate = sample_rate_of(sample_rate)
    call = ModuleCall(module, made_example(module) if example is None else example)
    _check_example(call)
    time_axis = _axis(time_axis, call.example.ndim)
    with call.evaluated(), uncompiled():
        try:
            call(call.example)
        except Exception as error:
            raise ArgumentError(
                f"{type(module).__name__} does not take the example of shape {tuple(call.example.shape)}: {error}. "
                "Write an example that it takes, or (x, other arguments)"
            ) from error
        try:
            reading, graph, difference = _read(call, time_axis)
        except StreamError as error:
            if strict or isinstance(error, (NumbersReadError, ShortInputError)):
                raise
            check_numbers_unread(call.module, call, call.example)  # windows of some numbers say nothing of others
            return _on_windows(call, time_axis, error, batch, sample_rate)
    names = [module or name for module, name in zip(reading.modules, layer_names(graph), strict=True)]
    report = StreamReport(graph, names, sample_rate=sample_rate, difference=difference.from_module)
    made = ModuleStream(graph, ModuleLayout(reading.given, reading.made), report, batch, sample_rate)
    made.difference = difference
    return made


def _check_module(module: Any) -> None:
    if not isinstance(module, torch.nn.Module):
        raise ArgumentError(f"the module is a {type(module).__name__}; a torch.nn.Module is needed")
    if is_compiled(module) or isinstance(module, torch.jit.ScriptModule):
        raise ArgumentError(
            f"the {type(module).__name__} is compiled already, and its layers cannot be seen. Write "
            "tconv.torch.stream(module) with the module before torch.compile or torch.jit"
        )
    elsewhere = {each.device for each in (*module.parameters(), *module.buffers()) if each.device.type != "cpu"}
    if elsewhere:
        raise ArgumentError(f"the module has weights on {elsewhere.pop()}; streams run on the CPU. Write module.cpu()")


def _axis(axis: Any, count: int) -> int | None:
    """Return the number of an axis of the example, from 0 on; None for None. Raises ArgumentError."""
    if axis is None:
        return None
    number = int_of(axis, "time_axis", least=-count, example="time_axis=-1")
    if number >= count:
        raise ArgumentError(
            f"time_axis is {number}; the example has axes 0 to {count - 1}. Write time_axis={count - 1}"
        )
    return number % count


def _check_example(call: ModuleCall) -> None:
    x = call.example
    if x.device.type != "cpu" or x.layout != torch.strided:
        kind = x.device if x.layout == torch.strided else x.layout
        raise ArgumentError(
            f"example is on {kind}; a tensor with memory on the CPU is needed. Write torch.randn(1, 80, 50)"
        )
    if not x.is_floating_point():
        kind = str(x.dtype).removeprefix("torch.")
        raise ArgumentError(
            f"example is {kind}, such as codes; floating-point numbers are needed. Write the part of the module behind "
            "its embedding: tconv.torch.stream(model.decoder, embedded)"
        )
    if x.dtype not in (torch.float32, torch.float64):
        kind = str(x.dtype).removeprefix("torch.")
        raise ArgumentError(
            f"example is {kind}; streams compute in float32. Write tconv.torch.stream(module.float(), example.float())"
        )


def _read(call: ModuleCall, time_axis: int | None) -> tuple[ModuleReading, StreamGraph, Difference]:
    """Return the graph of a module that equals it. Raises StreamError."""
    if call.example.dtype == torch.float64:
        raise StreamError(
            "the example is float64, and steps of streams compute in float32. Write "
            "tconv.torch.stream(module.float(), example.float())"
        )
    with suppress(StreamError):
        reading = read_module(call, time_axis, FEWEST)
        graph = StreamGraph(reading.nodes, reading.given.total)
        return reading, graph, compare(call, reading, graph)
    reading = read_module(call, time_axis)
    while True:
        graph = StreamGraph(reading.nodes, reading.given.total)
        try:
            return reading, graph, compare(call, reading, graph)
        except ShortInputError:
            raise
        except StreamError:
            whole = call.example.shape[reading.given.time]
            if reading.length >= whole:
                raise
            reading = read_module(call, time_axis, whole)  # it may do other things with long inputs


def _on_windows(
    call: ModuleCall, time_axis: int | None, known: StreamError, batch: int, sample_rate: float | None
) -> ModuleStream:
    """Return a stream that runs the module on windows. Raises StreamError if that is not exact."""
    reason = str(known)
    axes = plain_axes(call, time_axis)
    mean, spread = mean_and_spread(call.example)

    def draw(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        return np.asarray(rng.standard_normal(shape) * spread + mean)

    try:
        run = _WindowRun(call, axes)
        dtype = call.example.numpy().dtype
        windows = WindowStream(run, axes.given.total, 0, dtype=dtype, draw=draw, identity=_digest(call))
    except StreamError as error:
        if isinstance(known, AllOfTimeError):
            raise StreamError(reason) from None
        raise StreamError(f"{reason}; and on windows of its input: {error}") from None
    report = windows.report_of(type(call.module).__name__, sample_rate=sample_rate, reason=reason)
    layout = ModuleLayout(axes.given, axes.made, dtype=dtype)
    made = ModuleStream(windows.graph, layout, report, batch, sample_rate)
    made.reason, made.difference = reason, Difference(windows.difference, None, None)
    return made


class _WindowRun:
    """Function of arrays [N, C, n] that runs a module in eval mode."""

    def __init__(self, call: ModuleCall, axes: PlainAxes) -> None:
        self.call, self.axes, self._count = call, axes, 0

    def __call__(self, x: Array) -> Array:
        if self.axes.given.sessions is None and len(x) > 1:
            return np.concatenate([self(row[None]) for row in x])
        given = torch.from_numpy(np.array(self.axes.given.native(x), order="C"))
        with eval_without_gradients(self.call.module):
            self._count += 1  # a module that draws random numbers draws others each time, whatever the caller draws
            torch.default_generator.manual_seed(self._count)
            made = tensors_of(self.call(given))[self.axes.output]
        if made.dtype != given.dtype:
            needed, kind = (str(dtype).removeprefix("torch.") for dtype in (given.dtype, made.dtype))
            raise StreamError(f"the module returns {kind}; {needed} is needed, as its input is")
        return self.axes.made.canonical(made.detach().cpu().numpy())


def _digest(call: ModuleCall) -> str:
    """Return a digest of a module's weights and constant arguments, which tells states of its streams from others'."""
    digest = hashlib.blake2b(type(call.module).__qualname__.encode(), digest_size=16)
    for name, tensor in [*call.module.state_dict().items(), *call.constants()]:
        if isinstance(tensor, torch.Tensor):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            flat = tensor.detach().cpu().contiguous().reshape(-1)
            digest.update(flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b"")
        elif isinstance(tensor, (bool, int, float, str)):  # others' text may be another in another process
            digest.update(f"{name} {tensor!r}".encode())
    return digest.hexdigest()
