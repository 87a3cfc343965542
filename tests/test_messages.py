"""Bad input: one clear error each, of the TconvError family and of the built-in kind, in the same words on every path."""

import re
from contextlib import suppress

import numpy as np
import pytest

import tconv
from tconv import errors
from tconv.errors import (
    ArgumentError,
    ArrayError,
    DialectError,
    DtypeError,
    GeometryError,
    MethodError,
    OutputError,
    ShapeError,
    TooLargeError,
)

X, W = np.ones((1, 2, 4, 4), "f4"), np.ones((2, 3, 3, 3), "f4")
TF = {"dialect": "tensorflow", "output_shape": [1, 8, 8, 3], "strides": 2}
HUGE = np.broadcast_to(np.float32(0), (1, 64, 2**15, 2**15))

CASES = [
    # ranks
    (ShapeError, (X[0, 0], W[0, 0]), {}, "weight has shape (3, 3), which leaves 0 spatial axes; PyTorch's layout, [C_in, C_out, kh, kw] in 2-D, has at least 1 of them. Write weight[None, None] for a bare kernel, or tconv.definition.scatter(X, K) for bare 2-D arrays"),
    (ShapeError, (X[0, 0], W), {}, "x has shape (4, 4), 2 axes; with a weight of shape (2, 3, 3, 3) the PyTorch dialect needs 4: [N, C, h, w]. Write x[None] to add a batch axis"),
    (ShapeError, (X[..., None], W), {}, "x has shape (1, 2, 4, 4, 1), 5 axes"),
    # channels and groups
    (ShapeError, (np.ones((1, 32, 8, 8)), np.ones((3, 3, 64, 32))), {}, 'weight (3, 3, 64, 32) has 3 input channels as PyTorch reads it; x has 32. It fits TensorFlow\'s layout [kh, kw, C_out, C_in]. Write dialect="tensorflow", data_format="NCHW", or convert the weight: tconv.convert(weight, source="tensorflow", target="torch")'),
    (ShapeError, (np.ones((1, 8, 8, 32)), np.ones((3, 3, 64, 32))), {}, 'x has 8. It fits TensorFlow\'s layout [kh, kw, C_out, C_in]. Write dialect="tensorflow", or convert'),
    (ShapeError, (np.ones((1, 8, 8, 32)), np.ones((32, 64, 3, 3))), {}, "x has 8. Axis 3 of x has 32. Write np.transpose(x, (0, 3, 1, 2)) if that is the channel axis, so that x is [N, C, h, w]"),
    (ShapeError, (np.ones((1, 8, 8, 32)), np.ones((32, 64, 3, 3))), {**TF, "output_shape": [1, 16, 16, 64]}, 'It fits PyTorch\'s layout [C_in, C_out, kh, kw]. Write tconv.convert(weight, source="torch", target="tensorflow")'),
    (ShapeError, (X, np.ones((5, 3, 3, 3), "f4")), {}, "weight (5, 3, 3, 3) has 5 input channels as PyTorch reads it; x has 2. Write an x with 5 channels in [N, C, h, w], or the weight of a layer that takes 2"),
    (ShapeError, (X, W), {"groups": 3}, "weight (2, 3, 3, 3) has 2 input channels, which 3 groups do not divide. Write a groups that divides 2"),
    (ShapeError, (X, W[:, :0]), {}, "weight (2, 0, 3, 3) has no output channels; at least one is needed"),
    (ShapeError, (X, W, np.ones(4, "f4")), {}, "bias has shape (4,); one number per output channel is needed: (3,). Write bias.reshape(3)"),
    (ShapeError, (X, W, np.ones((1, 3, 1, 1), "f4")), {}, "bias has shape (1, 3, 1, 1); one number per output channel is needed: (3,)"),
    # sizes
    (ShapeError, (X[:, :, :0], W), {}, "the input has spatial shape (0, 4); every axis needs at least 1 element"),
    (ShapeError, (X, W), {"padding": 3}, "the output would be (0, 0): spatial axis 0 has 6 elements and the crop (3, 3) takes all of them"),
    (TooLargeError, (HUGE, np.ones((64, 64, 4, 4), "f4")), {"stride": 4}, "Geometry.input_window tells which input a part of the output needs"),
    (TooLargeError, (X, W), {"stride": 2**40}, "this machine has"),
    # arguments
    (GeometryError, (X, W), {"stride": 0}, "stride is 0; it must be at least 1. Write stride=1, for example"),
    (GeometryError, (X, W), {"stride": (1, 2, 3)}, "stride is (1, 2, 3), which has 3 entries; there are 2 spatial axes. Write one integer for all axes, or (1, 1)"),
    (GeometryError, (X, W), {"stride": (1, 0.5)}, "stride is (1, 0.5); every entry must be an integer. Write stride=(1, 2), for example"),
    (GeometryError, (X, W), {"dilation": (0, 2)}, "dilation is (0, 2); every entry must be at least 1. Write dilation=(1, 2), for example"),
    (GeometryError, (X, W), {"crop": [(1, None), 1]}, "crop holds (1, None); one (lo, hi) pair of integers per spatial axis is needed. Write crop=((1, 1), (1, 1)), for example"),
    (GeometryError, (X, W), {"stride": X}, "stride is (array("),
    (GeometryError, (X, W), {"groups": X}, "groups is an array of shape (1, 2, 4, 4); an integer is needed. Write groups=1, for example"),
    (GeometryError, (X, W), {"padding": -1}, "padding is -1; it must be at least 0"),
    (GeometryError, (X, W), {"dilation": 1.0}, "dilation is 1.0; an integer is needed. Write dilation=2, for example"),
    (GeometryError, (X, W), {"output_padding": 1}, "output_padding is 1 on spatial axis 0; PyTorch needs it smaller than the stride (1) or the dilation (1). Write crop=((lo, hi), ...)"),
    (GeometryError, (X, W), {"groups": 0}, "groups is 0; it must be at least 1"),
    (ArgumentError, (X, W), {"padding": "same"}, "padding is 'same'; PyTorch's transposed convolution takes integers. Write padding=1"),
    (ArgumentError, (X, W), {"crop": 1, "padding": 1}, "crop= was given together with padding= or output_padding=; they say the same thing twice"),
    (ArgumentError, (X, W), {"strides": 2}, "strides= is not an argument of the torch dialect, which has stride, padding, output_padding, groups, dilation, crop. Write stride="),
    (ArgumentError, (X, W), {"geometry": tconv.Geometry((3, 3)), "stride": 2}, "geometry= was given together with stride; it says all of that. Write geometry= alone"),
    (ShapeError, (X, W), {"geometry": tconv.Geometry((2, 2))}, "weight has shape (2, 3, 3, 3); geometry.kernel is (2, 2), so [C_in, C_out/groups, *kernel] is needed"),
    (DialectError, (X, W), {"dialect": "pytorch"}, "dialect is 'pytorch'; there are torch, tensorflow"),
    (DialectError, (X, W), {"dialect": "PyTorch"}, "Write dialect='torch'"),
    # TensorFlow's words
    (ArgumentError, (X, W.T), {"dialect": "tensorflow"}, "output_shape is missing; tf.nn needs it, SAME with it too. Write output_shape=[N, 2, 4, C_out]"),
    (ArgumentError, (X, W), {**TF, "padding": "FULL"}, "padding is 'FULL'; TensorFlow knows \"SAME\", \"VALID\" and [[before, after], ...]"),
    (ShapeError, (np.ones((1, 4, 4, 2), "f4"), np.ones((3, 3, 3, 2), "f4")), {**TF, "output_shape": [1, 9, 8, 3]}, "output_shape asks for 9 on spatial axis 0, which a 'SAME' convolution with stride 2 takes to 5; x has 4 there. Write a size that it takes to 4: 7 to 8"),
    (ArgumentError, (X, W), {**TF, "data_format": "NHCW"}, "data_format is 'NHCW'; with 2 spatial axes it is \"NHWC\" or \"NCHW\""),
    (GeometryError, (X, W), {**TF, "strides": (2, 2, 2, 1)}, "strides is (2, 2, 2, 1); batch and channel entries must be 1. Write strides=(2, 2)"),
    # dtypes and arrays
    (DtypeError, (X, W.astype("f8")), {}, "x is float32 and weight is float64; mixed dtypes are refused, one is needed. Write weight.astype(x.dtype), or x.astype(weight.dtype)"),
    (DtypeError, (X, W, np.ones(3)), {}, "x is float32 and bias is float64"),
    (DtypeError, (X > 0, W > 0), {}, "x has dtype bool; float16, bfloat16, float32, float64, complex64, complex128 and integers up to 64 bits (not uint64) are taken. Write x.astype(np.float32)"),
    (DtypeError, (X.astype("u8"), W.astype("u8")), {}, "x has dtype uint64"),
    (DtypeError, (X.astype(object), W.astype(object)), {}, "x has dtype object"),
    (DtypeError, (np.array("a"), W), {}, "x has dtype <U1"),
    (DtypeError, (X.astype("longdouble"), W.astype("longdouble")), {}, "x has dtype float128"),
    (ArrayError, (np.ma.masked_array(X), W), {}, "x is a masked array, and a convolution has no rule for a mask. Write x.filled(0)"),
    (DtypeError, (X.astype("i1"), W.astype("i8")), {}, "x is int8 and weight is int64; mixed dtypes are refused"),
    (ArrayError, ([np.ma.masked_array(X[0], mask=True)], W), {}, "x is a list that holds more than numbers; one array is needed. Write np.stack(x)"),
    (ArgumentError, (X, W), {"geometry": {"kernel": 3}}, "geometry is {'kernel': 3}; a tconv.Geometry is needed"),
    (GeometryError, (X, W), {"stride": {1, 2}}, "stride is {1, 2}; an integer is needed"),
    (ShapeError, (np.ones((1, 64, 8, 8)), np.ones((32, 64, 4, 4))), {}, "x has 64. It fits with its channel axes swapped. Write np.transpose(weight, (1, 0, 2, 3))"),
    (ArrayError, ("photo.png", W), {}, "x is a builtins.str; arrays of NumPy, PyTorch, TensorFlow and JAX are taken. Write numpy.asarray(x)"),
    (ArrayError, (X, None), {}, "weight is a builtins.NoneType; arrays of NumPy"),
    (ArrayError, ([[1, 2], [3]], W), {}, "x is a nested list that makes no array"),
    (DtypeError, (X, W, [1j, 0, 0]), {}, "x is float32 and bias is complex128"),
    (ShapeError, (X, W, [1, 2]), {}, "bias has shape (2,); one number per output channel is needed: (3,)"),
    (ArgumentError, (X, W), {"activation": "relu"}, "activation= is not an argument of the torch dialect, which has stride, padding, output_padding, groups, dilation, crop. Write tconv.prepare(weight, activation=...), and call what it returns with x"),
    (ArgumentError, (X, W), {"output": 9}, "output= was given, which the shapes of the arrays say. Write the call without output="),
    (ArgumentError, (X, W), {"kernel": 3}, "kernel= was given, which the shapes of the arrays say"),
    # methods
    (MethodError, (X, W), {"method": "fft"}, "method is 'fft'; there are simd, winograd, polyphase, taps. Write method=\"auto\""),
    (MethodError, (X, W * np.nan), {"method": "polyphase"}, "method 'polyphase' cannot run this: the weight contains inf or NaN"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "arrays", "words", "message"), CASES, ids=[case[3][:60] for case in CASES])
