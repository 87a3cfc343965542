"""The tables of a result: as cells for a terminal or HTML, as plain text, and as Markdown.

    python -m tconv.bench.table RESULT.json [MODE]

prints the Markdown of `benchmarks/README.md`; MODE is dropped (default), out or kept, or `brief` for the table of the
README.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tconv.bench import result_file, summary, timing
from tconv.bench.statistics import Estimate, geometric_mean
from tconv.bench.summary import Line, Result
from tconv.errors import ArgumentError, TconvError

BUSY = 0.25  # load per core above which other programs were computing


class Table(NamedTuple):
    """A title, column heads, and rows of cells; the first column is text, the others are numbers."""

    title: str
    heads: list[str]
    rows: list[list[str]]


def tables(result: Result) -> list[Table]:
    """Return all tables of a result: tconv against the best peer, the base, every peer's time, modes, means."""
    mode = summary.headline(result)
    lines = summary.lines(result, mode)
    parts = [_best_peers(lines, mode), _times(result, lines, mode), _modes(result), _means(result)]
    if any(line.base for line in lines):
        parts.insert(1, _base(lines, mode))
    return [table for table in parts if table.rows]


def _best_peers(lines: Sequence[Line], mode: str) -> Table:
    heads = ["layer", "bound", "tconv", "95%", "x bound", "best peer", "ms", "best/tconv", "95%", "torch/tconv"]
    rows = []
    for line in lines:
        own, lead, best = line.estimate(line.own), line.over(line.best, line.own), line.best
        rows.append(
            [
                _label(line),
                number(line.bound),
                _median(own),
                _interval(own),
                number(line.over_bound(line.own)),
                best or "-",
                _median(line.estimate(best)) if best else "-",
                _median(lead),
                _interval(lead),
                _median(line.over("torch", line.own)),
            ]
        )
    return Table(f"ms, output {mode}; layers where tconv is behind the best peer first", heads, rows)


def _times(result: Result, lines: Sequence[Line], mode: str) -> Table:
    names = [name for name in result["peers"] if any(line.estimate(name) for line in lines)]
    rows = [[_label(line), *(_median(line.estimate(name)) for name in names)] for line in lines]
    return Table(f"every peer, ms, output {mode}", ["layer", *names], rows if names else [])


def _modes(result: Result) -> Table:
    """Time of tconv in each mode, and its lead over the best peer."""
    cells: dict[str, list[str]] = {}
    for mode in _measured(result):
        for line in summary.lines(result, mode):
            cells.setdefault(_label(line), []).extend([_median(line.estimate(line.own)), number(line.lead)])
    heads = [head for mode in _measured(result) for head in (mode, "best/tconv")]
    return Table("tconv by mode, ms", ["layer", *heads], [[layer, *row] for layer, row in cells.items()])


def _means(result: Result) -> Table:
    """One row per mean, one column per mode and precision."""
    columns = {}
    precisions = list(dict.fromkeys(entry["precision"] for entry in result["layers"]))
    for mode in _measured(result):
        for precision in precisions:
            lines = [line for line in summary.lines(result, mode) if line.precision == precision]
            cells = {
                mean.name: f"{number(mean.value)} ({mean.layers})" for mean in summary.means(lines, result["peers"])
            }
            cells["layers ahead of the best peer"] = "{} of {}".format(*summary.ahead(lines))
            columns[f"{mode} {precision}" if len(precisions) > 1 else mode] = cells
    names = list(dict.fromkeys(name for cells in columns.values() for name in cells))
    rows = [[name, *(cells.get(name, "-") for cells in columns.values())] for name in names]
    return Table("geometric means by mode (number of layers)", ["", *columns], rows)


def _base(lines: Sequence[Line], mode: str) -> Table:
    rows = []
    for line in lines:
        change = line.over(line.base, line.own)
        if line.base and change:
            base, own = line.estimate(line.base), line.estimate(line.own)
            rows.append([_label(line), _median(base), _median(own), _median(change), _interval(change)])
    base_name = lines[0].base or ""
    return Table(f"against {base_name}, ms, output {mode}", ["layer", "base", "tconv", "base/tconv", "95%"], rows)


def machine(result: Result) -> list[str]:
    """Return lines about the measurement: date, machine, versions, tolerance and bound."""
    m = result["machine"]
    versions: dict[str, str] = {}
    for answer in result["peers"].values():
        versions |= answer.get("versions", {})
    lines = [
        f"{result['date']} on {m['name']}: {m['cpu']}, {m['cores']} cores, {result['threads']} threads, "
        f"{result['device']}; {m['platform']}, Python {m['python']}",
        ", ".join(f"{name} {version}" for name, version in versions.items()),
        f"gate: {result['tolerance']}",
    ]
    precisions = dict.fromkeys(entry["precision"] for entry in result["layers"])
    peaks = {precision: summary.measured_roofline(result, precision) for precision in precisions}
    lines += [
        f"bound ({precision}): {peak.gflops:.0f} GFLOP/s ({peak.source}), copy {peak.copy:.1f} GB/s; "
        "direct arithmetic, each byte moved once"
        for precision, peak in peaks.items()
        if peak is not None
    ]
    if (m.get("load") or 0) > BUSY * m["cores"]:
        lines.append(
            f"the machine was busy: load {m['load']} on {m['cores']} cores before the run; measure again at rest"
        )
    if not result["complete"]:
        lines.append("interrupted: some layers or rounds are missing")
    return lines


