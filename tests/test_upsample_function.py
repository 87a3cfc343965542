"""`tconv.upsample`: the command's bits for arrays, paths and lists, and refusals that name what to write."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

import tconv
from tconv.errors import (
    ArgumentError,
    ArrayError,
    DtypeError,
    FileError,
    MissingExtraError,
    ShapeError,
    TconvError,
    TooLargeError,
)
from tconv.io.picture_reading import open_picture
from tconv.upsampling import torch_comparison


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """Every test in a directory of its own, without PyTorch's times."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch_comparison, "times", lambda model, pixels: None)
    return tmp_path


def noise(*shape, dtype="u1", seed=0):
    rng = np.random.default_rng(seed)
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        return rng.random(shape).astype(dtype)
    low, high = (0, 2) if dtype.kind == "b" else (np.iinfo(dtype).min, int(np.iinfo(dtype).max) + 1)
    if dtype.itemsize == 8:
        return np.frombuffer(rng.bytes(8 * int(np.prod(shape))), dtype).reshape(shape)
    return rng.integers(low, high, shape).astype(dtype)


def write_tiff(path, x):
    """Write [H, W] or [H, W, C] as the command reads it: opacity last, if there are 2 or 4 channels."""
    channels = x.shape[2] if x.ndim == 3 else 1
    alpha = {"extrasamples": ["unassalpha"]} if channels in (2, 4) else {}
    x = x[..., 0] if channels == 1 and x.ndim == 3 else x
    tifffile.imwrite(path, x, photometric="rgb" if channels >= 3 else "minisblack", planarconfig="contig", **alpha)


def written(path):
    """The pixels [H, W, C] of a file."""
    return np.moveaxis(open_picture(Path(path)).read(), 0, 2)


# -- the command's bits ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options", [{}, {"kernel": "bicubic"}, {"kernel": "lanczos", "scale": 3}, {"scale": 5}], ids=str
)
@pytest.mark.parametrize("channels", [None, 1, 2, 3, 4])
@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
def test_an_array_becomes_what_the_command_writes(run, channels, dtype, options):
    x = noise(9, 11, *([] if channels is None else [channels]), dtype=dtype)
    write_tiff("a.tif", x)
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    assert run("a.tif", *words, "-o", "b.tif")[0] == 0
    y = tconv.upsample(x, **options)
    scale = options.get("scale", 2)
    assert (y.dtype, y.shape) == (x.dtype, (9 * scale, 11 * scale, *x.shape[2:]))
    assert y.flags.c_contiguous
    np.testing.assert_array_equal(y.reshape(9 * scale, 11 * scale, -1), written("b.tif"))
    from_file = tconv.upsample("a.tif", **options)
    assert (from_file.dtype, from_file.ndim) == (x.dtype, 3)
    np.testing.assert_array_equal(from_file, written("b.tif"))


@pytest.mark.parametrize("dtype", ["i1", "i2", "i4", "u4"])
def test_other_integers_become_what_the_command_writes(run, dtype):
    x = noise(7, 8, 3, dtype=dtype)
    write_tiff("a.tif", x)
    kernel = "lanczos" if dtype in ("i4", "u4") else None
    assert run("a.tif", "-o", "b.tif", *(["--kernel", kernel] if kernel else []))[0] == 0
    np.testing.assert_array_equal(tconv.upsample(x, kernel=kernel), written("b.tif"))


@pytest.mark.parametrize("dtype", ["i4", "u4"])
def test_a_network_refuses_wide_integers_in_files(run, dtype):
    write_tiff("a.tif", noise(7, 8, 3, dtype=dtype))
    name = np.dtype(dtype).name
    text = f"a.tif has samples of {name}, whose white is unknown to a network; 8 and 16 bits, and floats from 0 to 1, are usual. "
    code, out, err = run("a.tif")
    assert (code, out) == (1, "")
    assert err == f"tconv: {text}Write --kernel bicubic, or save the picture with 8 or 16 bits\n"
    with pytest.raises(DtypeError) as caught:
        tconv.upsample("a.tif")
    assert str(caught.value) == f'{text}Write kernel="bicubic", or save the picture with 8 or 16 bits'
    Image.fromarray(X).save("b.png")
    code, _, err = run("a.tif", "b.png", "-o", "out/")
    assert (code, os.listdir("out")) == (1, ["b_x2.png"])
    assert text in err


