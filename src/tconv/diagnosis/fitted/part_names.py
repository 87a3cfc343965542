"""Words for a part of an output: channels, images, rows, phases, and what they have in common.

`corrupted_parts` and `bias_values` describe with them where an output is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from tconv._arrays import Array
from tconv.diagnosis.call_model import axis_names

_PERIODS = (2, 4, 8, 16, 32, 64)  # channels that hardware and kernels compute together
_LISTED = 8  # most numbers that are written out

Phase = tuple[int, ...]


@dataclass(frozen=True)
class Part:
    """Images, channels, and rows or phases of an output [N, C, *spatial], which may be all of it."""

    shape: tuple[int, ...]
    rows: tuple[Array, ...]
    """Numbers along each axis, images and channels first."""
    stride: tuple[int, ...] = ()
    phases: tuple[Phase, ...] = ()
    """Phases, if it is made of these only: output places modulo the stride."""
    planes: tuple[tuple[int, int], ...] = ()
    """Image and channel of each plane, if it is made of these only."""
    frame: bool = False
    """True if it is what surrounds the box of these rows, in these images and channels."""

    @property
    def limited(self) -> tuple[int, ...]:
        """Axes of which only some numbers belong to the part."""
        return tuple(axis for axis, rows in enumerate(self.rows) if len(rows) < self.shape[axis])

    def mask(self) -> Array:
        """Return True at the places of the part."""
        inside = np.zeros(self.shape, bool)
        if self.planes:
            inside[tuple(np.transpose(self.planes))] = True
            return inside
        if self.frame:
            planes = np.ones(self.shape[2:], bool)
            planes[np.ix_(*self.rows[2:])] = False
            inside[np.ix_(*self.rows[:2])] = planes
            return inside
        if not self.phases:
            inside[np.ix_(*self.rows)] = True
            return inside
        planes = np.zeros(self.shape[2:], bool)
        for phase in self.phases:
            planes[phase_slices(phase, self.stride)] = True
        inside[np.ix_(*self.rows[:2])] = planes
        return inside

    def moved(self, first: int) -> Part:
        """Return the part with its rows along the first spatial axis numbered from `first`, for the words."""
        if not first:
            return self
        rows = (*self.rows[:2], self.rows[2] + first, *self.rows[3:])
        shape = (*self.shape[:2], self.shape[2] + first, *self.shape[3:])
        phases = tuple(((p[0] + first) % self.stride[0], *p[1:]) for p in self.phases)
        return replace(self, shape=shape, rows=rows, phases=phases)

    def steps(self) -> dict[int, int]:
        """Return the period of each spatial axis whose rows are a phase's: every s-th from one below s on."""
        return {
            axis: step
            for axis in self.limited
            if axis > 1
            and (step := _step(self.rows[axis], self.shape[axis], self.stride[axis - 2] if self.stride else 0))
        }

    def own_phases(self) -> tuple[Phase, ...]:
        """Return the phases that the part is made of; () if it is not made of whole phases."""
        if self.phases or self.frame:
            return self.phases
        steps, spatial = self.steps(), [axis for axis in self.limited if axis > 1]
        if not spatial or set(steps) != set(spatial):
            return ()
        stride = self._steps_or_stride()
        if any(stride[axis - 2] != step for axis, step in steps.items()):
            return ()
        residues = [[int(self.rows[a][0])] if a in steps else range(stride[a - 2]) for a in range(2, len(self.shape))]
        return tuple(product(*residues))

    def label(self, groups: int = 1) -> str:
        """Return the words for the part: "channels 8 to 15 (a block of 8)", or "phase (1, 0) of channel 3"."""
        names, outer = axis_names(len(self.shape) - 2), []
        if self.planes:
            shown = [f"channel {channel} of image {image}" for image, channel in self.planes[:4]]
            return f"{', '.join(shown)}{', ...' if len(self.planes) > 4 else ''}"
        if 1 in self.limited:
            outer.append(channel_words(self.rows[1], self.shape[1], groups))
        if 0 in self.limited:
            outer.append(f"image{_s(self.rows[0])} {listed(self.rows[0])}")
        steps, labels = self.steps(), []
        for axis in range(2, len(self.shape)):
            rows, name = self.rows[axis], names[axis]
            if self.frame:
                outside = np.setdiff1d(np.arange(self.shape[axis]), rows)
                if len(outside):
                    labels.append(f"row{_s(outside)} along {name} {listed(outside)}")
            elif axis in steps:
                labels.append(f"every {_ordinal(steps[axis])} row along {name} from row {rows[0]}")
            elif axis in self.limited:
                labels.append(f"row{_s(rows)} along {name} {listed(rows)}")
        inner = " and ".join(labels) if self.frame else ", ".join(labels)
        if phases := self.own_phases():
            inner = phase_words(phases, self._steps_or_stride(), len(self.shape) - 2) + (f" ({inner})" if inner else "")
        return " of ".join([*([inner] if inner else []), *outer])

    def _steps_or_stride(self) -> Sequence[int]:
        steps = self.steps()
        return self.stride or tuple(steps.get(axis, 1) for axis in range(2, len(self.shape)))

    @property
    def is_single(self) -> bool:
        """True if its words are a singular: one channel, image, row or phase, or all of them but one."""
        label = self.label()
        return not label.startswith(("channels", "images", "phases", "rows")) and " and " not in label


