"""The examples in docstrings run."""

import doctest
import importlib
from pathlib import Path

import pytest

import tconv

HOME = Path(tconv.__file__).parent
MODULES = sorted(
    ".".join(("tconv", *path.relative_to(HOME).with_suffix("").parts)).removesuffix(".__init__")
    for path in HOME.rglob("*.py")
    # those of frameworks run in processes of their own
    if path.relative_to(HOME).parts[0] not in ("cli", "torch", "jax", "tensorflow", "keras", "__main__.py")
)


@pytest.mark.parametrize("name", MODULES)
def test_examples(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert result.failed == 0
