"""Run random jobs of `tconv.scale` for a while, kill half of them, and watch bits, memory, threads, processes, files.

    python benchmarks/scale_soak.py --minutes 20 [--seed 0] [--no-cluster]

Every second job runs in this process, again and again, so that what it leaves behind is seen; the others are killed in
a way that is drawn. A line is printed each half minute.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import numpy as np
from scale_kills import KINDS

import scale_random_jobs
import scale_trials
from scale_processes import Template


class Soak:
    """Jobs of a soak, and what they left behind."""

    def __init__(self, folder, seed=0, kinds=tuple(KINDS)):
        self.folder, self.seed, self.kinds = Path(folder), seed, kinds
        self.counts = Counter()
        self.formats = Counter()
        self.memory = []
        """resident bytes of this process after each job in it"""
        self.failures = []

    def run(self, seconds, report=lambda soak: None):
        """Run jobs for a time; `report` is called after each."""
        shared = set(os.listdir("/dev/shm"))
        threads = threading.active_count()
        until = time.monotonic() + seconds
        with Template(self.folder / "processes") as template:
            while time.monotonic() < until:
                self.seed += 1
                rng = np.random.default_rng([self.seed, 9])
                case = scale_random_jobs.random_case(self.seed, tiles=int(rng.integers(2, 90)))
                if len(case["sizes"]) == 2 and case["dtype"] == "float32" and rng.random() < 0.4:
                    case["network"] = "network"
                self.formats[f"{case['source']} to {case['target']}"] += 1
                trial = scale_trials.Trial(template, self.folder / f"{self.seed}", case)
                try:
                    if self.seed % 2:
                        self.here(trial, rng)
                    else:
                        self.killed(trial, str(rng.choice(self.kinds)))
                except Exception as error:
                    self.failures.append(f"seed {self.seed}, {case}: {type(error).__name__}: {str(error)[:4000]}")
                self.counts["tiles"] += trial.tiles
                self.counts["kills"] += trial.kills
                self.counts["twice"] += trial.twice if trial.kills else 0
                trial.close()
                for path in (self.folder / "processes").iterdir():
                    path.unlink()
                report(self)
        own = ("asyncio", "zarr", "Dask-", "tifffile", "ThreadPool")  # pools that wait for the next job
        left = [each.name for each in threading.enumerate() if not each.name.startswith(own) and each.name != "tconv"]
        self.check(len(left) <= threads, f"threads {left}")
        for _ in range(100):  # other processes of this machine come and go
            if set(os.listdir("/dev/shm")) <= shared:
                break
            time.sleep(0.1)
        self.check(set(os.listdir("/dev/shm")) <= shared, "shared memory")
        self.check({each.name for each in self.folder.iterdir()} == {"processes"}, "files")

    def check(self, fine, what):
        if not fine:
            self.failures.append(f"left behind: {what}")

    def here(self, trial, rng):
        """Run a job in this process, with a random bound and tiles of its own choice or of the case's."""
        bound = resident() + int(rng.integers(150, 400)) * 10**6
        own = rng.random() < 0.5
        runner = scale_random_jobs.run_with_own_tiles if own else scale_random_jobs.run
        result = runner(trial.case, trial.source, trial.output, max_memory=bound)
        trial.check_names(finished=True)
        assert result["peak_memory"] <= bound, (result["peak_memory"], bound)
        checked = scale_random_jobs.verify(trial.output)
        assert not checked["damaged"] + checked["missing"], checked["text"]
        trial.tiles = result["tiles"]
        self.counts["jobs here"] += 1
        self.memory.append(resident())

    def killed(self, trial, kind):
        """Kill a job in one way, and let it go on to its end."""
        over_tcp = "TCP" in kind
        trial.slow = 0.01 if over_tcp else trial.slow
        KINDS[kind](trial)
        trial.finish()
        trial.check_twice(workers=3 if over_tcp else 1)
        self.counts[kind] += 1

    @property
    def growth(self):
        """Bytes by which this process grew from the third to the last quarter of its jobs, by their medians."""
        quarter = max(1, len(self.memory) // 4)
        return int(np.median(self.memory[-quarter:]) - np.median(self.memory[quarter : 2 * quarter] or self.memory))

    def __str__(self):
        jobs = sum(self.counts.values()) - sum(self.counts[each] for each in ("tiles", "kills", "twice"))
        kinds = ", ".join(f"{each} {count}" for each, count in sorted(self.counts.items()))
        return (
            f"{jobs} jobs, {len(self.failures)} failures; memory {resident() / 1e6:.0f} MB, "
            f"grown by {self.growth / 1e6:.1f} MB; {kinds}"
        )


def resident():
    """Return the resident bytes of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-cluster", action="store_true")
    options = parser.parse_args()
    kinds = [each for each in KINDS if not (options.no_cluster and "TCP" in each)]
    told, shown = [time.monotonic()], []

    def report(soak):
        if len(soak.failures) > len(shown):
            shown.append(soak.failures[len(shown)])
            print(time.strftime("%H:%M:%S"), shown[-1], flush=True)
        if time.monotonic() - told[0] > 30:
            told[0] = time.monotonic()
            print(time.strftime("%H:%M:%S"), soak, flush=True)

    with tempfile.TemporaryDirectory() as folder:
        soak = Soak(folder, options.seed, kinds)
        soak.run(60 * options.minutes, report)
    print(soak)
    print(", ".join(f"{each} {count}" for each, count in sorted(soak.formats.items())))
    for failure in soak.failures[len(shown) :]:
        print(failure)
    return 1 if soak.failures else 0


if __name__ == "__main__":
    sys.exit(main())
