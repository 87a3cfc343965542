"""Keras networks with transposed convolutions for `tconv bench --framework keras`, from published configurations.

Their weights are random. Keras is imported when one is built, and has channels last. A new network is one function and
one line in `KERAS_NETWORKS`.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple


class KerasNetwork(NamedTuple):
    """A network to be timed, and the shape of its input."""

    title: str
    build: Callable[[], Any]
    shape: tuple[int, ...]
    """Shape of the one random input, with the batch."""


def _dcgan() -> Any:
    """The generator of pytorch/examples dcgan/main.py: nz 100, ngf 64."""
    keras: Any = import_module("keras")
    x = inputs = keras.Input((1, 1, 100))
    for channels, strides, padding in ((512, 1, "valid"), (256, 2, "same"), (128, 2, "same"), (64, 2, "same")):
        x = keras.layers.Conv2DTranspose(channels, 4, strides=strides, padding=padding, use_bias=False)(x)
        x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
    x = keras.layers.Conv2DTranspose(3, 4, strides=2, padding="same", use_bias=False, activation="tanh")(x)
    return keras.Model(inputs, x)


def _unet() -> Any:
    """A U-Net (Ronneberger et al. 2015) of half the paper's widths and one level less, with padded convolutions."""
    keras: Any = import_module("keras")

    def double(x: Any, width: int) -> Any:
        for _ in range(2):
            x = keras.layers.Conv2D(width, 3, padding="same", activation="relu")(x)
        return x

    widths = (32, 64, 128, 256)
    x = inputs = keras.Input((128, 128, 1))
    skips: list[Any] = []
    for width in widths:
        x = double(keras.layers.MaxPooling2D()(x) if skips else x, width)
        skips.append(x)
    for width, skip in zip(widths[-2::-1], skips[-2::-1], strict=True):
        up = keras.layers.Conv2DTranspose(width, 2, strides=2)(x)
        x = double(keras.layers.Concatenate()([skip, up]), width)
    return keras.Model(inputs, keras.layers.Conv2D(2, 1)(x))


def _vocoder() -> Any:
    """The generator of jik876/hifi-gan config_v2.json, with the first of its three residual blocks."""
    keras: Any = import_module("keras")
    layers = keras.layers
    x = inputs = keras.Input((100, 80))
    x = layers.Conv1D(128, 7, padding="same")(x)
    for number, (rate, kernel) in enumerate(((8, 16), (8, 16), (2, 4), (2, 4))):
        channels = 128 >> (number + 1)
        x = layers.Conv1DTranspose(channels, kernel, strides=rate, padding="same")(layers.LeakyReLU(0.1)(x))
        for dilation in (1, 3, 5):
            y = layers.Conv1D(channels, 3, padding="same", dilation_rate=dilation)(layers.LeakyReLU(0.1)(x))
            x = x + layers.Conv1D(channels, 3, padding="same")(layers.LeakyReLU(0.1)(y))
    return keras.Model(inputs, layers.Conv1D(1, 7, padding="same", activation="tanh")(layers.LeakyReLU()(x)))


KERAS_NETWORKS = {
    "dcgan": KerasNetwork("DCGAN generator, batch 16", _dcgan, (16, 1, 1, 100)),
    "unet": KerasNetwork("U-Net (32, 64, 128, 256), 128 x 128", _unet, (1, 128, 128, 1)),
    "vocoder": KerasNetwork("HiFi-GAN V2 decoder, 100 frames", _vocoder, (1, 100, 80)),
}
