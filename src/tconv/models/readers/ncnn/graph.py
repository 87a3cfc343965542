"""Nodes of a network from the lines of a .param file."""

from __future__ import annotations

from itertools import takewhile

from tconv.errors import FileError
from tconv.models.layers import Node
from tconv.models.network import Network
from tconv.models.readers.ncnn.layer import LayerOutput, NcnnLayer
from tconv.models.readers.ncnn.layers import LAYERS
from tconv.models.readers.ncnn.param_file import Line
from tconv.models.readers.ncnn.stored_weights import Blob
from tconv.models.simplification import simplified
from tconv.models.steps.channels import ChannelRange

_KEEP_CHANNELS = frozenset(["Split", "Noop", "Dropout", "Padding", "Crop", "Interp", "BinaryOp", "Clip"])


def network_of(lines: list[Line], blob: Blob) -> Network:
    """Return the network of all layers, simplified. Raises FileError, ShapeError."""
    channels = input_channels(lines)
    blob.refuse_cut_off(takewhile(lambda line: line.kind in ("Input", *LAYERS), lines))
    nodes = nodes_of(lines, blob, channels)
    blob.refuse_rest()
    return Network(simplified(nodes, channels), channels)


def nodes_of(lines: list[Line], blob: Blob, channels: int | None = None) -> list[Node]:
    """Return the nodes of all layers for pictures of so many channels; the last one is the output. Raises FileError."""
    channels = input_channels(lines) if channels is None else channels
    values: dict[str, LayerOutput] = {}
    nodes: list[Node] = []
    fed = ""
    for line in lines:
        if not line.outputs:
            raise FileError(f"{line.name} has no output; every layer needs one")
        if line.kind == "Input":
            if fed:
                raise FileError(f"it has several inputs, {fed} and {line.name}; one is needed")
            fed = line.name
            values[line.outputs[0]] = LayerOutput(0, channels)
            continue
        if missing := [name for name in line.inputs if name not in values]:
            raise FileError(f"{line.name} reads {missing[0]!r}, which is not an output of a layer before it")
        if not line.inputs and line.kind != "MemoryData":
            raise FileError(f"{line.name} has no input; every layer but Input and MemoryData needs one")
        read = LAYERS.get(line.kind)
        if read is None:
            raise FileError(f"{line.name} is a {line.kind}, which is not read; {', '.join(LAYERS)} are")
        results = read(NcnnLayer(line, [values[name] for name in line.inputs], blob.take(line), nodes))
        if len(results) != len(line.outputs):
            raise FileError(
                f"{line.name} has {len(line.outputs)} outputs; a {line.kind} as this one has {len(results)}"
            )
        values.update(zip(line.outputs, results, strict=True))
    return _ended(lines, values, nodes)


def _ended(lines: list[Line], values: dict[str, LayerOutput], nodes: list[Node]) -> list[Node]:
    """Return the nodes, the last of which is the output of the last layer."""
    used = {name for line in lines for name in line.inputs}
    ends = [name for line in lines for name in line.outputs if name not in used]
    if len(ends) != 1 or ends != lines[-1].outputs:
        raise FileError(f"it has the outputs {', '.join(sorted(ends))}; one is needed, of the last layer")
    output = values[ends[0]]
    if output.constant is not None or output.axes != 3:
        raise FileError(f"its output {ends[0]} is not a picture with height and width; one is needed")
    if output.place == len(nodes) and nodes:
        return nodes
    return [*nodes, Node(ChannelRange(0, output.channels), (output.place,))]


def input_channels(lines: list[Line]) -> int:
    """Return the channels of the input: those that its line states, or the first convolution behind it needs.

    Raises FileError.
    """
    given = next((line for line in lines if line.kind == "Input" and line.outputs), None)
    if given is None:
        raise FileError("it has no Input; one is needed")
    stated = given.whole(2, 0)
    if stated > 0:
        return stated
    shares = {given.outputs[0]: 1}  # channels behind layers that keep or multiply them
    for line in lines:
        if not line.inputs or line.inputs[0] not in shares:
            continue
        share = shares[line.inputs[0]]
        if line.kind.removesuffix("DepthWise") in ("Convolution", "Deconvolution"):
            taps = line.whole(1, 1, least=1) * line.whole(11, line.whole(1, 1), least=1) * line.whole(0, 0, least=1)
            groups = line.whole(7, 1, least=1) if line.kind.endswith("DepthWise") else 1
            count, rest = divmod(line.whole(6, 0, least=1) * groups, taps * share)
            if not rest:
                return count
        elif line.kind == "PReLU" or line.kind in _KEEP_CHANNELS:
            shares.update(dict.fromkeys(line.outputs, share))
        elif line.kind == "Reorg":
            shares[line.outputs[0]] = share * line.whole(0, 1, least=1) ** 2
    raise FileError(
        f"it does not say how many channels {given.name} has, and no convolution reads it. Write 2=3 into its line"
    )
