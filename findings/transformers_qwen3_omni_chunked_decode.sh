#!/usr/bin/env bash
# transformers 5.24.0, torch 2.13.0: Qwen3-Omni's code2wav, with the rates of its default configuration and few channels
#
# `chunked_decode` returns less audio than `forward`: 555 samples are missing at each joint, whatever the size of the
# chunks. "Causal" transposed layers look ahead, too: 555 samples before a code depend on it.
#
# Why a good guess is wrong: each chunk is decoded with 25 codes of context, whose samples are cut off again. Their
# number is taken to be 25 * total_upsample. But a layer crops kernel - stride samples at both ends, not at the end alone
# as causal layers do, so that n codes give 1920 * n - 555 samples, and the slice takes 555 samples of the chunk's own.
# Speech becomes shorter, by 1.2% with chunks of 25 codes, and clicks; no shape is checked.
#
# Instead: decode the whole with `forward`; or decode chunks with context on both sides, and slice by the lengths that
# `forward` returns. One code of context behind a chunk is enough for its end.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6 transformers==5.24.0
cd "$work"
"$work/venv/bin/python" - <<'END'
import torch
from transformers.models.qwen3_omni_moe.configuration_qwen3_omni_moe import Qwen3OmniMoeCode2WavConfig
from transformers.models.qwen3_omni_moe.modeling_qwen3_omni_moe import Qwen3OmniMoeCode2Wav

torch.manual_seed(0)
torch.set_grad_enabled(False)
few = {"hidden_size": 32, "num_attention_heads": 2, "num_key_value_heads": 2, "intermediate_size": 64, "decoder_dim": 32}
config = Qwen3OmniMoeCode2WavConfig(codebook_size=16, num_quantizers=2, num_hidden_layers=1, **few)
model = Qwen3OmniMoeCode2Wav(config).eval()
codes = torch.randint(0, 16, (1, 2, 100))
whole = model(codes)
print(f"forward: {whole.shape[-1]} samples for 100 codes of {model.total_upsample}")
assert whole.shape[-1] == 100 * 1920 - 555
for size in (25, 50, 100):
    made = model.chunked_decode(codes, chunk_size=size)
    lost = whole.shape[-1] - made.shape[-1]
    print(f"chunks of {size} codes: {made.shape[-1]} samples, {lost} fewer")
    assert lost == 555 * (100 // size - 1)

first = model.chunked_decode(codes, chunk_size=25)[..., : 25 * 1920 - 555]
torch.testing.assert_close(first, whole[..., : first.shape[-1]])  # the first chunk is right

other = codes.clone()
other[..., 60] = (other[..., 60] + 1) % 16
changed = (model(other) != whole).flatten().nonzero()[0].item()
print(f"code 60 begins at sample {60 * 1920}; another code there changes samples from {changed} on")
assert changed == 60 * 1920 - 555
END
