"""ONNX files opened for rewriting, and written again with everything that was not changed as it was.

Graphs are those of onnx_ir. Weights in other files stay on the disk, and are copied beside the new file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from shutil import copyfileobj
from typing import Any

from tconv._arrays import Array
from tconv.errors import FileError, MissingExtraError
from tconv.io.output_files import NewFile

_MOST_BYTES = (1 << 31) - 1  # of one protobuf message


def need_onnx_ir() -> Any:
    """Return the package onnx_ir. Raises MissingExtraError."""
    try:
        import onnx_ir
    except ImportError:
        raise MissingExtraError("rewriting a .onnx file", "onnx-ir", "onnx") from None
    return onnx_ir


@dataclass(eq=False)
class ModelFile:
    """A model, what its file has beside the graph, and the tensors that lie in other files."""

    path: Path
    model: Any
    """Model of onnx_ir, which is changed in place."""
    opset_imports: list[Any]
    """Entries of the file, written again as they are."""
    value_infos: dict[str, Any]
    """Types and sizes that the file gives to tensors inside the main graph."""
    unread: Any = None
    """Model of protobuf with those parts alone that onnx_ir does not read."""
    external: set[str] = field(default_factory=set)
    """Names of initializers whose numbers lie in another file, and of new ones that come from such."""

    @classmethod
    def read(cls, path: Path) -> ModelFile:
        """Return the model in a file. Raises FileError, MissingExtraError."""
        onnx_ir = need_onnx_ir()
        import onnx

        if not path.exists():
            raise FileError(f"{path} does not exist. Write the name of an existing file")
        try:
            proto = onnx.load(path, load_external_data=False)
            model = onnx_ir.serde.deserialize_model(proto)
            onnx_ir.external_data.set_base_dir(model.graph, path.parent)
        except Exception as error:  # protobuf and onnx_ir raise many types over damaged bytes
            text = " ".join(str(error).split())[:200] or type(error).__name__
            raise FileError(
                f"{path} is damaged or not an ONNX model: {text}. Write onnx.save(model, name) with the whole model"
            ) from None
        if proto.graph.sparse_initializer:
            raise FileError(
                f"{path} has sparse initializers, such as {proto.graph.sparse_initializer[0].values.name!r}, which no "
                "runtime here reads, so that nothing can be compared. Write them as dense ones"
            )
        found = cls(path, model, list(proto.opset_import), {each.name: each for each in proto.graph.value_info})
        found.unread = onnx.ModelProto(training_info=proto.training_info)
        found.unread.graph.quantization_annotation.extend(proto.graph.quantization_annotation)
        found.external = {
            name
            for graph in found._graphs()
            for name, value in graph.initializers.items()
            if isinstance(value.const_value, onnx_ir.ExternalTensor)
        }
        return found

    @property
    def opset(self) -> int:
        """Version of ONNX's own operators in this file."""
        versions = self.model.opset_imports
        return int(versions.get("", versions.get("ai.onnx", 1)))

    @property
    def has_external_data(self) -> bool:
        """True if numbers of the model lie in another file, or will."""
        return any(True for _ in self._outside())

    def _graphs(self) -> list[Any]:
        return [self.model.graph, *self.model.graph.subgraphs()]

    def _outside(self) -> Iterator[tuple[Any, Callable[[Any], None]]]:
        """Yield each tensor whose numbers belong into another file, and the function that puts one in its place."""
        onnx_ir = need_onnx_ir()
        for graph in self._graphs():
            for name, value in graph.initializers.items():
                if name in self.external:
                    yield value.const_value, partial(setattr, value, "const_value")
            for node in graph:
                for name, attribute in list(node.attributes.items()):
                    if isinstance(attribute.value, onnx_ir.ExternalTensor):
                        yield attribute.value, partial(_set_attribute, node, name)

    def write(self, path: Path) -> Path | None:
        """Write the model to a new place that nothing else uses; return the file of its external data, or None.

        Raises FileError for a model that does not fit into one file.
        """
        onnx_ir = need_onnx_ir()
        graph = self.model.graph
        outside = list(self._outside())
        kept = [tensor for tensor, _ in outside]
        data = path.with_name(f"{path.name}.data") if outside else None
        try:
            if data is not None:
                moved = onnx_ir.external_data.convert_tensors_to_external(kept, path.parent, data.name)
                for (_, put), tensor in zip(outside, moved, strict=True):
                    put(tensor)
            proto = onnx_ir.to_proto(self.model)
        finally:
            for tensor, put in outside:
                put(tensor)
        # onnx_ir spells a domain in another way, and describes tensors that the file does not describe
        del proto.opset_import[:]
        proto.opset_import.extend(self.opset_imports)
        present = {value.name for node in graph for value in node.outputs}
        del proto.graph.value_info[:]
        proto.graph.value_info.extend(each for name, each in self.value_infos.items() if name in present)
        proto.MergeFrom(self.unread)
        if proto.ByteSize() > _MOST_BYTES:
            raise FileError(
                f"the rewritten {self.path} has {proto.ByteSize()} bytes; a .onnx file has at most {_MOST_BYTES}. "
                "Write the model with external data: onnx.save(model, name, save_as_external_data=True)"
            )
        path.write_bytes(proto.SerializeToString())
        return data if data is not None and data.exists() else None


def _set_attribute(node: Any, name: str, tensor: Any) -> None:
    node.attributes[name] = need_onnx_ir().AttrTensor(name, tensor)


def numbers_of(value: Any) -> Array | None:
    """Return the numbers of a value that is stored in the file; None for any other."""
    if value is None or value.const_value is None or not (value.is_initializer() or value.producer() is not None):
        return None
    array: Array = value.const_value.numpy()
    return array


class Publication:
    """A model and its external data, which appear at their final places, both or none, and replace nothing.

    >>> with Publication(path, with_data=False) as places:                    # doctest: +SKIP
    ...     places.fill(written, None)

    On entering, raises FileError for a place that is taken or cannot be written.
    """

    def __init__(self, path: Path, with_data: bool) -> None:
        self._model = NewFile([path])
        self._data = NewFile([path.with_name(f"{path.name}.data")]) if with_data else None

    def __enter__(self) -> Publication:
        self._model.__enter__()
        try:
            if self._data is not None:
                self._data.__enter__()
        except BaseException as error:
            self._model.__exit__(type(error), error, None)
            raise
        return self

    def fill(self, written: Path, data: Path | None) -> None:
        """Copy the files that were written elsewhere; without `data` there will be none."""
        if data is None and self._data is not None:
            unused, self._data = self._data, None
            unused.__exit__(FileError, FileError("not needed"), None)
        for source, place in ((written, self._model), (data, self._data)):
            if source is not None and place is not None:
                with source.open("rb") as opened:
                    copyfileobj(opened, place.file, 1 << 22)

    def __exit__(self, kind: Any, error: Any, at: Any) -> None:
        # the data appears first: a model never stands there without its numbers
        try:
            if self._data is not None:
                self._data.__exit__(kind, error, at)
        except BaseException as refusal:
            self._model.__exit__(type(refusal), refusal, None)
            raise
        try:
            self._model.__exit__(kind, error, at)
        except BaseException:
            if self._data is not None and kind is None:
                self._data.path.unlink(missing_ok=True)
            raise
