"""`diagnose`: why two outputs of a transposed convolution differ.

A new cause is a few lines in the file of its family: weights, data, biases, grids, crops, precision, faults; or orders,
permuted, scales, folded, spoiled and residual, where its numbers are read off the output.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from tconv import _arrays
from tconv._arrays import is_finite
from tconv.diagnosis.canonical_call import Setting, numbers
from tconv.diagnosis.report import Diagnosis, Finding
from tconv.dialects import find as find_dialect
from tconv.errors import ArgumentError, DtypeError, ShapeError
from tconv.geometry import Geometry
from tconv.operator.call import read_call

__all__ = ["Diagnosis", "Finding", "diagnose"]


def diagnose(
    got: Any,
    expected: Any,
    *,
    x: Any = None,
    weight: Any = None,
    bias: Any = None,
    dialect: str | None = None,
    geometry: Geometry | None = None,
    target: str | None = None,
    **native: Any,
) -> Diagnosis:
    """Why two outputs of a transposed convolution differ: the cause, and the line that mends it.

    >>> import numpy as np, tconv
    >>> rng = np.random.default_rng(0)
    >>> x, w = rng.standard_normal((1, 4, 8, 8)), rng.standard_normal((4, 3, 3, 3))
    >>> expected = tconv.conv_transpose(x, w, stride=2, padding=1)
    >>> got = tconv.conv_transpose(x, w[:, :, ::-1, ::-1], stride=2, padding=1)
    >>> found = tconv.diagnose(got, expected, x=x, weight=w, stride=2, padding=1)
    >>> found.cause, found.fix
    ('kernel flipped', 'weight = np.flip(weight, (2, 3))')

    x, weight, bias, `dialect` (PyTorch's by default), `geometry` and the native arguments are those of
    `conv_transpose`: they describe the call that one of the two outputs comes from, and it is found out which. The
    other output is then explained by what was done otherwise: every single cause, then every pair; `print` the result.
    Without x and weight it is said what the outputs alone tell: shift, crop, exchanged axes, order, scale, spoiled
    rows, rounding.

    Arrays are of NumPy, PyTorch, TensorFlow or JAX, each of any of them and of its own dtype; gradients do not matter.
    got and expected may have channels first or last. `target` is the dialect that the fix is written in: by default
    that of the arrays, or of the call if it is the call that is to be mended; "numpy", NumPy's words and tconv's own,
    where all arrays are NumPy's and no dialect is named.

    A cause fits where rounding explains every number that remains: 4 * 2**-23 * (sqrt(K) + 4) of the size of the sums
    of K products for float32 (the gate of `tconv bench`).

    Raises ShapeError for outputs that are empty, or whose batch or channels agree in no order of axes, ArgumentError
    for an x without a weight or with NaN, and what `conv_transpose` raises for a call that is none.
    """
    from tconv.diagnosis.call_diagnosis import Case
    from tconv.diagnosis.fix_writer import NEUTRAL
    from tconv.diagnosis.outputs import SPEAKERS, Two
    from tconv.diagnosis.outputs_diagnosis import diagnose_alone  # here: importing tconv stays quick

    start = time.perf_counter()
    given = {name: array for name, array in (("got", got), ("expected", expected)) if array is not None}
    if len(given) < 2:
        raise ArgumentError("got and expected are both needed. Write tconv.diagnose(got, expected, x=x, weight=weight)")
    if (x is None) != (weight is None) or (bias is not None and x is None):
        raise ArgumentError(
            "x, weight and bias describe one call; x and weight are needed together. Write both, or neither to compare "
            "the outputs alone"
        )
    outputs = {name: _arrays.look(array, name) for name, array in given.items()}
    for name, (_, array) in outputs.items():
        if array.dtype.kind not in "iufcb" and array.dtype.name != "bfloat16":
            raise DtypeError(f"{name} has dtype {array.dtype}; numbers are needed. Write {name}.astype(np.float32)")
        if array.size == 0:
            raise ShapeError(f"{name} has shape {array.shape} and no element. Write outputs of a batch of at least one")
    parts = {
        name: _arrays.look(array, name)
        for name, array in (("x", x), ("weight", weight), ("bias", bias))
        if array is not None
    }
    known = [SPEAKERS[library] for library, _ in (outputs["got"], *parts.values()) if library in SPEAKERS]
    if known:
        writer = known[0]
    elif dialect is None:
        writer = NEUTRAL
    else:  # outputs alone are in the words that were named; with a call it is the port that is mended
        writer = dialect if x is None else "torch"
    two = Two(outputs["got"][1], outputs["expected"][1], writer)
    dialect = "torch" if dialect is None else dialect
    speaker = find_dialect(dialect)
    if target is not None:
        find_dialect(target, argument="target")
    if x is None:
        speaker.check_names(native)
        if said := [f"{name}=" for name in (*native, *(("geometry",) if geometry is not None else ()))]:
            raise ArgumentError(
                f"{' and '.join(said)} would describe a call, whose x and weight are missing: outputs alone are "
                f"compared as they are. Write x and weight, too, or leave {said[0]} out"
            )
        with np.errstate(all="ignore"):
            return diagnose_alone(two, speaker, target, start)
    wide = {name: numbers(array) for name, (_, array) in parts.items()}
    for name, values in wide.items():
        if not is_finite(values):
            bad = int((~np.isfinite(values)).sum())
            raise ArgumentError(
                f"{name} holds NaN or inf in {bad} of {values.size} places, from which no cause can be told. Write "
                "finite numbers, a random x for example"
            )
    call = read_call(wide["x"], wide["weight"], wide.get("bias"), dialect, geometry, native)
    setting = Setting(call.x, call.weight, call.bias, call.problem.geometry)
    with np.errstate(all="ignore"):  # inf and NaN are values here, not accidents
        return Case(two, setting, call.result, call.weight_layout, speaker, dict(native), target, start).run()
