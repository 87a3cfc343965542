"""Constructed cases of the kinds that users met: the answer is the one that somebody who knows the cause accepts."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

import constructed_calls  # noqa: F401  its cases are added to CASES
import constructed_pictures  # noqa: F401
import tconv
from constructed_cases import CASES, scatter


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, marks=[pytest.mark.slow] * case.slow, id=f"{case.kind}: {case.name}") for case in CASES],
)
def test_constructed_cases(case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    case.run(np.random.default_rng(zlib.crc32(case.name.encode())), tmp_path)


def test_there_are_enough_cases_of_every_kind():
    names = [(case.kind, case.name) for case in CASES]
    assert len(set(names)) == len(names) >= 80
    assert sum(case.kind == "nothing to blame" for case in CASES) >= 15


def test_the_sums_that_the_cases_compare_with():
    rng = np.random.default_rng(0)
    for groups, stride, crop, dilation in ((1, (2, 3), ((1, 0), (-1, 2)), 1), (2, 1, ((0, -2), (1, 1)), (2, 1))):
        x, w, b = rng.integers(-5, 6, (2, 4, 6, 5)), rng.integers(-5, 6, (4, 3, 3, 2)), rng.integers(-5, 6, 3 * groups)
        spec = {"stride": stride, "crop": crop, "dilation": dilation, "groups": groups}
        np.testing.assert_array_equal(scatter(x, w, b, **spec), tconv.conv_transpose(x, w, b, **spec))
