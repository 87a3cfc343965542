"""Inventories of TensorFlow Lite files: every layer, run by the definition of tconv, equals what LiteRT computes."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from tflite_files import SAME, VALID, File, run

import tconv
from tconv.errors import FileError, TconvError
from tconv.models.inventory import inventory_of
from tconv.models.inventory.sized_arguments import sized_arguments


def random(*shape, seed=0):
    return np.random.default_rng(seed).normal(0, 1, shape).astype(np.float32)


def whole(*shape, seed=0, dtype="f4"):
    return np.random.default_rng(seed).integers(-7, 8, shape).astype(dtype)


@pytest.fixture
def written(tmp_path):
    def write(content):
        path = tmp_path / "model.tflite"
        path.write_bytes(content)
        return inventory_of(path)

    return write


def computed(layer, x, **arguments):
    """Return the layer's output for x in the file's layout, channels last."""
    first = layer.dialect == "torch"
    x = np.moveaxis(x, -1, 1) if first else x
    bias = None if layer.bias is None else layer.bias.read()
    weight = layer.weight.read()
    assert weight.shape == layer.weight.shape
    y = tconv.conv_transpose(x, weight, bias, dialect=layer.dialect, **{**layer.arguments, **arguments})
    return np.moveaxis(y, 1, -1) if first else y


def sizes(n, k, s, same):
    """Return the legal output sizes that lie at both ends."""
    last = s * n if same else s * n + k - 1
    return [size for size in (last - s + 1, last) if size > 0]


def two_dimensional(n, k, s, padding, large, activation=0, bias=True, weight=None, signature=None):
    file = File()
    shape = (1, *n, 3)
    x = file.input(shape, name="x", signature=signature)
    kernel = file.constant(whole(5, *k, 3, seed=1)) if weight is None else weight(file)
    inputs = [file.constant(np.array([1, *large, 5], np.int32)), kernel, x]
    inputs += [file.constant(whole(5, seed=2))] if bias else []
    y = file.tensor((1, *large, 5), name="decoder/up;decoder/bias")
    file.add(
        "TRANSPOSE_CONV", inputs, y, padding=padding, strideH=s[0], strideW=s[1], fusedActivationFunction=activation
    )
    return file.content(y)


@pytest.mark.parametrize("padding", [SAME, VALID])
@pytest.mark.parametrize(
    ("n", "k", "s"), [((5, 4), (3, 2), (2, 3)), ((4, 7), (4, 5), (2, 2)), ((3, 3), (2, 2), (3, 1))]
)
def test_transpose_conv(written, padding, n, k, s):
    for pick in (0, -1):
        large = [sizes(*axis, padding == SAME)[pick] for axis in zip(n, k, s, strict=True)]
        content = two_dimensional(n, k, s, padding, large)
        (layer,) = written(content).layers
        x = whole(1, *n, 3, seed=4)
        np.testing.assert_array_equal(computed(layer, x), run(content, x)[0])
        assert (layer.name, layer.op, layer.place) == ("decoder/up", "TRANSPOSE_CONV", "operator 0 of 1")
        assert layer.output_shape == (1, *large, 5)


@pytest.mark.parametrize("padding", [SAME, VALID])
def test_conv_3d_transpose(written, padding):
    n, k, s = (2, 4, 3), (3, 2, 3), (2, 2, 1)
    large = [sizes(*axis, padding == SAME)[-1] for axis in zip(n, k, s, strict=True)]
    file = File()
    x = file.input((1, *n, 3))
    inputs = [file.constant(np.array([1, *large, 4], np.int32)), file.constant(whole(*k, 4, 3, seed=1)), x]
    y = file.tensor((1, *large, 4))
    words = {f"stride{axis}": each for axis, each in zip("DHW", s, strict=True)}
    file.add("CONV_3D_TRANSPOSE", [*inputs, file.constant(whole(4))], y, padding=padding, **words)
    content = file.content(y)
    (layer,) = written(content).layers
    x = whole(1, *n, 3, seed=4)
    np.testing.assert_array_equal(computed(layer, x), run(content, x)[0])


def test_a_fused_activation(written):
    content = two_dimensional((4, 4), (3, 3), (2, 2), SAME, (8, 8), activation=3)
    (layer,) = written(content).layers
    x = random(1, 4, 4, 3)
    np.testing.assert_allclose(np.clip(computed(layer, x), 0, 6), run(content, x)[0], atol=1e-4)
    assert layer.activation == "RELU6"


@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
def test_weights_of_half_precision(written, kind):
    w = whole(5, 3, 3, 3, seed=1)
    stored = w.astype(np.float16) if kind == "float16" else (w.view(np.uint32) >> 16).astype(np.uint16)

    def weight(file):
        constant = file.constant(stored, dtype=kind)
        return file.add("DEQUANTIZE", [constant], file.tensor(w.shape))

    content = two_dimensional((4, 4), (3, 3), (2, 2), SAME, (8, 8), weight=weight)
    inventory = written(content)
    (layer,) = inventory.layers
    np.testing.assert_array_equal(layer.weight.read(), w)
    assert (layer.weight.dtype, layer.weight.stored_dtype, layer.weight.origin) == ("float32", kind, "DEQUANTIZE")
    assert inventory.operations == {"DEQUANTIZE": 1, "TRANSPOSE_CONV": 1}


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize(("kind", "bias_kind"), [("int8", "int32"), ("int16", "int64")])
def test_integers_with_scales(written, kind, bias_kind, per_channel):
    scale = np.float32([0.5, 0.25, 0.125, 1, 0.0625]) if per_channel else np.float32([0.5])
    w = whole(5, 3, 3, 3, seed=1, dtype="int8")
    file = File()
    zero = 3 if kind == "int8" else 0
    x = file.input((1, 4, 4, 3), kind, scale=0.5, zero=zero)
    kernel = file.constant(w, scale=scale)
    bias = file.constant(whole(5, seed=2, dtype=bias_kind), scale=scale * 0.5)
    y = file.tensor((1, 8, 8, 5), kind, scale=1.0)
    sizes = file.constant(np.array([1, 8, 8, 5], np.int32))
    file.add("TRANSPOSE_CONV", [sizes, kernel, x, bias], y, padding=SAME, strideH=2, strideW=2)
    content = file.content(y)
    (layer,) = written(content).layers
    stored = whole(1, 4, 4, 3, seed=5, dtype=kind)
    expected = run(content, stored)[0]
    top = np.iinfo(kind)
    made = np.clip(computed(layer, (stored.astype("f4") - zero) * np.float32(0.5)), top.min, top.max)
    assert np.abs(made - expected).max() <= 0.5 + 1e-6
    assert layer.dtype == kind
    assert layer.weight.quantization.dtype == "int8"
    assert layer.weight.quantization.axis == (0 if per_channel else None)
    np.testing.assert_array_equal(layer.weight.quantization.scales, scale)


def test_int4_weights(written):
    w = np.random.default_rng(0).integers(-8, 8, (5, 3, 3, 3)).astype(np.int8)
    nibbles = np.append(w.reshape(-1), 0).astype(np.uint8) & 15
    bytes_ = nibbles[::2] | nibbles[1::2] << 4

    def weight(file):
        return file.constant(bytes_, dtype="int4", shape=w.shape, scale=0.5)

    (layer,) = written(two_dimensional((4, 4), (3, 3), (2, 2), SAME, (8, 8), weight=weight)).layers
    np.testing.assert_array_equal(layer.weight.read(), w * np.float32(0.5))


def test_an_output_shape_that_follows_the_input(written):
    file = File()
    x = file.input((1, 1, 1, 3), signature=(-1, -1, 4, 3), name="x")
    shape = file.add("SHAPE", [x], file.tensor((4,), "int32"), outType=2)
    one = file.constant(np.int32([1]))

    def entry(at):
        limits = [file.constant(np.int32([at])), file.constant(np.int32([at + 1])), one]
        return file.add("STRIDED_SLICE", [shape, *limits], file.tensor((), "int32"), shrinkAxisMask=1)

    doubled = file.add("MUL", [entry(1), file.constant(np.int32(2))], file.tensor((), "int32"))
    more = file.add("ADD", [doubled, file.constant(np.int32(1))], file.tensor((), "int32"))
    entries = [entry(0), more, file.constant(np.int32(8)), file.constant(np.int32(5))]
    sizes = file.add("PACK", entries, file.tensor((4,), "int32"), valuesCount=4)
    y = file.tensor((1, 1, 1, 5), signature=(-1, -1, -1, 5))
    w = file.constant(whole(5, 3, 2, 3, seed=1))
    file.add("TRANSPOSE_CONV", [sizes, w, x], y, padding=VALID, strideH=2, strideW=2)
    content = file.content(y)
    (layer,) = written(content).layers
    assert layer.input_shape == ("batch", "height", 4, 3)
    assert layer.output_shape == ("batch", "2*height + 1", 8, 5)
    assert "output_shape" not in layer.arguments
    assert layer.crop_origin == "padding VALID and output_shape (batch, 2*height + 1, 8, 5), computed in the graph"
    x = whole(2, 5, 4, 3)
    expected = run(content, x)[0]
    assert sized_arguments(layer, x.shape) == {**layer.arguments, "output_shape": [11, 8]}
    np.testing.assert_array_equal(computed(layer, x, output_shape=(11, 8)), expected)


@pytest.mark.parametrize("padding", [SAME, VALID])
def test_an_output_shape_that_is_not_followed(written, padding):
    file = File()
    x = file.input((1, 4, 4, 3), signature=(1, -1, -1, 3), name="x")
    sizes = file.input((4,), "int32", name="sizes")
    y = file.tensor((1, 8, 8, 5), signature=(1, -1, -1, 5))
    w = file.constant(whole(5, 3, 2, 3, seed=1))
    file.add("TRANSPOSE_CONV", [sizes, w, x], y, padding=padding, strideH=2, strideW=2)
    (layer,) = written(file.content(y)).layers
    assert "in a way that is not followed; the usual size is assumed" in layer.limitations[0]
    assert sized_arguments(layer, (1, 4, 5, 3))["output_shape"] == ([8, 10] if padding == SAME else [9, 10])


@pytest.mark.parametrize("padding", [SAME, VALID])
@pytest.mark.parametrize(
    ("n", "k", "s"), [((5, 4), (2, 2), (2, 2)), ((4, 7), (4, 3), (2, 3)), ((1, 2), (5, 2), (3, 2))]
)
def test_the_custom_operator_of_mediapipe(written, padding, n, k, s):
    file = File()
    x = file.input((1, *n, 3))
    large = []
    for size, taps, stride in zip(n, k, s, strict=True):  # transpose_conv_bias.cc
        cut = max(0, taps - (size - 1) % stride - 1) if padding == SAME else 0
        large.append(stride * (size - 1) + taps - cut)
    w, bias = whole(5, *k, 3, seed=1), whole(5, seed=2)
    y = file.tensor((1, *large, 5))
    options = struct.pack("<5i", padding + 1, s[1], s[0], 0, 0)
    file.add("Convolution2DTransposeBias", [x, file.constant(w), file.constant(bias)], y, custom=options)
    (layer,) = written(file.content(y)).layers
    assert layer.arguments == {"strides": list(s), "padding": ("SAME", "VALID")[padding], "output_shape": large}
    x = whole(1, *n, 3, seed=4)
    expected = np.broadcast_to(bias, (1, *large, 5)).copy()
    for row, column, i, j in np.ndindex(*n, *k):
        cuts = [s * (n - 1) + k - L for n, k, s, L in zip(n, k, s, large, strict=True)]
        at = row * s[0] - cuts[0] // 2 + i, column * s[1] - cuts[1] // 2 + j
        if 0 <= at[0] < large[0] and 0 <= at[1] < large[1]:
            expected[0, at[0], at[1]] += x[0, row, column] @ w[:, i, j].T
    np.testing.assert_array_equal(computed(layer, x), expected)


@pytest.mark.parametrize(
    ("n", "k", "s"), [((4, 4), (2, 2), (2, 2)), ((4, 6), (4, 3), (2, 2)), ((3, 6), (3, 3), (1, 3))]
)
def test_the_custom_operator_of_mediapipe_on_litert(written, n, k, s):
    """XNNPACK runs it, where LiteRT itself has no code for it."""
    file = File()
    x = file.input((1, *n, 3))
    large = [stride * size for size, stride in zip(n, s, strict=True)]
    y = file.tensor((1, *large, 5))
    options = struct.pack("<5i", 1, s[1], s[0], 0, 0)
    weights = [file.constant(whole(5, *k, 3, seed=1)), file.constant(whole(5, seed=2))]
    file.add("Convolution2DTransposeBias", [x, *weights], y, custom=options)
    content = file.content(y)
    (layer,) = written(content).layers
    x = whole(1, *n, 3, seed=4)
    np.testing.assert_array_equal(computed(layer, x), run(content, x)[0])


@pytest.mark.parametrize("large", [9, 10])
def test_the_custom_operator_of_mediapipe_for_odd_sizes(written, large):
    """XNNPACK takes the size that the file states, MediaPipe's own code gives 9."""
    file = File()
    x, y = file.input((1, 5, 5, 3)), file.tensor((1, large, large, 4))
    weights = [file.constant(whole(4, 2, 2, 3, seed=1)), file.constant(whole(4, seed=2))]
    file.add("Convolution2DTransposeBias", [x, *weights], y, custom=struct.pack("<3i", 1, 2, 2))
    content = file.content(y)
    (layer,) = written(content).layers
    x = whole(1, 5, 5, 3, seed=4)
    np.testing.assert_array_equal(computed(layer, x), run(content, x)[0])
    text = "The file states an output of 10x10, which LiteRT computes; MediaPipe's own code gives 9x9"
    assert layer.limitations == (() if large == 9 else (text,))


