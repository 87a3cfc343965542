"""Many calls of a framework on XLA in one program, because compiling them one by one takes ten times as long."""

from __future__ import annotations

import os
from importlib.metadata import version

# Every program is compiled once and run once. Without the emitters of fused transposes that takes a fifth of the time.
os.environ["XLA_FLAGS"] = "--xla_backend_optimization_level=0"
if tuple(map(int, version("jaxlib").split(".")[:2])) < (0, 11):  # XLA ends a process with a flag that it does not know
    os.environ["XLA_FLAGS"] += " --xla_cpu_use_fusion_emitters=false"

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from harness import Arguments, Conformance, meets_fault

CALLS_PER_PROGRAM = 25
NativeCall = tuple[np.ndarray, np.ndarray, np.ndarray | None, Arguments]


def results(name: str, call: Callable[..., Any], calls: Sequence[NativeCall]) -> list[np.ndarray | Exception]:
    """Return the result of each call, or the exception that it raises when it is traced or lowered."""
    refused: dict[int, Exception] = {
        i: RuntimeError("XLA would end the process")
        for i, (x, w, _, arguments) in enumerate(calls)
        if meets_fault("xla_ends_process", name, x, w, arguments)
    }

    def program(arrays):
        outputs = {}
        for i, (x, w, bias) in enumerate(arrays):
            try:
                if i not in refused:
                    outputs[i] = call(x, w, bias, calls[i][-1])
            except Exception as error:  # each framework has its own kinds
                refused[i] = error
        return outputs

    arrays_of_all = [arrays for *arrays, _ in calls]
    try:
        outputs = jax.jit(program)(arrays_of_all)
    except Exception:  # some call can be traced and not be lowered: lower each alone to find it
        for i, (arrays, (*_, arguments)) in enumerate(zip(arrays_of_all, calls, strict=True)):
            try:
                if i not in refused:
                    one = jax.jit(lambda x, w, bias, arguments=arguments: call(x, w, bias, arguments))
                    one.lower(*arrays)
            except Exception as error:
                refused[i] = error
        outputs = jax.jit(lambda arrays: program(arrays))(arrays_of_all)
    return [refused[i] if i in refused else np.asarray(outputs[i]) for i in range(len(calls))]


def check_all(conformance: Conformance, calls: Sequence[NativeCall]) -> None:
    """Run `conformance.check` for each call, with its native side run in programs of many."""
    native = conformance.native
    for first in range(0, len(calls), CALLS_PER_PROGRAM):
        part = calls[first : first + CALLS_PER_PROGRAM]
        for call, result in zip(part, results(conformance.name, native, part), strict=True):
            conformance.native = lambda *_, result=result: _raised(result)
            conformance.check(*call)
    conformance.native = native


def _raised(result: np.ndarray | Exception) -> np.ndarray:
    if isinstance(result, Exception):
        raise result
    return result
