"""ONNX in a process of its own: random nodes, ONNX's own test cases, and the reference evaluator within its faults."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.backend.test
import onnx.reference
import pytest
from harness import Conformance, check_adjoint, check_writing, whole_numbers
from onnx.backend.test.case.node import collect_testcases

import tconv
from tconv.errors import ArgumentError, GeometryError, ShapeError


def node(x, w, bias, words):
    inputs = ["x", "weight"] if bias is None else ["x", "weight", "bias"]
    return onnx.helper.make_node("ConvTranspose", inputs, ["y"], **words)


def feeds(x, w, bias):
    return {"x": x, "weight": w} | ({} if bias is None else {"bias": bias})


def native(x, w, bias, words):
    return onnx.reference.ReferenceEvaluator(node(x, w, bias, words)).run(None, feeds(x, w, bias))[0]


def random_call(rng, ndim, groups=(1, 1, 1, 2, 3)):
    """x, weight, bias and the attributes of a node, some of them illegal."""
    draw = lambda lo, hi: [int(v) for v in rng.integers(lo, hi, ndim)]  # noqa: E731
    groups = int(rng.choice(groups))
    c_in, c_out = groups * int(rng.choice([1, 2, 5, 7])), int(rng.integers(1, 4))
    n, k, s, d = draw(1, 6), draw(1, 5), draw(1, 5), draw(1, 4)
    words = {"strides": s, "dilations": d, "group": groups}
    rule = rng.choice(["pads", "output_shape", "auto_pad"], p=[0.4, 0.35, 0.25])
    if rng.random() < 0.5:
        stray = rule != "output_shape" and rng.random() < 0.1
        words["output_padding"] = [int(rng.integers(0, max(pair) + stray)) for pair in zip(s, d, strict=True)]
    if rule == "pads":
        words["pads"] = [int(v) for v in rng.integers(0, 4, 2 * ndim)]
    elif rng.random() < 0.75 or rule == "auto_pad":
        words["auto_pad"] = str(rng.choice(["SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET"], p=[0.4, 0.4, 0.1, 0.1]))
    if rule == "output_shape":
        full = [s_ * (n_ - 1) + d_ * (k_ - 1) + 1 for n_, k_, s_, d_ in zip(n, k, s, d, strict=True)]
        words["output_shape"] = [max(1, F + int(rng.integers(-4, 4))) for F in full]
    for name in ("strides", "dilations"):
        if set(words[name]) == {1} and rng.random() < 0.7:
            del words[name]
    if groups == 1 and rng.random() < 0.5:
        del words["group"]
    if rng.random() < 0.3:
        words["kernel_shape"] = k
    x = whole_numbers(rng, (int(rng.integers(1, 3)), c_in + (rng.random() < 0.03), *n))
    w = whole_numbers(rng, (c_in, c_out, *k))
    return x, w, whole_numbers(rng, (c_out * groups,)) if rng.random() < 0.5 else None, words


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_random_nodes_in_the_reference_evaluator(ndim):
    rng = np.random.default_rng(ndim)
    conformance = Conformance("onnx", native, versions="ReferenceEvaluator")
    for _ in range({1: 1500, 2: 1500, 3: 600}[ndim]):
        conformance.check(*random_call(rng, ndim, groups=[1] * 9 + [2]))
    print(conformance.tally)
    assert conformance.tally["equal"] > 200
    assert conformance.tally["refused"] > 20


def attributes(node):
    """A node's attributes as native words."""
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


def test_what_shape_inference_says():
    """Its fault is listed: where that applies it says min(s*n, F) + output_padding, elsewhere the size."""
    (fault,) = [fault for fault in tconv.dialect("onnx").faults if "inference" in fault.versions]
    rng, affected = np.random.default_rng(0), 0
    for _ in range(300):
        k, s, n, d = (int(v) for v in rng.integers(1, 5, 4))
        op = int(rng.integers(0, s))
        words = {
            "auto_pad": str(rng.choice(["SAME_UPPER", "SAME_LOWER"])),
            "strides": [s],
            "dilations": [d],
            "output_padding": [op],
        }
        x, w = (onnx.helper.make_tensor_value_info(name, 1, (1, 1, size)) for name, size in (("x", n), ("weight", k)))
        y = onnx.helper.make_tensor_value_info("y", 1, None)
        model = onnx.helper.make_model(onnx.helper.make_graph([node(None, None, None, words)], "g", [x, w], [y]))
        said = onnx.shape_inference.infer_shapes(model).graph.output[0].type.tensor_type.shape.dim[2].dim_value
        g = tconv.dialect("onnx").geometry(kernel=k, input=n, **words)
        assert g.output_shape(n) == (s * n,)
        assert said == min(s * n, g.full_shape(n)[0]) + op
        assert fault.applies(g, (n,), words) == (said != s * n)
        affected += said != s * n
    assert affected > 50


def test_the_adjoint():
    rng = np.random.default_rng(7)
    held = 0
    for _ in range(300):
        x, w, _, words = random_call(rng, int(rng.integers(1, 4)))
        words.pop("output_shape", None)
        held += check_adjoint("onnx", x, w, words)
    assert held > 150


def test_code_runs():
    tally = check_writing("onnx", {"onnx": onnx, "np": np}, groups=[1])
    assert tally["one call"] > 30
    assert tally["call and slice"] > 30
    assert not tally["cannot be said"]


def test_what_is_refused():
    x, w = np.ones((1, 2, 4, 4), "f"), np.ones((2, 3, 3, 3), "f")
    call = lambda **words: tconv.conv_transpose(x, w, dialect="onnx", **words)  # noqa: E731
    with pytest.raises(ArgumentError, match=r"pads was given together with auto_pad='SAME_UPPER'.*Write pads alone"):
        call(pads=[1, 1, 1, 1], auto_pad="SAME_UPPER")
    with pytest.raises(ArgumentError, match=r"auto_pad is 'SAME'; ONNX knows NOTSET, SAME_UPPER"):
        call(auto_pad="SAME")
    with pytest.raises(GeometryError, match=r"output_padding is 2 on spatial axis 1; ONNX needs it below 2"):
        call(strides=[2, 2], output_padding=[1, 2])
    with pytest.raises(GeometryError, match=r"kernel_shape is \[3, 2\]; the weight's is \(3, 3\)"):
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
