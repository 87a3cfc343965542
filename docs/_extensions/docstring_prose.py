"""Docstrings as the API reference reads them: prose with `code` in single backticks, examples, and indented blocks.

They are no reStructuredText: a star or a bar in them is one.
"""

from __future__ import annotations

import re
from itertools import groupby
from typing import Any

from sphinx.application import Sphinx

CODE = re.compile(r"(`[^`]+`)")
MARKUP = re.compile(r"[*|\\]|(?<=\w)_(?!\w)")  # of reStructuredText, outside of code


def setup(app: Sphinx) -> dict[str, bool]:
    """Change each docstring that the reference shows; that of a named tuple's field says nothing and is left out."""
    app.connect("autodoc-process-docstring", _change)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _change(_app: Sphinx, _what: str, _name: str, _value: Any, _options: Any, lines: list[str]) -> None:
    lines[:] = as_restructured_text(lines)


def as_restructured_text(lines: list[str]) -> list[str]:
    r"""Return the lines of a docstring with its markup escaped and its indented blocks marked as literal.

    An underlined heading, as "Parameters", becomes one that is no section of the page.

    >>> as_restructured_text(["Return x[*k], `a * b`:", "", "    y = x * k", "", ">>> 2 * 3", "6"])
    ['Return x[\\*k], `a * b`:', '', '::', '', '    y = x * k', '', '>>> 2 * 3', '6']
    >>> as_restructured_text(["Notes", "-----", "It rounds."])
    ['.. rubric:: Notes', '', 'It rounds.']
    """
    found: list[str] = []
    literal = False
    for empty, block in groupby(lines, lambda line: not line.strip()):
        if empty:
            found.append("")
            continue
        members = list(block)
        if members[0].startswith((" ", "\t")):
            found += [*([] if literal else ["::", ""]), *members]
            literal = True
            continue
        literal = False
        if len(members) > 1 and set(members[1]) == {"-"}:
            found += [f".. rubric:: {members[0]}", ""]
            del members[:2]
        found += members if members and members[0].startswith(">>>") else map(_escaped, members)
    return found


def _escaped(line: str) -> str:
    if line.startswith("Alias for field number "):
        return ""
    parts = CODE.split(line)
    return "".join(part if part.startswith("`") else MARKUP.sub(r"\\\g<0>", part) for part in parts)
