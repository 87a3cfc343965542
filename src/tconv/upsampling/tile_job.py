"""Enlargement of pictures larger than memory: one job of tiles, from a file or a store into another one.

The job keeps a journal beside its output, goes on where it was stopped, and keeps within a bound of memory.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from tconv._arrays import Array
from tconv.errors import ArgumentError, FileError, TconvError
from tconv.scale.functional import job_of
from tconv.scale.job import Job
from tconv.scale.job_plan import JobPlan
from tconv.scale.job_report import JobReport, Progress
from tconv.upsampling.definition_check import CheckResult
from tconv.upsampling.file_run import file_ids
from tconv.upsampling.learned import is_layered
from tconv.upsampling.missing_data import MissingData
from tconv.upsampling.option_names import PYTHON, Naming
from tconv.upsampling.picture_source import PictureSource
from tconv.upsampling.run import range_warning
from tconv.upsampling.tile_input import (
    TileInput,
    axes_of,
    is_store,
    open_tiles,
    refuse_unlike_whole,
)
from tconv.upsampling.tile_options import TileOptions
from tconv.upsampling.tile_upsampler import UpsamplerOperator
from tconv.upsampling.upsampler import Upsampler
from tconv.upsampling.upsampler_selection import Selection

_WRITTEN = ".ome.zarr", ".npy", ".tif", ".tiff", ".btf"
"""Endings of files that are written tile by tile; a default name keeps that of the input."""
_SIDE, _SHORT_SIDE = 192, 48
"""Side of the part of a picture that a network, or a deep one, is tried on before the job."""


class TileJob:
    """One call of `tconv.upsample` that works tile by tile; nothing is read or written before `run`.

    `output` is a file or a store; a folder or None means the input's name with the size added. Raises FileError,
    ArgumentError, ShapeError, DtypeError, TooLargeError, MissingExtraError.
    """

    def __init__(
        self,
        image: Any,
        selection: Selection,
        output: Path | None,
        *,
        folder: Path | None = None,
        alpha: bool | None = None,
        checked: bool = True,
        overwrite: bool = False,
        options: TileOptions = TileOptions(),  # noqa: B008
        progress: Callable[[Progress], None] | None = None,
    ) -> None:
        self._naming, self._options = selection.naming, options
        opened: tuple[TileInput, Upsampler] = open_tiles(image, selection, alpha, options)
        self.input, self.upsampler = opened
        source = self.input.source
        n, _, height, width = source.shape
        self.operator = _operator(*opened, checked)
        self.shape = n, self.operator.channels[1], *self.operator.output_sizes((height, width))
        self.path = output or self._default_path(folder)
        self._refuse_place()
        self.job: Job = job_of(
            self.operator,
            source,
            self.path,
            max_memory=options.max_memory,
            tile=options.tile,
            chunks=options.chunks,
            shards=options.shards,
            resume=options.resume,
            overwrite=overwrite,
            repair=options.repair,
            workers=options.workers,
            scheduler=options.scheduler,
            progress=progress,
        )
        self.warnings: list[str] = []
        """Likely mistakes in the values of the input."""

    @property
    def pixels(self) -> int:
        """Pixels of all results."""
        return self.shape[0] * self.shape[2] * self.shape[3]

    @property
    def plan(self) -> JobPlan:
        """Tiles, memory and disk; nothing runs. Raises TooLargeError."""
        return self.job.plan

    @property
    def check(self) -> CheckResult | None:
        """Outputs that were recomputed in this process; None if nothing was checked."""
        return self.operator.checks.results if self.operator.checked else None

    def _default_path(self, folder: Path | None) -> Path:
        """Return the output that no name was given for: the input's ending if tiles can be written so, else .zarr."""
        name = "" if self.input.path is None else self.input.path.name.lower()
        ending = next((each for each in _WRITTEN if name.endswith(each)), ".zarr")
        label = self.upsampler.label(*self.input.source.shape[2:])
        return (folder or Path()) / f"{self.input.stem}_{label}{ending}"

    def _refuse_place(self) -> None:
        """Raise FileError for an output that is the input, and for a format that is not written tile by tile."""
        path, given = self.path, self.input.path
        if not (is_store(path) or path.name.lower().endswith(_WRITTEN)):
            raise FileError(
                f"{path} is not written tile by tile; .zarr, {', '.join(_WRITTEN)} are. Write "
                f"{self._naming.example('output', path.with_suffix('.zarr'))}"
            )
        if given is not None and os.path.lexists(path) and file_ids([path]) & file_ids([given]):
            raise FileError(f"{path} is the input itself, which is not overwritten. Choose another name")
        if given is not None and given.is_dir() and path.resolve().is_relative_to(given.resolve()):
            raise FileError(f"{path} lies in the input {given}, which is not changed. Choose a name beside it")

    def run(self) -> JobReport:
        """Run what is not done yet. Raises what `Job.run` raises, CheckError, and DtypeError for sums that overflow."""
        report = self.job.run()
        checks = self.operator.checks
        extremes = np.array([checks.smallest, checks.largest], np.float32)
        if self.upsampler.learned and not self.warnings and (text := range_warning(extremes)) is not None:
            self.warnings.append(text)
        return report

    def look_at_sample(self) -> None:
        """Try a network on the middle of the first picture, and add warnings about its values to `warnings`."""
        model = self.upsampler.model
        if model is None:
            return
        x = self._sample(_SHORT_SIDE if is_layered(model, self.upsampler.block) else _SIDE)
        bright = range_warning(x)
        if bright is not None:
            self.warnings.append(bright)
            return
        source = PictureSource(x, self.input.batch.values, model)
        try:
            height, width = (model.scale * size for size in x.shape[1:])
            if model.network.has_means:
                return
            source.rows(slice(0, height), slice(0, width))
            doubt = self.upsampler.doubt(source)
        except TconvError:  # too small a picture for its padding
            return
        if doubt is not None:
            self.warnings.append(doubt)

    def _sample(self, side: int) -> Array:
        """Return the middle of the first picture, with numbers where data are missing."""
        source, batch = self.input.source, self.input.batch
        starts = [max(0, (size - side) // 2) for size in source.shape[2:]]
        region = tuple(
            slice(start, min(start + side, size)) for start, size in zip(starts, source.shape[2:], strict=True)
        )
        x = source.read(0, region)
        if not batch.masks:
            return x
        missing = MissingData(x, batch.nodata, batch.values.alpha)
        return missing.filled(x, self.upsampler) if missing.count else x


def _operator(given: TileInput, upsampler: Upsampler, checked: bool) -> UpsamplerOperator:
    """Return the operation on the tiles of an input. Raises ShapeError and DtypeError for one that does not fit."""
    batch, channels = given.batch, given.source.shape[1]
    upsampler.refuse_bands(channels, batch.values.alpha, batch.bands)
    refuse_unlike_whole(upsampler, batch.values.dtype, given.source.name)
    return UpsamplerOperator(
        upsampler,
        channels,
        batch.values,
        stated=batch.stated,
        nodata=batch.nodata,
        masks=batch.masks,
        checked=checked,
    )


def lazy_upsample(image: Any, selection: Selection, alpha: bool | None, checked: bool, options: TileOptions) -> Any:
    """Return the enlarged picture of a lazy array of Dask or xarray as another one; nothing is computed.

    Raises ArgumentError for options of files, and what `TileJob` raises.
    """
    from tconv.scale import apply

    for name in options.given:
        if name not in ("axes", "chunks"):
            raise ArgumentError(
                f"{name} was given without output, and a lazy array is returned. Leave it out, or write "
                'output="large.zarr"'
            )
    operator = _operator(*open_tiles(image, selection, alpha, options), checked)
    chunks = options.chunks
    return apply(operator, image, chunks=chunks, axes=options.axes or axes_of(image))


def refuse_many(options: TileOptions, naming: Naming = PYTHON) -> NoReturn:
    """Raise ArgumentError for several inputs in a call that works tile by tile."""
    reason = f"{naming.name(options.given[0])} was given, and " if options.given else ""
    raise ArgumentError(
        f"{reason}there are several inputs; one at a time is read and written by tiles. Write a call for each"
    )
