"""Reader of `torch.export`'s programs (.pt2), which needs no PyTorch: a ZIP archive of JSON and raw weights.

PyTorch up to 2.7 wrote another layout, with the weights in an archive inside; both are read. Example inputs, which are
pickled, are not opened.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tconv.errors import FileError
from tconv.models.inventory.model_layer import ModelInventory, StoredArray
from tconv.models.inventory.pytorch.layer_finder import inventory_of_program
from tconv.models.inventory.pytorch.object_pickle import read_pickle
from tconv.models.inventory.pytorch.program import Meta, Program
from tconv.models.inventory.pytorch.program_json import GraphReader, scalar_type
from tconv.models.inventory.pytorch.symbolic_sizes import size_of
from tconv.models.inventory.pytorch.tensors import Tensor, file_storage
from tconv.models.inventory.pytorch.zip_archive import Archive

_OLD_PROGRAM, _OLD_WEIGHTS, _OLD_CONSTANTS = (
    "serialized_exported_program.json",
    "serialized_state_dict.pt",
    "serialized_constants.pt",
)
_FOLDERS = {"weights": "data/weights", "constants": "data/constants"}
_KINDS = {
    "parameter": "parameter_name",
    "buffer": "buffer_name",
    "tensor_constant": "tensor_constant_name",
}


def read(path: Path, owner: object = None) -> ModelInventory:
    """Return the inventory of an exported program. Raises FileError; no code of the file is run.

    `owner` is kept as long as the numbers can be read.

    >>> torch.export.save(torch.export.export(model, (x,)), "model.pt2")        # doctest: +SKIP
    >>> [layer.name for layer in read(Path("model.pt2")).layers]               # doctest: +SKIP
    ['decoder.up.0', 'decoder.up.1']
    """
    archive = Archive(path, owner=owner)
    described = _json(archive, _program_name(archive))
    graphs = described.get("graph_module")
    if not isinstance(graphs, dict) or not isinstance(graphs.get("graph"), dict):
        raise FileError(f"{path} has no graph in its description. Write torch.export.save(program, name)")
    signature = graphs.get("signature")
    try:
        program = GraphReader(graphs["graph"], signature if isinstance(signature, dict) else {}).program()
        _add_constants(archive, program, signature)
        version = described.get("schema_version")
        numbers = f"{version.get('major')}.{version.get('minor')}" if isinstance(version, dict) else "?"
        opset = described.get("opset_version")
        aten = (
            f", opset {', '.join(f'{key} {value}' for key, value in opset.items())}" if isinstance(opset, dict) else ""
        )
        writer = described.get("torch_version")
        return inventory_of_program(
            program,
            str(path),
            "exported program",
            f"PyTorch {writer}" if isinstance(writer, str) and writer != "<=2.4" else "PyTorch",
            f"schema {numbers}{aten}"[:200],
        )
    except FileError as error:
        text = str(error)
        raise (error if str(path) in text else FileError(f"{path}: {text}")) from None
    except (AttributeError, KeyError, TypeError, ValueError, IndexError, RecursionError, OverflowError) as error:
        raise FileError(
            f"{path} does not describe a program as PyTorch does: {type(error).__name__}: {str(error)[:100]}. Write it "
            "again"
        ) from None


def _program_name(archive: Archive) -> str:
    """Return the member that describes the program. Raises FileError."""
    if _OLD_PROGRAM in archive:
        return _OLD_PROGRAM
    models = [name for name in archive.names if name.startswith("models/") and name.endswith(".json")]
    if not models:
        kind = "it has TorchScript's or torch.save's files" if "data.pkl" in archive else "it has no model"
        raise FileError(
            f"{archive.path} is no exported program: {kind}. Write torch.export.save(torch.export.export(model, (x,)), "
            f"{archive.path.stem + '_export.pt2'!r})"
        )
    if len(models) > 1 and "models/model.json" not in models:
        raise FileError(f"{archive.path} has {len(models)} models; one is read. Write one program per file")
    return "models/model.json" if "models/model.json" in models else models[0]


def _json(archive: Archive, name: str) -> dict[str, Any]:
    text = archive.text(name)
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise FileError(f"{archive.path}: {name} is not JSON: {str(error)[:100]}. Write the file again") from None
    except (RecursionError, ValueError):  # unclosed brackets, a number of thousands of digits
        raise FileError(f"{archive.path}: {name} is nested too deeply, or has too long a number") from None
    if not isinstance(found, dict):
        raise FileError(f"{archive.path}: {name} is no JSON object. Write the file again")
    return found


def _add_constants(archive: Archive, program: Program, signature: Any) -> None:
    """Fill the constants of a program: its parameters, buffers and constants, by the names of its inputs."""
    stored = _Stored(archive)
    for entry in signature.get("input_specs", ()) if isinstance(signature, dict) else ():
        for kind, key in _KINDS.items():
            if isinstance(entry, dict) and isinstance(entry.get(kind), dict):
                name, full = entry[kind]["arg"]["name"], entry[kind][key]
                array = stored.array(str(full))
                if array is None:
                    program.absent[str(name)] = f"The file has no numbers for {str(full)[:100]}."
                else:
                    program.constants[str(name)] = array
                    program.metas.setdefault(str(name), Meta(array.shape, array.dtype))


class _Stored:
    """Tensors of the file by their full names."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._entries: dict[str, tuple[str, dict[str, Any]]] = {}
        self._tensors: dict[str, Any] = {}
        for kind, folder in _FOLDERS.items():
            for name in archive.names:
                if name.startswith(f"{folder}/") and name.endswith(f"_{kind}_config.json"):
                    config = _json(archive, name).get("config")
                    if isinstance(config, dict):
                        self._entries |= {
                            full: (folder, each) for full, each in config.items() if isinstance(each, dict)
                        }
        for name in (_OLD_WEIGHTS, _OLD_CONSTANTS):
            if name in archive and archive.size(name):
                inner = archive.inner(name)
                found = read_pickle(inner, "data.pkl", "data")
                self._tensors |= found if isinstance(found, dict) else {}

    def array(self, full: str) -> StoredArray | None:
        """Return a tensor; None for one that the file lacks. Raises FileError."""
        if full in self._entries:
            folder, entry = self._entries[full]
            tensor = self._tensor(f"{folder}/{entry['path_name']}", entry)
            return None if tensor is None else tensor.array()
        found = self._tensors.get(full)
        return found.array() if isinstance(found, Tensor) else None

    def _tensor(self, member: str, entry: dict[str, Any]) -> Tensor | None:
        if entry.get("use_pickle"):
            found = read_pickle(self._archive.inner(member), "data.pkl", "data")
            return found if isinstance(found, Tensor) else None
        meta = entry["tensor_meta"]
        sizes, strides = ([size_of(each) for each in meta[key]] for key in ("sizes", "strides"))
        offset = size_of(meta["storage_offset"])
        if not all(type(each) is int for each in (*sizes, *strides, offset)):
            raise FileError(f"{member} has sizes {str(sizes)[:100]}; numbers are needed. Write the file again")
        return Tensor(
            scalar_type(meta["dtype"]),
            tuple(int(each or 0) for each in sizes),
            tuple(int(each or 0) for each in strides),
            int(offset or 0),
            file_storage(self._archive, member),
            self._archive.size(member),
        )