@pytest.mark.parametrize("padding", [SAME, VALID])
@pytest.mark.parametrize(("k", "dilation"), [(3, 1), (2, 1), (3, 2), (1, 1)])
def test_depth_to_space(written, padding, k, dilation):
    file = File()
    x = file.input((1, 7, 6, 3))
    reach = dilation * (k - 1) if padding == VALID else 0
    middle = file.tensor((1, 7 - reach, 6 - reach, 8))
    bias = file.constant(np.tile(whole(2, seed=2), 4))
    words = {"padding": padding, "strideH": 1, "strideW": 1, "dilationHFactor": dilation, "dilationWFactor": dilation}
    file.add("CONV_2D", [x, file.constant(whole(8, k, k, 3, seed=1)), bias], middle, **words)
    y = file.tensor((1, 2 * (7 - reach), 2 * (6 - reach), 2))
    file.add("DEPTH_TO_SPACE", [middle], y, blockSize=2)
    last = file.tensor(file.graph.tensors[y].shape)
    file.add("RELU", [y], last)
    content = file.content(y, last)
    (layer,) = written(content).layers
    assert (layer.form, layer.op) == ("convolution and depth to space", "CONV_2D + DEPTH_TO_SPACE")
    x = whole(1, 7, 6, 3, seed=4)
    np.testing.assert_array_equal(computed(layer, x), run(content, x)[0])
    assert layer.output_shape == (1, 2, *file.graph.tensors[y].shape[1:3])
    assert [each.op for each in layer.after] == ["RELU"]


