"""Every combination of element types: computed exactly, or refused with a conversion that loses nothing."""

from __future__ import annotations

import re
from itertools import product

import ml_dtypes
import numpy as np
import pytest

import tconv
from tconv.errors import DtypeError
from tconv.operator.dtype_check import INTEGERS

FLOATS = ("float16", "bfloat16", "float32", "float64", "complex64", "complex128")
OTHERS = ("bool", "uint64", "longdouble", "clongdouble", "object", "int4", "uint4", "float8_e4m3fn", "float8_e5m2")
ALL = (*INTEGERS, *FLOATS, *OTHERS)


def dtype(name):
    return np.dtype(getattr(ml_dtypes, name, None) or name)


def extreme(rng, name, shape):
    """Return numbers of this dtype that narrower ones cannot represent: the largest, the least, fractions."""
    kind = dtype(name)
    if name in ("bool", "object"):
        numbers = rng.integers(0, 2, shape)
        return numbers.astype(bool) if name == "bool" else np.array(numbers.ravel().tolist(), object).reshape(shape)
    if "int" in name:
        limits = ml_dtypes.iinfo(kind)
        array = rng.integers(-3 if limits.min < 0 else 0, 4, shape).astype(kind)
        array.reshape(-1)[:2] = np.array([int(limits.min), int(limits.max)], object).astype(kind)
        return array
    array = (rng.integers(-7, 8, shape) / 4).astype(kind)
    if kind.kind == "c":
        array += (1j * rng.integers(-7, 8, shape) / 4).astype(kind)
    if not name.startswith("float8"):
        array.reshape(-1)[0] = 1 + (2.0**-10 if name == "float16" else 2.0**-7 if name == "bfloat16" else 2.0**-23)
    return array


def exact(array):
    """Return the elements as Python's numbers, which lose nothing."""
    return [
        complex(v) if array.dtype.kind == "c" else int(v) if float(v).is_integer() else float(v) for v in array.ravel()
    ]


def integer_result(x, w):
    """Return the transposed convolution with stride 2 in Python's integers, modulo 2**64 as int64 has them."""
    (c_in, n), (c_out, k) = x.shape[1:], w.shape[1:]
    y = [[0] * (2 * (n - 1) + k) for _ in range(c_out)]
    for c, i, o, t in product(range(c_in), range(n), range(c_out), range(k)):
        y[o][2 * i + t] += int(x[0, c, i]) * int(w[c, o, t])
    return np.array([[((v + 2**63) % 2**64) - 2**63 for v in row] for row in y], np.int64)[None]


def refused(x, weight):
    """Return the message of the refusal; None if there is none."""
    try:
        tconv.conv_transpose(x, weight, stride=2)
    except DtypeError as error:
        return str(error)
    return None


def advice(error):
    """Return the conversions that the message proposes, by name: the code between "Write" and the notes."""
    text = str(error).partition(" Write ")[2].partition(", w")[0]
    return {re.match(r"np\.asarray\((\w+), np\.\w+\)", code)[1]: code for code in text.split(" and ")}


@pytest.mark.parametrize("of_x", ALL)
def test_every_pair_is_exact_or_refused_with_a_conversion_that_is(of_x):
    rng = np.random.default_rng(0)
    for of_weight in ALL:
        x, weight = extreme(rng, of_x, (1, 2, 3)), extreme(rng, of_weight, (2, 2, 3))
        given = {"x": x, "weight": weight}
        if refusal := refused(x, weight):
            assert of_x != of_weight or of_x in OTHERS, refusal
            for name, code in advice(refusal).items():
                given[name] = eval(code, {"np": np, **given})
            if "rounds numbers of more than 53 bits" in refusal:
                assert {of_x, of_weight} & {"int64", "uint64", "longdouble", "clongdouble"}
            else:
                assert exact(given["x"]) == exact(x), refusal
                assert exact(given["weight"]) == exact(weight), refusal
        else:
            assert {of_x, of_weight}.issubset(INTEGERS) or of_x == of_weight
        y = tconv.conv_transpose(given["x"], given["weight"], stride=2)
        if given["x"].dtype.kind in "iu":
            assert y.dtype == np.int64
            np.testing.assert_array_equal(y, integer_result(given["x"], given["weight"]), err_msg=of_weight)


