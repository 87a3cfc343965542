"""Machine code by name: built once, kept as object files that survive the process, loaded by address.

The cache is a folder per (text of all sources in `tconv.kernels`, chip, features, LLVM): an edit, another chip or
another LLVM is another folder, so nothing stale is ever loaded. A file is written under another name and moved into
its place, and carries a checksum: two processes that build the same code write the same bytes, and half a file is
built anew.
Where nothing can be written, code is built in every process. `TCONV_CACHE_DIR` names another place; empty, none.
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

from tconv.kernels.simd import cpu_target

_KEPT_DAYS = 30
_DIGEST = xxhash.xxh3_128().digest_size
"""128 bits: against accidents, not against somebody who may write there. hashlib would load OpenSSL for it."""


class Library:
    """Functions by name; each is built at its first use, in whichever thread that is."""

    def __init__(self) -> None:
        self.lock = threading.RLock()  # a finalizer or a signal may call from inside of any statement
        self._addresses: dict[str, int] = {}
        self._kept: list[Any] = []
        self._numbers = itertools.count()
        self.built = 0
        """functions that had to be built, because no file held them"""

    def address(self, name: str, write: Callable[[], str]) -> int:
        """Where the function of this name begins; `write` gives its LLVM text, if it has to be built."""
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
            kept = (folder / f"{name}.o").read_bytes()
        except OSError:
            return None
        code = kept[_DIGEST:]
        return code if kept[:_DIGEST] == _seal(name, code) else None

    def _build(self, name: str, write: Callable[[], str]) -> bytes:
        self.built += 1
        machine = cpu_target.machine()
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
            self._kept.append(llvm.create_lljit_compiler(cpu_target.machine()))
        jit = self._kept[0]
        builder = llvm.JITLibraryBuilder().add_object_img(code).add_current_process().export_symbol(name)
        # a name of its own: what an interrupt left half done is not in the way
        tracker = builder.link(jit, f"{name}.{next(self._numbers)}")
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


if hasattr(os, "register_at_fork"):
    # no other thread is inside of LLVM, which has locks of its own, when the child's copy is made
    os.register_at_fork(
        before=LIBRARY.lock.acquire, after_in_parent=LIBRARY.lock.release, after_in_child=LIBRARY.lock.release
    )


def _text() -> str | None:
    """What the sources of this package say, as a name; None if they are not kept as files."""
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


_TEXT = _text()
"""Read now, and not when the first function is built: then it could be newer than what was imported."""


@cache
def _folder() -> Path | None:
    given = os.environ.get("TCONV_CACHE_DIR")
    if given == "" or _TEXT is None:
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
    found = root / _fingerprint()
    with contextlib.suppress(OSError):
        os.utime(found)  # in use
    return found


@cache
def _fingerprint() -> str:
    """What the code depends on, as a name."""
    chip = cpu_target.target()
    made_by = _TEXT, chip, llvmlite.__version__, llvm.llvm_version_info, llvm.get_default_triple()
    return f"{chip.cpu}-{xxhash.xxh3_128_hexdigest(repr(made_by).encode())[:20]}"


def _seal(name: str, code: bytes) -> bytes:
    """What stands in front of a function's code in its file."""
    return xxhash.xxh3_128_digest(name.encode() + b"\0" + code)


def _keep(name: str, code: bytes) -> None:
    folder = _folder()
    if folder is None:
        return
    with contextlib.suppress(OSError):
        if not folder.is_dir():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _forget(folder)
        with tempfile.NamedTemporaryFile(dir=folder, suffix=".part", delete=False) as part:
            try:
                part.write(_seal(name, code) + code)
                part.close()
                os.replace(part.name, folder / f"{name}.o")
            except BaseException:  # a full disk, an interrupt
                Path(part.name).unlink(missing_ok=True)
                raise


def _forget(folder: Path) -> None:
    """Remove what other versions left and nobody has used for a month; nothing else that is in the user's folder."""
    for other in folder.parent.iterdir():
        if other == folder or not re.fullmatch(r".+-[0-9a-f]{20}", other.name):
            continue
        with contextlib.suppress(OSError):
            if time.time() - other.stat().st_mtime > _KEPT_DAYS * 86400:
                for kept in (*other.glob("*.o"), *other.glob("*.part")):
                    kept.unlink(missing_ok=True)
                other.rmdir()


def folder() -> Path | None:
    """Where built code is kept, or None."""
    return _folder()


def refusal() -> str | None:
    """Why code that is built now is not kept; None where it is. Nothing is left behind by asking."""
    folder = _folder()
    if folder is None:
        return "TCONV_CACHE_DIR is empty" if os.environ.get("TCONV_CACHE_DIR") == "" else "there is no folder for it"
    there = next(str(place) for place in (folder, *folder.parents) if os.path.exists(place))
    try:
        with tempfile.TemporaryFile(dir=there):
            return None
    except OSError as error:
        return f"{there} cannot be written: {error.strerror}"
