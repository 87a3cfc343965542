"""Serve one decoder to many speakers at once: an asyncio server whose sessions run in one batch, and its client.

    python examples/streaming_server.py                                      # serve on TCP port 8765
    python examples/streaming_server.py --client --seconds 2 --output out.wav
    python examples/streaming_server.py --unix /tmp/decoder.sock             # the same on a Unix socket
    python examples/streaming_server.py --check                              # server and three clients in one process

One connection has one session at a time. Every message, in both directions, is a byte for its kind, four bytes for the
length of what follows (big-endian), and that:

    client   O  open the session
             P  push features: float32, little-endian, [channels, n], in C order; n is any number
             E  end: no features follow
    server   O  opened: JSON with the channels of features and audio, the sample rate, and the latency in samples
             A  audio: float32 [channels, m], what became final; m may be 0
             B  busy: the last O or P was not taken, because the queue is full. Send it again later
             E  ended: the audio before it was the last
             X  error: a text; the connection closes

A session that sends nothing pauses: it costs its state and no time. One that vanishes is closed, and its place is free.
All queued chunks, one of each session, run as one batch. The audio of a session is the same, bit for bit, as that of
its whole input decoded at once, whatever else the server does.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import signal
import struct
import wave
from collections import deque

import numpy as np
import torch
from torch import nn

import tconv.torch

SAMPLE_RATE = 16000
MOST_SESSIONS, MOST_WAITING, MOST_BYTES = 64, 8, 1 << 14
"""Sessions at once, chunks of one session that wait, and bytes of a message."""
MOST_UNREAD = 1 << 20
"""Bytes of audio that a client has not read, from which on its session waits."""
LAST_SECONDS = 2
"""Time in which clients may read what is left when the server stops."""


def decoder():
    """Return a small vocoder with random weights: [N, 20, frames] -> [N, 1, 160 * frames]."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv1d(20, 64, 7, padding=3),
        nn.LeakyReLU(0.1),
        nn.ConvTranspose1d(64, 32, 20, 10, 5),
        nn.LeakyReLU(0.1),
        nn.ConvTranspose1d(32, 16, 8, 4, 2),
        nn.LeakyReLU(0.1),
        nn.ConvTranspose1d(16, 8, 8, 4, 2),
        nn.LeakyReLU(0.1),
        nn.Conv1d(8, 1, 7, padding=3),
        nn.Tanh(),
    ).eval()


# -- messages --------------------------------------------------------------------------------------------------------


class ProtocolError(Exception):
    """A message that the protocol does not have."""


def message(kind, body=b""):
    """Return the bytes of a message."""
    return struct.pack("!cI", kind, len(body)) + body


async def received(reader, most=1 << 32):
    """Return the kind and the body of the next message; (b"", b"") at the end of the connection.

    Raises ProtocolError for a body of more bytes than `most`.
    """
    try:
        kind, length = struct.unpack("!cI", await reader.readexactly(5))
        if length > most:
            raise ProtocolError(f"a message of {length} bytes; {most} is the most")
        return kind, await reader.readexactly(length)
    except (asyncio.IncompleteReadError, ConnectionError):
        return b"", b""


def features_of(body, channels):
    """Return the features [channels, n] of a message."""
    if len(body) % (4 * channels):
        raise ProtocolError(f"{len(body)} bytes of features; a multiple of {4 * channels} is needed")
    return np.frombuffer(body, "<f4").reshape(channels, -1).astype(np.float32)


# -- the server ------------------------------------------------------------------------------------------------------


class Connection:
    """One client: its session in the stream, and the chunks that wait."""

    def __init__(self, writer):
        self.writer, self.session = writer, None
        self.waiting = deque()
        self.opening = self.ending = self.gone = False

    @property
    def has_place(self):
        """True for a session that is open, or about to be."""
        return self.opening or self.session is not None

    @property
    def is_slow(self):
        """True for a client that does not read its audio."""
        return self.writer.transport.get_write_buffer_size() > MOST_UNREAD

    def send(self, kind, body=b""):
        """Queue a message for the client, unless it is gone."""
        if not self.gone and not self.writer.is_closing():
            self.writer.write(message(kind, body))

    def send_audio(self, audio):
        """Queue audio [1, m] for the client."""
        self.send(b"A", np.asarray(audio).astype("<f4").tobytes())


