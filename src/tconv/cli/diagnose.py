"""`tconv diagnose`: the cause of a difference between arrays in files, two runtimes, or two networks.

It reads the files, runs the layers of networks, and prints what `tconv.diagnose` returns.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from cyclopts import Parameter

from tconv.cli.explain_options import native_options
from tconv.cli.figures import new_picture
from tconv.diagnosis import Diagnosis, diagnose
from tconv.dialects import find as find_dialect
from tconv.errors import ArgumentError, FileError, ShapeError
from tconv.io import array_files
from tconv.models.readers import transposed_layers

_NAMES = ("got", "expected", "x", "weight", "bias")
_NETWORKS = (".onnx", ".pt", ".pth", ".pt2", ".ts", ".keras", ".h5")
_DEFAULT_SIZE = 8  # of each spatial axis of a layer's random input

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
        network (.onnx, .pt or .pt2, .keras), whose transposed convolutions are then run one by one on random input.
    expected
        The output that is right (.npy); or the network to compare with, of which one of the two is .onnx.
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
        onnxruntime, openvino, reference (ONNX's own evaluator) and tconv (which follows the specification).
    size
        Spatial size of the layers' random input. Default 8 on each axis.
    seed
        Seed of the random input. Default 0.
    picture
        Also draw the difference to this file (.svg, .png, .pdf), of the layer that differs most. Needs tconv[draw].
    as_json
        Print one JSON object instead of text, a list of them for networks.
    """
    call = {"x": x, "weight": weight, "bias": bias, "dialect": dialect, "option": option}
    random_input = {"runtimes": runtimes, "size": size, "seed": seed}
    networks = got.suffix.lower() in _NETWORKS
    _refuse_unused(call if networks else random_input, got, networks)
    if target is not None:
        find_dialect(target, argument="target")
    with new_picture(picture, as_json) as draw:
        if networks:
            found = list(_networks(got, expected, runtimes, size, seed or 0, target))
            if not found:
                raise FileError(f"{got} has no transposed convolution. Choose a network that has one")
            if as_json:
                print(json.dumps([{"layer": name, **_facts(each)} for name, each in found]))
            else:
                print("\n\n".join(f"{name}\n{each}" for name, each in found))
            worst = max((each for _, each in found), key=_distance)
        else:
            given = _arrays(got, {"expected": expected, "x": x, "weight": weight, "bias": bias})
            first, second = given.pop("got"), given.pop("expected")
            arguments = {"dialect": dialect, "target": target, **native_options(option)}
            worst = diagnose(first, second, **given, **arguments)
            print(json.dumps(_facts(worst)) if as_json else worst)
        draw(worst.draw)


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
    if others["expected"] is None:
        raise ArgumentError(f"{got} is one output; two are needed. Write tconv diagnose got.npy expected.npy")
    return {name: _read_array(path) for name, path in {"got": got, **others}.items() if path is not None}


def _read_array(path: Path) -> Any:
    if path.suffix.lower() != ".npy":
        raise FileError(f"{path} is not a .npy file. Write np.save('{path.stem}.npy', array)")
    array_files.read_headers(path)
    (array,) = array_files.read_features(path).values()
    return array


def _networks(
    got: Path, expected: Path | None, runtimes: list[str] | None, size: list[int] | None, seed: int, target: str | None
) -> Iterator[tuple[str, Diagnosis]]:
    """Yield the name and diagnosis of each transposed convolution of a network and its counterpart."""
    names = runtimes or (["onnxruntime", "tconv"] if expected is None else ["onnxruntime"])
    if len(names) != (2 if expected is None else 1):
        raise ArgumentError(
            f"--runtimes names {len(names)} of them; "
            f"{'two run one model' if expected is None else 'one runs the .onnx file'}. "
            f"Write --runtimes onnxruntime{' openvino' if expected is None else ''}"
        )
    paths = [got, got if expected is None else expected]
    onnx = [path.suffix.lower() == ".onnx" for path in paths]
    if not any(onnx) or (all(onnx) and expected is not None):
        raise ArgumentError(
            "one of two networks must be .onnx, because its attributes describe the call. Write model.onnx model.pt"
        )
    networks = [
        transposed_layers.of_onnx(path, transposed_layers.runtime(name))
        if is_onnx
        else transposed_layers.of_network(path)
        for path, is_onnx, name in zip(paths, onnx, [names[0], names[-1]], strict=True)
    ]
    if len(networks[0]) != len(networks[1]):
        raise FileError(
            f"{paths[0]} has {len(networks[0])} transposed convolutions and {paths[1]} {len(networks[1])}; they are "
            "compared one by one. Choose two files of the same network"
        )
    rng = np.random.default_rng(seed)
    for first, second in zip(*networks, strict=True):
        called = first if onnx[0] else second  # the layer whose arguments are known
        x = rng.standard_normal((1, called.in_channels, *_sizes(size, called.ndim))).astype(called.weight.dtype)
        fix_dialect = target or (first if onnx[1] else second).dialect
        found = diagnose(
            first.run(x),
            second.run(x),
            x=x,
            weight=called.weight,
            bias=called.bias,
            dialect="onnx",
            target=fix_dialect,
            **called.arguments,
        )
        label = first.name if first.name == second.name else f"{first.name} | {second.name}"
        yield f"{label}: x {list(x.shape)}, weight {list(called.weight.shape)}", found


def _sizes(size: list[int] | None, ndim: int) -> list[int]:
    if not size:
        return [_DEFAULT_SIZE] * ndim
    if len(size) not in (1, ndim) or min(size) < 1:
        raise ShapeError(
            f"--size is {size}; one size for all axes or {ndim} sizes are needed, each at least 1. "
            f"Write --size {_DEFAULT_SIZE}"
        )
    return size * (ndim if len(size) == 1 else 1)


def _distance(found: Diagnosis) -> float:
    """Return the largest difference of the outputs; inf if they cannot be compared."""
    return math.inf if found.before is None or math.isnan(found.before) else found.before


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
