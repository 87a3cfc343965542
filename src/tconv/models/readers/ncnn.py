"""Reader of networks in ncnn's files, .param (text) and .bin (weights), such as waifu2x's.

A .param file is a magic number, the counts of layers and blobs, and a line for each layer: type, name, numbers of
inputs and outputs, their names, and parameters as key=value (arrays: -23300-key=length,values). A .bin file has, for
each layer in order, a flag (0 or 0x01306B47: float32 or float16), the weights, padded to 4 bytes, and a float32 bias.
Source: https://github.com/Tencent/ncnn/wiki/param-and-model-file-structure
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from tconv._arguments import shown
from tconv._arrays import Array
from tconv.errors import FileError, TconvError
from tconv.geometry import Geometry
from tconv.models.image_model import Model
from tconv.models.layers import ORDINARY, Convolution, Node
from tconv.models.network import Network
from tconv.models.readers.ncnn_weights import Blob, Section
from tconv.models.simplification import simplified
from tconv.models.steps.arithmetic import Sum
from tconv.models.steps.pointwise import Pointwise

_MAGIC = "7767517"
_ARRAY = -23300
_MOST_BYTES = 64 << 20  # of a .param file, far above that of any network
ACTIVATIONS = ("", "relu", "leaky_relu", "clip", "sigmoid", "mish", "hardswish")
"""Activations that convolutions include, by their numbers."""


class Line(NamedTuple):
    """One layer: a line of a .param file."""

    kind: str
    name: str
    inputs: list[str]
    outputs: list[str]
    numbers: dict[int, float]
    lists: dict[int, list[float]]

    def whole(self, key: int, usual: int, least: int | None = None) -> int:
        """Return the integer of a key. Raises FileError for a fraction, or a number below `least`."""
        given = self.numbers.get(key, usual)
        if not float(given).is_integer():
            raise FileError(f"{self.name} has {key}={given:g}; an integer is needed")
        if least is not None and given < least:
            raise FileError(f"{self.name} has {key}={given:g}; at least {least} is needed")
        return int(given)


def read(path: Path) -> Model:
    """Return the model in a .param file and the .bin file beside it. Raises FileError, ShapeError."""
    weights = weights_beside(path)
    try:
        lines = read_lines(path)
        blob = Blob(weights.read_bytes())
        nodes = _nodes(lines, blob)
        if blob.left:
            raise FileError(f"{weights.name} has {blob.left} bytes more than the layers need")
        network = Network(simplified(nodes))
    except FileError as error:
        raise FileError(f"{path} is not a network that can be run: {error}") from None
    except TconvError as error:
        raise type(error)(f"{path}: {error}") from None
    except OSError as error:
        raise FileError(f"{error.filename} cannot be read: {error.strerror}") from None
    return Model.of(network, path.name)


def weights_beside(path: Path) -> Path:
    """Return the .bin file beside a .param file. Raises FileError if there is none."""
    weights = path.with_suffix(".bin")
    if not weights.is_file():
        raise FileError(f"{path} needs {weights.name} beside it, which does not exist. Put both into one directory")
    return weights


def read_lines(path: Path) -> list[Line]:
    """Return the layers of a .param file. Raises FileError, OSError."""
    if path.stat().st_size > _MOST_BYTES:
        raise FileError(f"it has {path.stat().st_size} bytes, more than the lines of a network")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise FileError(f"it is not text: byte {error.start} is not valid UTF-8") from None
    rows = [row.split() for row in text.splitlines() if row.strip()]
    if not rows or rows[0] != [_MAGIC]:
        raise FileError(f"it does not begin with {_MAGIC}, as ncnn's text files do")
    if len(rows) < 3 or len(rows[1]) != 2 or not rows[1][0].isdecimal():
        raise FileError("it breaks off, or its second line is not two numbers, of layers and blobs")
    if int(rows[1][0]) != len(rows) - 2:
        raise FileError(f"its second line states {rows[1][0]} layers, and it has {len(rows) - 2}")
    return [_line(row) for row in rows[2:]]


def _line(row: list[str]) -> Line:
    numbers: dict[int, float] = {}
    lists: dict[int, list[float]] = {}
    try:
        kind, name, inputs, outputs = row[0], row[1], int(row[2]), int(row[3])
        ends = 4 + inputs, 4 + inputs + outputs
        if min(inputs, outputs) < 0 or ends[1] > len(row):
            raise ValueError
        for entry in row[ends[1] :]:
            key, value = entry.split("=")
            if int(key) <= _ARRAY:
                lists[_ARRAY - int(key)] = [float(part) for part in value.split(",")[1:]]
            else:
                numbers[int(key)] = float(value)
    except (ValueError, IndexError):
        fields = "type, name, the numbers of inputs and outputs, their names, and key=value"
        raise FileError(f"its line {shown(' '.join(row))} is not a layer; {fields} are needed") from None
    return Line(kind, name, row[4 : ends[0]], row[ends[0] : ends[1]], numbers, lists)


def _floats(section: Section) -> Array:
    """Return float32 or float16 numbers. Raises FileError for others, and for inf and NaN."""
    if section.dtype not in ("float32", "float16"):
        raise FileError(f"its weights have the type 0x{section.tag:08x}; float32 and float16 are read")
    taken = section.read()
    if not np.isfinite(taken).all():
        raise FileError("its weights contain inf or NaN")
    return taken


def _nodes(lines: list[Line], blob: Blob) -> list[Node]:
    places: dict[str, int] = {}
    nodes: list[Node] = []
    for line in lines:
        if not line.outputs:
            raise FileError(f"{line.name} has no output; every layer needs one")
        if line.kind == "Input":
            if places:
                raise FileError("it has several inputs; one is needed")
            places[line.outputs[0]] = 0
            continue
        if missing := [name for name in line.inputs if name not in places]:
            raise FileError(f"{line.name} reads {missing[0]!r}, which is not an output of a layer before it")
        inputs = tuple(places[name] for name in line.inputs)
        if not inputs:
            raise FileError(f"{line.name} has no input; every layer but Input needs one")
        if line.kind == "Split":
            places.update(dict.fromkeys(line.outputs, inputs[0]))
            continue
        nodes.append(Node(_step(line, blob), inputs))
        activation = _activation(line) if "onvolution" in line.kind else None
        if activation is not None:
            nodes.append(Node(Pointwise(activation), (len(nodes),)))
        places[line.outputs[0]] = len(nodes)
    ends = {name for line in lines for name in line.outputs} - {name for line in lines for name in line.inputs}
    if ends != set(lines[-1].outputs):
        raise FileError(f"it has the outputs {', '.join(sorted(ends))}; one is needed, of the last layer")
    return nodes


def _step(line: Line, blob: Blob) -> Convolution | Sum | Pointwise:
    if line.kind in ("Convolution", "ConvolutionDepthWise", "Deconvolution", "DeconvolutionDepthWise"):
        return _convolution(line, blob)
    if line.kind == "ReLU":
        slope = line.numbers.get(0, 0.0)
        return Pointwise(("leaky_relu", slope) if slope else "relu")
    if line.kind == "PReLU":
        return Pointwise(("prelu", _slopes(line, blob)))
    if line.kind == "Clip":
        return Pointwise(("clamp", line.numbers.get(0, -np.inf), line.numbers.get(1, np.inf)))
    sums = (line.kind, line.whole(0, 0)) in (("BinaryOp", 0), ("Eltwise", 1))
    if sums and len(line.inputs) == 2 and set(line.lists.get(1, [])) <= {1.0}:
        return Sum()
    raise FileError(
        f"{line.name} is a {line.kind}; Convolution, Deconvolution, ReLU, PReLU, Clip, Split and sums are read"
    )


def _slopes(line: Line, blob: Blob) -> Array:
    line.whole(0, 0, least=1)
    return _floats(blob.take(line)["slope"])


def _convolution(line: Line, blob: Blob) -> Convolution:
    out, wide = line.whole(0, 0, least=1), line.whole(1, 1, least=1)
    kernel = line.whole(11, wide, least=1), wide
    dilation = line.whole(12, line.whole(2, 1), least=1), line.whole(2, 1, least=1)
    stride = line.whole(13, line.whole(3, 1), least=1), line.whole(3, 1, least=1)
    left, top = line.whole(4, 0), line.whole(14, line.whole(4, 0))
    crop = (top, line.whole(16, top)), (left, line.whole(15, left))
    if min(min(pair) for pair in crop) < 0:
        raise FileError(
            f"{line.name} has a padding of {left}, a rule of another framework; numbers from 0 up are needed"
        )
    groups = line.whole(7, 1, least=1)
    count = line.whole(6, 0, least=1)
    into = count // (out * kernel[0] * kernel[1]) * groups
    if count * groups != into * out * kernel[0] * kernel[1] or out % groups:
        raise FileError(
            f"{line.name} has {count} weights, which do not fit {out} channels of {kernel[0]} x {kernel[1]} taps in "
            f"{groups} groups"
        )
    sections = blob.take(line)
    if "weight" not in sections:
        raise FileError(f"{line.name} has a weight that is an input; one in the file is needed")
    weight = _floats(sections["weight"])
    bias = _floats(sections["bias"]) if "bias" in sections else None
    if line.kind.startswith("Convolution"):
        if stride != (1, 1):
            raise FileError(f"{line.name} is a convolution of stride {stride}; {ORDINARY}")
        if line.numbers.get(18, 0.0):
            raise FileError(f"{line.name} pads with {line.numbers[18]}; only 0 is read")
        return Convolution.ordinary(weight.reshape(out, into // groups, *kernel), bias, crop, dilation, groups)
    if any(line.whole(key, 0) for key in (18, 19, 20, 21)):
        raise FileError(f"{line.name} has an output padding or an output size, which are not read")
    # a Deconvolution's weight is [groups, C_out/g, C_in/g, kh, kw]
    by_group = weight.reshape(groups, out // groups, into // groups, *kernel)
    canonical = np.ascontiguousarray(np.moveaxis(by_group, 2, 1)).reshape(into, out // groups, *kernel)
    return Convolution(canonical, Geometry(kernel, stride, crop, dilation, groups), bias)


def _activation(line: Line) -> object:
    """Return the activation that a convolution includes (key 9, numbers in key 10)."""
    kind, numbers = line.whole(9, 0), line.lists.get(10, [])
    if kind == 0:
        return None
    if kind == 1:
        return "relu"
    if kind == 2 and len(numbers) == 1:
        return "leaky_relu", numbers[0]
    if kind == 3 and len(numbers) == 2:
        return "clamp", numbers[0], numbers[1]
    text = f"activation {kind}, with {len(numbers)} numbers"
    raise FileError(f"{line.name} has {text}; 1 (ReLU), 2 (leaky, 1 number) and 3 (clip, 2 numbers) are read")
