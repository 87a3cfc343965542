"""Plan on paper of a job of 10^12 output pixels on 100 workers, from what one worker of this machine does.

    python benchmarks/scale_on_paper.py [--pixels 1e12] [--workers 100] [--memory 1GB] [--tasks 2000]

Measured here, in CPU seconds, so that other processes do not count: a tile of 2048 x 2048 (read, computed, written) on
one thread, and an empty task of a scheduler and its client; bytes of the journal, and seconds to read it. The plan is
that of `tconv.scale.plan` for an empty Zarr of that size. The rest is arithmetic.
"""

from __future__ import annotations

import argparse
import math
import platform
import sys
import tempfile
import time
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

SIDE = 2048
"""Sizes of the tiles that are timed."""
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


def seconds_of_a_tile(folder, network, options, tiles=4):
    """Return (wall, CPU): the least seconds of tiles in one thread, read from the disk, and written and synced."""
    x = empty_input(folder, network, SIDE)
    array, rng = zarr.open_array(x, mode="r+"), np.random.default_rng(0)
    array[...] = rng.random(array.shape, np.float32)
    job = job_of(network, x, folder / "y.zarr", tile=SIDE, **options)
    stage, place = job.stages[0], folder / "y.zarr.part"
    stage.target.create(place)
    stage.target.open(place)
    times = []
    for tile in [*stage.tiles(0)][:tiles]:
        start = time.perf_counter(), time.process_time()
        run_tile(stage, tile)
        times.append((time.perf_counter() - start[0], time.process_time() - start[1]))
    stage.target.close()
    return min(wall for wall, _ in times), min(cpu for _, cpu in times)


def seconds_of_a_task(count):
    """Return (wall, CPU) of an empty task: CPU of the process that has the client and the scheduler."""
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        client.gather(client.map(_nothing, range(50), pure=False))
        start = time.perf_counter(), time.process_time()
        client.gather(client.map(_nothing, range(count), pure=False))
        return (time.perf_counter() - start[0]) / count, (time.process_time() - start[1]) / count


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
    parser.add_argument("--memory", default="1GB")
    parser.add_argument("--tasks", type=int, default=2000)
    options = parser.parse_args()
    tconv.set_num_threads(1)
    print(f"{time.strftime('%Y-%m-%d')} {platform.machine()}, one thread; {' '.join(sys.argv[1:])}")
    wall, task = seconds_of_a_task(options.tasks)
    print(f"scheduler: {1 / task:.0f} empty tasks a CPU second ({1 / wall:.0f} a second here)")
    for name, network in NETWORKS.items():
        with tempfile.TemporaryDirectory() as folder:
            print_plan(Path(folder), name, network(), task, options)


def print_plan(folder, name, network, task, options):
    """Print the figures of one network."""
    side = math.isqrt(int(options.pixels / 4))
    layout = {"chunks": 512, "shards": 2048, "compression": None}
    job = job_of(network, empty_input(folder, network, side), folder / "huge.zarr", max_memory=options.memory, **layout)
    plan = job.plan.stages[0]
    wall, cpu = seconds_of_a_tile(folder, network, layout)
    seconds = cpu * math.prod(plan.tile) / SIDE**2
    size, reading = journal_of(folder, job.stages, plan.tiles)
    total = plan.tiles * seconds / options.workers
    files = math.prod(-(-each // 2048) for each in plan.shape[2:])
    one_pass = plan.shape[0] * job.stages[0].source.shape[1] * side * side * 4
    print(f"""
{name}: {side} x {side} to {plan.shape[-2]} x {plan.shape[-1]}, {plan.shape[1]} channels of float32
  tiles            {plan.tiles} of {plan.tile[0]} x {plan.tile[1]} within {options.memory} a worker
  halo             {plan.halo:.4f} times the work; chunks of the input are read {plan.bytes_read / one_pass:.2f} times
  moved            {si(plan.bytes_read, "B")} read, {si(plan.bytes_written, "B")} written
  one worker       {cpu:.3f} CPU seconds for 2048 x 2048 ({wall:.3f} s here): {SIDE**2 / cpu / 1e6:.1f} Mpixel/s
  {options.workers} workers      {total / 3600:.2f} hours; together {si(plan.bytes_read / total, "B")}/s read, \
{si(plan.bytes_written / total, "B")}/s written
  scheduler        {options.workers / seconds:.1f} tasks a second, {options.workers / seconds * task:.1%} of a core; \
full at {seconds / task:.0f} workers
  journal          {si(size, "B")}, read in {reading:.1f} s at a resume
  files            {files} shards""")


if __name__ == "__main__":
    main()
