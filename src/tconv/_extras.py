"""Which extra of tconv brings a package, and what to write where one is missing."""

from __future__ import annotations

EXTRAS = {
    "numpy": "",
    "llvmlite": "",
    "safetensors": "",
    "xxhash": "",
    "cyclopts": "cli",
    "rich": "cli",
    "pyvips": "cli",
    "pillow": "cli",
    "matplotlib": "draw",
    "scipy": "sparse",
    "torch": "torch",
    "ml_dtypes": "torch",
    "tensorflow": "tensorflow",
    "jax": "jax",
    "onnx": "onnx",
}
"""Packages that tconv can use, and the extra that each comes with; none for those that every installation brings."""


def install(package: str) -> str:
    """The command that brings a package.

    >>> install("torch"), install("openvino")
    ('pip install "tconv[torch]"', 'pip install openvino')
    """
    extra = EXTRAS.get(package)
    return f'pip install "tconv[{extra}]"' if extra else f"pip install {package}"
