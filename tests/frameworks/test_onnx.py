"""ONNX in a process of its own: random nodes, ONNX's own test cases, and the reference evaluator within its faults."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.backend.test
import onnx.reference
import pytest
from harness import Conformance, check_adjoint, check_code
from onnx.backend.test.case.node import collect_testcases

import tconv
from random_calls import random_sizes, whole_numbers
from random_calls.shapes import check_shapes
from tconv.dialects.faults import FAULTS
from tconv.errors import ArgumentError, DialectError, GeometryError, ShapeError


def node(x, w, bias, arguments):
    inputs = ["x", "weight"] if bias is None else ["x", "weight", "bias"]
    return onnx.helper.make_node("ConvTranspose", inputs, ["y"], **arguments)


def feeds(x, w, bias):
    return {"x": x, "weight": w} | ({} if bias is None else {"bias": bias})


def native(x, w, bias, arguments):
    return onnx.reference.ReferenceEvaluator(node(x, w, bias, arguments)).run(None, feeds(x, w, bias))[0]


def random_call(rng, ndim, groups=(1, 1, 1, 2, 3)):
    """Draw x, weight, bias and the attributes of a node, some of them illegal."""
    sizes = random_sizes(rng, ndim, s=(1, 4), groups=groups)
    groups, s, d = sizes.groups, list(sizes.s), list(sizes.d)
    arguments = {"strides": s, "dilations": d, "group": groups}
    rule = rng.choice(["pads", "output_shape", "auto_pad"], p=[0.4, 0.35, 0.25])
    if rng.random() < 0.5:
        stray = rule != "output_shape" and rng.random() < 0.1
        arguments["output_padding"] = [int(rng.integers(0, max(pair) + stray)) for pair in zip(s, d, strict=True)]
    if rule == "pads":
        least = -3 if rng.random() < 0.2 else 0  # exporters write negative pads, which the specification excludes
        arguments["pads"] = [int(v) for v in rng.integers(least, 4, 2 * ndim)]
    elif rng.random() < 0.75 or rule == "auto_pad":
        arguments["auto_pad"] = str(rng.choice(["SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET"], p=[0.4, 0.4, 0.1, 0.1]))
    if rule == "output_shape":
        arguments["output_shape"] = [max(1, F + int(rng.integers(-4, 4))) for F in sizes.full]
    for name in ("strides", "dilations"):
        if set(arguments[name]) == {1} and rng.random() < 0.7:
            del arguments[name]
    if groups == 1 and rng.random() < 0.5:
        del arguments["group"]
    if rng.random() < 0.3:
        arguments["kernel_shape"] = list(sizes.k)
    x = whole_numbers(rng, (sizes.batch, sizes.c_in + (rng.random() < 0.03), *sizes.n))
    w = whole_numbers(rng, (sizes.c_in, sizes.out_per_group, *sizes.k))
    return x, w, whole_numbers(rng, (sizes.c_out,)) if rng.random() < 0.5 else None, arguments


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_random_nodes_in_the_reference_evaluator(ndim):
    rng = np.random.default_rng(ndim)
    conformance = Conformance("onnx", native, versions="ReferenceEvaluator")
    for _ in range({1: 1000, 2: 1000, 3: 1200}[ndim]):
        conformance.check(*random_call(rng, ndim, groups=[1] * 9 + [2]))
    print(conformance.tally)
    assert conformance.tally["output of fault: onnx_reference_output_shape"] > 1
    assert conformance.tally["fault: onnx_output_padding_from_stride"]
    assert conformance.tally["equal"] > 200
    assert conformance.tally["refused"] > 20


def test_the_bias_of_a_depthwise_node_in_the_reference_evaluator():
    """It is the first channel's everywhere, the listed fault."""
    rng = np.random.default_rng(0)
    conformance = Conformance("onnx", native, versions="ReferenceEvaluator")
    for ndim in (1, 2, 3):
        x, w, bias = (whole_numbers(rng, shape) for shape in ((1, 4, *[3] * ndim), (4, 1, *[2] * ndim), (4,)))
        conformance.check(x, w, bias, {"strides": [2] * ndim, "group": 4})
        conformance.check(x, w, None, {"strides": [2] * ndim, "group": 4})
    tally = {"equal": 3, "fault: onnx_reference_groups": 3, "output of fault: onnx_reference_groups": 3}
    assert conformance.tally == tally


def attributes(node):
    """Return the attributes of a node as native arguments."""
    values = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    return {name: value.decode() if isinstance(value, bytes) else value for name, value in values.items()}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # collecting makes the cases of all operators
