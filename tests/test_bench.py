"""The benchmark: order, statistics and the gate on fakes with fake clocks; one tiny real run through the command line."""

import ast
import contextlib
import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import tconv
from tconv.bench import (
    child_process,
    correctness_gate,
    dtypes,
    peers,
    result_file,
    revision,
    statistics,
    subpixel,
    summary,
    table,
    timing,
)
from tconv.bench import layers as registry
from tconv.bench.child_process import Child, GoneError
from tconv.bench.html_report import to_html
from tconv.bench.peer_process import PeerProcess, TimeLimits, with_install_command
from tconv.bench.peers import cuda, shuffle
from tconv.bench.peers.interface import ISAS, LoadedLayer, Peer, UnableError
from tconv.bench.row_groups import Row, groups
from tconv.bench.runner import Runner
from tconv.bench.worker import Worker
from tconv.bench.worker_protocol import serve
from tconv.cli import main
from tconv.errors import ArgumentError, FileError, TconvError

TINY = {"name": "tiny", "n": 2, "c_in": 6, "c_out": 4, "in": [5, 4], "k": 4, "s": 2, "p": 1}
ODD = {"name": "odd one", "n": 1, "c_in": 4, "c_out": 2, "in": [9], "k": 3, "s": 2, "p": 1, "op": 1, "g": 2}


def layer(**changes):
    return registry.Layer.of({**TINY, **changes})


# -- the registry --------------------------------------------------------------------------------------------------


def test_the_registry():
    found = registry.read()
    assert len(found) == len({entry.name for entry in found})
    assert not {entry.name for entry in found} & {entry.kind for entry in found}
    assert len(registry.select(found, ["core"])) == 24  # those of the results before December 2026
    assert {entry.kind for entry in found} == {
        "core", "grouped", "depthwise", "depthwise 1d", "few channels", "batch"
    }  # fmt: skip
    assert all(entry.source for entry in found)
    by_name = {entry.name: entry for entry in found}
    assert by_name["unet up1"].flops == 2 * 28 * 28 * 1024 * 512 * 4
    assert by_name["cyclegan"].output_shape == (1, 64, 256, 256)
    assert by_name["istft"].terms == 4 * 1026
    assert by_name["pp-ocr"].elements == 24 * 184**2 + 24 * 24 * 4 + 24 * 368**2
    assert all(registry.Layer.of(entry.spec) == entry for entry in found)


def test_names_are_checked_and_close_ones_offered():
    found = registry.read()
    assert [entry.name for entry in registry.select(found, ["DCGAN-last", "unet up1"])] == ["unet up1", "dcgan last"]
    assert [entry.name for entry in registry.select(found, ["pp-ocr"])] == ["pp-ocr"]
    mixed = registry.select(found, ["Depthwise-1D", "pose"])
    assert [entry.name for entry in mixed] == ["pose", "bigvgan resample", "depthwise 1d k4"]
    with pytest.raises(
        ArgumentError, match=r"there is no layer 'unet up2'; the layers are .* Write 'unet up4' or 'unet up1'"
    ):
        registry.select(found, ["unet up2"])
    methods = tconv.kernels.names()
    assert peers.select((), methods) == list(peers.names())
    assert peers.select(("torch", "tconv:taps", "torch"), methods) == ["torch", "tconv:taps"]
    with pytest.raises(ArgumentError, match=r"there is no peer 'onxruntime'; .* Write 'onnxruntime'"):
        peers.select(("onxruntime",), methods)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1", "is not a registry of layers"),
        ('{"layers": [{"name": "a"}]}', "layer 0 of .* cannot be read"),
        (json.dumps({"layers": [{**TINY, "kernel": 4}]}), "KeyError\\('kernel'\\)"),
        (json.dumps({"layers": [{**TINY, "g": 4}]}), "groups do not divide"),
    ],
)
def test_an_invalid_registry(tmp_path, text, message):
    path = tmp_path / "mine.json"
    path.write_text(text)
    with pytest.raises(FileError, match=message):
        registry.read(path)


# -- statistics ----------------------------------------------------------------------------------------------------


def test_medians_and_intervals_against_numpy():
    samples = [5.0, 1.0, 4.0, 2.0, 9.0]
    got = statistics.median(samples)
    medians = sorted(np.median(np.random.default_rng(0).choice(samples, (2000, 5)), axis=1))
    assert got.value == 4.0
    assert got.low == np.quantile(medians, 0.025)
    assert got.high == np.quantile(medians, 0.975)
    assert statistics.median([3.0]) == (3.0, 3.0, 3.0)


def test_the_interval_covers():
    rng = np.random.default_rng(1)
    inside = [e.low <= 0 <= e.high for e in (statistics.median(rng.standard_normal(25), seed) for seed in range(200))]
    assert 0.88 <= np.mean(inside) <= 0.99


def test_ratios_and_geometric_means():
    assert statistics.ratio([2.0, 2.0], [4.0, 4.0]) == (0.5, 0.5, 0.5)
    wide = statistics.ratio([1.0, 2.0, 3.0], [1.0, 2.0, 3.0])
    assert wide.low < 1.0 == wide.value < wide.high
    assert statistics.geometric_mean([2.0, 8.0]) == pytest.approx(4.0)
    assert statistics.geometric_mean([]) is None


def test_a_sample_repeats_short_calls_and_keeps_outputs_alive():
    now, alive, most = [0.0], set(), [0]

    class Output:
        def __init__(self):
            now[0] += 0.002
            alive.add(id(self))
            most[0] = max(most[0], len(alive))

        def __del__(self):
            alive.discard(id(self))

    assert timing.sample(Output, 0.002, 0, clock=lambda: now[0]) == (pytest.approx(0.002), 5)
    assert most == [1]
    timing.sample(Output, 0.002, 3, clock=lambda: now[0])
    assert most == [4]  # three are alive while the fourth is made
    assert not alive
    assert timing.sample(Output, 0.5, 0, clock=lambda: now[0])[1] == 1
    assert [timing.outputs_alive(size) for size in (1, 1 << 26, 1 << 27, 1 << 30)] == [4, 4, 2, 2]


def test_settling_waits_for_threads_that_spin():
    cpu = iter([0.0, 0.002, 0.002, 0.004, 0.004, 0.0041])
    timing.settle(lambda: next(cpu))
    assert next(cpu, None) is None


# -- the gate ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", [TINY, ODD, {**TINY, "k": 2, "s": 3}, {**TINY, "in": [3, 2, 3], "op": 1}])
def test_the_reference_is_the_definition(tmp_path, spec):
    tiny_layer = registry.Layer.of(spec)
    reference = correctness_gate.write_reference(tiny_layer, "float32", tmp_path, seed=3)
    x, w, y = (np.load(tmp_path / f"{name}.npy") for name in ("x", "w", "reference"))
    wanted = tconv.definition.scatter(x.astype(float), w.astype(float), geometry=tiny_layer.geometry)
    np.testing.assert_allclose(y, wanted, rtol=0, atol=1e-12)
    assert reference.rms == pytest.approx(np.sqrt(np.mean(y**2)))
    assert reference.checked > 100
    for place in np.ndindex(*y.shape[2:]):
        one = correctness_gate.by_definition(tiny_layer.geometry, x[:1], w, place)
        np.testing.assert_allclose(one, wanted[(0, slice(None), *place)], rtol=0, atol=1e-12)


