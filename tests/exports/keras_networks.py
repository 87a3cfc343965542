"""Small Keras networks with transposed convolutions, and their exports: python keras_networks.py FOLDER [NAME...].

With KERAS_BACKEND=torch it writes .keras, .h5 and .onnx files; with tensorflow .tflite files of the .keras files.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers

warnings.simplefilter("ignore")


def stack(shape: tuple[int | None, ...], *parts: Any) -> Callable[[], Any]:
    return lambda: keras.Sequential([keras.Input(shape), *(part() for part in parts)])


def up2(*args: Any, **options: Any) -> Callable[[], Any]:
    return lambda: layers.Conv2DTranspose(*args, **options)


def up1(*args: Any, **options: Any) -> Callable[[], Any]:
    return lambda: layers.Conv1DTranspose(*args, **options)


def up3(*args: Any, **options: Any) -> Callable[[], Any]:
    return lambda: layers.Conv3DTranspose(*args, **options)


def unet() -> Any:
    x = keras.Input((16, 24, 3))
    a = layers.Conv2D(4, 3, padding="same", activation="relu")(x)
    b = layers.Conv2D(6, 3, strides=2, padding="same", activation="relu")(a)
    c = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(b)
    y = layers.Concatenate()([layers.Conv2DTranspose(6, 3, strides=2, padding="same", name="up2")(c), b])
    y = layers.Conv2D(6, 3, padding="same", activation="relu")(y)
    y = layers.Concatenate()([layers.Conv2DTranspose(4, 2, strides=2, name="up1")(y), a])
    return keras.Model(x, layers.Conv2D(2, 1, activation="sigmoid")(y))


def gan() -> Any:
    z = keras.Input((10,))
    y = layers.Reshape((3, 4, 6))(layers.Dense(72)(z))
    for filters in (8, 4):
        y = layers.Conv2DTranspose(filters, 5, strides=2, padding="same", use_bias=False)(y)
        y = layers.LeakyReLU(0.2)(layers.BatchNormalization()(y))
    return keras.Model(z, layers.Conv2DTranspose(1, 5, strides=2, padding="same", activation="tanh")(y))


def cropped() -> Any:
    x = keras.Input((7, 6, 4))
    y = layers.Cropping2D(((1, 2), (2, 1)))(layers.Conv2DTranspose(5, 5, strides=2)(x))
    return keras.Model(x, layers.ZeroPadding2D(1)(layers.ReLU()(y)))


def operations() -> Any:
    x = keras.Input((8, 8, 4))
    y = layers.Conv2DTranspose(6, 4, strides=2, padding="same")(x)
    return keras.Model(x, keras.ops.relu(y) * 2.0 + keras.ops.mean(y, (1, 2), keepdims=True))


def two() -> Any:
    a, b = keras.Input((6, 6, 3), name="a"), keras.Input((12, 12, 2), name="b")
    y = layers.Conv2DTranspose(2, 3, strides=2, padding="same")(a)
    return keras.Model([a, b], [layers.Add()([y, b]), layers.GlobalAveragePooling2D()(y)])


def nested() -> Any:
    inner = keras.Sequential(
        [keras.Input((8, 8, 5)), layers.Conv2DTranspose(4, 3, strides=2, padding="same"), layers.ReLU()]
    )
    x = keras.Input((8, 8, 3))
    return keras.Model(x, layers.Conv2DTranspose(3, 2, strides=2)(inner(layers.Conv2D(5, 1)(x))))


NETWORKS: dict[str, Callable[[], Any]] = {
    "same": stack((8, 10, 3), up2(4, 3, strides=2, padding="same"), layers.ReLU, up2(2, 5, strides=2, padding="same")),
    "valid": stack((7, 6, 3), up2(4, 4, strides=2), up2(2, 3, strides=3)),
    "same_even": stack((8, 8, 3), up2(4, 4, strides=2, padding="same", activation="relu"), up2(3, 2, strides=2, padding="same")),
    "stride_3": stack((5, 6, 3), up2(4, 5, strides=3, padding="same", activation="elu")),
    "dilated": stack((8, 8, 3), up2(4, 3, dilation_rate=2, padding="same"), layers.ReLU, up2(2, 3, dilation_rate=2)),
    "output_padding": stack((6, 6, 3), up2(4, 3, strides=2, padding="same", output_padding=1), up2(3, 3, strides=2, output_padding=1)),
    "odd_output_padding": stack((6, 6, 3), up2(4, 5, strides=2, padding="same", output_padding=0)),
    "small_kernel": stack((6, 7, 3), up2(4, 2, strides=4, padding="valid")),
    "gaps": stack((6, 7, 3), up2(4, 2, strides=4, padding="same"), layers.ReLU, up2(2, 1, strides=3, padding="same")),
    "activations": stack((8, 8, 3), up2(4, 3, strides=2, padding="same", activation="swish"), up2(3, 4, strides=2, padding="same", activation="softplus")),
    "norm": stack((8, 8, 3), up2(4, 4, strides=2, padding="same", use_bias=False), layers.BatchNormalization, layers.ReLU, up2(2, 4, strides=2, padding="same")),
    "audio": stack((20, 4), up1(6, 4, strides=2, padding="same", activation="relu"), up1(2, 8, strides=4, padding="same")),
    "audio_valid": stack((15, 3), up1(4, 5, strides=3), layers.LeakyReLU, up1(2, 3, dilation_rate=2)),
    "volume": stack((4, 5, 6, 2), up3(3, 3, strides=2, padding="same"), layers.ReLU, up3(2, 2, strides=2)),
    "mixed": stack((6, 7, 3), up2(4, (3, 5), strides=(2, 3), padding="same")),
    "stride_1": stack((6, 7, 3), up2(4, 3, padding="same", activation="relu"), up2(2, 4, padding="same")),
    "resized": stack((6, 6, 3), lambda: layers.UpSampling2D(2), up2(4, 3, padding="same"), lambda: layers.Conv2D(2, 3, padding="same")),
    "pixels": stack((None, None, 1), lambda: layers.Conv2D(6, 5, padding="same"), lambda: layers.PReLU(shared_axes=[1, 2]), up2(1, 9, strides=3, padding="same")),
    "unet": unet,
    "gan": gan,
    "cropped": cropped,
    "operations": operations,
    "two": two,
    "nested": nested,
}  # fmt: skip


def build(name: str) -> Any:
    """Return a network with random weights and statistics."""
    keras.utils.set_random_seed(sum(map(ord, name)))
    network = NETWORKS[name]()
    rng = np.random.default_rng(sum(map(ord, name)))
    for each in network.variables:
        if each.dtype == "float32" and len(each.shape) == 1:
            spread = (
                rng.uniform(0.5, 1.5, each.shape)
                if "var" in each.name or "gamma" in each.name
                else rng.normal(0, 0.3, each.shape)
            )
            each.assign(spread.astype("float32"))
    return network


def write_keras(name: str, folder: Path) -> list[str]:
    """Write .keras, .h5 and .onnx; return the reasons of those that the exporter refuses."""
    network, refused = build(name), []
    shapes = [(1, *(8 if size is None else size for size in each.shape[1:])) for each in network.inputs]
    example = [np.zeros(shape, "float32") for shape in shapes]
    network(example if len(example) > 1 else example[0])
    network.save(folder / f"keras-{name}.keras")
    try:
        network.save(folder / f"keras-{name}.h5")
        keras.saving.load_model(folder / f"keras-{name}.h5", compile=False)
    except Exception as error:  # operations that are no layers
        (folder / f"keras-{name}.h5").unlink()
        refused.append(f"keras-{name}.h5: {type(error).__name__} {' '.join(str(error).split())[:120]}")
    try:
        network.export(str(folder / f"keras-{name}.onnx"), format="onnx", verbose=False)
    except Exception as error:
        refused.append(f"keras-{name}.onnx: {type(error).__name__} {' '.join(str(error).split())[:120]}")
    return refused


def write_tflite(name: str, folder: Path, kinds: tuple[str, ...] = ()) -> list[str]:
    """Write .tflite files, plain and with weights of 8 bits, and .saved; return the reasons of those that are refused."""
    import tensorflow as tf

    refused = []
    network = keras.saving.load_model(folder / f"keras-{name}.keras")
    for kind, optimizations in (("tflite", []), ("dynamic.tflite", [tf.lite.Optimize.DEFAULT])):
        if kinds and kind not in kinds:
            continue
        try:
            converter = tf.lite.TFLiteConverter.from_keras_model(network)
            converter.optimizations = optimizations
            (folder / f"keras-{name}.{kind}").write_bytes(converter.convert())
        except Exception as error:
            refused.append(f"keras-{name}.{kind}: {type(error).__name__} {' '.join(str(error).split())[:120]}")
    if kinds and "saved" not in kinds:
        return refused
    try:
        network.export(str(folder / f"keras-{name}.saved"))
    except Exception as error:
        refused.append(f"keras-{name}.saved: {type(error).__name__} {' '.join(str(error).split())[:120]}")
    return refused


if __name__ == "__main__":
    write = write_tflite if os.environ.get("KERAS_BACKEND") == "tensorflow" else write_keras
    for wanted in sys.argv[2:] or NETWORKS:
        for line in write(wanted, Path(sys.argv[1])):
            print(line, flush=True)
