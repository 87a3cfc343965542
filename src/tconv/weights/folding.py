"""Folding of numbers per output channel into a weight: a BatchNorm, or the scales of quantization.

PyTorch's weight is [C_in, C_out/groups, *kernel], so axis 0 is never C_out, and a grouped weight has no axis of it.
"""

from __future__ import annotations

import math
from contextlib import suppress
from typing import Any

import numpy as np

from tconv import _arrays
from tconv._arguments import int_of, shown
from tconv._arrays import Array, is_finite
from tconv.dialects import Dialect, names
from tconv.dialects import dialect as find_dialect
from tconv.dialects.framework_layers import FrameworkLayer, taken
from tconv.errors import ArgumentError, DtypeError, GeometryError, ShapeError, TconvError


def fold_batchnorm(
    weight: Any,
    bias: Any,
    gamma: Any,
    beta: Any,
    mean: Any,
    variance: Any,
    *,
    eps: float | None = None,
    dialect: str = "torch",
    groups: int = 1,
    **native: Any,
) -> tuple[Any, Any]:
    """Return weight and bias of the transposed convolution that includes the BatchNorm after it.

    >>> import numpy as np, tconv
    >>> w, ones = np.ones((2, 3, 2, 2)), np.ones(3)
    >>> weight, bias = tconv.fold_batchnorm(w, None, np.array([1.0, 2.0, 3.0]), 0 * ones, ones, ones, eps=0)
    >>> weight[0, :, 0, 0], bias
    (array([1., 2., 3.]), array([-1., -2., -3.]))

    With s = gamma / sqrt(variance + eps) the weight is multiplied by s[o] for its output channel o, and the bias is
    beta + s * (bias - mean): Ioffe and Szegedy 2015, arXiv:1502.03167, in inference. `bias`, `gamma` and `beta` may be
    None (0, 1 and 0). weight is in the dialect's layout, `groups` the layer's, `native` arguments that change that
    layout; all other arrays are [C_out]. Arrays are of one library; sums are in float64, results in the weight's dtype.
    weight may be a layer of a framework, which has its dialect, groups and bias (unless `bias` is given).

    Without `eps` it is the default of the dialect's framework, `tconv.dialect(NAME).batchnorm_eps`: 1e-3 for "keras"
    and "tensorflow", 0 for "ncnn", 1e-5 for the others. "jax", "openvino" and "tflite" have no default, and need it.

    Raises ShapeError for numbers that are not one per output channel, or not finite; GeometryError for a variance + eps
    that is not above 0; DtypeError for arrays that are not numbers; ArgumentError for an `eps` that is missing or not a
    finite number.
    """
    weight, dialect, groups, native, layer = _taken(weight, dialect, groups, native)
    if layer is not None and layer.activation:
        raise ArgumentError(
            f"the {layer.kind} applies {layer.activation} to its output, and a BatchNorm behind that cannot be folded "
            "into the weight. Use a layer with the activation behind the BatchNorm"
        )
    bias = layer.bias if bias is None and layer is not None else bias
    library, w = _arrays.take(weight, "weight")
    _check_floats(library, w)
    count = _out_channels(w, dialect, groups, native)
    given = {"bias": bias, "gamma": gamma, "beta": beta, "mean": mean, "variance": variance}
    own = dialect if layer is None else None
    read = {
        name: _per_channel(array, name, count, w, own, groups) for name, array in given.items() if array is not None
    }
    if missing := [name for name in ("mean", "variance") if name not in read]:
        raise ArgumentError(
            f"{missing[0]} is None; a BatchNorm has one. Write its running mean and variance, or "
            "scale_channels(weight, s)"
        )
    number, name = _eps_of(eps, find_dialect(dialect))
    if read["variance"].dtype.kind == "c":
        raise DtypeError("variance is complex; real numbers above 0 are needed. Write variance.real")
    spread = read["variance"] + number
    if not (spread > 0).all():
        instead = "eps=1e-5" if read["variance"].min() >= 0 else "the running variance, which is at least 0"
        raise GeometryError(
            f"variance + eps is {spread.min():.3g} in a channel, with {name}; it must be above 0. Write {instead}"
        )
    scale = read.get("gamma", np.ones(count)) / np.sqrt(spread)
    shift = read.get("beta", np.zeros(count)) + scale * (read.get("bias", np.zeros(count)) - read["mean"])
    folded = _multiplied(w, scale, dialect, groups, native)
    return _arrays.give(folded, library), _arrays.give(shift.astype(w.dtype), library)


