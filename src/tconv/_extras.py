"""Optional packages, the extra of tconv that installs each, and the command for a missing one."""

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
    "keras": "keras",
    "onnx": "onnx",
    "spandrel": "spandrel",
    "zarr": "scale",
    "dask": "scale",
    "distributed": "scale",
    "tifffile": "scale",
    "imagecodecs": "scale",
}
"""Packages that tconv can use, and the extra that installs each; "" for those of every installation."""


def install(package: str) -> str:
    """Return the command that installs a package.

    >>> install("torch"), install("openvino")
    ('pip install "tconv[torch]"', 'pip install openvino')
    """
    extra = EXTRAS.get(package)
    return f'pip install "tconv[{extra}]"' if extra else f"pip install {package}"
