"""Runs each framework's tests in a process of its own: imported together, some of them crash."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FILES = sorted((Path(__file__).parent / "frameworks").glob("test_*.py"))


@pytest.mark.slow
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem.removeprefix("test_"))
def test_framework(file):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "-o", "addopts=-ra", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    print(done.stdout[-2000:])
    assert done.returncode == 0, f"{done.stdout[-6000:]}\n{done.stderr[-3000:]}"
