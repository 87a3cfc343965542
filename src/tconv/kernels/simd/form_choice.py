"""Choice of the form of the direct sum: which axis the lanes of a vector run over.

All forms of the direct sum add the same products in the same order, so their results have the same bits. The choice
depends on the sizes and the layout of the arrays, and decides nothing but the time.
"""

from __future__ import annotations

from tconv._arrays import is_finite
from tconv.kernels.problem import Problem
from tconv.kernels.simd.channel_lanes import weight_packing as channel_lanes
from tconv.kernels.simd.channel_lanes.call_tables import ChannelLanesCall, fits
from tconv.kernels.simd.channel_lanes.schedule import layer_schedule
from tconv.kernels.simd.depthwise import weight_packing as depthwise
from tconv.kernels.simd.depthwise.call_tables import DepthwiseChannelsCall, DepthwisePositionsCall
from tconv.kernels.simd.depthwise.schedule import is_depthwise, lanes_over_channels, lanes_over_positions
from tconv.kernels.simd.depthwise.schedule import summary as depthwise_summary
from tconv.kernels.simd.direct import schedule
from tconv.kernels.simd.direct.call_tables import DirectCall
from tconv.kernels.simd.direct.weight_packing import pack_weight
from tconv.kernels.simd.elements import elements_of
from tconv.kernels.simd.form import Form
from tconv.kernels.simd.winograd_channels import weight_packing as winograd_channels
from tconv.kernels.simd.winograd_channels.call_tables import WinogradChannelsCall
from tconv.kernels.simd.winograd_channels.call_tables import fits as fits_winograd
from tconv.kernels.simd.winograd_f22 import tiling
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

_WITH_CHANNELS_LAST = "; with channels last: lanes over output channels"


def direct_form(p: Problem, x_strides: tuple[int, ...], out_strides: tuple[int, ...]) -> Form:
    """Return the form of the direct sum for a problem and the strides of its canonical arrays, in elements."""
    if is_depthwise(p):
        if lanes_over_channels(p, x_strides, out_strides):
            return DEPTHWISE_CHANNELS
        if lanes_over_positions(p, x_strides, out_strides):
            return DEPTHWISE_POSITIONS
    return CHANNEL_LANES if _fills_lanes(p) and fits(p, out_strides) else DIRECT


def _fills_lanes(p: Problem) -> bool:
    """Return True if the direct sum with lanes over output channels has no more empty lanes than it may have."""
    return layer_schedule(p.layer).filled >= _FILLED


def winograd_form(p: Problem, x_strides: tuple[int, ...], out_strides: tuple[int, ...]) -> Form:
    """Return the form of the sum with fewer multiplications. Both have the same bits."""
    fitting = _fills_lanes_of_winograd(p) and fits_winograd(p, x_strides, out_strides)
    return WINOGRAD_CHANNELS if fitting else WINOGRAD_F22


def _fills_lanes_of_winograd(p: Problem) -> bool:
    """Return the same for the sum with fewer multiplications, whose columns are output channels alone."""
    lanes = elements_of(p.dtype).lanes
    return p.out_channels / (-(-p.out_channels // lanes) * lanes) >= _FILLED


def direct_summary(p: Problem) -> str:
    """Return a line for the plan. A problem has no layout, so it says what differs with channels last."""
    if is_depthwise(p):
        return depthwise_summary(p)
    return schedule.summary(p) + (_WITH_CHANNELS_LAST if _fills_lanes(p) else "")


def winograd_summary(p: Problem) -> str:
    """Return the same for the sum with fewer multiplications."""
    return tiling.summary(p) + (_WITH_CHANNELS_LAST if _fills_lanes_of_winograd(p) else "")
