"""Trials: a job that is killed again and again until it is done, and what is true of its output then."""

from __future__ import annotations

import shutil
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

import scale_power_cut
import scale_random_jobs

IN_FLIGHT = 4
"""Tiles of a process whose work has begun and that are not written: read, computed and waiting for the writer."""
GROUP = 8
"""Tiles that are noted together in these jobs, which are short; others note what was written within a second."""


@dataclass
class Trial:
    """One job in a folder of its own, and its counts."""

    template: object
    folder: Path
    case: dict
    slow: float = 0.002
    options: dict = field(default_factory=dict)
    kills: int = 0
    computed: int = 0
    tiles: int = 0

    def __post_init__(self):
        self.disk, self.shadow, self.log = (self.folder / name for name in ("disk", "shadow", "log"))
        self.disk.mkdir(parents=True)
        self.rng = np.random.default_rng([self.case["seed"], 3])
        self.source = scale_random_jobs.write_input(self.case, self.folder)
        self.output = self.disk / f"y.{self.case['target']}"
        self.journal = self.disk / f"{self.output.name}.journal"
        self.expected = scale_random_jobs.expected(self.case)

    def start(self, what="run", **hooks):
        """Start a process of the job."""
        hooks = {"root": str(self.disk), "slow": self.slow, "log": str(self.log), "group": GROUP} | hooks
        if what == "verify":
            return self.template.start("verify", output=str(self.output), hooks=hooks)
        arguments = {"case": self.case, "source": str(self.source), "output": str(self.output), **self.options}
        return self.template.start("run", hooks=hooks, **arguments)

    def killed(self, answer, number=signal.SIGKILL):
        """Count a kill; return True if the process was ended by it."""
        ended = answer["signal"] == number or (number == signal.SIGINT and answer.get("error") == "KeyboardInterrupt")
        self.kills += ended
        assert ended or "result" in answer, answer["printed"]
        assert ended or not answer["threads"], answer["threads"]
        self.check_names(finished=not ended)
        return ended

    def check_names(self, finished):
        """Refuse other names than those of the output and of its journal, and a final name of a part."""
        names = {path.name for path in self.disk.iterdir()}
        name = self.output.name
        assert names <= {name, f"{name}.part", f"{name}.journal"}, names
        if finished:
            assert names == {name, f"{name}.journal"}, names
        if name in names:
            self.check_values()

    def check_values(self):
        """Compare an output that has its final name, bit by bit; a TIFF has its channels last."""
        values, y = scale_random_jobs.stored(self.output), self.expected
        y = np.moveaxis(y, 1, -1) if self.case["target"] == "tif" else y
        assert values.dtype == y.dtype
        assert np.squeeze(values).shape == np.squeeze(y).shape
        assert values.tobytes() == y.tobytes(), f"{np.sum(values.ravel() != y.ravel())} values differ"

    def finish(self):
        """Run the job to its end, and check the output, the counts, and that nothing is left over."""
        result = self.start(slow=0).finished()
        self.check_names(finished=True)
        self.tiles = result["tiles"]
        self.computed = len(lines(self.log))
        again = self.start(slow=0).finished()
        assert again["was_done"]
        checked = self.start("verify").finished()
        assert checked["tiles"] == self.tiles
        assert not checked["damaged"] + checked["missing"], checked["text"]
        assert len(set(lines(self.log))) == self.tiles
        assert not self.template.left_over()
        return result

    @property
    def twice(self):
        """Tiles that were computed again."""
        return self.computed - self.tiles

    def check_twice(self, workers=1):
        """Compare the tiles that were done twice with the bound for each kill: those in flight, a group that is noted and one that waits."""
        assert self.twice <= self.kills * (IN_FLIGHT * workers + 2 * GROUP), (self.twice, self.kills)

    def close(self):
        shutil.rmtree(self.folder)


def lines(log):
    """Return the lines of a file of computed tiles, as text."""
    return log.read_text().splitlines() if log.exists() else []


# -- kinds of kills ------------------------------------------------------------------------------------------------


