#!/usr/bin/env bash
# tensorflow-cpu 2.21.0, tf.nn.conv2d and conv3d of an empty batch on a CPU
#
# The result has the shape of the input: [0, 8, 8, 3] for 5 filters at stride 2, where the graph says [0, 4, 4, 5].
# Compiled, in float64, or with oneDNN switched off it is right. The gradient of a transposed convolution is this
# convolution and is wrong with it.
#
# Why a good guess is wrong: an empty batch is what a mask or the end of a data set leaves, all that is asked of it is a
# shape, and tf.nn.conv2d_transpose has it right. What follows fails: adding a bias of 5 numbers, or joining the result with
# those of other batches.
#
# Instead: leave empty batches out (tf.cond), set TF_ENABLE_ONEDNN_OPTS=0, or compile the function.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet tensorflow-cpu==2.21.0 numpy==2.4.6
cat > "$work/empty.py" <<'END'
import os

import tensorflow as tf

x, w, filters = tf.zeros((0, 8, 8, 3)), tf.zeros((3, 3, 3, 5)), tf.zeros((3, 3, 3, 3))
deep, cube = tf.zeros((0, 4, 4, 4, 3)), tf.zeros((3, 3, 3, 3, 5))
conv = lambda x, w: tf.nn.conv2d(x, w, 2, "SAME")


def gradient(y_shape):
    small = tf.zeros((0, 4, 4, 5))
    with tf.GradientTape() as tape:
        tape.watch(small)
        y = tf.nn.conv2d_transpose(small, w, y_shape, 2)
    assert y.shape == y_shape
    return tape.gradient(y, small).shape


traced = tf.function(conv).get_concrete_function(x, w)
shapes = {
    "the graph says": traced.output_shapes,
    "2-D": conv(x, w).shape,
    "in a graph": tf.function(conv)(x, w).shape,
    "3-D": tf.nn.conv3d(deep, cube, [1, 2, 2, 2, 1], "SAME").shape,
    "compiled": tf.function(conv, jit_compile=True)(x, w).shape,
    "float64": conv(tf.cast(x, "float64"), tf.cast(w, "float64")).shape,
    "gradient of x [0, 4, 4, 5]": gradient((0, 8, 8, 3)),
}
for name, shape in shapes.items():
    print(f"{name}: {shape}")
right, cube_right = (0, 4, 4, 5), (0, 2, 2, 2, 5)
onednn = os.environ.get("TF_ENABLE_ONEDNN_OPTS") != "0"
for name in ("the graph says", "compiled", "float64"):
    assert shapes[name] == right, name
assert shapes["2-D"] == shapes["in a graph"] == (x.shape if onednn else right)
assert shapes["3-D"] == (deep.shape if onednn else cube_right)
assert shapes["gradient of x [0, 4, 4, 5]"] == ((0, 8, 8, 3) if onednn else right)
try:
    conv(x, w) + tf.zeros(5)
except tf.errors.InvalidArgumentError as error:
    print("with a bias:", error.message[:60])
    assert onednn
else:
    assert not onednn
END
export TF_CPP_MIN_LOG_LEVEL=3
"$work/venv/bin/python" "$work/empty.py" 2> "$work/log" || { tail -5 "$work/log"; exit 1; }
echo "== TF_ENABLE_ONEDNN_OPTS=0"
TF_ENABLE_ONEDNN_OPTS=0 "$work/venv/bin/python" "$work/empty.py" 2> "$work/log" || { tail -5 "$work/log"; exit 1; }
