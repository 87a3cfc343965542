"""JSON, HTML and SARIF of a check: by their schemas, with hostile names, and of models with many layers."""

from __future__ import annotations

import base64
import json
import math
import re
import zlib
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import json_schema
import tconv
from hand_made_models import layer, stored
from tconv.checking.layer_check import Bytes, CheckerboardVerdict, LayerCheck, NativeLayer, Shapes, TargetAnswer, Timing
from tconv.checking.pages import overview
from tconv.checking.pages.html_page import to_html
from tconv.checking.pages.json_report import to_json
from tconv.checking.pages.pixel_picture import png
from tconv.checking.pages.printable_text import printable, short_name
from tconv.checking.pages.responses import responses_of
from tconv.checking.pages.sarif_log import MOST_RESULTS, to_sarif
from tconv.checking.pages.target_summary import target_summaries
from tconv.checking.pages.trap_pictures import OUTCOMES, PICTURES, trap_picture
from tconv.checking.report import Check, Machine
from tconv.checking.trap import Trap
from tconv.checking.traps import TRAPS
from tconv.geometry import Geometry

SCHEMA = json.loads((Path(__file__).parents[1] / "docs" / "check-schema.json").read_text())
KEY = next(iter(TRAPS))
HOSTILE = {
    "script": "<script>alert(1)</script>",
    "attribute": '"><img src=x onerror=alert(1)>',
    "escape": "up\x1b[2J\x1b]0;title\x07",
    "lines": "a\nb\r\u2028c",
    "direction": "a\u202eb\u2066c",
    "surrogate": "half \ud800 pair",
    "markup": "[red]a[/red] [link=x]",
    "json": '\\u0000", "x": "',
    "nul": "a\x00b",
    "long": "n" * 10_000,
    "empty": "",
}


def trap(key=KEY, name="up", severity="wrong", what="what", **facts):
    return Trap(key, name, severity, what, "who 1.2.3", "observed with who 1.2.3", "instead", **facts)


def layer_check(weight=None, geometry=None, traps=(), **facts):
    """Return the check of a layer of 8 -> 4 channels with all of its fields."""
    own = layer(weight, **facts)
    g = geometry or Geometry((4, 4), 2, 1)
    shapes = Shapes((1, 8, "height", 24), (1, 4, "2*height", None), (1, 8, 16, 24), (1, 4, 32, 48), ("height = 16",))
    targets = {
        "ethos-u": TargetAnswer(True),
        "rknn": TargetAnswer(
            False, ({"key": "kernel", "text": "kernel is 40; 1 to 31", "source": "list 2.3.2"},), ("phases",)
        ),
    }
    return LayerCheck(
        own, g, 8, 4, shapes, g.macs((16, 24)[: g.ndim], 8, 4), Bytes(2048, 12288, 24576), Timing(1e-5, "bytes", 2e-5, None, "", "x"),
        CheckerboardVerdict(0.5, "a checkerboard", 1, 0.75), None, {"torch": NativeLayer("y = f(x)", ("reason",)), "jax": NativeLayer("")},
        None, traps, targets, ("note",), lambda: own.weight.read(),
    )  # fmt: skip


def check(*layers, **facts):
    return Check(
        "model.onnx",
        "ONNX",
        layers or (layer_check(traps=(trap(),)),),
        "pytorch 2.13.0",
        "opset 18",
        targets=("ethos-u", "rknn"),
        **facts,
    )


def hostile_check(name):
    """Return a check in which every text of the file is this one."""
    text = HOSTILE[name]
    own = layer_check(
        traps=(trap(name=text, what=text),),
        name=text, place=text, op=text, crop_origin=text, activation=text, weight=stored(np.ones((8, 4, 4, 4), "f"), origin=text),
        arguments={"strides": [2, 2], "pads": [1, 1, 1, 1], text: text}, location={text: text},
    )  # fmt: skip
    shapes = replace(own.shapes, x=(text, 8, text, 24), chosen=(text,))
    own = replace(own, shapes=shapes, notes=(text,), calls={"torch": NativeLayer(text, (text,))})
    return Check(text or "x", "ONNX", (own,), text, text, (trap(name="", what=text),), ("ethos-u",), notes=(text,))


