"""Functions whose results lie within 1 by construction, and the outputs of a network that come from one.

A runtime computes such a function to within a few last bits of 1, not of its result: a Sigmoid's 1e-9 may be 3e-8
elsewhere. So the numbers are judged on the scale of 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tconv.models.traces.trace import Trace

_FUNCTIONS = {
    "sigmoid": "Sigmoid",
    "logistic": "Sigmoid",
    "hardsigmoid": "HardSigmoid",
    "softmax": "Softmax",
    "tanh": "Tanh",
}
_MOVERS = frozenset(
    [
        "reshape",
        "flatten",
        "view",
        "squeeze",
        "unsqueeze",
        "expanddims",
        "transpose",
        "permute",
        "identity",
        "contiguous",
        "slice",
        "stridedslice",
        "crop",
        "cast",
    ]
)
"""Operations that move numbers and change none; the first input has them."""
_MOST_STEPS = 20


def function_named(op: str) -> str:
    """Return the function's name for the name of an operation in any format; "" for all others."""
    return _FUNCTIONS.get(_plain(op), "")


def function_behind(start: int | str, maker: Callable[[int | str], tuple[str, Sequence[int | str]] | None]) -> str:
    """Return the function that a tensor comes from, through operations that only move its numbers; "" for none.

    `maker` returns the operation that makes a tensor and the tensors that it reads.
    """
    number = start
    for _ in range(_MOST_STEPS):
        made = maker(number)
        if made is None:
            return ""
        op, inputs = made
        if name := function_named(op):
            return name
        if _plain(op) not in _MOVERS or not inputs:
            return ""
        number = inputs[0]
    return ""


def bounded_tensors(trace: Trace) -> dict[int, str]:
    """Return the tensors of a trace that come from such a function, with its name."""
    makers = {number: step for step in reversed(trace.steps) for number in step.outputs}

    def maker(number: int | str) -> tuple[str, Sequence[int | str]] | None:
        step = makers.get(int(number))
        return None if step is None or step.layer is not None else (step.op, step.inputs)

    found = {number: function_behind(number, maker) for number in trace.tensors}
    return {number: name for number, name in found.items() if name}


def bounded_outputs(trace: Trace) -> list[str]:
    """Return the function that each output comes from; "" for none."""
    tensors = bounded_tensors(trace)
    names = []
    for output in trace.outputs:
        same = (
            name
            for number, name in tensors.items()
            if trace.tensors[number].shape == output.shape and bool((trace.tensors[number] == output).all())
        )
        names.append(next(same, ""))
    return names


def _plain(op: str) -> str:
    return op.replace(":", ".").rsplit(".", 1)[-1].replace("_", "").lower()
