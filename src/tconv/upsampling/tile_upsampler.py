"""An upsampler as an operation on tiles of pictures larger than memory: the bits of the whole picture, tile by tile.

Rows and columns are cut alike. A tile is computed from the pixels that it reads (`Upsampler.own_window`, and those of
the network), with the rules of the picture's border and of missing data at their absolute places, and random outputs of
it are recomputed from the definition, as those of a whole picture are.
"""

from __future__ import annotations

import threading
import time
from copy import copy
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.models.layer_check import LayerCheck
from tconv.scale.operators.tile_operator import Read
from tconv.scale.regions import Region, Sizes, elements, region_sizes
from tconv.upsampling.definition_check import Budget, Check, CheckResult, TilePlace, merged
from tconv.upsampling.learned import is_layered
from tconv.upsampling.missing_data import MissingData, pixel_of
from tconv.upsampling.stored_values import StoredValues
from tconv.upsampling.tile_network import TileNetwork, TileOutput
from tconv.upsampling.upsampler import Upsampler

PLACES = 64
"""Places of a tile that are recomputed; an upsampler with a `block` has a square of them."""
_SHARE = 0.1
"""Share of the time of the work that the check of squares may take, after the first."""
_STRIP = 1 << 22
"""Bytes of the numbers of one strip of a tile."""