def test_conv_transpose_and_plan_say_the_same(kind, arrays, words, message):
    with pytest.raises(kind, match=re.escape(message)) as first:
        tconv.conv_transpose(*arrays, **words)
    with pytest.raises(kind) as second:
        tconv.plan(*arrays, **words)
    assert str(first.value) == str(second.value)
    assert "Write" in str(first.value)


SHARED = [
    case
    for case in CASES
    if len(case[1]) == 2
    and case[0] in (GeometryError, DialectError, DtypeError, ArrayError)
    and "output_shape" not in case[2]
]


@pytest.mark.parametrize(("kind", "arrays", "words", "message"), SHARED, ids=[case[3][:60] for case in SHARED])
def test_conv_says_the_same(kind, arrays, words, message):
    with pytest.raises(kind, match=re.escape(message)):
        tconv.conv(*arrays, **words)


def test_conv_is_told_no_other_output_than_x():
    x, w = np.ones((1, 8, 8, 3), "f4"), np.ones((3, 3, 3, 2), "f4")
    assert tconv.conv(x, w, **TF).shape == (1, 4, 4, 2)
    with pytest.raises(ArgumentError, match=r"output_shape is \[1, 7, 7, 3\], and x, .* has spatial shape \(8, 8\)"):
        tconv.conv(x, w, **{**TF, "output_shape": [1, 7, 7, 3]})


