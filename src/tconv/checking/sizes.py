"""Sizes that a file leaves open: the symbols in them, numbers chosen for these, and sizes of outputs as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from tconv._arguments import ints_of
from tconv.errors import ArgumentError
from tconv.models.inventory.model_layer import ModelInventory, ModelLayer, Size
from tconv.models.inventory.symbols import evaluate, plus, symbols_in, times

LARGEST = (1 << 31) - 1
"""Largest size of an axis that can be chosen: that of runtimes' 32 bit integers."""
DEFAULTS = {1: 128, 2: 64, 3: 32}
"""Sizes that are chosen for open axes, by the number of spatial axes."""


class Symbols:
    """Numbers for the symbols of one model."""

    def __init__(self, model: ModelInventory, size: int | Sequence[int] | None = None) -> None:
        self._values: dict[str, int] = {}
        self._size = size
        self._followed: dict[int, tuple[int, ...]] = {}
        self.is_size_used = size is None
        """True once some open size has a number that the caller chose."""
        for each in model.inputs:
            for axis, entry in enumerate(each.shape or ()):
                if isinstance(entry, str) and axis == 0 and len(each.shape or ()) > 1:
                    self._values.setdefault(entry, 1)
        for each in model.inputs:
            for axis, number in self.given_sizes(each.shape or ()).items():
                entry = (each.shape or ())[axis]
                if isinstance(entry, str):
                    self._values.setdefault(entry, number)

    def given_sizes(self, shape: Sequence[Size]) -> dict[int, int]:
        """Return the sizes that the caller chose for an input, by axis: of its open ones, the batch apart."""
        if self._size is None:
            return {}
        open_axes = [axis for axis, entry in enumerate(shape) if axis and not isinstance(entry, int)]
        given = [self._size] * len(open_axes) if isinstance(self._size, int) else list(self._size)
        if not open_axes or len(given) != len(open_axes):
            return {}
        self.is_size_used = True
        return dict(zip(open_axes, given, strict=True))

    def value(self, size: Size, ndim: int, axis: int | None = None) -> int:
        """Return a size as a number: its own, that of its symbols, or one chosen for a layer of `ndim` axes.

        `axis` is the spatial axis, None for the batch.
        """
        if isinstance(size, int):
            return size
        if size is None:
            return self._default(ndim, axis)
        for name in symbols_in(size):
            if name not in self._values:
                self._values[name] = self._default(ndim, axis)
        known = evaluate(size, self._values)
        return known if known is not None and known > 0 else self._default(ndim, axis)

    def follow(self, layer: ModelLayer, sizes: Sequence[int]) -> None:
        """Take these spatial sizes for an x of which the file tells none: those of the layer that computes it."""
        self._followed[id(layer)] = tuple(sizes)

    def followed(self, layer: ModelLayer) -> tuple[int, ...] | None:
        """Return the sizes of an x that follow from another layer's output; None if none do."""
        return self._followed.get(id(layer))

    def _default(self, ndim: int, axis: int | None) -> int:
        if axis is None:
            return 1
        given = (self._size,) * ndim if isinstance(self._size, int) else self._size
        if given is None or len(given) != ndim or axis >= ndim:
            return DEFAULTS.get(ndim, 16)
        self.is_size_used = True
        return given[axis]

    def chosen(self, sizes: Sequence[Size]) -> tuple[str, ...]:
        """Return the numbers of the symbols in these sizes as text: "time = 128"."""
        names = dict.fromkeys(name for size in sizes if isinstance(size, str) for name in symbols_in(size))
        return tuple(f"{name} = {self._values[name]}" for name in names if name in self._values)


def checked_size(size: Any) -> int | tuple[int, ...] | None:
    """Return the sizes that a caller gave. Raises ArgumentError for anything but one number, or one for each axis."""
    if size is None:
        return None
    if isinstance(size, int) and not isinstance(size, bool):
        return _below_limit(ints_of(size, "size", 1, least=1, example="size=64"))[0]
    try:
        entries = tuple(size)
    except TypeError:
        raise ArgumentError(f"size is {size!r}; a number, or one for each axis, is needed. Write size=64") from None
    return _below_limit(ints_of(entries, "size", max(1, len(entries)), least=1, example="size=(64, 64)"))


def _below_limit(sizes: tuple[int, ...]) -> tuple[int, ...]:
    if max(sizes) > LARGEST:
        raise ArgumentError(f"size is {max(sizes):,}; at most {LARGEST:,} is possible. Write size=64")
    return sizes


def affine(size: Size, factor: int, offset: int) -> Size:
    """Return factor * size + offset as a size: a number, or text such as "2*time + 1"."""
    return plus(times(size, factor), offset)


def trial_sizes(shape: Sequence[Size], sample: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Yield spatial sizes to try: those of the file where it fixes them, else a range, all axes with another phase."""
    if all(isinstance(size, int) for size in shape):
        yield tuple(sample)
        return
    for step in range(24):
        yield tuple(
            number if isinstance(size, int) else 1 + (step * (5 + 2 * axis) + axis) % 47
            for axis, (size, number) in enumerate(zip(shape, sample, strict=True))
        )
    yield tuple(sample)
