"""Inventory of an ncnn network: a .param file, and the .bin file beside it.

Transposed convolutions are Deconvolution and DeconvolutionDepthWise with their 1D and 3D forms, and Convolution before
PixelShuffle.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.dialects.ncnn import read_parameters
from tconv.errors import FileError
from tconv.models.inventory.model_layer import ModelInput, ModelInventory, ModelLayer, Quantization, Size, StoredArray
from tconv.models.inventory.operation_graph import Operation, OperationGraph
from tconv.models.inventory.other_forms import OrdinaryConvolution, of_depth_to_space, same_pads
from tconv.models.readers.flatbuffer import mapped
from tconv.models.readers.ncnn.param_file import ACTIVATIONS, Line, read_lines, weights_beside
from tconv.models.readers.ncnn.stored_weights import Blob, Section, UnknownLayerError

_TRANSPOSED = "Deconvolution"
_BEFORE_SHUFFLE = ("Convolution", "ConvolutionDepthWise")
_SAME = {-233: True, -234: False}  # True for the larger half of an odd total behind the last element
_HINTS = 30  # parameter with the shapes of the outputs: axes, w, h, c of each


def read(path: Path) -> ModelInventory:
    """Return the inventory of a .param file and its .bin file. Nothing is run. Raises FileError."""
    weights = weights_beside(path)
    try:
        lines = read_lines(path)
        data = mapped(weights) if weights.stat().st_size else b""
        return _Network(path.name, lines, data).inventory()
    except FileError as error:
        raise FileError(f"{path} is not a network of ncnn: {error}. Write both files again") from None
    except OSError as error:
        raise FileError(f"{error.filename} cannot be read: {error.strerror}") from None


class _Network:
    def __init__(self, name: str, lines: list[Line], data: Any) -> None:
        self._name, self._lines = name, lines
        self._sections, self._limitations = _sections(lines, data)
        self._alias: dict[str, str] = {}
        constants = {}
        operations = []
        self._line_of: dict[int, Line] = {}
        for line in lines:
            if line.kind == "Split" and line.inputs:
                self._alias.update(dict.fromkeys(line.outputs, self._resolved(line.inputs[0])))
                continue
            if line.kind == "Input":
                continue
            if line.kind == "MemoryData" and len(line.outputs) == 1 and (found := self._section(line, "data")):
                constants[line.outputs[0]] = _stored(found, _memory_shape(line))
                continue
            operation = self._operation(line, constants)
            self._line_of[id(operation)] = line
            operations.append(operation)
        self._constants = constants
        self._makers = {name: line for line in reversed(lines) for name in line.outputs}
        read = {self._resolved(name) for line in lines for name in line.inputs}
        self._ends = [name for line in lines for name in line.outputs if name not in read and line.kind != "Split"]
        self._graph = OperationGraph(operations, self._ends)

    def _resolved(self, name: str) -> str:
        """Return the value that a name stands for: the copies of a Split are all the same."""
        return self._alias.get(name, name)

    def _section(self, line: Line, role: str) -> Section | None:
        return self._sections.get(id(line), {}).get(role)

    def _operation(self, line: Line, known: Mapping[str, StoredArray]) -> Operation:
        constants = {
            role: _stored(section, (section.count,)) for role, section in self._sections.get(id(line), {}).items()
        }
        names = [self._resolved(name) for name in line.inputs]
        constants.update(("other", known[name]) for name in names if name in known)
        attributes: dict[str, Any] = {
            str(key): int(value) if float(value).is_integer() else value for key, value in line.numbers.items()
        }
        attributes |= {str(key): value for key, value in line.lists.items()}
        if line.kind == "BatchNorm":
            attributes["epsilon"] = line.numbers.get(1, 0.0)
        inputs = tuple(name for name in names if name not in known)
        return Operation(line.kind, line.name, inputs, tuple(line.outputs), attributes, constants)

    def inventory(self) -> ModelInventory:
        """Return the inventory."""
        layers = []
        for place, line in enumerate(self._lines):
            if line.kind.startswith(_TRANSPOSED) and line.inputs and line.outputs:
                layers.append(self._layer(place, line, self._transposed(line), line.inputs[0], line.outputs[0]))
            elif line.kind in _BEFORE_SHUFFLE and line.inputs and line.outputs:
                shuffle = self._graph.only_reader(line.outputs[0])
                if shuffle is not None and shuffle.op == "PixelShuffle" and shuffle.outputs:
                    made = self._shuffled(line, self._line_of[id(shuffle)])
                    if made is not None:
                        layers.append(self._layer(place, line, made, line.inputs[0], shuffle.outputs[0]))
        return ModelInventory(
            source=self._name,
            format="ncnn",
            layers=tuple(layers),
            inputs=tuple(ModelInput(line.outputs[0], _hint(line)) for line in self._lines if _is_input(line)),
            outputs=tuple(ModelInput(name, None) for name in self._ends),
            operations=Counter(line.kind for line in self._lines),
            limitations=self._limitations,
        )

    def _layer(self, place: int, line: Line, made: dict[str, Any], x: str, y: str) -> ModelLayer:
        ndim = _ndim(line)
        source = self._makers.get(x)
        made = {"dialect": "ncnn", "op": line.kind, **made}
        channels = made.pop("channels")
        shape = None if source is None else _hint(source, x)
        if shape is None or len(shape) != ndim + 1 or shape[0] not in (channels[0], None):
            shape = (channels[0], *[None] * ndim)
        large = _hint(line, y)
        if large is None or len(large) != ndim + 1 or made["op"] != line.kind:
            large = (channels[1], *[None] * ndim)
        if made["dialect"] == "torch":
            shape, large = (1, *shape), (1, *large)
        return ModelLayer(
            name=line.name,
            place=f"layer {place} of {len(self._lines)}",
            input_shape=shape,
            output_shape=large,
            activation=_activation(line),
            before=self._graph.before(self._resolved(x)),
            after=self._graph.after(y),
            location={"line": place + 3},
            **made,
        )

    # -- the layers ---------------------------------------------------------------------------------------------

    def _transposed(self, line: Line) -> dict[str, Any]:
        ndim = _ndim(line)
        numbers = {key: line.whole(key, 0) for key in line.numbers}
        if "DepthWise" not in line.kind:
            numbers[7] = 1
        kernel, _, arguments = read_parameters(numbers, ndim)
        out, groups, bias = line.whole(0, 0, least=1), arguments["group"], self._section(line, "bias")
        taps, limitations = math.prod(kernel), []
        if groups < 1 or out % groups or min(kernel) < 1:
            raise FileError(f"{line.name} has {out} channels in {groups} groups and a kernel {kernel}")
        made: dict[str, Any] = {"arguments": arguments, "weight": None, "crop_origin": _crop_origin(arguments)}
        if line.whole(28, 0) and ndim < 3:
            arguments["dynamic_weight"] = 1
            given = [self._constants.get(self._resolved(name)) for name in line.inputs[1:3]] + [None, None]
            made |= {"weight": given[0], "bias": given[1], "channels": (None, out)}
            if given[0] is None:
                limitations.append("Its weight is an input of the layer, computed when the network runs")
            elif len(given[0].shape) == ndim + 2:
                made["channels"] = (given[0].shape[0], out)
            return {**made, "limitations": tuple(limitations)}
        per_group, rest = divmod(line.whole(6, 0), out * taps)
        if rest or not per_group:
            raise FileError(f"{line.name} has {line.whole(6, 0)} weights, which do not fit {out} channels of {kernel}")
        section = self._section(line, "weight")
        if section is None:
            limitations.append("Its weight was not found: a layer before it stores an amount that is not known")
        elif section.dtype == "int8":
            limitations.append("Its weight is int8 without scales, which ncnn does not compute with")
        else:
            made["weight"] = _stored(section, (out, per_group, *kernel))
        made["bias"] = None if bias is None else _stored(bias, (out,))
        return {**made, "limitations": tuple(limitations), "channels": (per_group * groups, out)}

    def _shuffled(self, line: Line, shuffle: Line) -> dict[str, Any] | None:
        """Return a convolution and a pixel shuffle as a transposed convolution; None if they are none."""
        out, wide = line.whole(0, 0), line.whole(1, 0)
        kernel = line.whole(11, wide), wide
        dilation = line.whole(12, line.whole(2, 1)), line.whole(2, 1)
        stride = line.whole(13, line.whole(3, 1)), line.whole(3, 1)
        block = line.whole(0, 1) if shuffle is line else shuffle.whole(0, 1)
        groups = line.whole(7, 1) if line.kind.endswith("DepthWise") else 1
        section, bias = self._section(line, "weight"), self._section(line, "bias")
        if section is None or min(*kernel, *dilation, out, groups, block - 1) < 1 or stride != (1, 1) or out % groups:
            return None
        per_group, rest = divmod(section.count, out * math.prod(kernel))
        pads = _pads(line, kernel, dilation)
        padded = pads is not None and any(map(any, pads))
        if rest or not per_group or pads is None or (padded and line.numbers.get(18, 0.0)):
            return None
        scales = self._section(line, "weight scales")
        if section.dtype == "int8" and scales is None:
            return None
        weight = _stored(section, (out, per_group, *kernel), scales if section.dtype == "int8" else None)
        given = OrdinaryConvolution(
            "torch", weight, None if bias is None else _stored(bias, (out,)), pads, dilation, groups
        )
        order = "DCR" if shuffle.whole(1, 0) else "CRD"
        made = of_depth_to_space(given, (block, block), order)
        if made is None:
            return None
        return {
            "dialect": "torch",
            "arguments": made.arguments,
            "weight": made.weight,
            "bias": made.bias,
            "limitations": made.limitations,
            "form": "convolution and depth to space",
            "op": f"{line.kind} + PixelShuffle",
            "channels": (per_group * groups, out // block**2),
            "crop_origin": "pads of the convolution",
        }


def _sections(lines: list[Line], data: Any) -> tuple[dict[int, dict[str, Section]], tuple[str, ...]]:
    """Return the sections of all layers, as far as they are known, and what is not."""
    blob, found = Blob(data), {}
    blob.refuse_cut_off(lines)
    for line in lines:
        try:
            found[id(line)] = blob.take(line)
        except UnknownLayerError as error:
            return found, (f"{error}; the weights of the layers behind it are not read",)
    if blob.left:
        return found, (f"The .bin file has {blob.left} bytes more than the layers need, which ncnn does not read",)
    return found, ()


def _stored(section: Section, shape: tuple[int, ...], scales: Section | None = None) -> StoredArray:
    def read() -> Array:
        values = section.read().reshape(shape)
        if scales is None:
            return values
        factors = scales.read().repeat(shape[0] // scales.count)
        return (values / factors.reshape(-1, *[1] * (len(shape) - 1))).astype(np.float32)

    read_it: Callable[[], Array] = read
    quantization = None
    if scales is not None and scales.count and shape[0] % scales.count == 0:
        each = (1 / scales.read().repeat(shape[0] // scales.count)).astype(np.float32)
        quantization = Quantization("int8", 0, each, np.zeros(len(each), np.int64))
    dtype = "int8" if section.dtype == "int8" else "float32"
    stored = "uint8, one of 256 float32" if section.dtype == "uint8" else section.dtype
    return StoredArray(shape, dtype, read_it, nbytes=section.nbytes, quantization=quantization, stored_dtype=stored)


def _ndim(line: Line) -> int:
    return 1 if line.kind.endswith("1D") else 3 if line.kind.endswith("3D") else 2


def _is_input(line: Line) -> bool:
    return line.kind == "Input" and bool(line.outputs)


def _memory_shape(line: Line) -> tuple[int, ...]:
    sizes = [line.whole(key, 0) for key in (2, 11, 1, 0)]
    return tuple(size for size in sizes if size)


def _hint(line: Line, name: str = "") -> tuple[Size, ...] | None:
    """Return the shape that a line states of an output, [C, (d,) h, w]; None if it states none."""
    hints = line.lists.get(_HINTS, [])
    at = 4 * (line.outputs.index(name) if name in line.outputs else 0)
    if len(hints) >= at + 4 and all(each.is_integer() and each >= 0 for each in hints[at : at + 4]):
        axes, *sizes = (int(each) for each in hints[at : at + 4])
        return tuple(reversed(sizes[:axes])) if 1 <= axes <= 3 else None
    if line.kind == "Input":
        w, h, c, d = (line.whole(key, 0) for key in (0, 1, 2, 11))
        sizes = [size for size in (c, d, h, w) if size]
        return tuple(sizes) if sizes and min(sizes) > 0 else None
    return None


def _activation(line: Line) -> str:
    number = line.whole(9, 0)
    return ACTIVATIONS[number] if 0 <= number < len(ACTIVATIONS) else f"activation {number}"


def _crop_origin(arguments: Mapping[str, Any]) -> str:
    pads = [value for name, value in arguments.items() if name.startswith("pad_")]
    extended = any(value for name, value in arguments.items() if name.startswith("output_pad"))
    sized = any(value for name, value in arguments.items() if name in ("output_w", "output_h", "output_d"))
    if max(pads, default=0) <= 0 and sized:
        return "output_w" if "output_h" not in arguments else "output_w and output_h"
    return "pads and output_pad" if extended else "pads"


def _pads(line: Line, kernel: tuple[int, int], dilation: tuple[int, int]) -> list[tuple[int, int]] | None:
    """Return the pads of a convolution; None for a rule that is not known."""
    left, top = line.whole(4, 0), line.whole(14, line.whole(4, 0))
    pads = [(top, line.whole(16, top)), (left, line.whole(15, left))]
    sides = {side for pair in pads for side in pair}
    if min(sides) >= 0:
        return pads
    if len(sides) > 1 or not sides <= _SAME.keys():
        return None
    return same_pads(kernel, dilation, upper=_SAME[sides.pop()])
