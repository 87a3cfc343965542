"""Small jobs on .npy files, and stores and operators that fail, count or wait, for tests of jobs."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np

from tconv.geometry import Geometry
from tconv.scale.job import Job
from tconv.scale.operators.layer import LayerOperator, computed
from tconv.scale.stores.formats import open_source, target_for
from tconv.scale.tile_run import Stage

TILE = (16, 24)
TILES = 16


def layer(seed: int = 0, into: int = 2, out: int = 3, kernel=(4, 5), stride=2, dilation=1, dtype=np.float32):
    """Return a layer of whole numbers whose bias is not 0."""
    rng = np.random.default_rng(seed)
    weight = rng.standard_normal((into, out, *kernel)).astype(dtype)
    return LayerOperator(weight, rng.standard_normal(out).astype(dtype), Geometry(kernel, stride, 1, dilation))


def picture(seed: int = 1, sizes=(29, 37), channels: int = 2, dtype=np.float32):
    return np.random.default_rng(seed).standard_normal((channels, *sizes)).astype(dtype)


class SmallJob:
    """A layer on x.npy in a folder, which writes y.npy in 16 tiles."""

    def __init__(self, folder: Path, operator=None, x=None) -> None:
        self.operator, self.x = operator or layer(), picture() if x is None else x
        self.input, self.output = folder / "x.npy", folder / "y.npy"
        self.part, self.journal = folder / "y.npy.part", folder / "y.npy.journal"
        np.save(self.input, self.x)
        self.right = computed(self.operator, self.x)

    def job(self, *, operator=None, tile=TILE, source=None, target=None, max_memory="4GB", **options) -> Job:
        """Return the job, which is made anew for every session, as a process does."""
        operator = operator or self.operator
        source = source or open_source(self.input)
        shape = (1, operator.channels[1], *operator.output_sizes(source.shape[2:]))
        target = target or target_for(self.output, shape, operator.result, like=source)
        target.unit = (8, 8)
        return Job([Stage(operator, source, target, tile)], self.output, max_memory=max_memory, **options)

    def is_right(self) -> bool:
        found = np.load(self.output)
        return found.dtype == self.right.dtype and np.array_equal(found, self.right)

    def stop_after(self, tiles: int, **options) -> None:
        """Leave what a session leaves that is stopped when so many tiles were computed."""
        try:
            self.job(operator=Failing(self.operator, tiles), **options).run()
        except Stopped:
            return
        raise AssertionError("it was not stopped")


class Stopped(Exception):  # noqa: N818
    """End of a session."""


class Wrapped:
    """Operator, source or target, some of whose methods do something else."""

    def __init__(self, inner) -> None:
        self.inner = inner

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def fingerprint_parts(self):
        return self.inner.fingerprint_parts()


class Failing(Wrapped):
    """Operator that raises an exception in place of a tile."""

    def __init__(self, inner, after: int, error=Stopped) -> None:
        super().__init__(inner)
        self.after, self.error, self.count = after, error, 0

    def compute(self, x, *arguments) -> None:
        if x.any():  # the zeros of a trial are no tile
            self.before_tile()
        self.inner.compute(x, *arguments)

    def before_tile(self) -> None:
        if self.count == self.after:
            raise self.error
        self.count += 1


class CountingSource(Wrapped):
    """Source that remembers how often it was read."""

    def __init__(self, inner) -> None:
        super().__init__(inner)
        self.reads = 0

    def read(self, *arguments):
        self.reads += 1
        return self.inner.read(*arguments)


def own_threads() -> list[str]:
    """Return the names of the threads of jobs that run."""
    names = ("tconv reader", "tconv writer", "tconv journal")
    return [thread.name for thread in threading.enumerate() if thread.name in names]
