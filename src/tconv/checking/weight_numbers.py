"""Numbers of a weight that decide whether a runtime computes with it rightly."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from tconv._arrays import Array
from tconv.checking.layer_check import CheckerboardVerdict, WeightStatistics
from tconv.geometry import Geometry
from tconv.weights.artifacts.phase_gains import gains_of, pattern_share
from tconv.weights.artifacts.report import VISIBLE

LARGEST_FLOAT16 = 65504.0
_SMALLEST_NORMAL = 2.0**-14
_PART = 1 << 20  # numbers looked at in one go
_MOST_LISTED = 64
_MOST_RESPONSE = 1 << 24  # numbers of a checkerboard's response, 128 MiB
_MOST_WEIGHT = 1 << 26


def weight_statistics(weight: Array, groups: int) -> WeightStatistics:
    """Return the statistics of a weight [C_in, C_out/groups, *kernel], read in parts."""
    flat = weight.reshape(*weight.shape[:2], -1)
    ins, outs = flat.shape[:2]
    step = max(1, _PART // max(1, flat[0].size)) if ins else 1
    power = np.zeros((groups, outs))
    live = np.zeros(ins, bool)
    bad = np.zeros((groups, outs), bool)
    low, high, total, counts = np.inf, -np.inf, 0.0, dict.fromkeys(("nan", "inf", "zeros", "large", "small"), 0)
    for start in range(0, ins, step):
        part = np.asarray(flat[start : start + step])
        part = part if part.dtype.kind == "f" and part.dtype.itemsize >= 4 else part.astype(np.float32)
        size = np.abs(part)
        finite = np.isfinite(part)
        whole = bool(finite.all())
        kept = part if whole else part[finite]
        if kept.size:
            low, high = min(low, float(kept.min())), max(high, float(kept.max()))
        counts["zeros"] += int((part == 0).sum())
        counts["large"] += int((size > LARGEST_FLOAT16).sum())
        counts["small"] += int((size < _SMALLEST_NORMAL).sum())
        if not whole:
            counts["nan"] += int(np.isnan(part).sum())
            counts["inf"] += int(np.isinf(part).sum())
        safe = part if whole else np.where(finite, part, 0)
        rows = np.einsum("iot,iot->io", safe, safe, dtype=np.float64)
        total += float(rows.sum())
        live[start : start + step] = size.any((1, 2))
        for at in range(len(part)):
            group = (start + at) * groups // ins
            power[group] += rows[at]
            bad[group] |= ~finite[at].all(-1)
    powers, marked = power.reshape(-1), bad.reshape(-1)
    finite_count = flat.size - counts["nan"] - counts["inf"]
    return WeightStatistics(
        None if low > high else low,
        None if low > high else high,
        float(np.sqrt(total / finite_count)) if finite_count else None,
        counts["nan"],
        counts["inf"],
        counts["zeros"],
        int(flat.size),
        counts["large"] - counts["inf"],
        counts["small"] - counts["zeros"],
        tuple(map(int, np.flatnonzero(~live))),
        tuple(map(int, np.flatnonzero((powers == 0) & ~marked))),
        () if counts["nan"] or counts["inf"] else _equal_outputs(flat, groups, powers),
        tuple(map(int, np.flatnonzero(marked))),
    )


def _equal_outputs(flat: Array, groups: int, powers: Array) -> tuple[tuple[int, int], ...]:
    """Return pairs of output channels of one group with the same numbers; those of equal power are compared."""
    outs = flat.shape[1]
    by_group = flat.reshape(groups, -1, outs, flat.shape[2])
    pairs: list[tuple[int, int]] = []
    for group in range(groups):
        own = powers[group * outs : (group + 1) * outs]
        order = np.argsort(own, kind="stable")
        for one, two in pairwise(order):
            if own[one] == own[two] != 0 and np.array_equal(by_group[group, :, one], by_group[group, :, two]):
                pairs.append((group * outs + int(min(one, two)), group * outs + int(max(one, two))))
                if len(pairs) == _MOST_LISTED:
                    return tuple(pairs)
    return tuple(pairs)


def checkerboard_verdict(
    weight: Array | None, geometry: Geometry, statistics: WeightStatistics | None
) -> CheckerboardVerdict:
    """Return the checkerboard score of a weight [C_in, C_out/groups, *kernel], or the reason against measuring it."""
    if weight is None or statistics is None:
        return CheckerboardVerdict(None, "not measured", reason="the weight is not in the file")
    if statistics.nan or statistics.inf:
        return CheckerboardVerdict(None, "not measured", reason="the weight has NaN or inf")
    phases = int(np.prod(geometry.stride, dtype=object))
    response = weight.shape[0] * weight.shape[1] * phases
    if response > _MOST_RESPONSE or weight.size > _MOST_WEIGHT:
        reason = f"its response has {response:,} numbers, its weight {weight.size:,}: write tconv.checkerboard(weight)"
        return CheckerboardVerdict(None, "not measured", reason=reason)
    if not statistics.rms:
        return CheckerboardVerdict(0.0, "even", reason="the weight is 0")
    score, by_channel = _score(weight, geometry)
    worst = int(np.argmax(by_channel))
    verdict = "even" if score < VISIBLE else "a checkerboard"
    return CheckerboardVerdict(score, verdict, worst, float(by_channel[worst]))


def _score(weight: Array, g: Geometry) -> tuple[float, Array]:
    """Return what `tconv.checkerboard` returns as score and by_channel, without the weight in float64 beside it."""
    step = max(1, _PART // max(1, weight[0].size))
    gains = np.empty((*weight.shape[:2], *g.stride))
    for start in range(0, len(weight), step):
        gains[start : start + step] = gains_of(weight[start : start + step].astype(np.float64), g)
    score, by_channel = pattern_share(gains)
    if g.groups > 1:
        rows = gains.reshape(g.groups, -1, *gains.shape[1:])
        by_channel = np.concatenate([pattern_share(group)[1] for group in rows])
    return score, by_channel
