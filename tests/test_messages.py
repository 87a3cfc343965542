"""Error messages of bad input: one clear text each, the same from every function, of a TconvError and a built-in kind."""

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
ADVICE = re.compile(r"\b(Write|Use)\b")  # the last part of every message: what to do instead
HUGE = np.broadcast_to(np.float32(0), (1, 64, 2**15, 2**15))

CASES = [
    # ranks
    (ShapeError, (X[0, 0], W[0, 0]), {}, "weight has shape (3, 3), which leaves 0 spatial axes; PyTorch's layout, [C_in, C_out, kh, kw] in 2-D, needs at least 1. Write weight[None, None] for a bare kernel, or tconv.definition.scatter(X, K) for bare 2-D arrays"),
    (ShapeError, (X[0, 0], W), {}, "x has shape (4, 4), with 2 axes; with a weight of shape (2, 3, 3, 3) the PyTorch dialect needs 4: [N, C, h, w]. Use a weight with as many spatial axes as x"),
    (ShapeError, (X[..., None], W), {}, "x has shape (1, 2, 4, 4, 1), with 5 axes"),
    # channels and groups
    (ShapeError, (np.ones((1, 32, 8, 8)), np.ones((3, 3, 64, 32))), {}, 'weight (3, 3, 64, 32) has 3 input channels as PyTorch reads it; x has 32. It fits TensorFlow\'s layout [kh, kw, C_out, C_in]. Write dialect="tensorflow", data_format="NCHW", or convert the weight: tconv.convert(weight, source="tensorflow", target="torch")'),
    (ShapeError, (np.ones((1, 8, 8, 32)), np.ones((3, 3, 64, 32))), {}, 'x has 8. It fits TensorFlow\'s layout [kh, kw, C_out, C_in]. Write dialect="tensorflow", or convert'),
    (ShapeError, (np.ones((1, 8, 8, 32)), np.ones((32, 64, 3, 3))), {}, "x has 8. Axis 3 of x has 32 elements. Write np.transpose(x, (0, 3, 1, 2)) if that is the channel axis; x is then [N, C, h, w]"),
    (ShapeError, (np.ones((1, 8, 8, 32)), np.ones((32, 64, 3, 3))), {**TF, "output_shape": [1, 16, 16, 64]}, 'It fits PyTorch\'s layout [C_in, C_out, kh, kw]. Write tconv.convert(weight, source="torch", target="tensorflow")'),
    (ShapeError, (X, np.ones((5, 3, 3, 3), "f4")), {}, "weight (5, 3, 3, 3) has 5 input channels as PyTorch reads it; x has 2. Use an x with 5 channels, laid out as [N, C, h, w], or the weight of a layer that takes 2 channels"),
    (ShapeError, (X, W), {"groups": 3}, "weight (2, 3, 3, 3) has 2 input channels, which 3 groups do not divide. Use a number of groups that divides 2, for example groups=1"),
    (ShapeError, (X, W[:, :0]), {}, "weight (2, 0, 3, 3) has no output channels; at least one is needed"),
    (ShapeError, (X, W, np.ones(4, "f4")), {}, "bias has shape (4,); one number per output channel is needed: (3,). Use a bias of 3 numbers"),
    (ShapeError, (X, W, np.ones((1, 3, 1, 1), "f4")), {}, "bias has shape (1, 3, 1, 1); one number per output channel is needed: (3,)"),
    # sizes
    (ShapeError, (X[:, :, :0], W), {}, "the input has spatial shape (0, 4); every axis needs at least 1 element. Use an array without empty spatial axes"),
    (ShapeError, (X, W), {"padding": 3}, "the output would be (0, 0): spatial axis 0 has 6 elements and the crop (3, 3) removes all of them; at least one must remain. Use a smaller crop (padding)"),
    (TooLargeError, (HUGE, np.ones((64, 64, 4, 4), "f4")), {"stride": 4}, "Use several smaller calls: Geometry.input_window returns the input that a part of the output needs"),
    (TooLargeError, (X, W), {"stride": 2**40}, "this machine has"),
    # arguments
    (GeometryError, (X, W), {"stride": 0}, "stride is 0; it must be at least 1. Write stride=1, for example"),
    (GeometryError, (X, W), {"stride": (1, 2, 3)}, "stride is (1, 2, 3), which has 3 entries; there are 2 spatial axes. Write one integer for all axes, or (1, 1)"),
    (GeometryError, (X, W), {"stride": (1, 0.5)}, "stride is (1, 0.5); every entry must be an integer. Write stride=(1, 2), for example"),
    (GeometryError, (X, W), {"dilation": (0, 2)}, "dilation is (0, 2); every entry must be at least 1. Write dilation=(1, 2), for example"),
    (GeometryError, (X, W), {"crop": [(1, None), 1]}, "crop contains (1, None); one (lo, hi) pair of integers per spatial axis is needed. Write crop=((1, 1), (1, 1)), for example"),
    (GeometryError, (X, W), {"stride": X}, "stride is (array("),
    (GeometryError, (X, W), {"groups": X}, "groups is an array of shape (1, 2, 4, 4); an integer is needed. Write groups=1, for example"),
    (GeometryError, (X, W), {"padding": -1}, "padding is -1; it must be at least 0"),
    (GeometryError, (X, W), {"dilation": 1.0}, "dilation is 1.0; an integer is needed. Write dilation=2, for example"),
    (GeometryError, (X, W), {"output_padding": 1}, "output_padding is 1 on spatial axis 0; PyTorch needs it smaller than the stride (1) or the dilation (1). Write crop=((lo, hi), ...)"),
    (GeometryError, (X, W), {"groups": 0}, "groups is 0; it must be at least 1"),
    (ArgumentError, (X, W), {"padding": "same"}, "padding is 'same'; PyTorch's transposed convolution takes integers only. Write padding=1"),
    (ArgumentError, (X, W), {"crop": 1, "padding": 1}, "crop= was given together with padding= or output_padding=; both describe the crop. Write crop=((lo, hi), ...) alone"),
    (ArgumentError, (X, W), {"strides": 2}, "strides= is not an argument of the torch dialect, which has stride, padding, output_padding, groups, dilation, crop. Write stride="),
    (ArgumentError, (X, W), {"geometry": tconv.Geometry((3, 3)), "stride": 2}, "geometry= was given together with stride; it includes all of that. Write geometry= alone"),
    (ShapeError, (X, W), {"geometry": tconv.Geometry((2, 2))}, "weight has shape (2, 3, 3, 3); geometry.kernel is (2, 2), so [C_in, C_out/groups, *kernel] is needed"),
    (DialectError, (X, W), {"dialect": "pytorch"}, "dialect is 'pytorch'; there are torch, tensorflow"),
    (DialectError, (X, W), {"dialect": "PyTorch"}, "Write dialect='torch'"),
    # TensorFlow's arguments
    (ArgumentError, (X, W.T), {"dialect": "tensorflow"}, "output_shape is missing; tf.nn needs it, with SAME too. Write output_shape=[N, 2, 4, C_out]"),
    (ArgumentError, (X, W), {**TF, "padding": "FULL"}, "padding is 'FULL'; TensorFlow takes \"SAME\", \"VALID\" or [[before, after], ...], with a pair per array axis. Use one of them"),
    (ShapeError, (np.ones((1, 4, 4, 2), "f4"), np.ones((3, 3, 3, 2), "f4")), {**TF, "output_shape": [1, 9, 8, 3]}, "output_shape has 9 on spatial axis 0, which a 'SAME' convolution with stride 2 reduces to 5; x has 4 there. Use a size that it reduces to 4: 7 to 8"),
    (ArgumentError, (X, W), {**TF, "data_format": "NHCW"}, "data_format is 'NHCW'; with 2 spatial axes it must be \"NHWC\" or \"NCHW\". Use one of them"),
    (GeometryError, (X, W), {**TF, "strides": (2, 2, 2, 1)}, "strides is (2, 2, 2, 1); batch and channel entries must be 1. Write strides=(2, 2)"),
    # dtypes and arrays
    (DtypeError, (X, W.astype("f8")), {}, "x is float32 and weight is float64; mixed dtypes are refused, except integers, and one is needed. Write np.asarray(x, np.float64)"),
    (DtypeError, (X, W, np.ones(3)), {}, "x is float32 and bias is float64"),
    (DtypeError, (X, W, np.arange(3)), {}, "x is float32 and bias is int64; mixed dtypes are refused, except integers, and one is needed. Write np.asarray(bias, np.float32)"),
    (DtypeError, (X, W, np.arange(3) + 2**24), {}, "Write np.asarray(x, np.float64) and np.asarray(weight, np.float64) and np.asarray(bias, np.float64)"),
    (DtypeError, (X > 0, W > 0), {}, "x has dtype bool; float16, bfloat16, float32, float64, complex64, complex128 and integers up to 64 bits (not uint64) are supported. Write np.asarray(x, np.uint8) and np.asarray(weight, np.uint8)"),
    (DtypeError, (X.astype("u8"), W.astype("u8")), {}, "x has dtype uint64"),
    (DtypeError, (X.astype(object), W.astype(object)), {}, "x has dtype object"),
    (DtypeError, (np.array("a"), W), {}, "x has dtype <U1"),
    (DtypeError, (X.astype("longdouble"), W.astype("longdouble")), {}, "x has dtype float128"),
    (ArrayError, (np.ma.masked_array(X), W), {}, "x is a masked array, and a convolution has no rule for masks. Write x.filled(0)"),
    (DtypeError, (X.astype("i4"), W), {}, "x is int32 and weight is float32; mixed dtypes are refused, except integers, and one is needed. Write np.asarray(x, np.float64) and np.asarray(weight, np.float64)"),
    (ArrayError, ([np.ma.masked_array(X[0], mask=True)], W), {}, "x is a list that contains more than numbers; one array is needed. Write np.stack(x)"),
    (ArgumentError, (X, W), {"geometry": {"kernel": 3}}, "geometry is {'kernel': 3}; a tconv.Geometry is needed"),
    (GeometryError, (X, W), {"stride": {1, 2}}, "stride is {1, 2}; an integer is needed"),
    (ShapeError, (np.ones((1, 64, 8, 8)), np.ones((32, 64, 4, 4))), {}, "x has 64. It fits with its channel axes swapped. Write np.transpose(weight, (1, 0, 2, 3))"),
    (ArrayError, ("photo.png", W), {}, "x is a builtins.str; arrays of NumPy, PyTorch, TensorFlow and JAX are taken. Write an array of numbers, such as numpy.ones((2, 3, 4, 4), numpy.float32)"),
    (ArrayError, (X, None), {}, "weight is a builtins.NoneType; arrays of NumPy"),
    (ArrayError, ([[1, 2], [3]], W), {}, "x is a nested list of unequal rows (setting an array element with a sequence."),
    (DtypeError, (X, W, [1j, 0, 0]), {}, "x is float32 and bias is complex128"),
    (ShapeError, (X, W, [1, 2]), {}, "bias has shape (2,); one number per output channel is needed: (3,)"),
    (ArgumentError, (X, W), {"padding_mode": "reflect"}, "padding_mode is 'reflect', and beyond x there are always zeros. Write x = np.pad(x, [(0, 0), (0, 0), (2, 2), (2, 2)], 'reflect'), the call without padding_mode=, and y = y[:, :, 2:-2, 2:-2]"),
    (ArgumentError, (X, W), {"kernel_size": 3}, "which has stride, padding, output_padding, groups, dilation, crop. The sizes are those of the arrays. Write the call without kernel_size="),
    (ArgumentError, (X, W), {"dilation_rate": 2}, "which has stride, padding, output_padding, groups, dilation, crop. Write dilation="),
    (ArgumentError, (X, W), {"use_bias": 2}, "which has stride, padding, output_padding, groups, dilation, crop. Write the call without use_bias="),
    (ArrayError, (X, [W, np.ones(3, "f4")]), {}, "weight is a list that contains more than numbers; one array is needed. Use one of its entries, or an array of numbers"),
    (ArgumentError, (X, W), {"activation": "relu"}, "activation= is not an argument of the torch dialect, which has stride, padding, output_padding, groups, dilation, crop. Write tconv.prepare(weight, activation=...), and call the result with x"),
    (ArgumentError, (X, W), {"output": 9}, "output= was given; the sizes are those of the arrays. Write the call without output="),
    (ArgumentError, (X, W), {"kernel": 3}, "kernel= was given; the sizes are those of the arrays. Write the call without kernel="),
    # methods
    (MethodError, (X, W), {"method": "fft"}, "method is 'fft'; the methods are simd, winograd, polyphase, taps. Write method=\"auto\""),
    (MethodError, (X, W * np.nan), {"method": "polyphase"}, "method 'polyphase' cannot run this: the weight contains inf or NaN"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "arrays", "arguments", "message"), CASES, ids=[case[3][:60] for case in CASES])
