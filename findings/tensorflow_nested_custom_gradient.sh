#!/usr/bin/env bash
# tensorflow-cpu 2.21.0
#
# A function with tf.custom_gradient whose gradient calls functions with tf.custom_gradient has a first derivative in a
# tf.function, and no second one: TypeError, "<tf.Tensor 'w:0' ...> is out of scope and cannot be used here".
#
# Why a good guess is wrong: all of it works outside of tf.function, to any order. In a graph the inner gradient keeps
# the tensor of the outer function's graph, from which the graph of the second derivative cannot take it.
#
# Instead: give the function tf.identity(x), tf.identity(w). They belong to the graph that is being built, and cost
# nothing after TensorFlow's optimizer.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet tensorflow-cpu==2.21.0 numpy==2.4.6
export TF_CPP_MIN_LOG_LEVEL=3
"$work/venv/bin/python" - 2> "$work/log" <<'END' || { cat "$work/log"; exit 1; }
import tensorflow as tf

x, w = tf.constant([1.0, 2.0]), tf.constant([3.0, 4.0])


@tf.custom_gradient
def product(x, w):
    return x * w, lambda dy: (product(dy, w), product(x, dy))


@tf.custom_gradient
def own(x, w):
    return x * w, lambda dy: (scoped(dy, w), scoped(x, dy))


def scoped(x, w):
    return own(tf.identity(x), tf.identity(w))


def second_derivative(f):
    with tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(w)
            value = tf.reduce_sum(f(x, w))
        along = tf.reduce_sum(inner.gradient(value, w) * w)
    return outer.gradient(along, x).numpy().tolist()


print("without tf.function:", second_derivative(product))
assert second_derivative(product) == [3.0, 4.0]
try:
    second_derivative(tf.function(product))
except TypeError as error:
    print("in a tf.function:", str(error).splitlines()[0][:100])
    assert "out of scope" in str(error)
else:
    raise SystemExit("no error: the fault is mended")
print("with tf.identity:", second_derivative(tf.function(scoped)))
assert second_derivative(tf.function(scoped)) == [3.0, 4.0]
END
