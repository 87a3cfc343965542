"""diagnose with TensorFlow in a process of its own: its fixes run on TensorFlow's tensors."""

from __future__ import annotations

import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import tensorflow as tf
from fix_lines import check_fixes


def test_the_fixes():
    first = lambda ndim: {"data_format": ("NCW", "NCHW", "NCDHW")[ndim - 1]}  # noqa: E731
    tally = check_fixes("tensorflow", {"tf": tf}, wrap=tf.constant, layout=first)
    print(dict(tally))
    assert tally["recomputed"] > 30
    assert tally["fixed"] > 125
