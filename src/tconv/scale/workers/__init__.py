"""Workers of `dask.distributed`: their processes, what they check before they begin, and the tasks that they run."""