JUNK = [
    "abc", "", b"ab", 1.5, 10**30, -1, True, np.True_, None, 1j, {1, 2}, {"a": 1}, ..., object(), int, range(7), slice(2),
    np.float32(2), np.array(1.5), np.array([1.5, 2]), np.ones((2, 2)), np.ones((4, 2)), np.array([]), np.array(["a", "b"]),
    [], [[]], [None, 2], [1, None, 8, 3], ["a", "b"], [1.5, 2], [True] * 4, [[1, 2], [3, 4]], [[1, 2, 3]] * 2, [(None, 1)] * 2,
    [np.ones(2, int)] * 4, [{}, {}], [[[1]]], [10**30] * 2, [1] * 7, lambda: (n for n in (2, 2)), lambda: map(int, "22"),
    lambda: [iter([1, 2])] * 2,
]  # fmt: skip


@pytest.mark.parametrize("name", tconv.dialects.names())
def test_no_value_of_an_argument_ends_in_another_error(name):
    """Every argument of every dialect, given what it cannot take: a TconvError that says what to write."""
    speaker = tconv.dialect(name)
    x_ndim = 3 if speaker.data_patterns == ("C*",) else 4
    words = {"jax": {"strides": (2, 2), "padding": "SAME"}, "openvino": {"strides": 2}}.get(name, {})
    if name in ("tensorflow", "tflite"):
        words = {"output_shape": [1, 8, 8, 3], "strides": 2}
    size = {"N": 1, "C": 2, "I": 2, "O": 3}
    x = np.ones([size.get(axis, 4) for axis in speaker.data_layout(2, x_ndim).axes], "f4")
    w = np.ones([size.get(axis, 3) for axis in speaker.weight_layout(2).axes], "f4")
    tconv.plan(x, w, dialect=name, **words)
    said = []
    for argument in speaker.argument_names():
        for junk in JUNK:
            value = junk() if type(junk) is type(lambda: 0) else junk
            try:
                tconv.plan(x, w, dialect=name, **{**words, argument: value})
            except tconv.TconvError as error:
                said.append(str(error))
                with suppress(tconv.TconvError):
                    tconv.prepare(w, dialect=name, **{**words, argument: value})
            else:
                tconv.prepare(w, dialect=name, **{**words, argument: value})
    assert len(said) > 20 * len(speaker.argument_names())
    assert [words for words in said if "Write" not in words or len(words) > 500] == []


