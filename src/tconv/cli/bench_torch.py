"""`tconv bench --models`, `--training` and `--overhead`: PyTorch against PyTorch on tconv's kernel."""

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
from tconv.bench.roofline import facts
from tconv.errors import ArgumentError, MethodError
from tconv.io.output_files import NewFile

Progress = Callable[[bool], AbstractContextManager[Callable[[str, float], None]]]


def kind_of(asked: dict[str, bool], others: dict[str, bool]) -> str | None:
    """The one kind that was asked for. Raises ArgumentError for two, and for words of the other benchmark beside it."""
    kinds = [kind for kind, wanted in asked.items() if wanted]
    if len(kinds) > 1:
        raise ArgumentError(f"--{kinds[0]} was given together with --{kinds[1]}; one is needed. Write --{kinds[0]}")
    if kinds and (given := [word for word, wanted in others.items() if wanted]):
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
) -> int:
    """Take the times, print the table and keep the result; 1 if an output was wrong or a case was lost."""
    known = torch_cases.names(kind)
    chosen = [known_name(name, known, kind.removesuffix("s")) for name in names] or known
    result: dict[str, Any] = {"date": datetime.now(UTC).isoformat(timespec="minutes"), "kind": kind}
    result |= {
        "revision": revision.describe(),
        "machine": facts(),
        "threads": threads,
        "allowed": torch_cases.ALLOWED,
    }
    result |= {"complete": False, "cases": []}
    with ExitStack() as stack:
        kept = stack.enter_context(NewFile([output])) if output is not None else None
        compared = None
        if base is not None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tconv-base-")))
            compared = revision.unpack(base, folder)
            result["base"] = {"ref": base, "commit": compared.commit}
        code = 0
        try:
            with progress(as_json) as tell:
                for entry in torch_comparison.run(kind, chosen, threads, rounds, seconds, tell, compared):
                    result["cases"].append(entry)
            result["complete"] = True
        except KeyboardInterrupt:  # what is there is shown
            code = 130
        if kept is not None:
            kept.file.write(result_file.written(result).encode())
    print(json.dumps(result) if as_json else torch_table.text(result))
    if not any("samples" in case for case in result["cases"]) and not code:
        reasons = "; ".join(dict.fromkeys(case["reason"] for case in result["cases"]))
        raise MethodError(f"nothing was timed: {reasons}. Write tconv bench --{kind} once that is mended")
    for case in result["cases"]:
        if case.get("reason", "").startswith("wrong"):
            print(f"tconv: {case['name']}: {case['reason']}", file=sys.stderr)
    return code or int(torch_table.wrong(result))
