"""The README is true: its code runs, its quoted error is the error, its commands are what continuous integration runs."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tconv

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
DIALECTS = (ROOT / "docs" / "dialects.md").read_text()
BLOCKS = {
    f"README.md:{number}": block
    for number, block in enumerate(re.findall(r"^```python\n(.*?)^```", README, re.M | re.S), 1)
}  # those of other pages run when the book is built
RUN_BLOCKS = """
import json, sys
for name, block in json.load(sys.stdin).items():
    print("the block", name, file=sys.stderr)
    exec(compile(block, name, "exec"), {"__name__": "__main__"})
"""


def imported(block):
    """Return the slow import of a block: the frameworks of one process, as to import one takes seconds."""
    if re.search(r"\b(tensorflow|keras)\b", block):
        return "tensorflow"
    return next(name for name in ("torch", "jax") if re.search(rf"import.*\b{name}\b", block))


@pytest.mark.slow
@pytest.mark.parametrize("slow_import", ["torch", "jax", "tensorflow"])
def test_every_block_runs(slow_import, tmp_path):
    """Each with names of its own, so that it is complete."""
    blocks = {name: block for name, block in BLOCKS.items() if imported(block) == slow_import}
    assert blocks
    done = subprocess.run(
        [sys.executable, "-c", RUN_BLOCKS],
        input=json.dumps(blocks),
        capture_output=True,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        timeout=300,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("the block ") == len(blocks)


def test_the_first_screen_is_the_operator_in_six_lines():
    first = README.splitlines()[:24]
    start = first.index("```python")
    assert first.index("```", start) - start - 1 == 6
    assert "tconv.conv_transpose" in "".join(first[start:])


def test_it_is_one_screen_and_a_bit():
    assert len(README.encode()) <= 8400


def test_the_quoted_error():
    with pytest.raises(tconv.TconvError) as caught:
        tconv.conv_transpose(np.ones((1, 32, 8, 8)), np.ones((3, 3, 64, 32)))
    assert str(caught.value) in " ".join(DIALECTS.split())


def anchors(page):
    """The places of a page that a link can name, as GitHub makes them of its headings."""
    found = []
    for heading in re.findall(
        r"^#+ +(.+)", re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S), flags=re.M
    ):
        words = re.sub(r"\]\([^)]*\)|[^\w -]", "", heading.strip().lower()).replace(" ", "-")
        count = found.count(words)
        found.append(f"{words}-{count}" if count else words)
    return found


def test_links_and_pictures_exist():
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]
    for page in [*pages, *ROOT.glob("benchmarks/*.md"), *ROOT.glob("findings/*.md")]:
        text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
        for target, place in re.findall(r"\]\(([^)#\s]*)#?([^)\s]*)\)", text):
            file = page.parent / target if target else page
            assert target.startswith("http") or file.exists(), (page.name, target)
            assert not place or file.suffix != ".md" or place in anchors(file), (page.name, target, place)


def test_every_public_name_is_shown():
    text = README + "".join(page.read_text() for page in (ROOT / "docs").glob("*.md"))
    for name in set(tconv.__all__) - {"TconvError", "errors"}:  # they are in every message
        assert re.search(rf"\btconv\.{name}\b", text), name


BENCHMARKS = (ROOT / "benchmarks" / "README.md").read_text()


def test_the_table_of_times_is_the_stored_result():
    newest = max((ROOT / "benchmarks" / "results").glob("*-cpu.json"))
    done = subprocess.run([sys.executable, "-m", "tconv.bench.table", str(newest)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in BENCHMARKS
    assert f"(results/{newest.name})" in BENCHMARKS
    words = [sys.executable, "-m", "tconv.bench.table", str(newest), "brief"]
    brief = subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
    assert brief in README
    assert len(brief.splitlines()) <= 7
    assert f"benchmarks/results/{newest.name}" in README


def test_the_table_of_models_is_the_stored_result():
    newest = max((ROOT / "benchmarks" / "results").glob("*-models.json"))
    done = subprocess.run(
        [sys.executable, "-m", "tconv.bench.framework_table", str(newest)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in BENCHMARKS
    assert f"(results/{newest.name})" in BENCHMARKS


def test_the_table_of_training_steps_is_the_stored_result():
    page = (ROOT / "docs" / "torch.md").read_text()
    for kind in ("training", "overhead"):
        newest = max((ROOT / "benchmarks" / "results").glob(f"*-{kind}.json"))
        done = subprocess.run(
            [sys.executable, "-m", "tconv.bench.framework_table", str(newest)], capture_output=True, text=True
        )
        assert done.stdout.strip() in page
        assert f"benchmarks/results/{newest.name}" in page


def test_there_are_two_commands():
    commands = re.findall(r"^```sh\n(.*?)\n```", README, re.M | re.S)
    assert len(commands) == 2
    assert all("\n" not in command for command in commands)


def test_the_table_of_dialects_is_the_code():
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| `(.*?)` \| (yes|no) \| .* \| (.*) \| .* \|$", DIALECTS, re.M)
    assert [row[0] for row in rows] == list(tconv.dialects.names())
    for name, words, layout, flipped, eps in rows:
        speaker = tconv.dialect(name)
        assert (None if eps == "none" else float(eps)) == speaker.batchnorm_eps
        assert words.split(", ") == speaker.argument_names()
        assert layout == speaker.weight_layout(2).describe()
        assert (flipped == "yes") == speaker.weight_layout(2).flip
