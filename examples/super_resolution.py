"""Train a small network that makes photographs larger with more detail than bicubic interpolation has.

The network maps the luma of a picture to the detail that bicubic interpolation lacks; its last layer is a transposed
convolution. The photographs come from Debian packages and from scikit-image; no GPU is needed:

    pip install ".[test]" scikit-learn
    mkdir -p pictures && cd pictures
    for p in lomiri-wallpapers-16.04 lomiri-wallpapers-20.04 mate-backgrounds palapeli-data plasma-workspace-wallpapers
    do apt-get download $p && dpkg-deb -x ${p}_*.deb $p; done; cd ..
    python examples/super_resolution.py --scale 2 --packages pictures --folder runs/x2 --compile
    python examples/super_resolution.py --scale 3 --packages pictures --folder runs/x3 --compile --start runs/x2/last.pt
    torchrun --nproc-per-node 2 examples/super_resolution.py --packages pictures --folder runs/x2     # data-parallel
    python examples/super_resolution.py --card                   # measure the weights again, rewrite the model card
    python examples/super_resolution.py --quick                  # 200 steps, scikit-image only; exit code 1 on failure

A run that was killed continues at its last checkpoint, with the same samples that an undisturbed run would draw.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from pathlib import Path

import numpy as np
import torch
from photographs import HELD_OUT, LUMA, TRAINING, Data, bicubic, measure, path_of, read, shrink
from PIL import Image
from report import replacing
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

WEIGHTS = Path(__file__).parents[1] / "src/tconv/models/data"
QUICK = {"folder": Path("runs/quick"), "steps": 200, "layers": 4, "batch": 8, "patch": 32, "ema": 0.99, "every": 100}
QUICK_GAIN = 0.3
"""Least gain of --quick over bicubic interpolation, in dB, as the mean over scikit-image's held-out pictures."""

# -- the network -----------------------------------------------------------------------------------------------------


def network(scale, layers, channels=12):
    """Return a network from [N, 1, h, w] to [N, 1, s*(h - 2*border), s*(w - 2*border)], with border = layers + 3.

    Every layer is "valid". The last layer starts at zero, which is bicubic interpolation, and a kernel of three strides
    that starts there has no preferred phase, hence no checkerboard. The layers between start near the identity: from
    PyTorch's own start a network this deep and this narrow learns nothing at first.
    """
    body = []
    for _ in range(layers):
        conv = nn.Conv2d(channels, channels, 3)
        with torch.no_grad():
            conv.weight.mul_(0.5)
            conv.weight[:, :, 1, 1] += torch.eye(channels)
        body += [conv, nn.PReLU(channels)]
    tail = nn.ConvTranspose2d(channels, 1, 3 * scale, scale, 2 * scale)
    nn.init.zeros_(tail.weight)
    nn.init.zeros_(tail.bias)
    return nn.Sequential(nn.Conv2d(1, channels, 5), nn.PReLU(channels), *body, tail)