def test_conv_transpose_and_plan_have_the_same_message(kind, arrays, arguments, message):
    with pytest.raises(kind, match=re.escape(message)) as first:
        tconv.conv_transpose(*arrays, **arguments)
    with pytest.raises(kind) as second:
        tconv.plan(*arrays, **arguments)
    assert str(first.value) == str(second.value)
    assert ADVICE.search(str(first.value))


SHARED = [
    case
    for case in CASES
    if len(case[1]) == 2
    and case[0] in (GeometryError, DialectError, DtypeError, ArrayError)
    and "output_shape" not in case[2]
]


@pytest.mark.parametrize(("kind", "arrays", "arguments", "message"), SHARED, ids=[case[3][:60] for case in SHARED])
def test_conv_has_the_same_message(kind, arrays, arguments, message):
    with pytest.raises(kind, match=re.escape(message)):
        tconv.conv(*arrays, **arguments)


def test_conv_refuses_an_output_shape_other_than_that_of_x():
    x, w = np.ones((1, 8, 8, 3), "f4"), np.ones((3, 3, 3, 2), "f4")
    assert tconv.conv(x, w, **TF).shape == (1, 4, 4, 2)
    with pytest.raises(
        ArgumentError,
        match=r"output_shape is \[1, 7, 7, 3\], but x, which is an output of conv_transpose, has "
        r"spatial shape \(8, 8\); they must agree\. Write conv\(\.\.\.\) without output_shape=$",
    ):
        tconv.conv(x, w, **{**TF, "output_shape": [1, 7, 7, 3]})


