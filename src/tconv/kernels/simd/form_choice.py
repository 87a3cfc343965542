"""Choice of the form of the direct sum: which axis the lanes of a vector run over.

All forms of the direct sum add the same products in the same order, so their results have the same bits. The choice
depends on the sizes and the layout of the arrays, and decides nothing but the time.
"""

from __future__ import annotations

import math

from tconv._arrays import is_finite
from tconv.kernels.num_threads import get_num_threads
from tconv.kernels.problem import Problem
from tconv.kernels.simd.bfloat16_dot import direct_elements
from tconv.kernels.simd.channel_lanes import weight_packing as channel_lanes
from tconv.kernels.simd.channel_lanes.call_tables import ChannelLanesCall, fits
from tconv.kernels.simd.channel_lanes.schedule import layer_schedule, tile_schedule
from tconv.kernels.simd.cpu_target import target
from tconv.kernels.simd.depthwise import weight_packing as depthwise
from tconv.kernels.simd.depthwise.call_tables import DepthwiseChannelsCall, DepthwisePositionsCall
from tconv.kernels.simd.depthwise.schedule import is_depthwise, lanes_over_channels, lanes_over_positions
from tconv.kernels.simd.depthwise.tiling import threads_of
from tconv.kernels.simd.direct.call_tables import DirectCall
from tconv.kernels.simd.direct.weight_packing import pack_weight
from tconv.kernels.simd.elements import elements_of
from tconv.kernels.simd.form import Form
from tconv.kernels.simd.winograd_channels import tiling as channel_tiling
from tconv.kernels.simd.winograd_channels import weight_packing as winograd_channels
from tconv.kernels.simd.winograd_channels.call_tables import WinogradChannelsCall
from tconv.kernels.simd.winograd_channels.call_tables import fits as fits_winograd
from tconv.kernels.simd.winograd_f22 import weight_packing as winograd_f22
from tconv.kernels.simd.winograd_f22.call_tables import WinogradCall

DIRECT = Form("direct", DirectCall, pack_weight, lambda p, w: is_finite(w))
"""Lanes over positions of the output."""
DEPTHWISE_POSITIONS = Form("depthwise", DepthwisePositionsCall, depthwise.pack_by_channel, lambda p, w: is_finite(w))
"""A pass of its own for layers with one input channel per group: lanes over positions."""
DEPTHWISE_CHANNELS = Form("depthwise_last", DepthwiseChannelsCall, depthwise.pack_by_tap, lambda p, w: is_finite(w))
"""The same with lanes over channels."""
CHANNEL_LANES = Form("channel_lanes", ChannelLanesCall, channel_lanes.pack_weight, lambda p, w: is_finite(w))
"""Lanes over output channels, which are neighbours in the output."""
WINOGRAD_F22 = Form("winograd_f22", WinogradCall, winograd_f22.pack_weight, winograd_f22.accepts)
"""Fewer multiplications, with lanes over positions."""
WINOGRAD_CHANNELS = Form("winograd_channels", WinogradChannelsCall, winograd_channels.pack_weight, winograd_f22.accepts)
"""The same with lanes over output channels."""

_FILLED = 0.85
"""Part of the lanes that must have an output channel: below it, lanes over positions are faster, though they write
channels last by transposing (kernels of 2 to 4 rows with 1 to 64 channels, AVX-512 and AVX2)."""


def direct_form(p: Problem, x_strides: tuple[int, ...], out_strides: tuple[int, ...]) -> Form:
    """Return the form of the direct sum for a problem and the strides of its canonical arrays, in elements."""
    if is_depthwise(p):
        if lanes_over_channels(p, x_strides, out_strides):
            return DEPTHWISE_CHANNELS
        if lanes_over_positions(p, x_strides, out_strides):
            return DEPTHWISE_POSITIONS
    if fits(p, out_strides) and layer_schedule(p.layer).filled >= _FILLED:
        return CHANNEL_LANES
    return DIRECT


def winograd_form(p: Problem, x_strides: tuple[int, ...], out_strides: tuple[int, ...]) -> Form:
    """Return the form of the sum with fewer multiplications. Both have the same bits."""
    lanes = elements_of(p.dtype).lanes
    filled = p.out_channels / (-(-p.out_channels // lanes) * lanes)
    return WINOGRAD_CHANNELS if filled >= _FILLED and fits_winograd(p, x_strides, out_strides) else WINOGRAD_F22


def form_summary(method: str, p: Problem, x_strides: tuple[int, ...], out_strides: tuple[int, ...]) -> str | None:
    """Return a line for the plan of a call with arrays of these strides, in elements.

    None for the forms that the method's own line describes.
    """
    form = winograd_form(p, x_strides, out_strides) if method == "winograd" else direct_form(p, x_strides, out_strides)
    threads, over = get_num_threads(), "output channels"
    if form is WINOGRAD_CHANNELS:
        geometry, tiles = channel_tiling.filtered_layer(p.layer).geometry, channel_tiling.pick_tiles(p, threads)
        count, threads, dot = elements_of(p.dtype).lanes, min(threads, tiles.total), False
        work = f"{geometry.product_count} products for {geometry.direct_products}"
        work += f", {tiles.total} tiles of {tiles.lines} x {tiles.width} positions"
    elif form is CHANNEL_LANES:
        schedule, elements = tile_schedule(p, threads), direct_elements(p.layer)
        count, threads, dot, phases = elements.lanes, schedule.threads, elements.dot, math.prod(p.geometry.stride)
        work = f"{phases} phase{'s' * (phases > 1)}"
        work += f", {schedule.tiles} tiles of {schedule.tiling.rows} x {schedule.tiling.width} positions"
    elif form in (DEPTHWISE_POSITIONS, DEPTHWISE_CHANNELS):
        count, dot, over = elements_of(p.dtype).lanes, False, "positions" if form is DEPTHWISE_POSITIONS else "channels"
        threads = threads_of(p.input_bytes + p.output_bytes, threads)
        work = "a pass for depthwise layers"
    else:
        return None
    return (
        f"{count} lanes over {over} ({target().cpu}), {threads} thread{'s' * (threads > 1)}; {work}"
        f"{'; bfloat16 dot products' if dot else ''}"
    )
