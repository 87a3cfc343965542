"""Decoders and engines of benchmarks/streams.py, each engine in a process of its own.

    python benchmarks/stream_engines.py ENGINE FOLDER THREADS DECODER SECONDS    answers JSON lines, for streams.py

The folder has x.npy, the input of the decoder, and dependence.json, the context of its windows. Weights are random,
weight norms are folded in all engines, and biases are not 0.
"""

from __future__ import annotations

import json
import math
import resource
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

import tconv
import tconv.torch
from tconv.bench import timing
from tconv.streaming.dependence import Dependence
from tconv.streaming.probing import measure_dependence

CHUNK = 0.020
"""Seconds of audio in a chunk."""


class Decoder(NamedTuple):
    """A decoder: its module on [1, C, n], channels, frames of input in a second, and samples of output in a frame."""

    module: torch.nn.Module
    channels: int
    frames: float
    hop: int


class _Waveform(torch.nn.Module):
    """A vocoder of `transformers` on [N, C, n]."""

    def __init__(self, vocoder: torch.nn.Module) -> None:
        super().__init__()
        self.vocoder = vocoder

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.vocoder(x.transpose(1, 2)).unsqueeze(1)


def _encodec(thin: bool, lstm: bool = True) -> Decoder:
    from transformers import EncodecConfig, EncodecModel

    decoder = EncodecModel(EncodecConfig(num_filters=2 if thin else 32)).decoder
    if not lstm:
        decoder.layers[1] = torch.nn.Identity()
    return Decoder(decoder, 128, 24000 / 320, 320)


def _hifigan(thin: bool, rate: int = 16000, **settings: Any) -> Decoder:
    from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig

    settings |= {"upsample_initial_channel": 32 if thin else 512, "normalize_before": False}
    return Decoder(_Waveform(SpeechT5HifiGan(SpeechT5HifiGanConfig(**settings))), 80, rate / 256, 256)


def _tiny(thin: bool) -> Decoder:
    layers = torch.nn.Sequential(
        torch.nn.Conv1d(8, 8, 7, padding=3), torch.nn.ELU(), torch.nn.ConvTranspose1d(8, 2, 16, 8, 4), torch.nn.Tanh()
    )
    return Decoder(layers, 8, 75, 8)


_V1: dict[str, Any] = {"upsample_rates": [8, 8, 2, 2], "upsample_kernel_sizes": [16, 16, 4, 4]}
DECODERS: dict[str, Callable[[bool], Decoder]] = {
    "encodec": _encodec,
    "encodec-no-lstm": lambda thin: _encodec(thin, lstm=False),
    "speecht5-hifigan": _hifigan,
    "hifigan-v1": lambda thin: _hifigan(thin, 22050, **_V1),
    "tiny": _tiny,
}
"""EnCodec at 24 kHz, with and without its LSTM, HiFi-GAN of SpeechT5 and of the shapes of V1, and one for tests."""


def decoder_of(name: str) -> Decoder:
    """Return a decoder by name; "thin-" in front makes its channels few."""
    torch.manual_seed(0)
    decoder = DECODERS[name.removeprefix("thin-")](name.startswith("thin-"))
    for module in decoder.module.modules():
        for weight in list(getattr(module, "parametrizations", [])):
            torch.nn.utils.parametrize.remove_parametrizations(module, weight)
        if isinstance(module, torch.nn.Conv1d | torch.nn.ConvTranspose1d):
            # of the same size behind every layer, as after training
            inputs = module.weight.shape[0 if isinstance(module, torch.nn.ConvTranspose1d) else 1]
            taps = (
                module.kernel_size[0] / module.stride[0]
                if isinstance(module, torch.nn.ConvTranspose1d)
                else module.kernel_size[0]
            )
            torch.nn.init.normal_(module.weight, std=1 / math.sqrt(inputs * taps))
            torch.nn.init.normal_(module.bias, std=0.1)
    return decoder._replace(module=decoder.module.eval())


def chunk_lengths(frames: float, total: int) -> Iterator[int]:
    """Yield the lengths of chunks of 20 ms, which take turns if that is no whole number of frames."""
    done, chunk = 0, 1
    while done < total:
        length = min(total, round(chunk * CHUNK * frames)) - done
        yield length
        done, chunk = done + length, chunk + 1


def windows(found: Dependence, lengths: list[int]) -> list[tuple[slice, slice, int]]:
    """Return for each chunk the inputs of its window, the outputs in it, and the outputs before them.

    A window has the context that is exactly needed, and no more.
    """
    parts, received = [], 0
    for length in lengths:
        begin, end = found.final_after(received), found.final_after(received + length)
        received += length
        first = found.first_input(begin)
        offset = begin - first // found.period * found.outputs
        if end > begin:
            parts.append((slice(first, received), slice(offset, offset + end - begin), begin))
    return parts


