"""diagnose with Keras 3 in a process of its own, on JAX and on TensorFlow: its fixes run on its tensors."""

from __future__ import annotations

import os
import subprocess
import sys

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import pytest
from fix_lines import check_fixes

BACKEND = keras.backend.backend()


def test_the_fixes():
    first = lambda ndim: {"data_format": "channels_first"}  # noqa: E731
    tally = check_fixes("keras", {"keras": keras}, wrap=keras.ops.convert_to_tensor, layout=first)
    print(dict(tally))
    assert tally["recomputed"] > 50
    assert tally["fixed"] > 200


@pytest.mark.skipif(BACKEND != "jax", reason="this process runs on TensorFlow already")
def test_once_more_on_tensorflow():
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "-o", "addopts=", __file__]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "KERAS_BACKEND": "tensorflow"})
    assert done.returncode == 0, done.stdout[-6000:]
    assert "1 passed, 1 skipped" in done.stdout
