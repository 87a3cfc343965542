"""Process that turns a checkpoint into an ONNX file: `python -P checkpoint_worker.py CHECKPOINT FOLDER`.

The `spandrel` package names the architecture and builds the module, PyTorch's exporter writes its graph for pictures of
any size. FOLDER gets network.onnx, pictures with PyTorch's own results to compare with, and facts.json; or facts.json
with an error alone. Only tensors are loaded: no code of the file runs. It imports nothing of tconv.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

MOST_MEMORY, MOST_SECONDS = 24 << 30, 300
_OPSET = 17
_MANY = 5

_ATTENTION = (
    "attention over pixels",
    "att|msa|lca|^kb",
    "a step for attention: matrix products and a softmax over many pixels",
)
_WITH_ATTENTION = (
    *("ATD", "AuraSR", "CRAFT", "DAT", "DCTLSA", "DITN", "DRCT", "FDAT", "FFTformer", "GRL", "HAT", "HVICIDNet", "IPT"),
    *("KBNet", "OmniSR", "RestoreFormer", "RetinexFormer", "RGT", "SCUNet", "Swin2SR", "SwinIR", "Uformer"),
)
_MIXTURE = (
    "choices among branches",
    "moe|router|gate|^skfusion",
    "a step that chooses among branches by a picture's content",
)
_POOLED = "maxima over fractions of the picture", "safm", "a step for adaptive pooling, which reads the whole picture"
_LATENT = "a generator of faces of one size", "", "a network that takes pictures of any size"
_REFUSED = {
    **dict.fromkeys(_WITH_ATTENTION, _ATTENTION),
    **dict.fromkeys(("SAFMN", "SAFMNBCIE"), _POOLED),
    **dict.fromkeys(("MixDehazeNet", "SeemoRe"), _MIXTURE),
    "GFPGAN": _LATENT,
}
"""Architectures that do not run: what they have, the name of its modules, and what would have to be there."""

_PLACES = "samples at places that it computes", "^DySample", "a step for sampling at any place"
_REFUSED_MODULES = (_PLACES,)
"""Modules that do not run, in whichever architecture: the same, with the name of their class."""

_PADDED = {"FBCNN": (8, "replicate")}
"""Multiples to which modules pad pictures by themselves, and how; a trace would keep those of one size."""


class RefusedError(Exception):
    """A checkpoint that is not read; its text is for the user."""


class UnknownError(RefusedError):
    """A checkpoint of an unknown architecture."""


def _tensors(path: str) -> Any:
    """Return what a checkpoint contains, without running code of it."""
    import torch

    if path.lower().endswith(".safetensors"):
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(path)
        except SafetensorError as error:
            raise RefusedError(
                f"is not a safetensors file: {_line(error)}. Write the name of an undamaged one"
            ) from None
    import pickle

    try:
        return _loaded(torch, path)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        text = str(error)
        if "TorchScript" in text:
            raise RefusedError(
                "is TorchScript, a program; a checkpoint of weights is needed. Write, once, if you trust it: "
                f"torch.save(torch.jit.load({os.path.basename(path)!r}).state_dict(), 'weights.pth')"
            ) from None
        if name := _forbidden(text):
            raise RefusedError(
                f"refers to {name}, which is no tensor: loading it would run code of the file. A checkpoint of tensors "
                "alone is needed. Write torch.save(model.state_dict(), 'weights.pth') where the model is, or use a "
                ".safetensors file"
            ) from None
        raise RefusedError(
            f"is not a checkpoint that PyTorch reads: {_line(error)}. Write the name of a file that torch.save or "
            "safetensors wrote"
        ) from None


def _loaded(torch: Any, path: str) -> Any:
    """Return torch.load's result; files of before PyTorch 1.6 cannot be mapped into memory."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except RuntimeError as error:
        if "mmap" not in str(error):
            raise
        return torch.load(path, map_location="cpu", weights_only=True)


