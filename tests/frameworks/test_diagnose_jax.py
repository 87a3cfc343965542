"""diagnose with JAX and what is built on it in a process of its own: the lines that it writes, run on JAX's arrays."""

from __future__ import annotations

import equinox as eqx
import flax.linen
import haiku as hk
import jax
import jax.numpy as jnp
import pytest
from fix_lines import check_mending

OTHER = (("NCH", "HIO", "NCH"), ("NCHW", "IOHW", "NCHW"), ("NCDHW", "DHWIO", "NCDHW"))


def test_the_lines_that_mend():
    layout = lambda ndim: {"dimension_numbers": OTHER[ndim - 1]}  # noqa: E731
    tally = check_mending("jax", {"jax": jax}, wrap=jnp.asarray, layout=layout)
    print(dict(tally))
    assert tally["made anew"] > 60
    assert tally["mended"] > 250


@pytest.mark.parametrize("name", ["flax", "haiku", "equinox"])
def test_the_lines_of_what_is_built_on_it(name):
    batch = 1 if name == "equinox" else 2
    names = {"jax": jax, "flax": flax, "hk": hk, "eqx": eqx}
    tally = check_mending(name, names, wrap=jnp.asarray, batch=batch)
    print(dict(tally))
    assert tally["made anew"] > 50
    assert tally["mended"] > 180