# -- texts -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", HOSTILE)
def test_printable_text_has_nothing_invisible(name):
    shown = printable(HOSTILE[name])
    assert shown.isprintable()
    shown.encode()
    assert len(short_name(HOSTILE[name])) <= 400
    assert short_name(HOSTILE[name])


def test_code_keeps_its_lines():
    assert printable("a\n\tb\x1b", keep="\n") == "a\n\\tb\\x1b"


# -- JSON --------------------------------------------------------------------------------------------------------


def test_json_is_as_its_schema_says():
    facts = json.loads(to_json(check()))
    assert json_schema.errors(facts, SCHEMA) == []
    assert facts["layers"][0]["shapes"]["y"] == [1, 4, "2*height", None]
    assert json_schema.errors(json.loads(to_json(Check("m", "ncnn", (LayerCheck(layer(), None),)))), SCHEMA) == []


def test_the_validator_finds_errors():
    facts = json.loads(to_json(check()))
    facts["layers"][0]["macs"]["exact"] = "many"
    facts["more"] = 1
    del facts["traps"]
    assert len(json_schema.errors(facts, SCHEMA)) == 3


@pytest.mark.parametrize("name", HOSTILE)
def test_json_of_hostile_names(name):
    text = to_json(hostile_check(name))
    facts = json.loads(text)
    assert json_schema.errors(facts, SCHEMA) == []
    assert text.isascii()
    json.dumps(facts, ensure_ascii=False).encode()  # no lone surrogate is left
    if name != "surrogate":
        assert facts["layers"][0]["name"] == HOSTILE[name]


# -- HTML --------------------------------------------------------------------------------------------------------


class Page(HTMLParser):
    """Elements, texts and links of a page; it must be nested rightly."""

    EMPTY = ("meta", "br", "img", "rect", "path", "polyline")

    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.attributes, self.text, self.ids, self.links = [], set(), [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.add(tag)
        self.attributes += attrs
        self.ids += [value for name, value in attrs if name == "id"]
        self.links += [value for name, value in attrs if name == "href"]
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.add(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def assert_safe(page):
    assert page.elements <= {
        "html", "head", "meta", "title", "style", "body", "h1", "h2", "h3", "p", "b", "a", "br", "div", "span", "table", "thead", "tbody", "tr", "th",
        "td", "ul", "li", "dl", "dt", "dd", "article", "figure", "figcaption", "img", "svg", "rect", "path", "polyline", "text", "details", "summary",
        "pre", "code",
    }  # fmt: skip
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert all(value.startswith("#") for value in page.links)
    assert all(value.startswith("data:image/png;base64,") for name, value in page.attributes if name == "src")


def test_the_page_has_everything():
    page = Page(to_html(check()))
    assert_safe(page)
    text = " ".join(page.text)
    for words in (
        "model.onnx",
        "ONNX, opset 18, written by pytorch 2.13.0",
        "who 1.2.3",
        "instead",
        "kernel is 40; 1 to 31",
        "phases",
        "y = f(x)",
        TRAPS[KEY].title,
    ):
        assert words in text, words
    assert "<img class" in to_html(check())
    assert {link[1:] for link in page.links} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))


@pytest.mark.parametrize("name", HOSTILE)
def test_a_page_of_hostile_names(name):
    text = to_html(hostile_check(name))
    text.encode()
    assert_safe(Page(text))
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert len(text) < 300_000


def test_a_page_of_many_layers_is_small():
    rng = np.random.default_rng(0)
    layers = tuple(
        layer_check(rng.standard_normal((8, 4, 4, 4)), traps=(trap(what=f"row {i}"),), name=f"up{i}")
        for i in range(300)
    )
    text = to_html(check(*layers))
    assert len(text) < 1_000_000
    assert text.count("<img") > 100
    assert_safe(Page(text))
    assert "and 280 more" in text


def test_a_page_without_layers():
    text = to_html(Check("model.onnx", "ONNX", ()))
    assert "no transposed convolution" in text
    assert_safe(Page(text))


# -- pictures ----------------------------------------------------------------------------------------------------


