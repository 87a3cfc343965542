"""`WindowStream`: a module that cannot be read, run on exact windows of its inputs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.errors import ShapeError, StreamError
from tconv.streaming.dependence import Dependence
from tconv.streaming.module_probe import Draw, ModuleProbe, Run
from tconv.streaming.probing import measure_dependence
from tconv.streaming.report import StreamReport
from tconv.streaming.sessions import Stream
from tconv.streaming.stream_graph import StreamGraph, StreamNode
from tconv.streaming.time_step import ENDLESS, TimeSpan

_REPEATED = 8
"""Inputs of the longest window, in contexts: no more than an eighth of its work is repeated."""
_PUSHES = 64
"""Chunks over which repeated work is counted."""
_CHUNK_SECONDS = 0.020
_LONGEST_CHUNK = 1 << 16
_TOLERANCE = 2e-5
"""Difference from the whole that counts as rounding, as a share of the largest output."""
_LONG, _LONG_OUTPUT = 2048, 1 << 15
"""Samples of a long input on which windows are checked, at most, and of its output."""


class ModuleStep:
    """Step along time that runs a module on windows which hold all that the outputs depend on.

    Windows have few lengths, so that frameworks plan few times: one is made longer by its last input, repeated, which
    no final output depends on.
    """

    in_pieces = False
    """True if chunks may be cut: here, each piece would repeat the work of its context"""

    def __init__(
        self, run: Run, dependence: Dependence, channels: int, outputs: int, *, alone: bool = False, identity: Any = ()
    ) -> None:
        self.run, self.dependence, self.channels, self.outputs = run, dependence, channels, outputs
        self.alone, self.identity = alone, identity
        self.period = dependence.period
        self.window_lengths = _lengths(max(dependence.held, dependence.shortest), dependence.period)

    def fingerprint_parts(self) -> tuple[Any, ...]:
        """Return what tells this module from others: its lengths and context, and what its face knows of it."""
        return self.dependence, self.channels, self.outputs, self.identity

    # -- the interface of a step ---------------------------------------------------------------------------------

    def output_channels(self, given: Sequence[int]) -> int:
        """Return the channels of the output."""
        if list(given) != [self.channels]:
            raise ShapeError(f"the module has {self.channels} input channels, not {given[0]}")
        return self.outputs

    def extent(self, sizes: Sequence[int]) -> int:
        """Return the length of the output."""
        length = self.dependence.output_length(sizes[0])
        if length <= 0:
            raise ShapeError(f"the module takes {self.dependence.shortest} inputs or more, not {sizes[0]}")
        return length

    def source(self, number: int, outputs: slice, sizes: Sequence[int]) -> slice:
        """Return the inputs of the window that gives these outputs."""
        first = self.first(outputs.start)
        return slice(first, min(sizes[0], max(first + 1, self.dependence.inputs_for(outputs.stop))))

    def first(self, output: int) -> int:
        """Return the first input that this output, a later one or the end reads."""
        return self.dependence.first_held(output)

    def new_memory(self) -> tuple[Array, ...]:
        """Return no state."""
        return ()

    def compute(
        self, given: Sequence[TimeSpan], sizes: Sequence[int], out: TimeSpan, memory: Sequence[Array] = ()
    ) -> None:
        """Fill out, window by window."""
        values, size = given[0].values[:, :, 0], sizes[0]
        begin, end = out.start, out.start + out.values.shape[-1]
        if given[0].start == 0 and values.shape[-1] == size and begin == 0 and end == self.extent(sizes):
            out.values[:, :, 0] = self._outputs(values, begin, end)
            return
        for first, last, many in self.windows(begin, end, size):
            window = _extended(values, first - given[0].start, last - given[0].start)
            offset = begin - first // self.dependence.period * self.dependence.outputs
            target = out.values[:, :, 0, begin - out.start : many - out.start]
            target[...] = self._outputs(window, offset, offset + many - begin)
            begin = many

    def windows(self, begin: int, end: int, size: int = ENDLESS) -> Iterator[tuple[int, int, int]]:
        """Yield the windows for outputs begin:end: the first input, the one after the last, and where outputs stop."""
        while begin < end:
            first = self.first(begin)
            stop = min(end, max(begin + 1, self.dependence.final_after(first + self.window_lengths[-1])))
            if size != ENDLESS and stop > self.dependence.final_after(size):  # the end makes these final
                stop, last = end, size
            else:
                needed = self.dependence.inputs_for(stop) - first
                last = first + next((n for n in self.window_lengths if n >= needed), needed)
            yield first, last, stop
            begin = stop

    def _outputs(self, window: Array, begin: int, end: int) -> Array:
        """Return outputs of the module for a window, which it may change."""
        window = np.array(window, order="C")
        if self.alone and len(window) > 1:
            return np.concatenate([self._outputs(row[None], begin, end) for row in window])
        made = np.asarray(self.run(window))
        expected = len(window), self.outputs, self.dependence.output_length(window.shape[-1])
        if made.shape != expected:
            raise StreamError(f"the module gives shape {made.shape} for {window.shape}; it gave {expected} when probed")
        return made[:, :, begin:end]


class WindowStream(Stream):
    """Stream of a module that cannot be read: exact windows of its inputs, not bit-equal, with work repeated.

    >>> smooth = lambda x: (x + np.pad(x, ((0, 0), (0, 0), (1, 0)))[:, :, :-1]) / 2
    >>> stream = WindowStream(smooth, channels=1)
    >>> x = np.float32([[[2, 4, 6]]])
    >>> stream.push(x[:, :, :2]), stream.push(x[:, :, 2:]), stream.flush().shape
    (array([[[1., 3.]]], dtype=float32), array([[[5.]]], dtype=float32), (1, 1, 0))

    `run` takes arrays [N, C, n] and returns [N, C', m]; it is probed, unless its dependence is known. The state of a
    session is the inputs of its context. Outputs differ from the module's own whole output, `stream(x)`, by the
    rounding of the module, whose sums may come in another order at another length; `difference` is the largest seen.
    Before the stream is returned, it runs on random inputs with random cuts. Raises StreamError if it gives other
    outputs than the module's, or if no window can give them.
    """

    def __init__(
        self,
        run: Run,
        channels: int,
        batch: int = 1,
        *,
        dependence: Dependence | None = None,
        dtype: np.dtype[Any] | type = np.float32,
        draw: Draw | None = None,
        longest: int | None = None,
        sample_rate: float | None = None,
        identity: Any = (),
    ) -> None:
        self.dependence = dependence or measure_dependence(run, channels, dtype=dtype, draw=draw, longest=longest)
        probe = ModuleProbe(run, channels, np.dtype(dtype), draw)
        probe.check_repeatable(self.dependence.shortest + 16)
        sample = probe(probe.random(1, self.dependence.shortest))
        self.step = ModuleStep(run, self.dependence, channels, sample.shape[1], alone=probe.alone, identity=identity)
        graph = StreamGraph([StreamNode(self.step, (0,))], channels, np.dtype(dtype))
        super().__init__(graph, batch, sample_rate=sample_rate)
        self.difference = _checked_difference(self, probe)
        """largest difference from the module's own whole output that was seen, as a share of the largest output"""
        self.report = self.report_of("the module", sample_rate=sample_rate, against="the module")

    def report_of(
        self, name: str, *, sample_rate: float | None, against: str = "PyTorch", reason: str | None = None
    ) -> StreamReport:
        """Return the report of a module: the work for chunks of 20 ms, or of the context's length without a rate."""
        chunk = self.dependence.held
        if sample_rate is not None:
            chunk = round(min(_CHUNK_SECONDS * sample_rate / self.dependence.rate, _LONGEST_CHUNK))
        return StreamReport(
            self.graph,
            [name],
            sample_rate=sample_rate,
            is_stateful=False,
            work=self.work_repeated(max(1, chunk)),
            chunk=max(1, chunk),
            difference=self.difference,
            against=against,
            reason=reason,
        )

    def work_repeated(self, chunk: int) -> float:
        """Return the inputs that the module sees for every input of a chunk of this length, in steady state."""
        found, far = self.dependence, 2 * len(self.dependence.final)
        pushes = range(far, far + chunk * _PUSHES, chunk)
        inputs = 0
        for received in pushes:
            before, after = found.final_after(received), found.final_after(received + chunk)
            inputs += sum(last - first for first, last, _ in self.step.windows(before, after))
        return inputs / (chunk * _PUSHES)


def _checked_difference(stream: WindowStream, probe: ModuleProbe) -> float:
    """Return the largest difference of random cuts from the whole. Raises StreamError if it is more than rounding."""
    found, rng, worst = stream.dependence, np.random.default_rng(1), 0.0
    held = found.held
    short = found.shortest + held // 2, found.shortest + 3 * held + 2 * found.period + int(rng.integers(9))
    long = min(_LONG, int(_LONG_OUTPUT / found.rate))
    for length in (*short, *([long] if long > max(short) else [])):
        # single samples at the start, later and at the end, and long chunks between them
        cuts = {0, length, *range(min(3, length)), *range(length - 2, length)}
        cuts |= {*rng.integers(0, length, 8).tolist()} | {*(length // 2 + np.arange(3)).tolist()}
        x = probe.random(1, length)
        try:
            whole, chunks, at = stream(x), [], 0
        except StreamError:
            raise
        except Exception:  # whatever a module raises for long inputs
            if length in short:
                raise
            continue
        trial = Stream(stream.graph)
        for cut in sorted(each for each in cuts if 0 < each <= length):
            chunks.append(trial.push(x[:, :, at:cut]))
            at = cut
        made = np.concatenate([*chunks, trial.flush()], 2)
        if made.shape != whole.shape:
            raise StreamError(f"windows give {made.shape[2]} outputs where the whole has {whole.shape[2]}")
        gap = np.abs(made - whole).max(1)[0]
        worst = max(worst, float(gap.max()) / max(1e-30, float(np.abs(whole).max())))
        if not worst <= _TOLERANCE:
            place = int(gap.argmax())
            raise StreamError(
                f"windows of the inputs that output {place} depends on give it another value than the whole does, by "
                f"{worst:.2g} of the largest output: the module knows its place in time, or the length of its input "
                "(a position embedding, a counter), which no window has"
            )
    return worst


def _extended(values: Array, start: int, stop: int) -> Array:
    """Return [..., start:stop], the last one repeated where there are no more."""
    window = values[..., start:stop]
    missing = stop - start - window.shape[-1]
    return window if missing <= 0 else np.concatenate([window, np.repeat(window[..., -1:], missing, -1)], -1)


def _lengths(context: int, period: int) -> tuple[int, ...]:
    """Return the few lengths of windows: the context and 1, 2, 4, 8, ... periods, a few for a long context."""
    base = -(-context // period)
    many = [1]
    while many[-1] < _REPEATED * base:
        many.append(2 * many[-1])
    return tuple(period * (base + each) for each in many)
