"""`tconv diagnose`: why outputs differ, of arrays in files, of an ONNX model on two runtimes, or of two networks."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from cyclopts import Parameter

from tconv.cli.explain import native_options
from tconv.cli.figures import new_picture
from tconv.diagnosis import Diagnosis
from tconv.diagnosis import diagnose as diagnose_arrays
from tconv.dialects import find as find_dialect
from tconv.errors import ArgumentError, FileError, ShapeError
from tconv.io import array_files
from tconv.models.readers import transposed_layers

_NAMES = ("got", "expected", "x", "weight", "bias")
_NETWORKS = (".onnx", ".pt", ".pth", ".pt2", ".ts", ".keras", ".h5")
_DEFAULT_SIZE = 8  # of each spatial axis of a layer's random input

_Words = Annotated[list[str] | None, Parameter(consume_multiple=True, negative="")]


def diagnose(
    got: Path,
    expected: Path | None = None,
    *,
    x: Path | None = None,
    weight: Path | None = None,
    bias: Path | None = None,
    dialect: str | None = None,
    option: _Words = None,
    target: str | None = None,
    runtimes: _Words = None,
    size: Annotated[list[int] | None, Parameter(consume_multiple=True, negative="")] = None,
    seed: int | None = None,
    picture: Annotated[Path | None, Parameter(name=["-o", "--picture"])] = None,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> None:
    """Say why two outputs of a transposed convolution differ, and the line that mends it.

    Parameters
    ----------
    got
        The output that is wrong (.npy); or all arrays of the call, named got, expected, x, weight, bias (.npz); or a
        network (.onnx, .pt or .pt2, .keras), whose transposed convolutions are then run one by one on random input.
    expected
        The output that is right (.npy); or the network to compare with, of which one of the two is .onnx.
    x
        The call's input (.npy). Without it and --weight it is said what the outputs alone tell.
    weight
        The call's weight (.npy), in the dialect's layout.
    bias
        The call's bias (.npy).
    dialect
        Whose words the call is written in. Default: torch.
    option
        The call's native arguments, NAME=VALUE, the value as JSON or plain text: stride=2 padding=1.
    target
        The dialect that the fix is written in.
    runtimes
        With one .onnx: what runs it, and what is right. Default: onnxruntime tconv, the specification as tconv has it.
        There are onnxruntime, openvino, reference (ONNX's own evaluator) and tconv.
    size
        Spatial size of the layers' random input. Default 8 on each axis.
    seed
        Seed of the random input. Default 0.
    picture
        Also draw the difference to this file (.svg, .png, .pdf), of the layer that differs most; needs "draw".
    as_json
        Print one JSON object instead of text, a list of them for networks.
    """
    call = {"x": x, "weight": weight, "bias": bias, "dialect": dialect, "option": option}
    draws = {"runtimes": runtimes, "size": size, "seed": seed}
    networks = got.suffix.lower() in _NETWORKS
    _refuse_idle(call if networks else draws, got, networks)
    if target is not None:
        find_dialect(target, argument="target")
    with new_picture(picture, as_json) as draw:
        if networks:
            found = list(_networks(got, expected, runtimes, size, seed or 0, target))
            if not found:
                raise FileError(f"{got} has no transposed convolution. Write a network that has one")
            if as_json:
                print(json.dumps([{"layer": name, **_facts(each)} for name, each in found]))
            else:
                print("\n\n".join(f"{name}\n{each}" for name, each in found))
            worst = max((each for _, each in found), key=_distance)
        else:
            given = _arrays(got, {"expected": expected, "x": x, "weight": weight, "bias": bias})
            first, second = given.pop("got"), given.pop("expected")
            words = {"dialect": dialect, "target": target, **native_options(option)}
            worst = diagnose_arrays(first, second, **given, **words)
            print(json.dumps(_facts(worst)) if as_json else worst)
        draw(worst.draw)


def _refuse_idle(given: dict[str, Any], got: Path, networks: bool) -> None:
    """ArgumentError for options that would change nothing about files of this kind."""
    if idle := [f"--{name}" for name, value in given.items() if value is not None]:
        what = (
            "is a network, which says its calls itself"
            if networks
            else "holds arrays, and nothing is run on random input"
        )
        raise ArgumentError(f"{' and '.join(idle)} would change nothing: {got} {what}. Write it without {idle[0]}")


def _arrays(got: Path, others: dict[str, Path | None]) -> dict[str, Any]:
    """The arrays of a call from one .npz, or from a .npy file each."""
    if got.suffix.lower() == ".npz" and not any(others.values()):
        array_files.read_headers(got)
        found = array_files.read_features(got)
        if unknown := [name for name in found if name not in _NAMES]:
            raise FileError(
                f"{got} holds {unknown[0]!r}; it may hold {', '.join(_NAMES)}. Write np.savez(name, got=y, ...)"
            )
        if missing := [name for name in _NAMES[:2] if name not in found]:
            raise FileError(
                f"{got} holds no {missing[0]!r}; got and expected are needed. Write np.savez(name, got=y, ...)"
            )
        return found
    if got.suffix.lower() == ".npz":
        raise ArgumentError(
            f"{got} holds all arrays of a call, and {' and '.join(str(path) for path in others.values() if path)} came "
            f"beside it. Write tconv diagnose {got} alone, or a .npy file for each array"
        )
    if others["expected"] is None:
        raise ArgumentError(f"{got} is one output; two are needed. Write tconv diagnose got.npy expected.npy")
    return {name: _one(path) for name, path in {"got": got, **others}.items() if path is not None}


def _one(path: Path) -> Any:
    if path.suffix.lower() != ".npy":
        raise FileError(f"{path} is no .npy file. Write np.save('{path.stem}.npy', array)")
    array_files.read_headers(path)
    (array,) = array_files.read_features(path).values()
    return array


def _networks(
    got: Path, expected: Path | None, runtimes: list[str] | None, size: list[int] | None, seed: int, target: str | None
) -> Iterator[tuple[str, Diagnosis]]:
    """Each transposed convolution of a network beside its counterpart."""
    names = runtimes or (["onnxruntime", "tconv"] if expected is None else ["onnxruntime"])
    if len(names) != (2 if expected is None else 1):
        raise ArgumentError(
            f"--runtimes names {len(names)}; {'two run one model' if expected is None else 'one runs the .onnx file'}. "
            "Write --runtimes onnxruntime openvino"
        )
    paths = [got, got if expected is None else expected]
    onnx = [path.suffix.lower() == ".onnx" for path in paths]
    if not any(onnx) or (all(onnx) and expected is not None):
        raise ArgumentError(
            "of two networks one must be .onnx, whose attributes name the call. Write model.onnx model.pt"
        )
    pair = [
        transposed_layers.of_onnx(path, transposed_layers.runtime(name))
        if is_onnx
        else transposed_layers.of_network(path)
        for path, is_onnx, name in zip(paths, onnx, [names[0], names[-1]], strict=True)
    ]
    if len(pair[0]) != len(pair[1]):
        raise FileError(
            f"{paths[0]} has {len(pair[0])} transposed convolutions and {paths[1]} {len(pair[1])}; they are "
            "compared one by one. Write two files of the same network"
        )
    rng = np.random.default_rng(seed)
    for first, second in zip(*pair, strict=True):
        called = first if onnx[0] else second  # whose words are known
        x = rng.standard_normal((1, called.in_channels, *_sizes(size, called.ndim))).astype(called.weight.dtype)
        writes = target or (first if onnx[1] else second).dialect
        found = diagnose_arrays(
            first.run(x),
            second.run(x),
            x=x,
            weight=called.weight,
            bias=called.bias,
            dialect="onnx",
            target=writes,
            **called.words,
        )
        label = first.name if first.name == second.name else f"{first.name} | {second.name}"
        yield f"{label}: x {list(x.shape)}, weight {list(called.weight.shape)}", found


def _sizes(size: list[int] | None, ndim: int) -> list[int]:
    if not size:
        return [_DEFAULT_SIZE] * ndim
    if len(size) not in (1, ndim) or min(size) < 1:
        raise ShapeError(
            f"--size is {size}; one size of at least 1, or {ndim}, are needed. Write --size {_DEFAULT_SIZE}"
        )
    return size * (ndim if len(size) == 1 else 1)


def _distance(found: Diagnosis) -> float:
    """How far the outputs are from each other; further than any number where they cannot be compared."""
    return math.inf if found.before is None or math.isnan(found.before) else found.before


def _facts(found: Diagnosis) -> dict[str, Any]:
    facts = {
        name: getattr(found, name)
        for name in ("verdict", "cause", "fix", "before", "rounding", "shapes", "notes", "tried")
    }
    facts["findings"] = [asdict(finding) for finding in found.findings]
    return {name: _finite(value) for name, value in facts.items()}


def _finite(value: Any) -> Any:
    """JSON has no inf and no NaN: null."""
    if isinstance(value, dict):
        return {name: _finite(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
