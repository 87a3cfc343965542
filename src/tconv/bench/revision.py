"""`--base REF`: tconv of a git revision as one more peer of the same run.

The revision's package is unpacked into a temporary directory and imported from there; the benchmark that drives it is
the working tree's, so that a revision without one, or with an older one, is measured the same way.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
from pathlib import Path

from tconv.errors import ArgumentError

_BOOT = """
import importlib.util, pathlib, sys
import tconv
assert pathlib.Path(tconv.__file__).is_relative_to({source!r}), tconv.__file__
init = {bench!r} + "/__init__.py"
spec = importlib.util.spec_from_file_location("tconv.bench", init, submodule_search_locations=[{bench!r}])
sys.modules["tconv.bench"] = tconv.bench = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tconv.bench)
from tconv.bench import worker
worker.main(sys.argv[1:])
"""


def unpack(ref: str, folder: Path) -> tuple[str, Path]:
    """Write src/tconv of a revision under `folder`: its full name, and the directory to import from.

    Raises ArgumentError for a revision that git does not know, and outside a checkout of tconv.
    """
    root = _root()
    name = _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
    if name is None:
        raise ArgumentError(f"--base is {ref!r}, which is no revision of {root}. Write --base HEAD, a branch or a tag")
    archive = _git(root, "archive", "--format=tar", name.decode().strip(), "src/tconv")
    if archive is None:
        raise ArgumentError(f"--base is {ref!r}, which has no src/tconv. Write a later revision")
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(folder, filter="data")
    return name.decode().strip(), folder / "src"


def command(source: Path, threads: int) -> list[str]:
    """A worker whose tconv comes from `source` and whose benchmark is this one."""
    code = _BOOT.format(source=str(source), bench=str(Path(__file__).parent))
    return [sys.executable, "-P", "-c", code, "tconv", str(threads), "cpu"]


def _root() -> Path:
    """The checkout that this package runs from, or the one around the current directory."""
    for place in (Path(__file__).parent, Path.cwd()):
        found = _git(place, "rev-parse", "--show-toplevel")
        if found is not None and (root := Path(found.decode().rstrip("\n"))).joinpath("src", "tconv").is_dir():
            return root
    raise ArgumentError("--base compares with a git revision, and this is no checkout of tconv. Write git clone first")


def _git(place: Path, *arguments: str) -> bytes | None:
    """What git prints, or None where it fails or is missing."""
    try:
        done = subprocess.run(["git", "-C", str(place), *arguments], capture_output=True, check=False)
    except FileNotFoundError:
        return None
    return done.stdout if done.returncode == 0 else None


def describe() -> str | None:
    """The revision that this package runs from, "-dirty" behind it if files differ; None outside a checkout."""
    found = _git(Path(__file__).parent, "describe", "--always", "--dirty", "--abbrev=12")
    return found.decode().strip() if found else None
