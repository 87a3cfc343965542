"""diagnose on outputs that are wrong in a part: rows, a phase, channels, single numbers are named as what they are."""

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
    (at(ALL, ALL, slice(-2, None)), OTHER, "uninitialised rows", "rows along h 13, 14 hold other numbers, the end of the axis"),
    (at(ALL, ALL, [2, 3, 9]), OTHER, "uninitialised rows", "rows along h 2, 3, 9 hold other numbers: memory"),
    (at(ALL, ALL, ALL, 4), 0 * OTHER, "rows of zeros", "row along w 4 holds zeros"),
    (at(ALL, ALL, slice(1, None, 2)), OTHER, "phase spoiled", "every 2nd row along h from row 1 holds other numbers: a phase"),
    (at(ALL, ALL, slice(1, None, 2), slice(0, None, 2)), OTHER, "phase spoiled", "every 2nd row along h from row 1, every 2nd row along w from row 0 holds other numbers: a phase"),
    (at(ALL, ALL, slice(0, None, 2)), 0 * OTHER, "phase spoiled", "every 2nd row along h from row 0 holds zeros: a phase"),
    (at(ALL, 1), OTHER, "channels spoiled", "channel 1 holds other numbers"),
    (at(1), OTHER, "images spoiled", "image 1 holds other numbers"),
    (at(1, 2, slice(3, 6)), OTHER, "part spoiled", "the part of image 1, channel 2, rows along h 3 to 5 holds other numbers"),
    (at(1, 2, 3, 4), OTHER, "single numbers", f"1 number is another one, at [1, 2, 3, 4] of {list(Y.shape)}"),
    (at([0, 1, 1], [2, 0, 1], [3, 9, 11], [0, 5, 7]), OTHER, "single numbers", "3 numbers are other ones, at [0, 2, 3, 0], [1, 0, 9, 5], [1, 1, 11, 7]"),
]  # fmt: skip


@pytest.mark.parametrize(("mask", "other", "cause", "words"), PARTS, ids=[words[:40] for *_, words in PARTS])
def test_a_part_is_named_as_what_it_is(mask, other, cause, words):
    got = np.where(mask, other, Y)
    for found in (tconv.diagnose(got, Y, x=X, weight=W, stride=2), tconv.diagnose(got, Y)):
        said = str(found)
        assert found.cause == cause, said
        assert words.split(", the end")[0].split(": memory")[0] in said
        assert "all else is right" in said
        assert not found.fix


def test_numbers_here_and_there_are_no_rows():
    """A few in each of some rows: neither rows nor single numbers, so nothing is named."""
    rng = np.random.default_rng(0)
    mask = rng.random(Y.shape) < 0.1
    mask[:, :, 3:] = False
    for found in (
        tconv.diagnose(np.where(mask, OTHER, Y), Y, x=X, weight=W, stride=2),
        tconv.diagnose(np.where(mask, OTHER, Y), Y),
    ):
        assert found.verdict == "none", str(found)


def test_what_is_hardly_off_is_no_other_number():
    """Noise of which only some stands above what rounding explains."""
    rng = np.random.default_rng(1)
    for _ in range(20):
        got = Y * (1 + 2e-6 * rng.standard_normal(Y.shape)).astype("f4")
        found = tconv.diagnose(got, Y, x=X, weight=W, stride=2)
        assert found.verdict in ("none", "equal"), str(found)


def test_a_phase_that_no_tap_reaches_proves_nothing():
    """Rows that hold the bias alone are right whatever x is: the others are no spoiled phase then."""
    x, w, b = X, W[:, :, :1, :], np.float32([1, 2, 3])
    y = tconv.conv_transpose(x, w, b, stride=2)
    got = tconv.conv_transpose(np.sort(x, -1), w, b, stride=2)
    assert tconv.diagnose(got, y, x=x, weight=w, bias=b, stride=2).verdict == "none"