def killed_at_times(trial, count=3, number=signal.SIGKILL):
    """Kill a job at random times, `count` times at most: some before its first tile, most between two of the others."""
    for _ in range(count):
        child = trial.start()
        if trial.rng.random() < 0.15:
            answer = child.killed_after(trial.rng.uniform(0, 0.1), number)
        else:
            before = len(lines(trial.log))
            tiles = before + int(trial.rng.integers(1, max(2, trial.case["tiles"] // count)))
            child.wait_until(lambda: len(lines(trial.log)) >= tiles)  # noqa: B023
            time.sleep(trial.rng.uniform(0, 2 * trial.slow))
            child.send(number)
            answer = child.wait()
        if not trial.killed(answer, number):
            break


def calls_of(trial):
    """Return the number of calls that change files in a whole job, which is undone."""
    total = trial.start(slow=0, calls=True, log=None).wait()["calls"]
    for path in trial.disk.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return total


def killed_at_calls(trial, count=3):
    """Kill a job at calls that change files: while names, tiles or lines of the journal are written, or at the end."""
    total = calls_of(trial)
    for _ in range(count):
        at = int(trial.rng.integers(1, 12)) if trial.rng.random() < 0.3 else int(trial.rng.integers(1, total + 1))
        at = total - at + 1 if trial.rng.random() < 0.3 else at
        if not trial.killed(trial.start(end_at=at, slow=0).wait()):
            break


def killed_in_verify(trial):
    """Kill the verification of a finished output."""
    trial.start(slow=0).finished()
    answer = trial.start("verify").killed_after(trial.rng.uniform(0, 0.1))
    trial.killed(answer)


def cut_at_calls(trial, count=3):
    """Cut the power at calls that change files: what was not synced is lost, or a random part of it."""
    total = calls_of(trial)
    for _ in range(count):
        scale_power_cut.begin(trial.disk, trial.shadow)
        at = int(trial.rng.integers(1, 20 if trial.rng.random() < 0.3 else total + 1))
        answer = trial.start(end_at=at, slow=0, shadow=str(trial.shadow)).wait()
        scale_power_cut.lose(trial.disk, trial.shadow, trial.rng if trial.rng.random() < 0.6 else None)
        if not trial.killed(answer):
            break


# -- clusters ------------------------------------------------------------------------------------------------------


class ProcessesOfCluster:
    """A scheduler and workers over TCP, in processes of their own."""

    def __init__(self, trial, workers=2):
        self.trial, self.folder = trial, trial.folder / "cluster"
        self.folder.mkdir(exist_ok=True)
        self.scheduler = trial.template.start("scheduler")
        self.address = self.scheduler.address()
        self.workers = [self.worker() for _ in range(workers)]
        for worker in self.workers:
            worker.address()

    def worker(self):
        hooks = {"root": str(self.trial.disk), "slow": self.trial.slow, "log": str(self.trial.log)}
        arguments = {"address": self.address, "folder": str(self.folder)}
        return self.trial.template.start("worker", hooks=hooks, **arguments)

    def client(self):
        """Start a job on the cluster."""
        trial = self.trial
        hooks = {"root": str(trial.disk), "group": GROUP}
        arguments = {"case": trial.case, "source": str(trial.source), "output": str(trial.output)}
        return trial.template.start("run", hooks=hooks, scheduler=self.address, **arguments)

    def close(self):
        for process in [*self.workers, self.scheduler]:
            process.send()
            process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def some_tiles(trial, part):
    """Return a condition: so many tiles more than now have begun."""
    tiles = len(lines(trial.log)) + max(1, int(part * trial.case["tiles"]))
    return lambda: len(lines(trial.log)) >= tiles


def worker_killed(trial):
    """Kill one of two workers in the middle, then start another one: the job itself goes on."""
    with ProcessesOfCluster(trial) as cluster:
        client = cluster.client()
        for _ in range(2):
            client.wait_until(some_tiles(trial, trial.rng.uniform(0.05, 0.4)))
            if not client.has_ended():
                cluster.workers.pop(0).send()
                cluster.workers.append(cluster.worker())
                trial.kills += 1
        client.finished()


def scheduler_killed(trial):
    """Kill the scheduler in the middle: one clear error, and the next cluster goes on."""
    with ProcessesOfCluster(trial) as cluster:
        client = cluster.client()
        client.wait_until(some_tiles(trial, trial.rng.uniform(0.1, 0.6)))
        cluster.scheduler.send()
        answer = client.wait()
        if "result" not in answer:  # it did not end just before
            trial.kills += 1
            assert answer.get("error") == "ClusterError", answer
            assert "the scheduler at tcp://" in answer["text"]
    with ProcessesOfCluster(trial) as cluster:
        cluster.client().finished()


def client_killed(trial):
    """Kill the client in the middle, twice; the cluster stays, and its tasks end with their client."""
    with ProcessesOfCluster(trial) as cluster:
        for _ in range(2):
            client = cluster.client()
            client.wait_until(some_tiles(trial, trial.rng.uniform(0.1, 0.4)))
            client.send()
            trial.killed(client.wait())
        cluster.client().finished()
