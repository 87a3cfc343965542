"""Exact and broken exports of small networks through `tconv diagnose`: python benchmarks/exports.py FOLDER [STAGE...].

Stages: "make" writes the files with every exporter that is installed, "exact" compares exports that are right, "broken"
compares exports with one fault each. The networks are those of tests/exports. With pnnx on the PATH, or its path in
PNNX, ncnn's files are written, too; with tf2onnx installed, its ONNX files.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from tconv.diagnosis.networks import NetworkDiagnosis, Source, diagnose_networks
from tconv.errors import TconvError
from tconv.models.traces.process import Workers

EXPORTS = Path(__file__).parents[1] / "tests" / "exports"
sys.path.insert(0, str(EXPORTS))

from faults import WRONG, Broken, broken_files  # noqa: E402

TORCH_PAIRS = (
    ("trace.pt", "script.pt"),
    ("script.pt", "pt2"),
    ("pt2", "dynamo.onnx"),
    ("raw.onnx@openvino", "pt2"),
    ("trace.pt", "script.onnx"),
    ("dynamic.onnx@tconv", "script.pt"),
    ("script.onnx@reference", "pt2"),
    ("script.onnx@openvino", "dynamo.onnx@onnxruntime"),
    ("dynamic.onnx", "trace.pt"),
    ("ncnn.param", "trace.pt"),
    ("pt2", "ncnn.param"),
)
KERAS_PAIRS = (
    ("keras", "onnx"),
    ("onnx@openvino", "h5"),
    ("keras", "tflite"),
    ("tflite", "onnx"),
    ("tf2onnx.onnx", "keras"),
    ("tf2onnx.onnx", "onnx"),
    ("keras", "h5"),
)


def make(folder: Path) -> None:
    """Write all exports; print those that an exporter refuses."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    for script, backend in (
        ("torch_networks.py", "torch"),
        ("keras_networks.py", "torch"),
        ("keras_networks.py", "tensorflow"),
    ):
        command = [sys.executable, str(EXPORTS / script), str(folder)]
        done = subprocess.run(command, env={**environment, "KERAS_BACKEND": backend}, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(done.stderr[-2000:])
        print(
            "".join(
                f"refused by its exporter: {line}\n"
                for line in done.stdout.splitlines()
                if line.startswith(("torch-", "keras-"))
            ),
            end="",
        )
    for path in sorted(folder.glob("torch-*.trace.pt")):
        _pnnx(path)
    for path in sorted(folder.glob("keras-*.saved")):
        target = path.with_suffix(".tf2onnx.onnx")
        command = [
            sys.executable,
            "-m",
            "tf2onnx.convert",
            "--saved-model",
            str(path),
            "--output",
            str(target),
            "--opset",
            "18",
        ]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            print(f"refused by its exporter: {target.name}: {done.stderr.strip().splitlines()[-1][:150]}")


def _pnnx(path: Path) -> None:
    shapes = path.with_suffix("").with_suffix(".shapes")
    name = path.name.removesuffix(".trace.pt")
    copy = path.with_name(f"{name}.pt")
    copy.write_bytes(path.read_bytes())
    try:
        command = [os.environ.get("PNNX", "pnnx"), copy.name, f"inputshape={shapes.read_text()}", "fp16=0"]
        subprocess.run(command, cwd=path.parent, capture_output=True, timeout=120)
    except (OSError, subprocess.TimeoutExpired) as error:
        print(f"refused by its exporter: {name}.ncnn.param: {error}")
    copy.unlink()
    for written in path.parent.glob(f"{name.replace('-', '_')}[._]*"):  # pnnx writes no dash
        written.rename(written.with_name(written.name.replace(name.replace("-", "_"), name, 1)))


def compared(
    first: Path, second: Path, workers: Workers, runtimes: tuple[str, str] = ("", "")
) -> NetworkDiagnosis | str:
    """Return the diagnosis, or the text of an error.

    TorchScript traces that work for one size only are given that size, as the error advises.
    """
    sources = [Source(path, runtime) for path, runtime in zip((first, second), runtimes, strict=True)]
    try:
        return diagnose_networks(*sources, workers=workers)
    except TconvError as error:
        shapes = second.with_name(first.name.split(".")[0] + ".shapes")
        if "Write --size" in str(error) and shapes.exists():
            size = [int(each) for each in shapes.read_text().split("]")[0].split(",")[2:]]
            with contextlib.suppress(TconvError):
                return diagnose_networks(*sources, size=size, workers=workers)
        return f"{type(error).__name__}: {str(error)[:300]}"


def exact(folder: Path) -> None:
    """Compare all pairs of right exports, and print what is not equal."""
    counts: dict[str, Counter[str]] = {}
    start = time.perf_counter()
    with Workers() as workers:
        for prefix, pairs in (("torch", TORCH_PAIRS), ("keras", KERAS_PAIRS)):
            usual = {"torch": "trace.pt", "keras": "keras"}[prefix]
            names = sorted(path.name.split(".")[0] for path in folder.glob(f"{prefix}-*.{usual}"))
            for name in names:
                for pair in pairs:
                    (one, run), (two, other) = ([*each.split("@"), ""][:2] for each in pair)
                    first, second = folder / f"{name}.{one}", folder / f"{name}.{two}"
                    tally = counts.setdefault(f"{pair[0]} {pair[1]}", Counter())
                    if not first.exists() or not second.exists():
                        tally["absent"] += 1
                        continue
                    found = compared(first, second, workers, (run, other))
                    if isinstance(found, str) and "fits no input" in found:  # a batch of 2, and ncnn has none
                        tally["no common input"] += 1
                        continue
                    verdict = found if isinstance(found, str) else found.verdict
                    if first.name in WRONG:
                        tally["wrong, and named" if verdict == "found" else "other"] += 1
                        continue
                    tally[verdict if verdict == "equal" else "other"] += 1
                    if verdict != "equal":
                        print(f"NOT EQUAL {name} {pair}: {found}\n", flush=True)
                    elif found.notes:
                        print(f"note {name} {pair}: {'; '.join(found.notes)}", flush=True)
    for pair, tally in counts.items():
        print(f"{pair:45} {dict(tally)}")
    total = sum((tally for tally in counts.values()), Counter())
    print(f"{total['equal'] + total['other']} pairs of exact exports: {total['equal']} equal, {total['other']} not")
    print(f"{total['wrong, and named']} pairs with an export that is wrong, all named")
    print(f"{time.perf_counter() - start:.0f} s")


def broken(folder: Path) -> None:
    """Compare exports with one fault each with a right one; print those whose layer or cause is not named."""
    counts: dict[str, Counter[str]] = {}
    with Workers() as workers:
        for case in broken_files(folder):
            found = compared(case.path, case.right, workers)
            answer = judge(case, found)
            counts.setdefault(f"{case.kind} {case.fault}", Counter())[answer] += 1
            if answer != "right":
                print(
                    f"{answer}: {case.path.name} ({case.fault} in {case.layer}) against {case.right.name}\n{found}\n",
                    flush=True,
                )
    for kind, tally in counts.items():
        print(f"{kind:35} {dict(tally)}")
    total = sum((tally for tally in counts.values()), Counter())
    print(f"{sum(total.values())} broken exports: {dict(total)}")


def judge(case: Broken, found: NetworkDiagnosis | str) -> str:
    """Return "right" if the layer and the cause are named, else what is not."""
    if isinstance(found, str):
        return "error"
    if found.verdict == "equal":
        return "not seen"
    if found.layer is None or case.layer not in found.place:
        return "layer not named"
    names = {name for finding in found.layer.findings for name in (*finding.causes, *finding.also)}
    return "right" if names & set(case.causes) or (not case.causes and names) else "cause not named"


if __name__ == "__main__":
    place, stages = Path(sys.argv[1]), sys.argv[2:] or ["make", "exact", "broken"]
    place.mkdir(parents=True, exist_ok=True)
    for stage in stages:
        {"make": make, "exact": exact, "broken": broken}[stage](place)