@pytest.mark.parametrize(("of_x", "of_weight"), list(product(INTEGERS, INTEGERS)))
def test_mixed_integers_are_summed_in_int64_everywhere(of_x, of_weight):
    """Also apache/tvm#6899's uint8 with int8: a bias is any integer, too."""
    rng = np.random.default_rng([INTEGERS.index(of_x), INTEGERS.index(of_weight)])
    x, w = extreme(rng, of_x, (2, 4, 5, 3)), extreme(rng, of_weight, (4, 3, 2, 3))
    bias = extreme(rng, str(rng.choice(INTEGERS)), (6,))
    arguments = {"stride": 2, "padding": 1, "groups": 2}
    wide_x, wide_w, wide_bias = (each.astype(np.int64) for each in (x, w, bias))
    expected = tconv.conv_transpose(wide_x, wide_w, wide_bias, **arguments)
    methods = [
        name
        for name in tconv.kernels.names()
        if not tconv.kernels.kernel(name).reasons_against(tconv.plan(x, w, bias, **arguments).problem)
    ]
    for method in ("auto", *methods):
        got = tconv.conv_transpose(x, w, bias, method=method, **arguments)
        assert got.dtype == np.int64
        np.testing.assert_array_equal(got, expected, err_msg=method)
    np.testing.assert_array_equal(tconv.prepare(w, bias, **arguments)(x), expected)
    out = np.empty_like(expected)
    assert tconv.conv_transpose(x, w, bias, out=out, **arguments) is out
    np.testing.assert_array_equal(out, expected)
    y = extreme(rng, of_x, expected.shape)
    np.testing.assert_array_equal(tconv.conv(y, w, **arguments), tconv.conv(y.astype(np.int64), wide_w, **arguments))
    for form in (tconv.definition.scatter, tconv.definition.gather, tconv.definition.zero_insertion):
        np.testing.assert_array_equal(form(x, w, bias, **arguments), expected)
    plan = tconv.plan(x, w, bias, **arguments)
    assert plan.input_bytes == x.nbytes + w.nbytes + 6 * x.itemsize
    if of_x != of_weight:
        assert f"{of_x} with {of_weight} weights, summed in int64" in str(plan)
    found = tconv.diagnose(expected, expected, x=x, weight=w, bias=bias, **arguments)
    assert found.verdict == "equal"


def test_unsigned_numbers_beyond_int64_are_not_turned_negative():
    x, w = np.array([[[1, 2**63]]], np.uint64), np.ones((1, 1, 1), np.int8)
    with pytest.raises(
        DtypeError, match=r"Write np.asarray\(x, np.float64\) and np.asarray\(weight, np.float64\), which r"
    ):
        tconv.conv_transpose(x, w)
    with pytest.raises(DtypeError, match=r"Write np.asarray\(x, np.int64\), whose values end at 2\*\*63 - 1"):
        tconv.conv_transpose(x // 2, w)


@pytest.mark.parametrize(
    "array", [np.array([[["a", "b"]]]), np.array([[["2020-01-01"]]], "M8[D]"), np.zeros((1, 1, 2), "V4")]
)
def test_elements_that_are_no_numbers(array):
    with pytest.raises(DtypeError, match=r"Write arrays of numbers, of dtype np.float32, for example"):
        tconv.conv_transpose(array, np.ones((1, 1, 1), "f"))


def test_a_list_has_the_same_advice():
    x, weight = [[[1.5, 2.5]]], np.ones((1, 1, 2), "f")
    with pytest.raises(DtypeError, match=r"x is float64 and weight is float32; mixed") as refusal:
        tconv.conv_transpose(x, weight)
    (code,) = advice(refusal.value).values()
    weight = eval(code, {"np": np, "x": x, "weight": weight})
    assert tconv.conv_transpose(x, weight).tolist() == [[[1.5, 4.0, 2.5]]]
