"""Tests of the cache of machine code: built once, never stale or damaged, for the target; and of running without it."""

import ast
import importlib.util
import itertools
import json
import os
import platform
import py_compile
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import tconv

pytest.importorskip("llvmlite")

from tconv.kernels.simd import object_cache

SOURCES = Path(tconv.__file__).parent
X86 = platform.machine() in ("x86_64", "AMD64")

ONE_CALL = """
import numpy as np, tconv
from tconv.kernels.simd.object_cache import OBJECT_CACHE, folder
x, w = np.arange(24, dtype="f4").reshape(1, 2, 12), np.arange(12, dtype="f4").reshape(2, 2, 3)
y = tconv.conv_transpose(x, w, stride=2, padding=1, method="simd")
np.testing.assert_array_equal(y, tconv.definition.scatter(x, w, stride=2, padding=1))
print(OBJECT_CACHE.built, folder())
"""


def built(output):
    """Return the number of functions built, which ONE_CALL prints."""
    return int(output.split()[0])


def entries(root):
    return {path.relative_to(root) for path in root.rglob("*") if path.is_file()}


def test_a_second_process_builds_nothing(python, tmp_path):
    first, second = (python(ONE_CALL, TCONV_CACHE_DIR=tmp_path).split() for _ in range(2))
    assert int(first[0]) > 0
    assert second == ["0", first[1]]
    files = entries(tmp_path)
    assert len(files) == int(first[0])
    assert {path.suffix for path in files} == {".o"}
    assert Path(first[1]).stat().st_mode & 0o077 == 0


