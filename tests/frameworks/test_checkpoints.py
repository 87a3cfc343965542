"""Checkpoints of known architectures, built by spandrel with random weights: equal to PyTorch, or refused by name."""

from __future__ import annotations

import os
import re
import sys
import zipfile
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import real_models
import tconv.models
from tconv.errors import FileError, MissingExtraError
from tconv.models.readers import checkpoint, checkpoint_worker

pytestmark = pytest.mark.filterwarnings("ignore::Warning:torch")
TESTS = Path(__file__).parents[1]
TINY = {"num_feat": 8, "num_conv": 2}

RUN = {
    "ESRGAN x4": ("ESRGAN", "ESRGAN", {"num_filters": 16, "num_blocks": 2}, 4),
    "ESRGAN x2": ("ESRGAN", "ESRGAN", {"num_filters": 16, "num_blocks": 1, "scale": 2}, 2),
    "ESRGAN+": ("ESRGAN", "ESRGAN", {"num_filters": 16, "num_blocks": 1, "plus": True}, 4),
    "Real-ESRGAN x2plus": (
        "ESRGAN",
        "ESRGAN",
        {"in_nc": 12, "num_filters": 16, "num_blocks": 1, "scale": 4, "shuffle_factor": 2},
        2,
    ),
    "Compact x4": ("Compact", "Compact", {**TINY, "upscale": 4}, 4),
    "Compact of one channel": ("Compact", "Compact", {**TINY, "upscale": 2, "num_in_ch": 1, "num_out_ch": 1}, 2),
    "SPAN x4": ("SPAN", "SPAN", {"num_in_ch": 3, "num_out_ch": 3, "feature_channels": 8, "upscale": 4}, 4),
    "RealCUGAN x3 pro": ("RealCUGAN", "UpCunet3x", {"pro": True}, 3),
    "RealCUGAN x4": ("RealCUGAN", "UpCunet4x", {}, 4),
    "RealCUGAN x2 fast": ("RealCUGAN", "UpCunet2x_fast", {}, 2),
    "PLKSR": ("PLKSR", "PLKSR", {"dim": 16, "n_blocks": 1, "kernel_size": 9}, 4),
    "PLKSR of rectangles": (
        "PLKSR",
        "PLKSR",
        {"dim": 16, "n_blocks": 1, "kernel_size": 9, "lk_type": "RectSparsePLK"},
        4,
    ),
    "RealPLKSR": ("PLKSR", "RealPLKSR", {"dim": 16, "n_blocks": 1, "kernel_size": 9, "layer_norm": True}, 4),
    "RealPLKSR with normalization": ("PLKSR", "RealPLKSR", {"dim": 16, "n_blocks": 1, "kernel_size": 9}, 4),
    "RCAN": ("RCAN", "RCAN", {"n_feats": 16, "n_resblocks": 1, "n_resgroups": 1, "scale": 2}, 2),
    "MoSR": ("MoSR", "MoSR", {"n_block": 1, "dim": 16}, 4),
    "MoESR": ("MoESR", "MoESR", {"n_blocks": 1, "n_block": 1, "dim": 16}, 4),
    "SwiftSRGAN": ("SwiftSRGAN", "SwiftSRGAN", {"num_channels": 16, "num_blocks": 1, "upscale_factor": 2}, 2),
    "Compact x1": ("Compact", "Compact", {**TINY, "upscale": 1}, 1),
    "ESRGAN x1": ("ESRGAN", "ESRGAN", {"num_filters": 16, "num_blocks": 1, "scale": 1}, 1),
    "ESRGAN x1 on blocks": (
        "ESRGAN",
        "ESRGAN",
        {"in_nc": 48, "num_filters": 16, "num_blocks": 1, "scale": 4, "shuffle_factor": 4},
        1,
    ),
    "DnCNN": ("DnCNN", "DnCNN", {"in_nc": 3, "out_nc": 3, "nc": 8, "nb": 17}, 1),
    "DnCNN of one channel": ("DnCNN", "DnCNN", {"nc": 8, "nb": 17, "act_mode": "R"}, 1),
    "DRUNet": ("DRUNet", "DRUNet", {"in_nc": 4, "out_nc": 3, "nc": [8, 8, 16, 16], "nb": 2}, 1),
    "NAFNet": (
        "NAFNet",
        "NAFNet",
        {"width": 8, "middle_blk_num": 1, "enc_blk_nums": [1, 1], "dec_blk_nums": [1, 1]},
        1,
    ),
}
"""Networks that run: spandrel's module and class, arguments, and the scale."""