class Server:
    """Sessions of one stream. Only `_run` touches the stream, so that nothing opens or closes within a batch."""

    def __init__(self, stream, about):
        self._stream, self._about = stream, about
        self._connections, self._work = set(), asyncio.Event()
        self._again = None
        self.stopped = False
        """True once nothing more is taken."""
        self.largest = 0
        """Most sessions in one batch so far."""

    @property
    def sessions(self):
        """Number of sessions that are open, or about to be."""
        return sum(each.has_place for each in self._connections)

    async def start(self, **address):
        """Listen on a host and a port, or on the path of a Unix socket. Return the sockets."""
        listen = asyncio.start_unix_server if "path" in address else asyncio.start_server
        self._listener = await listen(self._serve, **address)
        self._loop = asyncio.create_task(self._run())
        return self._listener.sockets

    async def stop(self):
        """Take nothing more, decode what waits, tell the clients, and close."""
        self.stopped = True
        self._listener.close()
        self._work.set()
        await self._loop
        for connection in self._connections:
            connection.send(b"X", b"the server shuts down")
            connection.writer.close()
        closing = [asyncio.create_task(each.writer.wait_closed()) for each in self._connections]
        if closing:
            await asyncio.wait(closing, timeout=LAST_SECONDS)
        for connection in self._connections:
            connection.writer.transport.abort()  # it does not read; nothing waits for it
        await asyncio.gather(*closing, return_exceptions=True)
        await self._listener.wait_closed()

    async def _serve(self, reader, writer):
        """Take the messages of one client until it ends or vanishes."""
        connection = Connection(writer)
        self._connections.add(connection)
        try:
            while (received_now := await received(reader, MOST_BYTES))[0]:
                self._take(connection, *received_now)
                await writer.drain()  # of a client that does not read its answers, nothing more is read
                await asyncio.sleep(0)  # one that sends without a pause leaves time to the others
        except ProtocolError as error:
            connection.send(b"X", str(error).encode())
        except ConnectionError:
            pass  # it vanished
        finally:
            connection.gone = True
            writer.close()
            self._work.set()  # its session is closed between two batches

    def _take(self, connection, kind, body):
        """Queue what a client asks for, or answer that the queue is full."""
        busy = self.stopped
        if kind == b"O" and not connection.has_place:
            busy |= self.sessions >= MOST_SESSIONS
            connection.opening = not busy
        elif kind == b"P" and connection.has_place and not connection.ending:
            chunk = features_of(body, self._about["features"])
            busy |= len(connection.waiting) >= MOST_WAITING
            if not busy:
                connection.waiting.append(chunk)
        elif kind == b"E" and connection.has_place and not connection.ending:
            connection.ending, busy = True, False
        else:
            raise ProtocolError(f"message {kind.decode('latin-1')!r} is not expected here")
        if busy:
            connection.send(b"B")
        self._work.set()

    async def _run(self):
        """Run batches while there is work."""
        while not self.stopped:
            await self._work.wait()
            self._work.clear()
            while await self._batch():
                await asyncio.sleep(0)  # let clients be heard between two batches

    async def _batch(self):
        """Open and close sessions, and advance all that have a chunk. Return False if there was nothing to do."""
        for connection in [each for each in self._connections if each.gone]:
            self._connections.remove(connection)
            self._close(connection)
        for connection in [each for each in self._connections if each.opening]:
            connection.opening, connection.session = False, self._stream.open()
            connection.send(b"O", json.dumps(self._about).encode())
        ready = [each for each in self._connections if each.waiting and each.session is not None]
        if any(each.is_slow for each in ready):  # it keeps its chunks until the client has read; look again soon
            ready = [each for each in ready if not each.is_slow]
            if self._again is not None:
                self._again.cancel()  # one timer, however many batches others have
            self._again = asyncio.get_running_loop().call_later(0.05, self._work.set)
        if ready:
            chunks = {each.session: torch.from_numpy(each.waiting.popleft()) for each in ready}
            audio = await asyncio.to_thread(self._stream.push, chunks)
            self.largest = max(self.largest, len(ready))
            for connection in ready:
                connection.send_audio(audio[connection.session])
        ended = [each for each in self._connections if each.ending and not each.waiting and each.session is not None]
        for connection in ended:
            try:
                connection.send_audio(await asyncio.to_thread(self._stream.flush, connection.session))
                connection.send(b"E")
            except tconv.TconvError as error:  # fewer features than the decoder needs at least
                connection.send(b"X", str(error).encode())
                connection.writer.close()
            self._close(connection)
        return bool(ready or ended)

    def _close(self, connection):
        """Close the session of a connection, which may open another."""
        if connection.session is not None:
            self._stream.close(connection.session)
        connection.session, connection.ending = None, False


def serving():
    """Return a server of the decoder, with no session yet."""
    stream = tconv.torch.stream(decoder(), torch.zeros(1, 20, 32), sample_rate=SAMPLE_RATE, batch=0)
    about = {"features": 20, "channels": 1, "sample_rate": SAMPLE_RATE, "latency": stream.latency}
    return Server(stream, about)


# -- the client ------------------------------------------------------------------------------------------------------


