"""`tconv explain` for stacks: words of any dialect, tables, JSON, and refusals that say what to write."""

import json

import pytest

from tconv import Geometry, window
from tconv.cli import main
from tconv.streaming.chain_layers import ordinary_convolution

WORDS = "conv 7 padding 3, transposed 16 stride 8 padding 4"
STACK = [ordinary_convolution(7, padding=3), Geometry(16, 8, 4)]


def explained(capsys, *words):
    code = main(["explain", *words])
    out, err = capsys.readouterr()
    assert code == 0, err
    return out


@pytest.mark.parametrize(
    "words",
    [
        [WORDS],
        WORDS.split(),
        WORDS.split(","),
        ["conv kernel 7 padding=3; transposed 16 padding 4 strides 8"],
        ["CONV1d 7 padding 3:3 transposed kernel_size 16 stride 8 crop 4:4"],
        ["convolution 7 padding same, conv_transpose 16 strides 8 padding same", "--dialect", "keras"],
        ["conv 7 pads 3, transposed 16 strides 8 pads [4,4]", "--dialect", "onnx"],
    ],
)
def test_a_stack_in_many_words(capsys, words):
    assert explained(capsys, *words, "--sample-rate", "24000").strip() == str(window(STACK, sample_rate=24_000))


def test_sizes_and_chunks(capsys):
    text = explained(capsys, WORDS, "--input", "100", "--chunk", "6", "--sample-rate", "16000")
    assert "\n100 inputs give 800 outputs\n" in text
    assert "a chunk of 6 inputs: 48 outputs = 3 ms\n" in text
    assert "  alone            0 of them are right; the others read inputs outside of it\n" in text
    assert "  with context     6 + 8 = 14 inputs are computed for it: 2.33 times the work\n" in text
    text = explained(capsys, "transposed 16 stride 8 crop 8 transposed 10 stride 5 crop 5", "--input", "50")
    assert (
        "50 inputs give 1955 outputs\nnot 50 * 40 = 2000, but 45 fewer: a slice that assumes the product loses them"
        in text
    )


def test_two_axes(capsys):
    text = explained(capsys, "conv 3x5 padding 1x2, transposed 4 stride 2 padding 1", "--input", "8", "9")
    assert text.startswith("axis 0\nlayer")
    assert "\n\naxis 1\n" in text
    assert text.endswith("8 x 9 inputs give 16 x 18 outputs\n")
    assert explained(capsys, "conv 3x3, transposed 4x4").startswith("the same on all 2 axes\n")


def test_a_kernel_of_several_numbers_has_a_note(capsys):
    note = "Note: 16 8 4 was read as a kernel of 3 axes, 16x8x4. For a stride, write 16 stride 8; for this kernel"
    assert note in explained(capsys, "transposed", "16", "8", "4")
    assert "Note" not in explained(capsys, "transposed", "16x8x4")


def test_json(capsys):
    found = json.loads(explained(capsys, WORDS, "--json", "--input", "10", "--chunk", "4", "--sample-rate", "8000"))
    assert found["layers"][1] == {
        "kind": "transposed", "kernel": [16], "stride": [8], "dilation": [1], "crop": [[4, 4]], "rate": ["8"],
        "receptive_field": [8], "look_ahead": [4.0],
    }  # fmt: skip
    assert found["layers"][0]["padding"] == [[3, 3]]
    assert found["rate"] == ["8"]
    assert (found["latency"], found["latency_ms"]) == ([28], 3.5)
    assert (found["input"], found["output"]) == ([10], [80])
    assert found["chunk"] == {
        "inputs": 4, "outputs": 32, "with_context": 12, "work": 3.0, "right_alone": 0, "milliseconds": 4.0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["convs 7"], "layer 1, 'convs 7': it begins with 'convs'; a layer begins with conv or transposed. Write tconv explain conv"),
        (["conv 7, transposed stride 8"], "layer 2, 'transposed stride 8': it has no kernel. Write transposed 7, for example"),
        (["conv 7 stride"], "stride has no value. Write stride 1, for example"),
        (["conv 7 stride 2 stride 2"], "stride was given twice. Write it once"),
        (["conv 7 stride 2.5"], "stride is 2.5; whole numbers are needed. Write stride 2, for example"),
        (["conv 7 stride 0"], "stride is 0; it must be at least 1. Write stride 1"),
        (["conv 7 padding half"], "layer 1, 'conv 7 padding half': the convolution has padding 'half'; numbers, \"same\", \"valid\" or \"causal\" are needed. Write padding 3"),
        (["conv 7 stride 2 !"], "'!' is neither a name nor a whole number. Write conv 16 stride 8, for example"),
        (["transposed 4 output_padding 3"], "Write crop lo:hi with hi = padding - output_padding"),
        (["conv 7 output_padding 1"], "output_padding is none of an ordinary convolution, which has kernel, stride, padding"),
        (["transposed 7 padding 3:1"], "is a number for each axis. Write crop 3:1, which is cut from both ends of the output"),
        (["transposed 4 pads 1", "--dialect", "keras"], "layer 1, 'transposed 4 pads 1': padding is 1; Keras takes"),
        (["conv 3 stride 2 padding same"], "borders depend on the size of the input. Write --input 100"),
        (["conv 3, conv 3x3x3, conv 2x2"], "chain[1] has 3 axes and the layers before it 1"),
        (["conv 9", "--input", "4"], "layer 1, 'conv 9': the convolution of (4,) would be (-4,)"),
        ([WORDS, "--stride", "2"], "--stride was given beside a stack, [2]; each layer has its own words. Write tconv explain conv 7"),
        ([WORDS, "--groups", "2"], "--groups was given beside a stack"),
        ([WORDS, "--all"], "--all was given beside a stack"),
        (["conv 4 stride 4", "--chunk", "6"], "--chunk is 6; a multiple of 4, after which the windows repeat, of inputs is needed. Write --chunk 8"),
        ([WORDS, "--chunk", "-3"], "--chunk is -3; a positive number of inputs is needed. Write --chunk 1"),
        (["conv 3x3", "--chunk", "3"], "--chunk is for stacks along time; this has 2 axes. Write layers of one axis"),
        ([WORDS, "--sample-rate", "0"], "the samples per second of the output are needed"),
        (["--kernel", "3", "--chunk", "3"], "--chunk is for layers of a stack, without --kernel. Write tconv explain conv 7"),
        ([], "there is no layer. Write tconv explain --kernel 4 --stride 2, or a stack: tconv explain conv 7 padding 3"),
        (["conv 99999999999"], "positions in this stack; up to 16777216 are counted"),
    ],
)  # fmt: skip
def test_refusals(capsys, words, message):
    assert main(["explain", *words]) == 1
    assert message in capsys.readouterr().err
