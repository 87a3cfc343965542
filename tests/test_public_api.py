"""The public names, what importing costs, and that order of imports does not matter."""

import os
import subprocess
import sys

import pytest

import tconv

NAMES = [
    "Geometry", "TconvError", "artifacts", "channel_scales", "check", "checkerboard", "conv", "conv_transpose", "convert", "definition", "diagnose",
    "dialect", "draw", "errors", "fold_batchnorm", "get_num_threads", "initializers", "linear_operator", "matrix", "models", "plan",
    "prepare", "rewrite", "scale", "scale_channels", "set_num_threads", "solve", "stream", "torch", "trim_pool", "upsample",
    "verify_stream", "window",
]  # fmt: skip


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


def test_the_list():
    assert tconv.__all__ == NAMES
    assert all(hasattr(tconv, name) for name in NAMES if name != "torch")
    assert dir(tconv) == sorted([*NAMES, "__version__"])
    with pytest.raises(AttributeError, match="module 'tconv' has no attribute 'nothing'"):
        tconv.nothing  # noqa: B018


def test_importing_is_light():
    done = run(
        "import sys, tconv, tconv.scale\n"
        "heavy = [m for m in ('torch', 'tensorflow', 'jax', 'keras', 'onnx', 'scipy', 'matplotlib', 'llvmlite', 'xxhash', 'ml_dtypes',"
        " 'cyclopts', 'rich', 'pyvips', 'PIL', 'zarr', 'dask', 'tifffile') if m in sys.modules]\n"
        "assert not heavy, heavy"
    )
    assert done.returncode == 0, done.stderr


def test_running_numpy_arrays_imports_no_framework():
    done = run(
        "import sys, numpy as np, tconv\n"
        "x = np.ones((1, 2, 3, 3)); w = np.ones((2, 1, 2, 2))\n"
        "tconv.conv_transpose(x, w, stride=2); tconv.conv(x, np.ones((1, 2, 2, 2))); print(tconv.plan(x, w))\n"
        "tconv.conv_transpose(x.transpose(0, 2, 3, 1), w.transpose(2, 3, 1, 0), dialect='tensorflow', output_shape=[1, 3, 3, 1])\n"
        "tconv.solve(input=3, output=6); [tconv.dialect(n) for n in tconv.dialects.names()]\n"
        "heavy = [m for m in ('torch', 'tensorflow', 'jax', 'keras', 'onnx', 'scipy', 'ml_dtypes') if m in sys.modules]\n"
        "assert not heavy, heavy"
    )
    assert done.returncode == 0, done.stderr


USES = {
    "Geometry": "tconv.Geometry((2, 2), 2)",
    "TconvError": "issubclass(tconv.errors.ShapeError, tconv.TconvError)",
    "artifacts": "tconv.artifacts.icnr(x, stride=2)",
    "channel_scales": "tconv.channel_scales(x, source='torch')",
    "check": "callable(tconv.check)",
    "checkerboard": "tconv.checkerboard(x, stride=2)",
    "conv": "tconv.conv(x, x)",
    "conv_transpose": "tconv.conv_transpose(x, x)",
    "convert": "tconv.convert(x, source='torch', target='keras')",
    "definition": "tconv.definition.scatter(x[0, 0], x[0, 0])",
    "diagnose": "tconv.diagnose(x, 2 * x)",
    "dialect": "tconv.dialect('onnx').argument_names()",
    "draw": "tconv.draw.scatter(x[0, 0], x[0, 0])",
    "errors": "tconv.errors.ShapeError('no shape')",
    "fold_batchnorm": "tconv.fold_batchnorm(x, None, x[0, 0, 0, :1], x[0, 0, 0, :1], x[0, 0, 0, :1], x[0, 0, 0, :1])",
    "get_num_threads": "tconv.get_num_threads()",
    "initializers": "tconv.initializers.bilinear((1, 1, 4, 4), stride=2)",
    "linear_operator": "tconv.linear_operator(x, (1, 2, 2))",
    "matrix": "tconv.matrix(x, (1, 2, 2))",
    "models": "tconv.models.photo(2)",
    "plan": "tconv.plan(x, x)",
    "prepare": "tconv.prepare(x)(x)",
    "rewrite": "callable(tconv.rewrite)",
    "scale": "callable(tconv.scale.run) and callable(tconv.scale.verify)",
    "scale_channels": "tconv.scale_channels(x, [2.0])",
    "set_num_threads": "tconv.set_num_threads(1)",
    "solve": "tconv.solve(input=2, output=4)",
    "stream": "tconv.stream(x).push(x[:, :, :0])",
    "trim_pool": "tconv.trim_pool()",
    "upsample": "tconv.upsample(x[0, 0], kernel='bicubic')",
    "verify_stream": "callable(tconv.verify_stream)",
    "window": "tconv.window([tconv.Geometry(4, 2, 1)])",
}
"""A use of every public name but `torch`, which needs PyTorch."""