DAMAGES = [
    lambda text, other: b"",
    lambda text, other: text[:20],
    lambda text, other: text[: len(text) // 2],
    lambda text, other: text + b"\0",
    lambda text, other: text[:-9] + bytes([text[-9] ^ 1]) + text[-8:],
    lambda text, other: bytes([text[0] ^ 128]) + text[1:],
    lambda text, other: other,  # undamaged, but another function
]


def test_a_damaged_file_is_built_anew(python, tmp_path):
    python(ONE_CALL, TCONV_CACHE_DIR=tmp_path)
    files = sorted(tmp_path.rglob("*.o"))
    texts = [file.read_bytes() for file in files]
    for start in range(0, len(DAMAGES), len(files)):
        for number, file in enumerate(files):
            damage = DAMAGES[(start + number) % len(DAMAGES)]
            file.write_bytes(damage(texts[number], texts[number - 1]))
        assert built(python(ONE_CALL, TCONV_CACHE_DIR=tmp_path)) == len(files)
        assert built(python(ONE_CALL, TCONV_CACHE_DIR=tmp_path)) == 0


def test_an_edited_source_is_another_folder(python, tmp_path):
    shutil.copytree(SOURCES, tmp_path / "lib" / "tconv", ignore=shutil.ignore_patterns("__pycache__"))
    environment = {"PYTHONPATH": tmp_path / "lib", "TCONV_CACHE_DIR": tmp_path / "cache"}
    edit = "path = '{}'; open(path, 'a').write('# another line\\n')\n"
    simd = tmp_path / "lib" / "tconv" / "kernels" / "simd"
    first = python(
        "import tconv; assert tconv.__file__.startswith(__import__('sys').argv[1])" + ONE_CALL, tmp_path, **environment
    )
    # code belongs to the sources that were imported, not to those that were edited since
    imported = "import tconv.kernels.simd.specialized_call\n"
    assert python(imported + edit.format(simd / "microkernel.py") + ONE_CALL, **environment).split() == [
        "0",
        first.split()[1],
    ]
    second = python(ONE_CALL, **environment)
    assert built(second) == built(first)
    assert second.split()[1] != first.split()[1]
    assert built(python(edit.format(tmp_path / "lib" / "tconv" / "geometry.py") + ONE_CALL, **environment)) == 0


def constants(text):
    """Yield the name of each module-level constant, and span and value of every number and text in it."""
    starts = [0, *itertools.accumulate(len(line) for line in text.encode().splitlines(keepends=True))]
    for statement in ast.parse(text).body:
        if not isinstance(statement, (ast.Assign, ast.AnnAssign)) or statement.value is None:
            continue
        target = statement.targets[0] if isinstance(statement, ast.Assign) else statement.target
        for node in ast.walk(statement.value):
            if isinstance(node, ast.Constant) and isinstance(node.value, (int, float, str)):
                begin, end = (
                    starts[node.lineno - 1] + node.col_offset,
                    starts[node.end_lineno - 1] + node.end_col_offset,
                )
                yield ast.unparse(target), slice(begin, end), node.value


def test_every_constant_of_the_kernels_is_in_the_key(tmp_path):
    """Machine code has numbers of all these files in it: with another number there is another folder."""
    root = tmp_path / "kernels"
    shutil.copytree(SOURCES / "kernels", root, ignore=shutil.ignore_patterns("__pycache__"))
    # the copied module computes the digest of its own folder
    spec = importlib.util.spec_from_file_location("copied_object_cache", root / "simd" / "object_cache.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    key = module._digest_of_sources
    keys: set[str | None] = {key()}
    names: list[str] = []
    assert keys == {object_cache._SOURCES}
    for file in sorted(root.rglob("*.py")):
        text = file.read_bytes()
        for name, span, value in constants(text.decode()):
            literal = text[span]
            other = literal + b"' '" if isinstance(value, str) else b"(" + literal + b" + 1)"
            file.write_bytes(text[: span.start] + other + text[span.stop :])
            keys.add(key())
            names.append(f"{file.relative_to(root)}:{name}")
            assert len(keys) == len(names) + 1, names[-1]
        file.write_bytes(text)
    assert key() == object_cache._SOURCES
    assert {"num_threads.py:POOL_CAPACITY", "simd/tile_tickets.py:SCRATCHES", "simd/direct/tile_loop.py:CALL"} <= {
        *names
    }
    assert len(set(names)) > 60


def test_no_number_from_elsewhere_reaches_the_machine_code():
    """The key has the kernels' own files: a number that they import from other files would not be in it."""
    seen = 0
    for file in (SOURCES / "kernels").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "tconv":
                seen += 1
                if not node.module.startswith("tconv.kernels"):
                    module = importlib.import_module(node.module)
                    values = [getattr(module, alias.name, None) for alias in node.names]
                    assert not any(isinstance(value, (int, float, str, tuple, dict)) for value in values), file
    assert seen > 50


def test_without_its_sources_nothing_is_stored(python, tmp_path):
    """The code of two versions could not be told apart."""
    shutil.copytree(SOURCES, tmp_path / "lib" / "tconv", ignore=shutil.ignore_patterns("__pycache__"))
    for source in (tmp_path / "lib").rglob("*.py"):
        py_compile.compile(str(source), cfile=f"{source}c", doraise=True)
        source.unlink()
    output = python(ONE_CALL, PYTHONPATH=tmp_path / "lib", TCONV_CACHE_DIR=tmp_path / "cache")
    assert built(output) > 0
    assert output.split()[1] == "None"
    assert not (tmp_path / "cache").exists()


def test_processes_that_build_at_the_same_time(python, tmp_path):
    environment = {**os.environ, "TCONV_CACHE_DIR": str(tmp_path)}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", ONE_CALL], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for _ in range(3)
    ]
    for process in started:
        output, errors = process.communicate(timeout=300)
        assert (process.returncode, errors) == (0, b"")
    assert {path.suffix for path in entries(tmp_path)} == {".o"}
    assert built(python(ONE_CALL, TCONV_CACHE_DIR=tmp_path)) == 0
    assert built(output) <= len(entries(tmp_path))


UNWRITABLE = {
    "below a file": ("", {"TCONV_CACHE_DIR": "{}/file/below"}),
    "a home below a file": ("", {"TCONV_CACHE_DIR": None, "XDG_CACHE_HOME": None, "HOME": "{}/file"}),
    "no home": (
        "import pwd\ndef unknown(number): raise KeyError(number)\npwd.getpwuid = unknown\n",
        {"TCONV_CACHE_DIR": None, "XDG_CACHE_HOME": None, "HOME": None},
    ),
    "the home of an unknown user": ("", {"TCONV_CACHE_DIR": "~no-user-of-this-name/cache"}),
    "read-only": (
        # root may write anywhere
        "import os, numpy.testing, tconv.kernels.simd.specialized_call, tconv.kernels.polyphase, tconv.kernels.tap_products\n"
        "if os.getuid() == 0: os.seteuid(65534)\n",
        {"TCONV_CACHE_DIR": "{}/locked/cache"},
    ),
    "a full disk": (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (40, 40))\n",
        {"TCONV_CACHE_DIR": "{}/full"},
    ),
}


