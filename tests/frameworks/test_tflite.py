"""TensorFlow Lite's operators in a process of their own: random native arguments on three kernels, code, weights.

A model that TFLiteConverter makes of tf.nn's call serves as the mould: converting each call would take 60 ms, exchanging
shapes, weights and options in the mould takes 1 ms, and lets the operator itself see what tf.nn would refuse.
"""

from __future__ import annotations

import os
import re

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import ai_edge_litert.interpreter
import flatbuffers
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from harness import Conformance, check_code

import tconv
from random_calls import random_sizes, whole_numbers
from tconv.dialects.faults import FAULTS
from tconv.errors import ArgumentError, DialectError, GeometryError, ShapeError

KERNELS = {
    "reference": OpResolverType.BUILTIN_REF,
    "optimised": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    "XNNPACK": OpResolverType.BUILTIN,
}


def converted(ndim):
    call = {2: tf.nn.conv2d_transpose, 3: tf.nn.conv3d_transpose}[ndim]
    function = tf.function(lambda x: call(x, np.ones([2] * ndim + [1, 1], "f"), [1, *[4] * ndim, 1], 2))
    traced = function.get_concrete_function(tf.TensorSpec([1, *[2] * ndim, 1], tf.float32))
    return tf.lite.TFLiteConverter.from_concrete_functions([traced]).convert()


MOULDS = {ndim: converted(ndim) for ndim in (2, 3)}


def stored(array):
    return np.frombuffer(np.ascontiguousarray(array).tobytes(), np.uint8)


def cast(x, w, bias, output_shape, strides, padding, dilations):
    """The model of one call."""
    ndim = x.ndim - 2
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(MOULDS[ndim], 0))
    (graph,) = model.subgraphs
    (operator,) = graph.operators
    asked, weight, image = (graph.tensors[index] for index in operator.inputs[:3])
    image.shape, weight.shape = np.array(x.shape, np.int32), np.array(w.shape, np.int32)
    graph.tensors[operator.outputs[0]].shape = np.array(output_shape, np.int32)
    model.buffers[weight.buffer].data = stored(w)
    model.buffers[asked.buffer].data = stored(np.array(output_shape, np.int32))
    for axis, name in enumerate("DHW"[-ndim:]):
        setattr(operator.builtinOptions, f"stride{name}", strides[axis])
        if ndim == 3:
            setattr(operator.builtinOptions, f"dilation{name}Factor", dilations[axis])
    operator.builtinOptions.padding = {"SAME": 0, "VALID": 1}[padding]
    if bias is not None:
        buffer, tensor = schema.BufferT(), schema.TensorT()
        buffer.data, tensor.shape, tensor.buffer = stored(bias), np.array(bias.shape, np.int32), len(model.buffers)
        model.buffers.append(buffer)
        operator.inputs = np.array([*operator.inputs[:3], len(graph.tensors)], np.int32)
        graph.tensors.append(tensor)
        if ndim == 2:
            model.operatorCodes[0].version = 3  # the first with a bias
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def native(kernel):
    def call(x, w, bias, arguments):
        ndim = x.ndim - 2
        per_axis = lambda name: list(v) if np.ndim(v := arguments.get(name, 1)) else [v] * ndim  # noqa: E731
        if ndim == 2 and max(per_axis("dilations")) > 1:
            raise ValueError("TRANSPOSE_CONV has no such option")
        model = cast(
            x, w, bias, arguments["output_shape"], per_axis("strides"), arguments["padding"], per_axis("dilations")
        )
        interpreter = Interpreter(model_content=model, experimental_op_resolver_type=KERNELS[kernel])
        interpreter.allocate_tensors()
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
        interpreter.invoke()
        return interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).copy()

    return call


