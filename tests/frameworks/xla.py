"""Many calls of a framework on XLA as one program: compiled one by one they would take ten times as long."""

from __future__ import annotations

import os

# Every program is compiled once and run once. Without the emitters of fused transposes that takes a fifth of the time.
os.environ["XLA_FLAGS"] = "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from harness import Conformance, Words

import tconv

TOGETHER = 25
Arguments = tuple[np.ndarray, np.ndarray, np.ndarray | None, Words]


def ends_the_process(name: str, x: np.ndarray, w: np.ndarray, words: Words) -> bool:
    """Whether this call has a listed fault that would take the tests with it."""
    speaker = tconv.dialect(name)
    try:
        call = speaker.read(x.shape, w.shape, words)
    except tconv.TconvError:
        return False
    sizes = call.data.sizes(x.shape)[2]
    return any("ends the process" in f.what and f.applies(call.geometry, sizes, words) for f in speaker.faults)


def results(name: str, call: Callable[..., Any], calls: Sequence[Arguments]) -> list[np.ndarray | Exception]:
    """What each call gives, or the exception that it raises when it is traced or lowered."""
    refused: dict[int, Exception] = {
        i: RuntimeError("XLA would end the process")
        for i, (x, w, _, words) in enumerate(calls)
        if ends_the_process(name, x, w, words)
    }

    def program(arrays):
        given = {}
        for i, (x, w, bias) in enumerate(arrays):
            try:
                if i not in refused:
                    given[i] = call(x, w, bias, calls[i][-1])
            except Exception as error:  # each framework has its own kinds
                refused[i] = error
        return given

    every = [arrays for *arrays, _ in calls]
    try:
        given = jax.jit(program)(every)
    except Exception:  # some call can be traced and not be lowered: lower each alone to find it
        for i, (arrays, (*_, words)) in enumerate(zip(every, calls, strict=True)):
            try:
                if i not in refused:
                    jax.jit(lambda x, w, bias, words=words: call(x, w, bias, words)).lower(*arrays)
            except Exception as error:
                refused[i] = error
        given = jax.jit(lambda arrays: program(arrays))(every)
    return [refused[i] if i in refused else np.asarray(given[i]) for i in range(len(calls))]


def check_all(conformance: Conformance, calls: Sequence[Arguments]) -> None:
    """`conformance.check` for each call, its native side run in programs of many."""
    call = conformance.native
    for first in range(0, len(calls), TOGETHER):
        some = calls[first : first + TOGETHER]
        for arguments, result in zip(some, results(conformance.name, call, some), strict=True):
            conformance.native = lambda *_, result=result: _raised(result)
            conformance.check(*arguments)
    conformance.native = call


def _raised(result: np.ndarray | Exception) -> np.ndarray:
    if isinstance(result, Exception):
        raise result
    return result
