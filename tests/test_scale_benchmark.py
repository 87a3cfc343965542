"""benchmarks/scale.py: a tiny case of each operation passes its gate, and what was measured is stored."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[1] / "benchmarks"


def run(script, *arguments):
    command = [sys.executable, SCRIPTS / script, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_a_tiny_case_is_measured(tmp_path):
    """The gate, the bound of memory and the table."""
    pytest.importorskip("zarr")
    output = tmp_path / "result.json"
    arguments = ["bicubic", "layer", "--gib", 1e-4, "--rounds", 1, "--peers", "tconv", "pillow_tiles"]
    done = run("scale.py", *arguments, "--folder", tmp_path, "-o", output)
    assert done.returncode == 0, done.stderr + done.stdout
    result = json.loads(output.read_text())
    assert result["complete"]
    picture, layer = result["cases"]
    assert picture["engines"]["tconv"]["error"] <= 0.51
    assert layer["engines"]["tconv"]["error"] < 1e-6
    assert set(picture["engines"]) == {"tconv", "pillow_tiles"}
    assert set(layer["engines"]) == {"tconv"}
    assert [each.name for each in tmp_path.iterdir()] == ["result.json"]
    assert "| bicubic | none |" in done.stdout


def test_an_existing_result_is_kept(tmp_path):
    """Nothing is run, and the file stays."""
    output = tmp_path / "result.json"
    output.write_text("{}")
    for script in ("scale.py", "scale_jobs.py"):
        done = run(script, "-o", output)
        assert done.returncode == 1
        assert "Choose a new name" in done.stderr
    assert output.read_text() == "{}"
