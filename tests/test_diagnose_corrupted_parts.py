"""diagnose on outputs of which a part is wrong: rows, a phase, channels and single numbers are named."""

from __future__ import annotations

import numpy as np
import pytest

import tconv

RNG = np.random.default_rng(8)
X, W = RNG.standard_normal((2, 4, 7, 6)).astype("f4"), RNG.standard_normal((4, 3, 3, 3)).astype("f4")
Y = tconv.conv_transpose(X, W, stride=2)
OTHER = RNG.standard_normal(Y.shape).astype("f4")
MASK = np.zeros(Y.shape, bool)


def at(*index):
    mask = MASK.copy()
    mask[index] = True
    return mask


ALL = slice(None)
PARTS = [
    (at(ALL, ALL, slice(-2, None)), OTHER, "uninitialised rows", "rows along h 13, 14 contain other numbers, the end of the axis"),
    (at(ALL, ALL, [2, 3, 9]), OTHER, "uninitialised rows", "rows along h 2, 3, 9 contain other numbers: memory"),
    (at(ALL, ALL, ALL, 4), 0 * OTHER, "rows of zeros", "row along w 4 contains zeros"),
    (at(ALL, ALL, slice(1, None, 2)), OTHER, "phase spoiled", "every 2nd row along h from row 1 contains other numbers: a phase"),
    (at(ALL, ALL, slice(1, None, 2), slice(0, None, 2)), OTHER, "phase spoiled", "every 2nd row along h from row 1, every 2nd row along w from row 0 contains other numbers: a phase"),
    (at(ALL, ALL, slice(0, None, 2)), 0 * OTHER, "phase spoiled", "every 2nd row along h from row 0 contains zeros: a phase"),
    (at(ALL, 1), OTHER, "channels spoiled", "channel 1 contains other numbers"),
    (at(1), OTHER, "images spoiled", "image 1 contains other numbers"),
    (at(1, 2, slice(3, 6)), OTHER, "part spoiled", "the part of image 1, channel 2, rows along h 3 to 5 contains other numbers"),
    (at(1, 2, 3, 4), OTHER, "single numbers", f"1 number is different, at [1, 2, 3, 4] of {list(Y.shape)}"),
    (at([0, 1, 1], [2, 0, 1], [3, 9, 11], [0, 5, 7]), OTHER, "single numbers", "3 numbers are different, at [0, 2, 3, 0], [1, 0, 9, 5], [1, 1, 11, 7]"),
]  # fmt: skip


@pytest.mark.parametrize(("mask", "other", "cause", "text"), PARTS, ids=[text[:40] for *_, text in PARTS])
def test_a_wrong_part_is_named(mask, other, cause, text):
    got = np.where(mask, other, Y)
    for found in (tconv.diagnose(got, Y, x=X, weight=W, stride=2), tconv.diagnose(got, Y)):
        report = str(found)
        assert found.cause == cause, report
        assert text.split(", the end")[0].split(": memory")[0] in report
        assert "all else is right" in report
        assert not found.fix


def test_scattered_numbers_are_no_rows():
    """A few wrong numbers in each of some rows are neither rows nor single numbers, so nothing is named."""
    rng = np.random.default_rng(0)
    mask = rng.random(Y.shape) < 0.1
    mask[:, :, 3:] = False
    for found in (
        tconv.diagnose(np.where(mask, OTHER, Y), Y, x=X, weight=W, stride=2),
        tconv.diagnose(np.where(mask, OTHER, Y), Y),
    ):
        assert found.verdict == "none", str(found)


def test_noise_near_the_tolerance_is_no_wrong_number():
    """Only a few numbers of this noise exceed the tolerance."""
    rng = np.random.default_rng(1)
    for _ in range(20):
        got = Y * (1 + 2e-6 * rng.standard_normal(Y.shape)).astype("f4")
        found = tconv.diagnose(got, Y, x=X, weight=W, stride=2)
        assert found.verdict in ("none", "equal"), str(found)


def test_a_phase_that_no_tap_reaches_proves_nothing():
    """Rows of the bias alone are right for any x, so they do not show that the other rows are a wrong phase."""
    x, w, b = X, W[:, :, :1, :], np.float32([1, 2, 3])
    y = tconv.conv_transpose(x, w, b, stride=2)
    got = tconv.conv_transpose(np.sort(x, -1), w, b, stride=2)
    assert tconv.diagnose(got, y, x=x, weight=w, bias=b, stride=2).verdict == "none"
