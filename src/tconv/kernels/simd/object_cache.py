"""Cache of machine code: functions are compiled once and stored as object files for later processes.

There is a folder for each combination of the sources in `tconv.kernels`, the chip, its features and LLVM. An edit,
another chip or another LLVM has another folder, so stale code is never loaded. A file is written under a temporary
name, then moved, and begins with a checksum: processes that build the same function at once write the same bytes, and a
damaged file is built again. Where nothing can be written, every process builds its code. `TCONV_CACHE_DIR` names
another folder; if it is empty, nothing is stored.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite
import llvmlite.binding as llvm
import xxhash

from tconv._fork import own_in_forks
from tconv.kernels.simd import cpu_target

_MOST_DAYS = 30
"""Days after which the unused folder of another version is removed."""
_CHECKSUM_BYTES = xxhash.xxh3_128().digest_size
"""128 bits: against accidents, not against an attacker who can write files. hashlib would load OpenSSL for it."""


class ObjectCache:
    """Compiled functions by name. Each is built, or read from its file, at its first use in any thread."""

    def __init__(self) -> None:
        self.lock = threading.RLock()  # a finalizer or a signal may call from inside of any statement
        self._addresses: dict[str, int] = {}
        self._loaded: list[Any] = []  # LLVM's linker, then the object of each function
        self._numbers = itertools.count()
        self.built = 0
        """functions that were built because there was no file of them"""

    def address(self, name: str, write: Callable[[], str]) -> int:
        """Return the address of the function with this name. `write` returns its LLVM text if it has to be built."""
        known = self._addresses.get(name)
        if known is not None:
            return known
        with self.lock:
            if name not in self._addresses:
                self._addresses[name] = self._load(name, self._read(name) or self._build(name, write))
            return self._addresses[name]

    def _read(self, name: str) -> bytes | None:
        folder = _folder()
        if folder is None:
            return None
        try:
            content = (folder / f"{name}.o").read_bytes()
        except OSError:
            return None
        code = content[_CHECKSUM_BYTES:]
        return code if content[:_CHECKSUM_BYTES] == _checksum(name, code) else None

    def _build(self, name: str, write: Callable[[], str]) -> bytes:
        self.built += 1
        machine = cpu_target.machine()
        code: bytes = machine.emit_object(optimized(write(), machine))
        _save(name, code)
        return code

    def _load(self, name: str, code: bytes) -> int:
        if not self._loaded:
            self._loaded.append(llvm.create_lljit_compiler(cpu_target.machine()))
        jit = self._loaded[0]
        builder = llvm.JITLibraryBuilder().add_object_img(code).add_current_process().export_symbol(name)
        # under a new name each time: a load that an interrupt ended half-way does not collide with the next
        tracker = builder.link(jit, f"{name}.{next(self._numbers)}")
        self._loaded.append(tracker)
        _never_release(self._loaded)
        address: int = tracker[name]
        return address


def _never_release(loaded: list[Any]) -> None:
    """Keep the code in memory until the process ends: threads may still run it while the interpreter shuts down."""
    import ctypes

    for part in (*loaded, loaded):
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(part))


def optimized(text: str, machine: Any) -> Any:
    """Return LLVM's text of a function as an optimized module for a code generator."""
    module = llvm.parse_assembly(text)
    module.verify()
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    options.loop_unrolling = options.loop_vectorization = options.slp_vectorization = False
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
    return module


OBJECT_CACHE = ObjectCache()
"""Cache of this process, which all machine code comes from."""


own_in_forks(OBJECT_CACHE.lock)


def _digest_of_sources() -> str | None:
    """Return a digest of the sources of `tconv.kernels`; None if they are not there as files."""
    digest, root = xxhash.xxh3_128(), os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    # all of `kernels`, sub-folders too: constants of any of them may stand in the machine code
    folders = os.walk(root)
    sources = sorted(os.path.join(folder, name) for folder, _, names in folders for name in names if name[-3:] == ".py")
    for source in sources:
        with open(source, "rb") as file:
            text = file.read()
        # the name and the length too, so that no text can move from one file into the next
        digest.update(f"{os.path.relpath(source, root)} {len(text)} ".encode() + text)
    return digest.hexdigest() if sources else None


_SOURCES = _digest_of_sources()
"""Computed at import: when the first function is built, the files could be newer than the imported modules."""


@cache
def _folder() -> Path | None:
    given = os.environ.get("TCONV_CACHE_DIR")
    if given == "" or _SOURCES is None:
        return None
    try:
        if given:
            root = Path(given).expanduser().absolute()
        elif sys.platform == "darwin":
            root = Path.home() / "Library" / "Caches" / "tconv"
        elif os.name == "nt":
            root = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "tconv" / "cache"
        else:
            root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tconv"
    except RuntimeError:  # a user without a home
        return None
    folder = root / _folder_name()
    with contextlib.suppress(OSError):
        os.utime(folder)  # in use
    return folder


@cache
def _folder_name() -> str:
    """Return a name for all that the code depends on: the chip, and a digest of it with the sources and LLVM."""
    chip = cpu_target.target()
    depends_on = _SOURCES, chip, llvmlite.__version__, llvm.llvm_version_info
    return f"{chip.cpu}-{xxhash.xxh3_128_hexdigest(repr(depends_on).encode())[:20]}"


def _checksum(name: str, code: bytes) -> bytes:
    """Return the checksum of a function's name and code; its file begins with it."""
    return xxhash.xxh3_128_digest(name.encode() + b"\0" + code)


def _save(name: str, code: bytes) -> None:
    """Write the file of a function, if that is possible."""
    folder = _folder()
    if folder is None:
        return
    with contextlib.suppress(OSError):
        if not folder.is_dir():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _remove_old_folders(folder)
        with tempfile.NamedTemporaryFile(dir=folder, suffix=".part", delete=False) as part:
            try:
                part.write(_checksum(name, code) + code)
                part.close()
                os.replace(part.name, folder / f"{name}.o")
            except BaseException:  # a full disk, an interrupt
                Path(part.name).unlink(missing_ok=True)
                raise


def _remove_old_folders(folder: Path) -> None:
    """Remove the folders of other versions that were not used for a month. Other files of the user stay."""
    for other in folder.parent.iterdir():
        if other == folder or not re.fullmatch(r".+-[0-9a-f]{20}", other.name):
            continue
        with contextlib.suppress(OSError):
            if time.time() - other.stat().st_mtime > _MOST_DAYS * 86400:
                for file in (*other.glob("*.o"), *other.glob("*.part")):
                    file.unlink(missing_ok=True)
                other.rmdir()


def folder() -> Path | None:
    """Return the folder where code is stored; None if it is not stored."""
    return _folder()


def reason_not_stored() -> str | None:
    """Return the reason why code is not stored; None if it is. Leaves no file behind."""
    folder = _folder()
    if folder is None:
        return "TCONV_CACHE_DIR is empty" if os.environ.get("TCONV_CACHE_DIR") == "" else "there is no folder for it"
    there = next(str(place) for place in (folder, *folder.parents) if os.path.exists(place))
    try:
        with tempfile.TemporaryFile(dir=there):
            return None
    except OSError as error:
        return f"{there} cannot be written: {error.strerror}"
