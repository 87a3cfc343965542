"""The tables of a result: as cells for a terminal or HTML, as plain text, and as Markdown.

    python -m tconv.bench.table RESULT.json [MODE]

prints the Markdown of `benchmarks/README.md`; MODE is dropped (default), out or kept, or `brief` for the table of the
README.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from tconv.bench import result_file, summary, timing
from tconv.bench.dtypes import LAYOUTS, title
from tconv.bench.row_groups import BASELINE
from tconv.bench.statistics import Estimate, geometric_mean
from tconv.bench.summary import Block, Line, Mean, Result
from tconv.errors import ArgumentError, TconvError

BUSY = 0.25  # load per core above which other programs were computing


class Table(NamedTuple):
    """A title, column heads, and rows of cells; the first column is text, the others are numbers."""

    title: str
    heads: list[str]
    rows: list[list[str]]


def tables(result: Result) -> list[Table]:
    """Return all tables of a result: tconv against the best peer, the base, every peer's time, modes, means.

    Those of one block, which is a dtype and layout, stand together.
    """
    mode = summary.headline(result)
    found = summary.blocks(result, mode)
    parts = [table for block in found for table in (_best_peers(block, mode), _base(block, mode))]
    parts += [*(_times(result, block, mode) for block in found), _modes(result)]
    parts += [_means(result, dtype, layout) for dtype, layout, _ in found]
    return [table for table in parts if table.rows]


def _title(text: str, block: Block) -> str:
    return f"{title(block.dtype, block.layout)}: {text}"


def _best_peers(block: Block, mode: str) -> Table:
    heads = ["layer", "bound", "tconv", "95%", "x bound", "best peer", "ms", "best/tconv", "95%", "torch/tconv"]
    more: dict[str, Callable[[Line], Estimate | None]] = {
        "torch's best": lambda line: line.over(line.torch, line.own) if line.elsewhere else None,
        "any layout": lambda line: line.over(line.best_anywhere, line.own) if line.layout == "last" else None,
        "tconv/first": lambda line: line.over(line.own, f"{line.own} first") if line.layout == "last" else None,
        "tconv/f32": lambda line: line.over(line.own, BASELINE),
    }
    more = {head: ratio for head, ratio in more.items() if any(map(ratio, block.lines))}
    rows = []
    for line in block.lines:
        own, lead, best = line.estimate(line.own), line.over(line.best, line.own), line.best
        rows.append(
            [
                line.layer,
                number(line.bound),
                _median(own),
                _interval(own),
                number(line.over_bound(line.own)),
                best or "-",
                _median(line.estimate(best)) if best else "-",
                _median(lead),
                _interval(lead),
                _median(line.over("torch", line.own)),
                *(_median(ratio(line)) for ratio in more.values()),
            ]
        )
    text = f"ms, output {mode}; layers where tconv is behind the best peer first"
    return Table(_title(text, block), [*heads, *more], rows)


def _columns(result: Result, block: Block) -> list[str]:
    """Names of all that was timed in a block: tconv and its peers, also in layouts that have no block of their own."""
    timed = {name for line in block.lines for name in (*line.samples, *line.elsewhere) if line.estimate(name)}
    peers = list(result["peers"])
    names = [*peers[:1], BASELINE, *peers[1:]]
    shown = {layout for _, layout, _ in summary.blocks(result, summary.headline(result))}
    names = [
        column
        for name in names
        for column in (name, *(f"{name} {layout}" for layout in LAYOUTS if layout not in shown))
    ]
    return [name for name in names if name in timed]


def _times(result: Result, block: Block, mode: str) -> Table:
    names = _columns(result, block)
    rows = [[line.layer, *(_median(line.estimate(name)) for name in names)] for line in block.lines]
    return Table(_title(f"every peer, ms, output {mode}", block), ["layer", *names], rows if names else [])


def _modes(result: Result) -> Table:
    """Time of tconv in each mode, and its lead over the best peer."""
    cells: dict[str, list[str]] = {}
    for mode in _measured(result):
        found = summary.blocks(result, mode)
        for block in found:
            for line in block.lines:
                label = line.layer if len(found) == 1 else f"{line.layer}, {line.dtype} {line.layout}"
                cells.setdefault(label, []).extend([_median(line.estimate(line.own)), number(line.lead)])
    heads = [head for mode in _measured(result) for head in (mode, "best/tconv")]
    return Table("tconv by mode, ms", ["layer", *heads], [[layer, *row] for layer, row in cells.items()])


def _means(result: Result, dtype: str, layout: str) -> Table:
    """One row per mean of a block, one column per mode."""
    columns = {}
    for mode in _measured(result):
        for block in summary.blocks(result, mode):
            if (block.dtype, block.layout) == (dtype, layout):
                cells = {
                    mean.name: f"{number(mean.value)} ({_spread(mean)})"
                    for mean in summary.means(block.lines, _columns(result, block))
                }
                cells["layers ahead of the best peer"] = "{} of {}".format(*summary.ahead(block.lines))
                columns[mode] = cells
    names = list(dict.fromkeys(name for cells in columns.values() for name in cells))
    rows = [[name, *(cells.get(name, "-") for cells in columns.values())] for name in names]
    text = "geometric means by mode (number of layers; of ratios to tconv those of at least 1, and the smallest)"
    return Table(f"{title(dtype, layout)}: {text}", ["", *columns], rows)


def _spread(mean: Mean) -> str:
    if mean.name.partition(" / ")[2].startswith("tconv"):
        return f"{mean.ahead} of {mean.layers}, {number(mean.least)}"
    return str(mean.layers)


def _base(block: Block, mode: str) -> Table:
    rows = []
    for line in block.lines:
        change = line.over(line.base, line.own)
        if line.base and change:
            base, own = line.estimate(line.base), line.estimate(line.own)
            rows.append([line.layer, _median(base), _median(own), _median(change), _interval(change)])
    base_name = block.lines[0].base or ""
    text = f"against {base_name}, ms, output {mode}"
    return Table(_title(text, block), ["layer", "base", "tconv", "base/tconv", "95%"], rows)


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
        *([f"each layer is followed by {result['activation']}"] if result.get("activation") else []),
        *([f"instructions restricted to {result['isa']}"] if result.get("isa", "native") != "native" else []),
    ]
    dtypes = dict.fromkeys(entry["dtype"] for entry in result["layers"])
    peaks = {dtype: summary.measured_roofline(result, dtype) for dtype in dtypes}
    lines += [
        f"bound ({dtype}): {peak.gflops:.0f} GFLOP/s ({peak.source}), copy {peak.copy:.1f} GB/s; "
        "direct arithmetic, each byte moved once"
        for dtype, peak in peaks.items()
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
    parts += ["", *(f"not run: {line}" for line in summary.absences(result)), *summary.notes(result), ""]
    return "\n".join([*parts, *machine(result)])


def markdown(result: Result, mode: str | None = None) -> str:
    """Return a table for each block in Markdown: every peer's time in ms, ratios, and geometric means as last row."""
    mode = mode or summary.headline(result)
    found = summary.blocks(result, mode)
    parts = []
    for block in found:
        if len(found) > 1:
            parts += [f"### {title(block.dtype, block.layout)}", ""]
        parts += [*_markdown_table(block, _columns(result, block)), ""]
        won, of = summary.ahead(block.lines)
        parts += [f"tconv is ahead of the best peer of each layer (bold) on {won} of {of}; ms, output {mode}.  "]
        parts += [""] if len(found) > 1 else []
    return "\n".join([*parts, *(f"{line}  " for line in (*summary.notes(result), *machine(result)))]).rstrip()


