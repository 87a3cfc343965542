"""Reshapes, transposes, and axes of size 1 that are added and dropped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tconv.errors import FileError
from tconv.models.readers.onnx_graph import label
from tconv.models.readers.onnx_network.axes import long_atoms, picked, reshaped, settled
from tconv.models.readers.onnx_network.builder import Atom, GraphPicture, Sampled
from tconv.models.readers.onnx_network.inputs import NodeReader
from tconv.models.steps.depth_to_space import ChannelsToPixels, PixelsToChannels

_MOST_CHANNELS = 1 << 12
"""Most channels that repeated ones may be."""


def _transpose(reader: NodeReader, node: Any) -> GraphPicture:
    picture = reader.picture(node)
    rank = len(picture.axes)
    order = reader.attributes(node).get("perm", list(range(rank))[::-1])
    if sorted(order) != list(range(rank)):
        raise FileError(f"{label(node)} has perm={order}; an order of {rank} axes is needed")
    return settled(reader.builder, picture._replace(axes=tuple(picture.axes[axis] for axis in order)))


def _sizes(picture: GraphPicture, axis: int, at: list[int]) -> Any:
    result = np.ones(len(at), np.int64)
    for atom in picture.axes[axis]:
        result *= np.array([atom.sizes[number] for number in at], np.int64)
    return result


def _reshape(reader: NodeReader, node: Any) -> GraphPicture:
    picture = reader.picture(node)
    arrays, at = reader.sampled(node, 1, "shape")
    wanted = np.array([array.ravel() for array in arrays], np.int64)
    keeps_zero = reader.attributes(node).get("allowzero", 0)
    total = np.ones(len(at), np.int64)
    for axis in range(len(picture.axes)):
        total *= _sizes(picture, axis, at)
    for axis in range(wanted.shape[1]):
        copied = (wanted[:, axis] == 0) & (not keeps_zero)
        if copied.any() and axis < len(picture.axes):
            wanted[copied, axis] = _sizes(picture, axis, at)[copied]
    open_places = wanted == -1
    if (open_places.sum(axis=1) > 1).any() or (wanted < -1).any():
        raise FileError(f"{label(node)} has a shape of {wanted[0].tolist()}; one -1 at most is needed")
    rest = np.where(open_places, 1, wanted).prod(axis=1)
    fits = (rest > 0) & (total % np.maximum(rest, 1) == 0) & ((rest == total) | open_places.any(axis=1))
    if not fits.any():
        raise FileError(f"{label(node)} has a shape of {wanted[0].tolist()}, which does not fit {picture.shape}")
    for number, fit in zip(at, fits, strict=True):  # a size that the network does not take: rows that blocks leave over
        reader.builder.alive[number] &= bool(fit)
    at = [number for number, fit in zip(at, fits, strict=True) if fit]
    wanted = np.where(open_places, (total // np.maximum(rest, 1))[:, None], wanted)[fits]
    constant = reader.sized and at == [0]
    axes = reshaped(reader.builder, picture, wanted, at, constant)
    return settled(reader.builder, GraphPicture(picture.place, axes))


def _axes(reader: NodeReader, node: Any, rank: int) -> list[int]:
    given = reader.integers(node, 1, "axes")
    if given is None or not all(-rank <= axis < rank for axis in given):
        raise FileError(f"{label(node)} has axes={given}; axes from {-rank} to {rank - 1} are needed")
    return sorted({axis % rank for axis in given})


def _unsqueeze(reader: NodeReader, node: Any) -> GraphPicture:
    picture = reader.picture(node)
    given = reader.integers(node, 1, "axes") or []
    rank = len(picture.axes) + len(given)
    axes = list(picture.axes)
    for axis in _axes(reader, node, rank):
        axes.insert(axis, ())
    return settled(reader.builder, picture._replace(axes=tuple(axes)))


def _squeeze(reader: NodeReader, node: Any) -> GraphPicture:
    picture = reader.picture(node)
    rank = len(picture.axes)
    if reader.has(node, 1) or "axes" in reader.attributes(node):
        gone = _axes(reader, node, rank)
    else:
        gone = [number for number, axis in enumerate(picture.axes) if not long_atoms(axis)]
    if any(long_atoms(picture.axes[axis]) for axis in gone):
        raise FileError(f"{label(node)} drops axes {gone} of {picture.shape}, which are longer than 1")
    axes = tuple(axis for number, axis in enumerate(picture.axes) if number not in gone)
    return settled(reader.builder, picture._replace(axes=axes))


def _flatten(reader: NodeReader, node: Any) -> GraphPicture:
    picture = reader.picture(node)
    rank = len(picture.axes)
    axis = reader.attributes(node).get("axis", 1)
    if not -rank <= axis <= rank:
        raise FileError(f"{label(node)} has axis={axis}; {-rank} to {rank} is needed")
    axis = axis % rank if axis < 0 else axis
    halves = picture.axes[:axis], picture.axes[axis:]
    return picture._replace(axes=tuple(tuple(a for each in half for a in long_atoms(each)) for half in halves))


def _expand(reader: NodeReader, node: Any) -> GraphPicture:
    """Expand or Tile: an axis of size 1 that becomes equal channels, or nothing."""
    picture = reader.picture(node)
    arrays, at = reader.sampled(node, 1, "")
    wanted = np.array([array.ravel() for array in arrays], np.int64)
    rank = max(len(picture.axes), wanted.shape[1])
    axes = [()] * (rank - len(picture.axes)) + list(picture.axes)
    wanted = np.concatenate([np.ones((len(at), rank - wanted.shape[1]), np.int64), wanted], axis=1)
    result, place = list(axes), picture.place
    for axis in range(rank):
        present = np.prod([[atom.sizes[n] for n in at] for atom in axes[axis]] or [[1] * len(at)], axis=0)
        times = wanted[:, axis] if node.op_type == "Tile" or not (present != 1).any() else np.ones(len(at), np.int64)
        if node.op_type == "Expand" and ((wanted[:, axis] != 1) & (present != 1) & (wanted[:, axis] != present)).any():
            raise FileError(f"{label(node)} expands the axes {picture.shape} to {wanted[0].tolist()}, which do not fit")
        if (times == 1).all():
            continue
        here = long_atoms(result[axis])
        repeatable = not here or (node.op_type == "Tile" and {atom.kind for atom in here} == {"C"})
        if len(set(times.tolist())) != 1 or times[0] < 1 or not repeatable:
            raise FileError(
                f"{label(node)} repeats the axes {picture.shape} to {wanted[0].tolist()}; whole channels can "
                "be repeated"
            )
        count, repeats = reader.builder.channels[place], int(times[0])
        if count * repeats > _MOST_CHANNELS:
            raise FileError(f"{label(node)} repeats {count} channels {repeats} times; {_MOST_CHANNELS} are the most")
        place = picked(reader.builder, place, np.repeat(np.arange(count), repeats))
        # the copies are the innermost factor of the channels, wherever the graph has them
        copies = Atom("C", (1,), (repeats,) * len(reader.builder.alive))
        for number, each in enumerate(result):
            result[number] = tuple(atom._replace(path=(0, *atom.path)) if atom.kind == "C" else atom for atom in each)
        result[axis] = (copies, *result[axis])
    return settled(reader.builder, GraphPicture(place, tuple(result)))


def _depth_to_space(reader: NodeReader, node: Any) -> GraphPicture:
    attributes = reader.attributes(node)
    r, mode = attributes.get("blocksize", 0), attributes.get("mode", "DCR")
    if r < 1 or mode not in ("DCR", "CRD"):
        raise FileError(f"{label(node)} has blocksize={r} and mode={mode!r}; 1 or more, DCR or CRD, are needed")
    place = reader.place(node)
    channels = reader.builder.channels[place]
    if channels % r**2:
        raise FileError(f"{label(node)} has {channels} channels, which {r} x {r} blocks do not divide")
    order = "channels" if mode == "CRD" else "blocks"
    return reader.builder.whole(reader.builder.add(ChannelsToPixels(r, order), place))


def _space_to_depth(reader: NodeReader, node: Any) -> GraphPicture:
    r = reader.attributes(node).get("blocksize", 0)
    if r < 1:
        raise FileError(f"{label(node)} has blocksize={r}; 1 or more is needed")
    return reader.builder.whole(reader.builder.add(PixelsToChannels(r, "blocks"), reader.place(node)))


def _shape(reader: NodeReader, node: Any) -> Sampled:
    picture = reader.picture(node)
    attributes = reader.attributes(node)
    cut = slice(attributes.get("start", 0), attributes.get("end", len(picture.axes)))
    every = list(range(len(reader.builder.alive)))
    sizes = np.array([_sizes(picture, axis, every) for axis in range(len(picture.axes))], np.int64).T
    return Sampled(tuple(each[cut] if alive else None for each, alive in zip(sizes, reader.builder.alive, strict=True)))


def _size(reader: NodeReader, node: Any) -> Sampled:
    shape = _shape(reader, node)
    return Sampled(tuple(None if each is None else np.asarray(each.prod()) for each in shape.arrays))


def _same(reader: NodeReader, node: Any) -> GraphPicture:
    return reader.picture(node)


def _cast(reader: NodeReader, node: Any) -> GraphPicture | Sampled:
    """Cast among floats, which changes nothing here; integers of the input are read as their numbers."""
    import onnx_ir

    if not reader.is_picture(node, 0):  # CastLike of a constant
        return Sampled((reader.constant(node, 0).astype(np.float32),) * len(reader.builder.alive))
    picture = reader.picture(node)
    kind = onnx_ir.DataType(reader.attributes(node).get("to", 1)).name if node.op_type == "Cast" else "FLOAT"
    if kind not in ("FLOAT", "FLOAT16", "BFLOAT16", "DOUBLE"):
        raise FileError(
            f"{label(node)} turns the picture into {kind.lower()}; floats are needed. Write the network without it"
        )
    if kind != "FLOAT":
        reader.builder.note(f"it computes in {kind.lower()}; the network runs in float32")
    return picture


OPERATORS: dict[str, Callable[[NodeReader, Any], GraphPicture | Sampled]] = {
    "Transpose": _transpose,
    "Reshape": _reshape,
    "Unsqueeze": _unsqueeze,
    "Squeeze": _squeeze,
    "Flatten": _flatten,
    "Expand": _expand,
    "Tile": _expand,
    "DepthToSpace": _depth_to_space,
    "SpaceToDepth": _space_to_depth,
    "Shape": _shape,
    "Size": _size,
    "Identity": _same,
    "Dropout": _same,
    "Cast": _cast,
    "CastLike": _cast,
}
"""Operators of this family."""
