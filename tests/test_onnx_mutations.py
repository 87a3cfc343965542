"""Damaged ONNX files: an inventory or a TconvError, in bounded time and memory, whatever is changed in a file."""

from __future__ import annotations

import random
import resource

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from onnx_models import GraphBuilder
from tconv.errors import TconvError
from tconv.models.inventory import inventory_of


def detector():
    """Resemble a text detector: many Constant nodes, a sum of two paths, two layers with BatchNormalization behind."""
    b = GraphBuilder(["n", 3, "h", "w"], opset=12)

    def constant(*shape):
        value = numpy_helper.from_array(b.rng.normal(0, 1, shape).astype("f4"))
        return b.add("Constant", value=value)

    b.add("Conv", "x", constant(6, 3, 3, 3), strides=[2, 2], pads=[1, 1, 1, 1])
    b.add("Clip", b.last, b.constant(np.float32(0)), b.constant(np.float32(6)))
    early = b.add("Add", b.last, constant(1, 6, 1, 1))
    b.add("Conv", early, constant(6, 1, 3, 3), group=6, pads=[1, 1, 1, 1], strides=[2, 2])
    b.add("Resize", b.last, "", b.constant(np.array([1, 1, 2, 2], "f4")), mode="nearest")
    b.add("Concat", b.last, early, axis=1)
    for into, out in (12, 4), (4, 1):
        b.add("ConvTranspose", b.last, constant(into, out, 2, 2), strides=[2, 2], kernel_shape=[2, 2], pads=[0] * 4)
        b.add("Add", b.last, constant(1, out, 1, 1))
        b.add("BatchNormalization", b.last, *[constant(out) for _ in range(4)])
        b.add("Relu")
    b.add("Sigmoid")
    return b.model()


def decoder():
    """Resemble an audio decoder: weight norm, a pixel shuffle written out, integers, and a choice between two layers."""
    b = GraphBuilder([1, 4, "t"], opset=17)
    v, g = b.random(4, 4, 8), b.random(4, 1, 1)
    unit = b.add("Div", v, b.add("ReduceL2", v, axes=[1, 2]))
    b.add("ConvTranspose", "x", b.add("Mul", g, unit), b.random(4), strides=[4], pads=[2, 2], output_padding=[1])
    b.add("LeakyRelu", alpha=0.1)
    q = b.constant(b.rng.integers(-9, 9, (4, 2, 4)).astype("i1"))
    w = b.add("DequantizeLinear", q, b.constant(np.float32(0.1)), b.constant(np.int8(0)), axis=1)
    b.add("ConvTranspose", b.nodes[-2].output[0], w, auto_pad="SAME_UPPER", strides=[2])
    shape = b.add("Shape", b.last)
    size = b.add("Gather", shape, b.constant(np.array([2])), axis=0)
    before = b.add("Conv", b.nodes[-3].output[0], b.random(6, 2, 3), pads=[1, 1])
    split = b.add("Concat", b.constant(np.array([1, 3, 2])), size, axis=0)
    b.add("Transpose", b.add("Reshape", before, split), perm=[0, 1, 3, 2])
    b.add("Reshape", b.last, b.constant(np.array([0, 3, -1])))
    inner = helper.make_node("ConvTranspose", [b.last, b.random(3, 1, 3)], ["inside"], "inner")
    branch = helper.make_graph([inner], "then", [], [onnx.ValueInfoProto(name="inside")])
    b.add("If", b.constant(np.array(True)), then_branch=branch, else_branch=branch)
    return b.model()


def changed(model, rng):
    """Return the bytes of a model after a random change."""
    kind = rng.choice(
        ["flip", "flip", "flips", "cut", "splice", "drop", "twice", "order", "attribute", "dims", "names", "kind"]
    )
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    nodes = copy.graph.node
    node = rng.choice(nodes)
    if kind in ("flip", "flips", "cut", "splice"):
        data = bytearray(model.SerializeToString())
        if kind == "cut":
            return bytes(data[: rng.randrange(len(data))])
        if kind == "splice":
            start = rng.randrange(len(data))
            del data[start : start + rng.randrange(1, 40)]
        for _ in range(1 if kind == "flip" else 8):
            data[rng.randrange(len(data))] = rng.randrange(256)
        return bytes(data)
    if kind == "drop":
        nodes.remove(node)
    elif kind == "twice":
        nodes.append(node)
    elif kind == "order":
        order = list(nodes)
        rng.shuffle(order)
        del nodes[:]
        nodes.extend(order)
    elif kind == "names":
        values = [name for each in nodes for name in [*each.input, *each.output]]
        ends = rng.choice([node.input, node.output])
        if ends:
            ends[rng.randrange(len(ends))] = rng.choice([*values, "", "nothing"])
    elif kind == "kind":
        node.op_type = rng.choice([each.op_type for each in nodes] + ["ConvTranspose", "Conv", "Loop", "Nothing"])
    elif kind == "dims":
        tensors = [*copy.graph.initializer, *(a.t for each in nodes for a in each.attribute if a.HasField("t"))]
        tensor = rng.choice(tensors)
        if tensor.dims:
            tensor.dims[rng.randrange(len(tensor.dims))] = rng.choice([0, -1, 1, 7, 1 << 31, 1 << 40, (1 << 63) - 1])
        if rng.random() < 0.3:
            tensor.data_type = rng.randrange(0, 30)
        if rng.random() < 0.2:
            tensor.dims.append(rng.choice([0, 1, 2, 1 << 30]))
    else:
        _attribute(node, rng)
    return copy.SerializeToString()


def _attribute(node, rng):
    if not node.attribute:
        return
    attribute = rng.choice(node.attribute)
    numbers = [0, -1, 1, 2, 3, 100, 1 << 20, 1 << 31, -(1 << 63), (1 << 63) - 1]
    if attribute.ints:
        attribute.ints[rng.randrange(len(attribute.ints))] = rng.choice(numbers)
        if rng.random() < 0.3:
            attribute.ints.append(rng.choice(numbers))
    elif attribute.type == onnx.AttributeProto.INT:
        attribute.i = rng.choice(numbers)
    if rng.random() < 0.3:
        attribute.type = rng.randrange(0, 15)
    if rng.random() < 0.2:
        attribute.name = rng.choice(["strides", "pads", "group", "dilations", "axis", "to", "value", "perm"])


def peak():
    """Return the most bytes of memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@pytest.mark.parametrize("make", [detector, decoder])
def test_mutations(make, tmp_path):
    model, path, rng = make(), tmp_path / "a.onnx", random.Random(0)
    onnx.save(model, path)
    assert len(inventory_of(path).layers) == (2 if make is detector else 5)
    read = refused = 0
    before = peak()
    for _ in range(350):
        path.write_bytes(changed(model, rng))
        try:
            found = inventory_of(path)
            for layer in found.layers:
                for array in (layer.weight, layer.bias):
                    if array is not None:
                        array.read()
            read += 1
        except TconvError:
            refused += 1
    assert read > 50
    assert refused > 50
    assert peak() - before < 300 << 20
