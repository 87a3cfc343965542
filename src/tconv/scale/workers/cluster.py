"""Scheduler and workers of a job: those of an address, or local ones that live as long as the job."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from typing import Any

from tconv.errors import ClusterError, MissingExtraError
from tconv.kernels.num_threads import get_num_threads

PATIENCE = 10.0
"""Seconds without a scheduler, or without any worker, after which a job ends."""
_CONNECT_SECONDS = 8
_START_SECONDS = 60
_MOST_RESTARTS = 3
"""of each local worker"""


class Cluster:
    """Client of a scheduler, and the local workers that this process has started."""

    def __init__(self, workers: int | None, scheduler: str | None) -> None:
        self.address, self._count = scheduler, workers or 0
        self.client: Any = None
        self._local: Any = None
        self._processes: list[subprocess.Popen[bytes]] = []
        self._folder = ""
        self.restarts = 0

    # -- start and end -------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Connect, or start. Raises ClusterError within seconds if the scheduler cannot be reached."""
        try:
            if self.address is None:
                self._start_local()
            else:
                self._connect(self.address)
        except BaseException:
            self.close(abort=True)
            raise

    def _connect(self, address: str) -> None:
        from distributed import Client

        try:
            self.client = Client(address, timeout=_CONNECT_SECONDS, set_as_default=False, name="tconv")
        except (OSError, TimeoutError, ValueError, TypeError) as error:
            raise ClusterError(
                f"there is no scheduler of Dask at {address}: {str(error) or type(error).__name__}. Start one with "
                "`dask scheduler`, and write the address that it prints, as tcp://10.0.0.1:8786"
            ) from None

    def _start_local(self) -> None:
        from distributed import Client, LocalCluster

        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Port .* is already in use")  # another one is taken
            self._local = LocalCluster(
                n_workers=0,
                processes=True,
                threads_per_worker=1,
                protocol="tcp://",
                host="127.0.0.1",
                dashboard_address="127.0.0.1:8787" if find_spec("bokeh") else None,
                silence_logs=logging.CRITICAL + 1,
            )
        self.client = Client(self._local, timeout=_CONNECT_SECONDS, set_as_default=False, name="tconv")
        self._folder = tempfile.mkdtemp(prefix="tconv-workers-")
        self._processes = [self._process() for _ in range(self._count)]
        end = time.monotonic() + _START_SECONDS
        while len(self.workers()) < self._count:
            if time.monotonic() > end or any(process.poll() is not None for process in self._processes):
                raise ClusterError(
                    f"{self._count} workers were to start, and only {len(self.workers())} did. Write a smaller "
                    "workers=, or start `dask worker` yourself and write scheduler="
                )
            time.sleep(0.05)

    def _process(self) -> subprocess.Popen[bytes]:
        """Start one local worker."""
        threads = str(threads_of_each(self._count))
        env = {**os.environ, **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TCONV_NUM_THREADS"), threads)}
        env["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        command = [sys.executable, "-m", "tconv.scale.workers.worker_process", self.scheduler, threads, self._folder]
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env
        )

    def close(self, *, abort: bool = False) -> None:
        """Leave the scheduler; end local workers: at once with `abort`. No process and no file is left."""
        if abort:
            for process in self._processes:
                process.kill()
        for part in (self.client, self._local):
            if part is not None:
                with suppress(Exception):
                    part.close(timeout=3)
        for process in self._processes:
            if process.stdin is not None:
                process.stdin.close()  # ends the worker
            try:
                process.wait(3)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)
        self.client = self._local = None
        self._processes, self._folder = [], ""

    # -- state ---------------------------------------------------------------------------------------------------

    @property
    def scheduler(self) -> str:
        """Address of the scheduler."""
        return str(self.client.scheduler.address)

    @property
    def dashboard(self) -> str:
        """Address of the dashboard, or the reason why there is none."""
        link = ""
        with suppress(Exception):
            link = self.client.dashboard_link if self.services else ""
        if link:
            return str(link)
        return "no dashboard: bokeh is not installed" if find_spec("bokeh") is None else "no dashboard"

    @property
    def services(self) -> dict[str, int]:
        """Ports of what the scheduler serves beside tasks."""
        return dict(self.client._scheduler_identity.get("services") or {})

    @property
    def is_connected(self) -> bool:
        """True while the scheduler answers."""
        return self.client is not None and self.client.status == "running"

    def workers(self) -> dict[str, int]:
        """Return the address of each worker, and its number of threads."""
        found = self.client.scheduler_info(n_workers=-1)["workers"]
        return {address: int(worker["nthreads"]) for address, worker in found.items()}

    def revive(self) -> None:
        """Start local workers anew that have ended, a few times each."""
        for number, process in enumerate(self._processes):
            if process.poll() is not None and self.restarts < _MOST_RESTARTS * self._count:
                self.restarts += 1
                if process.stdin is not None:
                    process.stdin.close()
                self._processes[number] = self._process()

    @property
    def patience(self) -> float:
        """Seconds in which a worker may still come: local ones are on their way, if they live."""
        if not self._processes or not self.is_connected:
            return PATIENCE
        return _START_SECONDS if any(process.poll() is None for process in self._processes) else 0


def threads_of_each(workers: int) -> int:
    """Return the threads of each of so many local workers, which share those of this process."""
    return max(1, get_num_threads() // workers)


def require_distributed() -> None:
    """Raise MissingExtraError if distributed is not installed."""
    if find_spec("distributed") is None:
        raise MissingExtraError("A job on workers", "distributed", "scale")


@contextmanager
def quiet_logs() -> Iterator[None]:
    """Keep distributed's own messages off the terminal: losses are told by errors and reports."""
    logger = logging.getLogger("distributed")
    names = [logger.name, *(name for name in logging.root.manager.loggerDict if name.startswith("distributed."))]
    before = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)
