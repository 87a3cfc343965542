"""Random calls in the words of tf.nn: x, weight, bias and native arguments, some of them illegal."""

from __future__ import annotations

from random_calls import random_sizes, whole_numbers

LETTERS = {1: "W", 2: "HW", 3: "DHW"}


def spoiled(rng, arguments, channels_first):
    """One illegal argument. (Sizes of -1 and shapes of the wrong length would end the process.)"""
    ndim = len(arguments["output_shape"]) - 2
    wrong = {
        "strides": [0, [1] * (ndim + 1)],
        "dilations": [0, [1] * (ndim + 1)],
        "padding": ["same", "FULL", [[1, 1]] * ndim, [[1, 0]] + [[0, 0]] * (ndim + 1), [[-1, 0]] * (ndim + 2)],
        "data_format": ["NDC", "nhwc"],
    }
    if ndim == 2:  # in 1-D and 3-D TensorFlow ignores some entries that are not 1
        wrong["strides"] += [[2, 1, 1, 1], [1, 1, 1, 2]] if not channels_first else [[2, 1, 1, 1], [1, 2, 1, 1]]
        wrong["dilations"] += [[2, 1, 1, 1], [1, 1, 1, 2]] if not channels_first else [[2, 1, 1, 1], [1, 2, 1, 1]]
    shape = list(arguments["output_shape"])
    shape[int(rng.choice([0, 1 if channels_first else -1]))] += 1  # batch, or channels
    wrong["output_shape"] = [shape]
    name = str(rng.choice(list(wrong)))
    return {**arguments, name: wrong[name][int(rng.integers(len(wrong[name])))]}


def random_call(rng, ndim):
    """Draw x, weight, bias and arguments, with output sizes around the legal ones and some illegal arguments."""
    groups = (1, 1, 1, 2, 3) if ndim < 3 else (*(1,) * 48, 2, 3)
    drawn = random_sizes(rng, ndim, dilated=0.4, groups=groups, batch=(1, 2, 3))
    s, d = list(drawn.s), list(drawn.d)
    first = bool(rng.random() < 0.4)
    padding = str(rng.choice(["SAME", "VALID", "EXPLICIT"], p=[0.4, 0.4, 0.2] if ndim == 2 else [0.49, 0.49, 0.02]))
    pairs = [[int(v) for v in rng.integers(0, 3, 2)] for _ in range(ndim)]
    sizes = []
    for n_, s_, full, pair in zip(drawn.n, s, drawn.full, pairs, strict=True):
        if padding == "SAME":
            low, high = s_ * (n_ - 1) + 1, s_ * n_
        else:
            low = full - (sum(pair) if padding == "EXPLICIT" else 0)
            high = low + s_ - 1
        stray = 1 if rng.random() < 0.1 else 0
        sizes.append(max(1, int(rng.integers(low - stray, high + stray + 1))))  # -1 would end the process
    around = lambda values, ends: [*ends[:1], *values, *ends[1:]] if not first else [*ends, *values]  # noqa: E731
    arguments = {
        "output_shape": around(sizes, [drawn.batch, drawn.c_out]),
        "strides": s,
        "padding": padding if padding != "EXPLICIT" else around(pairs, [[0, 0], [0, 0]]),
    }
    if first or rng.random() < 0.5:
        arguments["data_format"] = f"NC{LETTERS[ndim]}" if first else f"N{LETTERS[ndim]}C"
    if max(d) > 1 or rng.random() < 0.5:
        arguments["dilations"] = d
    for name in ("strides", "dilations"):
        chance = rng.random()
        if name in arguments and chance < 0.3:
            arguments[name] = around(arguments[name], [1, 1])
        elif name in arguments and chance < 0.5 and len(set(arguments[name])) == 1:
            arguments[name] = arguments[name][0]
    x = whole_numbers(rng, around(drawn.n, [drawn.batch, drawn.c_in]))
    w = whole_numbers(rng, [*drawn.k, drawn.out_per_group, drawn.c_in])
    bias = whole_numbers(rng, [drawn.c_out]) if rng.random() < 0.5 else None
    return x, w, bias, arguments if rng.random() < 0.9 else spoiled(rng, arguments, first)
