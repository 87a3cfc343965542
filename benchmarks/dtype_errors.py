"""Errors of each method and dtype on layers of growing sums, with PyTorch's own beside them: `docs/kernel.md` has them.

    python benchmarks/dtype_errors.py

x is normal, the weight is normal over the root of its terms, so that outputs are near 1; both are rounded to the dtype
first. An error is a root mean square over that of the true outputs, which are computed in float64 (of float64 in
longdouble). For 2-byte floats the error of rounding the true output once is shown, too: no result can have less.
"""

from __future__ import annotations

import math

import ml_dtypes
import numpy as np
import torch

import tconv

LAYERS = {
    # taps that meet in an output x channels: channels of x and of the output, size, kernel, stride, padding
    "64": (16, 16, 24, 4, 2, 1),
    "576": (64, 24, 14, 3, 1, 1),
    "2048": (512, 16, 12, 4, 2, 1),
    "8192": (512, 8, 12, 8, 2, 3),
}
DTYPES = {"float32": np.float32, "float64": np.float64, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16}
METHODS = ("simd", "winograd", "polyphase")


def error(y, true) -> str:
    """Return the root mean square error over that of the true outputs."""
    wide = np.asarray(y).astype(true.dtype)
    return f"{float(np.sqrt(np.mean((wide - true) ** 2) / np.mean(true**2))):.1e}"


def of_torch(x, w, **arguments):
    """Return the output of PyTorch's operator in the dtype of x."""
    if x.dtype == ml_dtypes.bfloat16:
        x, w = (torch.from_numpy(array.view(np.uint16)).view(torch.bfloat16) for array in (x, w))
        y = torch.nn.functional.conv_transpose2d(x, w, **arguments)
        return y.view(torch.uint16).numpy().view(ml_dtypes.bfloat16)
    return torch.nn.functional.conv_transpose2d(*map(torch.from_numpy, (x, w)), **arguments).numpy()


def main() -> None:
    """Print the table."""
    print("| dtype | terms | " + " | ".join((*METHODS, "PyTorch", "rounding alone")) + " |")
    print("|---|---|" + "---|" * (len(METHODS) + 2))
    for name, kind in DTYPES.items():
        for terms, (c_in, c_out, size, k, s, p) in LAYERS.items():
            rng = np.random.default_rng(0)
            x = rng.standard_normal((2, c_in, size, size)).astype(kind)
            w = (rng.standard_normal((c_in, c_out, k, k)) / math.sqrt(int(terms))).astype(kind)
            arguments = {"stride": s, "padding": p}
            wide = np.longdouble if name == "float64" else np.float64
            true = tconv.definition.scatter(x.astype(wide), w.astype(wide), **arguments)
            cells = []
            for method in METHODS:
                against = tconv.plan(x, w, **arguments).reasons.get(method, ())
                unable = method == "winograd" and not any("estimated" in reason for reason in against) and against
                cells.append("-" if unable else error(tconv.conv_transpose(x, w, method=method, **arguments), true))
            cells.append(error(of_torch(x, w, **arguments), true))
            once = true.astype(np.float32).astype(kind) if np.dtype(kind).itemsize == 2 else None
            cells.append("-" if once is None else error(once, true))
            print(f"| {name} | {terms} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
