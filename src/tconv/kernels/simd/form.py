"""Form of the kernel: how it computes the sums, as a compiled call and a packed weight."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from tconv._arrays import Array
from tconv.kernels.problem import Problem
from tconv.kernels.simd.compiled_call import CompiledCall

NOT_PACKED = np.zeros(0, np.float32)
"""Stored in place of the packed weight, for a weight whose numbers a form cannot compute with."""


class Form(NamedTuple):
    """Form of the kernel: its compiled call, its packed weight, and the test of a weight for numbers it can use."""

    name: str
    compile: Callable[..., CompiledCall]
    pack_weight: Callable[[Problem, Array], Array]
    accepts: Callable[[Problem, Array], bool]

    def pack(self, p: Problem, w: Array) -> Array:
        """Return the packed weight of a canonical one, `NOT_PACKED` if the form does not accept its numbers."""
        return self.pack_weight(p, w) if self.accepts(p, w) else NOT_PACKED
