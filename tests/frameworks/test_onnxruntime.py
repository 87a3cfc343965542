"""ONNX Runtime in a process of its own: random nodes against its own rules, and against ONNX's within listed faults."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.parser
import onnxruntime
import pytest
from harness import Conformance, check_adjoint, check_code
from test_onnx import feeds, node, random_call

import tconv
from random_calls import whole_numbers
from tconv.errors import GeometryError, ShapeError

OPTIONS = onnxruntime.SessionOptions()
OPTIONS.intra_op_num_threads = 1  # a session for every call: no threads to start
OPTIONS.log_severity_level = 4


def native(x, w, bias, arguments):
    arrays = feeds(x, w, bias)
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [node(x, w, bias, arguments)],
        "g",
        [value(name, 1, array.shape) for name, array in arrays.items()],
        [value("y", 1, [None] * x.ndim)],
    )
    model = onnx.helper.make_model(graph, ir_version=10, opset_imports=[onnx.helper.make_opsetid("", 22)])
    return onnxruntime.InferenceSession(model.SerializeToString(), OPTIONS).run(None, arrays)[0]


def some_calls(ndim, count):
    rng = np.random.default_rng([ndim, count])
    for _ in range(count):
        x, w, bias, arguments = random_call(rng, ndim)
        chance = rng.random()
        if chance < 0.03:
            arguments["kernel_shape"] = [size + 1 for size in w.shape[2:]]
        elif chance < 0.06:
            arguments |= {"auto_pad": "SAME_UPPER", "pads": [0] * 2 * ndim}
        elif chance < 0.1 and "output_shape" in arguments:
            arguments["output_shape"] = [len(x), w.shape[1] * arguments.get("group", 1), *arguments["output_shape"]]
        elif chance < 0.15 and "output_shape" in arguments:
            arguments = {k: v for k, v in arguments.items() if k != "auto_pad"} | {"pads": [0] * (2 * ndim - 1) + [-1]}
        yield x, w, bias, arguments


@pytest.mark.parametrize("ndim", [1, 2, 3, 4])
def test_random_nodes(ndim):
    conformance = Conformance("onnxruntime", native, versions="1.32")  # those listed are of older versions
    for call in some_calls(ndim, {1: 2000, 2: 2000, 3: 1000, 4: 300}[ndim]):
        conformance.check(*call)
    print(conformance.tally)
    assert conformance.tally["equal"] > 100
    assert conformance.tally["refused"] > 50


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_onnxs_own_rules_within_the_listed_faults(ndim):
    conformance = Conformance("onnx", native, versions="onnxruntime 1.32")
    for call in some_calls(ndim, {1: 1500, 2: 1500, 3: 600}[ndim]):
        conformance.check(*call)
    print(conformance.tally)
    assert conformance.tally["output of fault: onnx_negative_pads"] > 50
    assert conformance.tally["fault: onnx_negative_pads_refused"] > 20
    assert conformance.tally["fault: onnx_output_padding_from_stride"] > 50
    assert conformance.tally["equal"] > 150
    assert conformance.tally["refused"] > 50
    assert conformance.tally.total() > 2 * sum(n for key, n in conformance.tally.items() if key.startswith("fault"))


def test_an_empty_batch():
    x, w = np.ones((0, 2, 3, 4), "f"), np.ones((2, 3, 2, 2), "f")
    assert native(x, w, None, {}).shape == tconv.conv_transpose(x, w, dialect="onnxruntime").shape == (0, 3, 4, 5)


def test_the_adjoint():
    checked = 0
    for x, w, _, arguments in some_calls(2, 300):
        arguments.pop("output_shape", None)
        checked += check_adjoint("onnxruntime", x, w, arguments)
    assert checked > 100


def test_code_runs():
    tally = check_code("onnxruntime", {"onnx": onnx, "onnxruntime": onnxruntime, "np": np}, groups=[1, 2, 3], count=100)
    assert tally["one call"] > 15
    assert tally["call and slice"] > 15
    assert not tally["cannot be expressed"]


def loaded_without_sizes(x, w, bias, arguments):
    """Return the result where the sizes of the weight, an input, are not known when the model is loaded."""
    arrays, value = feeds(x, w, bias), onnx.helper.make_tensor_value_info
    inputs = [value(name, 1, [None] * array.ndim) for name, array in arrays.items()]
    graph = onnx.helper.make_graph([node(x, w, bias, arguments)], "g", inputs, [value("y", 1, [None] * x.ndim)])
    model = onnx.helper.make_model(graph, ir_version=10, opset_imports=[onnx.helper.make_opsetid("", 22)])
    return onnxruntime.InferenceSession(model.SerializeToString(), OPTIONS).run(None, arrays)[0]


def test_negative_pads_without_the_kernels_size():
    """They are computed there as the specification's formula has them, and as the dialect "onnx" reads them."""
    rng, shifted = np.random.default_rng(0), 0
    for _ in range(200):
        x, w, bias, arguments = random_call(rng, 2)
        if min(arguments.get("pads", [0])) >= 0 or "kernel_shape" in arguments:
            continue
        try:
            expected = tconv.conv_transpose(x, w, bias, dialect="onnx", **arguments)
            got = loaded_without_sizes(x, w, bias, arguments)
        except (tconv.TconvError, onnxruntime.capi.onnxruntime_pybind11_state.Fail):
            continue
        np.testing.assert_array_equal(got, expected, err_msg=str(arguments))
        shifted += min(arguments["pads"][:2]) < 0
    assert shifted > 3