@pytest.mark.parametrize(
    ("name", "argument"),
    [("keras", "strides"), ("keras", "dilation_rate"), ("flax", "kernel_dilation"), ("onnx", "dilations"), ("mlx_general", "input_dilation"), ("tflite", "strides"), ("jax", "rhs_dilation"), ("ncnn", "stride_w")],
)  # fmt: skip
def test_an_argument_is_called_what_the_dialect_calls_it(name, argument):
    words = {"strides": (2, 2), "padding": "SAME"} if name == "jax" else {}
    value = [0, 1] if name == "jax" else 0
    with pytest.raises(GeometryError, match=rf"^{argument} is .* at least 1\. Write {argument}="):
        tconv.dialect(name).geometry(kernel=(3, 3), **{**words, argument: value})


def test_scalars_of_any_kind_are_integers():
    assert tconv.conv_transpose(X, W, stride=np.array(2)).shape == tconv.conv_transpose(X, W, stride=np.int64(2)).shape


def test_conv_names_its_own_side():
    with pytest.raises(ShapeError, match=r"weight \(2, 3, 3, 3\) has 3 output channels as PyTorch reads it; x has 2"):
        tconv.conv(X, W)


def test_conv_refuses_what_does_not_fit_into_memory():
    with pytest.raises(TooLargeError, match=r"of them output \(1, 2097152, 2048, 2048\)\); this machine has"):
        tconv.conv(np.broadcast_to(np.float32(1), (1, 1, 2048, 2048)), np.ones((2**21, 1, 1, 1), "f4"))


