"""A problem and the strides of its arrays, as a function of arrays."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from tconv.kernels.activation import Activation
from tconv.kernels.num_threads import get_num_threads
from tconv.kernels.problem import Array, Problem
from tconv.kernels.simd.direct.call_tables import Job
from tconv.kernels.simd.direct.packed_weight import packed
from tconv.kernels.simd.weight_cache import WEIGHT_CACHE, fingerprint
from tconv.kernels.simd.winograd_f22 import call_tables, packed_weight

NONE = np.zeros(0, np.float32)
"""What is kept of a weight that a form does not take."""


class Form(NamedTuple):
    """A way to compute it: its job, its packed weight, and the largest number in a weight."""

    name: str
    job: Callable[..., Any]
    packed: Callable[[Problem, Array], Array]
    largest: float

    def pack(self, p: Problem, w: Array) -> Array:
        """The packed weight, of a canonical one; `NONE` if it does not take these numbers."""
        return self.packed(p, w) if (np.abs(w) <= self.largest).all() else NONE


DIRECT = Form("direct", Job, packed, float(np.finfo(np.float32).max))
PAIRS = Form("pairs", call_tables.Job, packed_weight.packed, packed_weight.LARGEST)


@lru_cache(maxsize=256)
def job(
    form: Form, p: Problem, x_strides: tuple[int, ...], out_strides: tuple[int, ...], threads: int, activated: bool
) -> Any:
    """The job for a problem with arrays of these strides."""
    return form.job(p, x_strides, out_strides, threads, activated)


class Bound:
    """What `Kernel.bind` gives.

    `layout` says how the weight lies in memory (its method `canonical` gives [C_in, C_out/g, *kernel]); None for a
    canonical one. `packings` is where the owner of a weight that does not change keeps its packed form: it is packed
    once, and never looked at again. What `form` does not take, in the weight or in x, is computed directly.
    """

    def __init__(
        self,
        p: Problem,
        x_strides: tuple[int, ...],
        out_strides: tuple[int, ...],
        layout: Any = None,
        activation: Activation | None = None,
        packings: dict[Any, Array] | None = None,
        form: Form = DIRECT,
    ) -> None:
        self._problem, self._layout, self._form = p, layout, form
        self._given = p, x_strides, out_strides, layout, activation, packings
        self._direct: Bound | None = None  # made when it is needed
        self._strides = tuple(step // 4 for step in x_strides), tuple(step // 4 for step in out_strides)
        # what the packed weight depends on, beside its numbers
        self._sizes = (form.name, layout, p.geometry, p.in_channels, p.out_channels)
        self._job: Any = None
        self._activation = () if activation is None else activation.arrays(p.out_channels)
        self._packings = packings
        self._fixed: Array | None = None

    def __call__(self, x: Array, w: Array, bias: Array | None, out: Array) -> bool:
        """Fill out; False, and nothing is done, if the weight is not finite."""
        weights = self._find(w) if self._packings is None else self._held(w, self._packings)
        if weights is NONE:
            return self._directly(x, w, bias, out)
        made, threads = self._job, get_num_threads()
        if made is None or made.asked != threads:
            self._job = made = job(self._form, self._problem, *self._strides, threads, bool(self._activation))
        # held by a name until the call ends
        flat = bias if bias is None or bias.flags.c_contiguous else np.ascontiguousarray(bias)
        biases = 0 if flat is None else flat.ctypes.data
        activation = (array.ctypes.data for array in self._activation)
        done = made.run(x.ctypes.data, weights.ctypes.data, biases, out.ctypes.data, *activation)
        return done or self._directly(x, w, bias, out)

    def _directly(self, x: Array, w: Array, bias: Array | None, out: Array) -> bool:
        """The direct sum of what `form` does not take; False if `form` is that, and the weight is not finite."""
        if self._form is DIRECT:
            return False
        if self._direct is None:
            self._direct = Bound(*self._given)
        return self._direct(x, w, bias, out)

    def _held(self, w: Array, packings: dict[Any, Array]) -> Array:
        if self._fixed is None:
            found = packings.get(self._sizes)
            self._fixed = packings.setdefault(self._sizes, self._find(w)) if found is None else found
        return self._fixed

    def _find(self, w: Array) -> Array:
        described = w.shape, w.strides, *self._sizes
        found = WEIGHT_CACHE.get((fingerprint(w), *described))
        if found is None:
            # of a private copy: another thread may write w between the fingerprint and the packing
            own = w.copy()
            found = self._packed(own)
            WEIGHT_CACHE.put((fingerprint(own), *described), found)
        return found

    def _packed(self, w: Array) -> Array:
        layout, groups = self._layout, self._problem.geometry.groups
        return self._form.pack(self._problem, w if layout is None else layout.canonical(w, groups))
