"""Stream under test: runs of it with given cuts, and comparisons that raise `ContractError`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from numbers import Real
from typing import Any

import numpy as np

from tconv import _arrays
from tconv._arguments import int_of, ints_of, shown
from tconv._arrays import Array
from tconv.errors import ArgumentError, ContractError, ShapeError

_LEAST = 4
"""Samples that an example needs."""
_MOST_CUTS = 30
"""Cuts that a message shows."""


class Subject:
    """Stream, its example and its reference. All numbers here are NumPy's; `x` is the example."""

    def __init__(
        self,
        stream: Any,
        example: Any,
        whole: Callable[[Any], Any],
        time_axis: int | None,
        tolerance: float,
        context: Sequence[int] | None,
        seed: int,
    ) -> None:
        is_number = isinstance(tolerance, Real)
        if not is_number or not 0 <= tolerance < math.inf:
            raise ArgumentError(f"tolerance is {shown(tolerance)}; a number from 0 on is needed. Write tolerance=1e-6")
        self.stream, self._whole, self.tolerance = stream, whole, float(tolerance)
        self.context = None if context is None else ints_of(context, "context", 2, least=0)
        self.library, array = _arrays.look(example, "example")
        axis = getattr(stream, "time_axis", 2) if time_axis is None else time_axis
        axis = int_of(axis, "time_axis", example="time_axis=2")
        if not -array.ndim <= axis < array.ndim:
            raise ArgumentError(f"time_axis is {axis}; the example has {array.ndim} axes. Write time_axis=-1")
        self.axis, self.x = axis % array.ndim, array.copy()
        if self.samples(self.x) < _LEAST:
            raise ShapeError(
                f"the example has shape {array.shape}, {self.samples(array)} samples on axis {self.axis}; some tens "
                "are needed. Write a longer example, or time_axis="
            )
        self.rng, self.steady = np.random.default_rng(int_of(seed, "seed", least=0, example="seed=0")), False
        self._has_batch = bool(getattr(stream, "has_batch", True))
        try:
            self.expected = self.whole(self.x)
        except ContractError as error:
            raise ArgumentError(f"the example has shape {array.shape}; {error}. Write one that the stream takes") from (
                error.__cause__
            )
        self.made_axis = self._find_made_axis()

    def describe(self) -> str:
        """Return the shapes as text."""
        axes = f"{self.axis}" if self.axis == self.made_axis else f"{self.axis} and {self.made_axis}"
        return f"{list(self.x.shape)} -> {list(self.expected.shape)}, time on axis {axes}"

    def _find_made_axis(self) -> int:
        """Return the axis of time in outputs: the one whose size follows the length of the input."""
        for less in range(1, self.samples(self.x) // 2):
            try:
                shape = self.whole(self.part(self.x, 0, self.samples(self.x) - less)).shape
            except Exception:  # too short, whatever error the library raises
                break
            axes = [
                axis for axis, sizes in enumerate(zip(shape, self.expected.shape, strict=False)) if sizes[0] != sizes[1]
            ]
            if axes:
                return axes[0]
        return min(self.axis, self.expected.ndim - 1)

    # -- inputs and outputs --------------------------------------------------------------------------------------

    def samples(self, x: Array) -> int:
        """Return the number of samples of an input."""
        return int(x.shape[self.axis])

    def part(self, x: Array, start: int, stop: int) -> Array:
        """Return samples of an input."""
        return x[(slice(None),) * self.axis + (slice(start, stop),)]

    def count(self, made: Array) -> int:
        """Return the number of samples of an output."""
        return int(made.shape[self.made_axis])

    def first(self, made: Array, count: int) -> Array:
        """Return the first samples of an output."""
        return made[(slice(None),) * self.made_axis + (slice(0, count),)]

    def along(self, wrong: Array) -> Array:
        """Return the samples of an output in which something is True."""
        return np.flatnonzero(wrong.any(tuple(axis for axis in range(wrong.ndim) if axis != self.made_axis)))

    def noise(self, samples: int | None = None) -> Array:
        """Return random numbers like the example."""
        shape = list(self.x.shape)
        shape[self.axis] = self.samples(self.x) if samples is None else samples
        if self.x.dtype.kind in "iu":
            return self.rng.integers(0, 100, shape).astype(self.x.dtype)
        numbers = self.rng.standard_normal(shape)
        if self.x.dtype.kind == "c":
            numbers = numbers + 1j * self.rng.standard_normal(shape)
        return numbers.astype(self.x.dtype)

    def given(self, array: Array) -> Any:
        """Return numbers as an array of the example's library, with memory of its own."""
        return _arrays.give(np.ascontiguousarray(array).copy(), self.library)

    def taken(self, made: Any) -> Array | None:
        """Return outputs as NumPy's; None for none."""
        return None if made is None else np.array(_arrays.look(made, "the output")[1])

    def called(self, what: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """Return the result of a function of the user. Raises ContractError with `what` for an error of it."""
        try:
            return function(*arguments)
        except Exception as error:
            raise ContractError(f"{what} raised {type(error).__name__}: {error}") from error

    def whole(self, x: Array) -> Array:
        """Return the result of a whole input."""
        what = f"the whole of {_count(self.samples(x))}"
        made = self.taken(self.called(what, self._whole, self.given(x)))
        if made is None:
            raise ContractError("the reference returned None for a whole input; an array is needed")
        return made

    def alone(self, array: Array) -> Array:
        """Return the first session of a batch, with an axis for it."""
        return array[:1] if self._has_batch else array

    def given_alone(self, array: Array) -> Any:
        """Return the chunk of one session, which has no axis for a batch."""
        return self.given(array[0] if self._has_batch else array)

    def taken_alone(self, made: Any) -> Array | None:
        """Return the output of one session, with an axis for the batch."""
        array = self.taken(made)
        return array[None] if array is not None and self._has_batch else array

    def joined(self, parts: Iterable[Array | None], like: Array | None = None) -> Array:
        """Return parts of an output as one array; `like` has its other sizes."""
        arrays, whole = [part for part in parts if part is not None], self.expected if like is None else like
        if not arrays:
            return self.first(whole, 0)
        for array in arrays:
            shapes = [[n for axis, n in enumerate(each.shape) if axis != self.made_axis] for each in (array, whole)]
            if array.ndim != whole.ndim or shapes[0] != shapes[1]:
                raise ContractError(f"a chunk gave an output of shape {array.shape}; the whole has {whole.shape}")
        return np.concatenate(arrays, self.made_axis)

    # -- runs ----------------------------------------------------------------------------------------------------

    def push(self, array: Array) -> Array | None:
        """Return what one chunk gives."""
        return self.taken(self.stream.push(self.given(array)))

    def pushed(self, x: Array, cuts: Sequence[int]) -> list[Array | None]:
        """Return what the chunks of x between these cuts give, without a flush."""
        made = []
        for number, (a, b) in enumerate(pairwise(cuts), 1):
            size = "an empty chunk" if a == b else f"a chunk of {_count(b - a)}"
            what = f"push of {size} (chunk {number} of the cuts {_cuts_text(cuts)})"
            made.append(self.called(what, self.push, self.part(x, a, b)))
        return made

    def reset(self) -> None:
        """Begin a new input."""
        self.called("reset()", self.stream.reset)

    def flushed(self) -> Array | None:
        """Return what a flush gives."""
        return self.taken(self.called("flush()", self.stream.flush))

    def run(self, x: Array, cuts: Sequence[int]) -> Array:
        """Return the output of a new input in chunks, and a flush."""
        self.reset()
        return self.joined([*self.pushed(x, cuts), self.flushed()])

    def cuts(self, samples: int) -> list[int]:
        """Return random cuts of an input, with empty chunks among them."""
        longest = int(self.rng.choice([2, 5, 17, max(2, samples)]))
        places = [0]
        while places[-1] < samples:
            places.append(min(samples, places[-1] + int(self.rng.integers(0, longest + 1))))
        return [*places, samples]

    def counts(self, x: Array) -> list[int]:
        """Return the samples that were given after each sample of a new input."""
        self.reset()
        total, found = 0, []
        for made in self.pushed(x, range(self.samples(x) + 1)):
            total += 0 if made is None else self.count(made)
            found.append(total)
        return found

    # -- comparisons ---------------------------------------------------------------------------------------------

    def equal(self, made: Array, expected: Array, what: str, *, prefix: bool = False) -> None:
        """Raise ContractError if an output is not the expected one, or not its beginning."""
        count, whole = self.count(made), self.count(expected)
        if (count > whole) if prefix else (count != whole):
            raise ContractError(f"{what}: the stream gave {count} samples; the whole has {whole}")
        expected = self.first(expected, count)
        if made.dtype != expected.dtype or made.shape != expected.shape:
            raise ContractError(
                f"{what}: the stream gave {made.dtype} {made.shape}; {expected.dtype} {expected.shape} is needed"
            )
        wrong = self.different(made, expected)
        if not wrong.any():
            return
        along, places = self.along(wrong), np.argwhere(wrong)
        place = tuple(map(int, places[places[:, self.made_axis] == along[0]][0]))
        raise ContractError(
            f"{what}: {len(along)} of {count} samples differ from the whole, from sample {along[0]} to {along[-1]}; at "
            f"{place} the stream gave {made[place]!s}, the whole has {expected[place]!s}"
        )

    def different(self, made: Array, expected: Array) -> Array:
        """Return True for every number that is not the expected one."""
        both_nan = (made != made) & (expected != expected)  # every NaN is one
        if not self.tolerance:
            size = made.dtype.itemsize
            bits = [np.ascontiguousarray(each).reshape(-1).view(np.uint8) for each in (made, expected)]
            unequal: Array = (bits[0] != bits[1]).reshape(*made.shape, size).any(-1) & ~both_nan
            return unequal
        with np.errstate(invalid="ignore"):
            finite = np.isfinite(expected)
            scale = np.abs(expected[finite]).max(initial=0)
            close = np.abs(made - expected) <= self.tolerance * scale
        far: Array = ~(close & finite | (made == expected) | both_nan)
        return far


def _count(samples: int) -> str:
    return "1 sample" if samples == 1 else f"{samples} samples"


def _cuts_text(cuts: Sequence[int]) -> str:
    """Return cuts as text, the middle ones of many as points."""
    few = [*cuts] if len(cuts) <= _MOST_CUTS else [*cuts[: _MOST_CUTS - 2], "...", cuts[-1]]
    return ", ".join(map(str, few))
