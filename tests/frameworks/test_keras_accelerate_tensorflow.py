"""tconv.keras.accelerate on tensorflow."""

import os

import pytest

os.environ["KERAS_BACKEND"] = "tensorflow"
pytest.register_assert_rewrite("keras_acceleration")

from keras_acceleration import *  # noqa: E402, F403
