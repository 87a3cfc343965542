"""Traps of a BatchNorm that was folded into the wrong axis, seen from the numbers of weight and bias.

A BatchNorm multiplies output channel o by s[o] and adds beta[o] - mean[o] * s[o], so a folded layer has large |bias|
where s is large. The right fold scales the columns of the weight by s, too: the root mean squares of its output
channels then go with |bias|. A fold that takes the first axis of [C_in, C_out/g, *k] for the outputs, as it is that of
an ordinary convolution, scales blocks of the weight as it lies in memory instead. Rank correlation (Spearman 1904)
shows either. Input channels and biases have no common index in a right layer, so every order of the biases is as likely
as theirs: with a correlation that none of N random orders reaches, the probability of a false alarm is at most
1/(N + 1), for weights of any distribution.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from tconv._arrays import Array
from tconv.checking.trap import Trap
from tconv.checking.traps.trap_context import TrapContext, TrapKind

ORDERS = 20_000
"""Random orders of the biases, none of which may go with the weight as they do: at most 5 false alarms in 100,000."""
_SUSPECT = 1e-3  # estimated probability above which no orders are tried
_EVEN = 0.01  # estimated probability above which the right axis shows nothing
_PART = 1000  # orders tried at a time
_FEWEST = 16  # channels
_MOST_NUMBERS = 1 << 26

_FOLDED = TrapKind(
    "batchnorm-wrong-axis",
    "wrong",
    "a BatchNorm folded into the wrong axis",
    "The sizes of the weight along its first axis go with the biases of the output channels, and those of the output "
    f"channels do not: a BatchNorm was folded as into an ordinary convolution. Named where none of {ORDERS:,} random "
    f"orders of the biases goes with the weight as well (rank correlation), from {_FEWEST} output channels on.",
    "ultralytics before its fix (fuse_deconv_and_bn), onnx-optimizer, hand-written folding",
    "ultralytics/ultralytics#25364; onnx/optimizer#106",
    "the BatchNorm folded again: tconv.fold_batchnorm(weight, bias, ..., groups=)",
)
KINDS = (_FOLDED,)


def of_layer(context: TrapContext) -> Iterator[Trap]:
    """Yield the trap of a wrong fold."""
    weight, bias = context.weight, context.bias()
    outs = context.read.out_channels
    if weight is None or bias is None or outs is None or outs < _FEWEST or weight.size > _MOST_NUMBERS:
        return
    g = context.geometry
    if g is None or g.groups == outs or bias.size != outs or not np.isfinite(bias).all():
        return
    columns = _output_sizes(weight, g.groups)
    rows = _row_sizes(weight, outs)
    if not (np.isfinite(columns).all() and np.isfinite(rows).all()):
        return
    size = np.abs(bias.astype(np.float64))
    if chance(columns, size) > _EVEN and go_together(rows, size):
        ranked = [rank_correlation(each, size) for each in (rows, columns)]
        what = (
            f"|bias| of the {outs} output channels goes with the sizes of the weight along axis 0 (rank correlation "
            f"{ranked[0]:.2f}, which none of {ORDERS:,} random orders reaches), and not with those of the output "
            f"channels ({ranked[1]:.2f})"
        )
        yield _FOLDED.trap(context.layer, what, first_axis=ranked[0], output_channels=ranked[1])


def _row_sizes(weight: Array, rows: int) -> Array:
    """Return the root mean square of each of so many blocks of a weight as it lies in memory."""
    flat = np.ascontiguousarray(weight).reshape(rows, -1)
    sizes: Array = np.sqrt(np.einsum("ij,ij->i", flat, flat, dtype=np.float64) / flat.shape[1])
    return sizes


def _output_sizes(weight: Array, groups: int) -> Array:
    """Return the root mean square of each output channel's weights."""
    grouped = weight.reshape(groups, -1, weight.shape[1], math.prod(weight.shape[2:]))
    squares = np.einsum("giot,giot->go", grouped, grouped, dtype=np.float64)
    sizes: Array = np.sqrt(squares / (grouped.shape[1] * grouped.shape[3])).reshape(-1)
    return sizes


def rank_correlation(one: Array, two: Array) -> float:
    """Return Spearman's correlation of two rows of numbers; 0 if one of them is the same everywhere."""
    if np.ptp(one) == 0 or np.ptp(two) == 0:
        return 0.0
    return float(np.corrcoef(_ranks(one), _ranks(two))[0, 1])


def chance(one: Array, two: Array) -> float:
    """Return about the probability that independent numbers go together as these, or more (Fisher 1921)."""
    rho = min(rank_correlation(one, two), 1 - 1e-12)
    return 0.5 * math.erfc(math.atanh(rho) * math.sqrt((len(one) - 3) / 1.06) / math.sqrt(2))


def go_together(one: Array, two: Array) -> bool:
    """Return True if no random order of one row goes with the other as its own does."""
    if chance(one, two) > _SUSPECT:
        return False
    fixed, ranks = _ranks(one) - (len(one) - 1) / 2, _ranks(two)
    own = fixed @ ranks
    rng = np.random.default_rng(0)
    for _ in range(0, ORDERS, _PART):
        orders = rng.permuted(np.tile(ranks, (_PART, 1)), axis=1)
        if (orders @ fixed >= own).any():
            return False
    return True


def _ranks(values: Array) -> Array:
    """Return the rank of each number; equal ones share the mean of theirs."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks: Array = ((ends - counts + ends - 1) / 2)[places]
    return ranks
