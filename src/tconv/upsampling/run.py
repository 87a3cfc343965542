"""One upsampling run in memory: an input, enlarged by an upsampler and checked.

A run is refused before anything is read if the machine does not have its memory.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tconv._arrays import Array
from tconv._memory import physical_memory, si
from tconv.errors import TooLargeError
from tconv.upsampling.definition_check import Budget, Check, CheckResult, merged
from tconv.upsampling.inputs import Input, Shape
from tconv.upsampling.missing_data import MissingData
from tconv.upsampling.option_names import PYTHON, Naming
from tconv.upsampling.strips import enlarge, predicted_bytes
from tconv.upsampling.upsampler import AnyUpsampler, Pass, Upsampler, row_strips

Timed = Callable[[str], AbstractContextManager[Any]]
"""Context manager that measures a stage: "load", "read", "upsample", "check" or "write"."""


_BRIGHTEST = 4
"""Largest float that is taken without a warning: white is 1, and a highlight may be brighter. So for -4 below black."""


class RunPlan(NamedTuple):
    """Transposed convolutions of one strip in order, floating-point operations of the whole run, and notes about it.

    The operations are those of the direct sum; layers that compute rows in groups need fewer.
    """

    passes: list[Pass]
    flops: int
    notes: list[str]


class Run:
    """An input and an upsampler that fit together; `shapes` are the results' sizes [N, C, H, W] by key.

    Raises ShapeError for channels that the upsampler does not take, TooLargeError if the memory does not suffice.
    """

    def __init__(self, source: Input, upsampler: AnyUpsampler, naming: Naming = PYTHON) -> None:
        self.source, self.method = source, upsampler
        self.upsamplers = {key: upsampler.fitted(*batch.shape[2:]) for key, batch in source.batches.items()}
        """The upsampler of each array."""
        self.shapes = {key: _enlarged(batch.shape, self.upsamplers[key]) for key, batch in source.batches.items()}
        self.memory = source.decoder_bytes
        """Bytes that the run occupies at most."""
        for key, batch in source.batches.items():
            self.upsamplers[key].refuse_bands(batch.shape[1], batch.values.alpha, batch.bands)
            self.memory += predicted_bytes(batch.shape, self.upsamplers[key], batch.values)
            if batch.masks:
                # where data are missing, which kind of missing, the filled image, and the filling of one channel
                numbers, plane = math.prod(batch.shape), math.prod(batch.shape[2:])
                self.memory += numbers * (2 + batch.values.dtype.itemsize) + 40 * plane
        self.files = 1
        """Files of a batch, which share the outputs that are recomputed."""
        self.budget = Budget()
        """Time of the check; the files of a batch share it."""
        self.checked = True
        """False if nothing is recomputed."""
        self.remarks: list[str] = []
        """Facts about the values of the input, known once it is read."""
        self.warnings: list[str] = []
        """Likely mistakes in the values of the input, known once it is read."""
        available = physical_memory()
        if available is not None and self.memory > available:
            _, channels, height, width = max(self.shapes.values(), key=math.prod)
            raise TooLargeError(
                f"the result would be {width} x {height} with {channels} channels, about {si(self.memory, 'B')} of "
                f"memory with the input; this machine has {si(available, 'B')}. Use a smaller "
                f"{naming.name(self.upsampler.size_option)}, cut the input, or work by tiles: {by_tiles(naming)}"
            )

    @property
    def upsampler(self) -> Upsampler:
        """The upsampler of the first array."""
        return next(iter(self.upsamplers.values()))

    @property
    def label(self) -> str:
        """Size of the first array's result, as names of files have it."""
        return self.method.label(*next(iter(self.source.batches.values())).shape[2:])

    @property
    def pixels(self) -> int:
        """Pixels of all results."""
        return sum(n * height * width for n, _, height, width in self.shapes.values())

    def plan(self) -> RunPlan:
        """Return the methods that run, and their work, for a report."""
        flops = 0
        passes: list[Pass] = []
        notes: list[str] = []
        for key, batch in self.source.batches.items():
            n, *shape = batch.shape
            passes = self.upsamplers[key].passes((shape[0], shape[1], shape[2]), batch.values.computed)
            flops += sum(2 * n * each.problem.macs.exact for each in passes)
            notes = self.upsamplers[key].plan_notes((shape[0], shape[1], shape[2]))
        return RunPlan(passes, flops, notes)

    def strip_count(self) -> int:
        """Return the number of strips of all images, which a progress bar counts."""
        return sum(
            n * sum(1 for _ in row_strips(self.upsamplers[key], (c, h, w), values.computed.itemsize))
            for key, ((n, c, h, w), values, *_) in self.source.batches.items()
        )

    def execute(
        self, advance: Callable[[float], None] = lambda share: None, timed: Timed = lambda stage: nullcontext()
    ) -> tuple[dict[str, Array], CheckResult | None]:
        """Read, enlarge and check every image; return the results [N, C, H, W] by key, and the check, if there was one.

        `advance` is called with shares of the work, 1 in all, and `warnings` are set. Raises FileError for a damaged
        file, CheckError, DtypeError.
        """
        with timed("read"):
            arrays = self.source.read()
        self.warnings, self.remarks = [], []
        results = {key: self.source.empty(key, shape) for key, shape in self.shapes.items()}
        checks = []
        images = sum(len(array) for array in arrays.values())
        work = sum(result.size for result in results.values())
        for key, array in arrays.items():
            values, upsampler = self.source.batches[key].values, self.upsamplers[key]
            for x, y in zip(array, results[key], strict=True):
                batch = self.source.batches[key]
                missing = MissingData(x, batch.nodata, values.alpha) if batch.masks else None
                if missing is not None and missing.count:
                    x = missing.filled(x, upsampler)
                    self.remarks.append(f"{missing.count:,} pixels without data in the input, which stay so")
                bright = range_warning(x) if upsampler.learned else None
                if bright is not None:
                    self.warnings.append(bright)
                check = Check(x, upsampler, batch.stated or values, images * self.files) if self.checked else None
                start = time.perf_counter()
                with timed("upsample"):
                    source = enlarge(x, upsampler, values, y, check, _scaled(advance, y.size / max(1, work)))
                self.budget.seconds += time.perf_counter() - start
                # numbers that are no picture's say nothing about the network
                doubt = None if source is None or bright is not None else upsampler.doubt(source)
                if doubt is not None:
                    self.warnings.append(doubt)
                if check is not None:
                    with timed("check"):
                        checks.append(check.compare(y, self.budget))
                if missing is not None:
                    missing.mark(y, upsampler.mixes)
        return results, merged(checks) if self.checked else None


