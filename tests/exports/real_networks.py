"""Small networks of MONAI and transformers as ONNX files, by both exporters: python real_networks.py FOLDER [NAME...].

Weights are random, from published configurations made narrow. Sizes are open where the network and the exporter allow it.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

warnings.simplefilter("ignore")


def monai(name: str, *args: Any, **kwargs: Any) -> Any:
    import monai.networks.nets as nets

    return getattr(nets, name)(*args, **kwargs)


def hugging(name: str, *args: Any, **kwargs: Any) -> Any:
    import transformers

    transformers.logging.set_verbosity_error()
    return getattr(transformers, name)(*args, **kwargs)


class MaskDecoder(torch.nn.Module):
    """SAM's mask decoder with the embeddings of a picture as its only input."""

    def __init__(self) -> None:
        super().__init__()
        self.decoder = hugging("SamModel", self.config()).mask_decoder
        self.register_buffer("prompt", torch.randn(1, 1, 2, 256))
        self.register_buffer("dense", torch.randn(1, 256, 16, 16))

    @staticmethod
    def config() -> Any:
        vision = hugging(
            "SamVisionConfig", hidden_size=32, num_hidden_layers=1, num_attention_heads=2, image_size=256, mlp_dim=32
        )
        return hugging("SamConfig", vision_config=vision.to_dict())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.decoder(x, self.dense, self.prompt, self.dense, multimask_output=True)[0]


PLANE = {"spatial_dims": 2, "in_channels": 1, "out_channels": 2}
WIDTHS = {"channels": (8, 16, 24), "strides": (2, 2)}
NETWORKS: dict[str, tuple[Callable[[], Any], tuple[int, ...], tuple[int, ...]]] = {
    "monai-unet": (lambda: monai("UNet", **PLANE, **WIDTHS), (1, 1, 32, 48), (2, 3)),
    "monai-unet-3d": (lambda: monai("UNet", **{**PLANE, "spatial_dims": 3}, **WIDTHS), (1, 1, 16, 24, 16), (2, 3, 4)),
    "monai-basic-unet": (
        lambda: monai("BasicUNet", **PLANE, features=(8, 8, 16, 16, 24, 8)),
        (1, 1, 32, 48),
        (2, 3),
    ),
    "monai-dynunet": (
        lambda: monai("DynUNet", 3, 1, 2, [3] * 3, [1, 2, 2], [2, 2], filters=(8, 12, 16)),
        (1, 1, 16, 24, 16),
        (2, 3, 4),
    ),
    "monai-segresnet": (
        lambda: monai("SegResNet", **PLANE, upsample_mode="deconv", init_filters=8, blocks_down=(1, 1), blocks_up=(1,)),
        (1, 1, 32, 48),
        (2, 3),
    ),
    "encodec": (
        lambda: hugging("EncodecModel", hugging("EncodecConfig", num_filters=4, hidden_size=32)).decoder,
        (1, 32, 24),
        (2,),
    ),
    "sam": (MaskDecoder, (1, 256, 16, 16), ()),
    "hifi-gan": (
        lambda: hugging("SpeechT5HifiGan", hugging("SpeechT5HifiGanConfig", upsample_initial_channel=32)),
        (1, 20, 80),
        (1,),
    ),
}
"""Networks, the shape of their input, and its axes that are open."""
FIXED = ("encodec",)
"""Networks that torch.export refuses with open sizes."""


def export(name: str, folder: Path) -> None:
    """Write both exports of a network; print those that its exporter refuses."""
    build, shape, axes = NETWORKS[name]
    torch.manual_seed(0)
    model, x = build().eval(), torch.randn(shape)
    names = {axis: f"size{number}" for number, axis in enumerate(axes)}
    for dynamo in (False, True):
        path = folder / f"{name}.{'dynamo' if dynamo else 'script'}.onnx"
        words: dict[str, Any] = {"input_names": ["x"], "output_names": ["y"]}
        if dynamo:
            sizes = dict.fromkeys(axes, torch.export.Dim.DYNAMIC)
            words |= {"external_data": False, "verbose": False, "opset_version": 18}
            if name not in FIXED:
                words["dynamic_shapes"] = (sizes,)
        else:
            words |= {"dynamic_axes": {"x": {0: "batch", **names}}, "opset_version": 17}
        try:
            with torch.no_grad():
                torch.onnx.export(model, (x,), path, dynamo=dynamo, **words)
        except Exception as error:
            print(f"refused by its exporter: {path.name}: {type(error).__name__}: {str(error)[:160]}")


if __name__ == "__main__":
    place = Path(sys.argv[1])
    place.mkdir(parents=True, exist_ok=True)
    for each in sys.argv[2:] or NETWORKS:
        export(each, place)
