"""tconv of benchmarks/scale.py without files: the tiles of the job, computed in memory."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from scale_cases import Case, layer_weight


def network_of(case: Case) -> Any:
    """Return what `tconv.scale.run` takes."""
    from tconv import models, scale

    if case.operation == "network":
        return models.photo(2).network
    weight, bias = layer_weight()
    return scale.layer(weight, bias, stride=2, padding=1)


def job_of(case: Case, source: Path, target: Path, memory: str) -> Any:
    """Return the job of a case; nothing runs."""
    sizes: dict[str, Any] = {"chunks": (case.tile // 4,) * 2, "shards": (case.tile,) * 2}
    if case.operation != "bicubic":
        from tconv.scale.functional import job_of as scale_job_of

        compression = "zstd" if case.store == "zstd" else None
        options = {} if target.suffix == ".npy" else {**sizes, "compression": compression}
        return scale_job_of(network_of(case), source, target, max_memory=memory, **options)
    from tconv.upsampling.option_names import PYTHON
    from tconv.upsampling.target_size import read_target_size
    from tconv.upsampling.tile_input import TileOptions
    from tconv.upsampling.tile_job import TileJob
    from tconv.upsampling.upsampler_selection import Selection

    selection = Selection(read_target_size(2, None, None, PYTHON), None, "bicubic", None, PYTHON)
    options_ = TileOptions(max_memory=memory, **({} if target.suffix == ".npy" else sizes))
    return TileJob(source, selection, target, alpha=False, checked=False, options=options_).job


def kernel_seconds(job: Any, count: int = 6) -> dict[str, Any]:
    """Return the seconds of computing all tiles of a job in memory, from those of a few, and their sizes."""
    (stage,) = job.stages
    plan = job.plan  # chooses the tiles
    tiles = list(stage.tiles(0))
    middle = [tiles[(2 * number + 1) * len(tiles) // (2 * count)] for number in range(count)]
    seconds = elements = 0.0
    for number, tile in enumerate([middle[0], *middle]):
        windows = [stage.read(0, outputs) for outputs in stage.parts(tile)]
        start = time.perf_counter()
        out = stage.empty(tile.outputs)
        for window in windows:
            stage.compute_part(tile, window, out)
        spent = time.perf_counter() - start
        if number:  # the first one compiles
            seconds += spent
            elements += np.prod(out.shape)
        del out, windows
    whole = float(np.prod(stage.target.shape))
    return {"seconds": float(seconds * whole / elements), "tile": list(stage.tile), "halo": plan.stages[0].halo}
