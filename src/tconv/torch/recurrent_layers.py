"""Recurrent layers of PyTorch as steps of a stream."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from tconv.errors import ArgumentError
from tconv.streaming.recurrent import Recurrent, RecurrentWeights

_CELLS = {"LSTM": "lstm", "GRU": "gru", "RNN_TANH": "tanh", "RNN_RELU": "relu"}


def recurrent_step(module: nn.RNNBase) -> Recurrent:
    """Return the step of torch.nn.LSTM, GRU or RNN, in eval mode. Its channels are those of a sample.

    >>> from torch import nn
    >>> recurrent_step(nn.LSTM(16, 32, num_layers=2)).output_channels([16])
    32

    Dropout between layers counts as that of eval mode: none. Raises ArgumentError for layers in both directions.
    """
    if module.bidirectional:
        raise ArgumentError(
            f"{type(module).__name__} is bidirectional: its second direction begins at the end of the input, which a "
            "stream has not seen. Write bidirectional=False, or train a model that reads forwards"
        )
    names = "weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr"
    return Recurrent(
        _CELLS[module.mode],
        tuple(RecurrentWeights(*(_array(module, f"{name}_l{k}") for name in names)) for k in range(module.num_layers)),
    )


def _array(module: nn.Module, name: str) -> Any:
    """Return a copy of a parameter, float32 for 2-byte floats; None if there is none of that name."""
    tensor = getattr(module, name, None)
    if tensor is None:
        return None
    tensor = tensor.detach().cpu()
    if tensor.dtype in (torch.float16, torch.bfloat16):
        tensor = tensor.float()
    return np.array(tensor.numpy())
