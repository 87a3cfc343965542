"""`tconv explore` and `tconv.draw.explore`: the page at one's own settings. No browser is opened here."""

from __future__ import annotations

import re
import webbrowser
from urllib.parse import unquote

import numpy as np
import pytest

import tconv
from tconv.cli import main
from tconv.draw import explore, explorer_page
from tconv.errors import ArgumentError, DialectError, FileError, GeometryError, ShapeError


@pytest.fixture(autouse=True)
def opened(monkeypatch, tmp_path):
    """Return the addresses that would be opened, in place of a browser."""
    addresses = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(webbrowser, "get", lambda: None)
    monkeypatch.setattr(webbrowser, "open", lambda address: addresses.append(address) or True)
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr("sys.platform", "linux")
    return addresses


def words(address):
    """Return the pairs of an address."""
    assert address.startswith("#")
    return dict(unquote(pair).split("=", 1) for pair in address[1:].split("&"))


class TestAddress:
    def test_the_settings_stand_in_it_as_the_page_reads_them(self):
        page = explore(kernel=(3, 3), input=(5, 4), dialect="keras", strides=2, padding="same")
        assert page.address == "#dialect=keras&kernel=3&strides=2&padding=same&input=5x4"

    def test_one_axis_and_uneven_values(self):
        page = explore(kernel=3, input=4, stride=2, crop=((1, -1),))
        assert words(page.address) == {
            "dialect": "torch", "rank": "1", "kernel": "3", "stride": "2", "crop": "((1,-1),)", "input": "4",
        }  # fmt: skip
        assert words(explore(kernel=(3, 2), stride=(2, 1), padding=(1, 1)).address) == {
            "dialect": "torch", "kernel": "3x2", "stride": "2x1", "padding": "1", "input": "3",
        }  # fmt: skip

    def test_own_numbers_are_those_of_the_scatter(self):
        w = np.array([[1, 2], [3, -4]])
        assert words(explore(w=w, stride=2).address)["weight"] == "2x2:1,2,3,-4"
        flipped = explore(w=w, dialect="jax", strides=(1, 1), padding="VALID").address
        assert words(flipped)["weight"] == "2x2:-4,3,2,1"
        assert words(explore(x=np.float64([0.1, 2]), kernel=2).address)["x"] == "2:0.1,2.0"

    @pytest.mark.parametrize(
        ("name", "native", "groups"),
        [
            ("torch", {"stride": 2, "groups": 2}, 2),
            ("keras", {"strides": 2, "padding": "same"}, 1),
            ("jax", {"strides": (2, 2), "padding": "SAME"}, 1),
            ("mlx", {"stride": 2, "groups": 2}, 2),
            ("openvino", {"strides": [2, 2], "groups": 2}, 2),
        ],
    )
    def test_a_whole_weight_has_its_channels(self, name, native, groups):
        canonical = np.random.default_rng(0).integers(-9, 9, (4, 3, 3, 2))
        weight = tconv.dialect(name).to_native(canonical, groups)
        found = words(explore(w=weight, dialect=name, **native).address)
        assert (found["kernel"], found["channels"]) == ("3x2", f"4:{3 * groups}")
        assert found["weight"] == "4x3x3x2:" + ",".join(map(str, canonical.ravel()))

    def test_a_whole_weight_of_one_channel_is_its_taps(self):
        assert words(explore(w=[[[[1, 2]]]]).address)["weight"] == "1x2:1,2"

    def test_an_int_for_the_kernel_alone_is_a_square(self):
        assert explore(kernel=3).address == "#dialect=torch&kernel=3&input=3"
        assert words(explore(kernel=3, input=4).address)["rank"] == "1"

    def test_channels_and_groups(self):
        assert words(explore(kernel=(3, 3), groups=2).address)["channels"] == "2:2"
        assert words(explore(kernel=(3, 3), channels=(2, 4)).address)["channels"] == "2:4"
        with pytest.raises(GeometryError, match=r"Write channels=\(2, 2\)"):
            explore(kernel=(3, 3), groups=2, channels=(3, 2))

    def test_layouts_are_left_out_unless_an_argument_is_read_in_them(self):
        page = explore(kernel=(3, 3), dialect="keras", data_format="channels_first")
        assert "data_format" not in page.address
        read = explore(
            kernel=(3, 3), dialect="tensorflow", strides=[1, 1, 2, 2], output_shape=[6, 6], data_format="NCHW"
        )
        assert words(read.address)["data_format"] == "NCHW"

    def test_the_same_pair_on_every_axis_stays_a_pair(self):
        page = explore(kernel=(3, 3), dialect="equinox", padding=((-1, 0), (-1, 0)))
        assert words(page.address)["padding"] == "((-1,0),(-1,0))"

    def test_arguments_are_arrays_too(self):
        assert words(explore(kernel=(3, 3), dilation=np.array([2, 1])).address)["dilation"] == "2x1"

    @pytest.mark.parametrize(
        ("arguments", "kind", "text"),
        [
            ({"kernel": (3, 3, 3)}, ShapeError, "the explorer has 1 or 2"),
            ({"kernel": (3,), "dialect": "tflite", "output_shape": [3]}, ShapeError, "TensorFlow Lite needs 2"),
            ({"kernel": 0}, GeometryError, "at least 1"),
            ({"kernel": 3, "padding": 9}, ShapeError, "Use a smaller crop"),
            ({"kernel": 3, "dialect": "kears"}, DialectError, "keras"),
            ({"kernel": 3, "strides": 2}, ArgumentError, "Write stride="),
            ({"w": np.ones((70, 70))}, ShapeError, "at most 16 on an axis in 2-D. Write a part of it, w[:16, :16]"),
            ({"x": np.ones((65, 64)), "kernel": 3}, ShapeError, "Write a part of it, x[:64, :64]"),
            ({"kernel": 129, "input": 4}, ShapeError, "Write kernel=(128,)"),
            ({"kernel": 3, "stride": 65}, ShapeError, "Use a smaller stride"),
            ({"kernel": 3, "crop": ((0, -10001), (0, 0))}, ShapeError, "Use a smaller crop"),
            ({"kernel": 3, "input": (64, 64), "stride": 9}, ShapeError, "would have 570 elements"),
            ({"kernel": 3, "channels": (17, 3)}, ShapeError, "Write channels=(16, 3)"),
            ({"kernel": 3, "groups": 17}, ShapeError, "Use fewer groups"),
            ({"kernel": 16, "input": (64, 64), "channels": (16, 16)}, ShapeError, "at most 8000000"),
            ({"w": np.ones((64, 32, 3, 3))}, ShapeError, "Write a part of it, w[:16, :16]"),
            ({"w": np.ones((8, 8, 64, 32)), "dialect": "keras"}, ShapeError, "w[:, :, :8, :8]"),
            ({"w": np.ones((34, 1, 3)), "groups": 17}, ShapeError, "the weight of fewer groups"),
            ({"w": np.ones((2, 3, 3)), "channels": (2, 3)}, ArgumentError, "Write the call without channels="),
            ({"w": np.ones((2, 3, 3)), "x": [1, 2]}, ShapeError, "Write the size of x alone, input=(2,)"),
            ({"w": np.ones((1, 2, 3, 3, 3))}, ShapeError, "[C_in, C_out, kh, kw] in 2-D"),
            ({"w": np.ones((2, 2)), "groups": 2}, ShapeError, "without groups and channels"),
            ({"x": np.ones(3), "kernel": 2, "channels": (2, 1)}, ShapeError, "has 2 input and 1 output channels"),
            ({"w": [1.0, np.nan]}, ArgumentError, "not finite"),
            ({"w": [1j]}, ArgumentError, "complex"),
        ],
    )
    def test_bad_settings_say_what_to_write(self, arguments, kind, text):
        with pytest.raises(kind) as caught:
            explore(**arguments)
        assert text in str(caught.value)