@pytest.mark.skipif(os.name != "posix", reason="permissions and limits of POSIX")
@pytest.mark.parametrize("place", UNWRITABLE)
def test_where_nothing_can_be_written_code_is_built_every_time(place, python, tmp_path):
    before, environment = UNWRITABLE[place]
    (tmp_path / "file").touch()
    (tmp_path / "locked").mkdir()
    (tmp_path / "locked").chmod(0o555)
    environment = {name: None if value is None else value.format(tmp_path) for name, value in environment.items()}
    assert built(python(before + ONE_CALL, **environment)) > 0
    assert entries(tmp_path) == {Path("file")}


def test_with_an_empty_name_nothing_is_stored(python, tmp_path):
    text = f"import os; os.chdir({str(tmp_path)!r})\n{ONE_CALL}"
    output = python(text, TCONV_CACHE_DIR="", HOME=tmp_path, XDG_CACHE_HOME=tmp_path)
    assert built(output) > 0
    assert output.split()[1] == "None"
    assert entries(tmp_path) == set()


def test_old_folders_are_removed_and_other_files_stay(tmp_path):
    """The user may have other files in the folder."""
    old = time.time() - 40 * 86400
    ours, used, foreign, mixed = (
        tmp_path / name
        for name in ("znver4-0123456789abcdef0123", "znver3-0123456789abcdef0123", "photos", "m-" + 20 * "0")
    )
    for folder in (ours, used, foreign, mixed):
        folder.mkdir()
        (folder / "function.o").touch()
    (mixed / "diary.txt").touch()
    for folder in (ours, foreign, mixed):
        os.utime(folder, (old, old))
    object_cache._remove_old_folders(tmp_path / "here")
    assert entries(tmp_path) == {
        Path(f"{used.name}/function.o"),
        Path("photos/function.o"),
        Path(f"{mixed.name}/diary.txt"),
    }


def test_a_folder_in_use_is_not_old(python, tmp_path):
    folder = Path(python(ONE_CALL, TCONV_CACHE_DIR=tmp_path).split()[1])
    os.utime(folder, (0, 0))
    python(ONE_CALL, TCONV_CACHE_DIR=tmp_path)
    assert folder.stat().st_mtime > time.time() - 86400


def test_a_load_that_is_interrupted_can_be_repeated(monkeypatch):
    from tconv.kernels.simd import tile_tickets

    def interrupted(loaded):
        raise KeyboardInterrupt

    own = object_cache.ObjectCache()
    with monkeypatch.context() as patched:
        patched.setattr(object_cache, "_never_release", interrupted)
        with pytest.raises(KeyboardInterrupt):
            own.address("serial", tile_tickets.write_serial)
    assert own.address("serial", tile_tickets.write_serial) == own.address("serial", tile_tickets.write_serial)


# -- chips -----------------------------------------------------------------------------------------------------------

