"""Networks in ONNX files: graphs of Conv, ConvTranspose, activations, Add and DepthToSpace."""

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
    """The model in such a file. Raises FileError, ShapeError, MissingExtraError."""
    try:
        import onnx
    except ImportError:
        raise MissingExtraError("a .onnx file", "onnx", "onnx") from None
    try:
        graph = onnx.load(path).graph
    except Exception as error:  # whatever protobuf and onnx raise over bytes that are no model
        raise FileError(f"{path} is damaged or no ONNX model: {error}") from None
    try:
        network = Network(fused(_Graph(graph, onnx).nodes()))
    except FileError as error:
        raise FileError(f"{path} is no network that can be run: {error}") from None
    except TconvError as error:
        raise type(error)(f"{path}: {error}") from None
    except Exception as error:  # protobuf again: it looks at some bytes late
        raise FileError(f"{path} is damaged or no ONNX model: {error}") from None
    return Model.of(network, path.name)


_INTEGERS = ("strides", "pads", "dilations", "kernel_shape", "output_padding", "output_shape", "value_ints")
_TYPES: dict[str, tuple[Any, str]] = {
    **dict.fromkeys(_INTEGERS, (list, "integers")),
    **dict.fromkeys(("group", "blocksize", "value_int"), (int, "an integer")),
    **dict.fromkeys(("alpha", "min", "max", "value_float"), (float, "a number")),
    **dict.fromkeys(("auto_pad", "mode"), (bytes, "text")),
    "value_floats": (list, "numbers"),
}
"""What attributes must be, and in words."""


_Maker = Callable[[Any, dict[str, Any]], Convolution | Sum | Pointwise]