def phase_slices(phase: Phase, stride: Sequence[int]) -> tuple[slice, ...]:
    """Return the slices of a plane that are one phase."""
    return tuple(slice(first, None, step) for first, step in zip(phase, stride, strict=True))


def phase_words(phases: Sequence[Phase], stride: Sequence[int], ndim: int) -> str:
    """Return "phase (1, 0)", or "phases (0, 1) and (1, 0)"; of many only the ones that are left out."""
    shown = [str(phase[0] if ndim == 1 else phase) for phase in phases]
    if len(shown) == 1:
        return f"phase {shown[0]}"
    others = [phase for phase in product(*map(range, stride)) if phase not in phases] if len(stride) == ndim else []
    if len(others) == 1 and len(shown) > 2:
        return f"every phase but {others[0][0] if ndim == 1 else others[0]}"
    if len(shown) > _LISTED:
        return f"{len(shown)} phases, {', '.join(shown[:4])}, ..."
    return f"phases {', '.join(shown[:-1])} and {shown[-1]}"


def channel_words(chosen: Array, count: int, groups: int = 1) -> str:
    """Return the words for some channels of `count`, with what they have in common."""
    rows = [int(number) for number in chosen]
    others = sorted(set(range(count)) - set(rows))
    if len(rows) == 1:
        return f"channel {rows[0]}"
    if len(others) == 1 and count > 2:
        return f"every channel but channel {others[0]}"
    words = f"channels {listed(chosen)}"
    first, last = rows[0], rows[-1]
    if last - first + 1 == len(rows):
        return words + _block(first, len(rows), count, groups)
    for period in sorted({*_PERIODS, groups, count // groups} - {1}):
        residues = sorted({row % period for row in rows})
        if len(rows) >= 2 * len(residues) and rows == [c for c in range(count) if c % period in residues]:
            if len(residues) == 1:
                return f"{words} (every {_ordinal(period)} channel)"
            return f"{words} (those whose number modulo {period} is {_either(residues)})"
    step = rows[1] - rows[0]
    if len(rows) > 2 and rows == list(range(first, count, step)):
        return f"{words} (every {_ordinal(step)} channel)"
    return words


def _block(first: int, size: int, count: int, groups: int) -> str:
    """Return what consecutive channels have in common: a group, the end, a remainder, a block of a power of 2."""
    per, stop = count // groups, first + size
    if groups > 1 and first % per == 0 and size % per == 0:
        return f" (group {first // per})" if size == per else f" (groups {first // per} to {stop // per - 1})"
    if stop == count:
        rests = [period for period in _PERIODS if period > size and count % period == size]
        rest = f"; {count} leaves {size} over when divided by {rests[0]}" if rests else ""
        return f" (every channel from channel {first} on{rest})"
    if first == 0:
        return f" (the first {size})"
    return f" (a block of {size})" if size >= 4 and size & -size == size and first % size == 0 else ""


def _either(numbers: Sequence[int]) -> str:
    """Return "4 to 7", or "1, 2 or 5"."""
    if len(numbers) > 2 and numbers[-1] - numbers[0] + 1 == len(numbers):
        return f"{numbers[0]} to {numbers[-1]}"
    return f"{', '.join(map(str, numbers[:-1]))} or {numbers[-1]}"


def right_words(part: Part, groups: int = 1) -> str:
    """Return "only channel 0 is right", if less of the channels is right than wrong; else "all else is right"."""
    if part.frame or part.planes:
        return "all else is right"
    if part.phases and len(part.limited) == 0 and 2 * len(part.phases) > np.prod(part.stride):
        left = [p for p in product(*map(range, part.stride)) if p not in part.phases]
        return f"only {phase_words(left, part.stride, len(part.stride))} {_is(len(left))} right"
    if len(part.limited) == 1 and not part.phases:
        (axis,) = part.limited
        others = np.setdiff1d(np.arange(part.shape[axis]), part.rows[axis])
        if len(others) < len(part.rows[axis]) and axis not in part.steps():
            rows = tuple(others if a == axis else each for a, each in enumerate(part.rows))
            return f"only {replace(part, rows=rows).label(groups)} {_is(len(others))} right"
    return "all else is right"


def listed(rows: Array) -> str:
    """Return numbers as text: "3 to 7", or "0, 2, 5"."""
    if len(rows) > 2 and rows[-1] - rows[0] + 1 == len(rows):
        return f"{rows[0]} to {rows[-1]}"
    return ", ".join(map(str, rows[:_LISTED])) + (", ..." if len(rows) > _LISTED else "")


def _s(rows: Array) -> str:
    return "s" * (len(rows) > 1)


def _is(count: int) -> str:
    return "is" if count == 1 else "are"


def _ordinal(number: int) -> str:
    return {2: "2nd", 3: "3rd"}.get(number, f"{number}th")


def _step(rows: Array, size: int, stride: int) -> int:
    """Return the step s if the rows are all rows r, r + s, r + 2s, ... of the axis, as a phase's are; 0 if not."""
    if len(rows) < 2:
        return 0
    step = int(rows[1] - rows[0])
    whole = step > 1 and rows[0] < step and np.array_equal(rows, np.arange(rows[0], size, step))
    return step if whole and (step == stride or len(rows) > 2) else 0
