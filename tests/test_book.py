"""The book's reader: which blocks of a page run, and what it refuses. The pages themselves run when the book is built."""

from __future__ import annotations

import doctest
import importlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXTENSIONS = Path(__file__).parents[1] / "docs" / "_extensions"
sys.path.insert(0, str(EXTENSIONS))

import book_checks  # noqa: E402
import console_cells  # noqa: E402
import console_session  # noqa: E402
import python_cells  # noqa: E402
import repository_links  # noqa: E402

PAGE = """# A page

```python
x = 1
```
```python tab="PyTorch" hide-input
x + 1
```
```python not-run="it needs a chip"
y
```

<!-- python
assert x == 1

-->

```sh
ls
```
"""


def cells(text):
    return [cell for cell in python_cells.read(text).cells if cell.source != python_cells.SETUP]


@pytest.mark.parametrize("name", sorted(path.stem for path in EXTENSIONS.glob("*.py")))
def test_examples(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_blocks_become_cells_in_the_order_of_the_page():
    found = [(cell.cell_type, cell.source.strip()) for cell in cells(PAGE)]
    assert [source for kind, source in found if kind == "code"] == ["x = 1", "x + 1", "assert x == 1"]
    assert [kind for kind, _ in found] == ["markdown", "code", "code", "markdown", "code", "markdown"]
    assert cells(PAGE)[2].metadata == {"tags": ["hide-input"], "tab": "PyTorch"}
    assert cells(PAGE)[4].metadata == {"tags": ["remove-cell"]}


def test_lines_of_cells_are_those_of_the_page():
    notebook = python_cells.read(PAGE)
    lines = PAGE.splitlines()
    for cell, start in zip(notebook.cells[1:], notebook.metadata["source_map"][1:], strict=True):
        assert cell.source.splitlines()[0] == lines[start]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a list\n\n  ```python\n  x\n  ```\n", "stands in a list, a quote or a directive"),
        ("> ```python\n> x\n> ```\n", "stands in a list, a quote or a directive"),
        (":::{note}\n```python\nx\n```\n:::\n", "stands in a list, a quote or a directive"),
        ("````{note}\n```python\nx\n```\n````\n", "stands in a list, a quote or a directive"),
        ("```python hide_input\nx\n```\n", "line 1 has the words ['hide_input']. Its cell can have"),
        ("```python not-run\nx\n```\n", 'line 1 has no reason: write not-run="a reason"'),
    ],
)
def test_blocks_that_would_not_run_are_refused(text, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        python_cells.read(text)


def test_a_page_without_cells_starts_no_kernel():
    assert python_cells.read("# Words\n").metadata["mystnb"] == {"execution_mode": "off"}


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        ("[a](../CONTRIBUTING.md#the-map)", "[a](contributing.md#the-map)"),
        ("[a](../README.md#start)", "[a](index.md)"),
        ("[a](../findings/README.md)", "[a](path:../findings/README.md)"),
        ("[a](../src/tconv/definition.py)", "[a](../src/tconv/definition.py)"),
        ("[a](../src/tconv/data/explorer.html#kernel=3)", "[a](explorer:kernel=3)"),
        ("[a](torch.md#speed) [b](https://arxiv.org/abs/1603.07285) [c](#here)",) * 2,
    ],
)
def test_links_of_the_repository(link, expected):
    assert repository_links.LINK.sub(repository_links._in_the_book, link) == expected


def test_links_of_files_shown_as_pages():
    folder = Path(repository_links.DOCS).parent / "benchmarks"
    moved = repository_links.LINK.sub(
        lambda each: repository_links._moved(each, folder), "[a](results/x.json) [b](../docs/torch.md#speed)"
    )
    assert moved == "[a](../benchmarks/results/x.json) [b](torch.md#speed)"


def test_addresses_that_need_a_network_are_found():
    page = '<link rel="icon" href="https://x.org/a.ico"><a href="https://arxiv.org"><script src="_static/a.js"></script><img src="//x.org/b.png">'
    assert book_checks.FETCHED.findall(page) == ["https://x.org/a.ico", "//x.org/b.png"]


