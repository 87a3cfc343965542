"""The page docs/traps.md, from the registry of traps: `python tests/traps_page.py` writes it."""

from __future__ import annotations

from pathlib import Path

from tconv.checking.traps import TRAPS

PAGE = Path(__file__).parents[1] / "docs" / "traps.md"

HEAD = """# Traps

`tconv check` names what goes wrong with a transposed convolution, where, and what to write instead. Every trap has a key,
which `--fail-on` takes and `--json` and `--sarif` contain. This page is written from the code by
`python tests/traps_page.py`; a test compares them.

*wrong* is another result without an error; *refused* an error; *slow* costs time only; *note* is worth knowing, and
becomes one of the others only in some uses: in a conversion, in a number type, on some chips.

A fault of a listed version is one entry of the list in `tconv.dialects`, which `tconv diagnose` reads, too. Where a file
leaves sizes open, its condition is tried for a range of sizes, and the report says for how many it holds.
"""


def page() -> str:
    """Return the page as text."""
    rows = [f"| [{key}](#{key}) | {kind.severity} | {kind.title} |" for key, kind in TRAPS.items()]
    parts = [HEAD, "| Key | Severity | Trap |", "|---|---|---|", *rows]
    for key, kind in TRAPS.items():
        meaning = kind.meaning[0].upper() + kind.meaning[1:]
        parts += [
            "",
            f"## {key}",
            "",
            meaning,
            "",
            f"- Hit: {kind.who}",
            f"- Source: {kind.source}",
            f"- Instead: {kind.instead}",
        ]
    text = "\n".join(parts[1:]).replace("*", r"\*")  # a product, no emphasis
    return f"{HEAD}\n{text}\n"


if __name__ == "__main__":
    PAGE.write_text(page())
