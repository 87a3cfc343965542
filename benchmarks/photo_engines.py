"""Engines that run the networks of benchmarks/photo.py, each in a process of its own.

    python benchmarks/photo_engines.py ENGINE FOLDER THREADS FILE|photo|photo-large    answers JSON lines, for photo.py

The folder has x.npy, the input of the network, and model.onnx, which the engine "reference" has written beside its
output in float64. All engines but tconv run the layers as the file has them, with none of tconv's simplifications.
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tconv import models, set_num_threads
from tconv.bench import timing
from tconv.models import simplification
from tconv.models.network import Network
from tconv.upsampling import learned
from tconv.upsampling.network_in_torch import in_torch

Run = Callable[[], Any]
Read = Callable[[Any], np.ndarray]


def model_of(name: str, simplified: bool = True) -> models.Model:
    """Return the model of a file, or a network of photographs that comes with tconv."""
    if not simplified:
        simplification.RULES = ()
    return learned.from_name(name, 2).model if name in learned.NAMES else models.load(name)


def _tconv(network: Network, x: np.ndarray, threads: int, folder: Path, name: str) -> tuple[Run, Read]:
    set_num_threads(threads)
    return lambda: network(x), np.asarray


def _torch(engine: str) -> Callable[..., tuple[Run, Read]]:
    def start(network: Network, x: np.ndarray, threads: int, folder: Path, name: str) -> tuple[Run, Read]:
        import torch

        torch.set_num_threads(threads)
        layout = torch.channels_last if engine == "torch_cl" else torch.contiguous_format  # of x and the weights
        run, tensor = in_torch(network, layout), torch.from_numpy(x).to(memory_format=layout)
        if engine == "torch_compile":
            import torch._inductor.config as inductor

            inductor.freezing = True
            run = torch.compile(run)
        return torch.inference_mode()(lambda: run(tensor)), lambda y: y.numpy()

    return start


def _onnxruntime(network: Network, x: np.ndarray, threads: int, folder: Path, name: str) -> tuple[Run, Read]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(folder / "model.onnx", options, ["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    return lambda: session.run(None, {given.name: x})[0], np.asarray


def _openvino(network: Network, x: np.ndarray, threads: int, folder: Path, name: str) -> tuple[Run, Read]:
    import openvino

    core = openvino.Core()
    options = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY"}
    options["INFERENCE_PRECISION_HINT"] = "f32"
    run = core.compile_model(core.read_model(folder / "model.onnx"), "CPU", options)
    return lambda: run(x), lambda y: y[0]


def _ncnn(network: Network, x: np.ndarray, threads: int, folder: Path, name: str) -> tuple[Run, Read]:
    import ncnn

    if not name.endswith(".param"):
        raise ValueError("it reads its own files only")
    net = ncnn.Net()
    net.opt.num_threads, net.opt.use_vulkan_compute = threads, False
    for option in ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage"):
        setattr(net.opt, option, False)
    net.load_param(name)
    net.load_model(name.removesuffix("param") + "bin")
    entry, end, mat = net.input_names()[0], net.output_names()[-1], ncnn.Mat(x[0]).clone()

    def run() -> Any:
        extractor = net.create_extractor()
        extractor.input(entry, mat)
        return extractor.extract(end)[1]

    return run, lambda y: np.array(y)[None]


ENGINES: dict[str, Callable[..., tuple[Run, Read]]] = {
    "tconv": _tconv,
    "torch": _torch("torch"),
    "torch_cl": _torch("torch_cl"),
    "torch_compile": _torch("torch_compile"),
    "onnxruntime": _onnxruntime,
    "openvino": _openvino,
    "ncnn": _ncnn,
}


def write_reference(network: Network, folder: Path, exact: bool) -> None:
    """Write the network as model.onnx, and, if `exact`, its output in float64 as reference.npy."""
    import torch

    class Whole(torch.nn.Module):
        def __init__(self, run: Any) -> None:
            super().__init__()
            self.run = run

        def forward(self, x: Any) -> Any:
            return self.run(x)

    x = torch.from_numpy(np.load(folder / "x.npy"))
    with torch.inference_mode():
        torch.onnx.export(Whole(in_torch(network)), (x,), str(folder / "model.onnx"), dynamo=False, opset_version=17)
        if exact:
            np.save(folder / "reference.npy", in_torch(network, dtype=torch.float64)(x.double()).numpy())


class Worker:
    """One engine: "load" writes an output to be checked, "sample" takes a time, "memory" the bytes of one run."""

    def __init__(self, name: str, folder: Path, threads: int, file: str) -> None:
        self.name, self.folder, self.threads, self.file = name, folder, threads, file

    def answer(self, message: dict[str, Any]) -> dict[str, Any]:
        """Answer one message."""
        try:
            return getattr(self, message["do"])(**{key: value for key, value in message.items() if key != "do"})
        except Exception as error:  # an engine may raise anything, and the others go on
            return {"reason": f"{type(error).__name__}: {error}"[:300]}

    def reference(self, exact: bool) -> dict[str, Any]:
        """Write the references."""
        write_reference(model_of(self.file, simplified=False).network, self.folder, exact)
        return {}

    def _start(self) -> None:
        network = model_of(self.file, simplified=self.name == "tconv").network
        x = np.load(self.folder / "x.npy")
        self.call, self.read = ENGINES[self.name](network, x, self.threads, self.folder, self.file)

    def load(self) -> dict[str, Any]:
        """Run once for an output that is checked, and once for an estimate of the time."""
        self._start()
        np.save(self.folder / f"{self.name}.npy", self.read(self.call()))
        self.once = timing.sample(self.call, 1.0)[0]
        timing.settle()
        return {}

    def sample(self) -> dict[str, Any]:
        """Return the milliseconds of a run."""
        seconds, _ = timing.sample(self.call, self.once)
        timing.settle()
        return {"ms": seconds * 1e3}

    def memory(self) -> dict[str, Any]:
        """Return the most bytes that the first run needs beside its input and output."""
        self._start()
        before = _resident()
        output = self.read(self.call())
        return {"bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before - output.nbytes}


def _resident() -> int:
    """Return the bytes of memory that the process has now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def main() -> None:
    """Answer JSON lines until the end of the input."""
    from tconv.bench.worker_protocol import private_stdout, serve

    answers = private_stdout()
    name, folder, threads, file = sys.argv[1:]
    serve(Worker(name, Path(folder), int(threads), file), sys.stdin, answers.write)


if __name__ == "__main__":
    main()