def read_png(data):
    """Return the pixels of a PNG of this writer."""
    width, height = (int.from_bytes(data[at : at + 4], "big") for at in (16, 20))
    size = int.from_bytes(data[33:37], "big")
    rows = np.frombuffer(zlib.decompress(data[41 : 41 + size]), np.uint8).reshape(height, -1)
    assert not rows[:, 0].any()
    return rows[:, 1:].reshape(height, width, -1)


@pytest.mark.parametrize("shape", [(3, 5), (3, 5, 3)])
def test_png_has_the_pixels(shape, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    assert (read_png(png(pixels)).reshape(shape) == pixels).all()
    image = pytest.importorskip("PIL.Image")
    (tmp_path / "x.png").write_bytes(png(pixels))
    assert (np.asarray(image.open(tmp_path / "x.png")) == pixels).all()


@pytest.mark.parametrize(
    ("shape", "settings"),
    [
        ((6, 3, 4), {"stride": 2}),
        ((6, 3, 4, 4), {"stride": 2, "crop": 1}),
        ((6, 2, 3, 5), {"stride": (2, 3), "crop": ((1, 0), (0, 2)), "groups": 3}),
        ((4, 2, 3, 3), {"stride": 2, "dilation": 2, "crop": ((-1, 2), (0, 0))}),
        ((2, 3, 2, 3, 3), {"stride": 2}),
    ],
)
def test_responses_are_those_of_the_layer(shape, settings):
    g = Geometry(shape[2:], **settings)
    w = np.random.default_rng(0).standard_normal(shape)
    found = responses_of(w, g)
    board = tconv.checkerboard(w, geometry=g)
    assert found.channel < shape[1] * g.groups
    # one mixture of the group's channels gives both pictures: found again by least squares, it explains them exactly
    group = found.channel // shape[1]
    rows = slice(group * found.inputs, (group + 1) * found.inputs)
    single = replace(g, groups=1)
    responses = [
        np.asarray(tconv.conv_transpose(np.ones((1, 1, *found.input_shape)), part[None, None], geometry=single))[0, 0]
        for part in w[rows, found.channel % shape[1]]
    ]
    planes = np.stack([each[len(each) // 2] if each.ndim == 3 else each for each in responses])
    flat, target = planes.reshape(len(planes), -1).T, found.constant.ravel()
    mixture = np.linalg.lstsq(flat, target, rcond=None)[0]
    assert np.abs(flat @ mixture - target).max() < 1e-9
    if np.linalg.matrix_rank(flat) == len(mixture):  # else other mixtures give the same picture
        period = np.tensordot(mixture, board.response[rows, found.channel], (0, 0))
        assert found.pattern == pytest.approx(period.std() / np.sqrt((period**2).mean()))


def test_an_even_layer_has_no_pattern():
    found = responses_of(
        tconv.artifacts.equalise(np.random.default_rng(0).standard_normal((5, 3, 4, 4)), stride=2), Geometry((4, 4), 2)
    )
    assert found.pattern < 1e-9


@pytest.mark.parametrize(
    ("shape", "settings"),
    [((0, 3, 2), {}), ((1, 1, 1, 1, 1, 1), {}), ((1, 1, 5000), {"stride": 5000}), ((2, 1, 3), {"dilation": 3000})],
)
def test_what_cannot_be_drawn_is_left_out(shape, settings):
    assert responses_of(np.ones(shape), Geometry(shape[2:], **settings)) is None


def test_weights_with_nan_are_left_out():
    w = np.ones((2, 2, 3))
    w[0, 0, 0] = math.nan
    assert responses_of(w, Geometry((3,), 2)) is None
    text = to_html(check(layer_check(w[..., None].repeat(3, 3), Geometry((3, 3), 2))))
    assert "<img" not in text


def test_long_kernels_are_cut_and_the_caption_says_so():
    w = np.random.default_rng(0).standard_normal((4, 1, 1024))
    text = to_html(check(layer_check(w, Geometry((1024,), 256, 0), arguments={"strides": [256]})))
    assert "the first 480 of" in text
    assert "<polyline" in text


def test_every_trap_has_a_picture():
    assert set(PICTURES) <= set(TRAPS)
    assert [key for key in TRAPS if not trap_picture(key, trap(key))] == []
    assert trap_picture("unheard-of", trap()) == ""
    assert "refuses the node" in trap_picture("unheard-of", trap(severity="refused"))


@pytest.mark.parametrize("draw", {**PICTURES, **OUTCOMES}.values(), ids={**PICTURES, **OUTCOMES})
def test_the_texts_of_a_picture_lie_in_it(draw):
    picture = draw(trap())
    Page(picture)
    height = float(re.search(r'viewBox="0 0 320 ([\d.]+)"', picture)[1])
    for x, y, style, words in re.findall(r'<text x="([\d.]+)" y="([\d.]+)" class="(.*?)">(.*?)</text>', picture):
        width = len(words) * (5.1 if "small" in style else 6.0)
        left = float(x) - (width / 2 if "middle" in style else width if "end" in style else 0)
        assert left >= 0, words
        assert left + width <= 320, words
        assert float(y) <= height - 2, words


def test_pictures_take_hostile_numbers():
    hostile = {"got": -1, "expected": "x", "overlap": [10**9, "<b>"]}
    for key, draw in PICTURES.items():
        assert "<b>" not in draw(trap(key, numbers=hostile))


# -- SARIF -------------------------------------------------------------------------------------------------------


def log_of(found):
    text = to_sarif(found)
    log = json.loads(text)
    assert text.isascii()
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert len({rule["id"] for rule in rules}) == len(rules)
    for rule in rules:
        assert max(len(rule["shortDescription"]["text"]), len(rule["fullDescription"]["text"])) <= 1024
        assert rule["help"]["text"]
        assert max(len(rule["id"]), len(rule["name"])) <= 255
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["level"] in ("error", "warning", "note")
        assert result["message"]["text"]
        (location,) = result["locations"]
        assert location["physicalLocation"]["region"]["startLine"] >= 1
        assert " " not in location["physicalLocation"]["artifactLocation"]["uri"]
    return run


def test_sarif_has_rules_and_results():
    found = replace(check(), file_traps=(trap(name="", severity="note"),))
    run = log_of(found)
    assert [result["level"] for result in run["results"]] == ["note", "error", "error"]
    assert [result["ruleId"] for result in run["results"]] == [KEY, KEY, "target/rknn"]
    assert "kernel is 40; 1 to 31" in run["results"][2]["message"]["text"]
    assert run["results"][1]["locations"][0]["logicalLocations"][0]["name"] == "up"
    assert run["artifacts"] == [{"location": {"uri": "model.onnx", "uriBaseId": "%SRCROOT%"}}]
    notes = run["invocations"][0]["toolExecutionNotifications"]
    assert "note" in notes[0]["message"]["text"]


def test_layers_of_one_name_are_told_apart():
    layers = [layer_check(traps=(trap(),), place=f"node {place}") for place in range(3)]
    run = log_of(check(*layers))
    prints = {result["partialFingerprints"]["primaryLocationLineHash"] for result in run["results"]}
    assert len(prints) == len(run["results"]) == 6


@pytest.mark.parametrize("name", HOSTILE)
def test_sarif_of_hostile_names(name):
    log_of(hostile_check(name))


def test_sarif_stays_below_the_limit_of_code_hosts():
    layers = [layer_check(traps=(trap(),))] * MOST_RESULTS
    run = log_of(check(*layers))
    assert len(run["results"]) == MOST_RESULTS
    assert (
        f"{MOST_RESULTS} more results are left out"
        in run["invocations"][0]["toolExecutionNotifications"][0]["message"]["text"]
    )


def test_files_elsewhere_have_a_whole_address(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (address,) = log_of(replace(check(), source="/else where/ä.onnx"))["artifacts"]
    assert address["location"] == {"uri": "file:///else%20where/%C3%A4.onnx"}
    module = json.loads(to_sarif(Check("Decoder", "PyTorch module", (layer_check(traps=(trap(),)),))))["runs"][0]
    assert "artifacts" not in module
    assert list(module["results"][0]["locations"][0]) == ["logicalLocations"]


# -- orders and groups -------------------------------------------------------------------------------------------


def test_traps_are_grouped_by_key_and_by_who_is_hit():
    layers = [
        layer_check(traps=(trap(what="same"),)),
        layer_check(traps=(trap(what="same"), trap(severity="note"))),
        layer_check(traps=(trap(what="other"),)),
    ]
    first, second = overview.trap_groups(check(*layers))
    assert (first.severity, first.layers, first.sentences) == ("wrong", (1, 2, 3), (("same", (1, 2)), ("other", (3,))))
    assert (second.severity, second.layers) == ("note", (2,))


def test_times_stand_beside_their_bound():
    own = layer_check()
    assert overview.cost(own) == [overview.macs(own), "20 us", "2.0x bound"]
    assert overview.timing(own) == "tconv 20 us, bound 10 us (bytes), x"
    there = replace(own, timing=replace(own.timing, runtime=4e-5, runtime_name="onnxruntime 1.32.0", note=""))
    assert overview.timing(there) == "onnxruntime 1.32.0 40 us, tconv 20 us, bound 10 us (bytes)"
    assert overview.cost(there)[1:] == ["40 us", "4.0x bound"]
    found = check(there, machine=Machine(100.0, 20.0, 2))
    assert "onnxruntime 1.32.0, each layer alone" in overview.peaks(found)
    assert "100 GFLOP/s, 20.0 GB/s" in to_html(found)
    assert "busy" not in overview.peaks(found)
    hurried = replace(there, timing=replace(there.timing, runtime=5e-6))
    assert overview.peaks(check(hurried, machine=found.machine)).endswith("busy while its peaks were measured.")
    assert overview.cost(LayerCheck(layer(), None)) == ["?"]


def test_a_layer_in_disguise_shows_its_form():
    for words, form in (
        ("Conv + DepthToSpace", "convolution and depth to space"),
        ("Conv on inserted zeros", "zero insertion and convolution"),
        ("", "transposed convolution"),
    ):
        shown = LayerCheck(layer(form=form), None)
        assert overview.form(shown) == words
        assert f'</a><br><span class="soft">{words}' in to_html(check(shown)) or not words


def test_many_notes_are_counted():
    found = check(notes=tuple(f"note number {i}" for i in range(1000)))
    assert "and 960 more" in to_html(found)
    assert overview.notes(found, 2) == ["note number 0", "note number 1", "and 998 more, in the JSON report"]


def test_the_worst_layers_come_first():
    layers = [
        layer_check(),
        layer_check(traps=(trap(severity="note"),)),
        layer_check(traps=(trap(),)),
        layer_check(traps=(trap(), trap())),
    ]
    assert overview.worst_first(check(*layers)) == [3, 2, 1, 0]


def test_numbers_for_readers():
    assert overview.layer_list([1, 2, 3, 7]) == "layers 1-3, 7"
    assert overview.layer_list([4]) == "layer 4"
    assert overview.layer_list([]) == "the whole file"
    assert overview.layer_list(range(1, 60, 2), 3) == "layers 1, 3, 5, and 27 more"
    assert overview.times(("batch", 3, None)) == "batch x 3 x ?"
    assert overview.times((2, None)) == "2x?"
    unknown = LayerCheck(layer(), None)
    assert [
        f(unknown) for f in (overview.kernel, overview.sizes, overview.macs, overview.overlap, overview.checkerboard)
    ] == ["?"] * 5
    (ethos, rknn) = target_summaries(check())
    assert (ethos.verdict, rknn.verdict) == ("takes the layer", "refuses the layer")


def test_a_png_in_the_page_is_the_response():
    w = np.zeros((1, 1, 2, 2))
    w[0, 0, 0, 0] = 1
    text = to_html(check(layer_check(w, Geometry((2, 2), 2))))
    data = [base64.b64decode(each) for each in re.findall(r"base64,([\w+/=]+)", text)]
    constant = read_png(data[1])[..., 0]
    assert (constant[::2, ::2] == 248).all()
    assert len(np.unique(constant)) == 2


def test_long_names_break_behind_their_separators():
    from tconv.cli.name_cell import breaks_of

    assert list(breaks_of("frozen-output-padding", 19)) == [14]
    assert list(breaks_of("/u1/ConvTranspose/dynamic_size/layer", 18)) == [18]
    assert list(breaks_of("a" * 40, 18)) == [18, 36]
    for name in ("", "up", "a-b_c/d.e" * 9):
        places = [0, *breaks_of(name, 10), len(name)]
        assert all(end - start <= 10 for start, end in pairwise(places))