@pytest.mark.parametrize("dtype", ["f2", "f8", "?", "i8", "u8"])
def test_dtypes_that_no_picture_has(dtype):
    """They are computed as the feature maps of a .npy file are."""
    x = noise(6, 5, 3, dtype=dtype)
    np.save("a.npy", np.moveaxis(x, 2, 0))
    expected = np.moveaxis(tconv.upsample("a.npy"), 0, 2)
    y = tconv.upsample(x, kernel="bicubic")
    assert y.dtype == x.dtype
    np.testing.assert_array_equal(y, expected)
    if dtype in ("f2", "f8"):
        near = tconv.upsample(x.astype("f4"))
        assert (tconv.upsample(x).dtype, np.abs(tconv.upsample(x) - near).max() < 2e-3) == (x.dtype, True)


def test_memory_order_does_not_matter():
    x = noise(12, 10, 3)
    expected = tconv.upsample(x)
    for other in (
        np.asfortranarray(x),
        np.repeat(x, 2, 0)[::2],
        x[::-1][::-1],
        np.moveaxis(np.moveaxis(x, 2, 0).copy(), 0, 2),
    ):
        np.testing.assert_array_equal(tconv.upsample(other), expected)
    swapped = noise(5, 4, dtype="f4").astype(">f4")
    y = tconv.upsample(swapped)
    assert y.dtype == swapped.dtype
    np.testing.assert_array_equal(y, tconv.upsample(swapped.astype("f4")))


def test_the_input_is_left_alone():
    x = noise(6, 5, 4)
    before = x.copy()
    x.flags.writeable = False
    tconv.upsample(x)
    np.testing.assert_array_equal(x, before)


def test_alpha_is_what_the_caller_says():
    x = noise(6, 5, 4)
    np.testing.assert_array_equal(tconv.upsample(x, kernel="bicubic"), tconv.upsample(x, kernel="bicubic", alpha=True))
    planes = tconv.upsample(x, kernel="bicubic", alpha=False)
    for channel in range(4):
        np.testing.assert_array_equal(planes[..., channel], tconv.upsample(x[..., channel], kernel="bicubic"))
    five = noise(6, 5, 5)
    np.testing.assert_array_equal(
        tconv.upsample(five, kernel="bicubic")[..., 4], tconv.upsample(five[..., 4], kernel="bicubic")
    )


def test_infinite_and_missing_values_spread():
    x = noise(30, 30, dtype="f4")
    x[4, 4], x[20, 9] = np.nan, np.inf
    y = tconv.upsample(x, kernel="bilinear")
    assert np.isnan(y[8, 8])
    assert np.isfinite(y[0, 0])
    assert 4 <= np.isnan(y).sum() <= 40
    assert not np.isfinite(tconv.upsample(x)[8, 8])


def test_kernels_and_weights_of_ones_own():
    taps = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 16
    np.save("w.npy", taps)
    x = noise(6, 5, 3)
    np.testing.assert_array_equal(tconv.upsample(x, kernel=taps), tconv.upsample(x, kernel="w.npy"))
    np.testing.assert_array_equal(tconv.upsample(x, kernel=Path("w.npy")), tconv.upsample(x, kernel="w.npy"))
    grey = np.full((3, 1, 2, 2), 1 / 3)
    assert tconv.upsample(x, kernel=grey).shape == (12, 10, 1)
    assert tconv.upsample(x[..., 0], kernel=np.ones((1, 3, 2, 2))).shape == (12, 10, 3)
    model = tconv.models.photo(3)
    np.testing.assert_array_equal(tconv.upsample(x, weights=model), tconv.upsample(x, 3))
    assert tconv.upsample(x, 6, weights=model).shape == (36, 30, 3)


def test_feature_files_come_back_as_they_are_written(run):
    maps = noise(2, 3, 5, 4, dtype="f4")
    np.save("a.npy", maps)
    np.savez("b.npz", one=maps, two=maps[0, 0])
    assert run("a.npy", "-o", "c.npy")[0] == run("b.npz", "-o", "d.npz")[0] == 0
    np.testing.assert_array_equal(tconv.upsample("a.npy"), np.load("c.npy"))
    result = tconv.upsample("b.npz")
    assert list(result) == ["one", "two"]
    with np.load("d.npz") as expected:
        for key in result:
            np.testing.assert_array_equal(result[key], expected[key])


