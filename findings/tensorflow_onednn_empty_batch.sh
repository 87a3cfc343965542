#!/usr/bin/env bash
# tensorflow-cpu 2.21.0 on x86-64, where oneDNN is on by default
#
# tf.nn.conv2d and conv3d of an empty batch return an array of x's shape: (0, 12, 12, 8) for 4 filters of 3x3 without
# padding, where (0, 10, 10, 4) is right. Inside a tf.function the traced shape is the right one and the array's is not.
# With TF_ENABLE_ONEDNN_OPTS=0, and with jit_compile=True, the shape is right.
#
# Why a good guess is wrong: the last batch of a filtered data set may be empty, and the layer behind the convolution
# then meets a number of channels that no layer has, though tf.print of the static shapes shows nothing.
#
# Instead: reshape to the sizes, or set TF_ENABLE_ONEDNN_OPTS=0.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet tensorflow-cpu==2.21.0 numpy==2.4.6
cat > "$work/empty.py" <<'END'
import sys

import tensorflow as tf

x, w = tf.zeros((0, 12, 12, 8)), tf.zeros((3, 3, 8, 4))
call = lambda x, w: tf.nn.conv2d(x, w, 1, "VALID")
traced = tf.function(call, input_signature=[tf.TensorSpec([None, 12, 12, 8]), tf.TensorSpec([3, 3, 8, 4])])
shapes = {
    "eager": call(x, w).shape,
    "tf.function": traced(x, w).shape,
    "conv3d": tf.nn.conv3d(x[:, None], w[None], [1] * 5, "VALID").shape,
}
compiled = tf.function(call, jit_compile=True)(x, w).shape
print(sys.argv[1], {name: tuple(shape) for name, shape in shapes.items()}, "compiled:", tuple(compiled))
assert tuple(compiled) == (0, 10, 10, 4)
assert (tuple(shapes["eager"]) == (0, 10, 10, 4)) == (sys.argv[1] == "without")
assert (tuple(shapes["tf.function"]) == (0, 10, 10, 4)) == (sys.argv[1] == "without")
assert (tuple(shapes["conv3d"]) == (0, 1, 10, 10, 4)) == (sys.argv[1] == "without")
END
export TF_CPP_MIN_LOG_LEVEL=3
"$work/venv/bin/python" "$work/empty.py" with
TF_ENABLE_ONEDNN_OPTS=0 "$work/venv/bin/python" "$work/empty.py" without
