"""One upsampling run in memory: an input, enlarged by an upsampler and checked.

A run is refused before anything is read if the machine does not have its memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import numpy as np

from tconv._arrays import Array
from tconv._memory import physical_memory, si
from tconv.errors import TooLargeError
from tconv.operator.method_choice import Plan, explain_method
from tconv.upsampling.definition_check import Check, CheckResult, merged
from tconv.upsampling.inputs import Input, Shape
from tconv.upsampling.learned import LearnedUpsampler
from tconv.upsampling.missing_data import MissingData
from tconv.upsampling.option_names import PYTHON, Naming
from tconv.upsampling.strips import enlarge, predicted_bytes, row_strips
from tconv.upsampling.upsampler import Upsampler

Timed = Callable[[str], AbstractContextManager[Any]]
"""Context manager that measures a stage: "read", "upsample", "check" or "write"."""


_BRIGHTEST = 4
"""Largest float that is taken without a warning: white is 1, and a highlight may be brighter."""


class RunPlan(NamedTuple):
    """Transposed convolutions of one strip in order, and the floating-point operations of the whole run."""

    passes: list[Plan]
    flops: int


class Run:
    """An input and an upsampler that fit together; `shapes` are the results' sizes [N, C, H, W] by key.

    Raises ShapeError for channels that the upsampler does not take, TooLargeError if the memory does not suffice.
    """

    def __init__(self, source: Input, upsampler: Upsampler, naming: Naming = PYTHON) -> None:
        self.source, self.upsampler = source, upsampler
        for batch in source.batches.values():
            if isinstance(upsampler, LearnedUpsampler):
                upsampler.refuse_bands(batch.shape[1], batch.values.alpha)
        self.shapes = {key: _enlarged(batch.shape, upsampler) for key, batch in source.batches.items()}
        predicted = (predicted_bytes(batch.shape, upsampler, batch.values) for batch in source.batches.values())
        masked = [(batch.shape, batch.values.dtype) for batch in source.batches.values() if batch.masks]
        # where data are missing, which kind of missing, the filled image, and what the filling of one channel takes
        masks = (math.prod(shape) * (2 + dtype.itemsize) + 40 * math.prod(shape[2:]) for shape, dtype in masked)
        self.memory = source.decoder_bytes + sum(predicted) + sum(masks)
        """Bytes that the run occupies at most."""
        self.files = 1
        """Files of a batch, which share the outputs that are recomputed."""
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
                f"{naming.name('scale')}, or cut the input"
            )

    def plan(self) -> RunPlan:
        """Return the same planning as `tconv.plan`, for a report."""
        flops, passes = 0, []
        for batch in self.source.batches.values():
            n, c, h, w = batch.shape
            dtype = batch.values.computed
            flops += sum(2 * n * problem.macs.exact for problem in self.upsampler.passes((c, h, w), dtype))
            rows = self.upsampler.window(next(row_strips(self.upsampler, (c, h, w), dtype.itemsize)), h)
            strip = (c, rows.stop - rows.start, w)
            passes = [explain_method(problem, "auto") for problem in self.upsampler.passes(strip, dtype)]
        return RunPlan(passes, flops)

    def strip_count(self) -> int:
        """Return the number of strips of all images, which a progress bar counts."""
        return sum(
            n * sum(1 for _ in row_strips(self.upsampler, (c, h, w), values.computed.itemsize))
            for (n, c, h, w), values, *_ in self.source.batches.values()
        )

    def execute(
        self, advance: Callable[[], None] = lambda: None, timed: Timed = lambda stage: nullcontext()
    ) -> tuple[dict[str, Array], CheckResult]:
        """Read, enlarge and check every image; return the results [N, C, H, W] by key, and the check.

        `advance` is called after each strip, and `warnings` are set. Raises FileError for a damaged file,
        CheckError, DtypeError.
        """
        with timed("read"):
            arrays = self.source.read()
        self.warnings = []
        results = {key: self.source.empty(key, shape) for key, shape in self.shapes.items()}
        checks = []
        images = sum(len(array) for array in arrays.values())
        for key, array in arrays.items():
            values = self.source.batches[key].values
            for x, y in zip(array, results[key], strict=True):
                batch = self.source.batches[key]
                missing = MissingData(x, batch.nodata, values.alpha) if batch.masks else None
                if missing is not None and missing.count:
                    x = missing.filled(x, self.upsampler)
                    self.remarks.append(f"{missing.count:,} pixels without data in the input, which stay so")
                if isinstance(self.upsampler, LearnedUpsampler) and (note := _range_warning(x)):
                    self.warnings.append(note)
                check = Check(x, self.upsampler, batch.stated or values, images * self.files)
                with timed("upsample"):
                    enlarge(x, self.upsampler, values, y, check, advance)
                with timed("check"):
                    checks.append(check.compare(y))
                if missing is not None:
                    missing.mark(y, self.upsampler.mixes)
        return results, merged(checks)


def _range_warning(array: Array) -> str | None:
    """Return a warning for floats far above white, which are probably numbers from 0 to 255."""
    if array.dtype.kind != "f" or array.max() <= _BRIGHTEST:  # False for NaN, too
        return None
    largest = float(np.max(array, initial=0, where=np.isfinite(array)))
    white = 255 if largest <= 255 else 65535 if largest <= 65535 else None
    if largest <= _BRIGHTEST:
        return None
    return f"values up to {largest:.5g}; white is 1 for floats. Divide by {white or f'{largest:.5g}'}"


def _enlarged(shape: Shape, upsampler: Upsampler) -> Shape:
    n, c, h, w = shape
    return n, upsampler.channels(c), upsampler.scale * h, upsampler.scale * w