GEOMETRIES = """
import sys, numpy as np, tconv
from dtypes import KERNEL_DTYPES, dtype_of, rounded
from random_calls import problems
from tconv.kernels.simd.object_cache import OBJECT_CACHE, folder
rng = np.random.default_rng(0)
for ndim in (1, 2, 3):
    for number, kind in enumerate(problems.KINDS):
        for turn in (0, 2):  # two of the four dtypes, as each takes its own machine code
            exact = problems.problem(rng, ndim, kind)
            dtype = dtype_of(KERNEL_DTYPES[(turn + ndim + number) % 4])
            p = exact.converted(dtype)
            p.check(problems.run(p))
            slopes = rng.choice([0.5, 2, -1], p.y.shape[1])
            layer = tconv.prepare(p.w, p.bias, geometry=p.geometry, method="simd", activation=("prelu", slopes))
            expected = np.where(exact.y < 0, exact.y * slopes.reshape(-1, *[1] * ndim), exact.y)
            np.testing.assert_array_equal(layer(p.x), rounded(expected, dtype))
last = np.ascontiguousarray(np.moveaxis(p.x, 1, -1))
assert problems.run(p._replace(x=np.moveaxis(last, -1, 1)), out=np.empty_like(last, shape=p.y.shape)).shape == p.y.shape
print(OBJECT_CACHE.built, folder())
"""
CPUS = {"x86-64-v2": {"x"}, "x86-64-v3": {"x", "y"}, "x86-64-v4": {"x", "y", "z"}}
"""Chips, and the first letters of the registers that their code names."""


def registers(file, bare):
    """Return the first letters of the registers (xmm, ymm, zmm) in the code of a file, after its checksum."""
    bare.write_bytes(file.read_bytes()[object_cache._CHECKSUM_BYTES :])
    listed = subprocess.run(["objdump", "-d", bare], capture_output=True, text=True, check=True).stdout
    assert f"<{file.stem}>:" in listed
    return set(re.findall(r"%([xyz])mm\d", listed))


@pytest.mark.skipif(not X86, reason="names of x86 chips")
@pytest.mark.parametrize("cpu", CPUS)
def test_every_chip_computes_the_same_in_its_own_folder(cpu, python, tmp_path):
    from llvmlite import binding

    if cpu == "x86-64-v4" and not binding.get_host_cpu_features().get("avx512f"):
        pytest.skip("this machine has no AVX-512")
    count, folder = python(GEOMETRIES, TCONV_CACHE_DIR=tmp_path / "cache", TCONV_CPU=cpu).split()
    files = sorted(Path(folder).glob("*.o"))
    assert int(count) == len(files) > 40
    assert Path(folder).name.startswith(f"{cpu}-")
    if shutil.which("objdump"):
        assert set().union(*(registers(file, tmp_path / "bare.o") for file in files)) == CPUS[cpu]


@pytest.mark.skipif(not X86, reason="names of x86 chips")
def test_chips_have_folders_of_their_own(python):
    folder = "from tconv.kernels.simd.object_cache import folder; print(folder())"
    folders = [python(folder, TCONV_CPU=cpu) for cpu in ("x86-64", "x86-64-v3", "haswell", "host")]
    assert len(set(folders)) == 4
    assert python(folder) == python(folder, TCONV_CPU="") == folders[-1]


