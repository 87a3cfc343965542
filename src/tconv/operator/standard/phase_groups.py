"""Phases of one axis, grouped by the inputs that they read.

The output y[s*m + r] of a cropped transposed convolution reads x[m + a] through tap t, where s*a = r + lo - d*t. So its
phase r is a convolution of stride 1, whose taps are an arithmetic progression, in x as in the weight:

    t = first, first + s/c, ...    a = last, last - d/c, ...    c = gcd(s, d)

Phases that read the same inputs form a group, and are one convolution with as many times the channels. All numbers here
are the same for every size of x: a size that is not known before the program runs changes nothing.
"""

from __future__ import annotations

import math
from collections import defaultdict
from functools import lru_cache
from typing import NamedTuple


class PhaseGroup(NamedTuple):
    """Phases that read the same inputs; none, if they have no taps."""

    phases: tuple[int, ...]
    """Positions modulo the stride, in the interleaved output."""
    first_taps: tuple[int, ...]
    """Smallest tap of each of these phases."""
    tap_count: int
    """Taps of each phase. 0 means that these outputs are zero."""
    tap_step: int
    """From one tap of a phase to its next."""
    input_step: int
    """Inputs between two taps: the dilation of the convolution of stride 1."""
    pad: tuple[int, int]
    """Zeros before and after x that this convolution reads. Below 0 it leaves out inputs."""


class AxisPhases(NamedTuple):
    """Groups of an axis whose phases, interleaved and cropped, are the output."""

    groups: tuple[PhaseGroup, ...]
    extra: int
    """Outputs of a phase beyond the number of inputs."""
    crop: tuple[int, int]
    """Elements to cut from both ends of the interleaved phases. Below 0 they are zeros to add."""


@lru_cache(maxsize=1024)
def axis_phases(k: int, s: int, d: int, lo: int, hi: int, aligned: bool, size: int | None) -> AxisPhases:
    """Return the phases of an axis with k taps, stride s, dilation d and crop (lo, hi), for `size` inputs or any.

    Without `aligned` the phases begin at the crop, so nothing is computed that it removes. With it they begin up to
    s - 1 elements earlier, where they form fewer groups: with k a multiple of s, a single one.
    """
    extent = d * (k - 1) + 1
    inside = (max(0, lo), max(0, hi))
    if sum(inside) >= (extent if size is None else s * (size - 1) + extent):
        inside = (lo, hi)  # nothing that is computed remains, or it is not known: the extension is computed with it
    added = (lo - inside[0], hi - inside[1])
    lo, hi = inside
    # the groups change only where a tap begins a period
    starts = sorted({lo, *(lo - (lo - d * t) % s for t in range(k))}, reverse=True) if aligned else [lo]
    choices = (_from(k, s, d, lo, hi, start) for start in starts)
    best = min(choices, key=lambda choice: len(choice.groups))
    return best._replace(crop=(best.crop[0] + added[0], best.crop[1] + added[1]))


def _from(k: int, s: int, d: int, lo: int, hi: int, start: int) -> AxisPhases:
    """Return the phases of full[start : len(full) - hi], of which the first lo - start are cut afterwards."""
    length = d * (k - 1) + 1 - s - start - hi  # of the interleaved phases, beyond s times the inputs
    extra = -(-length // s)
    common = math.gcd(s, d)
    found: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    taps_of: dict[int, list[int]] = defaultdict(list)
    for t in range(k):
        taps_of[(d * t - start) % s].append(t)
    for r in range(s):
        taps = taps_of.get(r, [])
        last = (r + start - d * taps[0]) // s if taps else 0
        found[last, len(taps)].append((r, taps[0] if taps else 0))
    groups = []
    for (last, count), members in found.items():
        phases, first_taps = zip(*members, strict=True)
        pad = ((count - 1) * (d // common) - last, extra + last)
        groups.append(PhaseGroup(phases, first_taps, count, s // common, d // common, pad))
    return AxisPhases(tuple(groups), extra, (lo - start, s * extra - length))
