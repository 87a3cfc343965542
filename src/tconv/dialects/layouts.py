"""Axis orders of native arrays, converted to canonical `[N, C, *spatial]` and `[C_in, C_out/groups, *kernel]`.

A pattern is a string of axis letters in which `*` stands for all spatial axes in order: "NC*", "N*C", "C*" for data,
"IO*", "*OI" for weights.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tconv._arrays import Array

Axis = str | int  # a letter, or the number of a spatial axis

_SPATIAL_NAMES = {1: ("w",), 2: ("h", "w"), 3: ("d", "h", "w")}


def axes_of(pattern: str, ndim: int) -> tuple[Axis, ...]:
    """Return the axes of a pattern: ("N", 0, 1, "C") for "N*C" in 2-D."""
    head, _, tail = pattern.partition("*")
    return (*head, *range(ndim), *tail)


def _spatial(ndim: int, prefix: str) -> tuple[str, ...]:
    return tuple(f"{prefix}{name}" for name in _SPATIAL_NAMES.get(ndim, tuple(str(axis) for axis in range(ndim))))


@dataclass(frozen=True)
class DataLayout:
    """Axis order of x or y. Without "N" the array is one image, not a batch.

    >>> layout = DataLayout.of("N*C", 2)
    >>> layout.describe()
    '[N, h, w, C]'
    """

    axes: tuple[Axis, ...]

    @classmethod
    def of(cls, pattern: str, ndim: int) -> DataLayout:
        """Return the layout of a pattern in this number of spatial axes."""
        return cls(axes_of(pattern, ndim))

    @property
    def _canonical(self) -> list[Axis]:
        return ["N", "C", *sorted(axis for axis in self.axes if isinstance(axis, int))]

    def canonical(self, x: Array) -> Array:
        """Return a view of x as [N, C, *spatial]."""
        view = x.transpose([self.axes.index(axis) for axis in self._canonical if axis in self.axes])
        return view if "N" in self.axes else view[None]

    def native_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the native shape of an array with this canonical shape."""
        order = self._canonical
        return tuple(shape[order.index(axis)] for axis in self.axes)

    def sizes(self, shape: tuple[int, ...]) -> tuple[int, int, tuple[int, ...]]:
        """Return batch, channels and spatial sizes of a native shape."""
        named = dict(zip(self.axes, shape, strict=True))
        spatial = tuple(named[axis] for axis in self._canonical[2:])
        return named.get("N", 1), named["C"], spatial

    def describe(self) -> str:
        """Return the layout as text, for example [N, C, h, w]."""
        names = _spatial(len(self._canonical) - 2, "")
        return "[" + ", ".join(names[axis] if isinstance(axis, int) else axis for axis in self.axes) + "]"


@dataclass(frozen=True)
class WeightLayout:
    """Axis order of a weight: input channels (I), output channels (O) and the taps.

    >>> import tconv
    >>> tconv.dialect("keras").weight_layout(2).describe()
    '[kh, kw, C_out, C_in]'
    >>> tconv.dialect("jax").weight_layout(2).describe()
    '[kh, kw, C_in, C_out]'

    `grouped` is the axis that contains the channels of all groups, while the other one counts those of one group: "I"
    is [C_in, C_out/g], "O" is [C_out, C_in/g]; "G" stands for an axis of its own that counts the groups. With `flip`
    the taps are stored in reversed order along every spatial axis.
    """

    axes: tuple[Axis, ...]
    grouped: str = "I"
    flip: bool = False

    @classmethod
    def of(cls, pattern: str, ndim: int, grouped: str = "I", flip: bool = False) -> WeightLayout:
        """Return the layout of a pattern in this number of spatial axes."""
        return cls(axes_of(pattern, ndim), grouped, flip)

    @property
    def _spatial(self) -> list[int]:
        return sorted(axis for axis in self.axes if isinstance(axis, int))

    def canonical(self, weight: Array, groups: int) -> Array:
        """Return the weight as [C_in, C_out/g, *kernel], not flipped: a view, unless grouped is "O" and groups > 1."""
        spatial = self._spatial
        order: list[Axis] = [
            *(("G",) if self.grouped == "G" else ()),
            *("OI" if self.grouped == "O" else "IO"),
            *spatial,
        ]
        w = weight.transpose([self.axes.index(axis) for axis in order])
        if self.grouped == "G":
            w = w.reshape(w.shape[0] * w.shape[1], *w.shape[2:])
        elif self.grouped == "O":
            w = self._regroup(w, groups)
        return np.flip(w, tuple(range(2, w.ndim))) if self.flip else w

    def native(self, weight: Array, groups: int) -> Array:
        """Return a canonical weight in this layout: the inverse of `canonical`."""
        spatial = self._spatial
        w = np.flip(weight, tuple(range(2, weight.ndim))) if self.flip else weight
        order: list[Axis] = ["I", "O", *spatial]
        if self.grouped == "G":
            w = w.reshape(groups, w.shape[0] // groups, *w.shape[1:])
            order = ["G", *order]
        elif self.grouped == "O":
            w = self._regroup(w, groups)
            order = ["O", "I", *spatial]
        return w.transpose([order.index(axis) for axis in self.axes])

    @staticmethod
    def _regroup(w: Array, groups: int) -> Array:
        """Convert [g*a, b, *k] to [g*b, a, *k]. It is its own inverse."""
        split = w.reshape(groups, w.shape[0] // groups, *w.shape[1:]).swapaxes(1, 2)
        return split.reshape(groups * split.shape[1], *split.shape[2:])

    def sizes(self, shape: tuple[int, ...]) -> dict[Axis, int]:
        """Return the size of each lettered or numbered axis of a native shape."""
        return dict(zip(self.axes, shape, strict=True))

    def kernel(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the kernel sizes in a native shape."""
        sizes = self.sizes(shape)
        return tuple(sizes[axis] for axis in self._spatial)

    def describe(self) -> str:
        """Return the layout as text, for example [C_in, C_out, kh, kw], as for a layer without groups."""
        names = _spatial(len(self._spatial), "k")
        letters = {"I": "C_in", "O": "C_out", "G": "groups"}
        return "[" + ", ".join(names[axis] if isinstance(axis, int) else letters[axis] for axis in self.axes) + "]"