class UpsamplerOperator:
    """A `TileOperator` of pictures [C, H, W] of one size, by an upsampler that is `fitted` to it.

    Values go in and out in the stored dtype. `values` says what they mean, and `stated` what the file says of them,
    where that differs. With `masks`, NaN and `nodata` mark pixels without data. Raises ShapeError for channels that the
    upsampler does not take.
    """

    ndim = 2

    def __init__(
        self,
        upsampler: Upsampler,
        channels: int,
        values: StoredValues,
        *,
        stated: StoredValues | None = None,
        nodata: float | int | None = None,
        masks: bool = False,
        checked: bool = True,
    ) -> None:
        self.upsampler, self.values = upsampler, values
        self._stated, self._nodata, self._masks, self.checked = stated or values, nodata, masks, checked
        self.name, self.channels = upsampler.text, (channels, upsampler.channels(channels))
        self.dtype = self.result = values.dtype
        self._network = None if upsampler.model is None else TileNetwork(upsampler.model, values)
        self.method = "simd" if self._network is None else self._network.operator.method
        self.goes_down = self._network is not None
        self._layered = upsampler.model is not None and is_layered(upsampler.model, upsampler.block)
        self.checks = TileChecks()
        """Outputs that were recomputed in this process."""

    @property
    def unchecked(self) -> UpsamplerOperator:
        """The same without a check, for outputs that nobody keeps: the first tile that is checked is one of the job."""
        other = copy(self)
        other.checked, other.checks = False, TileChecks()
        return other

    def fingerprint_parts(self) -> tuple[Any, ...]:
        """Return the upsampler, and the meaning of the values."""
        return self.upsampler, self.values, self._nodata if self._masks else None, self._masks

    def output_sizes(self, sizes: Sizes) -> Sizes:
        """Return height and width of the result."""
        return self.upsampler.output_size(sizes[0], sizes[1])

    # -- what a tile reads -----------------------------------------------------------------------------------------

    def window(self, outputs: Region, sizes: Sizes) -> Region:
        """Return the pixels that outputs read, all inside the picture."""
        window = self._own_window(outputs, sizes)
        if self._network is not None:
            network = self._network.window(self._network_span(outputs, sizes), sizes)
            window = tuple(
                slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(window, network, strict=True)
            )
        if not self._masks:
            return window
        reach = self.upsampler.reach(sizes[0])  # missing pixels are filled from those as far away
        return tuple(
            slice(max(0, span.start - reach), min(size, span.stop + reach))
            for span, size in zip(window, sizes, strict=True)
        )

    def _own_window(self, outputs: Region, sizes: Sizes) -> Region:
        """Return the pixels inside the picture that outputs read beside those of the network."""
        spans = []
        for axis, (span, size) in enumerate(zip(outputs, sizes, strict=True)):
            read = self.upsampler.own_window(span, size, axis)
            start = min(max(read.start, 0), size - 1)
            spans.append(slice(start, max(start + 1, min(read.stop, size))))
        return tuple(spans)

    def _network_span(self, outputs: Region, sizes: Sizes) -> tuple[slice, slice]:
        """Return the rows and columns of the network's output that outputs are made of."""
        return self.upsampler.network_outputs(outputs[0], outputs[1], (self.channels[0], sizes[0], sizes[1]))

    # -- computing -------------------------------------------------------------------------------------------------

    def compute(self, x: Array, window: Region, sizes: Sizes, outputs: Region, out: Array, context: Any = None) -> None:
        """Fill out [C', *outputs] from x [C, *window] of the stored picture. Raises CheckError, DtypeError."""
        begin = time.perf_counter()
        missing = MissingData(x, self._nodata, self.values.alpha) if self._masks else None
        if missing is not None and missing.count:
            x = missing.filled(x, self.upsampler)
        self.checks.note_range(x, self.upsampler.learned)
        frame = self.values.frame(sizes[0])._replace(columns=outputs[1], width=sizes[1])
        check = None
        if self.checked and self.checks.allow_another(self.upsampler.block):
            check = Check(x, self.upsampler, self._stated, part=TilePlace(sizes, window, outputs), places=PLACES)
        if self._network is not None:
            span = self._network_span(outputs, sizes)
            layers = self._layer_check(x, window, sizes) if self._layered and check is not None else None
            detail = self._network.output(x, window, sizes, span, context, layers)
            frame = frame._replace(source=TileOutput(detail, span, layers))
        if check is not None:
            check.source = frame.source if self._layered else None
        for rows in self._strips(outputs):
            self._fill(x, window, sizes, (rows, outputs[1]), frame, out[:, _within(rows, outputs[0])], check)
        self.checks.add_work(time.perf_counter() - begin)
        if check is not None:
            self.checks.compare(check, out)
        if missing is not None:
            axes = zip(outputs, self.output_sizes(sizes), sizes, window, strict=True)
            places = [
                pixel_of(np.arange(span.start, span.stop), large, small) - part.start
                for span, large, small, part in axes
            ]
            missing.mark(out, self.upsampler.mixes, (places[0], places[1]))

    def _fill(
        self, x: Array, window: Region, sizes: Sizes, outputs: Region, frame: Any, out: Array, check: Check | None
    ) -> None:
        """Fill out with some rows of a tile."""
        upsampler, rows = self.upsampler, outputs[0]
        columns = self._own_window(outputs, sizes)[1]
        own = upsampler.own_window(rows, sizes[0], 0)
        at = np.clip(np.arange(own.start, own.stop), 0, sizes[0] - 1) - window[0].start
        across = _within(columns, window[1])
        inside = slice(int(at[0]), int(at[-1]) + 1)
        stored = x[:, inside, across] if len(at) == inside.stop - inside.start else x[:, at, across]
        frame = frame._replace(left=columns.start)
        numbers = upsampler.strip(self.values.load(stored), own.start, rows, frame)
        if check is not None:
            check.record(rows, numbers, outputs[1].start)
        out[...] = self.values.store(numbers)

    def _strips(self, outputs: Region) -> list[slice]:
        """Return the rows of a tile in parts, which bound the memory of its numbers."""
        rows, columns = outputs
        row = max(self.channels) * (columns.stop - columns.start) * self.values.computed.itemsize
        step = max(1, _STRIP // max(1, row))
        return [slice(start, min(start + step, rows.stop)) for start in range(rows.start, rows.stop, step)]

    def _layer_check(self, x: Array, window: Region, sizes: Sizes) -> LayerCheck:
        """Return the check of the layers of a deep network in one tile."""
        assert self._network is not None
        definition = self._network.definition(x, window, sizes)
        height, width = self._network.extents(sizes)
        return LayerCheck(self._network.model.network, (height, width), definition, path=False)

    # -- facts -----------------------------------------------------------------------------------------------------

    def scratch_bytes(self, outputs: Region, sizes: Sizes) -> int:
        """Return the most bytes that `compute` takes: strips, the network's run, and missing data that are filled."""
        window = self.window(outputs, sizes)
        pixels = elements(window) * self.channels[0]
        scratch = 0
        if self._masks:  # kinds, the filled picture, and the filling of one channel
            scratch += pixels * (3 + self.dtype.itemsize) + 48 * elements(window)
        if self._network is not None:
            span = self._network_span(outputs, sizes)
            scratch += self._network.scratch_bytes(span, sizes, self.channels[0])
        strip = self._strips(outputs)[0]
        own = self._own_window((strip, outputs[1]), sizes)
        made = elements((strip, outputs[1]))
        middle = 3 * elements(self._network_span((strip, outputs[1]), sizes))
        if self.upsampler.model is not None:  # rows and columns between those of another scale
            middle += 2 * self.upsampler.model.scale * made
        numbers = made * (4 + self.values.alpha) + 3 * elements(own) + middle
        return int(scratch + self.values.computed.itemsize * max(self.channels) * numbers)

    def work(self, outputs: Region, sizes: Sizes) -> int:
        """Return the multiply-adds of a tile: those of the network, or of the transposed convolutions."""
        if self._network is not None:
            return self._network.operator.work(self._network_span(outputs, sizes), self._network.extents(sizes))
        height, width = region_sizes(self._own_window(outputs, sizes))
        passes = self.upsampler.passes((self.channels[0], height, width), self.values.computed)
        return sum(each.problem.macs.exact for each in passes) or elements(outputs) * self.channels[1]

    def prepare(self, read: Read, sizes: Sizes, memory: int) -> Any:
        """Return the means over a whole picture that its network reads; None if there is nothing."""
        return None if self._network is None else self._network.prepare(self._filled(read, sizes), sizes, memory)

    def _filled(self, read: Read, sizes: Sizes) -> Read:
        """Return the function that reads pixels with numbers where data are missing."""
        if not self._masks:
            return read
        reach = self.upsampler.reach(sizes[0])

        def filled(region: Region) -> Array:
            wide = tuple(
                slice(max(0, span.start - reach), min(size, span.stop + reach))
                for span, size in zip(region, sizes, strict=True)
            )
            x = read(wide)
            missing = MissingData(x, self._nodata, self.values.alpha)
            down, across = (_within(*each) for each in zip(region, wide, strict=True))
            return (missing.filled(x, self.upsampler) if missing.count else x)[:, down, across]

        return filled


class TileChecks:
    """Results of the checks of tiles of one process, and the time that they may take; threads share it.

    The first tile is always checked; one with squares that take long again when the work since then allows it.
    """

    def __init__(self) -> None:
        self._lock, self._budget, self.results = threading.Lock(), Budget(), CheckResult(0, 0.0, 0.0)
        self.tiles = 0
        """Tiles that were checked."""
        self.largest, self.smallest = 0.0, 0.0
        """Numbers of pictures that a network read."""

    def __getstate__(self) -> dict[str, Any]:
        """Return nothing: another process counts its own."""
        return {}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Begin to count."""
        self.__init__()  # type: ignore[misc]

    def allow_another(self, block: int) -> bool:
        """Return True if another tile may be checked."""
        with self._lock:
            return not self.tiles or block == 1 or self._budget.allows_another()

    def note_range(self, x: Array, learned: bool) -> None:
        """Count the numbers of floats that a network reads."""
        if not learned or x.dtype.kind != "f":
            return
        finite = np.isfinite(x)
        largest, smallest = (float(of(x, initial=0, where=finite)) for of in (np.max, np.min))
        with self._lock:
            self.largest, self.smallest = max(self.largest, largest), min(self.smallest, smallest)

    def add_work(self, seconds: float) -> None:
        """Count the time of a tile."""
        with self._lock:
            self._budget.seconds += _SHARE * seconds

    def compare(self, check: Check, stored: Array) -> None:
        """Compare a tile with the definition. Raises CheckError."""
        begin = time.perf_counter()
        result = check.compare(stored)
        with self._lock:
            self._budget.spend(time.perf_counter() - begin)
            self.tiles += 1
            self.results = merged([self.results, result])


def _within(span: slice, origin: slice) -> slice:
    return slice(span.start - origin.start, span.stop - origin.start)
