"""The table of `tconv bench --models`, `--training` or `--overhead`, as plain text and as Markdown.

    python -m tconv.bench.torch_table RESULT.json

prints the Markdown of `benchmarks/README.md` and `docs/torch.md`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tconv.bench import table
from tconv.bench.dtypes import BYTES
from tconv.bench.statistics import geometric_mean, median, ratio
from tconv.bench.torch_cases import AUTOCAST
from tconv.bench.torch_comparison import ALONE
from tconv.errors import ArgumentError, FileError, TconvError

Result = dict[str, Any]
WORST = 0.95
"""A gain is a loss if its whole interval is below this."""


def read(path: Path) -> Result:
    """Return a stored result. Raises FileError for an invalid file."""
    try:
        result: Result = json.loads(path.read_text(encoding="utf-8"))
        for case in result["cases"]:
            if "words" in case:  # the key of the title in results of November 2026
                case["title"] = case.pop("words")
        return {key: result[key] for key in ("date", "machine", "threads", "kind", "cases", "allowed", "complete")}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise FileError(
            f"{path} cannot be read as a result ({error!r}). A file written by tconv bench --models -o is needed"
        ) from None


def rows(result: Result) -> tuple[list[str], list[list[str]]]:
    """Return heads and cells: PyTorch's time, tconv's, the gain with its interval, and the largest possible gain."""
    timed = [case for case in result["cases"] if "samples" in case]
    fused = any("fused" in case["samples"] for case in timed)
    shared = result["kind"] == "models"
    base = _base(result)
    heads = [*(["model", "share"] if shared else ["case"]), "torch", "tconv", "gain", "95%"]
    heads += [base, "base / tconv", "95%"] if base else []
    overhead = result["kind"] == "overhead"
    heads += [
        *(["us more"] if overhead else []),
        *(["fused"] if fused else []),
        *(["at best"] if shared else []),
        "difference",
    ]
    table_rows = []
    for case in timed:
        samples = case["samples"]
        stock, ours, gain = samples["torch"], samples["tconv"], ratio(samples["torch"], samples["tconv"])
        cells = [case["title"], *([f"{100 * case['share']:.0f}%"] if shared else [])]
        cells += [table.number(median(stock).value), table.number(median(ours).value)]
        cells += [f"{gain.value:.2f}", f"{gain.low:.2f}..{gain.high:.2f}"]
        if base:
            cells += _base_cells(samples.get(base), samples.get(ALONE, samples["tconv"]))
        if overhead:
            cells.append(f"{1e3 * (median(ours).value - median(stock).value):.1f}")
        if fused:
            cells.append(f"{ratio(stock, samples['fused']).value:.2f}" if "fused" in samples else "-")
        cells += [*([f"{1 / max(1e-9, 1 - case['share']):.2f}"] if shared else []), f"{case['difference']:.1e}"]
        table_rows.append(cells)
    return heads, table_rows


def _base(result: Result) -> str | None:
    """The side that is tconv of another revision, "tconv@REF", if any case was timed with it."""
    sides = [side for case in result["cases"] for side in case.get("samples", {})]
    return next((side for side in sides if side.startswith("tconv@")), None)


def _base_cells(base: list[float] | None, own: list[float]) -> list[str]:
    if not base:
        return ["-"] * 3
    change = ratio(base, own)
    return [table.number(median(base).value), f"{change.value:.2f}", f"{change.low:.2f}..{change.high:.2f}"]


def notes(result: Result) -> list[str]:
    """Return lines about the figures, about what went wrong, and about the machine."""
    timed = [case for case in result["cases"] if "samples" in case]
    gains = [ratio(case["samples"]["torch"], case["samples"]["tconv"]) for case in timed]
    mean = geometric_mean(gain.value for gain in gains)
    dtypes = list(dict.fromkeys(case.get("dtype", "float32") for case in timed)) or ["float32"]
    measured = {"models": "forward, ", "training": "forward and backward, "}.get(result["kind"], "one call, ")
    allowed = f", {result['allowed']:g} is allowed" if any(BYTES[dtype] > 2 for dtype in dtypes) else ""
    lines = [
        f"{measured}{' and '.join(dtypes)} on the CPU, medians in ms; gain is torch / tconv; difference is of the "
        f"largest value{allowed}."
    ]
    if short := [dtype for dtype in dtypes if BYTES[dtype] == 2]:
        lines.append(
            f"{' and '.join(short)} by autocast; difference is from the model in float32, {AUTOCAST} times PyTorch's "
            "own is allowed"
        )
    if mean is not None and len(gains) > 1:
        lines.append(f"geometric mean of the gains {mean:.2f}; smallest {min(gain.value for gain in gains):.2f}")
    lines += _between_layouts(timed)
    if base := _base(result):
        compared = [case["samples"] for case in timed if base in case["samples"]]
        changes = [ratio(samples[base], samples.get(ALONE, samples["tconv"])) for samples in compared]
        mean = geometric_mean(change.value for change in changes)
        if mean is not None:
            lines.append(f"{base}: geometric mean of base / tconv {mean:.3f} over {len(changes)} cases")
    lines += [f"not run: {case['name']}: {case['reason']}" for case in result["cases"] if "reason" in case]
    lines += [f"not run: {case['base']} ({case['name']})" for case in result["cases"] if "base" in case]
    versions: dict[str, str] = {}
    for case in timed:
        versions |= case["versions"]
    m = result["machine"]
    lines.append(
        f"{result['date']}: {m['cpu']}, {m['cores']} cores, {result['threads']} threads; {m['platform']}, "
        f"Python {m['python']}; {', '.join(f'{name} {version}' for name, version in sorted(versions.items()))}"
    )
    if (m.get("load") or 0) > table.BUSY * m["cores"]:
        lines.append(f"the machine was busy: load {m['load']} on {m['cores']} cores before the run")
    if not result["complete"]:
        lines.append("interrupted: some cases are missing")
    return lines


def _between_layouts(timed: Sequence[dict[str, Any]]) -> list[str]:
    """Lines that compare the gain with channels last to that with channels first, of each model that has both."""
    gains = {
        (case["name"], case.get("dtype"), case.get("layout")): ratio(case["samples"]["torch"], case["samples"]["tconv"])
        for case in timed
    }
    return [
        f"{name}, {dtype}: the gain with channels last is {gain.value / first.value:.2f} of that with channels first"
        for (name, dtype, layout), gain in gains.items()
        if layout == "last" and (first := gains.get((name, dtype, "first")))
    ]


def wrong(result: Result) -> bool:
    """Return True if outputs differed by more than is allowed, or the whole interval of a gain is below 0.95."""
    for case in result["cases"]:
        if case.get("reason", "").startswith("wrong"):
            return True
        if result["kind"] == "overhead":  # tconv's call is known to take some microseconds longer
            continue
        if "samples" in case and ratio(case["samples"]["torch"], case["samples"]["tconv"]).high < WORST:
            return True
    return False


def text(result: Result) -> str:
    """Return the report as plain text."""
    heads, cells = rows(result)
    return "\n".join([*table.aligned([heads, *cells]), "", *notes(result)])


def markdown(result: Result) -> str:
    """Return the table in Markdown, with the notes below."""
    heads, cells = rows(result)
    lines = [heads, ["---", *("---:" for _ in heads[1:])], *cells]
    return "\n".join(
        [*(f"| {' | '.join(row)} |" for row in lines), "", *(f"{line}  " for line in notes(result))]
    ).rstrip()


def main(arguments: Sequence[str]) -> int:
    """Print the Markdown of a result file; return the exit code."""
    try:
        if len(arguments) != 1:
            raise ArgumentError("one result file is needed. Write python -m tconv.bench.torch_table RESULT.json")
        print(markdown(read(Path(arguments[0]))))
    except TconvError as error:
        print(f"tconv: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