def border_of(net):
    """Return the pixels that the network needs around the picture."""
    return sum(layer.kernel_size[0] // 2 for layer in net if isinstance(layer, nn.Conv2d)) + 1


def linear_layers(net):
    return [layer for layer in net if not isinstance(layer, nn.PReLU)]


def grow(net, small):
    """Let a network start as one with fewer channels or layers: it computes the same, and has more to learn with.

    The first channels of each layer are those of `small` and read these alone; the others keep their start. Layers that
    `small` lacks are the identity on the first channels. At another scale the last layer stays as it is.
    """
    old, new = linear_layers(small), linear_layers(net)
    old_slopes, slopes = ([layer for layer in each if isinstance(layer, nn.PReLU)] for each in (small, net))
    n = old[0].out_channels
    if len(old) > len(new) or n > new[0].out_channels:
        raise SystemExit(
            f"the network to start from has {n} channels and {len(old) - 2} layers, this one {new[0].out_channels} and "
            f"{len(new) - 2}. Write --channels {n} --layers {len(old) - 2}, or more"
        )
    with torch.no_grad():
        for i, layer in enumerate(new[:-1]):
            layer.weight[:n] = 0
            if i < len(old) - 1:
                layer.weight[:n, : old[i].in_channels] = old[i].weight
                layer.bias[:n], slopes[i].weight[:n] = old[i].bias, old_slopes[i].weight
            else:
                layer.weight[:n, :n, 1, 1] = torch.eye(n)
                layer.bias[:n], slopes[i].weight[:n] = 0, 1
        if new[-1].weight.shape[2:] == old[-1].weight.shape[2:]:
            new[-1].weight[:n], new[-1].bias[:] = old[-1].weight, old[-1].bias


def multiply_adds(net):
    """Return the multiply-adds per pixel of the small picture: each weight of a layer is used once a pixel."""
    return sum(layer.weight.numel() for layer in linear_layers(net))


def detail_of(net, luma):
    """Return the detail [s*h, s*w] of a whole picture's luma [h, w], whose edge pixels are repeated outwards."""
    with torch.inference_mode():
        padded = np.pad(luma, border_of(net), mode="edge")
        return net(torch.from_numpy(padded)[None, None])[0, 0].numpy()


def save(path, net, scale, about):
    """Write weights rounded to float16, and the description that a reader builds the network from."""
    tensors, layers = {}, []
    slopes = [layer.weight for layer in net if isinstance(layer, nn.PReLU)]
    for i, layer in enumerate(linear_layers(net)):
        tensors |= {f"{i}.weight": layer.weight, f"{i}.bias": layer.bias}
        layers.append({"op": "conv", "weight": f"{i}.weight", "bias": f"{i}.bias"})
        if isinstance(layer, nn.ConvTranspose2d):
            layers[i] |= {"op": "conv_transpose", "stride": layer.stride[0], "padding": layer.padding[0]}
        else:
            tensors[f"{i}.slopes"] = slopes[i]
            layers[i]["activation"] = ["prelu", f"{i}.slopes"]
    described = {"format": 1, "scale": scale, "input": "luma", "adds": "bicubic", "border": "edge", "layers": layers}
    path.parent.mkdir(parents=True, exist_ok=True)
    rounded = {name: tensor.detach().half().contiguous() for name, tensor in tensors.items()}
    with replacing(path) as part:
        save_file(rounded, part, {"tconv": json.dumps(described), "training": json.dumps(about)})


def load(path):
    """Return the network of a file that `save` wrote, its scale, and the description of its training."""
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name).float() for name in file.offset_keys()}
        described, about = (json.loads(file.metadata()[name]) for name in ("tconv", "training"))
    net = network(described["scale"], len(described["layers"]) - 2, tensors["0.bias"].numel())
    slopes = [layer for layer in net if isinstance(layer, nn.PReLU)]
    with torch.no_grad():
        for name, tensor in tensors.items():
            i, part = name.split(".")
            target = slopes[int(i)].weight if part == "slopes" else getattr(linear_layers(net)[int(i)], part)
            target.copy_(tensor)
    return net, described["scale"], about


# -- training --------------------------------------------------------------------------------------------------------


class Samples:
    """Patches of the training pictures; those of a step depend on the seed and the step alone."""

    def __init__(self, pairs, scale, border, patch, batch, seed):
        # A picture's own edges are seen as they will be at inference: repeated outwards.
        self.pairs = [(np.pad(luma, border, mode="edge"), detail) for luma, detail in pairs if min(luma.shape) >= patch]
        if not self.pairs:
            raise SystemExit(f"no picture has {patch} x {patch} small pixels. Write a smaller --patch")
        area = np.array([detail.size for _, detail in self.pairs])
        self.odds, self.scale, self.border = area / area.sum(), scale, border
        self.patch, self.batch, self.seed = patch, batch, seed

    def __call__(self, step, rank=0, world=1):
        """Return luma [n, 1, p + 2*border, ...] and detail [n, 1, s*p, ...] of this process's share of a batch."""
        rng = np.random.default_rng([self.seed, step])
        drawn = [self._draw(rng) for _ in range(self.batch)][rank::world]
        return tuple(torch.from_numpy(np.stack(side)[:, None].astype(np.float32)) for side in zip(*drawn, strict=True))

    def _draw(self, rng):
        """Return the one of two random patches with more detail: smooth ones, of which there are many, teach little."""
        luma, detail = max((self._patch(rng) for _ in range(2)), key=lambda pair: float(np.abs(pair[1]).mean()))
        turns, mirrored = rng.integers(4), rng.integers(2)
        return tuple(np.rot90(side[:, ::-1] if mirrored else side, turns) for side in (luma, detail))

    def _patch(self, rng):
        s, p, around = self.scale, self.patch, self.patch + 2 * self.border
        luma, detail = self.pairs[rng.choice(len(self.pairs), p=self.odds)]
        y, x = (rng.integers(n - around + 1) for n in luma.shape)
        patch = detail[s * y : s * (y + p), s * x : s * (x + p)]
        return luma[y : y + around, x : x + around], patch.astype(np.float32)


