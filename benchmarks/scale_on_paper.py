"""Plan on paper of a job of 10^12 output pixels on 100 workers, from what one worker of this machine does.

    python benchmarks/scale_on_paper.py [--pixels 1e12] [--workers 100] [--memory 4GB] [--tasks 4000]

Measured here: seconds of a tile (read, computed, written, synced) on one thread; tasks a second of a scheduler whose
workers have nothing to do; bytes of the journal, and seconds to read it. The plan itself is `tconv.scale.plan` of an
empty Zarr of that size. The rest is arithmetic.
"""

from __future__ import annotations

import argparse
import math
import platform
import sys
import tempfile
import time
from collections import deque
from pathlib import Path

import numpy as np
import zarr

import tconv
import tconv.scale
from tconv._memory import si
from tconv.scale.functional import job_of
from tconv.scale.job_fingerprint import fingerprint_of
from tconv.scale.journal import Done, Journal, read_journal
from tconv.scale.tile_run import run_tile

MODELS = Path(tconv.__file__).parent / "models" / "data"


def layer():
    """Return a 4x4 layer of stride 2 from 3 to 3 channels."""
    rng = np.random.default_rng(0)
    return tconv.scale.layer(rng.normal(size=(3, 3, 4, 4)).astype("f4"), np.ones(3, "f4"), stride=2, padding=1)


NETWORKS = {
    "layer 4x4 stride 2, 3 to 3 channels": layer,
    "photo_x2, the luma network": lambda: MODELS / "photo_x2.safetensors",
}


def empty_input(folder, network, side):
    """Return the path of a Zarr [C, side, side] without chunks, which takes no room."""
    channels = 1 if isinstance(network, Path) else 3
    path = folder / f"x{side}.zarr"
    zarr.create_array(path, shape=(channels, side, side), chunks=(channels, 512, 512), dtype="float32", overwrite=True)
    return path


def seconds_of_a_tile(folder, network, tile, options, tiles=3):
    """Return the median time of tiles in one thread, with their inputs read from the disk and their outputs synced."""
    side = max(tile)  # input sizes of a grid of 2 x 2 tiles
    x = empty_input(folder, network, side)
    array, rng = zarr.open_array(x, mode="r+"), np.random.default_rng(0)
    array[...] = rng.random(array.shape, np.float32)
    job = job_of(network, x, folder / "y.zarr", tile=tile, **options)
    stage, place = job.stages[0], folder / "y.zarr.part"
    stage.target.create(place)
    stage.target.open(place)
    times = []
    for tile_of_grid in [*stage.tiles(0)][: tiles + 1]:
        start = time.perf_counter()
        run_tile(stage, tile_of_grid)
        times.append(time.perf_counter() - start)
    stage.target.close()
    return float(np.median(times[1:]))


def tasks_a_second(count):
    """Return how many empty tasks a scheduler gives to two workers in a second, 200 at a time as jobs do."""
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        client.gather(client.map(_nothing, range(50), pure=False))
        waiting, start = deque(), time.perf_counter()
        for number in range(count):
            waiting.append(client.submit(_nothing, number, pure=False))
            if len(waiting) >= 200:
                waiting.popleft().result()
        while waiting:
            waiting.popleft().result()
        return count / (time.perf_counter() - start)


def _nothing(number):
    return number


def journal_of(folder, stages, tiles):
    """Return the bytes of a journal of so many tiles, and the seconds that reading it takes."""
    header = fingerprint_of(stages)
    header["stages"][0]["tiles"] = tiles
    journal = Journal(folder / "y.journal")
    journal.begin(header)
    rng = np.random.default_rng(0)
    for first in range(0, tiles, 1000):
        numbers = range(first, min(first + 1000, tiles))
        for number in numbers:
            journal.start(0, number)
        journal.done(0, [Done(number, *(int(each) for each in rng.integers(1 << 62, size=2))) for number in numbers])
    journal.close()
    start = time.perf_counter()
    assert read_journal(journal.path).is_complete
    return journal.path.stat().st_size, time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--pixels", type=float, default=1e12)
    parser.add_argument("--workers", type=int, default=100)
    parser.add_argument("--memory", default="4GB")
    parser.add_argument("--tasks", type=int, default=4000)
    options = parser.parse_args()
    side = math.isqrt(int(options.pixels / 4))
    tconv.set_num_threads(1)
    print(f"{time.strftime('%Y-%m-%d')} {platform.machine()}, one thread; {' '.join(sys.argv[1:])}")
    rate = tasks_a_second(options.tasks)
    print(f"scheduler: {rate:.0f} empty tasks a second")
    for name, network in NETWORKS.items():
        with tempfile.TemporaryDirectory() as folder:
            print_plan(Path(folder), name, network(), side, rate, options)


def print_plan(folder, name, network, side, rate, options):
    """Print the figures of one network."""
    layout = {"chunks": 512, "shards": 2048, "compression": None}
    job = job_of(network, empty_input(folder, network, side), folder / "huge.zarr", max_memory=options.memory, **layout)
    plan = job.plan.stages[0]
    seconds = seconds_of_a_tile(folder, network, plan.tile, layout)
    size, reading = journal_of(folder, job.stages, plan.tiles)
    days = plan.tiles * seconds / options.workers / 86400
    pixels = 4.0 * side * side
    per_second = options.workers / seconds
    full = rate * seconds
    files = math.prod(-(-total // 2048) for total in plan.shape[2:])
    print(f"""
{name}: {side} x {side} to {plan.shape[-2]} x {plan.shape[-1]}, {plan.shape[1]} channels of float32
  tiles            {plan.tiles} of {plan.tile[0]} x {plan.tile[1]} within {options.memory} a worker
  halo             {plan.halo:.4f} times the work, {plan.bytes_read / (plan.bytes_written / 4):.4f} times the input read
  moved            {si(plan.bytes_read, "B")} read, {si(plan.bytes_written, "B")} written
  one worker       {seconds:.2f} s a tile, {pixels / plan.tiles / seconds / 1e6:.1f} Mpixel/s
  {options.workers} workers      {days:.2f} days; {si(plan.bytes_read / days / 86400, "B")}/s read, \
{si(plan.bytes_written / days / 86400, "B")}/s written together
  scheduler        {per_second:.1f} tasks a second of {rate:.0f}: {per_second / rate:.1%}; full at {full:.0f} workers
  journal          {si(size, "B")}, read in {reading:.1f} s at a resume
  files            {files} shards""")


if __name__ == "__main__":
    main()
