"""A check as one self-contained HTML page: the overview, the traps with a picture each, the targets, every layer.

Nothing is loaded from a network and no script runs. It can be read on a phone, in the dark, and on paper.
"""

from __future__ import annotations

from pathlib import Path

from tconv.checking.pages import html_parts as html
from tconv.checking.pages import overview
from tconv.checking.pages.html_layer import layer_section, trap_tag
from tconv.checking.pages.target_summary import target_summaries
from tconv.checking.pages.trap_pictures import trap_picture
from tconv.checking.report import Check

_MOST_ROWS = 400
_MOST_SECTIONS = 200
"""Layers with a section of their own; of more, those with the gravest traps."""
_ROOM_FOR_PICTURES = 600_000
"""Characters of sections after which layers have no more pictures."""

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""Content security policy: a second wall behind the escaping."""


def to_html(check: Check, version: str = "") -> str:
    """Return a check as the text of an HTML file.

    >>> from tconv.checking.report import Check
    >>> to_html(Check("model.onnx", "ONNX", ())).splitlines()[0]
    '<!doctype html>'

    `version` is that of tconv. Texts of the model file are escaped and made printable. The page stays below about 1 MB:
    of models with many layers, those with the gravest traps have pictures, and beyond 200 layers only they have a
    section.
    """
    title = html.name(overview.source(check))
    policy = f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
    phone = '<meta name="viewport" content="width=device-width, initial-scale=1">'
    return "\n".join(
        [
            "<!doctype html>",
            f'<html lang="en"><head><meta charset="utf-8">{policy}{phone}',
            f"<title>{title}: check</title><style>{_style()}</style></head><body>",
            f"<h1>{title}</h1><p>{html.text(overview.about(check), 400)}</p>",
            f"<p><b>{html.text(overview.counts(check))}</b></p>",
            *(f'<p class="soft">{html.text(note)}</p>' for note in overview.notes(check, 40)),
            _run(check),
            _overview(check),
            _traps(check),
            _targets(check),
            _layers(check),
            f'<p class="soft">Written by tconv {html.text(version)}, command check.</p></body></html>\n',
        ]
    )


def _style() -> str:
    return Path(__file__).with_name("page.css").read_text("utf-8")


def _run(check: Check) -> str:
    if check.run is None:
        return ""
    if check.run.error:
        return f"<p>Not run: {html.text(check.run.error)}</p>"
    inputs = ", ".join(f"{html.name(name)} {overview.times(shape)}" for name, shape in check.run.inputs.items())
    compared = overview.agreement(check)
    text = (
        html.text(check.run.runtime, 80) + (f" with {inputs}" if inputs else "") + (f"; {compared}" if compared else "")
    )
    return f'<p class="soft">Run on {text}.</p>'


_COLUMNS = (
    ("", "n"),
    ("layer, traps", "name"),
    ("kernel", "tight"),
    ("stride", "n"),
    ("groups", "n"),
    ("channels", "tight"),
    ("sizes", "tight"),
    ("multiply-adds", "n"),
    ("overlap", "tight"),
    ("checkerboard", "n"),
)


def _overview(check: Check) -> str:
    if not check.layers:
        return ""
    shown = sorted(overview.worst_first(check)[:_MOST_ROWS])
    rows = []
    for index in shown:
        layer = check.layers[index]
        kinds = dict.fromkeys((trap.severity, trap.key) for trap in layer.traps)
        rows.append(
            [
                str(index + 1),
                f'<a href="#layer-{index + 1}">{html.name(layer.name, 80)}</a>'
                + (f'<br><span class="soft">{html.text(form)}</span>' if (form := overview.form(layer)) else "")
                + "".join(f"<br>{trap_tag(severity, key)}" for severity, key in kinds),
                html.text(overview.kernel(layer)),
                html.text(overview.stride(layer)),
                html.text(overview.groups(layer)),
                html.text(overview.channels(layer)),
                html.text(overview.sizes(layer), 120),
                "<br>".join(map(html.text, overview.cost(layer))),
                html.text(overview.overlap(layer)),
                html.text(overview.checkerboard(layer)),
            ]
        )
    left = len(check.layers) - len(shown)
    more = f'<p class="soft">{left} more layers, less grave, are not shown.</p>' if left else ""
    caption = (
        '<p class="soft">Overlap: taps that meet in an output are as many in every phase (even), or not '
        "(uneven, gaps). Checkerboard: share of the output that is a pattern of phases for an input that is "
        "constant over space, computed from the weights.</p>"
    )
    chosen = f'<p class="soft">{html.text(overview.chosen(check), 800)}</p>' if overview.chosen(check) else ""
    chosen += f'<p class="soft">{html.text(overview.peaks(check), 400)}</p>' if overview.peaks(check) else ""
    return f"<h2>Layers at a glance</h2>{html.table(_COLUMNS, rows)}{more}{chosen}{caption}"


def _traps(check: Check) -> str:
    groups = overview.trap_groups(check)
    if not groups:
        return ""
    parts, seen = [], set[str]()
    for group in groups:
        anchor = "" if group.key in seen else f' id="trap-{html.name(group.key)}"'
        picture = "" if group.key in seen else trap_picture(group.key, group.example)
        seen.add(group.key)
        sentences = "".join(
            f"<li>{_links(numbers)}{html.text(sentence)}</li>" for sentence, numbers in group.sentences[:20]
        )
        left = len(group.sentences) - 20
        more = f"<li>and {left} more, each in its layer's section</li>" if left > 0 else ""
        rows = [
            ("who", html.text(group.who)),
            ("instead", "<br>".join(html.text(line) for line in group.instead[:5])),
            ("source", html.text(group.source)),
        ]
        title = html.text(group.title, 200)
        meaning = f"<p>{html.text(group.meaning)}</p>" if group.meaning else ""
        kind = overview.SEVERITY_TITLES[group.severity]
        parts.append(
            f'<article{anchor}><h3><span class="tag {group.severity}">{kind}</span> {title} '
            f'<span class="soft">{html.name(group.key)}</span></h3><div class="beside"><div>{meaning}'
            f"<ul>{sentences}{more}</ul>{html.facts(rows)}</div>{picture}</div></article>"
        )
    return "<h2>Traps</h2>" + "\n".join(parts)


def _links(numbers: tuple[int, ...]) -> str:
    links = ", ".join(f'<a href="#layer-{number}">{number}</a>' for number in numbers[:12])
    left = len(numbers) - 12
    return f"layer{'s' * (len(numbers) > 1)} {links}{f' and {left} more' if left > 0 else ''}: " if numbers else ""


def _targets(check: Check) -> str:
    summaries = target_summaries(check)
    if not summaries:
        return ""
    rows = []
    for summary in summaries:
        kind = "good" if not summary.refused and not summary.unknown else "refused" if summary.refused else "soft"
        broken = (*summary.limits, *summary.open_limits)
        limits = "".join(f"<li>{_links(numbers)}{html.text(limit)}</li>" for limit, _, numbers in broken)
        sources = "; ".join(dict.fromkeys(source for _, source, _ in broken if source))
        plans = "".join(
            f"<li>{_links(numbers)}{html.text(summary.plan_text(steps, reason))}</li>"
            for steps, reason, numbers in summary.plans
            if steps or reason
        )
        rows.append(
            [
                html.text(summary.name),
                f'<b class="{kind}">{html.text(summary.verdict)}</b>',
                f'<ul>{limits}</ul><p class="soft">{html.text(sources)}</p>' if limits else "",
                f'<p class="phone">rewrite that ends it</p><ul>{plans}</ul>' if plans else "",
            ]
        )
    heads = (("target", "tight"), ("verdict", "tight"), ("limits", "name"), ("rewrite that ends it", "name"))
    return f"<h2>Targets</h2>{html.table(heads, rows, 'stacked')}"


def _layers(check: Check) -> str:
    if not check.layers:
        return ""
    order = overview.worst_first(check)[:_MOST_SECTIONS]
    sections, room = {}, _ROOM_FOR_PICTURES
    for index in order:
        sections[index] = layer_section(check.layers[index], index + 1, with_pictures=room > 0)
        room -= len(sections[index])
    left = len(check.layers) - len(sections)
    note = f'<p class="soft">{left} more layers, less grave, are in the JSON report.</p>' if left else ""
    small = '<p class="soft">The less grave layers have no pictures, as the page would get too large.</p>'
    body = "\n".join(sections[index] for index in sorted(sections))
    return f"<h2>Every layer</h2>{body}{note}{small if room <= 0 else ''}"