def test_a_folder_is_for_one_chip_and_one_llvm(monkeypatch):
    name = object_cache._folder_name.__wrapped__
    own, names = object_cache.cpu_target.target(), {name()}
    for other in (
        own._replace(features="-fma"),
        own._replace(cpu="other"),
        own._replace(lanes=2),
        own._replace(registers=8),
        own._replace(converts_float16=not own.converts_float16),
        own._replace(masks_halves=not own.masks_halves),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(object_cache.cpu_target, "target", lambda other=other: other)
            names.add(name())
    for module, attribute, value in (
        (object_cache.llvmlite, "__version__", "0.0"),
        (object_cache.llvm, "llvm_version_info", (0, 0, 0)),
        (object_cache, "_SOURCES", "other"),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(module, attribute, value)
            names.add(name())
    assert len(names) == 10
    assert name() in names


# -- without machine code -------------------------------------------------------------------------------------------------

WITHOUT = """
import numpy as np, tconv
x, w = np.arange(18, dtype="f4").reshape(1, 2, 9), np.arange(12, dtype="f4").reshape(2, 2, 3)
plan = tconv.plan(x, w, stride=2)
assert plan.method == "polyphase", plan
np.testing.assert_array_equal(tconv.conv_transpose(x, w, stride=2), tconv.definition.scatter(x, w, stride=2))
relu = np.maximum(tconv.definition.scatter(-x, w, stride=2), 0)
np.testing.assert_array_equal(tconv.prepare(w, stride=2, activation="relu")(-x), relu)
try:
    tconv.conv_transpose(x, w, method="simd")
except tconv.errors.MethodError as error:
    assert plan.reasons["simd"][0] in str(error)
else:
    raise AssertionError
for name in sys.argv[1:]:
    assert sys.modules.get(name) is None, name
print("; ".join(plan.reasons["simd"]))
"""

ABSENT = """
import sys
from importlib.abc import MetaPathFinder
class Absent(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] == {0!r}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
"""
NO_SPEC = """
import sys, importlib.util
find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name == {0!r} else find_spec(name, package)
sys.modules[{0!r}] = None
"""


def test_it_can_be_switched_off(python):
    reasons = python("import sys\n" + WITHOUT, "llvmlite", "xxhash", TCONV_SIMD=0)
    assert reasons == "TCONV_SIMD is 0 in the environment\n"


@pytest.mark.parametrize("package", ["llvmlite", "xxhash"])
@pytest.mark.parametrize("absent", ["import sys; sys.modules[{0!r}] = None\n", NO_SPEC])
def test_without_a_package(package, absent, python):
    assert (
        python(absent.format(package) + WITHOUT, package)
        == f"{package} is not installed; write pip install {package}\n"
    )


REFUSED = """
import numpy as np, tconv
x, w = np.ones((1, 2, 9), "f4"), np.ones((2, 2, 3), "f4")
for call in (tconv.conv_transpose, tconv.plan):
    try:
        call(x, w)
    except tconv.errors.ArgumentError as error:
        message = str(error)
    else:
        raise AssertionError(call)
tconv.conv_transpose(x.astype("c8"), w.astype("c8"))  # which does not use it
print(message)
"""


@pytest.mark.skipif(not X86, reason="names of x86 chips")
@pytest.mark.parametrize("cpu", ["x86-64-v9", "foo", "cortex-a72"])
def test_an_unknown_chip(cpu, python):
    own = object_cache.llvm.get_host_cpu_name()
    names = "x86-64, x86-64-v2, x86-64-v3, haswell, x86-64-v4"
    message = f"TCONV_CPU is {cpu!r}; host (here {own}) or one of {names} is needed. Write TCONV_CPU=host\n"
    assert python(REFUSED, TCONV_CPU=cpu) == message


@pytest.mark.skipif(not X86, reason="names of x86 chips")
def test_a_chip_with_more_than_the_machine_has(python):
    lesser = "import llvmlite.binding as llvm; llvm.get_host_cpu_features = lambda: {'avx2': True, 'fma': True, 'f16c': True}\n"
    missing = "avx512f, avx512bw, avx512cd, avx512dq, avx512vl"
    message = f"TCONV_CPU is 'x86-64-v4'; this machine has no {missing}. Write TCONV_CPU=host\n"
    assert python(lesser + REFUSED, TCONV_CPU="x86-64-v4") == message


def test_a_chip_by_its_other_names(python):
    own = "from tconv.kernels.simd.cpu_target import target; print(target())"
    expected = python(own, TCONV_CPU=None)
    for name in ("native", "HOST", " host ", object_cache.llvm.get_host_cpu_name()):
        assert python(own, TCONV_CPU=name) == expected
    if X86:
        assert python(own, TCONV_CPU="X86-64-V2") == python(own, TCONV_CPU="x86-64-v2")


@pytest.mark.parametrize("value", ["off", "False", "NO"])
def test_other_values_for_off(value, python):
    assert python("import sys\n" + WITHOUT, TCONV_SIMD=value) == f"TCONV_SIMD is {value} in the environment\n"


def test_a_switch_is_on_or_off(python):
    message = "TCONV_SIMD is 'maybe'; 1, or 0 to switch the CPU kernel off, is needed. Write TCONV_SIMD=1\n"
    assert python(REFUSED, TCONV_SIMD="maybe") == message
    text = "from tconv.kernels.simd import availability; print(availability.state()['reason'])"
    for value in ("", "1", "on"):
        assert python(text, TCONV_SIMD=value) == "None\n"


ENV = "from tconv.cli import main; print(main(['env', *{0!r}]))"


def test_env_shows_an_invalid_variable_in_its_line(python):
    pytest.importorskip("cyclopts")
    output = python(ENV.format([]), TCONV_NUM_THREADS="abc")
    message = "TCONV_NUM_THREADS is 'abc'; a number from 1 to 1024 is needed. Write TCONV_NUM_THREADS=4, for example"
    assert f"\nthreads    {message}\n" in output
    assert "\nmethods    simd, winograd, polyphase, taps\n" in output
    output = python(ENV.format([]), TCONV_SIMD="maybe")
    assert "\nmethods    polyphase, taps\nsimd       does not run: TCONV_SIMD is 'maybe'; 1, or 0" in output
    assert output.endswith("\n0\n")
    output = python(ENV.format(["--json"]), TCONV_NUM_THREADS=3, TCONV_SIMD=0)
    facts = json.loads(output.splitlines()[0])
    assert facts["threads"] == {"reason": None, "count": 3}
    assert facts["methods"] == ["polyphase", "taps"]


@pytest.mark.parametrize("place", ["", "/dev/null", "a file"])
def test_env_shows_that_nothing_is_stored(place, python, tmp_path):
    pytest.importorskip("cyclopts")
    if place == "a file":
        place = str(tmp_path / "file")
        Path(place).write_text("")
    reason = f"{place} cannot be written: Not a directory" if place else "TCONV_CACHE_DIR is empty"
    assert f"; new code cannot be cached: {reason}\n" in python(ENV.format([]), TCONV_CACHE_DIR=place)
    warmup = "import sys; sys.stderr = sys.stdout\n" + ENV.format(["--warmup"])
    output = python(warmup, TCONV_CACHE_DIR=place)
    assert output.startswith(
        f"tconv: machine code cannot be cached: {reason}, so nothing can be compiled in advance. Write TCONV_CACHE_DIR="
    )
    assert output.endswith("\n1\n")


def test_importing_and_other_dtypes_load_none_of_it(python):
    python(
        "import sys, numpy as np, tconv\n"
        "loaded = lambda: [name for name in ('llvmlite', 'xxhash', 'tconv.kernels.simd') if name in sys.modules]\n"
        "assert not loaded(), loaded()\n"
        "tconv.conv_transpose(np.ones((1, 1, 4), complex), np.ones((1, 1, 3), complex))\n"
        "tconv.conv_transpose(np.ones((1, 1, 4), int), np.ones((1, 1, 3), int))\n"
        "assert loaded() == ['tconv.kernels.simd'], loaded()"
    )


def test_the_state_for_env(python):
    """`tconv env` reads this."""
    text = "from tconv.kernels.simd import availability; print(availability.state()['reason'])"
    assert python(text) == "None\n"
    assert python(text, TCONV_SIMD=0) == "TCONV_SIMD is 0 in the environment\n"
    assert python(text, TCONV_CACHE_DIR="") == "None\n"


def test_the_folder_does_not_move_with_the_working_directory(python, tmp_path):
    text = (
        "import os\nfrom tconv.kernels.simd.object_cache import folder\nbefore = folder(); os.chdir('/'); print(before)"
    )
    output = python(f"import os; os.chdir({str(tmp_path)!r})\n" + text, TCONV_CACHE_DIR="here")
    assert Path(output.strip()).parent == tmp_path / "here"


def test_results_of_every_process_are_the_same_bits(python, tmp_path):
    """With code that is built and code that is read from a file, on one thread and on more."""
    text = (
        "import hashlib, numpy as np, tconv\n"
        "rng = np.random.default_rng(0)\n"
        "x, w = (rng.standard_normal(s).astype('f4') for s in ((2, 40, 33, 50), (40, 9, 5, 5)))\n"
        "y = tconv.conv_transpose(x, w, stride=2, padding=1, method='simd')\n"
        "print(hashlib.sha256(y.tobytes()).hexdigest())"
    )
    assert len({python(text, TCONV_CACHE_DIR=tmp_path, TCONV_NUM_THREADS=count) for count in (1, 3, 1, 2)}) == 1
