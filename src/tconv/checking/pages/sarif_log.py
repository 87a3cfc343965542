"""A check as SARIF 2.1.0, which code hosts show beside a change: a rule per trap, a result per layer that has it.

Source: OASIS, "Static Analysis Results Interchange Format (SARIF) Version 2.1.0"; the lengths and counts are those that
GitHub's code scanning accepts.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tconv.checking.layer_check import LayerCheck
from tconv.checking.pages.printable_text import encodable, printable, short_name
from tconv.checking.pages.target_summary import way_to_rewrite
from tconv.checking.report import Check
from tconv.checking.trap import Severity, Trap
from tconv.checking.traps import TRAPS

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
MOST_RESULTS = 5000
"""Results that GitHub shows; further ones are counted in a notification."""
LONGEST_DESCRIPTION = 1024

Uri = dict[str, str] | None

_LEVELS: dict[Severity, str] = {"wrong": "error", "refused": "warning", "slow": "note", "note": "note"}


def to_sarif(check: Check, version: str = "", file: Path | None = None) -> str:
    """Return a check as the text of a SARIF file.

    >>> import json
    >>> from tconv.checking.report import Check
    >>> json.loads(to_sarif(Check("model.onnx", "ONNX", ())))["version"]
    '2.1.0'

    `version` is that of tconv, `file` the path of the model where `check.source` is only its name. "wrong" is an error,
    "refused" a warning, "slow" and "note" are notes. A layer that a target refuses is an error of the rule
    "target/NAME". Files are given relative to the current directory where they lie in it.
    """
    uri = None if check.format == "PyTorch module" else _uri(file or Path(check.source))
    results = [*_trap_results(check, uri), *_target_results(check, uri)]
    rules = {result["ruleId"]: _rule(result["ruleId"]) for result in results}
    places = {key: place for place, key in enumerate(rules)}
    for result in results:
        result["ruleIndex"] = places[result["ruleId"]]
    run: dict[str, Any] = {
        "tool": {"driver": {"name": "tconv check", "version": version or "unknown", "rules": list(rules.values())}},
        "columnKind": "utf16CodeUnits",
        "results": results[:MOST_RESULTS],
        "invocations": [{"executionSuccessful": True, "toolExecutionNotifications": _notifications(check, results)}],
    }
    if uri is not None:
        run["artifacts"] = [{"location": uri}]
    return json.dumps(encodable({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}), allow_nan=False, indent=1)


def _trap_results(check: Check, uri: Uri) -> Iterable[dict[str, Any]]:
    for trap in check.file_traps:
        yield _result(uri, None, trap.key, _LEVELS[trap.severity], _sentence(trap))
    for number, layer in enumerate(check.layers, 1):
        for trap in layer.traps:
            yield _result(uri, (number, layer), trap.key, _LEVELS[trap.severity], _sentence(trap))


def _sentence(trap: Trap) -> str:
    return f"{trap.what}\nWho is hit: {trap.who}\nInstead: {trap.instead}\nSource: {trap.source}"


def _target_results(check: Check, uri: Uri) -> Iterable[dict[str, Any]]:
    for name in check.targets:
        for number, layer in enumerate(check.layers, 1):
            answer = layer.targets.get(name)
            if answer is None or answer.accepted is not False:
                continue
            limits = "; ".join(str(limit.get("text", "")) for limit in answer.limits)
            steps = (
                f"Rewrite: {', then '.join(answer.steps)}{way_to_rewrite(check.format)}"
                if answer.steps
                else answer.plan
            )
            text = f"{name} refuses the layer: {limits}" + (f"\n{steps}" if steps else "")
            yield _result(uri, (number, layer), f"target/{name}", "error", text)


def _result(uri: Uri, at: tuple[int, LayerCheck] | None, rule: str, level: str, message: str) -> dict[str, Any]:
    """Return a result; its fingerprint tells layers apart, which are all in the first line of one file."""
    location: dict[str, Any] = {}
    if uri is not None:
        line = at[1].layer.location.get("line") if at is not None else None
        region = {"startLine": line if isinstance(line, int) and line > 0 else 1}
        location["physicalLocation"] = {"artifactLocation": uri, "region": region}
    names = [] if at is None else [str(at[1].name), str(at[1].layer.place)]
    if at is not None:
        number, layer = at
        qualified = printable(f"{layer.layer.place}: {layer.name or number}", 400)
        location["logicalLocations"] = [
            {"name": short_name(layer.name or f"layer {number}"), "fullyQualifiedName": qualified, "kind": "layer"}
        ]
    key = "\0".join([rule, "" if uri is None else uri["uri"], *names]).encode("utf-8", "backslashreplace")
    return {
        "ruleId": rule,
        "level": level,
        "message": {"text": printable(message, 4000, keep="\n")},
        "locations": [location] if location else [],
        "partialFingerprints": {"primaryLocationLineHash": f"{hashlib.sha256(key).hexdigest()[:16]}:1"},
    }


def _rule(key: str) -> dict[str, Any]:
    if key.startswith("target/"):
        name = key.removeprefix("target/")
        return _described(
            key,
            f"Layer that {name} refuses",
            f"The published limits of {name} do not allow the layer.",
            f"tconv rewrite MODEL.onnx -o OUT --target {name} replaces it where an exact rewrite is known.",
            "error",
        )
    kind = TRAPS.get(key)
    if kind is None:
        return _described(key, key, key, "", "note")
    return _described(
        key, kind.title, kind.meaning, f"Instead: {kind.instead}\nSource: {kind.source}", _LEVELS[kind.severity]
    )


def _described(key: str, title: str, meaning: str, help_text: str, level: str) -> dict[str, Any]:
    return {
        "id": key,
        "name": "".join(part.capitalize() for part in key.replace("/", "-").split("-"))[:255],
        "shortDescription": {"text": printable(title, LONGEST_DESCRIPTION)},
        "fullDescription": {"text": printable(meaning, LONGEST_DESCRIPTION)},
        "help": {"text": printable(f"{meaning}\n{help_text}", 4000, keep="\n")},
        "defaultConfiguration": {"level": level},
        "properties": {"tags": ["transposed-convolution", "model"]},
    }


def _notifications(check: Check, results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    texts = [*check.notes]
    if len(results) > MOST_RESULTS:
        texts.insert(0, f"{len(results) - MOST_RESULTS} more results are left out; write tconv check --json for all")
    for layer in check.layers:
        texts += [f"{short_name(layer.name)}: {note}" for note in layer.notes]
    return [{"level": "note", "message": {"text": printable(text, 1000)}} for text in texts[:100]]


def _uri(file: Path) -> dict[str, str]:
    """Return the place of a file as SARIF has it, relative to the current directory if it lies in it."""
    path = Path(os.path.abspath(file))
    try:
        relative = path.relative_to(os.getcwd())
    except ValueError:
        return {"uri": "file://" + _quoted(path)}
    return {"uri": _quoted(relative), "uriBaseId": "%SRCROOT%"}


def _quoted(path: Path) -> str:
    try:
        return quote(os.fsencode(path.as_posix()))
    except UnicodeEncodeError:  # no file has such a name
        return quote(path.as_posix(), errors="replace")
