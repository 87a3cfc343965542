"""Texts of model files as text that is safe to show: without control characters, in one line, and not too long.

Names in model files may contain escape sequences of terminals, marks that reverse the direction of the text, newlines,
half of a surrogate pair, or ten thousand characters.
"""

from __future__ import annotations

import unicodedata
from typing import Any

LONGEST_NAME = 120
"""Characters of a name that are shown; the middle of a longer one is left out."""
LONGEST_TEXT = 4000
"""Characters of a sentence that are shown; the end of a longer one is left out."""

_INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
"""Unicode's categories of controls, formats (bidirectional marks), surrogates, private and unassigned characters."""


def printable(text: object, longest: int = LONGEST_TEXT, keep: str = "") -> str:
    r"""Return a text in which every invisible character is spelled out, cut to a length.

    >>> printable("up\x1b[2J\n1")
    'up\\x1b[2J\\n1'
    >>> printable("a" * 9, longest=5)
    'a...a'

    `keep` has the invisible characters that stay, "\n" for code. The middle of a text that is too long is left out, as
    names differ at their ends.
    """
    whole = str(text)
    if len(whole) > longest:  # first, so that a name of a gigabyte costs nothing
        front = (longest - 3) // 2
        whole = f"{whole[:front]}...{whole[len(whole) - (longest - 3 - front) :]}"
    return "".join(
        character
        if character in keep or unicodedata.category(character) not in _INVISIBLE
        else character.encode("unicode_escape").decode("ascii")
        for character in whole
    )


def short_name(name: object, longest: int = LONGEST_NAME) -> str:
    """Return a name as `printable` text of one line; "(no name)" for an empty one."""
    return printable(name, longest) or "(no name)"


def encodable(value: Any) -> Any:
    """Return a JSON-able value in which lone surrogates, which are no Unicode, are spelled out."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, dict):
        return {encodable(name): encodable(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [encodable(part) for part in value]
    return value
