"""Random jobs of `tconv.scale`, their results in memory, and what processes of tests run."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path

import numpy as np

import tconv
import tconv.scale
from tconv.models import Convolution, Network, Node, Sum
from tconv.models.steps.pooling import GlobalMean
from tconv.scale.functional import job_of
from tconv.scale.operators.layer import LayerOperator, computed
from tconv.scale.operators.reading import operator_of
from tconv.scale.regions import tile_count

FORMATS = ("npy", "zarr", "tif")


def warm_up():
    """Load machine code and modules, with one thread, before processes are forked."""
    before = tconv.get_num_threads()
    tconv.set_num_threads(1)
    weight = np.ones((1, 1, 4, 4), np.float32)
    computed(LayerOperator(weight, None, tconv.Geometry((4, 4), 2)), np.ones((1, 9, 9), np.float32))
    tconv.set_num_threads(before)


# -- random jobs -------------------------------------------------------------------------------------------------


def random_case(seed, **settings):
    """Return the settings of a random job, as JSON has them: 1 to 3 axes, which may have one element."""
    rng = np.random.default_rng(seed)
    ndim = int(rng.choice([1, 2, 2, 2, 3]))
    low, high = [(200, 3000), (20, 150), (6, 24)][ndim - 1]
    case = {
        "seed": int(seed),
        "images": int(rng.integers(1, 3)),
        "channels": [int(rng.integers(1, 5)) for _ in range(3)],
        "sizes": [int(each) for each in rng.integers(low, high, ndim)],
        "dtype": str(rng.choice(["float32", "float32", "float16", "float64"])),
        "network": str(rng.choice(["layer", "layer", "chain"])),
        "source": str(rng.choice(FORMATS)),
        "target": str(rng.choice(FORMATS)),
        "tiles": int(rng.integers(40, 160)),
    }
    if ndim > 1 and rng.random() < 0.15:
        case["sizes"][int(rng.integers(ndim))] = 1
    case |= settings
    # images of two axes, of dtypes that tifffile reads; it takes a column of pixels for a row of samples
    if len(case["sizes"]) != 2 or case["dtype"] == "float64" or case["sizes"][1] == 1:
        case |= {key: "npy" for key in ("source", "target") if case[key] == "tif"}
    return case


def network_of(case):
    """Return the layer, the chain or the network of a case."""
    if case["network"] == "network":
        return _network(case)
    rng = np.random.default_rng([case["seed"], 1])
    channels = case["channels"] if case["network"] == "chain" else case["channels"][::2]
    layers = []
    for before, after in itertools.pairwise(channels):
        kernel, stride = int(rng.integers(2, 6)), int(rng.integers(1, 4))
        weight = rng.normal(size=(before, after, *[kernel] * len(case["sizes"]))).astype(case["dtype"])
        bias = rng.normal(size=after).astype(case["dtype"])
        layers += [tconv.scale.layer(weight, bias, stride=stride, padding=int(rng.integers((kernel + 1) // 2)))]
    return layers if len(layers) > 1 else layers[0]


def _network(case):
    """Return two convolutions with the mean over the whole image between them."""
    rng, channels = np.random.default_rng([case["seed"], 1]), case["channels"]
    same = tconv.Geometry((3, 3), crop=((1, 1), (1, 1)))
    first, last = (
        Convolution(rng.normal(size=(*pair, 3, 3)).astype("f4"), same, rng.normal(size=pair[1]).astype("f4"))
        for pair in itertools.pairwise(channels)
    )
    return Network([Node(first, (0,)), Node(GlobalMean(), (1,)), Node(Sum(), (1, 2)), Node(last, (3,))])


def input_of(case):
    """Return the images [N, C, *sizes] of a case."""
    rng = np.random.default_rng([case["seed"], 2])
    return rng.normal(size=(case["images"], case["channels"][0], *case["sizes"])).astype(case["dtype"])


def expected(case):
    """Return the output [N, C', *sizes'] of the definition's order of sums, computed in memory and at once."""
    layers, x = network_of(case), input_of(case)
    for layer in layers if isinstance(layers, list) else [operator_of(layers)]:
        x = np.stack([computed(layer, image) for image in x])
    return x


