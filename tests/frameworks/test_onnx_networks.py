"""Networks that people upscale with, from PyTorch's exporters, simplified, in float16, and from graphs of TensorFlow."""

from __future__ import annotations

import random
import sys
import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "exports"))

import upscaling_networks

from onnx_models import GraphBuilder
from tconv.errors import FileError, TconvError
from tconv.models import load
from tconv.models.readers.onnx_network import network_of
from test_onnx_mutations import changed

SIZES = {1: ((33, 41), (24, 28), (50, 37)), 2: ((34, 42), (24, 28), (50, 38))}
"""Odd, the export's, and larger sizes of pictures, by the multiple that networks take."""


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def onnxruntime_says(path, x):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})[0]


def export(net, x, path, kind, multiple=1):
    """Write a file by an exporter: "script" or "dynamo", its opset, "fixed" sizes, "raw" for one without optimization."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if kind.startswith("script"):
            axes = None if "fixed" in kind else {"x": {2: "h", 3: "w"}}
            opset = next((int(word) for word in kind.split() if word.isdigit()), 17)
            words = {"input_names": ["x"], "dynamic_axes": axes, "opset_version": opset}
            torch.onnx.export(net, (x,), path, dynamo=False, **words)
        else:
            sizes = {axis: torch.export.Dim(name, min=9, max=400) for axis, name in ((2, "h"), (3, "w"))}
            if multiple > 1:
                sizes = {axis: multiple * size for axis, size in sizes.items()}
            shapes = None if "fixed" in kind else (sizes,)
            words = {"dynamic_shapes": shapes, "optimize": "raw" not in kind, "external_data": False, "verbose": False}
            torch.onnx.export(net, (x,), path, dynamo=True, **words)
    return path


def close(made, wanted, share=1e-5):
    assert made.shape == wanted.shape
    assert np.abs(made - wanted).max() <= share * max(1, np.ptp(wanted))


def agrees(path, net, channels, sizes):
    """Compare a file with the module that it was written from, and with ONNX Runtime; return the notes about it."""
    network, notes = network_of(Path(path))
    for height, width in sizes:
        x = np.random.default_rng(height).random((1, channels, height, width), np.float32)
        made = network(x)
        with torch.inference_mode():
            close(made, net(torch.from_numpy(x)).numpy())
        close(made, onnxruntime_says(path, x))
    return notes


@pytest.mark.parametrize("kind", ["script 11", "script 17", "script 20"])
@pytest.mark.parametrize("name", upscaling_networks.NETWORKS)
def test_networks_that_pytorch_exports(name, kind, tmp_path):
    net, channels, multiple = upscaling_networks.built(name)
    x = torch.rand(1, channels, *SIZES[multiple][1])
    notes = agrees(export(net, x, tmp_path / "a.onnx", kind), net, channels, SIZES[multiple])
    assert notes == ()


@pytest.mark.parametrize(
    ("name", "kind"),
    [("unet", "dynamo"), ("shuffled", "dynamo"), ("imdn", "dynamo raw")],
)
def test_networks_of_the_exporter_of_programs(name, kind, tmp_path):
    net, channels, multiple = upscaling_networks.built(name)
    x = torch.rand(1, channels, *SIZES[multiple][0])
    agrees(export(net, x, tmp_path / "a.onnx", kind, multiple), net, channels, SIZES[multiple])


@pytest.mark.parametrize("name", [name for name in upscaling_networks.NETWORKS if name != "unet"])
def test_files_of_one_size_run_on_others(name, tmp_path):
    """Sizes that such a file contains are read as factors, or as the size of another part of the network."""
    net, channels, multiple = upscaling_networks.built(name)
    path = export(net, torch.rand(1, channels, *SIZES[multiple][1]), tmp_path / "a.onnx", "script 17 fixed")
    network, notes = network_of(path)
    for height, width in SIZES[multiple]:
        x = np.random.default_rng(height).random((1, channels, height, width), np.float32)
        with torch.inference_mode():
            close(network(x), net(torch.from_numpy(x)).numpy())
    assert (len(notes) > 0) == (name == "rfdn")


def test_a_padding_that_a_file_fixes_is_no_other_padding(tmp_path):
    net, _, _ = upscaling_networks.built("unet")
    path = export(net, torch.rand(1, 3, 25, 27), tmp_path / "a.onnx", "script 17 fixed")
    agrees(path, net, 3, [(25, 27)])
    with pytest.raises(TconvError, match="concatenates pictures"):
        network_of(path)[0](np.zeros((1, 3, 33, 41), np.float32))


@pytest.mark.parametrize("name", ["unet", "rrdb with unshuffle", "rfdn", "nafnet", "shuffled"])
def test_simplified_files(name, tmp_path):
    import onnxsim
    import onnxslim

    net, channels, multiple = upscaling_networks.built(name)
    path = export(net, torch.rand(1, channels, *SIZES[multiple][1]), tmp_path / "a.onnx", "script 17")
    for number, simplify in enumerate((lambda model: onnxsim.simplify(model)[0], onnxslim.slim)):
        simple = tmp_path / f"{number}.onnx"
        onnx.save(simplify(onnx.load(path)), simple)
        agrees(simple, net, channels, SIZES[multiple])


def halved(model):
    """Return a model whose weights and arithmetic are float16, with casts at both ends, as converters write it."""
    graph = model.graph
    for tensor in [*graph.initializer, *(a.t for node in graph.node for a in node.attribute if a.HasField("t"))]:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), tensor.name))
    first, last = graph.input[0].name, graph.output[0].name
    for node in graph.node:
        for names in (node.input, node.output):
            for number, name in enumerate(names):
                names[number] = {first: "half_in", last: "half_out"}.get(name, name)
    graph.node.insert(0, helper.make_node("Cast", [first], ["half_in"], to=onnx.TensorProto.FLOAT16))
    graph.node.append(helper.make_node("Cast", ["half_out"], [last], to=onnx.TensorProto.FLOAT))
    del graph.value_info[:]
    return model


@pytest.mark.parametrize("name", ["rrdb", "srvgg", "srresnet", "edsr by constants"])
def test_files_in_float16(name, tmp_path):
    net, channels, _ = upscaling_networks.built(name)
    path = export(net, torch.rand(1, channels, 24, 28), tmp_path / "a.onnx", "script 17")
    model = halved(onnx.load(path))
    onnx.save(model, path)
    network, notes = network_of(path)
    assert any("float16" in note and "float32" in note for note in notes)
    x = np.random.default_rng(0).random((1, channels, 33, 41), np.float32)
    with torch.inference_mode():
        close(network(x), net(torch.from_numpy(x)).numpy(), 2e-3)


# -- graphs by hand --------------------------------------------------------------------------------------------------


def by_hand(builder, tmp_path, sizes=((9, 8), (24, 28), (33, 41))):
    """Compare a graph of NHWC or NCHW axes with ONNX Runtime; return the notes about it."""
    path = builder.save(tmp_path / "a.onnx")
    network, notes = network_of(path)
    last = builder.shape[-1] in (1, 3)
    for height, width in sizes:
        x = np.random.default_rng(0).random((1, network.channels[0], height, width), np.float32)
        moved = np.ascontiguousarray(np.moveaxis(x, 1, 3)) if last else x
        wanted = onnxruntime_says(path, moved)
        close(network(x), np.moveaxis(wanted, 3, 1) if last else wanted)
    return notes


def tensorflow_graph(opset=13):
    """Return a graph as tf2onnx writes a Keras network: NHWC at both ends, transposes around layers, NHWC constants."""
    b = GraphBuilder(["n", "h", "w", 3], opset=opset)
    b.add("Mul", "x", b.constant(np.float32(1 / 255)))
    b.add("Sub", b.last, b.constant(np.array([0.45, 0.44, 0.41], "f4")))
    b.add("Transpose", b.last, perm=[0, 3, 1, 2])
    first = b.add("Conv", b.last, b.random(8, 3, 3, 3), auto_pad="SAME_UPPER")
    b.add("Transpose", b.last, perm=[0, 2, 3, 1])
    b.add("Add", b.last, b.random(8))
    b.add("PRelu", b.last, b.random(1, 1, 8))
    b.add("Transpose", b.last, perm=[0, 3, 1, 2])
    b.add("Conv", b.last, b.random(8, 8, 3, 3), auto_pad="SAME_LOWER")
    b.add("Add", b.last, first)
    b.add("Conv", b.last, b.random(12, 8, 1, 1))
    return b


@pytest.mark.parametrize("opset", [11, 13, 18])
def test_graphs_of_tensorflow(opset, tmp_path):
    b = tensorflow_graph(opset)
    b.add("DepthToSpace", b.last, blocksize=2, mode="DCR")
    b.add("Transpose", b.last, perm=[0, 2, 3, 1])
    b.add("Concat", b.last, b.last, axis=-1)
    b.add("MatMul", b.last, b.random(6, 3))
    by_hand(b, tmp_path)


@pytest.mark.parametrize("order", ["DCR", "CRD", "mixed"])
def test_depth_to_space_written_out(order, tmp_path):
    """Reshapes to six axes with sizes that are computed, in each order of the channels."""
    b = tensorflow_graph()
    shape = b.add("Shape", b.last)
    parts = [b.add("Gather", shape, b.constant(np.array([axis])), axis=0) for axis in (0, 2, 3)]
    two, three = b.constant(np.array([2])), b.constant(np.array([3]))
    channels = {"DCR": (two, two, three), "CRD": (three, two, two), "mixed": (two, three, two)}[order]
    split = b.add("Concat", parts[0], *channels, *parts[1:], axis=0)
    perm = {"DCR": [0, 3, 4, 1, 5, 2], "CRD": [0, 1, 4, 2, 5, 3], "mixed": [0, 2, 4, 1, 5, 3]}[order]
    doubled = [b.add("Mul", part, two) for part in parts[1:]]
    whole = b.add("Concat", parts[0], three, *doubled, axis=0)
    b.add("Reshape", b.nodes[10].output[0], split)
    b.add("Transpose", b.last, perm=perm)
    b.add("Reshape", b.last, whole)
    b.add("Transpose", b.last, perm=[0, 2, 3, 1])
    by_hand(b, tmp_path)


def test_nearest_enlargements_by_tiles(tmp_path):
    """Keras's UpSampling2D, as tf2onnx writes it: each row, then each column is repeated along an axis of its own."""
    b = tensorflow_graph()
    b.add("Conv", b.last, b.random(3, 12, 3, 3), pads=[1, 1, 1, 1])
    b.add("Transpose", b.last, perm=[0, 2, 3, 1])
    for axis in (1, 2):
        before = b.last
        shape = b.add("Shape", before)
        b.add("Mul", shape, b.constant(np.array([1 + (number == axis) for number in range(4)])))
        wanted = b.last
        b.add("Unsqueeze", before, b.constant(np.array([axis + 1])))
        b.add("Tile", b.last, b.constant(np.array([1 + (number == axis + 1) for number in range(5)])))
        b.add("Reshape", b.last, wanted)
    by_hand(b, tmp_path)


