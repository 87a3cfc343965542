"""Shapes of the pictures of traps, as SVG: grids of cells, bars, labels. Colours are the page's style."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tconv.checking.pages import html_parts as html

WIDTH = 320
"""Width of a picture in its own units; texts are 11 of them high."""


def drawing(height: float, parts: Iterable[str], title: str) -> str:
    """Return a picture of a trap; `title` is read out where pictures cannot be seen."""
    return (
        f'<svg class="trap" viewBox="0 0 {WIDTH} {height:g}" role="img"><title>{html.text(title)}</title>'
        f"{''.join(parts)}</svg>"
    )


def label(x: float, y: float, words: str, style: str = "") -> str:
    """Return a text whose base line is at y; styles are small, middle, end, badtext."""
    return f'<text x="{x:g}" y="{y:g}" class="{style}">{html.text(words)}</text>'


def box(x: float, y: float, width: float, height: float, style: str) -> str:
    """Return a rectangle: cell, bad or empty."""
    return f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" class="{style}"/>'


def row(x: float, y: float, styles: Sequence[str], size: float = 14, words: Sequence[str] = ()) -> str:
    """Return cells side by side, with a word in each."""
    cells = "".join(box(x + size * place, y, size - 2, size - 2, style) for place, style in enumerate(styles))
    return cells + "".join(
        label(x + size * (place + 0.5) - 1, y + size / 2 + 3, word, "middle") for place, word in enumerate(words)
    )


def grid(x: float, y: float, rows: Sequence[Sequence[str]], size: float = 14) -> str:
    """Return rows of cells."""
    return "".join(row(x, y + size * number, styles, size) for number, styles in enumerate(rows))


def rule(x1: float, y1: float, x2: float, y2: float) -> str:
    """Return a thin line."""
    return f'<path class="rule" d="M{x1:g} {y1:g}L{x2:g} {y2:g}"/>'


def arrow(x1: float, y1: float, x2: float, y2: float | None = None) -> str:
    """Return an arrow to the right, level unless its end has a height of its own."""
    end = y1 if y2 is None else y2
    return (
        rule(x1, y1, x2, end)
        + f'<path class="rule" d="M{x2 - 5:g} {end - 4:g}L{x2:g} {end:g}L{x2 - 5:g} {end + 4:g}"/>'
    )


def bars(x: float, bottom: float, heights: Sequence[float], styles: Sequence[str], width: float) -> str:
    """Return bars side by side, of these heights."""
    return "".join(
        box(x + width * place, bottom - height, width - 3, height, style)
        for place, (height, style) in enumerate(zip(heights, styles, strict=True))
    )
