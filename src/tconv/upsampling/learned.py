"""Upsampler of a learned network: bicubic interpolation, plus the detail that the network predicts.

It runs a `tconv.models.Model` strip by strip, at the model's own scale or at another one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv._cached_property import cached_property
from tconv.errors import ArgumentError, ShapeError
from tconv.models import PHOTO_SCALES, PHOTO_SIZES, load, photo
from tconv.models.error_bound import Piece, piece
from tconv.models.image_model import Model
from tconv.models.layers import Convolution
from tconv.models.receptive_field import square_macs
from tconv.models.steps.strided_convolution import StridedConvolution
from tconv.upsampling.filters import NamedFilter
from tconv.upsampling.network_doubts import unlike_input
from tconv.upsampling.network_options import AS_STATED, NetworkOptions
from tconv.upsampling.option_names import PYTHON, Naming
from tconv.upsampling.picture_source import PictureSource, Span
from tconv.upsampling.resizing import runs_once
from tconv.upsampling.upsampler import Frame, Load, Pass, Truth, WholeScale, even_parts, reach, row_strips
from tconv.weights.interpolation import Interpolation

PHOTO, PHOTO_LARGE = NAMES = "photo", "photo-large"
"""Names of the networks that come with tconv."""

_LONG = 300_000_000
"""Products of one square of the check above which a network is checked layer by layer instead."""
_FLOAT32 = np.dtype(np.float32)


def from_name(name: str, scale: int, naming: Naming = PYTHON) -> LearnedUpsampler:
    """Return a network that comes with tconv at any scale from 2: one whose scale divides it, or detail resampled.

    The large one runs at its own scale; at others the small one runs, and a note says so. Raises ArgumentError for
    another name or scale.
    """
    if name not in NAMES:
        raise ArgumentError(
            f"{naming.name('model')} is {name!r}; there are {PHOTO} and {PHOTO_LARGE}. Write "
            f"{naming.example('model', PHOTO_LARGE if str(name).startswith(PHOTO) else PHOTO)}, or "
            f"{naming.example('weights', 'FILE')}"
        )
    if scale < 2:
        raise ArgumentError(
            f"{naming.name('scale')} is {scale}, and {naming.name('model')} makes pictures larger. Write "
            f"{naming.example('scale', 2)}, or {naming.example('kernel', 'bicubic')}"
        )
    if name == PHOTO_LARGE and scale in PHOTO_SIZES["large"]:
        return LearnedUpsampler(photo(scale, "large"), scale, name, naming)
    fitting = [each for each in PHOTO_SCALES if scale % each == 0]
    upsampler = LearnedUpsampler(photo(max(fitting, default=3)), scale, PHOTO, naming)
    if (note := replaced(name, scale)) is not None:
        upsampler.notes.append(note)
    return upsampler


def replaced(name: str, scale: int) -> str | None:
    """Return the note on the network that runs instead of that of a name, if another one does at this scale."""
    if name != PHOTO_LARGE or scale in PHOTO_SIZES["large"]:
        return None
    own = " and ".join(f"x{each}" for each in PHOTO_SIZES["large"])
    return f"{PHOTO_LARGE} is a network of {own}; x{scale} is {PHOTO}'s"


def from_weights(
    weights: str | Model, scale: int | None, naming: Naming = PYTHON, options: NetworkOptions = AS_STATED
) -> LearnedUpsampler:
    """Return the upsampler of a model, or of a file, at its own scale or a multiple of it.

    Raises what `tconv.models.load` and `NetworkOptions.applied` raise.
    """
    loaded = weights if isinstance(weights, Model) else load(weights)
    model = options.applied(loaded, naming)
    scale = model.scale if scale is None else scale
    assert scale % model.scale == 0
    return LearnedUpsampler(model, scale, model.name, naming, loaded.value_range)


def is_layered(model: Model, block: int) -> bool:
    """Return True for a network of which squares of this side would take long to recompute."""
    return model.network.has_means or square_macs(model.network, block) > _LONG


class LearnedUpsampler(WholeScale):
    """A `Model` that runs strip by strip, at its own scale; at another scale its output is interpolated.

    `own_range` is that of the model's file, where the caller stated another one.

    The model enlarges f times. That is interpolated r times, and every d-th pixel of the result is used, where
    f*r = d*scale and d is odd, so that pixel centres stay in place.
    """

    model: Model
    mixes, learned, strip_bytes, block = False, True, 1 << 24, 24
    plainer = "bicubic"

    def __init__(
        self,
        model: Model,
        scale: int,
        name: str,
        naming: Naming = PYTHON,
        own_range: tuple[float, float] | None = None,
    ) -> None:
        self.model, self.scale, self.name, self._naming = model, scale, name, naming
        self._own_range = own_range or model.value_range
        divides = scale % model.scale == 0
        self._step = 1 if divides else model.scale
        times = scale // model.scale if divides else scale
        self._more = Interpolation("bicubic", times) if times > 1 else None
        self._filter = NamedFilter(model.adds or "bicubic", scale)
        steps = [node.step for node in model.network.nodes]
        count = sum(isinstance(step, (Convolution, StridedConvolution)) for step in steps)
        added = f", added to {model.adds}" if model.adds else ""
        self.description = f"{model.name} (a network of {count} convolution{'s' * (count != 1)}{added})"
        self.notes: list[str] = list(model.notes)
        if self._more is not None and divides and not model.adds:
            self.description += f": x{model.scale} by the network, then x{times} by bicubic"
            self.notes.append(runs_once(model.scale, times))
        elif self._more is not None:
            self.description += f", the x{model.scale} network's detail interpolated to x{scale}"

    @cached_property
    def layered(self) -> bool:
        """True for a network that is checked layer by layer: one square of it would take long to recompute."""
        return is_layered(self.model, self.block)

    def channels(self, channels: int) -> int:
        """Return the number of input channels."""
        return channels

    def refuse_bands(self, channels: int, alpha: bool, bands: bool) -> None:
        """Raise ShapeError for a picture whose channels, besides opacity, are not those that the network takes."""
        takes, count = self.model.network.channels[0], channels - alpha
        if count == takes or (takes in (1, 3) and count in (1, 3) and not bands):
            return
        opacity = " besides opacity" if alpha else ", none of them opacity" if count in (2, 4) else ""
        if bands and count == 3:
            opacity += ", which its file does not call red, green and blue"
        needed = "1 (grey) or 3 (red, green, blue), and opacity, are" if takes in (1, 3) else f"{takes} are"
        raise ShapeError(
            f"the picture has {count} channels{opacity}; {needed} needed. Use a picture of those, or interpolate: "
            f"{self._naming.example('kernel', 'bicubic')}"
        )

    def passes(self, shape: tuple[int, int, int], dtype: np.dtype[Any]) -> list[Pass]:
        """Return the layers, the interpolation of their output, and the filter that it is added to."""
        model = self.model
        problems = model.network.problems((model.extent(shape[1], 0), model.extent(shape[2], 1)))
        passes = [Pass(*each) for each in zip(problems, model.network.methods(), strict=True)]
        if self._more is not None:
            output = model.output_channels(shape[0]), model.scale * shape[1], model.scale * shape[2]
            passes += NamedFilter("bicubic", self._more.scale).passes(output, _FLOAT32)
        return passes + (self._filter.passes(shape, dtype) if model.adds else [])

    def plan_notes(self, shape: tuple[int, int, int]) -> list[str]:
        """Return what is added to a picture that the network does not take as it is, and the passes over it."""
        model = self.model
        rows, columns = model.added(shape[1], 0), model.added(shape[2], 1)
        notes = []
        if rows or columns:
            sizes = f"multiples of {model.block}" if model.block > 1 else "larger pictures"
            rest = f" and {model.rest}" * (model.rest > 0)
            counts = (rows, "row"), (columns, "column")
            lines = " and ".join(f"{count} {name}{'s' * (count != 1)}" for count, name in counts if count)
            kind = "reflection" if model.beyond == "reflect" else "copies"
            verb = "are" if rows + columns != 1 else "is"
            notes.append(f"{lines} of {kind} {verb} added, as the network takes {sizes}{rest}")
        facts = self._plan_facts(shape)
        if not facts.get("bands", "1 ").startswith("1 "):
            notes.append(facts["bands"].replace(" of ", " bands of ", 1))
        if "passes" in facts:
            notes.append(facts["passes"].replace(",", " passes,", 1).partition(";")[0])
        if self._repeated(shape) >= 0.01:
            notes.append(f"{self._repeated(shape):.0%} of the work is done again to save memory")
        return notes

    def _plan_facts(self, shape: tuple[int, int, int]) -> dict[str, str]:
        """Return what the network says of its run, by the first word of each line."""
        model = self.model
        text = model.network.plan_text((model.extent(shape[1], 0), model.extent(shape[2], 1)))
        words = [line.split(maxsplit=1) for line in text.splitlines()]
        return {each[0]: each[1] for each in words if len(each) == 2}

    def _repeated(self, shape: tuple[int, int, int]) -> float:
        """Return the share of the work that is done again."""
        return float(self._plan_facts(shape).get("repeated", "0%").partition("%")[0]) / 100

    def scratch_bytes(self, shape: tuple[int, int, int]) -> int:
        """Return the bytes of the layers' row buffers, and of the interpolation of one strip."""
        channels, height, width = shape
        extents = self.model.extent(height, 0), self.model.extent(width, 1)
        # the network's output of one strip is kept beside the strip itself
        output = self.model.output_channels(channels) * self.scale**2 * height * width * _FLOAT32.itemsize
        buffers = self.model.network.scratch_bytes(extents) + min(self.strip_bytes, output)
        if self._more is None:
            return buffers
        rows = next(row_strips(self, shape, _FLOAT32.itemsize)).stop
        # interpolated rows, then columns, before every d-th is taken; the columns of the strip before are there, too
        tall, wide = (rows * self._step * width * scale for scale in (self.model.scale, self.scale))
        more: int = self.model.output_channels(channels) * (tall + 2 * wide) * _FLOAT32.itemsize
        return buffers + more

    def _fine(self, rows: slice) -> slice:
        """Return the rows of the interpolated network output among which these output rows are."""
        return slice(self._step * rows.start + self._step // 2, self._step * (rows.stop - 1) + self._step // 2 + 1)

    def _network_rows(self, rows: slice, height: int) -> slice:
        """Return the rows of the network's output that these output rows need."""
        return rows if self._more is None else self._more.window(self._fine(rows), self.model.scale * height)

    def window(self, outputs: slice, size: int, axis: int = 0) -> slice:
        """Return the inputs that the network and the filter need; beyond the image its outermost ones repeat."""
        both = (
            self.model.window(self._network_rows(outputs, size), size, axis),
            self._filter.window(outputs, size, axis),
        )
        return slice(min(each.start for each in both), max(each.stop for each in both))

    def own_window(self, outputs: slice, size: int, axis: int = 0) -> slice:
        """Return the inputs that the filter needs."""
        return self._filter.window(outputs, size, axis)

    def bands(self, shape: tuple[int, int, int]) -> list[slice]:
        """Return the columns that are computed one after another, as few as the memory of the network allows."""
        extents = self.model.extent(shape[1], 0), self.model.extent(shape[2], 1)
        return even_parts(self.scale * shape[2], len(self.model.network.bands(extents)))

    def source(self, x: Array, values: Any, advance: Callable[[float], None], check: Any) -> PictureSource:
        """Return the run of the network over an image."""
        layered = check is not None and self.layered
        squares = check.squares() if layered else []
        shape = x.shape[0], x.shape[1], x.shape[2]
        # of a network with means about the last pass alone makes the output
        before = max(0.5, 1 - 1 / (1 + self._repeated(shape))) if self.model.network.has_means else 0.0
        return PictureSource(x, values, self.model, len(self.bands(shape)), before, layered, squares, advance)

    def network_outputs(self, rows: slice, columns: slice, shape: tuple[int, int, int]) -> Span:
        """Return the rows and columns of the network's output that these of the result are made of."""
        return self._network_rows(rows, shape[1]), self._network_rows(columns, shape[2])

    def fingerprint_parts(self) -> tuple[Any, ...]:
        """Return the network, the facts of its model, and the scale."""
        model = self.model
        facts = model.scale, model.border, model.adds, model.value_range, model.order, model.block, model.rest
        return model.network.nodes, *facts, model.beyond, self.scale

    def strip(self, x: Array, first: int, rows: slice, frame: Frame) -> Array:
        """Return output rows from input rows."""
        colours, width = x[:-1] if frame.alpha else x, frame.width or x.shape[2]
        columns = frame.columns or slice(0, self.scale * width)
        network_rows, network_columns = self.network_outputs(rows, columns, (0, frame.height, width))
        if frame.source is not None:
            detail = self.model.network_output(frame.source.rows(network_rows, network_columns), len(colours))
        else:
            pixels = (colours / frame.white).astype(np.float32)
            wanted = self.model.window(network_rows, frame.height)
            inside = slice(max(0, -first), min(pixels.shape[1], frame.height - first))
            at = self.model.places(wanted, frame.height) - max(0, first)
            extended = pixels[:, inside].take(np.clip(at, 0, inside.stop - inside.start - 1), 1)
            detail = self.model.detail(extended, wanted.start, frame.height, network_rows)[..., network_columns]
        if self._more is not None:
            fine = self._fine(rows), self._fine(columns)
            detail = self._more.strip(detail, network_rows.start, fine[0], self._step, fine[1], network_columns.start)
        detail = detail * np.float32(frame.white)
        if self.model.adds is None and not frame.alpha:
            return detail.astype(x.dtype, copy=False)
        inside = slice(max(0, -first), frame.height - first)
        base = self._filter.strip(x[:, inside], max(0, first), rows, frame)
        result = base[: len(colours)]
        if self.model.adds is None:
            result[...] = detail
        else:
            result += detail
        return base

    def doubt(self, source: PictureSource) -> str | None:
        """Return a warning if the network's output is surely not a picture like the one that it was given."""
        return unlike_input(source, self._own_range, self._naming)

    # -- the definition ------------------------------------------------------------------------------------------

    def truth(self, load: Load, shape: tuple[int, int, int], y: Array, x: Array, frame: Frame) -> Truth:
        """Return the filter's definition at each place plus the network's, of the square around all places."""
        base = self._filter.truth(load, shape, y, x, frame)
        values, error = base.values, np.finfo(np.float32).eps * base.roundings * base.mass
        colours = len(values) - frame.alpha
        if self.model.adds is None:
            values[:colours], error[:colours] = 0, 0
        rows, columns = (slice(at.min(), at.max() + 1) for at in (y, x))
        block = self._piece(load, shape, (rows, columns), frame)
        if frame.source is not None and frame.source.check is not None:
            # the layers are checked while they run: what is left are the steps behind them
            finite = np.abs(block.values[np.isfinite(block.values)])
            error[:colours] += frame.white * 32 * np.finfo(np.float32).eps * finite.max(initial=0)
        inside = y - rows.start, x - columns.start
        values[:colours] += frame.white * block.values[:, *inside]
        error[:colours] += frame.white * block.error[:, *inside]
        # the rounding of the sum of the two
        error[:colours] += np.finfo(np.float32).eps * np.abs(values[:colours])
        return base._replace(values=values, error=error)

    def _piece(self, load: Load, shape: tuple[int, int, int], outputs: tuple[slice, slice], frame: Frame) -> Piece:
        """Return rows and columns of the network's output, in float64."""
        model = self.model
        target = self.network_outputs(*outputs, shape)
        colours = shape[0] - frame.alpha
        if frame.source is not None and frame.source.check is not None:
            kept = frame.source.kept(*target).astype(np.float64)
            whole = Piece(kept, kept[None])
            shown = whole.through(lambda part: model.network_output(part, colours))
            return (
                shown if self._more is None else shown.through(lambda part: self._interpolated(part, target, outputs))
            )
        extended = [model.extent(size, axis) for axis, size in enumerate(shape[1:])]
        spans = [model.network.window(target[axis], extended[axis], axis) for axis in (0, 1)]
        rows, columns = (
            model.places(slice(span.start - model.border, span.stop - model.border), size)[None]
            for span, size in zip(spans, shape[1:], strict=True)
        )
        x = model.network_input(load(rows, columns)[:colours, 0] / frame.white)
        whole = piece(model.network, x, (spans[0], spans[1]), (extended[0], extended[1]), (target[0], target[1]))
        shown = whole.through(lambda part: model.network_output(part, colours))
        return shown if self._more is None else shown.through(lambda part: self._interpolated(part, target, outputs))

    def _interpolated(self, part: Array, spans: tuple[slice, ...], outputs: tuple[slice, slice]) -> Array:
        """Return the output rows and columns from the network's rows and columns `spans`: sums over a few taps."""
        assert self._more is not None
        for axis, (source, span) in enumerate(zip(spans, outputs, strict=True), 1):
            fine = self._fine(span)
            pairs = reach(np.arange(fine.start, fine.stop, self._step), source.stop, self._more.geometry)
            valid = pairs.valid & (pairs.inputs >= source.start)
            weights = np.where(valid, self._more.taps[pairs.taps % self._more.size], 0)
            weights /= weights.sum(1, keepdims=True)
            taken = np.moveaxis(part, axis, -1)[
                ..., np.clip(pairs.inputs, source.start, source.stop - 1) - source.start
            ]
            # an infinite neighbour that no tap reaches must not count
            part = np.moveaxis((np.where(valid, taken, 0) * weights).sum(-1), -1, axis)
        return part
