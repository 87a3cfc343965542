"""The table of `tconv bench --framework` (PyTorch's `--models` and others too), as plain text, Markdown and HTML.

    python -m tconv.bench.framework_table RESULT.json

prints the Markdown of `benchmarks/README.md` and the frameworks' pages.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from tconv.bench import html_report, table
from tconv.bench.dtypes import BYTES
from tconv.bench.framework_comparison import APART
from tconv.bench.frameworks.interface import ALONE, OWN
from tconv.bench.frameworks.torch import AUTOCAST
from tconv.bench.statistics import Estimate, geometric_mean, median, ratio
from tconv.errors import ArgumentError, FileError, TconvError

Result = dict[str, Any]
WORST = 0.95
"""A gain is a loss if its whole interval is below this."""

_NEEDED = ("date", "machine", "threads", "kind", "cases", "complete")
_MEASURED = {
    "models": "forward, ",
    "layers": "forward, compiled, ",
    "training": "forward and backward, ",
    "overhead": "one call, ",
}


def read(path: Path) -> Result:
    """Return a stored result. Raises FileError for an invalid file."""
    try:
        result: Result = json.loads(path.read_text(encoding="utf-8"))
        for case in result["cases"]:
            if "words" in case:  # the key of the title in results of November 2026
                case["title"] = case.pop("words")
        return {key: result[key] for key in _NEEDED} | {
            key: result[key] for key in ("framework", "gate", "allowed") if key in result
        }
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise FileError(
            f"{path} cannot be read as a result ({error!r}). A file written by tconv bench --framework jax -o, or by "
            "tconv bench --models -o is needed"
        ) from None


def framework_of(result: Result) -> str:
    """Return the framework of a result, the name of its own side: "torch" for results from before there were others."""
    return str(result.get("framework", "torch"))


def gain_of(case: dict[str, Any], stock: str, side: str = OWN) -> Estimate:
    """Return the time of the framework's own side over that of another."""
    return ratio(case["samples"][stock], case["samples"][side])


def _timed(result: Result) -> list[dict[str, Any]]:
    """Return the cases that were timed; for other frameworks than PyTorch those first where tconv is slower."""
    timed = [case for case in result["cases"] if "samples" in case]
    stock = framework_of(result)
    if stock == "torch" or result["kind"] == "overhead":
        return timed
    return sorted(timed, key=lambda case: min(1.0, gain_of(case, stock).value))


def _share(case: dict[str, Any], stock: str) -> float | None:
    """Return the share of transposed convolutions in a model's time, 0 to 1."""
    if ALONE in case["samples"]:
        return min(1.0, median(case["samples"][ALONE]).value / median(case["samples"][stock]).value)
    share: float | None = case.get("share")
    return share


def _others(result: Result) -> list[str]:
    """Return the sides besides the framework's, tconv's and those of other revisions."""
    sides = dict.fromkeys(side for case in result["cases"] for side in case.get("samples", {}))
    known = (framework_of(result), OWN, APART, ALONE)
    return [side for side in sides if side not in known and not side.startswith("tconv@")]


def rows(result: Result) -> tuple[list[str], list[list[str]]]:
    """Return heads and cells: the framework's time, tconv's, the gain with its interval, and the largest possible gain.

    The column of another side has the framework's time over that side's.
    """
    stock, base, others = framework_of(result), _base(result), _others(result)
    timed = _timed(result)
    shared = result["kind"] == "models" or any(ALONE in case["samples"] for case in timed)
    overhead = result["kind"] == "overhead"
    first = {"models": "model", "training": "case", "overhead": "case"}.get(result["kind"], "layer")
    heads = [*(["model", "share"] if shared else [first]), stock, OWN, "gain", "95%"]
    heads += [base, "base / tconv", "95%"] if base else []
    heads += [*(["us more"] if overhead else []), *others, *(["at best"] if shared else []), "difference"]
    table_rows = []
    for case in timed:
        samples, share = case["samples"], _share(case, stock)
        own, ours, gain = samples[stock], samples[OWN], gain_of(case, stock)
        cells = [case["title"], *([f"{100 * (share or 0):.0f}%"] if shared else [])]
        cells += [table.number(median(own).value), table.number(median(ours).value)]
        cells += [f"{gain.value:.2f}", f"{gain.low:.2f}..{gain.high:.2f}"]
        if base:
            cells += _base_cells(samples.get(base), samples.get(APART, ours))
        if overhead:
            cells.append(f"{1e3 * (median(ours).value - median(own).value):.1f}")
        cells += [f"{gain_of(case, stock, side).value:.2f}" if side in samples else "-" for side in others]
        cells += [*([_ceiling(share)] if shared else []), f"{case['difference']:.1e}"]
        table_rows.append(cells)
    return heads, table_rows


def _ceiling(share: float | None) -> str:
    """Return the gain of a model whose transposed convolutions take no time; a dash if they take all of it."""
    return f"{1 / (1 - (share or 0)):.2f}" if (share or 0) < 1 else "-"


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
    stock = framework_of(result)
    timed = [case for case in result["cases"] if "samples" in case]
    lines = _about(result, timed)
    if timed:
        lines += _means(timed, stock, _others(result))
    lines += _between_layouts(timed, stock)
    if base := _base(result):
        compared = [case["samples"] for case in timed if base in case["samples"]]
        changes = [ratio(samples[base], samples.get(APART, samples[OWN])) for samples in compared]
        mean = geometric_mean(change.value for change in changes)
        if mean is not None:
            lines.append(f"{base}: geometric mean of base / tconv {mean:.3f} over {len(changes)} cases")
    return [*lines, *_absences(result, timed), *_machine(result, timed)]


