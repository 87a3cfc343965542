"""Targets: the layers that each profile accepts and refuses, rules against predicates, texts, and users' own files."""

from __future__ import annotations

import os
import re
import tomllib
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest

import tconv
from tconv.errors import FileError, TargetError
from tconv.geometry import Geometry
from tconv.targets import LayerFacts, target, target_names
from tconv.targets.expressions import expression_of
from tconv.targets.profile_reader import LARGEST, read_profile, target_of

ROOT = Path(__file__).parents[1]
PROFILES = ROOT / "src" / "tconv" / "targets" / "profiles"
PAGE = (ROOT / "docs" / "targets.md").read_text()
MEASURED = {"onnxruntime", "openvino", "litert", "ncnn", "torch"}


def layer(kernel=(4, 4), **numbers):
    """Return a layer; a number for all axes stands for a tuple of it."""
    ndim = len(kernel)
    usual = {"stride": 1, "dilation": 1, "pads_begin": 0, "pads_end": 0, "output_padding": 0}
    each = {
        name: value if isinstance(value := numbers.pop(name, least), tuple) else (value,) * ndim
        for name, least in usual.items()
    }
    return LayerFacts(kernel, **each, **{"groups": 1, "in_channels": 8, "out_channels": 8, "batch": 1} | numbers)


def texts(name, facts):
    return [limit.text for limit in target(name).limits_against(facts)]


# -- every profile -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", target_names())
def test_the_pair_of_layers(name):
    it = target(name)
    if it.accepts_operation("conv_transpose"):
        assert it.accepts is not None
        assert it.limits_against(it.accepts) == ()
        assert it.open_limits(it.accepts) == ()
    else:
        assert it.accepts is None
        assert it.accepts_operation("conv")
    limits = it.limits_against(it.refuses)
    assert limits
    assert tuple(limit.key for limit in limits) == it.refused_by


@pytest.mark.parametrize("name", target_names())
def test_the_record(name):
    it = target(name)
    assert it.name == name
    assert date.fromisoformat(it.date) >= date(2026, 1, 1)
    assert it.title
    assert it.version
    assert all(it.sources)
    assert all(rule.source for rule in it.rules)
    keys = [rule.key for rule in it.rules]
    assert len(keys) == len(set(keys))
    if name in MEASURED:
        test = re.search(r"tests/frameworks/\w+\.py", it.sources[0])[0]
        assert (ROOT / test).exists()
    if it.checked:
        assert re.search(r"\breached\b", it.checked)


def test_there_are_twenty_and_their_names_differ():
    assert len(target_names()) >= 25
    names = [alias for name in target_names() for alias in (name, *target(name).aliases)]
    assert len(names) == len(set(names))
    assert all(re.fullmatch(r"[a-z0-9.-]+", name) for name in names)
    assert all(target(alias) is target(name) for name in target_names() for alias in target(name).aliases)


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("ethos-u", "ethos-u"), ("Ethos U", "ethos-u"), ("ETHOS_U55", "ethos-u"), ("tflite", "litert"), ("rk3588", "rknn"),
        ("RK3576", "rknn-rk3576"), ("coreml", "coreml"), ("tidl", "tidl"), ("xnnpack", "xnnpack"), ("webnn", "webnn"),
        ("webgpu", "webgpu"), ("qnn", "qnn"), ("ascend", "ascend"), ("vela", "vela"), ("tensorrt-dla", "tensorrt-dla"),
        ("executorch-vulkan", "executorch-vulkan"), ("ort", "onnxruntime"), ("coral", "edgetpu"),
    ],
)  # fmt: skip
def test_names_that_people_type(asked, found):
    assert target(asked).name == found


def test_names_that_do_not_exist():
    with pytest.raises(
        TargetError, match=r"^target is 'etos-u'; there are ascend, .*\. Write target='ethos-u', or the path"
    ):
        target("etos-u")
    with pytest.raises(TargetError, match=r"^target is 3; a name is needed\. Write target=\"ethos-u\"$"):
        target(3)
    assert issubclass(TargetError, ValueError)
    with pytest.raises(TargetError) as caught:
        target("x" * 10**5)
    assert len(str(caught.value)) < 2000


# -- rules against predicates ------------------------------------------------------------------------------------


