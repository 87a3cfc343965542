"""A result as a file: JSON, a layer to a line, so that two results can be compared line by line."""

from __future__ import annotations

import json
from pathlib import Path

from tconv.bench.summary import Result
from tconv.errors import FileError

_NEEDED = ("date", "machine", "threads", "device", "tolerance", "peers", "probes", "layers", "complete")


def written(result: Result) -> str:
    """The file's text.

    >>> print(written({"threads": 2, "layers": [{"flops": 1}, {"flops": 2}]}), end="")
    {
    "threads": 2,
    "layers": [
    {"flops": 1},
    {"flops": 2}
    ]
    }
    """
    parts = []
    for key, value in result.items():
        rows = isinstance(value, list)
        text = "[\n" + ",\n".join(map(json.dumps, value)) + "\n]" if rows else json.dumps(value)
        parts.append(f"{json.dumps(key)}: {text}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def read(path: Path) -> Result:
    """A stored result. Raises FileError for a file that is none."""
    try:
        result: Result = json.loads(path.read_text(encoding="utf-8"))
        missing = [key for key in _NEEDED if key not in result]
    except (OSError, ValueError, TypeError) as error:
        raise FileError(f"{path} cannot be read as a result ({error}). Write a file that tconv bench -o made") from None
    if missing:
        raise FileError(f"{path} is no result: it has no {', '.join(missing)}. Write a file that tconv bench -o made")
    return result
