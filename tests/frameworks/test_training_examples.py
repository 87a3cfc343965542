"""What the training examples share: runs that go on as if never killed, two processes as one, results that stay."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
sys.path.insert(0, str(EXAMPLES))

import torch  # noqa: E402
from shared_parts import report, training  # noqa: E402

SCRIPT = Path(__file__).with_name("tiny_training.py")


def start(folder, *arguments, launcher=()):
    return subprocess.Popen(
        [sys.executable, *launcher, SCRIPT, "-o", folder, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def finish(process):
    """Return the exit code and the output of a process."""
    try:
        output, _ = process.communicate(timeout=120)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return process.returncode, output


def runs_of(folder):
    return json.loads((folder / "metrics.json").read_text())["runs"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of runs that nothing disturbed, one after another."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    code, output = finish(start(folder, "--jobs", 1))
    assert code == 0, output
    return folder


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_killed_run_equals_one_that_was_not(tmp_path, whole):
    folder = tmp_path / "killed"
    process = start(folder, "--jobs", 2, "--pause", 0.05)
    while not (folder / "run1.pt").exists():
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.01)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    for _ in range(200):  # the runs end with the process that started them
        if not any(map(alive, children)):
            break
        time.sleep(0.05)
    assert children
    assert not any(map(alive, children))
    assert not (folder / "metrics.json").exists()
    done = torch.load(folder / "run1.pt", weights_only=True)["step"]
    assert 0 < done < 20

    code, output = finish(start(folder, "--jobs", 2, "--pause", 0.05))
    assert code == 0, output
    assert f"run1 goes on at step {done} of 20" in output
    assert runs_of(folder) == runs_of(whole)  # side by side or one after another, to the digit
    assert len({tuple(each["weights"]) for each in runs_of(whole)}) == 3


def test_ctrl_c_says_that_the_same_command_goes_on(tmp_path):
    process = start(tmp_path / "stopped", "--jobs", 2, "--pause", 0.05)
    while not (tmp_path / "stopped" / "run1.pt").exists():
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    code, output = finish(process)
    assert code == 130
    assert "stopped; the same command goes on" in output
    assert "Traceback" not in output


WITHOUT = """
import runpy, sys
class Missing:
    def find_spec(self, name, *_):
        if name == sys.argv[1]:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