ATTENTION = "a network with attention over pixels (first in "
REFUSED = {
    "SwinIR": (
        "SwinIR",
        {"embed_dim": 12, "depths": [2], "num_heads": [2], "window_size": 8},
        ATTENTION,
    ),
    "OmniSR": ("OmniSR", {"num_feat": 16, "res_num": 1}, ATTENTION),
    "DAT": ("DAT", {"embed_dim": 32, "depth": [2], "num_heads": [2], "split_size": [2, 4]}, ATTENTION),
    "DITN": ("DITN", {"dim": 20, "ITL_blocks": 1, "SAL_blocks": 1}, ATTENTION + "UFONE.0.ITLs.0.attn, ISA)"),
    "SAFMN": (
        "SAFMN",
        {"dim": 16, "n_blocks": 1},
        "a network with maxima over fractions of the picture (first in feats.0.safm, SAFM)",
    ),
    "MixDehazeNet": (
        "MixDehazeNet",
        {"embed_dims": [8, 8, 8, 8, 8], "depths": [1, 1, 1, 1, 1]},
        "a network with choices among branches (first in fusion1, SKFusion)",
    ),
}
"""Networks that do not run: class, arguments, and what the message says."""


@pytest.fixture(autouse=True, scope="session")
def spandrel():
    """Package that is in no environment, and a stand-in for the torchvision that it imports."""
    sys.path += [str(real_models.folder("spandrel")), str(TESTS / "stand_ins")]
    return import_module("spandrel")


@pytest.fixture
def here(monkeypatch):
    """Export in this process, which has imported PyTorch and spandrel already."""
    monkeypatch.setattr(checkpoint, "exported", lambda path, folder: checkpoint_worker.facts(str(path), str(folder)))


def network(architecture, kind, words):
    torch.manual_seed(0)
    return getattr(import_module(f"spandrel.architectures.{architecture}"), kind)(**words).eval()


def compact(**words):
    return network("Compact", "Compact", {**TINY, "upscale": 2, **words}).state_dict()


@pytest.mark.parametrize("name", RUN)
def test_a_network_of_random_weights_equals_pytorch(name, spandrel, here, tmp_path):
    architecture, kind, words, scale = RUN[name]
    path = tmp_path / "4x_Random.pth"
    torch.save({"params_ema": network(architecture, kind, words).state_dict()}, path)
    model = tconv.models.load(path)
    assert model.scale == scale
    assert model.name.startswith("4x_Random.pth, ")
    descriptor = spandrel.ModelLoader().load_from_file(path)
    least = max(descriptor.size_requirements.minimum, 14)
    x = torch.rand((1, descriptor.input_channels, least + 9, least + 5))
    with torch.no_grad():
        # the whole call, which pads and clamps; and the module alone where it takes this size
        clamped = descriptor(x.clone()).numpy()  # spandrel 0.4.2 multiplies the input of RCAN in place
        bare = None if descriptor.size_requirements.multiple_of > 1 else descriptor.model(x.clone()).numpy()
    y = model.network(x.numpy())
    assert y.shape == clamped.shape == (1, descriptor.output_channels, scale * x.shape[2], scale * x.shape[3])
    assert np.abs(np.clip(y, 0, 1) - clamped).max() <= 1e-5 * max(1, np.ptp(y))
    if bare is not None:
        assert np.abs(y - bare).max() <= 1e-5 * np.ptp(bare)


@pytest.mark.parametrize("name", REFUSED)
def test_a_network_that_does_not_run_is_refused_by_name(name, here, tmp_path):
    kind, words, expected = REFUSED[name]
    path = tmp_path / "w.pth"
    torch.save(network(name, kind, words).state_dict(), path)
    with pytest.raises(FileError) as refusal:
        tconv.models.load(path)
    assert str(refusal.value).startswith(f"{path} is {name}, {expected}")