class TestPage:
    def test_the_page_begins_at_its_settings(self, tmp_path):
        made = explore(kernel=3, stride=2)
        built = explorer_page.page_path().read_text("utf-8")
        script = f'<script>location.hash || (location.hash = "{made.address}")</script>\n'
        assert made.page.replace(script, "") == built
        assert made.page.index(script) < made.page.index("</head>")
        path = made.save(tmp_path / "page.html")
        assert path.read_text("utf-8") == made.page
        with pytest.raises(FileError, match="overwrite=True"):
            made.save(path)
        with pytest.raises(FileError, match=r"Write .*page\.html"):
            made.save(tmp_path / "page.pdf")

    def test_nothing_ends_the_script_early(self):
        page = explore(kernel=3, dialect="torch", stride=2)
        page.address += "&x=</script><b>"
        assert "</script><b>" not in page.page

    def test_a_notebook_shows_a_frame(self):
        html = explore(kernel=3)._repr_html_()
        assert re.match(r'<iframe title="[^"]*" srcdoc="[^"]*" style="[^"]*"></iframe>$', html)
        assert repr(explore(kernel=3)) == "<Explorer: #dialect=torch&kernel=3&input=3>"

    def test_other_systems_open_a_copy(self, opened, monkeypatch):
        monkeypatch.setattr("sys.platform", "darwin")
        made = explore(kernel=3)
        assert made.open()
        path = tconv.draw.explorer_page.Path(opened[0].removeprefix("file://"))
        assert path.read_text("utf-8") == made.page
        path.unlink()

    def test_a_missing_page_is_explained(self, monkeypatch, tmp_path):
        monkeypatch.setattr(explorer_page, "files", lambda package: tmp_path)
        with pytest.raises(FileError, match="npm run build"):
            explorer_page.page_path()