def _forbidden(text: str) -> str:
    """Return the name of a class or function that PyTorch's restricted unpickler refused, from its message."""
    for mark in ("Unsupported global: GLOBAL ", "Unsupported class ", "Trying to load unsupported GLOBAL "):
        if mark in text:
            return text.split(mark)[1].split()[0].rstrip(".,")
    return "an object" if "Unsupported operand" in text or "Can only " in text else ""


def _line(error: BaseException) -> str:
    """Return the first line of an error that says something, shortened; a heading is left out."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = [line for line in lines if not line.endswith(":")] or lines or [type(error).__name__]
    return said[0][:200].rstrip(".")


def _state_dict(path: str) -> dict[str, Any]:
    """Return the tensors of a checkpoint by name, floats as float32, without what training wrapped around them."""
    import torch
    from spandrel import canonicalize_state_dict

    given = _tensors(path)
    if not isinstance(given, dict):
        raise RefusedError(
            f"contains a {type(given).__name__}; a dictionary of tensors is needed. Write "
            "torch.save(model.state_dict(), 'weights.pth')"
        )
    found = canonicalize_state_dict(given)
    tensors = {name: each for name, each in found.items() if isinstance(each, torch.Tensor)}
    others = [name for name in found if name not in tensors]
    if not tensors:
        raise RefusedError(
            f"contains no tensors{', but ' if others else ''}{_some(others)}. Write the name of a checkpoint: a "
            "dictionary of tensors, or one under params, params_ema, state_dict, model or net"
        )
    numbers = 0
    for name, each in tensors.items():
        if each.layout != torch.strided or each.is_quantized or each.is_meta or each.is_complex():
            raise RefusedError(f"contains {name!r}, a {each.dtype} tensor that is not dense. Write dense floats")
        numbers += each.numel()
    if numbers > 4 * os.path.getsize(path) + (1 << 20):  # views of few numbers that repeat them
        raise RefusedError(f"has {os.path.getsize(path)} bytes and claims {numbers} numbers. Write an undamaged file")
    made = {
        name: each.float().contiguous() if each.is_floating_point() else each.contiguous()
        for name, each in tensors.items()
    }
    if bad := next((name for name, each in made.items() if not torch.isfinite(each).all()), None):
        raise RefusedError(f"has inf or NaN in {bad!r}; finite numbers are needed. Write an undamaged file")
    return made


def _some(names: list[str]) -> str:
    """Return the first of many names, and how many there are."""
    more = f" and {len(names) - _MANY} more" if len(names) > _MANY else ""
    return ", ".join(repr(str(name)[:60]) for name in names[:_MANY]) + more


def _descriptor(state: dict[str, Any]) -> Any:
    """Return spandrel's model of these tensors."""
    from spandrel import MAIN_REGISTRY, MaskedImageModelDescriptor

    supports = MAIN_REGISTRY.architectures("detection")
    support = next((each for each in supports if each.detect(state)), None)
    if support is None:
        names = (each.architecture.name for each in supports if each.architecture.id not in {*_REFUSED, "LaMa"})
        known = ", ".join(sorted(names))
        raise UnknownError(
            f"has {len(state)} tensors ({_some(list(state))}), which fit none of the {len(supports)} "
            f"architectures that spandrel knows. Write a checkpoint of one that runs ({known}), or an ONNX file"
        )
    name = support.architecture.name
    try:
        model = support.architecture.load(state)
    except Exception as error:  # each architecture has its own
        raise RefusedError(
            f"looks like {name}, but its tensors do not fit it: {_misfit(error)}. Write a "
            "checkpoint that its training wrote, or export the network to ONNX"
        ) from None
    if isinstance(model, MaskedImageModelDescriptor):
        raise RefusedError(
            f"is {name}, a network of {model.purpose.lower()} that reads a picture and a mask; one with one input is "
            "needed. Use it with a program that draws masks"
        )
    reasons = [(*each, _place(model.model, each[1])) for each in _REFUSED_MODULES]
    reasons = [each for each in reasons if each[-1]]
    if model.size_requirements.square or support.architecture.id in _REFUSED:
        reason = _REFUSED.get(support.architecture.id, _LATENT)
        reasons.insert(0, (*reason, _place(model.model, reason[1])))
    for what, _, needed, place in reasons:
        raise RefusedError(
            f"is {name}, a network with {what}{place}; tconv would need {needed}. Write a checkpoint of convolutions: "
            "ESRGAN, Compact or SPAN, for example"
        )
    return model


