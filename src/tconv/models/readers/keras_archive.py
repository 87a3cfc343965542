"""Reader of Keras' files: .keras, an archive of a configuration and an HDF5 file of weights, and .h5, which has both.

The configuration is JSON. Code in it, that of Lambda layers, is never looked at.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tconv.errors import FileError
from tconv.models.readers.hdf5 import Hdf5File

_CONFIG, _METADATA, _WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
_MOST_TEXT = 64 << 20
_HEADER = 30  # bytes of a local header before name and extra field


class KerasArchive(NamedTuple):
    """Configuration and weights of a model."""

    config: dict[str, Any]
    weights: Hdf5File | None
    version: str
    legacy: bool
    limitations: tuple[str, ...] = ()


def read(path: Path) -> KerasArchive:
    """Return the content of a .keras or .h5 file. Raises FileError, MissingExtraError."""
    try:
        with path.open("rb") as file:
            start = file.read(8)
        return _archive(path) if start[:2] == b"PK" else _legacy(path)
    except FileError as error:
        raise FileError(f"{path} is not a Keras model: {error}. Write model.save('model.keras')") from None
    except (zipfile.BadZipFile, NotImplementedError, EOFError) as error:
        raise FileError(f"{path} is not a Keras model: its archive is damaged ({error})") from None
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror or error}") from None


def _archive(path: Path) -> KerasArchive:
    with zipfile.ZipFile(path) as archive:
        members = {member.filename: member for member in archive.infolist()}
        if _CONFIG not in members:
            raise FileError(f"it has no {_CONFIG}")
        config = _json(_text(archive, members[_CONFIG]))
        given = _json(_text(archive, members[_METADATA])) if _METADATA in members else {}
        weights, limitations = None, []
        if _WEIGHTS in members:
            member = members[_WEIGHTS]
            if member.compress_type == zipfile.ZIP_STORED:
                weights = Hdf5File(path, _start(path, member), member.file_size)
            else:
                limitations.append(f"{_WEIGHTS} is compressed in the archive, so its numbers are not read")
        else:
            limitations.append(f"The archive has no {_WEIGHTS}")
        version = given.get("keras_version", "")
        return KerasArchive(config, weights, str(version)[:40], False, tuple(limitations))


def _start(path: Path, member: zipfile.ZipInfo) -> int:
    """Return the place of a member's first byte. Raises FileError if the member is not all in the file."""
    with path.open("rb") as file:
        file.seek(member.header_offset)
        header = file.read(_HEADER)
    if len(header) < _HEADER or header[:4] != b"PK\3\4":
        raise FileError(f"{member.filename} is damaged")
    lengths = int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
    start = member.header_offset + _HEADER + lengths
    if start + member.file_size > path.stat().st_size:
        raise FileError(f"{member.filename} is cut off")
    return start


def _text(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    with _refused_members(member.filename), archive.open(member) as file:
        text = file.read(_MOST_TEXT + 1)
    if len(text) > _MOST_TEXT:
        raise FileError(f"{member.filename} has more than {_MOST_TEXT} bytes")
    return text


@contextmanager
def _refused_members(name: str) -> Iterator[None]:
    """Turn the errors of a damaged or encrypted member into FileError."""
    try:
        yield
    except Exception as error:  # zlib, zipfile and lzma have their own kinds
        raise FileError(f"{name} cannot be read: {str(error)[:100]}") from None


def _json(text: bytes | str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FileError(f"its configuration is no JSON ({str(error)[:100]})") from None
    if not isinstance(found, dict):
        raise FileError("its configuration is not an object")
    return found


def _legacy(path: Path) -> KerasArchive:
    weights = Hdf5File(path)
    given = weights.groups[""]
    if "model_config" not in given:
        raise FileError("it has no model_config: it has weights alone, or is another kind of HDF5 file")
    return KerasArchive(_json(given["model_config"]), weights, given.get("keras_version", "")[:40], True)