def write_input(case, folder):
    """Write the input of a case, in its format."""
    path, x = Path(folder) / f"x.{case['source']}", input_of(case)
    if case["source"] == "npy":
        np.save(path, x)
    elif case["source"] == "tif":
        import tifffile

        kind = "rgb" if x.shape[1] in (3, 4) else "minisblack"
        pages = np.moveaxis(x, 1, -1) if x.shape[1] > 1 else x[:, 0]
        options = {"planarconfig": "contig"} if x.shape[1] > 1 else {}
        tifffile.imwrite(path, pages, photometric=kind, tile=(16, 32), compression="zlib", **options)
    else:
        import zarr

        chunks = (1, x.shape[1], *(-(-size // 3) for size in x.shape[2:]))
        zarr.create_array(path, data=x, chunks=chunks)
    return path


def tile_of(case, sizes, unit):
    """Return sizes of tiles, whole units, so that there are about as many as the case says."""
    tile = list(sizes)
    wanted = case["tiles"] / case["images"]
    for axis in np.argsort(sizes)[::-1].tolist() * 14:
        if tile_count(sizes, tile) * 2 <= wanted * 1.5 and tile[axis] > unit[axis]:
            tile[axis] = -(-tile[axis] // 2 // unit[axis]) * unit[axis]
    return tuple(tile)


def chunks_of(case, sizes):
    """Return sizes of chunks and of shards of an output, some 50 shards, which are no divisors of it."""
    rng = np.random.default_rng([case["seed"], 4])
    along = 50 ** (1 / sum(size > 1 for size in sizes))
    chunks, shards = [], []
    for size in sizes:
        parts = int(rng.integers(1, 4))
        chunks.append(max(1, round(size / along / parts)) | 1)
        shards.append(chunks[-1] * parts)
    return {"chunks": tuple(chunks), "shards": tuple(shards)}


def stored(path):
    """Return all values of an output, read by the library of its format."""
    path = Path(path)
    if path.suffix == ".npy":
        return np.load(path)
    if path.suffix == ".zarr":
        import zarr

        return zarr.open_array(path, mode="r")[...]
    import tifffile

    return tifffile.imread(path)


# -- what processes run --------------------------------------------------------------------------------------------


def run(case, source, output, **options):
    """Run a job with the tiles of its case, and return the numbers of its report."""
    return numbers(job(case, source, output, **options).run())


def run_with_own_tiles(case, source, output, **options):
    """Run a job with tiles chosen from its bound of memory."""
    return numbers(job_of(network_of(case), source, output, **layout_options(case), **options).run())


def numbers(report):
    """Return the numbers of a report, as JSON has them."""
    names = "tiles", "done_now", "done_before", "done_twice", "sessions", "peak_memory", "was_done"
    return {name: getattr(report, name) for name in names}


def job(case, source, output, **options):
    """Return the job of a case: with its tiles, which are whole units of the output."""
    network, options = network_of(case), layout_options(case) | options
    first = job_of(network, source, output, **options).stages[0]
    tile = tile_of(case, first.output_sizes, first.target.unit)
    return job_of(network, source, output, tile=tile, **options)


def layout_options(case):
    """Return chunks and shards of the output, small ones."""
    if case["target"] == "zarr":
        return chunks_of(case, operator_of(network_of(case)).output_sizes(tuple(case["sizes"])))
    return {"chunks": (16, 32)} if case["target"] == "tif" else {}


def verify(output):
    """Read an output again, and return the number of tiles and of damaged ones."""
    report = tconv.scale.verify(output)
    return {"tiles": report.tiles, "missing": report.missing, "damaged": len(report.damaged), "text": str(report)}


def scheduler():
    """Run a scheduler over TCP, whose address is printed, until the process is ended."""
    from distributed import Scheduler

    async def serve():
        async with Scheduler(host="127.0.0.1", port=0, dashboard=False) as one:
            print(one.address, flush=True)
            await one.finished()

    asyncio.run(serve())


def worker(address, folder):
    """Run a worker of a scheduler, until the process is ended."""
    from distributed import Worker

    async def serve():
        async with Worker(address, nthreads=1, local_directory=folder, dashboard=False) as one:
            print(one.address, flush=True)
            await one.finished()

    asyncio.run(serve())
