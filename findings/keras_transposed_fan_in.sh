#!/usr/bin/env bash
# keras 3.15.1 (on jax 0.10.2), CPU
#
# kernel_initializer="he_normal", "lecun_normal" and their uniform forms scale the weights of Conv1DTranspose,
# Conv2DTranspose and Conv3DTranspose by the number of output channels. A Conv2DTranspose from 256 channels to 1 with
# "he_normal" makes the spread of its input 11 times larger, one from 1 to 256 divides it by 23; Conv2D keeps it.
#
# Why a good guess is wrong: "he" and "lecun" mean the number of inputs of a unit. Keras takes the last axis but one of
# the kernel for it, and a transposed layer stores [*kernel, C_out, C_in]. The default, "glorot_uniform", is the same
# for both orders, so that only a change of the initializer shows it.
#
# Instead: keras.initializers.VarianceScaling(2 * s, "fan_out"), with s the product of the strides: the inputs of an
# output are 1 / s of the taps.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet keras==3.15.1 jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6
JAX_PLATFORMS=cpu KERAS_BACKEND=jax "$work/venv/bin/python" - <<'END'
import keras
import numpy as np

keras.utils.set_random_seed(0)


def spread(kind, c_in, c_out, strides, initializer):
    x = np.random.default_rng(0).standard_normal((1, 32, 32, c_in)).astype("f")
    layer = kind(c_out, 4, strides, padding="same", use_bias=False, kernel_initializer=initializer)
    return float(np.asarray(layer(x)).std())


for c_in, c_out in ((256, 1), (1, 256)):
    plain = spread(keras.layers.Conv2D, c_in, c_out, 1, "he_normal")
    transposed = spread(keras.layers.Conv2DTranspose, c_in, c_out, 2, "he_normal")
    right = keras.initializers.VarianceScaling(2 * 2 * 2, "fan_out")
    proposed = spread(keras.layers.Conv2DTranspose, c_in, c_out, 2, right)
    print(f"{c_in} to {c_out}: spread of y, Conv2D {plain:.2f}, transposed {transposed:.3f}, as proposed {proposed:.2f}")
    assert 1.2 < plain < 1.6
    assert 1.2 < proposed < 1.6
    assert (transposed > 10) if c_in == 256 else (transposed < 0.05)
END
