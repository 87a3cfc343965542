"""Fixtures of all tests, and one hypothesis profile for all machines: no deadline, and reproducible on CI."""

import gc
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

import tconv
from child_processes import finished

# Threads of PyTorch and ncnn that wait for each other let other processes run. Without it they spin on the cores that two
# workers share, until the scheduler takes them away: a small convolution takes milliseconds.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# Hundreds of child processes import tconv, and each would compile its sources again: half a second.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# Machine code of all tests and of their children, in which each function is compiled once and the user's cache stays as
# it is. The code depends on the sources, so a later run finds what is still right.
CODE_FOLDER = Path(tempfile.gettempdir()) / "tconv-test-code"
os.environ.setdefault("TCONV_CACHE_DIR", str(CODE_FOLDER))

settings.register_profile("here", deadline=None, max_examples=100)
settings.register_profile("ci", deadline=None, max_examples=200, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")


def pytest_collection_finish():
    """Leave all modules and tests out of garbage collections, which would go through them again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def whole():
    """Arrays of whole numbers, in which every method is exact."""
    rng = np.random.default_rng(0)
    return lambda *shape: rng.integers(-5, 6, shape).astype(np.float32)


@pytest.fixture
def run(capsys):
    """Run `tconv upsample` in this process: (exit code, stdout, stderr)."""
    cli = pytest.importorskip("tconv.cli")

    def call(*arguments):
        code = cli.main(["upsample", *map(str, arguments)])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call


@pytest.fixture
def python():
    """Run Python text in a process of its own, in which tests/ can be imported, and return what it printed.

    It must end with return code 0 and an empty stderr. Keywords are environment variables; None unsets one.
    """

    def run(text, *arguments, **variables):
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, [str(Path(__file__).parent), os.environ.get("PYTHONPATH")])),
            **{name: str(value) for name, value in variables.items() if value is not None},
        }
        for name, value in variables.items():
            if value is None:
                environment.pop(name, None)
        command = [sys.executable, "-X", "faulthandler", "-c", text, *map(str, arguments)]
        code, output, errors = finished(command, environment)
        assert (code, errors) == (0, ""), f"{code}\n{output}\n{errors}"
        return output

    return run


@pytest.fixture
def threads():
    """Set the number of threads; it is restored afterwards."""
    before = tconv.get_num_threads()
    yield tconv.set_num_threads
    tconv.set_num_threads(before)
