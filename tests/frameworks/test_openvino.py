"""OpenVINO in a process of its own: random nodes of both operations on its CPU plugin."""

from __future__ import annotations

import inspect

import numpy as np
import openvino
import pytest
from harness import Conformance, check_adjoint, check_code, meets_fault
from openvino import opset15 as ops

import tconv
from random_calls import integers, random_sizes, whole_numbers
from random_calls.shapes import check_shapes
from tconv.dialects.faults import FAULTS
from tconv.errors import ArgumentError, GeometryError

TOGETHER = 24  # a compilation takes 20 ms, with one node or many


def node(x, w, arguments):
    operation = ops.convolution_backprop_data if w.ndim == x.ndim else ops.group_convolution_backprop_data
    return operation(ops.constant(x), ops.constant(w), **arguments)


def run(nodes):
    return list(openvino.compile_model(openvino.Model(nodes, []), "CPU")([]).values())


def native(x, w, bias, arguments):
    y = run([node(x, w, arguments)])[0]
    return y if bias is None else y + bias.reshape(-1, *[1] * (x.ndim - 2))  # the operations have no bias


def results(calls):
    """The native results of many calls, compiled together where OpenVINO takes them together, else one by one."""
    for start in range(0, len(calls), TOGETHER):
        part = calls[start : start + TOGETHER]
        nodes = []
        for x, w, _, arguments in part:
            try:
                tconv.dialect("openvino").read(x.shape, w.shape, arguments).geometry.output_shape(x.shape[2:])
                nodes.append(node(x, w, arguments))
            except Exception:  # also of OpenVINO: such calls are repeated, and counted, one by one
                nodes.append(None)
        try:
            together = iter(run([one for one in nodes if one is not None]))
            yield from (None if one is None else next(together) for one in nodes)
        except RuntimeError:
            yield from [None] * len(part)


def random_call(rng, ndim):
    """Draw x, weight, bias and the attributes of a node, some of them illegal; half of the weights are grouped."""
    draw = lambda span: list(integers(rng, ndim, span))  # noqa: E731
    sizes = random_sizes(rng, ndim, s=(1, 4), dilated=0.5, groups=(1, 1, 2, 3))
    n, k, s, grouped = sizes.n, sizes.k, list(sizes.s), sizes.groups > 1
    arguments = {"strides": s}
    if max(sizes.d) > 1 or rng.random() < 0.2:
        arguments["dilations"] = list(sizes.d)
    if rng.random() < 0.6:
        arguments["pads_begin"], arguments["pads_end"] = draw((0, 3)), draw((0, 3))
    if rng.random() < 0.5:
        arguments["output_padding"] = draw((0, 4))
    if rng.random() < 0.5:
        arguments["auto_pad"] = str(rng.choice(["same_upper", "same_lower", "valid", "explicit", "SAME_UPPER"]))
    if rng.random() < 0.5:
        arguments["output_shape"] = [max(1, F + int(rng.integers(-5, 5))) for F in sizes.full]
    illegal = rng.random()
    if illegal < 0.02 and not (grouped and "output_shape" in arguments):  # which drops the pads
        arguments["pads_begin"] = [-1] * ndim
    elif illegal < 0.04:
        arguments["strides"] = [*s, 1]
    elif illegal < 0.05:
        arguments["auto_pad"] = "notset"
    elif illegal < 0.06:
        arguments["dilations"] = [0] * ndim
    elif illegal < 0.07:
        arguments["output_shape"] = [1, 1, *n]
    elif illegal < 0.08:
        del arguments["strides"]
    x = whole_numbers(rng, (sizes.batch, sizes.c_in + (illegal > 0.98), *n))
    per_group = (sizes.in_per_group, sizes.out_per_group, *k)
    w = whole_numbers(rng, (sizes.groups, *per_group) if grouped else per_group)
    return x, w, whole_numbers(rng, (sizes.c_out,)) if rng.random() < 0.3 else None, arguments


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_random_nodes(ndim):
    rng = np.random.default_rng(ndim)
    calls = [random_call(rng, ndim) for _ in range({1: 600, 2: 600, 3: 400}[ndim])]
    native_results = results(calls)

    def one(x, w, bias, arguments):
        y = next(native_results)
        if y is None:
            return native(x, w, bias, arguments)
        return y if bias is None else y + bias.reshape(-1, *[1] * ndim)

    conformance = Conformance("openvino", one)
    for call in calls:
        conformance.check(*call)
    print(conformance.tally)
    assert conformance.tally["equal"] > 200
    assert conformance.tally["refused"] > 20


def test_the_adjoint():
    rng, checked = np.random.default_rng(5), 0
    for _ in range(300):
        x, w, _, arguments = random_call(rng, int(rng.integers(1, 4)))
        arguments.pop("output_shape", None)
        checked += check_adjoint("openvino", x, w, arguments)
    assert checked > 150
    for rule, sizes in (("same_upper", (7, 8)), ("same_lower", (7, 8)), ("valid", (9, 10)), ("explicit", (8, 9))):
        for size in sizes:  # the sizes that a convolution takes to 4
            arguments = {"strides": [2], "auto_pad": rule, "pads_begin": [1], "output_shape": [size]}
            assert check_adjoint("openvino", np.ones((1, 1, 4)), whole_numbers(rng, (1, 1, 3)), arguments)


