"""`StreamingConvTranspose1d`, `StreamingConvTranspose2d`: PyTorch's layers that take their input in chunks, too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from tconv.errors import ArgumentError, StaleError
from tconv.streaming.functional import stream
from tconv.streaming.native_stream import NativeStream
from tconv.torch.functional import select_route
from tconv.torch.kernel_call import Call, fingerprint, is_plain
from tconv.torch.modules import ConvTranspose1d, ConvTranspose2d

_ARGUMENTS = ("stride", "padding", "output_padding", "dilation", "groups")


class StreamingLayer:
    """Chunks, sessions and states of both layers; everything else is inherited.

    Sessions keep the packed weight with which they began. Every push compares the numbers of the parameters with it, by
    a fingerprint of their bytes, because no version counter shows all changes.
    """

    def __getstate__(self: Any) -> dict[str, Any]:
        """Return the state for copies and pickles: without sessions, which `state()` saves."""
        return {name: value for name, value in vars(self).items() if name not in ("_live", "_offline")}

    # -- whole inputs --------------------------------------------------------------------------------------------

    def forward(self: Any, input: torch.Tensor, output_size: list[int] | None = None) -> torch.Tensor:
        """Run the layer on a whole input: the bits of the stream, where no gradient, tracer or device is in the way."""
        if torch.compiler.is_compiling() or "_chain" in self.__dict__ or output_size is not None:
            output: torch.Tensor = super().forward(input, output_size)  # type: ignore[misc]
            return output
        plain = select_route(input, self.weight, self.bias) is Call and not torch.is_autocast_enabled("cpu")
        axes = input.dim() - len(self.kernel_size)
        if not plain or input.dtype is not self.weight.dtype or axes not in (1, 2) or 0 in input.shape:
            output = super().forward(input, output_size)  # type: ignore[misc]
            return output
        whole = self._current()[1]
        output = whole(input) if axes == 2 else whole(input.unsqueeze(0)).squeeze(0)
        return output

    # -- chunks --------------------------------------------------------------------------------------------------

    def push(self: Any, chunk: Any) -> Any:
        """Return the outputs that are final with this chunk: [N, C_out, m, ...] for [N, C_in, n, ...], n >= 0.

        The first chunk determines the number of sessions, N; {session: [C_in, n, ...]} pushes some of them. A chunk
        [C_in, n, ...] is that of a single session. Raises ShapeError, DtypeError, ArrayError for a tensor that needs
        gradients or is on another device, ArgumentError after `flush`, and StaleError if the weight has changed since
        the sessions began; they are as before then.
        """
        if isinstance(chunk, dict):
            return self._unless_refused(0, lambda live: live.push(chunk))
        if not isinstance(chunk, torch.Tensor):
            raise ArgumentError(f"the chunk is a {type(chunk).__qualname__}. Write torch.as_tensor(chunk)")
        alone = chunk.dim() == len(self.kernel_size) + 1
        batch = chunk.unsqueeze(0) if alone else chunk
        made = self._unless_refused(len(batch) if batch.dim() else 1, lambda live: live.push(batch))
        return made.squeeze(0) if alone else made

    def _unless_refused(self: Any, batch: int, call: Callable[[NativeStream], Any]) -> Any:
        """Return the result of a call of the sessions; those created for it are dropped if it fails, or leaves none."""
        is_first, done = "_live" not in self.__dict__, False
        try:
            result = call(self._sessions(batch))
            done = bool(self.sessions)
        finally:
            if is_first and not done:
                self.__dict__.pop("_live", None)
        return result

    def flush(self: Any, session: int | None = None) -> torch.Tensor:
        """Return the outputs that are left, at the end of a session, or of all. They take no chunk until `reset`."""
        output: torch.Tensor = self._unless_refused(1, lambda live: live.flush(session))
        return output

    def reset(self: Any, session: int | None = None) -> None:
        """Begin a session anew; without one all of them, whose number is that of the next chunk."""
        if session is None:
            self.__dict__.pop("_live", None)
        else:
            self._unless_refused(0, lambda live: live.reset(session))

    def open(self: Any) -> int:
        """Return the number of a new session."""
        return int(self._sessions(0).open())

    def close(self: Any, session: int) -> None:
        """Drop a session."""
        self._unless_refused(0, lambda live: live.close(session))

    @property
    def sessions(self: Any) -> tuple[int, ...]:
        """Numbers of the open sessions."""
        live = self.__dict__.get("_live")
        return () if live is None else tuple(live[1].sessions)

    def state(self: Any, session: int | None = None) -> dict[str, Any]:
        """Return the state of a session, or of all, as NumPy arrays, for `restore` here or in another process."""
        live = self._sessions(1) if "_live" in self.__dict__ else self._current()[1].with_sessions(1)
        return dict(live.state(session))

    def restore(self: Any, state: Any, session: int | None = None) -> None:
        """Go on where a state was saved, with the same weight. Raises ArgumentError or ShapeError for another one's."""
        self._unless_refused(1, lambda live: live.restore(state, session))

    @property
    def latency(self: Any) -> int:
        """Samples of the output that wait for inputs: n inputs give n times the stride of them, less these."""
        return int(self._current()[1].latency)

    @property
    def state_bytes(self: Any) -> int:
        """Bytes of the window of inputs that a session keeps."""
        return int((self.__dict__.get("_live") or self._current())[1].state_bytes)

    # -- weights -------------------------------------------------------------------------------------------------

    def _print(self: Any) -> tuple[Any, ...]:
        """Return what identifies the numbers of the parameters, and the arguments."""
        tensors = [each.detach() for each in (self.weight, self.bias) if each is not None]
        prints = [fingerprint(each) if is_plain(each) else each.device for each in tensors]
        arguments = [(getattr(self, name), tensors[0].dtype) for name in _ARGUMENTS]
        return *prints, *arguments

    def _current(self: Any, print_: Any = None) -> tuple[Any, NativeStream]:
        """Return the fingerprint of the parameters as they are, and a stream of them for whole inputs."""
        print_ = self._print() if print_ is None else print_
        offline = self.__dict__.get("_offline")
        if offline is None or offline[0] != print_:
            bias = None if self.bias is None else self.bias.detach()
            made = stream(self.weight.detach(), bias, **{name: getattr(self, name) for name in _ARGUMENTS})
            self.__dict__["_offline"] = offline = (print_, made)
        return offline  # type: ignore[no-any-return]

    def _sessions(self: Any, batch: int) -> NativeStream:
        """Return the sessions, so many new ones if there are none. Raises StaleError if the weight has changed."""
        print_, live = self._print(), self.__dict__.get("_live")
        if live is None:
            self.__dict__["_live"] = live = (print_, self._current(print_)[1].with_sessions(batch))
        if live[0] != print_:
            raise StaleError(
                "the weight, the bias or an argument of the layer has changed since its sessions began, and their next "
                "outputs would be of two layers. Write layer.reset() to begin with the present ones"
            )
        return live[1]  # type: ignore[no-any-return]


