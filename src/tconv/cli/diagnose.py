"""`tconv diagnose`: the cause of a difference between arrays in files, two runtimes, or two networks.

It reads the files and prints what `tconv.diagnose` and `tconv.diagnosis.networks` return.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from tconv.cli.explain_options import native_options
from tconv.cli.figures import new_picture
from tconv.diagnosis import Diagnosis, diagnose
from tconv.diagnosis.networks import NetworkDiagnosis, Source, diagnose_networks
from tconv.dialects import find as find_dialect
from tconv.errors import ArgumentError, FileError
from tconv.io import array_files
from tconv.models.traces import FORMATS, format_of

_NAMES = ("got", "expected", "x", "weight", "bias")
_RUNTIMES = FORMATS[".onnx"].runtimes

_Values = Annotated[list[str] | None, Parameter(consume_multiple=True, negative="")]


def run(
    got: Path,
    expected: Path | None = None,
    *,
    x: Path | None = None,
    weight: Path | None = None,
    bias: Path | None = None,
    dialect: str | None = None,
    option: _Values = None,
    target: str | None = None,
    runtimes: _Values = None,
    size: Annotated[list[int] | None, Parameter(consume_multiple=True, negative="")] = None,
    seed: int | None = None,
    picture: Annotated[Path | None, Parameter(name=["-o", "--picture"])] = None,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> None:
    """Find why two outputs of a transposed convolution differ, and write the line that fixes it.

    Parameters
    ----------
    got
        The output that is wrong (.npy); or all arrays of the call, named got, expected, x, weight, bias (.npz); or a
        network (.onnx, .pt or .pt2, .keras, .tflite, ncnn's .param), which is then run on random input.
    expected
        The output that is right (.npy); or the network to compare with, of any of these kinds.
    x
        The call's input (.npy). Without it and --weight only the outputs are compared.
    weight
        The call's weight (.npy), in the dialect's layout.
    bias
        The call's bias (.npy).
    dialect
        The dialect of the call's arguments and layouts. Default: torch.
    option
        The call's native arguments, NAME=VALUE, the value as JSON or plain text: stride=2 padding=1.
    target
        The dialect that the fix is written in.
    runtimes
        With one .onnx: the runtime to test, and the one that is right. Default: onnxruntime tconv. There are
        onnxruntime, openvino, reference (ONNX's own evaluator) and tconv (which follows the specification). With two
        networks: the runtime of each .onnx.
    size
        Spatial size of the random input, where the files leave it open. Default: sizes that both networks take.
    seed
        Seed of the random input. Default 0.
    picture
        Also draw the difference to this file (.svg, .png, .pdf), of the layer that is named. Needs tconv[draw].
    as_json
        Print one JSON object instead of text, a list of one for networks.
    """
    call = {"x": x, "weight": weight, "bias": bias, "dialect": dialect, "option": option}
    random_input = {"runtimes": runtimes, "size": size, "seed": seed}
    networks = got.suffix.lower() in FORMATS
    if not networks and expected is not None and expected.suffix.lower() in FORMATS:
        format_of(got)  # refuses it
    _refuse_unused(call if networks else random_input, got, networks)
    if target is not None:
        find_dialect(target, argument="target")
    with new_picture(picture, as_json) as draw:
        if networks:
            found = _networks(got, expected, runtimes, size, seed or 0, target)
            print(json.dumps([_finite(found.facts())]) if as_json else found)
            draw(found.draw)
        else:
            given = _arrays(got, {"expected": expected, "x": x, "weight": weight, "bias": bias})
            first, second = given.pop("got"), given.pop("expected")
            arguments = {"dialect": dialect, "target": target, **native_options(option)}
            answer = diagnose(first, second, **given, **arguments)
            print(json.dumps(_facts(answer)) if as_json else answer)
            draw(answer.draw)


def _refuse_unused(given: dict[str, Any], got: Path, networks: bool) -> None:
    """Raise ArgumentError for options that have no effect on files of this kind."""
    if unused := [f"--{name}" for name, value in given.items() if value is not None]:
        reason = (
            "is a network, which defines its calls itself"
            if networks
            else "contains arrays, and nothing is run on random input"
        )
        effect = "has no effect" if len(unused) == 1 else "have no effect"
        raise ArgumentError(f"{' and '.join(unused)} {effect}: {got} {reason}. Write it without {unused[0]}")


def _arrays(got: Path, others: dict[str, Path | None]) -> dict[str, Any]:
    """Return the arrays of a call from one .npz file, or from one .npy file each."""
    if got.suffix.lower() == ".npz" and not any(others.values()):
        array_files.read_headers(got)
        found = array_files.read_features(got)
        if unknown := [name for name in found if name not in _NAMES]:
            raise FileError(
                f"{got} contains {unknown[0]!r}; it may contain {', '.join(_NAMES)}. Write np.savez(name, got=y, ...)"
            )
        if missing := [name for name in _NAMES[:2] if name not in found]:
            raise FileError(
                f"{got} contains no {missing[0]!r}; got and expected are needed. Write np.savez(name, got=y, ...)"
            )
        return found
    if got.suffix.lower() == ".npz":
        raise ArgumentError(
            f"{got} contains all arrays of a call, and {' and '.join(str(path) for path in others.values() if path)} "
            f"was given, too. Write tconv diagnose {got} alone, or a .npy file for each array"
        )
    if others["expected"] is None and got.suffix.lower() == ".npy":
        raise ArgumentError(f"{got} is one output; two are needed. Write tconv diagnose got.npy expected.npy")
    return {name: _read_array(path) for name, path in {"got": got, **others}.items() if path is not None}


def _read_array(path: Path) -> Any:
    if path.suffix.lower() != ".npy":
        raise FileError(
            f"{path} is not a .npy file. Write np.save('{path.stem}.npy', array); networks are files that end in "
            f"{', '.join(FORMATS)}"
        )
    array_files.read_headers(path)
    (array,) = array_files.read_features(path).values()
    return array


def _networks(
    got: Path, expected: Path | None, runtimes: list[str] | None, size: list[int] | None, seed: int, target: str | None
) -> NetworkDiagnosis:
    """Return the comparison of two networks, or of one ONNX model on two runtimes."""
    for name in runtimes or ():
        if name not in _RUNTIMES:
            raise ArgumentError(f"--runtimes names {name!r}; there are {', '.join(_RUNTIMES)}. Write two of them")
    if expected is None:
        names = runtimes or ["onnxruntime", "tconv"]
        if got.suffix.lower() != ".onnx":
            raise ArgumentError(
                f"{got} is one network, and only a .onnx model has several runtimes. Write tconv diagnose {got} and "
                "the network to compare with"
            )
        if len(names) != 2:
            raise ArgumentError(
                f"--runtimes names {len(names)} of them; two run one model. Write --runtimes onnxruntime openvino"
            )
        sides = [Source(got, name, f"{got} on {name}") for name in names]
    else:
        paths = [got, expected]
        models = [path.suffix.lower() == ".onnx" for path in paths]
        names = runtimes or ["onnxruntime"]
        if runtimes and not 1 <= len(runtimes) <= sum(models):
            raise ArgumentError(
                f"--runtimes names {len(runtimes)} of them, and {sum(models)} of the files are .onnx. "
                f"Write {'--runtimes onnxruntime' if any(models) else 'it without --runtimes'}"
            )
        given = iter([*names, names[-1]])
        sides = [Source(path, next(given) if model else "") for path, model in zip(paths, models, strict=True)]
    return diagnose_networks(sides[0], sides[1], size=size, seed=seed, target=target)


def _facts(found: Diagnosis) -> dict[str, Any]:
    facts = {
        name: getattr(found, name)
        for name in ("verdict", "cause", "fix", "before", "rounding", "shapes", "notes", "tried")
    }
    facts["findings"] = [asdict(finding) for finding in found.findings]
    return {name: _finite(value) for name, value in facts.items()}


def _finite(value: Any) -> Any:
    """Return a value with None for inf and NaN, which JSON lacks."""
    if isinstance(value, dict):
        return {name: _finite(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
