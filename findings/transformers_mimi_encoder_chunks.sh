#!/usr/bin/env bash
# transformers 5.24.0, torch 2.13.0
#
# MimiModel.encode(..., use_streaming=True) takes audio in chunks of any length, and hands over a padding cache for its
# convolutions. If a chunk is not a whole number of frames (1920 samples), what is left over is dropped without a word:
# with chunks of one second, 12.5 frames, half a frame is lost every second. 10 seconds give 120 frames instead of 125, and
# every frame after the first chunk is that of another place.
#
# Why a good guess is wrong: the cache is documented as what makes the chunks one stream, chunks of a second are what
# microphones and files give, and the first 12 frames are right. But the cache keeps a fixed number of samples in front of
# each convolution (its padding), not the place in its stride.
#
# Instead: push multiples of model.config.frame_size, and keep the rest for the next chunk.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet torch==2.13.0 transformers==5.24.0 numpy==2.4.6
"$work/venv/bin/python" -W ignore - <<'END'
import torch
from transformers import MimiConfig, MimiModel

torch.manual_seed(0)
sizes = dict(hidden_size=32, num_filters=4, codebook_dim=32, vector_quantization_hidden_dimension=32, head_dim=16)
layers = dict(num_hidden_layers=1, intermediate_size=64, num_attention_heads=2, num_key_value_heads=2)
model = MimiModel(MimiConfig(**sizes, **layers, codebook_size=64, num_quantizers=4, upsample_groups=32)).eval()
x = torch.randn(1, 1, 10 * model.config.sampling_rate)


def frames_of(samples):
    """Return the latents [frames, channels] of chunks of so many samples."""
    made, cache, padding = [], None, None
    for chunk in x.split(samples, 2):
        output = model.encoder(chunk, use_streaming=True, cache=cache, padding_cache=padding)
        cache, padding = output.cache, output.padding_cache
        made.append(output.latents)
    return torch.cat(made, 2)[0].T


with torch.no_grad():
    whole = model.encoder(x).latents[0].T
    for samples in (model.config.frame_size, 2 * model.config.sampling_rate, model.config.sampling_rate):
        made = frames_of(samples)
        right = torch.isclose(made, whole[: len(made)], rtol=1e-3, atol=1e-4).all(1)
        print(f"chunks of {samples} samples: {len(made)} frames of {len(whole)}, {int(right.sum())} of them right")
        if samples % model.config.frame_size == 0:
            assert len(made) == len(whole) == int(right.sum()) == 125
        else:
            assert (len(made), int(right.sum())) == (120, 12)
END
