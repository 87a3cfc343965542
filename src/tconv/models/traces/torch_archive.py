"""Kind of a file that PyTorch does not read, from its archive: PyTorch's own error calls every such file corrupted."""

from __future__ import annotations

import zipfile
from pathlib import Path

_ZIP, _PICKLE = b"PK\x03\x04", b"\x80"
EMPTY, NO_ARCHIVE, CUT_OFF = "it is empty", "it is no ZIP archive", "its archive is cut off or damaged"
"""Reasons against files that PyTorch did not write, or not to their end."""


def reason_against(path: Path) -> str:
    """Return why a file is neither TorchScript nor an exported program, in a few words.

    A file that `torch.save` wrote is an archive, too, or before PyTorch 1.6 a pickle; it has no code, only the names of
    classes.
    """
    with path.open("rb") as file:
        start = file.read(4)
    if not start:
        return EMPTY
    if not start.startswith(_ZIP):
        return "it was pickled by torch.save" if start.startswith(_PICKLE) else NO_ARCHIVE
    try:
        with zipfile.ZipFile(path) as archive:
            names = {Path(name).name for name in archive.namelist()}
    except (zipfile.BadZipFile, OSError):
        return CUT_OFF
    if "data.pkl" in names and "constants.pkl" not in names:
        return "it was pickled by torch.save"
    return "its archive has other files than PyTorch writes, or damaged ones"
