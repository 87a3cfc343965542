"""Times of the layers of a check, on tconv's kernel and on their runtime, beside the bound of this machine."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np

from tconv._arrays import Array
from tconv.acceleration.machine_peaks import Peaks, highest, peaks
from tconv.checking.layer_check import LayerCheck, Timing
from tconv.checking.report import Check, Machine
from tconv.checking.timing import median_seconds
from tconv.kernels.num_threads import get_num_threads
from tconv.models.inventory.model_layer import ModelLayer
from tconv.operator.prepared import prepare

_MOST_BYTES = 1 << 31
_MOST_SECONDS = 60  # for all layers together

_LATE = Timing(None, note=f"not timed: those before it took {_MOST_SECONDS} s")


def timed(checked: Check) -> Check:
    """Return a check with the times of its layers, for the sizes in its report; those that it has already stay.

    The peaks are measured before and after the layers, and the higher rates count: a machine that was busy for a moment
    would give a bound that layers undercut.
    """
    if not any(layer.macs is not None for layer in checked.layers):
        return checked
    threads = get_num_threads()
    before = peaks(threads)
    end = time.perf_counter() + _MOST_SECONDS
    times = [_timing(layer) if time.perf_counter() < end else _LATE for layer in checked.layers]
    best = highest(before, peaks(threads))
    pairs = zip(checked.layers, times, strict=True)
    layers = tuple(replace(layer, timing=_with_bound(layer, timing, best)) for layer, timing in pairs)
    return replace(checked, layers=layers, machine=Machine(best.gflops, best.copy, threads, best.source))


def _with_bound(check: LayerCheck, timing: Timing, best: Peaks) -> Timing:
    if check.macs is None or check.nbytes is None:
        return timing
    bound, side = best.seconds(check.macs.exact, check.nbytes.total)
    return replace(timing, bound=bound, bound_by=side)


def _timing(check: LayerCheck) -> Timing:
    """Return the times of a layer, without its bound."""
    if check.macs is None or check.nbytes is None or check.shapes is None or check.geometry is None:
        return Timing(None, note="its sizes or its weight are not known")
    if check.nbytes.total > _MOST_BYTES:
        return Timing(None, note=f"not timed: {check.nbytes.total:,} bytes")
    x, weight = _arrays_of(check)
    if weight is None:
        return Timing(None, note="its weight cannot be read")
    try:
        layer = prepare(weight, _bias_of(check), geometry=check.geometry)
        own = median_seconds(lambda: layer(x))
    except Exception as error:  # the bias is read late, and a damaged file fails here in the words of its reader
        return Timing(None, note=f"not timed: {str(error)[:200]}")
    theirs, name, note = _known(check) or _runtime_seconds(check.layer, check, x)
    return Timing(None, "", own, theirs, name, note)


def _arrays_of(check: LayerCheck) -> tuple[Array, Array | None]:
    shapes = check.shapes
    assert shapes is not None
    rng = np.random.default_rng(0)
    weight = check.canonical_weight()
    x = rng.standard_normal(shapes.sample_x, dtype=np.float32)
    return x, None if weight is None else np.ascontiguousarray(weight, np.float32)


def _bias_of(check: LayerCheck) -> Array | None:
    stored = check.layer.bias
    return None if stored is None else np.ascontiguousarray(stored.read(), np.float32).reshape(-1)


def _known(check: LayerCheck) -> tuple[float, str, str] | None:
    """Return the time on the layer's runtime, if it was measured before."""
    timing = check.timing
    return None if timing is None or timing.runtime is None else (timing.runtime, timing.runtime_name, "")


def _runtime_seconds(layer: ModelLayer, check: LayerCheck, x: Array) -> tuple[float | None, str, str]:
    """Return the time of the layer alone on its runtime, the runtime's name, and the reason for a missing time."""
    if layer.dialect != "onnx" or layer.form != "transposed convolution":
        return None, "", "on its own runtime the layer is not timed alone; only that of ONNX files is"
    try:
        from tconv.checking.onnx_node import single_node_runner
    except ImportError as error:
        return None, "", str(error)
    try:
        run, name = single_node_runner(layer, x)
        return median_seconds(run), name, ""
    except Exception as error:  # each runtime has its own types
        return None, "", f"ONNX Runtime refuses the layer alone: {' '.join(str(error).split())[:200]}"