def _misfit(error: Exception) -> str:
    """Return the first tensor that a module does not take, and why, from the error of PyTorch."""
    import re

    text, sizes = str(error), r"torch\.Size\(\[([\d, ]*)\]\)"
    if found := re.search(rf"size mismatch for (\S+): .*?{sizes}.*?{sizes}", text):
        return f"{found[1]!r} has the shape [{found[2]}]; [{found[3]}] is needed"
    if found := re.search(r'(Missing|Unexpected) key\(s\) in state_dict: ((?:"[^"]*"(?:, )?)+)', text):
        names = _some(re.findall(r'"([^"]*)"', found[2]))
        return f"it has no {names}" if found[1] == "Missing" else f"it has {names}, for which there is no layer"
    return f"{type(error).__name__}: {_line(error)}"


def _place(module: Any, pattern: str) -> str:
    """Return the first submodule with such a name, for a message."""
    import re

    for name, each in module.named_modules():
        kind = type(each).__name__
        if pattern and name and re.search(pattern, f"{kind} {name.rpartition('.')[2]}", re.IGNORECASE):
            return f" (first in {name}, {kind})"
    return ""


# -- the graph ---------------------------------------------------------------------------------------------------


def _forward(descriptor: Any) -> Callable[[Any], Any]:
    """Return the function of a picture: padded at the right and bottom to a size that the network takes, and cropped.

    This is the call of spandrel's descriptor without its clamp to 0..1, for pictures of any size.
    """
    import torch

    run = getattr(descriptor, "_call_fn", None) or (lambda module, image: module(image))
    scale = descriptor.scale
    multiple, mode = _PADDED.get(descriptor.architecture.id, (descriptor.size_requirements.multiple_of, "reflect"))

    def forward(image: Any) -> Any:
        height, width = image.shape[-2:]
        if multiple > 1:
            amounts = (0, (multiple - width % multiple) % multiple, 0, (multiple - height % multiple) % multiple)
            image = torch.nn.functional.pad(image, amounts, mode)
        result = run(descriptor.model, image)
        return result[..., : height * scale, : width * scale] if multiple > 1 else result

    return forward


def _simplified(module: Any) -> None:
    """Give a module's unusual operations the form of usual ones, with the same results.

    Numbers that are assigned in place to a range of channels become a concatenation, which these modules use while they
    are trained. Channels that are repeated become a convolution of one tap per group.
    """
    import torch

    for each in module.modules():
        if type(each).__name__ in ("PLKConv2d", "RectSparsePLKConv2d"):
            each.forward = functools.partial(_as_in_training, each)
        for name, value in list(vars(each).items()):
            if isinstance(value, functools.partial) and value.func is torch.repeat_interleave:
                setattr(each, name, functools.partial(_repeated, **value.keywords))


def _as_in_training(module: Any, image: Any) -> Any:
    module.training = True
    result = type(module).forward(module, image)
    module.training = False
    return result


def _repeated(image: Any, repeats: int, dim: int) -> Any:
    import torch

    if dim != 1:
        return torch.repeat_interleave(image, repeats, dim)
    channels = image.shape[1]
    ones = torch.ones(int(channels) * repeats, 1, 1, 1)
    return torch.nn.functional.conv2d(image, ones, groups=int(channels))


