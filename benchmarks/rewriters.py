"""Graph programs on generated models, counted right, wrong or refused: benchmarks/rewriters.py [--onnx2tf PYTHON].

Each of the 60 models of tests/generated_onnx_models.py has a transposed convolution with one attribute, or one thing
around it, that programs get wrong. Every program that is installed rewrites each model; the result is run by tconv's
own evaluation, which follows the specification, and compared with the same evaluation of the model. "tconv" is
`tconv rewrite --target conv-only`. onnx2tf runs in a Python of its own and its result on LiteRT.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from generated_onnx_models import CASES, Case
from tconv.errors import TconvError
from tconv.models.traces.onnx_file import RUNTIMES
from tconv.onnx import plan_rewrite
from tconv.onnx.verification import relative_difference

LIMIT = 1e-5

_IN_A_PROCESS = {
    "onnxslim": "import sys, onnx, onnxslim\nonnx.save(onnxslim.slim(sys.argv[1]), sys.argv[2])",
    "onnxsim": "import sys, onnx, onnxsim\nonnx.save(onnxsim.simplify(sys.argv[1])[0], sys.argv[2])",
    "onnxoptimizer": (
        "import sys, onnx, onnxoptimizer as o\n"
        "onnx.save(o.optimize(onnx.load(sys.argv[1]), o.get_fuse_and_elimination_passes()), sys.argv[2])"
    ),
    "onnxscript": (
        "import sys, onnx, onnxscript.optimizer, onnxscript.rewriter as r, onnx_ir as ir\n"
        "from onnxscript.rewriter.rules.common import fuse_batchnorm_rule_set\n"
        "model = ir.load(sys.argv[1])\nmodel = onnxscript.optimizer.optimize(model)\n"
        "model = r.rewrite(model, pattern_rewrite_rules=fuse_batchnorm_rule_set())\nir.save(model, sys.argv[2])"
    ),
}
"""Programs that other packages' simplifiers are called by."""


def main() -> None:
    """Print a table of all programs, and every model that one of them gets wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--onnx2tf", metavar="PYTHON", help="the Python of an environment with onnx2tf and LiteRT")
    arguments = parser.parse_args()
    programs: dict[str, Callable[[Case, Path, Path], str]] = {"tconv": ours}
    for name in _IN_A_PROCESS:
        if find_spec(name) is not None:
            programs[name] = lambda case, source, folder, name=name: other(name, case, source, folder)
    if arguments.onnx2tf:
        programs["onnx2tf"] = lambda case, source, folder: onnx2tf(arguments.onnx2tf, case, source, folder)
    counts: dict[str, Counter[str]] = {name: Counter() for name in programs}
    with tempfile.TemporaryDirectory() as folder:
        for number, case in enumerate(CASES.values()):
            place = Path(folder) / str(number)
            place.mkdir()
            source = place / "model.onnx"
            onnx.save(case.model(), source)
            for name, program in programs.items():
                answer = program(case, source, place)
                verdict = answer.split(":")[0]
                counts[name][verdict] += 1
                if verdict != "right":
                    print(f"{name:14} {case.name:32} {answer}", flush=True)
    print(f"\n{len(CASES)} models\n{'program':26} {'right':>6} {'wrong':>6} {'refused':>8}")
    for name, tally in counts.items():
        known = f"{name} {version(name)}" if name in _IN_A_PROCESS else name
        print(f"{known:26} {tally['right']:6} {tally['wrong']:6} {tally['refused']:8}")


def ours(case: Case, source: Path, folder: Path) -> str:
    """Rewrite by tconv for a target that has ordinary convolutions alone."""
    try:
        plan = plan_rewrite(source, target="conv-only")
        plan.write(folder / "tconv.onnx", tools=(), runtimes=["tconv"], cost=False)
    except TconvError as error:
        return f"refused: {str(error)[:160]}"
    return compared(case, source, folder / "tconv.onnx")


def other(name: str, case: Case, source: Path, folder: Path) -> str:
    """Run another program on a model."""
    written = folder / f"{name}.onnx"
    try:
        done = subprocess.run(
            [sys.executable, "-c", _IN_A_PROCESS[name], str(source), str(written)],
            capture_output=True,
            text=True,
            timeout=120,
        )
    except subprocess.TimeoutExpired:
        return "refused: it does not end"
    if done.returncode or not written.exists():
        return f"refused: {(done.stderr.strip().splitlines() or ['nothing is written'])[-1][:160]}"
    return compared(case, source, written)


def compared(case: Case, source: Path, written: Path) -> str:
    """Compare two files by tconv's own evaluation, for all sizes of the case."""
    before, after = onnx.load(source), onnx.load(written)
    worst = 0.0
    for sizes in case.sizes:
        feeds = case.feeds(sizes)
        expected = RUNTIMES["tconv"](before, feeds)
        try:
            got = RUNTIMES["tconv"](after, feeds)
        except Exception as error:
            return f"wrong: it does not run with {sizes}: {str(error)[:100]}"
        if got[0].shape != expected[0].shape:
            return f"wrong: {got[0].shape} instead of {expected[0].shape}"
        worst = max(worst, relative_difference(expected, got))
    return "right" if worst <= LIMIT else f"wrong: it differs by {worst:.2g} of the largest value"


_ONNX2TF = """
import sys, numpy as np, onnx2tf
from ai_edge_litert.interpreter import Interpreter
source, folder, x, out = sys.argv[1:5]
x = np.load(x)
onnx2tf.convert(input_onnx_file_path=source, output_folder_path=folder, non_verbose=True,
                copy_onnx_input_output_names_to_tflite=True, overwrite_input_shape=["x:" + ",".join(map(str, x.shape))])
import glob
runner = Interpreter(glob.glob(folder + "/*float32.tflite")[0])
runner.allocate_tensors()
entry = runner.get_input_details()[0]
order = [0, *range(2, x.ndim), 1]
fed = x if tuple(entry["shape"]) == x.shape else x.transpose(order)
runner.set_tensor(entry["index"], np.ascontiguousarray(fed, dtype=np.float32))
runner.invoke()
np.save(out, runner.get_tensor(runner.get_output_details()[0]["index"]))
"""


def onnx2tf(python: str, case: Case, source: Path, folder: Path) -> str:
    """Convert to TensorFlow Lite by onnx2tf in another Python, for the first size, and run it there."""
    feeds = case.feeds(case.sizes[0])
    np.save(folder / "x.npy", feeds["x"])
    command = [python, "-c", _ONNX2TF, str(source), str(folder / "tf"), str(folder / "x.npy"), str(folder / "y.npy")]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    except subprocess.TimeoutExpired:
        return "refused: it does not end"
    if done.returncode:
        return f"refused: {(done.stderr.strip().splitlines() or ['no reason'])[-1][:160]}"
    expected, got = RUNTIMES["tconv"](onnx.load(source), feeds)[0], np.load(folder / "y.npy")
    choices: list[Any] = [got, np.moveaxis(got, -1, 1)]
    worst = min(relative_difference([expected], [each]) for each in choices)
    if worst <= LIMIT:
        return "right"
    return f"wrong: {got.shape} for {expected.shape}" if np.isinf(worst) else f"wrong: it differs by {worst:.2g}"


if __name__ == "__main__":
    main()
