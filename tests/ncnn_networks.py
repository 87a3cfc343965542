"""Small ncnn networks written by hand, and the outputs that the ncnn wheel computes for them in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

from tconv.models.readers.ncnn.param_file import read_lines
from tconv.models.readers.ncnn.stored_weights import FLOAT16, INT8, needs

RUN = """
import sys
from pathlib import Path
import ncnn, numpy as np

def run(param, x, name):
    net = ncnn.Net()
    net.opt.num_threads = 1
    for option in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage", "bf16_packed"):
        setattr(net.opt, "use_" + option, False)
    if net.load_param(str(param)) or net.load_model(str(param.with_suffix(".bin"))):
        return None
    extractor = net.create_extractor()
    extractor.input("data", ncnn.Mat(np.ascontiguousarray(x)).clone())
    code, mat = extractor.extract(name)
    y = None if code else np.array(mat)
    del mat  # before the net that owns its memory
    return y

for param in map(Path, sys.argv[1:]):
    print(param, flush=True)
    x = np.load(param.with_suffix(".npy"))
    y = run(param, x, "out")
    np.save(param.with_suffix(".out.npy"), np.zeros(0, np.float32) if y is None else y)
"""


def write(folder: Path, name: str, text: str, shape: tuple[int, int, int], storage: str = "float32") -> Path:
    """Write a network with random weights, and a random input of this shape; return its .param file."""
    rows = [
        f"Input data 0 1 data 0={shape[2]} 1={shape[1]} 2={shape[0]}",
        *filter(None, map(str.strip, text.split("\n"))),
    ]
    blobs = sum(int(row.split()[3]) for row in rows)
    path = folder / f"{name}.param"
    path.write_text("\n".join(["7767517", f"{len(rows)} {blobs}", *rows]) + "\n")
    rng = np.random.default_rng(sum(map(ord, name)))
    path.with_suffix(".bin").write_bytes(b"".join(_stored(rng, line, storage) for line in read_lines(path)))
    np.save(path.with_suffix(".npy"), rng.standard_normal(shape).astype(np.float32))
    return path


def _stored(rng, line, storage):
    parts, found = [], needs(line)
    scaled = any(role == "weight scales" for role, _, _ in found)
    for role, count, tagged in found:
        values = rng.standard_normal(count).astype(np.float32)
        if role == "var":
            values = np.abs(values) + np.float32(0.1)
        if role.endswith("scales") or (role.endswith("scale") and "Convolution" in line.kind):
            values = np.abs(values) * 4 + np.float32(20)
        if not tagged:
            parts.append(values.tobytes())
        elif storage == "float16":
            parts.append(FLOAT16.to_bytes(4, "little") + padded(values.astype(np.float16).tobytes()))
        elif storage == "int8" and scaled:
            parts.append(INT8.to_bytes(4, "little") + padded((values * 40).astype(np.int8).tobytes()))
        elif storage == "table":
            table = np.sort(rng.standard_normal(256).astype(np.float32))
            places = rng.integers(0, 256, count).astype(np.uint8)
            parts.append((1).to_bytes(4, "little") + table.tobytes() + padded(places.tobytes()))
        else:
            parts.append(bytes(4) + values.tobytes())
    return b"".join(parts)


def padded(content: bytes) -> bytes:
    """Return bytes with zeros to a multiple of 4."""
    return content + bytes(-len(content) % 4)


def outputs(paths: list[Path]) -> dict[str, np.ndarray | None]:
    """Return the ncnn wheel's output of each network by its name; None where it refuses the file, or ends at it."""
    found: dict[str, np.ndarray | None] = {}
    left = list(paths)
    while left:
        done = subprocess.run([sys.executable, "-c", RUN, *map(str, left)], capture_output=True, text=True, timeout=300)
        started = [Path(line) for line in done.stdout.splitlines()]
        for path in started:
            saved = path.with_suffix(".out.npy")
            y = np.load(saved) if saved.is_file() else None
            found[path.stem] = y if y is not None and y.size else None
        assert started, done.stderr[-2000:]
        left = left[len(started) :]
    return found
