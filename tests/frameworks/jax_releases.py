"""Names of JAX that moved between the releases that tconv.jax runs on."""

import jax
import jax.export  # noqa: F401  (before 0.7 it has to be imported)

try:
    from jax import shard_map
except ImportError:
    from jax.experimental.shard_map import shard_map

try:
    from jax import enable_x64
except ImportError:
    from jax.experimental import enable_x64

__all__ = ["enable_x64", "shard_map"]
