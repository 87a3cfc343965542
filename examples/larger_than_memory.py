"""A picture larger than the memory that it may take, made larger, killed twice, and gone on with.

    python examples/larger_than_memory.py                    # 4000 x 4000 to 8000 x 8000, within 300 MB; seconds
    python examples/larger_than_memory.py --size 20000       # 19 GB of output
    python examples/larger_than_memory.py --output y.tif     # or .npy, .ome.zarr

Each run is a process of its own, as `tconv.scale.run` is used in a script of yours: the same call begins a job, goes on
with it, and finds that it is done.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import tconv.scale
from tconv.weights import interpolation

MEMORY = "300MB"


def make_picture(path, size):
    """Write a picture [3, size, size] of waves, row by row."""
    picture = np.lib.format.open_memmap(path, "w+", np.float32, (3, size, size))
    columns = np.arange(size, dtype=np.float32)
    for row in range(size):
        for channel, period in enumerate((17, 41, 89)):
            picture[channel, row] = np.sin(columns * row / (size * period / 20)) / 2 + 0.5
    picture.flush()


def enlarge(source, output):
    """Make the picture twice as large, as bicubic interpolation does; a transposed convolution is all that it takes."""
    weight, geometry = interpolation.kernel(2, "bicubic", channels=3)
    layer = tconv.scale.layer(weight, dialect="torch", groups=3, stride=2, crop=geometry.crop)
    print(tconv.scale.run(layer, source, output, max_memory=MEMORY))


def killed(command, journal, kilobytes):
    """Start a run, and kill it when its journal has grown by so much."""
    run = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    begin = journal.stat().st_size if journal.exists() else 0
    while run.poll() is None and (not journal.exists() or journal.stat().st_size < begin + 1000 * kilobytes):
        time.sleep(0.01)
    run.kill()
    return run.wait() == -signal.SIGKILL


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", type=int, default=4000)
    parser.add_argument("--folder", type=Path, help="a temporary one, which is removed, if it is left out")
    parser.add_argument("--output", default="large.zarr", help="name in the folder")
    parser.add_argument("--run", action="store_true", help="one run, on the picture that is there")
    options = parser.parse_args()
    if options.run:
        enlarge(options.folder / "small.npy", options.folder / options.output)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        make_picture(folder / "small.npy", options.size)
        command = [sys.executable, __file__, "--run", "--folder", folder, "--output", options.output]
        journal = folder / f"{options.output}.journal"
        for _ in range(2):
            print("killed" if killed(command, journal, 1.5) else "it was done before it could be killed", flush=True)
        subprocess.run(command, check=True)
        print(tconv.scale.verify(folder / options.output))


if __name__ == "__main__":
    main()
