"""Dialects: one file per framework, which reads its native arguments into a `Geometry` and writes them back.

A new dialect is one file with a subclass of `Dialect` (base.py), and one line in `_MEMBERS`. Several dialects share
`tensorflow_padding` and `jax_padding`, the rules of SAME and VALID; `layouts` has the axis orders, `faults` the list of
known faults of runtimes, `channel_mismatch` the advice for a weight that does not fit x.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module

from tconv.dialects.base import Dialect, NativeCall
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

_SYNONYMS = {
    "tf": "tensorflow",
    "lite": "tflite",
    "litert": "tflite",
    "lax": "jax",
    "ort": "onnxruntime",
    "ov": "openvino",
}
"""Other names that people use for a dialect, which are not similar to its own."""

__all__ = ["DataLayout", "Dialect", "NativeCall", "WeightLayout", "dialect", "find", "names"]


def names() -> tuple[str, ...]:
    """Return the names of all dialects.

    >>> names()[:3]
    ('torch', 'tensorflow', 'tflite')
    """
    return tuple(_MEMBERS)


@cache
def _member(name: str) -> Dialect:
    module, kind = _MEMBERS[name].split(":")
    instance: Dialect = getattr(import_module(f"tconv.dialects.{module}"), kind)()
    return instance


def dialect(name: str) -> Dialect:
    """Return the dialect of this name.

    >>> import tconv
    >>> tconv.dialect("tensorflow").geometry(kernel=(3, 3), input=(4, 4), output_shape=(8, 8), strides=2).crop
    ((0, 1), (0, 1))

    Raises DialectError for a name that does not exist.
    """
    return find(name)


def find(name: str, argument: str = "dialect") -> Dialect:
    """Return the dialect of this name. Raises DialectError, which calls the name by this `argument` of the caller.

    >>> find("keras").framework
    'Keras'
    """
    if not isinstance(name, str) or name not in _MEMBERS:
        import difflib  # for the message alone

        text = str(name).lower()
        close = _SYNONYMS.get(text) or next(iter(difflib.get_close_matches(text, _MEMBERS, 1)), "torch")
        raise DialectError(f"{argument} is {name!r}; there are {', '.join(_MEMBERS)}. Write {argument}={close!r}")
    return _member(name)
