"""The operator in TensorFlow's standard operators: exact, eager, in graphs, compiled by XLA, and in files of TFLite."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from standard_cases import check, longer, random_call

import tconv
from random_calls import whole_numbers
from tconv.dialects import DataLayout, WeightLayout
from tconv.geometry import Geometry
from tconv.tensorflow import standard


def eagerly(function, *arrays):
    return function(*map(tf.constant, arrays)).numpy()


def compiled(function, *arrays):
    return tf.function(function, jit_compile=True)(*map(tf.constant, arrays)).numpy()


def with_unknown_sizes(known, call, function, *arrays):
    """Run a function traced without the sizes of the batch and, unless they are `known`, of the spatial axes."""
    data = {id(call.x): call.data, id(call.y): call.result}
    specs = [tf.TensorSpec(unknown(array, data.get(id(array)), known), array.dtype) for array in arrays]
    traced = tf.function(function, input_signature=specs)
    return traced(*map(tf.constant, arrays)).numpy()


def unknown(array, layout, known):
    if layout is None:
        return array.shape
    axes = zip(layout.axes, array.shape, strict=True)
    return [None if axis == "N" or (isinstance(axis, int) and not known) else size for axis, size in axes]


@pytest.mark.parametrize("ndim", [1, 2, 3, 4])
def test_equals_the_definition(ndim):
    rng = np.random.default_rng(ndim)
    spans = {"n": (1, 3), "k": (1, 3), "s": (1, 2)} if ndim == 4 else {}
    for _ in range({1: 25, 2: 30, 3: 10, 4: 2}[ndim]):
        check(standard, longer(rng, random_call(rng, (ndim,), **spans)), eagerly)
        check(standard, random_call(rng, (ndim,), **spans), eagerly)


@pytest.mark.parametrize("known", [False, True])
def test_unknown_sizes(known):
    rng = np.random.default_rng(5)
    for _ in range(5):
        call = random_call(rng, k=(1, 3), s=(1, 3))
        check(standard, call, partial(with_unknown_sizes, known, call))


def test_compiled_by_xla():
    rng = np.random.default_rng(6)
    for _ in range(6):
        check(standard, random_call(rng, (1, 2), k=(1, 4)), compiled)


@pytest.mark.parametrize("dtype", ["float64", "float16", tf.bfloat16.as_numpy_dtype, "int32", "int64", "complex64"])
def test_dtypes(dtype):
    rng = np.random.default_rng(7)
    for _ in range(15):
        check(standard, random_call(rng, (1, 2), dtype, n=(1, 3), k=(1, 3), in_per_group=(1, 2)), eagerly)


# -- files of TFLite ---------------------------------------------------------------------------------------------------

CALLS = {
    "k == s": (Geometry(2, 2), (5,)),
    "k4 s2 cropped": (Geometry((4, 4), 2, 1), (5, 4)),
    "k3 s2": (Geometry((3, 3), 2, ((1, 0), (0, 1))), (5, 4)),
    "dilated": (Geometry((3, 2), 2, 0, (1, 3)), (4, 4)),
    "groups": (Geometry((4, 4), 2, 1, 1, 2), (4, 4)),
    "gaps": (Geometry((2, 2), 3), (4, 3)),
    "extended": (Geometry((3, 3), 1, -2), (4, 3)),
    "three axes": (Geometry((4, 4, 4), 2, 1), (3, 2, 2)),
    "three axes, groups": (Geometry((2, 3, 2), 2, 0, 1, 2), (3, 2, 2)),
}


@pytest.mark.parametrize("batch", [2, None])
@pytest.mark.parametrize("name", CALLS)
def test_runs_as_tflite(name, batch):
    g, inputs = CALLS[name]
    rng = np.random.default_rng(8)
    data, weight_layout = DataLayout.of("N*C", g.ndim), WeightLayout.of("*OI", g.ndim, "O")
    w = whole_numbers(rng, (4, 4 // g.groups, *g.kernel))
    x = whole_numbers(rng, (2, *inputs, 4))
    weight = tf.Variable(np.ascontiguousarray(weight_layout.native(w, g.groups)))

    @tf.function(input_signature=[tf.TensorSpec([batch, *inputs, 4])])
    def function(x):
        return standard.conv_transpose(x, weight, g, data, weight_layout, data)

    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()])
    interpreter = Interpreter(model_content=converter.convert())
    number = interpreter.get_input_details()[0]["index"]
    for count in (2,) if batch else (1, 2):
        interpreter.resize_tensor_input(number, (count, *x.shape[1:]))
        interpreter.allocate_tensors()
        interpreter.set_tensor(number, x[:count])
        interpreter.invoke()
        got = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
        expected = tconv.definition.scatter(data.canonical(x[:count]), w, geometry=g)
        np.testing.assert_array_equal(data.canonical(got), expected)


# -- TensorFlow's own derivatives ----------------------------------------------------------------------------------------


def test_derivatives_of_tensorflow_are_the_adjoint_and_the_weight_gradient():
    rng = np.random.default_rng(9)
    for _ in range(12):
        call = random_call(rng)
        layouts = (call.data, call.weight_layout, call.result)
        x, w = map(tf.constant, (call.x, call.weight))
        with tf.GradientTape() as outer:
            outer.watch([x, w])
            with tf.GradientTape() as tape:
                tape.watch([x, w])
                y = standard.conv_transpose(x, w, call.geometry, *layouts)
            dx, dw = tape.gradient(y, [x, w], call.y)
            sums = tf.reduce_sum(dx * call.x) + tf.reduce_sum(dw * call.weight)  # linear in either: twice <y, T(x, w)>
        np.testing.assert_array_equal(dx, call.adjoint)
        np.testing.assert_array_equal(dw, call.weight_gradient)
        second = outer.gradient(sums, [x, w])
        if call.x.size:
            np.testing.assert_array_equal(second[0], call.adjoint)
