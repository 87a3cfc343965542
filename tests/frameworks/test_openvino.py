"""OpenVINO in a process of its own: random nodes of both operations on its CPU plugin."""

from __future__ import annotations

import numpy as np
import openvino
import pytest
from harness import Conformance, check_adjoint, check_writing, whole_numbers
from openvino import opset15 as ops

import tconv
from tconv.errors import ArgumentError, GeometryError

TOGETHER = 24  # a compilation takes 20 ms whether it holds one node or many


def node(x, w, words):
    operation = ops.convolution_backprop_data if w.ndim == x.ndim else ops.group_convolution_backprop_data
    return operation(ops.constant(x), ops.constant(w), **words)


def run(nodes):
    return list(openvino.compile_model(openvino.Model(nodes, []), "CPU")([]).values())


def native(x, w, bias, words):
    y = run([node(x, w, words)])[0]
    return y if bias is None else y + bias.reshape(-1, *[1] * (x.ndim - 2))  # the operations have no bias


def results(calls):
    """The native results of many calls, compiled together where OpenVINO takes them together, else one by one."""
    for start in range(0, len(calls), TOGETHER):
        part = calls[start : start + TOGETHER]
        fine = []
        for x, w, _, words in part:
            try:
                tconv.dialect("openvino").read(x.shape, w.shape, words).geometry.output_shape(x.shape[2:])
                fine.append(node(x, w, words))
            except Exception:  # of OpenVINO too: made again, and counted, one by one
                fine.append(None)
        try:
            together = iter(run([one for one in fine if one is not None]))
            yield from (None if one is None else next(together) for one in fine)
        except RuntimeError:
            yield from [None] * len(part)


def random_call(rng, ndim):
    """x, weight, bias and the attributes of a node, some of them illegal; half of the weights are grouped."""
    draw = lambda lo, hi: [int(v) for v in rng.integers(lo, hi, ndim)]  # noqa: E731
    groups = int(rng.choice([0, 0, 2, 3]))  # 0 is the operation without groups
    c_in, c_out = int(rng.choice([1, 2, 5, 7])), int(rng.integers(1, 4))
    n, k, s, d = draw(1, 6), draw(1, 5), draw(1, 5), draw(1, 4)
    words = {"strides": s}
    if rng.random() < 0.5:
        words["dilations"] = d
    else:
        d = [1] * ndim
    if rng.random() < 0.6:
        words["pads_begin"], words["pads_end"] = draw(0, 4), draw(0, 4)
    if rng.random() < 0.5:
        words["output_padding"] = draw(0, 5)
    if rng.random() < 0.5:
        words["auto_pad"] = str(rng.choice(["same_upper", "same_lower", "valid", "explicit", "SAME_UPPER"]))
    if rng.random() < 0.5:
        full = [s_ * (n_ - 1) + d_ * (k_ - 1) + 1 for n_, k_, s_, d_ in zip(n, k, s, d, strict=True)]
        words["output_shape"] = [max(1, F + int(rng.integers(-5, 5))) for F in full]
    illegal = rng.random()
    if illegal < 0.02 and not (groups and "output_shape" in words):  # which drops the pads
        words["pads_begin"] = [-1] * ndim
    elif illegal < 0.04:
        words["strides"] = [*s, 1]
    elif illegal < 0.05:
        words["auto_pad"] = "notset"
    elif illegal < 0.06:
        words["dilations"] = [0] * ndim
    elif illegal < 0.07:
        words["output_shape"] = [1, 1, *n]
    elif illegal < 0.08:
        del words["strides"]
    x = whole_numbers(rng, (int(rng.integers(1, 3)), c_in * max(groups, 1) + (illegal > 0.98), *n))
    w = whole_numbers(rng, (groups, c_in, c_out, *k) if groups else (c_in, c_out, *k))
    return x, w, whole_numbers(rng, (c_out * max(groups, 1),)) if rng.random() < 0.3 else None, words


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_random_nodes(ndim):
    rng = np.random.default_rng(ndim)
    calls = [random_call(rng, ndim) for _ in range({1: 900, 2: 900, 3: 400}[ndim])]
    ready = results(calls)

    def one(x, w, bias, words):
        y = next(ready)
        if y is None:
            return native(x, w, bias, words)
        return y if bias is None else y + bias.reshape(-1, *[1] * ndim)

    conformance = Conformance("openvino", one)
    for call in calls:
        conformance.check(*call)
    print(conformance.tally)
    assert conformance.tally["equal"] > 200
    assert conformance.tally["refused"] > 20