OPERATORS = [
    ("HardSigmoid", {"alpha": 0.3}),
    ("HardSwish", {}),
    ("Elu", {"alpha": 0.7}),
    ("Selu", {}),
    ("Softsign", {}),
    ("Softplus", {}),
    ("Erf", {}),
    ("Exp", {}),
    ("Abs", {}),
    ("Neg", {}),
    ("Gelu", {"approximate": "tanh"}),
    ("Mish", {}),
    ("GlobalAveragePool", {}),
    ("ReduceMean", {"noop_with_empty_axes": 1}),
    ("AveragePool", {"kernel_shape": [3, 2], "strides": [1, 1], "pads": [1, 0, 1, 1]}),
    ("MaxPool", {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}),
    ("SpaceToDepth", {"blocksize": 1}),
    ("Dropout", {}),
    ("DepthToSpace", {"blocksize": 2}),
]


@pytest.mark.parametrize(("kind", "words"), OPERATORS)
def test_operators(kind, words, tmp_path):
    b = GraphBuilder(["n", 3, "h", "w"], opset=20)
    first = b.add("Conv", "x", b.random(8, 3, 3, 3), pads=[1, 1, 1, 1])
    b.add(kind, first, **words)
    if kind == "GlobalAveragePool":  # a gate
        b.add("Mul", b.last, first)
    by_hand(b, tmp_path)