OUT = [
    (np.ones((1, 3, 6, 5), "f4"), "out has shape (1, 3, 6, 5) and dtype float32; (1, 3, 6, 6) and float32 are needed. Write out=np.empty((1, 3, 6, 6), np.dtype('float32'))"),
    (np.ones((1, 3, 6, 6)), "and dtype float64; (1, 3, 6, 6) and float32 are needed"),
    (np.ones((1, 3, 6, 6), ">f4"), "dtype >f4"),
    (np.broadcast_to(np.float32(1), (1, 3, 6, 6)), "out is read-only; a writable array is needed"),
    (np.lib.stride_tricks.as_strided(np.ones(9, "f4"), (1, 3, 6, 6), (0, 4, 0, 4)), "several elements of out share one place in memory"),
    ([[1.0]], "out is a builtins.list; a writable array of x's library (numpy) is needed. Write y = conv_transpose(...) without out="),
]  # fmt: skip


@pytest.mark.parametrize(("out", "message"), OUT, ids=[message[:50] for _, message in OUT])
def test_out(out, message):
    with pytest.raises(OutputError, match=re.escape(message)):
        tconv.conv_transpose(X, W, out=out)


@pytest.mark.parametrize("name", ["x", "weight", "bias"])
def test_out_must_not_alias_what_is_read(name):
    memory = np.ones(1000, "f4")
    arrays = {"x": X, "weight": W, "bias": np.ones(3, "f4")}
    arrays[name] = memory[: arrays[name].size].reshape(arrays[name].shape)
    before = memory.copy()
    with pytest.raises(
        OutputError, match=f"out shares memory with {name}, which would be overwritten while it is read"
    ):
        tconv.conv_transpose(*arrays.values(), out=memory[:108].reshape(1, 3, 6, 6))
    np.testing.assert_array_equal(memory, before)


def test_every_error_is_also_a_builtin_kind():
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and kind is not errors.TconvError]
    assert len(kinds) >= 10
    for kind in kinds:
        assert issubclass(kind, errors.TconvError)
        assert issubclass(kind, (ValueError, TypeError, ImportError))


def test_nothing_is_left_half_done_by_a_refusal():
    out = np.full((1, 3, 6, 6), 7.0, "f4")
    with pytest.raises(DtypeError):
        tconv.conv_transpose(X, W.astype("f8"), out=out)
    assert (out == 7).all()


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "c8", "i4"])
def test_a_bias_may_be_a_list(dtype):
    """Of the dtype of floats; of integers it is the int64 that they are summed in."""
    x, w = X.astype(dtype), W.astype(dtype)
    numbers = [1, -2, 3] if dtype == "i4" else [0.5, -2, 3]
    bias = np.array(numbers, "i8" if dtype == "i4" else dtype)
    expected = tconv.conv_transpose(x, w, bias)
    np.testing.assert_array_equal(tconv.conv_transpose(x, w, numbers), expected)
    np.testing.assert_array_equal(tconv.prepare(w, tuple(numbers))(x), expected)
    assert expected.dtype == tconv.conv_transpose(x, w, numbers).dtype
