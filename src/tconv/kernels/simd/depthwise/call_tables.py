"""Compiled calls of depthwise layers: tables and functions for a problem and the strides of its arrays."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from tconv._arrays import Array
from tconv.kernels.problem import Problem
from tconv.kernels.simd.call_frame import HEAD, NO_ROW, new_frame
from tconv.kernels.simd.compiled_call import STREAM_FROM, CompiledCall
from tconv.kernels.simd.depthwise import channels_first, channels_last, tile_loop
from tconv.kernels.simd.depthwise.row_pass import OUTER_HEAD, Rows
from tconv.kernels.simd.depthwise.schedule import DepthwiseSchedule, depthwise_schedule
from tconv.kernels.simd.depthwise.tiling import block_sizes, ceil, threads_of
from tconv.kernels.simd.elements import elements_of
from tconv.kernels.simd.phase_axes import Axis, Length, lengths
from tconv.kernels.simd.row_offsets import axis_offsets, combine, output_offsets, slow_strides


class _DepthwiseCall(CompiledCall):
    """Compiled call of a depthwise layer. Strides count elements. A subclass says what the lanes run over."""

    def __init__(
        self, p: Problem, x_strides: tuple[int, ...], out_strides: tuple[int, ...], threads: int, activated: bool
    ) -> None:
        layer, sizes = depthwise_schedule(p.layer), lengths(p)
        self.problem, self.elements, self.activated = p, elements_of(p.dtype), activated
        last, fast, outer_phases = sizes.slow[-1], sizes.fast, len(layer.outer_phases)
        used = threads_of(p.input_bytes + p.output_bytes, threads)
        # bytes of x and the output for one position of an input channel
        outputs = layer.multiplier * len(layer.calls) * layer.columns.stride
        outer_rows = math.prod(length.positions for length in sizes.slow[:-1])
        axes = {"positions": fast.positions, "rows": last.positions, "outer": outer_rows, "channels": p.in_channels}
        blocks = self.blocks(axes, self.elements.stored_size * (1 + outputs), used)
        counts = {name: ceil(length, blocks[name]) for name, length in axes.items()}
        total = p.batch * math.prod(counts.values())
        most_rows = max(call.outer * call.last for call in layer.calls)
        super().__init__(p, total, min(used, total), 8 * (HEAD + 2 * most_rows), threads)
        x_steps, out_steps = (slow_strides(strides, len(sizes.slow)) for strides in (x_strides, out_strides))
        outer = _outer_table(layer, sizes.slow[:-1], x_steps, out_steps)
        rows = [
            self.table_address(_row_table(layer.grid.slow[-1], phase, last, x_steps[-1], out_steps[-1]))
            for phase in range(layer.grid.slow[-1].stride)
        ]
        per_tap, zeros = self.weights_per_tap(layer), self.zeros()
        calls = [
            [self.function(layer, Rows(call.outer, call.last)), call.first_tap * per_tap, rows[number % len(rows)]]
            for number, call in enumerate(layer.calls)
        ]
        self.frame = new_frame(
            x_batch=x_strides[0],
            x_channel=x_strides[1],
            x_fast=x_strides[-1],
            x_length=fast.inputs,
            out_batch=out_strides[0],
            out_channel=out_strides[1],
            out_fast=out_strides[-1],
            out_length=fast.outputs,
            stream=int(p.output_bytes >= STREAM_FROM),
            zeros=self.table_address(np.zeros(zeros * self.elements.stored_size // 8 + 1, np.int64)),
            segments=counts["positions"],
            width=blocks["positions"],
            width_total=fast.positions,
            row_tiles=counts["rows"],
            rows=blocks["rows"],
            last_rows=last.positions,
            outer_tiles=counts["outer"],
            outer_size=blocks["outer"] * outer_phases,
            outer_rows=outer_rows * outer_phases,
            outer_table=self.table_address(outer),
            outer_entry=8 * outer.shape[1],
            row_phases=len(rows),
            call_table=self.table_address(calls),
            splits=counts["channels"],
            unit_size=blocks["channels"],
            group_in=p.in_channels,
            multiplier=layer.multiplier,
            **self.layout(layer),
        )
        self.tile_function = tile_loop.address(self.elements)

    def blocks(self, axes: dict[str, int], position_bytes: int, threads: int) -> dict[str, int]:
        """Return the size of a tile on each axis."""
        raise NotImplementedError

    def weights_per_tap(self, layer: DepthwiseSchedule) -> int:
        """Return the distance between the weights of two taps."""
        raise NotImplementedError

    def zeros(self) -> int:
        """Return the length of a row of zeros, which stands for rows outside of x."""
        raise NotImplementedError

    def function(self, layer: DepthwiseSchedule, rows: Rows) -> int:
        """Return the address of the row function."""
        raise NotImplementedError

    def layout(self, layer: DepthwiseSchedule) -> dict[str, int]:
        """Return the fields of the frame for channels and weights."""
        raise NotImplementedError


class DepthwisePositionsCall(_DepthwiseCall):
    """Compiled call with lanes over positions: one output channel after another."""

    def blocks(self, axes: dict[str, int], position_bytes: int, threads: int) -> dict[str, int]:
        units = {"positions": self.elements.lanes, "rows": 1, "outer": 1, "channels": 1}
        return block_sizes(
            {name: (axes[name], unit) for name, unit in units.items()}, position_bytes, self.problem.batch, threads
        )

    def weights_per_tap(self, layer: DepthwiseSchedule) -> int:
        return 1

    def zeros(self) -> int:
        return self.problem.input_shape[-1]

    def function(self, layer: DepthwiseSchedule, rows: Rows) -> int:
        return channels_first.address(layer.columns, rows, self.activated, self.elements)

    def layout(self, layer: DepthwiseSchedule) -> dict[str, int]:
        taps, m = len(layer.taps), layer.multiplier
        return {"unit_step": 1, "repeats": m, "channel_weights": m * taps, "repeat_weights": taps}


class DepthwiseChannelsCall(_DepthwiseCall):
    """Compiled call with lanes over channels: all channels of a position, with all their outputs."""

    def blocks(self, axes: dict[str, int], position_bytes: int, threads: int) -> dict[str, int]:
        units = {"channels": self.elements.lanes, "positions": 1, "rows": 1, "outer": 1}
        return block_sizes(
            {name: (axes[name], unit) for name, unit in units.items()}, position_bytes, self.problem.batch, threads
        )

    def weights_per_tap(self, layer: DepthwiseSchedule) -> int:
        return self.problem.out_channels

    def zeros(self) -> int:
        return self.problem.in_channels

    def function(self, layer: DepthwiseSchedule, rows: Rows) -> int:
        return channels_last.address(layer.columns, rows, layer.multiplier, self.activated, self.elements)

    def layout(self, layer: DepthwiseSchedule) -> dict[str, int]:
        channels = self.problem.in_channels
        return {
            "unit_step": channels,
            "repeats": 1,
            "channel_weights": 1,
            "weight_pitch": channels,
            "position_block": max(2, channels_last.BLOCK // (self.elements.stored_size * channels)),
        }


def _shifted(axis: Axis, phase: int, length: Length, stride: int) -> Array:
    """Return the offsets of x, [taps, positions], for a phase of an axis."""
    shifts = np.array([shift for shift, _ in axis.taps[phase]], np.int64)
    return axis_offsets(np.arange(length.positions) - shifts[:, None], length.inputs, stride)


def _row_table(axis: Axis, phase: int, length: Length, x_stride: int, out_stride: int) -> Array:
    """Return the offsets of a phase of the last slow axis: per position that of the output, then those of x."""
    written = axis_offsets(np.arange(length.positions) * axis.stride + phase, length.outputs, out_stride)
    return np.concatenate([written[None], _shifted(axis, phase, length, x_stride)]).T


def _outer_table(
    layer: DepthwiseSchedule, sizes: tuple[Length, ...], x_strides: Iterable[int], out_strides: Iterable[int]
) -> Array:
    """Return the offsets on the slow axes without the last, [positions x phases].

    An entry is that of the output, the number of the phase, and those of x, one for each combination of shifts.
    """
    axes, phases, most = layer.grid.slow[:-1], layer.outer_phases, max(call.outer for call in layer.calls)
    positions = math.prod(length.positions for length in sizes)
    table = np.full((positions, len(phases), OUTER_HEAD + most), NO_ROW, np.int64)
    table[:, :, 0], table[:, :, 1] = 0, np.arange(len(phases))
    if axes:
        of_axes = ((axis.stride, length.positions, length.outputs) for axis, length in zip(axes, sizes, strict=True))
        table[:, :, 0] = output_offsets(of_axes, list(out_strides)[:-1]).T
    for number, phase in enumerate(phases):
        parts = [_shifted(*each) for each in zip(axes, phase, sizes, x_strides, strict=False)]
        offsets = combine(parts) if parts else np.zeros((1, 1), np.int64)
        table[:, number, OUTER_HEAD : OUTER_HEAD + len(offsets)] = offsets.T
    return table.reshape(positions * len(phases), -1)
