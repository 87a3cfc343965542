"""The journal of a job: what a crash leaves of it is read, what was altered is refused, and one process has it."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from tconv.errors import FileError
from tconv.scale.journal import Done, Journal, journal_path, read_journal

HEADER = {"journal": 1, "tconv": "0.1.0", "stages": [{"tiles": 7}, {"tiles": 3}]}


@pytest.fixture
def path(tmp_path):
    return journal_path(tmp_path / "y.npy")


def written(path):
    journal = Journal(path)
    journal.begin(HEADER)
    journal.note(created=True)
    journal.context(0, 0, {"mean": np.arange(3, dtype=np.float32), "count": np.int64(5)})
    journal.start(0, 2)
    journal.start(0, 2)
    journal.done(0, [Done(2, 0xFEDCBA9876543210, 1), Done(6, 2**64 - 1, 0)])
    journal.done(1, [Done(0, 3, 4)])
    journal.close()
    return path


def test_everything_is_read_back(path):
    assert path.name == "y.npy.journal"
    state = read_journal(written(path))
    assert state.header == HEADER
    assert state.notes == {"created": True}
    assert state.stages[0].done.tolist() == [False, False, True, False, False, False, True]
    assert int(state.stages[0].values[2]) == 0xFEDCBA9876543210
    assert int(state.stages[0].values[6]) == 2**64 - 1
    assert int(state.stages[0].windows[2]) == 1
    assert state.stages[0].done_twice == 1
    assert state.stages[1].count == 1
    np.testing.assert_array_equal(state.contexts[0, 0]["mean"], np.arange(3, dtype=np.float32))
    assert state.contexts[0, 0]["count"] == 5
    assert state.end == path.stat().st_size
    assert not state.is_complete


def test_the_later_line_of_a_tile_holds(path):
    written(path)
    journal = Journal(path)
    journal.go_on()
    journal.lost(0, [2, 6])
    journal.done(0, [Done(6, 11, 12)])
    journal.close()
    state = read_journal(path).stages[0]
    assert state.done.tolist() == [False] * 6 + [True]
    assert (int(state.values[6]), int(state.windows[6])) == (11, 12)


def test_a_journal_that_ends_anywhere_has_the_lines_before(path):
    """As a kill or a power cut leaves it."""
    data = written(path).read_bytes()
    ends = [place + 1 for place, byte in enumerate(data) if byte == ord("\n")]
    for cut in range(len(data)):
        path.write_bytes(data[:cut])
        state = read_journal(path)
        whole = sum(end <= cut for end in ends)
        assert state.end == max([0, *(end for end in ends if end <= cut)])
        assert (state.header is None) == (whole == 0)
        assert sum(stage.count for stage in state.stages) == max(0, whole - 5)


def test_lines_after_a_torn_one_are_written_where_it_began(path):
    data = written(path).read_bytes()
    path.write_bytes(data[:-10])
    journal = Journal(path)
    journal.go_on()
    journal.done(1, [Done(2, 5, 6)])
    journal.close()
    state = read_journal(path)
    assert state.stages[1].done.tolist() == [False, False, True]
    assert state.stages[0].count == 2


def test_every_altered_byte_is_noticed(path):
    """In the last line it costs that line, before it the journal is refused, and the first line is none any more."""
    data = written(path).read_bytes()
    first, last = data.index(b"\n") + 1, data[:-1].rindex(b"\n") + 1
    for place in range(0, len(data), 3):
        altered = bytearray(data)
        altered[place] ^= 1
        path.write_bytes(bytes(altered))
        if place < first:
            assert read_journal(path).header is None
        elif place < last - 1:
            with pytest.raises(FileError, match=r"was altered: line \d+ is damaged.*resume=False"):
                read_journal(path)
        elif place >= last:
            assert read_journal(path).stages[1].count == 0


def test_pages_that_a_power_cut_left_empty_cost_their_lines_alone(path):
    """What was not synced is kept in part: lines before and behind the hole count."""
    journal = Journal(written(path))
    size = path.stat().st_size
    for number in range(3):
        journal.start(1, number)
        journal.done(1, [Done(number, 5, 6)])
    journal.close()
    data = path.read_bytes()
    last = data.rindex(b"done 1 2")
    for low in range(size, last, 7):
        for high in (low + 1, low + 20, last):
            path.write_bytes(data[:low] + bytes(high - low) + data[high:])
            state = read_journal(path)
            assert state.stages[1].done[2] or high > last
            assert state.stages[0].count == 2


def test_zeros_that_a_power_cut_leaves_are_skipped(path):
    data = written(path).read_bytes()
    last = data[:-1].rindex(b"\n") + 1
    path.write_bytes(data[:last] + bytes(512) + data[last:])
    assert read_journal(path).stages[1].count == 1
    path.write_bytes(data + bytes(4096))
    assert read_journal(path).end == len(data)


def test_a_line_of_another_journal_is_none(path, tmp_path):
    other = Journal(tmp_path / "other")
    other.begin({**HEADER, "tconv": "0.2.0"})
    other.done(1, [Done(1, 3, 4)])
    other.close()
    line = (tmp_path / "other").read_bytes().splitlines(keepends=True)[-1]
    with written(path).open("ab") as file:
        file.write(line)
    assert read_journal(path).stages[1].count == 1


def test_a_journal_of_another_version_is_refused(path):
    journal = Journal(path)
    journal.begin({"journal": 2, "stages": []})
    journal.close()
    with pytest.raises(FileError, match=r"this version of tconv does not know.*Go on with the version"):
        read_journal(path)


def test_tiles_that_the_job_has_not_are_refused(path):
    written(path)
    journal = Journal(path)
    journal.go_on()
    journal.done(1, [Done(3, 5, 6)])
    journal.close()
    with pytest.raises(FileError, match="tile 3"):
        read_journal(path)


def test_no_json_of_a_user_is_mistaken_for_a_journal(path):
    path.write_text(json.dumps(HEADER) + "\n")
    assert read_journal(path).header is None


def test_two_at_a_time_are_refused(path):
    journal = Journal(path)
    with pytest.raises(FileError, match="in use: another process works at this output"):
        Journal(path)
    journal.close()
    Journal(path).close()


def test_a_killed_process_leaves_no_lock(path):
    text = f"""
