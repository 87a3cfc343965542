"""One native call against one `conv_transpose` in that dialect: equal, refused on both sides, or a listed fault."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import tconv

Words = dict[str, Any]


def whole_numbers(rng: np.random.Generator, shape: Sequence[int], dtype: str = "float32") -> np.ndarray:
    """Random asymmetric data without zeros: whole numbers small enough that every sum is exact in float32."""
    return (rng.integers(1, 9, tuple(shape)) * rng.choice([-1, 1], tuple(shape))).astype(dtype)


class Conformance:
    """Counts what happened over many calls; `check` raises AssertionError with the call that disagrees."""

    def __init__(self, name: str, native: Callable[..., Any], unsupported: Callable[[Exception, Words], bool] | None = None) -> None:
        """`native(x, w, bias, words)` makes the framework's own call on NumPy arrays and returns a NumPy array.

        `unsupported(error, words)` says that the framework's build lacks a kernel for a call that its rules allow.
        """
        self.name, self.native = name, native
        self.speaker = tconv.dialect(name)
        self.unsupported = unsupported or (lambda error, words: False)
        self.tally: Counter[str] = Counter()

    def check(self, x: np.ndarray, w: np.ndarray, bias: np.ndarray | None, words: Words) -> None:
        ours, said = None, ""
        try:
            ours = tconv.conv_transpose(x, w, bias, dialect=self.name, **words)
        except tconv.TconvError as error:
            said = str(error)
        try:
            theirs = np.asarray(self.native(x, w, bias, words))
        except Exception as error:  # each framework has its own kinds
            if self.unsupported(error, words):
                self.tally["unsupported there"] += 1
                return
            theirs, refusal = None, f"{type(error).__name__}: {str(error)[:300]}"
        if theirs is None and ours is None:
            self.tally["refused"] += 1
            return
        if theirs is not None and ours is not None and theirs.shape == ours.shape and np.array_equal(theirs, ours):
            self.tally["equal"] += 1
            return
        if theirs is not None and theirs.size == 0 and x.size and "the output would be" in said:
            self.tally["zero-size outputs are refused here"] += 1
            return
        if fault := self._fault(x, w, words):
            self.tally[f"fault: {fault}"] += 1
            return
        call = f"x{x.shape} w{w.shape} bias={bias is not None} {words}"
        if theirs is None:
            raise AssertionError(f"{self.name} refuses ({refusal}), we give {ours.shape}: {call}")
        if ours is None:
            raise AssertionError(f"we refuse ({said}), {self.name} gives {theirs.shape}: {call}")
        raise AssertionError(f"{self.name} gives {theirs.shape}, we {ours.shape}, with other values: {call}")

    def _fault(self, x: np.ndarray, w: np.ndarray, words: Words) -> str | None:
        if not self.speaker.faults:
            return None
        try:
            call = self.speaker.read(x.shape, w.shape, words)
        except tconv.TconvError:
            return None
        sizes = call.data.sizes(x.shape)[2]
        return next((fault.what for fault in self.speaker.faults if fault.applies(call.geometry, sizes, words)), None)
