"""Convolution on an input with zeros inserted, as in StyleGAN's `upfirdn2d`: a transposed convolution in disguise.

The zeros are a view [N, C, H, 1, W, 1], a padding of the axes of 1, and a view [N, C, H*s, W*s]. More zeros around it
may follow.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from tconv.models.inventory.pytorch.dataflow import Dataflow
from tconv.models.inventory.pytorch.program import AtenCall, Program, Value

_VIEWS = ("view", "reshape", "_unsafe_view")
_MOST_PADS = 6


class InsertedZeros(NamedTuple):
    """Zero insertion in front of a convolution: the strides, the zeros at both ends, and its first call."""

    strides: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]
    """Zeros in front, and behind the last element, per axis."""
    first: AtenCall


def _base(call: AtenCall) -> str:
    return call.op.rpartition(".")[2]


def zeros_before(call: AtenCall, ndim: int, flow: Dataflow, program: Program) -> InsertedZeros | None:
    """Return the zero insertion in front of a convolution; None if there is none."""
    pads = [(0, 0)] * ndim
    made = _made(call.arguments.get("input"), flow)
    for _ in range(_MOST_PADS):
        more = None if made is None else _padding(made, ndim, program)
        if made is None or more is None:
            break
        pads = [(lo + a, hi + b) for (lo, hi), (a, b) in zip(pads, more, strict=True)]
        made = _made(made.arguments.get("self"), flow)
    padded = _made(made.arguments.get("self"), flow) if made is not None and _base(made) in _VIEWS else None
    first = _made(padded.arguments.get("self"), flow) if padded is not None else None
    if made is None or padded is None or first is None or _base(first) not in _VIEWS:
        return None
    sizes, ends = (each.arguments.get("size", each.arguments.get("shape")) for each in (first, made))
    inner = _padding(padded, 2 * ndim, program)
    if not isinstance(sizes, list) or not isinstance(ends, list) or inner is None:
        return None
    if len(sizes) != 2 + 2 * ndim or len(ends) != 2 + ndim or any(sizes[3 + 2 * axis] != 1 for axis in range(ndim)):
        return None
    own, spread = inner[::2], inner[1::2]
    if any(own_pads != (0, 0) for own_pads in own) or any(lo for lo, _ in spread) or not any(hi for _, hi in spread):
        return None
    tails = [(lo, hi + tail) for (lo, hi), (_, tail) in zip(pads, spread, strict=True)]
    return InsertedZeros(tuple(hi + 1 for _, hi in spread), tuple(tails), first)


def _made(argument: Any, flow: Dataflow) -> AtenCall | None:
    return flow.made_by.get(argument.name) if isinstance(argument, Value) else None


def _padding(call: AtenCall, axes: int, program: Program) -> list[tuple[int, int]] | None:
    """Return the zeros that a call adds at both ends of the last axes; None for another call."""
    op, source = _base(call), call.arguments.get("self")
    if op == "slice" and isinstance(source, Value):  # of everything
        shapes = [program.metas.get(name) for name in (source.name, call.outputs[0])]
        same = all(each is not None and each.shape is not None for each in shapes)
        same = same and shapes[0].shape == shapes[1].shape  # type: ignore[union-attr]
        return [(0, 0)] * axes if same else None
    if op not in ("pad", "constant_pad_nd") or call.arguments.get("mode", "constant") != "constant":
        return None
    given = call.arguments.get("pad")
    if call.arguments.get("value") not in (None, 0, 0.0) or not isinstance(given, list) or len(given) % 2:
        return None
    if len(given) > 2 * axes or any(type(each) is not int or each < 0 for each in given):
        return None
    pairs = [(given[at], given[at + 1]) for at in range(0, len(given), 2)]
    return [(0, 0)] * (axes - len(pairs)) + pairs[::-1]
