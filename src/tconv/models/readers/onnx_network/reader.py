"""Conversion of an ONNX graph to the nodes of a network, operator by operator.

A value of the graph is a picture (the output of a node), a constant, or numbers that are computed from sizes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tconv.errors import FileError, TconvError
from tconv.models.inventory.model_layer import Size
from tconv.models.layers import Node
from tconv.models.readers.onnx_graph import OnnxGraph, attributes_of, label
from tconv.models.readers.onnx_graph.nodes import OWN
from tconv.models.readers.onnx_network.builder import AboveLimit, GraphPicture, NetworkBuilder, Pictures, samples
from tconv.models.readers.onnx_network.extents import HalfCrop
from tconv.models.readers.onnx_network.inputs import ON_SIZES, NodeReader, Refusal, Value
from tconv.models.readers.onnx_network.operators import OPERATORS

REFUSED = {
    **dict.fromkeys(
        ("Softmax", "Attention", "MultiHeadAttention", "GroupQueryAttention", "Einsum"),
        "attention, which reads all pixels for each one",
    ),
    **dict.fromkeys(("GridSample", "DeformConv", "RoiAlign"), "samples at places that it computes"),
    **dict.fromkeys(("TopK", "NonZero", "ArgMax", "ArgMin", "NonMaxSuppression"), "a choice among the pixels"),
    **dict.fromkeys(("LSTM", "GRU", "RNN", "Loop", "Scan", "If"), "a recurrence or a branch"),
    **dict.fromkeys(
        ("QLinearConv", "ConvInteger", "QuantizeLinear", "QLinearMatMul", "DynamicQuantizeLinear"),
        "arithmetic on integers",
    ),
}
"""Operators by which a network is refused at once, and their reasons."""


_FEW = (1, 2, 3, 4)
"""Channels of pictures: an axis of such a size at the end is that of the channels."""
_LARGEST = 1 << 16
"""Largest size of an axis of the picture that a file may state."""


class GraphReader(NodeReader):
    """One graph while it is read; `channels` are those of its input where the file does not state them."""

    def __init__(self, graph: OnnxGraph, channels: int = 3) -> None:
        main = graph.model.graph
        inputs = [each for each in main.inputs if each not in graph.constants]
        if len(inputs) != 1 or not main.outputs:
            names = ", ".join(repr(each.name) for each in inputs[:5])
            raise FileError(
                f"it has {len(inputs)} inputs{f' ({names})' * bool(names)} and {len(main.outputs)} outputs; one input, "
                "the picture, is needed. Write a file of the part that reads the picture alone"
            )
        (value,) = inputs
        shape = graph.shape(value)
        if shape is not None and len(shape) != 4:
            raise FileError(
                f"its input {value.name!r} has {len(shape)} axes; 4 are needed: [N, C, H, W] or [N, H, W, C]"
            )
        labels = _layout(value, shape)
        known = dict(zip(labels, shape or (None,) * 4, strict=True))
        stated, batch = known["C"], known["N"]
        self.channels_known = isinstance(stated, int)
        sides = [known[letter] for letter in "HW"]
        numbers = [size for size in (stated, batch, *sides) if isinstance(size, int)]
        if min(numbers, default=1) < 1 or max(numbers, default=1) > _LARGEST:
            raise FileError(f"its input {value.name!r} has the shape {shape}; sizes from 1 to {_LARGEST} are needed")
        builder = NetworkBuilder(
            stated if isinstance(stated, int) else channels,
            samples((sides[0], sides[1])),
            batch if isinstance(batch, int) else 1,
        )
        super().__init__(graph, builder, any(isinstance(size, int) for size in sides))
        self.values[value] = builder.whole(0, labels)

    # -- the whole graph -----------------------------------------------------------------------------------------

    def nodes(self) -> list[Node]:
        """Return the nodes of the network in order; the output of the last one is the network's."""
        order = self._needed()
        for node in order:
            if node.op_type in REFUSED and node.domain in (*OWN, "com.microsoft"):
                raise FileError(
                    f"it has a node {label(node)}: {REFUSED[node.op_type]}. Networks of convolutions, activations and "
                    "arithmetic of pixels at one place are read"
                )
        for node in order:
            self._visit(node)
        place = self._output()
        kept = _reached(self.builder.nodes, place)
        if not kept:
            raise FileError("its output is its input; a node between them is needed")
        if any(isinstance(node.step, HalfCrop) for node in kept):
            raise FileError(
                "it crops rows to a size that follows from the picture's, and columns by another rule; both alike are "
                "needed"
            )
        return kept

    def _needed(self) -> list[Any]:
        """Return the nodes that compute the outputs, and are no constants, in order."""
        needed: set[Any] = set()
        waiting = list(self.graph.model.graph.outputs)
        while waiting:
            value = waiting.pop()
            node = None if value is None else value.producer()
            if node is not None and node not in needed and value not in self.graph.constants:
                needed.add(node)
                waiting.extend(node.inputs)
        return [node for node in self.graph.model.graph if node in needed]

    def _visit(self, node: Any) -> None:
        """Read one node, or keep the reason why it cannot be read until its output is needed."""
        refused = [each for value in node.inputs if isinstance(each := self.values.get(value), Refusal)]
        try:
            results = refused[:1] * len(node.outputs) if refused else self._results(node)
        except TconvError as error:
            kept = error if label(node) in str(error) else type(error)(f"{label(node)}: {error}")
            results = [Refusal(kept)] * len(node.outputs)
        except (ArithmeticError, LookupError, TypeError, ValueError, AttributeError) as error:
            text = f"{label(node)} is damaged, or of a kind that is not read ({type(error).__name__})"
            results = [Refusal(FileError(text))] * len(node.outputs)
        self.values.update(zip(node.outputs, results, strict=False))

    def _results(self, node: Any) -> Sequence[Value]:
        given = [self.values.get(each) for each in node.inputs if each is not None]
        plain = not any(isinstance(each, (GraphPicture, Pictures, AboveLimit)) for each in given)
        if plain and (node.op_type in ON_SIZES or node.op_type not in OPERATORS):
            return self.on_sizes(node)
        make = OPERATORS.get(node.op_type) if node.domain in OWN else None
        if make is None:
            name = node.op_type if node.domain in OWN else f"{node.domain}.{node.op_type}"
            raise FileError(
                f"it has a node {label(node)}; the operator {name} is not read. Those of convolutions, activations, "
                "arithmetic, pools, resizes and reshapes are. Write a network of those"
            )
        made = make(self, node)
        return made if isinstance(made, list) else [made]

    def _output(self) -> int:
        """Return the place of the output: of several the largest picture with the channels of the input."""
        found: dict[str, GraphPicture] = {}
        first: TconvError | None = None
        for value in self.graph.model.graph.outputs:
            made = self.values.get(value)
            if isinstance(made, GraphPicture):
                found[str(value.name)] = made
            elif isinstance(made, Refusal):
                first = first or made.error
            else:
                what = "a constant" if value in self.graph.constants else "no picture"
                first = first or FileError(f"its output {value.name!r} is {what}")
        if not found:
            assert first is not None
            raise first
        if len(found) > 1:
            pictures = {name: each for name, each in found.items() if self._channels(each) == self.builder.channels[0]}
            areas = {name: self.builder.sizes[each.place][-1] for name, each in pictures.items()}
            most = [name for name, area in areas.items() if area == max(areas.values())]
            if len(most) != 1:
                raise FileError(
                    f"it has {len(found)} outputs, {', '.join(map(repr, found))}, and it does not follow which one is "
                    "the picture. Write a file with that output alone"
                )
            self.builder.note(
                f"its output {most[0]!r} is read, and not {', '.join(repr(n) for n in found if n != most[0])}"
            )
            found = {most[0]: found[most[0]]}
        ((name, picture),) = found.items()
        if not picture.labels:
            raise FileError(f"its output {name!r} has axes {picture.shape}; a picture [N, C, H, W] is needed")
        return picture.place

    def _channels(self, picture: GraphPicture) -> int:
        return self.builder.channels[picture.place]


def _layout(value: Any, shape: Sequence[Size] | None) -> str:
    """Return the letters of the input's axes, by its sizes and by the transposes that read it."""
    readers = [use.node for use in value.uses()]
    perms = [attributes_of(node).get("perm") for node in readers if node.op_type == "Transpose"]
    last = shape is not None and shape[3] in _FEW and shape[1] not in _FEW
    return "NHWC" if last or [0, 3, 1, 2] in perms else "NCHW"


def _reached(nodes: Sequence[Node], place: int) -> list[Node]:
    """Return the nodes that an output needs, the last one last."""
    wanted: set[int] = set()
    waiting = [place]
    while waiting:
        each = waiting.pop()
        if each and each not in wanted:
            wanted.add(each)
            waiting.extend(nodes[each - 1].inputs)
    places = {0: 0} | {each: number for number, each in enumerate(sorted(wanted), 1)}
    return [
        Node(nodes[each - 1].step, tuple(places[number] for number in nodes[each - 1].inputs))
        for each in sorted(wanted)
    ]
