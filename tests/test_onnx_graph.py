"""ONNX files as they should not be: outside data, circles, bombs, damage. A clear error or a stated limitation."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnx_models import GraphBuilder, layer_output
from tconv.errors import FileError
from tconv.models.inventory import inventory_of
from tconv.models.inventory.symbols import minus, plus, product, quotient, times
from tconv.models.readers.onnx_graph import open_graph, wire_format

FLOAT = TensorProto.FLOAT


@pytest.fixture
def path(tmp_path):
    return tmp_path / "folder" / "a.onnx"


@pytest.fixture(autouse=True)
def _folder(tmp_path):
    (tmp_path / "folder").mkdir()


def layer(b=None, **words):
    b = b or GraphBuilder()
    b.add("ConvTranspose", b.last, b.random(4, 3, 8, 8), b.random(3), strides=[2, 2], **words)
    return b


def refused(path, message):
    with pytest.raises(FileError) as caught:
        inventory_of(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


# -- data in other files -----------------------------------------------------------------------------------------


def external(path, location="a.data", **changes):
    """Write a model whose weight is in another file, with these entries about it changed."""
    model = layer().model()
    path.with_name("a.data").unlink(missing_ok=True)
    onnx.save_model(model, path, save_as_external_data=True, location="a.data", size_threshold=0)
    model = onnx.load(path, load_external_data=False)
    for entry in model.graph.initializer[0].external_data:
        if entry.key == "location":
            entry.value = location
        elif entry.key in changes:
            entry.value = str(changes[entry.key])
    path.write_bytes(model.SerializeToString())


def test_external_data(path, monkeypatch):
    plain = layer()
    external(path)
    found = inventory_of(path).layers[0]
    np.testing.assert_array_equal(found.weight.read(), numpy_helper.to_array(plain.model().graph.initializer[0]))
    assert found.weight.nbytes == 4 * 4 * 3 * 64
    x = np.ones((1, 4, 6, 5), "f4")
    assert layer_output(found, x).shape == found.output_shape
    monkeypatch.chdir(path.parent)  # a name without a folder is in this one
    assert inventory_of("a.onnx").layers[0].weight.shape == (4, 3, 8, 8)


@pytest.mark.parametrize(
    "location",
    ["../secret", "/etc/passwd", "x/../../secret", "C:\\secret", "\\\\host\\secret", "..\\secret", "link", "", "a\0b"],
)
def test_external_data_outside_of_the_folder(location, path, tmp_path):
    (tmp_path / "secret").write_bytes(bytes(100_000))
    (path.parent / "link").symlink_to(tmp_path / "secret")
    external(path, location)
    refused(path, "outside of the model's folder. Such files are not read. Copy it beside the model")


def test_external_data_that_is_incomplete(path):
    external(path, "b.data")
    refused(path, "'b.data', which is not in the model's folder. Copy that file beside the model")
    external(path, offset=4000)
    refused(path, "a.data, bytes 4000 to 7072, but that file has 3084. Copy the whole file")
    external(path, length=12)
    refused(path, "has offset 0 and length 12 in a.data; its shape (4, 3, 8, 8) of float32 needs 3072 bytes")
    external(path, offset=-5)
    refused(path, "is damaged or not an ONNX model: ")
    external(path, offset="many")
    refused(path, "is damaged or not an ONNX model")
    external(path)
    path.with_name("a.data").unlink()
    path.with_name("a.data").mkdir()
    refused(path, "which is not in the model's folder")


def test_a_file_with_two_names_is_read(path):
    """Package managers link files of a cache into environments."""
    layer().save(path)
    os.link(path, path.with_name("b.onnx"))
    assert inventory_of(path).layers[0].weight.read().shape == (4, 3, 8, 8)


# -- numbers that stay in the file -------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64", "int8", "bool", "int64", "uint16", "complex64"])
@pytest.mark.parametrize("raw", [True, False])
def test_numbers_of_all_types_stay_in_the_file(dtype, raw, path):
    array = np.random.default_rng(0).integers(0, 2, (9, 300)).astype(dtype)
    b = layer()
    b.add("Identity", b.last)
    tensor = numpy_helper.from_array(array, "t")
    if not raw:
        tensor = helper.make_tensor("t", tensor.data_type, array.shape, array.ravel())
    b.constants.append(tensor)
    b.save(path)
    slim = wire_format.without_data(path, 10)
    assert (len(slim) < 2000) == (raw or dtype in ("float32", "float64"))
    graph = open_graph(path)
    stored = graph.constant(graph.model.graph.initializers["t"])
    np.testing.assert_array_equal(stored.read(), array)
    assert (stored.shape, stored.dtype, stored.nbytes) == (array.shape, dtype, array.nbytes)
    assert graph.proto().graph.initializer[-1].raw_data or not raw
    np.testing.assert_array_equal(numpy_helper.to_array(graph.proto().graph.initializer[-1]), array)


@pytest.mark.parametrize("kind", [TensorProto.INT4, TensorProto.UINT4, TensorProto.BFLOAT16, TensorProto.FLOAT8E4M3FN])
def test_numbers_of_few_bits(kind, path):
    numbers = np.random.default_rng(0).integers(0, 7, 3000)
    tensor = helper.make_tensor("t", kind, [3000], numbers)
    b = layer()
    raw = numpy_helper.from_array(numpy_helper.to_array(tensor), "raw")
    b.constants += [tensor, raw]
    b.save(path)
    graph = open_graph(path)
    for name in ("t", "raw"):
        np.testing.assert_array_equal(graph.constant(graph.model.graph.initializers[name]).read().astype(int), numbers)


# -- damage ------------------------------------------------------------------------------------------------------


def test_damaged_tensors(path):
    for dims, message in [
        ([4, 3, 8, 9], "the tensor 'c0' has offset"),
        ([-4, -3, 8, 8], "the shape (-4, -3, 8, 8); sizes are at least 0"),
        ([1 << 40, 3, 8, 8], "needs 844424930131968 bytes"),
    ]:
        model = layer().model()
        del model.graph.initializer[0].dims[:]
        model.graph.initializer[0].dims.extend(dims)
        path.write_bytes(model.SerializeToString())
        refused(path, message)
    model = layer().model()
    model.graph.initializer[1].dims[0] = 1 << 50  # a small one, which is not left in the file
    path.write_bytes(model.SerializeToString())
    refused(
        path, "the tensor 'c1' of shape (1125899906842624,) and type float32 has 12 bytes; 4503599627370496 are needed"
    )
    model.graph.initializer[1].dims[0] = 3
    model.graph.initializer[1].data_type = 99
    path.write_bytes(model.SerializeToString())
    refused(path, "99 is not a valid DataType")


def test_damaged_files(path):
    whole = layer().model().SerializeToString()
    for data, message in [
        (b"", "is empty"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "damaged or not an ONNX model"),
        (b"\xff" * 1000, "damaged or not an ONNX model"),
        (whole[: len(whole) // 2], "a part of it is longer than what is there"),
        (onnx.ModelProto().SerializeToString() + b"\x08\x07", "it has no nodes"),
    ]:
        path.write_bytes(data)
        refused(path, message)


def test_names_that_are_used_twice_or_are_no_text(path):
    b = layer()
    b.nodes.append(helper.make_node("Relu", ["x"], ["y0"]))
    b.save(path)
    refused(path, "'y0' is redeclared")
    path.write_bytes(layer().model().SerializeToString().replace(b"ConvTranspose", b"Conv\xff\xfe\xfdnspose"))
    refused(path, "has a name that is no text")


def test_order_of_nodes(path):
    b = layer()
    b.add("Relu")
    b.nodes.reverse()
    b.save(path)
    found = inventory_of(path)
    assert found.limitations == (
        "its nodes are not in the order in which they can run; they are counted in that order",
    )
    assert found.layers[0].place == "node 1 of 2"
    b.nodes[1].input[0] = b.last
    b.save(path)
    refused(path, "its nodes read each other's outputs in a circle")
    b = layer()
    b.nodes[0].input[0] = b.last
    b.save(path)
    refused(path, "in a circle")


# -- enormous graphs ---------------------------------------------------------------------------------------------


def test_many_nodes(path):
    b = layer()
    node = helper.make_node("Relu", ["x"], []).SerializeToString()
    graph = b.model().graph.SerializeToString() + (b"\x0a" + bytes([len(node)]) + node) * 110_000
    path.write_bytes(b"\x08\x0a" + b"\x3a" + wire_format._varint(len(graph)) + graph)
    refused(path, "it has more than 100000 nodes, the most that are read. Write a part of the model")


def test_many_empty_messages(path, monkeypatch):
    """Two bytes each in the file, a hundred in memory."""
    monkeypatch.setattr(wire_format, "_MOST_FIELDS", 20_000)
    monkeypatch.setattr(wire_format, "_UNCOUNTED_BYTES", 10_000)
    for tag in (
        b"\x6a\x00",
        b"\x5a\x00",
        b"\x7a\x00",
        b"\x72\x00",
    ):  # sizes of values, inputs, sparse tensors, annotations
        graph = layer().model().graph.SerializeToString() + tag * 30_000
        path.write_bytes(b"\x3a" + wire_format._varint(len(graph)) + graph)
        refused(path, "fields besides its tensors, the most that are read")


def test_deep_graphs(path):
    inner = helper.make_graph([helper.make_node("Identity", ["x"], ["inside"])], "g", [], []).SerializeToString()
    for _ in range(2000):
        then = wire_format._message(6, inner)  # graph, attribute, node
        inner = wire_format._message(1, wire_format._message(4, b"If") + wire_format._message(5, then))
    path.write_bytes(wire_format._message(7, inner))
    refused(path, "its graphs are nested more than 100 messages deep")


def test_long_chains(path):
    """Recursion over the nodes of a chain would be too deep."""
    b = GraphBuilder(["n", 4, "h", "w"])
    weight = b.random(4, 3, 2, 2)
    for _ in range(3000):
        weight = b.add("Identity", weight)
    b.last = "x"
    for _ in range(3000):
        b.add("Relu")
    b.add("ConvTranspose", b.last, weight, strides=[2, 2])
    for _ in range(3000):
        b.add("Relu")
    b.save(path)
    (found,) = inventory_of(path).layers
    assert found.output_shape == ("n", 3, "2*h", "2*w")
    assert found.weight.read().shape == (4, 3, 2, 2)
    assert (len(found.before), len(found.after)) == (4, 8)


def test_constants_that_are_too_large(path):
    b = GraphBuilder()
    huge = b.add("Expand", b.random(1, 1, 1, 1), b.constant(np.array([4, 1 << 20, 1 << 10, 2])))
    b.add("ConvTranspose", "x", huge)
    b.save(path)
    (found,) = inventory_of(path).layers
    with pytest.raises(FileError, match=r"needs 68.7 GB to compute a constant; at most 1.07 GB are used at one time"):
        found.weight.read()


@pytest.mark.parametrize(
    ("size", "reason"), [(4, r"has the shape \(8, 1, 1, 2\), and \(8, 1, 1, 4\)"), (1 << 20, "needs 8.8 TB")]
)
def test_constants_whose_stated_shape_is_wrong(size, reason, path):
    """Sizes come from a constant that is too long to be a fact, and the file states others."""
    b = GraphBuilder((1, 8, 3, 3))
    sizes = b.add("Slice", b.constant(np.full(2000, size)), b.constant([0]), b.constant([2]))
    zeros = b.add("ConstantOfShape", sizes)
    b.add("ConvTranspose", "x", b.add("Reshape", zeros, b.constant([8, 1, 1, -1])))
    model = b.model()
    model.graph.value_info.append(helper.make_tensor_value_info(zeros, TensorProto.FLOAT, [8, 4]))
    onnx.save(model, path)
    (found,) = inventory_of(path).layers
    with pytest.raises(FileError, match=reason):
        found.weight.read()


@pytest.mark.parametrize("kind", ["Tile", "Pad", "Expand"])
def test_trial_arrays_that_would_be_large(kind, path):
    """An operation before a Conv, which is tried for zeros that it inserts, may ask for any memory."""
    b = GraphBuilder((1, 4, 4, 4))
    amounts = {"Tile": [1, 1, 1 << 20, 1 << 20], "Pad": [0] * 6 + [1 << 20] * 2, "Expand": [1 << 40, 4, 4, 4]}
    b.add(kind, "x", b.constant(np.array(amounts[kind])))
    b.add("ScatterND", b.last, b.constant(np.zeros((1, 4), np.int64)), b.constant(np.zeros(1, np.float32)))
    b.add("Conv", b.last, b.random(2, 4, 3, 3))
    b.save(path)
    assert inventory_of(path).layers == ()


# -- functions and inner graphs ----------------------------------------------------------------------------------


def function(name, nodes, domain="own"):
    opset = [helper.make_opsetid("", 20), helper.make_opsetid("own", 1)]
    return helper.make_function(domain, name, ["a", "w"], ["b"], nodes, opset)


def call(name, *names, **words):
    return helper.make_node(name, list(names[:-1]), [names[-1]], domain="own", **words)


def with_functions(path, functions, calls=("up",)):
    b = GraphBuilder()
    weight = b.random(4, 4, 2, 2)
    for name in calls:
        b.add(name, b.last, weight, domain="own")
    model = b.model(functions=functions)
    model.opset_import.append(helper.make_opsetid("own", 1))
    onnx.save(model, path)


def test_functions_are_put_in_place_of_their_calls(path):
    up = function("up", [helper.make_node("ConvTranspose", ["a", "w"], ["b"], strides=[2, 2])])
    with_functions(path, [up], ("up", "up"))
    found = inventory_of(path)
    assert [each.output_shape for each in found.layers] == [(1, 4, 12, 10), (1, 4, 24, 20)]
    assert "functions are read in place of their calls" in found.limitations[0]
    assert found.operations == {"ConvTranspose": 2}


def test_functions_that_call_themselves(path):
    with_functions(path, [function("up", [call("up", "a", "w", "b")])])
    refused(path, "its function 'up' calls itself")
    both = [function("up", [call("down", "a", "w", "b")]), function("down", [call("up", "a", "w", "b")])]
    with_functions(path, both)
    refused(path, "calls itself")


def test_functions_that_double(path):
    """Thirty functions, each of which calls the next one twice."""
    steps = [function(f"f{n}", [call(f"f{n + 1}", "a", "w", "t"), call(f"f{n + 1}", "t", "w", "b")]) for n in range(30)]
    last = function("f30", [helper.make_node("Relu", ["a"], ["b"])])
    with_functions(path, [*steps, last], ("f0",))
    refused(path, "it has more than 100000 nodes")


def test_layers_of_inner_graphs(path):
    b = GraphBuilder()
    weight = b.random(4, 3, 2, 2)
    inner = helper.make_node("ConvTranspose", ["x", weight], ["inside"], "inner", strides=[2, 2])
    branch = helper.make_graph([inner], "then", [], [onnx.ValueInfoProto(name="inside")])
    b.add("Relu")
    b.add("If", b.constant(np.array(True)), then_branch=branch, else_branch=branch)
    b.save(path)
    first, second = inventory_of(path).layers
    assert first.place == "node 1 of 1 in the else_branch of If 'n1', node 2 of 2"
    assert first.location == {"node": 0, "graph": "1.else_branch"}
    assert second.location == {"node": 0, "graph": "1.then_branch"}
    assert first.weight.shape == (4, 3, 2, 2)
    assert first.output_shape == (1, 3, 12, 10)


# -- sizes -------------------------------------------------------------------------------------------------------


def test_arithmetic_of_sizes():
    """Texts of sums, products and quotients, evaluated, equal the numbers."""
    rng = np.random.default_rng(0)
    for _ in range(500):
        values = {"h": int(rng.integers(50, 99)), "w": int(rng.integers(50, 99))}
        size, number = "h", values["h"]
        for _ in range(5):
            step, n = rng.integers(4), int(rng.integers(1, 5))
            if step == 0:
                size, number = plus(size, n), number + n
            elif step == 1:
                size, number = minus(size, n), number - n
            elif step == 2:
                size, number = times(size, n), number * n
            else:
                size, number = quotient(size, n), number // n
        other = product([size, 2])
        assert size is None or (eval(size, {}, values) if isinstance(size, str) else size) == number
        assert other is None or (eval(other, {}, values) if isinstance(other, str) else other) == 2 * number


def test_hostile_names_of_sizes(path):
    """Names are never evaluated."""
    b = GraphBuilder(["__import__('os').abort()", 4, "9**9**9**9", "(" * 70])
    b.add("Conv", "x", b.random(4, 4, 3, 3), strides=[2, 2])
    layer(b).save(path)
    assert inventory_of(path).layers[0].output_shape is not None


MEASURED = """
import pathlib, re, sys
from tconv.models.inventory import inventory_of
import onnx, onnx_ir, numpy
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", pathlib.Path("/proc/self/status").read_text())[1]) / 1024
before = peak()
found = inventory_of(sys.argv[1])
print(peak() - before, len(found.layers), found.layers[-1].weight.read()[-1, -1, -1])
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from Linux")
def test_two_gigabytes_beside_the_file_are_not_loaded(path):
    shape, count = [512, 512, 16], 128
    size = 4 * 512 * 512 * 16
    with path.with_suffix(".data").open("wb") as opened:
        opened.truncate(size * count)
        opened.seek(size * count - 4)
        opened.write(np.float32(7).tobytes())
    b, last = GraphBuilder(["n", 512, "t"]), "x"
    for number in range(count):
        tensor = TensorProto(name=f"w{number}", data_type=FLOAT, dims=shape, data_location=TensorProto.EXTERNAL)
        for key, value in {"location": "a.data", "offset": number * size, "length": size}.items():
            tensor.external_data.add(key=key, value=str(value))
        b.constants.append(tensor)
        last = b.add("ConvTranspose", last, f"w{number}", strides=[8], pads=[4, 4])
    b.save(path)
    answer = subprocess.run([sys.executable, "-c", MEASURED, str(path)], capture_output=True, text=True, check=True)
    megabytes, layers, number = answer.stdout.split()
    assert float(megabytes) < 300
    assert (int(layers), float(number)) == (count, 7)