def test_a_network_that_reads_a_mask_is_refused(spandrel, here, tmp_path, monkeypatch):
    """LaMa with a module of nothing, because its own has 27 million weights."""

    class Nothing(torch.nn.Module):
        def __init__(self, **words):
            super().__init__()

        def load_state_dict(self, state):
            pass

    monkeypatch.setattr(import_module("spandrel.architectures.LaMa"), "LaMa", Nothing)
    path = tmp_path / "w.pth"
    names = ("1.bn_l.running_mean", "1.ffc.convl2l.weight", "2.weight")
    torch.save({f"model.model.{name}": torch.zeros(3, 4) for name in names}, path)
    with pytest.raises(
        FileError, match=r"w\.pth is LaMa, a network of inpainting that reads a picture and a mask; one with one"
    ):
        tconv.models.load(path)


def renamed(state, old):
    """Return the tensors of ESRGAN under the names of its newer code, or of Real-ESRGAN's."""
    first, block, trunk, up, high = (
        ("RRDB_trunk", "RDB", "trunk_conv", "upconv", "HRconv")
        if old
        else ("body", "rdb", "conv_body", "conv_up", "conv_hr")
    )
    made = {}
    for name, each in state.items():
        name = re.sub(r"^model\.1\.sub\.(\d+)\.RDB(\d)\.conv(\d)\.0\.", rf"{first}.\1.{block}\2.conv\3.", name)
        name = re.sub(r"^model\.1\.sub\.\d+\.", f"{trunk}.", name)
        for number, new in {0: "conv_first", 3: f"{up}1", 6: f"{up}2", 8: high, 10: "conv_last"}.items():
            name = re.sub(rf"^model\.{number}\.", f"{new}.", name)
        made[name] = each
    return made


def test_all_names_of_esrgan_are_known(here, tmp_path):
    state = network("ESRGAN", "ESRGAN", {"num_filters": 8, "num_blocks": 1}).state_dict()
    torch.save(state, tmp_path / "a.pth")
    torch.save({"params": renamed(state, old=True)}, tmp_path / "b.pth")
    torch.save({"params": renamed(state, old=False)}, tmp_path / "c.pth")
    x = np.random.default_rng(0).random((1, 3, 7, 9), np.float32)
    first, *others = (tconv.models.load(tmp_path / name).network(x) for name in ("a.pth", "b.pth", "c.pth"))
    assert all((first == each).all() for each in others)


def test_all_forms_of_a_checkpoint_are_the_same_network(here, tmp_path):
    state = {name: each.half().float() for name, each in compact().items()}
    forms = {
        "a.pth": state,
        "state_dict.ckpt": {"state_dict": {f"module.{name}": each for name, each in state.items()}, "epoch": 3},
        "half.pt": {"params_ema": {name: each.half() for name, each in state.items()}},
        "model.pth": {"model": dict(state)},
    }
    for name, content in forms.items():
        torch.save(content, tmp_path / name)
    torch.save(state, tmp_path / "OLD.PTH", _use_new_zipfile_serialization=False)
    save_file(state, tmp_path / "b.safetensors")
    x = np.random.default_rng(0).random((1, 3, 7, 9), np.float32)
    results = {name: tconv.models.load(tmp_path / name).network(x) for name in [*forms, "OLD.PTH", "b.safetensors"]}
    assert all((each == results["a.pth"]).all() for each in results.values()), results.keys()


class Harm:
    def __init__(self, place):
        self.place = place

    def __reduce__(self):
        return os.mkdir, (str(self.place),)


@pytest.mark.parametrize("new", [True, False], ids=["archive", "pickle"])
@pytest.mark.parametrize("place", ["beside", "within"])
def test_code_in_a_file_does_not_run(new, place, here, tmp_path):
    harm = Harm(tmp_path / "harm")
    content = {"params": compact(), "x": harm} if place == "beside" else {"params": {**compact(), "x": harm}}
    path = tmp_path / "w.pth"
    torch.save(content, path, _use_new_zipfile_serialization=new)
    with pytest.raises(FileError) as refusal:
        tconv.models.load(path)
    assert str(refusal.value).startswith(f"{path} refers to posix.mkdir, which is no tensor: loading it would run code")
    assert not (tmp_path / "harm").exists()


