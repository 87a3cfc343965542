"""Size of an output that an exporter has frozen, taken from the tensor that the output meets.

A decoder's output_size becomes a constant output_padding, or output_shape, of the example's size; for other sizes the
Concat or Add behind it gets sizes that differ. Then that other tensor's size is the one that the graph asks for.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tconv.models.readers.onnx_graph import attributes_of, is_onnx
from tconv.onnx.graph_steps.graph_step import GraphStep, PlacedLayer, StepError
from tconv.onnx.model_file import ModelFile
from tconv.onnx.node_writer import SLICE_OPSET, NodeWriter, old_slice

_POINTWISE = (
    "Relu", "LeakyRelu", "PRelu", "Sigmoid", "Tanh", "Elu", "Selu", "Gelu", "HardSigmoid", "HardSwish", "Softplus",
    "Clip", "Identity", "Cast", "Dropout", "BatchNormalization", "InstanceNormalization", "GroupNormalization", "Erf",
    "Neg", "Abs", "Exp", "Sqrt", "Mish", "Swish", "DequantizeLinear", "QuantizeLinear",
)  # fmt: skip
"""Operations whose output has the spatial sizes of their first input."""
_MEETINGS = ("Concat", "Add", "Sub", "Mul", "Div", "Sum", "Max", "Min")
_MOST_STEPS = 200


class DynamicSize(GraphStep):
    """The longest result that the layer's arguments allow, cut to the size of the tensor that it meets."""

    name = "dynamic-size"
    summary = "the size comes from the tensor that the output meets, not from the exporter's example"
    exact = "the same numbers for the sizes that worked; others work, too"

    def apply(self, file: ModelFile, placed: PlacedLayer) -> tuple[PlacedLayer, str]:
        node, layer = placed.node, placed.layer
        arguments = dict(attributes_of(node))
        # without output_padding a size is frozen, too: an example that needed none has given 0
        if max(arguments.get("strides") or [1]) == 1 and not arguments.get("output_shape"):
            raise StepError("its stride is 1 and it has no output_shape, so no size can be frozen in it")
        if file.opset < SLICE_OPSET:
            raise StepError(old_slice("sizes that are known at run time only", file.opset))
        rank = _rank(layer, node)
        meeting, other = size_source(node.outputs[0], rank)
        if not _has_open_size(file, node.inputs[0]):
            raise StepError(
                "no spatial size of the model is open, so the layer never meets another size than its own. Export the "
                "model with open sizes first, if it shall take others"
            )
        axes = list(range(2, rank))
        cut, new_arguments = _longest(arguments, rank - 2, layer)
        after = node.outputs[0]
        writer = NodeWriter(file, node, f"{placed.name}/dynamic_size")
        _move_behind(node, other, writer)
        long = writer.op("ConvTranspose", *node.inputs, name="conv_transpose", **new_arguments)
        sizes = writer.sizes(other, axes, "size")
        if cut is None:
            starts: Any = [0] * len(axes)
            ends = sizes
        else:
            # output_shape: the total of the crop is F + output_padding - L, its larger half in front by default
            total = writer.op("Sub", writer.sizes(long, axes, "full_size"), sizes, name="total")
            two = writer.integers([2], "two")
            half = writer.op("Div", total, two, name="half")
            first = half if cut == "SAME_UPPER" else writer.op("Sub", total, half, name="larger_half")
            # below 0 the result would be too short: then it stays short, and the meeting says so
            starts = writer.op("Max", first, writer.integers([0], "zero"), name="start") if file.opset >= 12 else first
            ends = writer.op("Add", starts, sizes, name="end")
        result = writer.slice(long, starts, ends, axes, "slice")
        writer.replace(after, result)
        long.producer().name = writer._unique("layer")
        changed = replace(layer, arguments=new_arguments, output_shape=None, crop_origin="pads")
        words = (
            f"size of {other.name!r}, which meets it in {meeting.op_type} {meeting.name or meeting.outputs[0].name!r}"
        )
        return PlacedLayer(changed, long.producer()), words


def _has_open_size(file: ModelFile, x: Any) -> bool:
    """Return True if the layer can meet another size: one of the model's inputs, or of x, is no number."""
    given = [each.shape for each in file.model.graph.inputs if not each.is_initializer()]
    known = [] if x.shape is None else [x.shape]
    return any(shape is None for shape in given) or any(
        not isinstance(size, int) for shape in (*given, *known) for size in list(shape)[1:]
    )


def _rank(layer: Any, node: Any) -> int:
    if layer.weight is not None:
        return len(layer.weight.shape)
    shape = node.inputs[1].shape
    if shape is None:
        raise StepError("the number of its axes is not known")
    return len(shape)


