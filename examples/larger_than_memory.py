"""A picture larger than the memory that it may take, made larger, killed twice, and gone on with.

    python examples/larger_than_memory.py                    # 4000 x 4000 to 8000 x 8000, within 300 MB; seconds
    python examples/larger_than_memory.py --size 20000       # 19 GB of output
    python examples/larger_than_memory.py --output y.tif     # or .npy, .ome.zarr

Each run is a process of its own, as `tconv.scale.run` is used in a script of yours: the same call begins a job, goes on
with it, and finds that it is done.
"""

from __future__ import annotations

import argparse
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import tconv.scale
from tconv.weights.interpolation import Interpolation

MEMORY = "300MB"


def make_picture(path, size):
    """Write a picture [3, size, size] of waves, row by row."""
    picture = np.lib.format.open_memmap(path, "w+", np.float32, (3, size, size))
    columns = np.arange(size, dtype=np.float32)
    for row in range(size):
        for channel, period in enumerate((17, 41, 89)):
            picture[channel, row] = np.sin(columns * row / (size * period / 20)) / 2 + 0.5
    picture.flush()


def enlarge(source, output, chunks):
    """Make the picture twice as large: bicubic interpolation is a transposed convolution, but for the borders."""
    taps = Interpolation("bicubic", 2).taps
    weight = np.float32([[np.outer(taps, taps)]] * 3)
    layer = tconv.scale.layer(weight, stride=2, padding=len(taps) // 2 - 1, groups=3)
    print(tconv.scale.run(layer, source, output, chunks=chunks, max_memory=MEMORY))


def killed(command, journal, part):
    """Start a run, and kill it when the work on a part of the tiles has begun. Returns False if it ended before."""
    run = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while run.poll() is None and begun(journal) < part:
        time.sleep(0.005)
    run.kill()
    return run.wait() == -signal.SIGKILL


def begun(journal):
    """Return the part of a job's tiles whose work has begun, by its journal."""
    if not journal.exists() or not (rows := journal.read_bytes().split(b"\n")):
        return 0
    tiles = int((re.search(rb'"tiles": ([0-9]+)', rows[0]) or [0, 0])[1]) or sys.maxsize
    return len({row.split()[2] for row in rows if row.startswith(b"start ") and row.count(b" ") == 3}) / tiles


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", type=int, default=4000)
    parser.add_argument("--folder", type=Path, help="a temporary one, which is removed, if it is left out")
    parser.add_argument("--output", default="large.zarr", help="name in the folder")
    parser.add_argument("--run", action="store_true", help="one run, on the picture that is there")
    options = parser.parse_args()
    if options.run:
        enlarge(options.folder / "small.npy", options.folder / options.output, max(32, options.size // 8 // 16 * 16))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        make_picture(folder / "small.npy", options.size)
        command = [sys.executable, __file__, "--run", "--folder", folder, "--output", options.output]
        journal = folder / f"{options.output}.journal"
        for part in (0.3, 0.7):
            if killed(command, journal, part):
                print(f"killed when {begun(journal):.0%} of the tiles were begun", flush=True)
        subprocess.run(command, check=True)
        print(tconv.scale.verify(folder / options.output))


if __name__ == "__main__":
    main()