def random_call(rng, ndim, stray=0.15):
    """Draw x, weight, bias and arguments, with output sizes and ends that are wrong by the probability `stray`."""
    drawn = random_sizes(rng, ndim, k=(1, 5), dilated=0.4 if ndim == 3 else 0.1)
    n, k, s, d, c_in, c_out, batch = (
        drawn.n,
        drawn.k,
        list(drawn.s),
        list(drawn.d),
        drawn.c_in,
        drawn.c_out,
        drawn.batch,
    )
    padding = str(rng.choice(["SAME", "VALID"]))
    extents = [1] * ndim if padding == "SAME" else drawn.extent
    low = [s_ * (n_ - 1) + e for n_, s_, e in zip(n, s, extents, strict=True)]
    off = int(rng.random() < stray)
    sizes = [max(1, int(rng.integers(first - off, first + s_ + off))) for first, s_ in zip(low, s, strict=True)]
    ends = [batch, c_out]
    if rng.random() < stray / 2:
        ends[int(rng.integers(2))] *= 2
    arguments = {"output_shape": [ends[0], *sizes, ends[1]], "strides": s, "padding": padding}
    if max(d) > 1 or rng.random() < 0.3:
        arguments["dilations"] = d
    for name in ("strides", "dilations"):
        if name in arguments and len(set(arguments[name])) == 1 and rng.random() < 0.5:
            arguments[name] = arguments[name][0]
    x = whole_numbers(rng, [batch, *n, c_in])
    w = whole_numbers(rng, [c_out, *k, c_in] if ndim == 2 else [*k, c_out, c_in])
    return x, w, whole_numbers(rng, [c_out]) if rng.random() < 0.5 else None, arguments


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("ndim", [2, 3])
def test_random_native_arguments(kernel, ndim):
    rng = np.random.default_rng([ndim, list(KERNELS).index(kernel)])
    conformance = Conformance("tflite", native(kernel))
    xnnpack = kernel == "XNNPACK" and ndim == 2  # takes sizes and batches for granted: see the next test
    for _ in range(500):
        conformance.check(*random_call(rng, ndim, 0 if xnnpack else 0.15))
    print(kernel, ndim, dict(conformance.tally))
    assert conformance.tally["equal"] > 350
    assert conformance.tally["refused"] > (10 if xnnpack else 50)


def test_xnnpack_answers_with_another_shape():
    """The fault that is listed: never what was asked for, where the operator refuses and we do."""
    rng = np.random.default_rng(0)
    fault = FAULTS["xnnpack_valid_size"]
    given = 0
    for _ in range(300):
        x, w, _, arguments = random_call(rng, 2, 0.8)
        arguments = {
            "strides": arguments["strides"],
            "padding": arguments["padding"],
            "output_shape": arguments["output_shape"],
        }
        arguments["output_shape"][0], arguments["output_shape"][-1] = len(x), len(w)
        affected = fault.applies(tconv.Geometry(w.shape[1:3], arguments["strides"]), x.shape[1:3], arguments)
        try:
            y = native("XNNPACK")(x, w, None, arguments)
        except (RuntimeError, ValueError):
            continue
        assert affected == (y.shape != tuple(arguments["output_shape"]))
        if affected:
            with pytest.raises(ShapeError, match=r"output_shape has .*'VALID' convolution"):
                tconv.conv_transpose(x, w, dialect="tflite", **arguments)
            given += 1
    assert given > 30


def test_an_empty_batch():
    x, w = np.ones((0, 4, 5, 3), "f"), np.ones((6, 2, 2, 3), "f")
    arguments = {"output_shape": [0, 8, 10, 6], "strides": 2, "padding": "SAME"}
    assert (
        tconv.conv_transpose(x, w, dialect="tflite", **arguments).shape
        == native("reference")(x, w, None, arguments).shape
    )