def test_products_that_are_read_as_emphasis_are_found():
    page = "<p>s<em>i + phase, tap d</em>t, <em>tried</em> if <em>fitted</em>.</p>"
    assert book_checks.EMPHASIS.findall(page) == ["s<em>i + phase, tap d</em>"]
    assert book_checks.EMPHASIS.findall("(<em>i, d</em>t)") == ["<em>i, d</em>t"]


def test_answers_without_a_value_are_found():
    def answer(value):
        return f"<details><summary>Answer</summary>{value}</details>"

    shown = '<div class="cell_output docutils"><div><pre><span></span>{}\n</pre></div></div>'
    values = [shown.format("4"), shown.format("&#39;b&#39;"), shown.format(""), "<p>Four.</p>"]
    found = book_checks.ANSWER.findall("\n".join(map(answer, values)))
    assert [book_checks._value(each) for each in found] == [True, True, False, False]


ANSWERS = {
    "(64, 16)": ("64 x 16", "64x16", "[64, 16.0]", "64 by 16", "16 x 64", "64", ""),
    "'b'": ("b", "B)", "B.", "(b)", "b: a sum", "a", "a: b", "4", ""),
    "{3, 5}": ("3, 5", "5, 3", "5 and 3", "3"),
    "(128, 256)": ("128,256", "128256"),
    "5000": ("5,000", "5000 numbers", "5000.", "50", "none"),
    "-0.7": ("-.70", "\u22120.7", "0.7"),
}
WRONG = {"16 x 64", "64", "", "a", "a: b", "3", "4", "50", "none", "0.7", "128256"}


@pytest.mark.skipif(not shutil.which("node"), reason="it needs Node")
def test_answers_are_compared_as_people_write_them():
    pairs = [(given, value) for value, answers in ANSWERS.items() for given in answers]
    script = (EXTENSIONS.parent / "_static" / "questions.js").read_text()
    code = f"const document = {{addEventListener() {{}}}}; {script}; console.log({json.dumps(pairs)}.map((p) => +isRight(...p)))"
    done = subprocess.run(["node", "-"], input=code, capture_output=True, text=True, check=True)
    assert [given for (given, _), right in zip(pairs, json.loads(done.stdout), strict=True) if not right] == [
        given for given, _ in pairs if given in WRONG
    ]


TERMINAL = """```console run
$ echo one; echo two
...
two
$ (exit 3) ; echo $?
3
```
```console run as-written
$ seq 100
1
...
```
```toml file="chip.toml"
name = "chip"
```
"""


def test_commands_and_files_become_cells(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = console_cells.expanded(TERMINAL)
    code = [cell for cell in cells(page) if cell.cell_type == "code"]
    assert [cell.metadata["tags"] for cell in code] == [
        ["remove-input"],
        ["remove-input"],
        ["remove-input", "remove-output"],
        ["remove-cell"],
    ]
    for cell in code:
        exec(cell.source, {})
    assert (tmp_path / "chip.toml").read_text() == 'name = "chip"\n'
    assert "```console\n$ seq 100\n1\n...\n```" in page


@pytest.mark.parametrize("block", ["run as-writen\n$ ls\n", "runs\n$ ls\n", "run\nls\n", "run as-written\n"])
def test_a_block_of_the_terminal_that_would_check_nothing_is_refused(block):
    with pytest.raises(ValueError, match="lines behind a dollar is needed"):
        console_cells.expanded(f"```console {block}```\n")


@pytest.mark.parametrize("expected", ["two\n", "one more\n", "one more\n...\nthree\n", "one l ...\n...\n", ""])
def test_a_command_that_prints_something_else_fails(expected):
    with pytest.raises(AssertionError, match="The page says that this is printed"):
        console_session.run("echo one more; echo two", expected)


def test_dots_stand_for_what_differs_from_run_to_run(capsys):
    for expected in ("one ...\ntwo\n", "...\ntwo\n", "one more\n...\n", "...\n"):
        console_session.run("echo one more; echo two", expected)
    assert capsys.readouterr().out == "one more\ntwo\n" * 4
