"""`tconv.torch.accelerate` on 22 networks of MONAI and transformers: what it expects, and what is measured afterwards.

    python benchmarks/accelerated_models.py [-o FILE] [--seconds 6] [--models vnet sam ...] [--formats default last]

Each network is built three times from a configuration, with the same random weights: as it is, accelerated, and as it
is once more. The three run in turns, each after an untimed pass of its own, in an order that changes; each row has the
median of the ratios of neighbours:

- expected: what `accelerate` printed, from passes of its own;
- gain: the time of the first copy divided by that of the accelerated one, with its 95% interval;
- control: the time of the first copy divided by that of the third, which would be 1 if all memory were alike;
- layers: how many of the transposed convolutions run on tconv's kernel; the others are left to PyTorch.

The process runs with glibc's settings `HEAP`, so that it keeps freed memory. By default it gives some of it back, and
the next pass pays for it with page faults: none to a thousand per pass of the same model, by what was allocated before,
which moved the time of an unchanged copy by up to 40% (`--default-heap` keeps that).

A network passes if the gain is at least 0.99, and the expectation within 3% of it. Sizes are those of a small task: a
pass takes 1 to 80 ms on two cores, and all of it takes 10 minutes. The three audio networks have one memory format.

Measured with torch==2.13.0 (CPU build), monai==1.6.1, transformers==5.24.0, which `pip install -e ".[test]"` installs.
On a machine that does other work, give it the cores: `chrt --fifo 1 python benchmarks/accelerated_models.py`.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch

import tconv.torch
from tconv.acceleration.paired_timing import Estimate, median_interval

LEAST_GAIN, ALLOWED = 0.99, 0.03
FORMATS = ("default", "last")
_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


# -- the networks --------------------------------------------------------------------------------------------------


def monai(name: str, *args: Any, **kwargs: Any) -> Any:
    """Build a network of MONAI."""
    import monai.networks.nets as nets

    return getattr(nets, name)(*args, **kwargs)


def hugging(name: str, *args: Any, **kwargs: Any) -> Any:
    """Build a class of transformers."""
    import transformers

    transformers.logging.set_verbosity_error()
    return getattr(transformers, name)(*args, **kwargs)


PLANE = {"spatial_dims": 2, "in_channels": 1, "out_channels": 2}
VOLUME = {**PLANE, "spatial_dims": 3}
SMALL_VIT = {"hidden_size": 96, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 192}
NECK = {"neck_hidden_sizes": [24, 48, 96, 96], "fusion_hidden_size": 32}
STAGES = {"out_features": ["stage1", "stage2", "stage3", "stage4"], "reshape_hidden_states": False}


def _sam(kind: str, **decoder: Any) -> Any:
    vision = hugging(
        f"{kind}VisionConfig",
        hidden_size=96, num_hidden_layers=2, num_attention_heads=4, image_size=256, global_attn_indexes=[1],
        window_size=8, mlp_dim=192,
    )  # fmt: skip
    parts = {
        "vision_config": vision.to_dict(),
        "mask_decoder_config": hugging(f"{kind}MaskDecoderConfig", **decoder).to_dict(),
        "prompt_encoder_config": hugging(f"{kind}PromptEncoderConfig", image_size=256).to_dict(),
    }
    return hugging(f"{kind}Model", hugging(f"{kind}Config", **parts))


def _point() -> dict[str, Any]:
    return {"pixel_values": torch.randn(1, 3, 256, 256), "input_points": torch.tensor([[[[50.0, 60.0]]]])}


def _beit(kind: str) -> Any:
    config = hugging(f"{kind}Config", **SMALL_VIT, image_size=96, patch_size=16, out_indices=[0, 1, 2, 3], num_labels=5)
    return hugging(f"{kind}ForSemanticSegmentation", config)


def _depth_anything() -> Any:
    backbone = hugging("Dinov2Config", **SMALL_VIT, image_size=112, patch_size=14, **STAGES)
    config = hugging(
        "DepthAnythingConfig", backbone_config=backbone, reassemble_hidden_size=96, head_hidden_size=16, **NECK
    )
    return hugging("DepthAnythingForDepthEstimation", config)


def _dpt() -> Any:
    sizes = {"image_size": 96, "patch_size": 16, "backbone_out_indices": [0, 1, 2, 3], "is_hybrid": False}
    return hugging("DPTForDepthEstimation", hugging("DPTConfig", **SMALL_VIT, **sizes, **NECK))


def _vitpose() -> Any:
    sizes = {"image_size": [128, 96], "hidden_size": 192, "num_hidden_layers": 4, "num_attention_heads": 4}
    backbone = hugging("VitPoseBackboneConfig", **sizes, out_features=["stage4"])
    return hugging(
        "VitPoseForPoseEstimation", hugging("VitPoseConfig", backbone_config=backbone, use_simple_decoder=False)
    )


def _clipseg() -> Any:
    text = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    config = hugging(
        "CLIPSegConfig",
        vision_config={**SMALL_VIT, "image_size": 96, "patch_size": 16},
        text_config={**text, "vocab_size": 99},
        projection_dim=64, extract_layers=[0, 1, 2], use_complex_transposed_convolution=True, reduce_dim=32,
    )  # fmt: skip
    return hugging("CLIPSegForImageSegmentation", config)


def _random(*shape: int) -> Callable[[], Any]:
    return lambda: torch.randn(*shape)


WIDTHS = {"channels": (16, 32, 64, 128), "strides": (2, 2, 2)}
Builder = tuple[Callable[[], Any], Callable[[], Any]]
NETWORKS: dict[str, Builder] = {
    "unet": (lambda: monai("UNet", **PLANE, **WIDTHS), _random(1, 1, 96, 96)),
    "unet-3d": (lambda: monai("UNet", **VOLUME, **WIDTHS), _random(1, 1, 48, 48, 48)),
    "basic-unet": (lambda: monai("BasicUNet", **PLANE), _random(1, 1, 96, 96)),
    "basic-unet++": (lambda: monai("BasicUNetPlusPlus", **PLANE), _random(1, 1, 64, 64)),
    "attention-unet": (lambda: monai("AttentionUnet", **PLANE, **WIDTHS), _random(1, 1, 96, 96)),
    "flexible-unet": (
        lambda: monai("FlexibleUNet", 3, 2, "efficientnet-b0", pretrained=False, upsample="deconv"),
        _random(1, 3, 64, 64),
    ),
    "dynunet": (
        lambda: monai("DynUNet", 3, 1, 2, [3] * 4, [1, 2, 2, 2], [2, 2, 2], filters=(16, 32, 64, 128)),
        _random(1, 1, 32, 32, 32),
    ),
    "vnet": (lambda: monai("VNet", **VOLUME), _random(1, 1, 32, 32, 32)),
    "segresnet": (lambda: monai("SegResNet", **PLANE, upsample_mode="deconv"), _random(1, 1, 96, 96)),
    "autoencoder": (lambda: monai("AutoEncoder", 2, 1, 1, (16, 32, 64), (2, 2, 2)), _random(1, 1, 96, 96)),
    "mednext": (
        lambda: monai("MedNeXt", spatial_dims=2, init_filters=16, in_channels=1, out_channels=2),
        _random(1, 1, 64, 64),
    ),
    "sam": (lambda: _sam("Sam"), _point),
    "sam-hq": (lambda: _sam("SamHQ", vit_dim=96), _point),
    "dpt": (_dpt, _random(1, 3, 96, 96)),
    "depth-anything": (_depth_anything, _random(1, 3, 112, 112)),
    "vitpose": (_vitpose, _random(1, 3, 128, 96)),
    "beit": (lambda: _beit("Beit"), _random(1, 3, 96, 96)),
    "data2vec": (lambda: _beit("Data2VecVision"), _random(1, 3, 96, 96)),
    "clipseg": (
        _clipseg,
        lambda: {"pixel_values": torch.randn(1, 3, 96, 96), "conditional_embeddings": torch.randn(1, 64)},
    ),
    "encodec": (
        lambda: hugging("EncodecModel", hugging("EncodecConfig", num_filters=16)).decoder,
        _random(1, 128, 75),
    ),
    "dac": (
        lambda: hugging(
            "DacModel", hugging("DacConfig", encoder_hidden_size=16, decoder_hidden_size=256)
        ).decoder,
        _random(1, 256, 40),
    ),
    "hifi-gan": (
        lambda: hugging("SpeechT5HifiGan", hugging("SpeechT5HifiGanConfig", upsample_initial_channel=128)),
        _random(40, 80),
    ),
}  # fmt: skip
HEAP = {"MALLOC_TRIM_THRESHOLD_": "4000000000", "MALLOC_MMAP_THRESHOLD_": "4000000000", "MALLOC_TOP_PAD_": "200000000"}
AUDIO = ("encodec", "dac", "hifi-gan")


# -- measurement ---------------------------------------------------------------------------------------------------


def in_format(value: Any, format: str) -> Any:
    """Return a tensor, or a dict of tensors, in a memory format."""
    if isinstance(value, dict):
        return {name: in_format(tensor, format) for name, tensor in value.items()}
    last = _LAST.get(value.dim()) if format == "last" else None
    return value if last is None else value.contiguous(memory_format=last)


def build(name: str, format: str) -> Any:
    """Build a network with the same weights each time."""
    torch.manual_seed(0)
    model = NETWORKS[name][0]().eval()
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data = in_format(tensor.data, format)
    return model


def ratios(copies: dict[str, Any], x: Any, seconds: float) -> dict[str, list[float]]:
    """Run the copies in turns; return the times of "stock" divided by those of the others, round by round."""

    def timed(model: Any) -> float:
        start = time.perf_counter()
        model(**x) if isinstance(x, dict) else model(x)
        return time.perf_counter() - start

    found: dict[str, list[float]] = {name: [] for name in copies if name != "stock"}
    names = list(copies)
    for name in names * 2:
        timed(copies[name])
    begun, short = time.perf_counter(), False
    for number in range(600):
        order = names[number % 3 :] + names[: number % 3]
        order = order[::-1] if number // 3 % 2 else order
        spent = {}
        for name in order:
            if short:  # a model in use finds in the caches what its own last pass has left
                timed(copies[name])
            spent[name] = timed(copies[name])
        short = max(spent.values()) < 0.05
        for name, values in found.items():
            values.append(spent["stock"] / spent[name])
        if number >= 5 and time.perf_counter() - begun > seconds:
            break
    return found


def row(name: str, format: str, seconds: float) -> tuple[bool, str]:
    """Measure a network in a format; return True if it passes, and the line of the table."""
    stock, ours, same = (build(name, format) for _ in range(3))
    torch.manual_seed(1)
    x = in_format(NETWORKS[name][1](), format)
    begun = time.perf_counter()
    report = tconv.torch.accelerate(ours, x)
    took = time.perf_counter() - begun
    with torch.no_grad():
        found = ratios({"stock": stock, "ours": ours, "same": same}, x, seconds)
    gain, control = (median_interval(found[side]) for side in ("ours", "same"))
    kept = sum(layer.method != "pytorch" for layer in report.layers)
    expected = report.expected or 1.0
    passed = gain.value >= LEAST_GAIN and abs(expected / gain.value - 1) <= ALLOWED
    cells = (
        f"{name:<15}", f"{format:<7}", f"{1e3 * (report.seconds or 0):8.2f}", f"{expected:8.3f}", f"{gain.value:6.3f}",
        _interval(gain), f"{control.value:7.3f}", _interval(control), f"{kept}/{len(report.layers)}".rjust(6),
        f"{took:7.1f}", "" if passed else "FAILED",
    )  # fmt: skip
    return passed, "  ".join(cells).rstrip()


def _interval(estimate: Estimate) -> str:
    return f"{estimate.low:.3f}..{estimate.high:.3f}"


def main() -> int:
    """Measure all; exit code 1 if a network fails."""
    parser = argparse.ArgumentParser(description="accelerate on networks of MONAI and transformers")
    parser.add_argument("-o", "--output", help="file for the table")
    parser.add_argument("--seconds", type=float, default=6.0, help="of the comparison of each row")
    parser.add_argument("--models", nargs="*", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--formats", nargs="*", default=list(FORMATS), choices=FORMATS)
    parser.add_argument("--default-heap", action="store_true", help="let glibc give freed memory back")
    given = parser.parse_args()
    if not given.default_heap and any(os.environ.get(name) != value for name, value in HEAP.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **HEAP})  # it reads them at its start
    warnings.simplefilter("ignore")
    lines: list[str] = []

    def say(line: str) -> None:
        print(line, flush=True)
        lines.append(line)

    versions = f"torch {torch.__version__}, tconv {tconv.__version__}, Python {platform.python_version()}"
    say(f"{versions}, {os.cpu_count()} cores, load before {os.getloadavg()[0]:.2f}")
    columns = "ms  expected    gain  95%           control  95%           layers  seconds"
    say(f"{'network':<15}  {'format':<7}  {columns:>{len(columns) + 6}}")
    results = []
    for name in given.models:
        for format in given.formats:
            if format == "default" or name not in AUDIO:
                passed, line = row(name, format, given.seconds)
                results.append(passed)
                say(line)
    say(f"{sum(results)} of {len(results)} pass: gain at least {LEAST_GAIN}, expectation within {100 * ALLOWED:.0f}%")
    if given.output:
        with open(given.output, "x") as file:
            file.write("\n".join(lines) + "\n")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
