"""A result as one self-contained HTML page: a bar per peer and layer, and the tables."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from tconv.bench import summary, table
from tconv.bench.dtypes import title
from tconv.bench.summary import Line, Result

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; color: #222 }
table { border-collapse: collapse; margin: 1rem 0 2rem; display: block; overflow-x: auto }
caption { text-align: left; font-weight: 600; padding: .3rem 0 }
td, th { padding: .15rem .6rem; text-align: right; border-bottom: 1px solid #ddd; white-space: nowrap }
td:first-child, th:first-child { text-align: left }
.bars { display: grid; grid-template-columns: 12rem 1fr 6rem; gap: .1rem .6rem; font-size: .85rem }
.bars b { grid-column: 1 / -1; margin-top: .7rem }
.bars i { display: block; height: .9rem; margin-top: .2rem; background: #b8c4d6 }
.bars i.own { background: #d9622b }
.fault { color: #a00 }
@media (prefers-color-scheme: dark) { body { background: #181818; color: #ddd } td, th { border-color: #444 } }
"""
_WIDEST = 8.0  # times the bound; longer bars are cut there


def to_html(result: Result) -> str:
    """Return the page."""
    tables = table.tables(result)
    bars = "\n".join(_bars(line) for line in summary.lines(result, summary.headline(result)))
    return page(
        [
            *(f'<p class="fault">{escape(line)}</p>' for line in summary.faults(result)),
            *(table_part(part) for part in tables[:1]),
            f'<h2>Times the bound, cut at {_WIDEST:.0f}</h2><div class="bars">{bars}</div>',
            *(table_part(part) for part in tables[1:]),
            *(f"<p>not run: {escape(line)}</p>" for line in summary.absences(result)),
            *(f"<p>{escape(line)}</p>" for line in table.machine(result)),
        ]
    )


def page(parts: Sequence[str]) -> str:
    """Return a page of these parts."""
    head = f'<meta charset="utf-8"><title>tconv bench</title><style>{_STYLE}</style>'
    return "\n".join(
        [
            "<!doctype html>",
            f'<html lang="en"><head>{head}</head><body><h1>tconv bench</h1>',
            *parts,
            "</body></html>\n",
        ]
    )


def _bars(line: Line) -> str:
    ratios = {name: over for name in (*line.samples, *line.elsewhere) if (over := line.over_bound(name)) is not None}
    rows = [f"<b>{escape(line.layer)}, {escape(title(line.dtype, line.layout))}</b>"]
    for name in sorted(ratios, key=lambda name: ratios[name]):
        kind = ' class="own"' if summary.is_own(name) else ""
        width = 100 * min(ratios[name], _WIDEST) / _WIDEST
        rows.append(
            f'<span>{escape(name)}</span><i{kind} style="width: {width:.1f}%"></i><span>{ratios[name]:.2f}</span>'
        )
    return "\n".join(rows)


def table_part(part: table.Table) -> str:
    """Return a table as HTML."""
    heads = "".join(f"<th>{escape(head)}</th>" for head in part.heads)
    rows = "\n".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in part.rows)
    return f"<table><caption>{escape(part.title)}</caption><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"
