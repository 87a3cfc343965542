"""Memory of jobs: sizes as users write them, tiles that fit the bound, the resident memory of a process, and its pool."""

import gc
import re
import sys

import numpy as np
import pytest

from scale_stand_ins import SmallJob, Wrapped, layer, picture
from tconv import _memory
from tconv._memory import pool_bounded
from tconv.errors import ArgumentError, ShapeError, TooLargeError
from tconv.scale.job import Job
from tconv.scale.memory_bound import (
    MemoryWatch,
    bytes_of,
    make_room,
    peak_bytes,
    release_heap,
    resident_bytes,
    size_text,
)
from tconv.scale.operators.layer import computed
from tconv.scale.stores.memory_array import ArraySource, ArrayTarget
from tconv.scale.tile_plan import MemoryBudget, _measures, bytes_read, needed, plan_stage, totals
from tconv.scale.tile_run import Stage

pytest.importorskip("llvmlite")

linux = pytest.mark.skipif(sys.platform != "linux", reason="/proc of Linux")

# -- sizes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1GB", 10**9),
        ("1 gb", 10**9),
        ("512MB", 512 * 10**6),
        ("1GiB", 2**30),
        ("1.5GiB", 3 * 2**29),
        ("800 kB", 800_000),
        (".5T", 5 * 10**11),
        ("4096", 4096),
        ("1e9", 10**9),
        (123, 123),
    ],
)
def test_sizes_are_read_as_people_write_them(text, size):
    assert bytes_of(text) == size
    assert bytes_of(np.int64(size)) == size


@pytest.mark.parametrize(
    "text", ["", "GB", "1XB", "-1GB", "1e", 0, -5, True, 1.5, None, "1 G B", "0", "9" * 5000, "9" * 400 + ".0GB"]
)
def test_other_sizes_are_refused(text):
    with pytest.raises(ArgumentError, match=r'a number of bytes from 1, or text.*Write max_memory="1GB"'):
        bytes_of(text)


@pytest.mark.parametrize("size", [1, 999, 1000, 1234567, 999_999_999, 10**9, 123456789012])
def test_an_advised_size_is_enough(size):
    assert size <= bytes_of(size_text(size)) <= 1.011 * size


# -- the pool ----------------------------------------------------------------------------------------------------


def retained():
    return _memory._pool._free_bytes()


def test_the_pool_of_a_job_retains_no_more_than_it_may():
    _memory.trim_pool()
    f4 = np.dtype("f4")
    with pool_bounded(_memory._pool._used + (8 << 20)):
        arrays = [_memory.empty((1 << 20,), f4) for _ in range(2)]  # 4 MiB each
        del arrays
        gc.collect()
        assert retained() == 8 << 20
        larger = _memory.empty((3 << 19,), f4)  # 6 MiB, which no free block has
        assert retained() <= 2 << 20
        del larger
        gc.collect()
        assert retained() <= 8 << 20
        too_large = _memory.empty((1 << 22,), f4)  # 16 MiB are given, and not retained
        del too_large
        gc.collect()
        assert retained() <= 8 << 20
    assert _memory._pool._bounds == []


def test_the_bounds_of_jobs_end_in_any_order():
    """Jobs in threads: the first one's end neither lifts the bound of the other nor leaves its own."""
    _memory.trim_pool()
    first, second = pool_bounded(1 << 20), pool_bounded(_memory._pool._used)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    held = _memory.empty((1 << 20,), np.dtype("f4"))
    del held
    gc.collect()
    assert retained() == 0
    second.__exit__(None, None, None)
    held = _memory.empty((1 << 20,), np.dtype("f4"))
    del held
    gc.collect()
    assert retained() == 4 << 20


# -- sizes of tiles ----------------------------------------------------------------------------------------------


def stage_of(sizes=(1000, 1200), unit=(64, 64), block=None, operator=None):
    operator = operator or layer(kernel=(4, 4))
    source = ArraySource(np.broadcast_to(np.float32(1), (1, operator.channels[0], *sizes)))
    if block is not None:
        source.block = block
    shape = (1, operator.channels[1], *operator.output_sizes(sizes))
    return Stage(operator, source, ArrayTarget(np.broadcast_to(np.float32(0), shape), unit=unit))


