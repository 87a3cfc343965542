#!/usr/bin/env bash
# onnxslim 0.1.98; results from onnxruntime 1.32.0
#
# A Mul behind a ConvTranspose or Conv is folded into the weight as a scale per channel if its constant has as many
# elements as there are output channels, along whatever axis: a window along the width, a ramp along the height.
#
# Why a good guess is wrong: the model still loads, sizes are right, and with any other width the Mul is kept and all is
# right. An Add along the width is kept, too.
#
# Instead: pass skip_fusion_patterns=["FusionConvTransposeMul", "FusionConvMul"], and compare the outputs.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet onnxslim==0.1.98 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
"$work/venv/bin/python" - <<'END'
import numpy as np
import onnxruntime
import onnxslim
from onnx import helper, numpy_helper

rng = np.random.default_rng(0)
w = rng.integers(1, 9, (1, 4, 2, 2)).astype("f")
scale = np.float32([1, 10, 100, 1000])


def run(model, x):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(model.SerializeToString(), options).run(None, {"x": x})[0]


def slimmed(shape, operation, size, **options):
    x = rng.integers(1, 9, (1, 1, size, size)).astype("f")
    nodes = [
        helper.make_node("ConvTranspose", ["x", "w"], ["z"], strides=[2, 2]),
        helper.make_node(operation, ["z", "scale"], ["y"]),
    ]
    values = [helper.make_tensor_value_info("x", 1, x.shape)], [helper.make_tensor_value_info("y", 1, [1, 4, None, None])]
    constants = [numpy_helper.from_array(w, "w"), numpy_helper.from_array(scale.reshape(shape), "scale")]
    graph = helper.make_graph(nodes, "g", *values, constants)
    model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 17)])
    before = run(model, x)
    plain = np.einsum("hw,ckl->chkwl", x[0, 0], w[0]).reshape(1, 4, 2 * size, 2 * size)
    combine = {"Mul": np.multiply, "Add": np.add}[operation]
    assert np.array_equal(before, combine(plain, scale.reshape(shape)))
    slim = onnxslim.slim(model, **options)
    after = run(slim, x)
    print(operation, shape, [node.op_type for node in slim.graph.node], "equal:", np.array_equal(after, before))
    return np.array_equal(after, before), np.array_equal(after, plain * scale.reshape(1, 4, 1, 1))


assert slimmed((1, 4, 1, 1), "Mul", 2) == (True, True)
assert slimmed((4,), "Mul", 2) == (False, True)  # along the width: folded along the channels
assert slimmed((4, 1), "Mul", 2) == (False, True)  # along the height
assert slimmed((4,), "Add", 2)[0]
assert slimmed((4,), "Mul", 2, skip_fusion_patterns=["FusionConvTransposeMul"])[0]
END
