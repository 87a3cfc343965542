"""What will run, and why: arguments to a `Problem`, a problem to a method, and the plan that can be printed before."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from tconv import arrays, kernels
from tconv.dialects import Call, DataLayout, Dialect, WeightLayout, dialect
from tconv.dialects.advice import channel_advice
from tconv.errors import ArgumentError, DtypeError, MethodError, ShapeError, TooLargeError
from tconv.geometry import Geometry
from tconv.kernels.problem import Array, Kernel, Problem, accumulator
from tconv.kernels.threads import get_num_threads
from tconv.memory import physical_memory

BALANCE = 10.0
"""FLOP per byte above which a call is taken to be bound by arithmetic: 468 GFLOP/s over 44 GB/s, two AVX-512 cores."""

_FLOATS = ("float16", "bfloat16", "float32", "float64", "complex64", "complex128")
_FLOAT32 = {"numpy": "np.float32", "torch": "torch.float32", "tensorflow": "tf.float32", "jax": "jnp.float32"}
_INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32")


class Prepared(NamedTuple):
    """One call behind the edge: canonical arrays, what to compute, and how to hand the result back."""

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


@dataclass(frozen=True)
class Plan:
    """What a call will do: printable, and computed without running anything.

    `method` runs; `reasons` holds, for every other method, why it does not. `flops` are 2 x exact multiply-adds;
    `input_bytes` and `output_bytes` count every element once; `scratch_bytes` is what the method holds beside them.
    """

    method: str
    summary: str
    reasons: dict[str, tuple[str, ...]]
    problem: Problem

    @property
    def flops(self) -> int:
        """Floating-point operations (integer ones for integer dtypes) that reach the output."""
        return 2 * self.problem.macs.exact

    @property
    def input_bytes(self) -> int:
        """Bytes of x, weight and bias."""
        return self.problem.input_bytes

    @property
    def output_bytes(self) -> int:
        """Bytes of y."""
        return self.problem.output_bytes

    @property
    def scratch_bytes(self) -> int:
        """Bytes that the method holds beside input and output."""
        return kernels.kernel(self.method).scratch_bytes(self.problem)

    @property
    def intensity(self) -> float:
        """FLOP per byte that must move at least."""
        return self.flops / max(1, self.input_bytes + self.output_bytes)

    @property
    def bound(self) -> str:
        """Whether "arithmetic" or "memory" limits a perfect kernel, on a machine of `BALANCE` FLOP per byte."""
        return "arithmetic" if self.intensity >= BALANCE else "memory"

    def __str__(self) -> str:
        p, g = self.problem, self.problem.geometry
        x, y = [p.batch, p.in_channels, *p.input_shape], [p.batch, p.out_channels, *p.output_shape]
        kept = f", summed in {p.accumulate}" if p.accumulate != p.dtype else ""
        lines = [
            f"x {x} -> y {y}, {p.dtype}{kept}",
            f"geometry  kernel {g.kernel}, stride {g.stride}, crop {g.crop}, dilation {g.dilation}, groups {g.groups}",
            f"method    {self.method}: {self.summary}",
            *(f"          not {name}: {'; '.join(why)}" for name, why in self.reasons.items()),
            f"work      {si(self.flops, 'FLOP')} ({si(p.macs.exact, 'MAC')} reach the output, "
            f"{si(p.macs.border_free, 'MAC')} without a border)",
            f"bytes     {si(self.input_bytes, 'B')} read, {si(self.output_bytes, 'B')} written, "
            f"{si(self.scratch_bytes, 'B')} scratch",
            f"limit     {self.bound}: {self.intensity:.1f} FLOP per byte, arithmetic from about {BALANCE:.0f}",
        ]
        return "\n".join(lines)


def si(value: float, unit: str) -> str:
    """12345678 with "B" as "12.3 MB"."""
    for prefix in ("", "k", "M", "G", "T", "P"):
        if value < 999.5:
            return f"{value:.3g} {prefix}{unit}"
        value /= 1000
    return f"{value:.4g} E{unit}"


def plan(
    x: Any,
    weight: Any,
    bias: Any = None,
    *,
    dialect: str = "torch",
    geometry: Geometry | None = None,
    method: str = "auto",
    **native: Any,
) -> Plan:
    """What `conv_transpose` with the same arguments will run, and what it costs.

    >>> import numpy as np, tconv
    >>> x, w = np.ones((1, 64, 28, 28), np.float32), np.ones((64, 32, 2, 2), np.float32)
    >>> print(tconv.plan(x, w, stride=2))                                       # doctest: +ELLIPSIS
    x [1, 64, 28, 28] -> y [1, 32, 56, 56], float32
    ...

    Of x only shape and dtype count, so np.broadcast_to(np.float32(0), shape) plans a call without making its input.
    Raises what `conv_transpose` raises, in the same words.
    """
    return choose(prepare(x, weight, bias, dialect, geometry, native).problem, str(method))


def choose(problem: Problem, method: str) -> Plan:
    """The plan for a method; for "auto", the quickest by estimate of those that can run and fit into memory."""
    return _choose(problem, method, get_num_threads())


@lru_cache(maxsize=1024)
def _choose(problem: Problem, method: str, threads: int) -> Plan:
    """The same, kept: what a method says of itself depends on the number of threads, too."""
    candidates = {name: kernels.kernel(name) for name in kernels.names()}
    _check_method(method)
    against = {name: kernel.reasons_against(problem) for name, kernel in candidates.items()}
    if method != "auto":
        _refuse_method(method, against[method])
    able = [name for name in candidates if not against[name]] if method == "auto" else [method]
    needed = {name: _needed(problem, candidates[name]) for name in able}
    smallest = min(able, key=needed.__getitem__)
    refuse_too_large(
        needed[smallest], problem.output_bytes, (problem.batch, problem.out_channels, *problem.output_shape)
    )
    there = physical_memory()
    fitting = [name for name in able if there is None or needed[name] <= there]
    estimates = {name: candidates[name].seconds(problem) for name in fitting}
    chosen = min(fitting, key=estimates.__getitem__)
    for name in candidates:
        if name != chosen and not against[name]:
            if method != "auto":
                against[name] = [f'method="{chosen}" was asked for']
            elif name not in fitting:
                against[name] = [f"it needs {si(needed[name], 'B')}"]
            else:
                against[name] = [f"estimated overhead {_ratio(estimates[name], estimates[chosen])} that of {chosen}"]
    reasons = {name: tuple(why) for name, why in against.items() if name != chosen}
    return Plan(chosen, candidates[chosen].summary(problem), reasons, problem)


def _check_method(method: str) -> None:
    if method != "auto" and method not in kernels.names():
        raise MethodError(f'method is {method!r}; there are {", ".join(kernels.names())}. Write method="auto"')


def _refuse_method(method: str, reasons: list[str]) -> None:
    if reasons:
        raise MethodError(f'method {method!r} cannot run this: {"; ".join(reasons)}. Write method="auto"')


def _ratio(a: float, b: float) -> str:
    return f"{a / b:.1f} times" if b else "above"


def _needed(problem: Problem, kernel: Kernel) -> int:
    return problem.input_bytes + problem.output_bytes + kernel.scratch_bytes(problem)


def refuse_too_large(needed: int, output: int, shape: tuple[int, ...]) -> None:
    """Before anything is allocated: predicted bytes over physical memory are refused."""
    there = physical_memory()
    if there is not None and needed > there:
        raise TooLargeError(
            f"the call needs {si(needed, 'B')} ({si(output, 'B')} of them output {shape}); this machine has "
            f"{si(there, 'B')}. Write it in pieces: Geometry.input_window tells which input a part of the output needs"
        )


# -- the edge: arguments to canonical arrays ----------------------------------------------------------------------


def prepare(
    x: Any,
    weight: Any,
    bias: Any,
    name: str,
    geometry: Geometry | None,
    native: dict[str, Any],
    *,
    adjoint: bool = False,
    finite: bool | None = None,
) -> Prepared:
    """Check one call, whichever function it came through, and bring it into canonical terms.

    `adjoint`: x is the large side (what `conv` takes), so its channels are the weight's output channels. `finite`:
    whether the weight is, if that is known.
    """
    library, (x, weight, bias) = arrays.take_all(x=x, weight=weight, bias=bias)
    return prepare_taken(library, x, weight, bias, name, geometry, native, adjoint=adjoint, finite=finite)


def prepare_taken(
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
) -> Prepared:
    """The same for arrays that were taken from their library, or for stand-ins of their shapes and dtypes."""
    _check_dtypes(library, x=x, weight=weight, bias=bias)
    speaker = dialect(name)
    call = (
        _read_geometry(geometry, x.shape, weight.shape, name, native)
        if geometry is not None
        else speaker.read(x.shape, weight.shape, native, adjoint=adjoint)
    )
    _check_channels(speaker, call, x.shape, weight.shape, library, adjoint)
    g = call.geometry
    w = call.weight.canonical(weight, g.groups)
    images = call.data.canonical(x)
    in_channels, out_channels = w.shape[0], _out_channels(call, weight.shape, bias)
    small = g.conv_shape(images.shape[2:]) if adjoint else images.shape[2:]
    dtype = x.dtype.newbyteorder("=")
    problem = Problem(g, len(images), in_channels, out_channels, small, dtype, bias is not None)
    if not adjoint:
        # before the weight is looked at: one without memory of its own may have any size
        refuse_too_large(
            problem.input_bytes + problem.output_bytes,
            problem.output_bytes,
            (problem.batch, out_channels, *problem.output_shape),
        )
        finite = is_finite(weight) if finite is None else finite
        problem = problem if finite else replace(problem, finite_weight=False)
    return Prepared(problem, images, w, bias, call.result, library, x, weight, call.weight, call.data)


def prepare_alone(
    library: str,
    weight: Array,
    bias: Array | None,
    name: str,
    geometry: Geometry | None,
    native: dict[str, Any],
    method: str,
) -> Problem | None:
    """Check what can be checked before there is an x, in the words of `prepare` and `choose`.

    The problem with some x, of which only x's sizes may change; None where the words fit an x that cannot be guessed.
    """
    _check_dtypes(library, weight=weight, bias=bias)
    _check_method(method)
    speaker = dialect(name)
    call = (
        _read_geometry(geometry, (1,) * weight.ndim, weight.shape, name, native)
        if geometry is not None
        else speaker.read_alone(weight.shape, native)
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
    if method != "auto":
        _refuse_method(
            method, kernels.kernel(method).reasons_against(replace(problem, finite_weight=is_finite(weight)))
        )
    return problem


def is_finite(array: Array) -> bool:
    """Whether no element is inf or NaN."""
    return array.dtype.kind in "iu" or bool(np.isfinite(array).all())


def _read_geometry(
    geometry: Geometry, x_shape: tuple[int, ...], weight_shape: tuple[int, ...], name: str, native: dict[str, Any]
) -> Call:
    """A call written with geometry=: canonical layouts, no native words."""
    if native or name != "torch":
        words = ", ".join([*native, *(["dialect"] if name != "torch" else [])])
        raise ArgumentError(
            f"geometry= was given together with {words}; it says all of that. Write geometry= alone, with "
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
    return Call(geometry, data, WeightLayout.of("IO*", ndim), data)


def _check_dtypes(library: str, **given: Array | None) -> None:
    present = {name: array for name, array in given.items() if array is not None}
    for name, array in present.items():
        if array.dtype.name not in (*_FLOATS, *_INTEGERS):
            raise DtypeError(
                f"{name} has dtype {array.dtype}; {', '.join(_FLOATS)} and integers up to 64 bits (not uint64) "
                "are taken. "
                f"Write {arrays.cast(library, name, _FLOAT32[library])}"
            )
    first, reference = next(iter(present.items()))  # x, or the weight where there is no x yet
    for name, array in present.items():
        whole = name == "bias" and reference.dtype.kind in "iu" and array.dtype == accumulator(reference.dtype)
        if array.dtype.name != reference.dtype.name and not whole:
            raise DtypeError(
                f"{first} is {reference.dtype.name} and {name} is {array.dtype.name}; mixed dtypes are refused, one is "
                f"needed. Write {arrays.cast(library, name, f'{first}.dtype')}, or "
                f"{arrays.cast(library, first, f'{name}.dtype')}"
            )


def _check_groups(call: Call, weight_shape: tuple[int, ...]) -> None:
    groups, sizes = call.geometry.groups, call.weight.sizes(weight_shape)
    whole = sizes[call.weight.grouped] if call.weight.grouped != "G" else groups
    if whole % groups:
        raise ShapeError(
            f"weight {weight_shape} has {whole} {'input' if call.weight.grouped == 'I' else 'output'} channels, "
            f"which {groups} groups do not divide. "
            f"Write a groups that divides {whole}"
        )


def _out_channels(call: Call, weight_shape: tuple[int, ...], bias: Array | None) -> int:
    """How many output channels there are: at least one, and as many as the bias has numbers."""
    groups = call.geometry.groups
    count = call.weight.sizes(weight_shape)["O"] * (1 if call.weight.grouped == "O" else groups)
    if count == 0:
        raise ShapeError(
            f"weight {weight_shape} has no output channels; at least one is needed. Write a weight with C_out > 0"
        )
    if bias is not None and bias.shape != (count,):
        raise ShapeError(
            f"bias has shape {bias.shape}; one number per output channel is needed: ({count},). Write "
            f"bias.reshape({count})"
        )
    return count


def _check_channels(
    speaker: Dialect, call: Call, x_shape: tuple[int, ...], weight_shape: tuple[int, ...], library: str, adjoint: bool
) -> None:
    groups, sizes = call.geometry.groups, call.weight.sizes(weight_shape)
    _check_groups(call, weight_shape)
    per_axis = {letter: sizes[letter] * (1 if call.weight.grouped == letter else groups) for letter in "IO"}
    have, wanted = call.data.sizes(x_shape)[1], per_axis["O" if adjoint else "I"]
    if have != wanted:
        side = "output" if adjoint else "input"
        raise ShapeError(
            f"weight {weight_shape} has {wanted} {side} channels as {speaker.framework} reads it; x has {have}. "
            + channel_advice(speaker, call, x_shape, weight_shape, library, "O" if adjoint else "I")
        )