@pytest.mark.parametrize("megabytes", [7, 8, 11, 20, 100])
def test_tiles_are_whole_units_that_fit(megabytes):
    stage = stage_of()
    need = plan_stage(stage, MemoryBudget(megabytes << 20, 0, 0), 2, 2)
    assert need.memory <= megabytes << 20
    assert need == needed(stage, stage.tile, None, need.windows, need.results)
    for size, step in zip(stage.tile, stage.output_sizes, strict=True):
        assert size % 64 == 0 or size == step


def test_more_memory_costs_less_work_for_borders():
    work = []
    for megabytes in (8, 14, 64):
        stage = stage_of(operator=layer(kernel=(31, 31)), unit=(16, 16))
        plan_stage(stage, MemoryBudget(megabytes << 20, 0, 0), 2, 2)
        work.append(totals(stage)[1])
    assert work == sorted(work, reverse=True)
    assert work[0] > work[-1]


def test_tiles_lie_along_the_blocks_of_the_source():
    """Rows that are decoded whole are read by tiles that are wide; square blocks by square tiles."""
    wide, square = stage_of(block=(1, 1200)), stage_of(block=(256, 256))
    for stage in (wide, square):
        plan_stage(stage, MemoryBudget(9 << 20, 0, 0), 2, 2)
    assert wide.tile[1] > 4 * wide.tile[0]
    assert square.tile[1] <= 2 * square.tile[0]
    assert square.tile[0] <= 2 * square.tile[1]


def test_bytes_read_are_those_of_whole_blocks():
    stage = stage_of(block=(100, 7))
    assert bytes_read(stage, (slice(99, 101), slice(7, 14))) == 2 * 200 * 7 * 4
    assert bytes_read(stage, (slice(950, 1000), slice(1199, 1200))) == 2 * 100 * 3 * 4


def test_totals_are_sums_over_all_tiles():
    stage = stage_of(sizes=(61, 83), unit=(8, 8))
    stage.tile = (24, 40)
    work, read = totals(stage)
    regions = [tile.outputs for tile in stage.tiles(0)]
    operator, sizes = stage.operator, stage.sizes
    assert work == sum(operator.work(region, sizes) for region in regions)
    assert read == sum(bytes_read(stage, operator.window(region, sizes)) for region in regions)


def test_given_tiles_must_be_whole_units():
    stage = stage_of()
    for tile in ((100, 64), (64,), (0, 64)):
        stage.tile = tile
        with pytest.raises(ShapeError, match=r"is written in units of \(64, 64\), and a tile is whole ones"):
            plan_stage(stage, MemoryBudget(1 << 30, 0, 0), 2, 2)
    stage.tile = (128, 10**6)
    plan_stage(stage, MemoryBudget(1 << 30, 0, 0), 2, 2)
    assert stage.tile == (128, 2400)


