"""TensorFlow's own operators, in a process of their own: random native arguments, tensors in and out, the code it is given."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from harness import Conformance, whole_numbers

import tconv
from tconv.errors import ArgumentError, ArrayError, GeometryError, ShapeError

CALLS = {1: tf.nn.conv1d_transpose, 2: tf.nn.conv2d_transpose, 3: tf.nn.conv3d_transpose}
LETTERS = {1: "W", 2: "HW", 3: "DHW"}


def native(x, w, bias, words):
    y = CALLS[w.ndim - 2](tf.constant(x), tf.constant(w), **words)
    if bias is not None:
        y = tf.nn.bias_add(y, tf.constant(bias), "NC" if words.get("data_format", "N")[1:2] == "C" else None)
    return y.numpy()


def full(n, s, k, d):
    return s * (n - 1) + d * (k - 1) + 1


def random_call(rng, ndim):
    """x, weight, bias and words: output sizes on both sides of the legal ones, now and then an illegal argument."""
    groups = int(rng.choice([1, 1, 1, 2, 3]))
    per_in, per_out = int(rng.choice([1, 2, 5, 7])), int(rng.integers(1, 4))
    draw = lambda lo, hi: [int(v) for v in rng.integers(lo, hi, ndim)]  # noqa: E731
    n, k, s = draw(1, 6), draw(1, 5), draw(1, 4)
    d = draw(1, 4) if rng.random() < 0.4 else [1] * ndim
    first = bool(rng.random() < 0.4)
    padding = str(rng.choice(["SAME", "VALID", "EXPLICIT"], p=[0.4, 0.4, 0.2] if ndim == 2 else [0.49, 0.49, 0.02]))
    pairs = [[int(v) for v in rng.integers(0, 3, 2)] for _ in range(ndim)]
    sizes = []
    for n_, k_, s_, d_, pair in zip(n, k, s, d, pairs, strict=True):
        if padding == "SAME":
            low, high = s_ * (n_ - 1) + 1, s_ * n_
        else:
            low = full(n_, s_, k_, d_) - (sum(pair) if padding == "EXPLICIT" else 0)
            high = low + s_ - 1
        stray = 1 if rng.random() < 0.1 else 0
        sizes.append(max(1, int(rng.integers(low - stray, high + stray + 1))))  # -1 would end the process
    around = lambda values, ends: [*ends[:1], *values, *ends[1:]] if not first else [*ends, *values]  # noqa: E731
    batch = int(rng.integers(1, 4))
    words = {
        "output_shape": around(sizes, [batch, per_out * groups]),
        "strides": s,
        "padding": padding if padding != "EXPLICIT" else around(pairs, [[0, 0], [0, 0]]),
    }
    if first or rng.random() < 0.5:
        words["data_format"] = f"NC{LETTERS[ndim]}" if first else f"N{LETTERS[ndim]}C"
    if max(d) > 1 or rng.random() < 0.5:
        words["dilations"] = d
    for name in ("strides", "dilations"):
        chance = rng.random()
        if name in words and chance < 0.3:
            words[name] = around(words[name], [1, 1])
        elif name in words and chance < 0.5 and len(set(words[name])) == 1:
            words[name] = words[name][0]
    x = whole_numbers(rng, around(n, [batch, per_in * groups]))
    w = whole_numbers(rng, [*k, per_out, per_in * groups])
    bias = whole_numbers(rng, [per_out * groups]) if rng.random() < 0.5 else None
    return x, w, bias, words


if __name__ == "__main__":
    import sys, collections
    rng = np.random.default_rng([int(sys.argv[1])])
    seen = collections.Counter()
    log = open("/tmp/tf_last.txt", "w")
    for i in range(int(sys.argv[2])):
        x, w, b, words = random_call(rng, 1 + i % 3)
        log.seek(0); log.write(repr((x.shape, w.shape, words)) + " " * 200); log.flush()
        try:
            ours = tconv.conv_transpose(x, w, b, dialect="tensorflow", **words); o = ours.shape
        except tconv.TconvError as e:
            ours, o = None, "R " + str(e)[:150]
        try:
            theirs = native(x, w, b, words); t = theirs.shape
        except Exception as e:
            theirs, t = None, f"R {type(e).__name__} {str(e)[:200]}"
        if ours is not None and theirs is not None:
            seen["equal" if ours.shape == theirs.shape and np.array_equal(ours, theirs) else "DIFF"] += 1
            if not (ours.shape == theirs.shape and np.array_equal(ours, theirs)):
                print("DIFF", x.shape, w.shape, words, o, t)
        elif ours is None and theirs is None: seen["refused"] += 1
        else:
            key = "we refuse" if ours is None else "they refuse"
            seen[key] += 1
            if seen[key] < 12: print(key, x.shape, w.shape, words, "\n   ours", o, "\n   theirs", t)
    print(seen)
