"""Compare networks in ncnn's files with the ncnn wheel on whole pictures: largest difference, and time of both.

    python benchmarks/ncnn_models.py MODELS... [--size 96] [--seconds 40]

MODELS are .param files, or folders with them. Both sides compute in float32 on two threads, ncnn without 16-bit storage
and arithmetic. A picture is a smooth one with noise, of an odd size where the network takes one. Each row has the
model, its layers, its products per input pixel, the largest difference as a share of the range of ncnn's output, and
the least time of both.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from tconv.models import Network
from tconv.models.readers.ncnn import graph
from tconv.models.readers.ncnn.param_file import Line, read_lines
from tconv.models.readers.ncnn.stored_weights import Blob

THREADS = 2
_OPTIONS = "fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage", "bf16_packed"


def network_of(path: Path) -> Network:
    """Return the network in a .param file and its .bin file, whatever it does to the size of a picture."""
    return graph.network_of(read_lines(path), Blob(path.with_suffix(".bin").read_bytes()))


class NcnnNetwork:
    """The same file in the ncnn wheel."""

    def __init__(self, path: Path) -> None:
        import ncnn

        self._ncnn, lines = ncnn, read_lines(path)
        self._net = ncnn.Net()
        self._net.opt.num_threads = THREADS
        for option in _OPTIONS:
            setattr(self._net.opt, f"use_{option}", False)
        if self._net.load_param(str(path)) or self._net.load_model(str(path.with_suffix(".bin"))):
            raise SystemExit(f"{path} is refused by ncnn")
        self._names = _ends(lines)

    def __call__(self, x: Any) -> Any:
        """Return the output [C, H, W] for a picture [C, H, W]."""
        given, wanted = self._names
        extractor = self._net.create_extractor()
        extractor.input(given, self._ncnn.Mat(np.ascontiguousarray(x)).clone())
        code, mat = extractor.extract(wanted)
        if code:
            raise SystemExit(f"ncnn fails with {code}")
        y = np.array(mat)
        del mat  # before the net that owns its memory
        return y


def _ends(lines: list[Line]) -> tuple[str, str]:
    """Return the names of the input and the output."""
    used = {name for line in lines for name in line.inputs}
    (given,) = (line.outputs[0] for line in lines if line.kind == "Input")
    (wanted,) = (name for line in lines for name in line.outputs if name not in used)
    return given, wanted


def picture(channels: int, height: int, width: int) -> Any:
    """Return a picture of waves and edges with a little noise, values 0 to 1."""
    y, x = np.mgrid[:height, :width]
    waves = [0.5 + 0.3 * np.sin((x + c * y) / (5 + c)) + 0.15 * ((x // 9 + y // 7 + c) % 2) for c in range(channels)]
    noise = np.random.default_rng(0).normal(0, 0.02, (channels, height, width))
    return np.clip(np.stack(waves) + noise, 0, 1).astype(np.float32)


def accepted_size(network: Network, least: int) -> int:
    """Return the smallest side from `least` on that the network takes."""
    for side in range(least, least + 8):
        try:
            network.output_shape((side, side + 8))
        except ValueError:
            continue
        return side
    raise SystemExit(f"no size from {least} to {least + 8} fits the network")


def products_per_pixel(network: Network, size: int) -> float:
    """Return the products of all convolutions, as their definition counts them, for each pixel of the input."""
    sizes = network.sizes((size, size + 8))
    total = 0
    for number, node in enumerate(network.nodes, 1):
        weight = getattr(node.step, "weight", None)
        if weight is not None:
            transposed = hasattr(node.step, "geometry")
            height, width = sizes[node.inputs[0]] if transposed else sizes[number]
            total += weight.size * height * width
    return total / (size * (size + 8))


def least_time(run: Any, x: Any, seconds: float) -> float:
    """Return the least time of a few runs within about this many seconds."""
    times: list[float] = []
    end = time.perf_counter() + seconds
    while not times or (len(times) < 5 and time.perf_counter() < end):
        start = time.perf_counter()
        run(x)
        times.append(time.perf_counter() - start)
    return min(times)


def row(path: Path, least: int, seconds: float) -> str:
    """Return the line of the table for one model."""
    ours, theirs = network_of(path), NcnnNetwork(path)
    size = accepted_size(ours, least)
    x = picture(ours.channels[0], size, size + 8)
    y, expected = ours(x[None])[0], theirs(x)
    if y.shape != expected.shape:
        return f"| {path.stem} | shape {y.shape}, ncnn {expected.shape} |"
    span = float(np.ptp(expected))
    difference = float(np.abs(y - expected).max()) / max(span, 1e-30)
    times = least_time(lambda x: ours(x[None]), x, seconds), least_time(theirs, x, seconds)
    kilo = products_per_pixel(ours, size) / 1000
    return (
        f"| {path.stem} | {len(ours.nodes)} | {kilo:,.0f} k | {size} x {size + 8} | {difference:.1e} | "
        f"{times[0]:.3f} | {times[1]:.3f} | {times[1] / times[0]:.2f} |"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--size", type=int, default=96, help="height of the picture, or a few pixels more")
    parser.add_argument("--seconds", type=float, default=1, help="seconds of timing for each side of a model")
    arguments = parser.parse_args()
    paths = [each for path in arguments.models for each in (sorted(path.rglob("*.param")) if path.is_dir() else [path])]
    print("| model | nodes | products per pixel | picture | difference | tconv s | ncnn s | ncnn / tconv |")
    print("|---|---|---|---|---|---|---|---|")
    for path in paths:
        print(row(path, arguments.size, arguments.seconds))
        sys.stdout.flush()


if __name__ == "__main__":
    main()
