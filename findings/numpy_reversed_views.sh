#!/usr/bin/env bash
# numpy 2.4.6 on Linux and a processor with AVX-512: expm1, log1p, log2, exp2, tan, cbrt and others
#
# The bits of a function depend on the direction in which the array lies in memory: f(x[::-1])[::-1] differs from f(x)
# in 10 to 40% of the elements, by one step of float32 or two.
#
# Why a good guess is wrong: a reversed view has the same numbers, and other strides (every other element, columns,
# transposed arrays) give the same bits. Arrays with negative strides go to the C library, all others to vector code
# with another rounding. exp, log, sin, cos and tanh in float32 have vector code for both.
#
# Instead: np.ascontiguousarray of a flipped array before the function, where bits count.
set -euo pipefail
grep -q avx512vl /proc/cpuinfo || { echo "this processor has no AVX-512: nothing to see"; exit 0; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet numpy==2.4.6
"$work/venv/bin/python" - <<'END'
import numpy as np

x = np.random.default_rng(0).uniform(0.1, 0.9, 1 << 16).astype(np.float32)
spaced = np.repeat(x, 3)[::3]  # gaps between the elements
for name in "expm1 log1p log2 exp2 tan cbrt arctan".split():
    f = getattr(np, name)
    forwards = f(x)
    assert np.array_equal(f(spaced), forwards)
    assert np.array_equal(f(np.ascontiguousarray(x[::-1]))[::-1], forwards)
    differing = (f(x[::-1])[::-1] != forwards).mean()
    print(f"{name}: {differing:.0%} of the elements differ when the array is reversed")
    if differing < 0.01:
        raise SystemExit(f"{name} of a reversed view has the same bits now")
assert np.array_equal(np.exp(x[::-1])[::-1], np.exp(x))
END
