"""Blocks of a terminal that run as cells, and blocks that are files of the cells' folder.

- ``console run``: each line behind a dollar runs. What it prints is compared with the lines below it, where a line of
  three dots stands for any lines, and is shown whole. GitHub shows the block as it is.
- ``console run as-written``: it is compared, too, but shown as the page has it, where all of it would be long.
- ``toml file="my_chip.toml"``: a file that later cells and commands read.
"""

from __future__ import annotations

import re

FENCE = re.compile(r"^```(\w+) ([^\n]+)\n(.*?)^```$", re.M | re.S)
FILE = re.compile(r'file="([^"]+)"')
COMMAND = re.compile(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", re.M)


def expanded(text: str) -> str:
    r"""Return the page with Python's blocks in place of its commands and behind its files.

    >>> print(expanded("```console run\n$ tconv env\n...\n```\n").replace("`", "'"))
    '''console
    $ tconv env
    '''
    '''python remove-input
    __import__("console_session").run('tconv env', '...\n')
    '''
    <BLANKLINE>

    Raises ValueError for a block of the terminal with other words, or without a command: it would check nothing.
    """
    return FENCE.sub(_block, text)


def _block(fence: re.Match[str]) -> str:
    kind, words, content = fence.groups()
    file = FILE.fullmatch(words)
    if file:
        name = file[1]
        return f'```{kind}\n{content}```\n\n<!-- python\nopen({name!r}, "w").write({content!r})\n-->'
    if kind != "console":
        return fence[0]
    commands = COMMAND.findall(content)
    if words not in ("run", "run as-written") or not commands:
        raise ValueError(
            f"A block of the terminal is {fence[0]!r}; `console run` or `console run as-written` with lines "
            "behind a dollar is needed. Write so, or `console` alone for one that does not run."
        )
    if words == "run as-written":
        return "\n".join(
            [f"```console\n{content}```", *(_cell("remove-input remove-output", *each) for each in commands)]
        )
    parts = "\n".join(f"```console\n$ {each[0]}\n```\n{_cell('remove-input', *each)}" for each in commands)
    return parts + "\n" * max(0, fence[0].count("\n") - parts.count("\n"))  # later lines keep their numbers


def _cell(tags: str, command: str, printed: str) -> str:
    return f'```python {tags}\n__import__("console_session").run({command!r}, {printed!r})\n```'
