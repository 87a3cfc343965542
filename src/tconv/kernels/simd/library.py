"""Machine code by name: built once, kept as object files that survive the process, loaded by address.

The cache is a folder per (text of this package's sources, chip, features, LLVM): an edit, another chip or another
LLVM is another folder, so nothing stale is ever loaded. A file is written under another name and moved into its place,
and carries a checksum: two processes that build the same code write the same bytes, and half a file is built anew.
Where nothing can be written, code is built in every process. `TCONV_CACHE_DIR` names another place; empty, none.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
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

from tconv.kernels.simd import target

_KEPT_DAYS = 30
_DIGEST = hashlib.sha256().digest_size


class Library:
    """Functions by name; each is built at its first use, in whichever thread that is."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._addresses: dict[str, int] = {}
        self._kept: list[Any] = []
        self.built = 0
        """functions that had to be built, because no file held them"""

    def address(self, name: str, write: Callable[[], str]) -> int:
        """Where the function of this name begins; `write` gives its LLVM text, if it has to be built."""
        known = self._addresses.get(name)
        if known is not None:
            return known
        with self._lock:
            if name not in self._addresses:
                self._addresses[name] = self._load(name, self._read(name) or self._build(name, write))
            return self._addresses[name]

    def _read(self, name: str) -> bytes | None:
        folder = _folder()
        if folder is None:
            return None
        try:
            kept = (folder / f"{name}.o").read_bytes()
        except OSError:
            return None
        return kept[_DIGEST:] if kept[:_DIGEST] == hashlib.sha256(kept[_DIGEST:]).digest() else None

    def _build(self, name: str, write: Callable[[], str]) -> bytes:
        self.built += 1
        machine = target.machine()
        module = llvm.parse_assembly(write())
        module.verify()
        options = llvm.create_pipeline_tuning_options(speed_level=2)
        options.loop_unrolling = options.loop_vectorization = options.slp_vectorization = False
        builder = llvm.create_pass_builder(machine, options)
        builder.getModulePassManager().run(module, builder)
        code: bytes = machine.emit_object(module)
        _keep(name, code)
        return code

    def _load(self, name: str, code: bytes) -> int:
        if not self._kept:
            self._kept.append(llvm.create_lljit_compiler(target.machine()))
        jit = self._kept[0]
        builder = llvm.JITLibraryBuilder().add_object_img(code).add_current_process().export_symbol(name)
        tracker = builder.link(jit, name)
        self._kept.append(tracker)
        _for_ever(self._kept)
        address: int = tracker[name]
        return address


def _for_ever(kept: list[Any]) -> None:
    """Keep the code until the process ends: threads may run it while the interpreter takes its objects apart."""
    import ctypes

    for thing in (*kept, kept):
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


LIBRARY = Library()


def _after_fork() -> None:
    """Another thread of the parent may have held the lock; the code itself is the child's, too."""
    LIBRARY._lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@cache
def _folder() -> Path | None:
    given = os.environ.get("TCONV_CACHE_DIR")
    if given == "":
        return None
    if given:
        root = Path(given)
    elif sys.platform == "darwin":
        root = Path.home() / "Library" / "Caches" / "tconv"
    elif os.name == "nt":
        root = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "tconv" / "cache"
    else:
        root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tconv"
    return root / _fingerprint()


@cache
def _fingerprint() -> str:
    """What the code depends on, as a name."""
    digest = hashlib.sha256()
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    chip = target.target()
    digest.update(repr((chip, llvmlite.__version__, llvm.llvm_version_info, llvm.get_default_triple())).encode())
    return f"{chip.cpu}-{digest.hexdigest()[:20]}"


def _keep(name: str, code: bytes) -> None:
    folder = _folder()
    if folder is None:
        return
    with contextlib.suppress(OSError):
        if not folder.is_dir():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _forget(folder)
        with tempfile.NamedTemporaryFile(dir=folder, delete=False) as part:
            part.write(hashlib.sha256(code).digest() + code)
        os.replace(part.name, folder / f"{name}.o")


def _forget(folder: Path) -> None:
    """Remove what other versions left and nobody has used for a month."""
    for other in folder.parent.iterdir():
        if other != folder and other.is_dir() and time.time() - other.stat().st_mtime > _KEPT_DAYS * 86400:
            shutil.rmtree(other, ignore_errors=True)


def folder() -> Path | None:
    """Where built code is kept, or None."""
    return _folder()