def test_depth_to_space_with_a_bias_per_phase(written):
    file = File()
    x = file.input((1, 7, 6, 3))
    middle, y = file.tensor((1, 7, 6, 8)), file.tensor((1, 14, 12, 2))
    weights = [file.constant(whole(8, 3, 3, 3)), file.constant(np.arange(8, dtype=np.float32))]
    file.add("CONV_2D", [x, *weights], middle, padding=SAME, strideH=1, strideW=1)
    file.add("DEPTH_TO_SPACE", [middle], y, blockSize=2)
    (layer,) = written(file.content(y)).layers
    assert layer.bias is None
    assert "one for each phase" in layer.limitations[0]


@pytest.mark.parametrize("op", ["CONV_2D", "DEPTHWISE_CONV_2D"])
@pytest.mark.parametrize("padded", [True, False])
def test_zeros_between_the_elements(written, op, padded):
    file = File()
    x = file.input((1, 4, 5, 6))
    given = [file.constant(np.int32([1, 2, 3, 1])), file.constant(np.float32(0))]
    h, w = 7, 13
    last = file.add("DILATE", [x, *given], file.tensor((1, h, w, 6)))
    if padded:
        h, w = h + 3, w + 1
        pads = file.constant(np.int32([[0, 0], [1, 2], [1, 0], [0, 0]]))
        last = file.add("PAD", [last, pads], file.tensor((1, h, w, 6)))
    out = 6 if op.startswith("DEPTH") else 4
    shape = (1, 3, 2, 6) if op.startswith("DEPTH") else (4, 3, 2, 6)
    y = file.tensor((1, h - 2, w - 1, out))
    words = {"padding": VALID, "strideH": 1, "strideW": 1}
    words |= {"depthMultiplier": 1} if op.startswith("DEPTH") else {}
    file.add(op, [last, file.constant(whole(*shape, seed=1)), file.constant(whole(out))], y, **words)
    content = file.content(y)
    (layer,) = written(content).layers
    assert layer.form == "zero insertion and convolution"
    assert layer.arguments["groups"] == (6 if op.startswith("DEPTH") else 1)
    x = whole(1, 4, 5, 6, seed=4)
    np.testing.assert_array_equal(computed(layer, x), run(content, x)[0])


