"""Files of PyTorch that are not read, in a process of its own: the reason, and a line that saves one that is read."""

from __future__ import annotations

import pytest
import torch

from tconv.errors import FileError
from tconv.models.traces.torch_file import open_network


@pytest.fixture(autouse=True)
def gradients():
    """Turn gradients on again: `open_network` turns them off in its process, which is this one here."""
    with torch.enable_grad():
        yield


@pytest.mark.parametrize("ending", [".pth", ".pt", ".pt2"])
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("a module", "it was pickled by torch.save"),
        ("a state dict", "it was pickled by torch.save"),
        ("an old state dict", "it was pickled by torch.save"),
        ("half a file", "its archive is cut off or damaged"),
        (b"<html>Not Found</html>", "it is no ZIP archive"),
        (b"version https://git-lfs.github.com/spec/v1", "it is no ZIP archive"),
        (b"", "it is empty"),
    ],
)
def test_a_file_of_pytorch_that_is_not_read_says_why(content, reason, ending, tmp_path):
    """PyTorch's own words, in several lines, are that the checkpoint is corrupted."""
    path, layer = tmp_path / f"up{ending}", torch.nn.ConvTranspose2d(2, 3, 4)
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content == "half a file":
        torch.jit.script(layer).save(path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    else:
        old = content == "an old state dict"
        torch.save(layer if content == "a module" else layer.state_dict(), path, _use_new_zipfile_serialization=not old)
    with pytest.raises(FileError) as refusal:
        open_network(path, "")
    text = str(refusal.value)
    assert f"is neither TorchScript nor an exported program: {reason}. Pickled modules are not read" in text
    assert len(text.replace(str(tmp_path), "")) < 250
    saving = text.partition(" Write ")[2].replace("'up", f"'{tmp_path}/up")
    before = path.read_bytes()
    exec(saving, {"torch": torch, "model": layer, "x": torch.ones(1, 2, 3, 3)})
    assert path.read_bytes() == before  # perhaps the only copy of the weights
    (saved,) = set(tmp_path.iterdir()) - {path}
    assert open_network(saved, "").inputs
