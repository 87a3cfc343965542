"""Reader of networks in .safetensors files: tensors, and a description as JSON in the file's metadata.

The description

    {"format": 1, "adds": "bicubic", "layers": [
      {"op": "conv", "weight": "0.weight", "bias": "0.bias", "padding": 2, "activation": ["prelu", "0.slopes"]},
      {"op": "conv_transpose", "weight": "1.weight", "stride": 2, "padding": 1}]}

is the value of the key "tconv", or a file of the same name that ends in .json. Weights have PyTorch's layouts. A layer
may have a "name", and "inputs": names of earlier layers, or "input"; without them it reads the layer before it. "op" is
one of `described_layers.OPS`; numbers in an activation may be names of tensors. "range" (the numbers of black and
white) and "order" (of the colours, RGB or BGR) say which pictures the network takes, "channels" how many it reads where
the first convolution does not show that.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from tconv._arguments import int_of
from tconv._arrays import Array
from tconv.errors import FileError, MissingExtraError, TconvError
from tconv.models.image_model import Model
from tconv.models.layers import Node
from tconv.models.network import Network
from tconv.models.readers import checkpoint
from tconv.models.readers.described_layers import step_of
from tconv.models.readers.described_values import given, text_of
from tconv.models.simplification import simplified
from tconv.models.simplification.graph import input_channels

KEY = "tconv"


def read(path: Path) -> Model:
    """Return the model in a .safetensors file. Raises FileError, ShapeError, MissingExtraError.

    A file without a description is read as a checkpoint of a known architecture.
    """
    tensors, metadata = _open(path)
    beside = path.with_suffix(".json")
    if KEY not in metadata and not beside.is_file():
        return _checkpoint(path, f"Write one into the metadata under {KEY!r}, or into {beside.name}")
    try:
        described = _json(metadata[KEY] if KEY in metadata else _text(beside))
        network, pictures = _network(described, tensors), _pictures(described)
    except TconvError as error:
        text = re.sub(r"\bnode (\d+)", r"layer \1", str(error))  # nodes that do not fit are not simplified
        raise FileError(f"{path} does not describe a network that can be run: {text}") from None
    return Model.of(network, path.name, described.get("adds"), **pictures)


def _network(described: dict[str, Any], tensors: dict[str, Array]) -> Network:
    layers = given(described, "layers", list, "a list of layers")
    if not layers:
        raise FileError("'layers' is []; at least one layer is needed")
    nodes = _nodes(layers, tensors)
    if "channels" in described:
        channels = int_of(described["channels"], "channels", 1, example='"channels": 3')
    else:
        channels = input_channels(nodes)
    return Network(simplified(nodes, channels), channels)


def _pictures(described: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of `Model.of` that say which numbers are black and white, and which channel is red."""
    result: dict[str, Any] = {}
    if "range" in described:
        limits = given(described, "range", list, "a list of two numbers")
        numbers = [n for n in limits if isinstance(n, (int, float)) and not isinstance(n, bool) and abs(n) < 1e30]
        if not len(numbers) == len(limits) == 2 or numbers[0] >= numbers[1]:
            raise FileError(
                f"its range is {text_of(limits)}; the numbers of black and white are needed. Write [0, 255]"
            )
        result["value_range"] = float(numbers[0]), float(numbers[1])
    if "order" in described:
        if described["order"] not in ("RGB", "BGR"):
            raise FileError(f'its order is {text_of(described["order"])}; "RGB" or "BGR" is needed')
        result["order"] = described["order"]
    return result


def _checkpoint(path: Path, advice: str) -> Model:
    try:
        return checkpoint.read(path, f". It has no description of its layers, either. {advice}")
    except MissingExtraError as error:
        raise FileError(
            f"{path} has no description of its layers. {advice}. Reading it as a checkpoint of a known architecture "
            f"needs more packages: {error}"
        ) from None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise FileError(f"{path.name} is not text: byte {error.start} is not valid UTF-8") from None
    except OSError as error:
        raise FileError(f"{path.name} cannot be read: {error.strerror}") from None


def _json(text: str) -> dict[str, Any]:
    try:
        described = json.loads(text)
    except json.JSONDecodeError as error:
        raise FileError(f"its description is not JSON: {error}") from None
    except (RecursionError, ValueError):  # unclosed brackets, a number of thousands of digits
        raise FileError("its description cannot be read as JSON: it is nested too deeply, or too long") from None
    if not isinstance(described, dict):
        raise FileError(f"its description is {text_of(described)}; a JSON object is needed. Write {{...}}")
    if (version := given(described, "format", object, "")) != 1:
        raise FileError(f"its format is {text_of(version)}; this version of tconv reads 1")
    return described


def _open(path: Path) -> tuple[dict[str, Array], dict[str, str]]:
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError:
        raise MissingExtraError("a .safetensors file", "safetensors", "cli") from None
    try:
        with safe_open(path, framework="numpy") as file:
            tensors = {name: np.asarray(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118  not a dict
            metadata = dict(file.metadata() or {})
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise FileError(f"{path} is damaged, or not a .safetensors file: {error}") from None
    for name, tensor in tensors.items():
        if tensor.dtype.kind != "f":
            raise FileError(f"{path}: {name} has dtype {tensor.dtype}; floats are needed. Write it as float32")
        with np.errstate(over="ignore"):
            tensors[name] = tensor.astype(np.float32)
        if not np.isfinite(tensors[name]).all():
            raise FileError(
                f"{path}: {name} contains inf or NaN in float32; finite weights are needed. Save it without them"
            )
    return tensors, metadata


def _nodes(layers: list[Any], tensors: dict[str, Array]) -> list[Node]:
    places = {"input": 0}
    nodes = []
    for number, layer in enumerate(layers, 1):
        try:
            nodes.append(_node(number, layer, tensors, places))
        except TconvError as error:
            raise FileError(f"layer {number}: {error}") from None
    return nodes


def _node(number: int, layer: Any, tensors: dict[str, Array], places: dict[str, int]) -> Node:
    """Return the node of a layer. `places` are the numbers of the nodes before it by name; its own is added."""
    if not isinstance(layer, dict):
        raise FileError(f"it is {text_of(layer)}; an object is needed. Write {{...}}")
    inputs: tuple[int, ...] = (number - 1,)
    if layer.get("inputs") is not None:
        names = given(layer, "inputs", list, "a list of names")
        if missing := [name for name in names if not isinstance(name, str) or name not in places]:
            raise FileError(f"it reads {text_of(missing[0])}, which is not the name of a layer before it")
        inputs = tuple(places[name] for name in names)
    step = step_of(layer, tensors)
    name = given({"name": f"{number}"} | layer, "name", str, "text")
    if name in places:
        raise FileError(f"its name {name!r} is already taken. Write another name")
    places[name] = number
    return Node(step, inputs)
