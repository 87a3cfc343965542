"""Decode an EnCodec stream live: codes of a tone go in, a WAV file grows, and it is the offline result, bit for bit.

    pip install "tconv[torch]" transformers
    python examples/live_speech.py                                    # random weights: a noise, but the true work
    python examples/live_speech.py --model path/or/name               # weights of your own, or of a model hub
    python examples/live_speech.py --raw | aplay -t raw -f S16_LE -r 24000     # listen while it decodes

A tone of half a second is encoded at once. Its codes then arrive a few frames at a time, as from a language model; each
chunk goes through `tconv.torch.stream(model.decoder)`, and its audio is in the file before the next one arrives.
"""

from __future__ import annotations

import argparse
import sys
import time
import wave

import numpy as np
import torch
from transformers import EncodecConfig, EncodecModel

import tconv.torch


def untrained_model(filters):
    """Return an EnCodec of 24 kHz with random weights and codebooks; the published one has 32 filters."""
    torch.manual_seed(0)
    model = EncodecModel(EncodecConfig(num_filters=filters)).eval()
    for layer in model.quantizer.layers:
        layer.codebook.embed.normal_()  # an untrained codebook is all zeros
    return model


@torch.inference_mode()
def codes_of_tone(model, seconds, hertz=440.0):
    """Return the codes [books, 1, frames] of a tone that grows louder."""
    rate = model.config.sampling_rate
    moments = torch.arange(int(seconds * rate)) / rate
    tone = torch.sin(2 * torch.pi * hertz * moments) * moments / seconds
    return model.encode(tone[None, None], bandwidth=6.0).audio_codes[0].transpose(0, 1)


class LiveWav:
    """WAV file of 16-bit samples that can be read at any moment: its header is written again with every chunk."""

    def __init__(self, path, rate, raw=None):
        self._file, self._raw, self.samples = open(path, "wb"), raw, 0  # noqa: SIM115 - it is closed in __exit__
        self._wave = wave.open(self._file, "wb")  # noqa: SIM115
        self._wave.setparams((1, 2, rate, 0, "NONE", ""))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._wave.close()
        self._file.close()

    def write(self, audio):
        """Append audio [samples] between -1 and 1."""
        data = sixteen_bits(audio).tobytes()
        self._wave.writeframes(data)  # it puts the number of samples so far into the header
        self._file.flush()
        if self._raw is not None:
            self._raw.write(data)
            self._raw.flush()
        self.samples += len(audio)


def sixteen_bits(audio):
    """Return audio as 16-bit integers, little-endian; louder samples are clipped."""
    return (np.clip(audio, -1, 1) * 32767).round().astype("<i2")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="folder or name of an EnCodec of transformers; random weights without it")
    parser.add_argument("--filters", type=int, default=32, help="size of the model with random weights")
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--frames", type=int, default=2, help="frames of codes that arrive at a time")
    parser.add_argument("--output", default="live.wav")
    parser.add_argument("--raw", action="store_true", help="write the samples to the standard output, too")
    given = parser.parse_args()
    if given.frames < 1:
        parser.error(f"--frames is {given.frames}; at least 1 is needed")
    say = lambda text: print(text, file=sys.stderr if given.raw else sys.stdout)  # noqa: E731
    model = EncodecModel.from_pretrained(given.model).eval() if given.model else untrained_model(given.filters)
    rate = model.config.sampling_rate
    codes = codes_of_tone(model, given.seconds)

    with torch.inference_mode():
        frames = codes.shape[2]
        stream = tconv.torch.stream(model.decoder, model.quantizer.decode(codes), sample_rate=rate)
        say(f"{frames} frames of codes; the stream withholds {stream.latency} samples ({stream.latency_ms:.1f} ms)")
        chunks, milliseconds = [], []
        with LiveWav(given.output, rate, sys.stdout.buffer if given.raw else None) as file:
            for first in range(0, frames, given.frames):
                begun = time.perf_counter()
                features = model.quantizer.decode(codes[:, :, first : first + given.frames])
                audio = stream.push(features)
                chunks.append(audio)
                milliseconds.append(1000 * (time.perf_counter() - begun))
                file.write(np.asarray(audio)[0, 0])
            audio = stream.flush()
            chunks.append(audio)
            file.write(np.asarray(audio)[0, 0])

        live = torch.cat([torch.as_tensor(chunk) for chunk in chunks], 2)
        offline = torch.as_tensor(stream(model.quantizer.decode(codes)))
        own = model.decoder(model.quantizer.decode(codes))
    length = 1000 * given.frames * live.shape[2] / frames / rate
    begun, *later = milliseconds
    later = later or [begun]
    say(
        f"the first chunk of {length:.0f} ms takes {begun:.1f} ms, since machine code is made for it; then "
        f"{np.median(later):.2f} ms, 9 of 10 at most {np.percentile(later, 90):.2f} ms"
    )
    with wave.open(given.output, "rb") as file:
        written = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    if not torch.equal(live, offline) or not np.array_equal(written, sixteen_bits(offline[0, 0].numpy())):
        raise SystemExit("the live audio differs from the offline audio")
    difference = float((own - offline).abs().max() / own.abs().max())
    say(f"{given.output}: {len(written)} samples, equal to the offline result; PyTorch's differs by {difference:.0e}")


if __name__ == "__main__":
    main()