def test_the_adjoint():
    rng, held = np.random.default_rng(5), 0
    for _ in range(300):
        x, w, _, words = random_call(rng, int(rng.integers(1, 4)))
        words.pop("output_shape", None)
        held += check_adjoint("openvino", x, w, words)
    assert held > 150
    for rule, sizes in (("same_upper", (7, 8)), ("same_lower", (7, 8)), ("valid", (9, 10)), ("explicit", (8, 9))):
        for size in sizes:  # the sizes that a convolution takes to 4
            words = {"strides": [2], "auto_pad": rule, "pads_begin": [1], "output_shape": [size]}
            assert check_adjoint("openvino", np.ones((1, 1, 4)), whole_numbers(rng, (1, 1, 3)), words)


def test_code_runs():
    tally = check_writing("openvino", {"openvino": openvino, "np": np}, groups=[1, 2, 3])
    assert tally["one call"] > 50
    assert tally["call and slice"] > 50
    assert not tally["cannot be said"]


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_weights(ndim):
    w = whole_numbers(np.random.default_rng(ndim), (6, 2, *range(3, 3 + ndim)))
    grouped = w.reshape(3, 2, 2, *w.shape[2:])
    np.testing.assert_array_equal(tconv.convert(w, source="torch", target="openvino"), w)
    np.testing.assert_array_equal(tconv.convert(w, source="torch", target="openvino", groups=3), grouped)
    np.testing.assert_array_equal(tconv.convert(grouped, source="openvino", target="torch", groups=3), w)


def test_the_specifications_examples():
    """ConvolutionBackpropData of the operation set: 1x20x224x224 with a 20x10x3x3 kernel and strides of 2."""
    read = tconv.dialect("openvino").geometry
    words = {"kernel": (3, 3), "input": (224, 224), "strides": [2, 2]}
    assert read(**words, pads_begin=[1, 1], pads_end=[1, 1]).output_shape((224, 224)) == (447, 447)
    padded = read(**words, pads_begin=[0, 0], pads_end=[0, 0], output_padding=[3, 3])
    assert padded.output_shape((224, 224)) == (452, 452)
    stated = read(**words, auto_pad="valid", output_shape=[450, 450])
    assert stated.output_shape((224, 224)) == (450, 450)
    x, w = whole_numbers(np.random.default_rng(0), (1, 4, 9, 8)), whole_numbers(np.random.default_rng(1), (4, 2, 3, 3))
    for words in ({"output_padding": [3, 3]}, {"auto_pad": "valid", "output_shape": [19, 18]}):
        expected = native(x, w, None, {"strides": [2, 2], **words})
        np.testing.assert_array_equal(tconv.conv_transpose(x, w, dialect="openvino", strides=[2, 2], **words), expected)


def test_an_empty_batch():
    x, w = np.ones((0, 2, 3, 4), "f"), np.ones((2, 3, 2, 2), "f")
    words = {"strides": [2, 1], "output_padding": [1, 0]}
    assert tconv.conv_transpose(x, w, dialect="openvino", **words).shape == native(x, w, None, words).shape


