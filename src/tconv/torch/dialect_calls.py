"""`tconv.conv_transpose` and `tconv.conv` on tensors that need gradients or are traced.

The arguments of any dialect are translated, and the call runs on PyTorch's operators and `tconv.torch.conv_transpose`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from tconv import _arrays
from tconv.errors import ArgumentError, ArrayError, DtypeError
from tconv.geometry import Geometry
from tconv.operator.call_reading import read_taken_call
from tconv.torch import operator
from tconv.torch.element_types import title


def run(
    x: Any,
    weight: Any,
    bias: Any,
    name: str,
    geometry: Geometry | None,
    native: dict[str, Any],
    *,
    out: Any = None,
    method: str = "auto",
    adjoint: bool = False,
) -> torch.Tensor:
    """Run a call of any dialect on PyTorch's operators, after the checks of `tconv.conv_transpose`."""
    for argument, given in (("out", out is not None), ("method", method != "auto")):
        if given:
            raise ArgumentError(
                f"{argument}= was given, and the call is differentiated or traced, so it runs on PyTorch's operators. "
                f"Leave out {argument}=, or write x.detach()"
            )
    tensors = {"x": x, "weight": weight, **({} if bias is None else {"bias": bias})}
    stand_ins = {key: _stand_in(tensor, key) for key, tensor in tensors.items()}
    call = read_taken_call(
        "torch",
        stand_ins["x"],
        stand_ins["weight"],
        stand_ins.get("bias"),
        name,
        geometry,
        native,
        adjoint=adjoint,
        finite=True,
    )
    g = call.problem.geometry
    if g.ndim > 3:
        raise ArrayError(f"the call has {g.ndim} spatial axes, and PyTorch differentiates 1 to 3. Write x.detach()")
    if call.problem.dtype.kind in "iu":  # PyTorch refuses most integers, mixed ones too, and wraps sums of the others
        x, weight, bias = (None if each is None else each.to(torch.int64) for each in (x, weight, bias))
    if not adjoint:
        return operator.apply(x, weight, bias, g, call.data, call.weight_layout, call.result)
    w = operator.canonical_weight(weight, call.weight_layout, g.groups)
    return operator.native(_conv(operator.canonical(x, call.data), w, g), call.result)


def _stand_in(tensor: Any, name: str) -> _arrays.Array:
    """Return an array with a tensor's shape and dtype, and without memory. Raises ArrayError for other arrays."""
    if not isinstance(tensor, torch.Tensor):
        library, array = _arrays.take(tensor, name)
        raise ArrayError(
            f"the call mixes libraries: {name} is from {library}, others from torch; one is needed. "
            f"Write {_arrays.adopted('torch', library, name, array.dtype.name)}"
        )
    kind = title(tensor.dtype)
    try:
        dtype = np.dtype(_arrays.bfloat16(name) if kind == "bfloat16" else kind)
    except TypeError:
        raise DtypeError(f"{name} is {kind}, which NumPy does not have. Write {name}.float()") from None
    return np.broadcast_to(np.zeros((), dtype), tuple(int(size) for size in tensor.shape))


def _conv(y: torch.Tensor, w: torch.Tensor, g: Geometry) -> torch.Tensor:
    call = (torch.nn.functional.conv1d, torch.nn.functional.conv2d, torch.nn.functional.conv3d)[g.ndim - 1]
    padded = torch.nn.functional.pad(y, [side for pair in reversed(g.crop) for side in pair])
    return call(padded, w, None, g.stride, 0, g.dilation, g.groups)
