"""`run`, `plan` and `verify`: networks and layers on files and arrays that are larger than memory."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tconv._arguments import ints_of, shown
from tconv._arrays import Array
from tconv.errors import ArgumentError, FileError
from tconv.scale.job import Job
from tconv.scale.job_plan import JobPlan
from tconv.scale.job_report import JobReport, Progress
from tconv.scale.operators.reading import operator_of
from tconv.scale.regions import Region
from tconv.scale.stores.formats import open_source, target_for
from tconv.scale.stores.store import ImageSource
from tconv.scale.tile_run import Stage
from tconv.scale.verification import VerifyReport, finished_state, verify_tiles


def run(network: Any, source: Any, output: Any, **options: Any) -> JobReport:
    """Write the output of a network or layer of an image larger than memory, and return the report of it.

    >>> import numpy as np, tconv.scale
    >>> layer = tconv.scale.layer(np.ones((3, 8, 4, 4), np.float32), stride=2, padding=1)
    >>> y = np.empty((8, 200, 300), np.float32)
    >>> report = tconv.scale.run(layer, np.ones((3, 100, 150), np.float32), y)
    >>> report.tiles, report.peak_memory <= report.max_memory
    (1, True)

    network: a path of a network, what `tconv.models.load` returns, a layer of `tconv.scale.layer`, of `tconv.prepare`
    or of a framework, or a list of layers. source, output: paths (.npy, .zarr, .ome.zarr, .tif), "store.zarr/array",
    or arrays of NumPy, Zarr, Dask (source) or xarray (source).

    Every tile has the bits of the whole. While it is written, a new output is called NAME.part; it gets its name when
    it is finished. NAME.journal beside it says which tiles are on the disk: a run that was stopped, in any way, goes on
    there when the same call is made again. A finished output is not made again.

    Options:

    - max_memory: resident bytes that the process may have, all that it held before included: "1GB", "512MiB", or a
      number. Tile sizes are chosen from it. Default 1 GB, or 512 MB above what the process holds if that is more.
    - tile: sizes of a tile instead, in whole units (shards, chunks, tiles of TIFF) of the output.
    - chunks, shards, compression: sizes along the spatial axes, and the codec, of a new output.
    - axes, level, page: parts of the source, and the names of its axes, such as "YXC" or "TCZYX".
    - resume: False begins anew, and removes what an unfinished run has done.
    - overwrite: True replaces an output that exists, when the new one is finished.
    - repair: True reads all tiles that are done again, and makes anew those that are damaged or missing.
    - workers, scheduler: number of worker processes, or the address of a scheduler of Dask.
    - progress: function that is called with a `Progress` while it runs.

    Raises TooLargeError, before anything runs, if the smallest tile does not fit into `max_memory` or the output onto
    the disk; FileError for files that cannot be read or written, for an output that exists or is the input, and for a
    journal of another version, network, input, setting or processor; ShapeError and DtypeError for a source that the
    network does not take; ArgumentError and GeometryError for arguments; ClusterError for workers that are lost.
    """
    job = job_of(network, source, output, **_known("run", options))
    try:
        return job.run()
    finally:
        _close(job, source)


def plan(network: Any, source: Any, output: Any, **options: Any) -> JobPlan:
    """Return the plan of `run` with the same arguments: tiles, memory, disk, work. Nothing is written.

    >>> import numpy as np, tconv.scale
    >>> layer = tconv.scale.layer(np.ones((3, 8, 4, 4), np.float32), stride=2, padding=1)
    >>> x, y = np.ones((3, 100, 150), np.float32), np.empty((8, 200, 300), np.float32)
    >>> tconv.scale.plan(layer, x, y).stages[0].tile
    (200, 300)

    Raises the errors of `run`.
    """
    job = job_of(network, source, output, **_known("plan", options))
    try:
        return job.plan
    finally:
        _close(job, source)


def _known(function: str, options: dict[str, Any]) -> dict[str, Any]:
    """Return options. Raises ArgumentError for one that there is not."""
    known = job_of.__kwdefaults__ or {}
    for name in options:
        if name not in known:
            raise ArgumentError(
                f"tconv.scale.{function} has no argument {name!r}; it has {', '.join(known)}. Leave it out"
            )
    return options


def _close(job: Job, source: Any) -> None:
    """Close an input, unless it was given open."""
    if job.stages[0].source is not source:
        job.stages[0].source.close()


def job_of(
    network: Any,
    source: Any,
    output: Any,
    *,
    max_memory: int | str | None = None,
    tile: int | tuple[int, ...] | None = None,
    chunks: int | tuple[int, ...] | None = None,
    shards: int | tuple[int, ...] | None = None,
    compression: str | None = "auto",
    axes: Any = None,
    level: int | None = None,
    page: int | None = None,
    resume: bool = True,
    overwrite: bool = False,
    repair: bool = False,
    workers: int | None = None,
    scheduler: str | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Job:
    """Return the job of `run`; nothing runs. `network` may be a `TileOperator`, `source` an `ImageSource`."""
    for name, value in (("resume", resume), ("overwrite", overwrite), ("repair", repair)):
        if not isinstance(value, bool):
            raise ArgumentError(f"{name} is {shown(value)}; True or False is needed. Write {name}=True")
    if progress is not None and not callable(progress):
        raise ArgumentError(f"progress is {progress!r}; a function of a Progress is needed. Write progress=print")
    operator = operator_of(network)
    opened = open_source(source, ndim=operator.ndim, level=level, page=page, axes=axes)
    operator = operator_of(operator, opened)
    shape = (opened.shape[0], operator.channels[1], *operator.output_sizes(opened.shape[2:]))
    target = target_for(
        output, shape, operator.result, chunks=chunks, shards=shards, compression=compression, like=opened
    )
    _refuse_same_place(opened, target)
    sizes = None if tile is None else ints_of(tile, "tile", operator.ndim, least=1)
    first = Stage(operator, opened, target, tile=sizes)
    levels = target.level_stages() if hasattr(target, "level_stages") else []
    return Job(
        [first, *levels],
        _path_of(target),
        max_memory=max_memory,
        resume=resume,
        overwrite=overwrite,
        repair=repair,
        executor=_executor(workers, scheduler),
        progress=progress,
    )


def _executor(workers: int | None, scheduler: str | None) -> Any:
    if workers is None and scheduler is None:
        return None
    from tconv.scale.distributed_run import DaskExecutor

    return DaskExecutor(workers=workers, scheduler=scheduler)


def _path_of(target: Any) -> Path | None:
    """Return the path of an output; None for an array in memory."""
    return None if target.in_memory else Path(target.name)


def _refuse_same_place(source: Any, target: Any) -> None:
    """Raise FileError for an output in the memory, file or store of its own input: tiles would read what others wrote.

    Another part of the same file is refused, too: the file's time says that the input changes.
    """
    if target.in_memory:
        arrays = getattr(source, "array", None), getattr(target, "array", None)
        is_same = all(isinstance(array, np.ndarray) for array in arrays) and np.may_share_memory(*arrays)
    elif os.path.exists(target.name) and os.path.exists(source.name):
        is_same = os.path.samefile(target.name, source.name)
        is_same = is_same or Path(target.name).resolve() in Path(source.name).resolve().parents
    else:
        is_same = False
    if is_same:
        raise FileError(f"{target.name} is the input, too, or contains it. Write another output")


def _written(source: Any, image: int, region: Region) -> Array:
    """Return values that are there. Raises FileError for what is missing, and would be read as zeros."""
    getattr(source, "check_written", lambda *_: None)(image, region)
    values: Array = source.read(image, region)
    return values


def verify(output: Path | str, progress: Callable[[int, int], None] | None = None) -> VerifyReport:
    """Read all tiles of an output again, compare them with the checksums in its journal, and return the report.

    >>> import tempfile, numpy as np, tconv.scale
    >>> layer = tconv.scale.layer(np.ones((3, 8, 4, 4), np.float32), stride=2, padding=1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     report = tconv.scale.run(layer, np.ones((3, 100, 150), np.float32), f"{folder}/y.npy")
    ...     tconv.scale.verify(f"{folder}/y.npy").is_whole
    True

    Damaged and missing tiles are made anew by the call that wrote the output, `run(..., repair=True)`. `progress` is
    called with the tiles that were read, and the number of all. Raises FileError for an output without a
    journal or one that is not finished, and for a journal that was altered.
    """
    if not isinstance(output, (str, os.PathLike)):
        raise ArgumentError(
            f"output is a {type(output).__name__}; the path of an output is needed. Write "
            'tconv.scale.verify("huge.zarr"), for example'
        )
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
        return verify_tiles(path, state, lambda stage, *place: _written(sources[stage], *place), progress)
    finally:
        for source in sources:
            source.close()
