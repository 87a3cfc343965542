"""Steps of networks against TensorFlow's own operators and TFLite's interpreter: channels last, other rules of places."""

from __future__ import annotations

import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np
import pytest
import tensorflow as tf

import network_steps as ns
from tconv.models.steps.depth_to_space import ChannelsToPixels, PixelsToChannels
from tconv.models.steps.resize_like import ResizeLike

RNG = np.random.default_rng(0)


def last(x):
    return tf.constant(np.moveaxis(x, 0, -1)[None])


def first(y):
    return np.moveaxis(np.asarray(y)[0], -1, 0)


def by_tflite(function, x):
    """Return the output of a function of TensorFlow in TFLite's interpreter, and in TensorFlow."""
    given = last(x)
    concrete = tf.function(function).get_concrete_function(tf.TensorSpec(given.shape, tf.float32))
    interpreter = tf.lite.Interpreter(
        model_content=tf.lite.TFLiteConverter.from_concrete_functions([concrete]).convert()
    )
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], given)
    interpreter.invoke()
    return first(interpreter.get_tensor(interpreter.get_output_details()[0]["index"])), first(function(given))


@pytest.mark.parametrize("r", [2, 3])
def test_depth_to_space_is_in_blocks(r):
    x = RNG.normal(0, 1, (5 * r * r, 3, 4)).astype("f4")
    y = ns.whole(ChannelsToPixels(r, "blocks"), [x])
    for expected in by_tflite(lambda x: tf.nn.depth_to_space(x, r), x):
        np.testing.assert_array_equal(y, expected)
    for expected in by_tflite(lambda x: tf.nn.space_to_depth(x, r), y):
        np.testing.assert_array_equal(ns.whole(PixelsToChannels(r, "blocks"), [y]), expected)


RULES = {
    ("nearest", False, False): ("asymmetric", "floor"),
    ("nearest", True, False): ("align_corners", "round_prefer_ceil"),
    ("nearest", False, True): ("tf_half_pixel_for_nn", "floor"),
    ("linear", False, False): ("asymmetric", "floor"),
    ("linear", True, False): ("align_corners", "floor"),
    ("linear", False, True): ("half_pixel", "floor"),
}
"""Rules by mode, align_corners and half_pixel_centers."""


@pytest.mark.parametrize(("mode", "corners", "centres"), list(RULES))
def test_resize(mode, corners, centres):
    operator = tf.raw_ops.ResizeNearestNeighbor if mode == "nearest" else tf.raw_ops.ResizeBilinear
    positions, rounding = RULES[mode, corners, centres]
    for shape, to in [((4, 5), (8, 15)), ((6, 4), (9, 6)), ((8, 12), (4, 3)), ((1, 7), (3, 1))]:
        x = RNG.normal(0, 1, (2, *shape)).astype("f4")
        y = ns.whole(ResizeLike((1, 1), mode, positions, rounding), [x, np.zeros((1, *to))])
        answers = by_tflite(
            lambda x, to=to: operator(images=x, size=to, align_corners=corners, half_pixel_centers=centres), x
        )
        for expected in answers:
            np.testing.assert_allclose(y, expected, rtol=0, atol=2e-6, err_msg=f"{shape} {to}")
