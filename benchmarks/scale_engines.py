"""Engines of benchmarks/scale.py, each in a process of its own: from one Zarr to another, larger than their memory.

    python benchmarks/scale_engines.py ENGINE FOLDER CASE       answers JSON lines, for scale.py

FOLDER holds input.zarr. Peers read a tile with the halo that its outputs need, compute, and write a whole shard, so
none of them reads or writes anything twice; those with threads have as many as there are cores.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from scale_cases import Case, bicubic_taps, error_of, fill, layer_weight

Compute = Callable[[np.ndarray, tuple[int, int], tuple[int, int], tuple[int, int]], np.ndarray]
"""Outputs [C, ...] of x, the inputs from `starts`, as (x, starts, first outputs, sizes)."""
HALO = 4
"""Inputs beside a tile that every operation here but the network gets: an even number, and enough."""


def store_of(path: Path, case: Case, shape: tuple[int, ...], tile: int) -> Any:
    """Create a store whose shards are `tile` pixels wide, of 4 x 4 chunks."""
    import zarr

    compressor = None
    if case.store == "zstd":  # as tconv's outputs, which have a checksum of each chunk besides
        shuffle = "shuffle" if case.dtype.itemsize > 1 else "bitshuffle"
        compressor = zarr.codecs.BloscCodec(typesize=case.dtype.itemsize, cname="zstd", clevel=1, shuffle=shuffle)
    chunks, shards = ((shape[0], *(size,) * 2) for size in (tile // 4, tile))
    return zarr.create_array(
        path, shape=shape, chunks=chunks, shards=shards, dtype=case.dtype, compressors=compressor, fill_value=0,
        dimension_names=("c", "y", "x"), overwrite=True,
    )  # fmt: skip


def opened(path: Path) -> Any:
    """Return the array of a store, whatever group it is in."""
    import zarr

    node = zarr.open(path, mode="r")
    return node if isinstance(node, zarr.Array) else node["0"]


# -- peers ---------------------------------------------------------------------------------------------------------


def tiles(case: Case) -> Iterator[tuple[slice, slice]]:
    """Yield the outputs of each shard."""
    starts = range(0, case.output[1], case.tile)
    for down in starts:
        for across in starts:
            yield tuple(slice(first, min(first + case.tile, case.output[1])) for first in (down, across))


def by_tiles(case: Case, folder: Path, compute: Compute, workers: int) -> None:
    """Read, compute and write each tile, in this many threads."""
    source, target = opened(folder / "input.zarr"), store_of(folder / "output.zarr", case, case.output, case.tile)

    def run(outputs: tuple[slice, slice]) -> None:
        if case.operation == "network":
            spans = [slice(each.start // 2, each.stop // 2 + 2 * case.border) for each in outputs]
        else:
            spans = [slice(max(0, each.start // 2 - HALO), min(case.side, each.stop // 2 + HALO)) for each in outputs]
        sizes = tuple(each.stop - each.start for each in outputs)
        firsts = tuple(each.start for each in outputs)
        target[:, *outputs] = compute(source[:, *spans], tuple(each.start for each in spans), firsts, sizes)

    if workers == 1:
        for outputs in tiles(case):
            run(outputs)
    else:
        with ThreadPoolExecutor(workers) as pool:
            for _ in pool.map(run, tiles(case)):
                pass


def in_torch(case: Case, threads: int) -> Compute:
    """Return F.conv_transpose2d of a tile, or the network in PyTorch."""
    import torch
    from torch.nn import functional

    torch.set_num_threads(threads)
    if case.operation == "network":
        from tconv import models
        from tconv.upsampling.network_in_torch import in_torch as module_of

        network = module_of(models.photo(2).network)
        return torch.inference_mode()(lambda x, *places: network(torch.from_numpy(x)[None])[0].numpy())
    if case.operation == "layer":
        weight, bias = map(torch.from_numpy, layer_weight())

        @torch.inference_mode()
        def layer(x: np.ndarray, starts: Any, firsts: Any, sizes: Any) -> np.ndarray:
            y = functional.conv_transpose2d(torch.from_numpy(x)[None], weight, bias, stride=2, padding=1)[0]
            return cut(y, starts, firsts, sizes).numpy()

        return layer
    taps = torch.from_numpy(bicubic_taps().astype(np.float32))
    down, across = taps.view(1, 1, 8, 1), taps.view(1, 1, 1, 8)

    def along(n: int) -> Any:  # at the picture's border, the sum is divided by the taps that are there
        return functional.conv_transpose1d(torch.ones(1, 1, n), taps.view(1, 1, 8), stride=2, padding=3)[0, 0]

    @torch.inference_mode()
    def bicubic(x: np.ndarray, starts: Any, firsts: Any, sizes: Any) -> np.ndarray:
        y = torch.from_numpy(x).float()[:, None]
        y = functional.conv_transpose2d(y, down, stride=(2, 1), padding=(3, 0))
        y = functional.conv_transpose2d(y, across, stride=(1, 2), padding=(0, 3))[:, 0]
        y.div_(along(x.shape[1])[:, None]).div_(along(x.shape[2]))
        return cut(y.round_().clamp_(0, 255).to(torch.uint8), starts, firsts, sizes).numpy()

    return bicubic


def cut(y: Any, starts: tuple[int, int], firsts: tuple[int, int], sizes: tuple[int, int]) -> Any:
    """Return the outputs of a tile from those of all its inputs."""
    rows, columns = (
        slice(first - 2 * start, first - 2 * start + size)
        for start, first, size in zip(starts, firsts, sizes, strict=True)
    )
    return y[:, rows, columns]


def torch_tiles(case: Case, folder: Path, threads: int, memory: str) -> None:
    """Run PyTorch tile by tile, with one thread for each of two tiles."""
    by_tiles(case, folder, in_torch(case, 1), threads)


def torch_team(case: Case, folder: Path, threads: int, memory: str) -> None:
    """Run PyTorch tile by tile, with all threads for a tile."""
    by_tiles(case, folder, in_torch(case, threads), 1)


def torch_interpolate(case: Case, folder: Path, threads: int, memory: str) -> None:
    """Run PyTorch's own interpolation of 8-bit pictures tile by tile."""
    import torch
    from torch.nn import functional

    torch.set_num_threads(1)

    @torch.inference_mode()
    def compute(x: np.ndarray, starts: Any, firsts: Any, sizes: Any) -> np.ndarray:
        y = functional.interpolate(torch.from_numpy(x)[None], scale_factor=2, mode="bicubic", antialias=True)[0]
        return cut(y, starts, firsts, sizes).numpy()

    by_tiles(case, folder, compute, threads)


