"""Train a generator of digits with Keras, on any of its backends, and make it faster with one line.

An autoencoder learns scikit-learn's 1797 digits of 8 by 8; its decoder, the generator, draws them from 8 numbers with
transposed convolutions, one of them with groups and a dilation, which Keras' own layer does not have:

    pip install "tconv[keras]" scikit-learn torch
    KERAS_BACKEND=torch python examples/keras_generator.py            # or tensorflow, or jax
    python examples/keras_generator.py --epochs 20                    # digits that can be read
"""

from __future__ import annotations

import argparse

import keras
import numpy as np
from sklearn.datasets import load_digits

import tconv.keras

SHADES = " .:-=+*#%@"


def generator() -> keras.Model:
    """Return a model from 8 numbers to a digit [8, 8, 1]."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((8,)),
            layers.Dense(2 * 2 * 64, activation="relu"),
            layers.Reshape((2, 2, 64)),
            layers.Conv2DTranspose(32, 4, strides=2, padding="same", activation="relu"),
            tconv.keras.Conv2DTranspose(
                32,
                3,
                strides=2,
                padding="same",
                dilation_rate=2,
                groups=4,
                activation="relu",
                kernel_initializer="icnr",
            ),
            layers.Conv2DTranspose(1, 5, padding="same", activation="sigmoid"),
        ],
        name="generator",
    )


def encoder() -> keras.Model:
    """Return a model from a digit [8, 8, 1] to 8 numbers between -1 and 1."""
    layers = keras.layers
    first = layers.Conv2D(32, 3, strides=2, padding="same", activation="relu")
    return keras.Sequential([keras.Input((8, 8, 1)), first, layers.Flatten(), layers.Dense(8, activation="tanh")])


def drawn(image: np.ndarray) -> list[str]:
    """Return the rows of a digit as text."""
    return ["".join(SHADES[int(value * 9.99)] * 2 for value in row) for row in image[..., 0]]


def main() -> None:
    """Train, accelerate, train on, and draw four digits beside those that they are made from."""
    parser = argparse.ArgumentParser(description="Train a generator of digits.")
    parser.add_argument("--epochs", type=int, default=1)
    epochs = parser.parse_args().epochs
    keras.utils.set_random_seed(0)
    digits = np.float32(load_digits().images[..., None] / 16)
    model = keras.Sequential([encoder(), generator()])
    model.compile(keras.optimizers.Adam(2e-3), "mse")
    print(tconv.keras.accelerate(model, digits[:256]))
    losses = model.fit(digits, digits, batch_size=32, epochs=epochs, verbose=0).history["loss"]
    print(
        f"{keras.config.backend()}: mean squared error {losses[0]:.4f} in the first epoch, {losses[-1]:.4f} in the last"
    )
    made = model.predict(digits[:4], verbose=0)
    for rows in zip(*map(drawn, [*digits[:4], *made]), strict=True):
        print("  ".join(rows))


if __name__ == "__main__":
    main()
