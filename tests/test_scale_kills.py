"""Jobs that are killed, at any moment and in any part, go on: bit-identical, and with little done twice."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

import scale_random_jobs
import scale_trials
from scale_processes import Template
from scale_trials import Trial


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    with Template(tmp_path_factory.mktemp("template")) as template:
        yield template
        assert not template.left_over()


def trial(template, folder, seed, **settings):
    return Trial(template, folder / "trial", scale_random_jobs.random_case(seed, **{"tiles": 60, **settings}))


@pytest.mark.parametrize("seed", range(3))
def test_processes_killed_at_any_time_go_on(template, tmp_path, seed):
    one = trial(template, tmp_path, seed)
    scale_trials.killed_at_times(one)
    one.finish()
    one.check_twice()


@pytest.mark.parametrize("seed", range(3))
def test_processes_killed_at_calls_that_change_files_go_on(template, tmp_path, seed):
    one = trial(template, tmp_path, 10 + seed)
    scale_trials.killed_at_calls(one)
    one.finish()
    one.check_twice()


@pytest.mark.parametrize("seed", range(3))
def test_power_cuts_lose_nothing_that_was_noted(template, tmp_path, seed):
    one = trial(template, tmp_path, 20 + seed)
    scale_trials.cut_at_calls(one)
    one.finish()
    one.check_twice()


def test_a_killed_verification_does_no_harm(template, tmp_path):
    one = trial(template, tmp_path, 30)
    scale_trials.killed_in_verify(one)
    one.finish()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_a_job_and_it_goes_on(template, tmp_path, number):
    one = trial(template, tmp_path, 40)
    scale_trials.killed_at_times(one, count=2, number=number)
    one.finish()
    one.check_twice()


@pytest.mark.parametrize("kind", ["worker_killed", "scheduler_killed", "client_killed"])
def test_clusters_that_lose_a_process(template, tmp_path, kind):
    one = trial(template, tmp_path, 50, sizes=[61, 45])
    one.slow = 0.01
    getattr(scale_trials, kind)(one)
    one.finish()
    one.check_twice(workers=3)


def test_worker_processes_end_with_their_client(template, tmp_path):
    one = trial(template, tmp_path, 60, sizes=[61, 45], source="npy", target="npy")
    one.options["workers"] = 2
    client = one.start(log=None, group=1)
    client.wait_until(lambda: one.journal.exists() and b"\ndone " in one.journal.read_bytes())
    client.send()
    assert one.killed(client.wait())
    until = time.monotonic() + 20
    while template.left_over() and time.monotonic() < until:
        time.sleep(0.05)
    assert not template.left_over()
    one.options.clear()  # workers or not: the same job
    result = one.start(slow=0).finished()
    assert result["done_before"]
    assert result["done_twice"] <= 8
    one.check_values()


def test_the_example_goes_on_after_two_kills(python):
    script = Path(__file__).parents[1] / "examples" / "larger_than_memory.py"
    printed = python(
        "import runpy, sys; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')",
        script,
        "--size",
        "800",
    )
    assert printed.count("killed when ") == 2
    assert "16 tiles are as they were written" in printed
