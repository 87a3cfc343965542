"""tconv.keras' layers on torch."""

import os

import pytest

os.environ["KERAS_BACKEND"] = "torch"
pytest.register_assert_rewrite("keras_layers")

from keras_layers import *  # noqa: E402, F403
