"""Reader of a page as a notebook: each ```python block is a cell, in the order of the page, all in one process.

GitHub shows such a page as it is. Behind `python` a block may have words:

    ```python hide-input          a tag of MyST-NB: hide-input, hide-output, remove-input, remove-output, scroll-output
    ```python raises-exception    the cell has to raise; its message is shown
    ```python tab="PyTorch"       blocks next to each other become tabs
    ```python not-run="a GPU"     not a cell, for a reason

A comment runs, too, and is shown nowhere: the check of a cell that a reader need not see.

    <!-- python
    assert y.shape == (3, 3)
    -->

Blocks of a terminal, and blocks that are files, have words of their own: see console_cells.py.
"""

from __future__ import annotations

import re
import shlex
from textwrap import dedent

import nbformat.v4 as notebooks
from console_cells import expanded
from markdown_it import MarkdownIt
from markdown_it.token import Token
from nbformat import NotebookNode

TAGS = {"hide-input", "hide-output", "remove-input", "remove-output", "scroll-output", "raises-exception"}
FENCE = re.compile(r"^ *(?:>|[-*] )* *```+ *python\b", re.M)
DIRECTIVE = re.compile(r"^:{3,}\{.*?^:{3,} *$", re.M | re.S)  # of MyST; a fence inside looks like one of the page
HIDDEN = "<!-- python\n"

# Runs before the first cell. Pictures of tconv.draw show themselves: an Axes of a Figure that pyplot does not manage is
# a text otherwise. An error shows its message, which is what a page is about, not the frames above it.
SETUP = dedent(
    """
    def _svg(ax):
        from io import StringIO
        ax.figure.savefig(file := StringIO(), format="svg", bbox_inches="tight")
        return file.getvalue()
    for _module, _type in (("matplotlib.axes._axes", "Axes"), ("mpl_toolkits.mplot3d.axes3d", "Axes3D")):
        get_ipython().display_formatter.formatters["image/svg+xml"].for_type_by_name(_module, _type, _svg)
    get_ipython().InteractiveTB.set_mode("Minimal")
    """
).strip()


def read(text: str) -> NotebookNode:
    r"""Return the page as a notebook. A page without cells starts no kernel.

    >>> [cell.source for cell in read("# Sum\n\n```python\n1 + 1\n```\n").cells if not cell.metadata.get("tags")]
    ['# Sum', '1 + 1']

    Raises ValueError for words that no cell has, and for a block of Python that would not run: one in a list, a quote
    or a directive, or one that says no reason.
    """
    text = expanded(text)
    lines = text.splitlines()
    tokens = MarkdownIt("commonmark").parse(text)
    blocks = [token for token in tokens if token.level == 0 and _is_code(token)]
    inside = any(FENCE.search(directive) for directive in DIRECTIVE.findall(text))
    if inside or len(FENCE.findall(text)) != sum(token.type == "fence" for token in blocks):
        raise ValueError("A block of Python stands in a list, a quote or a directive, and would not run. Move it out.")
    cells: list[NotebookNode] = []
    starts: list[int] = []

    def add(cell: NotebookNode, line: int) -> None:
        if cell.source:
            cells.append(cell)
            starts.append(line)

    line = 0
    for token in blocks:
        metadata = _metadata(token)
        if metadata is None:
            continue
        start, end = token.map or (0, 0)
        add(notebooks.new_markdown_cell(_stripped(lines[line:start])), line)
        add(notebooks.new_code_cell(_code(token), metadata=metadata), start + 1)
        line = end
    add(notebooks.new_markdown_cell(_stripped(lines[line:])), line)
    if any(cell.cell_type == "code" for cell in cells):
        cells.insert(0, notebooks.new_code_cell(SETUP, metadata={"tags": ["remove-cell"]}))
        starts.insert(0, 0)
        metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    else:
        metadata = {"mystnb": {"execution_mode": "off"}}
    return notebooks.new_notebook(cells=cells, metadata={**metadata, "source_map": starts})


def _is_code(token: Token) -> bool:
    fence = token.type == "fence" and token.info.split(" ")[0] == "python"
    return fence or (token.type == "html_block" and token.content.startswith(HIDDEN))


def _code(token: Token) -> str:
    code = token.content if token.type == "fence" else token.content.removeprefix(HIDDEN).rpartition("-->")[0]
    return code.rstrip()


def _metadata(token: Token) -> dict[str, object] | None:
    """Return what a block's words say of its cell, or None for a block that does not run."""
    if token.type != "fence":
        return {"tags": ["remove-cell"]}
    line = (token.map or (0, 0))[0] + 1
    words = dict(word.partition("=")[::2] for word in shlex.split(token.info)[1:])
    reason = words.pop("not-run", None)
    if reason == "":
        raise ValueError(f'The block in line {line} has no reason: write not-run="a reason".')
    tab = words.pop("tab", "")
    if not TAGS.issuperset(words):
        raise ValueError(f"The block in line {line} has the words {sorted(words)}. Its cell can have {sorted(TAGS)}.")
    return None if reason else {"tags": list(words)} | ({"tab": tab} if tab else {})


def _stripped(lines: list[str]) -> str:
    """Return the lines without empty ones at the end; those in front keep the numbers of the lines right."""
    return "\n".join(lines).rstrip()
