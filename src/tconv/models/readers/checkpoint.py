"""Reader of PyTorch checkpoints of known architectures: .pth, .pt, .ckpt and .safetensors, through `spandrel`.

Another process loads the tensors alone, lets spandrel build the module, and writes it as an ONNX file, which the ONNX
reader reads. Two small pictures that PyTorch has enlarged show that the network computes the same.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from tconv.errors import FileError, MissingExtraError, TconvError
from tconv.models.image_model import Model
from tconv.models.network import Network
from tconv.models.readers import onnx_network
from tconv.models.traces.torch_archive import CUT_OFF, EMPTY, NO_ARCHIVE, reason_against

EXTRA = "spandrel"
_PACKAGES = ("spandrel", "torch", "onnx")
_SECONDS = 240
_TOLERANCE = 1e-3
"""Largest difference from PyTorch, of the range of its result; rounding makes 1e-6, another network 0.1 and more."""


def read(path: Path, advice: str = "") -> Model:
    """Return the model in a checkpoint. Raises FileError, ShapeError, MissingExtraError.

    `advice` ends the message about an architecture that is not known.
    """
    _refuse_others(path)
    for package in _PACKAGES:
        if not importlib.util.find_spec(package):
            raise MissingExtraError(f"a checkpoint such as {path.name}", package, EXTRA)
    with tempfile.TemporaryDirectory(prefix="tconv-checkpoint-") as name:
        folder = Path(name)
        facts = exported(path, folder)
        if "error" in facts:
            raise FileError(f"{path} {facts['error']}{'' if facts.get('known', True) else advice}")
        graph = folder / "network.onnx"
        try:
            network, _ = onnx_network.network_of(graph)
        except TconvError as error:
            reason = str(error).replace(str(graph), str(path)).replace(graph.name, path.name)
            raise type(error)(f"{reason} ({path.name} is {facts['architecture']})") from None
        _compare(network, path, folder, facts)
    return Model.of(network, f"{path.name}, {facts['architecture']}")


def _refuse_others(path: Path) -> None:
    """Raise FileError for a file that is no checkpoint, such as a page of a web site that was saved instead."""
    if path.suffix.lower() == ".safetensors":
        return
    reason = reason_against(path)
    if reason in (EMPTY, NO_ARCHIVE, CUT_OFF):
        with path.open("rb") as file:
            start = file.read(20)
        begins = f", and begins with {start.decode('ascii', 'replace')!r}" if reason == NO_ARCHIVE else ""
        raise FileError(
            f"{path} is no checkpoint: {reason}{begins}. Write the name of a file that torch.save or safetensors wrote"
        )
    if member := _damaged_member(path):
        raise FileError(
            f"{path} is damaged: the checksum of {member} in it does not fit. Write the name of an intact copy; if it "
            "was saved without checksums, load and save it once with PyTorch's usual settings"
        )


def _damaged_member(path: Path) -> str | None:
    """Return the first file of an archive whose checksum does not fit, if there is one: PyTorch compares none."""
    try:
        with zipfile.ZipFile(path) as archive:
            # of compressed files, and of files that overlap, a small archive could take long; PyTorch writes neither
            members = [each for each in archive.infolist() if each.compress_type == zipfile.ZIP_STORED]
            if sum(each.file_size for each in members) > path.stat().st_size:
                return None
            for each in members:
                try:
                    with archive.open(each) as file:
                        while file.read(1 << 20):
                            pass
                except zipfile.BadZipFile:
                    return each.filename
    except (zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError):
        return None  # a pickle of before PyTorch 1.6, or what PyTorch refuses
    return None


def exported(path: Path, folder: Path) -> dict[str, Any]:
    """Let another process write the network into a folder; return its facts. Raises FileError, MissingExtraError."""
    known = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    worker = str(Path(__file__).with_name("checkpoint_worker.py"))
    command = [sys.executable, "-P", worker, str(path.absolute()), str(folder)]
    environment = {**os.environ, "PYTHONPATH": known, "PYTHONWARNINGS": "ignore", "CUDA_VISIBLE_DEVICES": ""}
    try:
        done = subprocess.run(command, capture_output=True, timeout=_SECONDS, env=environment)
    except subprocess.TimeoutExpired:
        raise FileError(
            f"{path} was not read by PyTorch within {_SECONDS} seconds. Write an ONNX file of the network"
        ) from None
    answer = folder / "facts.json"
    if done.returncode or not answer.is_file():
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        how = f"signal {-done.returncode}" if done.returncode < 0 else f"code {done.returncode}"
        last = f": {lines[-1][:200]}" if lines else ""
        raise FileError(f"{path} cannot be read: PyTorch ended with {how}{last}. Write the name of an undamaged file")
    facts: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
    if "missing" in facts:
        raise MissingExtraError(f"a checkpoint such as {path.name}", facts["missing"], EXTRA)
    if "import" in facts:
        raise FileError(
            f"{path} cannot be read, because spandrel cannot be imported: {facts['import']}. Install a torchvision of "
            "the same build as torch, from where torch is from"
        )
    return facts


def _compare(network: Network, path: Path, folder: Path, facts: dict[str, Any]) -> None:
    """Raise FileError if the network computes something else than PyTorch."""
    for number in range(2):
        picture, wanted = (
            np.load(folder / f"{name}{number}.npy", allow_pickle=False) for name in ("picture", "result")
        )
        made = network(picture)
        if made.shape == wanted.shape:
            error, largest = float(np.abs(made - wanted).max()), float(np.abs(wanted).max())
            if error <= _TOLERANCE * largest or not np.isfinite(wanted).all():
                continue
            difference = f"differs from PyTorch's result by {error:.2g}, whose largest number is {largest:.2g}"
        else:
            difference = f"has the shape {made.shape}; PyTorch's result has {wanted.shape}"
        raise FileError(
            f"{path} is {facts['architecture']}, and what tconv computes for a picture of {picture.shape[2:]} "
            f"{difference}. Write an ONNX file of the network"
        )
