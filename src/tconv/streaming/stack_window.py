"""`window`: which inputs a slice of outputs of a whole stack needs, and the latency of the stack."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from tconv._arguments import Ints, ints_of, sample_rate_of
from tconv._cached_property import cached_property
from tconv.errors import ArgumentError, ShapeError
from tconv.geometry import Slices, ranges_of
from tconv.streaming.axis_stack import AxisStack, Limit
from tconv.streaming.chain_layers import ChainLayer, layers_of_chain
from tconv.streaming.window_table import stack_text


@dataclass(frozen=True, eq=False)
class StackWindow:
    """Windows of a stack of layers; `tconv.window` returns it, and `print` shows it. All values are per axis.

    With an `input_shape` the borders count: windows are clipped to the input and to the output, and so is everything
    between two layers. Without one the input is endless on both sides.
    """

    layers: tuple[ChainLayer, ...]
    output: tuple[slice, ...] | None = None
    """Outputs that were asked for."""
    input_shape: tuple[int, ...] | None = None
    sample_rate: float | None = None
    """Samples per second of the output."""

    def __str__(self) -> str:
        axes = [tuple(layer.along(axis) for layer in self.layers) for axis in range(self.ndim)]
        names = [layer.name for layer in self.layers]
        shown = self.stacks[:1] if len(set(axes)) == 1 else self.stacks
        texts = [stack_text(stack, names, self.sample_rate) for stack in shown]
        if len(texts) > 1:
            texts = [f"axis {axis}\n{text}" for axis, text in enumerate(texts)]
        elif self.ndim > 1:
            texts = [f"the same on all {self.ndim} axes\n{texts[0]}"]
        if self.output is not None and self.input is not None:
            asked, needed = (", ".join(f"{s.start}:{s.stop}" for s in side) for side in (self.output, self.input))
            texts.append(f"outputs {asked} need inputs {needed}")
        return "\n\n".join(texts)

    @property
    def ndim(self) -> int:
        """Number of spatial axes."""
        return self.layers[0].geometry.ndim

    @cached_property
    def stacks(self) -> tuple[AxisStack, ...]:
        """The layers along each axis."""
        return tuple(AxisStack([layer.along(axis) for layer in self.layers]) for axis in range(self.ndim))

    # -- sizes ---------------------------------------------------------------------------------------------------

    @property
    def rate(self) -> tuple[Fraction, ...]:
        """Outputs per input."""
        return tuple(stack.rate for stack in self.stacks)

    @property
    def period(self) -> tuple[int, ...]:
        """Inputs after which all windows repeat: 1, but for stacks with strided convolutions."""
        return tuple(stack.period for stack in self.stacks)

    def output_shape(self, input_shape: Ints) -> tuple[int, ...]:
        """Return the output shape. Raises ShapeError if an axis would be empty, with the layer where it is."""
        sizes = ints_of(input_shape, "input_shape", self.ndim, least=1)
        for number, layer in enumerate(self.layers):
            try:
                sizes = layer.output_shape(sizes)
            except ShapeError as error:
                raise ShapeError(f"layer {number} ({layer.name}): {error}") from None
        return sizes

    # -- windows -------------------------------------------------------------------------------------------------

    @property
    def input(self) -> tuple[slice, ...] | None:
        """Inputs that `output` needs; None if no output was asked for."""
        return None if self.output is None else self.input_window(self.output)

    def input_window(self, output: Slices) -> tuple[slice, ...]:
        """Return the inputs that a slice of the output needs: the smallest range per axis, (0, 0) if it needs none."""
        return self._windows(output, "output", forward=False)

    def output_window(self, input: Slices) -> tuple[slice, ...]:
        """Return the outputs that depend on a slice of the input: the smallest range per axis, (0, 0) if none does."""
        return self._windows(input, "input", forward=True)

    def final_window(self, input: Slices) -> tuple[slice, ...]:
        """Return the outputs that read this slice of the input alone, so that a chunk with no more of it is enough.

        Outputs in front of the slice's reach are not among them, nor are those behind it. (0, 0) if there are none.

        >>> from tconv import Geometry
        >>> window([Geometry(4, 2, 1)]).final_window(slice(8, 12))
        (slice(17, 23, None),)
        """
        found = []
        for (start, stop), stack, limits in zip(
            ranges_of(input, "input", self.ndim), self.stacks, self._limits(), strict=True
        ):
            low, high = limits[0]
            first = None if low is not None and start <= low else stack.last_reached(start - 1, limits)
            last = None if high is not None and stop >= high else stack.first_reached(stop, limits)
            begin = limits[-1][0] if first is None else first + 1
            end = limits[-1][1] if last is None else last
            if begin is None or end is None:
                raise ShapeError(
                    "no output of this stack depends on its input: every output is final. Use kernels that meet"
                )
            found.append(slice(begin, end) if begin < end and start < stop else slice(0, 0))
        return tuple(found)

    def final_count(self, received: Ints) -> tuple[int, ...]:
        """Return the number of outputs, from the first on, that are final after so many inputs of a stream.

        Final are those that no later input changes; those that the output would not have if the input ended now are
        not. The stream begins with input 0: before it are zeros.

        >>> from tconv import Geometry
        >>> window([Geometry(4, 2, 1)]).final_count(10)
        (19,)
        """
        counts = ints_of(received, "received", self.ndim, least=0)
        return tuple(stack.final_count(count) for stack, count in zip(self.stacks, counts, strict=True))

    def _limits(self) -> list[list[Limit]]:
        sizes: Sequence[int | None] = self.input_shape or (None,) * self.ndim
        return [stack.limits(size) for stack, size in zip(self.stacks, sizes, strict=True)]

    def _windows(self, slices: Slices, side: str, *, forward: bool) -> tuple[slice, ...]:
        found = [
            stack.window((start, stop - 1), limits, forward=forward)
            for (start, stop), stack, limits in zip(
                ranges_of(slices, side, self.ndim), self.stacks, self._limits(), strict=True
            )
        ]
        return tuple(slice(0, 0) if each is None else slice(each[0], each[1] + 1) for each in found)

    # -- context -------------------------------------------------------------------------------------------------

    @cached_property
    def phases(self) -> tuple[tuple[slice, ...], ...]:
        """Inputs that the outputs 0, 1, ... of one period read, per axis, of an endless input; (0, 0) for none."""
        return tuple(
            tuple(slice(0, 0) if each is None else slice(each[0], each[1] + 1) for each in stack.phases)
            for stack in self.stacks
        )

    @property
    def receptive_field(self) -> tuple[int, ...]:
        """Span of inputs that one output can depend on, in the widest phase."""
        return tuple(stack.receptive_fields[-1] for stack in self.stacks)

    @property
    def left_context(self) -> tuple[int, ...]:
        """Inputs before a chunk that its outputs need, where `rate` outputs belong to each input of the chunk."""
        return tuple(stack.context[0] for stack in self.stacks)

    @property
    def right_context(self) -> tuple[int, ...]:
        """Inputs behind a chunk that its outputs need. With a `period` above 1, chunks are multiples of it."""
        return tuple(stack.context[1] for stack in self.stacks)

    # -- latency -------------------------------------------------------------------------------------------------

    @property
    def latency(self) -> tuple[int, ...]:
        """Outputs that a stream withholds: of the n * `rate` that belong to n inputs, the most that are not final.

        0 for causal stacks. Rounded up to whole outputs.
        """
        return tuple(stack.withheld for stack in self.stacks)

    @property
    def latency_ms(self) -> float | None:
        """Milliseconds of the latency; None without a `sample_rate`."""
        return None if self.sample_rate is None else 1000 * self.latency[0] / self.sample_rate

    @property
    def first_output(self) -> tuple[int | None, ...]:
        """Inputs after which the first output is final; None if that never comes."""
        return tuple(stack.first_output for stack in self.stacks)

    @property
    def look_ahead(self) -> tuple[tuple[Fraction, ...], ...]:
        """Outputs that each layer adds to the latency, per axis: their sum is the latency before it is rounded."""
        return tuple(stack.look_ahead for stack in self.stacks)


def window(
    chain: Any, output: Slices | None = None, input_shape: Ints | None = None, *, sample_rate: float | None = None
) -> StackWindow:
    """Return the windows of a stack of layers: inputs for a slice of outputs and back, context, latency.

    >>> from tconv import Geometry
    >>> smooth = Geometry(7, crop=3).convolution    # torch.nn.Conv1d(..., 7, padding=3)
    >>> decoder = [smooth, Geometry(16, 8, 4), Geometry(4, 2, 1), smooth]
    >>> w = window(decoder, output=slice(1600, 1760), sample_rate=24_000)
    >>> w.input                                 # the inputs that these 160 outputs need
    (slice(96, 114, None),)
    >>> w.receptive_field, w.left_context, w.right_context, w.latency
    ((9,), (4,), (4,), (60,))
    >>> w.latency_ms                            # 60 outputs at 24 kHz
    2.5
    >>> w.output_shape(100)
    (1600,)

    `chain` lists layers in the order in which they run, on any number of axes. A `Geometry` is a transposed
    convolution, `geometry.convolution` the ordinary convolution with its crop as padding. Layers of frameworks are
    taken as they are: convolutions, poolings, upsamplings that repeat, zero padding, Sequential. Modules that map every
    position by itself are left out. Chains may contain chains.

    `output` is a slice per axis; `.input` are then the inputs that it needs. `input_shape` makes the input end at its
    borders: without it, it is endless. Slices beyond the borders are clipped to them, as `Geometry.input_window` does.
    `sample_rate` is that of the output, along one axis.

    Windows are exact: the first and the last input of a window can change the slice, and none outside of it can.

    Raises ArgumentError for a layer whose window is not known, ShapeError for anything but one slice with start <= stop
    per axis and for sizes that do not fit, and TooLargeError for a stack in which one input reaches more than 16
    million positions.
    """
    layers = layers_of_chain(chain, input_shape)
    ndim = layers[0].geometry.ndim
    sizes = None if input_shape is None else ints_of(input_shape, "input_shape", ndim, least=1)
    rate = sample_rate_of(sample_rate)
    if rate is not None and ndim > 1:
        raise ArgumentError(
            f"sample_rate was given for {ndim} axes; it is that of one axis, time. Write the call without sample_rate="
        )
    slices = None if output is None else tuple(slice(*each) for each in ranges_of(output, "output", ndim))
    return StackWindow(layers, slices, sizes, rate)
