"""`tconv rewrite`: transposed convolutions of an ONNX file as operations that a target accepts, exactly.

It prints the plan, then what `tconv.onnx.rewrite` returns.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from tconv.cli.console import waiting
from tconv.cli.option_words import target_of_option
from tconv.errors import ArgumentError
from tconv.onnx import plan_rewrite, step_names
from tconv.onnx.model_rewrite import RUNTIMES

_Values = Annotated[list[str] | None, Parameter(consume_multiple=True, negative="")]


def run(
    model: Path,
    *,
    output: Annotated[Path | None, Parameter(name=["-o", "--output"])] = None,
    target: str | None = None,
    step: _Values = None,
    layer: _Values = None,
    plan: Annotated[bool, Parameter(negative="")] = False,
    size: Annotated[list[int] | None, Parameter(consume_multiple=True, negative="")] = None,
    runtimes: _Values = None,
    seed: int = 0,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> None:
    """Replace the transposed convolutions of an ONNX model, exactly, for a runtime that lacks or restricts them.

    The plan is printed first. Then both models run on random input of several sizes, also behind onnxslim and onnxsim
    where they are installed, and the largest difference is printed; beyond the limit nothing is written. Where no layer
    needs a step, nothing is written either, and the exit code is 0.

    Parameters
    ----------
    model
        The ONNX model (.onnx), external data beside it.
    output
        The new file (.onnx), which must not exist. Its external data, if any, goes beside it.
    target
        The runtime or chip that has to accept the layers: a name (tconv check --targets lists them), or a profile of
        your own (.toml).
    step
        Steps to take, in this order, instead of those that a target needs, or before them: phases,
        conv+depth_to_space, dynamic-size, fold-batchnorm ... A wrong name prints all.
    layer
        Names of the layers to rewrite. Default: all.
    plan
        Print the plan, and write nothing.
    size
        Spatial size of the random input. Default: five sizes where the file leaves the size open.
    runtimes
        Runtimes on which both models are compared: onnxruntime, openvino, reference, tconv. Default: onnxruntime and
        openvino, those that are installed.
    seed
        Seed of the random input.
    as_json
        Print one JSON object instead of text.
    """
    if output is None and not plan:
        raise ArgumentError(f"there is no output. Write -o {model.stem}-rewritten.onnx, or --plan for the plan alone")
    for name in runtimes or ():
        if name not in RUNTIMES:
            raise ArgumentError(
                f"--runtimes names {name!r}; there are {', '.join(RUNTIMES)}. Write one or more of them"
            )
    if target is None and not step and model.suffix.lower() == ".onnx":
        raise ArgumentError(
            "neither --target nor --step was given, so there is nothing to do. Write --target ethos-u, or --step, some "
            f"of {', '.join(step_names())}"
        )
    wanted = None if target is None else target_of_option(target)
    planned = plan_rewrite(model, target=wanted, steps=step or (), layers=layer or ())
    if not as_json:
        print(planned, flush=True)
    if plan or output is None:
        if as_json:
            print(json.dumps(planned.facts()))
        return
    if planned.nothing_to_do:
        print(json.dumps({**planned.facts(), "output": None}) if as_json else "nothing is written")
        return
    with waiting("comparing both models", quiet=as_json):
        report = planned.write(output, size=size, runtimes=runtimes, seed=seed)
    print(json.dumps(report.facts(), allow_nan=False) if as_json else report)