def test_what_to_write_for_negative_pads():
    """The advice of each refusal is taken by ONNX Runtime, and means what ONNX's formula means."""
    rng = np.random.default_rng(0)
    x, w = whole_numbers(rng, (1, 2, 3, 3)), whole_numbers(rng, (2, 3, 2, 2))
    behind, given = {"strides": [4, 4], "pads": [0, 1, -2, 0]}, {"strides": [4, 4], "pads": [-1] * 4}
    with pytest.raises(GeometryError, match="refuses negative ones where the kernel's size is known") as refusal:
        tconv.conv_transpose(x, w, dialect="onnxruntime", **behind)
    advice = str(refusal.value).partition("Write ")[2].removesuffix(", which mean the same")
    written = eval(f"dict({advice})") | {"strides": [4, 4]}
    expected = tconv.conv_transpose(x, w, dialect="onnx", **behind)
    np.testing.assert_array_equal(tconv.conv_transpose(x, w, dialect="onnxruntime", **written), expected)
    np.testing.assert_array_equal(native(x, w, None, written), expected)
    with pytest.raises(GeometryError, match=r'Write dialect="onnx", which extends the output by them'):
        tconv.conv_transpose(x, w, dialect="onnxruntime", **given)
    with pytest.raises(GeometryError, match="Write output_shape alone, beside which pads are ignored"):
        tconv.conv_transpose(x, w, dialect="onnxruntime", **given, output_shape=[12, 12])


def test_its_two_differences_from_onnx():
    """SAME with a kernel shorter than the stride, and an output_shape beyond the full result."""
    rng = np.random.default_rng(0)
    x, w = whole_numbers(rng, (1, 2, 3)), whole_numbers(rng, (2, 1, 2))
    same = {"strides": [4], "auto_pad": "SAME_UPPER"}
    assert tconv.dialect("onnx").geometry(kernel=2, input=3, **same).crop == ((-1, -1),)
    assert tconv.dialect("onnxruntime").geometry(kernel=2, input=3, **same).crop == ((0, 0),)
    np.testing.assert_array_equal(native(x, w, None, same), tconv.conv_transpose(x, w, dialect="onnxruntime", **same))
    assert native(x, w, None, same).shape == (1, 1, 10)
    stated = {"strides": [4], "output_shape": [12]}
    assert tconv.dialect("onnx").geometry(kernel=2, input=3, **stated).crop == ((-1, -1),)
    assert tconv.dialect("onnxruntime").geometry(kernel=2, input=3, **stated).crop == ((0, -2),)
    np.testing.assert_array_equal(
        native(x, w, None, stated), tconv.conv_transpose(x, w, dialect="onnxruntime", **stated)
    )
    with pytest.raises(ShapeError, match="output_shape is 4 elements larger than the full result on spatial axis 0"):
        tconv.conv_transpose(x, w, dialect="onnxruntime", strides=[4], output_shape=[14])
    with pytest.raises(GeometryError, match="ONNX Runtime needs it below 2 there, with stride 2 and dilation 3"):
        tconv.conv_transpose(x, w, dialect="onnxruntime", strides=[2], dilations=[3], output_padding=[2])


def test_its_shapes():
    """A session has the names of unknown sizes in a list."""
    model = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["": 22]> g (float[6, W] x) => (float[6, W] y) { y = Relu (x) }'
    )
    shape = onnxruntime.InferenceSession(model.SerializeToString()).get_inputs()[0].shape
    with pytest.raises(GeometryError, match=r"\(6, 'W'\), of unknown size on axis 1; every entry must be an integer"):
        tconv.Geometry((3, 3)).output_shape(shape)
