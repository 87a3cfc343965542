"""The options `--framework`, `--models`, `--training`, `--overhead` of `tconv bench`: a framework on tconv's kernel."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from tconv.bench import dtypes, framework_comparison, framework_table, frameworks, result_file, revision
from tconv.bench.frameworks.interface import Case, Framework
from tconv.bench.frameworks.torch import ALLOWED
from tconv.bench.roofline import machine_facts
from tconv.errors import ArgumentError, MethodError
from tconv.io.output_files import NewFile

Progress = Callable[[bool], AbstractContextManager[Callable[[str, float], None]]]


class Options(NamedTuple):
    """Options of `tconv bench` that a framework's comparison has."""

    framework: str
    kind: str
    layers: Sequence[str] = ()
    threads: int = 2
    rounds: int = 15
    seconds: float = 480.0
    dtype: str | None = None
    layout: str | None = None
    backend: str | None = None
    base: str | None = None
    output: Path | None = None
    html: Path | None = None
    as_json: bool = False


def kind_of(framework: str | None, asked: dict[str, bool], others: dict[str, bool]) -> tuple[str, str] | None:
    """Return the framework and the one kind of cases that were requested, or None for the benchmark of layers.

    Raises ArgumentError for two kinds, for a kind that the framework lacks, and for options that only the benchmark of
    layers has (`others`).
    """
    kinds = [kind for kind, wanted in asked.items() if wanted]
    if len(kinds) > 1:
        raise ArgumentError(f"--{kinds[0]} was given together with --{kinds[1]}; choose one. Write --{kinds[0]}")
    if framework is None and not kinds:
        return None
    name = framework or "torch"
    known = frameworks.framework(name)
    option = f"--{kinds[0]}" if framework is None else f"--framework {framework}"
    if given := [other for other, wanted in others.items() if wanted]:
        title = known.title
        raise ArgumentError(
            f"--{given[0]} was given together with {option}, which compares {title} with {title} on tconv's kernel. "
            f"Write {option} alone"
        )
    kind = kinds[0] if kinds else known.kinds[0]
    if kind not in known.kinds:
        having = next(other for other in frameworks.names() if kind in frameworks.framework(other).kinds)
        raise ArgumentError(
            f"--{kind} was given with --framework {name}, which has {', '.join(known.kinds)}. Write {option} alone, or "
            f"--framework {having} --{kind}"
        )
    return name, kind


def _cases(known: Framework, options: Options) -> list[Case]:
    """Return the cases that are selected. Raises ArgumentError for a name, dtype, layout or backend that is unknown."""
    name, kind = options.framework, options.kind
    if name == "torch" and kind != "models":  # PyTorch's layers have one dtype and layout here
        for option, value in (("dtype", options.dtype), ("layout", options.layout)):
            if value is not None and value != "first":
                raise ArgumentError(
                    f"--{option} was given together with --{kind}, which compares PyTorch with PyTorch on tconv's "
                    f"kernel. Write --{kind} alone"
                )
    if options.backend is not None and known.backends == ("",):
        raise ArgumentError(f"--backend is about Keras, and the framework is {name}. Write --framework keras")
    kinds = dtypes.selected("dtype", options.dtype or known.dtypes[0], known.dtypes)
    layouts = dtypes.selected("layout", options.layout or known.layouts[0], known.layouts)
    backends = known.backends
    if options.backend is not None:
        backends = dtypes.selected("backend", options.backend, known.backends)
    selected = known.select(kind, options.layers)
    return [Case(one, d, lay, b) for b in backends for one in selected for d in kinds for lay in layouts]


def run(options: Options, progress: Progress) -> int:
    """Take the times, print the table and write the result. Return 1 if an output was wrong or tconv was slower."""
    known, kind = frameworks.framework(options.framework), options.kind
    cases = _cases(known, options)
    result: dict[str, Any] = {"date": datetime.now(UTC).isoformat(timespec="minutes"), "framework": options.framework}
    result |= {
        "kind": kind,
        "revision": revision.describe(),
        "machine": machine_facts(),
        "threads": options.threads,
        **({"gate": known.gate} if known.gate else {"allowed": ALLOWED["float32"]}),
    }
    result |= {"complete": False, "cases": []}
    with ExitStack() as stack:  # files that cannot be written are refused now, not after the run
        html_file = stack.enter_context(NewFile([options.html])) if options.html is not None else None
        json_file = stack.enter_context(NewFile([options.output])) if options.output is not None else None
        old = None
        if options.base is not None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tconv-base-")))
            old = revision.unpack(options.base, folder)
            result["base"] = {"ref": options.base, "commit": old.commit}
        code = 0
        limits = (options.threads, options.rounds, options.seconds)
        try:
            with progress(options.as_json) as report:
                for entry in framework_comparison.run(options.framework, kind, cases, *limits, report, old):
                    result["cases"].append(entry)
            result["complete"] = True
        except KeyboardInterrupt:  # what was measured is shown
            code = 130
        if json_file is not None:
            json_file.file.write(result_file.to_text(result).encode())
        if html_file is not None:
            html_file.file.write(framework_table.to_html(result).encode())
    print(json.dumps(result) if options.as_json else framework_table.text(result))
    if not any("samples" in case for case in result["cases"]) and not code:
        reasons = "; ".join(dict.fromkeys(case["reason"] for case in result["cases"]))
        again = f"--{kind}" if options.framework == "torch" else f"--framework {options.framework}"
        raise MethodError(f"nothing was timed: {reasons}. Run tconv bench {again} again when that is solved")
    for case in result["cases"]:
        if case.get("reason", "").startswith("wrong"):
            print(f"tconv: {case['name']}: {case['reason']}", file=sys.stderr)
    return code or int(framework_table.wrong(result))
