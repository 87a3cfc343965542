#!/usr/bin/env bash
# paddlepaddle 3.3.1, CPU
#
# conv1d_transpose with padding="SAME" drops the dilation, and its output has s * n elements only by chance: of n = 5
# with a kernel of 3 and stride 2 it has 9.
#
# Why a good guess is wrong: in Keras, JAX and ONNX, SAME of a transposed convolution means s * n. Paddle takes the
# padding of a convolution whose input has n elements, max((ceil(n / s) - 1) * s + k - n, 0), and crops by that. It
# also sets the dilation to 1. The documentation of the function gives no formula for SAME, and no warning is printed.
#
# Instead: give the crop as numbers, padding=[front, back], with output_padding where the result is to be longer.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet paddlepaddle==3.3.1 numpy==2.4.6
"$work/venv/bin/python" - 2> "$work/log" <<'END' || { cat "$work/log"; exit 1; }
import numpy as np
import paddle
from paddle.nn import functional

w = np.float32([1, 10, 100])


def full(n, stride, dilation):
    y = np.zeros(stride * (n - 1) + 2 * dilation + 1, "f")
    for i in range(n):
        for t in range(3):
            y[stride * i + dilation * t] += (i + 1) * w[t]
    return y


def run(n, stride, dilation, padding):
    x, weight = paddle.arange(1, n + 1, dtype="float32").reshape((1, 1, n)), paddle.to_tensor(w.reshape(1, 1, 3))
    return functional.conv1d_transpose(x, weight, stride=stride, padding=padding, dilation=dilation).numpy()[0, 0]


for (n, stride), size in {(4, 2): 8, (5, 2): 9, (4, 3): 10, (4, 1): 4}.items():
    y = run(n, stride, 1, "SAME")
    crop = max((-(-n // stride) - 1) * stride + 3 - n, 0)
    print(f"n={n} stride={stride}: {len(y)} elements, s * n = {n * stride}")
    whole = full(n, stride, 1)
    assert len(y) == size
    assert np.array_equal(y, whole[crop // 2 : len(whole) - (crop - crop // 2)])
dilated = run(4, 1, 2, "SAME")
print("dilation=2:", dilated, "as without:", run(4, 1, 1, "SAME"), "by definition:", full(4, 1, 2)[2:6])
assert np.array_equal(dilated, run(4, 1, 1, "SAME"))
assert not np.array_equal(dilated, full(4, 1, 2)[2:6])
assert np.array_equal(run(4, 1, 2, [2, 2]), full(4, 1, 2)[2:6])
END
