"""Reading of a call: native arguments and arrays become a `Problem` and canonical arrays, or an error.

After this module there is no dialect, no layout and no "padding".
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from tconv import _arrays
from tconv._arrays import Array, is_finite
from tconv._memory import refuse_too_large
from tconv.dialects import DataLayout, Dialect, NativeCall, WeightLayout, dialect
from tconv.errors import ArgumentError, ShapeError
from tconv.geometry import Geometry
from tconv.kernels.problem import Layer, Problem
from tconv.operator.dtype_check import check_dtypes


class GivenCall(NamedTuple):
    """Call of `conv_transpose`, or of `conv` if `adjoint`, as the user gave it. A framework's face takes it so."""

    x: Any
    weight: Any
    bias: Any
    dialect: str
    geometry: Geometry | None
    native: dict[str, Any]
    out: Any = None
    method: str = "auto"
    adjoint: bool = False


class CanonicalCall(NamedTuple):
    """Call in canonical terms: problem and arrays, with the native arrays and the layout of the result."""

    problem: Problem
    x: Array
    weight: Array
    bias: Array | None
    result: DataLayout
    library: str
    native_x: Array
    native_weight: Array
    weight_layout: WeightLayout
    data: DataLayout


def read_call(
    x: Any,
    weight: Any,
    bias: Any,
    name: str,
    geometry: Geometry | None,
    native: dict[str, Any],
    *,
    adjoint: bool = False,
    finite: bool | None = None,
) -> CanonicalCall:
    """Check a call and return it in canonical terms.

    With `adjoint`, x is the large side (the input of `conv`), so its channels are the weight's output channels.
    `finite` is True or False if the caller knows whether the weight is finite.
    """
    library, (x, weight, bias) = _arrays.take_all(x=x, weight=weight, bias=bias)
    return read_taken_call(library, x, weight, bias, name, geometry, native, adjoint=adjoint, finite=finite)


def read_taken_call(
    library: str,
    x: Array,
    weight: Array,
    bias: Array | None,
    name: str,
    geometry: Geometry | None,
    native: dict[str, Any],
    *,
    adjoint: bool = False,
    finite: bool | None = None,
    in_memory: bool = True,
) -> CanonicalCall:
    """Check and return a call like `read_call`, for NumPy arrays, or objects with their shapes and dtypes.

    Without `in_memory` x stands for an array that is never in memory as a whole, and may have any size.
    """
    key = None if adjoint else _call_key(x, weight, bias, name, geometry, native)
    cached = _read_calls.get(key) if key is not None else None
    if cached is None or x.shape[cached.channel_axis] != cached.layer.in_channels:  # reading it again raises the error
        check_dtypes(library, x=x, weight=weight, bias=bias)
        speaker = dialect(name)
        call = (
            _read_geometry(geometry, x.shape, weight.shape, name, native)
            if geometry is not None
            else speaker.read(x.shape, weight.shape, native, adjoint=adjoint)
        )
        _check_channels(speaker, call, x.shape, weight.shape, library, adjoint)
        w = call.weight.canonical(weight, call.geometry.groups)
        out_channels = _out_channels(call, weight.shape, bias)
        mixed = None if weight.dtype.name == x.dtype.name else weight.dtype.newbyteorder("=")
        layer = Layer(call.geometry, w.shape[0], out_channels, x.dtype.newbyteorder("="))
        cached = _ReadCall(call, layer, mixed, call.data.axes.index("C"))
        if key is not None and (geometry is not None or not speaker.reads_sizes):
            _add(key, cached)
    call, layer = cached.call, cached.layer
    g = layer.geometry
    w, images = call.weight.canonical(weight, g.groups), call.data.canonical(x)
    small = g.conv_shape(images.shape[2:]) if adjoint else images.shape[2:]
    problem = Problem(g, len(images), layer.in_channels, layer.out_channels, small, layer.dtype, bias is not None)
    if cached.weight_dtype is not None:
        problem = replace(problem, weight_dtype=cached.weight_dtype)
    if not adjoint:
        # before the weight is read: a broadcast one has any size without having that memory
        if in_memory:
            refuse_too_large(
                problem.input_bytes + problem.output_bytes,
                problem.output_bytes,
                (problem.batch, layer.out_channels, *problem.output_shape),
            )
        finite = is_finite(weight) if finite is None else finite
        problem = problem if finite else replace(problem, finite_weight=False)
    return CanonicalCall(problem, images, w, bias, call.result, library, x, weight, call.weight, call.data)


class _ReadCall(NamedTuple):
    """Call that was read and checked, without the batch and the sizes of x."""

    call: NativeCall
    layer: Layer
    weight_dtype: np.dtype[Any] | None
    """where it differs from that of x"""
    channel_axis: int
    """of x"""


_MOST = 512
_read_calls: dict[Any, _ReadCall] = {}
"""Calls of dialects in which the meaning of the arguments does not depend on the sizes of x."""


def _call_key(
    x: Array, weight: Array, bias: Array | None, name: str, geometry: Geometry | None, native: dict[str, Any]
) -> Any:
    """Return a key of all that a `_ReadCall` depends on; None for a call that is read every time."""
    arguments = arguments_key(name, geometry, native)
    if arguments is None:
        return None
    of_bias = None if bias is None else (bias.shape, bias.dtype)
    return arguments, x.ndim, x.dtype, weight.shape, weight.dtype, of_bias


def _add(key: Any, call: _ReadCall) -> None:
    # no lock: if threads collide, an entry is lost, and the next such call is read again
    if len(_read_calls) >= _MOST:
        _read_calls.clear()
    _read_calls[key] = call


