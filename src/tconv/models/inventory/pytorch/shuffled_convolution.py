"""Convolution with a pixel shuffle behind it, as the transposed convolution that it is, with its exact crop.

The shuffle is `pixel_shuffle`, or its decomposition: a view into blocks, a permutation, and a view.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from tconv._arrays import Array
from tconv.dialects import dialect
from tconv.errors import FileError, TconvError
from tconv.models.inventory.model_layer import ModelLayer, Neighbour, Size, StoredArray
from tconv.models.inventory.pytorch.constant_folding import Constants
from tconv.models.inventory.pytorch.dataflow import Dataflow
from tconv.models.inventory.pytorch.program import AtenCall, Program, Value, place_of, values_in
from tconv.weights.artifacts.pixel_shuffle import as_transposed, with_dilation

_ORDINARY = ("conv1d", "conv2d", "conv3d")
_GENERAL = ("convolution", "_convolution")
_VIEWS = ("view", "reshape", "_unsafe_view")


class Shuffle(NamedTuple):
    """Block sizes and channel order of a pixel shuffle, and its last call."""

    factors: tuple[int, ...]
    order: str
    last: AtenCall

    @property
    def op(self) -> str:
        """Name of the operation, or of those that it is made of."""
        return self.last.op if _base(self.last) == "pixel_shuffle" else "pixel shuffle (view, permute, view)"


def _base(call: AtenCall) -> str:
    return call.op.rpartition(".")[2]


class OrdinaryArguments(NamedTuple):
    """Arguments of an ordinary convolution of stride 1."""

    pads: list[tuple[int, int]]
    dilation: tuple[int, ...]
    groups: int


def is_ordinary(call: AtenCall) -> bool:
    """Return True for a call that is an ordinary convolution."""
    op = _base(call)
    general = op in _GENERAL and call.arguments.get("transposed") is False
    return bool(call.outputs) and (op in _ORDINARY or general)


def ordinary_arguments(call: AtenCall, shape: tuple[int, ...]) -> OrdinaryArguments:
    """Return the arguments of a convolution whose weight has this shape. Raises FileError for a stride above 1."""
    ndim = len(shape) - 2
    dilation, groups = _ints(call, "dilation", 1, ndim), _groups(call)
    if any(stride != 1 for stride in _ints(call, "stride", 1, ndim)):
        raise FileError("its stride is not 1")
    if shape[0] % groups:
        raise FileError(f"its weight {shape} has no {groups} groups")
    return OrdinaryArguments(_pads(call, shape[2:], dilation), dilation, groups)


def shuffle_behind(call: AtenCall, flow: Dataflow) -> Shuffle | None:
    """Return the pixel shuffle behind an ordinary convolution, which alone reads it; None for any other call."""
    if not is_ordinary(call):
        return None
    chain = flow.after(call, 3)
    if not chain or flow.source(call.outputs[0]) in flow.results or len(flow.readers(call.outputs[0])) != 1:
        return None
    first = chain[0]
    if _base(first) == "pixel_shuffle":
        factor = first.arguments.get("upscale_factor")
        return Shuffle((factor, factor), "CRD", first) if type(factor) is int and factor > 0 else None
    if len(chain) < 3 or _base(first) not in _VIEWS or _base(chain[1]) != "permute" or _base(chain[2]) not in _VIEWS:
        return None
    if any(len(flow.readers(each.outputs[0])) != 1 for each in chain[:2]):
        return None
    return _decomposed(first, chain[1], chain[2])


def _decomposed(first: AtenCall, permute: AtenCall, last: AtenCall) -> Shuffle | None:
    sizes = first.arguments.get("size", first.arguments.get("shape"))
    dims, ends = permute.arguments.get("dims"), last.arguments.get("size", last.arguments.get("shape"))
    if not isinstance(sizes, list) or not isinstance(dims, list) or not isinstance(ends, list):
        return None
    ndim = len(ends) - 2
    if ndim < 1 or len(sizes) != 2 + 2 * ndim:
        return None
    for order, channels in (("CRD", 1), ("DCR", 1 + ndim)):
        blocks = [2 + axis if order == "CRD" else 1 + axis for axis in range(ndim)]
        places = [part for axis in range(ndim) for part in (2 + ndim + axis, blocks[axis])]
        factors = [sizes[at] for at in blocks]
        if dims == [0, channels, *places] and all(type(each) is int and each > 0 for each in factors):
            return Shuffle(tuple(factors), order, last)
    return None


def shuffled_layer(
    number: int,
    call: AtenCall,
    shuffle: Shuffle,
    constants: Constants,
    program: Program,
    around: tuple[tuple[Neighbour, ...], tuple[Neighbour, ...]],
) -> list[ModelLayer]:
    """Return the layer of a convolution and its pixel shuffle; none if the convolution's weight is not known."""
    argument = call.arguments.get("weight")
    try:
        weight = constants.get(argument.name) if isinstance(argument, Value) else None
        if weight is None:
            return []
        return [_layer(number, call, shuffle, weight, constants, program, around)]
    except TconvError as error:
        program.limitations.append(
            f"The convolution {call.module or call.outputs[0]} with a pixel shuffle behind it is not shown: {error}"
        )
        return []


