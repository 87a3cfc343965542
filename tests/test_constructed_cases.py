"""Constructed cases of the kinds that users met: the answer is the one that somebody who knows the cause accepts."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

import constructed_calls  # noqa: F401  its cases are added to CASES
import constructed_pictures  # noqa: F401
from constructed_cases import CASES


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
