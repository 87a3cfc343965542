"""The child's side of the protocol between the benchmark and its child processes: a JSON line in, a JSON line out.

`child_process` is the parent's side. Everything here runs in the child.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from typing import Any, Protocol

Message = dict[str, Any]


class Answering(Protocol):
    """An object that answers one message at a time."""

    def answer(self, message: Message) -> Message:
        """Return the answer to a message. It has a state; errors become a state with a reason."""


def serve(worker: Answering, lines: Iterable[str], write: Callable[[str], Any]) -> None:
    """Answer each line with a line, until there are no more."""
    for line in lines:
        write(json.dumps(worker.answer(json.loads(line))) + "\n")


def private_stdout() -> Any:
    """Return a file for the answers. Whatever a library prints to stdout goes to stderr from now on."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    return answers
