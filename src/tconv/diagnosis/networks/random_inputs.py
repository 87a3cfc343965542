"""Random inputs that fit two networks: shapes from both files, channels moved where one has them last."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from tconv._arrays import Array
from tconv.errors import FileError, ShapeError
from tconv.models.traces.trace import Input

Sizes = tuple[int | None, ...]

_SIZES = {
    1: ((64,), (256,), (33,), (8,), (1024,), (8192,)),
    2: (
        *((32, 48), (64, 64), (16, 24), (8, 12), (7, 9), (33, 47), (128, 192), (256, 256), (512, 512)),
        *itertools.product(range(33, 40), repeat=2),  # remainders by 8, for networks that join tensors of odd sizes
    ),
    3: ((16, 24, 16), (8, 12, 8), (5, 6, 7), (32, 32, 32), (64, 64, 64)),
}
"""Spatial sizes that are tried in turn, by the number of axes; small, and even, for networks that halve and double."""


_MOST_SHAPES, _MOST_COMBINATIONS = 200, 40_000


class Relation(NamedTuple):
    """Way to turn an input of the first network into that of the second: an axis moved, a batch of one added or not."""

    move: tuple[int, int] | None
    batch: int
    """1 if the second network's input has a batch and the first's has none, -1 for the reverse, else 0."""

    @property
    def name(self) -> str:
        """The channels' place in the second network's input; "" if it is the same in both."""
        return "" if self.move is None else "channels last" if self.move == (1, -1) else "channels first"

    def forward(self, x: Array) -> Array:
        """Return the second network's input."""
        batched = x[None] if self.batch > 0 else x
        moved = batched if self.move is None else np.moveaxis(batched, *self.move)
        return np.ascontiguousarray(moved[0] if self.batch < 0 else moved)

    def backward(self, sizes: Sizes) -> Sizes | None:
        """Return the sizes of the first network's input for those of the second; None if there are none."""
        there = [1, *sizes] if self.batch < 0 else list(sizes)
        if self.move is not None:
            if len(there) < 3:
                return None
            source, target = self.move[::-1]
            moved = there.pop(source)
            there.insert(len(there) if target == -1 else target, moved)
        return tuple(there[1:] if self.batch > 0 else there)


MOVES = (None, (1, -1), (-1, 1))


class Feeds(NamedTuple):
    """Inputs of both networks: noise, noise of another kind, and both with their last bits changed."""

    noise: tuple[list[Array], list[Array]]
    image: tuple[list[Array], list[Array]]
    nudged: list[Array]
    nudged_image: list[Array]
    """For the first network."""
    relation: str
    """Place of the channels in the second network's inputs; "" if it is the same in both."""


def feeds_for(
    first: list[Input], second: list[Input], size: list[int] | None, seed: int, *, small: bool = False
) -> Iterator[Feeds]:
    """Yield inputs to try, the likeliest first, or with `small` the smallest, for a slow runtime.

    Raises FileError for inputs that do not fit each other.
    """
    pairs = _paired(first, second, size)
    options = [list(_shapes(one, two, size))[:_MOST_SHAPES] for one, two in pairs]
    if small:
        for found in options:
            found.sort(key=lambda entry: math.prod(entry[0]))
    places = itertools.product(*(range(len(found)) for found in options))
    usable = sorted(
        itertools.islice(places, _MOST_COMBINATIONS), key=lambda chosen: (sum(chosen), max(chosen, default=0))
    )
    for integers in (False, True) if any(not each.dtype for pair in pairs for each in pair) else (False,):
        for chosen in usable:
            shapes = [found[number] for found, number in zip(options, chosen, strict=True)]
            yield _drawn(pairs, shapes, first, second, np.random.default_rng(seed), integers)


def _paired(first: list[Input], second: list[Input], size: list[int] | None) -> list[tuple[Input, Input]]:
    """Return inputs of two networks in pairs: those with one name, then those whose shapes fit, in order.

    An input that one network lacks, because nothing reads it, is paired with itself. Raises FileError.
    """
    fewer, more = (first, second) if len(first) <= len(second) else (second, first)
    free = list(more)
    found: dict[int, Input] = {}
    for named in (True, False):
        for number, one in enumerate(fewer):
            fitting = (two for two in free if (not named or _same_name(one, two)) and any(_shapes(one, two, size)))
            if number not in found and (other := next(fitting, None)) is not None:
                found[number] = other
                free.remove(other)
    if missing := [one for number, one in enumerate(fewer) if number not in found]:
        others = ", ".join(f"{each.name!r} {_text(each.shape)}" for each in more)
        raise FileError(
            f"input {missing[0].name!r} {_text(missing[0].shape)} fits no input of the other network, which has "
            f"{others}; the same inputs are needed. Choose two files of one network"
        )
    pairs = [(one, found[number]) for number, one in enumerate(fewer)]
    pairs = pairs if fewer is first else [(two, one) for one, two in pairs]
    return pairs + [(each, each) for each in free]


def _same_name(one: Input, two: Input) -> bool:
    names = [each.name.removeprefix("serving_default_").split(":")[0] for each in (one, two)]
    return names[0] == names[1] and (one.shape is None or two.shape is None or len(one.shape) == len(two.shape))


def _shapes(one: Input, two: Input, size: list[int] | None) -> Iterator[tuple[tuple[int, ...], Relation]]:
    """Yield complete shapes of an input in the first network, with its relation to the second's."""
    batch = two.batched - one.batched
    relations = [Relation(move, batch) for move in MOVES]
    wanted = f"channels {two.layout}" if one.layout and two.layout and one.layout != two.layout else ""
    relations.sort(key=lambda relation: (-_equal_sizes(one, two, relation), relation.name != wanted))
    series = [
        [(shape, relation) for shape in _filled(merged, one, size)]
        for relation in relations
        for merged in _merged(one, two, relation, wanted)
    ]
    for row in itertools.zip_longest(*series):
        yield from (each for each in row if each is not None)