def test_neighbours(written):
    file = File()
    x = file.input((1, 4, 4, 3), name="x")
    pads = file.constant(np.int32([[0, 0], [1, 1], [1, 1], [0, 0]]))
    padded = file.add("PAD", [x, pads], file.tensor((1, 6, 6, 3), name="pad"))
    y = file.tensor((1, 12, 12, 5))
    inputs = [file.constant(np.int32([1, 12, 12, 5])), file.constant(whole(5, 2, 2, 3)), padded]
    file.add("TRANSPOSE_CONV", inputs, y, padding=VALID, strideH=2, strideW=2)
    scale = whole(5, seed=3)
    scaled = file.add("MUL", [y, file.constant(scale)], file.tensor((1, 12, 12, 5), name="scaled"))
    both = [file.add("RELU", [scaled], file.tensor((1, 12, 12, 5), name=f"relu{at}")) for at in range(2)]
    (layer,) = written(file.content(*both)).layers
    assert [each.op for each in layer.before] == ["PAD"]
    assert layer.before[0].attributes["paddings"] == [0, 0, 1, 1, 1, 1, 0, 0]
    assert [each.op for each in layer.after] == ["MUL", "RELU", "RELU"]
    np.testing.assert_array_equal(layer.after[0].constants["other"].read(), scale)


