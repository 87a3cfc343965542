"""The network of super_resolution.py: its layers, how one starts as another, and its weight files."""

from __future__ import annotations

import json
import pickle

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialized
from shared_parts.report import replacing
from torch import nn

import tconv.torch


def network(scale, layers, channels=12, conv=nn.Conv2d):
    """Return a network from [N, 1, h, w] to [N, 1, s*(h - 2*border), s*(w - 2*border)], with border = layers + 3.

    Every layer is "valid". The last layer starts at zero, which is bicubic interpolation, and a kernel of three strides
    that starts there has no preferred phase, hence no checkerboard. The layers between start near the identity: from
    PyTorch's own start a network this deep and this narrow learns nothing at first.
    """
    body = []
    for _ in range(layers):
        layer = conv(channels, channels, 3)
        with torch.no_grad():
            layer.weight.mul_(0.5)
            layer.weight[:, :, 1, 1] += torch.eye(channels)
        body += [layer, nn.PReLU(channels)]
    tail = tconv.torch.ConvTranspose2d(channels, 1, 3 * scale, scale, 2 * scale)
    nn.init.zeros_(tail.weight)
    nn.init.zeros_(tail.bias)
    return nn.Sequential(conv(1, channels, 5), nn.PReLU(channels), *body, tail)


def prepared(recipe, compiled):
    """Return a network as it is trained: of tconv's layers, or of PyTorch's with channels last where it is compiled."""
    sizes = recipe["scale"], recipe["layers"], recipe["channels"]
    return network(*sizes).to(memory_format=torch.channels_last) if compiled else network(*sizes, tconv.torch.Conv2d)


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
        part.write_bytes(serialized(rounded, {"tconv": json.dumps(described), "training": json.dumps(about)}))


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


def start_of(path):
    """Return the network of a weight file, or of the checkpoint of another run: the mean of its weights."""
    try:
        if path.suffix == ".safetensors":
            return load(path)[0]
        state = torch.load(path, weights_only=True)
        recipe, mean = state["recipe"], state["parts"]["mean"]
        net = network(recipe["scale"], recipe["layers"], recipe["channels"])
        net.load_state_dict({name.removeprefix("module."): mean[name] for name in mean if name != "n_averaged"})
    except (OSError, EOFError, RuntimeError, LookupError, TypeError, pickle.UnpicklingError, SafetensorError) as error:
        reason = str(error).strip().split("\n")[0][:120]
        raise SystemExit(
            f"{path} is no network of this example, or damaged ({reason}). "
            "Write --start with a last.pt or a .safetensors file that it wrote"
        ) from None
    return net