async def speak(chunks, pause=0.0, **address):
    """Return the audio [1, T] of chunks of features [channels, n], and how often the server was busy."""
    connect = asyncio.open_unix_connection if "path" in address else asyncio.open_connection
    reader, writer = await connect(**address)
    audio, busy = [], 0

    async def request(kind, body=b""):
        """Send a message until the server takes it; return its answer."""
        nonlocal busy
        while True:
            writer.write(message(kind, body))
            answer, text = await received(reader)
            if answer in (b"X", b""):
                raise ConnectionError(text.decode() or "the server closed the connection")
            if answer != b"B":
                return text
            busy += 1
            await asyncio.sleep(0.02)

    try:
        await request(b"O")
        for chunk in chunks:
            audio.append(await request(b"P", chunk.astype("<f4").tobytes()))
            await asyncio.sleep(pause)
        audio.append(await request(b"E"))
    finally:
        writer.close()
    return np.concatenate([np.frombuffer(each, "<f4") for each in audio])[None], busy


def features(seconds, seed):
    """Return features [20, frames] of made-up speech, 100 frames a second."""
    return np.random.default_rng(seed).standard_normal((20, int(100 * seconds)), dtype=np.float32)


def cut(x, rng):
    """Return the columns of x in chunks of random lengths, some of them empty."""
    places = np.sort(rng.integers(0, x.shape[1] + 1, max(1, x.shape[1] // 4)))
    return np.split(x, places, 1)


def write_wav(path, audio):
    """Write audio [1, T] between -1 and 1 as 16-bit samples."""
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, SAMPLE_RATE, 0, "NONE", ""))
        file.writeframes((audio[0] * 32767).round().astype("<i2").tobytes())


# -- both ------------------------------------------------------------------------------------------------------------


async def check():
    """Serve three clients, one that vanishes and one that floods, and compare every output with the offline one."""
    server = serving()
    sockets = await server.start(host="127.0.0.1", port=0)
    port = sockets[0].getsockname()[1]
    offline = tconv.torch.stream(decoder(), torch.zeros(1, 20, 32))
    inputs = [features(seconds, seed) for seed, seconds in enumerate((0.6, 1.0, 0.3))]
    cuts = [cut(x, np.random.default_rng(9)) for x in inputs]
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(message(b"O") + message(b"P", np.ones((20, 5), "<f4").tobytes()))
    await writer.drain()
    writer.close()  # a client that vanishes in the middle
    pauses = 0, 0, 0.002
    speakers = [speak(*each, host="127.0.0.1", port=port) for each in zip(cuts, pauses, strict=True)]
    *results, busy = await asyncio.gather(*speakers, flood(port))
    await server.stop()
    for x, (audio, _) in zip(inputs, results, strict=True):
        whole = np.asarray(offline(torch.from_numpy(x[None])))[0]
        if audio.shape != whole.shape or not (audio == whole).all():
            raise SystemExit(f"a session of {x.shape[1]} frames differs from the offline result")
    print(f"3 sessions equal the offline result, bit for bit; up to {server.largest} ran in one batch")
    print(f"a client that sent {MOST_WAITING + 30} chunks at once was told {busy} times that the server is busy")
    if not busy or server.largest < 2:
        raise SystemExit("the server was never busy, or never ran two sessions in one batch")


async def flood(port):
    """Send more chunks at once than may wait; return how often the server was busy."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    count = MOST_WAITING + 30
    writer.write(message(b"O") + message(b"P", np.ones((20, 40), "<f4").tobytes()) * count + message(b"E"))
    kinds = []
    while (kind := (await received(reader))[0]) not in (b"E", b""):
        kinds.append(kind)
    writer.close()
    return kinds.count(b"B")


async def serve(address):
    """Serve until the process is told to stop, then end gracefully."""
    server, stopped = serving(), asyncio.Event()
    await server.start(**address)
    for each in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # on Windows
            asyncio.get_running_loop().add_signal_handler(each, stopped.set)
    print(f"serving on {address}; stop with Ctrl-C", flush=True)
    await stopped.wait()
    await server.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--client", action="store_true")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8765)
    parser.add_argument("--unix", help="path of a Unix socket, instead of host and port")
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", default="out.wav")
    given = parser.parse_args()
    address = {"path": given.unix} if given.unix else {"host": given.host, "port": given.port}
    if given.check:
        asyncio.run(check())
    elif given.client:
        chunks = np.array_split(features(given.seconds, given.seed), max(1, int(50 * given.seconds)), 1)
        audio, busy = asyncio.run(speak(chunks, 0.02, **address))
        write_wav(given.output, audio)
        print(f"{audio.shape[1] / SAMPLE_RATE:.2f} s of audio in {given.output}; the server was busy {busy} times")
    else:
        asyncio.run(serve(address))


if __name__ == "__main__":
    main()