def pillow_tiles(case: Case, folder: Path, threads: int, memory: str) -> None:
    """Run Pillow's resize tile by tile, one band after the other: bands that lie apart need no copy."""
    from PIL import Image

    def compute(x: np.ndarray, starts: Any, firsts: Any, sizes: Any) -> np.ndarray:
        box = tuple(
            (first - 2 * start + each * size) / 2
            for each in (0, 1)
            for start, first, size in zip(starts[::-1], firsts[::-1], sizes[::-1], strict=True)
        )
        bands = (Image.fromarray(band).resize(sizes[::-1], Image.Resampling.BICUBIC, box) for band in x)
        return np.stack([np.asarray(band) for band in bands])

    by_tiles(case, folder, compute, threads)


def torch_dask(case: Case, folder: Path, threads: int, memory: str) -> None:
    """Run PyTorch by dask.array.map_overlap, on Dask's threads."""
    import dask
    import dask.array as da

    compute = in_torch(case, 1)
    depth = 2 if case.operation == "bicubic" else 1
    if case.operation == "network":
        depth = case.border

    def block(x: np.ndarray) -> np.ndarray:
        if case.operation == "network":
            return compute(x, (0, 0), (0, 0), (0, 0))
        sizes = tuple(2 * (size - 2 * depth) for size in x.shape[1:])
        return compute(x, (-depth,) * 2, (0, 0), sizes)

    source, target = opened(folder / "input.zarr"), store_of(folder / "output.zarr", case, case.output, case.tile)
    x = da.from_array(source, chunks=(case.channels, case.tile // 2, case.tile // 2))
    boundary = "none" if case.operation == "network" else 0 if case.operation == "layer" else "nearest"
    if case.operation == "network":  # its outputs are its inputs less a border: chunks of those inputs
        x = da.from_array(source, chunks=(case.channels, *map(_shifted, (case,) * 2)))
    sizes = [tuple(2 * n for n in chunks) for chunks in x.chunks[1:]]
    if case.operation == "network":
        sizes = [(each[0] - 2 * depth, *each[1:-1], each[-1] - 2 * depth) for each in sizes]
    y = da.map_overlap(
        block, x, depth={0: 0, 1: depth, 2: depth}, boundary=boundary, trim=False, dtype=case.dtype,
        chunks=(x.chunks[0], *sizes), meta=np.empty((0, 0, 0), case.dtype),
    )  # fmt: skip
    with dask.config.set(scheduler="threads", num_workers=threads):
        da.store(y, target, lock=False)


def _shifted(case: Case) -> tuple[int, ...]:
    """Return chunks of the network's input, so that those of its output are whole shards."""
    half, border, left = case.tile // 2, case.border, case.side
    sizes = [half + border]
    while sum(sizes) + half + border < left:
        sizes.append(half)
    return (*sizes, left - sum(sizes))


def cubed_torch(case: Case, folder: Path, threads: int, memory: str) -> None:
    """Run PyTorch by Cubed, on its own executor of threads, with the memory that it is allowed."""
    import cubed
    from cubed.core.ops import from_array, store

    compute = in_torch(case, 1)
    depth = 2 if case.operation == "bicubic" else 1
    spec = cubed.Spec(work_dir=str(folder / "cubed"), allowed_mem=memory, reserved_mem="150MB", executor_name="threads")

    def block(x: np.ndarray) -> np.ndarray:
        sizes = tuple(2 * (size - 2 * depth) for size in x.shape[1:])
        return compute(np.ascontiguousarray(x), (-depth,) * 2, (0, 0), sizes)

    source, target = opened(folder / "input.zarr"), store_of(folder / "output.zarr", case, case.output, case.tile)
    x = from_array(source, chunks=(case.channels, case.tile // 2, case.tile // 2), spec=spec)
    chunks = (x.chunks[0], *(tuple(2 * n for n in each) for each in x.chunks[1:]))
    y = cubed.map_overlap(
        block, x, dtype=case.dtype, chunks=chunks, depth={0: 0, 1: depth, 2: depth}, boundary=0, trim=False
    )
    store([y], [target])


# -- tconv ---------------------------------------------------------------------------------------------------------


def tconv(case: Case, folder: Path, threads: int, memory: str) -> None:
    """Run tconv's job."""
    from scale_kernel import job_of

    from tconv import set_num_threads

    set_num_threads(threads)
    job_of(case, folder / "input.zarr", folder / "output.zarr", memory).run()


ENGINES: dict[str, Callable[[Case, Path, int, str], Any]] = {
    each.__name__: each
    for each in (tconv, torch_tiles, torch_team, torch_dask, torch_interpolate, pillow_tiles, cubed_torch)
}
OPERATIONS = {"torch_interpolate": ("bicubic",), "pillow_tiles": ("bicubic",), "cubed_torch": ("bicubic", "layer")}
"""Operations of engines that do not have all."""
MODULES = {
    "tconv": ("zarr", "numcodecs", "tconv.upsampling.tile_job", "tconv.scale.functional", "tconv.models"),
    "torch_dask": ("zarr", "torch", "dask.array"),
    "pillow_tiles": ("zarr", "PIL.Image"),
    "cubed_torch": ("zarr", "torch", "cubed"),
}
"""Modules that are imported before the time is taken; zarr and torch for the others."""
OWN_BORDER = "torch_dask", "cubed_torch"
"""Engines that continue a picture beyond its border in another way."""


class Worker:
    """One engine: "run" writes the output and takes the time, "error" compares it, "make" writes the input."""

    def __init__(self, name: str, folder: Path, case: Case) -> None:
        self.name, self.folder, self.case = name, folder, case

    def answer(self, message: dict[str, Any]) -> dict[str, Any]:
        """Answer one message."""
        try:
            return getattr(self, message.pop("do"))(**message)
        except Exception as error:  # an engine may raise anything, and the others go on
            return {"reason": f"{type(error).__name__}: {error}"[:300]}

    def make(self) -> dict[str, Any]:
        """Write the input; its shards are those of half of an output's."""
        path = self.folder / "input.zarr"
        fill(store_of(path, self.case, self.case.shape, self.case.tile // 2), self.case)
        return {"bytes": synced(path)}

    def run(self, threads: int, memory: str) -> dict[str, Any]:
        """Return seconds until the call came back, and until the output was on the disk; and the most memory."""
        forget(self.folder / "input.zarr")
        for module in MODULES.get(self.name, ("zarr", "torch")):
            importlib.import_module(module)
        before = status("VmRSS")
        start = time.perf_counter()
        ENGINES[self.name](self.case, self.folder, threads, memory)
        returned = time.perf_counter() - start
        size = synced(self.folder / "output.zarr")
        return {
            "seconds": time.perf_counter() - start,
            "returned": returned,
            "peak": status("VmHWM"),
            "before": before,
            "stored": size,
        }

    def error(self) -> dict[str, Any]:
        """Return the largest difference from float64."""
        arrays = (opened(self.folder / f"{each}.zarr") for each in ("input", "output"))
        return {"error": error_of(self.case, *arrays, inside=self.name in OWN_BORDER)}

    def kernel(self, threads: int, memory: str) -> dict[str, Any]:
        """Return the seconds of computing the output's tiles in memory, from those of a few, and their sizes."""
        from scale_kernel import job_of, kernel_seconds

        from tconv import set_num_threads

        set_num_threads(threads)
        return kernel_seconds(job_of(self.case, self.folder / "input.zarr", self.folder / "output.zarr", memory))


def remove_output(folder: Path) -> None:
    """Remove all but the input."""
    for path in folder.iterdir():
        if path.name != "input.zarr":
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def synced(path: Path) -> int:
    """Wait until all files are on the disk; return their bytes."""
    total = 0
    for file in path.rglob("*"):
        if file.is_file():
            handle = os.open(file, os.O_RDONLY)
            os.fsync(handle)
            total += os.fstat(handle).st_size
            os.close(handle)
    return total


def forget(path: Path) -> None:
    """Drop a store from the cache of the file system, so that it is read from the disk."""
    for file in path.rglob("*"):
        if file.is_file():
            handle = os.open(file, os.O_RDONLY)
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(handle)


def status(name: str) -> int:
    """Return bytes of memory of this process: VmRSS, or VmHWM, the most so far."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def main() -> None:
    """Answer JSON lines until the end of the input."""
    from tconv.bench.worker_protocol import private_stdout, serve

    answers = private_stdout()
    name, folder, case = sys.argv[1:]
    serve(Worker(name, Path(folder), Case(*json.loads(case))), sys.stdin, answers.write)


if __name__ == "__main__":
    main()
