"""The profile of ONNX Runtime, against ONNX Runtime on random layers."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from target_layers import arrays_of, compare_with_profile, random_facts
from test_onnxruntime import native

from tconv.targets import LayerFacts, target

REFUSALS = tuple(
    getattr(onnxruntime.capi.onnxruntime_pybind11_state, name)
    for name in ("Fail", "InvalidArgument", "NotImplemented", "RuntimeException", "InvalidGraph")
)


def run(facts, x, w):
    arguments = {
        "strides": list(facts.stride), "dilations": list(facts.dilation), "group": facts.groups,
        "pads": [*facts.pads_begin, *facts.pads_end], "output_padding": list(facts.output_padding),
    }  # fmt: skip
    return native(x, w, None, arguments)


@pytest.mark.parametrize("ndim", [1, 2, 3, 4])
def test_random_layers(ndim):
    rng = np.random.default_rng(ndim)
    layers = [random_facts(rng, ndim, batches=(1, 2)) for _ in range(200)]
    tally = compare_with_profile("onnxruntime", run, layers, REFUSALS)
    assert min(tally["refused"], tally["equal"]) > 10, tally


@pytest.mark.parametrize("name", ["float32", "float64", "float16", "bfloat16"])
def test_types(name):
    kind = getattr(onnx.TensorProto, {"float32": "FLOAT", "float64": "DOUBLE"}.get(name, name.upper()))
    facts = LayerFacts((2, 2), (2, 2), (1, 1), (0, 0), (0, 0), (0, 0), 1, 2, 3, 1, (2, 2), dtype=name)
    x, w = arrays_of(facts, np.random.default_rng(0))
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2])],
        "g",
        [value("x", kind, x.shape), value("w", kind, w.shape)],
        [value("y", kind, None)],
    )
    model = onnx.helper.make_model(graph, ir_version=10, opset_imports=[onnx.helper.make_opsetid("", 22)])
    limits = target("onnxruntime").limits_against(facts)
    try:
        onnxruntime.InferenceSession(model.SerializeToString())
    except REFUSALS:
        assert limits
    else:
        assert not limits


def test_the_profiles_own_layers():
    it, rng = target("onnxruntime"), np.random.default_rng(0)
    layers = [LayerFacts(**{**vars(facts), "input": (5, 6)}) for facts in (it.accepts, it.refuses)]
    run(layers[0], *arrays_of(layers[0], rng))
    with pytest.raises(REFUSALS):
        run(layers[1], *arrays_of(layers[1], rng))
