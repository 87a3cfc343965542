"""Metadata of images of OME-Zarr: axes, levels and physical coordinates (NGFF 0.4 in Zarr 2, 0.5 in Zarr 3)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from tconv.errors import FileError, ShapeError
from tconv.scale.stores.axis_layout import AxisLayout, named_axes

VERSION = "0.5"
_TYPES = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}
_ORDER = "tczyx"
"""Order that the format demands."""
_LETTERS = {"n": "t", "s": "c"}
"""Axes under other names that are stored as one of these."""


class Level(NamedTuple):
    """One level: the path of its array, and where its elements' centres lie: scale * index + translation."""

    path: str
    scale: tuple[float, ...]
    translation: tuple[float, ...]


@dataclass(frozen=True)
class OmeImage:
    """Image with levels, the largest first."""

    axes: tuple[dict[str, Any], ...]
    """name, type and unit of each axis"""
    levels: tuple[Level, ...]
    name: str | None
    omero: dict[str, Any] | None
    """colours and windows of channels"""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of axes; that of the channels is "c", whatever it is called."""
        return tuple("c" if axis.get("type") == "channel" else str(axis["name"]) for axis in self.axes)


def attributes_of(group: Any) -> dict[str, Any] | None:
    """Return the attributes of a group that is an image; None for another group."""
    attributes = dict(group.attrs)
    inner = attributes.get("ome")
    found = inner if isinstance(inner, dict) and "multiscales" in inner else attributes
    return found if "multiscales" in found else None


def read_image(group: Any, folder: Path) -> OmeImage:
    """Return the image in a group. Raises FileError for damaged metadata."""
    attributes = attributes_of(group)
    try:
        assert attributes is not None
        multiscale = attributes["multiscales"][0]
        axes = tuple(
            {"name": axis, "type": _TYPES.get(axis)} if isinstance(axis, str) else dict(axis)
            for axis in multiscale.get("axes", list(_ORDER))
        )
        outer = _transform(multiscale.get("coordinateTransformations"), len(axes))
        levels = []
        for dataset in multiscale["datasets"]:
            inner = _transform(dataset.get("coordinateTransformations"), len(axes))
            scale = tuple(a * b for a, b in zip(outer[0], inner[0], strict=True))
            translation = tuple(a * b + c for a, b, c in zip(outer[0], inner[1], outer[1], strict=True))
            levels.append(Level(str(dataset["path"]), scale, translation))
        assert levels
        return OmeImage(axes, tuple(levels), multiscale.get("name"), attributes.get("omero"))
    except (AssertionError, KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise FileError(
            f"{folder} has damaged metadata of OME-Zarr: {type(error).__name__}: {error}. "
            f"Write the path of an array in it, such as {folder / '0'}"
        ) from error


def _transform(given: Any, ndim: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    scale, translation = (1.0,) * ndim, (0.0,) * ndim
    for each in given or ():
        if each["type"] == "scale":
            factors = tuple(map(float, each["scale"]))
            scale = tuple(a * b for a, b in zip(scale, factors, strict=True))
            translation = tuple(a * b for a, b in zip(translation, factors, strict=True))
        elif each["type"] == "translation":
            moves = tuple(map(float, each["translation"]))
            translation = tuple(a + b for a, b in zip(translation, moves, strict=True))
    return scale, translation


def ordered_layout(layout: AxisLayout, name: str) -> AxisLayout:
    """Return the layout of an output in the order of the format: time, channels, z, y, x.

    Raises ShapeError for axes that the format has not: one or three of space, or several that count images.

    >>> from tconv.scale.stores.axis_layout import named_axes
    >>> ordered_layout(named_axes("NYXC", (5, 30, 40, 3), 2), "a.ome.zarr").names
    ('t', 'c', 'y', 'x')
    """
    letters = [""] * len(layout.names)
    if layout.channel is not None:
        letters[layout.channel] = "c"
    for axis, letter in zip(layout.spatial, "zyx"[-layout.ndim :], strict=False):
        letters[axis] = letter
    for axis in layout.batch:
        letter = layout.names[axis][:1].lower()
        letters[axis] = letter if letter in "tz" else "t"
    in_order = [letters[axis] for axis in layout.batch] == sorted(letters[axis] for axis in layout.batch)
    if not 2 <= layout.ndim <= 3 or len(set(letters)) < len(letters) or not in_order:
        raise ShapeError(
            f"{name} would have axes {', '.join(layout.names)}; OME-Zarr has t, c, z, y and x in this order, two or "
            "three of them of space. Write output=NAME.zarr, without levels"
        )
    names = sorted(letters, key=_ORDER.index)
    shape = tuple(layout.shape[letters.index(letter)] for letter in names)
    return named_axes("".join(names), shape, layout.ndim)


def enlarged_image(
    layout: AxisLayout, like: Any, name: str, level_sizes: list[tuple[int, ...]], channels_kept: bool
) -> OmeImage:
    """Return the metadata of an output whose levels have these sizes along space.

    Input and output cover the same extent, so the centre of the first of f times as many elements lies (1 - 1/f)/2 of
    an old element before the old centre. Each further level has elements of twice the size.
    """
    image: OmeImage | None = getattr(like, "image", None)
    before = like.layout if image else None
    axes, scale, first = [], [], []
    for place, letter in enumerate(layout.names):
        unit, size, centre = None, 1.0, 0.0
        if image and before and letter in image.names:
            old = image.names.index(letter)
            level = image.levels[like.level]
            unit, size, centre = image.axes[old].get("unit"), level.scale[old], level.translation[old]
        if place in layout.spatial and like is not None:
            old_size = like.shape[2 + layout.spatial.index(place)]
            enlarged = size * old_size / layout.shape[place]
            size, centre = enlarged, centre + (enlarged - size) / 2
        axes.append({"name": letter, "type": _TYPES[letter], **({"unit": unit} if unit else {})})
        scale.append(size)
        first.append(centre)
    levels = []
    for number in range(len(level_sizes)):
        factors = [2.0**number if place in layout.spatial else 1.0 for place in range(len(layout.names))]
        scales = tuple(size * factor for size, factor in zip(scale, factors, strict=True))
        moves = tuple(
            centre + size * (factor - 1) / 2 for centre, size, factor in zip(first, scale, factors, strict=True)
        )
        levels.append(Level(str(number), scales, moves))
    omero = image.omero if image and channels_kept else None
    return OmeImage(tuple(axes), tuple(levels), (image.name if image else None) or name, omero)


def group_attributes(image: OmeImage) -> dict[str, Any]:
    """Return the attributes of the group of an image, version 0.5."""
    datasets = [
        {
            "path": level.path,
            "coordinateTransformations": [
                {"type": "scale", "scale": list(level.scale)},
                {"type": "translation", "translation": list(level.translation)},
            ],
        }
        for level in image.levels
    ]
    multiscale = {
        "name": image.name,
        "axes": list(image.axes),
        "datasets": datasets,
        "type": "mean",
        "metadata": {"description": "each level has the means of 2 elements along each axis of the level before it"},
    }
    omero = {} if image.omero is None else {"omero": image.omero}
    return {"ome": {"version": VERSION, "multiscales": [multiscale], **omero}}
