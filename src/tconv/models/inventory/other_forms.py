"""A convolution that is a transposed one: on an input with zeros between its elements, or before a depth to space.

Both are stated in PyTorch's dialect with `crop=`, which has no limits: x is [N, C, *spatial] there, the weight
[C_in, C_out/groups, *kernel].
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from tconv._arrays import Array
from tconv.dialects import dialect
from tconv.dialects.layouts import WeightLayout, axes_of
from tconv.models.inventory.model_layer import StoredArray
from tconv.weights.artifacts.pixel_shuffle import as_transposed, with_dilation

Pairs = Sequence[tuple[int, int]]
_MOST_ELEMENTS = 1 << 30


def same_pads(kernel: Sequence[int], dilation: Sequence[int], upper: bool = True) -> list[tuple[int, int]]:
    """Return the pads of a convolution of stride 1 whose output has the size of its input.

    `upper` puts the larger half of an odd total behind the last element.

    >>> same_pads((3, 4), (1, 1)), same_pads((3, 4), (1, 1), upper=False)
    ([(1, 1), (1, 2)], [(1, 1), (2, 1)])
    """
    totals = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    pairs = [(total // 2, total - total // 2) for total in totals]
    return pairs if upper else [(hi, lo) for lo, hi in pairs]


class OrdinaryConvolution(NamedTuple):
    """An ordinary convolution of stride 1, as a file has it."""

    dialect: str
    """Dialect whose layout the weight of an ordinary convolution has."""
    weight: StoredArray
    bias: StoredArray | None
    pads: Pairs
    dilation: tuple[int, ...]
    groups: int = 1


class Transposed(NamedTuple):
    """The transposed convolution that it is."""

    arguments: dict[str, Any]
    weight: StoredArray
    bias: StoredArray | None
    limitations: tuple[str, ...] = ()


def _ordinary_layout(name: str, ndim: int, flip: bool) -> WeightLayout:
    return WeightLayout.of(dialect(name).conv_weight_pattern, ndim, "O", flip)


def _sizes(given: OrdinaryConvolution) -> tuple[int, int, tuple[int, ...]]:
    """Return output channels, input channels of one group, and the kernel."""
    layout = _ordinary_layout(given.dialect, len(given.weight.shape) - 2, False)
    sizes = layout.sizes(given.weight.shape)
    return sizes["O"], sizes["I"], layout.kernel(given.weight.shape)


def _crop(given: OrdinaryConvolution, kernel: tuple[int, ...], blocks: Sequence[int], extra: Pairs) -> Pairs:
    """Return the crop: what a convolution's padding leaves out of the full output, in blocks."""
    rest = [d * (k - 1) for d, k in zip(given.dilation, kernel, strict=True)]
    return tuple(
        (r * (reach - lo - more[0]), r * (reach - hi - more[1]))
        for r, reach, (lo, hi), more in zip(blocks, rest, given.pads, extra, strict=True)
    )


def of_zero_insertion(given: OrdinaryConvolution, stride: Sequence[int], extra: Pairs | None = None) -> Transposed:
    """Return the transposed convolution of a convolution on an input with stride - 1 zeros between its elements.

    `extra` are the zeros at both ends that the insertion adds itself.
    """
    out, per_group, kernel = _sizes(given)
    layout = _ordinary_layout(given.dialect, len(kernel), True)
    none = tuple((0, 0) for _ in kernel)
    arguments = {
        "stride": tuple(stride),
        "crop": _crop(given, kernel, (1,) * len(kernel), none if extra is None else extra),
        "dilation": given.dilation,
        "groups": given.groups,
    }
    weight = replace(
        given.weight,
        shape=(per_group * given.groups, out // given.groups, *kernel),
        read=lambda: np.ascontiguousarray(layout.canonical(given.weight.read(), given.groups)),
        origin=_origin(given.weight, "the convolution's weight, flipped, its channels swapped"),
        quantization=None,
    )
    return Transposed(arguments, weight, given.bias)


def of_depth_to_space(given: OrdinaryConvolution, blocks: Sequence[int], order: str) -> Transposed | None:
    """Return the transposed convolution of a convolution and a depth to space.

    None for channels that do not fit, and for a kernel that is too large with the zeros of its dilation.
    """
    out, per_group, kernel = _sizes(given)
    phases = math.prod(blocks)
    if not phases or out % phases or not given.groups or out % given.groups:
        return None
    if given.bias is not None and given.bias.shape != (out,):
        return None
    # groups stay groups where each has whole output channels; else they are written with zeros between them
    kept = given.groups if order == "CRD" and out // given.groups % phases == 0 else 1
    speaker = dialect(given.dialect)
    outputs = axes_of(speaker.conv_weight_pattern, len(kernel)).index("O")

    def read() -> Array:
        native = {"dilation": given.dilation, "groups": given.groups // kept}
        parts = [
            with_dilation(as_transposed(part, tuple(blocks), order, speaker, native))[0]
            for part in np.split(given.weight.read(), kept, outputs)
        ]
        return np.ascontiguousarray(np.concatenate(parts))

    extents = [d * (k - 1) + 1 for d, k in zip(given.dilation, kernel, strict=True)]
    shape = (per_group * given.groups, out // phases // kept, *(r * e for r, e in zip(blocks, extents, strict=True)))
    if math.prod(shape) > _MOST_ELEMENTS:
        return None
    weight = replace(
        given.weight,
        shape=shape,
        read=read,
        origin=_origin(given.weight, f"a convolution and a depth to space by {tuple(blocks)}, channels {order}"),
        quantization=None,
    )
    crop = _crop(given, kernel, blocks, tuple((0, 0) for _ in kernel))
    bias, limitations = _bias(given.bias, phases, order)
    if kept != given.groups:
        limitations += (
            f"Its {given.groups} groups are written with zeros between them: the depth to space mixes them",
        )
    groups = {"groups": kept} if kept > 1 else {}
    return Transposed({"stride": tuple(blocks), "crop": crop, **groups}, weight, bias, limitations)


def _origin(weight: StoredArray, text: str) -> str:
    return text if weight.origin == "constant" else f"{weight.origin}, then {text}"


def _bias(bias: StoredArray | None, phases: int, order: str) -> tuple[StoredArray | None, tuple[str, ...]]:
    """Return a bias per output channel, if all phases of each have the same one."""
    if bias is None or phases == 1:
        return bias, ()
    numbers = bias.read()
    by_phase = numbers.reshape(-1, phases) if order == "CRD" else numbers.reshape(phases, -1).T
    spread = float(np.abs(by_phase - by_phase[:, :1]).max(initial=0))
    if spread != 0:
        text = (
            f"The convolution has {phases} different biases per output channel, one for each phase, which differ by up "
            f"to {spread:.3g}; a transposed convolution has one, so they are left out"
        )
        return None, (text,)
    read = np.ascontiguousarray(by_phase[:, 0])
    return replace(bias, shape=read.shape, read=lambda: read, quantization=None), ()
