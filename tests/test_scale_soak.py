"""Soak of seconds: random jobs, most of them killed. benchmarks/scale_soak.py does it for longer."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

from scale_kills import KINDS
from scale_soak import Soak

SECONDS = float(os.environ.get("TCONV_TEST_SOAK_SECONDS", "20"))
"""Length of the soak; CONTRIBUTING.md lists it."""


@pytest.mark.slow
def test_random_jobs_for_a_while(tmp_path):
    kills = 0
    for number in range(4):  # one is enough, unless the machine is so busy that no job was far enough to be killed
        soak = Soak(tmp_path / f"soak{number}", kinds=[each for each in KINDS if "TCP" not in each])
        soak.run(SECONDS)
        assert not soak.failures, "\n".join(soak.failures)
        assert soak.growth < 100e6  # machine code of each new layer
        kills = soak.counts["kills"]
        if kills:
            break
    assert kills
