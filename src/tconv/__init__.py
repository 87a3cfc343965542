"""tconv: the transposed convolution, done completely.

>>> import numpy as np, tconv
>>> X = np.array([[0, 1], [2, 3]])
>>> tconv.definition.scatter(X, X, stride=1)
array([[ 0,  0,  1],
       [ 0,  4,  6],
       [ 4, 12,  9]])

`conv_transpose` runs it, in the words of PyTorch, TensorFlow or ONNX; `Geometry` and `solve` know its shapes; `plan`
says what will run; `matrix` and `linear_operator` are its linear algebra; `draw` shows it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tconv import errors
from tconv._memory import trim_pool
from tconv.dialects import dialect
from tconv.errors import TconvError
from tconv.geometry import Geometry
from tconv.kernels.num_threads import get_num_threads, set_num_threads
from tconv.operator.functional import conv, conv_transpose
from tconv.operator.method_choice import plan

if TYPE_CHECKING:
    from tconv import definition as definition
    from tconv import draw as draw
    from tconv import jax as jax
    from tconv import keras as keras
    from tconv import models as models
    from tconv import onnx as onnx
    from tconv import scale as scale
    from tconv import tensorflow as tensorflow
    from tconv import torch as torch
    from tconv.checking.functional import check as check
    from tconv.diagnosis import diagnose as diagnose
    from tconv.linalg import linear_operator as linear_operator
    from tconv.linalg import matrix as matrix
    from tconv.onnx.model_rewrite import rewrite as rewrite
    from tconv.operator.prepared import prepare as prepare
    from tconv.size_solver import solve as solve
    from tconv.streaming.contract import verify_stream as verify_stream
    from tconv.streaming.functional import stream as stream
    from tconv.streaming.stack_window import window as window
    from tconv.upsampling.functional import upsample as upsample
    from tconv.weights import artifacts as artifacts
    from tconv.weights import initializers as initializers
    from tconv.weights.artifacts import checkerboard as checkerboard
    from tconv.weights.conversion import convert as convert
    from tconv.weights.folding import channel_scales as channel_scales
    from tconv.weights.folding import fold_batchnorm as fold_batchnorm
    from tconv.weights.folding import scale_channels as scale_channels

__version__ = "0.1.0"

__all__ = [
    "Geometry",
    "TconvError",
    "artifacts",
    "channel_scales",
    "check",
    "checkerboard",
    "conv",
    "conv_transpose",
    "convert",
    "definition",
    "diagnose",
    "dialect",
    "draw",
    "errors",
    "fold_batchnorm",
    "get_num_threads",
    "initializers",
    "linear_operator",
    "matrix",
    "models",
    "plan",
    "prepare",
    "rewrite",
    "scale",
    "scale_channels",
    "set_num_threads",
    "solve",
    "stream",
    "torch",
    "trim_pool",
    "upsample",
    "verify_stream",
    "window",
]

_LAZY_MODULES = {
    "artifacts": "tconv.weights.artifacts",
    "definition": "tconv.definition",
    "dialects": "tconv.dialects",
    "draw": "tconv.draw",
    "initializers": "tconv.weights.initializers",
    "jax": "tconv.jax",
    "keras": "tconv.keras",
    "models": "tconv.models",
    "onnx": "tconv.onnx",
    "scale": "tconv.scale",
    "tensorflow": "tconv.tensorflow",
    "torch": "tconv.torch",
}
_LAZY_FUNCTIONS = {
    "channel_scales": "tconv.weights.folding",
    "check": "tconv.checking.functional",
    "checkerboard": "tconv.weights.artifacts",
    "convert": "tconv.weights.conversion",
    "diagnose": "tconv.diagnosis",
    "fold_batchnorm": "tconv.weights.folding",
    "linear_operator": "tconv.linalg",
    "matrix": "tconv.linalg",
    "prepare": "tconv.operator.prepared",
    "rewrite": "tconv.onnx.model_rewrite",
    "scale_channels": "tconv.weights.folding",
    "solve": "tconv.size_solver",
    "stream": "tconv.streaming.functional",
    "upsample": "tconv.upsampling.functional",
    "verify_stream": "tconv.streaming.contract",
    "window": "tconv.streaming.stack_window",
}
"""Public names whose modules are imported when they are first named: a first call does not wait for them.

The faces of JAX, Keras and TensorFlow are not in `__all__`, so that a star imports none of them.
"""


def __getattr__(name: str) -> Any:
    if name in _LAZY_MODULES:
        value: Any = import_module(_LAZY_MODULES[name])
    elif name in _LAZY_FUNCTIONS:
        value = getattr(import_module(_LAZY_FUNCTIONS[name]), name)
    else:
        raise AttributeError(f"module 'tconv' has no attribute {name!r}")
    globals()[name] = value  # found without this function from now on
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
