"""Description of a TIFF file's pages for the programs that read stacks: OME-XML, or tifffile's line of JSON.

Without one, pages are pages: a volume, or a series of volumes, would come back as pictures.
"""

from __future__ import annotations

import json
import re
import uuid
from pathlib import Path
from typing import Any

import numpy as np

from tconv.errors import DtypeError, MissingExtraError

PageAxes = tuple[tuple[str, int], ...]
"""Name and size of each axis along which pages are counted, the last fastest."""


def describe_pages(
    path: Path, axes: PageAxes, sizes: tuple[int, int], channels: int, dtype: np.dtype[Any]
) -> str | None:
    """Return what a file says of its pages; None for plain pages. A name that ends in .ome.tif gets OME-XML.

    >>> describe_pages(Path("a.tif"), (("Z", 5),), (40, 50), 1, np.dtype("u1"))
    '{"shape": [5, 40, 50], "axes": "ZYX"}'
    """
    if re.search(r"\.ome\.tiff?$", path.name, re.IGNORECASE):
        return _ome(path, axes, sizes, channels, dtype)
    if len(axes) < 2 and not any(name in ("T", "Z") for name, _ in axes):
        return None
    letters, counts = _letters(axes, "TZ")
    colours, last = ("S", [channels]) if channels > 1 else ("", [])
    return json.dumps({"shape": [*counts, *sizes, *last], "axes": f"{letters}YX{colours}"})


def _letters(axes: PageAxes, known: str) -> tuple[str, list[int]]:
    """Return a letter and a size for each axis; axes whose names are no letters, or unknown, become one T."""
    names = [name for name, _ in axes]
    if all(len(name) == 1 and name.isupper() and name not in "YXCS" for name in names) and set(names) <= {*known, "N"}:
        letters = ["T" if name == "N" and "T" not in names else name for name in names]
        if len(set(letters)) == len(letters):
            return "".join(letters), [size for _, size in axes]
    depth = [size for name, size in axes if name == "Z"]
    count = int(np.prod([size for name, size in axes if name != "Z"]))
    return ("TZ", [count, *depth]) if depth and names[-1] == "Z" else ("T", [int(np.prod([size for _, size in axes]))])


def _ome(path: Path, axes: PageAxes, sizes: tuple[int, int], channels: int, dtype: np.dtype[Any]) -> str:
    try:
        import tifffile
    except ImportError:
        raise MissingExtraError("writing OME-TIFF", "tifffile", "scale") from None
    letters, counts = _letters(axes, "TZ")
    colours, last = ("S", [channels]) if channels > 1 else ("", [])
    pages = int(np.prod(counts))
    xml = tifffile.OmeXml()
    try:
        xml.addimage(
            dtype,
            (*counts, *sizes, *last),
            (pages, 1, 1, *sizes, channels),
            axes=f"{letters}YX{colours}",
            Name=path.name,
        )
    except (ValueError, KeyError):
        raise DtypeError(
            f"the output is {dtype}, which OME-TIFF has no name for; integers of up to 32 bits, float32 and float64 "
            f"are needed. Write {path.name.split('.')[0]}.tif"
        ) from None
    # a number drawn by lot would make each run's file another one
    text = re.sub(r'UUID="urn:uuid:[0-9a-f-]+"', "", xml.tostring(), count=1)
    return text.replace("<OME ", f'<OME UUID="urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, text)}" ', 1)