def _primes(least: int) -> Iterator[int]:
    """Yield primes from a number on: sizes that no padding to a multiple leaves as they are."""
    number = least
    while True:
        if number > 1 and all(number % other for other in range(2, int(number**0.5) + 1)):
            yield number
        number += 1


def _export(descriptor: Any, folder: str) -> None:
    """Write the network and two pictures with PyTorch's own results."""
    import numpy as np
    import torch

    descriptor.model.eval()
    forward = _forward(descriptor)
    primes = _primes(max(descriptor.size_requirements.minimum, 16) + 1)
    height, width, *others = (next(primes) for _ in range(4))
    even = -(-(height + 4) // 16) * 16
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for number, shape in enumerate([(others[1], others[0]), (even, even + 16)]):
            picture = torch.rand((1, descriptor.input_channels, *shape), generator=generator)
            result = forward(picture.clone())
            called = result.clamp(0, 1) if number else descriptor(picture.clone())
            if result.shape != called.shape or not torch.allclose(result.clamp(0, 1), called, atol=1e-4):
                raise RefusedError(
                    f"is {descriptor.architecture.name}, whose results spandrel changes in a way that is not known. "
                    "Write an ONNX file of the network"
                )
            np.save(os.path.join(folder, f"picture{number}.npy"), picture.numpy())
            np.save(os.path.join(folder, f"result{number}.npy"), result.numpy())
        _simplified(descriptor.model)
        example = torch.rand((1, descriptor.input_channels, height, width), generator=generator)
        torch.onnx.export(
            _module(torch, forward, descriptor.model),
            (example,),
            os.path.join(folder, "network.onnx"),
            dynamo=False,
            opset_version=_OPSET,
            input_names=["picture"],
            output_names=["result"],
            dynamic_axes={"picture": {2: "height", 3: "width"}, "result": {2: "tall", 3: "wide"}},
        )


def _module(torch: Any, forward: Callable[[Any], Any], network: Any) -> Any:
    class Exported(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.network = network
            self.training = False

        def forward(self, image: Any) -> Any:
            return forward(image)

    return Exported()


# -- the process -------------------------------------------------------------------------------------------------


def facts(path: str, folder: str) -> dict[str, Any]:
    """Write the network into the folder and return what is known of it, or why there is none."""
    try:
        import spandrel  # noqa: F401
    except ModuleNotFoundError as error:
        return {"missing": str(error.name).partition(".")[0]}
    except Exception as error:  # a torchvision for another PyTorch raises a RuntimeError
        return {"import": f"{type(error).__name__}: {_line(error)}"}
    try:
        descriptor = _descriptor(_state_dict(path))
    except RefusedError as refusal:
        return {"error": str(refusal), "known": not isinstance(refusal, UnknownError)}
    name = descriptor.architecture.name
    try:
        _export(descriptor, folder)
    except RefusedError as refusal:
        return {"error": str(refusal)}
    except Exception as error:
        text = f"{type(error).__name__}: {_line(error)}"
        return {
            "error": f"is {name}, which PyTorch does not run, or not write as ONNX: {text}. Write an ONNX file of the "
            "network"
        }
    return {
        "architecture": name,
        "tags": [str(tag) for tag in descriptor.tags],
        "purpose": str(descriptor.purpose),
        "scale": int(descriptor.scale),
        "channels": [int(descriptor.input_channels), int(descriptor.output_channels)],
    }


def main() -> None:
    """Write the files into the folder."""
    path, folder = sys.argv[1:]
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource  # not on Windows

        resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
        resource.setrlimit(resource.RLIMIT_CPU, (MOST_SECONDS, MOST_SECONDS))
    found = facts(path, folder)
    with open(os.path.join(folder, "facts.json"), "w", encoding="utf-8") as file:
        json.dump(found, file)


if __name__ == "__main__":
    main()
