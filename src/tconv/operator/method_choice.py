"""Choice of the method of a call, and the plan that explains it.

`choose_method` asks every kernel for its reasons against a problem and for an estimate of its time, and chooses the
fastest. `explain_method` returns the same as a `Plan`, with the reasons against the other methods and the cost.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from tconv import kernels
from tconv._memory import physical_memory, refuse_too_large, si
from tconv.dialects.framework_layers import call_of, refuse_activation
from tconv.errors import MethodError
from tconv.geometry import Geometry
from tconv.kernels.num_threads import get_num_threads
from tconv.kernels.problem import Problem
from tconv.operator.call_reading import CanonicalCall, read_call

BALANCE = 10.0
"""FLOP per byte above which arithmetic limits a call: 468 GFLOP/s over 44 GB/s, on two AVX-512 cores."""


@dataclass(frozen=True)
class Plan:
    """Plan of a call, computed without running it; `print` shows it.

    `method` is the method that runs; `reasons` has the reasons against every other one. `flops` are 2 x exact
    multiply-adds; `input_bytes` and `output_bytes` count every element once; `scratch_bytes` are allocated beside them.
    """

    method: str
    summary: str
    reasons: dict[str, tuple[str, ...]]
    problem: Problem
    layout: str = ""
    """Arrays with channels last: "channels last", "x channels last", "y channels last"; empty if there are none."""

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
        """Bytes that the method allocates beside input and output."""
        return kernels.kernel(self.method).scratch_bytes(self.problem)

    @property
    def intensity(self) -> float:
        """FLOP per byte of input and output."""
        return self.flops / max(1, self.input_bytes + self.output_bytes)

    @property
    def bound(self) -> str:
        """Limit of a perfect kernel on a machine of `BALANCE` FLOP per byte: "arithmetic" or "memory"."""
        return "arithmetic" if self.intensity >= BALANCE else "memory"

    def __str__(self) -> str:
        p, g = self.problem, self.problem.geometry
        x, y = [p.batch, p.in_channels, *p.input_shape], [p.batch, p.out_channels, *p.output_shape]
        sums = f", summed in {p.accumulate}" if p.accumulate != p.dtype or p.converts_weight else ""
        weights = f" with {p.weight_dtype} weights" if p.weight_dtype is not None else ""
        layout = f", {self.layout}" if self.layout else ""
        lines = [
            f"x {x} -> y {y}, {p.dtype}{weights}{layout}{sums}",
            f"geometry  kernel {g.kernel}, stride {g.stride}, crop {g.crop}, dilation {g.dilation}, groups {g.groups}",
            f"method    {self.method}: {self.summary}",
            *(f"          not {name}: {'; '.join(reasons)}" for name, reasons in self.reasons.items()),
            f"work      {si(self.flops, 'FLOP')} ({si(p.macs.exact, 'MAC')} reach the output, "
            f"{si(p.macs.border_free, 'MAC')} without a border)",
            f"bytes     {si(self.input_bytes, 'B')} read, {si(self.output_bytes, 'B')} written, "
            f"{si(self.scratch_bytes, 'B')} scratch",
            f"limit     {self.bound}: {self.intensity:.1f} FLOP per byte, arithmetic from about {BALANCE:.0f}",
        ]
        return "\n".join(lines)


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
    """Return the method that `conv_transpose` with the same arguments runs, the reasons, and its cost.

    >>> import numpy as np, tconv
    >>> x, w = np.ones((1, 64, 28, 28), np.float32), np.ones((64, 32, 2, 2), np.float32)
    >>> print(tconv.plan(x, w, stride=2))                                       # doctest: +ELLIPSIS
    x [1, 64, 28, 28] -> y [1, 32, 56, 56], float32
    ...

    Of x only shape and dtype are used, so np.broadcast_to(np.float32(0), shape) plans a call without its input.
    Raises the errors of `conv_transpose`, with the same messages.
    """
    if callable(weight):  # no array is; a layer of a framework
        weight, bias, dialect, native, layer = call_of(weight, bias, dialect, geometry, native, x=x)
        refuse_activation(layer, "conv_transpose has none", "tconv.prepare(weight)(x)")
    return explain_call(read_call(x, weight, bias, dialect, geometry, native), str(method))


def choose_method(problem: Problem, method: str) -> str:
    """Return the method that runs; for "auto", the fastest by estimate of those that can run and fit into memory.

    Raises MethodError and TooLargeError. It runs for every size of x not seen before, so the texts of a plan are left
    to `explain_method`.
    """
    return _choose(problem, method, get_num_threads())


@lru_cache(maxsize=1024)
def _choose(problem: Problem, method: str, threads: int) -> str:
    """Return the method; cached by the number of threads, too, because estimates and memory depend on it."""
    check_method(method, problem)
    able = _able(problem, method)
    memory = physical_memory()
    estimates = _estimates(problem, able)
    for name in sorted(able, key=estimates.__getitem__):
        if memory is None or _needed(problem, name) <= memory:
            return name
    needed = min(_needed(problem, name) for name in able)
    shape = problem.batch, problem.out_channels, *problem.output_shape
    refuse_too_large(needed, problem.output_bytes, shape)
    return able[0]  # memory became free since


def explain_call(call: CanonicalCall, method: str) -> Plan:
    """Return the plan of a call whose result is a new array."""
    p = call.problem
    shape = call.result.native_shape((p.batch, p.out_channels, *p.output_shape))
    # an array that is only described: its memory is never touched
    out = as_strided(np.empty(1, p.dtype), shape, _contiguous(shape, p.dtype.itemsize))
    x = call.x
    if 0 in x.strides:  # np.broadcast_to(number, shape) stands for an array
        x = call.data.canonical(as_strided(x, call.native_x.shape, _contiguous(call.native_x.shape, x.itemsize)))
    size = p.dtype.itemsize
    strides = (
        tuple(step // size for step in x.strides),
        tuple(step // size for step in call.result.canonical(out).strides),
    )
    return explain_method(p, method, strides)


def _contiguous(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """Return the strides of a new array, in bytes."""
    return tuple(itemsize * math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


def machine_code_method(problem: Problem) -> tuple[str, tuple[str, ...]]:
    """Return the method of the machine code that runs a problem, and no reasons; or "", and the reasons against it.

    Compiled programs of JAX and TensorFlow can call no other method. Raises the errors of `choose_method`.
    """
    # the direct sum must be able to run it, too: it takes the numbers that another form cannot compute with
    if reasons := kernels.kernel("simd").reasons_against(problem):
        return "", tuple(reasons)
    chosen = choose_method(problem, "auto")
    return chosen if kernels.kernel(chosen).specialize is not None else "simd", ()


def explain_method(
    problem: Problem, method: str, strides: tuple[tuple[int, ...], tuple[int, ...]] | None = None
) -> Plan:
    """Return the plan of a problem: the method that `choose_method` returns, and the reasons against the others.

    `strides` are those of canonical x and y, in elements; without them both are contiguous.
    """
    plan = _explain(problem, method, get_num_threads())
    if strides is None:
        return plan
    shapes = (problem.in_channels, *problem.input_shape), (problem.out_channels, *problem.output_shape)
    last = [
        step[1] == 1 and shape[0] > 1 and math.prod(shape[1:]) > 1 for step, shape in zip(strides, shapes, strict=True)
    ]
    layout = "channels last" if all(last) else "x channels last" if last[0] else "y channels last" if last[1] else ""
    if kernels.kernel(plan.method).specialize is None:
        return replace(plan, layout=layout)
    from tconv.kernels.simd.form_choice import form_summary  # loads LLVM

    return replace(plan, layout=layout, summary=form_summary(plan.method, problem, *strides) or plan.summary)


@lru_cache(maxsize=256)
def _explain(problem: Problem, method: str, threads: int) -> Plan:
    chosen = _choose(problem, method, threads)
    memory = physical_memory()
    reasons = {}
    for name in kernels.names():
        kernel = kernels.kernel(name)
        against = kernel.reasons_against(problem)
        if name == chosen:
            continue
        if not against and method != "auto":
            against = [f'method="{chosen}" was requested']
        elif not against and memory is not None and _needed(problem, name) > memory:
            against = [f"it needs {si(_needed(problem, name), 'B')}"]
        elif not against:
            against = [_slower(problem, name, chosen)]
        reasons[name] = tuple(against)
    return Plan(chosen, kernels.kernel(chosen).summary(problem), reasons, problem)


def _slower(problem: Problem, name: str, chosen: str) -> str:
    """Return the reason against a method that can run, but has a larger estimate than the chosen one."""
    kernel, best = kernels.kernel(name), kernels.kernel(chosen)
    if kernel.specialize is not None and best.specialize is not None:
        # both are machine code, whose estimates are proportional to their cycles
        return f"estimated time {_ratio(kernel.seconds(problem), best.seconds(problem))} that of {chosen}"
    # the others' are of what they do beside the multiply-adds, as is that of the direct sum
    base = "simd" if best.specialize is not None else chosen
    ratio = _ratio(kernel.seconds(problem), kernels.kernel(base).seconds(problem))
    return f"estimated overhead, beside the multiply-adds, {ratio} that of {base}"


def _estimates(problem: Problem, able: list[str]) -> dict[str, float]:
    """Return estimated seconds by method; if an upper limit is already the least, it stands for the estimate."""
    if len(able) == 1:
        return dict.fromkeys(able, 0.0)
    known = {name: kernels.kernel(name).seconds(problem) for name in able if kernels.kernel(name).most_seconds is None}
    for name in (name for name in able if name not in known):
        kernel = kernels.kernel(name)
        assert kernel.most_seconds is not None
        most = kernel.most_seconds(problem)
        known[name] = most if most < min(known.values()) else kernel.seconds(problem)
    return {name: known[name] for name in able}


def _able(problem: Problem, method: str) -> list[str]:
    """Return the methods that can run a problem, or the one that was requested."""
    if method != "auto":
        return [method]
    return [name for name in kernels.names() if not kernels.kernel(name).reasons_against(problem)]


def check_method(method: str, problem: Problem | None = None) -> None:
    """Raise MethodError for an unknown method, or for one that cannot run this problem."""
    if method != "auto" and method not in kernels.names():
        raise MethodError(f'method is {method!r}; the methods are {", ".join(kernels.names())}. Write method="auto"')
    if method != "auto" and problem is not None:
        _refuse_method(method, kernels.kernel(method).reasons_against(problem))


def _refuse_method(method: str, reasons: list[str]) -> None:
    if reasons:
        raise MethodError(f'method {method!r} cannot run this: {"; ".join(reasons)}. Write method="auto"')


def _ratio(a: float, b: float) -> str:
    return f"{a / b:.1f} times" if b else "above"


def _needed(problem: Problem, name: str) -> int:
    """Return the bytes that a call needs with a method."""
    return problem.input_bytes + problem.output_bytes + kernels.kernel(name).scratch_bytes(problem)
