"""`--base REF`: tconv of a git revision as one more peer of the same run.

The revision's package is unpacked into a temporary directory and imported from there. The benchmark code that drives it
is the working tree's, so that a revision without a benchmark, or with another one, is measured in the same manner.

Modules that run in such a process (`PEER_MODULES`) therefore import nothing but public names of tconv and each other:
the private modules of an old revision have other names.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import NamedTuple

from tconv.bench import child_process
from tconv.errors import ArgumentError

PEER_MODULES = ("worker", "framework_worker")
"""Modules of `tconv.bench` that are run as the main program of a peer's process."""

_BOOT = """
import importlib, importlib.util, pathlib, sys
import tconv
assert pathlib.Path(tconv.__file__).is_relative_to({source!r}), tconv.__file__
init = {bench!r} + "/__init__.py"
spec = importlib.util.spec_from_file_location("tconv.bench", init, submodule_search_locations=[{bench!r}])
sys.modules["tconv.bench"] = tconv.bench = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tconv.bench)
importlib.import_module("tconv.bench." + sys.argv[1]).main(sys.argv[2:])
"""


class Revision(NamedTuple):
    """The unpacked package of a git revision."""

    ref: str
    """The revision as the user wrote it."""
    commit: str
    """Full hash of the commit."""
    source: Path
    """Directory to import tconv from."""

    @property
    def peer_name(self) -> str:
        """Name of this peer in a result: "tconv@REF"."""
        return f"tconv@{self.ref}"

    def command(self, module: str, *arguments: str) -> list[str]:
        """Return the command that runs a module of this benchmark with the tconv of the revision."""
        code = _BOOT.format(source=str(self.source), bench=str(Path(__file__).parent))
        return [sys.executable, "-P", "-c", code, module, *arguments]

    def environment(self, threads: int, isa: str = "native") -> dict[str, str]:
        """Return the environment of such a process."""
        return {**child_process.environment(threads, isa=isa), "PYTHONPATH": str(self.source)}


def unpack(ref: str, folder: Path) -> Revision:
    """Write src/tconv of a revision under `folder`.

    Raises ArgumentError for a revision that git does not know, and outside a checkout of tconv.
    """
    root = _root()
    name = _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
    if name is None:
        raise ArgumentError(f"--base is {ref!r}, which is no revision of {root}. Write --base HEAD, a branch or a tag")
    commit = name.decode().strip()
    archive = _git(root, "archive", "--format=tar", commit, "src/tconv")
    if archive is None:
        raise ArgumentError(f"--base is {ref!r}, which has no src/tconv. Write a later revision")
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(folder, filter="data")
    return Revision(ref, commit, folder / "src")


def describe() -> str | None:
    """Return the revision of this checkout, with "-dirty" appended if files differ; None outside a checkout."""
    output = _git(Path(__file__).parent, "describe", "--always", "--dirty", "--abbrev=12")
    return output.decode().strip() if output else None


def _root() -> Path:
    """The checkout that this package runs from, or the one around the current directory."""
    for place in (Path(__file__).parent, Path.cwd()):
        output = _git(place, "rev-parse", "--show-toplevel")
        if output is not None and (root := Path(output.decode().rstrip("\n"))).joinpath("src", "tconv").is_dir():
            return root
    raise ArgumentError(
        "--base compares with a git revision, and this is not a checkout of tconv. Clone the repository with git first"
    )


def _git(place: Path, *arguments: str) -> bytes | None:
    """Return the output of git, or None if it fails or is not installed."""
    try:
        done = subprocess.run(["git", "-C", str(place), *arguments], capture_output=True, check=False)
    except FileNotFoundError:
        return None
    return done.stdout if done.returncode == 0 else None
