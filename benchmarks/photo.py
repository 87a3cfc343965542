"""The network of `tconv upsample` against the same network in other engines, on one picture.

    python benchmarks/photo.py [--size 960 540] [--rounds 15] [--threads 2] [-o RESULT.json]

Each engine has a process of its own, as in `tconv bench`; in each round every one takes one sample, in an order that is
shuffled anew. Before anything is timed, each output is compared with float64 at random places. What is timed is the
network alone, from a padded luma picture to its detail, in the layout that each engine likes.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import statistics
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from tconv import models
from tconv.bench import child_process, timing
from tconv.bench.roofline import Bound
from tconv.models.error_bound import piece
from tconv.models.layers import Convolution
from tconv.models.network import Network
from tconv.upsampling.torch_comparison import in_torch

PEERS = ("tconv", "torch", "torch_cl", "torch_compile", "onnxruntime", "openvino")
ALLOWED = 1e-5
"""Of the largest output: what an engine's output may differ by from float64."""


def onnx_model(network: Network, shape: tuple[int, ...]) -> bytes:
    """The network as ONNX: Conv, PRelu and ConvTranspose nodes."""
    import onnx

    helper, nodes, weights, last = onnx.helper, [], [], "x"
    for number, node in enumerate(network.nodes):
        step = node.step
        assert isinstance(step, Convolution)
        g, made = step.geometry, f"y{number}"
        weight, words = step.weight, {"strides": g.stride, "pads": [pair[side] for side in (0, 1) for pair in g.crop]}
        if g.stride == (1, 1):
            weight = np.flip(weight, (2, 3)).transpose(1, 0, 2, 3)
            words = {"pads": [g.extent[axis] - 1 - g.crop[axis][side] for side in (0, 1) for axis in (0, 1)]}
        weights.append(onnx.numpy_helper.from_array(np.ascontiguousarray(weight), f"w{number}"))
        weights.append(onnx.numpy_helper.from_array(step.bias, f"b{number}"))
        kind = "Conv" if g.stride == (1, 1) else "ConvTranspose"
        nodes.append(helper.make_node(kind, [last, f"w{number}", f"b{number}"], [made], **words))
        last = made
        if step.activation is not None:
            slopes = np.asarray(step.activation[1], np.float32).reshape(-1, 1, 1)
            weights.append(onnx.numpy_helper.from_array(slopes, f"s{number}"))
            nodes.append(helper.make_node("PRelu", [last, f"s{number}"], [f"{made}p"]))
            last = f"{made}p"
    given, made = (helper.make_tensor_value_info(*end) for end in (("x", 1, shape), (last, 1, None)))
    graph = helper.make_graph(nodes, "photo", [given], [made], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    data: bytes = model.SerializeToString()
    return data


# -- the child's side ------------------------------------------------------------------------------------------------


def engine(name: str, network: Network, x: np.ndarray, threads: int) -> tuple[Callable[[], Any], Callable[[Any], Any]]:
    """A run of the network, and what makes an array of its result."""
    if name == "tconv":
        import tconv

        tconv.set_num_threads(threads)
        return lambda: network(x), np.asarray
    if name.startswith("torch"):
        import torch

        torch.set_num_threads(threads)
        form = torch.channels_last if name == "torch_cl" else torch.contiguous_format  # of weights, too
        run, tensor = in_torch(network, form), torch.from_numpy(x).to(memory_format=form)
        if name == "torch_compile":
            import torch._inductor.config as inductor

            inductor.freezing = True
            run = torch.compile(run)
        return torch.inference_mode()(lambda: run(tensor)), lambda y: y.numpy()
    if name == "onnxruntime":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        session = onnxruntime.InferenceSession(onnx_model(network, x.shape), options, ["CPUExecutionProvider"])
        return lambda: session.run(None, {"x": x})[0], np.asarray
    import openvino

    core = openvino.Core()
    words = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY"}
    words["INFERENCE_PRECISION_HINT"] = "f32"
    run = core.compile_model(core.read_model(onnx_model(network, x.shape)), "CPU", words)
    return lambda: run(x), lambda y: y[0]


def child(name: str, folder: Path, threads: int) -> None:
    """Answer lines: "load" writes an output to be checked, "sample" takes a time."""
    from tconv.bench.worker import private_stdout, serve

    answers = private_stdout()

    class Worker:
        def answer(self, message: dict[str, Any]) -> dict[str, Any]:
            if message["do"] == "sample":
                seconds, _ = timing.sample(self.call, self.once)
                timing.settle()
                return {"ms": seconds * 1e3}
            try:
                self.call, read = engine(name, models.photo(2).network, np.load(folder / "x.npy"), threads)
                np.save(folder / f"{name}.npy", read(self.call()))
            except Exception as error:  # a peer may raise anything, and the others go on
                return {"reason": f"{type(error).__name__}: {error}"[:300]}
            self.once = timing.sample(self.call, 1.0)[0]
            timing.settle()
            return {}

    serve(Worker(), sys.stdin, answers.write)


# -- the parent's side -----------------------------------------------------------------------------------------------


def judge(network: Network, x: np.ndarray, y: np.ndarray) -> float:
    """The largest difference from float64 in random squares, as a share of the largest output."""
    rng, worst = np.random.default_rng(0), 0.0
    height, width = y.shape[2:]
    for _ in range(8):
        rows, columns = (slice(at, at + 16) for at in (int(rng.integers(0, n - 16)) for n in (height, width)))
        spans = [
            network.window(span, n, axis)
            for axis, (span, n) in enumerate(zip((rows, columns), x.shape[2:], strict=True))
        ]
        seen = x[0, :, spans[0], spans[1]].astype(np.float64)
        found = piece(network, seen, (spans[0], spans[1]), x.shape[2:], (rows, columns)).values
        worst = float(np.maximum(worst, np.abs(found - y[0, :, rows, columns]).max()))
    return worst / float(np.abs(y).max())


def main() -> int:
    """Run all of it; 1 if an output is wrong, or the result cannot be written."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--size", type=int, nargs=2, default=(960, 540))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--peer", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.peer:
        child(given.peer[0], Path(given.peer[1]), given.threads)
        return 0
    model = models.photo(2)
    width, height = (side + 2 * model.border for side in given.size)
    x = np.random.default_rng(0).random((1, 1, height, width), np.float32)
    flops = sum(2 * problem.macs.exact for problem in model.network.problems((height, width)))
    result: dict[str, Any] = {"date": datetime.now(UTC).isoformat(timespec="minutes"), "machine": platform.processor()}
    result |= {"size": list(given.size), "threads": given.threads, "flops": flops, "complete": False, "peers": {}}
    try:  # before minutes are spent
        file = given.output.open("x") if given.output else None
    except OSError as error:
        print(f"{given.output} cannot be written: {error.strerror}. Write a new name", file=sys.stderr)
        return 1
    try:
        result["complete"] = measure(result, model.network, x, given.rounds)
        peak = Bound(given.threads, "cpu")
        peak.answer({"do": "start"})
        result["probe"] = peak.answer({"do": "probe"})
    finally:  # what was measured is kept, whatever came in between
        if file is not None:
            with file:
                json.dump(result, file, indent=1)
        print(table(result))
    return 0 if result["complete"] else 1


def measure(result: dict[str, Any], network: Network, x: np.ndarray, rounds: int) -> bool:
    """Fill in result["peers"] round by round; False where an output is wrong, and nothing is timed."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as seats:
        np.save(Path(folder) / "x.npy", x)
        environment = child_process.environment(result["threads"])
        command = [sys.executable, __file__, "--threads", str(result["threads"]), "--peer"]
        live = {}
        for name in PEERS:
            seat = child_process.Child([*command, name, folder], environment)
            seats.callback(seat.close)
            try:
                answer = seat.ask({"do": "load"}, 300)
            except child_process.GoneError as error:
                answer = {"reason": str(error)}
            if "reason" in answer:
                result["peers"][name] = answer
                continue
            error = judge(network, x, np.load(Path(folder) / f"{name}.npy"))
            result["peers"][name] = {"error": error, "ms": []}
            if not error <= ALLOWED:
                print(f"{name} is wrong: {error:.2g} of the largest output", file=sys.stderr)
                return False
            live[name] = seat
        order = random.Random(0)
        for _ in range(rounds):
            for name in order.sample(list(live), len(live)):
                try:
                    result["peers"][name]["ms"].append(live[name].ask({"do": "sample"}, 300)["ms"])
                except child_process.GoneError as error:  # the others go on
                    result["peers"][name]["reason"] = str(error)
                    del live[name]
    return True


def table(result: dict[str, Any]) -> str:
    """Medians, and how many times as long as tconv each takes."""
    ms = {name: statistics.median(each["ms"]) for name, each in result["peers"].items() if each.get("ms")}
    lines = ["| engine | ms | / tconv | error |", "| --- | ---: | ---: | ---: |"]
    for name in sorted(ms, key=ms.__getitem__):
        beside = f"{ms[name] / ms['tconv']:.2f}" if "tconv" in ms else ""
        lines.append(f"| {name} | {ms[name]:.3g} | {beside} | {result['peers'][name]['error']:.1e} |")
    reasons = {name: each["reason"] for name, each in result["peers"].items() if "reason" in each}
    lines += [f"\n{'gone on the way' if name in ms else 'not run'}: {name}: {why}" for name, why in reasons.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
