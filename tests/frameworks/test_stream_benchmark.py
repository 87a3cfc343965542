"""benchmarks/streams.py: a whole run on a tiny decoder, and its tables."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest
import torch

from tconv.bench import child_process

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Yield a function that runs it with all engines in this process and returns the exit code; `result` has the rest."""
    monkeypatch.syspath_prepend(FOLDER)
    monkeypatch.delitem(sys.modules, "photo", raising=False)
    modules = {}
    for name in ("streams", "stream_engines"):
        spec = importlib.util.spec_from_file_location(f"benchmark_{name}", FOLDER / f"{name}.py")
        modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(modules[name])

    class InProcess:
        def __init__(self, argv, env):
            name, folder, threads, decoder, seconds = argv[2:]
            self.worker = modules["stream_engines"].Worker(name, Path(folder), int(threads), decoder, float(seconds))

        def ask(self, message, limit):
            return self.worker.answer(json.loads(json.dumps(message)))

        def close(self):
            pass

    monkeypatch.setattr(child_process, "Child", InProcess)

    def call(*options):
        path = tmp_path / f"{len(options)}.json"
        monkeypatch.setattr(sys, "argv", ["streams.py", "tiny", "--quick", "--threads", "1", *options, "-o", str(path)])
        try:
            return modules["streams"].main()
        finally:
            call.result = json.loads(path.read_text())["decoders"][0]

    with torch.enable_grad():  # a worker turns gradients off in its process, which is this one
        yield call


def test_a_whole_run(run, capsys):
    assert run("--seconds", "0.5") == 0
    engines = run.result["engines"]
    assert engines["tconv_stream"]["bits"] is True
    assert all(len(each["ms"]) == 1 and each["error"] < 1e-5 for each in engines.values())
    assert len(engines["torch_windows"]["ms"][0]) == 6
    assert "| thin-tiny | 1 | PyTorch, windows | " in capsys.readouterr().out


def test_long_runs(run, capsys):
    assert run("--tail", "60", "--minutes", "0.1", "--sessions", "5") == 0
    assert len(run.result["tail"]["ms"]) == 60
    assert run.result["sessions"]["held"] == run.result["sessions"]["predicted"]
    assert run.result["minutes"]["traced_growth"] < 100
    text = capsys.readouterr().out
    assert all(head in text for head in ("p99 / median", "growth to the end", "bytes predicted"))
