#!/usr/bin/env bash
# jax 0.10.2 (jaxlib 0.10.2), CPU; beside torch 2.13.0
#
# jax.lax.conv_transpose with padding="VALID" and a stride larger than the kernel returns s * n elements: s - k zeros
# follow the full result of s * (n - 1) + k elements, which PyTorch returns with padding=0.
#
# Why a good guess is wrong: VALID is read as "nothing cropped, nothing added", and means s * n + max(k - s, 0)
# elements. For a kernel of at least the stride this is the full result, so that code ported with kernels of 3 or 4 at
# stride 2 fits, and a kernel of 2 at stride 3 differs in size.
#
# Instead: give the padding as numbers, (k - 1, k - 1) per axis for the full result.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet jax==0.10.2 jaxlib==0.10.2 torch==2.13.0 numpy==2.4.6
JAX_PLATFORMS=cpu "$work/venv/bin/python" - <<'END'
import jax
import numpy as np
import torch

x = np.float32([1, 2, 3])
for k in (2, 3, 4):
    w = np.float32([1, 10, 100, 1000])[:k]
    full = np.zeros(3 * 2 + k, "f")
    for i in range(3):
        for t in range(k):
            full[3 * i + t] += x[i] * w[t]
    data, weight = x.reshape(1, 3, 1), w[::-1].reshape(k, 1, 1)  # conv_transpose reads the taps in reverse
    run = lambda padding: np.asarray(
        jax.lax.conv_transpose(data, weight, (3,), padding, dimension_numbers=("NWC", "WIO", "NWC"))
    ).ravel()
    theirs = torch.nn.functional.conv_transpose1d(torch.tensor(x[None, None]), torch.tensor(w[None, None]), stride=3)
    valid = run("VALID")
    print(f"kernel {k}, stride 3: VALID has {len(valid)} elements, the full result {len(full)}:", valid.astype(int))
    assert np.array_equal(theirs.numpy().ravel(), full)
    assert np.array_equal(valid, np.pad(full, (0, max(3 - k, 0))))
    assert np.array_equal(run([(k - 1, k - 1)]), full)
END
