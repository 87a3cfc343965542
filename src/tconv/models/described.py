"""Networks in .safetensors files: the tensors, and a description as JSON in the file's metadata.

    {"format": 1, "adds": "bicubic", "layers": [
      {"op": "conv", "weight": "0.weight", "bias": "0.bias", "padding": 2, "activation": ["prelu", "0.slopes"]},
      {"op": "conv_transpose", "weight": "1.weight", "stride": 2, "padding": 1}]}

stands under the key "tconv", or in a file of the same name that ends in .json. Weights have PyTorch's layouts. A layer
may have a "name", and "inputs": names of earlier layers, or "input"; without them it reads the layer before it. "op" is
conv, conv_transpose, add or activation; numbers in an activation may be names of tensors.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from tconv.errors import FileError, MissingExtraError, TconvError
from tconv.geometry import Geometry
from tconv.kernels.problem import Array
from tconv.models.model import Model
from tconv.models.network import Convolution, Network, Node, Pointwise, Sum

KEY = "tconv"
_WORDS = {"op", "name", "inputs", "weight", "bias", "stride", "padding", "dilation", "groups", "activation"}
_OPS = ("conv", "conv_transpose", "add", "activation")


def read(path: Path) -> Model:
    """The model in such a file. Raises FileError, ShapeError, MissingExtraError."""
    tensors, metadata = _open(path)
    beside = path.with_suffix(".json")
    if KEY not in metadata and not beside.is_file():
        raise FileError(
            f"{path} has no description of its layers. Write one into the metadata under {KEY!r}, or into {beside.name}"
        )
    try:
        try:
            described = json.loads(metadata[KEY] if KEY in metadata else beside.read_text())
        except json.JSONDecodeError as error:
            raise FileError(f"its description is no JSON: {error}") from None
        if not isinstance(described, dict):
            raise FileError("its description is no JSON object. Write {...}")
        if described["format"] != 1:
            raise FileError(f"its format is {described['format']!r}; this version of tconv reads 1")
        network, adds = Network(_nodes(described["layers"], tensors)), described.get("adds")
    except (KeyError, TypeError, ValueError, RecursionError, OSError, TconvError) as error:
        said = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise FileError(f"{path} describes no network that can be run: {said}") from None
    return Model.of(network, path.name, adds)


def _open(path: Path) -> tuple[dict[str, Array], dict[str, str]]:
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError:
        raise MissingExtraError("a .safetensors file", "safetensors", "cli") from None
    try:
        with safe_open(path, framework="numpy") as file:
            tensors = {name: np.asarray(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118  no dict
            metadata = dict(file.metadata() or {})
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise FileError(f"{path} is damaged or no .safetensors file: {error}") from None
    for name, tensor in tensors.items():
        if tensor.dtype.kind != "f":
            raise FileError(f"{path}: {name} has dtype {tensor.dtype}; floats are needed. Write it as float32")
        with np.errstate(over="ignore"):
            tensors[name] = tensor.astype(np.float32)
        if not np.isfinite(tensors[name]).all():
            raise FileError(f"{path}: {name} holds inf or NaN in float32; weights are numbers. Write it anew")
    return tensors, metadata


def _nodes(layers: Any, tensors: dict[str, Array]) -> list[Node]:
    if not isinstance(layers, list) or not all(isinstance(layer, dict) for layer in layers):
        raise FileError("layers must be a list of objects")
    places = {"input": 0}
    nodes = []
    for number, layer in enumerate(layers, 1):
        if unknown := set(layer) - _WORDS:
            raise FileError(f"layer {number} has {sorted(unknown)}; {', '.join(sorted(_WORDS))} are known")
        names = layer.get("inputs")
        try:
            inputs = (number - 1,) if names is None else tuple(places[name] for name in names)
        except KeyError as missing:
            raise FileError(f"layer {number} reads {missing}, which no layer before it is called") from None
        nodes.append(Node(_step(number, layer, tensors), inputs))
        name = layer.get("name", f"{number}")
        if name in places:
            raise FileError(f"layer {number} is called {name!r}, as is what another makes. Write a name of its own")
        places[name] = number
    return nodes


def _step(number: int, layer: dict[str, Any], tensors: dict[str, Array]) -> Convolution | Sum | Pointwise:
    op = layer["op"]
    activation = _activation(layer.get("activation"), tensors)
    if op == "add":
        if activation is not None:
            raise FileError(f"layer {number} adds, and has an activation. Write that as a layer behind it")
        return Sum()
    if op == "activation":
        return Pointwise(activation)
    if op not in _OPS:
        raise FileError(f"layer {number} is {op!r}; one of {', '.join(_OPS)} is needed")
    weight = _tensor(tensors, layer["weight"], 4)
    bias = None if layer.get("bias") is None else _tensor(tensors, layer["bias"], 1)
    padding, dilation, groups = layer.get("padding", 0), layer.get("dilation", 1), layer.get("groups", 1)
    if op == "conv":
        if layer.get("stride", 1) != 1:
            raise FileError(f"layer {number} is a convolution of stride {layer['stride']}; only 1 keeps the size")
        return Convolution.ordinary(weight, bias, padding, dilation, groups, activation)
    geometry = Geometry(weight.shape[2:], layer.get("stride", 1), padding, dilation, groups)
    return Convolution(weight, geometry, bias, activation)


def _tensor(tensors: dict[str, Array], name: str, axes: int) -> Array:
    if name not in tensors:
        raise FileError(f"there is no tensor {name!r}; there are {', '.join(tensors)}")
    if tensors[name].ndim != axes:
        raise FileError(f"{name} has shape {tensors[name].shape}; {axes} axes are needed")
    return tensors[name]


def _activation(given: Any, tensors: dict[str, Array]) -> Any:
    """As `tconv.prepare` takes it: a name, or a tuple of a name and numbers."""
    if given is None or isinstance(given, str):
        return given
    return tuple(_tensor(tensors, part, 1) if part in tensors else part for part in given)