JUNK = [
    "abc", "", b"ab", 1.5, 10**30, -1, True, np.True_, None, 1j, {1, 2}, {"a": 1}, ..., object(), int, range(7), slice(2),
    np.float32(2), np.array(1.5), np.array([1.5, 2]), np.ones((2, 2)), np.ones((4, 2)), np.array([]), np.array(["a", "b"]),
    [], [[]], [None, 2], [1, None, 8, 3], ["a", "b"], [1.5, 2], [True] * 4, [[1, 2], [3, 4]], [[1, 2, 3]] * 2, [(None, 1)] * 2,
    [np.ones(2, int)] * 4, [{}, {}], [[[1]]], [10**30] * 2, [1] * 7, lambda: (n for n in (2, 2)), lambda: map(int, "22"),
    lambda: [iter([1, 2])] * 2,
]  # fmt: skip


def small_call(name):
    """Return x, weight and the arguments that a 2-D call of this dialect needs."""
    dialect = tconv.dialect(name)
    x_ndim = 3 if dialect.data_patterns == ("C*",) else 4
    arguments = {"jax": {"strides": (2, 2), "padding": "SAME"}, "openvino": {"strides": 2}}.get(name, {})
    if name in ("tensorflow", "tflite"):
        arguments = {"output_shape": [1, 8, 8, 3], "strides": 2}
    size = {"N": 1, "C": 2, "I": 2, "O": 3}
    x = np.ones([size.get(axis, 4) for axis in dialect.data_layout(2, x_ndim).axes], "f4")
    w = np.ones([size.get(axis, 3) for axis in dialect.weight_layout(2).axes], "f4")
    return x, w, arguments


