"""TorchScript archives of a few bytes that ask for any memory or time: refused. PyTorch is not needed to read them."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path

import pytest

from tconv.errors import FileError
from tconv.models.inventory import inventory_of

MODEL = b"\x80\x02c__torch__\nM\n)\x81}%sb."
FORWARD = "class M(Module):\n  def forward(self, x: Tensor) -> Tensor:\n"


def archive(path: Path, code: str, data: bytes = MODEL % b"", compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr("m/data.pkl", data)
        file.writestr("m/constants.pkl", b"\x80\x02).")
        file.writestr("m/version", "3\n")
        file.writestr("m/code/__torch__.py", code)
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.pt"


def shared(depth: int) -> list:
    """A list of two to the power of `depth` numbers, of which few are stored."""
    made: list = [1.0]
    for _ in range(depth):
        made = [made, made]
    return made


def test_a_plain_archive(path):
    assert inventory_of(archive(path, FORWARD + "    return x\n")).layers == ()


def test_lists_that_share_their_parts(path):
    lines = "".join(f"    {name}{n} = [{name}{n - 1}, {name}{n - 1}]\n" for n in range(1, 60) for name in "ab")
    code = FORWARD + "    a0 = [1]\n    b0 = [1]\n" + lines + "    c = torch.eq(a59, b59)\n    return x\n"
    with pytest.raises(FileError, match="its code reads more than"):
        inventory_of(archive(path, code))


def test_an_attribute_that_shares_its_parts(path):
    data = MODEL % (b"(X\x01\0\0\0a" + pickle.dumps(shared(60), 2)[2:-1] + b"u")
    with pytest.raises(FileError, match="its code reads more than"):
        inventory_of(archive(path, FORWARD + "    a = self.a\n    return x\n", data))


def test_many_names_in_many_branches(path):
    names = "".join(f"    n{number} = 1\n" for number in range(9000))
    branches = "    if q:\n      p = 1\n    else:\n      p = 2\n" * 5000
    code = FORWARD + names + "    q = torch.size(x, 0)\n" + branches + "    return x\n"
    with pytest.raises(FileError, match="its code reads more than"):
        inventory_of(archive(path, code))


def test_code_of_many_signs(path):
    with pytest.raises(FileError, match="signs and lines of code"):
        inventory_of(archive(path, FORWARD + "    return x\n" + "a=1\n" * 500_000))


def test_many_classes(path):
    names = b"".join(b"ca\n%d\n0" % number for number in range(20_000))
    with pytest.raises(FileError, match="names more than 10000 classes"):
        inventory_of(archive(path, FORWARD, b"\x80\x02" + names + b"N."))


def test_scales_that_are_no_number(path):
    storage = b"(X\7\0\0\0storagectorch\nQInt8Storage\nX\1\0\0\x000X\3\0\0\0cpuK\1tQ"
    scheme = b"(ctorch\nper_tensor_affine\n" + pickle.dumps(shared(60), 2)[2:-1] + b"K\0t"
    data = b"\x80\x02ctorch._utils\n_rebuild_qtensor\n(" + storage + b"K\0))" + scheme + b"tR."
    with pytest.raises(FileError, match="is damaged"):
        inventory_of(archive(path, FORWARD, data))


def test_a_pickle_that_inflates(path):
    archive(path, FORWARD, b"\x80\x02]" + b"0]" * (20 << 20) + b".", zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 1 << 17
    with pytest.raises(FileError, match="at most 16777216 are read"):
        inventory_of(path)
