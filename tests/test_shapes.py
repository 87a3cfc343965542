"""Shapes that are no tuples: every public function takes them, and says which size is unknown."""

from __future__ import annotations

from collections import deque

import numpy as np
import pytest

import tconv
from random_calls.shapes import check_shapes
from tconv.errors import GeometryError


class TensorShape:
    """A shape as TensorFlow has it: no sequence, and without a known rank an error."""

    def __init__(self, sizes):
        self.sizes = sizes

    def as_list(self):
        if self.sizes is None:
            raise ValueError("as_list() is not defined on an unknown TensorShape.")
        return list(self.sizes)

    def __repr__(self):
        return f"TensorShape({self.sizes})"


class Shape:
    """A shape that is iterable and indexed, and no Sequence."""

    def __init__(self, sizes):
        self.sizes = sizes

    def __iter__(self):
        return iter(self.sizes)

    def __getitem__(self, axis):
        return self.sizes[axis]

    def __len__(self):
        return len(self.sizes)


class Dimension:
    """A size as OpenVINO describes it."""

    def __init__(self, size):
        self.is_dynamic = size is None
        self.size = size

    def get_length(self):
        assert not self.is_dynamic
        return self.size


class Index:
    """A size with __index__ alone."""

    def __init__(self, size):
        self.size = size

    def __index__(self):
        return self.size


MAKERS = {
    "list": list,
    "TensorShape": TensorShape,
    "Shape": Shape,
    "PartialShape": lambda sizes: Shape([Dimension(size) for size in sizes]),
    "Index": lambda sizes: [Index(size) for size in sizes],
    "int32 array": lambda sizes: np.array(sizes, np.int32),
    "uint8 array": lambda sizes: np.array(sizes, np.uint8),
    "numpy scalars": lambda sizes: tuple(np.int64(size) for size in sizes),
    "object array": lambda sizes: np.array(sizes, object),
    "deque": deque,
}
WITHOUT_UNKNOWN = ("Index", "int32 array", "uint8 array", "numpy scalars")


@pytest.mark.parametrize("name", MAKERS)
def test_every_function_takes_every_shape(name):
    check_shapes(MAKERS[name], unknown=None if name in WITHOUT_UNKNOWN else MAKERS[name])


@pytest.mark.parametrize("unknown", [None, "batch", Dimension(None)])
def test_an_unknown_size_is_named(unknown):
    with pytest.raises(GeometryError, match=r"of unknown size on axis 0; every entry must be an integer"):
        tconv.Geometry((3, 3)).output_shape((unknown, 8))


def test_an_unknown_rank_is_named():
    with pytest.raises(
        GeometryError, match=r"input_shape is TensorShape\(None\), whose rank is unknown; an integer is"
    ):
        tconv.Geometry((3, 3)).output_shape(TensorShape(None))


@pytest.mark.parametrize("given", [{2, 3}, {2: 3}, "23", b"23", 2.5, object()])
def test_what_is_no_shape(given):
    with pytest.raises(GeometryError, match="an integer is needed"):
        tconv.Geometry((3, 3)).output_shape(given)
