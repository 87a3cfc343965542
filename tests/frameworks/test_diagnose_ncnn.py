"""diagnose with ncnn in a process of its own: its fixes for one image and weights of both layouts."""

from __future__ import annotations

import pathlib

import ncnn
import numpy as np
from fix_lines import check_fixes

import tconv


def test_the_fixes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # one fix writes the weight to y.bin
    layout = lambda ndim: {"dynamic_weight": 1}  # noqa: E731
    tally = check_fixes("ncnn", {"ncnn": ncnn, "pathlib": pathlib}, batch=1, layout=layout)
    print(dict(tally))
    assert tally["recomputed"] > 40
    assert tally["fixed"] > 150


def test_several_images_have_no_fix_in_a_layer_that_takes_one():
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 3, 6, 6)), rng.standard_normal((3, 4, 3, 3))
    right, wrong = tconv.conv_transpose(x, w, stride=2, padding=1), tconv.conv_transpose(x, w, stride=2)
    found = tconv.diagnose(wrong, right, x=x, weight=w, target="ncnn", stride=2, padding=1)
    assert found.verdict == "found"
    assert found.fix == ""
