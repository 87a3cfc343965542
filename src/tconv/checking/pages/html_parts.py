"""Pieces of HTML: every text goes through `text`, which escapes it."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from tconv.checking.pages.printable_text import LONGEST_NAME, LONGEST_TEXT, printable, short_name


def text(value: object, longest: int = LONGEST_TEXT) -> str:
    r"""Return a text of a file as HTML.

    >>> text('<script>"\x1b')
    '&lt;script&gt;&quot;\\x1b'
    """
    return escape(printable(value, longest))


def name(value: object, longest: int = LONGEST_NAME) -> str:
    """Return a name of a file as HTML."""
    return escape(short_name(value, longest))


def code(value: str) -> str:
    """Return lines of code as HTML; they may be long."""
    return f"<pre><code>{escape(printable(value, 20_000, keep=chr(10)))}</code></pre>"


def facts(rows: Iterable[tuple[str, str]]) -> str:
    """Return a list of (label, HTML); rows without a value are left out."""
    return f"<dl>{''.join(f'<dt>{label}</dt><dd>{value}</dd>' for label, value in rows if value)}</dl>"


def table(heads: Iterable[tuple[str, str]], rows: Iterable[Iterable[str]], style: str = "wide") -> str:
    """Return a table from (title, class) of each column, and rows of HTML.

    On a phone a "wide" one is scrolled, and the cells of a "stacked" one stand below each other.
    """
    columns = list(heads)

    def cell(kind: str, style: str, value: str) -> str:
        return f'<{kind} class="{style}">{value}</{kind}>' if style else f"<{kind}>{value}</{kind}>"

    head = "".join(cell("th", style, title) for title, style in columns)
    body = "\n".join(
        f"<tr>{''.join(cell('td', style, value) for (_, style), value in zip(columns, row, strict=True))}</tr>"
        for row in rows
    )
    return (
        f'<div class="scroll"><table class="{style}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def figure(picture: str, caption: str) -> str:
    """Return a picture with a caption, both HTML; nothing without a picture."""
    return f"<figure>{picture}<figcaption>{caption}</figcaption></figure>" if picture else ""
