"""tconv.keras.accelerate on jax."""

import os

import pytest

os.environ["KERAS_BACKEND"] = "jax"
pytest.register_assert_rewrite("keras_acceleration")

from keras_acceleration import *  # noqa: E402, F403