def test_what_it_is_not():
    x, w = np.ones((1, 4, 4, 2), "f"), np.ones((3, 3, 3, 2), "f")
    with pytest.raises(ShapeError, match=r"TensorFlow Lite has no groups\. Write 3"):
        tconv.conv_transpose(x, w, dialect="tflite", output_shape=[1, 8, 8, 6], strides=2)
    with pytest.raises(ShapeError, match="output_shape begins with 2; x has a batch of 1"):
        tconv.conv_transpose(x, w, dialect="tflite", output_shape=[2, 8, 8, 3], strides=2)
    with pytest.raises(ArgumentError, match="TRANSPOSE_CONV has no dilations"):
        tconv.conv_transpose(x, w, dialect="tflite", output_shape=[1, 8, 8, 3], dilations=2)
    with pytest.raises(ArgumentError, match=r'padding is \[\[0, 0\]\]; "SAME" or "VALID" is needed'):
        tconv.conv_transpose(x, w, dialect="tflite", output_shape=[1, 8, 8, 3], padding=[[0, 0]])
    with pytest.raises(DialectError, match=r"cannot express 2 groups.*nor a dilation in 2-D"):
        tconv.dialect("tflite").arguments(tconv.Geometry((3, 3), dilation=2, groups=2), (4, 4))


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        (GeometryError, {"output_shape": [1, None, 8, 3]}, "the spatial part of output_shape is (None, 8), of unknown size on axis 0; every entry must be an integer. Write output_shape=[N, 8, 8, C_out]"),
        (GeometryError, {"output_shape": [None, 8, 8, 3]}, "(batch, channels) of output_shape is (None, 3), of unknown size on axis 0; every entry"),
        (GeometryError, {"output_shape": np.array([[8.0, 8.0]] * 2)}, "the spatial part of output_shape is (array([8., 8.]), "),
        (ArgumentError, {"output_shape": True}, "output_shape is True; a sequence of 4 integers is needed. Write output_shape=[N, 8, 8, C_out]"),
        (ArgumentError, {"output_shape": iter([1, 8, 8, 3])}, "; a sequence of 4 integers is needed"),
        (GeometryError, {"strides": "2"}, "strides is '2'; an integer is needed. Write strides=2, for example"),
        (GeometryError, {"strides": (2, 0)}, "strides is (2, 0); every entry must be at least 1. Write strides=(2, 1), for example"),
        (GeometryError, {"dilations": [None, 1]}, "dilations is (None, 1), of unknown size on axis 0; every entry must be an integer. Write dilations=(2, 1)"),
        (ArgumentError, {"padding": np.array(["SAME"])}, "padding is array(['SAME'], dtype='<U4'); \"SAME\" or \"VALID\" is needed"),
        (ShapeError, {"strides": 10**30}, "Use a size that it reduces to 4: "),
    ],
)  # fmt: skip
def test_values_that_mean_nothing(kind, arguments, message):
    x, w = np.ones((1, 4, 4, 2), "f"), np.ones((3, 3, 3, 2), "f")
    with pytest.raises(kind, match=re.escape(message)):
        tconv.plan(x, w, dialect="tflite", **{"output_shape": [1, 8, 8, 3], "strides": 2, **arguments})


def test_weights_both_ways():
    rng = np.random.default_rng(2)
    w = whole_numbers(rng, (6, 5, 3, 2))
    assert np.array_equal(tconv.convert(w, source="torch", target="tflite"), w.transpose(1, 2, 3, 0))
    assert np.array_equal(tconv.convert(w.transpose(1, 2, 3, 0), source="tflite", target="torch"), w)
    w = whole_numbers(rng, (6, 5, 3, 2, 4))
    assert np.array_equal(tconv.convert(w, source="torch", target="tflite"), w.transpose(2, 3, 4, 1, 0))


def test_arguments_and_code():
    """The code converts and runs a model."""
    tally = check_code(
        "tflite",
        {"tf": tf, "ai_edge_litert": ai_edge_litert, "np": np},
        count=100,
        ranks=(2, 3),
        groups=(1, 1, 1, 2),
    )
    print(dict(tally))
    assert tally["one call"] > 8
    assert tally["call and slice"] > 30


def test_conv_is_the_adjoint():
    rng = np.random.default_rng(3)
    checked = 0
    for ndim in (2, 3) * 40:
        x, w, _, arguments = random_call(rng, ndim, 0)
        if ndim == 2:
            arguments.pop("dilations", None)
        try:
            y = tconv.conv_transpose(x, w, dialect="tflite", **arguments)
        except tconv.TconvError:
            continue
        v = whole_numbers(rng, y.shape)
        del arguments["output_shape"]
        u = tconv.conv(v, w, dialect="tflite", **arguments)
        assert (u.astype(float) * x).sum() == (v.astype(float) * y).sum()
        checked += 1
    assert checked > 60


def test_there_is_no_batchnorm_whose_epsilon_could_be_a_default():
    """The converter folds it, with the epsilon of the TensorFlow layer."""
    names = [name for name in dir(schema.BuiltinOperator) if name.isupper()]
    assert "TRANSPOSE_CONV" in names
    assert not [name for name in names if "BATCH" in name and "NORM" in name]
    assert tconv.dialect("tflite").batchnorm_eps is None
