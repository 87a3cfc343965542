"""Time and memory of an inventory of large ONNX files: weights of 100 MB in the file, and of 2 GB in a file beside it.

    python benchmarks/onnx_inventory.py             # 100 MB within the file
    python benchmarks/onnx_inventory.py --external  # and 2 GB of external data, which take space on the disk

Each inventory runs in a process of its own (on Linux); memory is the largest resident set, the file's own mapped pages
included, beyond that after the imports.
One layer's weight is read in the end, so that it is known to be there.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

_MEASURE = """
import json, pathlib, re, sys, time
import numpy, onnx, onnx_ir
from tconv.models.inventory import inventory_of
def resident():
    # of this process alone; what getrusage returns begins with the memory of the process that started it
    return int(re.search(r"VmHWM:\\s+(\\d+)", pathlib.Path("/proc/self/status").read_text())[1]) / 1024
before, start = resident(), time.perf_counter()
found = inventory_of(sys.argv[1])
seconds, after = time.perf_counter() - start, resident()
layer = found.layers[len(found.layers) // 2]
total = float(numpy.abs(layer.weight.read()).sum())
print(json.dumps({"layers": len(found.layers), "operations": sum(found.operations.values()),
                  "file MB": round(pathlib.Path(sys.argv[1]).stat().st_size / 1e6, 1), "seconds": round(seconds, 3),
                  "MB beside the file": round(after - before, 1), "MB after one weight": round(resident() - before, 1),
                  "weight": list(layer.weight.shape), "origin": layer.weight.origin, "read": total > 0}))
"""


def main() -> None:
    """Build the files in a temporary folder, and print what each inventory took."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--external", action="store_true", help="measure 2 GB of external data, too")
    external = parser.parse_args().external
    with tempfile.TemporaryDirectory() as folder:
        for name, weights, norm in [("stored", 100, False), ("weight norm", 100, True), ("many nodes", 100, False)]:
            path = Path(folder) / f"{name.replace(' ', '_')}.onnx"
            onnx.save(_decoder(weights << 20, norm, 10_000 if name == "many nodes" else 0), path)
            _print(name, path)
            path.unlink()
        if external:
            path = Path(folder) / "external.onnx"
            _external(path, 2 << 30)
            _print("external data of 2 GB", path)


def _print(name: str, path: Path) -> None:
    answer = subprocess.run([sys.executable, "-c", _MEASURE, str(path)], capture_output=True, text=True, check=True)
    print(f"{name}: {json.loads(answer.stdout)}")


def _decoder(size: int, norm: bool, more_nodes: int) -> onnx.ModelProto:
    """Return a decoder of 1-D transposed convolutions with so many bytes of weights."""
    rng, channels, kernel = np.random.default_rng(0), 512, 16
    count = size // (4 * channels * channels * kernel)
    nodes, constants, last = [], [], "x"
    for number in range(count):
        weight = rng.normal(0, 0.01, (channels, channels, kernel)).astype(np.float32)
        constants.append(numpy_helper.from_array(weight, f"w{number}"))
        name = f"w{number}"
        if norm:
            axes = f"axes{number}"
            constants.append(numpy_helper.from_array(np.ones((channels, 1, 1), np.float32), f"g{number}"))
            constants.append(numpy_helper.from_array(np.array([1, 2]), axes))
            nodes.append(helper.make_node("ReduceL2", [name, axes], [f"norm{number}"]))
            nodes.append(helper.make_node("Div", [name, f"norm{number}"], [f"unit{number}"]))
            nodes.append(helper.make_node("Mul", [f"g{number}", f"unit{number}"], [f"v{number}"]))
            name = f"v{number}"
        nodes.append(helper.make_node("ConvTranspose", [last, name], [f"y{number}"], strides=[8], pads=[4, 4]))
        last = f"y{number}"
        for extra in range(more_nodes // count):
            nodes.append(helper.make_node("Relu", [last], [f"r{number}_{extra}"]))
            last = f"r{number}_{extra}"
    return _model(nodes, constants, last, channels)


def _model(nodes: list[onnx.NodeProto], constants: list[onnx.TensorProto], last: str, channels: int) -> onnx.ModelProto:
    value = helper.make_tensor_value_info
    ends = [value("x", TensorProto.FLOAT, ["batch", channels, "time"])], [value(last, TensorProto.FLOAT, None)]
    return helper.make_model(helper.make_graph(nodes, "g", *ends, constants), ir_version=10)


def _external(path: Path, size: int) -> None:
    """Write a model whose weights are external data of this size, mostly holes where the system has them."""
    channels, kernel = 512, 16
    each = 4 * channels * channels * kernel
    count = size // each
    data = path.with_suffix(".data")
    with data.open("wb") as opened:
        opened.truncate(size)
        opened.seek(count // 2 * each)
        opened.write(np.ones(each // 4, np.float32).tobytes())
    nodes, constants, last = [], [], "x"
    for number in range(count):
        tensor = TensorProto(name=f"w{number}", data_type=TensorProto.FLOAT, dims=[channels, channels, kernel])
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in {"location": data.name, "offset": number * each, "length": each}.items():
            tensor.external_data.add(key=key, value=str(value))
        constants.append(tensor)
        nodes.append(helper.make_node("ConvTranspose", [last, f"w{number}"], [f"y{number}"], strides=[8], pads=[4, 4]))
        last = f"y{number}"
    onnx.save(_model(nodes, constants, last, channels), path)


if __name__ == "__main__":
    main()