def validate(net, pairs, scale):
    """Return the mean gain in PSNR over bicubic interpolation, in dB, and the mean PSNR, of the validation pictures."""
    psnr = []
    for luma, detail in pairs:
        inner = np.s_[scale:-scale, scale:-scale]
        errors = detail[inner].astype(np.float32), (detail - detail_of(net, luma))[inner]
        psnr.append([-10 * math.log10(float(np.mean(error.astype(np.float64) ** 2))) for error in errors])
    before, after = np.mean(psnr, 0)
    return after - before, after


def rate(step, steps, highest):
    """Return the learning rate: a short rise, then half a cosine down to a hundredth."""
    rise = min(200, steps // 10 + 1)
    if step < rise:
        return highest * (step + 1) / rise
    return highest * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise))))


def loss_of(error, late):
    """Return Charbonnier's smooth absolute error, which outliers do not dominate; late, the square, as in PSNR."""
    return 100 * error.square().mean() if late else torch.sqrt(error.square() + 1e-6).mean()


class Run:
    """One training run in a folder: network, its moving average, optimiser, and the current step."""

    def __init__(self, options, rank=0, world=1):
        self.options, self.rank, self.world = options, rank, world
        torch.manual_seed(options.seed)
        self.net = network(options.scale, options.layers, options.channels).to(memory_format=torch.channels_last)
        self.last = options.folder / "last.pt"
        if options.start and not self.last.exists():
            self._start_from(options.start)
        decay = get_ema_multi_avg_fn(options.ema)
        self.mean = AveragedModel(self.net, multi_avg_fn=decay)
        self.optimiser = torch.optim.Adam(self.net.parameters(), options.lr)
        self.step, self.seconds = 0, 0.0
        self.ends = [[0, options.steps]]
        if self.last.exists():
            self._resume()

    def _start_from(self, path):
        """Start as the network of a weight file, or of another run, which may be smaller or of another scale."""
        if path.suffix == ".safetensors":
            return grow(self.net, load(path)[0])
        state = torch.load(path, weights_only=True)
        recipe = state["recipe"]
        small = network(recipe["scale"], recipe["layers"], recipe.get("channels", 12))
        small.load_state_dict({name[7:]: value for name, value in state["mean"].items() if name.startswith("module.")})
        return grow(self.net, small)

    def _resume(self):
        state = torch.load(self.last, weights_only=True)
        if state["recipe"] != self.recipe():
            raise SystemExit(
                f"{self.last} is of a run with {state['recipe']}; this one has {self.recipe()}. "
                "Write the same options, or another --folder"
            )
        for name in ("net", "mean", "optimiser"):
            getattr(self, name).load_state_dict(state[name])
        self.step, self.seconds, self.ends = state["step"], state["seconds"], state["ends"]
        if self.ends[-1][1] != self.options.steps:  # allowed, as time may be short, but recorded
            self.ends.append([self.step, self.options.steps])

    def recipe(self):
        """Return the options that determine the weights and must not change during the run."""
        names = ("scale", "layers", "channels", "batch", "patch", "lr", "ema", "late", "seed")
        return {name: getattr(self.options, name) for name in names}

    def checkpoint(self):
        state = {name: getattr(self, name).state_dict() for name in ("net", "mean", "optimiser")}
        state |= {"step": self.step, "seconds": self.seconds, "ends": self.ends, "recipe": self.recipe()}
        with replacing(self.last) as part:
            torch.save(state, part)

    def train(self, data):
        """Run all remaining steps; the moving average is the result."""
        o, net = self.options, self.net
        samples = Samples(data.training, o.scale, border_of(net), o.patch, o.batch, o.seed)
        if self.world > 1:
            net = DistributedDataParallel(net)
        forward = torch.compile(net) if o.compile else net
        columns = [TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}")]
        with Progress(*columns, TimeRemainingColumn(), disable=self.rank > 0) as bar:
            task = bar.add_task("training", total=o.steps, completed=self.step)
            began = time.monotonic()
            while self.step < o.steps:
                luma, detail = samples(self.step, self.rank, self.world)
                for group in self.optimiser.param_groups:
                    group["lr"] = rate(self.step, o.steps, o.lr)
                loss = loss_of(forward(luma) - detail, self.step >= o.late * o.steps)
                self.optimiser.zero_grad()
                loss.backward()
                self.optimiser.step()
                self.mean.update_parameters(self.net)
                self.step += 1
                bar.advance(task)
                if self.step % 20 == 0:
                    bar.update(task, description=f"loss {loss.item():.5f}")
                if self.step % o.every and self.step < o.steps:
                    continue
                self.seconds, began = self.seconds + time.monotonic() - began, time.monotonic()
                if self.rank == 0:
                    self.checkpoint()
                    gain, psnr = validate(self.mean.module, data.validation, o.scale)
                    bar.console.print(
                        f"step {self.step}, {self.seconds:.0f} s, loss {loss.item():.5f}: "
                        f"validation {psnr:.3f} dB, {gain:+.3f} dB on bicubic"
                    )


