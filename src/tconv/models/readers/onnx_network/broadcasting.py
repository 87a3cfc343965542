"""Constants that are broadcast against a picture, as arrays [C, 1, 1] or [C, H, W] of its node."""

from __future__ import annotations

from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.errors import FileError
from tconv.models.readers.onnx_graph import label
from tconv.models.readers.onnx_network.builder import GraphPicture
from tconv.models.readers.onnx_network.inputs import NodeReader


def to_channels(reader: NodeReader, node: Any, picture: GraphPicture, constant: Array) -> Array:
    """Return a constant as the numbers of the picture's node: one number [1], or an array [C, H, W].

    Raises FileError if its axes are not those of a picture's channels, rows and columns.
    """
    if constant.size == 1:
        if constant.ndim > len(picture.axes):
            raise _unfit(node, picture, constant)
        return constant.reshape(1)
    rank = len(picture.axes)
    shape = (1,) * (rank - constant.ndim) + constant.shape
    if len(shape) > rank:
        raise _unfit(node, picture, constant)
    letters = [axis[0].kind if len(axis) == 1 and not axis[0].path else "" for axis in picture.axes]
    sizes = {}
    for letter, size in zip(letters, shape, strict=True):
        if size != 1 and letter not in ("C", "H", "W"):
            raise _unfit(node, picture, constant)
        sizes[letter] = size
    order = [letter for letter in letters if letter in ("C", "H", "W") and sizes[letter] != 1]
    squeezed = constant.reshape([sizes[letter] for letter in order])
    wanted = [letter for letter in "CHW" if letter in order]
    moved = squeezed.transpose([order.index(letter) for letter in wanted])
    return np.ascontiguousarray(moved.reshape([sizes.get(letter, 1) for letter in "CHW"]))


def _unfit(node: Any, picture: GraphPicture, constant: Array) -> FileError:
    return FileError(
        f"{label(node)} combines the axes {picture.shape} of the picture with a constant of {constant.shape}; one "
        "number, or numbers per channel, row and column are needed"
    )
