"""Reader of networks in ONNX files: graphs of Conv, ConvTranspose, activations, Add and DepthToSpace.

`tconv.models.load` uses it for .onnx. Weights may be computed from constants, and lie in other files.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tconv._arguments import shown
from tconv._arrays import Array
from tconv.dialects import dialect
from tconv.errors import FileError, TconvError
from tconv.geometry import Geometry
from tconv.models.image_model import Model
from tconv.models.inventory.other_forms import same_pads
from tconv.models.layers import ORDINARY, Convolution, Node
from tconv.models.network import Network
from tconv.models.readers.onnx_graph import OnnxGraph, attributes_of, damaged, label, open_graph
from tconv.models.simplification import simplified
from tconv.models.steps.arithmetic import Sum
from tconv.models.steps.pointwise import Pointwise


def read(path: Path) -> Model:
    """Return the model in a .onnx file. Raises FileError, ShapeError, MissingExtraError."""
    graph = open_graph(path)
    try:
        network = Network(simplified(_NetworkReader(graph).nodes()))
    except FileError as error:
        raise FileError(f"{path} is not a network that can be run: {error}") from None
    except TconvError as error:
        raise type(error)(f"{path}: {error}") from None
    except Exception as error:  # protobuf reads some bytes late
        raise damaged(path, error) from None
    return Model.of(network, path.name)


_INTEGERS = ("strides", "pads", "dilations", "kernel_shape", "output_padding", "output_shape")
_TYPES: dict[str, tuple[Any, str]] = {
    **dict.fromkeys(_INTEGERS, (list, "integers")),
    **dict.fromkeys(("group", "blocksize"), (int, "an integer")),
    **dict.fromkeys(("alpha", "min", "max"), (float, "a number")),
    **dict.fromkeys(("auto_pad", "mode"), (str, "text")),
}
"""Types of attributes, and their names in messages."""


_Maker = Callable[[Any, dict[str, Any]], Convolution | Sum | Pointwise]


class _NetworkReader:
    """Conversion of one ONNX graph to nodes."""

    def __init__(self, graph: OnnxGraph) -> None:
        self._graph, main = graph, graph.model.graph
        inputs = [each for each in main.inputs if each not in graph.constants]
        if len(inputs) != 1 or len(main.outputs) != 1:
            raise FileError(f"it has {len(inputs)} inputs and {len(main.outputs)} outputs; one of each is needed")
        self._output, self._places = main.outputs[0], {inputs[0]: 0}
        self._channels = [-1]
        """Channels of the picture (-1: not known yet) and of each node's output."""

    def _attributes(self, node: Any) -> dict[str, Any]:
        """Return the attributes of a node. Raises FileError for one of the wrong type."""
        attributes = attributes_of(node)
        for name, value in attributes.items():
            kind, needed = _TYPES.get(name, (object, ""))
            entry = int if needed == "integers" else float
            if not isinstance(value, kind) or (kind is list and not all(isinstance(part, entry) for part in value)):
                raise FileError(f"{label(node)} has {name}={shown(value)}, where {needed} should be")
        return attributes

    def nodes(self) -> list[Node]:
        """Return all nodes in order; the output of the last one is the network's."""
        nodes: list[Node] = []
        for node in self._graph.model.graph:
            if node.outputs and all(each in self._graph.constants for each in node.outputs):
                continue
            attributes = self._attributes(node)
            if len(node.outputs) != 1:
                raise FileError(f"{label(node)} has {len(node.outputs)} outputs; one is needed")
            if node.op_type == "Identity":
                self._places[node.outputs[0]] = self._place(node, self._input(node, 0))
            else:
                make, count = self._maker(node), 2 if node.op_type == "Add" else 1
                inputs = tuple(self._place(node, self._input(node, number)) for number in range(count))
                step = make(node, attributes)
                nodes.append(Node(step, inputs))
                self._places[node.outputs[0]] = len(nodes)
                same = self._channels[inputs[0]]
                self._channels.append(step.channels[1] if isinstance(step, Convolution) else same)
        if self._places.get(self._output) != len(nodes):
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

    def _input(self, node: Any, number: int) -> Any:
        """Return an input of a node. Raises FileError if it has fewer inputs."""
        if len(node.inputs) <= number or node.inputs[number] is None:
            raise FileError(f"{label(node)} has no input {number}, which it needs")
        return node.inputs[number]

    def _place(self, node: Any, value: Any) -> int:
        if value not in self._places:
            what = "a constant" if value in self._graph.constants else "not an output of a node before it"
            raise FileError(f"{label(node)} reads {value.name!r}, which is {what}")
        return self._places[value]

    def _weight(self, node: Any, number: int) -> Array:
        value = self._input(node, number)
        stored = self._graph.constant(value)
        if stored is None:
            raise FileError(
                f"{label(node)} computes its weight {value.name!r} from the picture; a constant, or a computation from "
                "constants, is needed"
            )
        if not stored.dtype.startswith(("float", "bfloat")) or 0 in stored.shape:
            raise FileError(
                f"{value.name!r} has dtype {stored.dtype or 'string'} and shape {stored.shape}; floats are needed"
            )
        with np.errstate(over="ignore"):
            weight = stored.read().astype(np.float32)
        if not np.isfinite(weight).all():
            raise FileError(f"{value.name!r} contains inf or NaN; finite floats are needed")
        return weight

    def _convolution_weights(self, node: Any, attributes: dict[str, Any]) -> tuple[Array, Array | None]:
        weight = self._weight(node, 1)
        if weight.ndim != 4:
            raise FileError(f"{label(node)} has a weight of {weight.ndim} axes; 4 are needed, for pictures")
        if attributes.get("kernel_shape", list(weight.shape[2:])) != list(weight.shape[2:]):
            raise FileError(
                f"{label(node)} has kernel_shape={attributes['kernel_shape']} and a weight of {weight.shape}"
            )
        return weight, self._weight(node, 2) if len(node.inputs) > 2 and node.inputs[2] else None

    def _conv(self, node: Any, attributes: dict[str, Any]) -> Convolution:
        weight, bias = self._convolution_weights(node, attributes)
        if set(attributes.get("strides", [1])) != {1}:
            raise FileError(f"{label(node)} has strides {attributes['strides']}; {ORDINARY}")
        dilation, groups = attributes.get("dilations", 1), attributes.get("group", 1)
        forward = Geometry(weight.shape[2:], 1, 0, dilation, groups)
        rule = attributes.get("auto_pad", "NOTSET")
        if rule in ("SAME_UPPER", "SAME_LOWER"):
            pads = same_pads(forward.kernel, forward.dilation, upper=rule == "SAME_UPPER")
        elif rule in ("NOTSET", "VALID"):
            given = attributes.get("pads", [0] * 4) if rule == "NOTSET" else [0] * 4
            if len(given) != 4:
                raise FileError(f"{label(node)} has pads={given}; 4 are needed, all beginnings and then all ends")
            pads = list(zip(given[:2], given[2:], strict=True))
        else:
            raise FileError(f"{label(node)} has auto_pad={rule!r}; NOTSET, SAME_UPPER, SAME_LOWER and VALID are read")
        return Convolution.ordinary(weight, bias, pads, dilation, groups)

    def _conv_transpose(self, node: Any, attributes: dict[str, Any]) -> Convolution:
        weight, bias = self._convolution_weights(node, attributes)
        if "output_shape" in attributes:
            raise FileError(f"{label(node)} has an output_shape, which fits one size only")
        native = {name: value for name, value in attributes.items() if name != "kernel_shape"}
        sizes = (1, weight.shape[0], 64, 64)
        return Convolution(weight, dialect("onnx").read(sizes, weight.shape, native).geometry, bias)

    def _depth_to_space(self, node: Any, attributes: dict[str, Any]) -> Convolution:
        """A transposed convolution of stride r whose weights pick one input channel for each tap."""
        r, mode = attributes.get("blocksize", 0), attributes.get("mode", "DCR")
        if r < 1 or mode not in ("DCR", "CRD"):
            raise FileError(f"{label(node)} has blocksize={r} and mode={mode!r}; 1 or more, DCR or CRD, are needed")
        channels = self._channels[self._places[node.inputs[0]]]
        if channels < 1:
            raise FileError(
                f"{label(node)} reads the picture itself, whose 1 or 3 channels cannot be split into blocks. "
                "Put a Conv before it"
            )
        if channels % r**2:
            raise FileError(f"{label(node)} has {channels} channels, which {r} x {r} blocks do not divide")
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
            raise FileError(f"{label(node)} has slopes of {slopes.shape}; one, or (channels, 1, 1) are needed")
        return Pointwise(("prelu", slopes.ravel()))

    def _clip(self, node: Any, attributes: dict[str, Any]) -> Pointwise:
        limits = [attributes.get("min", -np.inf), attributes.get("max", np.inf)]
        for number, name in enumerate(node.inputs[1:3]):
            if name:
                limit = self._weight(node, number + 1)
                if limit.size != 1:
                    raise FileError(f"{label(node)} has limits of shape {limit.shape}; one number each is needed")
                limits[number] = float(limit.item())
        return Pointwise(("clamp", *map(float, limits)))
