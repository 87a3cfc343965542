#!/usr/bin/env bash
# numpy 2.4.6
#
# A slice of a np.memmap is a np.memmap with the filename and offset of the whole: np.memmap(view.filename, view.dtype,
# "r", view.offset, view.shape), which another process would write to open the same part, shows the file's first rows.
#
# Why a good guess is wrong: filename, offset, mode and shape are attributes of the view, and the four together describe
# an array map, which is why they are handed to workers in place of the numbers. The shape is the view's, the offset is
# not, and no error is raised, as the file is long enough.
#
# Instead: add the distance of the view's first element from the map's, view.ctypes.data - whole.ctypes.data, to the
# offset, or give the path and the slice to the worker.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'END'
import numpy as np

np.save("x.npy", np.arange(30.0).reshape(10, 3))
whole = np.load("x.npy", mmap_mode="r")
view = whole[6:]
assert isinstance(view, np.memmap) and view.filename == whole.filename
again = np.memmap(view.filename, view.dtype, "r", view.offset, view.shape)
print(f"the view begins with {view[0]}, the map of its filename, offset and shape with {again[0]}")
if np.array_equal(again, view):
    raise SystemExit("a view has its own offset now")
assert view.offset == whole.offset and np.array_equal(again, whole[:4])
offset = whole.offset + view.ctypes.data - whole.ctypes.data
assert np.array_equal(np.memmap(view.filename, view.dtype, "r", offset, view.shape), view)
END
