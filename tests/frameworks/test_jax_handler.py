"""The handler that XLA calls: call frames, programs in other processes, and several devices."""

from __future__ import annotations

import ctypes
import re
from textwrap import dedent

import jax
import jax.export
import numpy as np
import pytest
import xla  # noqa: F401  (before JAX: its flags make compilation faster)

import tconv.jax
from random_calls import whole_numbers
from tconv.jax import call_attributes, ffi_handler, handler_code
from tconv.jax import xla_call_frame as frames

up = tconv.jax.conv_transpose


# -- call frames ---------------------------------------------------------------------------------------------------


ERRORS: list[str] = []


@ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)
def create_error(arguments):
    told = frames.ErrorCreateArgs.from_address(arguments)
    ERRORS.append(ctypes.string_at(told.message).decode())
    return len(ERRORS)


class Frame:
    """A call frame as XLA makes it."""

    def __init__(self, text, *arrays, digest=None):
        self.kept = []
        self.api = frames.Api(Error_Create=ctypes.cast(create_error, ctypes.c_void_p).value)
        size = ctypes.sizeof(frames.CallFrame)
        self.frame = frames.CallFrame(struct_size=size, api=self.address(self.api), stage=frames.STAGE_EXECUTE)
        *operands, result = [self.buffer(array) for array in arrays]
        self.frame.args = frames.Args(size=len(operands), args=self.pointers(operands))
        self.frame.rets = frames.Args(size=1, args=self.pointers([result]))
        number = self.address(ctypes.c_int64(call_attributes.digest(text) if digest is None else digest))
        values = [self.span(text), self.address(frames.Scalar(frames.INT64, number))]
        kinds = (ctypes.c_int * 2)(frames.ATTRIBUTE_STRING, frames.ATTRIBUTE_SCALAR)
        names = self.pointers([self.span("call"), self.span("digest")])
        self.frame.attrs = frames.Attrs(size=2, types=self.address(kinds), names=names, attrs=self.pointers(values))

    def address(self, thing):
        self.kept.append(thing)
        return ctypes.addressof(thing)

    def pointers(self, addresses):
        return self.address((ctypes.c_void_p * len(addresses))(*addresses))

    def span(self, text):
        held = ctypes.create_string_buffer(text.encode())
        return self.address(frames.ByteSpan(self.address(held), len(text)))

    def buffer(self, array):
        self.kept.append(array)
        dims = self.address((ctypes.c_int64 * array.ndim)(*array.shape))
        kind = frames.DTYPES[array.dtype.name]
        return self.address(frames.Buffer(dtype=kind, data=array.ctypes.data, rank=array.ndim, dims=dims))

    def run(self):
        """Return the message of the error, or an empty text."""
        handler = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p)(ffi_handler.handler().address)
        before = len(ERRORS)
        status = handler(ctypes.addressof(self.frame))
        assert (status != 0) == (len(ERRORS) > before)
        return ERRORS[-1] if status else ""


def a_call():
    x, w, y = np.ones((1, 4, 3), "f"), np.ones((3, 3, 2), "f"), np.zeros((1, 8, 2), "f")
    text = jax.jit(lambda x, w: up(x, w, (2,), "SAME")).lower(x, w).as_text()
    text = re.search(r'call = "(.*?)", digest', text)[1].replace("\\22", '"')
    return text, x, w, y


def test_the_handler_runs_a_frame():
    text, x, w, y = a_call()
    assert Frame(text, x, w, y).run() == ""
    assert np.array_equal(y, jax.lax.conv_transpose(x, w, (2,), "SAME"))
    changed = text.replace('"batch":1', '"batch":2')  # not known yet: it is added by a callback
    x, y = np.ones((2, 4, 3), "f"), np.zeros((2, 8, 2), "f")
    assert Frame(changed, x, w, y).run() == ""
    assert np.array_equal(y, jax.lax.conv_transpose(x, w, (2,), "SAME"))


