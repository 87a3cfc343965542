"""`tconv diagnose` on networks: exact exports are never blamed, and of wrong ones the first layer that differs is named."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from tconv.diagnosis.networks import Source, diagnose_networks
from tconv.errors import FileError
from tconv.models.traces.process import Workers

EXPORTS = Path(__file__).parents[1] / "exports"
sys.path.insert(0, str(EXPORTS))
from faults import broken_keras, broken_ncnn, broken_onnx, broken_tflite  # noqa: E402

QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "OMP_NUM_THREADS": "2"}


def run(*arguments):
    environment = {**os.environ, **QUIET, "KERAS_BACKEND": "tensorflow"}
    command = [sys.executable, "-m", "tconv", "diagnose", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def workers():
    with Workers() as pool:
        yield pool


@pytest.fixture(scope="module")
def compared(workers):
    """Function from two files to their diagnosis, in processes that all tests share."""

    def compare(first, second, *, runtimes=("", ""), **options):
        sources = [Source(Path(path), runtime) for path, runtime in zip((first, second), runtimes, strict=True)]
        return diagnose_networks(*sources, workers=workers, **options)

    return compare


def save(path, nodes, weights, shape=(1, 3, None, None), outputs=("y",)):
    """Write an ONNX model with the input x."""
    ends = [helper.make_tensor_value_info("x", 1, shape), *(helper.make_tensor_value_info(y, 1, None) for y in outputs)]
    stored = [numpy_helper.from_array(np.asarray(array, "f"), name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], stored)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


@pytest.fixture(scope="module")
def weights():
    rng = np.random.default_rng(0)
    shapes = {"w1": (3, 4, 3, 3), "b1": (4,), "w2": (4, 2, 5, 5)}
    return {name: rng.standard_normal(shape).astype("f") for name, shape in shapes.items()}


def two_layers():
    """Return the nodes of two transposed convolutions with a ReLU between them."""
    arguments = {"strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 1]}
    return [
        helper.make_node("ConvTranspose", ["x", "w1", "b1"], ["h"], name="up1", **arguments),
        helper.make_node("Relu", ["h"], ["r"], name="relu"),
        helper.make_node("ConvTranspose", ["r", "w2"], ["y"], name="up2", strides=[2, 2], auto_pad="SAME_UPPER"),
    ]


@pytest.fixture(scope="module")
def model(weights, tmp_path_factory):
    return save(tmp_path_factory.mktemp("networks") / "net.onnx", two_layers(), weights)


# -- one model on two runtimes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("runtimes", [["onnxruntime", "openvino"], ["reference", "tconv"]])
def test_one_model_on_two_runtimes(weights, compared, runtimes, tmp_path):
    path = save(tmp_path / "net.onnx", two_layers(), weights, (1, 3, 8, 9))
    assert str(compared(path, path, runtimes=runtimes)).startswith(f"equal     {path} and {path} agree to within")


def test_openvino_drops_auto_pad_where_sizes_are_open(model, compared):
    found = compared(model, model, runtimes=("openvino", "onnxruntime"))
    assert found.place == "up2 (ConvTranspose)"
    assert found.verdict == "found"
    assert found.shapes == (((1, 2, 131, 195),), ((1, 2, 128, 192),))


def test_a_runtime_with_a_listed_fault(weights, tmp_path, compared):
    """ONNX Runtime takes SAME with a kernel below the stride differently; tconv follows the specification."""
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], name="up", strides=[3, 3], auto_pad="SAME_UPPER")
    path = save(tmp_path / "net.onnx", [node], {"w": weights["w1"][:, :, :2, :2]})
    found = compared(path, path, runtimes=("onnxruntime", "tconv"))
    assert found.place == "up (ConvTranspose)"
    assert found.layer.cause == "full result"
    assert any("pads that SAME_* or output_shape make negative are taken as 0" in f.text for f in found.layer.findings)


def test_negative_pads_that_a_runtime_refuses(weights, tmp_path, compared):
    """pads of -1 are read as a crop of (-1, -1); the crop of the right model, (0, -2), is named."""
    w = weights["w1"][:, :, :2, :2]
    given = {"name": "up", "strides": [4, 4]}
    wrong = helper.make_node("ConvTranspose", ["x", "w"], ["y"], pads=[-1] * 4, **given)
    right = [
        helper.make_node("ConvTranspose", ["x", "w"], ["h"], **given),
        helper.make_node("Pad", ["h", "ends"], ["y"]),
    ]
    stored = save(tmp_path / "right.onnx", right, {"w": w})
    known = onnx.load(stored)
    known.graph.initializer.append(numpy_helper.from_array(np.array([0, 0, 0, 0, 0, 0, 2, 2]), "ends"))
    onnx.save(known, stored)
    refused = save(tmp_path / "wrong.onnx", [wrong], {"w": w})
    found = compared(refused, stored)
    assert any("runs on tconv, because onnxruntime fails" in note for note in found.notes)
    assert found.calls[0].endswith("crop ((-1, -1), (-1, -1))")
    assert found.calls[1].endswith("crop ((0, -2), (0, -2))")
    assert "the crop is (-1, -1) instead of (0, -2)" in found.layer.findings[0].text
    assert "output_padding=[2, 2]" in found.layer.fix
    both = compared(refused, refused)
    assert both.verdict == "equal"
    assert len(both.notes) == 2  # each says that its runtime refuses the file


# -- what an equal output may hide, and what is no transposed convolution --------------------------------------------


def test_a_dead_output_hides_no_difference(weights, tmp_path, compared):
    nodes = [
        helper.make_node("ConvTranspose", ["x", "w1", "b1"], ["h"], name="up1", strides=[2, 2]),
        helper.make_node("Relu", ["h"], ["y"]),
    ]
    dead = {"w1": weights["w1"], "b1": np.full(4, -1000)}
    first = save(tmp_path / "first.onnx", nodes, dead)
    second = save(tmp_path / "second.onnx", nodes, {**dead, "w1": dead["w1"][:, :, ::-1, ::-1].copy()})
    found = compared(first, second)
    assert (found.verdict, found.layer.cause) == ("found", "kernel flipped")
    assert "the outputs agree, but only 0% of them change with the input" in found.notes
    assert compared(first, first).verdict == "equal"


def sigmoid_of(weights, bias):
    nodes = [
        helper.make_node("ConvTranspose", ["x", "w1", "b1"], ["h"], name="up1", strides=[2, 2]),
        helper.make_node("Sigmoid", ["h"], ["s"]),
        helper.make_node("Identity", ["s"], ["y"]),
    ]
    return nodes, {"w1": weights["w1"] / 4, "b1": np.full(4, bias)}


@pytest.mark.parametrize("runtimes", [("onnxruntime", "openvino"), ("onnxruntime", "tconv")])
def test_the_tail_of_a_sigmoid_is_rounded_on_the_scale_of_1(weights, tmp_path, compared, runtimes):
    """ONNX Runtime computes 1e-6 as 0.5 and a polynomial, to within 1e-7."""
    path = save(tmp_path / "net.onnx", *sigmoid_of(weights, -14))
    found = compared(path, path, runtimes=runtimes)
    assert found.verdict == "equal"
    assert found.function == "Sigmoid"
    assert found.before <= found.rounding < 1e-4
    assert "of 1, the most that its Sigmoid gives, rounding is" in str(found)


def test_a_saturated_sigmoid_hides_no_difference(weights, tmp_path, compared):
    nodes, given = sigmoid_of(weights, -30)
    first = save(tmp_path / "first.onnx", nodes, given)
    second = save(tmp_path / "second.onnx", nodes, {**given, "w1": given["w1"][:, :, ::-1, ::-1].copy()})
    found = compared(first, second)
    assert (found.verdict, found.layer.cause) == ("found", "kernel flipped")
    assert compared(first, first).verdict == "equal"


def test_a_difference_in_one_channel_is_beyond_the_limit_that_is_told(weights, tmp_path, compared):
    scales = np.array([1e4, 1, 1, 1]).reshape(1, 4, 1, 1)
    nodes = [helper.make_node("ConvTranspose", ["x", "w"], ["y"], name="up", strides=[2, 2])]
    one = weights["w1"] * scales
    two = one.copy()
    two[:, 1] *= 1.001
    found = compared(*(save(tmp_path / f"{at}.onnx", nodes, {"w": each}) for at, each in enumerate((one, two))))
    assert found.place == "up (ConvTranspose)"
    assert found.before > found.rounding


# -- sizes that a network takes --------------------------------------------------------------------------------------


def test_sizes_with_all_remainders_are_tried(weights, tmp_path, compared):
    up = {"strides": [4, 4], "output_padding": [1, 2]}
    nodes = [
        helper.make_node("MaxPool", ["x"], ["p"], kernel_shape=[4, 4], strides=[4, 4]),
        helper.make_node("ConvTranspose", ["p", "w"], ["h"], name="up", **up),
        helper.make_node("Concat", ["h", "x"], ["y"], axis=1),
    ]
    path = save(tmp_path / "net.onnx", nodes, {"w": np.tile(weights["w1"][:, :3, :2, :2], (1, 1, 2, 2))})
    found = compared(path, path, runtimes=("onnxruntime", "tconv"))
    assert found.verdict == "equal"
    assert [size % 4 for size in found.shapes[0][0][2:]] == [1, 2]


def test_a_network_that_refuses_all_sizes(weights, tmp_path, compared):
    nodes = [
        helper.make_node("ConvTranspose", ["x", "w"], ["h"], name="up", strides=[2, 2]),
        helper.make_node("Concat", ["h", "x"], ["y"], axis=1),
    ]
    path = save(tmp_path / "net.onnx", nodes, {"w": weights["w1"]})
    message = (
        r"net.onnx refuses all \d+ inputs that were tried \(\[1, 3, 32, 48\]; .*, ...\): onnxruntime fails: .*"
        "often the tensors that a network joins fit for some sizes only. Write --size"
    )
    with pytest.raises(FileError, match=message):
        compared(path, path)


def test_a_difference_before_any_transposed_convolution(weights, tmp_path, compared):
    conv = np.random.default_rng(1).standard_normal((3, 3, 3, 3))
    nodes = [helper.make_node("Conv", ["x", "c"], ["z"], name="first"), *two_layers()]
    nodes[1].input[0] = "z"
    one = save(tmp_path / "one.onnx", nodes, {**weights, "c": conv})
    two = save(tmp_path / "two.onnx", nodes, {**weights, "c": conv[:, ::-1].copy()})
    found = compared(one, two)
    assert found.verdict == "elsewhere"
    assert found.place.startswith("in first (Conv), which is given equal numbers")


def test_random_numbers_in_a_network_are_said(weights, tmp_path, compared):
    nodes = [
        helper.make_node("RandomNormalLike", ["x"], ["n"]),
        helper.make_node("Add", ["x", "n"], ["z"]),
        helper.make_node("ConvTranspose", ["z", "w1"], ["y"], strides=[2, 2]),
    ]
    path = save(tmp_path / "net.onnx", nodes, {"w1": weights["w1"]})
    found = compared(path, path, runtimes=("reference", "reference"), size=[8])
    assert found.verdict == "untellable"
    assert "draws random numbers" in str(found)


def test_weights_that_are_computed_and_quantized(weights, tmp_path, compared):
    """A weight norm as a subgraph, and a weight of 8 bits with its scale, against the same weights stored."""
    w = np.round(weights["w1"] * 20).clip(-127, 127).astype(np.int8)
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], name="up", strides=[2, 2])
    scale = helper.make_node("DequantizeLinear", ["stored", "scale"], ["w"])
    computed = save(tmp_path / "computed.onnx", [scale, node], {"scale": np.asarray(0.05)})
    known = onnx.load(computed)
    known.graph.initializer.append(numpy_helper.from_array(w, "stored"))
    onnx.save(known, computed)
    plain = save(tmp_path / "plain.onnx", [node], {"w": w * np.float32(0.05)})
    assert compared(computed, plain).verdict == "equal"
    flipped = save(tmp_path / "flipped.onnx", [node], {"w": (w * np.float32(0.05))[:, :, ::-1, ::-1].copy()})
    assert compared(flipped, computed).layer.cause == "kernel flipped"


# -- operations that are right alone, and wrong where a runtime fuses them -------------------------------------------


def integers(path, **arrays):
    """Add constants of integers to a model."""
    known = onnx.load(path)
    known.graph.initializer.extend(numpy_helper.from_array(np.asarray(each), name) for name, each in arrays.items())
    onnx.save(known, path)
    return path


def padded(weight="w1", before="x", after="y"):
    """Return the nodes of a zero Pad and a transposed convolution, which OpenVINO 2026.4.1 fuses without the stride."""
    arguments = {"strides": [2, 2], "pads": [1, 1, 1, 1]}
    return [
        helper.make_node("Pad", [before, "ends"], ["padded"], name="pad"),
        helper.make_node("ConvTranspose", ["padded", weight], [after], name="up", **arguments),
    ]


ENDS = np.array([0, 0, 1, 1, 0, 0, 1, 1])


@pytest.mark.parametrize("runtimes", [("openvino", "onnxruntime"), ("tconv", "openvino")])
def test_a_pad_that_a_runtime_fuses_wrongly(weights, tmp_path, compared, runtimes):
    path = integers(save(tmp_path / "net.onnx", padded(), weights, (1, 3, 4, 4)), ends=ENDS)
    found = compared(path, path, runtimes=runtimes)
    shapes = ((1, 4, 9, 9),), ((1, 4, 11, 11),)
    assert (found.verdict, found.shapes) == ("fused", shapes if runtimes[0] == "openvino" else shapes[::-1])
    assert found.place == (
        "in up (ConvTranspose), only where it is fused with pad (Pad) before it; each of them alone agrees"
    )
    assert found.fusion.facts() == {
        "network": str(path),
        "operation": "up (ConvTranspose)",
        "fused_with": ["pad (Pad)"],
        "shape": (1, 4, 9, 9),
        "shape_alone": (1, 4, 11, 11),
    }
    assert "the crop is (2, 2) instead of (1, 1): the padding is applied twice" in str(found)
    assert "got is" in str(found)
    assert compared(path, path, runtimes=("onnxruntime", "tconv")).verdict == "equal"


def test_a_fused_neighbour_inside_of_a_network(weights, tmp_path, compared):
    """The Slice cuts both results to one size; the layer is found among others by asking for single tensors."""
    nodes = [
        helper.make_node("ConvTranspose", ["x", "w1", "b1"], ["a"], name="first", strides=[2, 2]),
        helper.make_node("Relu", ["a"], ["b"], name="relu"),
        *padded("w2", "b", "u"),
        helper.make_node("Slice", ["u", "from", "to", "axes"], ["v"], name="cut"),
        helper.make_node("Sigmoid", ["v"], ["s"], name="gate"),
        helper.make_node("Mul", ["v", "s"], ["z"], name="gated"),
        helper.make_node("Conv", ["z", "last"], ["y"], name="last"),
    ]
    stored = {**weights, "last": np.random.default_rng(1).standard_normal((3, 2, 3, 3))}
    path = save(tmp_path / "net.onnx", nodes, stored, (1, 3, 6, 6))
    places = {"from": np.array([0, 0]), "to": np.array([16, 16]), "axes": np.array([2, 3])}
    path = integers(path, ends=ENDS, **places)
    found = compared(path, path, runtimes=("openvino", "onnxruntime"))
    assert found.shapes == (((1, 3, 14, 14),), ((1, 3, 14, 14),))
    assert (found.verdict, found.fusion.step.name) == ("fused", "up")
    assert [step.name for step in found.fusion.partners] == ["pad"]
    assert found.layer.verdict == "found"
    (facts,) = json.loads(run(path, "--runtimes", "openvino", "onnxruntime", "--json"))
    assert facts["verdict"] == "fused"
    assert facts["fused"]["operation"] == "up (ConvTranspose)"
    assert facts["fused"]["network"] == f"{path} on openvino"


def test_a_fault_beside_a_wrong_fusion(weights, tmp_path, compared):
    """The layer with the fault is named, and the fusion in a note."""
    nodes = [helper.make_node("ConvTranspose", ["x", "w1"], ["h"], name="first", strides=[2, 2]), *padded("w2", "h")]
    right = integers(save(tmp_path / "right.onnx", nodes, weights, (1, 3, 6, 6)), ends=ENDS)
    flipped = {**weights, "w1": weights["w1"][:, :, ::-1, ::-1].copy()}
    wrong = integers(save(tmp_path / "wrong.onnx", nodes, flipped, (1, 3, 6, 6)), ends=ENDS)
    found = compared(wrong, right, runtimes=("openvino", "onnxruntime"))
    assert (found.place, found.layer.cause) == ("first (ConvTranspose)", "kernel flipped")
    assert any("in up (ConvTranspose), where pad (Pad) before it is fused with it" in note for note in found.notes)


# -- PyTorch and Keras -----------------------------------------------------------------------------------------------


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
        (found,) = json.loads(run(tmp_path / name, model, "--size", 8, "--json"))
        assert "up2" in found["layer"]
        assert found["cause"] == "crop sides exchanged"
        assert found["fix"] == "y = torch.nn.functional.conv_transpose2d(x, weight, stride=2)[:, :, 1:33, 1:33]"


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
    (found,) = json.loads(run(path, model, "--json"))
    assert "up1" in found["layer"]
    assert found["cause"] == "output_padding at the front"  # "same" crops (0, 1), the ONNX node (1, 0)
    assert found["fix"].startswith(
        "x = np.transpose(x, (0, 2, 3, 1)); "
        'weight = tconv.convert(weight, source="onnx", target="keras"); y = keras.ops.conv_transpose'
    )


# -- exports of small networks ---------------------------------------------------------------------------------------

TORCH_NAMES = ("dcgan", "groups", "unet_size", "vocoder_old", "vocoder_new")
TORCH_PAIRS = (
    ("trace.pt", "pt2"),
    ("script.pt", "trace.pt"),
    ("pt2", "dynamo.onnx"),
    ("script.onnx", "trace.pt"),
)
KERAS_NAMES = ("same_even", "dilated", "norm", "audio", "gaps")
KERAS_PAIRS = (("keras", "onnx"), ("onnx", "h5"), ("keras", "tflite"))

WRITE = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
import torch_networks
for name in sys.argv[3:]:
    torch_networks.export(name, Path(sys.argv[2]), ("trace.pt", "script.pt", "pt2", "dynamo.onnx", "script.onnx"))
"""


