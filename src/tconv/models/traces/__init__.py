"""Traces of networks in files: every step of one run, with its tensors, in a process of its own per network.

`FORMATS` has one module per format, with a function `open_network(path, runtime)` that returns a `NetworkFile`;
`process` runs it in another process, because some frameworks crash when they are imported together.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from tconv.errors import FileError


class Format(NamedTuple):
    """One kind of network file."""

    module: str
    """Module of this folder that reads it."""
    title: str
    """Name of the kind in messages."""
    runtimes: tuple[str, ...] = ("",)
    """Names of what can run it, the default first; the next is tried where one cannot run a network."""
    checked: bool = True
    """False if its runtime does not check the shapes of inputs, so that wrong ones end the process."""


_ONNX = Format("onnx_file", "an ONNX model", ("onnxruntime", "openvino", "reference", "tconv"))
_KERAS = Format("keras_file", "a Keras model", ("", "jax", "torch", "tensorflow"))
_TORCHSCRIPT = Format("torch_file", "a TorchScript file")

FORMATS = {
    ".onnx": _ONNX,
    ".pt": _TORCHSCRIPT,
    ".pth": _TORCHSCRIPT,
    ".ts": _TORCHSCRIPT,
    ".pt2": Format("torch_file", "an exported program"),
    ".keras": _KERAS,
    ".h5": _KERAS,
    ".tflite": Format("tflite_file", "a TensorFlow Lite model"),
    ".param": Format("ncnn_file", "an ncnn network", checked=False),
}
"""Formats by the ending of their files."""


def format_of(path: Path) -> Format:
    """Return the format of a file by its ending. Raises FileError for one that does not exist or is not known."""
    if not path.exists():
        raise FileError(f"{path} does not exist. Write the name of an existing file")
    if path.suffix.lower() not in FORMATS:
        raise FileError(
            f"{path} is not a network file: its ending is unknown. Write a .onnx, .pt (TorchScript), .pt2, .keras, "
            ".tflite or .param file"
        )
    if path.is_dir() or not path.stat().st_size:
        raise FileError(
            f"{path} is {'a folder' if path.is_dir() else 'empty'}; {FORMATS[path.suffix.lower()].title} in a file is "
            "needed. Choose such a file"
        )
    return FORMATS[path.suffix.lower()]
