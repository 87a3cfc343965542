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

from tconv import definition, errors
from tconv._memory import trim_pool
from tconv.diagnosis import diagnose
from tconv.dialects import dialect
from tconv.errors import TconvError
from tconv.geometry import Geometry
from tconv.kernels.num_threads import get_num_threads, set_num_threads
from tconv.linalg import linear_operator, matrix
from tconv.operator.functional import conv, conv_transpose
from tconv.operator.method_choice import plan
from tconv.operator.prepared import prepare
from tconv.solver import solve
from tconv.weights.artifacts import checkerboard
from tconv.weights.conversion import convert
from tconv.weights.folding import channel_scales, fold_batchnorm, scale_channels

if TYPE_CHECKING:
    from tconv import draw as draw
    from tconv import models as models
    from tconv import torch as torch
    from tconv.upsampling.functional import upsample as upsample
    from tconv.weights import artifacts as artifacts
    from tconv.weights import initializers as initializers

__version__ = "0.1.0"

__all__ = [
    "Geometry",
    "TconvError",
    "artifacts",
    "channel_scales",
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
    "scale_channels",
    "set_num_threads",
    "solve",
    "torch",
    "trim_pool",
    "upsample",
]

_LAZY = {
    "artifacts": "tconv.weights.artifacts",
    "draw": "tconv.draw",
    "initializers": "tconv.weights.initializers",
    "models": "tconv.models",
    "torch": "tconv.torch",
    "upsample": "tconv.upsampling.functional:upsample",
}
"""Public modules, and functions as "module:name", that are imported when they are first named."""


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        module, _, function = _LAZY[name].partition(":")
        return getattr(import_module(module), function) if function else import_module(module)
    raise AttributeError(f"module 'tconv' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
