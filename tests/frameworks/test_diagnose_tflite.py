"""diagnose on TensorFlow Lite's own int8 outputs, as its converter and kernels make them, in a process of its own."""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter, OpResolverType

import tconv

RNG = np.random.default_rng(0)
KERNELS = {"xnnpack": OpResolverType.AUTO, "built-in": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES, "reference": OpResolverType.BUILTIN_REF}  # fmt: skip


def layer(channels, filters, kernel, stride, padding):
    model = tf.keras.Sequential(
        [
            tf.keras.Input((9, 8, channels), batch_size=2),
            tf.keras.layers.Conv2DTranspose(filters, kernel, strides=stride, padding=padding),
        ]
    )
    w = RNG.standard_normal((kernel, kernel, filters, channels)).astype("f")
    b = RNG.standard_normal(filters).astype("f")
    model.layers[-1].set_weights([w, b])
    return model, w, b


def converted(model, mode, x):
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if mode != "dynamic":
        data = [x] if mode == "same data" else [RNG.standard_normal(x.shape).astype("f") for _ in range(20)]
        converter.representative_dataset = lambda: ([each] for each in data)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        if mode == "int8 arrays":
            converter.inference_input_type = converter.inference_output_type = tf.int8
    return converter.convert()


def run(model, x, kernels):
    interpreter = Interpreter(model_content=model, experimental_op_resolver_type=kernels)
    interpreter.allocate_tensors()
    (given,), (result,) = interpreter.get_input_details(), interpreter.get_output_details()
    if given["dtype"] == np.int8:
        scale, zero = given["quantization"]
        x = np.clip(np.rint(x / scale) + zero, -128, 127).astype("i1")
    interpreter.set_tensor(given["index"], x)
    interpreter.invoke()
    y = interpreter.get_tensor(result["index"])
    if result["dtype"] == np.int8:
        scale, zero = result["quantization"]
        y = (y.astype("f") - np.float32(zero)) * np.float32(scale)
    return y


@pytest.mark.parametrize("sizes", [(16, 12, 3, 2, "same"), (24, 7, 4, 2, "valid"), (9, 16, 5, 3, "same")], ids=str)
@pytest.mark.parametrize("mode", ["dynamic", "same data", "other data", "int8 arrays"])
def test_the_outputs_of_the_converter(mode, sizes):
    model, w, b = layer(*sizes)
    x = RNG.standard_normal((2, 9, 8, sizes[0])).astype("f")
    expected, file = model(x).numpy(), converted(model, mode, x)
    for kernels in KERNELS.values():
        got = run(file, x, kernels)
        arguments = {"dialect": "keras", "strides": sizes[3], "padding": sizes[4]}
        found = tconv.diagnose(got, expected, x=x, weight=w, bias=b, **arguments)
        assert found.cause == ("int8 x and weight" if mode == "dynamic" else "int8 x, weight and y"), str(found)
        assert "the weight symmetric, one scale per output channel" in str(found)
        if mode == "dynamic":
            assert found.verdict == "found"
            assert "one scale and zero point per image, as TensorFlow Lite's dynamic-range kernels do" in str(found)
        if "data" in mode:
            assert ("do not follow from its range" in str(found)) is (mode == "other data"), str(found)
