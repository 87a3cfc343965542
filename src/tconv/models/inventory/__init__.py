"""Inventories of model files: every transposed convolution with its weight, and what is around it. Nothing is run.

One module per format, with a function `read(source)` that returns a `ModelInventory`; `MODULES` has them by ending.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from tconv.errors import FileError
from tconv.models.inventory.model_layer import ModelInventory

__all__ = ["MODULES", "ModelInventory", "inventory_of"]

MODULES = {
    ".onnx": "onnx_file",
    ".pt2": "exported_program",
    ".pt": "torchscript",
    ".pth": "torchscript",
    ".ts": "torchscript",
    ".keras": "keras_file",
    ".h5": "keras_file",
    ".tflite": "tflite_file",
    ".param": "ncnn_file",
}
"""Modules of this folder by the ending of the files that they read; a folder is read by `saved_model`."""


def inventory_of(model: Any) -> ModelInventory:
    """Return the transposed convolutions of a model: a path, or a module or program of PyTorch.

    Raises FileError for a file that does not exist, is of no known format, or is damaged; MissingExtraError without the
    package that reads it. No code of the file is run.
    """
    if not isinstance(model, (str, Path)):
        program: Any = import_module("tconv.models.inventory.torch_program")
        module: Any = import_module("tconv.models.inventory.torch_module")
        return _checked((program if program.ending_of(model) else module).read(model))
    path = Path(model)
    if not path.exists():
        raise FileError(f"{path} does not exist. Write the name of an existing file")
    name = "saved_model" if path.is_dir() else MODULES.get(path.suffix.lower())
    if name is None:
        raise FileError(
            f"{path} is not a model file: its ending is unknown. Write a {', '.join(MODULES)} file, or the folder of a "
            "SavedModel"
        )
    return _checked(import_module(f"tconv.models.inventory.{name}").read(path))


def _checked(found: Any) -> ModelInventory:
    assert isinstance(found, ModelInventory)
    return found
