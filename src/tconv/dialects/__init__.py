"""One file per framework: its native arguments and layouts <-> `Geometry` and canonical arrays.

A new member is one file with a `Dialect` in it, and one line in `_MEMBERS`.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module

from tconv.dialects.base import Call, Dialect, Fault
from tconv.dialects.layouts import DataLayout, WeightLayout
from tconv.errors import DialectError

_MEMBERS = {
    "torch": "torch:Torch",
    "tensorflow": "tensorflow:TensorFlow",
    "tflite": "tflite:TfLite",
    "keras": "keras:Keras",
    "jax": "jax:Jax",
    "flax": "flax:Flax",
    "equinox": "equinox:Equinox",
    "haiku": "haiku:Haiku",
    "onnx": "onnx:Onnx",
    "onnxruntime": "onnxruntime:OnnxRuntime",
    "openvino": "openvino:OpenVino",
    "paddle": "paddle:Paddle",
    "mlx": "mlx:Mlx",
    "mlx_general": "mlx:MlxGeneral",
    "tinygrad": "tinygrad:Tinygrad",
    "ncnn": "ncnn:Ncnn",
}

_SHORT = {
    "tf": "tensorflow",
    "lite": "tflite",
    "litert": "tflite",
    "lax": "jax",
    "ort": "onnxruntime",
    "ov": "openvino",
}
"""Names that people use for a dialect and that are not close to its own."""

__all__ = ["Call", "DataLayout", "Dialect", "Fault", "WeightLayout", "dialect", "find", "names"]


def names() -> tuple[str, ...]:
    """The names of all dialects."""
    return tuple(_MEMBERS)


@cache
def _member(name: str) -> Dialect:
    module, kind = _MEMBERS[name].split(":")
    found: Dialect = getattr(import_module(f"tconv.dialects.{module}"), kind)()
    return found


def dialect(name: str) -> Dialect:
    """The dialect of this name.

    >>> import tconv
    >>> tconv.dialect("tensorflow").geometry(kernel=(3, 3), input=(4, 4), output_shape=(8, 8), strides=2).crop
    ((0, 1), (0, 1))

    Raises DialectError for a name that there is not.
    """
    return find(name)


def find(name: str, argument: str = "dialect") -> Dialect:
    """The dialect of this name, which the caller's own caller wrote as this argument. Raises DialectError."""
    if not isinstance(name, str) or name not in _MEMBERS:
        said = str(name).lower()
        import difflib  # for the message alone

        close = [_SHORT[said]] if said in _SHORT else difflib.get_close_matches(said, _MEMBERS, 1) or ["torch"]
        raise DialectError(f"{argument} is {name!r}; there are {', '.join(_MEMBERS)}. Write {argument}={close[0]!r}")
    return _member(name)
