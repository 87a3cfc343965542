"""Images of OME-Zarr: a level is read, and an image with all its levels is written, each from the one before it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.errors import ArgumentError, FileError
from tconv.scale.operators.block_mean import BlockMean
from tconv.scale.regions import Region, Sizes
from tconv.scale.stores.axis_layout import AxisLayout, layout_for
from tconv.scale.stores.formats import SourceOptions, StoreFormat, TargetOptions
from tconv.scale.stores.ome_metadata import (
    OmeImage,
    attributes_of,
    enlarged_image,
    group_attributes,
    ordered_layout,
    read_image,
)
from tconv.scale.stores.raw_file import file_errors
from tconv.scale.stores.store import ImageSource, ImageTarget
from tconv.scale.stores.zarr_array import ZarrArray, ZarrSource
from tconv.scale.stores.zarr_files import is_node, open_node, sync_files, zarr
from tconv.scale.stores.zarr_store import array_source, create_arguments
from tconv.scale.stores.zarr_target import ZarrTarget
from tconv.scale.tile_run import Stage

_SMALLEST = 256
"""Largest size along space of the last level."""


class OmeSource(ZarrSource):
    """One level of an image."""

    def __init__(self, store: ZarrArray, image: OmeImage, level: int) -> None:
        super().__init__(store, {}, named=True)
        self.image, self.level = image, level
        self.description = f"level {level} of {len(image.levels)}, {self.description}"


class LevelTarget(ZarrTarget):
    """One level of an image that is written; level 0 makes the group of all."""

    def __init__(
        self, name: str, layout: AxisLayout, dtype: np.dtype[Any], created: dict[str, Any], image: OmeImage, level: int
    ) -> None:
        super().__init__(name, layout, dtype, created)
        self.image, self.level = image, level
        self.options: TargetOptions | None = None
        if level == 0:
            self.description += f", {len(image.levels)} levels of OME-Zarr"

    def create(self, place: Path) -> None:
        """Make the group, for the first level, and the array of the level. Raises FileError for a taken place."""
        if self.level == 0:
            if place.exists():
                raise FileError(f"{place} exists, and nothing is overwritten. Choose another name")
            with file_errors(place, "written"):
                place.parent.stat()
                zarr().create_group(str(place), attributes=group_attributes(self.image))
            sync_files(place, [place / "zarr.json"])
        super().create(place / str(self.level))

    def open(self, place: Path) -> None:
        """Open the array of the level."""
        super().open(place / str(self.level))

    def settings(self) -> dict[str, Any]:
        """Return format, sizes, chunks, codecs and metadata."""
        return (
            {**super().settings(), "ome": group_attributes(self.image)["ome"]}
            if self.level == 0
            else super().settings()
        )

    def level_stages(self) -> list[Stage]:
        """Return the passes that make the further levels, each from the one before it."""
        assert self.options is not None
        stages, before = [], self
        for level in range(1, len(self.image.levels)):
            operator = BlockMean(self.shape[1], self.layout.ndim, self.dtype)
            sizes = operator.output_sizes(before.shape[2:])
            layout = before.layout.resized((*self.shape[:2], *sizes))
            options = dataclasses.replace(self.options, layout=layout)
            target = LevelTarget(self.name, layout, self.dtype, _created(options), self.image, level)
            stages.append(Stage(operator, LevelReader(before), target))
            before = target
        return stages


class LevelReader:
    """Level that was written, as the source of the next one. Its target opens it."""

    def __init__(self, target: LevelTarget) -> None:
        self.target = target
        self.name, self.layout, self.shape, self.dtype = target.name, target.layout, target.shape, target.dtype
        self.block: Sizes = target.chunk_sizes
        self.description = f"level {target.level} of {target.name}"

    def open(self, place: Path) -> None:
        """Open the level below a working path."""
        self.target.open(place)

    def read(self, image: int, region: Region) -> Array:
        """Return values [C, *region]. Raises FileError for chunks that are missing or damaged."""
        self.target.check_read(image, region)
        return self.target.store.read(image, region)

    def read_bytes(self, region: Region) -> int:
        """Return the most bytes that reading allocates."""
        return self.target.read_bytes(region)

    def identity(self) -> dict[str, Any]:
        """Return shape and dtype: the values are those of the stage before."""
        return {"shape": list(self.shape), "dtype": str(self.dtype), "level": self.target.level, "modified": ""}

    def close(self) -> None:
        """Close nothing."""


def _created(options: TargetOptions) -> dict[str, Any]:
    return {**create_arguments(options), "dimension_names": list(options.layout.names), "attributes": {}}


def open_group(group: Any, folder: Path, options: SourceOptions) -> ImageSource:
    """Return the source of a level of an image. Raises ArgumentError for one that is not there."""
    image = read_image(group, folder)
    level = 0 if options.level is None else options.level
    if not 0 <= level < len(image.levels):
        raise ArgumentError(
            f"level is {level}; {folder} has {len(image.levels)}, from 0. Write level={len(image.levels) - 1}"
        )
    place = folder / image.levels[level].path
    array = open_node(place, "r")
    if not isinstance(array, zarr().Array):
        raise FileError(f"{place} is a group; an array is needed. Repair the metadata of {folder}")
    if len(array.shape) != len(image.axes):
        raise FileError(
            f"{place} has shape {tuple(array.shape)}, its image the axes {', '.join(image.names)}. "
            f"Repair the metadata of {folder}"
        )
    layout = layout_for(tuple(array.shape), options.ndim, options.axes or image.names, None)
    return OmeSource(ZarrArray(place, array, layout, str(place)), image, level)


def _open_path(path: Path, inner: str, options: SourceOptions) -> ImageSource:
    folder = path / inner if inner else path
    node = open_node(folder, "r")
    if isinstance(node, zarr().Array):
        return array_source(node, folder, options, str(folder))
    if attributes_of(node) is not None:
        return open_group(node, folder, options)
    images = sorted(each.name for each in folder.iterdir() if each.is_dir() and is_node(each))
    raise FileError(
        f"{folder} is a group without an image of its own; it contains {', '.join(images[:8]) or 'nothing'}. "
        f"Write {folder / (images[0] if images else '0')}"
    )


def _target(path: Path, inner: str, options: TargetOptions) -> ImageTarget:
    if inner:
        raise FileError(f"{path / inner} lies in an image of OME-Zarr; an image is written whole. Write {path}")
    layout = ordered_layout(options.layout, str(path))
    options = dataclasses.replace(options, layout=layout)
    sizes = [layout.image_shape[2:]]
    while max(sizes[-1]) > _SMALLEST:
        sizes.append(tuple(-(-size // 2) for size in sizes[-1]))
    like = options.like
    kept = like is not None and like.shape[1] == layout.image_shape[1]
    image = enlarged_image(layout, like, path.name.removesuffix(".ome.zarr"), sizes, kept)
    target = LevelTarget(str(path), layout, options.dtype, _created(options), image, 0)
    target.options = options
    return target


FORMAT = StoreFormat("OME-Zarr", _open_path, _target)