def random_layer(rng, ndim=2):
    def sizes(*choices):
        values = tuple(int(v) for v in rng.choice(choices, ndim))
        return values if rng.random() < 0.4 else (values[0],) * ndim

    groups = int(rng.choice([1, 1, 1, 2, 4, 8]))
    pads = sizes(0, 0, 1, 2, 3)
    return LayerFacts(
        kernel=sizes(1, 2, 3, 4, 5, 16, 33, 64, 70),
        stride=sizes(1, 2, 2, 3, 4, 8),
        dilation=sizes(1, 1, 1, 2, 3),
        pads_begin=pads,
        pads_end=pads if rng.random() < 0.7 else sizes(0, 1, 2, 3),
        output_padding=sizes(0, 0, 0, 1, 2),
        groups=groups,
        in_channels=8 * int(rng.integers(1, 9)),
        out_channels=8 * int(rng.integers(1, 9)),
        batch=int(rng.choice([1, 1, 2])),
        input=sizes(1, 5, 64, 9000),
        dtype=str(rng.choice(["float32", "float16", "int8", "int16"])),
        auto_pad=str(rng.choice(["NOTSET", "NOTSET", "VALID", "SAME_UPPER"])),
        output_shape=bool(rng.random() < 0.2),
        constant_weight=bool(rng.random() < 0.8),
        weight_scales=str(rng.choice(["", "one", "per channel"])),
    )


def axes(f):
    return zip(f.kernel, f.stride, f.dilation, f.pads_begin, f.pads_end, f.output_padding, strict=True)


def ethos_u(f):
    (kh, kw), (sh, sw), (h, w) = f.kernel, f.stride, f.input
    mixed = (sh == 1 and sw == 2 and h == kh == 1) or (sw == 1 and sh == 2 and w == kw == 1)
    return (
        ((sh, sw) in ((1, 1), (2, 2)) or mixed)
        and (kh <= 64 and kh * kw <= 4096 and max(h, w, f.in_channels) <= 65536)
        and all(lo < k and lo - op < k and d == 1 for k, _, d, lo, _, op in axes(f))
        and not (f.groups > 1 and f.weight_scales == "per channel")
        and f.constant_weight
    )


def rknn(f):
    return (
        all(k <= 31 and s in (1, 2, 4, 8) for k, s, *_ in axes(f))
        and all(0 <= p <= min(15, d * (k - 1)) for k, _, d, *pads, _ in axes(f) for p in pads)
        and (f.groups == 1 or f.groups == f.in_channels == f.out_channels)
        and (max(f.dilation) == 1 or (max(f.kernel) == 1 and max(f.dilation) <= 32))
        and f.dtype != "int16"
    )


