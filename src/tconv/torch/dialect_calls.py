"""`tconv.conv_transpose` and `tconv.conv` on tensors that need gradients or are traced.

The arguments of any dialect are translated, and the call runs on PyTorch's operators and `tconv.torch.conv_transpose`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from tconv import _arrays
from tconv.errors import ArrayError, DtypeError
from tconv.geometry import Geometry
from tconv.operator.call_reading import GivenCall
from tconv.operator.traced_call import Face, read_traced_call
from tconv.torch import operator
from tconv.torch.element_types import title


def run(given: GivenCall) -> torch.Tensor:
    """Run a call of any dialect on PyTorch's operators, after the checks of `tconv.conv_transpose`."""
    call, (x, weight, bias) = read_traced_call(_FACE, given), given[:3]
    g = call.geometry
    if g.ndim > 3:
        raise ArrayError(f"the call has {g.ndim} spatial axes, and PyTorch differentiates 1 to 3. Write x.detach()")
    if call.is_integer:  # PyTorch refuses most integers, mixed ones too, and wraps sums of the others
        x, weight, bias = (None if each is None else each.to(torch.int64) for each in (x, weight, bias))
    if not given.adjoint:
        return operator.apply(x, weight, bias, g, call.data, call.weight, call.result)
    w = operator.canonical_weight(weight, call.weight, g.groups)
    return operator.native(_conv(operator.canonical(x, call.data), w, g), call.result)


def _described(tensor: torch.Tensor, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Return a tensor's shape and dtype. Raises DtypeError for a dtype that NumPy lacks."""
    kind = title(tensor.dtype)
    try:
        dtype = np.dtype(_arrays.bfloat16(name) if kind == "bfloat16" else kind)
    except TypeError:
        raise DtypeError(f"{name} is {kind}, which NumPy does not have. Write {name}.float()") from None
    return tuple(int(size) for size in tensor.shape), dtype


_FACE = Face("torch", "PyTorch's operators", (torch.Tensor,), _described, "x.detach()")


def _conv(y: torch.Tensor, w: torch.Tensor, g: Geometry) -> torch.Tensor:
    call = (torch.nn.functional.conv1d, torch.nn.functional.conv2d, torch.nn.functional.conv3d)[g.ndim - 1]
    return call(operator.extend(y, g.crop), w, None, g.stride, 0, g.dilation, g.groups)
