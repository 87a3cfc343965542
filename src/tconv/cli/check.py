"""`tconv check`: every transposed convolution of a model file, the traps in it, and the targets that take it."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from tconv import __version__
from tconv.checking.functional import check
from tconv.checking.pages.html_page import to_html
from tconv.checking.pages.json_report import to_json
from tconv.checking.pages.printable_text import short_name
from tconv.checking.pages.sarif_log import to_sarif
from tconv.checking.pages.target_summary import way_to_rewrite
from tconv.checking.report import Check
from tconv.checking.traps import TRAPS
from tconv.cli.check_table import print_layer, print_table
from tconv.cli.option_words import target_of_option
from tconv.errors import ArgumentError
from tconv.io.output_files import NewFile
from tconv.targets import target as find_target
from tconv.targets import target_names

FOUND = 3
"""Exit code for a model that has what --fail-on names."""

_KINDS = {
    "any": "any trap, refusal by a target, or layer that could not be read",
    "wrong": "numbers that are wrong without an error",
    "refused": "traps that some runtime refuses",
    "slow": "slow layers",
    "target": "layers that a --target refuses",
    "unread": "layers that could not be read, and were not checked",
}

_Texts = Annotated[list[str] | None, Parameter(consume_multiple=True, negative="")]


def run(
    model: Path | None = None,
    *,
    target: _Texts = None,
    layer: str | None = None,
    fail_on: _Texts = None,
    html: Path | None = None,
    sarif: Path | None = None,
    run: Annotated[bool, Parameter(negative="")] = False,
    size: _Texts = None,
    targets: Annotated[bool, Parameter(negative="")] = False,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> int:
    """Explain every transposed convolution in a model file: from its actual weights, and what goes wrong where.

    Example: tconv check decoder.onnx

    Example: tconv check decoder.onnx --target ethos-u rknn --html check.html

    Example: tconv check decoder.onnx --fail-on wrong target --target ethos-u --sarif check.sarif

    The file is read, not run, and no code in it is executed. Exit code 3: the model has what --fail-on names.

    Parameters
    ----------
    model
        A model: .onnx (with its external data), .pt2 of torch.export, TorchScript (.pt), .keras, the folder of a
        SavedModel, .tflite, or ncnn's .param beside its .bin.
    target
        Runtimes and chips that shall take the layers: the limits that a layer breaks, and the rewrite that ends it.
        Names from --targets, or a .toml file of your own.
    layer
        Print this layer alone, in full, with its code for other frameworks: its name, a part of it, or its number.
    fail_on
        Exit with 3 for these: any, wrong, refused, slow, target, unread, or the name of a trap.
    html
        Write a page with pictures to this file, which must not exist. It needs no network.
    sarif
        Write SARIF 2.1.0, which code hosts show, to this file, which must not exist.
    run
        Also run the model once, on random input: sizes that the file leaves open, times, and agreement with the
        definition.
    size
        Sizes of the input's open axes, the batch apart: one number, or one for each.
    targets
        List the targets.
    as_json
        Print one JSON object instead of text.
    """
    if targets:
        _print_targets()
        return 0
    if model is None:
        raise ArgumentError(_missing_model({"--target": target, "--fail-on": fail_on}))
    sizes = None if size is None else _sizes(size)
    wanted = _checked_kinds(fail_on or [], bool(target))
    # unknown ones are refused before the file is read
    named = {target_of_option(name).name: name for name in target or ()}
    if html is not None and sarif is not None and os.path.realpath(html) == os.path.realpath(sarif):
        raise ArgumentError(f"--html and --sarif name one file, {html}. Write two names, as in --sarif check.sarif")
    with ExitStack() as files:  # files that cannot be written are refused before the work, too
        page = files.enter_context(NewFile([html])) if html is not None else None
        log = files.enter_context(NewFile([sarif])) if sarif is not None else None
        found = check(model, target=list(named.values()), run=run, size=sizes)
        number = None if layer is None else _number_of(found, layer)
        if number is not None:
            found = replace(found, layers=found.layers[number - 1 : number])
        if page is not None:
            page.file.write(to_html(found, __version__).encode())
        if log is not None:
            log.file.write(to_sarif(found, __version__, model).encode())
        if as_json:
            print(to_json(found))
        elif number is not None:
            print_layer(found.layers[0], number, way_to_rewrite(found.format))
        else:
            print_table(found)
    for new in (page, log):
        if new is not None:
            print(f"wrote {new.path}", file=sys.stderr if as_json else sys.stdout)
    return _verdict(found, wanted)


def _sizes(texts: list[str]) -> int | list[int]:
    """Return the sizes of --size. Raises ArgumentError."""
    for text in texts:
        if not (text.isascii() and text.removeprefix("-").isdecimal()) or len(text) > 20:
            raise ArgumentError(f"--size is {text[:40]!r}; a whole number is needed. Write --size 640 640")
    numbers = [int(text) for text in texts]
    return numbers[0] if len(numbers) == 1 else numbers


def _missing_model(lists: dict[str, list[str] | None]) -> str:
    """Return the message for a command without a model, which may have been taken for one more value of an option."""
    for option, values in lists.items():
        if values and os.path.exists(taken := values[-1]):
            rest = f" {option} {' '.join(values[:-1])}" if values[:-1] else ""
            return f"MODEL is missing: {taken} was read as a value of {option}. Write tconv check {taken}{rest}"
    return "MODEL is missing. Write tconv check model.onnx, or tconv check --targets"


def _checked_kinds(wanted: list[str], has_targets: bool) -> list[str]:
    for kind in wanted:
        if kind not in _KINDS and kind not in TRAPS:
            kinds = ", ".join(f"{name} ({meaning})" for name, meaning in _KINDS.items())
            raise ArgumentError(
                f"--fail-on names {kind!r}; there are {kinds}, and the traps {', '.join(sorted(TRAPS))}"
            )
    if "target" in wanted and not has_targets:
        raise ArgumentError("--fail-on target is about targets, and none is named. Write --target ethos-u, too")
    return wanted


def _number_of(found: Check, wanted: str) -> int:
    """Return the number, from 1, of the layer of this name, number, or part of a name. Raises ArgumentError."""
    names = [layer.name for layer in found.layers]
    exact = [number for number, name in enumerate(names, 1) if name == wanted]
    if wanted.isdecimal() and 1 <= int(wanted) <= len(names):
        exact = exact or [int(wanted)]
    matches = exact or [number for number, name in enumerate(names, 1) if wanted in name]
    if len(matches) == 1:
        return matches[0]
    shown = matches or range(1, len(names) + 1)
    listed = ", ".join(f"{number} ({short_name(names[number - 1], 60)})" for number in list(shown)[:12])
    more = f" and {len(shown) - 12} more" if len(shown) > 12 else ""
    count = "several layers" if matches else "no layer"
    there = f"there are {listed}{more}. Write one of these numbers" if listed else "the model has no layer"
    raise ArgumentError(f"--layer {wanted!r} is in the name of {count}; {there}")


def _print_targets() -> None:
    width = max(map(len, target_names()))
    for name in target_names():
        print(f"{name:<{width}}  {find_target(name).title}")


def _verdict(found: Check, wanted: list[str]) -> int:
    """Return the exit code, and print what --fail-on found to stderr."""
    hits = {kind: count for kind in wanted if (count := _count(found, kind))}
    if hits:
        listed = ", ".join(f"{kind} ({count})" for kind, count in hits.items())
        print(f"tconv: the model has what --fail-on names: {listed}", file=sys.stderr)
    return FOUND if hits else 0


def _count(found: Check, kind: str) -> int:
    refusals = sum(answer.accepted is False for layer in found.layers for answer in layer.targets.values())
    unread = sum(layer.geometry is None or layer.layer.weight is None for layer in found.layers)
    counts = {"any": len(found.traps) + refusals + unread, "target": refusals, "unread": unread}
    return counts.get(kind, sum(kind in (trap.severity, trap.key) for trap in found.traps))