@pytest.mark.parametrize("name", tconv.dialects.names())
def test_every_invalid_value_of_an_argument_raises_a_tconv_error(name):
    """Every argument of every dialect, with values of every type: a TconvError that proposes what to write, or a plan."""
    dialect, (x, w, arguments) = tconv.dialect(name), small_call(name)
    tconv.plan(x, w, dialect=name, **arguments)
    texts = []
    for argument in dialect.argument_names():
        for junk in JUNK:
            value = junk() if type(junk) is type(lambda: 0) else junk
            try:
                tconv.plan(x, w, dialect=name, **{**arguments, argument: value})
            except tconv.TconvError as error:
                texts.append(str(error))
                with suppress(tconv.TconvError):
                    tconv.prepare(w, dialect=name, **{**arguments, argument: value})
            else:
                tconv.prepare(w, dialect=name, **{**arguments, argument: value})
    assert len(texts) > 20 * len(dialect.argument_names())
    assert [text for text in texts if not ADVICE.search(text) or len(text) > 500] == []


@pytest.mark.parametrize(
    ("name", "argument"),
    [("keras", "strides"), ("keras", "dilation_rate"), ("flax", "kernel_dilation"), ("onnx", "dilations"), ("mlx_general", "input_dilation"), ("tflite", "strides"), ("jax", "rhs_dilation"), ("ncnn", "stride_w")],
)  # fmt: skip
def test_an_argument_has_its_name_in_the_dialect(name, argument):
    arguments = {"strides": (2, 2), "padding": "SAME"} if name == "jax" else {}
    value = [0, 1] if name == "jax" else 0
    with pytest.raises(GeometryError, match=rf"^{argument} is .* at least 1\. Write {argument}="):
        tconv.dialect(name).geometry(kernel=(3, 3), **{**arguments, argument: value})


