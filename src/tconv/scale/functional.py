"""`run`, `plan` and `verify`: networks and layers on files and arrays that are larger than memory."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tconv._arguments import shown
from tconv.errors import ArgumentError, FileError
from tconv.scale.job import Job
from tconv.scale.job_plan import JobPlan
from tconv.scale.job_report import JobReport, Progress
from tconv.scale.operators.reading import operator_of
from tconv.scale.stores.formats import is_zarr_folder, open_source, spatial_sizes, target_for
from tconv.scale.stores.store import ImageSource
from tconv.scale.tile_run import Stage
from tconv.scale.verification import VerifyReport, finished_state, verify_tiles


def run(network: Any, source: Any, output: Any, **options: Any) -> JobReport:
    """Write the output of a network or layer of an image larger than memory, and return the report of it.

    >>> import numpy as np, tconv.scale
    >>> layer = tconv.scale.layer(np.ones((3, 8, 4, 4), np.float32), stride=2, padding=1)
    >>> y = np.empty((8, 200, 300), np.float32)
    >>> report = tconv.scale.run(layer, np.ones((3, 100, 150), np.float32), y, max_memory="1GB")
    >>> report.tiles, report.peak_memory < 10**9
    (1, True)

    network: a path of a network, what `tconv.models.load` returns, a layer of `tconv.scale.layer`, of `tconv.prepare`
    or of a framework, or a list of layers. source, output: paths (.npy, .zarr, .ome.zarr, .tif), "store.zarr/array",
    or arrays of NumPy, Zarr, Dask (source) or xarray (source).

    Every tile has the bits of the whole. While it is written, a new output is called NAME.part; it gets its name when
    it is finished. NAME.journal beside it says which tiles are on the disk: a run that was stopped, in any way, goes on
    there when the same call is made again. A finished output is not made again.

    Options:

    - max_memory: resident bytes that the process may have, all that it held before included: "1GB", "512MiB", or a
      number. Default "1GB". Tile sizes are chosen from it.
    - tile: sizes of a tile instead, in whole units (shards, chunks, tiles of TIFF) of the output.
    - chunks, shards, compression: sizes along the spatial axes, and the codec, of a new output.
    - axes, level, page: parts of the source, and the names of its axes, such as "YXC" or "TCZYX".
    - resume: False begins anew, and removes what an unfinished run has done.
    - overwrite: True replaces an output that exists, when the new one is finished.
    - workers, scheduler: number of worker processes, or the address of a scheduler of Dask.
    - progress: function that is called with a `Progress` while it runs.

    Raises TooLargeError, before anything runs, if the smallest tile does not fit into `max_memory` or the output onto
    the disk; FileError for files that cannot be read or written, for an output that exists, and for a journal of
    another version, network, input or setting; ShapeError and DtypeError for a source that the network does not take.
    """
    return job_of(network, source, output, **options).run()


def plan(network: Any, source: Any, output: Any, **options: Any) -> JobPlan:
    """Return the plan of `run` with the same arguments: tiles, memory, disk, work. Nothing is written.

    >>> import numpy as np, tconv.scale
    >>> layer = tconv.scale.layer(np.ones((3, 8, 4, 4), np.float32), stride=2, padding=1)
    >>> x, y = np.ones((3, 100, 150), np.float32), np.empty((8, 200, 300), np.float32)
    >>> tconv.scale.plan(layer, x, y, max_memory="1GB").stages[0].tile
    (200, 300)

    Raises the errors of `run`.
    """
    return job_of(network, source, output, **options).plan


def job_of(
    network: Any,
    source: Any,
    output: Any,
    *,
    max_memory: int | str = "1GB",
    tile: int | tuple[int, ...] | None = None,
    chunks: int | tuple[int, ...] | None = None,
    shards: int | tuple[int, ...] | None = None,
    compression: str | None = "auto",
    axes: Any = None,
    level: int | None = None,
    page: int | None = None,
    resume: bool = True,
    overwrite: bool = False,
    workers: int | None = None,
    scheduler: str | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Job:
    """Return the job of `run`; nothing runs. `network` may be a `TileOperator`, `source` an `ImageSource`."""
    for name, value in (("resume", resume), ("overwrite", overwrite)):
        if not isinstance(value, bool):
            raise ArgumentError(f"{name} is {shown(value)}; True or False is needed. Write {name}=True")
    if progress is not None and not callable(progress):
        raise ArgumentError(f"progress is {shown(progress)}; a function is needed. Write progress=print, for example")
    operator = operator_of(network)
    opened = open_source(source, ndim=operator.ndim, level=level, page=page, axes=axes)
    operator = operator_of(operator, opened)
    shape = (opened.shape[0], operator.channels[1], *operator.output_sizes(opened.shape[2:]))
    target = target_for(
        output, shape, operator.result, chunks=chunks, shards=shards, compression=compression, like=opened
    )
    _refuse_same_place(opened, output)
    first = Stage(operator, opened, target, tile=spatial_sizes("tile", tile, operator.ndim))
    levels = target.level_stages() if hasattr(target, "level_stages") else []
    return Job(
        [first, *levels],
        _path_of(target),
        max_memory=max_memory,
        resume=resume,
        overwrite=overwrite,
        executor=_executor(workers, scheduler, max_memory),
        progress=progress,
    )


def _executor(workers: int | None, scheduler: str | None, max_memory: int | str) -> Any:
    if workers is None and scheduler is None:
        return None
    from tconv.scale.distributed_run import DaskExecutor

    return DaskExecutor(workers=workers, scheduler=scheduler, max_memory=max_memory)


def _path_of(target: Any) -> Path | None:
    """Return the path of an output; None for an array in memory."""
    in_place = getattr(target, "in_place", False)
    return None if in_place and not os.path.exists(target.name) else Path(target.name)


def _refuse_same_place(source: Any, output: Any) -> None:
    """Raise FileError for an output that would be written over its own input, into it, or over the store of it."""
    if not isinstance(output, (str, os.PathLike)) or not os.path.exists(source.name):
        return
    if os.path.exists(output) and os.path.samefile(output, source.name):
        raise FileError(f"{output} is the input, too. Write another output")
    given, made = Path(source.name).resolve(), Path(output).resolve()
    if is_zarr_folder(given) and made.is_relative_to(given):
        raise FileError(f"{output} lies in the input {source.name}, which is not changed. Choose a name beside it")
    if given.is_relative_to(made):
        raise FileError(f"{output} contains the input {source.name}, which is not replaced. Choose another name")


def verify(output: Path | str, progress: Callable[[int, int], None] | None = None) -> VerifyReport:
    """Read all tiles of an output again, compare them with the checksums in its journal, and return the report.

        print(tconv.scale.verify("huge.zarr"))

    `progress` is called with the tiles that were read, and the number of all. Raises FileError for an output without a
    journal or one that is not finished, and for a journal that was altered.
    """
    path = Path(os.path.abspath(output))
    state = finished_state(path)
    assert state.header is not None
    sources: list[ImageSource] = []
    try:
        for number, entries in enumerate(state.header["stages"]):
            settings = entries["output"]
            images, axes = settings["images"], settings["axes"]
            sources.append(open_source(path, ndim=len(images) - 2, level=number or None, axes=axes))
            if list(sources[-1].shape) != images:
                raise FileError(
                    f"{path} has shape {sources[-1].shape}; its journal has {tuple(images)}: it was replaced"
                )
        return verify_tiles(path, state, lambda stage, *place: sources[stage].read(*place), progress)
    finally:
        for source in sources:
            source.close()