def _markdown_table(block: Block, names: Sequence[str]) -> list[str]:
    """Rows of a block; the best peer is bold. Columns that only some blocks have are ratios within tconv."""
    more: dict[str, Callable[[Line], Estimate | None]] = {
        "tconv / first": lambda line: line.over(line.own, f"{line.own} first") if line.layout == "last" else None,
        "tconv / float32": lambda line: line.over(line.own, BASELINE),
    }
    more = {head: ratio for head, ratio in more.items() if any(map(ratio, block.lines))}
    heads = ["layer", "bound", *names, "best / tconv", "tconv / bound", *more]
    rows = []
    for line in block.lines:
        times = [_median(line.estimate(name)) for name in names]
        times = [f"**{cell}**" if name == line.best else cell for name, cell in zip(names, times, strict=True)]
        ratios = [number(line.lead), number(line.over_bound(line.own))]
        ratios += [_median(ratio(line)) for ratio in more.values()]
        rows.append([line.layer, number(line.bound), *times, *ratios])
    averages = {mean.name: mean.value for mean in summary.means(block.lines, names)}
    over = [number(geometric_mean(known(line.over_bound(name) for line in block.lines))) for name in names]
    inside = [geometric_mean(known(_value(ratio(line)) for line in block.lines)) for ratio in more.values()]
    last = [
        "geometric mean / bound",
        "1",
        *over,
        number(averages.get("best peer / tconv")),
        number(averages.get("tconv / bound")),
        *map(number, inside),
    ]
    return [f"| {' | '.join(row)} |" for row in (heads, ["---", *("---:" for _ in heads[1:])], *rows, last)]


def known(values: Iterable[float | None]) -> list[float]:
    """Return the values that are not None."""
    return [value for value in values if value is not None]


def _value(estimate: Estimate | None) -> float | None:
    return estimate.value if estimate else None


_BRIEF = {
    "PyTorch": ("torch",),
    "PyTorch, channels last": ("torch last", "torch_cl"),
    "TensorFlow": ("tensorflow last", "tensorflow"),
}
"""Peers of the README's table, by the names of their columns today and in November 2026."""


def brief(result: Result) -> str:
    """Return the table of the README in Markdown: for a few peers, and the fastest of all peers of each layer.

    It is about the first block; the others have a line each, against the fastest of all peers of the layout.
    """
    first, *others = summary.blocks(result, summary.headline(result))
    lines = first.lines
    peers = len(summary.others(result["peers"]))
    rivals = [
        (peer, [_first(line.over(name, line.own) for name in names) for line in lines])
        for peer, names in _BRIEF.items()
    ]
    rivals.append((f"the fastest of {peers} peers, layer by layer", [line.over(line.best, line.own) for line in lines]))
    for block in others:
        leads = [line.over(line.best, line.own) for line in block.lines]
        rivals.append((f"the fastest in {title(block.dtype, block.layout)}", leads))
    rows = [["compared with", "tconv is faster on", "its time / tconv's, geometric mean"], ["---", "---:", "---:"]]
    for name, ratios in rivals:
        values = known(_value(ratio) for ratio in ratios)
        faster = f"{sum(value >= 1 for value in values)} of {len(values)} layers"
        rows.append([name, faster, number(geometric_mean(values))])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _first(estimates: Iterable[Estimate | None]) -> Estimate | None:
    return next((estimate for estimate in estimates if estimate is not None), None)


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