def text(result: Result) -> str:
    """Return the whole report as plain text: faults, tables, absences, machine."""
    parts = summary.faults(result)
    for table in tables(result):
        parts += ["", table.title, *aligned([table.heads, *table.rows])]
    return "\n".join([*parts, "", *(f"not run: {line}" for line in summary.absences(result)), "", *machine(result)])


def markdown(result: Result, mode: str | None = None) -> str:
    """Return one table in Markdown: every peer's time in ms, ratios, and geometric means over the bound as last row."""
    mode = mode or summary.headline(result)
    lines = summary.lines(result, mode)
    names = [name for name in result["peers"] if any(line.estimate(name) for line in lines)]
    heads = ["layer", "bound", *names, "best / tconv", "tconv / bound"]
    rows = []
    for line in lines:
        times = [_median(line.estimate(name)) for name in names]
        times = [f"**{cell}**" if name == line.best else cell for name, cell in zip(names, times, strict=True)]
        ratios = [number(line.lead), number(line.over_bound(line.own))]
        rows.append([_label(line), number(line.bound), *times, *ratios])
    averages = {mean.name: mean.value for mean in summary.means(lines, names)}
    over = [number(averages.get(f"{'tconv' if lines and name == lines[0].own else name} / bound")) for name in names]
    last = [
        "geometric mean / bound",
        "1",
        *over,
        number(averages.get("best peer / tconv")),
        number(averages.get("tconv / bound")),
    ]
    cells = [heads, ["---", *("---:" for _ in heads[1:])], *rows, last]
    won, of = summary.ahead(lines)
    notes = [
        f"tconv is ahead of the best peer of each layer (bold) on {won} of {of}; ms, output {mode}.",
        *machine(result),
    ]
    return "\n".join([*(f"| {' | '.join(row)} |" for row in cells), "", *(f"{line}  " for line in notes)]).rstrip()


_BRIEF = {"torch": "PyTorch", "torch_cl": "PyTorch, channels last", "tensorflow": "TensorFlow"}
"""Peers of the README's table."""


def brief(result: Result) -> str:
    """Return the table of the README in Markdown: for a few peers, and the fastest of all peers of each layer."""
    lines = summary.lines(result, summary.headline(result))
    peers = len(summary.others(result["peers"]))
    rivals = [(title, [line.over(name, line.own) for line in lines]) for name, title in _BRIEF.items()]
    rivals.append((f"the fastest of {peers} peers, layer by layer", [line.over(line.best, line.own) for line in lines]))
    rows = [["compared with", "tconv is faster on", "its time / tconv's, geometric mean"], ["---", "---:", "---:"]]
    for title, ratios in rivals:
        values = [ratio.value for ratio in ratios if ratio is not None]
        faster = f"{sum(value >= 1 for value in values)} of {len(values)} layers"
        rows.append([title, faster, number(geometric_mean(values))])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _measured(result: Result) -> list[str]:
    """Modes of this result's device in which any peer was timed."""
    timed = {mode for e in result["layers"] for s in e["peers"].values() for mode in s.get("samples", {})}
    return [mode for mode in timing.MODES[result["device"]] if mode in timed]


def number(value: float | None) -> str:
    """Return a number with three significant digits, or a dash for None.

    >>> number(1234.5), number(0.012345), number(2.0), number(None)
    ('1234', '0.0123', '2.00', '-')
    """
    if value is None:
        return "-"
    return f"{value:.0f}" if value >= 100 else f"{value:#.3g}"


def _median(estimate: Estimate | None) -> str:
    return number(estimate.value if estimate else None)


def _interval(estimate: Estimate | None) -> str:
    return f"{number(estimate.low)}..{number(estimate.high)}" if estimate else "-"


def _label(line: Line) -> str:
    return line.layer if line.precision == "f32" else f"{line.layer} {line.precision}"


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows of cells as lines, the first column aligned to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [f"{row[0]:<{widths[0]}}", *(f"{c:>{w}}" for c, w in zip(row[1:], widths[1:], strict=True))]
        lines.append("  ".join(cells).rstrip())
    return lines


def main(arguments: Sequence[str]) -> int:
    """Print the Markdown of a result file; return the exit code."""
    try:
        if not 1 <= len(arguments) <= 2:
            raise ArgumentError("one result file is needed. Write python -m tconv.bench.table RESULT.json [MODE]")
        if set(arguments[1:]) - {"brief", *(mode for modes in timing.MODES.values() for mode in modes)}:
            raise ArgumentError(f"there is no mode {arguments[1]!r}. Write dropped, out, kept, eager, graph or brief")
        result = result_file.read(Path(arguments[0]))
        print(brief(result) if arguments[1:] == ["brief"] else markdown(result, *arguments[1:]))
    except TconvError as error:
        print(f"tconv: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
