"""Fingerprint of a job: all that its output depends on, as JSON, and the words for what differs from another one."""

from __future__ import annotations

import platform
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from tconv.errors import FileError
from tconv.scale.journal import VERSION
from tconv.scale.tile_run import Stage
from tconv.streaming.layer_digest import fingerprint

MODIFIED = "modified"
"""Entry of an input's identity that may differ while the content is the same: times, for example."""


def fingerprint_of(stages: Sequence[Stage]) -> dict[str, Any]:
    """Return the fingerprint of stages whose tiles are planned."""
    found: dict[str, Any] = plain(
        {
            "journal": VERSION,
            "tconv": sys.modules["tconv"].__version__,
            "machine": _machine(),
            "stages": [_stage_entries(stage) for stage in stages],
        }
    )
    return found


def _machine() -> str:
    """Return the kind of processor, and the width of its vectors: others may fuse multiply-adds, or sum otherwise."""
    try:
        from tconv.kernels.simd.cpu_target import target
    except ImportError:
        return platform.machine()
    return f"{platform.machine()}, {target().lanes} lanes"


def _stage_entries(stage: Stage) -> dict[str, Any]:
    operator = stage.operator
    entries = {
        "operator": operator.name,
        "weights": fingerprint(*operator.fingerprint_parts()),
        "method": operator.method,
        "input": stage.source.identity(),
        "output": {
            **stage.target.settings(),
            "images": stage.target.shape,
            "dtype": str(stage.target.dtype),
            "axes": getattr(getattr(stage.target, "layout", None), "names", None),
        },
        "tile": stage.tile,
        "part": stage.part,
        "tiles": stage.tile_count,
    }
    if operator.method != "simd":  # sums of NumPy's library, whose order may change with its version
        entries["numpy"] = np.__version__
    return entries


def plain(value: Any) -> Any:
    """Return a value as JSON gives it back: lists for tuples, plain numbers, and text for keys."""
    if isinstance(value, dict):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if isinstance(value, np.generic):
        return value.item()
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


_WORDS = {
    "tconv": "the version of tconv",
    "machine": "the kind of processor",
    "numpy": "the version of NumPy",
    "operator": "the operation",
    "weights": "the weights or settings of the network",
    "method": "the method of summation",
    "input": "the input",
    "output": "the output's settings",
    "tile": "the tile sizes",
    "part": "the parts of a tile",
    "tiles": "the number of tiles",
}


def differences(journal: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Return what differs between the fingerprint in a journal and that of this job, in words.

    >>> differences({"tconv": "0.1.0", "stages": []}, {"tconv": "0.2.0", "stages": []})
    ['the version of tconv: 0.1.0 in the journal, 0.2.0 now']
    """
    found = [_difference(key, journal.get(key), now.get(key)) for key in now if key != "stages"]
    stages = journal.get("stages", []), now["stages"]
    if len(stages[0]) != len(stages[1]):
        found.append(f"the number of stages: {len(stages[0])} in the journal, {len(stages[1])} now")
    else:
        for before, after in zip(*stages, strict=True):
            found += [
                _difference(key, _stable(before.get(key)), _stable(after.get(key))) for key in {**before, **after}
            ]
    return [text for text in dict.fromkeys(found) if text]


def _stable(value: Any) -> Any:
    return {key: each for key, each in value.items() if key != MODIFIED} if isinstance(value, dict) else value


def _difference(key: str, before: Any, after: Any) -> str:
    if before == after:
        return ""
    words = _WORDS.get(key, key)
    if isinstance(before, dict) and isinstance(after, dict):
        keys = [each for each in {**before, **after} if before.get(each) != after.get(each)]
        shown = ", ".join(f"{each} {before.get(each)} in the journal, {after.get(each)} now" for each in keys)
        return f"{words}: {shown}"
    return words if key == "weights" else f"{words}: {before} in the journal, {after} now"


def refuse_differences(path: Any, found: list[str], is_done: bool) -> None:
    """Raise FileError, if anything differs, with the names of it. `is_done` says that the output of `path` is."""
    if found and is_done:
        raise FileError(
            f"{path} exists, and was made with something else: {'; '.join(found)}. Write to another name, or write "
            "overwrite=True"
        )
    if found:
        raise FileError(
            f"{path} was begun with something else: {'; '.join(found)}. Go on as it was begun, write to another name, "
            "or start anew with resume=False"
        )


def modified_inputs(journal: dict[str, Any], now: dict[str, Any]) -> list[int]:
    """Return the stages whose inputs may have changed: their times differ, or nothing tells that they have not."""
    return [
        number
        for number, (before, after) in enumerate(zip(journal["stages"], now["stages"], strict=True))
        if before["input"].get(MODIFIED) is None or before["input"].get(MODIFIED) != after["input"].get(MODIFIED)
    ]
