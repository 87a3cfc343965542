"""Jobs and lazy arrays on `dask.distributed`: a real scheduler and workers in processes of their own, over TCP."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import dask.array
import numpy as np
import pytest
import zarr
from distributed import Client

import tconv
import tconv.scale
from tconv.errors import ArgumentError, ClusterError, FileError
from tconv.scale import distributed_run
from tconv.scale.distributed_run import DaskExecutor
from tconv.scale.functional import job_of
from tconv.scale.operators.layer import LayerOperator, computed
from tconv.scale.pipeline import LocalExecutor
from tconv.scale.workers import cluster, worker_checks, worker_tasks
from tconv.scale.workers.worker_tasks import WorkerStage, identity_text, trial_of

ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    "TCONV_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}
RNG = np.random.default_rng(0)
OPERATOR = LayerOperator(
    RNG.standard_normal((2, 3, 4, 5)).astype("f"), np.float32([1, 2, 3]), tconv.Geometry((4, 5), 2, ((1, 1), (0, 1)))
)
X = RNG.standard_normal((2, 150, 170)).astype("float32")
WHOLE = computed(OPERATOR, X)


class Servers:
    """A scheduler and workers, each a process."""

    def __init__(self, folder: Path, workers: int) -> None:
        self.folder, self.processes = folder, []
        file = folder / "scheduler.json"
        arguments = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(file)]
        self.scheduler = self._start("dask_scheduler", *arguments)
        wait_for(file.exists)
        wait_for(lambda: file.read_text().strip().endswith("}"))
        self.address = json.loads(file.read_text())["address"]
        if workers:
            self.add(workers)

    def add(self, workers):
        """Start as many workers, and return their processes."""
        started = [self._start("dask_worker", self.address, *WORKER) for _ in range(workers)]
        with Client(self.address, set_as_default=False) as client:
            client.wait_for_workers(workers, timeout=30)
        return started

    def _start(self, command, *arguments):
        call = [sys.executable, "-m", f"distributed.cli.{command}", *arguments]
        process = subprocess.Popen(
            call, env=ENVIRONMENT, cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self.processes.append(process)
        return process

    def end(self):
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.wait(10)


WORKER = ["--host", "127.0.0.1", "--nthreads", "1", "--no-nanny", "--no-dashboard", "--memory-limit", "0"]


def wait_for(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    found = Servers(tmp_path_factory.mktemp("servers"), 2)
    yield found
    found.end()


@pytest.fixture
def store(tmp_path):
    """Return the path of an input."""
    zarr.create_array(str(tmp_path / "x.zarr"), data=X, chunks=(2, 40, 40))
    return tmp_path / "x.zarr"


def job(store, executor, **options):
    made = job_of(OPERATOR, store, store.with_name("y.zarr"), tile=48, chunks=24, shards=48, **options)
    made.executor = executor
    return made


def output(store):
    return zarr.open_array(str(store.with_name("y.zarr")))[:]


def children():
    """Return the processes that this one has started and that still run."""
    found = subprocess.run(["pgrep", "-P", str(os.getpid()), "-f", "worker_process"], capture_output=True, text=True)
    return found.stdout.split()


# -- lazy arrays -------------------------------------------------------------------------------------------------


def test_lazy_arrays_have_the_bits_of_the_whole_on_workers(servers, store):
    with Client(servers.address, set_as_default=False) as client:
        given = dask.array.from_array(X, chunks=(2, 40, 50))
        for lazy in (tconv.scale.apply(OPERATOR, given), tconv.scale.apply(OPERATOR, store, chunks=(3, 70, 60))):
            np.testing.assert_array_equal(client.compute(lazy, sync=True), WHOLE)
            kept = client.persist(lazy)
            np.testing.assert_array_equal(client.compute(kept[:, 7:9], sync=True), WHOLE[:, 7:9])
        copies = client.run(count_operators)
        assert max(copies.values()) == 1


def count_operators():
    import gc

    from tconv.scale.operators.layer import LayerOperator

    return sum(isinstance(each, LayerOperator) for each in gc.get_objects())


count_operators.__module__ = "__main__"  # so that it travels by value


def count_stages():
    import gc

    from tconv.scale.workers.worker_tasks import WorkerStage

    gc.collect()
    return sum(isinstance(each, WorkerStage) for each in gc.get_objects())


count_stages.__module__ = "__main__"


# -- jobs --------------------------------------------------------------------------------------------------------


def test_a_job_on_a_scheduler(servers, store, capfd):
    most = []

    def look(progress):
        assert progress.dashboard in (None, executor.dashboard)
        most.append(len(client.run_on_scheduler(lambda dask_scheduler: list(dask_scheduler.tasks))))

    with Client(servers.address, set_as_default=False) as client, DaskExecutor(scheduler=servers.address) as executor:
        made = job(store, executor, progress=look)
        report = made.run()
        assert executor.description == f"workers of {servers.address}"
        assert executor.dashboard.startswith(("http://", "no dashboard"))
        assert f"ran on    {executor.description}; dashboard {report.dashboard}" in str(report)
        assert report.dashboard == executor.dashboard
        assert 10**7 < executor.peak_memory < 10**9
        pids = client.run(os.getpid)
        wait_for(lambda: not any(client.run(count_stages).values()))  # with their files and threads
    np.testing.assert_array_equal(output(store), WHOLE)
    assert os.getpid() not in pids.values()
    assert max(most) <= 8
    assert not capfd.readouterr().err
    assert tconv.scale.verify(store.with_name("y.zarr"))
    assert report.done_before == 0


def test_local_workers_that_are_killed_are_started_again(store, capfd):
    executor = DaskExecutor(workers=2)
    victims = []

    def kill(progress):
        if progress.tiles_done > 3 and not victims:
            process, states = executor._cluster._processes[0], executor._cluster._local.scheduler.workers
            process.send_signal(signal.SIGSTOP)
            if any(state.pid == process.pid and state.processing for state in [*states.values()]):
                victims.append(process)
                process.kill()
            else:  # it has no tile to lose just now
                process.send_signal(signal.SIGCONT)

    report = job(store, executor, progress=kill).run()
    executor.close()
    np.testing.assert_array_equal(output(store), WHOLE)
    assert victims
    assert report.done_before == 0
    assert 1 <= executor.repeated <= 4
    assert not children()
    assert not capfd.readouterr().err


def test_an_interrupt_ends_local_workers_and_the_job_goes_on_later(store):
    executor = DaskExecutor(workers=1)

    def interrupt(progress):
        if progress.tiles_done > 5:
            raise KeyboardInterrupt

    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        job(store, executor, progress=interrupt).run()
    assert not children()
    assert executor._cluster is None
    assert time.monotonic() - begin < 60
    assert not store.with_name("y.zarr").exists()
    report = job(store, LocalExecutor()).run()
    assert report.done_before > 5
    np.testing.assert_array_equal(output(store), WHOLE)


def test_lost_servers_end_a_job_and_it_goes_on_with_others(tmp_path, servers, store, monkeypatch, capfd):
    for module in (cluster, distributed_run):
        monkeypatch.setattr(module, "PATIENCE", 1.0)
    own = Servers(tmp_path, 0)
    try:
        for message, count in (("all workers of", 3), ("the scheduler at", 10)):
            (worker,) = own.add(1)
            victim = worker if count == 3 else own.scheduler
            with DaskExecutor(scheduler=own.address) as executor, pytest.raises(ClusterError, match=message):
                job(store, executor, progress=lambda p, v=victim, n=count: p.tiles_done > n and v.kill()).run()
            assert not store.with_name("y.zarr").exists()
    finally:
        own.end()
    with DaskExecutor(scheduler=servers.address) as executor:
        report = job(store, executor).run()
    assert report.done_before > 10
    np.testing.assert_array_equal(output(store), WHOLE)
    assert not capfd.readouterr().err


@pytest.mark.parametrize("planned", [1, 2])
def test_a_worker_of_many_threads_has_as_many_tiles_at_once_as_the_memory_is_for(planned, store, monkeypatch):
    inside, most, computing = [], [], set()

    class Seen(LayerOperator):
        def compute(self, *given):
            computing.add(threading.get_ident())

    def run_tile(stage, tile):
        inside.append(tile)
        most.append(len(inside))
        time.sleep(0.002)
        stage.operator.compute(*[None] * 5)
        inside.remove(tile)

    stage = job(store, LocalExecutor()).stages[0]
    stage.tile, stage.windows, stage.results = (32, 32), planned, 2
    work = WorkerStage(stage, trial_of(OPERATOR, stage.sizes, None), identity_text(stage.source))
    stage.operator = Seen(*OPERATOR.fingerprint_parts())
    monkeypatch.setattr(worker_tasks.WorkerStage, "_check", lambda self: None)
    monkeypatch.setattr(worker_tasks, "run_tile", run_tile)
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work.run, itertools.islice(stage.tiles(0), 24)))
    assert max(most) == planned
    assert len(computing) == 1  # rows that a thread keeps for its next tile are there once


def test_errors_of_a_tile_name_the_worker(servers, store):
    chunk = next(path for path in sorted((store / "c").rglob("*")) if path.is_file())
    chunk.write_bytes(b"damaged")
    with DaskExecutor(scheduler=servers.address) as executor, pytest.raises(FileError) as caught:
        job(store, executor).run()
    assert "tcp://" in "".join(caught.value.__notes__)


def test_a_worker_that_does_not_see_the_input_is_named(servers, store, tmp_path, monkeypatch):
    np.save(tmp_path / "x.npy", X)
    made = job_of(OPERATOR, tmp_path / "x.npy", tmp_path / "z.zarr", tile=32, chunks=16, shards=32)
    made.executor = DaskExecutor(scheduler=servers.address)
    monkeypatch.setattr(distributed_run, "identity_text", lambda source: "of this machine")
    with pytest.raises(ClusterError, match=r"tcp://.* sees another input under"):
        made.run()

    def hidden(source):
        (tmp_path / "x.npy").rename(tmp_path / "hidden.npy")
        return "of this machine"

    monkeypatch.setattr(distributed_run, "identity_text", hidden)
    with pytest.raises(FileError, match=r"worker tcp://.*x\.npy.*same paths"):
        made.run()


def test_another_method_of_summation_is_refused_by_name(servers, store, monkeypatch):
    real = distributed_run.trial_of
    monkeypatch.setattr(distributed_run, "trial_of", lambda *given: real(*given)._replace(checksum=1))
    with (
        DaskExecutor(scheduler=servers.address) as executor,
        pytest.raises(ClusterError, match=r"worker tcp://.*'simd'"),
    ):
        job(store, executor).run()


def test_another_version_of_tconv_is_refused_by_name(servers, store, monkeypatch):
    monkeypatch.setattr(worker_checks, "_VERSION", "'0.0.1'")
    with DaskExecutor(scheduler=servers.address) as executor, pytest.raises(ClusterError, match=r"tconv 0\.0\.1"):
        job(store, executor).run()


def test_a_scheduler_that_is_not_there(store, monkeypatch):
    monkeypatch.setattr(cluster, "_CONNECT_SECONDS", 1)
    begin = time.monotonic()
    with pytest.raises(ClusterError, match=r"there is no scheduler of Dask at tcp://127\.0\.0\.1:9"):
        job(store, DaskExecutor(scheduler="tcp://127.0.0.1:9")).run()
    assert time.monotonic() - begin < 20


def test_refusals(store):
    with pytest.raises(ArgumentError, match="one of both"):
        DaskExecutor(workers=2, scheduler="tcp://127.0.0.1:8786")
    for workers in (0, -1, 1.5, "two"):
        with pytest.raises(ArgumentError, match="workers"):
            DaskExecutor(workers=workers)
    with pytest.raises(ArgumentError, match="address of a scheduler"):
        DaskExecutor(scheduler="here")
    made = job_of(OPERATOR, X, np.empty_like(WHOLE), tile=32)
    made.executor = DaskExecutor(workers=1)
    with pytest.raises(ArgumentError, match="memory of this process"):
        made.run()


SCRIPT = """
import os, signal, sys
import numpy as np, tconv.scale
layer = tconv.scale.layer(np.ones((2, 1, 4, 4), "f"), stride=2, padding=1)

def progress(at):
    if at.tiles_done > 3:
        os.kill(os.getpid(), signal.SIGKILL)

tconv.scale.run(layer, sys.argv[1], sys.argv[2], tile=32, chunks=32, workers=1, progress=progress)
"""


def test_a_script_without_a_main_guard_and_its_workers_end_with_it(store):
    script = store.with_name("script.py")
    script.write_text(SCRIPT)
    output = store.with_name("z.zarr")
    done = subprocess.run(
        [sys.executable, str(script), str(store), str(output)], env=ENVIRONMENT, timeout=60, capture_output=True
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()

    def left():
        with suppress(ValueError):
            found = subprocess.run(["pgrep", "-af", "scale.workers.worker_process"], capture_output=True, text=True)
            return [line for line in found.stdout.splitlines() if "worker_process tcp" in line]
        return []

    wait_for(lambda: not left(), 10)
