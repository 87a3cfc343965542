"""diagnose with Keras 3 on JAX, and in another process, with KERAS_BACKEND=tensorflow, on TensorFlow: its fixes run."""

from __future__ import annotations

import os

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
from fix_lines import check_fixes


def test_the_fixes():
    first = lambda ndim: {"data_format": "channels_first"}  # noqa: E731
    tally = check_fixes("keras", {"keras": keras}, wrap=keras.ops.convert_to_tensor, layout=first)
    print(dict(tally))
    assert tally["recomputed"] > 25
    assert tally["fixed"] > 100
