"""One convolution for all phases, and depth to space."""

from __future__ import annotations

import math

from tconv._arrays import Array
from tconv.rewriting.builder import Builder, shuffle_forms
from tconv.rewriting.operations import ConvTranspose, Sizes
from tconv.rewriting.steps.phase_taps import AxisTap, axis_taps, blocks, conv_weight, window
from tconv.rewriting.steps.step import RewriteStep, Variant


class ConvDepthToSpace(RewriteStep):
    """Convolution that computes all phases as channels, which depth to space puts between each other.

    A dense result has its channels in the order DCR (ONNX's default); with groups it is CRD, because a group's
    channels are neighbours. Where the axes have unequal strides, or are not two, reshape and transpose do the same.
    """

    name = "conv+depth_to_space"
    summary = "one convolution for all phases, then depth to space"
    waste = "taps that fill up phases with fewer of them multiply zeros"
    adds_zeros = True

    def variants(self, operation: ConvTranspose, sizes: Sizes) -> tuple[Variant, ...]:
        orders = ("CRD",) if operation.geometry.groups > 1 else ("DCR", "CRD")
        forms = shuffle_forms(operation.geometry.stride)
        return tuple({"order": order, **form} for form in forms for order in orders)

    def obstacles(self, operation: ConvTranspose, sizes: Sizes, variant: Variant) -> list[str]:
        if variant.get("order") == "DCR" and operation.geometry.groups > 1:
            return ["the order DCR takes apart the channels of a group; write the order CRD, or no-groups before it"]
        return []

    def build(self, operation: ConvTranspose, builder: Builder, variant: Variant) -> None:
        g, order = operation.geometry, variant.get("order", "CRD")
        taps = [axis_taps(g, axis) for axis in range(g.ndim)]
        ends = [blocks(g, axis) for axis in range(g.ndim)]
        windows = [window([tap.shift for tap in axis], grown) for axis, (grown, _) in zip(taps, ends, strict=True)]
        phases = math.prod(g.stride)
        c_in, c_out = operation.weight.shape[0] // g.groups, operation.weight.shape[1]

        def place(axis: int, tap: AxisTap) -> int:
            return tap.phase * windows[axis].taps + windows[axis].place(tap.shift)

        def arrange(apart: Array) -> Array:
            # [g, i, o, s1*T1, s2*T2, ...] to [g, o, *s, i, *T] or [*s, o, i, *T]
            pairs = [size for s, w in zip(g.stride, windows, strict=True) for size in (s, w.taps)]
            split = apart.reshape(*apart.shape[:3], *pairs)
            stride_axes, tap_axes = range(3, split.ndim, 2), range(4, split.ndim, 2)
            first = (0, 2, *stride_axes) if order == "CRD" else (0, *stride_axes, 2)
            return split.transpose(*first, 1, *tap_axes).reshape(arranged)

        arranged = (g.groups * c_out * phases, c_in, *(w.taps for w in windows))
        shape = [s * w.taps for s, w in zip(g.stride, windows, strict=True)]
        weight = conv_weight(operation.weight, g, taps, place, shape, arrange, arranged)
        bias = operation.bias
        if bias is not None and phases > 1:
            wide = (bias.shape[0] * phases,)
            bias = bias.derived(wide, lambda b: b.repeat(phases) if order == "CRD" else _tiled(b, phases))
        y = builder.conv(0, weight, bias, [w.pads for w in windows], [w.step for w in windows], g.groups)
        y = builder.shuffle(y, g.stride, order, variant.get("shuffle", "depth_to_space"))
        builder.cut(y, [(0, cut) for _, cut in ends])


def _tiled(array: Array, times: int) -> Array:
    return array[None].repeat(times, 0).reshape(-1)


STEP = ConvDepthToSpace()