# -- scores ----------------------------------------------------------------------------------------------------------

METHODS = {name: Image.Resampling[name.upper()] for name in ("nearest", "bicubic", "lanczos")}
"""Pillow's filters that the network is compared with."""


def enlarge(net, small, scale):
    """Return the 8-bit picture enlarged: bicubic interpolation, and the same detail added to red, green and blue."""
    detail = detail_of(net, small @ LUMA)
    large = bicubic(np.moveaxis(small, -1, 0), scale) + 255 * detail
    return np.moveaxis(np.clip(np.rint(large), 0, 255).astype(np.uint8), 0, -1)


def scores(net, scale, packages):
    """Return {picture: {method: (PSNR, SSIM)}} of the held-out pictures."""
    table = {}
    for package in packages:
        for file in HELD_OUT[package]:
            large, small = shrink(read(path_of(package, file)), scale)
            size = large.shape[1::-1]
            pictures = {name: np.asarray(Image.fromarray(small).resize(size, how)) for name, how in METHODS.items()}
            pictures["network"] = enlarge(net, small, scale)
            table[Path(file).stem] = {name: measure(large, picture, scale) for name, picture in pictures.items()}
    table["mean"] = {name: tuple(np.mean([row[name] for row in table.values()], 0)) for name in (*METHODS, "network")}
    return table


def lines_of(table):
    """Return the scores as rows of a Markdown table: PSNR / SSIM."""
    names = [*METHODS, "network"]
    rows = [["picture", *names, "network - bicubic"], ["---", *["---:"] * (len(names) + 1)]]
    for picture, row in table.items():
        cells = [f"{row[name][0]:.2f} / {row[name][1]:.4f}" for name in names]
        rows.append([picture, *cells, f"{row['network'][0] - row['bicubic'][0]:+.2f} dB"])
    return ["| " + " | ".join(row) + " |" for row in rows]


def write_card(folder):
    """Measure every weight file of a folder and put the tables, and the list of pictures, into its README.md."""
    lines = []
    for path in sorted(folder.glob("photo_x*.safetensors")):
        net, scale, about = load(path)
        lines += [f"### `{path.name}`", "", *lines_of(scores(net, scale, HELD_OUT)), ""]
        cost = f"{multiply_adds(net)} multiply-adds per small pixel, {path.stat().st_size} bytes"
        lines += [f"{cost}; {about['words']}.", ""]
    pictures = ["| package | picture | author | licence |", "| --- | --- | --- | --- |"]
    for source in TRAINING:
        pictures += [f"| {source.package} | {file} | {source.author} | {source.licence} |" for file in source.files]
    card = folder / "README.md"
    text = card.read_text(encoding="utf-8")
    for name, block in {"scores": lines, "pictures": pictures}.items():
        before, rest = text.split(f"<!-- {name} -->\n")[0], text.split(f"<!-- end of {name} -->")[1]
        text = f"{before}<!-- {name} -->\n" + "\n".join(block).strip() + f"\n<!-- end of {name} -->{rest}"
    with replacing(card) as part:
        part.write_text(text, encoding="utf-8")


