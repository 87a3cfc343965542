"""diagnose with JAX in a process of its own: the lines that it writes, run on JAX's arrays."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from mending import check_mending

OTHER = (("NCH", "HIO", "NCH"), ("NCHW", "IOHW", "NCHW"), ("NCDHW", "DHWIO", "NCDHW"))


def test_the_lines_that_mend():
    layout = lambda ndim: {"dimension_numbers": OTHER[ndim - 1]}  # noqa: E731
    tally = check_mending("jax", {"jax": jax}, wrap=jnp.asarray, layout=layout)
    print(dict(tally))
    assert tally["made anew"] > 60
    assert tally["mended"] > 250
