"""Large jobs: graphs of many chunks, workers, the work for the borders of tiles, and going on with many shards.

    python benchmarks/scale_jobs.py [graph workers halo resume] [--chunks 100000] [--shards 10000] [-o RESULT.json]

- graph: a lazy transposed convolution of so many chunks: seconds until its graph is built and until it is optimized,
  bytes of a pickle of it, and memory of a scheduler (a process of its own, over TCP) that was given it, for each task.
- workers: a job on one worker process and on two, each with one thread, in turns; threads of this process beside them.
- halo: multiply-adds of tiles of 1024 pixels of the networks that come with tconv, in multiples of those of the whole.
- resume: a job of so many shards that was killed near its end; seconds of a new process until its first new tile.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import platform
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

_LIMIT = 600.0  # seconds for each process


def main() -> int:
    """Run the measurements; return 1 if the result cannot be written."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("measurements", nargs="*", default=list(MEASUREMENTS))
    parser.add_argument("--chunks", type=int, default=100_000)
    parser.add_argument("--scheduled", type=int, default=100_000, help="chunks that a scheduler is given")
    parser.add_argument("--inputs", nargs="+", choices=("store", "array"), default=("store", "array"))
    parser.add_argument("--shards", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--mib", type=int, default=256, help="output of the jobs on workers")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the children are ended, and the folder is removed
    result: dict[str, Any] = {"date": datetime.now(UTC).isoformat(timespec="minutes"), "machine": platform.processor()}
    result["load"] = os.getloadavg()[0]
    try:  # before minutes are spent
        file = options.output.open("x") if options.output else None
    except OSError as error:
        print(f"{options.output} cannot be written: {error.strerror}. Choose a new name", file=sys.stderr)
        return 1
    try:
        for name in options.measurements:
            with tempfile.TemporaryDirectory(dir=options.folder) as folder:
                result[name] = MEASUREMENTS[name](options, Path(folder))
            print(json.dumps({name: result[name]}, indent=1), flush=True)
    finally:
        if file is not None:
            with file:
                json.dump(result, file, indent=1)
    return 0


# -- graph ---------------------------------------------------------------------------------------------------------


def lazy(kind: str, chunks: int, folder: Path) -> Any:
    """Return a lazy layer of about so many chunks of 256 x 256 outputs, of an array of Dask or of a store."""
    import dask.array as da

    from tconv import scale

    side = int(np.ceil(np.sqrt(chunks)))
    shape = 1, 1, 128 * side, 128 * side
    weight = np.ones((1, 1, 4, 4), np.float32)
    if kind == "array":
        x = da.zeros(shape, chunks=(1, 1, 128, 128), dtype=np.float32)
    else:
        import zarr

        x = zarr.create_array(folder / "x.zarr", shape=shape, chunks=(1, 1, 1024, 1024), dtype="f4", overwrite=True)
    return scale.conv_transpose(x, weight, stride=2, padding=1, chunks=(1, 1, 256, 256))


def graph(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Return times and sizes of graphs of lazy arrays."""
    import dask

    found: dict[str, Any] = {"dask alone": scheduler_memory(_plain, options.scheduled, folder)}
    for kind in options.inputs:
        lazy(kind, 100, folder)
        start = time.perf_counter()
        y = lazy(kind, options.chunks, folder)
        tasks = dict(y.__dask_graph__())
        built = time.perf_counter() - start
        (optimized,) = dask.optimize(y)
        done = time.perf_counter() - start
        count = len(dict(optimized.__dask_graph__()))
        size = len(pickle.dumps(tasks, protocol=5))
        entry = {"chunks": y.npartitions, "tasks": len(tasks), "seconds": built, "with_optimization": done}
        found[kind] = entry | {"tasks_optimized": count, "bytes_per_task": size / len(tasks)}
        del tasks, optimized, y
        found[kind] |= scheduler_memory(partial(lazy, kind, folder=folder), options.scheduled, folder)
    return found


def _plain(chunks: int) -> Any:
    """Return a lazy array of Dask of about so many chunks, one task each: the least that a graph can be."""
    import dask.array as da

    side = int(np.ceil(np.sqrt(chunks)))
    return da.zeros((256 * side, 256 * side), chunks=256, dtype=np.float32)


def scheduler_memory(make: Callable[[int], Any], chunks: int, folder: Path) -> dict[str, Any]:
    """Return the growth of a scheduler that is given a graph, for each of its tasks, which wait for a busy worker."""
    from distributed import Client

    where = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder, "start_new_session": True}
    python, address = [sys.executable, "-m"], folder / f"scheduler-{time.monotonic_ns()}.json"
    scheduler = subprocess.Popen(
        [*python, "distributed.cli.dask_scheduler", "--port=0", "--no-dashboard", f"--scheduler-file={address}"],
        **where,
    )
    worker = subprocess.Popen(
        [*python, "distributed.cli.dask_worker", f"--scheduler-file={address}", "--nthreads=1", "--no-dashboard",
         "--no-nanny"], **where,
    )  # fmt: skip
    try:
        until(address.exists)
        with Client(scheduler_file=str(address), timeout=60) as client:
            client.wait_for_workers(1)
            busy = client.submit(time.sleep, _LIMIT, priority=1000)

            def look() -> tuple[int, int]:
                return client.run_on_scheduler(_memory_and_tasks)  # type: ignore[no-any-return]

            few = client.compute(make(100))  # what the first graph imports does not count
            until(lambda: look()[1] > 100)
            few.release()
            until(lambda: look()[1] <= 3)  # a task that the worker has begun stays
            before, _ = look()
            start = time.perf_counter()
            future = client.compute(make(chunks))
            until(lambda: look()[1] >= chunks)
            accepted = time.perf_counter() - start
            after, tasks = look()
            growth = (after - before) / tasks
            del busy, future
            return {"scheduler_tasks": tasks, "scheduler_bytes_per_task": growth, "scheduler_seconds": accepted}
    finally:
        end(worker)
        end(scheduler)


def _memory_and_tasks(dask_scheduler: Any) -> tuple[int, int]:
    """Return the resident bytes, without free pages, and the tasks of a scheduler; it runs there."""
    import ctypes
    import gc

    import psutil

    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return psutil.Process().memory_info().rss, len(dask_scheduler.tasks)


def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition. Raises TimeoutError."""
    limit = time.monotonic() + _LIMIT
    while not condition():
        if time.monotonic() > limit:
            raise TimeoutError
        time.sleep(0.05)


def end(process: subprocess.Popen[Any]) -> None:
    """End a process and all that it started."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


# -- jobs ----------------------------------------------------------------------------------------------------------

JOB = """
import sys, time, json
from pathlib import Path
sys.path.insert(0, {benchmarks!r})
from scale_cases import Case
from scale_kernel import network_of
from tconv import scale, set_num_threads
from tconv.scale.functional import job_of
set_num_threads({threads})
case = Case(*{case!r})
options = dict({options!r})
if {first}:
    class First(BaseException): pass
    def progress(state):
        if state.tiles_done > {first}: raise First
    options["progress"] = progress
start = time.perf_counter()
job = job_of(network_of(case), {source!r}, {target!r}, max_memory="512MB", **options)
try:
    report = job.run()
    print(json.dumps({{"seconds": time.perf_counter() - start, "report": str(report)}}))
except BaseException as error:
    if type(error).__name__ != "First": raise
    print(json.dumps({{"seconds": time.perf_counter() - start}}))
"""


def job(case: Any, folder: Path, threads: int, first: int = 0, **options: Any) -> list[str]:
    """Return the command of a job in a process of its own."""
    code = JOB.format(
        benchmarks=str(Path(__file__).parent), threads=threads, case=tuple(case), options=options, first=first,
        source=str(folder / "input.zarr"), target=str(folder / "output.zarr"),
    )  # fmt: skip
    return [sys.executable, "-c", code]


def run_job(command: list[str], folder: Path) -> dict[str, Any]:
    """Return what a job printed, and the seconds of its whole process."""
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, timeout=_LIMIT, cwd=folder)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found | {"process_seconds": time.perf_counter() - start}


def made_input(case: Any, folder: Path) -> None:
    """Write the input of a case."""
    from scale_engines import Worker

    Worker("make", folder, case).make()


def workers(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Return seconds of a network on one worker and on two, and on one and two threads of a process."""
    from scale_cases import case_of
    from scale_engines import remove_output

    case = case_of("network", options.mib << 20, "none")._replace(tile=1024)
    made_input(case, folder)
    kinds: dict[str, tuple[int, dict[str, Any]]] = {
        "1 worker": (1, {"workers": 1}),
        "2 workers": (2, {"workers": 2}),
        "1 thread": (1, {}),
        "2 threads": (2, {}),
    }
    seconds: dict[str, list[float]] = {kind: [] for kind in kinds}
    order = random.Random(0)
    for _ in range(options.rounds):
        for kind in order.sample(list(kinds), len(kinds)):
            threads, more = kinds[kind]
            seconds[kind].append(run_job(job(case, folder, threads, **more), folder)["seconds"])
            remove_output(folder)
    medians = {kind: statistics.median(each) for kind, each in seconds.items()}
    ratios = {
        "workers": medians["1 worker"] / medians["2 workers"],
        "threads": medians["1 thread"] / medians["2 threads"],
    }
    return {"output": case.output, "seconds": seconds, "ratios": ratios}


def halo(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Return the work of tiles of 1024 x 1024 input pixels, of each network that comes with tconv and of a layer."""
    from tconv import models, scale
    from tconv.scale.operators.reading import operator_of

    found = {}
    layer = scale.layer(np.ones((16, 16, 4, 4), np.float32), stride=2, padding=1)
    for name, network in [*((f"photo_x{n}", models.photo(n)) for n in models.PHOTO_SCALES), ("layer 4x4 s2", layer)]:
        operator = operator_of(network)
        sizes = 8192, 8192
        outputs = operator.output_sizes(sizes)
        x = np.broadcast_to(np.zeros((), operator.dtype), (operator.channels[0], *sizes))
        y = np.empty((operator.channels[1], *outputs), operator.result)  # never touched
        tile = (1024 * round(outputs[0] / sizes[0]),) * 2
        stage = scale.plan(network, x, y, tile=tile, max_memory="64GB").stages[0]
        found[name] = {"work": stage.halo, "bytes_read": stage.bytes_read / x.nbytes, "tiles": stage.tiles}
    return found


def resume(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Return the seconds of going on with a job of many shards that was killed near its end."""
    from scale_cases import Case

    side = int(np.ceil(np.sqrt(options.shards)))
    case = Case("layer", side * 16, "none", 32)  # tiles of 32 x 32 outputs
    made_input(case._replace(tile=1024), folder)
    sizes = {"chunks": (16, 16), "shards": (32, 32), "tile": (32, 32)}
    command = job(case, folder, 2, **sizes)
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=folder, start_new_session=True)
    journal = folder / "output.zarr.journal"
    started = time.perf_counter()
    try:
        until(lambda: first.poll() is not None or _done(journal) > 0.85 * side * side)
    finally:
        end(first)
    spent, done = time.perf_counter() - started, _done(journal)
    going_on = run_job(job(case, folder, 2, first=done, **sizes), folder)
    rest = run_job(job(case, folder, 2, **sizes), folder)
    again = run_job(job(case, folder, 2, **sizes), folder)
    return {
        "shards": side * side, "done_before": done, "seconds_before": spent,
        "seconds_until_first_new_tile": going_on["seconds"], "with_imports": going_on["process_seconds"],
        "seconds_of_the_rest": rest["seconds"], "seconds_of_a_finished_job": again["seconds"],
        "report": rest["report"], "journal_bytes": journal.stat().st_size,
    }  # fmt: skip


def _done(journal: Path) -> int:
    """Return how many tiles a journal names as done."""
    try:
        return journal.read_bytes().count(b"\ndone ")
    except OSError:
        return 0


MEASUREMENTS: dict[str, Callable[[argparse.Namespace, Path], dict[str, Any]]] = {
    "graph": graph,
    "workers": workers,
    "halo": halo,
    "resume": resume,
}

if __name__ == "__main__":
    sys.exit(main())
