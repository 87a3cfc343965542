#!/usr/bin/env bash
# keras 3.15.1 with the backend of torch 2.13.0
#
# A LayerNormalization or RMSNormalization along axis 1, the channels of data in [N, C, T], normalizes the last axis,
# time, if both have as many elements. The shape is right, the numbers are not. With other sizes it is an error.
#
# Why a good guess is wrong: the axis is an argument of the layer, and its weights have the size of that axis. But the
# operation hands any run of neighbouring axes to torch's own norm, which only knows the last ones, with the sizes of
# these axes as the shape. A test of shapes on a square input passes.
#
# Instead: keras.layers.Permute((2, 1)) before and behind a norm along axis -1.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet keras==3.15.1 torch==2.13.0 numpy==2.4.6
export KERAS_BACKEND=torch
"$work/venv/bin/python" - 2> "$work/log" <<'END' || { cat "$work/log"; exit 1; }
import keras
import numpy as np

x = np.random.default_rng(0).standard_normal((1, 4, 4)).astype("f")
centred = x - x.mean(1, keepdims=True)
expected = {
    "LayerNormalization": centred / np.sqrt((centred**2).mean(1, keepdims=True) + 1e-3),
    "RMSNormalization": x / np.sqrt((x**2).mean(1, keepdims=True) + 1e-6),
}
for name, wanted in expected.items():
    layer = getattr(keras.layers, name)
    got = keras.ops.convert_to_numpy(layer(axis=1)(x))
    last = keras.ops.convert_to_numpy(layer(axis=-1)(x))
    print(f"{name}(axis=1): difference from the definition {abs(got - wanted).max():.2f}, "
          f"from the norm along the last axis {abs(got - last).max():.0e}")
    assert np.array_equal(got, last)
    assert abs(got - wanted).max() > 0.1
    turned = keras.ops.convert_to_numpy(layer(axis=-1)(x.swapaxes(1, 2))).swapaxes(1, 2)
    assert np.allclose(turned, wanted, atol=1e-5)
    try:
        layer(axis=1)(x[:, :, :3])
    except Exception as error:
        print("4 channels, 3 samples:", type(error).__name__)
    else:
        raise AssertionError("no error for 4 channels and 3 samples")
END
