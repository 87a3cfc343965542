"""Table of `tconv check` for terminals: the layers, the traps below them, and the targets.

Texts of the model file are made printable, and rich never reads them as markup.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable

from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from tconv._memory import si
from tconv.checking.layer_check import LayerCheck
from tconv.checking.pages import overview
from tconv.checking.pages.printable_text import printable, short_name
from tconv.checking.pages.target_summary import TargetSummary, target_summaries
from tconv.checking.report import Check
from tconv.checking.trap import SEVERITIES, Severity
from tconv.cli.name_cell import NameCell

MOST_ROWS = 24
"""Layers in the table; of more, the worst are shown, the worst first."""
_MOST_SENTENCES = 5
_VERDICTS = {True: "takes it", False: "refuses it", None: "not known"}
_STYLES: dict[Severity, str] = {"wrong": "bold red", "refused": "bold yellow", "slow": "yellow", "note": "cyan"}


def print_table(check: Check) -> None:
    """Print a check to standard output, as wide as the terminal is; 80 columns in a pipe, without colours."""
    _print(_parts(check))


def _print(parts: Iterable[RenderableType]) -> None:
    console = Console(file=sys.stdout, highlight=False, markup=False, emoji=False)
    if console.is_terminal:
        for part in parts:
            console.print(part)
        return
    with console.capture() as captured:  # rich fills lines with spaces, which a file does not need
        for part in parts:
            console.print(part)
    print("\n".join(line.rstrip() for line in captured.get().splitlines()))


def print_layer(layer: LayerCheck, number: int, way: str = "") -> None:
    """Print one layer in full: every number, its traps, its targets, and the layer in other frameworks.

    `way` is that of `way_to_rewrite`.
    """
    rows = [(title, _text(words)) for title, words in _layer_facts(layer)]
    rows += [("trap", Text.assemble(_key(trap.severity, trap.key), ": ", printable(trap.what))) for trap in layer.traps]
    for name, answer in layer.targets.items():
        rows.append((name, _text(_VERDICTS[answer.accepted])))
        rows += [
            ("", _text(limit.get("text", "")))
            for limit in (*(() if answer.plan else answer.limits), *answer.open_limits)
        ]
        rows += [("plan", Text(printable(answer.plan, keep="\n")))] if answer.plan else []
        rows += [("", _text(f"taken{way.removeprefix(',')}"))] if answer.steps and way else []
    rows += [("note", _text(note)) for note in overview.notes(layer, 40)]
    _print([_facts([(f"layer {number}", Text(short_name(layer.name), style="bold")), *rows])])
    if layer.calls:
        _print([_heading("The same layer in each framework, with x and weight in its layouts")])
    for framework, call in layer.calls.items():  # as it is, because wrapped code cannot be copied
        code = printable(call.code, 20_000, keep="\n") or "# cannot be written"
        lines = [*code.split("\n"), *(f"# {printable(reason)}" for reason in call.reasons)]
        print("\n".join([f"# {framework}", *lines, ""]))


def _parts(check: Check) -> Iterable[RenderableType]:
    yield _facts(
        [
            ("model", _text(f"{short_name(overview.source(check), 400)}: {overview.about(check)}")),
            ("layers", Text(overview.counts(check))),
            *(("note", _text(note)) for note in overview.notes(check, 8)),
            *([("run", _text(_run(check)))] if check.run is not None else []),
        ]
    )
    if check.layers:
        yield Text()
        yield from _layer_table(check)
    if groups := overview.trap_groups(check):
        yield _heading("Traps")
        for group in groups:
            yield _trap(group)
    if check.targets:
        yield _heading("Targets")
        # the shortest answers first, so that they stand in lines below each other
        yield from map(_target, sorted(target_summaries(check), key=lambda each: bool(each.limits or each.open_limits)))


def _run(check: Check) -> str:
    assert check.run is not None
    if check.run.error:
        return f"not run: {check.run.error}"
    inputs = ", ".join(f"{short_name(name)} {overview.times(shape)}" for name, shape in check.run.inputs.items())
    text = f"on {check.run.runtime}" + (f" with {inputs}" if inputs else "")
    compared = overview.agreement(check)
    return f"{text}; {compared}" if compared else text


# -- layers ------------------------------------------------------------------------------------------------------


def _layer_table(check: Check) -> Iterable[RenderableType]:
    order = overview.worst_first(check)
    shown = order[:MOST_ROWS] if len(order) > MOST_ROWS else sorted(order)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False, expand=False)
    timed = any(layer.timing is not None for layer in check.layers)
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("layer, traps", overflow="fold", min_width=18)
    table.add_column("kernel", overflow="fold", min_width=9)
    table.add_column("channels, sizes", overflow="fold", min_width=15)
    table.add_column("MACs, time" if timed else "MACs", justify="right", no_wrap=True)
    table.add_column("checkerboard", overflow="fold", min_width=12, max_width=14)
    for index in shown:
        layer = check.layers[index]
        cells: list[RenderableType] = [
            Text(str(index + 1)),
            NameCell(_name_and_traps(layer)),
            Text(_kernel(layer)),
            Text(f"{overview.channels(layer)}\n{printable(overview.sizes(layer), 60)}"),
            Text("\n".join(overview.cost(layer))),
            Text(f"{overview.checkerboard(layer)}\n{_taps(layer)}"),
        ]
        table.add_row(*cells)
    yield table
    for remark in filter(None, (overview.chosen(check), overview.peaks(check))):
        yield Group(Text(), _text(remark))
    if left := len(order) - len(shown):
        rest = [check.layers[index] for index in order[MOST_ROWS:]]
        with_traps = sum(bool(layer.traps) for layer in rest)
        traps = f"{with_traps} of them with traps, which are below" if with_traps else "none of them with a trap"
        yield Text(f"The worst {MOST_ROWS} are shown, the worst first; {left} more, {traps}. --json has all.")


def _name_and_traps(layer: LayerCheck) -> Text:
    text = Text(short_name(layer.name, 60), style="bold")
    if form := overview.form(layer):
        text.append(f"\n{form}", style="not bold dim")
    keys = dict.fromkeys((trap.severity, trap.key) for trap in layer.traps)
    for severity, key in sorted(keys, key=lambda pair: SEVERITIES.index(pair[0])):
        if severity != "note":
            text.append("\n")
            text.append(printable(key, 60), style=f"not bold {_STYLES[severity]}")
    if notes := sum(severity == "note" for severity, _ in keys):
        text.append(f"\n{notes} note{'s' * (notes != 1)}", style=f"not bold {_STYLES['note']}")
    return text


def _kernel(layer: LayerCheck) -> str:
    lines = [overview.kernel(layer), f"stride {overview.stride(layer)}"]
    groups = overview.groups(layer)
    lines += [groups if groups == "depthwise" else f"{groups} groups"] if groups not in ("1", "?") else []
    lines += [f"dilation {overview.dilation(layer)}"] if overview.dilation(layer) not in ("1", "?") else []
    return "\n".join(lines)


def _taps(layer: LayerCheck) -> str:
    kind = overview.overlap(layer)
    if kind == "?":
        return ""
    return {"even": "even overlap", "uneven": f"taps {overview.taps(layer, 6)}", "gaps": "outputs without a tap"}[kind]


def _layer_facts(layer: LayerCheck) -> Iterable[tuple[str, str]]:
    own, g = layer.layer, layer.geometry
    yield "place", f"{own.op}, {own.place}"
    if own.form != "transposed convolution":
        yield "form", own.form
    if g is not None:
        dilation = f", dilation {overview.dilation(layer)}" if max(g.dilation) > 1 else ""
        yield "kernel", f"{overview.kernel(layer)}, stride {overview.stride(layer)}{dilation}, groups {g.groups}"
        origin = f", from {own.crop_origin}" if own.crop_origin else ""
        yield "crop", f"{', '.join(f'({lo}, {hi})' for lo, hi in g.crop)} in front and behind, per axis{origin}"
    if layer.shapes is not None:
        yield "shapes", f"{overview.times(layer.shapes.x)} -> {overview.times(layer.shapes.y)}, {own.dtype}"
        if layer.shapes.chosen:
            yield "", f"the numbers below are for {', '.join(layer.shapes.chosen)}"
    if own.weight is not None:
        origin = "" if own.weight.origin == "constant" else f", computed by {own.weight.origin}"
        yield "weight", f"{overview.times(own.weight.shape)} {own.weight.dtype}{origin}"
    if layer.macs is not None:
        exact, border = layer.macs.exact, layer.macs.border_free
        yield "MACs", f"{exact:,}" + (f"; {border:,} if cropped outputs are computed, too" if border != exact else "")
    if (size := layer.nbytes) is not None:
        parts = f"x {si(size.x, 'B')}, y {si(size.y, 'B')}, weight {si(size.weight, 'B')}"
        yield "bytes", f"{si(size.total, 'B')}: {parts}"
    if layer.timing is not None:
        yield "time", overview.timing(layer)
    if g is not None:
        field = overview.times(layer.receptive_field)
        yield "overlap", f"{overview.taps(layer)} taps per phase; an output depends on {field} inputs"
    if (board := layer.checkerboard) is not None:
        share = "" if board.score is None else f"{overview.percent(board.score)} of the output is a pattern of phases"
        yield "pattern", share or f"not measured: {board.reason}"
    if (found := layer.agreement) is not None:
        gap = "another shape" if found.difference is None else f"{found.difference:.2g} of the output"
        yield "agreement", f"{found.runtime}: {gap}{'' if found.agrees else ', DIFFERS from the definition'}"


# -- traps and targets -------------------------------------------------------------------------------------------


def _trap(group: overview.TrapGroup) -> RenderableType:
    title = Text.assemble(
        _key(group.severity, overview.SEVERITY_TITLES[group.severity]), "  ", (printable(group.key), "bold")
    )
    title.append(f"  {overview.layer_list(group.layers)}")
    rows = [("what", _text(group.meaning))] if group.meaning else []
    for sentence, numbers in group.sentences[:_MOST_SENTENCES]:
        where = f"{overview.layer_list(numbers)}: " if len(group.sentences) > 1 and numbers else ""
        rows.append(("here", _text(where + printable(sentence))))
    if left := len(group.sentences) - _MOST_SENTENCES:
        rows += [("", Text(f"and {left} more; --json has all"))] if left > 0 else []
    rows.append(("who", _text(group.who)))
    rows += [("instead", _text(line)) for line in group.instead[:_MOST_SENTENCES]]
    rows.append(("source", _text(group.source)))
    return Group(Text(), title, Padding(_facts(rows), (0, 0, 0, 2)))


def _target(summary: TargetSummary) -> RenderableType:
    style = "bold yellow" if summary.refused else "bold green" if not summary.unknown else "bold"
    title = Text.assemble((printable(summary.name, 60), "bold"), "  ", (summary.verdict, style))
    rows = [
        ("limit", _text(f"{overview.layer_list(numbers)}: {printable(limit)}")) for limit, _, numbers in summary.limits
    ]
    rows += [
        ("open", _text(f"{overview.layer_list(numbers)}: {printable(limit)}"))
        for limit, _, numbers in summary.open_limits
    ]
    for steps, reason, numbers in summary.plans:
        if words := summary.plan_text(steps, reason):
            rows.append(("rewrite", _text(f"{overview.layer_list(numbers)}: {printable(words)}")))
    sources = dict.fromkeys(source for _, source, _ in (*summary.limits, *summary.open_limits) if source)
    rows += [("source", _text("; ".join(sources)))] if sources else []
    return Group(Text(), title, Padding(_facts(rows), (0, 0, 0, 2))) if rows else title


# -- pieces ------------------------------------------------------------------------------------------------------


def _text(words: object) -> Text:
    return Text(printable(words))


def _key(severity: Severity, words: str) -> tuple[str, str]:
    return words, _STYLES[severity]


def _heading(words: str) -> RenderableType:
    return Padding(Text(words, style="bold underline"), (1, 0, 0, 0))


def _facts(rows: Iterable[tuple[str, Text]]) -> Table:
    """Return labels and texts in two columns; long texts are wrapped in their column."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="dim", min_width=7)
    table.add_column(overflow="fold", ratio=1)
    for label, words in rows:
        table.add_row(Text(printable(label, 40)), words)
    return table