class StreamingConvTranspose1d(StreamingLayer, ConvTranspose1d):
    """`torch.nn.ConvTranspose1d` that takes its input in chunks, too: the same arguments, weights and state dict.

    >>> import torch, tconv.torch
    >>> layer, x = tconv.torch.StreamingConvTranspose1d(8, 4, 16, stride=8, padding=4), torch.randn(1, 8, 50)
    >>> with torch.no_grad():
    ...     chunks = [layer.push(chunk) for chunk in x.split(7, dim=2)] + [layer.flush()]
    ...     print(torch.equal(torch.cat(chunks, 2), layer(x)), layer.latency)
    True 4

    `push(chunk)` takes [N, C_in, n] with any n and returns the outputs that are final, `flush()` the rest, and
    `reset()` begins anew. `layer(x)` is the result of a whole x, with the same bits where no gradient is needed: write
    `with torch.no_grad():`. With gradients or complex numbers, under autocast, on other devices and in compiled or
    exported graphs it is that of `tconv.torch.ConvTranspose1d`. Chunks are on the CPU and of the weight's dtype.
    Sessions keep the weight with which they began: if it changes, `push` refuses until `reset()`. A crop that PyTorch's
    arguments cannot express, as a causal one, is that of `tconv.stream(weight, bias, stride=s, crop=((0, k - s),))`.
    """


class StreamingConvTranspose2d(StreamingLayer, ConvTranspose2d):
    """`torch.nn.ConvTranspose2d` that takes its input row by row, too; see `StreamingConvTranspose1d`.

    >>> import torch, tconv.torch
    >>> layer = tconv.torch.StreamingConvTranspose2d(8, 4, (4, 3), stride=(2, 1), padding=1)
    >>> layer.push(torch.randn(1, 8, 5, 20)).shape, layer.flush().shape
    (torch.Size([1, 4, 9, 20]), torch.Size([1, 4, 1, 20]))

    Time is the first spatial axis; the second is whole, and its size is that of the first chunk.
    """


for _layer in (StreamingConvTranspose1d, StreamingConvTranspose2d):
    _layer.__module__ = "tconv.torch"  # pickles name the public module, so that files can move
