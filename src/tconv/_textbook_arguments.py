"""Arguments in the textbook's form: bare 2-D arrays of any library, padding and stride as plain numbers.

`tconv.definition` and `tconv.draw` read their arguments here, so that their own files contain only the operator and
the picture.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tconv import _arrays
from tconv._arguments import Crop, Ints, ints_of, shown
from tconv._arrays import Array
from tconv.errors import ArgumentError, DtypeError, GeometryError, ShapeError
from tconv.geometry import Geometry

ARGUMENTS = ("stride", "padding", "output_padding", "dilation", "groups", "crop")

_SAME_AS = {"strides": "stride", "dilations": "dilation", "dilation_rate": "dilation", "rhs_dilation": "dilation"}
"""Names in other frameworks of arguments that mean the same here."""


def geometry_of(kernel: tuple[int, ...], spec: dict[str, Any], names: Sequence[str] = ARGUMENTS) -> Geometry:
    """Return the Geometry that `spec` describes, by the arguments of these names or by geometry= alone.

    Raises ArgumentError for other names, GeometryError for a geometry that does not fit the kernel.
    """
    if unknown := [name for name in spec if name not in (*names, "geometry")]:
        name = "dialect" if "dialect" in unknown else unknown[0]
        raise ArgumentError(
            f"{name}= was given; the arguments are {', '.join(names)} and geometry. {_instead_of(name, kernel, spec)}"
        )
    if "geometry" not in spec:
        return _geometry(kernel, **spec)
    if len(spec) > 1:
        other = next(name for name in spec if name != "geometry")
        raise ArgumentError(
            f"geometry= was given together with {other}=, which it contains already. Write geometry= alone"
        )
    g = spec["geometry"]
    if not isinstance(g, Geometry):
        raise ArgumentError(
            f"geometry is {g!r}; a tconv.Geometry is needed. Write geometry=tconv.Geometry(kernel={kernel}, stride=2)"
        )
    if g.kernel != kernel or (g.groups != 1 and "groups" not in names):
        raise GeometryError(
            f"geometry has kernel {g.kernel} and {g.groups} groups; the kernel given is {kernel}"
            f"{'' if 'groups' in names else ', of one channel'}. Write tconv.Geometry(kernel={kernel}, ...)"
        )
    return g


def _instead_of(name: str, kernel: tuple[int, ...], spec: dict[str, Any]) -> str:
    """Return the call to write instead of one with an argument that there is not."""
    if name == "dialect" and "geometry" not in spec:
        native = {"kernel": kernel} | {word: value for word, value in spec.items() if word != "dialect"}
        words = ", ".join(f"{word}={shown(value)}" for word, value in native.items())
        return f"Write geometry=tconv.dialect({shown(spec['dialect'])}).geometry({words})"
    same = _SAME_AS.get(name)
    if same is None or same in spec:
        return f"Write the call without {name}="
    return f"Write {same}={shown(spec[name])}"


def _geometry(
    kernel: Ints,
    stride: Ints = 1,
    padding: Ints = 0,
    output_padding: Ints = 0,
    dilation: Ints = 1,
    groups: int = 1,
    crop: Crop = 0,
) -> Geometry:
    """Return the Geometry in which padding p crops p from both ends, output_padding extends the end, and crop adds."""
    plain = Geometry(kernel, stride, crop, dilation, groups)
    pads, extra = (
        ints_of(size, name, plain.ndim) for size, name in ((padding, "padding"), (output_padding, "output_padding"))
    )
    cut = [(lo + p, hi + p - op) for (lo, hi), p, op in zip(plain.crop, pads, extra, strict=True)]
    return Geometry(kernel, stride, cut, dilation, groups)


def take(*, bias: Any = None, **given: Any) -> tuple[str, list[Any]]:
    """Return the arrays' library, and the arrays as NumPy in their common dtype, bias last.

    Integers beside floats are promoted, unlike in the kernels, because a definition and a picture are about values and
    not dtypes.
    """
    library, taken = _arrays.take_all(bias=bias, **given)
    present = {name: array for name, array in zip((*given, "bias"), taken, strict=True) if array is not None}
    for name, array in present.items():
        if (array.dtype.kind not in "iufc" and array.dtype.name != "bfloat16") or array.dtype.name == "uint64":
            is_number = array.dtype.kind in "bu"
            raise DtypeError(
                f"{name} has dtype {array.dtype}; numbers are needed, and integers must fit int64. "
                + (f"Write {_arrays.converted(library, name, 'int64')}" if is_number else "Use arrays of numbers")
            )
    if len({array.dtype for array in present.values()}) == 1:
        return library, taken
    # bfloat16 has no common dtype with integers; float32 represents all of its values
    wide = [None if a is None else a.astype(np.float32) if a.dtype.name == "bfloat16" else a for a in taken]
    common = np.result_type(*(array for array in wide if array is not None))
    return library, [None if array is None else array.astype(common) for array in wide]


def wide_dtype(dtype: Any) -> Any:
    """Return the dtype in which products of this one are summed: int64, float64 or complex128.

    >>> wide_dtype(np.dtype(np.float16))
    dtype('float64')
    """
    wide = np.int64 if dtype.kind in "iu" else np.complex128 if dtype.kind == "c" else np.float64
    return np.dtype(wide)


def evaluate(
    form: Callable[[Array, Array, Geometry], Array],
    x: Any,
    w: Any,
    bias: Any,
    spec: dict[str, Any],
    *,
    large: bool = False,
) -> Any:
    """Run a form of the definition: with groups on an axis of their own, wide sums, and one rounding.

    The form gets x [N, G, C_in/G, *spatial] and w [G, C_in/G, C_out/G, *kernel]. With `large`, x is the large side,
    with the weight's output channels. Returns an array of the library of x.
    """
    library, (x, w, bias) = take(x=x, w=w, bias=bias)
    if w.size == 0:
        raise ShapeError(f"the kernel has shape {w.shape}, without an element. Use a kernel of at least one element")
    bare = w.ndim < 3
    if x.ndim != w.ndim or w.ndim == 0:
        raise ShapeError(
            f"x has shape {x.shape} and the kernel {w.shape}; they need the same number of axes: two bare arrays, or "
            "x [N, C_in, *spatial] and w [C_in, C_out/groups, *kernel]. "
            + ("Write x[None] to add an axis" if 0 < x.ndim < w.ndim else "Use arrays with as many axes")
        )
    if bare:
        x, w = x[None, None], w[None, None]
    g = geometry_of(w.shape[2:], spec)
    channels = w.shape[1] * g.groups if large else w.shape[0]
    if x.shape[1] != channels or w.shape[0] % g.groups:
        raise ShapeError(
            f"x has {x.shape[1]} channels; the kernel of shape {w.shape} with {g.groups} groups needs {channels}, in "
            f"equal groups. Use an x of shape [N, {channels}, *spatial]"
        )
    if not large:
        g.output_shape(x.shape[2:])  # raises for an empty output
    out_channels = w.shape[1] * g.groups
    if bias is not None and bias.shape != (out_channels,):
        raise ShapeError(
            f"bias has shape {bias.shape}; one number per output channel is needed: ({out_channels},). "
            "Write other arguments by name, for example stride=2"
        )
    kind = x.dtype.kind
    wide = wide_dtype(x.dtype)
    split = x.reshape(len(x), g.groups, x.shape[1] // g.groups, *x.shape[2:]).astype(wide)
    y = form(split, w.reshape(g.groups, w.shape[0] // g.groups, *w.shape[1:]).astype(wide), g)
    y = y.reshape(len(x), y.shape[1] * y.shape[2], *y.shape[3:])
    if bias is not None:
        y = y + bias.astype(wide).reshape(-1, *[1] * g.ndim)
    y = y if kind in "iu" else y.astype(x.dtype)
    return _arrays.give(y[0, 0] if bare else y, library)
