#!/usr/bin/env bash
# onnx 1.23.2, onnx.reference.ReferenceEvaluator; results from onnxruntime 1.32.0
#
# A ConvTranspose with groups is refused ("cannot reshape array", "could not broadcast") unless each group has one input
# and one output channel. One group runs.
#
# Why a good guess is wrong: the evaluator is the reference for the operator, and the node passes the checker and full shape
# inference. A first look at a depthwise node finds nothing wrong.
#
# Instead: split the node into one per group, or take numbers from a runtime.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
"$work/venv/bin/python" - <<'END'
import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

rng = np.random.default_rng(0)
found = {}
for c_in, c_out, groups in ((4, 6, 1), (4, 4, 4), (4, 8, 4), (4, 2, 2), (4, 6, 2), (4, 4, 2)):
    x = rng.integers(-9, 9, (1, c_in, 4)).astype("f")
    w = rng.integers(-9, 9, (c_in, c_out // groups, 3)).astype("f")
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[2], group=groups)
    values = [helper.make_tensor_value_info("x", 1, x.shape)], [helper.make_tensor_value_info("y", 1, [1, c_out, 9])]
    graph = helper.make_graph([node], "g", *values, [numpy_helper.from_array(w, "w")])
    model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 17)])
    onnx.checker.check_model(model, full_check=True)
    expected = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})[0]
    try:
        y = ReferenceEvaluator(model).run(None, {"x": x})[0]
        result = "equal" if np.array_equal(y, expected) else f"wrong, shape {y.shape}"
    except ValueError as error:
        result = f"refused: {error}"
    print(f"{c_in} to {c_out} channels, group={groups}: {result}")
    found[c_in, c_out, groups] = result.split(":")[0]
right = {(4, 6, 1), (4, 4, 4)}
assert found == {case: "equal" if case in right else "refused" for case in found}
END
