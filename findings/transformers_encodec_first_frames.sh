#!/usr/bin/env bash
# transformers 5.24.0 (torch 2.13.0)
#
# The causal decoder of EncodecModel (24 kHz: use_causal_conv=True) looks 6 frames ahead in its first frames: the samples
# of frame 0 change with frames 1 to 6. A decoder that talks as soon as the first codes arrive says something else in its
# first 80 ms than the whole decoder does, though nothing later looks ahead at all.
#
# Why a good guess is wrong: a causal convolution reads the past alone, and the padding before the first sample is all that
# it has there. With pad_mode="reflect", the default, that padding is made of the next 6 frames. For fewer than 7 frames
# the decoder reflects zeros that it puts behind them, so that short inputs raise no error.
#
# Instead: wait for 7 frames before the first samples, or take a model with pad_mode="constant".
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet torch==2.13.0 transformers==5.24.0 numpy==2.4.6
"$work/venv/bin/python" -W ignore - <<'END'
import torch
from transformers import EncodecConfig, EncodecModel, logging

logging.set_verbosity_error()
torch.manual_seed(0)
for mode in ("reflect", "constant"):
    model = EncodecModel(EncodecConfig(num_filters=4, hidden_size=8, pad_mode=mode)).eval().double()
    assert model.config.use_causal_conv
    frames = torch.randn(1, 8, 30, dtype=torch.float64)
    with torch.no_grad():
        whole = model.decoder(frames)[0, 0]
        early = [model.decoder(frames[:, :, :count])[0, 0, :320] for count in range(1, 10)]
    largest = whole[:320].abs().max()
    wrong = [float((part - whole[:320]).abs().max() / largest) for part in early]
    text = ", ".join(f"{count}: {share:.1%}" for count, share in enumerate(wrong, 1))
    print(f"{mode}: difference of the samples of frame 0, by the number of frames: {text}")
    changing = [count for count, share in enumerate(wrong, 1) if share > 1e-9]
    assert changing == (list(range(1, 7)) if mode == "reflect" else [])
END
