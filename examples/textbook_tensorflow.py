"""The textbook's section on the transposed convolution, typed in TensorFlow, with tconv beside tf.nn.

Dive into Deep Learning, section 14.10 (d2l.ai/chapter_computer-vision/transposed-conv.html): the basic operation,
padding, strides, channels, and the connection to a matrix transposition. Each step compares what a reader writes by
hand with `tf.nn.conv2d_transpose` and with tconv, on the same tensors. It prints them, and raises if they differ.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

import tconv
import tconv.tensorflow


def trans_conv(X: tf.Tensor, K: tf.Tensor) -> tf.Tensor:
    """Return the transposed convolution as the textbook writes it: every input adds its copy of the kernel."""
    h, w = K.shape
    Y = tf.Variable(tf.zeros((X.shape[0] + h - 1, X.shape[1] + w - 1)))
    for i in range(X.shape[0]):
        for j in range(X.shape[1]):
            Y[i : i + h, j : j + w].assign(Y[i : i + h, j : j + w] + X[i, j] * K)
    return Y.value()


def corr2d(X: tf.Tensor, K: tf.Tensor) -> tf.Tensor:
    """Return the convolution, as the textbook calls the cross-correlation."""
    h, w = K.shape
    rows = range(X.shape[0] - h + 1), range(X.shape[1] - w + 1)
    return tf.stack([tf.stack([tf.reduce_sum(X[i : i + h, j : j + w] * K) for j in rows[1]]) for i in rows[0]])


def kernel2matrix(K: tf.Tensor) -> tf.Tensor:
    """Return the matrix of the convolution of a 3x3 picture with a 2x2 kernel."""
    k = tf.concat([K[0], [0.0], K[1]], 0)
    return tf.stack([tf.pad(k, [[at, 4 - at]]) for at in (0, 1, 3, 4)])


def main() -> None:
    # -- basic operation: 2x2 inputs, 2x2 kernel
    X = tf.constant([[0.0, 1.0], [2.0, 3.0]])
    K = tf.constant([[0.0, 1.0], [2.0, 3.0]])
    print("by hand\n", trans_conv(X, K).numpy())
    print("tconv.definition.scatter, on the same tensors\n", tconv.definition.scatter(X, K).numpy())
    tf.debugging.assert_equal(trans_conv(X, K), tconv.definition.scatter(X, K))

    # TensorFlow's tensors have channels last, [N, h, w, C], and filters [h, w, C_out, C_in]
    x, k = X[None, :, :, None], K[:, :, None, None]
    theirs = tf.nn.conv2d_transpose(x, k, output_shape=[1, 3, 3, 1], strides=1, padding="VALID")
    ours = tconv.tensorflow.conv_transpose(x, k, output_shape=[1, 3, 3, 1], strides=1, padding="VALID")
    tf.debugging.assert_equal(ours, theirs)
    tf.debugging.assert_equal(ours[0, :, :, 0], trans_conv(X, K))

    # -- padding is cut off the output: the textbook's padding=1 leaves the middle
    y = tf.nn.conv2d_transpose(x, k, [1, 1, 1, 1], 1, [[0, 0], [1, 1], [1, 1], [0, 0]])
    print("padding 1 leaves", y[0, :, :, 0].numpy(), tconv.definition.scatter(X, K, padding=1).numpy())
    tf.debugging.assert_equal(y[0, :, :, 0], tconv.definition.scatter(X, K, padding=1))
    tf.debugging.assert_equal(y, tconv.tensorflow.conv_transpose(x, k, None, 1, crop=[(1, 1), (1, 1)]))

    # -- strides move the copies of the kernel
    y = tf.nn.conv2d_transpose(x, k, [1, 4, 4, 1], strides=2, padding="VALID")
    print("stride 2\n", y[0, :, :, 0].numpy())
    tf.debugging.assert_equal(y[0, :, :, 0], tconv.definition.scatter(X, K, stride=2))
    tf.debugging.assert_equal(y, tconv.tensorflow.conv_transpose(x, k, [1, 4, 4, 1], 2, "VALID"))

    # -- channels: the transposed layer with the same settings restores the shape
    X = tf.random.stateless_uniform((1, 16, 16, 10), (0, 0))
    conv = tf.keras.layers.Conv2D(20, kernel_size=5, padding="same", strides=3)
    layer = tf.keras.layers.Conv2DTranspose(10, kernel_size=5, padding="same", strides=3, output_padding=0)
    assert layer(conv(X)).shape == X.shape
    print("shape restored:", layer(conv(X)).shape)
    # the layer itself is taken for a weight, also inside of a function and under a tape
    up = tf.function(lambda y: tconv.conv_transpose(y, layer))
    np.testing.assert_allclose(up(conv(X)), layer(conv(X)), atol=1e-5)
    with tf.GradientTape(persistent=True) as tape:
        ours, theirs = (tf.reduce_sum(each(conv(X)) ** 2) for each in (up, layer))
    for a, b in zip(
        tape.gradient(ours, layer.trainable_variables),
        tape.gradient(theirs, layer.trainable_variables),
        strict=True,
    ):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3)

    # -- connection to matrix transposition
    X = tf.reshape(tf.range(9.0), (3, 3))
    K = tf.constant([[1.0, 2.0], [3.0, 4.0]])
    Y, W = corr2d(X, K), kernel2matrix(K)
    print("the convolution as a matrix, K [4 x 9]\n", W.numpy())
    tf.debugging.assert_equal(Y, tf.reshape(W @ tf.reshape(X, (-1, 1)), (2, 2)))
    tf.debugging.assert_equal(Y, tconv.definition.conv(X, K))
    assert np.array_equal(W, tconv.matrix(K, (2, 2)).toarray())
    Z = trans_conv(Y, K)
    print("its transpose gives the transposed convolution\n", Z.numpy())
    tf.debugging.assert_equal(Z, tf.reshape(tf.transpose(W) @ tf.reshape(Y, (-1, 1)), (3, 3)))
    z = tconv.conv_transpose(
        Y[None, :, :, None], K[:, :, None, None], dialect="tensorflow", output_shape=[1, 3, 3, 1], padding="VALID"
    )
    tf.debugging.assert_equal(Z, z[0, :, :, 0])

    # the gradient of the convolution with respect to its input is that product, too
    with tf.GradientTape() as tape:
        tape.watch(X)
        y = tf.nn.conv2d(X[None, :, :, None], K[:, :, None, None], 1, "VALID")
    tf.debugging.assert_equal(Z, tape.gradient(y, X, y))
    print("all equal")


if __name__ == "__main__":
    main()
