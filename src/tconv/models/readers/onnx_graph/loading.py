"""Loading of ONNX files as graphs of onnx_ir: checked, with bounded time and memory, weights left on the disk.

Data that lies in other files has to lie in the model's folder. Functions of the file are put in place of their calls.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tconv.errors import FileError, MissingExtraError
from tconv.models.readers.onnx_graph.functions import inlined, sort_nodes
from tconv.models.readers.onnx_graph.nodes import all_nodes
from tconv.models.readers.onnx_graph.stored import set_places
from tconv.models.readers.onnx_graph.wire_format import without_data

MOST_NODES = 100_000
"""Most nodes of a graph that is read, those of inner graphs and of its functions, in place of their calls, included."""


def load(path: Path) -> tuple[Any, tuple[str, ...]]:
    """Return the model of onnx_ir in a file, and limitations as sentences. Raises FileError, MissingExtraError."""
    try:
        import onnx
        import onnx_ir
    except ImportError as error:
        package = "onnx_ir" if "onnx_ir" in str(error) else "onnx"
        raise MissingExtraError("a .onnx file", package.replace("_", "-"), "onnx") from None
    if not path.is_file():
        raise FileError(f"{path} does not exist, or is not a file. Write the name of a .onnx file")
    try:
        proto = onnx.ModelProto.FromString(without_data(path, MOST_NODES))
        if not proto.graph.node:
            raise FileError("it has no nodes")
        with _quiet():
            model = onnx_ir.serde.deserialize_model(proto)
        _refuse_bytes(model)
        model, limitations = inlined(model, MOST_NODES)
        limitations += sort_nodes(model)
        set_places(path, model)
    except FileError as error:
        raise FileError(f"{path} cannot be read: {error}") from None
    except RecursionError:
        raise FileError(f"{path} cannot be read: its graphs are nested too deeply") from None
    except Exception as error:  # protobuf and onnx_ir raise many kinds over damaged bytes
        raise damaged(path, error) from None
    return model, limitations


def damaged(path: Path, error: BaseException) -> FileError:
    """Return the error for a file over which onnx or protobuf has raised another one."""
    while (inner := error.__cause__ or error.__context__) is not None:  # the first one tells the reason
        error = inner
    text = " ".join(str(error).split())[:200] or type(error).__name__
    if isinstance(error, NotImplementedError):
        return FileError(f"{path} cannot be read: {text}. Write a file without that")
    return FileError(
        f"{path} is damaged or not an ONNX model: {text}. It may be a page, or a part of a download: download it "
        "again. Write onnx.save(model, name) with the whole model if it is yours"
    )


def _refuse_bytes(model: Any) -> None:
    """Raise FileError for names that are no text: protobuf returns the bytes of such names."""
    for graph in (model.graph, *model.functions.values()):
        for node in all_nodes(graph):
            names = [node.op_type, node.domain, node.name or "", *node.attributes]
            names += [each.name or "" for each in (*node.inputs, *node.outputs) if each is not None]
            if any(isinstance(name, bytes) for name in names):
                raise FileError(f"it is damaged: its node {node.name or node.op_type!r} has a name that is no text")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Leave out the warnings of onnx_ir about names that no node computes: a reader of the graph meets them anyway."""
    logger = logging.getLogger("onnx_ir")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