def _layer(
    number: int,
    call: AtenCall,
    shuffle: Shuffle,
    weight: StoredArray,
    constants: Constants,
    program: Program,
    around: tuple[tuple[Neighbour, ...], tuple[Neighbour, ...]],
) -> ModelLayer:
    pads, dilation, groups = ordinary_arguments(call, weight.shape)
    crop, canonical = transposed_shape(weight.shape, shuffle, pads, dilation, groups)

    def read() -> Array:
        native = {"dilation": list(dilation), "groups": groups}
        made = as_transposed(weight.read(), list(shuffle.factors), shuffle.order, dialect("torch"), native)
        return with_dilation(made)[0]

    limits: list[str] = []
    bias = _bias(call, shuffle, canonical[1], constants, limits)
    source = call.arguments.get("input")
    shapes = [
        program.metas.get(name) for name in (source.name if isinstance(source, Value) else "", shuffle.last.outputs[0])
    ]
    sizes: list[tuple[Size, ...] | None] = [None if meta is None else meta.shape for meta in shapes]
    meta = program.metas.get(call.outputs[0])
    return ModelLayer(
        call.module or call.outputs[0],
        place_of(number, call, program),
        f"{call.op} and {shuffle.op}",
        "torch",
        {"stride": list(shuffle.factors), "crop": crop, "groups": 1, "dilation": 1},
        StoredArray(
            canonical,
            weight.dtype,
            read,
            f"{weight.origin}, channels in the order {shuffle.order} as taps",
            weight.nbytes,
            None,
            weight.stored_dtype,
        ),
        bias,
        form="convolution and depth to space",
        input_shape=sizes[0],
        output_shape=sizes[1],
        dtype=(meta.dtype if meta is not None else "") or weight.dtype,
        before=around[0],
        after=around[1],
        crop_origin="padding of the convolution",
        limitations=tuple(limits),
        location={"node": number, "output": shuffle.last.outputs[0], "module": call.module, "graph": call.graph},
    )


def transposed_shape(
    shape: tuple[int, ...],
    shuffle: Shuffle,
    pads: list[tuple[int, int]],
    dilation: tuple[int, ...],
    groups: int,
) -> tuple[list[tuple[int, int]], tuple[int, ...]]:
    """Return crop and weight shape of the transposed convolution that a convolution and its pixel shuffle are.

    The convolution's output begins d(k - 1) - p positions late in the full one, each a block of r elements.
    """
    kernel, phases = shape[2:], math.prod(shuffle.factors)
    if len(kernel) != len(shuffle.factors) or shape[0] % phases:
        raise FileError(f"its weight {shape} has no {shuffle.factors} blocks of channels")
    reach = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    crop = [(r * (e - lo), r * (e - hi)) for r, e, (lo, hi) in zip(shuffle.factors, reach, pads, strict=True)]
    return crop, (
        shape[1] * groups,
        shape[0] // phases,
        *(r * (e + 1) for r, e in zip(shuffle.factors, reach, strict=True)),
    )


def _ints(call: AtenCall, name: str, default: int, ndim: int) -> tuple[int, ...]:
    given = call.arguments.get(name, default)
    parts = given if isinstance(given, (list, tuple)) else [given]
    if any(True for _ in values_in(parts)) or not all(type(part) is int and 0 <= part < 1 << 31 for part in parts):
        raise FileError(f"its {name} is computed when the model runs")
    parts = [*parts] * (ndim if len(parts) == 1 else 1)
    if len(parts) != ndim:
        raise FileError(f"its {name} is {parts}; {ndim} numbers are needed")
    return tuple(parts)


def _groups(call: AtenCall) -> int:
    groups = call.arguments.get("groups", 1)
    if type(groups) is not int or groups < 1:
        raise FileError("its groups are computed when the model runs")
    return groups


def _pads(call: AtenCall, kernel: tuple[int, ...], dilation: tuple[int, ...]) -> list[tuple[int, int]]:
    given = call.arguments.get("padding", 0)
    if given == "same":
        totals = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        return [(total // 2, total - total // 2) for total in totals]
    if given == "valid":
        return [(0, 0)] * len(kernel)
    return [(p, p) for p in _ints(call, "padding", 0, len(kernel))]


def _bias(
    call: AtenCall, shuffle: Shuffle, channels: int, constants: Constants, limits: list[str]
) -> StoredArray | None:
    """Return a bias per output channel; None, with a sentence in `limits`, if its phases have different ones."""
    argument: Any = call.arguments.get("bias")
    if argument is None:
        return None
    found = constants.get(argument.name) if isinstance(argument, Value) else None
    if found is None:
        limits.append("Its bias is computed when the model runs.")
        return None
    values = found.read()
    if values.size != channels * math.prod(shuffle.factors):
        raise FileError(f"its bias has {values.size} numbers")
    phases = values.reshape(channels, -1) if shuffle.order == "CRD" else values.reshape(-1, channels).T
    if (phases != phases[:, :1]).any():
        limits.append("Its bias has another number for each phase, so no bias per channel stands for it.")
        return None
    one = np.array(phases[:, 0])
    return StoredArray((channels,), found.dtype, lambda: one, found.origin, found.nbytes)
