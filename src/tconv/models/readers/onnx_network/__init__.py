"""Reader of networks in ONNX files, of all exporters: convolutions, activations, arithmetic, resizes and reshapes.

`tconv.models.load` uses it for .onnx. Weights may be computed from constants, and lie in other files. Arithmetic on the
size of the picture is followed: it is computed for a few sizes, and the steps that fit all of them are taken. An
operator is an entry of a family's table; `operators` joins them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tconv.errors import FileError, TconvError
from tconv.models.image_model import Model
from tconv.models.layers import Node
from tconv.models.network import Network
from tconv.models.readers.onnx_graph import OnnxGraph, damaged, open_graph
from tconv.models.readers.onnx_network.conventions import conventions_of
from tconv.models.readers.onnx_network.reader import GraphReader
from tconv.models.simplification import simplified
from tconv.models.steps.arithmetic import Affine

_CHANNELS = (3, 1, 4, 2)
"""Channels of pictures that are tried where a file does not state those of its input."""


def read(path: Path) -> Model:
    """Return the model in a .onnx file. Raises FileError, ShapeError, MissingExtraError."""
    graph = open_graph(path)
    network, notes = _network(path, graph)
    if all(isinstance(node.step, Affine) for node in network.nodes):
        raise FileError(
            f"{path} is not a network that can be run: it only multiplies or shifts a picture's numbers. It may be a "
            "part of a download: download it again. Write onnx.save(model, name) with the whole model if it is yours"
        )
    return Model.of(network, path.name, notes=notes, **_refusing(path, conventions_of, graph))


def network_of(path: Path) -> tuple[Network, tuple[str, ...]]:
    """Return the network in a .onnx file, and what its report should say, as sentences."""
    return _network(path, open_graph(path))


def _network(path: Path, graph: OnnxGraph) -> tuple[Network, tuple[str, ...]]:
    nodes, channels, notes = _refusing(path, nodes_of, graph)
    return _refusing(path, Network, simplified(nodes, channels), channels), notes


def _refusing(path: Path, function: Callable[..., Any], *arguments: Any) -> Any:
    """Return what a function returns; its errors name the file."""
    try:
        return function(*arguments)
    except FileError as error:
        raise FileError(f"{path} is not a network that can be run: {error}") from None
    except TconvError as error:
        raise type(error)(f"{path}: {error}") from None
    except Exception as error:  # protobuf reads some bytes late
        raise damaged(path, error) from None


def nodes_of(graph: OnnxGraph) -> tuple[list[Node], int, tuple[str, ...]]:
    """Return the nodes of a graph as the file has them, the channels of the picture, and notes."""
    first: TconvError | None = None
    for channels in _CHANNELS:
        reader = GraphReader(graph, channels)
        try:
            return reader.nodes(), reader.builder.channels[0], tuple(reader.builder.notes)
        except TconvError as error:
            first = first or error
            if reader.channels_known:
                break
    assert first is not None
    raise first
