"""Random transposed convolutions in PyTorch, with its operator and with tconv's kernel, to find where tconv is slower.

    python benchmarks/random_layers.py MINUTES [SEED]

For each layer: outputs compared, then the median of 5 interleaved samples of each side, two threads, without gradients.
Layers that `tconv.torch` leaves to PyTorch are skipped. Layers below 0.95 and the geometric mean of all are printed.
"""

from __future__ import annotations

import random
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch

from tconv.bench import timing
from tconv.bench.statistics import geometric_mean
from tconv.torch.custom_op import pytorch_conv_transpose
from tconv.torch.kernel_call import Arguments, Call

LARGEST = {"multiply-adds": 1_000_000_000, "outputs": 10_000_000, "weights": 20_000_000}
SIZES = {1: (1, 4, 30, 300, 3000, 30000), 2: (1, 2, 3, 4, 7, 14, 28, 56, 112, 224), 3: (1, 2, 4, 8, 16, 32)}


def layer(draw: random.Random) -> tuple[torch.Tensor, torch.Tensor, Arguments]:
    """Return x, weight and arguments of a random layer: typical ones, and some that no network has."""
    while True:
        ndim = draw.choice((1, 2, 2, 2, 3))
        s = draw.choice((1, 2, 2, 2, 3, 4, 8) if ndim < 3 else (1, 2, 2))
        k = draw.choice((s, s, 2 * s, 2 * s, 3, 3, 5, 4, 1, 7) if ndim < 3 else (2, 3, 4))
        d, p = draw.choice((1, 1, 1, 1, 1, 1, 2)), draw.choice((0, (k - 1) // 2, max(0, (k - s) // 2)))
        n, size = draw.choice((1, 1, 1, 2, 8, 64)), draw.choice(SIZES[ndim])
        c_in, c_out = draw.choice((1, 3, 16, 32, 64, 128, 256, 512)), draw.choice((1, 2, 3, 8, 16, 64, 128, 256))
        groups = draw.choice((1, 1, 1, 1, 2, 4, c_in))
        if c_in % groups or (c_out % groups and groups != c_in) or (size - 1) * s + d * (k - 1) + 1 - 2 * p < 1:
            continue
        per_group = max(1, c_out // groups)
        weights = c_in * per_group * k**ndim
        if weights > LARGEST["weights"] or not 30_000 <= n * weights * size**ndim <= LARGEST["multiply-adds"]:
            continue
        if n * per_group * groups * (size * s) ** ndim > LARGEST["outputs"]:
            continue
        arguments = Arguments((s,) * ndim, (p,) * ndim, (0,) * ndim, (d,) * ndim, groups)
        return torch.randn(n, c_in, *[size] * ndim), torch.randn(c_in, per_group, *[k] * ndim), arguments


def median(calls: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """Return the median seconds of each call."""
    once = {name: timing.sample(call, 1.0)[0] for name, call in calls.items()}
    samples: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(5):
        for name, call in calls.items():
            samples[name].append(timing.sample(call, once[name])[0])
    return {name: statistics.median(times) for name, times in samples.items()}


def main(minutes: float, seed: int = 0) -> int:
    """Run the comparison; return 1 if an output was wrong."""
    draw, end = random.Random(seed), time.monotonic() + 60 * minutes
    torch.manual_seed(seed)
    torch.set_num_threads(2)
    gains = []
    while time.monotonic() < end:
        x, w, arguments = layer(draw)
        call = Call(x, w, None, arguments)
        if call.reasons:
            continue
        expected, y = pytorch_conv_transpose(x, w, None, arguments), call(x, w, None)
        name = f"{list(x.shape)} * {list(w.shape)} {arguments._asdict()}"
        if y is None or not float((y - expected).abs().max()) <= 1e-4 * float(expected.abs().max()):
            print(f"wrong: {name}", file=sys.stderr)
            return 1
        seconds = median(
            {"torch": lambda: pytorch_conv_transpose(x, w, None, arguments), "tconv": lambda: call(x, w, None)}  # noqa: B023
        )
        gains.append(seconds["torch"] / seconds["tconv"])
        if gains[-1] < 0.95:
            print(
                f"{gains[-1]:.2f}x  {1e6 * seconds['torch']:8.0f} {1e6 * seconds['tconv']:8.0f} us  {name}", flush=True
            )
    behind = sum(gain < 0.95 for gain in gains)
    print(f"{len(gains)} layers, geometric mean of the gains {geometric_mean(gains):.2f}, {behind} below 0.95")
    return 0


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), *map(int, sys.argv[2:3])))
