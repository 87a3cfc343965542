#!/usr/bin/env bash
# mlx 0.32.4 with mlx-cpu, CPU
#
# conv_transpose1d with a padding of at least the kernel's extent returns another size and other values than its own
# rule s * (n - 1) + k - 2 * padding gives.
#
# Why a good guess is wrong: padding crops the full result, and as long as it is smaller than the kernel it does. The
# part beyond k - 1 is cropped from the input instead, before the stride inserts zeros, so that each element of
# it costs s elements of the output.
#
# Instead: pass padding=0 and slice the result.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "mlx[cpu]==0.32.4" numpy==2.4.6
"$work/venv/bin/python" - <<'END'
import mlx.core as mx
import numpy as np

x, w = np.float32([1, 2, 3, 4, 5]), np.float32([1, 10, 100])
full = np.zeros(11, "f")
for i in range(5):
    for t in range(3):
        full[2 * i + t] += x[i] * w[t]


def run(padding):
    y = mx.conv_transpose1d(mx.array(x.reshape(1, 5, 1)), mx.array(w.reshape(1, 3, 1)), stride=2, padding=padding)
    return np.array(y)[0, :, 0]


for padding, seen in {0: full, 1: full[1:-1], 2: full[2:-2], 3: full[4:-4]}.items():
    y = run(padding)
    print(f"padding={padding}: {len(y)} elements, {11 - 2 * padding} by the rule:", y)
    assert np.array_equal(y, seen)
assert len(run(3)) == 3 != len(full[3:-3])
END
