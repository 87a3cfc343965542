"""What `accelerate` has done, and what can be won by it."""

from __future__ import annotations

from typing import NamedTuple


def called(name: str) -> str:
    """A module's name in words: a model has none in itself."""
    return name or "the model"


class LayerReport(NamedTuple):
    """One layer that was replaced, or could have been; seconds, input and gain are None where nothing was measured."""

    name: str
    kind: str
    input: tuple[int, ...] | None
    seconds: float | None
    method: str
    """"simd" or "winograd", tconv's, or "pytorch"."""
    reasons: tuple[str, ...]
    gain: float | None
    """PyTorch's time over tconv's, on the input that was seen."""


class Report(NamedTuple):
    """What was replaced, what was left alone and why, and what can be won; `str` says it in lines."""

    layers: tuple[LayerReport, ...]
    left: tuple[tuple[str, str], ...]
    """Names of layers that were left alone, with the reason."""
    seconds: float | None
    """A forward pass before anything was replaced."""
    fused: tuple[tuple[str, str], ...] = ()
    unfused: tuple[tuple[str, str], ...] = ()
    difference: float | None = None
    """The largest absolute change of the model's output."""

    @property
    def share(self) -> float | None:
        """The part of the forward pass that transposed convolutions take, 0 to 1; None if nothing was measured."""
        if self.seconds is None:
            return None
        return min(1.0, sum(layer.seconds or 0.0 for layer in self.layers) / self.seconds)

    @property
    def ceiling(self) -> float | None:
        """What could be won if they took no time: 1 / (1 - share)."""
        return None if self.share is None else 1 / max(1e-9, 1 - self.share)

    @property
    def expected(self) -> float | None:
        """What is to be expected of the whole model, from the gains of its layers."""
        if self.seconds is None:
            return None
        saved = sum((layer.seconds or 0.0) * (1 - 1 / (layer.gain or 1.0)) for layer in self.layers)
        return self.seconds / max(1e-12, self.seconds - saved)

    def __str__(self) -> str:
        lines = [self._first()]
        width = max((len(called(layer.name)) for layer in self.layers), default=0)
        lines += [f"  {called(layer.name):<{width}}  {self._line(layer)}" for layer in self.layers]
        lines += [f"  left alone: {called(name)}: {reason}" for name, reason in self.left]
        lines += [f"  fused: {called(name)} with {what}" for name, what in self.fused]
        lines += [f"  not fused: {called(name)}: {reason}" for name, reason in self.unfused]
        if self.difference is not None:
            lines.append(f"  largest change of the output: {self.difference:.2g}")
        return "\n".join(lines)

    def _first(self) -> str:
        if not self.layers:
            return "there is no transposed convolution to replace"
        if self.share is None or self.ceiling is None or self.expected is None:
            count = len(self.layers)
            return (
                f"{count} transposed convolution{'s' * (count > 1)} on tconv's kernel; not measured. Write "
                "tconv.torch.accelerate(model, x) to see what can be won"
            )
        return (
            f"transposed convolutions take {100 * self.share:.0f}% of this model: at best {self.ceiling:.2f}x; "
            f"{self.expected:.2f}x is to be expected"
        )

    def _line(self, layer: LayerReport) -> str:
        if layer.seconds is None or layer.input is None:
            return f"{layer.kind}{': ' * bool(layer.reasons)}{'; '.join(layer.reasons)}"
        share = 100 * layer.seconds / (self.seconds or layer.seconds)
        head = f"{layer.kind} {list(layer.input)}: {1e3 * layer.seconds:.3g} ms, {share:.0f}%"
        if layer.method == "pytorch":
            return f"{head}; PyTorch's operator: {'; '.join(layer.reasons)}"
        return f"{head}; {layer.gain:.2f}x"
