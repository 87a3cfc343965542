#!/usr/bin/env bash
# tensorflow-cpu 2.21.0, tf.nn.conv1d_transpose, conv2d_transpose and conv3d_transpose on a CPU
#
# Groups and dilation run in float32 and bfloat16 and are refused in float64 and float16. Compiled with
# jit_compile=True they run in all four; in 3-D, groups run only there.
#
# Why a good guess is wrong: a layer that trains in float32 is checked with float64 ("gradient checking"), or served in
# float16, and a dtype changes rounding only. But float32 and bfloat16 have oneDNN's kernels, and the others Eigen's,
# which know neither groups nor dilation. The document of the operator names no dtype.
#
# Instead: wrap such calls in tf.function(jit_compile=True), or split the groups and insert the dilation's zeros.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet tensorflow-cpu==2.21.0 numpy==2.4.6
TF_CPP_MIN_LOG_LEVEL=3 "$work/venv/bin/python" - 2> "$work/log" <<'END' || { cat "$work/log"; exit 1; }
import numpy as np
import tensorflow as tf

rng = np.random.default_rng(0)
whole = lambda *shape: rng.integers(-2, 3, shape).astype("f")


def ran(call, x, w):
    try:
        return tf.cast(call(x, w), tf.float32).numpy()
    except tf.errors.InvalidArgumentError:
        return None


for ndim in (1, 2, 3):
    function = getattr(tf.nn, f"conv{ndim}d_transpose")
    x, w = whole(2, *(4,) * ndim, 4), whole(*(3,) * ndim, 2, 4)
    for name, channels, dilation in (("dilation", 2, 2), ("groups", 4, 1)):
        call = lambda x, w: function(x, w, (2, *(8,) * ndim, channels), 2, dilations=dilation)
        compiled = tf.function(call, jit_compile=True)
        results = []
        for dtype in ("float32", "bfloat16", "float64", "float16"):
            plain, xla = (ran(one, tf.cast(x, dtype), tf.cast(w, dtype)) for one in (call, compiled))
            results.append((plain is not None, xla is not None))
            assert xla is not None and (plain is None or np.array_equal(plain, xla))
        print(f"{ndim}-D {name}: as it is {[plain for plain, _ in results]}, compiled {[xla for _, xla in results]}")
        here = name == "dilation" or ndim < 3
        assert [plain for plain, _ in results] == [here, here, False, False]
END