def _eps_of(eps: Any, speaker: Dialect) -> tuple[float, str]:
    """Return the epsilon that is taken, and its name for a message. Raises ArgumentError."""
    if eps is None:
        if speaker.batchnorm_eps is None:
            raise ArgumentError(
                f"eps is missing, and {speaker.framework} has no default for it. Write the eps of the BatchNorm, for "
                "example eps=1e-5, PyTorch's default, or eps=1e-3, that of Keras"
            )
        return speaker.batchnorm_eps, f"eps={speaker.batchnorm_eps:g}, the default of {speaker.framework}"
    if isinstance(eps, bool) or not isinstance(eps, (int, float, np.floating, np.integer)) or not math.isfinite(eps):
        raise ArgumentError(
            f"eps is {shown(eps)}; a finite number is needed. Write the eps of the BatchNorm, for example eps=1e-5"
        )
    return float(eps), f"eps={eps:g}"


def scale_channels(weight: Any, scales: Any, *, dialect: str = "torch", groups: int = 1, **native: Any) -> Any:
    """Return the weight multiplied by one number per output channel, in any layout.

    >>> import numpy as np, tconv
    >>> w = np.ones((4, 1, 3))                                       # [C_in, C_out/groups, k]: 2 groups, C_out = 2
    >>> tconv.scale_channels(w, np.array([2.0, 5.0]), groups=2)[:, 0, 0]
    array([2., 2., 5., 5.])

    scales is [C_out]; `weight`, `dialect`, `groups` and `native` as in `fold_batchnorm`. Raises ShapeError, DtypeError.
    """
    weight, dialect, groups, native, layer = _taken(weight, dialect, groups, native)
    library, w = _arrays.take(weight, "weight")
    _check_floats(library, w)
    count = _out_channels(w, dialect, groups, native)
    numbers = _per_channel(scales, "scales", count, w, dialect if layer is None else None, groups)
    return _arrays.give(_multiplied(w, numbers, dialect, groups, native), library)


