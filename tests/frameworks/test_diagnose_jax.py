"""diagnose with JAX and the libraries built on it in a process of its own: its fixes run on JAX's arrays."""

from __future__ import annotations

import equinox as eqx
import flax.linen
import haiku as hk
import jax
import jax.numpy as jnp
import pytest
from fix_lines import check_fixes

OTHER = (("NCH", "HIO", "NCH"), ("NCHW", "IOHW", "NCHW"), ("NCDHW", "DHWIO", "NCDHW"))


def test_the_fixes():
    layout = lambda ndim: {"dimension_numbers": OTHER[ndim - 1]}  # noqa: E731
    tally = check_fixes("jax", {"jax": jax}, wrap=jnp.asarray, layout=layout)
    print(dict(tally))
    assert tally["recomputed"] > 60
    assert tally["fixed"] > 250


@pytest.mark.parametrize("name", ["flax", "haiku", "equinox"])
def test_the_fixes_of_libraries_built_on_it(name):
    batch = 1 if name == "equinox" else 2
    names = {"jax": jax, "flax": flax, "hk": hk, "eqx": eqx}
    tally = check_fixes(name, names, wrap=jnp.asarray, batch=batch)
    print(dict(tally))
    assert tally["recomputed"] > 50
    assert tally["fixed"] > 180
