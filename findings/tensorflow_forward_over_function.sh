#!/usr/bin/env bash
# tensorflow-cpu 2.21.0
#
# A tf.autodiff.ForwardAccumulator and a tf.GradientTape around a call of a tf.function raise InternalError, "Recorded
# operation returned too few gradients. Expected 2 but received 3", whichever of the two is outside. x * w is enough.
#
# Why a good guess is wrong: each of them alone works with a tf.function, both together work without one, and the
# documentation of ForwardAccumulator describes Hessian-vector products by nesting it with a tape.
#
# Instead: write tape and accumulator inside of the tf.function, which works, or call the function without tf.function.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet tensorflow-cpu==2.21.0 numpy==2.4.6
export TF_CPP_MIN_LOG_LEVEL=3
"$work/venv/bin/python" - 2> "$work/log" <<'END' || { cat "$work/log"; exit 1; }
import tensorflow as tf

x, w = tf.constant([1.0, 2.0]), tf.constant([3.0, 4.0])


def forward_over_reverse(f):
    with tf.autodiff.ForwardAccumulator(x, w) as accumulator:
        with tf.GradientTape() as tape:
            tape.watch(w)
            value = f(x, w)
        gradient = tape.gradient(value, w)
    return accumulator.jvp(gradient)


def reverse_over_forward(f):
    with tf.GradientTape() as tape:
        tape.watch(w)
        with tf.autodiff.ForwardAccumulator(x, w) as accumulator:
            value = f(x, w)
        tangent = accumulator.jvp(value)
    return tape.gradient(tangent, w)


def product(x, w):
    return x * w


for derivative, expected in ((forward_over_reverse, [3.0, 4.0]), (reverse_over_forward, [6.0, 8.0])):
    result = derivative(product)
    inside = tf.function(derivative)(product)
    print(derivative.__name__, "without tf.function", result.numpy(), "all of it inside", inside.numpy())
    try:
        derivative(tf.function(product))
    except tf.errors.InternalError as error:
        print("around a tf.function:", error.message)
        assert "too few gradients" in error.message
    else:
        raise SystemExit("no error: the fault is mended")
END
