"""Transposed convolutions, and networks of them, of arrays larger than memory: tile by tile, the bits of the whole.

`conv_transpose` and `apply` are lazy, for Dask; `run` writes into a file or a Zarr store under a memory bound, goes on
where it was stopped, and keeps a journal of what is done.
"""

from __future__ import annotations
