"""One stride-1 convolution per phase."""

from __future__ import annotations

import math
from functools import partial
from itertools import product

from tconv.rewriting.builder import Builder, shuffle_forms
from tconv.rewriting.operations import ConvTranspose, Sizes
from tconv.rewriting.steps.phase_taps import AxisTap, Window, axis_taps, blocks, conv_weight, window
from tconv.rewriting.steps.step import RewriteStep, Variant, separate_bias, too_many


class Phases(RewriteStep):
    """Convolution per phase with the taps of that phase alone, interleaved by depth to space.

    A dilation that shares a factor with the stride stays in the convolutions. Phases without a tap (stride above the
    kernel) are rows of the bias.
    """

    name = "phases"
    summary = "one stride-1 convolution per phase, without a wasted multiply"
    adds_zeros = True  # around the input

    def variants(self, operation: ConvTranspose, sizes: Sizes) -> tuple[Variant, ...]:
        return shuffle_forms(operation.geometry.stride)

    def obstacles(self, operation: ConvTranspose, sizes: Sizes, variant: Variant) -> list[str]:
        return too_many(math.prod(operation.geometry.stride), "phases")

    def build(self, operation: ConvTranspose, builder: Builder, variant: Variant) -> None:
        g = operation.geometry
        ends = [blocks(g, axis) for axis in range(g.ndim)]
        by_phase: list[list[list[AxisTap]]] = []
        for axis in range(g.ndim):
            taps = axis_taps(g, axis)
            by_phase.append([[tap for tap in taps if tap.phase == phase] for phase in range(g.stride[axis])])
        filled = [all(axis[phase] for axis, phase in zip(by_phase, place, strict=True)) for place in _places(g.stride)]
        bias = separate_bias(operation.bias)
        inside = operation.bias if all(filled) else bias.inside
        channels = operation.out_channels
        c_in, c_out = operation.weight.shape[0] // g.groups, operation.weight.shape[1]
        parts: list[int] = []  # runs of neighbouring phases, each with the empty ones before or behind it
        run: list[int] = []
        gap = 0

        def close() -> None:
            nonlocal run, gap
            if run:
                parts.append(builder.pad_axis(builder.concat(run, 1), 1, gap * channels, 0, bias.value))
                run, gap = [], 0

        for place, has_taps in zip(_places(g.stride), filled, strict=True):
            if not has_taps:
                close()
                gap += 1
                continue
            own = [axis[phase] for axis, phase in zip(by_phase, place, strict=True)]
            windows = [window([tap.shift for tap in axis], grown) for axis, (grown, _) in zip(own, ends, strict=True)]
            shape = [w.taps for w in windows]
            weight = conv_weight(
                operation.weight,
                g,
                own,
                partial(_place, windows),
                shape,
                lambda apart: apart.swapaxes(1, 2).reshape(-1, c_in, *apart.shape[3:]),
                (g.groups * c_out, c_in, *shape),
            )
            pads, steps = [w.pads for w in windows], [w.step for w in windows]
            run.append(builder.conv(0, weight, inside, pads, steps, g.groups))
        close()
        if gap:
            parts[-1] = builder.pad_axis(parts[-1], 1, 0, gap * channels, bias.value)
        y = builder.shuffle(builder.concat(parts, 1), g.stride, "DCR", variant.get("shuffle", "depth_to_space"))
        y = builder.cut(y, [(0, cut) for _, cut in ends])
        builder.add_bias(y, None if all(filled) else bias.behind)


def _place(windows: list[Window], axis: int, tap: AxisTap) -> int:
    return windows[axis].place(tap.shift)


def _places(stride: tuple[int, ...]) -> list[tuple[int, ...]]:
    return list(product(*map(range, stride)))


STEP = Phases()