# -- lists, folders and outputs ----------------------------------------------------------------------------------


def three_pictures():
    """A folder with three pictures, and a text beside them."""
    os.mkdir("in")
    for n in range(3):
        Image.fromarray(noise(6, 5, 3, seed=n)).save(f"in/{n}.png")
    Path("in/notes.txt").write_text("no picture")
    return [noise(6, 5, 3, seed=n) for n in range(3)]


def test_lists_give_lists():
    arrays = three_pictures()
    expected = [tconv.upsample(x) for x in arrays]
    for given in (
        arrays,
        tuple(arrays),
        ["in/0.png", "in/1.png", Path("in/2.png")],
        "in",
        ["in"],
        [arrays[0], "in/1.png", arrays[2]],
    ):
        results = tconv.upsample(given)
        assert type(results) is list
        for result, each in zip(results, expected, strict=True):
            np.testing.assert_array_equal(result, each)
    assert [y.ndim for y in tconv.upsample([arrays[0], arrays[1][..., 0]])] == [3, 2]


def test_an_output_file():
    (x, *_) = three_pictures()
    assert tconv.upsample("in/0.png", output="large.png") == Path("large.png")
    assert tconv.upsample(x, output=Path("array.png")) == Path("array.png")
    assert Path("large.png").read_bytes() == Path("array.png").read_bytes()
    np.testing.assert_array_equal(written("large.png"), tconv.upsample(x))
    with pytest.raises(
        FileError, match=r"large\.png exists, and nothing is overwritten\. Choose another name, or overwrite=True"
    ):
        tconv.upsample("in/0.png", output="large.png")
    assert tconv.upsample("in/1.png", output="large.png", overwrite=True) == Path("large.png")
    np.testing.assert_array_equal(written("large.png"), tconv.upsample("in/1.png"))
    np.save("a.npy", np.ones((2, 2)))
    assert tconv.upsample("a.npy", output="b.npy") == Path("b.npy")


def test_an_output_folder():
    three_pictures()
    assert tconv.upsample("in", output="out") == [Path(f"out/{n}_x2.png") for n in range(3)]
    assert tconv.upsample(["in/0.png", "in/2.png"], 3, output="out/") == [Path("out/0_x3.png"), Path("out/2_x3.png")]
    assert tconv.upsample("in/0.png", 4, output="out") == Path("out/0_x4.png")
    assert tconv.upsample("in/0.png", output="new/") == Path("new/0_x2.png")
    assert sorted(os.listdir("out")) == ["0_x2.png", "0_x3.png", "0_x4.png", "1_x2.png", "2_x2.png", "2_x3.png"]
    np.testing.assert_array_equal(written("out/1_x2.png"), tconv.upsample("in/1.png"))
    assert tconv.upsample(["in/0.png", "in/../in/0.png"], 5, output="out") == [Path("out/0_x5.png")]


def test_a_broken_file_does_not_stop_the_others():
    three_pictures()
    Path("in/1.png").write_bytes(Path("in/1.png").read_bytes()[:60])
    with pytest.raises(FileError) as caught:
        tconv.upsample("in", output="out")
    assert str(caught.value).startswith("1 of 3 inputs failed; 2 files were written. in/1.png is damaged")
    assert sorted(os.listdir("out")) == ["0_x2.png", "2_x2.png"]
    with pytest.raises(FileError, match=r"in/1\.png is damaged"):
        tconv.upsample("in")


# -- other libraries ---------------------------------------------------------------------------------------------


