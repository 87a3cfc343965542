"""`tconv.conv_transpose` and `tconv.conv` on tensors that need gradients or are traced.

The arguments of any dialect are translated, and the call runs on PyTorch's operators and `tconv.torch.conv_transpose`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch

from tconv import _arrays
from tconv.dialects import DataLayout, WeightLayout, dialect
from tconv.errors import ArrayError, DtypeError
from tconv.geometry import Geometry
from tconv.operator.traced_call import Face, read_traced_call
from tconv.torch.element_types import title
from tconv.torch.functional import conv_transpose


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
    call = read_traced_call(_FACE, x, weight, bias, name, geometry, native, out=out, method=method, adjoint=adjoint)
    g = call.geometry
    if g.ndim > 3:
        raise ArrayError(f"the call has {g.ndim} spatial axes, and PyTorch differentiates 1 to 3. Write x.detach()")
    if call.is_integer:  # PyTorch refuses most integers, mixed ones too, and wraps sums of the others
        x, weight, bias = (None if each is None else each.to(torch.int64) for each in (x, weight, bias))
    images = _canonical(x, call.data)
    w = _weight(weight, call.weight, g.groups)
    y = _conv(images, w, g) if adjoint else _conv_transpose(images, w, bias, g)
    return _native(y, call.result)


def _described(tensor: torch.Tensor, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Return a tensor's shape and dtype. Raises DtypeError for a dtype that NumPy lacks."""
    kind = title(tensor.dtype)
    try:
        dtype = np.dtype(_arrays.bfloat16(name) if kind == "bfloat16" else kind)
    except TypeError:
        raise DtypeError(f"{name} is {kind}, which NumPy does not have. Write {name}.float()") from None
    return tuple(int(size) for size in tensor.shape), dtype


_FACE = Face("torch", "PyTorch's operators", (torch.Tensor,), _described, "x.detach()")


def _order(layout: DataLayout) -> list[Any]:
    return ["N", "C", *sorted(axis for axis in layout.axes if isinstance(axis, int))]


def _canonical(x: torch.Tensor, layout: DataLayout) -> torch.Tensor:
    view = x.permute([layout.axes.index(axis) for axis in _order(layout) if axis in layout.axes])
    return view if "N" in layout.axes else view.unsqueeze(0)


def _native(y: torch.Tensor, layout: DataLayout) -> torch.Tensor:
    order = _order(layout)
    if "N" not in layout.axes:
        y = y.squeeze(0)
        order = order[1:]
    return y.permute([order.index(axis) for axis in layout.axes])


def _weight(weight: torch.Tensor, layout: WeightLayout, groups: int) -> torch.Tensor:
    ndim = sum(isinstance(axis, int) for axis in layout.axes)
    if layout == WeightLayout.of("IO*", ndim):
        return weight
    return weight.reshape(-1)[_positions(layout, tuple(weight.shape), groups)]


@lru_cache(maxsize=64)
def _positions(layout: WeightLayout, shape: tuple[int, ...], groups: int) -> torch.Tensor:
    """Index of each element of the canonical weight in the native one, by the layout's own rule."""
    native = np.arange(int(np.prod(shape))).reshape(shape)
    return torch.from_numpy(np.ascontiguousarray(layout.canonical(native, groups)))


def _conv_transpose(x: torch.Tensor, w: torch.Tensor, bias: torch.Tensor | None, g: Geometry) -> torch.Tensor:
    torch_dialect = dialect("torch")
    if not torch_dialect.reasons_against(g, None):
        return conv_transpose(x, w, bias, **torch_dialect.native_arguments(g, None))
    # PyTorch's arguments cannot express this crop: the full result is cropped or extended
    full = conv_transpose(x, w, None, g.stride, 0, 0, g.groups, g.dilation)
    cropped = torch.nn.functional.pad(full, [-side for pair in reversed(g.crop) for side in pair])
    return cropped if bias is None else cropped + bias.reshape(-1, *[1] * g.ndim)


def _conv(y: torch.Tensor, w: torch.Tensor, g: Geometry) -> torch.Tensor:
    call = (torch.nn.functional.conv1d, torch.nn.functional.conv2d, torch.nn.functional.conv3d)[g.ndim - 1]
    padded = torch.nn.functional.pad(y, [side for pair in reversed(g.crop) for side in pair])
    return call(padded, w, None, g.stride, 0, g.dilation, g.groups)