def _equal_sizes(one: Input, two: Input, relation: Relation) -> int:
    """Return the number of axes behind the batch whose sizes are known and equal in both networks."""
    back = None if one.shape is None or two.shape is None else relation.backward(two.shape)
    if one.shape is None or back is None:
        return 0
    return sum(a is not None and a == b for a, b in zip(one.shape[1:], back[1:], strict=False))


def _merged(one: Input, two: Input, relation: Relation, wanted: str) -> list[Sizes]:
    """Return shapes in the first network's layout that what both files contain allows."""
    if one.shape is None and two.shape is None:
        if relation.name != wanted:
            return []
        unbatched = [] if one.batched else [0]
        guesses = one.guesses or two.guesses or ((None, None, None, None),)
        return [tuple(np.delete(np.array(guess, object), unbatched)) for guess in guesses]
    back = None if two.shape is None else relation.backward(two.shape)
    if two.shape is not None and back is None:
        return []
    batched = {-1: one.shape, 0: None, 1: two.shape}[relation.batch]
    if batched and batched[0] not in (1, None):  # the other network runs one image
        return []
    if one.shape is None or two.shape is None:
        known = back if one.shape is None else one.shape
        assert known is not None
        return [known] if relation.name in ("", wanted) else []
    assert back is not None
    if len(back) != len(one.shape):
        return []
    if any(a is not None and b is not None and a != b for a, b in zip(one.shape, back, strict=True)):
        return []
    return [tuple(b if a is None else a for a, b in zip(one.shape, back, strict=True))]


def _filled(sizes: Sizes, one: Input, size: list[int] | None) -> Iterator[tuple[int, ...]]:
    """Yield shapes without unknown sizes."""
    ndim = len(sizes) - 1 - one.batched
    if ndim < 1 or ndim > 3:
        yield tuple((1 if axis == 0 else 8) if each is None else each for axis, each in enumerate(sizes))
        return
    channel = len(sizes) - 1 if one.layout == "last" else int(one.batched)
    spatial = [axis for axis in range(int(one.batched), len(sizes)) if axis != channel]
    if size and (len(size) not in (1, ndim) or min(size) < 1):
        raise ShapeError(
            f"--size is {size}; one size for all axes or {ndim} sizes are needed, each at least 1. Write --size 8"
        )
    done = set()
    for chosen in [tuple(size * (ndim if len(size) == 1 else 1))] if size else _SIZES[ndim]:
        usual = {0: 1} | dict(zip(spatial, chosen, strict=True)) | {channel: 3}
        filled = tuple(usual[axis] if each is None else each for axis, each in enumerate(sizes))
        if filled not in done:
            done.add(filled)
            yield filled


def _drawn(
    pairs: list[tuple[Input, Input]],
    chosen: list[tuple[tuple[int, ...], Relation]],
    first: list[Input],
    second: list[Input],
    rng: np.random.Generator,
    integers: bool,
) -> Feeds:
    """Return random inputs of these shapes, in the order of each network; `integers` is for inputs of unknown dtype."""
    kinds: list[tuple[dict[int, Array], dict[int, Array]]] = [({}, {}), ({}, {})]
    nudged: tuple[dict[int, Array], dict[int, Array]] = ({}, {})
    for (one, two), (shape, relation) in zip(pairs, chosen, strict=True):
        usual = "int64" if integers else "float32"
        types = [one.dtype or two.dtype or usual, two.dtype or one.dtype or usual]
        for (of_first, of_second), draw in zip(kinds, (_noise, _image), strict=True):
            values = draw(rng, shape, _coarser(*types))
            if one in first:
                of_first[first.index(one)] = values.astype(types[0])
            if two in second:
                of_second[second.index(two)] = relation.forward(values).astype(types[1])
        if one in first:
            for changed, (of_first, _) in zip(nudged, kinds, strict=True):
                changed[first.index(one)] = _nudged(rng, of_first[first.index(one)])
    listed = [tuple([side[number] for number in sorted(side)] for side in kind) for kind in kinds]
    return Feeds(
        (listed[0][0], listed[0][1]),
        (listed[1][0], listed[1][1]),
        [nudged[0][number] for number in sorted(nudged[0])],
        [nudged[1][number] for number in sorted(nudged[1])],
        next((relation.name for _, relation in chosen if relation.name), ""),
    )


def _coarser(one: str, two: str) -> str:
    """Return the dtype whose numbers both inputs can have."""
    order = ("bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64")
    known = [name for name in order if name in (one, two)]
    return known[0] if known else "float32"


def _noise(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> Array:
    if np.dtype(dtype).kind == "f":
        return np.asarray(rng.standard_normal(shape)).astype(dtype)
    if dtype == "bool":
        return np.asarray(rng.random(shape) < 0.5)
    return np.asarray(rng.integers(0, 256 if dtype == "uint8" else 8, shape)).astype(dtype)


def _image(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> Array:
    """Return numbers from 0 to 1, as pictures have them, for floats."""
    return np.asarray(rng.random(shape)).astype(dtype) if np.dtype(dtype).kind == "f" else _noise(rng, shape, dtype)


def _nudged(rng: np.random.Generator, x: Array) -> Array:
    """Return x with the last bit of each float changed at random."""
    if x.dtype.kind != "f":
        return x
    signs = rng.integers(0, 2, x.shape) * 2 - 1
    nudged: Array = np.nextafter(x, (signs * np.inf).astype(x.dtype))
    return nudged


def _text(shape: Sizes | None) -> str:
    return "of unknown shape" if shape is None else str([size if size is not None else "?" for size in shape])
