"""Reader of PyTorch's programs in memory, traced, scripted or exported: each is saved to a file, and that is read.

The file lies in a temporary folder, which is removed once nothing needs the weights in it.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import weakref
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from tconv.errors import ArgumentError, FileError
from tconv.models.inventory.model_layer import ModelInventory


class TemporaryFolder:
    """Folder that is removed when nothing refers to this object any more, at the latest at the end of the process."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="tconv-program-"))
        weakref.finalize(self, shutil.rmtree, self.path, True)


def ending_of(model: Any) -> str:
    """Return the ending of the file that a program is saved to: ".pt", ".pt2", or "" for another object."""
    torch: Any = sys.modules.get("torch")
    if torch is None:
        return ""
    if isinstance(model, torch.jit.ScriptModule):
        return ".pt"
    exported = getattr(getattr(torch, "export", None), "ExportedProgram", None)
    return ".pt2" if exported is not None and isinstance(model, exported) else ""


def read(model: Any) -> ModelInventory:
    """Return the inventory of a `torch.jit.ScriptModule` or `torch.export.ExportedProgram`.

    Raises ArgumentError for a program that cannot be saved, FileError for one whose file is not read.

    >>> read(torch.export.export(model, (x,))).format                            # doctest: +SKIP
    'exported program'
    """
    torch: Any = sys.modules["torch"]
    ending, name = ending_of(model), f"{type(model).__module__}.{type(model).__qualname__}"
    folder = TemporaryFolder()
    path = folder.path / f"model{ending}"
    try:
        if ending == ".pt":
            torch.jit.save(model, str(path))
        else:
            torch.export.save(model, str(path))
    except Exception as error:  # PyTorch's writers raise many types
        text = " ".join(str(error).split())[:200]
        raise ArgumentError(
            f"the {name} cannot be saved, and its file is what is read: {type(error).__name__}: {text}. Write the "
            "torch.nn.Module that it was made of"
        ) from None
    reader: Any = import_module(f"tconv.models.inventory.{'torchscript' if ending == '.pt' else 'exported_program'}")
    try:
        found: ModelInventory = reader.read(path, folder)
    except FileError as error:
        raise FileError(str(error).replace(str(path), name)) from None
    return replace(found, source=name)