def test_every_name_has_a_use():
    assert list(USES) == [name for name in NAMES if name != "torch"]


FIRST = [
    "import tconv",
    "import tconv.draw",
    "import tconv.linalg",
    "from tconv.cli import explain",
    "from tconv import dialects",
]
CHILDREN = """
import os, sys
import matplotlib.figure, numpy as np, scipy.sparse.linalg, cyclopts  # which all of them would import
assert "tconv" not in sys.modules
first, body = FIRST, BODY
for each in first:
    print(each, file=sys.stderr)
    if os.fork() == 0:
        exec(f"{each}\\nimport tconv\\nx = np.ones((1, 1, 2, 2))\\n{body}", {"np": np})
        os._exit(0)
    assert os.wait()[1] == 0, each
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a forked process for each import")
def test_every_name_works_whatever_was_imported_first():
    body = "\n".join(
        [
            *USES.values(),
            "assert [getattr(tconv, n) for n in tconv.__all__]",
            "assert callable(tconv.plan) and callable(tconv.matrix) and callable(tconv.dialect)",
        ]
    )
    done = run(CHILDREN.replace("FIRST", repr(FIRST)).replace("BODY", repr(body)))
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines() == FIRST


@pytest.mark.parametrize("missing", ["scipy", "matplotlib", "torch", "jax", "tensorflow", "keras"])
def test_a_missing_extra_is_named(missing):
    call = {"scipy": "tconv.matrix(x, (1, 2, 2))", "matplotlib": "tconv.draw.scatter(x[0, 0], x[0, 0])"}.get(
        missing, f"tconv.{missing}.initializers"
    )
    done = run(
        f"import sys; sys.modules[{missing!r}] = None\nimport tconv, numpy as np\nx = np.ones((1, 1, 2, 2))\n{call}"
    )
    extra = {"scipy": "sparse", "matplotlib": "draw"}.get(missing, missing)
    assert f'which is not installed. Write: pip install "tconv[{extra}]"' in done.stderr
    assert "MissingExtraError" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("faces", [["tensorflow"], ["jax", "keras"]], ids=" ".join)
def test_a_face_is_imported_when_it_is_named(faces, monkeypatch):
    """As the messages of the errors write it, after `import tconv` alone."""
    monkeypatch.setenv("KERAS_BACKEND", "jax")  # which takes less time to import than TensorFlow
    done = run(
        "import sys, tconv\n"
        + "".join(f"assert {face!r} not in sys.modules; assert tconv.{face}.__all__\n" for face in faces)
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_a_first_call_imports_nothing_that_it_does_not_need(python):
    python("""
import sys
import numpy as np, tconv
loaded = lambda *names: sorted(name for name in names if name in sys.modules)
assert not loaded("tconv.diagnosis", "tconv.weights", "tconv.linalg", "tconv.size_solver", "tconv.draw", "numpy.ma", "difflib")
tconv.conv_transpose(np.ones((1, 1, 4), "f4"), np.ones((1, 1, 3), "f4"))
assert not loaded("tconv.diagnosis", "tconv.weights", "tconv.linalg", "tconv.size_solver", "tconv.definition", "tconv.dialects.faults", "numpy.ma", "hashlib", "difflib")
for name in tconv.__all__:
    if name != "torch":
        assert getattr(tconv, name) is getattr(tconv, name), name
assert tconv.solve is __import__("tconv.size_solver").size_solver.solve
assert set(tconv.__all__) <= set(dir(tconv))
""")
