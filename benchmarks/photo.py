"""The network of `tconv upsample` against the same network in other engines, on one picture.

    python benchmarks/photo.py [--size 960 540] [--rounds 15] [--threads 2] [-o RESULT.json]

Each engine has a process of its own, as in `tconv bench`. In each round every engine takes one sample, in an order that
is shuffled anew. Before anything is timed, each output is compared with float64 at random places. The network alone is
timed, from a padded luma picture to its detail, in the layout that suits each engine.
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
from tconv.bench.roofline import RooflineProbe
from tconv.models.error_bound import piece
from tconv.models.layers import Convolution
from tconv.models.network import Network
from tconv.upsampling.network_in_torch import in_torch

PEERS = ("tconv", "torch", "torch_cl", "torch_compile", "onnxruntime", "openvino")
ALLOWED = 1e-5
"""Largest difference from float64 that an engine's output may have, as a share of the largest output."""


def onnx_model(network: Network, shape: tuple[int, ...]) -> bytes:
    """Return the network as an ONNX model of Conv, PRelu and ConvTranspose nodes."""
    import onnx

    helper, nodes, weights, last = onnx.helper, [], [], "x"
    for number, node in enumerate(network.nodes):
        step = node.step
        assert isinstance(step, Convolution)
        g, output = step.geometry, f"y{number}"
        weight, attributes = (
            step.weight,
            {"strides": g.stride, "pads": [pair[side] for side in (0, 1) for pair in g.crop]},
        )
        if g.stride == (1, 1):
            weight = np.flip(weight, (2, 3)).transpose(1, 0, 2, 3)
            attributes = {"pads": [g.extent[axis] - 1 - g.crop[axis][side] for side in (0, 1) for axis in (0, 1)]}
        weights.append(onnx.numpy_helper.from_array(np.ascontiguousarray(weight), f"w{number}"))
        weights.append(onnx.numpy_helper.from_array(step.bias, f"b{number}"))
        kind = "Conv" if g.stride == (1, 1) else "ConvTranspose"
        nodes.append(helper.make_node(kind, [last, f"w{number}", f"b{number}"], [output], **attributes))
        last = output
        if step.activation is not None:
            slopes = np.asarray(step.activation[1], np.float32).reshape(-1, 1, 1)
            weights.append(onnx.numpy_helper.from_array(slopes, f"s{number}"))
            nodes.append(helper.make_node("PRelu", [last, f"s{number}"], [f"{output}p"]))
            last = f"{output}p"
    x, y = (helper.make_tensor_value_info(*end) for end in (("x", 1, shape), (last, 1, None)))
    graph = helper.make_graph(nodes, "photo", [x], [y], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    data: bytes = model.SerializeToString()
    return data


# -- the child's side ------------------------------------------------------------------------------------------------


def engine(name: str, network: Network, x: np.ndarray, threads: int) -> tuple[Callable[[], Any], Callable[[Any], Any]]:
    """Return a call that runs the network, and a function that converts its result to an array."""
    if name == "tconv":
        import tconv

        tconv.set_num_threads(threads)
        return lambda: network(x), np.asarray
    if name.startswith("torch"):
        import torch

        torch.set_num_threads(threads)
        layout = torch.channels_last if name == "torch_cl" else torch.contiguous_format  # of x and the weights
        run, tensor = in_torch(network, layout), torch.from_numpy(x).to(memory_format=layout)
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
    options = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY"}
    options["INFERENCE_PRECISION_HINT"] = "f32"
    run = core.compile_model(core.read_model(onnx_model(network, x.shape)), "CPU", options)
    return lambda: run(x), lambda y: y[0]


def child(name: str, folder: Path, threads: int) -> None:
    """Answer JSON lines: "load" writes an output to be checked, "sample" takes a time."""
    from tconv.bench.worker_protocol import private_stdout, serve

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
            except Exception as error:  # an engine may raise anything, and the others go on
                return {"reason": f"{type(error).__name__}: {error}"[:300]}
            self.once = timing.sample(self.call, 1.0)[0]
            timing.settle()
            return {}

    serve(Worker(), sys.stdin, answers.write)


# -- the parent's side -----------------------------------------------------------------------------------------------


def largest_difference(network: Network, x: np.ndarray, y: np.ndarray) -> float:
    """Return the largest difference from float64 in random squares, as a share of the largest output."""
    rng, worst = np.random.default_rng(0), 0.0
    height, width = y.shape[2:]
    for _ in range(8):
        rows, columns = (slice(at, at + 16) for at in (int(rng.integers(0, n - 16)) for n in (height, width)))
        spans = [
            network.window(span, n, axis)
            for axis, (span, n) in enumerate(zip((rows, columns), x.shape[2:], strict=True))
        ]
        patch = x[0, :, spans[0], spans[1]].astype(np.float64)
        exact = piece(network, patch, (spans[0], spans[1]), x.shape[2:], (rows, columns)).values
        worst = float(np.maximum(worst, np.abs(exact - y[0, :, rows, columns]).max()))
    return worst / float(np.abs(y).max())


def main() -> int:
    """Run the benchmark; return 1 if an output is wrong, or the result cannot be written."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--size", type=int, nargs=2, default=(960, 540))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--peer", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peer:
        child(options.peer[0], Path(options.peer[1]), options.threads)
        return 0
    model = models.photo(2)
    width, height = (side + 2 * model.border for side in options.size)
    x = np.random.default_rng(0).random((1, 1, height, width), np.float32)
    flops = sum(2 * problem.macs.exact for problem in model.network.problems((height, width)))
    result: dict[str, Any] = {"date": datetime.now(UTC).isoformat(timespec="minutes"), "machine": platform.processor()}
    result |= {"size": list(options.size), "threads": options.threads, "flops": flops, "complete": False, "peers": {}}
    try:  # before minutes are spent
        file = options.output.open("x") if options.output else None
    except OSError as error:
        print(f"{options.output} cannot be written: {error.strerror}. Choose a new name", file=sys.stderr)
        return 1
    try:
        result["complete"] = measure(result, model.network, x, options.rounds)
        probe = RooflineProbe(options.threads, "cpu")
        probe.answer({"do": "start"})
        result["probe"] = probe.answer({"do": "probe"})
    finally:  # after an error, too, what was measured is stored
        if file is not None:
            with file:
                json.dump(result, file, indent=1)
        print(table(result))
    return 0 if result["complete"] else 1


def measure(result: dict[str, Any], network: Network, x: np.ndarray, rounds: int) -> bool:
    """Fill in result["peers"] round by round. Return False, and time nothing, if an output is wrong."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as children:
        np.save(Path(folder) / "x.npy", x)
        environment = child_process.environment(result["threads"])
        command = [sys.executable, __file__, "--threads", str(result["threads"]), "--peer"]
        running = {}
        for name in PEERS:
            child = child_process.Child([*command, name, folder], environment)
            children.callback(child.close)
            try:
                answer = child.ask({"do": "load"}, 300)
            except child_process.GoneError as error:
                answer = {"reason": str(error)}
            if "reason" in answer:
                result["peers"][name] = answer
                continue
            error = largest_difference(network, x, np.load(Path(folder) / f"{name}.npy"))
            result["peers"][name] = {"error": error, "ms": []}
            if not error <= ALLOWED:
                print(f"{name} is wrong: {error:.2g} of the largest output", file=sys.stderr)
                return False
            running[name] = child
        order = random.Random(0)
        for _ in range(rounds):
            for name in order.sample(list(running), len(running)):
                try:
                    result["peers"][name]["ms"].append(running[name].ask({"do": "sample"}, 300)["ms"])
                except child_process.GoneError as error:  # the others go on
                    result["peers"][name]["reason"] = str(error)
                    del running[name]
    return True


def table(result: dict[str, Any]) -> str:
    """Return a Markdown table of the medians, also as multiples of tconv's."""
    ms = {name: statistics.median(each["ms"]) for name, each in result["peers"].items() if each.get("ms")}
    lines = ["| engine | ms | / tconv | error |", "| --- | ---: | ---: | ---: |"]
    for name in sorted(ms, key=ms.__getitem__):
        ratio = f"{ms[name] / ms['tconv']:.2f}" if "tconv" in ms else ""
        lines.append(f"| {name} | {ms[name]:.3g} | {ratio} | {result['peers'][name]['error']:.1e} |")
    reasons = {name: each["reason"] for name, each in result["peers"].items() if "reason" in each}
    lines += [f"\n{'ended early' if name in ms else 'not run'}: {name}: {why}" for name, why in reasons.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
