"""Power cuts: the proof itself, on a small job and on jobs that break one promise each."""

from __future__ import annotations

import shutil
import signal

import numpy as np
import pytest

import scale_breakers
import scale_power_cut
from scale_processes import Template


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    with Template(tmp_path_factory.mktemp("template"), light=True) as template:
        yield template
        assert not template.left_over()


def cuts(template, folder, kind, every=1, seeds=(None, 0), first=False):
    """Cut the power at calls of a small job, go on, and return the cuts after which the output was wrong, or the first."""
    wrong, twice = [], 0
    for seed in seeds:
        at = 1
        while True:
            root, shadow, log = folder / "disk", folder / "shadow", folder / "log"
            root.mkdir()
            scale_power_cut.begin(root, shadow)
            hooks = {"root": str(root), "shadow": str(shadow)}
            one = template.start(
                "scale_breakers.run", kind=kind, folder=str(root), log=str(log), hooks=hooks | {"end_at": at}
            ).wait()
            assert one["signal"] == signal.SIGKILL or one["code"] == 0, one["printed"]
            scale_power_cut.lose(root, shadow, None if seed is None else np.random.default_rng([seed, at]))
            if one["signal"] == signal.SIGKILL:
                two = template.start(
                    "scale_breakers.run", kind=kind, folder=str(root), log=str(log), hooks=hooks
                ).wait()
                assert two["code"] == 0, two["printed"]
            path = root / "y.npy"
            if not path.exists() or path.read_bytes()[128:] != scale_breakers.expected().tobytes():
                wrong.append((seed, at))
            twice = max(twice, len(log.read_text().split()) - scale_breakers.TILES)
            shutil.rmtree(root)
            log.unlink()
            if one["signal"] != signal.SIGKILL:
                break
            if first and wrong:
                return wrong, twice
            at += every
    return wrong, twice


def test_a_job_that_keeps_its_promises_loses_nothing(template, tmp_path):
    for every, seed in ((1, None), (3, 0)):
        wrong, twice = cuts(template, tmp_path, "SmallJob", every, [seed])
        assert not wrong
        assert twice <= scale_breakers.GROUP


@pytest.mark.parametrize("kind", scale_breakers.BROKEN, ids=lambda kind: kind.__name__)
def test_broken_promises_are_noticed(template, tmp_path, kind):
    assert cuts(template, tmp_path, kind.__name__, every=2, first=True)[0]


def test_work_done_twice_is_counted(template, tmp_path):
    wrong, twice = cuts(template, tmp_path, "StartsAnew", every=7, seeds=[0])
    assert not wrong
    assert twice > scale_breakers.GROUP
