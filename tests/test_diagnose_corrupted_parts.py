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
PHASE = ", every 2nd row along w from row 0) contains other numbers"
PARTS = [
    (at(ALL, ALL, slice(-2, None)), OTHER, "uninitialised rows", "rows along h 13, 14 contain other numbers, the end of the axis"),
    (at(ALL, ALL, [2, 3, 9]), OTHER, "uninitialised rows", "rows along h 2, 3, 9 contain other numbers: memory"),
    (at(ALL, ALL, ALL, 4), 0 * OTHER, "rows of zeros", "row along w 4 contains zeros"),
    (at(ALL, ALL, slice(1, None, 2)), OTHER, "phase spoiled", "(every 2nd row along h from row 1) contain"),
    (at(ALL, ALL, slice(1, None, 2), slice(0, None, 2)), OTHER, "phase spoiled", f"phase (1, 0) (every 2nd row along h from row 1{PHASE}"),
    (at(ALL, ALL, slice(0, None, 2)), 0 * OTHER, "phase spoiled", "(every 2nd row along h from row 0) contain"),
    (at(ALL, 1), OTHER, "channels spoiled", "channel 1 contains other numbers"),
    (at(1), OTHER, "images spoiled", "image 1 contains other numbers"),
    (at(1, 2, slice(3, 6)), OTHER, "part spoiled", "rows along h 3 to 5 of channel 2 of image 1 contain other numbers"),
    (at(1, 2, 3, 4), OTHER, "single numbers", f"1 number is different, at [1, 2, 3, 4] of {list(Y.shape)}"),
    (at([0, 1, 1], [2, 0, 1], [3, 9, 11], [0, 5, 7]), OTHER, "single numbers", "3 numbers are different, at [0, 2, 3, 0], [1, 0, 9, 5], [1, 1, 11, 7]"),
    (at([0, 1], [2, 0]), OTHER, "part spoiled", "channel 2 of image 0, channel 0 of image 1 contains other numbers"),
    (at(ALL, ALL, slice(3, 6), slice(8, None)), OTHER, "part spoiled", "rows along h 3 to 5, rows along w 8 to 12 contain other numbers"),
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


WIDE = RNG.standard_normal((4, 19, 3, 3)).astype("f4")
BIAS = RNG.standard_normal(19).astype("f4")
CHANNELS = [
    (slice(16, None), "channels 16 to 18 (every channel from channel 16 on; 19 leaves 3 over when divided by 4)"),
    (slice(8, 16), "channels 8 to 15 (a block of 8)"),
    (slice(0, 8), "channels 0 to 7 (the first 8)"),
    (slice(12, None), "channels 12 to 18 (every channel from channel 12 on)"),
    (slice(1, None, 4), "channels 1, 5, 9, 13, 17 (every 4th channel)"),
    ([4, 5, 6, 7, 12, 13, 14, 15], "(those whose number modulo 8 is 4 to 7)"),
    ([2, 9], "channels 2, 9 contain"),
    (slice(1, None), "every channel but channel 0"),
    (slice(2, None), "channels 2 to 18"),
]
CONTENTS = {
    "zeros": lambda y: 0 * y,
    "NaN": lambda y: np.full_like(y, np.nan),
    "inf": lambda y: np.full_like(y, np.inf),
    "the bias alone": lambda y: np.broadcast_to(BIAS.reshape(-1, 1, 1), y.shape),
    "2.5 everywhere": lambda y: np.full_like(y, 2.5),
    "other numbers": lambda y: RNG.standard_normal(y.shape).astype("f4"),
}


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize(("channels", "text"), CHANNELS, ids=[text for _, text in CHANNELS])
def test_wrong_channels_and_what_they_have_in_common(channels, text, content):
    right = tconv.conv_transpose(X, WIDE, BIAS, stride=2)
    got = right.copy()
    got[:, channels] = CONTENTS[content](right)[:, channels]
    for found in (tconv.diagnose(got, right, x=X, weight=WIDE, bias=BIAS, stride=2), tconv.diagnose(got, right)):
        report = str(found)
        assert found.cause == "channels spoiled", report
        assert text in report
        assert content in report or (content == "the bias alone" and "one number per channel" in report), report
        rest = {"every channel but channel 0": "only channel 0 is right", "channels 2 to 18": "only channels 0, 1"}
        assert rest.get(text, "all else is right") in report


def test_copies_and_multiples():
    right = tconv.conv_transpose(X, WIDE, BIAS, stride=2)
    cases = {
        "channels 8 to 15 (a block of 8) contain copies of channels 0 to 7, in this order": (at8 := slice(8, 16), np.roll(right, 8, 1)),
        "channels 8 to 15 (a block of 8) contain a copy of channel 3": (at8, np.broadcast_to(right[:, 3:4], right.shape)),
    }  # fmt: skip
    for text, (channels, other) in cases.items():
        got = right.copy()
        got[:, channels] = other[:, channels]
        for found in (tconv.diagnose(got, right, x=X, weight=WIDE, bias=BIAS, stride=2), tconv.diagnose(got, right)):
            assert text in str(found)
    rows = np.arange(right.shape[2]).reshape(-1, 1)
    for text, other in (
        ("rows along h 3 to 5 contain the right numbers negated", -right),
        ("rows along h 3 to 5 contain the right numbers times 0.25", right / 4),
        ("rows along h 3 to 5 contain the right numbers plus 1.5", right + np.float32(1.5)),
    ):
        got = np.where((rows > 2) & (rows < 6), other, right)
        for found in (tconv.diagnose(got, right, x=X, weight=WIDE, bias=BIAS, stride=2), tconv.diagnose(got, right)):
            assert text in str(found)
    found = tconv.diagnose(right[[0, 0]], right, x=X, weight=WIDE, bias=BIAS, stride=2)
    assert "image 1 contains a copy of image 0; all else is right" in str(found)


PHASES = {
    (2, 2): (((1, 0),), ((0, 1), (1, 0)), ((0, 1), (1, 0), (1, 1)), ((0, 0), (0, 1), (1, 1))),
    (3, 2): (((2, 1),), ((0, 1), (2, 0)), ((0, 0), (0, 1), (1, 0), (1, 1), (2, 0))),
    (3,): (((1,),), ((0,), (2,))),
    (2, 1, 2): (((1, 0, 0),), ((0, 0, 1), (1, 0, 0)), ((0, 0, 1), (1, 0, 0), (1, 0, 1))),
}


@pytest.mark.parametrize("content", ["zeros", "other numbers", "a copy of phase"])
@pytest.mark.parametrize(("stride", "phases"), [(s, phases) for s, sets in PHASES.items() for phases in sets], ids=str)
def test_wrong_phases(stride, phases, content):
    n = {1: (20,), 2: (7, 8), 3: (5, 4, 5)}[len(stride)]
    x, w = RNG.standard_normal((2, 3, *n)).astype("f4"), RNG.standard_normal((3, 5, *[4] * len(n))).astype("f4")
    b = RNG.standard_normal(5).astype("f4")
    right = tconv.conv_transpose(x, w, b, stride=stride)
    first = next(each for each in np.ndindex(*stride) if each not in phases)
    places = lambda phase: (..., *(slice(r, None, s) for r, s in zip(phase, stride, strict=True)))  # noqa: E731
    got = right.copy()
    for phase in phases:
        here = got[places(phase)]
        if content == "zeros":
            here[...] = 0
        elif content == "other numbers":
            here[...] = RNG.standard_normal(here.shape)
        else:
            source = right[places(first)]
            common = (..., *(slice(0, min(a, b)) for a, b in zip(here.shape[2:], source.shape[2:], strict=True)))
            here[common] = source[common]
            if here.shape != here[common].shape:
                return  # a copy that is too short is no copy
    words = [str(phase[0] if len(phase) == 1 else phase) for phase in phases]
    left = set(np.ndindex(*stride)) - set(phases)
    found = tconv.diagnose(got, right, x=x, weight=w, bias=b, stride=stride)
    report = str(found)
    assert found.cause == "phase spoiled", report
    assert (all(word in report for word in words) and "all else is right" in report) or (
        len(left) == 1 and "only phase" in report and ("every phase but" in report or len(phases) == 2)
    ), report
    assert content in report, report
    alone = tconv.diagnose(got, right)
    assert alone.cause == "phase spoiled", str(alone)


def test_the_end_of_two_axes():
    """output_padding's rows on both axes as zeros, or as the bias alone, are an L."""
    x, w, b = X, W, np.float32([1, 2, 3])
    right = tconv.conv_transpose(x, w, b, stride=2, padding=1, output_padding=1)
    inner = np.zeros(right.shape, bool)
    inner[:, :, :-1, :-1] = True
    for other, cause in (
        (0 * right, "rows of zeros"),
        (np.broadcast_to(b.reshape(-1, 1, 1), right.shape), "rows of the bias alone"),
    ):
        got = np.where(inner, right, other)
        found = tconv.diagnose(got, right, x=x, weight=w, bias=b, stride=2, padding=1, output_padding=1)
        assert found.cause == cause, str(found)
        assert "1 row at the end of h and 1 row at the end of w contain" in str(found), str(found)
        assert "those of output_padding" in str(found), str(found)


@pytest.mark.parametrize("kind", ["bfloat16", "float16", "1 %"])
def test_wrong_channels_beside_numbers_of_low_precision(kind):
    """All that is right differs a little, too: the cause is likely."""
    right = tconv.conv_transpose(X, WIDE, BIAS, stride=2)
    noise = RNG.uniform(-1, 1, right.shape).astype("f4") * np.float32(
        {"bfloat16": 0.004, "float16": 5e-4, "1 %": 0.01}[kind]
    )
    for channels, other, text in (
        (slice(1, None), 0 * right, "only channel 0 is right"),
        ([3, 4], right[:, ::-1], "channels 3, 4 contain"),
    ):
        got = right * (1 + noise)
        got[:, channels] = other[:, channels]
        for found in (tconv.diagnose(got, right, x=X, weight=WIDE, bias=BIAS, stride=2), tconv.diagnose(got, right)):
            assert (found.cause, found.verdict) == ("channels spoiled", "likely"), str(found)
            assert text in str(found)
            assert "to within" in str(found)


@pytest.mark.parametrize("missing", [[0], [3, 4], [0, 1, 2, 4]])
def test_input_channels_left_out(missing):
    x, w = RNG.standard_normal((2, 5, 7, 6)).astype("f4"), RNG.standard_normal((5, 6, 3, 3)).astype("f4")
    broken = w.copy()
    broken[missing] = 0
    right, wrong = (tconv.conv_transpose(x, each, stride=2) for each in (w, broken))
    found = tconv.diagnose(wrong, right, x=x, weight=w, stride=2)
    assert found.cause == "input channels missing", str(found)
    assert "left out of the sums" in str(found)


def test_an_empty_channel_of_a_depthwise_layer():
    x, w = RNG.standard_normal((2, 5, 7, 6)).astype("f4"), RNG.standard_normal((5, 1, 3, 3)).astype("f4")
    right = tconv.conv_transpose(x, w, stride=2, groups=5)
    got = right.copy()
    got[:, 2] = 0
    found = tconv.diagnose(got, right, x=x, weight=w, stride=2, groups=5)
    assert found.cause == "channels spoiled", str(found)
    assert "channel 2 contains zeros" in str(found)


@pytest.mark.slow
def test_wrong_rows_of_a_large_output():
    """Only a part of it is looked at, and the rows are numbered from its start."""
    x, w = RNG.standard_normal((1, 2, 800, 800)).astype("f4"), RNG.standard_normal((2, 8, 2, 2)).astype("f4")
    right = tconv.conv_transpose(x, w, stride=2)
    for row in (1590, 3):
        got = right.copy()
        got[:, :, row] = 0
        found = tconv.diagnose(got, right, x=x, weight=w, stride=2)
        assert f"row along h {row} contains zeros" in str(found), str(found)