runpy.run_path(sys.argv[2], run_name="__main__")
"""


@pytest.mark.parametrize(
    ("module", "package"), [("filelock", "filelock"), ("sklearn", "scikit-learn"), ("torch", "torch")]
)
def test_a_missing_module_is_named_with_what_to_write(module, package):
    command = [sys.executable, "-c", WITHOUT, module, EXAMPLES / "segmentation.py"]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(EXAMPLES)}, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == f'{package} is missing. Write: pip install ".[test]"\n'


def test_two_processes_train_as_one(tmp_path, whole):
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    code, output = finish(start(tmp_path / "two", launcher=launcher))
    assert code == 0, output
    for a, b in zip(runs_of(tmp_path / "two"), runs_of(whole), strict=True):
        np.testing.assert_allclose(a["weights"], b["weights"], atol=1e-5)
        assert [each["step"] for each in a["history"]] == [5, 10, 15, 20]


def fails(recipe, folder, show):
    """Stand in for a run that fails; it has to be importable."""
    raise SystemExit("this run is broken")


def test_an_error_of_one_run_ends_all(tmp_path):
    recipes = [{"name": f"run{i}"} for i in range(3)]
    with pytest.raises(SystemExit, match="this run is broken"):
        training.spread(fails, recipes, tmp_path, 2, 1)


def test_other_options_are_refused_and_results_stay(whole):
    before = {path.name: path.read_bytes() for path in whole.iterdir() if path.suffix}
    code, output = finish(start(whole, "--steps", 30))
    assert code == 1
    assert "holds results of steps=20, and this run has steps=30. Write the same options, or another -o" in output
    assert {path.name: path.read_bytes() for path in whole.iterdir() if path.suffix} == before


def test_options_are_checked(capsys):
    parser = training.parser("words", "runs/x", 10)
    with pytest.raises(SystemExit):
        parser.parse_args(["--steps", "0"])
    assert "0 is given, and a whole number above 0 is needed" in capsys.readouterr().err
    parser.add_argument("--rate", type=training.amount)
    for option, text in (("--seed", "-1"), ("--rate", "nan"), ("--rate", "inf"), ("--rate", "-0.1"), ("--rate", "x")):
        with pytest.raises(SystemExit):
            parser.parse_args([f"{option}={text}"])
        assert f"argument {option}: " in capsys.readouterr().err
    assert parser.parse_args(["--rate", "0"]).rate == 0


RECIPE = {"seed": 0, "name": "a"}


class TestCheckpoint:
    def write(self, path, recipe=None):
        net = torch.nn.Linear(3, 3)
        state = {"step": 4, "history": [], "seconds": 0.0, "ends": [[0, 4]], "recipe": recipe or RECIPE}
        training.write_checkpoint(path, {**state, "parts": {"net": net.state_dict()}})
        return net

    def read(self, path, net=None):
        return training.read_checkpoint(path, RECIPE, {"net": net or torch.nn.Linear(3, 3)})

    def test_it_is_read_again(self, tmp_path):
        written, read = self.write(tmp_path / "a.pt"), torch.nn.Linear(3, 3)
        assert self.read(tmp_path / "a.pt", read)["step"] == 4
        assert torch.equal(written.weight, read.weight)

    @pytest.mark.parametrize(
        "damage",
        [
            lambda path: path.write_bytes(path.read_bytes()[:500]),
            lambda path: path.write_bytes(b""),
            lambda path: path.write_text("words"),
            lambda path: torch.save({"weights": torch.zeros(3)}, path),
            lambda path: torch.save([1, 2], path),
            lambda path: torch.save(torch.nn.Linear(3, 3), path),
        ],
    )
    def test_damage_is_named(self, tmp_path, damage):
        path = tmp_path / "a.pt"
        self.write(path)
        damage(path)
        damaged = path.read_bytes()
        with pytest.raises(SystemExit, match=r"a\.pt is no checkpoint of this example, or damaged .* Delete it"):
            self.read(path)
        assert path.read_bytes() == damaged

    def test_another_recipe_is_named(self, tmp_path):
        self.write(tmp_path / "a.pt", {"seed": 1, "name": "a"})
        with pytest.raises(
            SystemExit, match=r"is of a run with seed=1, and this run has seed=0\. Write the same options"
        ):
            self.read(tmp_path / "a.pt")

    def test_another_network_is_named(self, tmp_path):
        self.write(tmp_path / "a.pt")
        with pytest.raises(SystemExit, match="damaged"):
            self.read(tmp_path / "a.pt", torch.nn.Linear(2, 2))

    def test_one_without_its_progress_is_damaged(self, tmp_path):
        training.write_checkpoint(tmp_path / "a.pt", {"step": 4, "recipe": RECIPE, "parts": {}})
        with pytest.raises(SystemExit, match=r"damaged \('ends'\)"):
            training.read_checkpoint(tmp_path / "a.pt", RECIPE, {})

    def test_one_with_more_steps_is_refused(self, tmp_path):
        training.fit({}, lambda i: 0.0, 3, tmp_path / "a.pt", RECIPE)
        assert training.fit({}, lambda i: 0.0, 5, tmp_path / "a.pt", RECIPE).ends == [[0, 3], [3, 5]]
        with pytest.raises(SystemExit, match=r"a\.pt has 5 steps already\. Write --steps 5 or more"):
            training.fit({}, lambda i: 0.0, 4, tmp_path / "a.pt", RECIPE)

    def test_a_loss_that_is_not_finite_ends_the_run(self, tmp_path):
        with pytest.raises(SystemExit, match=r"the loss of step 3 of a is nan\. Write a lower learning rate"):
            training.fit({}, lambda i: float("nan") if i == 2 else 0.0, 5, tmp_path / "a.pt", RECIPE, every=2)
        assert training.read_checkpoint(tmp_path / "a.pt", RECIPE, {})["step"] == 2

    def test_a_full_disk_keeps_the_older_one(self, tmp_path, monkeypatch):
        path = tmp_path / "a.pt"
        self.write(path)
        before = path.read_bytes()

        def full(part, content):
            with part.open("wb") as stream:
                stream.write(content[:10])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(Path, "write_bytes", full)
        with pytest.raises(
            SystemExit, match=r"could not be written: No space left on device; the older one is as it was"
        ):
            self.write(path)
        assert path.read_bytes() == before
        assert [each.name for each in tmp_path.iterdir()] == ["a.pt"]


class TestResult:
    def test_what_is_written(self, tmp_path):
        result = report.Result(tmp_path / "new" / "folder", "A <b> title", {"seed": 3})
        result.heading("Scores")
        result.text("a & b")
        result.table("T", [{"net": "U-Net", "IoU": "0.5"}, {"net": "FCN", "IoU": "<0.4>"}])
        result.picture("scene", np.zeros((4, 5, 3), np.uint8), 'black "square"')
        result.figures(iou=[0.5, 0.4], half={"width": float("nan")})
        page = result.write()
        text = page.read_text()
        assert all(part in text for part in ("A &lt;b&gt; title", "a &amp; b", "&lt;0.4&gt;", "data:image/png;base64,"))
        assert 'alt="black &quot;square&quot;"' in text
        assert all(f"<a href={name}>" in text for name in ("metrics.json", "tables.md"))
        assert '<div tabindex=0><img src="data' in text  # pixels are never made smaller
        metrics = json.loads((page.parent / "metrics.json").read_text(), parse_constant=pytest.fail)
        assert metrics["half"] == {"width": None}
        assert (metrics["iou"], metrics["recipe"]) == ([0.5, 0.4], {"seed": 3})
        assert "| U-Net | 0.5 |\n| FCN | <0.4> |" in (page.parent / "tables.md").read_text()
        assert (page.parent / "scene.png").read_bytes()[:4] == b"\x89PNG"

    def test_what_falls_short_of_a_bound_is_printed_and_decides_the_exit_code(self, tmp_path, capsys):
        result = report.Result(tmp_path / "folder", "t", {})
        assert result.finish() is None
        assert result.finish(["0.1; at least 0.2 is needed"]) == 1
        see = f"see {tmp_path}/folder/page.html\n"
        assert capsys.readouterr().out == f"{see}{see}0.1; at least 0.2 is needed\n"

    def test_a_recipe_tells_data_from_others(self):
        zeros = np.zeros((2, 3), np.uint8)
        assert report.checksum([b"1234", b"56789"]) == "cbf43926"  # the check value of CRC-32
        assert report.checksum([zeros, zeros]) != report.checksum([zeros, zeros + 1])

    def test_a_folder_of_other_files_is_refused(self, tmp_path):
        (tmp_path / "thesis.tex").write_text("x")
        with pytest.raises(SystemExit, match=r"holds other files \(thesis\.tex"):
            report.Result(tmp_path, "t", {})
        assert {path.name for path in tmp_path.iterdir()} == {"thesis.tex"}

    def test_what_killed_processes_left_is_removed(self, tmp_path):
        (tmp_path / "recipe.json.12").write_text('{"seed": 0')
        report.Result(tmp_path, "t", {"seed": 0})
        assert {path.name for path in tmp_path.iterdir()} == {".lock", "recipe.json"}
        for name in ("run.pt.345", "page.html.6", "notes.2026"):
            (tmp_path / name).write_text("half")
        with pytest.raises(SystemExit, match="holds results of seed=0"):
            report.Result(tmp_path, "t", {"seed": 1})
        assert (tmp_path / "run.pt.345").exists()
        report.Result(tmp_path, "t", {"seed": 0})
        assert {path.name for path in tmp_path.iterdir()} == {".lock", "recipe.json", "notes.2026"}

    def test_a_folder_without_a_recipe_keeps_all_its_files(self, tmp_path):
        (tmp_path / "data.json.1").write_text("x")
        with pytest.raises(SystemExit, match="holds other files"):
            report.Result(tmp_path, "t", {})
        assert (tmp_path / "data.json.1").exists()

    def test_a_file_is_no_folder(self, tmp_path):
        (tmp_path / "file").write_text("x")
        with pytest.raises(SystemExit, match=r"cannot be used: .* Write another -o FOLDER"):
            report.Result(tmp_path / "file", "t", {})

    def test_two_processes_do_not_share_a_folder(self, tmp_path):
        first = report.Result(tmp_path / "a", "t", {"seed": 0})
        with pytest.raises(SystemExit, match="another process works in"):
            report.Result(tmp_path / "a", "t", {"seed": 0})
        del first
        report.Result(tmp_path / "a", "t", {"seed": 0})

    @pytest.mark.parametrize("text", ["{", "[1]", '{"seed": 1}', "{}"])
    def test_a_foreign_or_damaged_recipe_is_refused(self, tmp_path, text):
        report.Result(tmp_path / "a", "t", {"seed": 0})
        (tmp_path / "a" / "recipe.json").write_text(text)
        with pytest.raises(SystemExit, match=r"Write (the same options, or )?another -o FOLDER"):
            report.Result(tmp_path / "a", "t", {"seed": 0})


def test_step_times_are_taken_in_turns():
    order = []
    times = training.step_times({"stock": lambda: order.append("s"), "ours": lambda: order.append("o")}, 4)
    assert sorted(order) == ["o"] * 5 + ["s"] * 5
    assert all({*order[i : i + 2]} == {"s", "o"} for i in range(0, 10, 2))
    assert set(times["ratio"]) == {"ours"}
