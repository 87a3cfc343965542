"""ONNX model files: `check` names their transposed convolutions and traps, `rewrite` replaces them exactly."""
