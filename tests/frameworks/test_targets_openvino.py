"""The profile of OpenVINO, against OpenVINO on random layers of ONNX files."""

from __future__ import annotations

import numpy as np
import onnx
import openvino
import pytest
from target_layers import compare_with_profile, random_facts

from tconv.targets import target

CORE = openvino.Core()


def run(facts, x, w):
    value = onnx.helper.make_tensor_value_info
    attributes = {
        "strides": list(facts.stride), "dilations": list(facts.dilation), "group": facts.groups,
        "pads": [*facts.pads_begin, *facts.pads_end], "output_padding": list(facts.output_padding),
    }  # fmt: skip
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("ConvTranspose", ["x", "w"], ["y"], **attributes)],
        "g",
        [value("x", 1, x.shape)],
        [value("y", 1, [None] * x.ndim)],
        [onnx.numpy_helper.from_array(w, "w")],
    )
    model = onnx.helper.make_model(graph, ir_version=10, opset_imports=[onnx.helper.make_opsetid("", 22)])
    compiled = CORE.compile_model(
        CORE.read_model(model.SerializeToString()), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    return compiled([x])[0]


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_random_layers(ndim):
    rng = np.random.default_rng(ndim)
    layers = [random_facts(rng, ndim, batches=(1, 2), least_pad=0) for _ in range(30)]
    tally = compare_with_profile("openvino", run, layers, RuntimeError)
    assert tally["equal"] > 20, tally
    assert not tally["refused"]


def test_what_it_refuses():
    rng, it = np.random.default_rng(4), target("openvino")
    with pytest.raises(RuntimeError):
        run(
            facts := random_facts(rng, 4, least_pad=0),
            np.ones((1, facts.in_channels, *facts.input), "f"),
            np.ones((facts.in_channels, 3, *facts.kernel), "f"),
        )
    assert [limit.key for limit in it.limits_against(facts)] == ["ndim"]
