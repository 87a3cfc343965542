"""Lazy arrays in chunks (Dask): borders of chunks, the strips that neighbours need, tasks and their graph."""
