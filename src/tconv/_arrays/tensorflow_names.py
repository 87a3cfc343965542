"""Names of TensorFlow that it does not document, asked for here and nowhere else; each has a safe answer without it.

Nothing here imports TensorFlow: its modules are loaded wherever there is a tensor.
"""

from __future__ import annotations

import sys
from typing import Any


def is_watched(tensor: Any) -> bool:
    """Return True if a GradientTape or a ForwardAccumulator follows a tensor, or if TensorFlow does not tell.

    A call that is taken for a watched one runs on TensorFlow's side, where no gradient is lost.
    """
    record = sys.modules.get("tensorflow.python.eager.record")
    forward = sys.modules.get("tensorflow.python.eager.forwardprop_util")
    if not (hasattr(record, "should_record_backprop") and hasattr(forward, "pack_tangents")):
        return True
    return bool(record.should_record_backprop([tensor]) or forward.pack_tangents([tensor]).tangents)  # type: ignore[union-attr]
