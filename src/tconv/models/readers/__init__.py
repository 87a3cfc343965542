"""Readers of model files: networks to run, and the transposed convolutions in files of other programs.

A new format is one module with a function `read(path)` that returns a `Model`, and one line in `READERS`.
`transposed_layers` reads single layers, for `tconv diagnose`.
"""

READERS = {".safetensors": "safetensors", ".onnx": "onnx", ".param": "ncnn"}
"""Endings of files, and the modules that read them."""
