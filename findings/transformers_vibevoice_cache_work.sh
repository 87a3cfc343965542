#!/usr/bin/env bash
# transformers 5.24.0 (torch 2.13.0)
#
# With use_cache=True the transposed layers of the VibeVoice decoder see each input many times: decoded frame by frame,
# the first one 16 times, the second 2.1 times. The cache has the last kernel - 1 inputs and is put before every chunk;
# the outputs of all of them are computed and cut off again.
#
# Why a good guess is wrong: kernel - 1 inputs are the history of an ordinary convolution, whose outputs read kernel
# inputs. An output of a transposed convolution reads ceil(kernel/stride) inputs, here 2, so its history is 1 input.
# A cache that saves the decoding of earlier frames seems to save their work, but each push repeats 15 inputs of it.
#
# Instead: push more frames at a time, as the repeated inputs are the same for each push; or give the layers a cache of
# ceil(kernel/stride) - 1 inputs. The outputs are the same.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet torch==2.13.0 transformers==5.24.0 numpy==2.4.6
"$work/venv/bin/python" -W ignore - <<'END'
import torch
from transformers import VibeVoiceAcousticTokenizerDecoderConfig, VibeVoiceAcousticTokenizerDecoderModel

torch.manual_seed(0)
torch.set_grad_enabled(False)
frames = 24
model = VibeVoiceAcousticTokenizerDecoderModel(
    VibeVoiceAcousticTokenizerDecoderConfig(num_filters=4, hidden_size=8)
).eval()
for parameter in model.parameters():
    parameter.copy_(0.2 * torch.randn_like(parameter))
layers = [layer.convtr for layer in model.conv_layers]
seen = dict.fromkeys(layers, 0)


def count(layer, given):
    seen[layer] += given[0].shape[-1]


for layer in layers:
    layer.convtr.register_forward_pre_hook(lambda _, given, layer=layer: count(layer, given))


def decode(chunk):
    seen.update(dict.fromkeys(layers, 0))
    x, cache, made = torch.randn(1, 8, frames, generator=torch.Generator().manual_seed(1)), None, []
    for start in range(0, frames, chunk):
        result = model(x[..., start : start + chunk], padding_cache=cache, use_cache=chunk < frames)
        cache = result.padding_cache
        made.append(result.audio)
    return torch.cat(made, 2), list(seen.values()), cache


whole, once, _ = decode(frames)
for chunk in (1, 6):
    audio, inputs, cache = decode(chunk)
    assert audio.shape == whole.shape and (audio - whole).abs().max() < 1e-3 * whole.abs().max()
    shown = ", ".join(f"{many / one:.2f}" for many, one in zip(inputs, once))
    print(f"in chunks of {chunk}: the transposed layers see each input {shown} times")
    for number, (layer, many, one) in enumerate(zip(layers, inputs, once)):
        (kernel,), (stride,) = layer.convtr.kernel_size, layer.convtr.stride
        assert cache.layers[f"decoder_layer_{number}"].cache.shape[-1] == kernel - 1 > -(-kernel // stride) - 1 == 1
        assert many == one + frames // chunk * (kernel - 1)
END
