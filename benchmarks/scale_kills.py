"""Kill jobs of `tconv.scale` in all ways, let them go on, and compare every output bit by bit.

    python benchmarks/scale_kills.py --trials 6                  # of each kind; a table at the end
    python benchmarks/scale_kills.py --trials 3 --kinds power    # those whose name contains a word
    python benchmarks/scale_kills.py --seed 100 --trials 20

Jobs are random: 1 to 3 axes, several dtypes, .npy and Zarr with shards, layers and chains. A trial ends when its output
is done, has the bits of the whole, passes `verify`, and has left no process, thread or file behind.
"""

from __future__ import annotations

import argparse
import platform
import signal
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import scale_random_jobs
import scale_trials
from scale_processes import Template

KINDS = {
    "process, at any time": scale_trials.killed_at_times,
    "writer, at a call that changes files": scale_trials.killed_at_calls,
    "verification": scale_trials.killed_in_verify,
    "SIGINT": partial(scale_trials.killed_at_times, number=signal.SIGINT),
    "SIGTERM": partial(scale_trials.killed_at_times, number=signal.SIGTERM),
    "power cut": scale_trials.cut_at_calls,
    "worker (TCP)": scale_trials.worker_killed,
    "scheduler (TCP)": scale_trials.scheduler_killed,
    "client (TCP)": scale_trials.client_killed,
}
"""Kinds of trials: functions that kill the job of a trial."""


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--trials", type=int, default=3, help="of each kind")
    parser.add_argument("--kinds", default="", help="part of the names of kinds")
    parser.add_argument("--seed", type=int, default=1000)
    options = parser.parse_args()
    print(f"{time.strftime('%Y-%m-%d')} {platform.machine()} {platform.system()} {' '.join(sys.argv[1:])}")
    print("| kind | trials | kills | identical | tiles | done twice | most of one kill |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    failures = []
    with tempfile.TemporaryDirectory() as folder, Template(Path(folder) / "processes") as template:
        for name, kill in KINDS.items():
            if options.kinds in name:
                failures += table_row(
                    template, Path(folder), name, kill, range(options.seed, options.seed + options.trials)
                )
    for failure in failures:
        print(failure)
    return 1 if failures else 0


def table_row(template, folder, name, kill, seeds):
    """Print the row of a kind, and return what failed."""
    kills = identical = tiles = twice = 0
    most, failures = 0.0, []
    for seed in seeds:
        settings = {"tiles": 60} if "TCP" in name else {}
        trial = scale_trials.Trial(template, folder / f"{name}-{seed}", scale_random_jobs.random_case(seed, **settings))
        trial.slow = 0.01 if "TCP" in name else trial.slow
        try:
            kill(trial)
            trial.finish()
            trial.check_twice(workers=3 if "TCP" in name else 1)
            identical += 1
        except Exception as error:
            failures.append(f"{name}, seed {seed}, {trial.case}: {type(error).__name__}: {str(error)[:2500]}")
        kills, tiles, twice = kills + trial.kills, tiles + trial.tiles, twice + trial.twice
        most = max(most, trial.twice / max(trial.kills, 1))
        trial.close()
    print(f"| {name} | {len(seeds)} | {kills} | {identical} | {tiles} | {twice} | {most:.1f} |", flush=True)
    return failures


if __name__ == "__main__":
    sys.exit(main())
