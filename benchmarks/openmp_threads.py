"""A model with tconv's kernel on PyTorch's own OpenMP threads, and on tconv's threads.

    python benchmarks/openmp_threads.py [MODEL]

times a model of `tconv bench --models` after `tconv.torch.accelerate`, on both in turn; outputs must have equal bits.
"""

from __future__ import annotations

import statistics
import sys
import time

import torch

import tconv.torch
from tconv.bench.networks import NETWORKS
from tconv.torch import kernel_call

ROUNDS = 41


def main(name: str) -> None:
    """Print both medians, in ms."""
    torch.manual_seed(0)
    network = NETWORKS[name]
    model, x = network.build().eval(), torch.randn(network.shape)
    tconv.torch.accelerate(model)
    pytorch_threads, times, outputs = kernel_call.pytorch_threads, {"PyTorch's": [], "tconv's own": []}, []
    with torch.inference_mode():
        for _ in range(ROUNDS):
            for threads in times:
                kernel_call.pytorch_threads = pytorch_threads if threads == "PyTorch's" else lambda _: None
                start = time.perf_counter()
                y = model(x)
                times[threads].append(time.perf_counter() - start)
                outputs.append(y)
            if any(not torch.equal(outputs[0], other) for other in outputs):
                sys.exit("the outputs differ")
            del outputs[1:]
    for threads, taken in times.items():
        print(f"{name}: {1e3 * statistics.median(taken):.1f} ms on {threads} threads, median of {ROUNDS}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "dcgan")