class Engines:
    """The ways to decode: each method returns a call for a whole pass, and one that returns what it has made."""

    def __init__(self, decoder: Decoder, x: np.ndarray, found: Dependence) -> None:
        self.decoder, self.x, self.found = decoder, torch.from_numpy(x), found
        self.lengths = list(chunk_lengths(decoder.frames, x.shape[2]))

    def stream(self) -> Any:
        """Return the decoder as a stream."""
        return tconv.torch.stream(self.decoder.module, self.x)

    def tconv_stream(self) -> Iterator[Any]:
        """Decode chunk after chunk."""
        stream, ends = self.stream(), np.cumsum(self.lengths)
        chunks = [self.x[:, :, end - length : end] for length, end in zip(self.lengths, ends, strict=True)]
        while True:
            stream.reset()
            for chunk in chunks:
                yield stream.push(chunk)
            yield stream.flush()
            yield None

    def _whole(self, run: Callable[[Any], Any]) -> Iterator[Any]:
        while True:
            yield run(self.x)
            yield None

    def tconv_whole(self) -> Iterator[Any]:
        """Decode all at once, by tconv."""
        return self._whole(self.stream())

    def torch_whole(self) -> Iterator[Any]:
        """Decode all at once, by PyTorch."""
        return self._whole(self.decoder.module)

    def _windows(self, run: Callable[[Any], Any]) -> Iterator[Any]:
        parts = windows(self.found, self.lengths)
        settled = next(n for n, (inputs, _, _) in enumerate(parts) if inputs.start > 0)
        parts = parts[settled:][:SOME]
        while True:
            for inputs, outputs, _ in parts:
                yield run(self.x[:, :, inputs])[:, :, outputs]
            yield None

    def tconv_windows(self) -> Iterator[Any]:
        """Decode the window of every chunk again, by tconv; a few chunks long after the start."""
        return self._windows(self.stream())

    def torch_windows(self) -> Iterator[Any]:
        """Decode the window of every chunk again, by PyTorch; a few chunks long after the start."""
        return self._windows(self.decoder.module)

    def first_made(self, name: str) -> int:
        """Return the first output that an engine makes."""
        if not name.endswith("windows"):
            return 0
        parts = windows(self.found, self.lengths)
        return next(begin for inputs, _, begin in parts if inputs.start > 0)


SOME = 6
"""Chunks that a pass of the windows decodes."""
ENGINES = ("tconv_stream", "tconv_whole", "torch_whole", "torch_windows", "tconv_windows")


