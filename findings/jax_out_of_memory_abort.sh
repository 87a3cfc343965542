#!/usr/bin/env bash
# jax 0.10.2 (jaxlib 0.10.2), CPU
#
# When the memory for an output cannot be had, y.block_until_ready() raises RESOURCE_EXHAUSTED, and np.asarray(y)
# aborts the process.
#
# Why a good guess is wrong: both wait for the same result, and reading an array is the ordinary way to wait for it; a
# loop that halves its batch when JaxRuntimeError is raised catches nothing. A transposed convolution is where it is
# met: stride 4 in 2-D writes 16 times what it reads.
#
# Instead: call block_until_ready() inside the try, before the array is read.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6
cat > "$work/read.py" <<'END'
import resource
import sys

import jax
import numpy as np

layer = jax.jit(lambda x, w: jax.lax.conv_transpose(x, w, (2, 2), "SAME"))
w = np.ones((4, 4, 16, 256), "f")
layer(np.ones((1, 8, 8, 16), "f"), w).block_until_ready()
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + 300_000_000, -1))  # the output has 1 GB
try:
    y = layer(np.zeros((1, 512, 512, 16), "f"), w)
    y.block_until_ready() if sys.argv[1] == "wait" else np.asarray(y)
except Exception as error:
    print(type(error).__name__, str(error)[:60])
END
export JAX_PLATFORMS=cpu
"$work/venv/bin/python" "$work/read.py" wait 2> "$work/log" | tee "$work/waited"
grep -q RESOURCE_EXHAUSTED "$work/waited"
code=0
(ulimit -c 0; "$work/venv/bin/python" "$work/read.py" read) > "$work/out" 2> "$work/log" || code=$?
echo "np.asarray: return code $code, $(grep -m1 'Check failed' "$work/log")"
test "$code" = 134
grep -q "Check failed: buffer_.IsConcrete" "$work/log"