def test_onnxs_own_node_cases():
    cases = collect_testcases("ConvTranspose")
    assert len(cases) == 11
    for case in cases:
        (node,) = case.model.graph.node
        (inputs, outputs), *_ = case.data_sets
        got = tconv.conv_transpose(*inputs, dialect="onnx", **attributes(node))
        np.testing.assert_array_equal(got, outputs[0], err_msg=case.name)


DATA = Path(onnx.backend.test.__file__).parent / "data"
FILES = [
    "pytorch-converted/test_ConvTranspose2d",
    "pytorch-converted/test_ConvTranspose2d_no_bias",
    "pytorch-operator/test_operator_convtranspose",
]


@pytest.mark.parametrize("folder", FILES)
def test_onnxs_own_file_cases(folder):
    model = onnx.load(DATA / folder / "model.onnx")
    (node,) = model.graph.node
    tensors = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    stored = {
        path.stem: onnx.numpy_helper.to_array(onnx.load_tensor(path))
        for path in (DATA / folder / "test_data_set_0").glob("*.pb")
    }
    free = [entry.name for entry in model.graph.input if entry.name not in tensors]
    tensors |= {name: stored[f"input_{i}"] for i, name in enumerate(free)}
    got = tconv.conv_transpose(*(tensors[name] for name in node.input), dialect="onnx", **attributes(node))
    expected = stored["output_0"]
    truth = tconv.conv_transpose(
        *(tensors[name].astype("float64") for name in node.input), dialect="onnx", **attributes(node)
    )
    assert got.shape == expected.shape
    assert abs(got - truth).max() <= 2 * abs(expected - truth).max() + 1e-6


def test_the_size_of_shape_inference():
    """It is min(s*n, F) + output_padding where the listed fault applies, elsewhere the size."""
    fault = FAULTS["onnx_shape_inference_same"]
    rng, affected = np.random.default_rng(0), 0
    for _ in range(300):
        k, s, n, d = (int(v) for v in rng.integers(1, 5, 4))
        op = int(rng.integers(0, s))
        arguments = {
            "auto_pad": str(rng.choice(["SAME_UPPER", "SAME_LOWER"])),
            "strides": [s],
            "dilations": [d],
            "output_padding": [op],
        }
        x, w = (onnx.helper.make_tensor_value_info(name, 1, (1, 1, size)) for name, size in (("x", n), ("weight", k)))
        y = onnx.helper.make_tensor_value_info("y", 1, None)
        model = onnx.helper.make_model(onnx.helper.make_graph([node(None, None, None, arguments)], "g", [x, w], [y]))
        inferred = onnx.shape_inference.infer_shapes(model).graph.output[0].type.tensor_type.shape.dim[2].dim_value
        g = tconv.dialect("onnx").geometry(kernel=k, input=n, **arguments)
        assert g.output_shape(n) == (s * n,)
        assert inferred == min(s * n, g.full_shape(n)[0]) + op
        assert fault.applies(g, (n,), arguments) == (inferred != s * n)
        affected += inferred != s * n
    assert affected > 50


def test_negative_pads_are_read_as_the_specifications_formula_has_them():
    """tf2onnx 1.17 and Keras 3.15 write [-1, -1, -1, -1] for kernel 2 and stride 4, where TensorFlow crops (0, -2)."""
    rng, rules = np.random.default_rng(0), tconv.dialect("onnx")
    x, w, bias = whole_numbers(rng, (2, 3, 4, 5)), whole_numbers(rng, (3, 2, 2, 2)), np.array([3, 5], "f")
    arguments = {"strides": [4, 4], "pads": [-1] * 4}
    assert rules.geometry(kernel=(2, 2), **arguments) == tconv.Geometry((2, 2), 4, ((-1, -1), (-1, -1)))
    got = tconv.conv_transpose(x, w, bias, dialect="onnx", **arguments)
    assert got.shape == (2, 2, 16, 20)
    np.testing.assert_array_equal(got, native(x, w, bias, arguments))
    assert (got[:, 0, 0] == 3).all()  # extended by rows that contain only bias
    assert (got[:, 1, -1] == 5).all()
    mixed = {"strides": [3, 2], "pads": [-2, 1, 1, -1], "output_padding": [1, 0]}
    assert rules.geometry(kernel=(2, 2), **mixed).crop == ((-2, 0), (1, -1))
    np.testing.assert_array_equal(tconv.conv_transpose(x, w, dialect="onnx", **mixed), native(x, w, None, mixed))
    with pytest.raises(GeometryError, match=r"pads is \(-1, -1\), which has 2 entries; 4 are needed, first all begi"):
        tconv.conv_transpose(x, w, dialect="onnx", pads=[-1, -1])