WRITE_TFLITE = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
import keras_networks
for name in sys.argv[3:]:
    keras_networks.write_tflite(name, Path(sys.argv[2]), ("tflite",))
"""


@pytest.fixture(scope="module")
def exports(tmp_path_factory):
    """Folder with exports of the networks above."""
    folder = tmp_path_factory.mktemp("exports")
    for command, backend in (
        (["-c", WRITE, EXPORTS, folder, *TORCH_NAMES], "torch"),
        ([EXPORTS / "keras_networks.py", folder, *KERAS_NAMES], "torch"),
        (["-c", WRITE_TFLITE, EXPORTS, folder, *KERAS_NAMES], "tensorflow"),
    ):
        environment = {**os.environ, **QUIET, "KERAS_BACKEND": backend}
        done = subprocess.run([sys.executable, *map(str, command)], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]
    return folder


@pytest.mark.parametrize(
    ("prefix", "names", "pairs", "least"),
    [("torch", TORCH_NAMES, TORCH_PAIRS, 16), ("keras", KERAS_NAMES, KERAS_PAIRS, 14)],
)
def test_no_exact_export_is_blamed(exports, compared, prefix, names, pairs, least):
    equal = 0
    for name in names:
        for pair in pairs:
            first, second = (exports / f"{prefix}-{name}.{kind}" for kind in pair)
            if not first.exists() or not second.exists():  # an exporter that refuses it
                continue
            size = [17, 22] if name == "unet_size" and "pt2" not in "".join(pair) else None
            found = compared(first, second, size=size)
            assert str(found).startswith("equal "), f"{name} {pair}: {found}"
            assert len(str(found).splitlines()) == 1
            equal += 1
    assert equal >= least


def test_the_command_says_equal_in_one_line(exports):
    printed = run(exports / "keras-same_even.keras", exports / "keras-same_even.onnx")
    assert printed.startswith("equal ")
    assert len(printed.splitlines()) == 1


@pytest.mark.parametrize("name", ["vocoder_old", "vocoder_new"])
def test_weight_norms_of_exports_run_on_tconv(exports, compared, name):
    """PyTorch's older exporter leaves ReduceL2, Div and Mul in the file, as in EnCodec's decoder."""
    path = exports / f"torch-{name}.script.onnx"
    kinds = {node.op_type for node in onnx.load(path).graph.node}
    assert kinds >= {"ConvTranspose", "ReduceL2", "Div", "Mul"}
    assert compared(path, path, runtimes=("tconv", "onnxruntime")).verdict == "equal"
    assert compared(path, path, runtimes=("openvino", "tconv")).verdict == "equal"
    assert compared(path, exports / f"torch-{name}.trace.pt", runtimes=("tconv", "")).verdict == "equal"


def test_a_batchnorm_that_the_exporter_folded(exports, compared):
    """The exporter folds it into the layer before it; a fault in that layer is named, the folding is not."""
    folder = exports / "folded"
    folder.mkdir()
    nodes = onnx.load(exports / "torch-dcgan.dynamo.onnx").graph.node
    assert not any(node.op_type == "BatchNormalization" for node in nodes)
    (first, *_) = [
        case
        for case in broken_onnx(exports / "torch-dcgan.dynamo.onnx", exports / "torch-dcgan.trace.pt", folder)
        if case.fault == "flipped"
    ]
    found = compared(first.path, first.right)
    assert found.layer.cause == "kernel flipped"
    assert "native_batch_norm" in found.calls[1]


def broken_cases(exports, folder):
    yield from broken_onnx(exports / "torch-groups.script.onnx", exports / "torch-groups.pt2", folder)
    yield from broken_onnx(exports / "torch-vocoder_new.dynamo.onnx", exports / "torch-vocoder_new.pt2", folder)
    yield from broken_onnx(exports / "keras-same_even.onnx", exports / "keras-same_even.keras", folder)
    yield from broken_tflite(exports / "keras-audio.tflite", exports / "keras-audio.keras", folder)
    yield from broken_keras(exports / "keras-norm.keras", exports / "keras-norm.onnx", folder)


def test_faults_in_exports_are_named(exports, compared):
    folder = exports / "broken"
    folder.mkdir()
    cases = list(broken_cases(exports, folder))
    assert len(cases) > 15
    for case in cases:
        found = compared(case.path, case.right)
        assert found.layer is not None, f"{case}: {found}"
        assert case.layer in found.place, f"{case}: {found}"
        names = {name for finding in found.layer.findings for name in (*finding.causes, *finding.also)}
        assert names & set(case.causes) or (names and not case.causes), f"{case}: {found}"


# -- ncnn ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def ncnn_network(weights, tmp_path):
    """The two layers as an ncnn network, the ReLU in the first one, the crop of the second as output_pad."""
    lines = [
        "7767517",
        "3 3",
        "Input x 0 1 x",
        "Deconvolution up1 1 1 x r 0=4 1=3 3=2 4=1 18=1 19=1 5=1 6=108 9=1",
        "Deconvolution up2 1 1 r y 0=2 1=5 3=2 4=1 15=2 14=1 16=2 6=200",
    ]
    path = tmp_path / "net.param"
    path.write_text("\n".join(lines) + "\n")
    first, second = (weights[name].swapaxes(0, 1) for name in ("w1", "w2"))
    parts = [np.zeros(1, "<u4"), first, weights["b1"], np.zeros(1, "<u4"), second]
    path.with_suffix(".bin").write_bytes(b"".join(np.ascontiguousarray(part).tobytes() for part in parts))
    return path


def test_ncnn(ncnn_network, model, compared, tmp_path):
    assert compared(ncnn_network, model).verdict == "equal"
    assert compared(model, ncnn_network).verdict == "equal"
    for case in broken_ncnn(ncnn_network, model, tmp_path):
        found = compared(case.path, model)
        assert case.layer in found.place
        assert "instead of" in found.layer.findings[0].text


# -- files that cannot be read ---------------------------------------------------------------------------------------


def test_files_that_cannot_be_read(tmp_path, model, compared):
    names = {
        "a.tflite": "is damaged or not a TensorFlow Lite model",
        "b.onnx": "is damaged or not an ONNX model",
        "c.param": "needs c.bin beside it",
        "d.keras": "is not a Keras model",
        "e.pt": "Pickled modules are not read, because that would run their code",
        "f.pt2": "is neither TorchScript nor an exported program",
    }
    for name, message in names.items():
        (tmp_path / name).write_bytes(b"not a model")
        with pytest.raises(FileError, match=message):
            compared(tmp_path / name, model)
    with pytest.raises(FileError, match=r"absent.tflite does not exist"):
        compared(model, tmp_path / "absent.tflite")
    (tmp_path / "c.bin").write_bytes(b"")
    with pytest.raises(FileError, match="is not a network of ncnn"):
        compared(tmp_path / "c.param", model)


def test_inputs_that_do_not_fit(weights, tmp_path, model, compared):
    node = helper.make_node("ConvTranspose", ["x", "w2"], ["y"])
    other = save(tmp_path / "other.onnx", [node], {"w2": weights["w2"]}, (1, 4, 8, 8))
    with pytest.raises(FileError, match=r"input 'x' \[1, 3, '\?', '\?'\] fits no input of the other network"):
        compared(model, other)
