"""Networks in ONNX files: graphs of Conv, ConvTranspose, activations, Add and DepthToSpace."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tconv.dialects import dialect
from tconv.errors import FileError, MissingExtraError, TconvError
from tconv.geometry import Geometry
from tconv.kernels.problem import Array
from tconv.models.model import Model
from tconv.models.network import Convolution, Network, Node, Pointwise, Sum, fused


def read(path: Path) -> Model:
    """The model in such a file. Raises FileError, ShapeError, MissingExtraError."""
    try:
        import onnx
    except ImportError:
        raise MissingExtraError("a .onnx file", "onnx", "onnx") from None
    try:
        graph = onnx.load(path).graph
        network = Network(fused(_Graph(graph, onnx).nodes()))
    except FileError as error:
        raise FileError(f"{path} is no network that can be run: {error}") from None
    except TconvError as error:
        raise type(error)(f"{path}: {error}") from None
    except Exception as error:  # whatever protobuf and onnx raise over bytes that are no model
        raise FileError(f"{path} is damaged or no ONNX model: {error}") from None
    return Model.of(network, path.name)


class _Graph:
    """One ONNX graph, on the way to nodes."""

    def __init__(self, graph: Any, onnx: Any) -> None:
        self._graph, self._onnx = graph, onnx
        self._constants: dict[str, Array] = {each.name: onnx.numpy_helper.to_array(each) for each in graph.initializer}
        inputs = [each.name for each in graph.input if each.name not in self._constants]
        if len(inputs) != 1 or len(graph.output) != 1:
            raise FileError(f"it has {len(inputs)} inputs and {len(graph.output)} outputs; one of each is needed")
        self._places = {inputs[0]: 0}

    def nodes(self) -> list[Node]:
        """All of them, in order; the last one makes the output."""
        steps: dict[str, Callable[[Any, dict[str, Any]], Convolution | Sum | Pointwise]] = {
            "Conv": self._conv,
            "ConvTranspose": self._conv_transpose,
            "DepthToSpace": self._depth_to_space,
            "Add": lambda node, words: Sum(),
            "Relu": lambda node, words: Pointwise("relu"),
            "LeakyRelu": lambda node, words: Pointwise(("leaky_relu", words.get("alpha", 0.01))),
            "PRelu": self._prelu,
            "Clip": self._clip,
        }
        nodes: list[Node] = []
        self._channels = {0: -1}
        for node in self._graph.node:
            words = {each.name: self._onnx.helper.get_attribute_value(each) for each in node.attribute}
            if node.op_type == "Constant" and "value" in words:
                self._constants[node.output[0]] = self._onnx.numpy_helper.to_array(words["value"])
            elif node.op_type == "Identity":
                self._places[node.output[0]] = self._place(node, node.input[0])
            elif node.op_type in steps:
                count = 2 if node.op_type == "Add" else 1
                inputs = tuple(self._place(node, name) for name in node.input[:count])
                step = steps[node.op_type](node, words)
                nodes.append(Node(step, inputs))
                self._places[node.output[0]] = len(nodes)
                self._channels[len(nodes)] = (
                    step.channels[1] if isinstance(step, Convolution) else self._channels[inputs[0]]
                )
            else:
                raise FileError(
                    f"it has a node {node.op_type}; {', '.join(steps)}, Constant and Identity are read. Write a "
                    "network of those"
                )
        if self._places.get(self._graph.output[0].name) != len(nodes):
            raise FileError("its output is not what its last node makes")
        return nodes

    def _place(self, node: Any, name: str) -> int:
        if name not in self._places:
            what = "a constant" if name in self._constants else "nothing that was made before it"
            raise FileError(f"{node.op_type} {node.name!r} reads {name!r}, which is {what}")
        return self._places[name]

    def _weight(self, node: Any, number: int) -> Array:
        name = node.input[number]
        if name not in self._constants:
            raise FileError(f"{node.op_type} {node.name!r} computes its weight {name!r}; a constant is needed")
        found = self._constants[name]
        with np.errstate(over="ignore"):
            weight = found.astype(np.float32)
        if found.dtype.kind != "f" or not np.isfinite(weight).all():
            raise FileError(f"{name!r} has dtype {found.dtype}, or holds inf or NaN; finite floats are needed")
        return weight

    def _images(self, node: Any, words: dict[str, Any]) -> tuple[Array, Array | None, dict[str, Any]]:
        weight = self._weight(node, 1)
        if weight.ndim != 4:
            raise FileError(f"{node.op_type} {node.name!r} has {weight.ndim - 2} spatial axes; pictures have 2")
        bias = self._weight(node, 2) if len(node.input) > 2 and node.input[2] else None
        said = {name: value.decode() if isinstance(value, bytes) else value for name, value in words.items()}
        return weight, bias, said

    def _conv(self, node: Any, words: dict[str, Any]) -> Convolution:
        weight, bias, said = self._images(node, words)
        if set(said.get("strides", [1])) != {1}:
            raise FileError(f"Conv {node.name!r} has strides {said['strides']}; only 1 keeps the size of a picture")
        dilation, groups = said.get("dilations", 1), said.get("group", 1)
        around = Geometry(weight.shape[2:], 1, 0, dilation, groups)
        rule = said.get("auto_pad", "NOTSET")
        if rule in ("SAME_UPPER", "SAME_LOWER"):
            early = [(extent - 1) // 2 for extent in around.extent]
            pairs = [(lo, extent - 1 - lo) for lo, extent in zip(early, around.extent, strict=True)]
            pads = pairs if rule == "SAME_UPPER" else [(hi, lo) for lo, hi in pairs]
        else:
            given = said.get("pads", [0] * 4) if rule == "NOTSET" else [0] * 4
            pads = list(zip(given[:2], given[2:], strict=True))
        return Convolution.ordinary(weight, bias, pads, dilation, groups)

    def _conv_transpose(self, node: Any, words: dict[str, Any]) -> Convolution:
        weight, bias, said = self._images(node, words)
        if "output_shape" in said:
            raise FileError(f"ConvTranspose {node.name!r} has an output_shape, which fits one size only")
        native = {name: value for name, value in said.items() if name != "kernel_shape"}
        sizes = (1, weight.shape[0], 64, 64)
        return Convolution(weight, dialect("onnx").read(sizes, weight.shape, native).geometry, bias)

    def _depth_to_space(self, node: Any, words: dict[str, Any]) -> Convolution:
        """A transposed convolution of stride r whose weights pick one input channel for each tap."""
        r = words["blocksize"]
        channels = self._channels[self._places[node.input[0]]]
        if channels < 1 or channels % r**2:
            raise FileError(f"DepthToSpace of {channels} channels by {r} does not come out even")
        weight = np.zeros((channels, channels // r**2, r, r), np.float32)
        for into in range(channels):
            # PyTorch's pixel shuffle has the channels outermost (CRD), TensorFlow's innermost (DCR)
            crd = words.get("mode", b"DCR") == b"CRD"
            out, tap = divmod(into, r**2) if crd else divmod(into, channels // r**2)[::-1]
            weight[into, out, tap // r, tap % r] = 1
        return Convolution(weight, Geometry((r, r), r))

    def _prelu(self, node: Any, words: dict[str, Any]) -> Pointwise:
        slopes = self._weight(node, 1)
        # they broadcast from the last axis on
        if slopes.size > 1 and slopes.shape[-3:] != (slopes.size, 1, 1):
            raise FileError(f"PRelu {node.name!r} has slopes of {slopes.shape}; one, or (channels, 1, 1) are needed")
        return Pointwise(("prelu", slopes.ravel()))

    def _clip(self, node: Any, words: dict[str, Any]) -> Pointwise:
        limits = [words.get("min", -np.inf), words.get("max", np.inf)]
        for number, name in enumerate(node.input[1:3]):
            if name:
                limits[number] = float(self._weight(node, number + 1).ravel()[0])
        return Pointwise(("clamp", *map(float, limits)))