def test_code_runs():
    tally = check_code("openvino", {"openvino": openvino, "np": np}, groups=[1, 2, 3], count=80)
    assert tally["one call"] > 20
    assert tally["call and slice"] > 20
    assert not tally["cannot be expressed"]


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
    arguments = {"kernel": (3, 3), "input": (224, 224), "strides": [2, 2]}
    assert read(**arguments, pads_begin=[1, 1], pads_end=[1, 1]).output_shape((224, 224)) == (447, 447)
    padded = read(**arguments, pads_begin=[0, 0], pads_end=[0, 0], output_padding=[3, 3])
    assert padded.output_shape((224, 224)) == (452, 452)
    stated = read(**arguments, auto_pad="valid", output_shape=[450, 450])
    assert stated.output_shape((224, 224)) == (450, 450)
    x, w = whole_numbers(np.random.default_rng(0), (1, 4, 9, 8)), whole_numbers(np.random.default_rng(1), (4, 2, 3, 3))
    for arguments in ({"output_padding": [3, 3]}, {"auto_pad": "valid", "output_shape": [19, 18]}):
        expected = native(x, w, None, {"strides": [2, 2], **arguments})
        np.testing.assert_array_equal(
            tconv.conv_transpose(x, w, dialect="openvino", strides=[2, 2], **arguments), expected
        )


def test_an_empty_batch():
    x, w = np.ones((0, 2, 3, 4), "f"), np.ones((2, 3, 2, 2), "f")
    arguments = {"strides": [2, 1], "output_padding": [1, 0]}
    assert tconv.conv_transpose(x, w, dialect="openvino", **arguments).shape == native(x, w, None, arguments).shape


def test_the_faults():
    """Pointwise nodes whose pads shift the output, and grouped ones with pads beside an output_shape."""
    rng = np.random.default_rng(0)
    x, w = whole_numbers(rng, (1, 2, 4)), whole_numbers(rng, (2, 1, 1))
    arguments = {"strides": [1], "pads_begin": [1], "output_padding": [1]}
    assert meets_fault("openvino_shifted_pointwise", "openvino", x, w, arguments)
    np.testing.assert_array_equal(native(x, w, None, arguments), native(x, w, None, {"strides": [1]}))
    ours = tconv.conv_transpose(x, w, dialect="openvino", **arguments)
    np.testing.assert_array_equal(ours[..., :-1], native(x, w, None, {"strides": [1]})[..., 1:])
    w = whole_numbers(rng, (2, 1, 1, 3))
    arguments = {"strides": [2], "pads_begin": [1], "output_shape": [7]}
    assert meets_fault("openvino_group_pads", "openvino", x, w, arguments)
    del arguments["pads_begin"]
    np.testing.assert_array_equal(native(x, w, None, {**arguments, "pads_begin": [1]}), native(x, w, None, arguments))


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
    call = lambda w=w, **arguments: tconv.conv_transpose(x, w, dialect="openvino", **arguments)  # noqa: E731
    with pytest.raises(ArgumentError, match=r"strides is missing; OpenVINO has no default.*Write strides="):
        call()
    with pytest.raises(ArgumentError, match="auto_pad is 'notset'; OpenVINO has explicit, same_upper"):
        call(strides=[1, 1], auto_pad="notset")
    with pytest.raises(GeometryError, match=r"pads_begin is \(0, -1\); OpenVINO needs at least 0"):
        call(strides=[1, 1], pads_begin=[0, -1])
    with pytest.raises(ArgumentError, match="groups= is not an argument of the openvino dialect"):
        call(strides=[1, 1], groups=2)
    with pytest.raises(tconv.TconvError, match="has 6 input channels as OpenVINO reads it; x has 2"):
        call(np.ones((2, 3, 1, 3, 3), "f"), strides=[1, 1])


def test_its_onnx_importer_within_the_listed_faults():
    onnx = pytest.importorskip("onnx")
    from test_onnx import feeds, random_call
    from test_onnx import node as onnx_node

    core, pointwise = openvino.Core(), FAULTS["openvino_shifted_pointwise"].applies

    def imported(x, w, bias, arguments):
        tensors = [onnx.numpy_helper.from_array(a, name) for name, a in feeds(x, w, bias).items() if name != "x"]
        value = onnx.helper.make_tensor_value_info
        graph = onnx.helper.make_graph(
            [onnx_node(x, w, bias, arguments)], "g", [value("x", 1, x.shape)], [value("y", 1, [None] * x.ndim)], tensors
        )
        model = onnx.helper.make_model(graph, ir_version=10, opset_imports=[onnx.helper.make_opsetid("", 22)])
        return core.compile_model(core.read_model(model.SerializeToString(), b""), "CPU")([x])[0]

    rng = np.random.default_rng(0)
    conformance = Conformance("onnx", imported, versions="openvino")
    for _ in range(240):
        x, w, bias, arguments = random_call(rng, int(rng.integers(1, 3)))
        try:
            call = tconv.dialect("onnx").read(x.shape, w.shape, arguments)
        except tconv.TconvError:
            continue  # OpenVINO takes any output_padding
        if not pointwise(call.geometry, x.shape[2:], arguments):
            conformance.check(x, w, bias, arguments)
    assert conformance.tally["equal"] > 60
    print(conformance.tally)
    for key in ("openvino_onnx_output_shape", "openvino_onnx_group_output_shape", "onnx_negative_pads"):
        assert conformance.tally[f"output of fault: {key}"] > 3
    assert conformance.tally["fault: onnx_negative_pads_refused"] > 3


def test_batchnorm_has_no_default_epsilon():
    parameter = inspect.signature(ops.batch_norm_inference).parameters["epsilon"]
    assert parameter.default is inspect.Parameter.empty
    assert tconv.dialect("openvino").batchnorm_eps is None


def test_its_shapes():
    def partial(sizes):
        return openvino.PartialShape([-1 if size is None else size for size in sizes])

    check_shapes(openvino.Shape)
    check_shapes(partial, unknown=partial)
    with pytest.raises(GeometryError, match="whose rank is unknown; an integer is needed"):
        tconv.Geometry((3, 3)).output_shape(openvino.PartialShape.dynamic())