@pytest.mark.parametrize("kind", ["Add", "Sub", "Mul", "Div", "Max", "Min", "Pow"])
@pytest.mark.parametrize("shape", [(), (1,), (1, 8, 1, 1), (8, 1, 1)])
def test_arithmetic_with_constants(kind, shape, tmp_path):
    b = GraphBuilder(["n", 3, "h", "w"], opset=13)
    made = b.add("Conv", "x", b.random(8, 3, 3, 3), pads=[1, 1, 1, 1])
    constant = b.constant(np.full((), 2, "f4") if kind == "Pow" else b.rng.uniform(0.5, 2, shape).astype("f4"))
    b.add(kind, made, constant)
    if kind in ("Add", "Sub", "Mul"):
        b.add(kind, constant, b.last)
    by_hand(b, tmp_path)


def test_slices_and_pads_of_all_kinds(tmp_path):
    b = GraphBuilder(["n", 3, "h", "w"], opset=13)
    b.add("Conv", "x", b.random(8, 3, 3, 3), pads=[1, 1, 1, 1])
    b.add("Pad", b.last, b.constant(np.array([0, 0, 1, -2, 0, 0, 3, 1])), b.constant(np.float32(0.5)))
    b.add("Pad", b.last, b.constant(np.array([0, 0, 2, 0, 0, 0, 0, 1])), mode="edge")
    b.add("Slice", b.last, *(b.constant(np.array(each)) for each in ([1, 2], [7, -1], [1, 3])))
    b.add("Slice", b.last, *(b.constant(np.array(each)) for each in ([1, 0], [1 << 40, 1 << 40], [2, 3], [2, 3])))
    b.add("Slice", b.last, *(b.constant(np.array(each)) for each in ([-1], [-(1 << 40)], [1], [-2])))
    b.add("Conv", b.last, b.random(3, 3, 1, 1))
    by_hand(b, tmp_path)


