"""Graph programs on generated models, counted right, wrong or refused: benchmarks/rewriters.py [--onnx2tf PYTHON].

Each of the 60 models of tests/generated_onnx_models.py has a transposed convolution with one attribute, or one thing
around it, that programs get wrong. Every program that is installed rewrites each model; the result is run by tconv's
own evaluation, which follows the specification, and compared with the same evaluation of the model. "tconv" is
`tconv rewrite --target conv-only`. onnx2tf runs in a Python of its own and its result on LiteRT (onnx2tf_runs.py).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import onnx

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import onnx2tf_runs

from generated_onnx_models import CASES, Case
from tconv.errors import TconvError
from tconv.models.traces.onnx_file import RUNTIMES
from tconv.onnx import plan_rewrite
from tconv.onnx.verification import relative_difference

LIMIT = 1e-5

_PROGRAMS = {
    "onnxslim": "import onnxslim\nwork = lambda a, b: onnx.save(onnxslim.slim(a), b)",
    "onnxsim": "import onnxsim\nwork = lambda a, b: onnx.save(onnxsim.simplify(a)[0], b)",
    "onnxoptimizer": (
        "import onnxoptimizer as o\n"
        "work = lambda a, b: onnx.save(o.optimize(onnx.load(a), o.get_fuse_and_elimination_passes()), b)"
    ),
    "onnxscript": (
        "import onnx_ir, onnxscript.optimizer, onnxscript.rewriter as r\n"
        "from onnxscript.rewriter.rules.common import fuse_batchnorm_into_conv_transpose_rule as rule\n"
        "def work(a, b):\n"
        "    model = onnxscript.optimizer.optimize(onnx_ir.load(a))\n"
        "    onnx_ir.save(r.rewrite(model, pattern_rewrite_rules=[rule]), b)"
    ),
}
"""Python of a function `work(source, written)` for each program."""
_LOOP = """
for number in sys.argv[2:]:
    try:
        work(f"{sys.argv[1]}/{number}/model.onnx", f"{sys.argv[1]}/{number}/" + NAME)
    except Exception as error:
        open(f"{sys.argv[1]}/{number}/" + NAME + ".error", "w").write(f"{type(error).__name__}: {error}")
"""


def main() -> None:
    """Print a table of all programs, and every model that one of them gets wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--onnx2tf", metavar="PYTHON", help="the Python of an environment with onnx2tf and LiteRT")
    parser.add_argument("--programs", nargs="*", help="these alone: tconv, onnxslim, onnxsim ...")
    arguments = parser.parse_args()
    names = ["tconv", *(name for name in _PROGRAMS if find_spec(name) is not None)]
    names += ["onnx2tf"] * bool(arguments.onnx2tf)
    names = [name for name in names if not arguments.programs or name in arguments.programs]
    counts: dict[str, Counter[str]] = {name: Counter() for name in names}
    reasons: dict[str, list[str]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for number, case in enumerate(CASES.values()):
            (folder / str(number)).mkdir()
            onnx.save(case.model(), folder / str(number) / "model.onnx")
        for name in names:
            if name in _PROGRAMS:
                others(name, folder)
            elif name == "onnx2tf":
                converted = onnx2tf_runs.convert_and_run(arguments.onnx2tf, list(CASES.values()), folder / "onnx2tf")
            for number, case in enumerate(CASES.values()):
                source = folder / str(number) / "model.onnx"
                if name == "onnx2tf":
                    answer = converted[number]
                else:
                    answer = ours(case, source) if name == "tconv" else other(name, case, source)
                    counts[name]["replaced"] += replaced(source.with_name(f"{name}.onnx"))
                verdict = answer.split(":")[0]
                counts[name][verdict] += 1
                if verdict != "right":
                    print(f"{name:14} {case.name:32} {answer}", flush=True)
                if verdict == "refused":
                    reasons[f"{name}: {answer}"].append(case.name)
    for reason, refused in reasons.items():
        print(f"\n{reason}\n    {len(refused)}: {', '.join(refused)}")
    known = {name: f"{name} {version(name)}" for name in names if name in _PROGRAMS}
    if "onnx2tf" in names:
        packages = onnx2tf_runs.versions(arguments.onnx2tf)
        print(f"\nonnx2tf's packages: {packages}")
        known["onnx2tf"] = next(each for each in packages.split(", ") if each.startswith("onnx2tf "))
    print(f"\n{len(CASES)} models\n{'program':26} {'right':>6} {'wrong':>6} {'refused':>8}  without ConvTranspose")
    for name, tally in counts.items():
        last = "-" if name == "onnx2tf" else tally["replaced"]  # it writes another format
        print(f"{known.get(name, name):26} {tally['right']:6} {tally['wrong']:6} {tally['refused']:8}  {last}")


def ours(case: Case, source: Path) -> str:
    """Rewrite by tconv for a target that has ordinary convolutions alone, without the comparison that it makes."""
    try:
        plan = plan_rewrite(source, target="conv-only")
        if plan.reasons:
            return f"refused: {plan.reasons[0][:160]}"
        for each in plan.rewrites:
            each.emit()
        plan.file.write(source.with_name("tconv.onnx"))
    except TconvError as error:
        return f"refused: {str(error)[:160]}"
    return compared(case, source, source.with_name("tconv.onnx"))


def others(name: str, folder: Path) -> None:
    """Run another program on all models, in one process, and in another after each that ends it."""
    script = f"import sys, onnx\nNAME = {name + '.onnx'!r}\n{_PROGRAMS[name]}\n{_LOOP}"
    waiting = [str(number) for number in range(len(CASES))]
    while waiting:
        subprocess.run([sys.executable, "-c", script, str(folder), *waiting], capture_output=True, timeout=300)
        places = [folder / number / f"{name}.onnx" for number in waiting]
        done = [place.exists() or place.with_name(f"{place.name}.error").exists() for place in places]
        if all(done):
            return
        first = done.index(False)
        places[first].with_name(f"{name}.onnx.error").write_text("it ends the process")
        waiting = waiting[first + 1 :]


def other(name: str, case: Case, source: Path) -> str:
    """Return the verdict on what another program has written."""
    written = source.with_name(f"{name}.onnx")
    refusal = written.with_name(f"{written.name}.error")
    if refusal.exists():
        return f"refused: {' '.join(refusal.read_text().split())[:160]}"
    return compared(case, source, written)


def replaced(written: Path) -> bool:
    """Return True for a file without a transposed convolution."""
    return written.exists() and all(node.op_type != "ConvTranspose" for node in onnx.load(written).graph.node)


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


if __name__ == "__main__":
    main()