class _Graph:
    """One ONNX graph, on the way to nodes."""

    def __init__(self, graph: Any, onnx: Any) -> None:
        self._graph, self._onnx = graph, onnx
        self._constants: dict[str, Array] = {each.name: self._array(each) for each in graph.initializer}
        inputs = [each.name for each in graph.input if each.name not in self._constants]
        if len(inputs) != 1 or len(graph.output) != 1:
            raise FileError(f"it has {len(inputs)} inputs and {len(graph.output)} outputs; one of each is needed")
        self._places = {inputs[0]: 0}
        self._channels = [-1]
        """Of the picture, which nobody has said yet, and of each node's output."""

    def _array(self, tensor: Any) -> Array:
        try:
            made: Array = self._onnx.numpy_helper.to_array(tensor)
        except Exception:  # its data does not fit its shape, or its type has no numbers
            raise FileError(
                f"its constant {tensor.name!r} is damaged: its data does not fit its type and shape"
            ) from None
        return made

    def _words(self, node: Any) -> dict[str, Any]:
        """The attributes of a node, text as str. Raises FileError for one of the wrong type."""
        words = {}
        for each in node.attribute:
            try:
                value = self._onnx.helper.get_attribute_value(each)
            except Exception:  # a type that does not exist
                raise FileError(f"{_called(node)} has an attribute {each.name!r} that is damaged") from None
            kind, needed = _TYPES.get(str(each.name), (object, ""))
            entry = int if needed == "integers" else float
            if not isinstance(value, kind) or (kind is list and not all(isinstance(part, entry) for part in value)):
                raise FileError(f"{_called(node)} has {each.name}={shown(value)}, where {needed} should be")
            words[str(each.name)] = value.decode(errors="replace") if isinstance(value, bytes) else value
        return words

    def nodes(self) -> list[Node]:
        """All of them, in order; the last one makes the output."""
        nodes: list[Node] = []
        for node in self._graph.node:
            words = self._words(node)
            if len(node.output) != 1:
                raise FileError(f"{_called(node)} has {len(node.output)} outputs; one is needed")
            if node.op_type == "Constant":
                self._constants[node.output[0]] = self._constant(node, words)
            elif node.op_type == "Identity" and self._input(node, 0) in self._constants:
                self._constants[node.output[0]] = self._constants[node.input[0]]
            elif node.op_type == "Identity":
                self._places[node.output[0]] = self._place(node, node.input[0])
            else:
                make, count = self._maker(node), 2 if node.op_type == "Add" else 1
                inputs = tuple(self._place(node, self._input(node, number)) for number in range(count))
                step = make(node, words)
                nodes.append(Node(step, inputs))
                self._places[node.output[0]] = len(nodes)
                same = self._channels[inputs[0]]
                self._channels.append(step.channels[1] if isinstance(step, Convolution) else same)
        if self._places.get(self._graph.output[0].name) != len(nodes):
            raise FileError("its output is not what its last node makes")
        return nodes

    def _maker(self, node: Any) -> _Maker:
        """What makes the step of a node of this type."""
        steps: dict[str, _Maker] = {
            "Conv": self._conv,
            "ConvTranspose": self._conv_transpose,
            "DepthToSpace": self._depth_to_space,
            "Add": lambda node, words: Sum(),
            "Relu": lambda node, words: Pointwise("relu"),
            "LeakyRelu": lambda node, words: Pointwise(("leaky_relu", words.get("alpha", 0.01))),
            "PRelu": self._prelu,
            "Clip": self._clip,
        }
        if node.op_type not in steps:
            raise FileError(
                f"it has a node {node.op_type}; {', '.join(steps)}, Constant and Identity are read. Write a network of "
                "those"
            )
        return steps[node.op_type]

    def _constant(self, node: Any, words: dict[str, Any]) -> Array:
        """The number, or numbers, of a Constant node."""
        if "value" in words:
            return self._array(words["value"])
        for name in ("value_float", "value_floats", "value_int", "value_ints"):
            if name in words:
                return np.asarray(words[name], np.float32 if "float" in name else np.int64)
        given = ", ".join(words) or "nothing"
        raise FileError(f"{_called(node)} has {given[:100]}; value, value_float(s) or value_int(s) are read")

    def _input(self, node: Any, number: int) -> str:
        """The name of what a node reads. Raises FileError where it reads less."""
        if len(node.input) <= number or not node.input[number]:
            raise FileError(f"{_called(node)} has no input {number}, which it needs")
        return str(node.input[number])

    def _place(self, node: Any, name: str) -> int:
        if name not in self._places:
            what = "a constant" if name in self._constants else "nothing that was made before it"
            raise FileError(f"{_called(node)} reads {name!r}, which is {what}")
        return self._places[name]

    def _weight(self, node: Any, number: int) -> Array:
        name = self._input(node, number)
        if name not in self._constants:
            raise FileError(f"{_called(node)} computes its weight {name!r}; a constant is needed")
        found = self._constants[name]
        if found.dtype.kind != "f" or not found.size:
            raise FileError(f"{name!r} has dtype {found.dtype} and shape {found.shape}; floats are needed")
        with np.errstate(over="ignore"):
            weight = found.astype(np.float32)
        if not np.isfinite(weight).all():
            raise FileError(f"{name!r} holds inf or NaN; finite floats are needed")
        return weight

    def _images(self, node: Any, words: dict[str, Any]) -> tuple[Array, Array | None]:
        weight = self._weight(node, 1)
        if weight.ndim != 4:
            raise FileError(f"{_called(node)} has a weight of {weight.ndim} axes; 4 are needed, for pictures")
        if words.get("kernel_shape", list(weight.shape[2:])) != list(weight.shape[2:]):
            raise FileError(f"{_called(node)} has kernel_shape={words['kernel_shape']} and a weight of {weight.shape}")
        return weight, self._weight(node, 2) if len(node.input) > 2 and node.input[2] else None

    def _conv(self, node: Any, words: dict[str, Any]) -> Convolution:
        weight, bias = self._images(node, words)
        if set(words.get("strides", [1])) != {1}:
            raise FileError(f"{_called(node)} has strides {words['strides']}; {ORDINARY}")
        dilation, groups = words.get("dilations", 1), words.get("group", 1)
        around = Geometry(weight.shape[2:], 1, 0, dilation, groups)
        rule = words.get("auto_pad", "NOTSET")
        if rule in ("SAME_UPPER", "SAME_LOWER"):
            early = [(extent - 1) // 2 for extent in around.extent]
            pairs = [(lo, extent - 1 - lo) for lo, extent in zip(early, around.extent, strict=True)]
            pads = pairs if rule == "SAME_UPPER" else [(hi, lo) for lo, hi in pairs]
        elif rule in ("NOTSET", "VALID"):
            given = words.get("pads", [0] * 4) if rule == "NOTSET" else [0] * 4
            if len(given) != 4:
                raise FileError(f"{_called(node)} has pads={given}; 4 are needed, all beginnings and then all ends")
            pads = list(zip(given[:2], given[2:], strict=True))
        else:
            raise FileError(f"{_called(node)} has auto_pad={rule!r}; NOTSET, SAME_UPPER, SAME_LOWER and VALID are read")
        return Convolution.ordinary(weight, bias, pads, dilation, groups)

    def _conv_transpose(self, node: Any, words: dict[str, Any]) -> Convolution:
        weight, bias = self._images(node, words)
        if "output_shape" in words:
            raise FileError(f"{_called(node)} has an output_shape, which fits one size only")
        native = {name: value for name, value in words.items() if name != "kernel_shape"}
        sizes = (1, weight.shape[0], 64, 64)
        return Convolution(weight, dialect("onnx").read(sizes, weight.shape, native).geometry, bias)

    def _depth_to_space(self, node: Any, words: dict[str, Any]) -> Convolution:
        """A transposed convolution of stride r whose weights pick one input channel for each tap."""
        r, mode = words.get("blocksize", 0), words.get("mode", "DCR")
        if r < 1 or mode not in ("DCR", "CRD"):
            raise FileError(f"{_called(node)} has blocksize={r} and mode={mode!r}; 1 or more, DCR or CRD, are needed")
        channels = self._channels[self._places[node.input[0]]]
        if channels < 1:
            raise FileError(
                f"{_called(node)} reads the picture itself, whose 1 or 3 channels make no blocks. Write a Conv in "
                "front of it"
            )
        if channels % r**2:
            raise FileError(f"{_called(node)} of {channels} channels by {r} does not come out even")
        weight = np.zeros((channels, channels // r**2, r, r), np.float32)
        for into in range(channels):
            # PyTorch's pixel shuffle has the channels outermost (CRD), TensorFlow's innermost (DCR)
            out, tap = divmod(into, r**2) if mode == "CRD" else divmod(into, channels // r**2)[::-1]
            weight[into, out, tap // r, tap % r] = 1
        return Convolution(weight, Geometry((r, r), r))

    def _prelu(self, node: Any, words: dict[str, Any]) -> Pointwise:
        slopes = self._weight(node, 1)
        # they broadcast from the last axis on
        if slopes.size > 1 and slopes.shape[-3:] != (slopes.size, 1, 1):
            raise FileError(f"{_called(node)} has slopes of {slopes.shape}; one, or (channels, 1, 1) are needed")
        return Pointwise(("prelu", slopes.ravel()))

    def _clip(self, node: Any, words: dict[str, Any]) -> Pointwise:
        limits = [words.get("min", -np.inf), words.get("max", np.inf)]
        for number, name in enumerate(node.input[1:3]):
            if name:
                limit = self._weight(node, number + 1)
                if limit.size != 1:
                    raise FileError(f"{_called(node)} has limits of shape {limit.shape}; one number each is needed")
                limits[number] = float(limit.item())
        return Pointwise(("clamp", *map(float, limits)))


def _called(node: Any) -> str:
    """A node in a message: its type, and its name or that of its output."""
    return f"{node.op_type} {node.name or next(iter(node.output), '')!r}"
