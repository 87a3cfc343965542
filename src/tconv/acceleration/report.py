"""Result of `accelerate`: the layers that were replaced, their times, and the possible gain."""

from __future__ import annotations

from typing import NamedTuple

from tconv.acceleration.paired_timing import Estimate


def display_name(name: str) -> str:
    """Return a module's name for a message; the name of the model itself is empty."""
    return name or "the model"


class LayerReport(NamedTuple):
    """One layer that was replaced, or could have been; seconds, input and gain are None where nothing was measured.

    >>> layer = LayerReport("0", "ConvTranspose2d", (1, 64, 20, 20), 0.001, "simd", (), 1.5)
    >>> layer.method, layer.reasons
    ('simd', ())
    """

    name: str
    kind: str
    input: tuple[int, ...] | None
    seconds: float | None
    method: str
    """"simd" or "winograd" or "tconv", which are tconv's, or the framework in small letters."""
    reasons: tuple[str, ...]
    gain: float | None
    """The framework's time divided by tconv's, in its place in the model, with the modules that are fused with it."""
    dtype: str = ""
    """Dtype in which it runs; empty where nothing was measured."""
    layout: str = ""
    """"channels last" if its output has that memory format, else empty."""


class Report(NamedTuple):
    """Layers that were replaced, layers that were left alone with reasons, and the possible gain; `str` formats it.

    >>> layer = LayerReport("0", "ConvTranspose2d", None, None, "simd", (), None)
    >>> report = Report((layer,), (("1", "it is on a GPU"),), None)
    >>> len(report.layers), report.left[0][1]
    (1, 'it is on a GPU')
    """

    layers: tuple[LayerReport, ...]
    left: tuple[tuple[str, str], ...]
    """Names of layers that were left alone, with the reason."""
    seconds: float | None
    """A forward pass with the framework's layers."""
    fused: tuple[tuple[str, str], ...] = ()
    unfused: tuple[tuple[str, str], ...] = ()
    difference: float | None = None
    """The largest absolute change of the model's output."""
    gain: Estimate | None = None
    """Measured gain of the whole model with its 95% interval; 1 if all layers are left to the framework."""
    notes: tuple[str, ...] = ()
    """Undocumented names that this release of the framework lacks, with what follows from it."""
    framework: str = "PyTorch"
    call: str = "tconv.torch.accelerate"
    """Function that makes the report."""

    @property
    def _owner(self) -> str:
        return self.framework + ("'" if self.framework.endswith("s") else "'s")

    def is_left(self, layer: LayerReport) -> bool:
        """Return True for a layer that the framework's operator computes."""
        return layer.method == self.framework.lower()

    @property
    def share(self) -> float | None:
        """Share of the forward pass that transposed convolutions take, 0 to 1; None if nothing was measured."""
        if self.seconds is None:
            return None
        return min(1.0, sum(layer.seconds or 0.0 for layer in self.layers) / self.seconds)

    @property
    def ceiling(self) -> float | None:
        """Gain of the model if they took no time: 1 / (1 - share)."""
        return None if self.share is None else 1 / max(1e-9, 1 - self.share)

    @property
    def expected(self) -> float | None:
        """Expected gain of the whole model, as measured; 1 if all layers are left to the framework."""
        return None if self.gain is None else self.gain.value

    def __str__(self) -> str:
        lines = [self._first()]
        width = max((len(display_name(layer.name)) for layer in self.layers), default=0)
        lines += [f"  {display_name(layer.name):<{width}}  {self._line(layer)}" for layer in self.layers]
        lines += [f"  left alone: {display_name(name)}: {reason}" for name, reason in self.left]
        lines += [f"  fused: {display_name(name)} with {modules}" for name, modules in self.fused]
        lines += [f"  not fused: {display_name(name)}: {reason}" for name, reason in self.unfused]
        if self.difference is not None:
            lines.append(f"  largest change of the output: {self.difference:.2g}")
        lines += [f"  note: {note}" for note in self.notes]
        return "\n".join(lines)

    def _first(self) -> str:
        if not self.layers:
            return "there is no transposed convolution to replace"
        if self.share is None or self.ceiling is None or self.gain is None:
            count = len(self.layers)
            head = f"{count} transposed convolution{'s' * (count > 1)} on tconv's kernel; not measured. "
            if any(layer.reasons for layer in self.layers):
                return head + f"The example reaches none of them; write {self.call} with another"
            return head + f"Write {self.call}(model, x) to see the possible gain"
        head = f"transposed convolutions take {100 * self.share:.0f}% of this model: at best {self.ceiling:.2f}x; "
        if self.gain.value > self.ceiling:  # layers and model are timed apart, and here they contradict each other
            head = f"transposed convolutions, timed alone, take {100 * self.share:.0f}% of this model; timed in it, "
        if self.share > 0.98:  # the ceiling would be a number without a meaning
            head = "transposed convolutions take nearly all of this model; "
        if all(map(self.is_left, self.layers)):
            return head + f"all are left to {self.framework}, and 1.00x is expected"
        gain = self.gain
        return head + f"{gain.value:.2f}x is expected (95%: {gain.low:.2f} to {gain.high:.2f})"

    def _line(self, layer: LayerReport) -> str:
        if layer.seconds is None or layer.input is None:
            return f"{layer.kind}{': ' * bool(layer.reasons)}{'; '.join(layer.reasons)}"
        share = min(100.0, 100 * layer.seconds / (self.seconds or layer.seconds))
        layout = f", {layer.layout}" if layer.layout else ""
        head = f"{layer.kind} {list(layer.input)} {layer.dtype}{layout}: {1e3 * layer.seconds:.3g} ms, {share:.0f}%"
        if self.is_left(layer):
            return f"{head}; {self._owner} operator: {'; '.join(layer.reasons)}"
        return f"{head}; {layer.gain:.2f}x"