def neutron(f):
    kh, kw = f.kernel
    return (
        f.groups == 1
        and kh * kw * (-(-f.in_channels // 16) * 16) <= 65535
        and all(k <= 4096 and s <= min(2, k) and lo < k and d == 1 for k, s, d, lo, _, _ in axes(f))
        and f.constant_weight
    )


def coreml(f):
    pads = {*f.pads_begin, *f.pads_end}
    same = f.auto_pad in ("SAME_UPPER", "SAME_LOWER")
    uneven = f.auto_pad == "NOTSET" and len(pads) > 1
    return f.constant_weight and not same and not uneven and not f.output_shape and not any(f.output_padding)


def tensorrt_dla(f):
    def in_range(sizes):
        return max(sizes) <= 32 or (min(sizes) == 1 and max(sizes) in (64, 96, 128))

    return (
        in_range(f.kernel) and in_range(f.stride) and not any(f.pads_begin + f.pads_end + f.output_padding)
        and f.groups == 1 and max(f.dilation) == 1 and max(f.input) <= 8192 and f.dtype != "int16"
    )  # fmt: skip


def ascend(f):
    (sh, sw), (h, w) = f.stride, f.input
    sizes = 2 <= h * sh <= 4096 and 2 <= w * sw <= 4096
    if max(f.kernel) == 1:
        sizes = sizes and 2 <= w * sw * sh <= 4096 and (sh == sw == 1 or w <= 2032)
    fits = all(d * (k - 1) + 1 <= n + 2 * lo for (k, _, d, lo, _, _), n in zip(axes(f), f.input, strict=True))
    return sh * sw < 256 and sizes and fits and f.dtype != "int16"


def intel_fpga(f):
    sides = [(k, p) for k, _, _, lo, hi, _ in axes(f) for p in (lo, hi)]
    return max(f.kernel) <= 28 and len({*f.stride}) == 1 and f.stride[0] != 3 and all(0 <= p < k for k, p in sides)


def xnnpack(f):
    return f.constant_weight and not (f.weight_scales == "per channel" and f.groups > 1)


@pytest.mark.parametrize("predicate", [ethos_u, rknn, neutron, coreml, tensorrt_dla, ascend, intel_fpga, xnnpack])
def test_random_layers_against_predicates(predicate):
    """A profile accepts what its source's rule, written in Python, accepts."""
    rng, it, accepted = np.random.default_rng(5), target(predicate.__name__), 0
    for _ in range(1200):
        facts = random_layer(rng)
        if rng.random() < 0.6:  # nearer to what is accepted
            facts = replace(
                facts, kernel=(2, 4), dilation=(1, 1), groups=1, output_padding=(0, 0), constant_weight=True,
                pads_begin=(0, 0), pads_end=(0, 0),
            )  # fmt: skip
        assert (not it.limits_against(facts)) == predicate(facts), facts
        accepted += predicate(facts)
    assert 30 < accepted < 1100


def test_litert_accepts_what_its_dialect_can_call():
    """SAME or VALID with some output_shape gives the crop, on all axes at once."""
    rng, accepted, dialect = np.random.default_rng(6), 0, tconv.dialect("tflite")
    for _ in range(1500):
        kernel, stride, small = (tuple(int(v) for v in rng.integers(1, 6, 2)) for _ in range(3))
        begin, end, extra = (tuple(int(v) for v in rng.integers(0, 3, 2)) for _ in range(3))
        if rng.random() < 0.5:  # as SAME crops
            total = [max(k - s, 0) for k, s in zip(kernel, stride, strict=True)]
            begin, end = tuple(t // 2 for t in total), tuple(t - t // 2 for t in total)
        crop = tuple((lo, hi - op) for lo, hi, op in zip(begin, end, extra, strict=True))
        large = Geometry(kernel, stride, crop).output_shape(small) if min(
            s * (n - 1) + k - lo - hi for s, n, k, (lo, hi) in zip(stride, small, kernel, crop, strict=True)
        ) > 0 else None  # fmt: skip
        if large is None:
            continue
        facts = layer(kernel, stride=stride, pads_begin=begin, pads_end=end, output_padding=extra, input=small)
        crops = []
        for padding in ("SAME", "VALID"):
            try:
                arguments = {"output_shape": large, "strides": stride, "padding": padding}
                crops.append(dialect.geometry(kernel=kernel, input=small, **arguments).crop)
            except tconv.TconvError:
                continue
        assert (not target("litert").limits_against(facts)) == (crop in crops), (facts, crops)
        accepted += crop in crops
    assert 100 < accepted < 1400


def test_each_broken_limit_shows_the_numbers():
    rng, shown = np.random.default_rng(7), 0
    for _ in range(100):
        facts = random_layer(rng, int(rng.integers(1, 4)))
        for name in target_names():
            for limit in target(name).limits_against(facts):
                assert limit.key
                assert limit.source
                given, _, accepted = limit.text.partition("; ")
                assert limit.key == "operator" or accepted
                assert "None" not in limit.text
                shown += bool(re.search(r"\d", given))
    assert shown > 3000


@pytest.mark.parametrize("name", target_names())
def test_sizes_that_vary(name):
    """An unknown size breaks no limit that some size of it keeps."""
    rng, it = np.random.default_rng(8), target(name)
    static = "input" in [limit.key for limit in it.limits_against(replace(it.refuses, input=None))]
    for _ in range(100):
        facts = random_layer(rng)
        keys = {limit.key for limit in it.limits_against(facts)}
        unknown = replace(facts, input=None, batch=None)
        found = {limit.key for limit in it.limits_against(unknown)}
        open_keys = {limit.key for limit in it.open_limits(unknown)}
        assert not found & open_keys
        assert keys - {"input", "batch", "output_shape"} <= found | open_keys
        assert found - keys <= {"input", "batch", "output_shape"}
        assert ("input" in found) or not static


# -- texts -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "facts", "expected"),
    [
        ("rknn", layer(stride=3), "stride is 3; 1, 2, 4 or 8 are accepted"),
        ("rknn", layer(stride=(3, 2)), "stride is 3 on axis 0; 1, 2, 4 or 8 are accepted"),
        ("rknn", layer(stride=(3, 5)), "stride is 3x5; 1, 2, 4 or 8 are accepted"),
        ("rknn", layer(pads_begin=(0, 4)), "the pad is 4 at the beginning of axis 1; at most 3 (dilation*(kernel - 1)) is accepted"),
        ("rknn", layer((40, 4)), "kernel is 40 on axis 0; 1 to 31 are accepted"),
        ("rknn", layer((4,)), "the layer has 1 spatial axis; 2 are accepted"),
        ("rknn-rk3576", layer(stride=9), "stride is 9; 1 to 8 are accepted"),
        ("ethos-u", layer((65, 70)), "kernel's product is 4550; at most 4096 is accepted"),
        ("coreml", layer(pads_end=1), "the pad is 0x0x1x1; one number for all axes is accepted where auto_pad is NOTSET"),
        ("coreml", layer(constant_weight=False), "the layer has a weight that is computed at run time; a constant weight is accepted"),
        ("coreml", layer(output_shape=True), "the layer has an output_shape; no output_shape is accepted"),
        ("webgpu", layer(dtype="int8"), "dtype is int8; float32 or float16 are accepted"),
        ("torch", layer(output_padding=2), "output_padding is 2; at least 0 and less than 1 (max(stride, dilation)) are accepted"),
        ("conv-only", layer(), "there is no transposed convolution"),
        ("max78000", layer((3, 3), stride=2), "output_padding is 0; 1 is accepted"),
        ("executorch-vulkan", layer(batch=2), "the batch is 2; 1 is accepted"),
        ("tensorrt-dla", layer(batch=None), "the batch varies; a fixed number and at most 4096 are accepted"),
    ],
)  # fmt: skip
def test_the_words_of_a_limit(name, facts, expected):
    assert expected in texts(name, facts)


def test_other_operations():
    assert not target("vela").accepts_operation("depth_to_space")
    assert target("ethos-u").accepts_operation("depth_to_space")
    assert target("coreml").accepts_operation("slice")
    assert not target("coreml").accepts_operation("col2im")
    conv = layer((3, 3, 3), groups=2)
    assert [limit.key for limit in target("esp-dl").limits_against(conv, "conv")] == ["conv.ndim", "conv.groups"]
    assert target("coreml").limits_against(conv, "conv") == ()
    assert target("conv-only").open_limits(conv) == ()


# -- the user's own file -----------------------------------------------------------------------------------------

HEAD = 'name = "my-chip"\ntitle = "My chip"\nversion = "1"\ndate = 2026-11-29\nsources = ["sheet"]\n'


def rule(text):
    return f'{HEAD}\n[[rule]]\nkey = "k"\n{text}\n'


def example(start):
    return next(
        block for block in re.findall(r"^```\w+[^\n]*\n(.*?)^```", PAGE, re.M | re.S) if block.startswith(start)
    )


def test_the_example_of_the_page(tmp_path):
    (tmp_path / "my_chip.toml").write_text(example('name = "my-chip"'))
    it = target(str(tmp_path / "my_chip.toml"))
    assert it == target(tmp_path / "my_chip.toml") == read_profile(tmp_path / "my_chip.toml")
    assert it.limits_against(it.accepts) == ()
    assert [limit.key for limit in it.limits_against(it.refuses)] == list(it.refused_by)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (HEAD.replace('"my-chip"', "3"), "name is 3; it is a short name in lower case. Write name = \"...\""),
        ("title = 1", "name is missing; it is a short name in lower case. Write name = \"my-chip\""),
        ("nam = 'x'", "'nam' is no key of a target. Write name"),
        (HEAD.replace("my-chip", "My chip"), "name is 'My chip'; lower-case letters, digits and - are needed"),
        (HEAD.replace("2026-11-29", '"yesterday"'), "date is 'yesterday'; a day is needed. Write date = 2026-11-29"),
        (HEAD.replace('["sheet"]', "[]"), "sources is empty; the document or code with the rules is needed"),
        (HEAD + "rule = 3", "the rules are [[rule]] tables, one each. Write [[rule]]"),
        (rule("quantity = 'stride'"), "line 7: rule 'k': stride is compared with nothing; one of equal, "),
        (rule("quantity = 'strid'\nmax = 2"), "line 7: rule 'k': quantity is 'strid': 'strid' is no quantity. Write stride"),
        (rule("quantity = 'stride'\nmaximum = 2"), "line 7: rule 'k': 'maximum' is no key of a rule. Write max"),
        (rule("quantity = 'stride'\nin = 2"), "in is 2; a list of whole numbers is needed. Write in = [1, 2]"),
        (rule("quantity = 'stride'\nin = [1, true]"), "in is [1, True]; a list of whole numbers is needed"),
        (rule("quantity = 'stride'\nmax = 2.5"), "max is 2.5; a whole number or a quantity is needed. Write max = 2 or \"kernel - 1\""),
        (rule("quantity = 'stride'\nmax = 'kernel -'"), "max is 'kernel -': a number or a quantity is missing at its end"),
        (rule("quantity = 'stride'\nmax = 99999999999999999999"), "numbers of at most 2**53 are read"),
        (rule("quantity = 'stride'\nall_equal = false"), "all_equal is False; it can only be true"),
        (rule("quantity = 'dtype'\nmax = 8"), "dtype max 8 cannot be compared. Write equal = \"int8\""),
        (rule("quantity = 'output_shape'\nequal = 0"), "output_shape equal 0 cannot be compared. Write equal = true"),
        (rule("max = 2"), "quantity is missing; the limited number is needed. Write quantity = \"stride\""),
        (rule("any_of = []"), "any_of is []; a list of conditions is needed"),
        (rule("any_of = [3]"), "any_of has 3; a condition is needed"),
        (rule("any_of = [{ quantity = 'stride', max = 2 }]\nmax = 3"), "any_of stands beside max; write it alone"),
        (rule("any_of = [[[[[{ quantity = 'stride', max = 2 }]]]]]"), "nested more than 4 deep"),
        (rule("quantity = 'stride'\nmax = 2\nwhen = 3"), "when is 3; a condition is needed"),
        (rule("quantity = 'stride'\nmax = 2\nsource = 2"), "source is 2; 1 to 1 are in the list of sources"),
        (rule("quantity = 'stride'\nmax = 2\nnote = 2"), "note is 2; a text is needed"),
        (rule("quantity = 'stride'\nmax = 2\nshows = 'x'"), "shows is 'x'; a list of quantities is needed"),
        (rule("quantity = 'stride'\nmax = 2\nkey = 2"), "is no TOML file"),
        (HEAD + "[[rule]]\nquantity = 'stride'\nmax = 2", "the rule has key None; a name is needed. Write key = \"stride\""),
        (HEAD + "operations = 3", "operations is 3; it is an [operations] table"),
        (HEAD + "[operations]\nhas = 'conv'", "[operations] has is 'conv'; a list of names is needed"),
        (HEAD + "[operations]\nhad = ['conv']", "[operations] 'had' is no key"),
        (HEAD + "[operations]\nhas = ['conv']\nlacks = ['conv']", "has and lacks both name 'conv'"),
        (HEAD + "[accepts]\nstride = 2", "[accepts]: kernel is None; one size per spatial axis is needed"),
        (HEAD + "[accepts]\nkernel = [4, 4]\nstride = [2]", "[accepts]: stride is [2]; one whole number, or a list of 2 is needed"),
        (HEAD + "[accepts]\nkernel = [4]\ngroups = 0", "groups is 0; a whole number of at least 1 is needed"),
        (HEAD + "[accepts]\nkernel = [4]\ndtype = 8", "dtype is 8; a text is needed"),
        (HEAD + "[accepts]\nkernel = [4]\nstrides = 2", "'strides' is no number of a layer. Write stride"),
        (HEAD + "[refuses]\nkernel = [4]\nlimits = 'stride'", "[refuses] limits is 'stride'; the keys of rules are needed"),
        ("name = ", "is no TOML file: Invalid value (at end of document)"),
        ("name = " + "[" * 20000, "is no TOML file: "),
        ("name = " + "9" * 20000, "is no TOML file: "),
        ("a." * 30000 + "a = 1", "line 1: it has more than 100 dots. Write it in several lines"),
    ],
)  # fmt: skip
def test_mistakes_of_a_file(tmp_path, text, expected):
    path = tmp_path / "my_chip.toml"
    path.write_text(text)
    with pytest.raises(FileError) as caught:
        target(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert expected in message
    assert len(message) < len(str(path)) + 1500


def test_paths_that_are_no_profile(tmp_path):
    for path, expected in [
        (tmp_path, "is no file; a .toml file"),
        (tmp_path / "none.toml", "cannot be read: No such file or directory. Write the path of a .toml file"),
        ("/dev/zero", "is no file"),
        ("a\0.toml", "cannot be read"),
    ]:
        with pytest.raises(FileError, match=re.escape(expected)):
            target(path)
    os.mkfifo(tmp_path / "pipe.toml")
    with pytest.raises(FileError, match="is no file"):
        target(tmp_path / "pipe.toml")
    (tmp_path / "large.toml").write_bytes(b"#" * (LARGEST + 1))
    with pytest.raises(FileError, match=f"has {LARGEST + 1} bytes; a target's rules have at most {LARGEST}"):
        target(tmp_path / "large.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\0")
    with pytest.raises(FileError, match=r"is no text; a \.toml file in UTF-8 is needed"):
        target(tmp_path / "binary.toml")


def test_changed_profiles_are_read_or_refused():
    """Every change of a profile's text gives a target or a FileError, whose rules judge any layer."""
    rng, read = np.random.default_rng(9), 0
    pieces = [
        "3",
        "-1",
        "[]",
        "{}",
        '"kernel"',
        '"kernel - "',
        "true",
        "in",
        "any_of",
        '"dtype"',
        "'",
        "\n",
        "[[rule]]",
        "1e9",
        "=",
    ]
    profiles = [(PROFILES / f"{name}.toml").read_text() for name in target_names()]
    facts = [random_layer(rng, ndim) for ndim in (1, 2, 3)]
    for _ in range(800):
        text = profiles[rng.integers(len(profiles))]
        for _ in range(int(rng.integers(1, 4))):
            start = int(rng.integers(len(text)))
            text = text[:start] + str(rng.choice(pieces)) + text[start + int(rng.integers(0, 6)) :]
        try:
            it = target_of(text, "changed")
        except FileError:
            continue
        read += 1
        for each in facts:
            [limit.text for limit in (*it.limits_against(each), *it.open_limits(each))]
        assert it.summary
    assert 30 < read < 750


def test_nothing_in_a_file_is_run(tmp_path):
    for text in (
        "__import__('os').system('x')",
        "kernel if 1 else 2",
        "kernel.__class__",
        "lambda: 0",
        "kernel**99",
        "f'{kernel}'",
    ):
        with pytest.raises(ValueError):
            expression_of(text)


def test_a_chain_of_expressions_is_bounded():
    for text in ("(" * 99 + "1" + ")" * 99, "*".join(["999999999999"] * 15), "max(1," * 28 + "1" + ")" * 28):
        assert expression_of(text).values(layer()).entries[0] > 0
    with pytest.raises(ValueError, match="it has 201 characters; at most 200 are read"):
        expression_of("1" * 201)


# -- the page ----------------------------------------------------------------------------------------------------


def test_the_table_of_the_page_is_that_of_the_profiles(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs")
    import targets_table

    assert targets_table.with_table(PAGE) == PAGE, "run python docs/targets_table.py"
    assert all(f"| `{name}` |" in PAGE for name in target_names())


def test_the_page_names_every_key_and_quantity():
    from tconv.targets.conditions import COMPARISONS
    from tconv.targets.profile import DEFAULT_OPERATIONS
    from tconv.targets.quantities import PARTS, QUANTITIES

    parts = [f".{part}" for part in PARTS]
    for name in (*COMPARISONS, *QUANTITIES, *DEFAULT_OPERATIONS, *parts):
        assert f"`{name}" in PAGE, name


def test_profiles_are_toml_without_surprises():
    for file in PROFILES.glob("*.toml"):
        assert tomllib.loads(file.read_text())["name"] == file.stem


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('lacks = ["depth_to_space"]', 'lacks = ["dephth_to_space"]', "which is no operation. Write depth_to_space"),
        ('limits = ["stride"]', 'limits = ["kernel"]', 'does not refuse this layer. Write limits = ["stride"]'),
        ("stride = 3", "stride = 2", "has a layer that no rule refuses"),
        ("stride = 1", "stride = 3", "[accepts] has a layer that rule 'stride' refuses: stride is 3"),
    ],
)
def test_words_and_examples_that_the_rules_contradict_are_refused(old: str, new: str, message: str) -> None:
    text = """
name = "chip"
title = "chip"
version = "1"
date = 2026-11-29
sources = ["a document"]
[operations]
lacks = ["depth_to_space"]
[[rule]]
key = "stride"
quantity = "stride"
max = 2
[[rule]]
key = "kernel"
quantity = "kernel"
max = 8
[accepts]
kernel = [4, 4]
stride = 1
[refuses]
kernel = [4, 4]
stride = 3
limits = ["stride"]
"""
    assert target_of(text, "chip.toml").refused_by == ("stride",)
    with pytest.raises(FileError) as error:
        target_of(text.replace(old, new), "chip.toml")
    assert message in str(error.value)