def channel_scales(weight: Any, *, bits: int = 8, dialect: str = "torch", groups: int = 1, **native: Any) -> Any:
    """Return the scale of each output channel for symmetric quantization: its largest |w| over 2**(bits - 1) - 1.

    >>> import numpy as np, tconv
    >>> w = np.arange(12.0).reshape(2, 3, 2)                         # [C_in, C_out, k]
    >>> tconv.channel_scales(w) * 127
    array([ 7.,  9., 11.])

    The result is [C_out], of the weight's library and dtype; 1 for a channel of zeros. Arguments as `scale_channels`.
    """
    weight, dialect, groups, native, _ = _taken(weight, dialect, groups, native)
    library, w = _arrays.take(weight, "weight")
    _check_floats(library, w)
    steps = 2 ** (int_of(bits, "bits", least=2, example="bits=8") - 1) - 1
    canonical = find_dialect(dialect).to_canonical(w, groups, **native)
    grouped = np.abs(canonical.reshape(groups, canonical.shape[0] // groups, canonical.shape[1], -1))
    largest = grouped.max(axis=(1, 3)).ravel().astype(np.float64)
    return _arrays.give(np.where(largest > 0, largest / steps, 1.0).astype(w.dtype), library)


def _taken(
    weight: Any, dialect: str, groups: int, native: dict[str, Any]
) -> tuple[Any, str, int, dict[str, Any], FrameworkLayer | None]:
    """Return weight, dialect, groups and arguments of the layout, also of a layer of a framework, and that layer."""
    given = native if type(groups) is int and groups == 1 else {"groups": groups, **native}
    weight, dialect, arguments, layer = taken(weight, "weight", dialect, given)
    if layer is None:
        return weight, dialect, groups, native, None
    layout = {name: value for name, value in arguments.items() if name in find_dialect(dialect).layout_arguments}
    return weight, dialect, layer.groups, layout, layer


def _check_floats(library: str, w: Array) -> None:
    if w.dtype.kind not in "fc" and w.dtype.name != "bfloat16":
        floats = _arrays.converted(library, "weight", "float32")
        instead = f"Write {floats}" if w.dtype.kind in "biu" else "Use a weight of floats, such as np.float32"
        raise DtypeError(f"weight has dtype {w.dtype}; floats are needed. {instead}")
    if w.size == 0 or not is_finite(w):
        problem = "no element" if w.size == 0 else "NaN or inf"
        raise ShapeError(f"weight has shape {w.shape} and {problem}. Write a weight of finite numbers")


def _out_channels(w: Array, dialect: str, groups: int, native: dict[str, Any]) -> int:
    canonical = find_dialect(dialect).to_canonical(w, groups, **native)
    return int(canonical.shape[1]) * groups


def _layout_hint(w: Array, dialect: str, groups: int, size: int) -> str:
    """Return the advice to name another dialect, in whose layout the weight has this many output channels, or ""."""
    # Keras' layout is TensorFlow's, too; a framework comes before a file format of the same layout
    for other in sorted(names(), key=lambda name: (name != "keras", find_dialect(name).batchnorm_eps is None)):
        with suppress(TconvError):
            if other != dialect and _out_channels(w, other, groups, {}) == size:
                return f'dialect="{other}", in whose layout this weight has {size}, '
    return ""


def _per_channel(array: Any, name: str, count: int, w: Array, dialect: str | None, groups: int) -> Array:
    """Return the numbers, one per output channel of the weight, which has `count`. Raises ShapeError, DtypeError.

    The message may propose another dialect than this one; None is for a layer, which has its own.
    """
    library, values = _arrays.take(array, name)
    if values.shape != (count,):
        hint = _layout_hint(w, dialect, groups, values.size) if values.ndim == 1 and dialect is not None else ""
        raise ShapeError(
            f"{name} has shape {values.shape}; the layer has {count} output channels, so ({count},) is needed. "
            + (
                f"Write {name}.reshape({count}), "
                if values.size == count
                else f"Write {hint or f'one number per output channel, {count} in all, '}"
            )
            + "or the groups= of the layer"
        )
    if values.dtype.kind not in "iufc" and values.dtype.name != "bfloat16":
        raise DtypeError(
            f"{name} has dtype {values.dtype}; numbers are needed. Write {_arrays.converted(library, name, 'float32')}"
        )
    if not is_finite(values):
        raise ShapeError(f"{name} contains NaN or inf, which would spread to whole channels. Write finite numbers")
    if values.dtype.kind == "c" and w.dtype.kind != "c":
        raise DtypeError(f"{name} is complex and the weight is real. Write {name}.real, or a complex weight")
    return values.astype(np.complex128 if values.dtype.kind == "c" else np.float64)


def _multiplied(w: Array, scale: Array, dialect: str, groups: int, native: dict[str, Any]) -> Array:
    """Return the weight in its own layout, multiplied by one number per output channel and rounded once."""
    layout = find_dialect(dialect)
    canonical = layout.to_canonical(w, groups, **native)
    per = canonical.shape[1]
    factors = np.repeat(scale.reshape(groups, per), canonical.shape[0] // groups, axis=0)
    wide = canonical.astype(scale.dtype if w.dtype.kind != "c" else np.complex128)
    scaled = wide * factors.reshape(*factors.shape, *[1] * (canonical.ndim - 2))
    return np.array(layout.to_native(scaled, groups, **native), dtype=w.dtype, order="C")