def test_the_faults():
    """Pointwise nodes whose pads shift the output, and grouped ones with pads beside an output_shape."""
    pointwise, grouped = (fault.applies for fault in tconv.dialect("openvino").faults)
    rng = np.random.default_rng(0)
    x, w = whole_numbers(rng, (1, 2, 4)), whole_numbers(rng, (2, 1, 1))
    words = {"strides": [1], "pads_begin": [1], "output_padding": [1]}
    assert pointwise(tconv.dialect("openvino").geometry(kernel=1, **words), (4,), words)
    np.testing.assert_array_equal(native(x, w, None, words), native(x, w, None, {"strides": [1]}))
    ours = tconv.conv_transpose(x, w, dialect="openvino", **words)
    np.testing.assert_array_equal(ours[..., :-1], native(x, w, None, {"strides": [1]})[..., 1:])
    w = whole_numbers(rng, (2, 1, 1, 3))
    words = {"strides": [2], "pads_begin": [1], "output_shape": [7]}
    assert grouped(tconv.dialect("openvino").geometry(kernel=3, input=4, **words), (4,), words)
    del words["pads_begin"]
    np.testing.assert_array_equal(native(x, w, None, {**words, "pads_begin": [1]}), native(x, w, None, words))


def test_one_group():
    """The grouped operation with a single group: read as the plain one, which the CPU plugin runs."""
    rng = np.random.default_rng(0)
    x, w = whole_numbers(rng, (1, 3, 4)), whole_numbers(rng, (1, 3, 2, 3))
    expected = native(x, w[0], None, {"strides": [2]})
    np.testing.assert_array_equal(tconv.conv_transpose(x, w, dialect="openvino", strides=[2]), expected)
    with pytest.raises(RuntimeError, match="could not create a primitive descriptor"):
        native(x, w, None, {"strides": [2]})


def test_what_is_refused():
    x, w = np.ones((1, 2, 4, 4), "f"), np.ones((2, 3, 3, 3), "f")
    call = lambda w=w, **words: tconv.conv_transpose(x, w, dialect="openvino", **words)  # noqa: E731
    with pytest.raises(ArgumentError, match=r"strides is missing; OpenVINO has no default.*Write strides="):
        call()
    with pytest.raises(ArgumentError, match="auto_pad is 'notset'; OpenVINO knows explicit, same_upper"):
        call(strides=[1, 1], auto_pad="notset")
    with pytest.raises(GeometryError, match=r"pads_begin is \(0, -1\); OpenVINO needs them to be at least 0"):
        call(strides=[1, 1], pads_begin=[0, -1])
    with pytest.raises(ArgumentError, match="groups= is not an argument of the openvino dialect"):
        call(strides=[1, 1], groups=2)
    with pytest.raises(tconv.TconvError, match="has 6 input channels as OpenVINO reads it; x has 2"):
        call(np.ones((2, 3, 1, 3, 3), "f"), strides=[1, 1])


def test_its_onnx_importer_within_the_listed_faults():
    onnx = pytest.importorskip("onnx")
    from test_onnx import feeds, random_call
    from test_onnx import node as onnx_node

    core, (pointwise, _) = openvino.Core(), (fault.applies for fault in tconv.dialect("openvino").faults)

    def imported(x, w, bias, words):
        tensors = [onnx.numpy_helper.from_array(a, name) for name, a in feeds(x, w, bias).items() if name != "x"]
        value = onnx.helper.make_tensor_value_info
        graph = onnx.helper.make_graph(
            [onnx_node(x, w, bias, words)], "g", [value("x", 1, x.shape)], [value("y", 1, [None] * x.ndim)], tensors
        )
        model = onnx.helper.make_model(graph, ir_version=10, opset_imports=[onnx.helper.make_opsetid("", 22)])
        return core.compile_model(core.read_model(model.SerializeToString(), b""), "CPU")([x])[0]

    rng = np.random.default_rng(0)
    conformance = Conformance("onnx", imported, versions="openvino")
    for _ in range(160):
        x, w, bias, words = random_call(rng, int(rng.integers(1, 3)))
        try:
            call = tconv.dialect("onnx").read(x.shape, w.shape, words)
        except tconv.TconvError:
            continue  # OpenVINO takes any output_padding
        if not pointwise(call.geometry, x.shape[2:], words):
            conformance.check(x, w, bias, words)
    assert conformance.tally["equal"] > 60
    assert sum(count for what, count in conformance.tally.items() if what.startswith("fault")) > 20