def test_tensors_of_pytorch(python):
    python(
        "import torch, numpy as np, tconv\n"
        "x = torch.randint(0, 256, (6, 5, 3), dtype=torch.uint8)\n"
        "y = tconv.upsample(x)\n"
        "assert isinstance(y, torch.Tensor) and y.dtype is torch.uint8\n"
        "assert np.array_equal(y.numpy(), tconv.upsample(x.numpy()))\n"
        "assert isinstance(tconv.upsample([x, x])[1], torch.Tensor)\n"
        "def refused(image, advice):\n"
        "    try: tconv.upsample(image)\n"
        "    except tconv.errors.TconvError as error: assert advice in str(error), error\n"
        "    else: raise AssertionError\n"
        "for dtype in (torch.int32, torch.int64):\n"
        "    refused(x.to(dtype), 'Write image.to(torch.uint8) for values from 0 to 255')\n"
        "    assert torch.equal(tconv.upsample(x.to(dtype), kernel='nearest').to(torch.uint8), tconv.upsample(x, kernel='nearest'))\n"
        "refused(x.permute(2, 0, 1), 'Write image.permute(1, 2, 0)')\n"
        "refused(x.permute(2, 0, 1)[None], 'Write tconv.upsample(list(image.permute(0, 2, 3, 1))) for')\n"
        "refused(torch.zeros(4), 'torch.zeros((20, 30, 3), dtype=torch.uint8)')\n"
        "z = torch.rand(4, 4, requires_grad=True)\n"
        "try: tconv.upsample(z)\n"
        "except tconv.errors.ArrayError as error: assert 'requires gradients' in str(error)\n"
        "else: raise AssertionError\n"
    )


def test_arrays_need_nothing_but_the_package_itself(python):
    """No command line, no pictures' library and no framework, and no package is imported before it is needed."""
    python(
        "import sys\n"
        "for name in ('cyclopts', 'rich', 'pyvips', 'PIL', 'torch', 'onnx', 'matplotlib', 'scipy'): sys.modules[name] = None\n"
        "import numpy as np, tconv\n"
        "assert 'safetensors' not in sys.modules and 'tconv.upsampling' not in sys.modules\n"
        "assert tconv.upsample(np.zeros((4, 5, 3), np.uint8)).shape == (8, 10, 3)\n"
        "try: tconv.upsample('a.png')\n"
        "except tconv.errors.MissingExtraError as error: assert 'pip install \"tconv[cli]\"' in str(error)\n"
        "else: raise AssertionError\n"
    )


def test_a_home_folder_is_found(here, monkeypatch):
    monkeypatch.setenv("HOME", str(here))
    Image.fromarray(noise(5, 6, 3)).save("a.png")
    np.save("w.npy", np.ones((2, 2)))
    os.mkdir("below")
    monkeypatch.chdir("below")
    assert tconv.upsample("~/a.png", output="~/b.png") == here / "b.png"
    assert tconv.upsample(["~/a.png"], kernel="~/w.npy")[0].shape == (10, 12, 3)
    with pytest.raises(FileError, match=rf"^{here}/none\.onnx does not exist"):
        tconv.upsample("~/a.png", weights="~/none.onnx")
    assert os.listdir() == []


@pytest.mark.parametrize(
    ("top", "text"),
    [
        (255.0, "values up to 255; white is 1 for floats. Divide by 255"),
        (65535.0, "values up to 65535; white is 1 for floats. Divide by 65535"),
        (1e6, "values up to 1e+06; white is 1 for floats. Divide by 1e+06"),
    ],
)
def test_floats_far_above_white_are_a_warning(top, text, run):
    x = noise(6, 5, 3, dtype="f4")
    x[2, 2, 1], x[0, 0, 0] = top, np.nan
    write_tiff("a.tif", x)
    calls = [
        lambda: tconv.upsample(x),
        lambda: tconv.upsample([x]),
        lambda: tconv.upsample(x, output="b.tif"),
        lambda: tconv.upsample("a.tif"),
        lambda: tconv.upsample(["a.tif"], output="out"),
    ]
    for call in calls:
        with pytest.warns(UserWarning, match="^values up to") as caught:
            call()
        assert [str(warning.message) for warning in caught] == [text]
        assert caught[0].filename == __file__
    assert f"\nnote      {text}\n" in run("a.tif", "-o", "c.tif")[1]
    assert f"; {text}\n" in run("a.tif", "-o", "many/", "b.tif")[1]


def test_decibels_and_heights_for_a_network(run):
    """Floats far below black are a warning, and the white of signed integers is named."""
    x = -40 + 28 * np.random.default_rng(0).random((6, 5), np.float32)
    x[0, 0], x[1, 1] = np.nan, -33.25
    x[x < -33.25] = -33.25
    text = "values down to -33.25; for a network 0 is black and 1 white. Interpolate them by bicubic instead"
    with pytest.warns(UserWarning, match="^values down to") as caught:
        tconv.upsample(x)
    assert [str(warning.message) for warning in caught] == [text]
    tifffile.imwrite("a.tif", x, photometric="minisblack")
    assert f"\nnote      {text}\n" in run("a.tif", "-o", "b.tif")[1]
    assert "note" not in run("a.tif", "-o", "c.tif", "--kernel", "bicubic")[1]
    for least in (-4.0, -0.5):  # no warning
        tconv.upsample(np.clip(x, least, 1))
    tifffile.imwrite("heights.tif", np.int16([[400, 500], [600, -70]]), photometric="minisblack")
    assert "32767 is taken for white" in run("heights.tif", "-o", "d.tif")[1]
    assert "white" not in run("heights.tif", "-o", "e.tif", "--kernel", "bicubic")[1]


