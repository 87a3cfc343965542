"""`tconv diagnose` on networks: one ONNX model on two runtimes, ONNX against PyTorch and Keras; each in a process."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper


def run(*arguments):
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow"}
    command = [sys.executable, "-m", "tconv", "diagnose", *map(str, arguments), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def weights():
    rng = np.random.default_rng(0)
    shapes = {"w1": (3, 4, 3, 3), "b1": (4,), "w2": (4, 2, 5, 5)}
    return {name: rng.standard_normal(shape).astype("f") for name, shape in shapes.items()}


@pytest.fixture(scope="module")
def model(weights, tmp_path_factory):
    """Two transposed convolutions with a ReLU between them."""
    arguments = {"strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 1]}
    nodes = [
        helper.make_node("ConvTranspose", ["x", "w1", "b1"], ["h"], name="up1", **arguments),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("ConvTranspose", ["r", "w2"], ["y"], name="up2", strides=[2, 2], auto_pad="SAME_UPPER"),
    ]
    ends = [helper.make_tensor_value_info("x", 1, [1, 3, None, None]), helper.make_tensor_value_info("y", 1, None)]
    stored = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], stored)
    path = tmp_path_factory.mktemp("networks") / "net.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


@pytest.mark.parametrize("runtimes", [["onnxruntime", "openvino"], ["reference", "tconv"]])
def test_one_model_on_two_runtimes(model, runtimes):
    facts = run(model, "--runtimes", *runtimes)
    assert [entry["verdict"] for entry in facts] == ["equal", "equal"]
    assert facts[0]["layer"] == "up1: x [1, 3, 8, 8], weight [3, 4, 3, 3]"


def test_a_runtime_with_a_listed_fault(weights, tmp_path):
    """ONNX Runtime takes SAME with a kernel below the stride differently; tconv follows the specification."""
    w = weights["w1"][:, :, :2, :2]
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], name="up", strides=[3, 3], auto_pad="SAME_UPPER")
    ends = [helper.make_tensor_value_info("x", 1, [1, 3, None, None]), helper.make_tensor_value_info("y", 1, None)]
    graph = helper.make_graph([node], "net", ends[:1], ends[1:], [numpy_helper.from_array(w, "w")])
    path = tmp_path / "net.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    (facts,) = run(path)
    assert facts["cause"] == "full result"
    assert any("pads that SAME_* or output_shape make negative are taken as 0" in f["text"] for f in facts["findings"])


PORT = """
import sys, numpy as np, torch
w = np.load(sys.argv[1])
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.up1 = torch.nn.ConvTranspose2d(3, 4, 3, 2, 1, 1)
        self.up2 = torch.nn.ConvTranspose2d(4, 2, 5, 2, 2, 1, bias=False)  # SAME crops (1, 2), this (2, 1)
        for tensor, name in ((self.up1.weight, "w1"), (self.up1.bias, "b1"), (self.up2.weight, "w2")):
            tensor.data = torch.tensor(w[name])
    def forward(self, x):
        return self.up2(torch.relu(self.up1(x)))
net = Net().eval()
torch.jit.script(net).save(sys.argv[2] + "/script.pt")
torch.jit.trace(net, torch.randn(1, 3, 8, 8)).save(sys.argv[2] + "/trace.pt")
torch.export.save(torch.export.export(net, (torch.randn(1, 3, 8, 8),)), sys.argv[2] + "/program.pt2")
"""


def test_pytorch_against_onnx(model, weights, tmp_path):
    np.savez(tmp_path / "w.npz", **weights)
    (tmp_path / "port.py").write_text(PORT)  # TorchScript reads the source
    command = [sys.executable, tmp_path / "port.py", tmp_path / "w.npz", tmp_path]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    for name in ("script.pt", "trace.pt", "program.pt2"):
        first, second = run(tmp_path / name, model, "--size", 7)
        assert first["verdict"] == "equal", name
        assert second["cause"] == "crop sides exchanged"
        assert second["fix"] == "y = torch.nn.functional.conv_transpose2d(x, weight, stride=2)[:, :, 1:15, 1:15]"


KERAS = """
import sys, numpy as np, keras
w = np.load(sys.argv[1])
net = keras.Sequential([
    keras.Input((None, None, 3)),
    keras.layers.Conv2DTranspose(4, 3, strides=2, padding="same", name="up1"),
    keras.layers.Conv2DTranspose(2, 5, strides=2, padding="same", use_bias=False, name="up2"),
])
# the second kernel was not transposed to Keras's [kh, kw, C_out, C_in], but reshaped
net.get_layer("up1").set_weights([w["w1"].transpose(2, 3, 1, 0), w["b1"]])
net.get_layer("up2").set_weights([w["w2"].reshape(4, 2, 25).transpose(2, 1, 0).reshape(5, 5, 2, 4)[::-1, ::-1]])
net.save(sys.argv[2])
"""


def test_keras_against_onnx(model, weights, tmp_path):
    np.savez(tmp_path / "w.npz", **weights)
    path = tmp_path / "net.keras"
    subprocess.run(
        [sys.executable, "-c", KERAS, tmp_path / "w.npz", path], check=True, capture_output=True, timeout=300
    )
    first, second = run(path, model)
    assert first["cause"] == "output_padding at the front"  # "same" crops (0, 1), the ONNX node (1, 0)
    assert first["fix"].startswith(
        "x = np.transpose(x, (0, 2, 3, 1)); "
        'weight = tconv.convert(weight, source="onnx", target="keras"); y = keras.ops.conv_transpose'
    )
    assert second["cause"] == "kernel flipped"
