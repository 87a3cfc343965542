#!/usr/bin/env bash
# torch 2.13.0, torch.istft of a spectrum with all frequencies (onesided=False)
#
# The real signal is not the real part of the complex one: with return_complex=False the second half of the frequencies
# is not read at all.
#
# Why a good guess is wrong: return_complex reads like a choice of the dtype that comes back, and the inverse transform
# of a whole spectrum, real part taken, is the mean of what both halves say. The two agree where the spectrum is that of
# a real signal; a network's output, or a masked spectrum, need not be one.
#
# Instead: return_complex=True and .real, or average X[k] and conj(X[n - k]) first.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
"$work/venv/bin/python" - <<'END'
import numpy as np
import torch

torch.manual_seed(0)
n, hop = 16, 4
window = torch.hann_window(n, dtype=torch.float64)
x = torch.randn(n, 9, dtype=torch.complex128)
real = torch.istft(x, n, hop, window=window, onesided=False)
complex_ = torch.istft(x, n, hop, window=window, onesided=False, return_complex=True)


def defined(x):
    """Return the overlapped, windowed inverse transforms over the squares of the windows."""
    sums, squares = np.zeros(n + hop * 8, complex), np.zeros(n + hop * 8)
    for frame in range(9):
        place = slice(frame * hop, frame * hop + n)
        sums[place] += np.fft.ifft(x[:, frame]) * window.numpy()
        squares[place] += window.numpy() ** 2
    return sums[n // 2 : -(n // 2)] / squares[n // 2 : -(n // 2)]


right = defined(x.numpy())
np.testing.assert_allclose(complex_.numpy(), right, atol=1e-12)
other = x.clone()
other[n // 2 + 1 :] = 1e6  # the second half
assert torch.equal(torch.istft(other, n, hop, window=window, onesided=False), real)
difference = np.abs(real.numpy() - right.real).max()
print(f"largest difference from the real part {difference:.2f}; largest sample {np.abs(right.real).max():.2f}")
if difference < 0.1:
    raise SystemExit("both halves are read now")
whole = torch.stft(torch.randn(200, dtype=torch.float64), n, hop, window=window, onesided=False, return_complex=True)
agree = torch.istft(whole, n, hop, window=window, onesided=False, return_complex=True)
torch.testing.assert_close(torch.istft(whole, n, hop, window=window, onesided=False), agree.real)
END