def _longest(arguments: dict[str, Any], ndim: int, layer: Any) -> tuple[str | None, dict[str, Any]]:
    """Return the rule of the crop in front, None where it is fixed, and arguments of the longest result.

    With pads the front is cropped by the layer itself, and the end is as long as any output_padding makes it.
    """
    strides = list(arguments.get("strides") or [1] * ndim)
    rule = arguments.get("auto_pad", "NOTSET")
    kept = {key: value for key, value in arguments.items() if key not in ("auto_pad", "output_shape", "pads")}
    extra = list(arguments.get("output_padding") or [0] * ndim)
    if arguments.get("output_shape"):
        if any(extra):
            kept["output_padding"] = extra
        return rule, {**kept, "pads": [0] * 2 * ndim}
    if rule not in ("NOTSET", "VALID"):
        raise StepError(f"its pads follow from auto_pad={rule}, which gives stride times the size for every size")
    pads = list(arguments.get("pads") or [0] * 2 * ndim)
    begin, end = pads[:ndim], pads[ndim:]
    # dilation allows a file more output_padding than PyTorch's output_size ever asks for
    most = [max(s - 1, op) for s, op in zip(strides, extra, strict=True)]
    longer = [max(0, op - p) for op, p in zip(most, end, strict=True)]
    kept.pop("output_padding", None)
    if any(longer):
        kept["output_padding"] = longer
    # the pads behind that are not needed for the longest size stay
    rest = [max(0, p - op) for op, p in zip(most, end, strict=True)]
    kept.pop("auto_pad", None)
    return None, {**kept, "pads": begin + rest}


def size_source(value: Any, rank: int) -> tuple[Any, Any]:
    """Return the node in which a layer's output meets another tensor of its size, and that tensor.

    Raises StepError if there is none.
    """
    own = {id(value)}
    waiting, steps = [value], 0
    unsure: tuple[Any, Any] | None = None  # arithmetic with a tensor of unknown sizes, which may be a gate per channel
    while waiting and steps < _MOST_STEPS:
        current = waiting.pop(0)
        steps += 1
        for node, place in current.uses():
            if node.graph is not value.graph:
                continue
            if is_onnx(node, *_MEETINGS) and _joins_channels(node, rank):
                others = [each for each in node.inputs if each is not None and id(each) not in own]
                for other in others:
                    if not _constant(other) and not _depends_on(other, value) and _same_rank(other, current):
                        if node.op_type == "Concat" or other.shape is not None:
                            return node, other
                        unsure = unsure or (node, other)
                follow = True
            else:
                follow = _keeps_sizes(node) and place == 0
            if follow and id(node.outputs[0]) not in own:
                own.add(id(node.outputs[0]))
                waiting.append(node.outputs[0])
    if unsure is not None:
        return unsure
    raise StepError(
        "its output meets no other tensor of its size in a Concat or Add, so nothing in the graph asks for a size. "
        "Export the model with the size as an input, or with a size that needs no output_padding"
    )


def _joins_channels(node: Any, rank: int) -> bool:
    """Return True for arithmetic, and for a Concat along the channels."""
    return node.op_type != "Concat" or attributes_of(node).get("axis", 1) in (1, 1 - rank)


def _keeps_sizes(node: Any) -> bool:
    if is_onnx(node, *_POINTWISE):
        return True
    if not is_onnx(node, "Conv"):
        return False
    a = attributes_of(node)
    if any(s != 1 for s in a.get("strides") or [1]):
        return False
    if str(a.get("auto_pad", "NOTSET")).startswith("SAME"):
        return True
    weight = node.inputs[1].shape
    kernel = a.get("kernel_shape") or (None if weight is None else list(weight)[2:])
    if kernel is None:
        return False
    ndim = len(kernel)
    pads, dilations = a.get("pads") or [0] * 2 * ndim, a.get("dilations") or [1] * ndim
    return all(pads[i] + pads[i + ndim] == dilations[i] * (kernel[i] - 1) for i in range(ndim))


def _same_rank(other: Any, value: Any) -> bool:
    if other.shape is None or value.shape is None:
        return True
    if len(other.shape) != len(value.shape):
        return False
    return not all(size == 1 for size in other.shape[2:])  # a gate per channel is broadcast


def _constant(value: Any) -> bool:
    if value.is_initializer():
        return True
    producer = value.producer()
    return producer is not None and is_onnx(producer, "Constant")


def _depends_on(value: Any, source: Any) -> bool:
    waiting, seen = [value], {id(value)}
    while waiting:
        current = waiting.pop()
        if current is source:
            return True
        producer = current.producer()
        for each in () if producer is None else producer.inputs:
            if each is not None and id(each) not in seen:
                seen.add(id(each))
                waiting.append(each)
    return False


def _move_behind(node: Any, other: Any, writer: NodeWriter) -> None:
    """Let new nodes stand where both the layer's input and the other tensor are there.

    If the other tensor is computed behind the layer, the nodes that compute it move before the layer, in their order.
    """
    producer = other.producer()
    if producer is None or producer.graph is not node.graph:
        return
    order = {id(each): number for number, each in enumerate(node.graph)}
    if order[id(producer)] < order[id(node)]:
        return
    needed: list[Any] = []
    waiting, seen = [producer], {id(producer)}
    while waiting:
        current = waiting.pop()
        if order[id(current)] < order[id(node)]:
            continue
        needed.append(current)
        for each in current.inputs:
            source = None if each is None else each.producer()
            if source is not None and source.graph is node.graph and id(source) not in seen:
                seen.add(id(source))
                waiting.append(source)
    for each in sorted(needed, key=lambda one: order[id(one)]):
        node.graph.remove(each)
        node.graph.insert_before(node, each)
