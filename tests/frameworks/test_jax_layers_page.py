"""docs/jax-layers.md is true: its blocks run, one after the other, each with names of its own."""

from __future__ import annotations

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "jax-layers.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, re.M | re.S)


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_every_block_runs(block):
    exec(compile(block, "docs/jax-layers.md", "exec"), {"__name__": "page"})


def test_a_patch_would_outlive_its_context(monkeypatch):
    """The reason against a patch of jax.lax: programs are remembered by their function."""
    calls = []
    real = jax.lax.conv_transpose

    def patched(*arguments, **named):
        calls.append(1)
        return real(*arguments, **named)

    def up(x, w):
        return jax.lax.conv_transpose(x, w, (2,), "SAME")

    x, w = jnp.ones((1, 4, 2)), jnp.ones((3, 2, 1))
    before, inside = jax.jit(lambda x, w: up(x, w)), jax.jit(lambda x, w: up(x, w))
    before(x, w)
    with monkeypatch.context() as context:
        context.setattr(jax.lax, "conv_transpose", patched)
        before(x, w)
        assert not calls  # compiled before: not reached
        inside(x, w)
        assert len(calls) == 1
    assert inside(x, w).shape == (1, 8, 1)
    assert len(calls) == 1  # the program that was traced inside runs on, with what was patched in
