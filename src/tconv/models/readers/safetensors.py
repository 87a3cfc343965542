"""Reader of networks in .safetensors files: tensors, and a description as JSON in the file's metadata.

The description

    {"format": 1, "adds": "bicubic", "layers": [
      {"op": "conv", "weight": "0.weight", "bias": "0.bias", "padding": 2, "activation": ["prelu", "0.slopes"]},
      {"op": "conv_transpose", "weight": "1.weight", "stride": 2, "padding": 1}]}

is the value of the key "tconv", or a file of the same name that ends in .json. Weights have PyTorch's layouts. A layer
may have a "name", and "inputs": names of earlier layers, or "input"; without them it reads the layer before it. "op" is
conv, conv_transpose, add or activation; numbers in an activation may be names of tensors.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from tconv._arguments import int_of, ints_of, pairs_of, shown
from tconv._arrays import Array
from tconv.errors import ArgumentError, FileError, MissingExtraError, TconvError
from tconv.geometry import Geometry
from tconv.kernels.activation import activation_of
from tconv.models.image_model import Model
from tconv.models.layers import ORDINARY, Convolution, Node
from tconv.models.network import Network
from tconv.models.readers import checkpoint
from tconv.models.steps.arithmetic import Sum
from tconv.models.steps.pointwise import Pointwise

KEY = "tconv"
_KEYS = {"op", "name", "inputs", "weight", "bias", "stride", "padding", "dilation", "groups", "activation"}
_OPS = ("conv", "conv_transpose", "add", "activation")
_FORMS = '"relu", "relu6", ["clamp", low, high], ["leaky_relu", slope] or ["prelu", slopes]'


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
        network, adds = (
            Network(_nodes(_given(described, "layers", list, "a list of layers"), tensors)),
            described.get("adds"),
        )
    except TconvError as error:
        raise FileError(f"{path} does not describe a network that can be run: {error}") from None
    return Model.of(network, path.name, adds)


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
        raise FileError(f"its description is {_text_of(described)}; a JSON object is needed. Write {{...}}")
    if (version := _given(described, "format", object, "")) != 1:
        raise FileError(f"its format is {_text_of(version)}; this version of tconv reads 1")
    return described


def _text_of(value: Any) -> str:
    """Return a value as the description writes it."""
    return shown(value) if isinstance(value, str) else json.dumps(value)[:100]


def _given(values: dict[str, Any], key: str, kind: Any, needed: str) -> Any:
    """Return the value of a key. Raises FileError if it is missing or of another type."""
    if key not in values:
        raise FileError(f"{key!r} is missing")
    if not isinstance(values[key], kind):
        raise FileError(f"{key!r} is {_text_of(values[key])}; {needed} is needed")
    return values[key]


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
        raise FileError(f"it is {_text_of(layer)}; an object is needed. Write {{...}}")
    if unknown := set(layer) - _KEYS:
        raise FileError(f"it has {', '.join(map(repr, sorted(unknown)))}; {', '.join(sorted(_KEYS))} are known")
    inputs: tuple[int, ...] = (number - 1,)
    if layer.get("inputs") is not None:
        names = _given(layer, "inputs", list, "a list of names")
        if missing := [name for name in names if not isinstance(name, str) or name not in places]:
            raise FileError(f"it reads {_text_of(missing[0])}, which is not the name of a layer before it")
        inputs = tuple(places[name] for name in names)
    step = _step(layer, tensors)
    name = _given({"name": f"{number}"} | layer, "name", str, "text")
    if name in places:
        raise FileError(f"its name {name!r} is already taken. Write another name")
    places[name] = number
    return Node(step, inputs)


def _step(layer: dict[str, Any], tensors: dict[str, Array]) -> Convolution | Sum | Pointwise:
    op = _given(layer, "op", object, "")
    if op not in _OPS:
        raise FileError(f"its op is {_text_of(op)}; one of {', '.join(_OPS)} is needed")
    if op == "add":
        if layer.get("activation") is not None:
            raise FileError("it is a sum with an activation. Write the activation as a layer after it")
        return Sum()
    if op == "activation":
        return Pointwise(_activation(layer, tensors))
    weight = _tensor(tensors, _given(layer, "weight", str, "the name of a tensor"), 4)
    bias = None if layer.get("bias") is None else _tensor(tensors, _given(layer, "bias", str, "a name"), 1)
    padding = pairs_of(layer.get("padding", 0), "padding", 2, example='"padding": [[1, 1], [1, 1]]')
    stride, dilation = (
        ints_of(layer.get(key, 1), key, 2, least=1, example=f'"{key}": [1, 1]') for key in ("stride", "dilation")
    )
    groups = int_of(layer.get("groups", 1), "groups", 1, example='"groups": 1')
    into, out = weight.shape[:2] if op == "conv_transpose" else (groups * weight.shape[1], weight.shape[0])
    if (out if op == "conv" else into) % groups:
        raise FileError(f"its weight has shape {weight.shape}; {groups} groups do not divide it")
    activation = _activation(layer, tensors, out * groups if op == "conv_transpose" else out)
    if op == "conv_transpose":
        return Convolution(weight, Geometry(weight.shape[2:], stride, padding, dilation, groups), bias, activation)
    if stride != (1, 1):
        raise FileError(f"it is a convolution of stride {_text_of(layer['stride'])}; {ORDINARY}")
    return Convolution.ordinary(weight, bias, padding, dilation, groups, activation)


def _tensor(tensors: dict[str, Array], name: str, axes: int) -> Array:
    if name not in tensors:
        raise FileError(f"there is no tensor {name!r}; there are {shown(', '.join(tensors))[1:-1]}")
    if tensors[name].ndim != axes:
        raise FileError(f"{name} has shape {tensors[name].shape}; {axes} axes are needed")
    if 0 in tensors[name].shape:
        raise FileError(f"{name} has shape {tensors[name].shape}, which is empty")
    return tensors[name]


def _activation(layer: dict[str, Any], tensors: dict[str, Array], channels: int | None = None) -> Any:
    """Return a layer's activation for `tconv.prepare`: a name, or a tuple of a name and numbers.

    `channels` are those that it applies to, if they are known here. Raises FileError.
    """
    given = layer.get("activation")
    activation: Any = given
    if given is not None and not isinstance(given, str):
        name, *numbers = _given(layer, "activation", list, "a name, or a list of a name and numbers,") or [None]
        activation = (name, *(_tensor(tensors, part, 1) if isinstance(part, str) else part for part in numbers))
    if channels is None:  # the network knows them
        channels = max([1, *(part.size for part in activation if isinstance(part, np.ndarray))]) if activation else 1
    try:
        activation_of(activation, channels)
    except ArgumentError:
        raise FileError(
            f"its activation is {_text_of(given)}; {_FORMS}, with one slope or {channels}, is needed"
        ) from None
    return activation
