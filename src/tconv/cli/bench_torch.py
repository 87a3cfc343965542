"""The options `--models`, `--training` and `--overhead` of `tconv bench`: PyTorch against PyTorch on tconv's kernel."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tconv.bench import result_file, revision, torch_cases, torch_comparison, torch_table
from tconv.bench.layers import known_name
from tconv.bench.roofline import machine_facts
from tconv.bench.torch_comparison import Case
from tconv.errors import ArgumentError, MethodError
from tconv.io.output_files import NewFile

Progress = Callable[[bool], AbstractContextManager[Callable[[str, float], None]]]


def kind_of(asked: dict[str, bool], others: dict[str, bool]) -> str | None:
    """Return the one kind that was requested, or None.

    Raises ArgumentError for two kinds, and for options that only the benchmark of layers has (`others`).
    """
    kinds = [kind for kind, wanted in asked.items() if wanted]
    if len(kinds) > 1:
        raise ArgumentError(f"--{kinds[0]} was given together with --{kinds[1]}; choose one. Write --{kinds[0]}")
    if kinds and (given := [name for name, wanted in others.items() if wanted]):
        raise ArgumentError(
            f"--{given[0]} was given together with --{kinds[0]}, which compares PyTorch with PyTorch on tconv's "
            f"kernel. Write --{kinds[0]} alone"
        )
    return kinds[0] if kinds else None


def run(
    kind: str,
    names: Sequence[str],
    threads: int,
    rounds: int,
    seconds: float,
    output: Path | None,
    as_json: bool,
    progress: Progress,
    base: str | None = None,
    dtypes: Sequence[str] = ("float32",),
    layouts: Sequence[str] = ("first",),
) -> int:
    """Take the times, print the table and write the result. Return 1 if an output was wrong or tconv was slower."""
    known = torch_cases.names(kind)
    selected = [known_name(name, known, "model" if kind == "models" else "layer") for name in names] or known
    cases = [Case(name, dtype, layout) for name in selected for dtype in dtypes for layout in layouts]
    result: dict[str, Any] = {"date": datetime.now(UTC).isoformat(timespec="minutes"), "kind": kind}
    result |= {
        "revision": revision.describe(),
        "machine": machine_facts(),
        "threads": threads,
        "allowed": torch_cases.ALLOWED["float32"],
    }
    result |= {"complete": False, "cases": []}
    with ExitStack() as stack:
        json_file = stack.enter_context(NewFile([output])) if output is not None else None
        old = None
        if base is not None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tconv-base-")))
            old = revision.unpack(base, folder)
            result["base"] = {"ref": base, "commit": old.commit}
        code = 0
        try:
            with progress(as_json) as report_progress:
                for entry in torch_comparison.run(kind, cases, threads, rounds, seconds, report_progress, old):
                    result["cases"].append(entry)
            result["complete"] = True
        except KeyboardInterrupt:  # what was measured is shown
            code = 130
        if json_file is not None:
            json_file.file.write(result_file.to_text(result).encode())
    print(json.dumps(result) if as_json else torch_table.text(result))
    if not any("samples" in case for case in result["cases"]) and not code:
        reasons = "; ".join(dict.fromkeys(case["reason"] for case in result["cases"]))
        raise MethodError(f"nothing was timed: {reasons}. Run tconv bench --{kind} again when that is solved")
    for case in result["cases"]:
        if case.get("reason", "").startswith("wrong"):
            print(f"tconv: {case['name']}: {case['reason']}", file=sys.stderr)
    return code or int(torch_table.wrong(result))
