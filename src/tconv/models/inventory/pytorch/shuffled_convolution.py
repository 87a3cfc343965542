"""Convolution with a pixel shuffle behind it, as the transposed convolution that it is, with its exact crop.

The shuffle is `pixel_shuffle`, or its decomposition: a view into blocks, a permutation, and a view.
"""

from __future__ import annotations

from typing import NamedTuple

from tconv.errors import FileError, TconvError
from tconv.models.inventory.model_layer import ModelLayer, Neighbour, Size, StoredArray
from tconv.models.inventory.other_forms import OrdinaryConvolution, of_depth_to_space, same_pads
from tconv.models.inventory.pytorch.constant_folding import FoldedConstants
from tconv.models.inventory.pytorch.dataflow import Dataflow
from tconv.models.inventory.pytorch.program import AtenCall, Program, Value, place_of, values_in

_ORDINARY = ("conv1d", "conv2d", "conv3d")
_GENERAL = ("convolution", "_convolution")
_VIEWS = ("view", "reshape", "_unsafe_view")


class PixelShuffle(NamedTuple):
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


def is_ordinary(call: AtenCall) -> bool:
    """Return True for a call that is an ordinary convolution."""
    op = _base(call)
    general = op in _GENERAL and call.arguments.get("transposed") is False
    return bool(call.outputs) and (op in _ORDINARY or general)


def ordinary_convolution(call: AtenCall, weight: StoredArray, bias: StoredArray | None) -> OrdinaryConvolution:
    """Return the convolution of a call. Raises FileError for a stride above 1, and arrays that do not fit."""
    ndim, groups = len(weight.shape) - 2, _groups(call)
    dilation = _ints(call, "dilation", 1, ndim)
    if any(stride != 1 for stride in _ints(call, "stride", 1, ndim)):
        raise FileError("its stride is not 1")
    if weight.shape[0] % groups or (bias is not None and bias.shape != weight.shape[:1]):
        raise FileError(f"its weight {weight.shape} does not fit its {groups} groups or its bias")
    return OrdinaryConvolution("torch", weight, bias, _pads(call, weight.shape[2:], dilation), dilation, groups)


def shuffle_behind(call: AtenCall, flow: Dataflow) -> PixelShuffle | None:
    """Return the pixel shuffle behind an ordinary convolution, which alone reads it; None for any other call."""
    if not is_ordinary(call):
        return None
    chain = flow.after(call, 3)
    if not chain or flow.source(call.outputs[0]) in flow.results or len(flow.readers(call.outputs[0])) != 1:
        return None
    first = chain[0]
    if _base(first) == "pixel_shuffle":
        factor = first.arguments.get("upscale_factor")
        return PixelShuffle((factor, factor), "CRD", first) if type(factor) is int and factor > 0 else None
    if len(chain) < 3 or _base(first) not in _VIEWS or _base(chain[1]) != "permute" or _base(chain[2]) not in _VIEWS:
        return None
    if any(len(flow.readers(each.outputs[0])) != 1 for each in chain[:2]):
        return None
    return _decomposed(first, chain[1], chain[2])


def _decomposed(first: AtenCall, permute: AtenCall, last: AtenCall) -> PixelShuffle | None:
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
            return PixelShuffle(tuple(factors), order, last)
    return None


def shuffled_layer(
    number: int,
    call: AtenCall,
    shuffle: PixelShuffle,
    constants: FoldedConstants,
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
    shuffle: PixelShuffle,
    weight: StoredArray,
    constants: FoldedConstants,
    program: Program,
    around: tuple[tuple[Neighbour, ...], tuple[Neighbour, ...]],
) -> ModelLayer:
    bias, limits = _bias(call, constants)
    given = ordinary_convolution(call, weight, bias)
    made = of_depth_to_space(given, shuffle.factors, shuffle.order)
    if made is None or len(shuffle.factors) != len(weight.shape) - 2:
        raise FileError(f"its weight {weight.shape} has no {shuffle.factors} blocks of channels")
    source, meta = call.arguments.get("input"), program.metas.get(call.outputs[0])
    names = (source.name if isinstance(source, Value) else "", shuffle.last.outputs[0])
    shapes = [program.metas.get(name) for name in names]
    sizes: list[tuple[Size, ...] | None] = [None if each is None else each.shape for each in shapes]
    return ModelLayer(
        call.module or call.outputs[0],
        place_of(number, call, program),
        f"{call.op} and {shuffle.op}",
        "torch",
        made.arguments,
        made.weight,
        made.bias,
        form="convolution and depth to space",
        input_shape=sizes[0],
        output_shape=sizes[1],
        dtype=(meta.dtype if meta is not None else "") or weight.dtype,
        before=around[0],
        after=around[1],
        crop_origin="padding of the convolution",
        limitations=(*limits, *made.limitations),
        location={"node": number, "output": shuffle.last.outputs[0], "module": call.module, "graph": call.graph},
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
        return same_pads(kernel, dilation)
    if given == "valid":
        return [(0, 0)] * len(kernel)
    return [(p, p) for p in _ints(call, "padding", 0, len(kernel))]


def _bias(call: AtenCall, constants: FoldedConstants) -> tuple[StoredArray | None, tuple[str, ...]]:
    """Return the bias of a convolution, and a sentence if it is not known."""
    argument = call.arguments.get("bias")
    if argument is None:
        return None, ()
    found = constants.get(argument.name) if isinstance(argument, Value) else None
    return found, () if found is not None else ("Its bias is computed when the model runs.",)
