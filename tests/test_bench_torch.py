"""`tconv bench --models`, `--training`, `--overhead`: tables, refusals, and one real run of the smallest case."""

import json

import pytest

from tconv.bench import framework_comparison, framework_table, frameworks
from tconv.bench.networks import NETWORKS
from tconv.cli import main
from tconv.errors import FileError
from test_bench import base_revision

MACHINE = {"cpu": "a chip", "cores": 2, "platform": "here", "python": "3.11", "load": 0.1}


def result(*cases, kind="models", **more):
    base = {"date": "2026-11-25", "kind": kind, "machine": MACHINE, "threads": 2, "allowed": 1e-5, "complete": True}
    return {**base, "cases": list(cases), **more}


def case(torch, tconv, share=0.5, dtype="float32", layout="first", **more):
    samples = {"torch": torch, "tconv": tconv, **more}
    return {
        "dtype": dtype,
        "layout": layout,
        "name": "a",
        "title": "A net",
        "share": share,
        "samples": samples,
        "difference": 2e-7,
        "versions": {"torch": "2"},
    }


def test_the_table_shows_the_gain_beside_what_could_be_won():
    text = framework_table.markdown(
        result(case([10.0] * 5, [6.0] * 5, fused=[5.0] * 5), {"name": "b", "reason": "no monai"})
    )
    assert text.splitlines()[0] == "| model | share | torch | tconv | gain | 95% | fused | at best | difference |"
    assert text.splitlines()[2] == "| A net | 50% | 10.0 | 6.00 | 1.67 | 1.67..1.67 | 2.00 | 2.00 | 2.0e-07 |"
    assert "not run: b: no monai" in text
    training = framework_table.text(result(case([10.0], [8.0]), case([4.0], [4.0]), kind="training"))
    assert "geometric mean of the gains 1.12; smallest 1.00" in training
    assert "at best" not in training


def test_the_table_shows_another_revision():
    based = case([10.0] * 5, [6.0] * 5, **{"tconv@main": [9.0] * 5})
    text = framework_table.text(result(based, {**case([1.0], [1.0]), "base": "tconv@main: no torch"}))
    assert text.split("\n")[0].split()[4:10] == ["gain", "95%", "tconv@main", "base", "/", "tconv"]
    assert text.split("\n")[1].split()[7:10] == ["9.00", "1.50", "1.50..1.50"]
    assert "tconv@main: geometric mean of base / tconv 1.500 over 1 cases" in text
    assert "not run: tconv@main: no torch (a)" in text


def test_the_gains_of_both_layouts_are_compared():
    both = [
        case([10.0], [tconv], dtype=dtype, layout=layout)
        for dtype, layout, tconv in (("float32", "first", 5.0), ("float32", "last", 4.0), ("bfloat16", "last", 8.0))
    ]
    lines = framework_table.notes(result(*both))
    assert lines[0].startswith("forward, float32 and bfloat16 on the CPU")
    assert lines[0].endswith("is allowed.")
    assert framework_table.notes(result(both[2]))[0].endswith("difference is of the largest value.")
    assert lines[1].startswith("bfloat16 by autocast; difference is from the model in float32, 1.5 times PyTorch's own")
    assert "a, float32: the gain with channels last is 1.25 of that with channels first" in lines
    assert not any(line.startswith("a, bfloat16") for line in lines)


def test_results_of_november_can_be_read(tmp_path):
    old = result({"name": "a", "words": "A net", "reason": "?"})
    path = tmp_path / "old.json"
    path.write_text(json.dumps(old))
    assert framework_table.read(path)["cases"] == [{"name": "a", "title": "A net", "reason": "?"}]


def test_a_loss_needs_its_whole_interval_below_the_limit():
    assert not framework_table.wrong(result(case([10.0, 10.0], [10.0, 10.0])))
    assert framework_table.wrong(result(case([9.0, 9.0], [10.0, 10.0])))
    assert not framework_table.wrong(result(case([9.0, 9.0, 12.0], [10.0, 10.0, 9.0])))
    assert not framework_table.wrong(result(case([9.0, 9.0], [10.0, 10.0]), kind="overhead"))
    assert framework_table.wrong(result({"name": "a", "reason": "wrong: the outputs differ"}))


def test_rounds_interleave_both_sides_and_end_in_time():
    calls = []
    takers = {side: lambda side=side: calls.append(side) or 1.23456789 for side in ("torch", "tconv")}
    assert framework_comparison.rounds_of(takers, 4, 0.0) == {"torch": [1.2346] * 3, "tconv": [1.2346] * 3}
    assert all(set(calls[turn : turn + 2]) == {"torch", "tconv"} for turn in (0, 2, 4))
    assert len(framework_comparison.rounds_of(takers, 4, 100.0)["torch"]) == 4


def test_what_is_refused(capsys, tmp_path):
    for arguments, message in (
        (["--models", "--training"], "--models was given together with --training"),
        (["--models", "--peers", "torch"], "--peers was given together with --models"),
        (["--models", "--layers", "dcgun"], "there is no model 'dcgun'; the models are dcgan"),
        (["--training", "--layers", "poze"], "there is no layer 'poze'; the layers are"),
        (["--models", "--device", "cuda"], "--device was given together with --models"),
        (["--models", "--isa", "avx2"], "--isa was given together with --models"),
        (["--models", "--dtype", "half"], "--dtype is 'half', and 'half' is none of"),
        (["--training", "--dtype", "bfloat16"], "--dtype was given together with --training"),
        (["--overhead", "--layout", "last"], "--layout was given together with --overhead"),
    ):
        assert main(["bench", *arguments]) == 1
        assert message in capsys.readouterr().err
    path = tmp_path / "none.json"
    path.write_text("{}")
    with pytest.raises(FileError, match="A file written by tconv bench --framework jax -o, or by"):
        framework_table.read(path)
    assert framework_table.main([str(path)]) == 1
    assert framework_table.main([]) == 1


@pytest.mark.slow
def test_the_smallest_case_runs_and_is_stored(capsys, tmp_path):
    path, ref = tmp_path / "made.json", base_revision()
    base = ["--base", ref] if ref else []
    assert main(["bench", "--overhead", "--rounds", "3", "--seconds", "5", "-o", str(path), "--json", *base]) == 0
    printed = json.loads(capsys.readouterr().out)
    stored = json.loads(path.read_text())
    assert stored == printed
    (entry,) = stored["cases"]
    assert entry["difference"] <= 1e-5
    assert len(entry["samples"]["torch"]) == len(entry["samples"]["tconv"]) == 3
    assert "base" not in entry
    assert set(entry["samples"]) == {"torch", "tconv", *([f"tconv@{ref}", framework_comparison.APART] if ref else [])}
    assert "| tiny layer |" in framework_table.markdown(framework_table.read(path))


def test_every_network_has_a_title():
    assert all(network.title and network.package for network in NETWORKS.values())
    assert frameworks.framework("torch").names("training")[0] == "unet up1"
