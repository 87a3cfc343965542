"""Tests of the machine code as text: the multiply-adds of each chip, and the conversions of float16.

The code of every chip is made here, whatever the machine is.
"""

import json
import re
from collections import Counter

import pytest

pytest.importorskip("llvmlite")

import llvmlite.binding as llvm

import emitted_functions

MULTIPLY_ADDS = {
    # chip: multiply, add (none: both at once), broadcast, register
    "AVX-512": ("vfmadd231p{}", None, "vbroadcasts{}", "zmm"),
    "AVX2": ("vfmadd231p{}", None, "vbroadcasts{}", "ymm"),
    "SSE": ("mulp{}", "addp{}", {"s": "shufps", "d": "movddup"}, "xmm"),
    "NEON": ("fmla", None, None, "v"),
}

EMIT = """
import json, sys
import assembly, emitted_functions
texts = emitted_functions.emitted(*sys.argv[1:], assembly=True)
if sys.argv[2].startswith("write"):
    print(json.dumps(texts))
else:
    print(json.dumps({name: assembly.innermost_loops(text) for name, text in texts.items()}))
"""


def emit(python, chip, wanted):
    llvm.initialize_all_targets()
    try:
        llvm.Target.from_triple(emitted_functions.CHIPS[chip][1])
    except RuntimeError as error:
        pytest.skip(f"LLVM has no such target: {error}")
    return json.loads(python(EMIT, chip, wanted))


@pytest.mark.slow
@pytest.mark.parametrize("chip", MULTIPLY_ADDS)
def test_the_multiply_adds_stay_in_registers(chip, python):
    """In the loop over the channels: each number that is broadcast meets each vector that is loaded, and no more."""
    functions = emit(python, chip, r"accumulate|spread|channel_lanes_\d")
    assert {name.split("_")[0] for name in functions} == {"accumulate", "spread", "channel"}
    assert {name.endswith("_float64") for name in functions} == {True, False}
    for name, loops in functions.items():
        multiply, add, broadcast, register = MULTIPLY_ADDS[chip]
        kind = "d" if name.endswith("_float64") else "s"
        multiply = multiply.format(kind)
        found = 0
        for loop in loops:
            count = Counter(instruction for instruction, _ in loop)
            if not count[multiply] or ("prefetcht0" not in count and "prfm" not in count):
                continue
            found += 1
            vectors = [operands for _, operands in loop if f"%{register}" in operands or f"{register}0" in operands]
            assert not any("sp)" in operands or "[sp" in operands for operands in vectors), (name, loop)
            assert not {"call", "callq", "bl", "blr", "vzeroupper", "dup"} & set(count), (name, loop)
            assert not any(instruction.startswith(("vmovap", "vfmadd132", "vfmadd213")) for instruction in count)
            if chip == "NEON":
                by_lane = [operands for instruction, operands in loop if instruction == "fmla"]
                assert all(operands.startswith(register) for operands in by_lane)
                assert count["ld1r"] or all(re.search(r"\.[sd]\[0\]", operands) for operands in by_lane), (name, loop)
                continue
            broadcasts = count[broadcast.format(kind) if isinstance(broadcast, str) else broadcast[kind]]
            loads = count[f"{'' if chip == 'SSE' else 'v'}movup{kind}"]
            assert count[multiply] == broadcasts * loads > 0, (name, loop)
            assert add is None or count[add.format(kind)] == count[multiply], (name, loop)
            used = [operands for instruction, operands in loop if instruction == multiply]
            assert all(operands.count(f"%{register}") == operands.count("%") for operands in used), (name, loop)
        assert found, name


CONVERSIONS = {
    "AVX-512": {"vcvtps2ph"},
    "AVX2": {"vcvtps2ph"},
    "NEON": {"fcvtn"},
    "SSE": set(),
}


@pytest.mark.slow
@pytest.mark.parametrize("chip", CONVERSIONS)
def test_float16_is_converted_by_the_chip_or_by_integers(chip, python):
    """Never by a function of a library."""
    texts = emit(python, chip, "write.*float16")
    halves = [text for name, text in texts.items() if "bfloat16" not in name]
    assert 0 < len(halves) < len(texts)
    for text in texts.values():
        instructions = {line.split()[0] for line in text.splitlines() if line.startswith("\t") and line.strip()}
        assert not instructions & {"callq", "call", "bl", "jmp *"}
        if text in halves:
            assert all(any(each.startswith(name) for each in instructions) for name in CONVERSIONS[chip])
