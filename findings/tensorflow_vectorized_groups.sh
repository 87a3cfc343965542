#!/usr/bin/env bash
# tensorflow-cpu 2.21.0, tf.vectorized_map of tf.nn.conv2d_transpose's gradient with groups, on a CPU
#
# The gradient of the filters is silently wrong where the input is vectorized and the output's gradient is not.
#
# Why a good guess is wrong: tf.vectorized_map promises the results of tf.map_fn. Its rule for Conv2DBackpropFilter
# joins the copies of the input along the channels, and multiplies the filter's channels: with groups, the operator
# then divides the joined channels among the groups, so that each copy meets the channels of other groups.
#
# Instead: tf.map_fn, or make both vectorized: then it loops, and is right.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet tensorflow-cpu==2.21.0 numpy==2.4.6
TF_CPP_MIN_LOG_LEVEL=3 "$work/venv/bin/python" - 2> "$work/log" <<'END' || { cat "$work/log"; exit 1; }
import numpy as np
import tensorflow as tf

rng = np.random.default_rng(0)
whole = lambda *shape: tf.constant(rng.integers(-2, 3, shape).astype("f"))

for groups in (1, 2):
    xs, w, dy = whole(3, 2, 4, 4, 4), whole(3, 3, 4 // groups, 4), whole(2, 8, 8, 4)

    def gradient(x):
        with tf.GradientTape() as tape:
            tape.watch(w)
            y = tf.nn.conv2d_transpose(x, w, (2, 8, 8, 4), 2)
        return tape.gradient(y, w, output_gradients=dy)

    equal = np.array_equal(tf.vectorized_map(gradient, xs), tf.map_fn(gradient, xs))
    print(f"{groups} groups: vectorized_map equals map_fn: {equal}")
    assert equal == (groups == 1)
END
