#!/usr/bin/env bash
# transformers 5.24.0, torch 2.13.0: MimiModel with few channels, its own rates and kernels
#
# `decode(codes, decoder_cache=...)` continues the decoder's transformer, and nothing else: its transposed convolutions
# begin anew in every call. Decoded in parts, as the cache invites to, thousands of samples behind each joint are wrong:
# those that the last convolutions reach, and those that the transformer spreads the first ones' error to.
#
# Why a good guess is wrong: the documentation says of the cache that only the codes whose states are not in it need to
# be given, the model is causal, the lengths fit, and the encoder has a `padding_cache` for its convolutions. There is none
# for the decoder.
#
# Instead: decode the whole, or give each part the codes before it, without a cache, and cut off their samples.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6 transformers==5.24.0
cd "$work"
"$work/venv/bin/python" - <<'END'
import torch
from transformers import MimiConfig, MimiModel

torch.manual_seed(0)
torch.set_grad_enabled(False)
few = {"hidden_size": 32, "num_filters": 4, "num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 16}
few |= {"intermediate_size": 64, "codebook_size": 16, "codebook_dim": 16, "vector_quantization_hidden_dimension": 16}
few |= {"num_hidden_layers": 1, "num_quantizers": 2, "num_semantic_quantizers": 1, "upsample_groups": 32}
model = MimiModel(MimiConfig(**few, use_cache=True)).eval()
for name, buffer in model.named_buffers():
    if name.endswith("embed_sum"):
        buffer.normal_()
codes = torch.randint(0, 16, (1, 2, 40))
whole = model.decode(codes, return_dict=True).audio_values
cache, parts = None, []
for part in codes.split(10, 2):
    made = model.decode(part, decoder_cache=cache, return_dict=True)
    cache = made.decoder_cache
    parts.append(made.audio_values)
made = torch.cat(parts, 2)
assert made.shape == whole.shape and cache.get_seq_length() == 80  # the transformer has gone on: two steps for a code
wrong = (made - whole).abs()[0, 0] > 1e-4 * whole.abs().max()
each = [part.nonzero().flatten() for part in wrong.split(10 * 1920)]
largest = ((made - whole).abs().max() / whole.abs().max()).item()
print("samples that are wrong behind the start of each part:", [len(part) for part in each])
print(f"largest error: {largest:.0%} of the largest sample")
assert len(each[0]) == 0 and all(len(part) > 1000 for part in each[1:]) and largest > 0.1
END
