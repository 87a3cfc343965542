"""onnx2tf on generated models: conversion to TensorFlow Lite, and a run of what it writes, in a Python of its own.

onnx2tf writes models for fixed sizes. So it gets one file per size, whose input and output have that size in numbers
(its option -ois does the same to the input), with a batch of 1. Its inputs and outputs have their channels last where
it moves them; both orders of the axes are accepted.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from generated_onnx_models import Case
from tconv.models.traces.onnx_file import RUNTIMES
from tconv.onnx.verification import relative_difference

LIMIT = 1e-4
SIZES = 2
"""Sizes per model, where the model leaves them open."""

_WORKER = """
import contextlib, glob, os, sys
from importlib.metadata import version
import numpy as np
import onnx2tf, tensorflow
from ai_edge_litert.interpreter import Interpreter

if not sys.argv[1:]:
    names = ("onnx2tf", "onnxsim", "onnx", "ai-edge-litert")
    print(f"tensorflow {tensorflow.__version__}", *(f"{name} {version(name)}" for name in names), sep=", ")
for folder in sys.argv[1:]:
    step = "it does not convert"
    try:
        with open(folder + "/log.txt", "w") as log, contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
            onnx2tf.convert(input_onnx_file_path=folder + "/model.onnx", output_folder_path=folder + "/tf",
                            verbosity="info")
        step = "what it writes does not run"
        runner = Interpreter(glob.glob(folder + "/tf/*float32.tflite")[0])
        entry = runner.get_input_details()[0]
        x = np.load(folder + "/x.npy")
        last = np.moveaxis(x, 1, -1)
        runner.allocate_tensors()
        runner.set_tensor(entry["index"], np.ascontiguousarray(last if tuple(entry["shape"]) == last.shape else x))
        runner.invoke()
        np.save(folder + "/got.npy", runner.get_tensor(runner.get_output_details()[0]["index"]))
    except BaseException as error:
        open(folder + "/error.txt", "w").write(f"{step}: {type(error).__name__}: {error}")
"""


def versions(python: str) -> str:
    """Return the versions of the packages that take part."""
    done = subprocess.run(
        [python, "-c", _WORKER], capture_output=True, text=True, timeout=300, env=_environment(python)
    )
    return done.stdout.strip().splitlines()[-1]


def convert_and_run(python: str, cases: list[Case], place: Path) -> list[str]:
    """Convert and run all models, and return a verdict for each: "right", "wrong: ..." or "refused: ..."."""
    folders = [_prepared(case, place / str(number)) for number, case in enumerate(cases)]
    # it looks here for the pictures that it compares its operations on, before it would fetch them
    pictures = np.random.default_rng(0).random((20, 128, 128, 3), dtype=np.float32)
    np.save(place / "calibration_image_sample_data_20x128x128x3_float32.npy", pictures)
    waiting = [str(folder) for each in folders for folder in each]
    while waiting:
        subprocess.run(
            [python, "-c", _WORKER, *waiting], capture_output=True, timeout=3600, cwd=place, env=_environment(python)
        )
        done = [any((Path(folder) / name).exists() for name in ("got.npy", "error.txt")) for folder in waiting]
        if all(done):
            break
        first = done.index(False)
        (Path(waiting[first]) / "error.txt").write_text("it ends the process")
        waiting = waiting[first + 1 :]
    return [_verdict(each) for each in folders]


def _environment(python: str) -> dict[str, str]:
    # it calls the program onnxsim, and without it converts an unsimplified file
    return {**os.environ, "PATH": f"{Path(python).parent}{os.pathsep}{os.environ['PATH']}"}


def _prepared(case: Case, place: Path) -> list[Path]:
    """Write a file, its input and the expected output for each size."""
    folders = []
    for sizes in case.sizes[:SIZES]:
        folder = place / "x".join(map(str, sizes))
        folder.mkdir(parents=True)
        model, x = case.model(), case.feeds(sizes)["x"][:1]
        expected = RUNTIMES["tconv"](model, {"x": x})[0]
        _fix(model.graph.input[0], x.shape)
        _fix(model.graph.output[0], expected.shape)
        onnx.save(model, folder / "model.onnx")
        np.save(folder / "x.npy", x)
        np.save(folder / "expected.npy", expected)
        folders.append(folder)
    return folders


def _fix(value: Any, shape: tuple[int, ...]) -> None:
    for axis, size in zip(value.type.tensor_type.shape.dim, shape, strict=True):
        axis.dim_value = size


def _verdict(folders: list[Path]) -> str:
    """Return "wrong" if one size is wrong, else "refused" if one is refused."""
    verdicts = [_verdict_of_size(folder) for folder in folders]
    return min(verdicts, key=lambda verdict: ("wrong", "refused", "right").index(verdict.split(":")[0]))


def _verdict_of_size(folder: Path) -> str:
    if (folder / "error.txt").exists():
        reason = re.sub(
            r"\x1b\[\d+m|(?<=\.)Delegate kernel.*", "", " ".join((folder / "error.txt").read_text().split())
        )
        return f"refused: {reason[:160]}"
    expected, got = np.load(folder / "expected.npy"), np.load(folder / "got.npy")
    moved = np.moveaxis(got, -1, 1)
    difference = min(relative_difference([expected], [each]) for each in (moved, got))
    if difference <= LIMIT:
        return "right"
    if expected.shape not in (moved.shape, got.shape):
        return f"wrong: {moved.shape} instead of {expected.shape}"
    return f"wrong: it differs by {difference:.2g} of the largest value"
