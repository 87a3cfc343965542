#!/usr/bin/env bash
# transformers 5.24.0 (torch 2.13.0)
#
# DacModel with the strides of the 16 and 24 kHz models (2, 4, 5, 8) decodes n frames to 320 n - 8 samples: a second of
# audio comes back 8 samples short, and a decoder that is called chunk by chunk loses 8 with each call.
#
# Why a good guess is wrong: hop_length is 320, and the model of 44.1 kHz, whose strides are even, gives hop_length samples
# a frame. A transposed convolution with k = 2 s and padding ceil(s / 2) gives s n - (s mod 2) outputs; the sample that the
# layer of stride 5 lacks becomes 8 behind the strides 4 and 2.
#
# Instead: add 8 samples to each output, or decode chunks with context and cut by the frames, not by the lengths.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet torch==2.13.0 transformers==5.24.0 numpy==2.4.6
"$work/venv/bin/python" -W ignore - <<'END'
import torch
from transformers import DacConfig, DacModel, logging

logging.set_verbosity_error()
torch.manual_seed(0)
small = dict(encoder_hidden_size=4, decoder_hidden_size=16, n_codebooks=2, codebook_size=8)
for rate, strides, missing in ((24000, [2, 4, 5, 8], 8), (44100, [2, 4, 8, 8], 0)):
    model = DacModel(DacConfig(**small, downsampling_ratios=strides, sampling_rate=rate)).eval()
    frames, hop = 50, model.config.hop_length
    with torch.no_grad():
        codes = model.encode(torch.randn(1, 1, hop * frames)).audio_codes
        whole = model.decode(audio_codes=codes).audio_values
        chunks = [model.decode(audio_codes=part).audio_values.shape[-1] for part in codes.split(10, -1)]
    print(f"strides {strides}: {codes.shape[-1]} frames of {hop} samples give {whole.shape[-1]}, in 5 chunks {sum(chunks)}")
    assert codes.shape[-1] == frames
    assert whole.shape[-1] == hop * frames - missing
    assert sum(chunks) == hop * frames - 5 * missing
END
