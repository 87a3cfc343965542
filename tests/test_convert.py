"""Conversion of weights: against plain permutations, round trips through every dialect, whole state dicts."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tconv
from tconv.errors import ArgumentError, DialectError, GeometryError, ShapeError

NAMES = tconv.dialects.names()


def test_by_hand():
    w = np.arange(3 * 4 * 2 * 5).reshape(3, 4, 2, 5)  # TensorFlow: [kh, kw, C_out, C_in]
    np.testing.assert_array_equal(tconv.convert(w, source="tensorflow", target="torch"), w.transpose(3, 2, 0, 1))
    np.testing.assert_array_equal(tconv.convert(w, source="torch", target="tensorflow"), w.transpose(2, 3, 1, 0))


@pytest.mark.parametrize("source", NAMES)
@pytest.mark.parametrize("target", NAMES)
@given(ndim=st.integers(1, 3), groups=st.integers(1, 3), c_in=st.integers(1, 2), c_out=st.integers(1, 3))
def test_there_and_back(source, target, ndim, groups, c_in, c_out):
    canonical = np.random.default_rng(0).random((groups * c_in, c_out, *range(2, 2 + ndim)))
    native = tconv.dialect(source).to_native(canonical, groups)
    there = tconv.convert(native, source=source, target=target, groups=groups)
    assert there.flags.c_contiguous
    assert not np.shares_memory(there, native)
    np.testing.assert_array_equal(tconv.dialect(target).to_canonical(there, groups), canonical)
    np.testing.assert_array_equal(tconv.convert(there, source=target, target=source, groups=groups), native)


def test_a_state_dict():
    w, dw = np.random.default_rng(0).random((3, 3, 4, 6)), np.random.default_rng(1).random((5, 5, 1, 8))
    state = {"conv.kernel": w, "up1.kernel": w, "up1.bias": w[0, 0, :, 0], "dw.kernel": dw}
    converted = tconv.convert(
        state, source="tensorflow", target="torch", layers={"up*.kernel": {}, "dw.kernel": {"groups": 8}}
    )
    assert list(converted) == list(state)
    assert converted["conv.kernel"] is w
    assert converted["up1.bias"] is state["up1.bias"]
    assert converted["up1.kernel"].shape == (6, 4, 3, 3)
    assert converted["dw.kernel"].shape == (8, 1, 5, 5)
    back = tconv.convert(converted, source="torch", target="tensorflow", layers=["up?.kernel", "dw.kernel"])
    np.testing.assert_array_equal(back["up1.kernel"], w)


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda w: tconv.convert(w, source="caffe", target="torch"), DialectError, "source is 'caffe'; there are torch"),
        (lambda w: tconv.convert(w, source="torch", target="tf"), DialectError, "Write target='tensorflow'"),
        (lambda w: tconv.convert(w[0, 0], source="tensorflow", target="torch"), ShapeError, "layout needs at least one spatial axis: [kh, kw, C_out, C_in] in 2-D"),
        (lambda w: tconv.convert(w, source="tensorflow", target="torch", groups=4), ShapeError, "weight (3, 3, 4, 6) has 6 input channels in total, which groups=4 does not divide. Write groups= with the number of groups of the layer"),
        (lambda w: tconv.convert(w, source="tensorflow", target="torch", stride=2), ArgumentError, "stride= changes no weight layout of tensorflow or torch"),
        (lambda w: tconv.convert(w, source="tensorflow", target="torch", layers=["*"]), ArgumentError, "layers= was given with one weight"),
        (lambda w: tconv.convert({"a": w}, source="tensorflow", target="torch"), ArgumentError, "patterns must name its transposed convolutions"),
        (lambda w: tconv.convert({"a": w}, source="tensorflow", target="torch", layers=["b*"]), ArgumentError, "the pattern 'b*' matches none of the 1 names. Write one that does: a"),
        (lambda w: tconv.convert({"a": w}, source="tensorflow", target="torch", layers={"a": True}), ArgumentError, "layers['a'] is True; the layer's own groups and arguments are needed, by name. Write layers={'a': {}}, or layers={'a': {'groups': 2}}"),
        (lambda w: tconv.convert({"a": w}, source="tensorflow", target="torch", layers={"a": {1: 2}}), ArgumentError, "layers['a'] is {1: 2}; the layer's own"),
        (lambda w: tconv.convert({"a": w}, source="tensorflow", target="torch", layers={"a": {"groups": "2"}}), GeometryError, "groups is '2'; an integer is needed. Write groups=1, for example"),
        (lambda w: tconv.convert({"a": w}, source="tensorflow", target="torch", layers=[["a"]]), ArgumentError, "layers contains ['a']; patterns are strings. Write layers=[\"decoder.*.weight\"], for example"),
        (lambda w: tconv.convert({"a": w}, source="tensorflow", target="torch", layers=True), ArgumentError, "a state dict of 1 entries was given with layers=True; patterns must name its transposed convolutions"),
        (lambda w: tconv.convert({"a": w}, source="tensorflow", target="torch", layers=np.array(1)), ArgumentError, "was given with layers=array(1); patterns"),
        (lambda w: tconv.convert({5: w}, source="tensorflow", target="torch", layers=["*"]), ArgumentError, "the pattern '*' matches none of the 1 names"),
        (lambda w: tconv.convert(w, source="jax", target="torch", transpose_kernel="yes"), ArgumentError, "transpose_kernel is 'yes'; True or False is needed. Write transpose_kernel=True"),
    ],
)  # fmt: skip
def test_refusals(call, kind, message):
    with pytest.raises(kind, match=re.escape(message)):
        call(np.ones((3, 3, 4, 6)))
