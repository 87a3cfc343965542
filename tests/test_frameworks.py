"""Runs each framework's tests in processes of their own: imported together, some frameworks crash.

To import one takes seconds, so the files of GROUPS, whose frameworks and settings agree, share a process.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent / "frameworks"
GROUPS = {
    "jax_operators": "jax_handler jax_layers jax_operator jax_standard jax_transforms",
    "jax_dialects": "jax jax_dialects diagnose_jax",
    "jax_libraries": "flax haiku equinox",
    "keras_on_jax": "keras diagnose_keras keras_layers_jax keras_accelerate_jax keras_segmentation_example",
    "keras_on_tensorflow": "keras diagnose_keras keras_layers_tensorflow keras_accelerate_tensorflow "
    "keras_segmentation_example",
    "keras_on_torch": "keras_layers_torch keras_accelerate_torch keras_inventory keras_streams window_layers "
    "keras_segmentation_example",
    "tensorflow_operators": "tensorflow_operator tensorflow_standard",
    "tensorflow_dialects": "tensorflow tensorflow_dialects diagnose_tensorflow network_steps_tensorflow",
    "tflite": "tflite diagnose_tflite tflite_inventory targets_litert",
    "torch_operators": "torch_operator torch_gradients torch_dtypes torch_accelerate torch_acceleration_choice "
    "torch_crops torch_scale",
    "torch_dialects": "torch diagnose_torch interpolation_torch network_steps_torch targets_torch",
    "torch_files": "check_module onnx_exports torch_files torch_inventory",
    "torch_models": "torch_models torch_rewrite",
    "torch_streams": "decoder_streams streaming_layers streaming_istft_torch stream_recurrent_torch window_streams "
    "streaming_examples stream_benchmark",
    "training_examples": "training_examples segmentation_example generation_example",
    "onnx": "onnx onnxruntime diagnose_onnxruntime targets_onnxruntime",
    "openvino": "openvino diagnose_openvino targets_openvino",
    "ncnn": "ncnn diagnose_ncnn ncnn_inventory targets_ncnn",
    "mlx": "mlx diagnose_mlx",
    "paddle": "paddle diagnose_paddle",
}


def processes() -> dict[str, list[Path]]:
    """Return the files of each process; one that is in no group has its own."""
    groups = {name: [FOLDER / f"test_{stem}.py" for stem in stems.split()] for name, stems in GROUPS.items()}
    grouped = {file for files in groups.values() for file in files}
    alone = {
        file.stem.removeprefix("test_"): [file] for file in sorted(FOLDER.glob("test_*.py")) if file not in grouped
    }
    return groups | alone


@pytest.mark.slow
@pytest.mark.parametrize(("name", "files"), processes().items(), ids=processes())
def test_framework(name, files):
    environment = dict(os.environ)
    if "_on_" in name:
        environment["KERAS_BACKEND"] = name.partition("_on_")[2]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "-o", "addopts=-ra", *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, env=environment)
    print(done.stdout[-2000:])
    assert done.returncode == 0, f"{done.stdout[-6000:]}\n{done.stderr[-3000:]}"
