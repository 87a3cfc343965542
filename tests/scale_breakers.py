"""A small job that keeps its promises, and jobs that break them, each in one way: the proofs must tell them apart.

The small job does what `tconv.scale.run` does, for one .npy file and with no threads: it writes tiles into NAME.part,
syncs them, writes a line for each into NAME.journal, syncs that, and renames NAME.part at the end.
"""

from __future__ import annotations

import json
import os

import numpy as np
import xxhash

SIZE, TILES, GROUP = 3000, 6, 2
HEADER = 128
"""Bytes before the values of a .npy file of few axes."""


def values(tile):
    """Return the values of a tile; none are 0."""
    return np.random.default_rng(tile).integers(1, 1 << 62, SIZE)


def expected():
    """Return the whole output."""
    return np.concatenate([values(tile) for tile in range(TILES)])


def sync(path):
    """Wait until a file or the names in a folder are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


class SmallJob:
    """Job of 6 tiles, in groups of 2."""

    def __init__(self, folder, log=None):
        self.folder, self.log = folder, log
        self.final = os.path.join(folder, "y.npy")
        self.part, self.journal = self.final + ".part", self.final + ".journal"

    def run(self):
        """Go on where an earlier run stopped, and return the number of tiles that were done by it."""
        if os.path.exists(self.final):
            return TILES
        done = self.finished_tiles()
        if not done:
            self.create()
        for first in range(0, TILES, GROUP):
            group = [tile for tile in range(first, first + GROUP) if tile not in done]
            if group:
                self.commit(group)
        self.finish()
        return len(done)

    def create(self):
        with open(self.part, "wb") as file:
            np.lib.format.write_array(file, np.zeros(SIZE * TILES, np.int64))
        sync(self.part)
        with open(self.journal, "w") as file:
            file.write("job\n")
        sync(self.journal)
        self.sync_folder()

    def commit(self, group):
        self.write(group)
        self.note(group)

    def write(self, group):
        descriptor = os.open(self.part, os.O_WRONLY)
        for tile in group:
            if self.log:
                with open(self.log, "a") as file:
                    file.write(f"{tile}\n")
            os.pwrite(descriptor, values(tile).tobytes(), HEADER + tile * SIZE * 8)
        self.sync_values(descriptor)
        os.close(descriptor)

    def sync_values(self, descriptor):
        os.fsync(descriptor)

    def note(self, group):
        lines = "".join(self.line(tile) for tile in group).encode()
        descriptor = os.open(self.journal, os.O_WRONLY | os.O_APPEND)
        os.write(descriptor, lines)
        os.fsync(descriptor)
        os.close(descriptor)

    def line(self, tile):
        text = json.dumps([tile, xxhash.xxh3_64_hexdigest(values(tile).tobytes())])
        return f"{text} {xxhash.xxh3_64_hexdigest(text.encode())}\n"

    def finished_tiles(self):
        if not os.path.exists(self.journal) or not os.path.exists(self.part):
            return set()
        with open(self.journal, "rb") as file:
            first, *lines = file.read().split(b"\n")
        return self.trusted(lines) if first == b"job" else set()

    def trusted(self, lines):
        found, length = set(), len(b"job\n")
        for line in lines:
            text, _, checksum = line.rpartition(b" ")
            if xxhash.xxh3_64_hexdigest(text).encode() != checksum:
                break
            found.add(json.loads(text)[0])
            length += len(line) + 1
        os.truncate(self.journal, length)  # or else new lines are appended to a torn one
        sync(self.journal)
        return found

    def sync_folder(self):
        sync(self.folder)

    def finish(self):
        os.rename(self.part, self.final)
        self.sync_folder()


class NothingSynced(SmallJob):
    """Values wait in the page cache while the journal says that they are there."""

    def sync_values(self, descriptor):
        pass


class JournalFirst(SmallJob):
    """Lines are written before their tiles."""

    def commit(self, group):
        self.note(group)
        self.write(group)


class RenamedEarly(SmallJob):
    """The output has its final name before the last group is written."""

    def commit(self, group):
        if TILES - 1 in group:
            self.finish()
            self.part = self.final
        super().commit(group)

    def finish(self):
        if os.path.exists(self.part) and self.part != self.final:
            super().finish()


class StartsAnew(SmallJob):
    """Every run makes the output anew, as a store opened with mode "w" is."""

    def finished_tiles(self):
        return set()


BROKEN = [NothingSynced, JournalFirst, RenamedEarly]
"""Jobs whose output is wrong after some power cut or kill."""


def run(kind, folder, log=None):
    """Run a job of a class; for processes."""
    return globals()[kind](folder, log).run()
