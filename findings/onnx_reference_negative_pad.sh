#!/usr/bin/env bash
# onnx 1.23.2 (its reference evaluator); compared with onnxruntime 1.32.0
#
# Pad with a negative number removes elements ("the value may be negative, which means removal" is the operator's own
# text). ONNX's reference evaluator raises ValueError, "index can't contain negative values", for every mode. ONNX Runtime
# removes them.
#
# Why a good guess is wrong: the evaluator is the operator's definition, and PyTorch's exporters write such nodes for
# F.pad with negative numbers, for example where the zeros behind the last element of an upsampled signal are cut off.
#
# Instead: cut the array first, and pad by what is left.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet onnx==1.23.2 onnxruntime==1.32.0
cd "$work"
"$work/venv/bin/python" - <<'END'
import numpy as np
import onnx
import onnx.reference
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

node = helper.make_node("Pad", ["x", "pads"], ["y"])
ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [size]) for name, size in (("x", 5), ("y", "n"))]
x = np.arange(5, dtype=np.float32)
for pads, expected in (([0, -1], x[:4]), ([1, -2], [0, 0, 1, 2]), ([-1, 0], x[1:])):
    graph = helper.make_graph([node], "g", ends[:1], ends[1:], [numpy_helper.from_array(np.array(pads), "pads")])
    model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 20)])
    onnx.checker.check_model(model)
    y = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})[0]
    print("pads", pads, "ONNX Runtime", y)
    np.testing.assert_array_equal(y, expected)
    try:
        onnx.reference.ReferenceEvaluator(model).run(None, {"x": x})
    except ValueError as error:
        print("reference evaluator:", error)
    else:
        raise AssertionError("the reference evaluator computes it now")
END