class TestCommand:
    def test_it_opens_the_page(self, opened, capsys):
        assert main(["explore", "--kernel", "3", "--stride", "2", "--padding", "1"]) == 0
        (address,) = opened
        assert address == explore(kernel=(3, 3), stride=2, padding=1).link
        assert address.startswith("file:///")
        assert capsys.readouterr().out == f"opened {address}\n"

    def test_the_words_are_those_of_the_dialect(self, opened):
        assert main(["explore", "--dialect", "keras", "--strides", "2", "--padding", "same", "--input", "5", "4"]) == 0
        assert opened[0].endswith("#dialect=keras&kernel=3&strides=2&padding=same&input=5x4")

    def test_own_numbers(self, opened):
        np.save("w.npy", np.arange(4).reshape(2, 2))
        assert main(["explore", "--weight", "w.npy", "--input", "2"]) == 0
        assert opened[0].endswith("#dialect=torch&kernel=2&input=2&weight=2x2:0,1,2,3")

    def test_a_whole_weight(self, opened, capsys):
        weight = np.arange(12).reshape(1, 2, 3, 2)
        np.save("w.npy", weight)
        assert main(["explore", "--weight", "w.npy", "--dialect", "keras"]) == 0
        assert opened == [explore(w=weight, dialect="keras", strides=1).link]
        assert main(["explore", "--weight", "w.npy", "--channels", "2"]) == 1
        assert "Write it without --channels" in capsys.readouterr().err
        np.save("w.npy", np.ones((64, 32, 3, 3)))
        assert main(["explore", "--weight", "w.npy"]) == 1
        assert "Write np.save('w-part.npy', w[:16, :16])" in capsys.readouterr().err
        np.save("x.npy", np.ones((65, 4)))
        assert main(["explore", "--x", "x.npy"]) == 1
        assert "x.npy has shape (65, 4); " in (text := capsys.readouterr().err)
        assert "Write np.save('x-part.npy', x[:64, :4])" in text

    def test_surprises_are_said(self, opened, capsys):
        assert main(["explore", "--kernel", "4", "--input", "6"]) == 0
        assert "one axis, write --input 6 6 for two" in capsys.readouterr().out
        assert main(["explore", "--dialect", "keras", "--strides", "2", "--dilation", "2", "--groups", "2"]) == 0
        out = capsys.readouterr().out
        assert "Keras' layers refuse strides and dilation_rate above 1 together" in out
        assert "groups are tconv's own" in out

    def test_a_page_is_written_and_nothing_opened(self, opened, tmp_path, capsys):
        assert main(["explore", "--kernel", "2", "--stride", "2", "-o", "page.html"]) == 0
        assert (tmp_path / "page.html").read_text("utf-8") == explore(kernel=(2, 2), stride=2).page
        assert capsys.readouterr().out.startswith("wrote page.html\n")
        assert not opened
        assert main(["explore", "-o", "page.html"]) == 1
        assert "or --overwrite" in capsys.readouterr().err
        assert main(["explore", "-o", "page.html", "--overwrite"]) == 0

    @pytest.mark.parametrize("reason", ["no display", "no browser", "refused"])
    def test_without_a_browser_it_says_what_to_do(self, reason, opened, monkeypatch, capsys):
        def refuse(*arguments):
            raise webbrowser.Error("none")

        if reason == "no display":
            for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
                monkeypatch.delenv(name, raising=False)
        elif reason == "no browser":
            monkeypatch.setattr(webbrowser, "get", refuse)
        else:
            monkeypatch.setattr(webbrowser, "open", refuse)
        assert main(["explore"]) == 0
        out = capsys.readouterr().out
        assert f"Open this address in one: {explore(kernel=(3, 3), stride=2).link}" in out
        assert "-o page.html" in out
        assert not opened

    @pytest.mark.parametrize(
        ("line", "text"),
        [
            ("--kernel 0", "Write --kernel 1 1"),
            ("--kernel 3 3 3", "Write --kernel 3 3"),
            ("--kernel 500 --input 500 500", "Write --kernel 16 16"),
            ("--channels 17", "Write --channels 16 16"),
            ("--padding 5", "Use a smaller crop"),
            ("--dialect keras --padding 1", "padding is 1"),
            ("--dialect tf", "Write --dialect tensorflow"),
            ("-o page.png", "Write -o page.html"),
            ("-o .", "Write -o page.html"),
            ("--option input=4", "Write --input 4"),
            ("--weight w.txt", "is not a .npy file"),
        ],
    )
    def test_bad_options_say_what_to_write(self, line, text, opened, capsys):
        assert main(["explore", *line.split()]) == 1
        assert text in capsys.readouterr().err
        assert not opened
