"""Files of Debian packages, without the rights of an administrator: fetched by apt, unpacked by dpkg, not installed."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

CACHE = Path.home() / ".cache" / "tconv" / "packages"
"""Folder of the packages that all examples fetch."""


def fetch(packages, folder=None):
    """Download and unpack into FOLDER/NAME each package missing there, and return the folder, by default `CACHE`.

    Raises SystemExit, with what to write, where apt is missing or fails. A package appears whole or not at all.
    """
    folder = folder or CACHE
    for package in packages:
        if (folder / package).is_dir():
            continue
        print(f"fetching Debian's package {package} ...", file=sys.stderr, flush=True)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SystemExit(f"{folder} cannot be made: {error.strerror}. Write another folder") from None
        try:
            with tempfile.TemporaryDirectory(dir=folder) as scratch:
                _run(["apt-get", "download", package], scratch)
                (archive,) = Path(scratch).glob("*.deb")
                _run(["dpkg-deb", "-x", archive.name, "unpacked"], scratch)
                (Path(scratch) / "unpacked").rename(folder / package)
        except (OSError, ValueError, subprocess.CalledProcessError) as error:
            if (folder / package).is_dir():
                continue  # another process was faster
            raise SystemExit(_advice(package, packages, error)) from None
    return folder


def _run(command, folder):
    subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)


def _advice(package, packages, error):
    said = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
    return (
        f"the Debian package {package} could not be fetched: {said[-1] if said else error}\n"
        "Write: apt-get update, as root, and run this again. Or, on a system without apt, unpack the .deb files of "
        f"{', '.join(packages)} (https://packages.debian.org/bookworm/{package}, for example) into FOLDER/NAME each, "
        "and write: --packages FOLDER"
    )
