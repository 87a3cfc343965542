"""Pairs of a cause that is tried and one that is fitted, and causes that exchange parts of an array."""

from __future__ import annotations

import numpy as np
import pytest

import tconv
from constructed_cases import repaired

RNG = np.random.default_rng(20)


def normal(*shape):
    return RNG.standard_normal(shape).astype("f4")


X, W, B = normal(2, 3, 8, 8), normal(3, 6, 4, 4), normal(6)
CALL = {"stride": 2, "padding": 1}
RIGHT = tconv.conv_transpose(X, W, B, **CALL)
FLIPPED = np.flip(W, (2, 3))
CUBE, KERNEL, THREE = normal(1, 2, 4, 4, 4), normal(2, 3, 3, 3, 3), normal(3)


def without_channel(y):
    y = y.copy()
    y[:, 2] = 0
    return y


def other_bias(b):
    b = b.copy()
    b[5] += 1
    return b


def wrapped(x, w, b):
    """Return a stride-1 output of a circular x."""
    return tconv.conv_transpose(np.pad(x, ((0, 0), (0, 0), (2, 2), (2, 2)), mode="wrap"), w, b, crop=3)


def tapwise(x, w, b):
    """Return the output with the bias added once per product."""
    ones, tap = np.ones((1, 1, *x.shape[2:]), "f4"), np.ones((1, 1, *w.shape[2:]), "f4")
    met = tconv.conv_transpose(ones, tap, **CALL)
    return tconv.conv_transpose(x, w, **CALL) + 3 * met * b.reshape(-1, 1, 1)


PAIRS = {
    "bias rolled + kernel flipped": lambda: tconv.conv_transpose(X, FLIPPED, np.roll(B, 1), **CALL),
    "bias wrong in some channels + padding ignored": lambda: tconv.conv_transpose(X, W, other_bias(B), stride=2),
    "kernel flipped + channels spoiled": lambda: without_channel(tconv.conv_transpose(X, FLIPPED, B, **CALL)),
    "bias once per product": lambda: tapwise(X, W, B),
}


@pytest.mark.parametrize("name", PAIRS)
def test_a_tried_cause_and_a_fitted_one(name):
    found = tconv.diagnose(PAIRS[name](), RIGHT, x=X, weight=W, bias=B, **CALL)
    assert " + ".join(found.findings[0].causes) == name, str(found)


@pytest.mark.parametrize(
    ("name", "weight", "bias"),
    [("kernel flipped", np.flip(W[:, :, :3, :3], (2, 3)), B), ("bias missing", W[:, :, :3, :3], None)],
)
def test_a_circular_border_and_another_cause(name, weight, bias):
    w = W[:, :, :3, :3]
    right = tconv.conv_transpose(X, w, B, padding=1)
    found = tconv.diagnose(wrapped(X, weight, bias), right, x=X, weight=w, bias=B, padding=1)
    assert found.findings[0].causes == (name, "circular border"), str(found)


@pytest.mark.parametrize("order", [(0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)])
@pytest.mark.parametrize("array", ["x", "kernel"])
@pytest.mark.parametrize("second", ["kernel flipped", "bias missing"])
def test_every_order_of_axes_and_a_common_cause(order, array, second):
    axes = (0, 1, *(axis + 2 for axis in order))
    x, w = (CUBE.transpose(axes), KERNEL) if array == "x" else (CUBE, KERNEL.transpose(axes))
    w, b = (np.flip(w, (2, 3, 4)), THREE) if second == "kernel flipped" else (w, None)
    right = tconv.conv_transpose(CUBE, KERNEL, THREE, **CALL)
    found = tconv.diagnose(tconv.conv_transpose(x, w, b, **CALL), right, x=CUBE, weight=KERNEL, bias=THREE, **CALL)
    causes = " + ".join(found.findings[0].causes) if found.findings else str(found)
    assert f"{array} axes exchanged" in causes, causes
    assert second.split()[1] in causes, causes  # reversed axes are one cause with their order


def test_one_number_for_all_axes_and_a_common_cause():
    x, w, b = normal(1, 3, 6, 9), normal(3, 2, 4, 3), normal(2)
    right = tconv.conv_transpose(x, w, b, stride=(4, 1))
    for wrong, bias, name in ((np.flip(w, (2, 3)), b, "kernel flipped"), (w, None, "bias missing")):
        got = tconv.conv_transpose(x, wrong, bias, stride=4)
        found = tconv.diagnose(got, right, x=x, weight=w, bias=b, stride=(4, 1))
        assert found.findings[0].causes == (name, "one stride for all axes"), str(found)
    right, got = (tconv.conv_transpose(x, w, b, stride=s, dilation=d) for s, d in (((2, 4), (2, 1)), (2, 2)))
    found = tconv.diagnose(got, right, x=x, weight=w, bias=b, stride=(2, 4), dilation=(2, 1))
    assert found.cause == "one stride and dilation for all axes", str(found)


