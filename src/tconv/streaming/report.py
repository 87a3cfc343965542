"""`StreamReport`: what a stream waits for, what it holds, and where its look-ahead comes from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

from tconv._cached_property import cached_property
from tconv.streaming.look_ahead import LookAhead, causal_latency, layer_names, waiting_layers
from tconv.streaming.stream_graph import StreamGraph
from tconv.streaming.time_step import ENDLESS
from tconv.streaming.window_table import columns, count_of

_MOST_PHASES = 512
"""Outputs whose windows are compared for the receptive field."""
_MOST_ROWS = 10
"""Layers that the text shows by themselves: those that add the most."""


class StreamReport:
    """Latency, context, state and work of a stream. `print` shows it; every value is an attribute.

    >>> import numpy as np
    >>> from tconv import Geometry
    >>> from tconv.models import Convolution
    >>> from tconv.models.layers import Node
    >>> up = Convolution(np.ones((1, 1, 1, 16), np.float32), Geometry((1, 16), (1, 8), ((0, 0), (4, 4))))
    >>> report = StreamReport(StreamGraph([Node(up, (0,))], channels=1), sample_rate=16_000)
    >>> report.latency, report.latency_ms, report.left_context, report.right_context
    (4, 0.25, 1, 1)
    >>> report.look_ahead
    (LookAhead(layer='1 transposed convolution', samples=Fraction(4, 1), causal='crop 4:4 -> 0:8'),)

    Contexts and receptive field are ranges. Where a layer skips inputs (a transposed convolution with a kernel shorter
    than its stride, or dilated and strided) they can be a little wider than what is read; those of `tconv.window` are
    exact there, too.

    `names` are those of the layers, one for each node. `sample_rate` is that of the output. `difference` is the largest
    one between the stream and the framework's own offline result that was seen on an example, as a share of the largest
    output; `against` names the framework. `work` is the arithmetic per input, that of the offline run being 1,
    in chunks of `chunk` inputs if it depends on them; `is_stateful` says that nothing is computed twice and that
    outputs have the bits of the offline run, `stream(x)`; `reason` says why a module runs on windows instead.
    """

    def __init__(
        self,
        graph: StreamGraph,
        names: Sequence[str] | None = None,
        *,
        sample_rate: float | None = None,
        is_stateful: bool = True,
        work: float = 1.0,
        chunk: int | None = None,
        difference: float | None = None,
        against: str = "PyTorch",
        reason: str | None = None,
    ) -> None:
        self.graph, self.sample_rate = graph, sample_rate
        self.names = tuple(names or layer_names(graph))
        self.is_stateful, self.work, self.chunk = is_stateful, work, chunk
        self.difference, self.against, self.reason = difference, against, reason

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        return report_text(self)

    @property
    def way(self) -> str:
        """Way of running: "stateful" or "exact windows"."""
        return "stateful" if self.is_stateful else "exact windows"

    @property
    def rate(self) -> Fraction:
        """Outputs per input."""
        return self.graph.rates[-1]

    @property
    def latency(self) -> int:
        """Outputs that are withheld: of those that belong to the inputs so far, the last ones."""
        return self.graph.latency

    @property
    def latency_ms(self) -> float | None:
        """Milliseconds of the latency; None without a `sample_rate`."""
        return None if self.sample_rate is None else 1000 * self.latency / self.sample_rate

    @property
    def state_bytes(self) -> int:
        """Bytes of one session's state."""
        return self.graph.state_bytes

    @property
    def left_context(self) -> int | None:
        """Inputs before a chunk that its outputs depend on; None for all of them, where layers are recurrent."""
        return None if self._remembers else max(0, -self._reach[0])

    @property
    def right_context(self) -> int:
        """Inputs behind a chunk that its outputs depend on."""
        return max(0, self._reach[1] - self.graph.period)

    @cached_property
    def receptive_field(self) -> int | None:
        """Most inputs that one output depends on, from the first to the last; None for all before it."""
        if self._remembers:
            return None
        outputs = int(self.graph.period * self.rate)
        step = -(-outputs // _MOST_PHASES)
        spans = [self._inputs(phase, phase + 1) for phase in range(0, outputs, step)]
        return max(last - first for first, last in spans)

    @property
    def _remembers(self) -> bool:
        return any(node.step.new_memory() for node in self.graph.nodes)

    @cached_property
    def _reach(self) -> tuple[int, int]:
        """First input that the outputs of one period need, and the one behind the last."""
        return self._inputs(0, int(self.graph.period * self.rate))

    def _inputs(self, start: int, stop: int) -> tuple[int, int]:
        """Return the inputs that outputs start:stop need, far from both ends: both count from the same place."""
        graph = self.graph
        far = (ENDLESS >> 2) // math.ceil(max([Fraction(1), *graph.rates]))
        far -= far % graph.period
        shift = int(far * self.rate)
        needed: list[slice | None] = [None] * len(graph.channels)
        needed[-1] = slice(start + shift, stop + shift)
        for place in range(len(graph.nodes), 0, -1):
            node, outputs = graph.nodes[place - 1], needed[place]
            if outputs is None:
                continue
            for turn, given in enumerate(node.inputs):
                read, other = node.step.source(turn, outputs, [ENDLESS] * len(node.inputs)), needed[given]
                needed[given] = (
                    read if other is None else slice(min(read.start, other.start), max(read.stop, other.stop))
                )
        inputs = needed[0] or slice(far, far)
        return inputs.start - far, inputs.stop - far

    @cached_property
    def look_ahead(self) -> tuple[LookAhead, ...]:
        """Outputs that each layer adds to the latency, along the path that waits longest; their sum is the latency."""
        return waiting_layers(self.graph, self.names)

    @cached_property
    def causal_latency(self) -> int | None:
        """Latency of the same layers with every crop and padding moved as `look_ahead` says; None if they do not fit.

        Moved, they are another function: a model has to be made and trained so.
        """
        return causal_latency(self.graph)


# -- text ----------------------------------------------------------------------------------------------------------


def report_text(report: StreamReport) -> str:
    """Return the report as text."""
    lines = [*_way(report), "", *_figures(report)]
    if report.look_ahead:
        lines += ["", *_look_ahead_table(report)]
    return "\n".join(lines)


def _way(report: StreamReport) -> list[str]:
    if report.is_stateful:
        lines = ["stateful: chunks of any length give the same bits as stream(x), the whole at once"]
    else:
        lines = ["exact windows: every output is computed from all inputs that it depends on; equal but for rounding"]
        if report.reason is not None:
            lines.append(f"because the layers were not read: {report.reason}")
    if report.difference is not None:
        seen = (
            "equal to it, bit for bit,"
            if report.difference == 0
            else f"at most {report.difference:.1e} of the largest output from it"
        )
        lines.append(f"{report.against}'s own offline result: {seen} on the example")
    return lines


def _figures(report: StreamReport) -> list[str]:
    rate = report.rate
    per = "input" if rate.denominator == 1 else f"{rate.denominator} inputs"
    latency = count_of(report.latency, "output")
    if report.latency and report.latency_ms is not None:
        latency += f" = {report.latency_ms:.4g} ms at {report.sample_rate:g} Hz"
    latency += ": a push holds back the last ones until later inputs come" if report.latency else ": causal"
    left = "all inputs" if report.left_context is None else count_of(report.left_context, "input")
    field = "all inputs so far" if report.receptive_field is None else count_of(report.receptive_field, "input")
    repeated = "nothing is computed twice" if report.work <= 1 else "contexts are computed again"
    chunks = "" if report.chunk is None else f" in chunks of {count_of(report.chunk, 'input')}"
    return [
        f"rate             {count_of(rate.numerator, 'output')} per {per}",
        f"latency          {latency}",
        f"context          the outputs of one input depend on {left} before it and {report.right_context} after it",
        f"receptive field  {field}: the most that a single output depends on",
        f"state            {report.state_bytes:,} bytes per session",
        f"work             {report.work:.2f} of the offline run's{chunks}: {repeated}",
    ]


def _look_ahead_table(report: StreamReport) -> list[str]:
    rows = report.look_ahead
    total = sum((row.samples for row in rows), Fraction(0))
    largest = sorted(rows, key=lambda row: row.samples, reverse=True)[:_MOST_ROWS]
    few = rows if len(rows) <= _MOST_ROWS + 1 else [row for row in rows if row in largest]
    table = [("look-ahead of", "outputs", "share", "none with")]
    table += [(row.layer, *_amount(row.samples, total), row.causal or "-") for row in few]
    if len(few) < len(rows):
        others = total - sum(row.samples for row in few)
        table.append((f"{len(rows) - len(few)} others, in sum", *_amount(others, total), "each moved likewise"))
    lines = columns(table)
    left = report.causal_latency
    if left is not None and left < report.latency:
        lines.append(
            f"With all of these moved, in a model made and trained so, the latency is {left}: "
            f"{count_of(report.latency - left, 'output')} less."
        )
    return lines


def _amount(samples: Fraction, total: Fraction) -> tuple[str, str]:
    return f"{float(samples):g}", f"{float(samples / total):.0%}" if total > 0 else ""