def test_a_weight_that_the_model_computes(written):
    def weight(file):
        w = file.input((5, 3, 3, 3), name="w")
        return file.add("RELU", [w], file.tensor((5, 3, 3, 3), name="positive"))

    (layer,) = written(two_dimensional((4, 4), (3, 3), (2, 2), SAME, (8, 8), weight=weight)).layers
    assert layer.weight is None
    assert layer.limitations == ("Its weight 'positive' is computed when the model runs",)


# -- damaged files -----------------------------------------------------------------------------------------------


def mutations(content, count, seed):
    """Yield a file with bytes and words changed, cut off, or repeated."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        data = bytearray(content)
        for _ in range(rng.integers(1, 4)):
            at, kind = int(rng.integers(8, len(data))), rng.integers(5)
            if kind == 0:
                data[at] = int(rng.integers(256))
            elif kind == 1:
                at -= at % 4
                data[at : at + 4] = struct.pack("<i", int(rng.choice([0, -1, 1 << 30, 7, -(1 << 31), len(data)])))
            elif kind == 2 and at > 100:
                del data[at:]
            elif kind == 3:
                data[at : at + 4] = data[at - 8 : at - 4]
            else:
                data[at] ^= 1 << int(rng.integers(8))
        yield bytes(data)


def test_damaged_files_are_refused_or_read(tmp_path):
    w = whole(5, 3, 3, 3, dtype="int8")
    content = two_dimensional(
        (4, 4), (3, 3), (2, 2), SAME, (8, 8), weight=lambda file: file.constant(w, scale=np.float32([1, 2, 3, 4, 5]))
    )
    path = tmp_path / "model.tflite"
    read = 0
    for data in mutations(content, 300, 1):
        path.write_bytes(data)
        try:
            inventory = inventory_of(path)
            read += 1
            for layer in inventory.layers:
                for array in (layer.weight, layer.bias):
                    if array is not None:
                        array.read()
        except TconvError:
            continue
    assert read > 50


@pytest.mark.parametrize("content", [b"", b"TFL3", b"\x20\0\0\0TFL3", b"\x08\0\0\0TFL3" + bytes(40)])
def test_files_that_are_none(tmp_path, content):
    path = tmp_path / "model.tflite"
    path.write_bytes(content)
    with pytest.raises(FileError, match=r"model\.tflite"):
        inventory_of(path)


def test_a_file_whose_offsets_lead_to_one_vector_is_refused(tmp_path):
    """A file of 2 MB whose 100,000 operators share a vector of 300,000 inputs."""
    count, inputs = 100_000, 300_000
    data = bytearray()
    root = 20
    data += struct.pack("<I4s", root, b"TFL3") + struct.pack("<HHHHHH", 12, 16, 0, 4, 8, 0)
    data += struct.pack("<iIII", root - 8, 0, 0, 0)
    codes, graphs = len(data), None
    struct.pack_into("<I", data, root + 4, codes - root - 4)
    data += struct.pack("<II", 1, 8) + struct.pack("<HHHH", 4, 4, 0, 0) + bytes(4)
    struct.pack_into("<I", data, codes + 4, 12)
    struct.pack_into("<i", data, codes + 16, 8)
    graphs = len(data)
    struct.pack_into("<I", data, root + 8, graphs - root - 8)
    data += struct.pack("<II", 1, 20) + struct.pack("<HHHHHHH", 14, 8, 0, 0, 0, 4, 0) + bytes(2)
    graph = graphs + 24
    data += struct.pack("<iI", 16, 4)
    operators = len(data)
    data += struct.pack("<I", count)
    table = operators + 4 + 4 * count + 8
    data += b"".join(struct.pack("<I", table - at) for at in range(operators + 4, operators + 4 + 4 * count, 4))
    data += struct.pack("<HHHH", 8, 8, 0, 4) + struct.pack("<iI", 8, 4) + struct.pack("<I", inputs)
    data += b"\xff" * (4 * inputs)
    assert graph + 8 == operators
    path = tmp_path / "model.tflite"
    path.write_bytes(bytes(data))
    with pytest.raises(FileError, match="more entries than bytes"):
        inventory_of(path)