# -- arguments of the call before the rules of frameworks -------------------------------------------------------------


def test_a_dropped_output_padding_is_no_rule_of_another_framework():
    x, w = normal(1, 3, 5, 6), normal(3, 2, 3, 3)
    calls = {name: {"stride": 2, "padding": 1, "output_padding": op} for name, op in (("first", (1, 0)), ("all", 1))}
    first, everywhere = (tconv.conv_transpose(x, w, **calls[name]) for name in calls)
    found = tconv.diagnose(everywhere, first, x=x, weight=w, **calls["first"])
    assert found.cause == "one output_padding for all axes", str(found)
    none = tconv.conv_transpose(x, w, stride=2, padding=1)
    for got, expected in ((none, everywhere), (everywhere, none)):
        found = tconv.diagnose(got, expected, x=x, weight=w, **calls["all"])
        assert found.cause == "output_padding ignored", str(found)


# -- parts exchanged --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("axes", [(3,), (2,), (2, 3)])
def test_phases_in_another_order(axes):
    got = RIGHT.copy()
    for axis in axes:
        got = np.concatenate([np.take(got, [i ^ 1], axis) for i in range(got.shape[axis])], axis)
    found = tconv.diagnose(got, RIGHT, x=X, weight=W, bias=B, **CALL)
    assert found.cause == "phases in another order", str(found)
    for axis, name in ((2, "h"), (3, "w")):
        assert (f"[1, 0] along {name}" in found.findings[0].text) == (axis in axes), str(found)


def test_phases_rolled_along_one_of_three():
    x, w = normal(2, 3, 9), normal(3, 4, 6)
    arguments = {"stride": 3, "padding": 1, "output_padding": 2}
    y = tconv.conv_transpose(x, w, **arguments)
    got = np.roll(y.reshape(2, 4, -1, 3), 1, -1).reshape(y.shape)
    found = tconv.diagnose(got, y, x=x, weight=w, **arguments)
    assert "[2, 0, 1] along w" in found.findings[0].text, str(found)
    assert found.cause == "phases in another order"


@pytest.mark.parametrize("corner", [8, 3])
def test_two_blocks_exchanged(corner):
    got, k = RIGHT.copy(), corner
    got[..., :k, -k:], got[..., -k:, :k] = RIGHT[..., -k:, :k], RIGHT[..., :k, -k:]
    for call in ({"x": X, "weight": W, "bias": B, **CALL}, {}):
        found = tconv.diagnose(got, RIGHT, **call)
        assert found.cause == "blocks exchanged", str(found)
        assert f"rows along h 0 to {k - 1}, rows along w {16 - k} to 15" in str(found)


def test_axes_of_x_and_its_channels_exchanged():
    for shape, other, names in (
        ((1, 4, 4, 5, 5), (0, 2, 1, 3, 4), "channel and d"),
        ((4, 2, 4, 5, 5), (2, 1, 0, 3, 4), "image and d"),
    ):
        x, w = normal(*shape), normal(shape[1], 3, 3, 3, 3)
        right, got = (tconv.conv_transpose(a, w, **CALL) for a in (x, np.ascontiguousarray(x.transpose(other))))
        found = tconv.diagnose(got, right, x=x, weight=w, **CALL)
        assert found.cause == "x axes exchanged", str(found)
        assert names in str(found)
        y = repaired(
            found.fix,
            (x, w, None),
            (x.transpose(other), w, None),
            lambda x, w, b: tconv.conv_transpose(x, w, b, **CALL),
            got,
            {},
        )
        np.testing.assert_allclose(y, right, atol=1e-5)


# -- what is left out, and what follows from it -----------------------------------------------------------------------


def test_taps_left_out_or_added_twice():
    for place, factor, text in (
        ((..., 3, slice(None)), 0, "the kernel's taps in row 3 along h are left out of the sums"),
        ((..., 1, 2), 0, "tap (1, 2) of the kernel is left out of the sums"),
        ((..., 1, 2), 2, "tap (1, 2) of the kernel is added twice"),
    ):
        w = W.copy()
        w[place] *= factor
        found = tconv.diagnose(tconv.conv_transpose(X, w, B, **CALL), RIGHT, x=X, weight=W, bias=B, **CALL)
        assert text in str(found), str(found)
        assert found.cause == ("taps twice" if factor else "taps missing")