def test_the_handler_refuses_what_it_does_not_know():
    text, x, w, y = a_call()
    frame = Frame(text, x, w, y)
    frame.frame.struct_size = 40
    assert "call frame is smaller" in frame.run()
    frame = Frame(text, x, w, y)
    frame.frame.attrs.size = 1
    assert "other attributes" in frame.run()
    for arrays in ((x[:, :3], w, y), (x, w[:2], y), (x, w, y[:, 1:]), (x.astype("f8"), w, y), (x, w, w, y), (x, y)):
        assert "other shapes or dtypes" in Frame(text, *arrays).run()
    assert "format 2" in Frame(text.replace('"format":1', '"format":2'), x, w, y).run()
    assert "cannot run this program" in Frame("nonsense", x, w, y).run()
    frame = Frame(text, x, w, y)
    frame.frame.stage = 0
    y[:] = 0
    assert frame.run() == ""
    assert not y.any()  # another stage does nothing


def test_many_calls_are_found_again():
    handler = ffi_handler.handler()
    text = a_call()[0]
    texts = [text.replace('"batch":1', f'"batch":{batch}') for batch in range(1, 300)]
    addresses = [handler.add(each) for each in texts]
    assert len(set(addresses)) == len(texts)
    assert addresses == [handler.add(each) for each in texts]
    w = np.ones((3, 3, 2), "f")
    for batch in (1, 2, 150, 299):
        x, y = np.ones((batch, 4, 3), "f"), np.zeros((batch, 8, 2), "f")
        assert Frame(texts[batch - 1], x, w, y).run() == ""
        assert np.array_equal(y, jax.lax.conv_transpose(x, w, (2,), "SAME"))


def test_the_query_of_the_version():
    metadata = frames.Metadata(struct_size=ctypes.sizeof(frames.Metadata))
    extension = frames.Extension(type=frames.EXTENSION_METADATA, metadata=ctypes.addressof(metadata))
    frame = frames.CallFrame(extension_start=ctypes.addressof(extension))
    handler = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p)(ffi_handler.handler().address)
    assert handler(ctypes.addressof(frame)) == 0
    assert (metadata.api_version.major_version, metadata.api_version.minor_version) == (0, 1)


def test_the_layout_of_the_call_frame():
    """Offsets of c_api.h, which no release has changed."""
    offsets = {
        (frames.CallFrame, "api"): 16,
        (frames.CallFrame, "ctx"): 24,
        (frames.CallFrame, "stage"): 32,
        (frames.CallFrame, "args", "args"): 72,
        (frames.CallFrame, "rets", "args"): 112,
        (frames.CallFrame, "attrs", "attrs"): 160,
        (frames.Buffer, "dtype"): 16,
        (frames.Buffer, "data"): 24,
        (frames.Buffer, "dims"): 40,
        (frames.Extension, "metadata"): 24,
        (frames.Metadata, "api_version", "major_version"): 24,
        (frames.Api, "Error_Create"): 56 - 8,
    }
    for (structure, *names), expected in offsets.items():
        assert frames.offset(structure, *names) == expected, names
    assert handler_code.ASK_FOR_INTEGERS < 4096  # no address of a call frame


# -- programs in other processes -----------------------------------------------------------------------------------


PROGRAM = """
    import jax, numpy as np, tconv.jax
    jax.config.update("jax_compilation_cache_dir", FOLDER)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    hits = []
    jax.monitoring.register_event_listener(lambda name, **_: hits.append(name) if "cache_hits" in name else None)
    y = jax.jit(lambda x, w: tconv.jax.conv_transpose(x, w, (2,), "SAME"))(np.ones((1, 4, 3), "f"), np.ones((3, 3, 2), "f"))
    print(len(hits), float(y.sum()))
"""


def test_a_program_from_the_cache_of_another_process(python, tmp_path):
    text = dedent(PROGRAM).replace("FOLDER", repr(str(tmp_path)))
    first, second = python(text).split(), python(text).split()
    assert first[1] == second[1]
    assert int(first[0]) == 0 < int(second[0])


