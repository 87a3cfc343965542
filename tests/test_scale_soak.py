"""Soak of seconds: random jobs, most of them killed. benchmarks/scale_soak.py does it for longer."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

from scale_kills import KINDS
from scale_soak import Soak

SECONDS = float(os.environ.get("TCONV_TEST_SOAK_SECONDS", "15"))
"""Length of the soak; CONTRIBUTING.md lists it."""


@pytest.mark.slow
def test_random_jobs_for_a_while(tmp_path):
    soak = Soak(tmp_path / "soak", kinds=[each for each in KINDS if "TCP" not in each])
    soak.run(SECONDS)
    assert not soak.failures, "\n".join(soak.failures)
    assert soak.growth < 100e6  # machine code of each new layer
    assert soak.counts["kills"]
