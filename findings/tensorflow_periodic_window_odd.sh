#!/usr/bin/env bash
# tensorflow-cpu 2.21.0
#
# tf.signal.hann_window and hamming_window with periodic=True, their default, return the symmetric window for odd
# lengths. So hops that divide the length do not add up to a constant, and an inverse STFT, which is a transposed
# convolution with this window, ripples with the period of the hop if it only adds frames. Even lengths are periodic.
#
# Why a good guess is wrong: the argument says which window it is, and SciPy's and PyTorch's functions return the periodic
# one for every length. tf.signal.stft, and Keras' stft on TensorFlow, take their window from here.
#
# Instead: tf.signal.hann_window(n + 1, periodic=False)[:-1], or an even length.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet tensorflow-cpu==2.21.0 scipy==1.17.1 numpy==2.4.6
export TF_CPP_MIN_LOG_LEVEL=3
"$work/venv/bin/python" - 2> "$work/log" <<'END' || { cat "$work/log"; exit 1; }
import numpy as np
import scipy.signal
import tensorflow as tf


def added(window, hop):
    """Return sums of windows at every hop, away from the ends."""
    total = np.zeros(20 * hop + len(window))
    for start in range(0, 20 * hop, hop):
        total[start : start + len(window)] += window
    return total[len(window) : -len(window)]


for name in ("hann", "hamming"):
    for length, hop in ((8, 4), (12, 3), (9, 3), (15, 5)):
        window = getattr(tf.signal, f"{name}_window")(length, periodic=True).numpy()
        symmetric = getattr(tf.signal, f"{name}_window")(length, periodic=False).numpy()
        periodic = scipy.signal.get_window(name, length)  # periodic, too
        sums = added(window, hop)
        print(f"{name} {length}, hop {hop}: {abs(window - periodic).max():.3f} from the periodic window, "
              f"sums from {sums.min():.3f} to {sums.max():.3f}")
        assert np.ptp(added(periodic, hop)) < 1e-6
        assert np.array_equal(window, symmetric) == bool(length % 2)
        assert (np.ptp(sums) > 0.03) == bool(length % 2)
        instead = getattr(tf.signal, f"{name}_window")(length + 1, periodic=False).numpy()[:-1]
        assert np.allclose(instead, periodic, atol=1e-6)
END