def test_a_unit_too_large_is_computed_in_parts_with_the_bits_of_the_whole():
    operator, x = layer(into=24, out=2), picture(channels=24, sizes=(300, 401))
    y = np.zeros((1, 2, *operator.output_sizes((300, 401))), "f4")
    stage = Stage(operator, ArraySource(x[None]), ArrayTarget(y, unit=y.shape[2:]))
    whole = needed(stage, y.shape[2:], None, 1, 1).memory
    need = plan_stage(stage, MemoryBudget(whole * 2 // 3, 0, 0), 2, 2)
    assert need.memory <= whole * 2 // 3
    assert stage.tile == y.shape[2:]
    assert max(stage.part) < max(stage.tile)
    Job([stage], None, max_memory="4GB").run()
    np.testing.assert_array_equal(y[0], computed(operator, x))


@pytest.mark.parametrize(
    ("tile", "part"), [((2000, 2400), (200, 240)), ((1000, 1200), (125, 2000)), ((700, 900), None)]
)
def test_no_part_of_any_tile_needs_more_than_was_planned(tile, part):
    """Those at the image's border need less than those inside, and both sides differ."""
    stage = stage_of(operator=layer(kernel=(4, 4), dilation=(100, 100)), unit=(1, 1))
    stage.tile, stage.part = tile, part
    found = [
        _measures(stage, piece).need(2, 2, _measures(stage, each.outputs) if part else None).memory
        for each in stage.tiles(0)
        for piece in stage.parts(each)
    ]
    planned = needed(stage, tile, part, 2, 2).memory
    # three places stand for all; windows of others may be an input longer, which the reserve covers
    assert planned * 0.97 <= max(found) <= planned * 1.03


def test_what_does_not_fit_is_refused_with_the_number_that_does():
    stage = stage_of(unit=(512, 512))
    with pytest.raises(TooLargeError) as raised:
        plan_stage(stage, MemoryBudget(6 << 20, 50 << 10, 0), 2, 2)
    message = str(raised.value)
    assert "max_memory is 6.29 MB; the process has 51.2 kB before it starts" in message
    advised = message.partition("Write max_memory='")[2].partition("'")[0]
    plan_stage(stage, MemoryBudget(bytes_of(advised), 50 << 10, 0), 2, 2)
    units = message.partition("of at most (")[2].partition(")")[0]
    smaller = stage_of(unit=tuple(map(int, units.split(","))))
    plan_stage(smaller, MemoryBudget(6 << 20, 50 << 10, 0), 2, 2)


@pytest.mark.parametrize(
    ("held", "bound", "words"),
    [
        (10**8, 10**9, "1 GB (the default)"),
        (488 * 10**6, 10**9, "1 GB (the default)"),
        (13 * 10**8, 1_812_000_000, "1.81 GB (the default: 512 MB above what the process has)"),
    ],
)
def test_the_default_bound_leaves_room_beside_what_the_process_has(tmp_path, monkeypatch, held, bound, words):
    """A notebook that has more than 1 GB already wrote no number that would be too small."""
    monkeypatch.setattr("tconv.scale.job_plan.resident_bytes", lambda: held)
    small = SmallJob(tmp_path)
    plan = small.job(max_memory=None, tile=None).plan
    assert (plan.base_memory, plan.max_memory) == (held, bound)
    assert f"bound {words}" in str(plan)
    report = small.job(max_memory=None, tile=None).run()
    assert report.max_memory == bound
    assert f"bound {words}" in str(report)
    huge = stage_of((20_000, 30_000), unit=(60_000, 60_000))
    with pytest.raises(
        TooLargeError, match=rf"^max_memory is {re.escape(words)}; the process has .*Write max_memory='"
    ):
        plan_stage(huge, MemoryBudget(bound, held, 0, plan.bound_origin), 2, 2, may_split=False)


def test_a_given_bound_stays_as_it_is_in_a_process_that_has_more(tmp_path, monkeypatch):
    monkeypatch.setattr("tconv.scale.job_plan.resident_bytes", lambda: 13 * 10**8)
    small = SmallJob(tmp_path)
    with pytest.raises(TooLargeError, match=r"^max_memory is 1 GB; the process has 1.3 GB before it starts"):
        small.job(max_memory="1GB", tile=None).run()
    assert str(small.job(max_memory="4GB", tile=None).plan).count("bound 4 GB\n") == 1


def test_a_bound_below_what_the_process_has_is_refused_before_anything_is_made(tmp_path):
    small = SmallJob(tmp_path)
    with pytest.raises(
        TooLargeError, match=r"max_memory is 20 MB; the process has .* before it starts.*Write max_memory="
    ):
        small.job(max_memory="20MB", tile=None).run()
    assert [path.name for path in tmp_path.iterdir()] == ["x.npy"]


def test_a_journal_goes_on_under_a_bound_that_its_tiles_fit_alone(tmp_path):
    small = SmallJob(tmp_path)
    small.stop_after(3)
    with pytest.raises(TooLargeError, match=r"one tile \(16, 24\) of"):
        small.job(max_memory="20MB", tile=None).run()
    assert small.job(max_memory=None, tile=None).run().done_before == 3
    assert small.is_right()


def test_a_large_network_is_planned_with_few_calls(tmp_path):
    """Each call may cost an operator milliseconds."""
    counts = {"window": 0, "scratch_bytes": 0, "work": 0}

    class Counting(Wrapped):
        def __getattr__(self, name):
            if name in counts:
                counts[name] += 1
            return getattr(self.inner, name)

    stage = stage_of(sizes=(200_000, 100_000), unit=(256, 256))
    stage.operator = Counting(stage.operator)
    plan_stage(stage, MemoryBudget(1 << 30, 0, 0), 2, 2)
    totals(stage)
    assert max(counts.values()) < 90


def test_a_stage_begins_without_the_memory_of_the_one_before():
    """Blocks of other sizes would be kept until it computes, while its first window is read."""
    stages, free = [], []

    class Looking(Wrapped):
        def read(self, image, region):
            free.append(_memory._pool._free_bytes())
            return self.inner.read(image, region)

    for size in (700, 1400):
        operator = layer(out=4)
        y = np.zeros((1, 4, *operator.output_sizes((size, size))), "f4")
        source = ArraySource(picture(sizes=(size, size))[None])
        stages.append(Stage(operator, Looking(source), ArrayTarget(y, unit=y.shape[2:])))
    Job(stages, None, max_memory="4GB").run()
    assert free == [0, 0]


@linux
def test_free_memory_of_the_heap_is_given_back_near_a_bound():
    """The C library keeps pieces between those in use, which its own release does not see."""
    pieces = [np.ones(100_000, np.uint8) for _ in range(800)]
    del pieces[::2]  # half of them is free, in holes
    before = resident_bytes()
    make_room(1 << 20, before + (64 << 20))
    assert resident_bytes() > before - (8 << 20)
    make_room(1 << 20, before)
    assert resident_bytes() < before - (24 << 20)
    del pieces
    release_heap()


# -- a process ---------------------------------------------------------------------------------------------------


@linux
def test_resident_memory_is_that_of_the_process():
    before, watch = resident_bytes(), MemoryWatch(None)
    held = np.ones(64 << 20, np.uint8)  # too large for a free place in the heap
    assert 60 << 20 < resident_bytes() - before < 80 << 20
    watch.look()
    del held
    assert watch.peak >= before + (60 << 20)
    assert peak_bytes() >= before + (60 << 20)


CHILD = """
import json, sys
import numpy as np
from tconv.geometry import Geometry
from tconv.scale.functional import job_of
from tconv.scale.operators.layer import LayerOperator

bound, kind, place = sys.argv[1:]
weight = np.random.default_rng(0).standard_normal((4, 4, 6, 6)).astype("f4")
operator = LayerOperator(weight, np.ones(4, "f4"), Geometry((6, 6), 4, 1))
if kind == "array":
    source = np.random.default_rng(1).standard_normal((4, 1300, 1000)).astype("f4")
elif kind == "ome.zarr":  # its levels are read again; numbers that cannot be compressed
    source = f"{place}/x.npy"
    np.save(source, np.random.default_rng(1).standard_normal((4, 1300, 1000)).astype("f4"))
else:
    source = f"{place}/x.npy"
    np.lib.format.open_memmap(source, mode="w+", dtype="f4", shape=(4, 1300, 1000))  # zeros, which need no disk
report = job_of(operator, source, f"{place}/y." + ("npy" if kind == "array" else kind), max_memory=bound).run()
status = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines())
print(json.dumps({
    "peak": int(status["VmHWM"].split()[0]) * 1024, "reported": report.peak_memory,
    "predicted": report.plan.memory, "output": report.plan.stages[0].bytes_written,
}))
"""


@linux
@pytest.mark.parametrize(
    ("bound", "kind"), [("200MB", "npy"), ("300MB", "zarr"), ("256MB", "array"), ("340MB", "ome.zarr")]
)
def test_the_peak_of_a_process_stays_below_its_bound(python, tmp_path, bound, kind):
    """With outputs larger than it."""
    import json

    found = json.loads(python(CHILD, bound, kind, tmp_path))
    assert found["output"] > 300 * 10**6
    assert found["peak"] <= found["predicted"] <= bytes_of(bound)
    assert found["reported"] == pytest.approx(found["peak"], rel=0.02)
