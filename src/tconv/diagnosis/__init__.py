"""`diagnose`: the cause of the difference between two outputs of a transposed convolution.

Causes are in `causes/` (tried one by one and in pairs) and `fitted/` (read off the outputs), `fix_writer` writes the
line that fixes them, and `call_diagnosis` follows one diagnosis from start to end.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from tconv import _arrays
from tconv._arrays import is_finite
from tconv.diagnosis.call_model import CallModel, as_float64
from tconv.diagnosis.report import Diagnosis, Finding
from tconv.dialects import find as find_dialect
from tconv.dialects.framework_layers import call_of, refuse_activation
from tconv.errors import ArgumentError, DtypeError, ShapeError
from tconv.geometry import Geometry
from tconv.operator.call_reading import read_call

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
    variance: Any = None,
    **native: Any,
) -> Diagnosis:
    """Return the cause of the difference between two outputs of a transposed convolution, and the line that fixes it.

    >>> import numpy as np, tconv
    >>> rng = np.random.default_rng(0)
    >>> x, w = rng.standard_normal((1, 4, 8, 8)), rng.standard_normal((4, 3, 3, 3))
    >>> expected = tconv.conv_transpose(x, w, stride=2, padding=1)
    >>> got = tconv.conv_transpose(x, w[:, :, ::-1, ::-1], stride=2, padding=1)
    >>> found = tconv.diagnose(got, expected, x=x, weight=w, stride=2, padding=1)
    >>> found.cause, found.fix
    ('kernel flipped', 'weight = np.flip(weight, (2, 3))')

    x, weight, bias, `dialect` (PyTorch's by default), `geometry` and the native arguments are those of
    `conv_transpose`: they describe the call behind one of the two outputs; which one is found by a test. The other
    output is then explained as a change of that call: by every single cause, then by every pair. `print` the result.
    weight may be a layer of a framework, which has its own bias, dialect and arguments.
    Without x and weight only the outputs are compared: shift, crop, exchanged axes, order, scale, wrong rows, rounding.

    Arrays are of NumPy, PyTorch, TensorFlow or JAX, each of any of these libraries and of any dtype; tensors that
    require gradients are only read. got and expected may have channels first or last. `target` is the dialect of the
    fix. By default it is the arrays' own, or the call's if the call is wrong; it is "numpy", NumPy's functions and
    tconv's own, if all arrays are NumPy's and no dialect is named.

    `variance` is the running variance of a BatchNorm behind the layer, one number per output channel. With it, another
    eps in one of the outputs is told from any other scale per channel.

    A cause fits if rounding explains every remaining difference: 4 * 2**-23 * (sqrt(K) + 4) of the size of the sums of
    K products for float32, the limit of `tconv bench`.

    Raises ShapeError for empty outputs, or if no order of axes makes batch and channels agree; ArgumentError for an x
    without a weight or with NaN; and the errors of `conv_transpose` for an invalid call.
    """
    from tconv.diagnosis.call_diagnosis import CallDiagnosis  # here, because importing tconv has to be quick
    from tconv.diagnosis.given_outputs import GivenOutputs
    from tconv.diagnosis.outputs_diagnosis import diagnose_outputs

    start = time.perf_counter()
    given = {name: array for name, array in (("got", got), ("expected", expected)) if array is not None}
    if len(given) < 2:
        raise ArgumentError("got and expected are both needed. Write tconv.diagnose(got, expected, x=x, weight=weight)")
    if x is None or weight is None:
        find_dialect("torch" if dialect is None else dialect).check_names(native)
    if (x is None) != (weight is None) or (bias is not None and x is None):
        raise ArgumentError(
            "x, weight and bias describe one call; x and weight are needed together. Write both, or neither to compare "
            "the outputs alone"
        )
    if callable(weight):  # a layer of a framework
        described = "torch" if dialect is None else dialect
        weight, bias, described, native, layer = call_of(weight, bias, described, geometry, native)
        dialect = dialect if layer is None else described
        refuse_activation(layer, "the call that is compared has none")
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
    spread = None if variance is None else _arrays.look(variance, "variance")[1]
    libraries = [library for library, _ in (outputs["got"], *parts.values())]
    fix_dialect = _usual_fix_dialect(libraries, dialect, outputs_alone=x is None)
    both = GivenOutputs(outputs["got"][1], outputs["expected"][1], fix_dialect)
    dialect = "torch" if dialect is None else dialect
    call_dialect = find_dialect(dialect)
    if target is not None:
        find_dialect(target, argument="target")
    if x is None:
        call_dialect.check_names(native)
        if names := [f"{name}=" for name in (*native, *(("geometry",) if geometry is not None else ()))]:
            raise ArgumentError(
                f"{' and '.join(names)} would describe a call, but x and weight are missing, and without them only the "
                f"outputs are compared. Write x and weight, too, or leave {names[0]} out"
            )
        with np.errstate(all="ignore"):
            return diagnose_outputs(both, call_dialect, target, start, spread)
    wide = {name: as_float64(array) for name, (_, array) in parts.items()}
    for name, values in wide.items():
        if not is_finite(values):
            bad = int((~np.isfinite(values)).sum())
            raise ArgumentError(
                f"{name} contains NaN or inf in {bad} of {values.size} places, so no cause can be found. Write "
                "finite numbers, a random x for example"
            )
    call = read_call(wide["x"], wide["weight"], wide.get("bias"), dialect, geometry, native)
    model = CallModel(call.x, call.weight, call.bias, call.problem.geometry)
    with np.errstate(all="ignore"):  # inf and NaN are ordinary values here
        return CallDiagnosis(
            both, model, call.result, call.weight_layout, call_dialect, dict(native), target, start, spread
        ).run()


def _usual_fix_dialect(libraries: list[str], dialect: str | None, *, outputs_alone: bool) -> str:
    """Return the dialect that a fix of `got` is written in if the caller names no target."""
    from tconv.diagnosis.fix_writer import NEUTRAL
    from tconv.diagnosis.given_outputs import FIX_DIALECTS

    known = [FIX_DIALECTS[library] for library in libraries if library in FIX_DIALECTS]
    if known:
        return known[0]
    if dialect is None:
        return NEUTRAL
    return dialect if outputs_alone else "torch"  # with a call, the code to fix is a port of it to PyTorch