def changed(**words):
    return lambda: {**compact(), **words}


def without_bias():
    state = compact()
    del state["body.2.bias"]
    return state


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (lambda: torch.nn.Linear(2, 2), "refers to torch.nn.modules.linear.Linear, which is no tensor"),
        (lambda: [1, 2], "contains a list; a dictionary of tensors is needed"),
        (lambda: torch.ones(3), "contains a Tensor; a dictionary of tensors is needed"),
        (dict, "contains no tensors. Write"),
        (lambda: {"epoch": 3, "lr": 0.1}, "contains no tensors, but 'epoch', 'lr'. Write"),
        (
            torch.nn.Linear(2, 2).state_dict,
            "has 2 tensors ('weight', 'bias'), which fit none of the 42 architectures that spandrel knows. Write a checkpoint "
            "of one that runs (DRUNet, ",
        ),
        (
            changed(**{"body.2.weight": torch.ones(5, 8, 3, 3)}),
            "looks like RealESRGAN Compact, but its tensors do not fit it: 'body.2.weight' has the shape [5, 8, 3, 3]; "
            "[8, 8, 3, 3] is needed. Write",
        ),
        (without_bias, "do not fit it: it has no 'body.2.bias'. Write"),
        (changed(**{"body.2.weight": torch.full((8, 8, 3, 3), torch.nan)}), "has inf or NaN in 'body.2.weight'"),
        (changed(**{"body.2.weight": torch.ones(8, 8, 3, 3).to_sparse()}), "a torch.float32 tensor that is not dense"),
        (changed(**{"body.2.weight": torch.ones(1).expand(10**5, 10**5, 3, 3)}), "claims 90000"),
        (changed(**{"body.0.weight": torch.ones(8, 0, 3, 3)}), "do not fit it"),
    ],
)
def test_other_contents_are_refused(content, expected, here, tmp_path):
    path = tmp_path / "w.pth"
    torch.save(content(), path)
    with pytest.raises(FileError) as refusal:
        tconv.models.load(path)
    text = str(refusal.value)
    assert text.startswith(str(path))
    assert expected in text
    assert " Write " in text
    assert len(text.replace(str(tmp_path), "")) < 500


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "is no checkpoint: it is empty"),
        (b"<html>Not Found</html>", "is no checkpoint: it is no ZIP archive, and begins with '<html>Not Found</htm'"),
        (b"version https://git-lfs.github.com/spec/v1", "begins with 'version https://git-'"),
        ("half", "is no checkpoint: its archive is cut off or damaged"),
        (b"\x80\x02\x8a\x0al\xfc", "is not a checkpoint that PyTorch reads"),
    ],
)
def test_damaged_files_are_refused(content, expected, here, tmp_path):
    path = tmp_path / "w.pth"
    torch.save(compact(), path)
    path.write_bytes(path.read_bytes()[:3000] if content == "half" else content)
    with pytest.raises(FileError, match=re.escape(expected)):
        tconv.models.load(path)