def test_floats_near_white_are_no_warning(recwarn):
    x = noise(6, 5, 3, dtype="f4")
    for image in (x, 4 * x, np.where(x > 0.9, np.nan, x), np.where(x > 0.9, np.inf, x)):
        tconv.upsample(image)
    tconv.upsample(255 * x, kernel="bicubic")
    tconv.upsample(noise(6, 5, 3))
    assert not [warning for warning in recwarn if warning.category is UserWarning]


# -- refusals ----------------------------------------------------------------------------------------------------

X = np.zeros((4, 5, 3), np.uint8)


@pytest.mark.parametrize(
    ("image", "options", "kind", "message"),
    [
        (X[None], {}, ShapeError, "image has shape (1, 4, 5, 3); [H, W] or [H, W, C] is needed. Write tconv.upsample(list(image)) for several images [N, H, W, C]"),
        (np.zeros((1, 3, 40, 50), "u1"), {}, ShapeError, "image has shape (1, 3, 40, 50); [H, W] or [H, W, C] is needed. Write tconv.upsample(list(np.moveaxis(image, 1, -1))) for several images [N, C, H, W]"),
        (np.zeros((1, 40, 50, 3), "u1"), {}, ShapeError, "image has shape (1, 40, 50, 3); [H, W] or [H, W, C] is needed. Write tconv.upsample(list(image)) for several images [N, H, W, C]"),
        (np.zeros(4, "u1"), {}, ShapeError, "image has shape (4,); [H, W] or [H, W, C] is needed, with at least 1 row, column and channel. Write an array such as np.zeros((20, 30, 3), np.uint8)"),
        (np.zeros((0, 5, 3), "u1"), {}, ShapeError, "image has shape (0, 5, 3); [H, W] or [H, W, C] is needed, with at least 1 row"),
        (np.zeros((4, 5, 0), "u1"), {}, ShapeError, "image has shape (4, 5, 0); [H, W]"),
        (np.zeros((3, 40, 50), "u1"), {}, ShapeError, "image has shape (3, 40, 50), which looks like [C, H, W]; channels last are needed, [H, W, C]. Write np.moveaxis(image, 0, -1)"),
        (np.zeros((8, 9, 5), "u1"), {}, ShapeError, 'the picture has 5 channels; 1 (grey) or 3 (red, green, blue), and opacity, are needed. Use a picture of those, or interpolate: kernel="bicubic"'),
        (X, {"alpha": False, "kernel": np.ones((2, 1, 2, 2))}, ShapeError, "kernel has 2 input channels, [C_in, C_out, kh, kw], and the image has 3. Write weights [3, 1, 2, 2], or one [kh, kw] for all channels"),
        (X[..., 0], {"alpha": True}, ShapeError, "image has shape (4, 5) and alpha=True; opacity needs a channel besides the colours. Write alpha=None"),
        (X.astype(complex), {}, DtypeError, "image has dtype complex128; integers, floats or booleans are needed. Write [image.real, image.imag], two images"),
        (np.array(["a", "b"]), {}, DtypeError, "image is an array of text; an array of numbers, or a list of paths, is needed. Write list(image)"),
        (np.array([["a", "b"]]), {}, DtypeError, "image is an array of text; an array of numbers, or a list of paths, is needed. Write list(image.flat)"),
        (np.array([b"a"]), {}, DtypeError, "image is an array of text; an array of numbers, or a list of paths, is needed. Write list(image.astype(str))"),
        ((name for name in ["a.png"]), {}, ArgumentError, "image is a generator; an array [H, W] or [H, W, C], a path, or a list of these is needed. Write list(image)"),
        ({"a.png"}, {}, ArgumentError, "image is a set; an array [H, W] or [H, W, C], a path, or a list of these is needed. Write list(image)"),
        (np.array([[None]]), {}, DtypeError, "image has dtype object; integers"),
        (X.astype(int), {}, DtypeError, "image has dtype int64, whose white is unknown to a network; 8 and 16 bits, and floats from 0 to 1, are usual. Write image.astype(np.uint8) for values from 0 to 255"),
        (X.astype("i4"), {}, DtypeError, "image has dtype int32, whose white is unknown to a network"),
        (X.astype("u4"), {"model": "photo"}, DtypeError, "image has dtype uint32, whose white is unknown to a network"),
        (X.astype("i4"), {"weights": tconv.models.photo(2)}, DtypeError, "image has dtype int32, whose white is unknown to a network"),
        (np.ma.masked_array(X), {}, ArrayError, "image is a masked array"),
        (Image.fromarray(X), {}, ArrayError, "image is a PIL.Image.Image; arrays of NumPy, PyTorch, TensorFlow and JAX are taken. Write numpy.asarray(image)"),
        (None, {}, ArgumentError, "image is None; an array [H, W] or [H, W, C], a path, or a list of these is needed. Write image=\"photo.jpg\", for example"),
        (b"a.png", {}, ArgumentError, "image is b'a.png'; an array"),
        (3, {}, ArgumentError, "image is 3; an array"),
        ("", {}, ArgumentError, "image is ''; a path is needed. Write image=\"photo.png\", for example"),
        ([None, None], {}, ArgumentError, "image[0] is None; a path, or an array [H, W] or [H, W, C], is needed"),
        ("https://a.org/b.png", {}, ArgumentError, "image is https://a.org/b.png, and URLs are not read or written. Use a file on this machine"),
        (["a.png", "s3://a/b.png"], {}, ArgumentError, "image[1] is s3://a/b.png, and URLs are not read or written. Use a file"),
        ("a.png", {"output": "large"}, FileError, 'large has no file ending; it selects the format. Write output="large.png", or output="large/" for a folder'),
        ("a.npy", {"output": "large"}, FileError, 'large has no file ending; it selects the format. Write output="large.npy", or output="large/" for a folder'),
        (X, {"kernel": "lanzcos"}, ArgumentError, "kernel is 'lanzcos'; nearest, bilinear, bicubic, lanczos, or a .npy file of weights is needed. Write kernel=\"lanczos\""),
        (X, {"kernel": "xyz"}, ArgumentError, "kernel is 'xyz'; nearest, bilinear, bicubic, lanczos, or a .npy file of weights is needed. Write kernel=\"bicubic\""),
        ([X, X.astype(int)], {}, DtypeError, "image[1] has dtype int64, whose white is unknown to a network; 8 and 16 bits, and floats from 0 to 1, are usual. Write image[1].astype(np.uint8)"),
        ([], {}, ArgumentError, 'the list is empty; at least one picture is needed. Write ["photo.jpg"], for example'),
        ([], {"output": "out"}, ArgumentError, "the list is empty; at least one picture is needed"),
        ([X, 3], {}, ArgumentError, "image[1] is 3; a path, or an array [H, W] or [H, W, C], is needed. Use a list of those"),
        ([X, X], {"output": "out"}, ArgumentError, "output was given with a list of arrays, which have no names. Write one call for each array, with its own output"),
        (X, {"output": "folder"}, ArgumentError, 'output is the folder folder, and an array has no name. Write a file name, output="folder/large.png" for example'),
        (X, {"output": 3}, ArgumentError, 'output is 3; a path is needed. Write output="large.png", for example'),
        (X, {"output": "no/b.png"}, FileError, "no/b.png lies in no, which does not exist. Choose a name in a directory that does"),
        (X, {"output": "b.bmp"}, FileError, "b.bmp ends in .bmp; a picture is written as .png, .jpg"),
        ("none.png", {}, FileError, "none.png does not exist; a file is needed. Choose one that does"),
        (["a.png", "none.png"], {}, FileError, "none.png does not exist"),
        ("folder", {}, FileError, "folder has no picture or feature map in it; files that end in .png, .jpg, .jpeg"),
        ("a.png", {"output": "a.png"}, FileError, "a.png is the input itself, which is not overwritten. Choose another name"),
        ("a.png", {"output": "a.png", "overwrite": True}, FileError, "a.png is the input itself"),
        ("a.png", {"output": "pipe.png"}, FileError, 'pipe.png is a device or a pipe; a file is needed. Write output="a_x2.png"'),
        (["a.png"], {"output": "a.png"}, FileError, "a.png is a file; a folder is needed. Choose a folder"),
        (["a.png", "b.png"], {"output": "one.png"}, ArgumentError, 'output="one.png" names one file, but there are 2 inputs. Write output="one/"'),
        (["a.png"], {"output": "folder/one.tif"}, ArgumentError, 'output="folder/one.tif" names one file, but the input is a list. Write output="folder/one/"'),
        ("folder", {"output": "one.npy"}, ArgumentError, 'output="one.npy" names one file, but folder is a folder. Write output="one/"'),
        (["a.png"], {"output": "no/out"}, FileError, "no/out lies in no, which does not exist. Choose a folder in a directory that does"),
        (X, {"scale": "1,5"}, ArgumentError, "scale is '1,5'; a number above 0 is needed, 2 or 1.5 for example. Write scale=1.5"),
        (X, {"scale": 0}, ArgumentError, "scale is 0; a number above 0 is needed, 2 or 1.5 for example. Write scale=2"),
        (X, {"scale": -1.5}, ArgumentError, "scale is -1.5; a number above 0 is needed"),
        (X, {"scale": float("nan")}, ArgumentError, "scale is nan; a number above 0 is needed"),
        (X, {"scale": float("inf")}, ArgumentError, "scale is inf; a number above 0 is needed"),
        (X, {"scale": True}, ArgumentError, "scale is True; a number above 0 is needed"),
        (X, {"scale": "2"}, ArgumentError, "scale is '2'; a number above 0 is needed"),
        (X, {"scale": 10**5000}, ArgumentError, "scale is a number of 5001 digits, too large for any memory"),
        (X, {"width": 2.5}, ArgumentError, "width is 2.5; a whole number of pixels, 1 or more, is needed. Write width=1920"),
        (X, {"height": 0}, ArgumentError, "height is 0; a whole number of pixels, 1 or more, is needed. Write height=1920"),
        (X, {"width": 9, "scale": 2}, ArgumentError, "scale and width were given; each states the size. Use one of them"),
        (X, {"width": 3, "weights": tconv.models.photo(2)}, ArgumentError, 'width is 3 for a picture of 5 x 4, and weights makes pictures larger. Write a larger number, or kernel="bicubic" instead of weights'),
        (X, {"check": 0}, ArgumentError, "check is 0; True or False is needed. Write check=True"),
        (X, {"scale": 10**9}, TooLargeError, "the result would be 5000000000 x 4000000000 with 3 channels"),
        (X, {"scale": 1, "model": "photo"}, ArgumentError, 'scale is 1, and model makes pictures larger. Write scale=2, or kernel="bicubic"'),
        (X, {"model": "cartoon"}, ArgumentError, "model is 'cartoon'; there are photo and photo-large. Write model=\"photo\", or weights=\"FILE\""),
        (X, {"model": "photo", "kernel": "bicubic"}, ArgumentError, "model and kernel were given; each selects an upsampling method. Use one of them"),
        (X, {"kernel": "cubic"}, ArgumentError, "kernel is 'cubic'; nearest, bilinear, bicubic, lanczos, or a .npy file of weights is needed. Write kernel=\"bicubic\""),
        (X, {"kernel": np.ones(3)}, ShapeError, "kernel has shape (3,); a kernel [kh, kw] or weights [C_in, C_out, kh, kw] are needed"),
        (X, {"kernel": np.full((2, 2), np.nan)}, DtypeError, "kernel has inf or NaN in it; finite weights are needed"),
        (X, {"kernel": np.ones((2, 2)), "scale": 3}, ShapeError, "kernel has a 2 x 2 kernel and the scale is 3; with fewer taps than the scale, some outputs have no tap. Write scale=2"),
        (X, {"weights": 3}, ArgumentError, 'weights is 3; a file or a tconv.models.Model is needed. Write weights="network.onnx"'),
        (X, {"weights": "none.onnx"}, FileError, "none.onnx does not exist, or is not a file"),
        ("a.npy", {"model": "photo"}, ArgumentError, 'a.npy contains feature maps, and model is for pictures. Write kernel="bicubic", or the name of a picture'),
    ],
    ids=lambda value: value[:50] if isinstance(value, str) else "",
)  # fmt: skip
def test_refusals(image, options, kind, message):
    os.mkdir("folder")
    os.mkfifo("pipe.png")
    Image.fromarray(X).save("a.png")
    np.save("a.npy", np.ones((2, 2)))
    before = sorted(os.listdir())
    with pytest.raises(TconvError) as caught:
        tconv.upsample(image, **options)
    assert str(caught.value).startswith(message)
    assert type(caught.value) is kind
    assert sorted(os.listdir()) == before


