#!/usr/bin/env bash
# onnxruntime 1.32.0, CPU; models made with onnx 1.23.2
#
# A ConvTranspose whose stride is larger than its kernel, with auto_pad=SAME_*, returns less than s * n elements: the
# pads that SAME makes negative are taken as 0. Pads that a large output_shape makes negative lose their part in front.
#
# Why a good guess is wrong: the operator's text says that SAME gives s * n for every kernel, and for every kernel of at
# least the stride it does. With output_shape even the size is right; the zeros just stand all at the end.
#
# Instead: use pads of 0, and a Pad node for the zeros in front and behind.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6
"$work/venv/bin/python" - <<'END'
import numpy as np
import onnxruntime
from onnx import helper
from onnx.reference import ReferenceEvaluator

onnxruntime.set_default_logger_severity(4)
x = np.float32([[[1, 2, 3]]])


def run(w, **attributes):
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[4], **attributes)
    inputs = [helper.make_tensor_value_info("x", 1, x.shape), helper.make_tensor_value_info("w", 1, w.shape)]
    graph = helper.make_graph([node], "g", inputs, [helper.make_tensor_value_info("y", 1, [None] * 3)])
    model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 22)])
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    feeds = {"x": x, "w": w}
    return session.run(None, feeds)[0][0, 0], ReferenceEvaluator(model).run(None, feeds)[0][0, 0]


w = np.float32([[[1, 10]]])
full = np.zeros(10, "f")
for i in range(3):
    for t in range(2):
        full[4 * i + t] += x[0, 0, i] * w[0, 0, t]

for auto_pad in ("SAME_UPPER", "SAME_LOWER"):
    got, reference = run(w, auto_pad=auto_pad)
    print(auto_pad, got.astype(int), "by the text:", reference.astype(int))
    assert np.array_equal(got, full)  # 10 elements
    assert np.array_equal(reference, np.pad(full, 1))  # 12, which is 4 * 3
got, reference = run(w, auto_pad="SAME_UPPER", output_shape=[12])
print("output_shape=[12]", got.astype(int), "by the text:", reference.astype(int))
assert np.array_equal(got, np.pad(full, (0, 2)))
assert np.array_equal(reference, np.pad(full, 1))
END
