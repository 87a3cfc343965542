#!/usr/bin/env bash
# transformers 5.24.0 (torch 2.13.0)
#
# Qwen3OmniMoeCode2Wav.chunked_decode gives 555 samples fewer for every chunk than forward does for the same codes. It
# takes frames * total_upsample for the length of a decoded chunk. Each Qwen3OmniMoeCausalTransConvNet of its four
# decoder blocks has a kernel of twice its stride s and crops s samples at both ends, so that n inputs give s*(n - 1)
# outputs: for strides 8, 5, 4, 3 the output is 8, 45, 184 and at last 555 samples short.
#
# Why a good guess is wrong: the layers are named causal, and a causal layer with kernel 2s crops s samples at the end
# only, has s*n outputs, and changes nothing before an input. With s cropped in front, too, each looks s samples ahead:
# a changed frame changes 555 samples before its own, and the last 555 of a chunk wait for the next one.
#
# Instead: keep the last new_frames * total_upsample samples of each decoded window, whose context is in front, not
# those behind context * total_upsample. The end of the last chunk is then 555 samples early, as that of forward.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet torch==2.13.0 transformers==5.24.0 numpy==2.4.6
"$work/venv/bin/python" -W ignore - <<'END'
import torch
from transformers import logging
from transformers.models.qwen3_omni_moe.configuration_qwen3_omni_moe import Qwen3OmniMoeCode2WavConfig
from transformers.models.qwen3_omni_moe.modeling_qwen3_omni_moe import Qwen3OmniMoeCode2Wav

logging.set_verbosity_error()
torch.manual_seed(0)
small = dict(codebook_size=32, hidden_size=32, num_attention_heads=4, num_key_value_heads=4, intermediate_size=32)
config = Qwen3OmniMoeCode2WavConfig(**small, num_hidden_layers=1, num_quantizers=2, decoder_dim=32, sliding_window=8)
model = Qwen3OmniMoeCode2Wav(config).eval().double()
frames, chunk, rate = 40, 10, int(model.total_upsample)
codes = torch.randint(0, 32, (1, 2, frames))
with torch.no_grad():
    whole = model(codes)[0, 0]
    chunked = model.chunked_decode(codes, chunk_size=chunk, left_context_size=25)[0, 0]
    other = codes.clone()
    other[..., 30:] = (other[..., 30:] + 1) % 32
    first = int((model(other)[0, 0] != whole).nonzero()[0])

short = 0
for stride in config.upsample_rates:
    short = stride * (short + 1)  # s*(n - 1) of what the layer before gives
print(f"{frames} frames of {rate} samples: forward gives {frames * rate} - {frames * rate - len(whole)}")
print(f"in {frames // chunk} chunks: {frames * rate} - {frames * rate - len(chunked)}")
print(f"other codes from frame 30 on change samples from 30 * {rate} - {30 * rate - first} on")
assert short == 555
assert len(whole) == frames * rate - short
assert len(chunked) == frames * rate - frames // chunk * short
assert first == 30 * rate - short
piece = chunk * rate - short  # of each chunk; then the next begins, short samples later in the whole
for turn in range(2):  # later chunks have other frames in the context of their attention, too
    made, expected = chunked[turn * piece : (turn + 1) * piece], whole[turn * chunk * rate :][:piece]
    assert torch.allclose(made, expected, rtol=0, atol=1e-9)
print(f"the second chunk continues {short} samples after the first has ended")
END
