"""diagnose with JAX and the libraries built on it in a process of its own: its fixes run on JAX's arrays."""

from __future__ import annotations

import xla  # noqa: F401  (sets the flags that compile quickly, before JAX starts)

# isort: split
import equinox as eqx
import flax.linen
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fix_lines import check_fixes

OTHER = (("NCH", "HIO", "NCH"), ("NCHW", "IOHW", "NCHW"), ("NCDHW", "DHWIO", "NCDHW"))


def test_the_fixes():
    layout = lambda ndim: {"dimension_numbers": OTHER[ndim - 1]}  # noqa: E731
    tally = check_fixes("jax", {"jax": jax}, wrap=jnp.asarray, layout=layout)
    print(dict(tally))
    assert tally["recomputed"] > 30
    assert tally["fixed"] > 125


@pytest.mark.parametrize("name", ["flax", "haiku", "equinox"])
def test_the_fixes_of_libraries_built_on_it(name, monkeypatch):
    # Equinox draws a weight, which each line replaces, and JAX compiles that for each of the many shapes
    monkeypatch.setattr(jax.random, "uniform", lambda key, shape, dtype, **limits: jnp.asarray(np.zeros(shape, dtype)))
    batch = 1 if name == "equinox" else 2
    names = {"jax": jax, "flax": flax, "hk": hk, "eqx": eqx}
    tally = check_fixes(name, names, wrap=jnp.asarray, batch=batch, half=True)
    print(dict(tally))
    assert tally["recomputed"] > 12
    assert tally["fixed"] > 40