def test_the_readers_of_bmp_and_jpeg_2000_name_their_extra(monkeypatch):
    Image.fromarray(X).save("a.bmp")
    for name in ("PIL", "PIL.BmpImagePlugin", "PIL.Jpeg2KImagePlugin"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError) as caught:
        tconv.upsample("a.bmp")
    assert (
        str(caught.value)
        == 'reading BMP and JPEG 2000 needs pillow, which is not installed. Write: pip install "tconv[cli]"'
    )


def test_the_function_has_its_name():
    assert tconv.upsample.__name__ == "upsample"
    code = "import sys, tconv.upsampling; assert 'pyvips' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("alpha", ["yes", [], 2, 1])
def test_alpha_is_a_boolean(alpha):
    with pytest.raises(ArgumentError, match="True, False or None is needed"):
        tconv.upsample(np.zeros((5, 5, 4), "u1"), alpha=alpha)


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_alpha_false_makes_the_opacity_of_a_file_a_band(tmp_path, mode):
    pixels = np.random.default_rng(1).integers(0, 256, (5, 6, len(mode)), np.uint8)
    path = tmp_path / "a.png"
    Image.fromarray(pixels, mode).save(path)
    expected = tconv.upsample(pixels, kernel="bicubic", alpha=False)
    other = np.zeros((5, 5), "u1")
    for large in (tconv.upsample(path, alpha=False), *tconv.upsample([path, other], alpha=False)[:1]):
        np.testing.assert_array_equal(large, expected)
    written = tconv.upsample([path], alpha=False, output=f"{tmp_path}/large/")[0]
    np.testing.assert_array_equal(tifffile.imread(written), expected)
    with pytest.raises(FileError, match=r"which PNG cannot contain\. Write b\.tif"):
        tconv.upsample(path, alpha=False, output=tmp_path / "b.png")


