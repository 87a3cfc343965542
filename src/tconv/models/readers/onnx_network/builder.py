"""Nodes of a network as they are read, and the sizes of their outputs for several sizes of the picture.

Arithmetic on sizes is followed by computing it for each of these sizes; `samples` chooses them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tconv._arrays import Array
from tconv.errors import ShapeError
from tconv.models.inventory.model_layer import Size
from tconv.models.layers import Convolution, Node
from tconv.models.steps.step import NetworkStep, Shape

_CONSECUTIVE, _MULTIPLES = 16, (128, 192, 320, 256)
"""Sizes with every rest of a division by up to 16, and sizes that such numbers and 32 and 64 divide."""


def samples(fixed: tuple[Size, Size]) -> list[Shape]:
    """Return sizes of pictures; the first one is that of the file, as far as it states numbers.

    Height and width of each have the same rest of a division by 8: a network may take pairs of multiples only.

    >>> samples((67, "width"))[:2]
    [(67, 80), (64, 80)]
    """
    sizes = [(64 + number, 80 + number + 8 * (number * 5 % 3)) for number in range(_CONSECUTIVE)]
    sizes += zip(_MULTIPLES, _MULTIPLES[1:] + _MULTIPLES[:1], strict=True)
    if any(isinstance(size, int) for size in fixed):
        first = tuple(size if isinstance(size, int) else usual for size, usual in zip(fixed, sizes[0], strict=True))
        sizes.insert(0, (first[0], first[1]))
    return sizes


class Atom(NamedTuple):
    """Whole axis of a picture, or a factor of one: channels that were split in a reshape."""

    kind: str
    """Letter of the axis: N, C, H or W."""
    path: tuple[int, ...]
    """Way from the whole axis to the factor: 0 for the outer part of a split, 1 for the inner one."""
    sizes: tuple[int, ...]
    """Sizes for all samples."""


class GraphPicture(NamedTuple):
    """Tensor of an ONNX graph that is the output of a node of the network, with its axes as the graph has them."""

    place: int
    axes: tuple[tuple[Atom, ...], ...]

    @property
    def labels(self) -> str:
        """Letters of the axes, such as "NHWC"; empty if axes are split, joined or missing."""
        letters = "".join(axis[0].kind for axis in self.axes if len(axis) == 1 and not axis[0].path)
        return letters if len(letters) == len(self.axes) == len(set(letters)) == 4 else ""

    def axis(self, letter: str) -> int:
        """Return the number of the axis with this letter."""
        return self.labels.index(letter)

    @property
    def shape(self) -> str:
        """Return the axes in words: "[N, C, H, W]", with factors as "C/4*4"."""
        return (
            "["
            + ", ".join("*".join(atom.kind + "'" * len(atom.path) for atom in axis) or "1" for axis in self.axes)
            + "]"
        )


class Sampled(NamedTuple):
    """Numbers that are computed from sizes: one array for each sample; None where the network does not run."""

    arrays: tuple[Array | None, ...]


class Pictures(NamedTuple):
    """Sequence of pictures."""

    parts: tuple[GraphPicture, ...]


class AboveLimit(NamedTuple):
    """Mask of the numbers of a picture that are above a limit."""

    picture: GraphPicture
    limit: float


class NetworkBuilder:
    """Network that grows node by node."""

    def __init__(self, channels: int, sizes: Sequence[Shape], batch: int = 1) -> None:
        self.nodes: list[Node] = []
        self.channels = [channels]
        self.sizes: list[list[Shape]] = [list(sizes)]
        self.alive = [True] * len(sizes)
        """False for samples of sizes that the network does not take."""
        self.batch = batch
        self.notes: dict[str, None] = {}

    def add(self, step: NetworkStep, *places: int) -> int:
        """Append a node; return its place. Raises ShapeError for inputs that do not fit."""
        if isinstance(step, Convolution) and [self.channels[place] for place in places] != [step.channels[0]]:
            given = [self.channels[place] for place in places]
            raise ShapeError(f"it has a weight for {step.channels[0]} input channels; it is given {given}")
        channels = step.output_channels([self.channels[place] for place in places])
        self.sizes.append(self._sizes(step, places))
        self.nodes.append(Node(step, places))
        self.channels.append(channels)
        return len(self.nodes)

    def _sizes(self, step: NetworkStep, places: Sequence[int]) -> list[Shape]:
        found: list[Shape] = []
        known: dict[tuple[int, ...], int] = {}
        failed: dict[int, ShapeError] = {}
        for number, alive in enumerate(self.alive):
            given = [self.sizes[place][number] for place in places]
            if not alive:
                found.append((0, 0))
                continue
            try:
                pair = []
                for axis in (0, 1):
                    key = axis, *(size[axis] for size in given)
                    if key not in known:
                        known[key] = step.output_extent(list(key[1:]), axis)
                    pair.append(known[key])
                found.append((pair[0], pair[1]))
            except ShapeError as error:
                failed[number] = error
                found.append((0, 0))
        if len(failed) == sum(self.alive):
            raise next(iter(failed.values()))
        for number in failed:
            self.alive[number] = False
        return found

    def extents(self, place: int, axis: int) -> Array:
        """Return the heights (axis 1: widths) of a node's output for all samples."""
        return np.array([size[axis] for size in self.sizes[place]], np.int64)

    def whole(self, place: int, labels: str = "NCHW") -> GraphPicture:
        """Return the output of a node as a picture with these axes."""
        count = len(self.alive)
        sizes = {
            "N": (self.batch,) * count,
            "C": (self.channels[place],) * count,
            "H": tuple(size[0] for size in self.sizes[place]),
            "W": tuple(size[1] for size in self.sizes[place]),
        }
        return GraphPicture(place, tuple((Atom(letter, (), sizes[letter]),) for letter in labels))

    def note(self, text: str) -> None:
        """Keep a sentence about the file for the report; each once."""
        self.notes[text] = None
