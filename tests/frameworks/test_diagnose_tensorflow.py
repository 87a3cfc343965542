"""diagnose with TensorFlow in a process of its own: the lines that it writes, run on TensorFlow's tensors."""

from __future__ import annotations

import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import tensorflow as tf
from fix_lines import check_mending


def test_the_lines_that_mend():
    first = lambda ndim: {"data_format": ("NCW", "NCHW", "NCDHW")[ndim - 1]}  # noqa: E731
    tally = check_mending("tensorflow", {"tf": tf}, wrap=tf.constant, layout=first)
    print(dict(tally))
    assert tally["made anew"] > 60
    assert tally["mended"] > 250