def test_a_network_that_reads_the_largest_of_its_outputs(tmp_path):
    b = GraphBuilder(["n", 1, "h", "w"], opset=13)
    b.add("Conv", "x", b.random(1, 1, 3, 3), pads=[1, 1, 1, 1])
    small = b.last
    b.add("ConvTranspose", b.last, b.random(1, 1, 2, 2), strides=[2, 2])
    model = b.model()
    model.graph.output.insert(0, onnx.ValueInfoProto(name=small))
    onnx.save(model, tmp_path / "a.onnx")
    network, notes = network_of(tmp_path / "a.onnx")
    assert network.output_shape((5, 6)) == (10, 12)
    assert notes == ("its output 'y1' is read, and not 'y0'",)


REFUSED = {
    "Softmax": (("Softmax", {"axis": 1}), "attention, which reads all pixels for each one"),
    "GridSample": (("GridSample", {}), "samples at places that it computes"),
    "Rows": (("Concat", {"axis": 2}), "works along axis 2 of [N, C, H, W]; the whole axis of the channels is needed"),
    "Mean": (("ReduceMean", {"axes": [2]}), "reduces the axes H of [N, C, H, W]; the mean over all rows and columns"),
    "Unknown": (("LpPool", {"kernel_shape": [2, 2]}), "the operator LpPool is not read"),
    "Power": (("Pow", {}), "has the power 2.5; 2, 3, 4, 1, 0.5, -0.5 and -1 are read"),
    "Size": (("Resize", {}), "has the sizes [1, 8, 50, 60], which are no multiple of those before it"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(name, tmp_path):
    (kind, words), message = REFUSED[name]
    b = GraphBuilder(["n", 3, "h", "w"], opset=16)
    b.add("Conv", "x", b.random(8, 3, 3, 3), pads=[1, 1, 1, 1])
    more = {"GridSample": ["x"], "Concat": [b.last], "Pow": [b.constant(np.float32(2.5))]}.get(kind, [])
    if kind == "Resize":
        more = ["", "", b.constant(np.array([1, 8, 50, 60]))]
    b.add(kind, b.last, *more, **words)
    with pytest.raises(FileError) as caught:
        network_of(b.save(tmp_path / "a.onnx"))
    assert message in str(caught.value)
    assert f"{kind} 'n1'" in str(caught.value)


@pytest.mark.parametrize("name", ["unet", "shuffled", "rfdn"])
def test_altered_networks_are_refused_or_equal_onnx_runtime(name, tmp_path):
    net, channels, multiple = upscaling_networks.built(name)
    path = export(net, torch.rand(1, channels, *SIZES[multiple][1]), tmp_path / "a.onnx", "script 17")
    model, rng, compared, messages = onnx.load(path), random.Random(1), 0, list[str]()
    x = np.random.default_rng(0).random((1, channels, 33, 41), np.float32)
    for _ in range(40):
        path.write_bytes(changed(model, rng))
        try:
            network, _ = network_of(path)
            if network.channels[0] != channels or np.prod(network.output_shape((33, 41))) > 1 << 20:
                continue
            made = network(x)
        except TconvError as error:
            messages.append(str(error))
            continue
        try:
            wanted = onnxruntime_says(path, x)
        except Exception:  # what tconv reads and ONNX Runtime refuses: an opset, a name
            continue
        close(made, wanted, 1e-4)
        compared += 1
    assert compared > 3
    assert len(messages) > 3
    assert not [each for each in messages if "of a kind that is not read" in each]


@pytest.mark.parametrize(
    ("stated", "value_range", "order"),
    [
        ({}, (0, 1), "RGB"),
        ({"Image.NominalPixelRange": "NominalRange_0_255"}, (0, 255), "RGB"),
        ({"Image.NominalPixelRange": "Normalized_1_1", "Image.BitmapPixelFormat": "Bgr8"}, (-1, 1), "BGR"),
    ],
)
def test_ranges_and_orders_that_files_state(stated, value_range, order, tmp_path):
    b = GraphBuilder(["n", 3, "h", "w"], opset=13)
    b.add("ConvTranspose", "x", b.random(3, 3, 2, 2), strides=[2, 2])
    model = b.model()
    helper.set_model_props(model, stated)
    onnx.save(model, tmp_path / "a.onnx")
    made = load(tmp_path / "a.onnx")
    assert (made.value_range, made.order) == (value_range, order)
    helper.set_model_props(model, {"Image.NominalPixelRange": "16 to 235"})
    onnx.save(model, tmp_path / "a.onnx")
    with pytest.raises(FileError, match=r"image\.nominalpixelrange='16 to 235'; NominalRange_0_255, "):
        load(tmp_path / "a.onnx")