# -- the command line ------------------------------------------------------------------------------------------------


def options_of(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--scale", type=int, default=2, choices=[2, 3, 4], help="how many times larger (2)")
    add("--packages", type=Path, help="folder of unpacked Debian packages; without it only scikit-image's pictures")
    add("--folder", type=Path, help="folder of the cache and the checkpoint, where a run goes on (runs/x<scale>)")
    add("--start", type=Path, help="checkpoint of another run whose weights, as far as they fit, this one starts from")
    add("--out", type=Path, help="weight file to write (photo_x<scale>.safetensors in the run's folder)")
    add("--steps", type=int, default=16000, help="at which the learning rate has fallen to its end (16000)")
    add("--layers", type=int, default=12, help="3 x 3 convolutions between the first and the last layer (12)")
    add("--channels", type=int, default=12, help="of each layer but the last (12)")
    add("--batch", type=int, default=16, help="patches of a step, of all processes together (16)")
    add("--patch", type=int, default=48, help="their side, in small pixels (48)")
    add("--lr", type=float, default=2e-3, help="highest learning rate (0.002)")
    add("--ema", type=float, default=0.999, help="decay of the moving average of the weights (0.999)")
    add("--late", type=float, default=1.0, help="part of the steps after which the loss is the square (1: never)")
    add("--seed", type=int, default=0)
    add("--every", type=int, default=500, help="steps between checkpoints (500)")
    add("--threads", type=int, default=2, help="of each process (2)")
    add("--compile", action="store_true", help="let torch.compile fuse the layers: faster, after a minute")
    add("--quick", action="store_true", help="a tiny run on scikit-image's pictures that must beat bicubic by 0.3 dB")
    add("--card", action="store_true", help="only measure the weights of the package again and rewrite its model card")
    options = parser.parse_args(arguments)
    if options.quick:
        parser.set_defaults(**QUICK)
        options = parser.parse_args(arguments)
    options.folder = options.folder or Path(f"runs/x{options.scale}")
    return options


def main(arguments=None):
    """Train, write the weights, measure them."""
    options = options_of(arguments)
    torch.set_num_threads(options.threads)
    if options.card:
        return write_card(WEIGHTS)
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    if options.batch % world:
        raise SystemExit(f"{world} processes cannot share --batch {options.batch} evenly. Write --batch {16 * world}")
    if world > 1:
        torch.distributed.init_process_group("gloo")
    cache = options.folder / f"pairs_x{options.scale}.npz"
    if rank == 0:
        options.folder.mkdir(parents=True, exist_ok=True)
        data = Data(cache, options.scale, options.packages)
    if world > 1:
        torch.distributed.barrier()  # one process writes the cache, the others wait for it
    if rank:
        data = Data(cache, options.scale, options.packages)
    run = Run(options, rank, world)
    run.train(data)
    if world > 1:
        torch.distributed.destroy_process_group()
    if rank:
        return None
    out = options.out or options.folder / f"photo_x{options.scale}.safetensors"
    words = f"{run.step} steps of {options.batch} patches, {run.seconds / 60:.0f} minutes"
    save(out, run.mean.module, options.scale, {**run.recipe(), "ends": run.ends, "words": words})
    net, scale, _ = load(out)  # the written file is scored
    table = scores(net, scale, ["scikit-image"] if options.quick else HELD_OUT)
    print("\n".join(lines_of(table)))
    print(f"wrote {out}: {words}")
    gain = table["mean"]["network"][0] - table["mean"]["bicubic"][0]
    if options.quick and gain < QUICK_GAIN:
        print(f"the network is {gain:+.2f} dB from bicubic interpolation; at least {QUICK_GAIN:+.2f} dB is needed")
        return 1
    return None


if __name__ == "__main__":
    sys.exit(main())
