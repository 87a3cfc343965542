"""Reading and writing the result file of `tconv bench`: JSON with one layer per line.

So two results can be compared line by line.
"""

from __future__ import annotations

import json
from pathlib import Path

from tconv.bench.summary import Result
from tconv.errors import FileError

_NEEDED = ("date", "machine", "threads", "device", "tolerance", "peers", "probes", "layers", "complete")
_DTYPES = {"f32": "float32", "tf32": "tf32", "bf16": "bfloat16"}
_NEEDED_FILE = "A file written by tconv bench -o is needed"


def to_text(result: Result) -> str:
    """Return the text of the file.

    >>> print(to_text({"threads": 2, "layers": [{"flops": 1}, {"flops": 2}]}), end="")
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
    """Return a stored result. Raises FileError for an invalid file."""
    try:
        result: Result = json.loads(path.read_text(encoding="utf-8"))
        missing = [key for key in _NEEDED if key not in result]
    except (OSError, ValueError, TypeError) as error:
        raise FileError(f"{path} cannot be read as a result ({error}). {_NEEDED_FILE}") from None
    if missing:
        raise FileError(f"{path} is not a result: it has no {', '.join(missing)}. {_NEEDED_FILE}")
    for entry in result["layers"]:
        if "precision" in entry:  # results of November 2026: each peer in the layout that suits it
            entry |= {"dtype": _DTYPES[entry.pop("precision")], "layout": "any"}
    return result