def test_alpha_true_needs_a_band_for_it(tmp_path):
    Image.fromarray(np.zeros((5, 5, 3), "u1")).save(tmp_path / "a.png")
    with pytest.raises(ShapeError, match=r"a\.png is PNG, RGB, 8 bit, and alpha=True; .*\. Write alpha=None"):
        tconv.upsample(tmp_path / "a.png", alpha=True)
    np.save(tmp_path / "a.npy", np.zeros((2, 5, 5), "f4"))
    with pytest.raises(ShapeError, match=r"a\.npy contains feature maps, which have no opacity.*Write alpha=None"):
        tconv.upsample(tmp_path / "a.npy", alpha=True)
    assert tconv.upsample(tmp_path / "a.npy", alpha=False).shape == (2, 10, 10)


def test_alpha_false_states_that_channels_are_last():
    image = np.random.default_rng(0).random((4, 6, 5), np.float32)
    with pytest.raises(ShapeError, match="or alpha=False if the channels are last"):
        tconv.upsample(image, kernel="bicubic")
    y = tconv.upsample(image, kernel="bicubic", alpha=False)
    assert y.shape == (8, 12, 5)
    np.testing.assert_array_equal(y[..., 2], tconv.upsample(image[..., 2], kernel="bicubic"))


def test_dtypes_that_no_picture_format_contains(tmp_path):
    with pytest.raises(FileError, match=r"no format here contains\. Write image\.astype\(np\.float32\)"):
        tconv.upsample(np.ones((6, 5, 3), "?"), kernel="nearest", output=tmp_path / "p.tif")


def test_a_kernel_that_changes_the_channels_chooses_a_format_for_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "b.png"):
        Image.fromarray(np.full((5, 5, 3), 9, "u1")).save(name)
    paths = tconv.upsample(["a.png", "b.png"], kernel=np.ones((3, 5, 4, 4), np.float32) / 12, output="large/")
    assert [path.name for path in map(Path, paths)] == ["a_x2.tif", "b_x2.tif"]
