#!/usr/bin/env bash
# keras 3.15.1 with the backend of tensorflow-cpu 2.21.0
#
# A channels_first Conv2DTranspose adds its bias along the last spatial axis if that axis has as many elements as the
# layer has filters. The shape is right, the numbers are not. The 1-D and 3-D layers, and Conv2D, do the same.
#
# Why a good guess is wrong: the layer reshapes the bias to (1, filters, 1, 1), for which broadcasting is unambiguous.
# But the backend's add looks for such a bias, flattens it for tf.nn.bias_add and then decides by size where the
# channels are, the last axis first. A test passes on an input of 5 by 5 and the layer is wrong on another one.
#
# Instead: use channels_last on this backend, or build the layer with use_bias=False and add the bias with tf.add.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet keras==3.15.1 tensorflow-cpu==2.21.0 numpy==2.4.6
export KERAS_BACKEND=tensorflow TF_CPP_MIN_LOG_LEVEL=3
"$work/venv/bin/python" - 2> "$work/log" <<'END' || { cat "$work/log"; exit 1; }
import keras
import numpy as np
import tensorflow as tf

bias = np.float32([0, 1, 2, 3])
layer = keras.layers.Conv2DTranspose(4, 2, strides=2, data_format="channels_first", kernel_initializer="zeros")
layer.build((1, 3, 2, 2))
layer.set_weights([np.zeros((2, 2, 4, 3), "f"), bias])

for width in (2, 3):  # outputs of 4 by 4 and of 4 by 6; the kernel is zero, so that the bias is the whole result
    x = np.ones((1, 3, 2, width), "f")
    got = np.asarray(layer(x))
    expected = np.broadcast_to(bias[:, None, None], (1, 4, 4, 2 * width))
    print(f"output {got.shape}, first row of each channel:")
    print(got[0, :, 0])
    assert got.shape == expected.shape
    if width == 2:
        assert np.array_equal(got, np.broadcast_to(bias, (1, 4, 4, 4)))
        assert not np.array_equal(got, expected)
    else:
        assert np.array_equal(got, expected)

x = np.ones((1, 3, 2, 2), "f")
y = keras.ops.conv_transpose(x, layer.kernel, 2, data_format="channels_first")
assert np.array_equal(tf.add(y, bias.reshape(1, 4, 1, 1)), np.broadcast_to(bias[:, None, None], (1, 4, 4, 4)))
END