import sys, time
from pathlib import Path
from tconv.scale.journal import Journal
journal = Journal(Path({str(path)!r}))
print("locked", flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "locked\n"
            with pytest.raises(FileError, match="in use"):
                Journal(path)
        finally:
            process.kill()
            process.wait(timeout=20)
    Journal(path).close()


def test_many_lines_are_read_into_small_arrays(path):
    """17 bytes a tile beside the text, which is not kept."""
    tiles = 30_000
    journal = Journal(path)
    journal.begin({"journal": 1, "stages": [{"tiles": tiles}]})
    journal.done(0, (Done(number, number * 3, number * 5) for number in range(tiles)))
    journal.close()
    state = read_journal(path).stages[0]
    assert state.done.all()
    np.testing.assert_array_equal(state.values, np.arange(tiles, dtype=np.uint64) * 3)
    np.testing.assert_array_equal(state.windows, np.arange(tiles, dtype=np.uint64) * 5)
    assert sum(each.nbytes for each in (state.done, state.values, state.windows, state.started)) < 20 * tiles


def test_an_empty_new_journal_is_removed(path):
    journal = Journal(path)
    journal.close()
    assert not path.exists()
    written(path)
    Journal(path).close()
    assert path.exists()


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(FileError, match=r"y\.journal cannot be written: No such file or directory"):
        Journal(tmp_path / "nothing" / "y.journal")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="/dev/full of Linux")
def test_a_full_disk_is_named(path, monkeypatch):
    written(path)
    journal = Journal(path)
    full = os.open("/dev/full", os.O_WRONLY)
    real, journal._file = journal._file, full
    with pytest.raises(FileError, match=r"cannot be written: No space left on device. Free some space"):
        journal.done(1, [Done(1, 2, 3)])
    journal._file = real
    os.close(full)
    journal.close()
