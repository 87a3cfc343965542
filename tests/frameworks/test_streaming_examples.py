"""The examples and the page of streams: a server of many sessions, a decoder that writes while it decodes."""

import asyncio
import sys
import wave
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
sys.path.insert(0, str(EXAMPLES))

import streaming_server as example  # noqa: E402
import torch  # noqa: E402

torch.set_num_threads(1)  # small layers: threads that wait for each other only cost time


async def serving(function):
    """Run a function of a server and its port."""
    server = example.serving()
    sockets = await server.start(host="127.0.0.1", port=0)
    try:
        return await function(server, sockets[0].getsockname()[1])
    finally:
        if not server.stopped:
            await server.stop()


def test_sessions_equal_the_offline_result(capsys):
    asyncio.run(example.check())
    assert "bit for bit" in capsys.readouterr().out


def test_a_stop_decodes_what_waits_and_tells_the_clients():
    async def check(server, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        chunk = np.ones((20, 30), "<f4").tobytes()
        writer.write(example.message(b"O") + 3 * example.message(b"P", chunk))
        assert (await example.received(reader))[0] == b"O"
        await server.stop()
        kinds = [(await example.received(reader))[0] for _ in range(5)]
        assert kinds == [b"A", b"A", b"A", b"X", b""]
        with pytest.raises(OSError, match=r"."):
            await asyncio.open_connection("127.0.0.1", port)

    asyncio.run(serving(check))


def test_wrong_messages_are_answered_and_hurt_nobody():
    async def answer(port, *messages):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"".join(messages))
        found = []
        while (each := await example.received(reader))[0]:
            found.append(each)
        writer.close()
        return found

    async def check(server, port):
        opened = example.message(b"O")
        for wrong, text in (
            (example.message(b"P", b"1234"), "not expected here"),
            (opened + example.message(b"Z"), "'Z' is not expected"),
            (opened + example.message(b"P", b"123"), "a multiple of 80"),
            (opened + example.message(b"P", bytes(example.MOST_BYTES + 80)), "is the most"),
        ):
            *_, (kind, body) = await answer(port, wrong)
            assert kind == b"X"
            assert text in body.decode()
        x = example.features(0.2, 1)
        audio, _ = await example.speak([x[:, :7], x[:, 7:]], host="127.0.0.1", port=port)
        assert audio.shape == (1, 3200)
        assert not server.sessions

    asyncio.run(serving(check))


def test_a_place_is_free_again(monkeypatch):
    monkeypatch.setattr(example, "MOST_SESSIONS", 1)

    async def check(server, port):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(example.message(b"O"))
        while not server.sessions:
            await asyncio.sleep(0.01)
        second, other = await asyncio.open_connection("127.0.0.1", port)
        other.write(example.message(b"O"))
        assert (await example.received(second))[0] == b"B"
        writer.close()
        audio, _ = await example.speak([np.ones((20, 9), np.float32)], host="127.0.0.1", port=port)
        assert audio.shape == (1, 1440)
        other.close()

    asyncio.run(serving(check))


def test_a_connection_opens_one_session_after_another():
    async def check(server, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(2):
            for kind, body in ((b"O", b""), (b"P", np.ones((20, 9), "<f4").tobytes()), (b"E", b"")):
                writer.write(example.message(kind, body))
            answers = [await example.received(reader) for _ in range(4)]
            assert [kind for kind, _ in answers] == [b"O", b"A", b"A", b"E"]
            assert len(answers[1][1] + answers[2][1]) == 4 * 1440
        writer.close()

    asyncio.run(serving(check))


def test_a_client_that_does_not_read_is_not_read_and_delays_no_stop(tmp_path, monkeypatch):
    path = str(tmp_path / "socket")  # whose buffers are small

    async def check():
        server = example.serving()
        await server.start(path=path)
        _, writer = await asyncio.open_unix_connection(path)
        writer.transport.pause_reading()
        writer.write(example.message(b"O"))
        chunk = example.message(b"P", np.ones((20, 20), "<f4").tobytes())  # of which 13 kB of audio become
        while not server.sessions:
            await asyncio.sleep(0.01)
        (connection,) = server._connections
        unread = connection.writer.transport.get_write_buffer_size
        while unread() <= 1 << 16:
            writer.write(chunk)
            await asyncio.sleep(0.001)
        taken = []
        monkeypatch.setattr(server, "_take", lambda *message: taken.append(message))
        writer.write(1000 * example.message(b"P"))
        await asyncio.sleep(0.1)
        assert len(taken) <= 1
        monkeypatch.undo()
        monkeypatch.setattr(example, "LAST_SECONDS", 0.05)
        audio, _ = await example.speak([np.ones((20, 9), np.float32)], path=path)
        assert audio.shape == (1, 1440)
        await asyncio.wait_for(server.stop(), 5)
        writer.transport.abort()

    asyncio.run(check())


def test_the_live_file_is_the_offline_result(tmp_path, monkeypatch, capsys):
    import live_speech

    path = tmp_path / "live.wav"
    monkeypatch.setattr(sys, "argv", ["live_speech.py", "--filters", "4", "--seconds", "0.2", "--output", str(path)])
    live_speech.main()
    assert "equal to the offline result" in capsys.readouterr().out
    with wave.open(str(path), "rb") as file:
        assert file.getparams()[:4] == (1, 2, 24000, 4800)


def test_a_live_file_can_be_read_at_any_moment(tmp_path):
    import live_speech

    path = tmp_path / "live.wav"
    with live_speech.LiveWav(path, 8000) as file:
        for count in (3, 0, 5):
            file.write(np.linspace(-2, 2, count, dtype=np.float32))
            with wave.open(str(path), "rb") as copy:
                assert copy.getnframes() == file.samples
                assert len(copy.readframes(99)) == 2 * file.samples
