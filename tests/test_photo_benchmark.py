"""benchmarks/photo.py: the result file is opened before minutes are spent, and all that was measured is stored."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from tconv.bench import child_process
from tconv.bench.roofline import RooflineProbe

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "photo.py"


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Run it with tconv as the only engine, on a tiny picture; return the exit code, with the result as an attribute."""
    spec = importlib.util.spec_from_file_location("photo_benchmark", SCRIPT)
    monkeypatch.syspath_prepend(SCRIPT.parent)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    monkeypatch.setattr(RooflineProbe, "answer", lambda self, message: {})
    path = tmp_path / "result.json"

    def call(rounds=3):
        monkeypatch.setattr(
            sys, "argv", ["photo.py", "photo@24x20", "--rounds", str(rounds), "--peers", "tconv", "-o", str(path)]
        )
        try:
            return script.main()
        finally:
            call.result = path.read_text()

    return call


def sampled(monkeypatch, error):
    """Let the third sample raise this error."""
    original, asked = child_process.Child.ask, []

    def ask(self, message, limit):
        asked.append(message["do"])
        if asked.count("sample") == 3:
            raise error
        return original(self, message, limit)

    monkeypatch.setattr(child_process.Child, "ask", ask)


def test_a_whole_run(run, capsys):
    assert run() == 0
    result = json.loads(run.result)
    assert result["complete"] is True
    assert len(result["networks"][0]["peers"]["tconv"]["ms"]) == 3
    assert "| photo 24x20 | tconv | " in capsys.readouterr().out


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("something else")])
def test_after_an_exception_the_measurements_are_stored(run, monkeypatch, error):
    sampled(monkeypatch, error)
    with pytest.raises(type(error)):
        run()
    result = json.loads(run.result)
    assert result["complete"] is False
    assert len(result["networks"][0]["peers"]["tconv"]["ms"]) == 2


def test_the_measurements_of_an_engine_that_dies_are_stored(run, monkeypatch, capsys):
    sampled(monkeypatch, child_process.GoneError("crashed", "signal SIGSEGV"))
    assert run() == 0
    result = json.loads(run.result)
    assert result["networks"][0]["peers"]["tconv"]["reason"] == "signal SIGSEGV"
    assert len(result["networks"][0]["peers"]["tconv"]["ms"]) == 2
    assert "ended early: tconv: signal SIGSEGV" in capsys.readouterr().out


def test_an_existing_result_is_not_overwritten_and_nothing_is_run(run, monkeypatch, capsys, tmp_path):
    (tmp_path / "result.json").write_text("precious")
    monkeypatch.setattr(child_process, "Child", None)
    assert run() == 1
    assert run.result == "precious"
    assert "result.json cannot be written: File exists. Choose a new name" in capsys.readouterr().err
