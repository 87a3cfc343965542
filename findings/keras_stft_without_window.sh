#!/usr/bin/env bash
# keras 3.15.1 with the backends of jax 0.10.2 and torch 2.13.0
#
# keras.ops.stft(window=None) with a sequence_length below fft_length transforms fft_length samples of each frame on JAX
# (and TensorFlow), and sequence_length of them on PyTorch. The shapes are equal, the numbers are not.
#
# Why a good guess is wrong: sequence_length is the length of a frame, and with a window it is the length of the
# window on every backend. Without one the argument is dropped on JAX and TensorFlow, so that frames overlap more than
# the stride says, and a model gives other numbers on another backend.
#
# Instead: window=keras.ops.ones(sequence_length), which all backends pad with zeros to fft_length.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet keras==3.15.1 jax==0.10.2 jaxlib==0.10.2 torch==2.13.0 numpy==2.4.6
cat > "$work/run.py" <<'END'
import keras
import numpy as np

x = np.random.default_rng(0).standard_normal((1, 40)).astype("f")
frame = {"sequence_length": 4, "sequence_stride": 4, "fft_length": 8, "center": False}


def stft(window):
    real, imaginary = (keras.ops.convert_to_numpy(each) for each in keras.ops.stft(x, window=window, **frame))
    return (real + 1j * imaginary)[0]


none, ones = stft(None), stft(keras.ops.ones(4))
starts = range(0, 33, 4)
# a window that is shorter than the transform stands in its middle
short = np.stack([np.fft.rfft(x[0, i : i + 8] * np.float32([0, 0, 1, 1, 1, 1, 0, 0])) for i in starts])
long = np.stack([np.fft.rfft(x[0, i : i + 8]) for i in starts])
backend = keras.backend.backend()
print(f"{backend}: window=None differs by {abs(none - short).max():.2f} from frames of 4 samples, "
      f"by {abs(none - long).max():.2f} from frames of 8")
assert np.allclose(ones, short, atol=1e-4)
assert np.allclose(none, short if backend == "torch" else long, atol=1e-4)
assert abs(short - long).max() > 1
END
for backend in jax torch; do
    KERAS_BACKEND=$backend "$work/venv/bin/python" "$work/run.py" 2> "$work/log" || { cat "$work/log"; exit 1; }
done
