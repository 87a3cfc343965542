"""Axes of a picture through reshapes and transposes: split, joined and moved, until they are a picture's again.

Channels that end as rows and columns are a depth to space, rows and columns that end as channels its reverse.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.errors import FileError
from tconv.models.layers import Convolution
from tconv.models.readers.onnx_network.builder import Atom, GraphPicture, NetworkBuilder
from tconv.models.steps.channels import ChannelRange, Concat
from tconv.models.steps.depth_to_space import ChannelsToPixels, PixelsToChannels

_MOST_RANGES = 256
"""Most ranges of channels that are put together; above that, a convolution with a weight of 0 and 1 orders them."""

_MOST_WEIGHTS = 1 << 22
"""Most weights of that convolution."""

Axes = tuple[tuple[Atom, ...], ...]


def long_atoms(axis: Sequence[Atom]) -> list[Atom]:
    """Return the factors of an axis that are longer than 1."""
    return [atom for atom in axis if any(size > 1 for size in atom.sizes)]


def reshaped(builder: NetworkBuilder, picture: GraphPicture, shapes: Array, at: list[int], constant: bool) -> Axes:
    """Return the axes of a picture after a reshape to `shapes` [samples, rank] at the samples `at`.

    `constant` shapes hold at the first sample alone. Raises FileError for a shape that splits other sizes.
    """
    atoms = [atom for axis in picture.axes for atom in long_atoms(axis)]
    axes: list[tuple[Atom, ...]] = []
    for wanted in shapes.T:
        rest, group = wanted.copy(), list[Atom]()
        while (rest != 1).any():
            if not atoms or (rest < 1).any():
                raise _unfit(picture, shapes)
            sizes = np.array([atoms[0].sizes[number] for number in at], np.int64)
            if (sizes < 1).any():
                raise _unfit(picture, shapes)
            if (rest % sizes == 0).all():
                group.append(atoms.pop(0))
                rest = rest // sizes
            elif (sizes % rest == 0).all():
                outer, inner = _split(atoms.pop(0), rest, at, constant, builder)
                atoms.insert(0, inner)
                group.append(outer)
                rest = np.ones_like(rest)
            else:
                raise _unfit(picture, shapes)
        axes.append(tuple(group))
    if atoms:
        raise _unfit(picture, shapes)
    return tuple(axes)


def _unfit(picture: GraphPicture, shapes: Array) -> FileError:
    return FileError(
        f"it reshapes the axes {picture.shape} of the picture to {shapes[0].tolist()}; shapes that split or join whole "
        "axes, the same way for every size of the picture, are needed"
    )


def _split(atom: Atom, outer: Array, at: list[int], constant: bool, builder: NetworkBuilder) -> tuple[Atom, Atom]:
    """Return both factors of an axis."""
    whole = atom.sizes
    first = list(whole)
    second = [1] * len(whole)
    for number, size in zip(at, outer, strict=True):
        first[number], second[number] = int(size), whole[number] // int(size)
    if (
        constant and atom.kind in "HW"
    ):  # the smaller factor is a number of the network, the larger follows from the size
        small, is_outer = min((first[0], True), (second[0], False))
        for number, size in enumerate(whole):
            if size % small:
                builder.alive[number] = False
            first[number], second[number] = (small, size // small) if is_outer else (size // small, small)
    elif constant:
        first, second = [first[0]] * len(whole), [second[0]] * len(whole)
    return Atom(atom.kind, (*atom.path, 0), tuple(first)), Atom(atom.kind, (*atom.path, 1), tuple(second))


def settled(builder: NetworkBuilder, picture: GraphPicture) -> GraphPicture:
    """Return a picture with whole axes, after a depth to space or its reverse if need be; else the same one."""
    if len(picture.axes) != 4 or picture.labels:
        return picture
    axes = [long_atoms(axis) for axis in picture.axes]
    atoms = [atom for axis in axes for atom in axis]
    spatial = {kind: [atom for atom in atoms if atom.kind == kind and atom.path in ((), (0,))] for kind in ("H", "W")}
    labels = [""] * 4
    blocks: dict[str, Atom] = {}
    for number, axis in enumerate(axes):
        if not axis:
            continue
        first = axis[0]
        if first.kind in "HW" and first in spatial[first.kind]:
            labels[number] = first.kind
            if len(axis) == 2 and axis[1].kind == "C":
                blocks[first.kind] = axis[1]
            elif len(axis) > 1:
                return picture
        elif "N" in {atom.kind for atom in axis}:
            if len(axis) > 1:
                return picture
            labels[number] = "N"
        else:
            labels[number] = "C"
    if len(set(labels) - {""}) != sum(map(bool, labels)):
        return picture
    missing = [letter for letter in "NCHW" if letter not in labels]
    for number in range(4):
        if not labels[number]:
            labels[number] = missing.pop(0)
    channel_axis = axes[labels.index("C")]
    place = _moved(builder, picture.place, channel_axis, blocks, atoms)
    return picture if place is None else builder.whole(place, "".join(labels))


def _moved(
    builder: NetworkBuilder, place: int, channel_axis: list[Atom], blocks: dict[str, Atom], atoms: list[Atom]
) -> int | None:
    """Return the place of a picture after its depth to space, its reverse, and an order of the channels."""
    inner = {atom.kind: atom for atom in channel_axis if atom.kind in "HW"}
    parts = sorted((atom for atom in atoms if atom.kind == "C"), key=lambda atom: atom.path)
    if any(atom.path[:1] != (1,) or len(atom.path) > 1 for atom in inner.values()):
        return None
    if not blocks and not inner:
        return _ordered(builder, place, _order(builder, [*parts], channel_axis))
    both = blocks or inner
    if set(both) != {"H", "W"} or (blocks and inner):
        return None
    r = {size for atom in both.values() for size, alive in zip(atom.sizes, builder.alive, strict=True) if alive}
    if len(r) != 1:
        return None
    (block,) = r
    if blocks:
        wanted = [*channel_axis, blocks["H"], blocks["W"]]
        if len(parts) != len(wanted):
            return None
        order = _order(builder, parts, wanted)
        by_blocks = _order(builder, parts, [blocks["H"], blocks["W"], *channel_axis])
        if (by_blocks == np.arange(len(by_blocks))).all() and not (order == np.arange(len(order))).all():
            return builder.add(ChannelsToPixels(block, "blocks"), place)
        place = _ordered(builder, place, order)
        return builder.add(ChannelsToPixels(block, "channels"), place)
    have = [*parts, inner["H"], inner["W"]]
    if len(have) != len(channel_axis):
        return None
    order = _order(builder, have, channel_axis)
    if (_order(builder, [inner["H"], inner["W"], *parts], channel_axis) == np.arange(len(order))).all() and parts:
        return builder.add(PixelsToChannels(block, "blocks"), place)
    return _ordered(builder, builder.add(PixelsToChannels(block, "channels"), place), order)


def _order(builder: NetworkBuilder, have: Sequence[Atom], wanted: Sequence[Atom]) -> Array:
    """Return, for each channel in the wanted order of factors, its number in the present order."""
    sizes = [atom.sizes[builder.alive.index(True)] for atom in have]
    numbers = np.arange(math.prod(sizes)).reshape(sizes)
    return numbers.transpose([have.index(atom) for atom in wanted]).ravel()


def _ordered(builder: NetworkBuilder, place: int, order: Array) -> int:
    return place if len(order) == 1 else picked(builder, place, order)


def picked(builder: NetworkBuilder, place: int, channels: Any) -> int:
    """Append the choice of some channels in any order, with repetitions; return its place."""
    numbers = np.asarray(channels, np.int64).ravel()
    count = builder.channels[place]
    if numbers.size == 0 or numbers.min() < 0 or numbers.max() >= count:
        raise FileError(f"it takes the channels {numbers[:8].tolist()} of {count}")
    if len(numbers) == count and (numbers == np.arange(count)).all():
        return place
    breaks = np.flatnonzero(np.diff(numbers) != 1) + 1
    ranges = [ChannelRange(int(run[0]), int(run[-1]) + 1) for run in np.split(numbers, breaks)]
    if len(ranges) > _MOST_RANGES:
        if len(numbers) * count > _MOST_WEIGHTS:
            raise FileError(
                f"it puts {count} channels in an order of {len(numbers)}; {_MOST_WEIGHTS} weights are the most"
            )
        weight = np.zeros((len(numbers), count, 1, 1), np.float32)
        weight[np.arange(len(numbers)), numbers] = 1
        return builder.add(Convolution.ordinary(weight), place)
    made = [builder.add(each, place) for each in ranges]
    return made[0] if len(made) == 1 else builder.add(Concat(), *made)