def test_a_wrong_reference_stops_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr(correctness_gate, "conv_transpose", lambda x, w, geometry, out, method: out.fill(1.0))
    with pytest.raises(TconvError, match="differs from the definition by"):
        correctness_gate.write_reference(layer(), "float32", tmp_path, seed=0)


def test_float32_passes_the_gate_and_less_does_not():
    rng = np.random.default_rng(0)
    for terms in (1, 64, 4096):
        a, b = rng.standard_normal((2, 2000, terms)).astype(np.float32)
        right = (a.astype(float) * b).sum(1)
        rms = float(np.sqrt(np.mean(right**2)))
        chain = np.zeros(2000, np.float32)
        for k in range(terms):
            chain += a[:, k] * b[:, k]  # the least exact order, in one chain
        short = (a.astype(np.float16).astype(float) * b).sum(1)
        limits = correctness_gate.limits(terms, "float32", "float32", once=True)
        assert limits == (correctness_gate.tolerance(terms), 0.0)
        assert not correctness_gate.compare(chain.reshape(1, 1, -1), right.reshape(1, 1, -1), rms, limits).fault
        assert correctness_gate.compare(short.reshape(1, 1, -1), right.reshape(1, 1, -1), rms, limits).fault
        assert correctness_gate.tolerance(terms, "float64") < limits.sums < correctness_gate.tolerance(terms, "tf32")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_one_rounding_passes_the_gate_and_more_is_for_peers(dtype):
    rng = np.random.default_rng(0)
    a, b = (dtypes.rounded(rng.standard_normal((4000, 64), np.float32), dtype) for _ in "ab")
    right = (a.astype(float) * b).sum(1).reshape(1, 1, -1)
    rms = float(np.sqrt(np.mean(right**2)))
    once = dtypes.rounded((a * b).sum(1), dtype).reshape(1, 1, -1)
    parts = [dtypes.rounded(part.sum(1), dtype) for part in np.split(a * b, 4, 1)]
    more = dtypes.rounded(
        dtypes.rounded(parts[0] + parts[1], dtype) + dtypes.rounded(parts[2] + parts[3], dtype), dtype
    )
    limits = {once: correctness_gate.limits(64, dtype, dtype, once) for once in (True, False)}
    assert not correctness_gate.compare(once, right, rms, limits[True]).fault
    assert correctness_gate.compare(more.reshape(1, 1, -1), right, rms, limits[True]).fault
    assert not correctness_gate.compare(more.reshape(1, 1, -1), right, rms, limits[False]).fault
    all_in_short = np.zeros(4000, dtypes.numpy_dtype(dtype))
    for k in range(64):
        all_in_short = all_in_short + (a[:, k] * b[:, k]).astype(all_in_short.dtype)
    got = all_in_short.astype(float).reshape(1, 1, -1)
    assert correctness_gate.compare(got, right, rms, limits[True]).fault


def test_inputs_that_are_rounded_again_are_allowed_for():
    exact = correctness_gate.limits(64, "float32", "bfloat16", once=True)
    assert exact == correctness_gate.limits(64, "float32", "float32", once=True)
    assert correctness_gate.limits(64, "float32", "float64", once=True).sums > exact.sums


@pytest.mark.parametrize("dtype", dtypes.DTYPES["cpu"])
def test_the_reference_is_of_inputs_in_the_dtype(tmp_path, dtype):
    correctness_gate.write_reference(layer(), dtype, tmp_path, seed=3)
    x, w, y = (np.load(tmp_path / f"{name}.npy") for name in ("x", "w", "reference"))
    assert x.dtype == w.dtype == (np.float64 if dtype == "float64" else np.float32)
    np.testing.assert_array_equal(x.astype(dtypes.numpy_dtype(dtype)).astype(float), x)
    wanted = tconv.definition.scatter(x.astype(float), w.astype(float), geometry=layer().geometry)
    np.testing.assert_allclose(y, wanted, rtol=0, atol=1e-12)


def test_the_reference_has_the_activation(tmp_path):
    plain = correctness_gate.write_reference(layer(), "float32", tmp_path, seed=3)
    y = np.load(tmp_path / "reference.npy")
    followed = correctness_gate.write_reference(layer(), "float32", tmp_path, seed=3, activation="relu")
    np.testing.assert_array_equal(np.load(tmp_path / "reference.npy"), np.maximum(y, 0))
    assert followed == plain._replace(activation="relu")
    assert y.min() < 0


def test_names_of_dtypes_and_layouts():
    known = dtypes.DTYPES["cpu"]
    assert dtypes.selected("dtype", "float64, float32", known) == ("float32", "float64")
    message = (
        "--dtype is 'float32,fp16', and 'fp16' is none of float32, bfloat16, float16, float64; one or more of them with "
        "commas between are needed. Write --dtype float32,bfloat16"
    )
    with pytest.raises(ArgumentError, match=re.escape(message)):
        dtypes.selected("dtype", "float32,fp16", known)
    with pytest.raises(ArgumentError, match="--layout is '', and '' is none of first, last"):
        dtypes.selected("layout", "", dtypes.LAYOUTS)


def fake(calls, reasons=(), **more):
    """A peer whose layer is these calls."""

    def loaded(task):
        return LoadedLayer(
            {mode: (lambda call=call: call(task)) for mode, call in calls.items()}, read=np.asarray, **more
        )

    return Peer(
        "a fake",
        ("numpy",),
        lambda threads, device: None,
        lambda _: list(reasons),
        loaded,
        dtypes=("float32", "bfloat16", "float16"),
        layouts=("first", "last"),
    )


def right_answer(task):
    return tconv.conv_transpose(task.x, task.w, geometry=task.layer.geometry)


ROW = {"dtype": "float32", "layout": "first"}


def load(peer, folder, name="fake", dtype="float32", **changes):
    loaded_layer = layer(**changes)
    reference = correctness_gate.write_reference(loaded_layer, dtype, folder, 0)
    worker = Worker(name, peer, 1, "cpu")
    assert worker.answer({"do": "start"})["state"] == "started"
    message = {"do": "load", "layer": loaded_layer.spec, "folder": str(folder), "rms": reference.rms, "inputs": dtype}
    message["activation"] = ""
    return worker, worker.answer({**message, "dtype": dtype, "layout": "first"})


def test_a_right_peer_is_loaded(tmp_path):
    worker, answer = load(fake({"out": right_answer, "dropped": right_answer}), tmp_path)
    assert answer["state"] == "loaded"
    assert answer["modes"] == ["out", "dropped", "kept"]
    assert answer["error"] <= answer["tolerance"]
    for mode in answer["modes"]:
        taken = worker.answer({"do": "sample", "mode": mode, **ROW})
        assert taken["state"] == "sampled"
        assert taken["ms"] > 0


