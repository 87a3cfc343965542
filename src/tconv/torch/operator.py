"""The operator on tensors of any layout and with any crop, on tconv's kernel or PyTorch's operators."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from tconv.dialects import DataLayout, WeightLayout
from tconv.geometry import Geometry
from tconv.torch.functional import apply as run
from tconv.torch.kernel_call import Arguments


def apply(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    geometry: Geometry,
    data: DataLayout,
    weight_layout: WeightLayout,
    result: DataLayout,
) -> torch.Tensor:
    """Return the transposed convolution of tensors in native layouts; the gradients are PyTorch's own convolutions.

    x, weight and result are views: no element is moved for a layout, but for weights whose groups are in C_out.
    """
    images, w, g = canonical(x, data), canonical_weight(weight, weight_layout, geometry.groups), geometry
    flat = g.ndim == 1 and data.axes[-1] == "C"
    if flat:  # PyTorch has a format with channels last in 2-D only
        images, w = images.unsqueeze(2), w.unsqueeze(2)
        g = Geometry((1, *g.kernel), (1, *g.stride), ((0, 0), *g.crop), (1, *g.dilation), g.groups)
    y = _conv_transpose(images, w, bias, g)
    return native(y.squeeze(2) if flat else y, result)


def _conv_transpose(x: torch.Tensor, w: torch.Tensor, bias: torch.Tensor | None, g: Geometry) -> torch.Tensor:
    arguments, rest = _arguments(g, tuple(x.shape[2:]) if _may_be_cut_off(g) else g.kernel)
    if not any(map(any, rest)):
        output: torch.Tensor = run(x, w, bias, arguments)
        return output
    fitted = extend(run(x, w, None, arguments), rest)
    # rows beyond the result, or in front of it, hold the bias alone
    return fitted if bias is None else fitted + bias.reshape(-1, *[1] * g.ndim)


@lru_cache(maxsize=512)
def _may_be_cut_off(g: Geometry) -> bool:
    """Return True if the crops may be as long as the result without them; else the sizes of x do not matter."""
    axes = zip(g.crop, g.kernel, g.dilation, strict=True)
    return any(d * (k - 1) < 2 * max(lo, 0) + max(hi - max(lo, 0), 0) for (lo, hi), k, d in axes)


@lru_cache(maxsize=512)
def _arguments(g: Geometry, sizes: tuple[int, ...]) -> tuple[Arguments, list[tuple[int, int]]]:
    """Return the nearest arguments, and by what their output has to be extended per axis."""
    paddings, extras, rest = [], [], []
    for (lo, hi), k, s, d, n in zip(g.crop, g.kernel, g.stride, g.dilation, sizes, strict=True):
        full = (n - 1) * s + d * (k - 1) + 1
        # a crop beyond the other end takes rows away from what is added there
        lo, hi = min(lo, full) + max(hi - full, 0), min(hi, full) + max(lo - full, 0)
        most = max(s, d) - 1
        # PyTorch takes away as much at both ends, and gives back `most` at one; no row that stays may be taken away
        padding = min(max(lo, 0), max(hi, 0) + most)
        extra = min(padding - hi, most)
        if full - 2 * padding + extra < 1:  # PyTorch makes no output without rows, even if some are added to it
            padding = extra = 0
        paddings.append(padding)
        extras.append(extra)
        rest.append((padding - lo, padding - extra - hi))
    return Arguments(g.stride, tuple(paddings), tuple(extras), g.dilation, g.groups), rest


def extend(y: torch.Tensor, pairs: Sequence[tuple[int, int]]) -> torch.Tensor:
    """Return y with (lo, hi) zeros around each spatial axis; a negative number crops instead."""
    sides = [side for pair in reversed(pairs) for side in pair]
    # zeros first: a crop may reach into those of the other end
    for part in ([max(side, 0) for side in sides], [min(side, 0) for side in sides]):
        if any(part):
            y = torch.nn.functional.pad(y, part)
    return y


# -- layouts -----------------------------------------------------------------------------------------------------------


def _order(layout: DataLayout) -> list[Any]:
    return ["N", "C", *sorted(axis for axis in layout.axes if isinstance(axis, int))]


def canonical(x: torch.Tensor, layout: DataLayout) -> torch.Tensor:
    """Return a view of x as [N, C, *spatial]."""
    view = x.permute([layout.axes.index(axis) for axis in _order(layout) if axis in layout.axes])
    return view if "N" in layout.axes else view.unsqueeze(0)


def native(y: torch.Tensor, layout: DataLayout) -> torch.Tensor:
    """Return a view of y [N, C, *spatial] in a layout."""
    order = _order(layout)
    if "N" not in layout.axes:
        y = y.squeeze(0)
        order = order[1:]
    return y.permute([order.index(axis) for axis in layout.axes])


def canonical_weight(weight: torch.Tensor, layout: WeightLayout, groups: int) -> torch.Tensor:
    """Return a weight as [C_in, C_out/groups, *kernel], not flipped: a view where only the order of axes differs."""
    if layout.grouped == "I" and not layout.flip:
        spatial = sorted(axis for axis in layout.axes if isinstance(axis, int))
        w = weight.permute([layout.axes.index(axis) for axis in ("I", "O", *spatial)])
        # PyTorch refuses float64 gradients where both channels last of a weight and one input channel are meant
        return w.contiguous() if w.shape[0] == 1 else w
    return weight.reshape(-1)[_positions(layout, tuple(weight.shape), groups)]


@lru_cache(maxsize=64)
def _positions(layout: WeightLayout, shape: tuple[int, ...], groups: int) -> torch.Tensor:
    """Index of each element of the canonical weight in the native one, by the layout's own rule."""
    native = np.arange(int(np.prod(shape))).reshape(shape)
    return torch.from_numpy(np.array(layout.canonical(native, groups), order="C"))  # a copy: no stride is negative
