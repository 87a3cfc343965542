"""The examples in docstrings run."""

import doctest
import importlib
import pkgutil

import pytest

import tconv

MODULES = sorted(
    module.name for module in pkgutil.walk_packages(tconv.__path__, "tconv.") if not module.name.startswith("tconv.cli")
)


@pytest.mark.parametrize("name", ["tconv", *MODULES])
def test_examples(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert result.failed == 0
