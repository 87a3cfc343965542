#!/usr/bin/env bash
# dask and distributed 2026.8.0, zarr 3.1.6: dask.array.from_zarr on a cluster
#
# A store that was written again is read as it was before, as long as any array of its old values is kept on the
# cluster (persisted, or a future that a variable holds): new calls of from_zarr and zarr.open_array return old numbers.
# Without distributed the same lines return the new ones.
#
# Why a good guess is wrong: from_zarr is lazy and takes no look at the values, so one expects the numbers that are
# there when compute is called. A chunk's task is named after the store alone; the cluster has a result of that name.
#
# Instead: from_zarr(..., name="values-" + token) with a token of your own for each version of the store.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "dask[array]==2026.8.0" distributed==2026.8.0 zarr==3.1.6 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'END'
import dask.array as da
import numpy as np
import zarr
from distributed import Client

store = zarr.create_array("values.zarr", data=np.ones(8), chunks=(4,))


def read(**options):
    return da.from_zarr(zarr.open_array("values.zarr", mode="r"), **options)


with Client(processes=False, n_workers=1, threads_per_worker=1, dashboard_address=None) as client:
    kept = read().persist()
    before = kept.compute()
    store[:] = 3
    after, named = read().compute(), read(name="second").compute()
local = read().compute(scheduler="threads")
print("written: 1, then 3; read on the cluster:", before[0], "then", after[0])
print("with a name:", named[0], "without the cluster:", local[0])
assert before[0] == 1
assert named[0] == local[0] == 3
if after[0] == 3:
    raise SystemExit("a store that was written again is read again now")
END