def test_an_altered_weight_is_found_by_its_checksum(here, tmp_path):
    path = tmp_path / "w.pth"
    torch.save(compact(), path)
    with zipfile.ZipFile(path) as archive:
        member = max(archive.infolist(), key=lambda each: each.file_size)
        numbers = archive.read(member)
    content = bytearray(path.read_bytes())
    content[content.index(numbers) + len(numbers) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(FileError, match=rf"w\.pth is damaged: the checksum of {member.filename} in it does not fit"):
        tconv.models.load(path)


def test_torchscript_is_refused_with_the_line_that_makes_a_checkpoint(here, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    script = torch.jit.script(network("Compact", "Compact", {**TINY, "upscale": 2}).body[0])
    script.save("w.pt")
    with pytest.raises(FileError, match="is TorchScript, a program; a checkpoint of weights is needed") as refusal:
        tconv.models.load("w.pt")
    exec(str(refusal.value).partition("if you trust it: ")[2], {"torch": torch})
    assert set(torch.load("weights.pth")) == set(script.state_dict())


def test_safetensors_without_description_says_both_ways(here, tmp_path, monkeypatch):
    path = tmp_path / "w.safetensors"
    save_file({"a": torch.ones(3)}, path)
    with pytest.raises(FileError) as refusal:
        tconv.models.load(path)
    assert "has 1 tensors ('a'), which fit none of the 42 architectures" in str(refusal.value)
    assert "It has no description of its layers, either. Write one into the metadata" in str(refusal.value)
    monkeypatch.setattr(checkpoint, "_PACKAGES", ("no_such_package",))
    with pytest.raises(FileError) as refusal:
        tconv.models.load(path)
    assert "has no description of its layers. Write one into the metadata under 'tconv', or into w.json" in str(
        refusal.value
    )
    assert str(refusal.value).endswith('Write: pip install "tconv[spandrel]"')


def test_missing_packages_are_named(tmp_path, monkeypatch):
    path = tmp_path / "w.pth"
    torch.save(compact(), path)
    monkeypatch.setattr(checkpoint, "_PACKAGES", ("no_such_package",))
    with pytest.raises(
        MissingExtraError, match=r'a checkpoint such as w.pth needs .* Write: pip install "tconv\[spandrel\]"'
    ):
        tconv.models.load(path)


@pytest.mark.parametrize(
    "content", ["raise RuntimeError('operator torchvision::nms does not exist')", "import no_such_part"]
)
def test_a_torchvision_that_does_not_fit_is_named(content, tmp_path, monkeypatch):
    path = tmp_path / "w.pth"
    torch.save(compact(), path)
    (tmp_path / "torchvision.py").write_text(content)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    if "RuntimeError" in content:
        expected = (
            "spandrel cannot be imported: RuntimeError: operator torchvision::nms does not exist. Install a torchvision"
        )
        with pytest.raises(FileError, match=expected):
            tconv.models.load(path)
    else:
        with pytest.raises(MissingExtraError, match="needs no_such_part, which is not installed"):
            tconv.models.load(path)


def test_a_load_ends_in_time(tmp_path, monkeypatch):
    path = tmp_path / "w.pth"
    torch.save(compact(), path)
    monkeypatch.setattr(checkpoint, "_SECONDS", 0.01)
    with pytest.raises(FileError, match=r"was not read by PyTorch within 0\.01 seconds"):
        tconv.models.load(path)


def test_another_network_than_pytorchs_is_refused(here, tmp_path, monkeypatch):
    """As a step that computes something else would make it."""
    path = tmp_path / "w.pth"
    torch.save(compact(), path)
    whole = tconv.models.Network.__call__
    monkeypatch.setattr(tconv.models.Network, "__call__", lambda self, x: whole(self, x) * 1.01)
    with pytest.raises(
        FileError, match=r"what tconv computes for a picture of \(\d+, \d+\) differs from PyTorch's result by"
    ):
        tconv.models.load(path)


def test_a_checkpoint_from_a_forum_is_typed_as_it_is_named(run, spandrel, tmp_path, monkeypatch):
    """The command, in the process that it starts; the file has the name of a well-known one, and random weights."""
    Image = pytest.importorskip("PIL.Image")
    monkeypatch.chdir(tmp_path)
    state = network("ESRGAN", "ESRGAN", {"num_filters": 8, "num_blocks": 1}).state_dict()
    state["model.10.bias"] = torch.full((3,), 0.5)
    torch.save(state, "4x_foolhardy_Remacri.pth")
    pixels = np.random.default_rng(0).integers(0, 256, (11, 13, 3), np.uint8)
    Image.fromarray(pixels).save("photo.png")
    code, printed, errors = run("photo.png", "--weights", "4x_foolhardy_Remacri.pth", "-o", "large.png")
    assert code == 0, errors
    assert "4x_foolhardy_Remacri.pth, ESRGAN" in printed + errors
    made = np.asarray(Image.open("large.png"))
    x = torch.from_numpy(pixels.transpose(2, 0, 1)[None].astype(np.float32) / 255)
    with torch.no_grad():
        wanted = (
            spandrel.ModelLoader().load_from_file("4x_foolhardy_Remacri.pth")(x)[0].numpy().transpose(1, 2, 0) * 255
        )
    assert made.shape == (44, 52, 3)
    assert np.abs(made - wanted).max() <= 0.51
