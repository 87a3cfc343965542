#!/usr/bin/env bash
# flax 0.12.8 (jax 0.10.2), CPU
#
# flax.linen.ConvTranspose(..., transpose_kernel=True) and nnx's draw their default weights by the number of output
# channels: a layer from 256 channels to 1 makes the spread of its input 8 times larger, one from 1 to 256 divides it
# by 30. The same layer without transpose_kernel keeps it, for any width.
#
# Why a good guess is wrong: transpose_kernel changes how the kernel is stored, [*kernel, C_out, C_in] and not reversed,
# and is not expected to change its distribution. The default, lecun_normal(), takes the last axis but one for the
# inputs, in both layouts.
#
# Instead: kernel_init=jax.nn.initializers.lecun_normal(in_axis=-1, out_axis=-2).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet flax==0.12.8 jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6
JAX_PLATFORMS=cpu "$work/venv/bin/python" - <<'END'
import flax.linen as nn
import flax.nnx as nnx
import jax


def spread(c_in, c_out, **more):
    x = jax.random.normal(jax.random.key(0), (1, 32, 32, c_in))
    layer = nn.ConvTranspose(c_out, (4, 4), (2, 2), use_bias=False, **more)
    y, variables = layer.init_with_output(jax.random.key(1), x)
    other = nnx.ConvTranspose(c_in, c_out, (4, 4), (2, 2), use_bias=False, rngs=nnx.Rngs(0), **more)
    assert other.kernel[...].shape == variables["params"]["kernel"].shape
    assert abs(other.kernel[...].std() / variables["params"]["kernel"].std() - 1) < 0.1
    return float(y.std())


for c_in, c_out in ((256, 1), (1, 256)):
    plain, transposed = spread(c_in, c_out), spread(c_in, c_out, transpose_kernel=True)
    right = jax.nn.initializers.lecun_normal(in_axis=-1, out_axis=-2)
    proposed = spread(c_in, c_out, transpose_kernel=True, kernel_init=right)
    print(f"{c_in} to {c_out}: spread of y {plain:.2f}, with transpose_kernel {transposed:.2f}, as proposed {proposed:.2f}")
    assert 0.4 < plain < 0.6
    assert 0.4 < proposed < 0.6
    assert (transposed > 7) if c_in == 256 else (transposed < 0.04)
END