class Worker:
    """One engine: "reference" writes what others are compared with, "load" an output, "sample" returns times."""

    def __init__(self, name: str, folder: Path, threads: int, decoder: str, seconds: float) -> None:
        self.name, self.folder, self.decoder_name, self.seconds = name, folder, decoder, seconds
        torch.set_num_threads(threads)
        tconv.set_num_threads(threads)
        torch.set_grad_enabled(False)

    def answer(self, message: dict[str, Any]) -> dict[str, Any]:
        """Answer one message."""
        try:
            return getattr(self, message["do"])(**{key: value for key, value in message.items() if key != "do"})
        except Exception as error:  # an engine may raise anything, and the others go on
            return {"reason": f"{type(error).__name__}: {error}"[:300]}

    def reference(self) -> dict[str, Any]:
        """Write the input, its output in float64, and the context of windows, found on a thin decoder of this form."""
        decoder = decoder_of(self.decoder_name)
        frames = max(1, round(self.seconds * decoder.frames))
        x = np.random.default_rng(0).standard_normal((1, decoder.channels, frames), np.float32)
        np.save(self.folder / "x.npy", x)
        np.save(self.folder / "reference.npy", decoder.module.double()(torch.from_numpy(x).double()).numpy())
        form = self.decoder_name.removeprefix("thin-").replace("encodec", "encodec-no-lstm").removesuffix("-no-lstm")
        form = f"thin-{form}" if form.endswith("lstm") or "encodec" not in form else "thin-encodec-no-lstm"
        thin = decoder_of(form).module
        found = measure_dependence(lambda x: thin(torch.from_numpy(x)).numpy(), decoder.channels)
        (self.folder / "dependence.json").write_text(json.dumps(asdict(found)))
        return {"frames": frames, "hop": decoder.hop, "left": found.left, "right": found.right}

    def _start(self) -> Engines:
        numbers = json.loads((self.folder / "dependence.json").read_text())
        lists = {name: tuple(each) if isinstance(each, list) else each for name, each in numbers.items()}
        x = np.load(self.folder / "x.npy")
        return Engines(decoder_of(self.decoder_name), x, Dependence(**lists))

    def load(self) -> dict[str, Any]:
        """Make an output that is checked: of a stream the whole, too, whose bits it must have."""
        engines = self._start()
        self.steps = getattr(engines, self.name)()
        made, chunks = [], 0
        while (each := next(self.steps)) is not None:
            made.append(np.asarray(each))
            chunks += 1
        np.save(self.folder / f"{self.name}.npy", np.concatenate(made, 2))
        timing.settle()
        answer = {"first": engines.first_made(self.name), "chunks": chunks}
        if self.name == "tconv_stream":
            stream = engines.stream()
            bits = np.array_equal(np.concatenate(made, 2), np.asarray(stream(engines.x)))
            answer |= {"bits": bits, "latency": stream.latency, "state_bytes": stream.state_bytes}
            answer["work"] = getattr(stream.report, "work", None)
        return answer

    def sample(self) -> dict[str, Any]:
        """Return the milliseconds of the chunks of one pass, or of the one whole."""
        for _ in range(2):  # once for the caches
            times, start = [], time.perf_counter()
            while next(self.steps) is not None:
                now = time.perf_counter()
                times.append((now - start) * 1e3)
                start = now
        timing.settle()
        return {"ms": times}

    # -- long runs -----------------------------------------------------------------------------------------------

    def tail(self, chunks: int) -> dict[str, Any]:
        """Return the milliseconds of many chunks of 20 ms of one stream, after those of its first second."""
        engines = self._start()
        stream, times, x, at = engines.stream(), [], engines.x, 0
        for number, length in enumerate(chunk_lengths(engines.decoder.frames, 1 << 40)):
            at = at if at + length <= x.shape[2] else 0
            chunk = x[:, :, at : at + length]
            start = time.perf_counter()
            stream.push(chunk)
            if length and number >= 50:
                times.append((time.perf_counter() - start) * 1e3)
            if len(times) == chunks:
                return {"ms": times}
            at += length
        raise AssertionError

    def endure(self, minutes: float) -> dict[str, Any]:
        """Return the memory of a stream of chunks of random lengths, before most of it and after it, and of a chunk."""
        engines = self._start()
        stream, rng = engines.stream(), np.random.default_rng(0)
        total = math.ceil(minutes * 60 * engines.decoder.frames)
        longest = min(engines.x.shape[2], 32)
        received, chunks, early = 0, 0, 0
        while received < total:
            length = min(total - received, int(rng.integers(0, longest + 1)))
            stream.push(engines.x[:, :, :length])
            received, chunks = received + length, chunks + 1
            if not early and received >= 0.1 * total:
                early = _resident()
        late = _resident()
        return {"chunks": chunks, "early": early, "late": late, **_traced(stream, engines)}

    def sessions(self, count: int) -> dict[str, Any]:
        """Return the bytes of many sessions: predicted, of their states' arrays, and by which the process grew."""
        engines = self._start()
        stream, x, settled = engines.stream(), engines.x[0], 2 * engines.found.held + 8
        predicted, before = stream.state_bytes * count, _resident()
        numbers = [*stream.sessions, *(stream.open() for _ in range(count - 1))]
        for number in numbers:
            for begin in range(0, settled, x.shape[1]):
                stream.push({number: x[:, : settled - begin]})
        grown = _resident() - before
        held = sum(array.nbytes for number in numbers for name, array in stream.state(number).items() if _is_held(name))
        return {"predicted": predicted, "held": held, "grown": grown}


def _is_held(name: str) -> bool:
    """Return True for the arrays of a state that hold samples or memory, not its counts and the digest of layers."""
    return name.startswith(("value_", "memory_"))


def _traced(stream: Any, engines: Engines) -> dict[str, Any]:
    """Return the bytes that a push takes at its most, beside its output, and those that stay after many."""
    lengths = engines.lengths[:3] * 50
    tracemalloc.start()
    for length in lengths:
        stream.push(engines.x[:, :, :length])
    before, _ = tracemalloc.get_traced_memory()
    most = 0
    for length in lengths:
        start, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        made = stream.push(engines.x[:, :, :length])
        most = max(most, tracemalloc.get_traced_memory()[1] - start - made.nbytes)
        del made
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return {"traced_chunk": most, "traced_growth": (after - before) / len(lengths)}


def _resident() -> int:
    """Return the bytes of memory that the process has now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def main() -> None:
    """Answer JSON lines until the end of the input."""
    from tconv.bench.worker_protocol import private_stdout, serve

    answers = private_stdout()
    name, folder, threads, decoder, seconds = sys.argv[1:]
    serve(Worker(name, Path(folder), int(threads), decoder, float(seconds)), sys.stdin, answers.write)


if __name__ == "__main__":
    main()
