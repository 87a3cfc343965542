"""Traps that a real run shows: a layer that differs from its definition, or from what was read without running it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from tconv.checking.layer_check import Agreement, LayerCheck
from tconv.checking.trap import Trap
from tconv.checking.traps.trap_context import TrapContext, TrapKind
from tconv.diagnosis.networks.effective_call import EffectiveCall

_DIFFERS = TrapKind(
    "run-differs",
    "wrong",
    "a layer that its runtime computes differently",
    "In a real run, the layer's output differs from that of the definition for the same input by more than rounding "
    "explains.",
    "the runtime that the sentence names",
    "this run",
    "tconv diagnose MODEL --runtimes A B, which names the cause",
)
_SHAPE = TrapKind(
    "run-other-shape",
    "wrong",
    "a shape that the run contradicts",
    "The run gave the layer's input or output another shape than the file says, or than follows from its arguments.",
    "readers that trust the shapes in the file",
    "this run",
    "shapes inferred again: onnx.shape_inference, or a fresh export",
)
_FAILS = TrapKind(
    "run-fails",
    "refused",
    "a model that its runtime refuses to run",
    "The model's own runtime raised an error in a real run. Where the file leaves sizes open, tconv chose them: the "
    "model may take others. A note if it ran with other sizes than the first ones.",
    "the runtime that the sentence names",
    "this run",
    "sizes that the model is meant for: tconv check MODEL --run --size HEIGHT WIDTH",
)
KINDS = (_DIFFERS, _SHAPE, _FAILS)


def of_layer(context: TrapContext) -> Iterator[Trap]:
    """Yield nothing: these traps need a run."""
    yield from ()


def of_failure(runtime: str, shapes: str, error: str, is_chosen: bool, works: str = "") -> Trap:
    """Return the trap of a model that does not run with these shapes; `works` are others with which it does."""
    why = "; tconv chose the sizes that the file leaves open, and the model may take others" if is_chosen else ""
    rest = f"; it runs with {works}" if works else why
    trap = _FAILS.trap(None, f"{runtime} does not run it with {shapes}: {error}{rest}", who=runtime)
    return replace(trap, severity="note") if works else trap


def of_run(check: LayerCheck, call: EffectiveCall, agreement: Agreement) -> Iterator[Trap]:
    """Yield the traps of one layer in a run; `call` is the layer with the input that it had."""
    if check.shapes is not None:
        ran = (len(call.x), call.x.shape[1], *call.x.shape[2:]), call.output_shape()
        for name, stated, real in zip("xy", (check.shapes.x, check.shapes.y), ran, strict=True):
            wrong = len(stated) != len(real) or any(
                isinstance(size, int) and size != number for size, number in zip(stated[1:], real[1:], strict=False)
            )
            if wrong:
                what = f"{name} is {list(stated)} by the file, and {list(real)} in the run on {agreement.runtime}"
                yield _SHAPE.trap(check.layer, what, stated=list(stated), run=list(real))
    if agreement.agrees:
        return
    if agreement.difference is None:
        what = f"{agreement.runtime} gives {list(agreement.shape)}; by the definition it is {list(agreement.expected)}"
    else:
        what = (
            f"{agreement.runtime} differs by {agreement.difference:.2g} of the output's root mean square; rounding "
            f"explains {agreement.rounding:.1g}{f'; {agreement.note}' if agreement.note else ''}"
        )
    yield _DIFFERS.trap(check.layer, what, difference=agreement.difference, rounding=agreement.rounding)
