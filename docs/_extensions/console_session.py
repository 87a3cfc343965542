"""Commands of a page, run by its cells as a reader runs them in a terminal of 80 columns."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys


def run(command: str, expected: str) -> None:
    r"""Run a command of bash and print what it prints, errors too.

    >>> run("tconv check --help | head -1", "...\nUsage: ...\n")  # doctest: +SKIP

    `tconv` is this checkout's. Raises AssertionError if the lines differ from the expected ones. A line that is `...`
    stands for any lines, and a line that ends with ` ...` for any end.
    """
    here = f'tconv() {{ {shlex.quote(sys.executable)} -m tconv "$@"; }}\n'
    settings = {name: value for name, value in os.environ.items() if "COLOR" not in name}  # Jupyter asks for colours
    settings |= {"COLUMNS": "80", "TERM": "dumb"}
    done = subprocess.run(
        ["bash", "-c", here + command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=settings
    )
    printed = done.stdout.rstrip("\n") + "\n"
    print(printed, end="")
    if not re.fullmatch(_pattern(expected.rstrip("\n") + "\n"), printed):
        raise AssertionError(f"The page says that this is printed:\n{expected}")


def _pattern(expected: str) -> str:
    lines = expected.splitlines(keepends=True)
    return "".join(map(_line_pattern, lines))


def _line_pattern(line: str) -> str:
    if line == "...\n":
        return r"(?:.*\n)*?"
    return re.escape(line[:-4]) + ".*\n" if line.endswith(" ...\n") else re.escape(line)
