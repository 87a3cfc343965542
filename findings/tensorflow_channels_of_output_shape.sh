#!/usr/bin/env bash
# tensorflow-cpu 2.21.0, tf.nn.conv2d_transpose
#
# An output_shape with a multiple of the filters' output channels is no error: the call becomes a grouped one, and each
# group sees a part of the input's channels only.
#
# Why a good guess is wrong: the filters say how many channels a transposed convolution returns, and the other
# frameworks read them there. tf.nn takes output_shape's last number, and the ratio of the two is the number of groups;
# any divisor of the input's channels fits. With filters for 3 channels, [N, h, w, 6] in place of [N, h, w, 3] computes
# 2 groups: all numbers are others, the first 3 channels too, and so are the gradients.
#
# Instead: write filters.shape[-2] as the last entry of output_shape, unless groups are meant.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet tensorflow-cpu==2.21.0 numpy==2.4.6
TF_CPP_MIN_LOG_LEVEL=3 "$work/venv/bin/python" - 2> "$work/log" <<'END' || { cat "$work/log"; exit 1; }
import numpy as np
import tensorflow as tf

rng = np.random.default_rng(0)
whole = lambda *shape: rng.integers(-4, 5, shape).astype("f")
x, w = whole(1, 5, 5, 4), whole(3, 3, 3, 4)  # filters for 3 output channels


def call(x, w, channels):
    return tf.nn.conv2d_transpose(x, w, (1, 10, 10, channels), 2)


y = call(x, w, 3).numpy()
for run in (call, tf.function(call), tf.function(call, jit_compile=True)):
    grouped = run(x, w, 6).numpy()
    parts = [call(x[..., at : at + 2], w[..., at : at + 2], 3) for at in (0, 2)]
    assert grouped.shape == (1, 10, 10, 6)
    assert np.array_equal(grouped, np.concatenate(parts, -1))
print(f"6 channels from filters for 3: {np.mean(grouped[..., :3] != y):.0%} of the first 3 channels differ")
assert np.mean(grouped[..., :3] != y) > 0.8
assert call(x, w, 12).shape[-1] == 12
try:
    call(x, w, 5)
except tf.errors.InvalidArgumentError as error:
    print("5 channels:", str(error)[:90], "...")
else:
    raise SystemExit("5 channels were taken")
END