def by_tiles(naming: Naming) -> str:
    """Return the options that a picture larger than memory needs."""
    separator = " " if naming.prefix else ", "
    return f"{naming.example('output', 'large.zarr')}{separator}{naming.example('max_memory', '1GB')}"


def refuse_large_file(path: Path, naming: Naming) -> None:
    """Raise TooLargeError for a file that has more bytes than the machine memory: it would be read as a whole."""
    with suppress(OSError, ValueError):
        size, available = os.path.getsize(path), physical_memory()
        if available is not None and size > available:
            raise TooLargeError(
                f"{path} has {si(size, 'B')}; this machine has {si(available, 'B')} of memory. Work by tiles, from "
                f"TIFF, .npy or Zarr: {by_tiles(naming)}"
            )


def range_warning(array: Array) -> str | None:
    """Return a warning for floats far above white, probably numbers from 0 to 255, and for those far below black."""
    if array.dtype.kind != "f" or (array.max() <= _BRIGHTEST and array.min() >= -_BRIGHTEST):  # False for NaN, too
        return None
    finite = np.isfinite(array)
    largest, smallest = (float(of(array, initial=0, where=finite)) for of in (np.max, np.min))
    white = 255 if largest <= 255 else 65535 if largest <= 65535 else None
    if smallest < -_BRIGHTEST:
        return (
            f"values down to {smallest:.5g}; for a network 0 is black and 1 white. Interpolate them by bicubic instead"
        )
    if largest <= _BRIGHTEST:
        return None
    return f"values up to {largest:.5g}; white is 1 for floats. Divide by {white or f'{largest:.5g}'}"


def _scaled(advance: Callable[[float], None], part: float) -> Callable[[float], None]:
    return lambda share: advance(share * part)


def _enlarged(shape: Shape, upsampler: Upsampler) -> Shape:
    n, c, h, w = shape
    return n, upsampler.channels(c), *upsampler.output_size(h, w)
