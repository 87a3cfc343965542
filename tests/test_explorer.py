"""The explorer's arithmetic, in TypeScript, answers as tconv does: its node tests run on what tconv answers here."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXPLORER = Path(__file__).parent.parent / "explorer"
TESTS = ("arithmetic.test.mjs", "build.test.mjs", "own_numbers.test.mjs", "value.test.mjs")
LEAST = {"legal": 1500, "refused": 2000, "codes": 3000, "in four equal views": 150, "windows": 1000, "solved": 40}
"""Fewest vectors of some kinds, so that a change of the generator does not leave the test without any."""


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
@pytest.mark.skipif(not (EXPLORER / "node_modules").exists(), reason="run npm ci in explorer/")
def test_arithmetic_of_the_explorer():
    command = ["node", "--test", "--test-reporter=tap", *(f"tests/{name}" for name in TESTS)]
    environment = os.environ | {"PYTHON": sys.executable}
    run = subprocess.run(command, cwd=EXPLORER, env=environment, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stdout[-8000:] + run.stderr[-2000:]
    assert "# skipped 0" in run.stdout, "the vectors are missing: " + run.stdout[-2000:]
    for kind, least in LEAST.items():
        found = re.search(rf"[:,] {kind} (\d+)", run.stdout)
        assert found, f"no vectors of {kind}"
        assert int(found[1]) >= least, found[0]
