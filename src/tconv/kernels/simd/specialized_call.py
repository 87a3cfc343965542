"""Specialized call: a problem and the strides of its arrays as a function of arrays alone.

The operator caches it, so that a repeated call finds its compiled call and its packed weight at once.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.geometry import Geometry
from tconv.kernels.activation import Activation
from tconv.kernels.num_threads import get_num_threads
from tconv.kernels.problem import Layer, Problem
from tconv.kernels.simd.compiled_call import CompiledCall
from tconv.kernels.simd.form import NOT_PACKED, Form
from tconv.kernels.simd.form_choice import direct_form
from tconv.kernels.simd.weight_cache import WEIGHT_CACHE, fingerprint


@lru_cache(maxsize=256)
def compiled(
    form: Form, p: Problem, x_strides: tuple[int, ...], out_strides: tuple[int, ...], threads: int, activated: bool
) -> CompiledCall:
    """Return the compiled call for a problem with arrays of these strides, counted in elements."""
    return form.compile(p, x_strides, out_strides, threads, activated)


def _packing_layer(layer: Layer) -> Layer:
    """Return the layer with the least crop for which the direct sum reads the packed weight in the same order.

    A crop that is longer by a multiple of the stride has the same phases.
    """
    g = layer.geometry
    crop = [(lo % s, 0) for (lo, _), s in zip(g.crop, g.stride, strict=True)]
    return layer._replace(geometry=Geometry(g.kernel, g.stride, crop, g.dilation, g.groups))


class SpecializedCall:
    """Function of the arrays of a call, for a problem and the strides of its arrays (in bytes).

    `layout` describes the native weight (its method `canonical` returns [C_in, C_out/g, *kernel]); None if the weight
    is canonical. A caller whose weight never changes passes `packed_weights`, a dictionary of its own: the weight is
    then packed once, and no call computes its fingerprint. Without a `form` it is one of the direct sum, which a call
    with numbers that another form cannot compute with runs, too.
    """

    def __init__(
        self,
        p: Problem,
        x_strides: tuple[int, ...],
        out_strides: tuple[int, ...],
        layout: Any = None,
        activation: Activation | None = None,
        packed_weights: dict[Any, Array] | None = None,
        form: Form | None = None,
    ) -> None:
        size = p.dtype.itemsize
        self._strides = tuple(step // size for step in x_strides), tuple(step // size for step in out_strides)
        self._is_direct = form is None
        form = form or direct_form(p, *self._strides)
        self._problem, self._layout, self._form = p, layout, form
        self._arguments = p, x_strides, out_strides, layout, activation, packed_weights
        self._direct: SpecializedCall | None = None  # built when it is needed
        # the packed weight depends on these, and on the weight's numbers
        self._sizes = (form.name, layout, _packing_layer(p.layer) if self._is_direct else p.layer)
        self._compiled: CompiledCall | None = None
        self._activation = () if activation is None else activation.arrays(p.out_channels, p.accumulate)
        self._converts_bias = p.dtype != p.accumulate
        self._packed_weights = packed_weights
        self._own_weight: Array | None = None

    def __call__(self, x: Array, w: Array, bias: Array | None, out: Array) -> bool:
        """Fill out. Returns False, and does nothing, if the weight is not finite."""
        cached = self._packed_weights
        weights = self._from_fingerprint(w) if cached is None else self._from_caller(w, cached)
        if weights is NOT_PACKED:
            return self._run_direct(x, w, bias, out)
        # in a variable: its memory is in use until the call ends
        flat = self._flat(bias)
        biases = 0 if flat is None else flat.ctypes.data
        activation = (array.ctypes.data for array in self._activation)
        call = self._call_for(get_num_threads())
        finished = call.run(x.ctypes.data, weights.ctypes.data, biases, out.ctypes.data, *activation)
        return finished or self._run_direct(x, w, bias, out)

    def bound(self, x: Array, w: Array, bias: Array | None, out: Array) -> Callable[[], bool]:
        """Return the call with these arrays, without arguments: their numbers may change, except those of w and bias.

        Most of a small call's time is that of looking up addresses, which are looked up once here.
        """
        cached = self._packed_weights
        if cached is None or (weights := self._from_caller(w, cached)) is NOT_PACKED:
            return lambda: self(x, w, bias, out)
        flat = self._flat(bias)
        arrays = (x, weights, flat, out, *self._activation)  # in use as long as the function below
        addresses = [0 if array is None else array.ctypes.data for array in arrays]

        def run() -> bool:
            call = self._call_for(get_num_threads())
            return call.run(*addresses) or self._run_direct(arrays[0], w, bias, arrays[3])

        return run

    def _call_for(self, threads: int) -> CompiledCall:
        call = self._compiled
        if call is None or call.requested_threads != threads:
            self._compiled = call = compiled(self._form, self._problem, *self._strides, threads, bool(self._activation))
        return call

    def _flat(self, bias: Array | None) -> Array | None:
        """Return the bias as the machine code reads it."""
        if bias is not None and (self._converts_bias or not bias.flags.c_contiguous):
            return np.ascontiguousarray(bias, self._problem.accumulate)
        return bias

    def _run_direct(self, x: Array, w: Array, bias: Array | None, out: Array) -> bool:
        """Compute the direct sum instead. Returns False if this is the direct sum already."""
        if self._is_direct:
            return False
        if self._direct is None:
            self._direct = SpecializedCall(*self._arguments)
        return self._direct(x, w, bias, out)

    def _from_caller(self, w: Array, packed_weights: dict[Any, Array]) -> Array:
        """Return the packed weight from the caller's dictionary, where it is added once."""
        if self._own_weight is None:
            packed = packed_weights.get(self._sizes)
            if packed is None:
                packed = packed_weights.setdefault(self._sizes, self._from_fingerprint(w))
            self._own_weight = packed
        return self._own_weight

    def _from_fingerprint(self, w: Array) -> Array:
        """Return the packed weight from the cache, which finds it by the weight's fingerprint."""
        described = w.shape, w.strides, *self._sizes
        packed = WEIGHT_CACHE.get((fingerprint(w), *described))
        if packed is None:
            # of a private copy: another thread may write w between the fingerprint and the packing
            own = w.copy()
            packed = self._pack(own)
            WEIGHT_CACHE.put((fingerprint(own), *described), packed)
        return packed

    def _pack(self, w: Array) -> Array:
        layout, groups = self._layout, self._problem.geometry.groups
        return self._form.pack(self._problem, w if layout is None else layout.canonical(w, groups))
