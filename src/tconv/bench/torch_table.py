"""The tables of `tconv bench --models` and `--training`, as text and as the Markdown that a README shows:

python -m tconv.bench.torch_table RESULT.json
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tconv.bench import table
from tconv.bench.statistics import geometric_mean, median, ratio
from tconv.errors import ArgumentError, FileError, TconvError

Result = dict[str, Any]
WORST = 0.95
"""A gain whose whole interval is below this is a loss."""


def read(path: Path) -> Result:
    """A stored result. Raises FileError for a file that is none."""
    try:
        result: Result = json.loads(path.read_text(encoding="utf-8"))
        for case in result["cases"]:
            if "words" in case:  # as results of November 2026 call the title
                case["title"] = case.pop("words")
        return {key: result[key] for key in ("date", "machine", "threads", "kind", "cases", "allowed", "complete")}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise FileError(
            f"{path} cannot be read as a result ({error!r}). Write a file that tconv bench --models -o made"
        ) from None


def rows(result: Result) -> tuple[list[str], list[list[str]]]:
    """Heads and cells: PyTorch's time, tconv's, the gain with its interval, and what could be won at best."""
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
    made = []
    for case in timed:
        samples = case["samples"]
        stock, ours, won = samples["torch"], samples["tconv"], ratio(samples["torch"], samples["tconv"])
        cells = [case["title"], *([f"{100 * case['share']:.0f}%"] if shared else [])]
        cells += [table.number(median(stock).value), table.number(median(ours).value)]
        cells += [f"{won.value:.2f}", f"{won.low:.2f}..{won.high:.2f}"]
        if base:
            cells += _base_cells(samples.get(base), samples["tconv"])
        if overhead:
            cells.append(f"{1e3 * (median(ours).value - median(stock).value):.1f}")
        if fused:
            cells.append(f"{ratio(stock, samples['fused']).value:.2f}" if "fused" in samples else "-")
        cells += [*([f"{1 / max(1e-9, 1 - case['share']):.2f}"] if shared else []), f"{case['difference']:.1e}"]
        made.append(cells)
    return heads, made


def _base(result: Result) -> str | None:
    """The side that is tconv of another revision, "tconv@REF", if any case was timed with it."""
    sides = [side for case in result["cases"] for side in case.get("samples", {})]
    return next((side for side in sides if side.startswith("tconv@")), None)


def _base_cells(base: list[float] | None, own: list[float]) -> list[str]:
    if not base:
        return ["-"] * 3
    change = ratio(base, own)
    return [table.number(median(base).value), f"{change.value:.2f}", f"{change.low:.2f}..{change.high:.2f}"]


def words(result: Result) -> list[str]:
    """What the figures are, what went wrong, and where it was measured."""
    timed = [case for case in result["cases"] if "samples" in case]
    gains = [ratio(case["samples"]["torch"], case["samples"]["tconv"]) for case in timed]
    mean = geometric_mean(gain.value for gain in gains)
    what = {"models": "forward, ", "training": "forward and backward, "}.get(result["kind"], "one call, ")
    lines = [
        f"{what}float32 on the CPU, medians in ms; gain is torch / tconv; difference is of the largest value, "
        f"{result['allowed']:g} is allowed."
    ]
    if mean is not None and len(gains) > 1:
        lines.append(f"geometric mean of the gains {mean:.2f}; smallest {min(gain.value for gain in gains):.2f}")
    if base := _base(result):
        changes = [ratio(case["samples"][base], case["samples"]["tconv"]) for case in timed if base in case["samples"]]
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
        lines.append("interrupted: not all cases are here")
    return lines


def wrong(result: Result) -> bool:
    """Whether outputs differed by more than is allowed, or a case was lost with its whole interval."""
    for case in result["cases"]:
        if case.get("reason", "").startswith("wrong"):
            return True
        if result["kind"] == "overhead":  # tconv's is known to be longer, by microseconds
            continue
        if "samples" in case and ratio(case["samples"]["torch"], case["samples"]["tconv"]).high < WORST:
            return True
    return False


def text(result: Result) -> str:
    """The report as plain lines."""
    heads, cells = rows(result)
    return "\n".join([*table.aligned([heads, *cells]), "", *words(result)])


def markdown(result: Result) -> str:
    """One table, and the words below."""
    heads, cells = rows(result)
    made = [heads, ["---", *("---:" for _ in heads[1:])], *cells]
    return "\n".join(
        [*(f"| {' | '.join(row)} |" for row in made), "", *(f"{line}  " for line in words(result))]
    ).rstrip()


def main(arguments: Sequence[str]) -> int:
    """`python -m tconv.bench.torch_table RESULT.json`."""
    try:
        if len(arguments) != 1:
            raise ArgumentError("a result file is needed. Write python -m tconv.bench.torch_table RESULT.json")
        print(markdown(read(Path(arguments[0]))))
    except TconvError as error:
        print(f"tconv: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
