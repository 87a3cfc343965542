#!/usr/bin/env bash
# tf2onnx 1.17.0, with tensorflow-cpu 2.21.0; read by onnxruntime 1.32.0
#
# tf.nn.conv2d_transpose with explicit paddings, such as [[0, 0], [2, 0], [0, 2], [0, 0]], is exported with the pads that
# output_shape leaves, halved: [1, 1, 1, 1]. The result has the right size and is shifted.
#
# Why a good guess is wrong: the export reports success, and equal paddings, which one tries first, give the right result,
# because halves of the total are the same there.
#
# Instead: call it with padding="VALID" and cut the result with a slice.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet tensorflow-cpu==2.21.0 onnx==1.23.2 onnxruntime==1.32.0 requests
"$work/venv/bin/pip" install --quiet --no-deps tf2onnx==1.17.0
TF_CPP_MIN_LOG_LEVEL=3 "$work/venv/bin/python" -W ignore - <<'END'
import numpy as np
import onnxruntime
import tensorflow as tf
import tf2onnx

rng = np.random.default_rng(0)
x = rng.integers(-4, 5, (1, 3, 3, 1)).astype("f")
w = rng.integers(-4, 5, (4, 4, 1, 1)).astype("f")
full = np.zeros((8, 8), "f")
for i in range(3):
    for j in range(3):
        full[2 * i : 2 * i + 4, 2 * j : 2 * j + 4] += x[0, i, j, 0] * w[:, :, 0, 0]

for (top, bottom), (left, right) in (((1, 1), (1, 1)), ((2, 0), (0, 2)), ((0, 2), (1, 1))):
    paddings = [[0, 0], [top, bottom], [left, right], [0, 0]]

    @tf.function(input_signature=[tf.TensorSpec(x.shape, name="x")])
    def call(x):
        return tf.nn.conv2d_transpose(x, w, [1, 6, 6, 1], 2, paddings)

    expected = full[top : 8 - bottom, left : 8 - right]
    assert np.array_equal(call(x).numpy()[0, :, :, 0], expected)
    model, _ = tf2onnx.convert.from_function(call, call.input_signature, opset=17)
    (node,) = (node for node in model.graph.node if node.op_type == "ConvTranspose")
    found = {each.name: list(each.ints) for each in node.attribute}
    y = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})[0][0, :, :, 0]
    print("paddings", paddings[1:3], "exported pads", found["pads"], "equal:", np.array_equal(y, expected))
    assert found["pads"] == [1, 1, 1, 1]
    assert np.array_equal(y, full[1:7, 1:7])
END
