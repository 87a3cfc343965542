"""Reader of networks in ONNX files: graphs of Conv, ConvTranspose, activations, Add and DepthToSpace.

`tconv.models.load` uses it for .onnx.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tconv._arguments import shown
from tconv._arrays import Array
from tconv.dialects import dialect
from tconv.errors import FileError, MissingExtraError, TconvError
from tconv.geometry import Geometry
from tconv.models.image_model import Model
from tconv.models.layers import ORDINARY, Convolution, Node, Pointwise, Sum, fused
from tconv.models.network import Network


def read(path: Path) -> Model:
    """Return the model in a .onnx file. Raises FileError, ShapeError, MissingExtraError."""
    try:
        import onnx
    except ImportError:
        raise MissingExtraError("a .onnx file", "onnx", "onnx") from None
    try:
        graph = onnx.load(path).graph
    except Exception as error:  # protobuf and onnx raise many kinds over damaged bytes
        raise FileError(f"{path} is damaged, or not an ONNX model: {error}") from None
    try:
        network = Network(fused(_Graph(graph, onnx).nodes()))
    except FileError as error:
        raise FileError(f"{path} is not a network that can be run: {error}") from None
    except TconvError as error:
        raise type(error)(f"{path}: {error}") from None
    except Exception as error:  # protobuf reads some bytes late
        raise FileError(f"{path} is damaged, or not an ONNX model: {error}") from None
    return Model.of(network, path.name)


_INTEGERS = ("strides", "pads", "dilations", "kernel_shape", "output_padding", "output_shape", "value_ints")
_TYPES: dict[str, tuple[Any, str]] = {
    **dict.fromkeys(_INTEGERS, (list, "integers")),
    **dict.fromkeys(("group", "blocksize", "value_int"), (int, "an integer")),
    **dict.fromkeys(("alpha", "min", "max", "value_float"), (float, "a number")),
    **dict.fromkeys(("auto_pad", "mode"), (bytes, "text")),
    "value_floats": (list, "numbers"),
}
"""Types of attributes, and their names in messages."""


_Maker = Callable[[Any, dict[str, Any]], Convolution | Sum | Pointwise]


class _Graph:
    """Conversion of one ONNX graph to nodes."""

    def __init__(self, graph: Any, onnx: Any) -> None:
        self._graph, self._onnx = graph, onnx
        self._constants: dict[str, Array] = {each.name: self._array(each) for each in graph.initializer}
        inputs = [each.name for each in graph.input if each.name not in self._constants]
        if len(inputs) != 1 or len(graph.output) != 1:
            raise FileError(f"it has {len(inputs)} inputs and {len(graph.output)} outputs; one of each is needed")
        self._places = {inputs[0]: 0}
        self._channels = [-1]
        """Channels of the picture (-1: not known yet) and of each node's output."""

    def _array(self, tensor: Any) -> Array:
        try:
            array: Array = self._onnx.numpy_helper.to_array(tensor)
        except Exception:  # its data does not fit its shape, or its type is not numeric
            raise FileError(
                f"its constant {tensor.name!r} is damaged: its data does not fit its type and shape"
            ) from None
        return array

    def _attributes(self, node: Any) -> dict[str, Any]:
        """Return the attributes of a node, text as str. Raises FileError for one of the wrong type."""
        attributes = {}
        for each in node.attribute:
            try:
                value = self._onnx.helper.get_attribute_value(each)
            except Exception:  # a type that does not exist
                raise FileError(f"{_label(node)} has an attribute {each.name!r} that is damaged") from None
            kind, needed = _TYPES.get(str(each.name), (object, ""))
            entry = int if needed == "integers" else float
            if not isinstance(value, kind) or (kind is list and not all(isinstance(part, entry) for part in value)):
                raise FileError(f"{_label(node)} has {each.name}={shown(value)}, where {needed} should be")
            attributes[str(each.name)] = value.decode(errors="replace") if isinstance(value, bytes) else value
        return attributes

    def nodes(self) -> list[Node]:
        """Return all nodes in order; the output of the last one is the network's."""
        nodes: list[Node] = []
        for node in self._graph.node:
            attributes = self._attributes(node)
            if len(node.output) != 1:
                raise FileError(f"{_label(node)} has {len(node.output)} outputs; one is needed")
            if node.op_type == "Constant":
                self._constants[node.output[0]] = self._constant(node, attributes)
            elif node.op_type == "Identity" and self._input(node, 0) in self._constants:
                self._constants[node.output[0]] = self._constants[node.input[0]]
            elif node.op_type == "Identity":
                self._places[node.output[0]] = self._place(node, node.input[0])
            else:
                make, count = self._maker(node), 2 if node.op_type == "Add" else 1
                inputs = tuple(self._place(node, self._input(node, number)) for number in range(count))
                step = make(node, attributes)
                nodes.append(Node(step, inputs))
                self._places[node.output[0]] = len(nodes)
                same = self._channels[inputs[0]]
                self._channels.append(step.channels[1] if isinstance(step, Convolution) else same)
        if self._places.get(self._graph.output[0].name) != len(nodes):
            raise FileError("its output is not the output of its last node")
        return nodes

    def _maker(self, node: Any) -> _Maker:
        """Return the function that builds the layer of a node of this type."""
        steps: dict[str, _Maker] = {
            "Conv": self._conv,
            "ConvTranspose": self._conv_transpose,
            "DepthToSpace": self._depth_to_space,
            "Add": lambda node, attributes: Sum(),
            "Relu": lambda node, attributes: Pointwise("relu"),
            "LeakyRelu": lambda node, attributes: Pointwise(("leaky_relu", attributes.get("alpha", 0.01))),
            "PRelu": self._prelu,
            "Clip": self._clip,
        }
        if node.op_type not in steps:
            raise FileError(
                f"it has a node {node.op_type}; {', '.join(steps)}, Constant and Identity are read. Write a network of "
                "those"
            )
        return steps[node.op_type]

    def _constant(self, node: Any, attributes: dict[str, Any]) -> Array:
        """Return the number, or numbers, of a Constant node."""
        if "value" in attributes:
            return self._array(attributes["value"])
        for name in ("value_float", "value_floats", "value_int", "value_ints"):
            if name in attributes:
                return np.asarray(attributes[name], np.float32 if "float" in name else np.int64)
        given = ", ".join(attributes) or "nothing"
        raise FileError(f"{_label(node)} has {given[:100]}; value, value_float(s) or value_int(s) are read")

    def _input(self, node: Any, number: int) -> str:
        """Return the name of an input of a node. Raises FileError if it has fewer inputs."""
        if len(node.input) <= number or not node.input[number]:
            raise FileError(f"{_label(node)} has no input {number}, which it needs")
        return str(node.input[number])

    def _place(self, node: Any, name: str) -> int:
        if name not in self._places:
            what = "a constant" if name in self._constants else "not an output of a node before it"
            raise FileError(f"{_label(node)} reads {name!r}, which is {what}")
        return self._places[name]

    def _weight(self, node: Any, number: int) -> Array:
        name = self._input(node, number)
        if name not in self._constants:
            raise FileError(f"{_label(node)} computes its weight {name!r}; a constant is needed")
        constant = self._constants[name]
        if constant.dtype.kind != "f" or not constant.size:
            raise FileError(f"{name!r} has dtype {constant.dtype} and shape {constant.shape}; floats are needed")
        with np.errstate(over="ignore"):
            weight = constant.astype(np.float32)
        if not np.isfinite(weight).all():
            raise FileError(f"{name!r} contains inf or NaN; finite floats are needed")
        return weight

    def _convolution_weights(self, node: Any, attributes: dict[str, Any]) -> tuple[Array, Array | None]:
        weight = self._weight(node, 1)
        if weight.ndim != 4:
            raise FileError(f"{_label(node)} has a weight of {weight.ndim} axes; 4 are needed, for pictures")
        if attributes.get("kernel_shape", list(weight.shape[2:])) != list(weight.shape[2:]):
            raise FileError(
                f"{_label(node)} has kernel_shape={attributes['kernel_shape']} and a weight of {weight.shape}"
            )
        return weight, self._weight(node, 2) if len(node.input) > 2 and node.input[2] else None

    def _conv(self, node: Any, attributes: dict[str, Any]) -> Convolution:
        weight, bias = self._convolution_weights(node, attributes)
        if set(attributes.get("strides", [1])) != {1}:
            raise FileError(f"{_label(node)} has strides {attributes['strides']}; {ORDINARY}")
        dilation, groups = attributes.get("dilations", 1), attributes.get("group", 1)
        forward = Geometry(weight.shape[2:], 1, 0, dilation, groups)
        rule = attributes.get("auto_pad", "NOTSET")
        if rule in ("SAME_UPPER", "SAME_LOWER"):
            early = [(extent - 1) // 2 for extent in forward.extent]
            pairs = [(lo, extent - 1 - lo) for lo, extent in zip(early, forward.extent, strict=True)]
            pads = pairs if rule == "SAME_UPPER" else [(hi, lo) for lo, hi in pairs]
        elif rule in ("NOTSET", "VALID"):
            given = attributes.get("pads", [0] * 4) if rule == "NOTSET" else [0] * 4
            if len(given) != 4:
                raise FileError(f"{_label(node)} has pads={given}; 4 are needed, all beginnings and then all ends")
            pads = list(zip(given[:2], given[2:], strict=True))
        else:
            raise FileError(f"{_label(node)} has auto_pad={rule!r}; NOTSET, SAME_UPPER, SAME_LOWER and VALID are read")
        return Convolution.ordinary(weight, bias, pads, dilation, groups)

    def _conv_transpose(self, node: Any, attributes: dict[str, Any]) -> Convolution:
        weight, bias = self._convolution_weights(node, attributes)
        if "output_shape" in attributes:
            raise FileError(f"{_label(node)} has an output_shape, which fits one size only")
        native = {name: value for name, value in attributes.items() if name != "kernel_shape"}
        sizes = (1, weight.shape[0], 64, 64)
        return Convolution(weight, dialect("onnx").read(sizes, weight.shape, native).geometry, bias)

    def _depth_to_space(self, node: Any, attributes: dict[str, Any]) -> Convolution:
        """A transposed convolution of stride r whose weights pick one input channel for each tap."""
        r, mode = attributes.get("blocksize", 0), attributes.get("mode", "DCR")
        if r < 1 or mode not in ("DCR", "CRD"):
            raise FileError(f"{_label(node)} has blocksize={r} and mode={mode!r}; 1 or more, DCR or CRD, are needed")
        channels = self._channels[self._places[node.input[0]]]
        if channels < 1:
            raise FileError(
                f"{_label(node)} reads the picture itself, whose 1 or 3 channels cannot be split into blocks. "
                "Put a Conv before it"
            )
        if channels % r**2:
            raise FileError(f"{_label(node)} has {channels} channels, which {r} x {r} blocks do not divide")
        weight = np.zeros((channels, channels // r**2, r, r), np.float32)
        for into in range(channels):
            # PyTorch's pixel shuffle has the channels outermost (CRD), TensorFlow's innermost (DCR)
            out, tap = divmod(into, r**2) if mode == "CRD" else divmod(into, channels // r**2)[::-1]
            weight[into, out, tap // r, tap % r] = 1
        return Convolution(weight, Geometry((r, r), r))

    def _prelu(self, node: Any, attributes: dict[str, Any]) -> Pointwise:
        slopes = self._weight(node, 1)
        # they broadcast from the last axis on
        if slopes.size > 1 and slopes.shape[-3:] != (slopes.size, 1, 1):
            raise FileError(f"{_label(node)} has slopes of {slopes.shape}; one, or (channels, 1, 1) are needed")
        return Pointwise(("prelu", slopes.ravel()))

    def _clip(self, node: Any, attributes: dict[str, Any]) -> Pointwise:
        limits = [attributes.get("min", -np.inf), attributes.get("max", np.inf)]
        for number, name in enumerate(node.input[1:3]):
            if name:
                limit = self._weight(node, number + 1)
                if limit.size != 1:
                    raise FileError(f"{_label(node)} has limits of shape {limit.shape}; one number each is needed")
                limits[number] = float(limit.item())
        return Pointwise(("clamp", *map(float, limits)))


def _label(node: Any) -> str:
    """Return a node's text in messages: its type, and its name or that of its output."""
    return f"{node.op_type} {node.name or next(iter(node.output), '')!r}"
