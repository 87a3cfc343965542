"""Choosing the method of a call, and the plan that says what was chosen, why, and at what cost.

`choose_method` asks every kernel for its reasons against a problem and for an estimate, and takes the quickest;
`explain_method` puts it into words.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from tconv import kernels
from tconv._memory import physical_memory, refuse_too_large, si
from tconv.errors import MethodError
from tconv.geometry import Geometry
from tconv.kernels.num_threads import get_num_threads
from tconv.kernels.problem import Problem
from tconv.operator.call import read_call

BALANCE = 10.0
"""FLOP per byte above which a call is taken to be bound by arithmetic: 468 GFLOP/s over 44 GB/s, two AVX-512 cores."""


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
    return explain_method(read_call(x, weight, bias, dialect, geometry, native).problem, str(method))


def choose_method(problem: Problem, method: str) -> str:
    """The method that runs; for "auto", the quickest by estimate of those that can run and fit into memory.

    Raises MethodError and TooLargeError. Asked for every size of x that was not seen before: `explain_method` does what
    only a reader needs.
    """
    return _choose(problem, method, get_num_threads())


@lru_cache(maxsize=1024)
def _choose(problem: Problem, method: str, threads: int) -> str:
    """The same, kept: what a method says of itself depends on the number of threads, too."""
    check_method(method, problem)
    able = _able(problem, method)
    there = physical_memory()
    estimates = _estimates(problem, able)
    for name in sorted(able, key=estimates.__getitem__):
        if there is None or _needed(problem, name) <= there:
            return name
    needed = min(_needed(problem, name) for name in able)
    shape = problem.batch, problem.out_channels, *problem.output_shape
    refuse_too_large(needed, problem.output_bytes, shape)
    return able[0]  # memory has come back since


def explain_method(problem: Problem, method: str) -> Plan:
    """The plan for a method: which one `choose_method` chooses, and why no other."""
    return _explain(problem, method, get_num_threads())


@lru_cache(maxsize=256)
def _explain(problem: Problem, method: str, threads: int) -> Plan:
    chosen = _choose(problem, method, threads)
    there = physical_memory()
    reasons = {}
    for name in kernels.names():
        kernel = kernels.kernel(name)
        why = kernel.reasons_against(problem)
        if name == chosen:
            continue
        if not why and method != "auto":
            why = [f'method="{chosen}" was asked for']
        elif not why and there is not None and _needed(problem, name) > there:
            why = [f"it needs {si(_needed(problem, name), 'B')}"]
        elif not why:
            other, least = (kernels.kernel(each).seconds(problem) for each in (name, chosen))
            why = [f"estimated overhead {_ratio(other, least)} that of {chosen}"]
        reasons[name] = tuple(why)
    return Plan(chosen, kernels.kernel(chosen).summary(problem), reasons, problem)


def _estimates(problem: Problem, able: list[str]) -> dict[str, float]:
    """Seconds by method; if a method is chosen with the most that it may take, that will do."""
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
    if method != "auto":
        return [method]
    return [name for name in kernels.names() if not kernels.kernel(name).reasons_against(problem)]


def check_method(method: str, problem: Problem | None = None) -> None:
    """Raise MethodError for a method that is not there, or that cannot run this problem."""
    if method != "auto" and method not in kernels.names():
        raise MethodError(f'method is {method!r}; there are {", ".join(kernels.names())}. Write method="auto"')
    if method != "auto" and problem is not None:
        _refuse_method(method, kernels.kernel(method).reasons_against(problem))


def _refuse_method(method: str, reasons: list[str]) -> None:
    if reasons:
        raise MethodError(f'method {method!r} cannot run this: {"; ".join(reasons)}. Write method="auto"')


def _ratio(a: float, b: float) -> str:
    return f"{a / b:.1f} times" if b else "above"


def _needed(problem: Problem, name: str) -> int:
    return problem.input_bytes + problem.output_bytes + kernels.kernel(name).scratch_bytes(problem)
