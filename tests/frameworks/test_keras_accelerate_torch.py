"""tconv.keras.accelerate on torch."""

import os

import pytest

os.environ["KERAS_BACKEND"] = "torch"
pytest.register_assert_rewrite("keras_acceleration")

from keras_acceleration import *  # noqa: E402, F403
