"""tconv.keras' layers on jax."""

import os

import pytest

os.environ["KERAS_BACKEND"] = "jax"
pytest.register_assert_rewrite("keras_layers")

from keras_layers import *  # noqa: E402, F403
