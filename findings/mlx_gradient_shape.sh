#!/usr/bin/env bash
# mlx 0.32.4 with mlx-cpu, CPU
#
# The gradient of conv_transpose1d with respect to its input has fewer elements than the input, where output_padding is
# larger than padding. The forward result is right, and so are the elements of the gradient that are there.
#
# Why a good guess is wrong: a gradient has the shape of what it is the gradient of, and nothing is raised where it does
# not. stride=2, output_padding=1, padding=0 is a usual upsampling layer. With padding >= output_padding the shape is
# right, so that a test of padding=1, output_padding=1 does not show it.
#
# Instead: leave output_padding out and pad y at its end with mlx.core.pad.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "mlx[cpu]==0.32.4" numpy==2.4.6
"$work/venv/bin/python" - <<'END'
import mlx.core as mx
import numpy as np

x, w = mx.arange(1.0, 5.0).reshape(1, 4, 1), mx.array([1.0, 10.0, 100.0]).reshape(1, 3, 1)
observed = {(2, 0, 0): 4, (2, 0, 1): 3, (3, 0, 2): 2, (2, 1, 1): 4, (3, 1, 2): 3}
for (stride, padding, extra), size in observed.items():
    call = lambda x: mx.conv_transpose1d(x, w, stride=stride, padding=padding, output_padding=extra)
    y = np.array(call(x))[0, :, 0]
    gradient = np.array(mx.grad(lambda x: call(x).sum())(x))[0, :, 0]
    full, expected = np.zeros(stride * 3 + 3 + extra), np.zeros(4)
    for i in range(4):
        for t in range(3):
            place = stride * i + t
            full[place] += float(x[0, i, 0] * w[0, t, 0])
            if padding <= place < len(full) - padding:
                expected[i] += float(w[0, t, 0])
    print(f"stride={stride} padding={padding} output_padding={extra}: x has 4, its gradient {len(gradient)}:", gradient)
    assert np.array_equal(y, full[padding : len(full) - padding])
    assert len(gradient) == size
    assert np.array_equal(gradient, expected[:size])

padded = lambda x: mx.pad(mx.conv_transpose1d(x, w, stride=2), [(0, 0), (0, 1), (0, 0)])
assert np.array_equal(padded(x), mx.conv_transpose1d(x, w, stride=2, output_padding=1))
assert mx.grad(lambda x: padded(x).sum())(x).shape == x.shape
END
