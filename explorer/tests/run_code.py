"""Run lines of the page in Python: read [{code, dialect, x, weight, groups, full}] as JSON, print what y is after each.

x and weight are [shape, numbers] in tconv's canonical layout; a named dialect gets them in its own.
"""

import json
import sys

import numpy as np

import tconv


def result(code, dialect, x, weight, groups):
    """Return y [shape, numbers] after the code, channels first."""
    x, weight = (np.reshape(np.array(numbers, float), shape) for shape, numbers in (x, weight))
    names = {"np": np, "tconv": tconv}
    if dialect is None:
        names |= {"x": x if x.shape[0] > 1 else x[0], "w": weight if weight.shape[:2] != (1, 1) else weight[0, 0]}
        exec(code, names)
        y = names["y"]
        return y if y.ndim == x.ndim else y[None]
    reader = tconv.dialect(dialect)
    pattern = reader.data_patterns[0]
    x = np.moveaxis(x, 0, -1) if pattern.endswith("C") else x
    names |= {"x": x[None] if "N" in pattern else x, "weight": reader.to_native(weight, groups)}
    exec(code, names)
    y = names["y"][0] if "N" in pattern else names["y"]
    return np.moveaxis(y, -1, 0) if pattern.endswith("C") else y


answers = []
for case in json.load(sys.stdin):
    try:
        y = result(**case)
        answers.append({"shape": y.shape, "numbers": y.ravel().tolist()})
    except Exception as error:
        answers.append({"error": f"{type(error).__name__}: {error}"})
print(json.dumps(answers))
