#!/usr/bin/env bash
# zarr 3.1.6
#
# An array that is made shorter and longer again has old values where it should have its fill value: those of the last
# chunk (or shard) that was still in use, beyond the shorter end. The other new elements are the fill value. It is so in
# Zarr 2 and 3, with shards and without.
#
# Why a good guess is wrong: new elements are the fill value, the documentation of resize says nothing else, and for
# whole chunks it holds, as they are deleted. np.ndarray.resize gives zeros. A series that is cut at its first broken
# frame and goes on there shows the old frames until they are written.
#
# Instead: write the fill value into array[new:] before array.resize(new).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet zarr==3.1.6
cd "$work"
"$work/venv/bin/python" - <<'END'
import numpy as np
import zarr

for version, shards in ((2, None), (3, None), (3, (8,))):
    x = zarr.create_array(
        f"{version}{shards}.zarr", shape=(16,), chunks=(4,), shards=shards, dtype="i4", fill_value=-1,
        zarr_format=version,
    )
    x[:] = np.arange(16)
    x.resize((5,))
    assert x.shape == (5,)
    x.resize((16,))
    print(f"Zarr {version}, shards {shards}: {x[:].tolist()}")
    if np.all(x[5:] == -1):
        raise SystemExit("the new elements are the fill value now")
    end = 8  # of the chunk, or shard, that holds the element before the shorter end
    assert np.array_equal(x[:end], np.arange(end)) and np.all(x[end:] == -1)
x.resize((16,))
x[:] = np.arange(16)
x[5:] = -1
x.resize((5,))
x.resize((16,))
assert np.all(x[5:] == -1)
END
