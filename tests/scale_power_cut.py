"""Power cuts: a folder is put back to what a disk must have kept of it.

The model is POSIX's, without the favours of a file system: a file has the content that it had when it was last synced by
`os.fsync`, a folder the names that it had when it was last synced itself. What came after may be there, or not, or in
part: `lose` drops all of it, or a random half of the pages, names and lengths.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import sys
from contextlib import suppress
from pathlib import Path

PAGE = 4096


def begin(root, shadow):
    """Count all that is in a folder as synced."""
    shutil.rmtree(shadow, ignore_errors=True)
    os.makedirs(shadow)
    for folder, _, files in os.walk(root):
        for path in [folder, *(os.path.join(folder, name) for name in files)]:
            descriptor = os.open(path, os.O_RDONLY)
            record(descriptor, shadow)
            os.close(descriptor)


def install(root, shadow):
    """Replace `os.fsync`, `os.fdatasync` and `syncfs` by functions that record what a disk would keep, without waiting."""
    root = str(root)

    def synced(descriptor):
        descriptor = descriptor if isinstance(descriptor, int) else descriptor.fileno()
        if os.readlink(f"/proc/self/fd/{descriptor}").startswith(root):
            record(descriptor, shadow)

    def synced_all(folder):
        for parent, _, files in os.walk(root):
            for path in [parent, *(os.path.join(parent, name) for name in files)]:
                with suppress(FileNotFoundError):
                    descriptor = os.open(path, os.O_RDONLY)
                    record(descriptor, shadow)
                    os.close(descriptor)
        return True

    os.fsync = os.fdatasync = synced
    if "tconv" in sys.modules:
        from tconv.scale.stores import zarr_files

        zarr_files._sync_file_system = synced_all


def record(descriptor, shadow):
    """Keep content or names; the record appears at once, as a sync that was interrupted has not happened."""
    found = os.fstat(descriptor)
    record_of = os.path.join(shadow, str(found.st_ino))
    part = f"{record_of}.{os.getpid()}.{descriptor}"
    if stat.S_ISDIR(found.st_mode):
        with os.scandir(f"/proc/self/fd/{descriptor}") as entries:
            names = {entry.name: entry.inode() for entry in entries}
        with open(part, "w") as file:
            json.dump(names, file)
    else:
        shutil.copyfile(f"/proc/self/fd/{descriptor}", part)
        with suppress(FileExistsError, FileNotFoundError):  # a second name: the number is given to no other file
            os.link(os.readlink(f"/proc/self/fd/{descriptor}"), f"{record_of}.kept")
    os.replace(part, record_of)


def lose(root, shadow, rng=None):
    """Put a folder back; with a random generator, some of what was not synced stays. Returns the paths that changed."""
    root, shadow = Path(root), Path(shadow)
    there = {}
    for folder, _, files in os.walk(root):
        for path in [folder, *(os.path.join(folder, name) for name in files)]:
            there[os.lstat(path).st_ino] = Path(path)
    restored = root.with_name(root.name + ".restored")
    changed = []
    _restore_folder(root.stat().st_ino, restored, there, shadow, rng, changed)
    crashed = root.with_name(root.name + ".crashed")
    os.rename(root, crashed)
    os.rename(restored, root)
    shutil.rmtree(crashed)
    begin(root, shadow)
    return [str(path.relative_to(restored)) for path in changed]


def _restore_folder(number, target, there, shadow, rng, changed):
    target.mkdir()
    record_of = shadow / str(number)
    names = json.loads(record_of.read_text()) if record_of.exists() else {}
    now = {}
    if number in there:
        with os.scandir(there[number]) as entries:
            now = {entry.name: entry.inode() for entry in entries}
    if names != now:
        changed.append(target)
        if rng is not None and rng.random() < 0.5:
            names = now
    for name, inode in names.items():
        found = there.get(inode)
        kept = shadow / f"{inode}.kept"
        folder = found.is_dir() if found else not kept.exists() and (shadow / str(inode)).exists()
        if folder:
            _restore_folder(inode, target / name, there, shadow, rng, changed)
        else:
            _restore_file(inode, target / name, found or (kept if kept.exists() else None), shadow, rng, changed)


def _restore_file(number, target, found, shadow, rng, changed):
    record_of = shadow / str(number)
    before = record_of.read_bytes() if record_of.exists() else b""
    after = found.read_bytes() if found else b""
    if before != after:
        changed.append(target)
    if rng is not None and before != after:
        length = (
            len(before)
            if rng.random() < 0.3
            else int(rng.integers(min(len(before), len(after)), max(len(before), len(after)) + 1))
        )
        longest = max(len(before), len(after))
        pages = [before.ljust(longest, b"\0"), after.ljust(longest, b"\0")]
        mixed = [pages[int(rng.integers(2))][at : at + PAGE] for at in range(0, longest, PAGE)]
        before = b"".join(mixed)[:length]
    target.write_bytes(before)