def _about(result: Result, timed: Sequence[dict[str, Any]]) -> list[str]:
    """Lines that say what was measured, and how it was checked."""
    stock = framework_of(result)
    dtypes = list(dict.fromkeys(case.get("dtype", "float32") for case in timed)) or ["float32"]
    text = f"{_MEASURED[result['kind']]}{' and '.join(dtypes)} on the CPU, medians in ms; gain is {stock} / tconv"
    for side in _others(result) if stock != "torch" else ():
        text += f", {side} is {stock} / {side}"
    if "gate" in result:
        return [f"{text}; {result['gate']}."]
    allowed = f", {result['allowed']:g} is allowed" if any(BYTES[dtype] > 2 for dtype in dtypes) else ""
    lines = [f"{text}; difference is of the largest value{allowed}."]
    if short := [dtype for dtype in dtypes if BYTES[dtype] == 2]:
        lines.append(
            f"{' and '.join(short)} by autocast; difference is from the model in float32, {AUTOCAST} times PyTorch's "
            "own is allowed"
        )
    return lines


def _means(timed: Sequence[dict[str, Any]], stock: str, others: Sequence[str]) -> list[str]:
    """Lines with the geometric mean, the count and the smallest of the gains, of tconv and of the other sides."""
    gains = [(gain_of(case, stock).value, case["title"]) for case in timed]
    mean = geometric_mean(gain for gain, _ in gains)
    lines = []
    if mean is not None and len(gains) > 1:
        lines.append(f"geometric mean of the gains {mean:.2f}; smallest {min(gains)[0]:.2f}")
    if stock == "torch":
        return lines
    behind = sorted(one for one in gains if one[0] < 1)
    lines = [f"{line}; at least 1 on {len(gains) - len(behind)} of {len(gains)}" for line in lines]
    if behind:
        lines.append("tconv is slower: " + ", ".join(f"{name} {gain:.2f}" for gain, name in behind))
    for side in others:
        both = [case for case in timed if side in case["samples"]]
        for text, above, below in ((f"{stock} / {side}", stock, side), (f"{side} / tconv", side, OWN)):
            ratios = [(ratio(case["samples"][above], case["samples"][below]).value, case["title"]) for case in both]
            mean = geometric_mean(value for value, _ in ratios)
            ahead, (least, name) = sum(value >= 1 for value, _ in ratios), min(ratios)
            count = f"at least 1 on {ahead} of {len(ratios)}"
            lines.append(f"{text}: geometric mean {mean:.2f}; {count}; smallest {least:.2f} ({name})")
    return lines


def _absences(result: Result, timed: Sequence[dict[str, Any]]) -> list[str]:
    """Lines with what was not run, and why; the same reason of several cases stands once."""
    lines = [f"not run: {_name(case)}: {case['reason']}" for case in result["cases"] if "reason" in case]
    lines += [f"not run: {case['base']} ({case['name']})" for case in result["cases"] if "base" in case]
    reasons: dict[str, list[str]] = {}
    for case in timed:
        for side, reason in case.get("absent", {}).items():
            reasons.setdefault(f"{side}: {reason}", []).append(_name(case))
    return lines + [f"not run: {reason} ({'; '.join(names)})" for reason, names in reasons.items()]


def _name(case: dict[str, Any]) -> str:
    dtype = "" if case.get("dtype", "float32") == "float32" else case["dtype"]
    return ", ".join(filter(None, (case["name"], dtype, case.get("backend", ""))))


def _machine(result: Result, timed: Sequence[dict[str, Any]]) -> list[str]:
    versions: dict[str, str] = {}
    for case in timed:
        versions |= case["versions"]
    m = result["machine"]
    lines = [
        f"{result['date']}: {m['cpu']}, {m['cores']} cores, {result['threads']} threads; {m['platform']}, "
        f"Python {m['python']}; {', '.join(f'{name} {version}' for name, version in sorted(versions.items()))}"
    ]
    if (m.get("load") or 0) > table.BUSY * m["cores"]:
        lines.append(f"the machine was busy: load {m['load']} on {m['cores']} cores before the run")
    if not result["complete"]:
        lines.append("interrupted: some cases are missing")
    return lines


def _between_layouts(timed: Sequence[dict[str, Any]], stock: str) -> list[str]:
    """Lines that compare the gain with channels last to that with channels first, of each case that has both."""
    gains = {
        (case["name"], case.get("dtype"), case.get("backend", ""), case.get("layout")): gain_of(case, stock)
        for case in timed
    }
    return [
        f"{', '.join(filter(None, key))}: the gain with channels last is {gain.value / first.value:.2f} of that with "
        "channels first"
        for (*key, layout), gain in gains.items()
        if layout == "last" and (first := gains.get((key[0], key[1], key[2], "first")))
    ]


def wrong(result: Result) -> bool:
    """Return True if outputs differed by more than is allowed, or the whole interval of a gain is below 0.95."""
    for case in result["cases"]:
        if case.get("reason", "").startswith("wrong"):
            return True
        if result["kind"] == "overhead":  # tconv's call is known to take some microseconds longer
            continue
        if "samples" in case and gain_of(case, framework_of(result)).high < WORST:
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


def to_html(result: Result) -> str:
    """Return the report as one HTML page."""
    heads, cells = rows(result)
    part = html_report.table_part(table.Table(f"{framework_of(result)}, {result['kind']}", heads, cells))
    return html_report.page([part, *(f"<p>{escape(line)}</p>" for line in notes(result))])


def main(arguments: Sequence[str]) -> int:
    """Print the Markdown of a result file; return the exit code."""
    try:
        if len(arguments) != 1:
            raise ArgumentError("one result file is needed. Write python -m tconv.bench.framework_table RESULT.json")
        print(markdown(read(Path(arguments[0]))))
    except TconvError as error:
        print(f"tconv: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