def test_negative_pads_are_written_as_output_padding_or_after_the_node():
    rules = tconv.dialect("onnx")
    behind = rules.geometry(kernel=(2, 2), strides=[4, 4], pads=[0, 0, -2, -2])
    assert behind == tconv.dialect("tensorflow").geometry(
        kernel=(2, 2), input=(3, 3), strides=4, padding="SAME", output_shape=(1, 12, 12, 1)
    )
    written = rules.arguments(behind)
    assert written["pads"] == [0] * 4
    assert written["output_padding"] == [2, 2]
    around = rules.geometry(kernel=(2, 2), strides=[4, 4], pads=[-1] * 4)
    with pytest.raises(
        DialectError, match=r"the crop \(-1, -1\) on spatial axis 0: its specification keeps pads at le"
    ):
        rules.arguments(around)
    x, w = np.ones((1, 2, 3, 3), "f"), whole_numbers(np.random.default_rng(0), (2, 3, 2, 2))
    scope = {"onnx": onnx, "np": np, "x": x, "weight": w}
    exec(rules.code(around, (3, 3)), scope)
    np.testing.assert_array_equal(scope["y"], native(x, w, None, {"strides": [4, 4], "pads": [-1] * 4}))


def test_the_adjoint():
    rng = np.random.default_rng(7)
    checked = 0
    for _ in range(300):
        x, w, _, arguments = random_call(rng, int(rng.integers(1, 4)))
        arguments.pop("output_shape", None)
        checked += check_adjoint("onnx", x, w, arguments)
    assert checked > 150


def test_code_runs():
    tally = check_code("onnx", {"onnx": onnx, "np": np}, groups=[1])
    assert tally["one call"] > 30
    assert tally["call and slice"] > 30
    assert not tally["cannot be expressed"]


def test_what_is_refused():
    x, w = np.ones((1, 2, 4, 4), "f"), np.ones((2, 3, 3, 3), "f")
    call = lambda **arguments: tconv.conv_transpose(x, w, dialect="onnx", **arguments)  # noqa: E731
    with pytest.raises(ArgumentError, match=r"pads was given together with auto_pad='SAME_UPPER'.*Write pads alone"):
        call(pads=[1, 1, 1, 1], auto_pad="SAME_UPPER")
    with pytest.raises(ArgumentError, match=r"auto_pad is 'SAME'; ONNX has NOTSET, SAME_UPPER"):
        call(auto_pad="SAME")
    with pytest.raises(GeometryError, match=r"output_padding is 2 on spatial axis 1; ONNX needs it below 2"):
        call(strides=[2, 2], output_padding=[1, 2])
    with pytest.raises(GeometryError, match=r"kernel_shape is \[3, 2\]; the weight has \(3, 3\)"):
        call(kernel_shape=[3, 2])
    with pytest.raises(ShapeError, match="the output would be"):
        call(pads=[3, 3, 3, 3])
    with pytest.raises(ArgumentError, match=r"stride= is not an argument of the onnx dialect.*Write strides="):
        call(stride=2)


@pytest.mark.parametrize("name", ["onnx", "onnxruntime"])
def test_weights_are_pytorchs(name):
    w = whole_numbers(np.random.default_rng(0), (6, 2, 3, 4))
    for groups in (1, 3):
        np.testing.assert_array_equal(tconv.convert(w, source="torch", target=name, groups=groups), w)
        np.testing.assert_array_equal(tconv.convert(w, source=name, target="torch", groups=groups), w)


def test_the_default_epsilon_of_batchnorm_is_the_specifications():
    default = onnx.defs.get_schema("BatchNormalization").attributes["epsilon"].default_value.f
    for name in ("onnx", "onnxruntime"):
        assert np.float32(tconv.dialect(name).batchnorm_eps) == np.float32(default) == np.float32(1e-5)


def tensor_shape(sizes):
    return onnx.helper.make_tensor_value_info("x", 1, sizes).type.tensor_type.shape


def test_its_shapes():
    check_shapes(tensor_shape, unknown=tensor_shape)
    check_shapes(lambda sizes: tensor_shape(sizes).dim, unknown=lambda sizes: tensor_shape(sizes).dim)
    check_shapes(lambda sizes: onnx.helper.make_attribute("sizes", sizes).ints)
    check_shapes(lambda sizes: onnx.numpy_helper.from_array(np.zeros(sizes)).dims)
    with pytest.raises(GeometryError, match="of unknown size on axis 0 and 1; every entry must be an integer"):
        tconv.Geometry((3, 3)).output_shape(tensor_shape(("height", None)))
