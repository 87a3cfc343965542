"""Readers of model files: networks that tconv runs.

A new format is one module with a function `read(path)` that returns a `Model`, and one line in `READERS`.
Files of other programs that `tconv diagnose` compares are read in `tconv.models.traces`.
"""

READERS = {
    ".safetensors": "safetensors",
    ".onnx": "onnx_network",
    ".param": "ncnn",
    **dict.fromkeys((".pth", ".pt", ".ckpt"), "checkpoint"),
}
"""Endings of files, and the modules that read them."""
