"""One hypothesis profile for all machines: no deadline, because machines are shared, and reproducible on CI."""

import gc
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

import tconv
from child_processes import finished

# Threads of PyTorch and ncnn that wait for each other let other processes run. Without it they spin on the cores that two
# workers share, until the scheduler takes them away: a small convolution takes milliseconds.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

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


@pytest.fixture(scope="session")
def code_folder(tmp_path_factory):
    """Folder of the machine code of this test run, in which all workers compile each function once."""
    base = tmp_path_factory.getbasetemp()
    return (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "machine-code"


@pytest.fixture
def python(code_folder):
    """Run Python text in a process of its own, in which tests/ can be imported, and return what it printed.

    It must end with return code 0 and an empty stderr. Keywords are environment variables; None unsets one.
    """

    def run(text, *arguments, **variables):
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, [str(Path(__file__).parent), os.environ.get("PYTHONPATH")])),
            "TCONV_CACHE_DIR": str(code_folder),
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
