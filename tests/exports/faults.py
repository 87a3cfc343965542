"""Exports with one fault each, made by editing right ones: ONNX nodes, ncnn's parameters, TFLite's and Keras's weights.

A fault is in one transposed convolution; `causes` are the names that `tconv diagnose` may give it.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import numpy_helper

WRONG = ("keras-gaps.tf2onnx.onnx", "keras-small_kernel.tf2onnx.onnx")
"""Exports that are wrong: tf2onnx 1.17 writes pads of -1 for a kernel below the stride, TensorFlow crops (0, -2)."""


class Broken(NamedTuple):
    """A wrong export and a right file of another format."""

    kind: str
    fault: str
    path: Path
    right: Path
    layer: str
    """Part of the layer's name in the report."""
    causes: tuple[str, ...]
    """Names that are right; () if any cause is."""


FLIP = ("kernel flipped",)
BIAS = ("bias ignored", "bias missing", "no bias", "bias dropped", "bias left out")
OnnxFault = Callable[[Any, Any], bool]


def _tensor(graph: Any, name: str) -> Any:
    return next((each for each in graph.initializer if each.name == name), None)


def _weight_fault(change: Callable[[np.ndarray, int], np.ndarray], which: int = 1) -> OnnxFault:
    """Return a fault that changes a stored weight or bias; False where it changes nothing."""

    def apply(graph: Any, node: Any) -> bool:
        tensor = _tensor(graph, node.input[which]) if len(node.input) > which else None
        if tensor is None or sum(tensor.name in other.input for other in graph.node) > 1:
            return False
        group = next((each.i for each in node.attribute if each.name == "group"), 1)
        before = numpy_helper.to_array(tensor)
        after = np.ascontiguousarray(change(before, group))
        if after.shape != before.shape or np.array_equal(after, before):
            return False
        tensor.CopyFrom(numpy_helper.from_array(after, tensor.name))
        return True

    return apply


def _regrouped(weight: np.ndarray, group: int) -> np.ndarray:
    """Return a weight whose groups are in the reverse order."""
    return weight.reshape(group, -1, *weight.shape[1:])[::-1].reshape(weight.shape)


def _shifted(graph: Any, node: Any) -> bool:
    """Move the crop of the last axis by one element: the same size, other numbers."""
    for each in node.attribute:
        if each.name == "pads" and len(each.ints) >= 2:
            n = len(each.ints) // 2
            if each.ints[n - 1] > 0:
                each.ints[n - 1] -= 1
                each.ints[-1] += 1
                return True
    return False


def _output_padding_in_front(graph: Any, node: Any) -> bool:
    """Add the output padding in front: it is dropped, and the pads in front are one less."""
    given = {each.name: each for each in node.attribute}
    extra, pads = given.get("output_padding"), given.get("pads")
    if (
        extra is None
        or pads is None
        or not any(extra.ints)
        or any(a < b for a, b in zip(pads.ints, extra.ints, strict=False))
    ):
        return False
    for axis, size in enumerate(extra.ints):
        pads.ints[axis] -= size
        extra.ints[axis] = 0
    return True


def _no_bias(graph: Any, node: Any) -> bool:
    if len(node.input) < 3 or not node.input[2]:
        return False
    del node.input[2]
    return True


ONNX_FAULTS: dict[str, tuple[OnnxFault, tuple[str, ...]]] = {
    "flipped": (_weight_fault(lambda w, g: w[(..., *[slice(None, None, -1)] * (w.ndim - 2))]), FLIP),
    "axes exchanged": (_weight_fault(lambda w, g: w.swapaxes(-1, -2) if w.ndim > 3 else w), ()),
    "groups reversed": (_weight_fault(lambda w, g: _regrouped(w, g)), ()),
    "bias missing": (_no_bias, ()),
    "bias negated": (_weight_fault(lambda b, g: -b, 2), ()),
    "crop moved": (_shifted, ()),
    "output padding in front": (_output_padding_in_front, ()),
}  # fmt: skip


def broken_onnx(path: Path, right: Path, folder: Path) -> Iterator[Broken]:
    """Yield a file for each fault that applies to each transposed convolution of a model."""
    model = onnx.load(path)
    nodes = [number for number, node in enumerate(model.graph.node) if node.op_type == "ConvTranspose"]
    for fault, (apply, causes) in ONNX_FAULTS.items():
        for number in nodes:
            edited = onnx.ModelProto()
            edited.CopyFrom(model)
            node = edited.graph.node[number]
            if apply(edited.graph, node):
                target = folder / f"{path.stem}.{fault.replace(' ', '-')}.{number}.onnx"
                onnx.save(edited, target)
                kind = "keras' onnx" if path.name.startswith("keras-") else path.name.split(".", 1)[1]
                yield Broken(kind, fault, target, right, node.name or node.output[0], causes)