def test_most_of_an_axis_says_nothing_about_memory():
    got = RIGHT + np.sin(np.arange(16, dtype="f4"))
    found = tconv.diagnose(got, RIGHT, x=X, weight=W, bias=B, **CALL)
    assert "memory" not in str(found), str(found)
    assert "output_padding" not in str(found), str(found)


def test_the_end_of_an_axis_is_output_paddings_only_with_one():
    for more, said in ((0, False), (1, True)):
        y = tconv.conv_transpose(X, W, B, **CALL, output_padding=more)
        got = y.copy()
        got[..., -1] = RNG.standard_normal(got.shape[:-1])
        found = tconv.diagnose(got, y, x=X, weight=W, bias=B, **CALL, output_padding=more)
        assert found.cause == "uninitialised rows"
        assert ("which output_padding extends" in str(found)) == said, str(found)


def test_one_input_channel_twice_is_named():
    w = W * np.float32([1, 2, 1]).reshape(3, 1, 1, 1)
    found = tconv.diagnose(tconv.conv_transpose(X, w, B, **CALL), RIGHT, x=X, weight=W, bias=B, **CALL)
    assert "input channel 1 is multiplied by 2, all others by 1" in str(found), str(found)


# -- borders and layouts ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["reflect", "edge", "symmetric"])
def test_one_border_along_latitude_and_another_along_longitude(mode):
    x, w, b = normal(1, 4, 8, 9), normal(4, 3, 5, 5), normal(6)
    call = {"stride": 2, "padding": 2, "output_padding": 1, "groups": 2}
    right = tconv.conv_transpose(x, w, b, **call)
    wide = np.pad(np.pad(x, ((0, 0), (0, 0), (3, 3), (0, 0)), mode=mode), ((0, 0), (0, 0), (0, 0), (3, 3)), mode="wrap")
    got = tconv.conv_transpose(wide, w, b, stride=2, groups=2, crop=((8, 7), (8, 7)))
    found = tconv.diagnose(got, right, x=x, weight=w, bias=b, **call)
    named = {"reflect": "reflect", "edge": "replicate", "symmetric": "symmetric"}[mode]
    assert f"{named} and circular border" in [each.causes[0] for each in found.findings], str(found)


@pytest.mark.parametrize("subject", ["got", "expected"])
def test_the_fix_of_exchanged_axes_moves_channels_too(subject):
    x, w, b = normal(1, 2, 4, 4, 4), normal(2, 3, 2, 3, 4), normal(3)
    plain = tconv.conv_transpose(x, w, b, stride=(2, 1, 2))
    other = np.ascontiguousarray(plain.transpose(0, 4, 2, 3, 1))  # [N, w, d, h, C]
    got, expected = (other, plain) if subject == "got" else (plain, other)
    found = tconv.diagnose(got, expected, x=x, weight=w, bias=b, stride=(2, 1, 2))
    assert found.cause == "y axes exchanged", str(found)
    scope = {"np": np, "tconv": tconv, "x": x, "weight": w, "bias": b, "y": got}
    exec(found.fix, scope)
    wanted = expected if subject == "got" else np.moveaxis(expected, -1, 1)  # a port of the call keeps its own layout
    np.testing.assert_allclose(scope["y"], wanted, atol=1e-5)


def test_a_border_beside_places_that_no_product_reaches():
    """Stride and dilation 2 leave every second row to the bias: the one inner row along axis 1 shows no border."""
    x, w, b = normal(1, 6, 5, 4, 5), normal(6, 4, 5, 5, 3), normal(12)
    call = {"stride": (2, 2, 3), "padding": (0, 2, 2), "output_padding": (0, 0, 1), "dilation": (1, 2, 1), "groups": 3}
    right = tconv.conv_transpose(x, w, b, **call)
    wide = np.pad(x, ((0, 0), (0, 0), *[(3, 3)] * 3), mode="symmetric")
    crop = ((6, 6), (8, 8), (11, 10))
    got = tconv.conv_transpose(wide, w, b, geometry=tconv.Geometry((5, 5, 3), (2, 2, 3), crop, (1, 2, 1), 3))
    found = tconv.diagnose(got, right, x=x, weight=w, bias=b, **call)
    assert "symmetric border" in [each.causes[0] for each in found.findings], str(found)