def test_layers_of_one_folder_stay_loaded_together(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    worker, _ = load(fake({"dropped": right_answer}), first)
    reference = correctness_gate.write_reference(layer(), "float32", second, 0)
    message = {"do": "load", "layer": layer().spec, "rms": reference.rms, "inputs": "float32", "dtype": "float32"}
    message["activation"] = ""

    def samples():
        rows = [{"dtype": "float32", "layout": layout} for layout in ("first", "last")]
        return [worker.answer({"do": "sample", "mode": "dropped", **row})["state"] for row in rows]

    assert samples() == ["sampled", "error"]
    assert worker.answer({**message, "folder": str(first), "layout": "last"})["state"] == "loaded"
    assert samples() == ["sampled", "sampled"]
    assert worker.answer({**message, "folder": str(second), "layout": "last"})["state"] == "loaded"
    assert samples() == ["error", "sampled"]


def test_a_peer_that_lacks_a_dtype_or_a_layout(tmp_path):
    peer = fake({"dropped": right_answer})
    assert load(peer, tmp_path, dtype="float64")[1] == {"state": "unable", "reason": "it does not compute in float64"}
    _, answer = load(peer._replace(layouts=("last",)), tmp_path)
    assert answer == {"state": "unable", "reason": "it has channels last only"}


def test_repeated_rounding_is_noted_for_peers_and_refused_for_tconv(tmp_path):
    def twice(task):
        return right_answer(task) + 0.02  # 4 spacings of its root mean square

    peer = fake({"dropped": twice})
    answer = load(peer, tmp_path, dtype="float16")[1]
    assert answer["state"] == "loaded"
    assert answer["rounds"] == "more than once"
    assert "rounds" not in load(fake({"dropped": right_answer}), tmp_path, dtype="float16")[1]
    assert load(peer, tmp_path, "tconv:taps", dtype="float16")[1]["state"] == "wrong"


def half_filled(task):
    y = right_answer(task)
    y[1, 2, 0, 0] = np.nan
    return y


@pytest.mark.parametrize(
    ("call", "fault"),
    [
        (lambda task: right_answer(task) + 1e-3, r"error .* at image \d, channel \d; rounding explains .*"),
        (half_filled, "the output of image 1, channel 2 contains NaN"),
        (lambda task: right_answer(task)[:1], r"the output has shape \(1, 4, 10, 8\); \(2, 4, 10, 8\) is right"),
    ],
)
def test_the_gate_catches_a_wrong_peer_in_any_mode(tmp_path, call, fault):
    worker, answer = load(fake({"out": right_answer, "dropped": call}), tmp_path)
    assert answer["state"] == "wrong"
    assert re.search(fault, answer["reason"])
    assert "mode dropped" in answer["reason"]
    assert worker.answer({"do": "sample", "mode": "dropped", **ROW})["state"] == "error"


def test_an_output_that_is_not_written_is_caught(tmp_path):
    out = np.zeros((2, 4, 10, 8), np.float32)
    peer = fake({"out": lambda task: out}, poison=lambda: out.fill(np.nan))
    assert "contains NaN" in load(peer, tmp_path)[1]["reason"]


def test_a_peer_that_cannot_or_raises(tmp_path):
    assert load(fake({}, reasons=["no groups", "no padding"]), tmp_path)[1] == {
        "state": "unable",
        "reason": "no groups; no padding",
    }

    def refuses(task):
        raise UnableError("not on this chip")

    def breaks(task):
        raise RuntimeError("boom")

    assert load(fake({"dropped": refuses}), tmp_path)[1] == {"state": "unable", "reason": "not on this chip"}
    assert load(fake({"dropped": breaks}), tmp_path)[1] == {"state": "error", "reason": "RuntimeError: boom"}


def test_a_missing_peer_says_what_to_install():
    def start(threads, device):
        import no_such_library  # noqa: F401

    peer = fake({})._replace(start=start, packages=("no-such-library",))
    assert with_install_command(Worker("fake", peer, 1, "cpu").answer({"do": "start"})) == {
        "state": "missing",
        "reason": "no_such_library is not installed: pip install no-such-library",
    }

    def start_torch(threads, device):
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    answer = Worker("fake", peer._replace(start=start_torch), 1, "cpu").answer({"do": "start"})
    assert with_install_command(answer) == {
        "state": "missing",
        "reason": 'torch is not installed: pip install "tconv[torch]"',
    }
    answer = Worker("fake", peer, 1, "cuda").answer({"do": "start"})
    assert answer == {"state": "unable", "reason": "it runs on cpu only"}
    answer = Worker("fake", peer, 1, "cpu").answer({"do": "start", "isa": "avx2"})
    assert answer == {"state": "unable", "reason": "it cannot be restricted to the instructions of avx2"}


def test_the_protocol_is_a_line_for_a_line():
    lines = []
    serve(
        SimpleNamespace(answer=lambda message: {"got": message["do"]}), ['{"do": "a"}\n', '{"do": "b"}\n'], lines.append
    )
    assert lines == ['{"got": "a"}\n', '{"got": "b"}\n']


# -- rounds, on fake peers and a fake clock ------------------------------------------------------------------------


class Table:
    """Fake peers that share a clock and a log."""

    def __init__(self, costs, modes=("out", "dropped"), answers=None):
        self.now, self.log, self.closed = 0.0, [], 0
        self.peers = [FakePeer(self, name, ms, modes, (answers or {}).get(name, {})) for name, ms in costs.items()]

    def run(self, rows=1, dtypes=("float32",), layouts=("first",), **options):
        options = {"rounds": 5, "seconds": 1e9, **options}
        chosen = [layer(name=f"layer {number}") for number in range(rows)]
        runner = Runner(
            groups(chosen, dtypes, layouts, self.peers),
            self.peers,
            FakePeer(self, "machine", 0.0, (), {}),
            clock=lambda: self.now,
            write_reference=lambda layer, dtype, folder, seed, activation: correctness_gate.Reference(folder, 1.0, 7),
            **options,
        )
        with contextlib.suppress(KeyboardInterrupt):
            runner.run()
        return runner.result


class FakePeer:
    def __init__(self, table, name, ms, modes, answers):
        self.table, self.name, self.ms, self.modes, self.answers = table, name, ms, modes, answers
        self.taken, self.rows = 0, []

    def start(self):
        return self.answers.get("start", {"state": "started", "versions": {}})

    def load(self, row, reference):
        assert reference.folder.is_dir()
        self.table.log.append(("load", self.name))
        self.rows.append((row.dtype, row.layout))
        once = dict.fromkeys(self.modes, self.ms / 1e3)
        ready = {"state": "loaded", "modes": list(self.modes), "once": once, "error": 0.0, "tolerance": 1.0, "note": ""}
        return self.answers.get("load", ready)

    def sample(self, row, mode):
        self.taken += 1
        self.table.now += self.ms / 1e3
        self.table.log.append((self.name, mode))
        answer = self.answers.get(self.taken, {"state": "sampled", "ms": self.ms + self.taken / 1000, "calls": 1})
        if answer is KeyboardInterrupt:
            raise KeyboardInterrupt
        return answer

    def probe(self):
        self.table.log.append(("probe", self.name))
        return {"state": "probed", "sgemm": 200.0, "fma": 400.0, "copy": 40.0}

    def close(self):
        self.table.closed += 1


def test_rounds_are_interleaved_and_shuffled_by_the_seed():
    here = Table({"tconv": 1.0, "torch": 2.0, "jax": 3.0})
    result = here.run(rows=2)
    assert result["complete"]
    assert here.closed == 4
    everyone = sorted((peer.name, mode) for peer in here.peers for mode in peer.modes)
    for half in (here.log[: len(here.log) // 2], here.log[len(here.log) // 2 :]):
        assert sorted(half[:3]) == [("load", "jax"), ("load", "tconv"), ("load", "torch")]
        assert half[3] == ("probe", "machine")
        rounds = [half[4 + 6 * number : 10 + 6 * number] for number in range(5)]
        assert all(sorted(one) == everyone for one in rounds)
        assert len({tuple(one) for one in rounds}) > 1
    samples = result["layers"][0]["peers"]["torch"]["samples"]
    assert {mode: len(taken) for mode, taken in samples.items()} == {"out": 5, "dropped": 5}
    assert sorted(samples["out"] + samples["dropped"]) == [round(2 + n / 1000, 3) for n in range(1, 11)]
    again, other = Table({"tconv": 1.0, "torch": 2.0, "jax": 3.0}), Table({"tconv": 1.0, "torch": 2.0, "jax": 3.0})
    again.run(rows=2)
    other.run(rows=2, seed=1)
    assert timed(again) == timed(here) != timed(other)


def timed(here):
    return [entry for entry in here.log if entry[0] != "load"]


def test_layouts_of_a_layer_and_its_float32_are_interleaved():
    here = Table({"tconv": 1.0, "torch": 2.0}, modes=("dropped",))
    result = here.run(dtypes=("float32", "float16"), layouts=("first", "last"), rounds=3)
    entries = {(entry["dtype"], entry["layout"]): entry for entry in result["layers"]}
    assert list(entries) == [(d, layout) for d in ("float32", "float16") for layout in ("first", "last")]
    tconv_peer, torch_peer = here.peers
    assert torch_peer.rows == list(entries)
    assert tconv_peer.rows == [*list(entries)[:2], *[(d, n) for n in ("first", "last") for d in ("float16", "float32")]]
    assert list(entries["float16", "last"]["peers"]) == ["tconv", "tconv float32", "torch"]
    assert list(entries["float32", "last"]["peers"]) == ["tconv", "torch"]
    assert all(len(o["samples"]["dropped"]) == 3 for entry in entries.values() for o in entry["peers"].values())
    assert entries["float32", "first"]["bytes"] == 2 * entries["float16", "first"]["bytes"]
    assert len(result["probes"]) == 2


def test_a_peer_without_channels_first_is_measured_in_its_own_layout():
    here = Table({"tconv": 1.0, "torch": 2.0, "jax": 3.0}, modes=("dropped",))
    known = {"torch": fake({})._replace(elsewhere=("last",))}
    known["jax"] = fake({})._replace(layouts=("last",), elsewhere=("last",))
    made = groups([layer()], ["float32"], ["first"], here.peers, known)
    names = {layout: [part.name for part in parts] for layout, parts in made[0].parts.items()}
    assert names == {"first": ["tconv", "torch"], "last": ["torch", "jax"]}
    both = groups([layer()], ["float32"], ["first", "last"], here.peers, known)
    assert all(len(parts) == 3 for parts in both[0].parts.values())


def test_what_a_crashed_process_had_loaded_is_loaded_again():
    here = Table({"tconv": 1.0}, modes=("dropped",))
    (peer,) = here.peers
    load_row, crashes = peer.load, [True]

    def fragile(row, reference):
        if row.layout == "last" and crashes:
            crashes.clear()
            return {"state": "crashed", "reason": "signal SIGSEGV"}
        return load_row(row, reference)

    peer.load = fragile
    result = here.run(layouts=("first", "last"))
    assert peer.rows == [("float32", "first"), ("float32", "first")]
    assert [entry["peers"]["tconv"]["state"] for entry in result["layers"]] == ["ran", "crashed"]


def test_the_time_is_shared_out_and_three_rounds_are_the_least():
    here = Table({"tconv": 1000.0}, modes=("dropped",))
    result = here.run(rows=2, rounds=100, seconds=20)
    assert [len(e["peers"]["tconv"]["samples"]["dropped"]) for e in result["layers"]] == [10, 10]
    assert result["seconds"] == 20
    hurried = Table({"tconv": 1000.0}, modes=("dropped",)).run(rows=2, rounds=100, seconds=0.1)
    assert [len(e["peers"]["tconv"]["samples"]["dropped"]) for e in hurried["layers"]] == [3, 3]


def test_slow_peers_take_part_less():
    result = Table({"tconv": 1.0, "slow": 50.0, "very slow": 3000.0}).run()
    counts = {
        name: {mode: len(taken) for mode, taken in outcome["samples"].items()}
        for name, outcome in result["layers"][0]["peers"].items()
    }
    assert counts == {
        "tconv": {"out": 5, "dropped": 5},
        "slow": {"out": 3, "dropped": 3},
        "very slow": {"dropped": 1},
    }


def test_peers_that_fail_have_a_reason_and_no_time():
    gone = {"state": "crashed", "reason": "signal SIGSEGV"}
    bad = {"state": "wrong", "reason": "error 1e-1"}
    absent = {"state": "missing", "reason": "jax is not installed: pip install jax"}
    answers = {"torch": {3: gone}, "openvino": {"load": bad}, "jax": {"start": absent}}
    here = Table({"tconv": 1.0, "torch": 1.0, "openvino": 1.0, "jax": 1.0}, answers=answers)
    result = here.run()
    outcomes = result["layers"][0]["peers"]
    assert "samples" not in outcomes["torch"]
    assert outcomes["torch"]["state"] == "crashed"
    assert here.peers[1].taken == 3
    assert outcomes["openvino"] == bad
    assert "jax" not in outcomes
    assert ("load", "jax") not in here.log
    result["device"] = "cpu"
    assert summary.faults(result) == [
        "crashed: torch on layer 0: signal SIGSEGV",
        "wrong: openvino on layer 0: error 1e-1",
    ]
    assert summary.absences(result) == ["jax: jax is not installed: pip install jax"]
    assert summary.wrong(result)


def test_an_interrupt_leaves_what_is_there():
    here = Table({"tconv": 1.0, "torch": 1.0}, answers={"torch": {7: KeyboardInterrupt}})
    result = here.run(rows=3)
    assert not result["complete"]
    assert here.closed == 3
    assert len(result["layers"]) == 1
    assert len(result["layers"][0]["peers"]["tconv"]["samples"]["out"]) >= 2


# -- processes -----------------------------------------------------------------------------------------------------

ECHO = "import sys, json\nfor line in sys.stdin: print(json.dumps({'state': 'loaded', **json.loads(line)}), flush=True)"
CRASH = "import os, sys; sys.stdin.readline(); print('last words', file=sys.stderr, flush=True); os.abort()"
EXIT = "import sys; sys.stdin.readline(); sys.exit(3)"
HANG = "import time; time.sleep(60)"
BABBLE = "import sys, time; sys.stdin.readline(); print('hello', flush=True); time.sleep(60)"


def child(code):
    return Child([sys.executable, "-c", code], dict(os.environ))


def test_a_child_answers_and_ends():
    one = child(ECHO)
    assert one.ask({"do": "start"}, 20) == {"state": "loaded", "do": "start"}
    assert one.close() == 0
    assert one.close() == 0


@pytest.mark.parametrize(
    ("code", "limit", "state", "reason"),
    [
        (CRASH, 20, "crashed", "signal SIGABRT at 'load': last words"),
        (EXIT, 20, "crashed", "exit code 3 at 'load'"),
        (HANG, 0.3, "hung", "no answer to 'load' in 0 s"),
        (BABBLE, 20, "crashed", "signal SIGKILL at 'load': its answer was 'hello"),
    ],
)
def test_a_child_that_does_not_answer(code, limit, state, reason):
    one = child(code)
    with pytest.raises(GoneError, match=re.escape(reason)) as caught:
        one.ask({"do": "load"}, limit)
    assert caught.value.state == state


def test_a_peer_process_starts_again_after_a_crash(tmp_path):
    code = (
        "import sys, json, os\n"
        "for line in sys.stdin:\n"
        "    do = json.loads(line)['do']\n"
        "    if do == 'sample': os._exit(9)\n"
        "    print(json.dumps({'state': 'started' if do == 'start' else 'loaded', 'once': {'out': 0.1}}), flush=True)\n"
    )
    process = PeerProcess("fragile", [sys.executable, "-c", code], dict(os.environ), TimeLimits(20, 20, 20))
    row, reference = Row(layer()), correctness_gate.Reference(tmp_path, 1.0, 1)
    assert process.start()["state"] == "started"
    for _ in range(2):
        assert process.load(row, reference)["state"] == "loaded"
        assert process.sample(row, "out") == {"state": "crashed", "reason": "exit code 9 at 'sample'"}
        assert process.sample(row, "out") == {"state": "crashed", "reason": "its process is gone"}
    process.close()


def test_threads_are_pinned_before_a_library_is_loaded():
    env = child_process.environment(3)
    assert {env[name] for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS", "NPROC")} == {"3"}
    assert env["CUDA_VISIBLE_DEVICES"] == ""
    assert child_process.environment(1, "cuda").get("CUDA_VISIBLE_DEVICES") == os.environ.get("CUDA_VISIBLE_DEVICES")


def test_instructions_are_restricted_by_each_librarys_own_variable():
    for isa, tconv_cpu in (("avx2", "x86-64-v3"), ("sse4", "x86-64-v2")):
        env = child_process.environment(2, isa=isa)
        assert env["TCONV_CPU"] == tconv_cpu
        assert {"ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "OPENBLAS_CORETYPE", "XLA_FLAGS"} <= set(env)
    native = child_process.environment(2)
    assert native.get("TCONV_CPU") == os.environ.get("TCONV_CPU")
    able = {isa: [name for name in peers.names() if isa in peers.peer(name).isas] for isa in ISAS}
    assert able["sse4"] == ["tconv", "torch", "shuffle", "torch_compile", "openvino"]
    assert able["avx2"] == [*able["sse4"], "tensorflow", "jax"]


# -- tables --------------------------------------------------------------------------------------------------------


def stored():
    """Two layers, times chosen so that every number of the table can be checked by hand."""

    def ran(dropped, out=None):
        samples = {"dropped": [dropped] * 3} | ({"out": [out] * 3} if out else {})
        return {"state": "ran", "error": 1e-7, "tolerance": 1e-5, "note": "", "samples": samples}

    ahead = {"tconv": ran(2.0, 1.0), "tconv@main": ran(3.0, 2.0), "torch": ran(8.0), "jax": ran(4.0)}
    behind = {"tconv": ran(4.0, 2.0), "torch": ran(2.0), "jax": {"state": "unable", "reason": "no groups"}}
    machine = {"name": "box", "cpu": "a chip", "cores": 2, "platform": "Linux", "python": "3.11", "load": 0.0}
    return {
        "date": "2026-01-02T03:04+00:00",
        "command": "tconv bench",
        "machine": machine,
        "threads": 2,
        "device": "cpu",
        "tolerance": "small",
        "complete": True,
        "peers": {
            "tconv": {"state": "started", "versions": {"tconv": "0.1.0"}},
            "tconv@main": {"state": "started", "versions": {}},
            "torch": {"state": "started", "versions": {"torch": "2.0"}},
            "jax": {"state": "started", "versions": {}},
            "xnnpack": {"state": "missing", "reason": "not installed"},
        },
        "probes": [
            {"state": "probed", "sgemm": 150.0, "copy": 40.0},
            {"state": "probed", "sgemm": 90.0, "fma": 200.0, "copy": 20.0},
            {"state": "error", "reason": "?"},
        ],
        "layers": [
            {"layer": TINY, "dtype": "float32", "layout": "any", "flops": 2 * 10**8, "bytes": 10**6, "peers": ahead},
            {"layer": ODD, "dtype": "float32", "layout": "any", "flops": 10**6, "bytes": 8 * 10**7, "peers": behind},
        ],
    }


def test_the_summary_by_hand():
    result = stored()
    assert summary.measured_roofline(result) == (200.0, "fma", 40.0)
    lines = summary.lines(result, "dropped")
    assert [(line.layer, line.bound, line.best, line.lead) for line in lines] == [
        ("odd one", 2.0, "torch", 0.5),
        ("tiny", 1.0, "jax", 2.0),
    ]
    found = summary.means(lines, result["peers"])
    assert [mean.least for mean in found if mean.name == "best peer / tconv"] == [0.5]
    means = {mean.name: (mean.value, mean.layers) for mean in found}
    assert means == {
        "tconv / bound": (pytest.approx(2.0), 2),
        "torch / bound": (pytest.approx(math.sqrt(8.0 * 1.0)), 2),
        "jax / bound": (pytest.approx(4.0), 1),
        "best peer / bound": (pytest.approx(2.0), 2),
        "torch / tconv": (pytest.approx(math.sqrt(4.0 * 0.5)), 2),
        "best peer / tconv": (pytest.approx(1.0), 2),
        "base / tconv": (pytest.approx(1.5), 1),
    }
    assert summary.ahead(lines) == (1, 2)
    out = summary.lines(result, "out")  # peers without the mode are compared by new outputs
    assert [line.lead for line in out] == [4.0, 1.0]
    assert summary.ahead(out) == (2, 2)


def of_two_layouts():
    """Both layouts of a layer in float32 and in bfloat16, and a peer that was measured in channels last only."""

    def ran(ms, **more):
        return {"state": "ran", "error": 0, "tolerance": 1, "note": "", "samples": {"dropped": [ms] * 3}, **more}

    peers = {
        ("float32", "first"): {"tconv": ran(2.0), "torch": ran(8.0)},
        ("float32", "last"): {"tconv": ran(3.0), "torch": ran(1.0), "jax": ran(6.0)},
        ("bfloat16", "first"): {"tconv": ran(1.0), "tconv float32": ran(2.0), "torch": ran(4.0)},
        ("bfloat16", "last"): {
            "tconv": ran(2.0),
            "tconv float32": ran(4.0),
            "torch": ran(3.0, rounds="more than once"),
        },
    }
    entries = [
        {"layer": TINY, "dtype": dtype, "layout": layout, "flops": 2 * 10**8, "bytes": 10**6, "peers": outcomes}
        for (dtype, layout), outcomes in peers.items()
    ]
    started = {name: {"state": "started", "versions": {}} for name in ("tconv", "torch", "jax")}
    probes = [{"state": "probed", "fma": 200.0, "dot bfloat16": 400.0, "copy": 20.0}]
    return stored() | {"layers": entries, "layouts": ["first", "last"], "peers": started, "probes": probes}


def test_blocks_of_dtypes_and_layouts_by_hand():
    result = of_two_layouts()
    found = {(block.dtype, block.layout): block.lines for block in summary.blocks(result, "dropped")}
    assert {key: lines[0].bound for key, lines in found.items()} == {
        ("float32", "first"): 1.0,
        ("float32", "last"): 1.0,
        ("bfloat16", "first"): 0.5,
        ("bfloat16", "last"): 0.5,
    }
    (first,), (last,) = found["float32", "first"], found["float32", "last"]
    assert (first.best, first.lead) == ("torch last", 0.5)  # against channels first every layout counts
    assert (last.best, last.best_anywhere, last.torch) == ("torch", "torch", "torch")
    (short,) = found["bfloat16", "first"]
    assert (short.best, short.lead, short.torch) == ("torch last", 3.0, "torch last")
    means = {mean.name: mean.value for mean in summary.means(found["bfloat16", "last"], result["peers"])}
    assert means["channels first / tconv"] == 0.5
    assert means["float32 / tconv"] == 2.0
    assert means["best peer / tconv"] == means["best peer of any layout / tconv"] == 1.5
    assert summary.notes(result) == ["torch: it rounds more than once (all in bfloat16, channels last)"]
    lines = table.text(result).splitlines()
    assert lines[1].startswith("float32, channels first: ms, output dropped; layers where tconv is behind")
    assert lines[2].split()[-2:] == ["torch's", "best"]
    (head,) = [n for n, line in enumerate(lines) if line.startswith("bfloat16, channels last: ms")]
    assert lines[head + 1].split()[-4:] == ["any", "layout", "tconv/first", "tconv/f32"]
    assert lines[head + 2].split()[-3:] == ["1.50", "2.00", "0.500"]
    printed = table.markdown(result)
    assert re.findall("^### (.*)", printed, re.M) == [
        f"{dtype}, channels {layout}" for dtype in ("float32", "bfloat16") for layout in ("first", "last")
    ]
    assert "| geometric mean / bound | 1 | 4.00 | 8.00 | 6.00 | 1.50 | 4.00 | 2.00 | 0.500 |" in printed
    assert "| the fastest in float32, channels last | 0 of 1 layers | 0.333 |" in table.brief(result)
    assert to_html(result).count("<table>") == 4 + 4 + 1 + 4


def test_channels_first_alone_shows_peers_of_other_layouts():
    result = of_two_layouts() | {"layouts": ["first"]}
    del result["layers"][2:]
    del result["layers"][1]["peers"]["tconv"]
    (block,) = summary.blocks(result, "dropped")
    assert [line.best for line in block.lines] == ["torch last"]
    assert table.markdown(result).splitlines()[:3:2] == [
        "| layer | bound | tconv | torch | torch last | jax last | best / tconv | tconv / bound |",
        "| tiny | 1.00 | 2.00 | 8.00 | **1.00** | 6.00 | 0.500 | 2.00 |",
    ]
    assert "| PyTorch, channels last | 0 of 1 layers | 0.500 |" in table.brief(result)


def test_results_of_november_can_be_read(tmp_path):
    old = stored()
    for entry in old["layers"]:
        del entry["layout"]
        entry["precision"] = {"float32": "f32"}[entry.pop("dtype")]
    path = tmp_path / "old.json"
    path.write_text(result_file.to_text(old))
    assert result_file.read(path) == stored()


def test_the_markdown_of_a_stored_result(tmp_path, capsys):
    path = tmp_path / "result.json"
    path.write_text(result_file.to_text(stored()))
    assert result_file.read(path) == stored()
    assert table.main([str(path)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "| layer | bound | tconv | tconv@main | torch | jax | best / tconv | tconv / bound |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        "| odd one | 2.00 | 4.00 | - | **2.00** | - | 0.500 | 2.00 |",
        "| tiny | 1.00 | 2.00 | 3.00 | 8.00 | **4.00** | 2.00 | 2.00 |",
        "| geometric mean / bound | 1 | 2.00 | 3.00 | 2.83 | 4.00 | 1.00 | 2.00 |",
        "",
        "tconv is ahead of the best peer of each layer (bold) on 1 of 2; ms, output dropped.  ",
        "2026-01-02T03:04+00:00 on box: a chip, 2 cores, 2 threads, cpu; Linux, Python 3.11  ",
        "tconv 0.1.0, torch 2.0  ",
        "gate: small  ",
        "bound (float32): 200 GFLOP/s (fma), copy 40.0 GB/s; direct arithmetic, each byte moved once",
    ]


def test_the_text_starts_with_faults_and_losses():
    result = stored()
    result["layers"][1]["peers"]["jax"] = {"state": "wrong", "reason": "error 1e-1"}
    result["machine"]["load"] = 1.5
    lines = table.text(result).splitlines()
    assert lines[0] == "wrong: jax on odd one: error 1e-1"
    assert lines[2].startswith("float32: ms, output dropped")
    assert lines[4].startswith("odd one")
    assert lines[5].startswith("tiny")
    assert "not run: xnnpack: not installed" in lines
    assert any("the machine was busy: load 1.5 on 2 cores" in line for line in lines)


def test_the_html_page_is_complete_and_escapes():
    result = stored()
    result["machine"]["name"] = "<b>"
    text = to_html(result)
    assert text.count("<table>") == text.count("</table>") == 5
    assert "&lt;b&gt;" in text
    assert not re.search(r"(src|href)=", text)


@pytest.mark.parametrize(("content", "message"), [("{", "cannot be read"), ("{}", "it has no date, machine")])
def test_an_invalid_result_file(tmp_path, capsys, content, message):
    path = tmp_path / "r.json"
    path.write_text(content)
    assert table.main([str(path)]) == 1
    assert message in capsys.readouterr().err
    path.write_text(result_file.to_text(stored()))
    assert table.main([str(path), "dropt"]) == 1
    assert "there is no mode 'dropt'" in capsys.readouterr().err


# -- peers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spec", [TINY, ODD, {**TINY, "k": 5, "s": 3, "p": 2}, {**TINY, "in": [3, 2, 3], "k": 2, "p": 0}]
)
def test_a_convolution_and_a_shuffle_are_the_operator(spec):
    """`subpixel.forward_weight` in NumPy: phases as channels, then interleaved and cropped."""
    shuffled = registry.Layer.of(spec)
    g, rng = shuffled.geometry, np.random.default_rng(0)
    x = rng.integers(-9, 9, (shuffled.batch, shuffled.in_channels, *shuffled.input_shape)).astype(float)
    w = rng.integers(-9, 9, shuffled.weight_shape).astype(float)
    forward = subpixel.forward_weight(w, g)  # [C_out * prod(s), C_in/g, *taps] of a convolution with full padding
    counts = forward.shape[2:]
    swapped = np.concatenate([part.swapaxes(0, 1) for part in np.split(forward, g.groups)])
    flipped = np.flip(swapped, tuple(range(2, 2 + g.ndim)))  # as a transposed convolution with stride 1
    phases = tconv.conv_transpose(x, flipped, geometry=tconv.Geometry(counts, groups=g.groups))
    split = phases.reshape(shuffled.batch, shuffled.out_channels, *g.stride, *phases.shape[2:])
    order = [axis for a in range(g.ndim) for axis in (2 + g.ndim + a, 2 + a)]
    sizes = [n * s for n, s in zip(phases.shape[2:], g.stride, strict=True)]
    whole = split.transpose(0, 1, *order).reshape(*split.shape[:2], *sizes)
    cropped = tuple(slice(lo, lo + L) for (lo, _), L in zip(g.crop, shuffled.output_shape[2:], strict=True))
    assert not shuffle.PEER.reasons_against(shuffled)
    np.testing.assert_array_equal(whole[..., *cropped], tconv.definition.scatter(x, w, geometry=g))


def test_a_gpu_is_measured_eagerly_and_as_a_graph():
    """Without a GPU: the order of the calls, on a library that only records them."""
    log = []
    graph = SimpleNamespace(replay=lambda: log.append("replay"))
    stream = SimpleNamespace(wait_stream=lambda other: log.append("wait"))
    library = SimpleNamespace(
        cuda=SimpleNamespace(
            Stream=lambda: stream,
            stream=lambda _: contextlib.nullcontext(),
            current_stream=lambda: stream,
            CUDAGraph=lambda: graph,
            graph=lambda _: contextlib.nullcontext(),
            synchronize=lambda: log.append("synchronize"),
        )
    )
    loaded = cuda.loaded(library, lambda: log.append("call") or "y", read=str, note="")
    assert log == ["wait", "call", "call", "call", "wait", "call"]
    assert loaded.calls["eager"]() == loaded.calls["graph"]() == "y"
    loaded.wait()
    assert log[6:] == ["call", "replay", "synchronize"]


def test_importing_the_benchmark_imports_no_peer():
    code = (
        "import sys, tconv.cli.bench\n"
        "from tconv.bench import peers\n"
        "[peers.peer(name) for name in peers.names()]\n"
        "heavy = {'torch', 'tensorflow', 'jax', 'onnx', 'onnxruntime', 'openvino', 'llvmlite', 'rich'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def imports(module, path):
    """Yield the imports of a module at run time, as dotted names; strings that are names in tconv count, too."""
    skipped = set()
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            skipped |= set(ast.walk(node))
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and re.fullmatch(r"tconv(\.\w+)*", str(node.value)):
            yield node.value


def test_a_process_of_another_revision_needs_public_names_only():
    """The benchmark drives an older tconv, whose private modules have other names: `revision.PEER_MODULES`."""
    folder = Path(revision.__file__).parent
    modules = {
        ".".join(["tconv", "bench", *path.relative_to(folder).with_suffix("").parts]).removesuffix(".__init__"): path
        for path in folder.rglob("*.py")
    }
    waiting = [f"tconv.bench.{name}" for name in revision.PEER_MODULES]
    waiting += [name for name in modules if name.startswith(("tconv.bench.peers", "tconv.bench.frameworks"))]
    seen = set()
    while waiting:
        module = waiting.pop()
        if module in seen:
            continue
        seen.add(module)
        for name in imports(module, modules[module]):
            if not name.startswith("tconv."):
                continue
            inside = next((part for part in (name, name.rpartition(".")[0]) if part in modules), None)
            if inside is None:
                public = name.split(".")[1]
                assert public in {*tconv.__all__, "jax", "tensorflow", "keras"}, f"{module} imports {name}"
                assert not any(part.startswith("_") for part in name.split(".")), f"{module} imports {name}"
            else:
                waiting.append(inside)
    assert {"tconv.bench.correctness_gate", "tconv.bench.timing", "tconv.bench.peers.cuda"} <= seen
    assert "tconv.bench.roofline" not in seen


# -- the command ---------------------------------------------------------------------------------------------------


@pytest.fixture
def tiny(tmp_path):
    path = tmp_path / "tiny.json"
    path.write_text(json.dumps({"layers": [TINY, ODD]}))
    return path


def is_checkout():
    try:
        return bool(revision.describe())
    except TconvError:
        return False


def base_revision():
    """The revision before all modules were renamed, if this is a checkout that has it; else HEAD, else None."""
    if not is_checkout():
        return None
    old = "bd06aa6"
    done = subprocess.run(
        ["git", "cat-file", "-e", f"{old}^{{commit}}"], capture_output=True, cwd=Path(__file__).parent
    )
    return old if done.returncode == 0 else "HEAD"


@pytest.mark.slow
def test_a_tiny_real_run(tiny, tmp_path, capsys):
    """All peers that are installed but torch.compile, whose first compilation alone takes half a minute."""
    result, html = tmp_path / "result.json", tmp_path / "page.html"
    others = [name for name in peers.names() if name != "torch_compile"]
    ref = base_revision()
    base = ["--base", ref] if ref else []
    arguments = ["bench", "--registry", str(tiny), "--rounds", "1", "--json", "-o", str(result), "--html", str(html)]
    assert main([*arguments, "--peers", *others, "tconv:taps", *base]) == 0
    printed = json.loads(capsys.readouterr().out)
    stored = result_file.read(result)
    assert {key: printed[key] for key in stored} == stored
    assert printed["complete"]
    assert printed["threads"] == 2
    assert summary.measured_roofline(printed).gflops > 0
    assert summary.measured_roofline(printed).copy > 0
    assert list(printed["peers"])[: 1 + bool(base)] == ["tconv", *([f"tconv@{ref}"] if base else [])]
    for entry in printed["layers"]:
        for name, outcome in entry["peers"].items():
            assert outcome["state"] in ("ran", "unable"), (name, outcome)
            if outcome["state"] == "ran":
                assert outcome["error"] <= outcome["tolerance"]
                assert all(len(samples) == 1 for samples in outcome["samples"].values())
    outcomes = printed["layers"][0]["peers"]
    for name in ["tconv", "tconv:taps", "torch", *([f"tconv@{ref}"] if base else [])]:
        assert outcomes[name]["state"] == "ran"
    assert [(entry["layer"]["name"], entry["layout"]) for entry in printed["layers"]] == [
        (name, layout) for name in ("tiny", "odd one") for layout in ("first", "last")
    ]
    assert {"torch", "tensorflow", "xnnpack"} <= set(printed["layers"][1]["peers"])
    assert set(outcomes["tconv"]["samples"]) == {"out", "dropped", "kept"}
    assert "best peer / tconv" in printed["summary"]["dropped float32 first"]["means"]
    assert html.read_text().startswith("<!doctype html>")
    assert table.main([str(result)]) == 0
    assert "| tiny |" in capsys.readouterr().out


@pytest.mark.slow
def test_a_tiny_run_of_all_dtypes_with_an_activation(tmp_path, capsys):
    """One layer: all peers compile it for every dtype and layout."""
    tiny = tmp_path / "one.json"
    tiny.write_text(json.dumps({"layers": [TINY]}))
    others = [name for name in peers.names() if name not in ("shuffle", "torch_compile")]
    options = ["--dtype", "bfloat16,float16,float64", "--layout", "first,last", "--activation", "relu", "--rounds", "1"]
    assert main(["bench", "--registry", str(tiny), *options, "--json", "--peers", *others]) == 0
    printed = json.loads(capsys.readouterr().out)
    outcomes = {(e["layer"]["name"], e["dtype"], e["layout"]): e["peers"] for e in printed["layers"]}
    assert len(outcomes) == 3 * 2
    for key, of_peers in outcomes.items():
        assert {outcome["state"] for outcome in of_peers.values()} <= {"ran", "unable"}, (key, of_peers)
        assert of_peers["tconv"]["state"] == of_peers["tconv float32"]["state"] == "ran"
    ran = {
        key: {name for name, outcome in peers.items() if outcome["state"] == "ran"} for key, peers in outcomes.items()
    }
    assert {"torch", "onnxruntime", "openvino", "jax"} <= ran["tiny", "float16", "first"]
    assert {"torch", "tensorflow", "openvino", "jax"} <= ran["tiny", "bfloat16", "last"]
    assert {"torch", "tensorflow", "jax"} <= ran["tiny", "float64", "last"]


@pytest.fixture
def without_torch(tmp_path, monkeypatch):
    """PyTorch is not there for the processes of the peers."""
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")])))


def test_without_any_peer_nothing_is_measured(tiny, tmp_path, without_torch, capsys):
    result = tmp_path / "result.json"
    assert main(["bench", "--registry", str(tiny), "--peers", "torch", "shuffle", "-o", str(result)]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert (
        'not available: torch: torch is not installed: pip install "tconv[torch]"\nnot available: shuffle: torch'
        in printed.err
    )
    assert printed.err.endswith(
        "tconv: none of the peers is available (torch, shuffle); at least one is needed. Write --peers tconv to time tconv alone\n"
    )
    assert not result.exists()
    assert main(["bench", "--registry", str(tiny), "--peers", "torch", "--device", "cuda"]) == 1
    assert "not available: tconv: it runs on cpu only" in (errors := capsys.readouterr().err)
    assert errors.endswith("Write --device cpu\n")


def test_peers_that_cannot_run_any_layer_are_no_comparison(tmp_path, capsys):
    path = tmp_path / "four.json"
    path.write_text(json.dumps({"layers": [{**TINY, "in": [2, 2, 2, 2], "k": 2, "s": 2, "p": 0}]}))
    pytest.importorskip("torch")
    arguments = ["bench", "--registry", str(path), "--rounds", "1", "--threads", "1"]
    assert main([*arguments, "--peers", "torch"]) == 1
    printed = capsys.readouterr()
    assert "not run: torch: PyTorch has 1 to 3 axes" in printed.out
    assert printed.err.endswith("tconv: no peer ran any layer; there is nothing to compare tconv with\n")
    assert main([*arguments, "--peers", "tconv"]) == 0  # asked for alone


def test_an_interrupt_prints_what_is_there(tiny):
    arguments = ["bench", "--registry", str(tiny), "--rounds", "1000000", "--seconds", "1000", "--peers", "tconv"]
    run = subprocess.Popen(
        [sys.executable, "-c", "import sys; from tconv.cli import main; sys.exit(main(sys.argv[1:]))", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    for line in run.stderr:
        if line.rstrip().endswith("tiny"):
            break
    time.sleep(0.5)
    run.send_signal(signal.SIGINT)
    printed, _ = run.communicate(timeout=60)
    assert run.returncode == 130
    assert re.search(r"^tiny +", printed, re.M)
    assert "interrupted: some layers or rounds are missing" in printed


def test_files_are_refused_before_the_run(tiny, tmp_path, capsys):
    there = tmp_path / "there.json"
    there.write_text("mine")
    for arguments, message in (
        (["-o", str(there)], "there.json exists, and nothing is overwritten. Choose another name\n"),
        (["--html", str(tmp_path / "no" / "page.html")], "which does not exist"),
        *((["--html", "/proc/page.html"], "/proc/page.html cannot be written: "),) * Path("/proc").is_dir(),
        (["--layers", "tinny"], "there is no layer 'tinny'; the layers are tiny, odd one. Write 'tiny'"),
        (["--peers", "torhc"], "there is no peer 'torhc'"),
        (["--dtype", "fp16"], "--dtype is 'fp16', and 'fp16' is none of float32, bfloat16"),
        (["--dtype", "tf32"], "'tf32' is none of"),
        (["--layout", "nhwc"], "--layout is 'nhwc', and 'nhwc' is none of first, last"),
        (["--threads", "0"], "--threads is 0; it must be above 0"),
        (["--threads", "999"], "--threads is 999; tconv uses at most"),
        (["--seconds", "nan"], "--seconds is nan; it must be above 0"),
        (["--base", "no-such-revision"], "no-such-revision"),
        (["--base", "HEAD", "--device", "cuda"], "--base compares on the CPU"),
    ):
        assert main(["bench", "--registry", str(tiny), *arguments]) == 1
        assert message in capsys.readouterr().err
    assert main(["bench", "--registry", str(tmp_path / "none.json")]) == 1
    assert "is not a registry of layers" in capsys.readouterr().err
    assert there.read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["there.json", "tiny.json"]


@pytest.mark.skipif(not is_checkout(), reason="no git checkout")
def test_a_revision_is_unpacked_from_git(tmp_path):
    unpacked = revision.unpack("HEAD", tmp_path)
    assert unpacked.peer_name == "tconv@HEAD"
    assert re.fullmatch("[0-9a-f]{40}", unpacked.commit)
    assert (unpacked.source / "tconv" / "__init__.py").exists()
    assert Path(unpacked.command("worker", "tconv", "1", "cpu")[0]) == Path(sys.executable)
    with pytest.raises(ArgumentError, match="--base is '--help', which is no revision"):
        revision.unpack("--help", tmp_path)