def arguments_key(dialect: Any, geometry: Any, native: dict[str, Any]) -> tuple[Any, ...] | None:
    """Return a call's arguments as a key. Equal keys have the same meaning; None if that is not certain."""
    if type(dialect) is not str or not (geometry is None or type(geometry) is Geometry):
        return None
    described: list[Any] = [dialect, geometry]
    for argument, value in native.items():
        # True, 1 and 1.0 are the same key of a dictionary, but different arguments
        if not (type(value) is int or type(value) is str or _is_plain(value)):
            return None
        described.append((argument, value))
    return tuple(described)


def _is_plain(value: Any) -> bool:
    return type(value) is tuple and all(type(entry) is int or _is_plain(entry) for entry in value)


def read_layer(
    library: str,
    weight: Array,
    bias: Array | None,
    name: str,
    geometry: Geometry | None,
    native: dict[str, Any],
) -> Problem | None:
    """Return the problem of a layer before there is an x, with an x of one element.

    Only the sizes of x may change later. Returns None if the number of axes of x does not follow from the arguments.
    Raises the errors of `read_call`.
    """
    check_dtypes(library, weight=weight, bias=bias)
    speaker = dialect(name)
    call = (
        _read_geometry(geometry, (1,) * weight.ndim, weight.shape, name, native)
        if geometry is not None
        else speaker.read_without_x(weight.shape, native)
    )
    if call is None:
        return None
    g = call.geometry
    _check_groups(call, weight.shape)
    in_channels, out_channels = (
        call.weight.canonical(weight, g.groups).shape[0],
        _out_channels(call, weight.shape, bias),
    )
    dtype = weight.dtype.newbyteorder("=")
    problem = Problem(g, 1, in_channels, out_channels, (1,) * g.ndim, dtype, bias is not None)
    return problem if is_finite(weight) else replace(problem, finite_weight=False)


def _read_geometry(
    geometry: Geometry, x_shape: tuple[int, ...], weight_shape: tuple[int, ...], name: str, native: dict[str, Any]
) -> NativeCall:
    """Return the call with a geometry: canonical layouts, and no native arguments."""
    if native or name != "torch":
        others = ", ".join([*native, *(["dialect"] if name != "torch" else [])])
        raise ArgumentError(
            f"geometry= was given together with {others}; it includes all of that. Write geometry= alone, with "
            "canonical layouts"
        )
    if not isinstance(geometry, Geometry):
        raise ArgumentError(
            f"geometry is {geometry!r}; a tconv.Geometry is needed. Write tconv.Geometry(kernel=(3, 3))"
        )
    ndim = geometry.ndim
    if len(weight_shape) != ndim + 2 or weight_shape[2:] != geometry.kernel:
        raise ShapeError(
            f"weight has shape {weight_shape}; geometry.kernel is {geometry.kernel}, so [C_in, C_out/groups, "
            "*kernel] is needed. "
            "Write a Geometry with this weight's kernel"
        )
    if len(x_shape) not in (ndim + 1, ndim + 2):
        raise ShapeError(
            f"x has shape {x_shape}; geometry has {ndim} spatial axes, so {ndim + 2} axes [N, C, *spatial] are "
            "needed. Write x[None] for one image"
        )
    data = DataLayout.of("NC*" if len(x_shape) == ndim + 2 else "C*", ndim)
    return NativeCall(geometry, data, WeightLayout.of("IO*", ndim), data)


def _check_groups(call: NativeCall, weight_shape: tuple[int, ...]) -> None:
    groups, sizes = call.geometry.groups, call.weight.sizes(weight_shape)
    whole = sizes[call.weight.grouped] if call.weight.grouped != "G" else groups
    if whole % groups:
        raise ShapeError(
            f"weight {weight_shape} has {whole} {'input' if call.weight.grouped == 'I' else 'output'} channels, "
            f"which {groups} groups do not divide. "
            f"Use a number of groups that divides {whole}, for example groups=1"
        )


def _out_channels(call: NativeCall, weight_shape: tuple[int, ...], bias: Array | None) -> int:
    """Return the number of output channels. Raises ShapeError if it is 0, or the bias has another number."""
    groups = call.geometry.groups
    count = call.weight.sizes(weight_shape)["O"] * (1 if call.weight.grouped == "O" else groups)
    if count == 0:
        raise ShapeError(
            f"weight {weight_shape} has no output channels; at least one is needed. Write a weight with C_out > 0"
        )
    if bias is not None and bias.shape != (count,):
        raise ShapeError(
            f"bias has shape {bias.shape}; one number per output channel is needed: ({count},). "
            + (f"Write bias.reshape({count})" if bias.size == count else f"Use a bias of {count} numbers")
        )
    return count


def _check_channels(
    speaker: Dialect,
    call: NativeCall,
    x_shape: tuple[int, ...],
    weight_shape: tuple[int, ...],
    library: str,
    adjoint: bool,
) -> None:
    groups, sizes = call.geometry.groups, call.weight.sizes(weight_shape)
    _check_groups(call, weight_shape)
    per_axis = {letter: sizes[letter] * (1 if call.weight.grouped == letter else groups) for letter in "IO"}
    channels, needed = call.data.sizes(x_shape)[1], per_axis["O" if adjoint else "I"]
    if channels != needed:
        from tconv.dialects.channel_mismatch import suggest_layout  # for the message alone

        side = "output" if adjoint else "input"
        raise ShapeError(
            f"weight {weight_shape} has {needed} {side} channels as {speaker.framework} reads it; x has {channels}. "
            + suggest_layout(speaker, call, x_shape, weight_shape, library, "O" if adjoint else "I")
        )
