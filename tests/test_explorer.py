"""The explorer, in TypeScript, answers as tconv does: its node tests run on what tconv answers here."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXPLORER = Path(__file__).parent.parent / "explorer"
TESTS = sorted((EXPLORER / "tests").glob("*.test.mjs"))
"""Those that need no browser; `npm run test:page` runs those of tests/page/, `npm test` all."""
LEAST = {
    "legal": 1500,
    "refused": 2000,
    "links": 1000,
    "codes": 3000,
    "read again from the fields": 2000,
    "in four equal views": 150,
    "matrices": 50,
    "solved": 40,
    "of full rank": 40,
    "placed": 400,
}
"""Fewest vectors of some kinds, so that a change of the generator does not leave the test without any."""


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
@pytest.mark.skipif(not (EXPLORER / "node_modules").exists(), reason="run npm ci in explorer/")
def test_the_explorer_answers_as_tconv():
    command = ["node", "--test", "--test-concurrency=1", "--test-reporter=tap", *map(str, TESTS)]
    environment = os.environ | {"PYTHON": sys.executable}
    run = subprocess.run(command, cwd=EXPLORER, env=environment, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stdout[-8000:] + run.stderr[-2000:]
    assert "# skipped 0" in run.stdout, "the vectors are missing: " + run.stdout[-2000:]
    for kind, least in LEAST.items():
        found = re.search(rf"[:,] {kind} (\d+)", run.stdout)
        assert found, f"no vectors of {kind}"
        assert int(found[1]) >= least, found[0]