def test_scalars_of_any_kind_are_integers():
    assert tconv.conv_transpose(X, W, stride=np.array(2)).shape == tconv.conv_transpose(X, W, stride=np.int64(2)).shape


def test_conv_names_its_own_side():
    with pytest.raises(ShapeError, match=r"weight \(2, 3, 3, 3\) has 3 output channels as PyTorch reads it; x has 2"):
        tconv.conv(X, W)


def test_conv_refuses_a_result_larger_than_memory():
    with pytest.raises(TooLargeError, match=r"of them output \(1, 2097152, 2048, 2048\)\); this machine has"):
        tconv.conv(np.broadcast_to(np.float32(1), (1, 1, 2048, 2048)), np.ones((2**21, 1, 1, 1), "f4"))


OUT = [
    (np.ones((1, 3, 6, 5), "f4"), "out has shape (1, 3, 6, 5) and dtype float32; (1, 3, 6, 6) and float32 are needed. Write out=np.empty((1, 3, 6, 6), np.dtype('float32'))"),
    (np.ones((1, 3, 6, 6)), "and dtype float64; (1, 3, 6, 6) and float32 are needed"),
    (np.ones((1, 3, 6, 6), ">f4"), "dtype >f4"),
    (np.broadcast_to(np.float32(1), (1, 3, 6, 6)), "out is read-only; a writable array is needed"),
    (np.lib.stride_tricks.as_strided(np.ones(9, "f4"), (1, 3, 6, 6), (0, 4, 0, 4)), "several elements of out share the same memory"),
    ([[1.0]], "out is a builtins.list; a writable array of x's library (numpy) is needed. Write y = conv_transpose(...) without out="),
]  # fmt: skip


@pytest.mark.parametrize(("out", "message"), OUT, ids=[message[:50] for _, message in OUT])
def test_out(out, message):
    with pytest.raises(OutputError, match=re.escape(message)):
        tconv.conv_transpose(X, W, out=out)


@pytest.mark.parametrize("name", ["x", "weight", "bias"])
def test_out_must_not_alias_an_input(name):
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
        assert issubclass(kind, (ValueError, TypeError, ImportError, AssertionError, RuntimeError))


def test_a_refused_call_leaves_out_unchanged():
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
