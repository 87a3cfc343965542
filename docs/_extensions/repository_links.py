"""Links between the book and the rest of the repository: written for GitHub, working in the book.

A page links to `../CONTRIBUTING.md` or `../src/tconv/definition.py`, as it must on GitHub. In the book such files of
the repository have a page of their own, the explorer is a file of the site, and all other files are downloads.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from sphinx.application import Sphinx

DOCS = Path(__file__).parents[1]
LINK = re.compile(r"\]\((?!\w+:|#)([^)#\s]+)(#[^)\s]*)?\)")
EXPLORER = "../src/tconv/data/explorer.html"
SHOWN = {
    "contributing.md": "../CONTRIBUTING.md",
    "changes.md": "../CHANGELOG.md",
    "benchmarks.md": "../benchmarks/README.md",
}
"""Pages of the book that show a file beside docs/ instead of their own text."""
PAGES = {"../README.md": "index.md"} | {file: page for page, file in SHOWN.items()}
"""Pages of the book that stand for files beside docs/."""


def setup(app: Sphinx) -> dict[str, bool]:
    """Change the links of each page as it is read."""
    app.connect("source-read", _read_page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _read_page(app: Sphinx, page: str, source: list[str]) -> None:
    shown = SHOWN.get(f"{page}.md")
    text = source[0]
    if shown:
        file = Path(os.path.normpath(DOCS / shown))
        app.env.note_dependency(str(file))
        # its code is shown: what runs are the pages of the book and the README's blocks, in the tests
        text = re.sub(r"^```python$", '```python not-run="shown"', file.read_text(), flags=re.M)
        text = LINK.sub(lambda link: _moved(link, file.parent), text)
    source[0] = LINK.sub(_in_the_book, text)


def _moved(link: re.Match[str], folder: Path) -> str:
    """Return a link of a file in another folder as a page of docs/ has to write it."""
    return f"]({os.path.relpath(folder / link[1], DOCS)}{link[2] or ''})"


def _in_the_book(link: re.Match[str]) -> str:
    target, place = link[1], link[2] or ""
    if target == EXPLORER:
        return f"](explorer:{place.removeprefix('#')})"
    if target in PAGES:
        return f"]({PAGES[target]}{'' if target == '../README.md' else place})"
    return f"](path:{target})" if target.startswith("../") and target.endswith(".md") else link[0]
