#!/usr/bin/env bash
# onnxruntime 1.32.0, CPU; models made with onnx 1.23.2
#
# A ConvTranspose with an output_padding of at least the stride is refused, although it is below the dilation.
#
# Why a good guess is wrong: the operator's text asks for a value below the "stride/dilation", which PyTorch reads as
# the larger of the two. So a layer that runs in PyTorch, and a model that the full check accepts, fails here at run
# time, after the session was created. onnxruntime 1.24.1 runs it.
#
# Instead: lower the pad at the end by output_padding; where it has no such pad, add the zeros with a Pad node.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6
"$work/venv/bin/python" - <<'END'
import numpy as np
import onnx
import onnxruntime
from onnx import helper

onnxruntime.set_default_logger_severity(4)
x, w = np.float32([[[1, 2, 3]]]), np.float32([[[1, 10]]])


def run(**attributes):
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[1], dilations=[2], **attributes)
    inputs = [helper.make_tensor_value_info("x", 1, x.shape), helper.make_tensor_value_info("w", 1, w.shape)]
    graph = helper.make_graph([node], "g", inputs, [helper.make_tensor_value_info("y", 1, [None] * 3)])
    model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 22)])
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x, "w": w})[0][0, 0]


full = np.zeros(5, "f")
for i in range(3):
    for t in range(2):
        full[i + 2 * t] += x[0, 0, i] * w[0, 0, t]

try:
    run(output_padding=[1], pads=[0, 1])
except Exception as error:
    message = str(error)
    print(message[:220])
    assert "output_padding (1) may be too large for stride (1)" in message
else:
    raise AssertionError("the node is accepted")
instead = run(pads=[0, 0])  # crops 1 - 1 at the end
print("pads lowered by output_padding:", instead)
assert np.array_equal(instead, full)
END