def test_an_exported_program_needs_no_tconv(python, tmp_path):
    x, w = whole_numbers(np.random.default_rng(14), (2, 5, 3)), whole_numbers(np.random.default_rng(15), (4, 3, 2))
    both = jax.jit(lambda x, w: (up(x, w, (2,), "SAME"), jax.grad(lambda w: up(x, w, (2,), "SAME").sum())(w)))
    exported = jax.export.export(both, platforms=("cpu", "cuda"))(x, w)
    assert "custom_call" not in exported.mlir_module()
    (tmp_path / "program").write_bytes(exported.serialize())
    np.savez(tmp_path / "arrays", x=x, w=w, y=both(x, w)[0], gradient=both(x, w)[1])
    text = f"""
        import jax, jax.export, numpy as np, sys
        arrays = np.load({str(tmp_path / "arrays.npz")!r})
        program = jax.export.deserialize(bytearray(open({str(tmp_path / "program")!r}, "rb").read()))
        y, gradient = program.call(arrays["x"], arrays["w"])
        print((y == arrays["y"]).all(), (gradient == arrays["gradient"]).all(), "tconv" in sys.modules)
        """
    printed = python(dedent(text))
    assert printed.split() == ["True", "True", "False"]


@pytest.mark.skipif(
    not hasattr(jax, "set_mesh"), reason="this JAX has no explicit meshes; test_jax_processes.py has the others"
)
def test_several_devices(python):
    text = """
        import jax, jax.numpy as jnp, numpy as np, tconv.jax
        from concurrent.futures import ThreadPoolExecutor
        from jax.sharding import AxisType, NamedSharding, PartitionSpec as P

        rng = np.random.default_rng(0)
        x, w = (jnp.asarray(rng.integers(-3, 4, shape), jnp.float32) for shape in ((8, 5, 6, 3), (4, 4, 3, 2)))
        bias = jnp.array([1.0, 2.0])
        up = lambda x, w, b: tconv.jax.conv_transpose(x, w, (2, 2), "SAME", bias=b)
        theirs = lambda x, w, b: jax.lax.conv_transpose(x, w, (2, 2), "SAME") + b
        expected = theirs(x, w, bias)
        gradient = lambda f: jax.jit(jax.grad(lambda *arrays: (f(*arrays) ** 2).sum(), (0, 1, 2)))
        gradients = gradient(theirs)(x, w, bias)
        equal = lambda a, b: all((one == other).all() for one, other in zip(a, b))

        mesh = jax.make_mesh((4,), ("d",), axis_types=(AxisType.Auto,))
        parts = jax.shard_map(up, mesh=mesh, in_specs=(P("d"), P(), P()), out_specs=P("d"))
        assert (jax.jit(parts)(x, w, bias) == expected).all()
        assert equal(gradient(parts)(x, w, bias), gradients)
        for spec in (P("d"), P(None, None, None), P(None, None, None, "d")):
            tall, wide = (jnp.tile(x, 4), jnp.tile(w, (1, 1, 4, 1))) if "d" in spec[1:] else (x, w)
            spread = jax.device_put(tall, NamedSharding(mesh, spec))
            assert (jax.jit(up)(spread, wide, bias) == theirs(tall, wide, bias)).all()
        assert (jax.pmap(up, in_axes=(0, None, None))(x.reshape(4, 2, 5, 6, 3), w, bias).reshape(expected.shape)
                == expected).all()

        with jax.set_mesh(jax.make_mesh((4,), ("d",), axis_types=(AxisType.Explicit,))):
            spread = [jax.device_put(each, spec) for each, spec in ((x, P("d")), (w, P()), (bias, P()))]
            y = jax.jit(up)(*spread)
            assert (y == expected).all() and y.sharding.spec[0] == "d"
            assert equal(gradient(up)(*spread), gradients)
            try:
                jax.jit(up)(jax.device_put(jnp.tile(x, 4), P(None, None, None, "d")), jnp.tile(w, (1, 1, 4, 1)), bias)
            except TypeError as error:
                assert "jax.reshard" in str(error)

        def on(device):
            arrays = [jax.device_put(each, device) for each in (x, w, bias)]
            return all((jax.jit(up)(*arrays) == expected).all() for _ in range(20))

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(on, jax.devices() * 2))
        print("right", len(jax.devices()))
        """
    printed = python(dedent(text), XLA_FLAGS="--xla_force_host_platform_device_count=4")
    assert printed.strip() == "right 4"