def broken_ncnn(path: Path, right: Path, folder: Path) -> Iterator[Broken]:
    """Yield a network whose transposed convolution is cropped one element further on, for each that crops."""
    lines = path.read_text().splitlines()
    for number, line in enumerate(lines):
        parts = line.split()
        if not parts or not parts[0].startswith("Deconvolution"):
            continue
        values = dict(each.split("=") for each in parts if "=" in each)
        left = int(values.get("4", 0))
        if left < 1:
            continue
        values |= {"4": str(left - 1), "14": values.get("14", str(left)), "15": str(int(values.get("15", left)) + 1)}
        values["16"] = values.get("16", values["14"])
        keys = [each for each in parts if "=" not in each] + [f"{key}={value}" for key, value in values.items()]
        target = folder / f"{path.name.removesuffix('.param')}.crop.{number}.param"
        target.write_text("\n".join([*lines[:number], " ".join(keys), *lines[number + 1 :]]) + "\n")
        target.with_suffix(".bin").write_bytes(path.with_suffix(".bin").read_bytes())
        yield Broken("ncnn", "crop moved", target, right, parts[1], ())


def broken_tflite(path: Path, right: Path, folder: Path) -> Iterator[Broken]:
    """Yield a model with the taps of one transposed convolution reversed, for each."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    content = path.read_bytes()
    count = len(schema.ModelT.InitFromPackedBuf(content, 0).subgraphs[0].operators)
    for number in range(count):
        model = schema.ModelT.InitFromPackedBuf(content, 0)
        graph = model.subgraphs[0]
        operator = graph.operators[number]
        if model.operatorCodes[operator.opcodeIndex].builtinCode != schema.BuiltinOperator.TRANSPOSE_CONV:
            continue
        tensor = graph.tensors[operator.inputs[1]]
        if tensor.type != schema.TensorType.FLOAT32:
            continue
        weight = np.frombuffer(bytes(model.buffers[tensor.buffer].data), "<f4").reshape(tensor.shape)
        flipped = np.ascontiguousarray(weight[:, ::-1, ::-1])
        if np.array_equal(flipped, weight):
            continue
        model.buffers[tensor.buffer].data = np.frombuffer(flipped.tobytes(), np.uint8)
        builder = flatbuffers.Builder(len(content))
        builder.Finish(model.Pack(builder), b"TFL3")
        target = folder / f"{path.stem}.flipped.{number}.tflite"
        target.write_bytes(bytes(builder.Output()))
        yield Broken("tflite", "flipped", target, right, "TRANSPOSE_CONV", FLIP)


def broken_keras(path: Path, right: Path, folder: Path) -> Iterator[Broken]:
    """Yield a model with the taps of one transposed convolution reversed, for each; the weights are those in the archive."""
    import h5py

    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    weights = folder / "weights.h5"
    weights.write_bytes(parts["model.weights.h5"])
    names: list[str] = []
    with h5py.File(weights) as store:
        store.visit(lambda name: names.append(name) if "transpose" in name and name.endswith("vars/0") else None)
    for number, name in enumerate(names):
        weights.write_bytes(parts["model.weights.h5"])
        with h5py.File(weights, "r+") as store:
            kernel = store[name][...]
            taps = kernel.ndim - 2
            store[name][...] = kernel[(slice(None, None, -1),) * taps]
            if np.array_equal(kernel, store[name][...]):
                continue
        target = folder / f"{path.stem}.flipped.{number}.keras"
        with zipfile.ZipFile(target, "w") as archive:
            for part, content in {**parts, "model.weights.h5": weights.read_bytes()}.items():
                archive.writestr(part, content)
        yield Broken("keras", "flipped", target, right, "Transpose", FLIP)
    weights.unlink()


def broken_files(folder: Path) -> Iterator[Broken]:
    """Yield broken exports of all networks in a folder that `benchmarks/exports.py` has filled."""
    target = folder / "broken"
    target.mkdir(exist_ok=True)
    for path in sorted(folder.glob("torch-*.trace.pt")):
        name = path.name.removesuffix(".trace.pt")
        for kind in ("dynamo.onnx", "script.onnx", "pnnx.onnx"):
            if (folder / f"{name}.{kind}").exists():
                yield from broken_onnx(folder / f"{name}.{kind}", path, target)
        if (folder / f"{name}.ncnn.param").exists():
            yield from broken_ncnn(folder / f"{name}.ncnn.param", path, target)
    for path in sorted(folder.glob("keras-*.keras")):
        name = path.stem
        for kind in ("onnx", "tf2onnx.onnx"):
            if (folder / f"{name}.{kind}").exists() and f"{name}.{kind}" not in WRONG:
                yield from broken_onnx(folder / f"{name}.{kind}", path, target)
        if (folder / f"{name}.onnx").exists():
            yield from broken_keras(path, folder / f"{name}.onnx", target)
        if (folder / f"{name}.tflite").exists():
            yield from broken_tflite(folder / f"{name}.tflite", path, target)
