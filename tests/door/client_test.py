# SPDX-License-Identifier: MIT
"""moshi-client against a server that is made here, which does what a server should and what it should not, and against
moshi-server."""
import asyncio
import itertools
import json
import signal
import socket as socket_module

import client_test_reaching
import door
import talk
from client_program import (
    FRAME,
    LIMIT_S,
    SINK,
    Client,
    Stub,
    figures_of,
    frames_in,
    from_file,
    live,
    main,
    refused,
    run,
    write_tones,
)
from talk import Close, Kind, eventually

# --- From file to file --------------------------------------------------------------------------------------------


async def every_frame_of_a_file_is_heard_and_written(folder):
    write_tones(folder / "in.wav", True, False, True, True, False, True)
    async with Stub() as stub:
        code, out, lines = await run(folder, *from_file(stub.url, "--after", "0", "--text", "said.txt"))
    assert code == 0, lines
    # The first of the frame that is not heard, and the six. What is behind is the encoder's delay.
    heard = frames_in(folder / "out.wav")
    assert heard[:6] == [True, False, True, True, False, True] and not any(heard[6:]), heard
    assert len(heard) == stub.answers == stub.frames - 1 and stub.frames <= 8, (heard, stub.frames)
    said = "".join(f" {n}" for n in range(stub.answers))
    assert out == said + "\n" and (folder / "said.txt").read_text() == said, out
    assert stub.closed == [Close.NORMAL], stub.closed


async def silence_follows_a_file(folder):
    write_tones(folder / "in.wav", True, True, rest=100)
    async with Stub() as stub:
        code, _, lines = await run(folder, *from_file(stub.url, "--after", "1"))
        assert code == 0, lines
        assert 1 + 2 + 13 <= stub.frames <= 1 + 2 + 13 + 2, stub.frames
        code, _, lines = await run(folder, *from_file(stub.url, output="none"))
        assert code == 0, lines
        assert stub.frames > 30, stub.frames


async def few_frames_are_under_way(folder):
    write_tones(folder / "in.wav", *[True] * 40)
    async with Stub(hold=100) as stub:
        code, _, lines = await run(folder, *from_file(stub.url, "--after", "0"))
    assert code == 0, lines
    assert stub.most_in_flight == 8, stub.most_in_flight
    assert len(frames_in(folder / "out.wav")) == stub.frames - 1


async def long_files_are_not_sent_too_fast_to_be_let_pass(folder):
    """moshi-server takes 2,000 messages at once, and 200 a second."""

    class Quick(Stub):
        async def _converse(self, socket):
            started = asyncio.get_running_loop().time()
            async for _ in socket:
                self.frames += 1
                stats = {"stats": {"frames_out": self.frames - 1}}
                await socket.send(bytes([Kind.METADATA]) + json.dumps(stats).encode())
                passed = asyncio.get_running_loop().time() - started
                self.most_ahead = max(self.most_ahead, self.frames - 150 * passed)

    write_tones(folder / "in.wav", rest=2200 * FRAME)
    async with Quick() as stub:
        stub.most_ahead = 0
        code, _, lines = await run(folder, *from_file(stub.url, output="none"))
    assert code == 0, lines
    assert stub.frames > 2200 and stub.most_ahead < 1520, (stub.frames, stub.most_ahead)


async def fewer_where_the_server_lets_fewer_wait(folder):
    async def metadata(_, socket):
        await socket.send(bytes([Kind.METADATA]) + json.dumps({"lm_model_file": "x", "max_lag_ms": 330}).encode())

    write_tones(folder / "in.wav", *[True] * 12)
    async with Stub(metadata, hold=100) as stub:
        code, _, lines = await run(folder, *from_file(stub.url, "--after", "0"))
    assert code == 0 and "client: the model is x" in lines, lines
    assert stub.most_in_flight == 4, stub.most_in_flight


async def other_formats_and_rates(folder):
    door.write_wav(folder / "in.wav", 1.0, rate=44100, channels=2)
    async with Stub() as stub:
        code, _, lines = await run(folder, *from_file(stub.url, "--after", "0"))
    assert code == 0, lines
    assert 13 <= stub.frames <= 15, stub.frames


async def text_alone(folder):
    write_tones(folder / "in.wav", *[True] * 30)
    with talk.Server() as server:
        options = ("--listen", "text", "--seed", "5", "--after", "0")
        code, out, lines = await run(folder, server.url, "--input", "in.wav", *options)
        assert code == 0 and out.strip(), (out, lines)
        again = await run(folder, server.url, "--input", "in.wav", "--output", "none", "--seed", "5", "--after", "0")
        assert again[0] == 0 and again[1] == out, (out, again)
        without = await run(folder, server.url, "--input", "in.wav", "--output", "none", "--listen", "audio")
        assert without[0] == 0 and without[1] == "", without


async def stats_are_told(folder):
    write_tones(folder / "in.wav", *[True] * 20)
    async with Stub() as stub:
        code, _, lines = await run(folder, *from_file(stub.url, "--after", "0", "--stats"))
    assert code == 0, lines
    (figures,) = [json.loads(line.partition("stats: ")[2]) for line in lines if "stats: " in line]
    assert figures["frames_sent"] == stub.frames and figures["frames_heard"] == stub.frames - 1, figures
    assert 0 < figures["answer_ms"]["p50"] <= figures["answer_ms"]["p99"], figures
    assert figures["bad_packets"] == figures["discarded_messages"] == figures["reconnects"] == 0, figures


async def the_speaker_plays_a_file_in_its_time(folder):
    write_tones(folder / "in.wav", *[True] * 15)
    async with Stub() as stub:
        options = from_file(stub.url, "--after", "0", "--audio-sink", SINK, "--stats", output="speaker")
        started = asyncio.get_running_loop().time()
        code, _, lines = await run(folder, *options)
        took = asyncio.get_running_loop().time() - started
    assert code == 0, lines
    assert took > 15 * 0.08, took
    assert stub.answers == stub.frames - 1


class Generous(Stub):
    """Gives four seconds more with its third answer."""

    async def _answer(self, socket, frame):
        await super()._answer(socket, frame)
        for _ in range(50 if self.answers == 3 else 0):
            await socket.send(bytes([Kind.AUDIO]) + self.writer.pages(*frame))


async def a_speaker_that_breaks_at_the_end_is_an_error(folder):
    write_tones(folder / "in.wav", *[True] * 3)
    sink = "identity error-after=100 ! " + SINK
    async with Generous() as stub:
        options = from_file(stub.url, "--after", "0", "--max-lag", "5", "--audio-sink", sink, output="speaker")
        refused(await run(folder, *options), "error in identity")
        assert stub.closed == [Close.NORMAL], stub.closed


async def an_interrupt_ends_the_playing_of_the_rest(folder):
    write_tones(folder / "in.wav", *[True] * 3)
    async with Generous() as stub:
        options = from_file(stub.url, "--after", "0", "--max-lag", "20", "--audio-sink", SINK, output="speaker")
        async with Client(folder, *options) as client:
            await eventually(lambda: stub.closed)
            await asyncio.sleep(1)  # of three that are played yet
            client.process.send_signal(signal.SIGINT)
            code, _, lines = await client.wait()
            assert code == 0, lines


async def last_answers_may_take_their_time(folder):
    class Slow(Stub):
        async def _answer(self, socket, frame):
            if not self.answers:
                await asyncio.sleep(6)
            await super()._answer(socket, frame)

    write_tones(folder / "in.wav", *[True] * 6)
    async with Slow() as stub:
        code, _, lines = await run(folder, *from_file(stub.url, "--after", "0"))
        assert code == 0, lines
        assert len(frames_in(folder / "out.wav")) == stub.frames - 1


# --- What a server may say ----------------------------------------------------------------------------------------


async def what_is_not_known_is_discarded(folder):
    async def noise(_, socket):
        for data in (b"", b"\x07\x01abc", b"\xff", "text", bytes([Kind.CONTROL, 0]), bytes([Kind.PING])):
            await socket.send(data)
        await socket.send(bytes([Kind.METADATA]) + b"{no json")
        await socket.send(bytes([Kind.METADATA]) + b'{"stats": 3, "queue": [], "lm_model_file": 7, "seed": "x"}')
        deep = b"[" * 60000 + b"]" * 60000
        await socket.send(bytes([Kind.METADATA]) + b'{"stats": {"frames_out": 0, "deep": ' + deep + b"}}")

    write_tones(folder / "in.wav", *[True] * 3)
    async with Stub(noise) as stub:
        code, _, lines = await run(folder, *from_file(stub.url, "--after", "0", "--stats"))
    assert code == 0, lines
    assert '"discarded_messages":4' in lines[-2], lines
    assert lines[-1] == """client: server's stats: {"deep":[[[[[[]]]]]],"frames_out":0}""", lines
    assert len(frames_in(folder / "out.wav")) == stub.frames - 1


async def the_seed_is_told_to_the_last_digit(folder):
    async def metadata(_, socket):
        await socket.send(bytes([Kind.METADATA]) + b'{"lm_model_file": "x", "seed": 9007199254740993}')

    write_tones(folder / "in.wav", True)
    async with Stub(metadata) as stub:
        code, _, lines = await run(folder, *from_file(stub.url, "--after", "0"))
    assert code == 0 and "client: the model is x, seed 9007199254740993" in lines, lines


async def the_place_in_the_queue_is_told(folder):
    async def queue(_, socket):
        for place in (2, 1):
            await socket.send(bytes([Kind.METADATA]) + json.dumps({"queue": {"place": place, "length": 5}}).encode())

    write_tones(folder / "in.wav", True)
    async with Stub(queue) as stub:
        code, _, lines = await run(folder, *from_file(stub.url))
    assert code == 0, lines
    assert [line for line in lines if "waiting" in line] == [
        "client: waiting: place 2 of 5 in the queue",
        "client: waiting: place 1 of 5 in the queue",
    ], lines


async def waiting_without_a_word_is_told(folder):
    async def wait(_, __):
        await asyncio.sleep(1.5)

    write_tones(folder / "in.wav", True)
    async with Stub(wait) as stub:
        code, _, lines = await run(folder, *from_file(stub.url))
    assert code == 0 and "client: waiting for the server to begin" in lines, lines


async def handshakes_of_any_length(folder):
    async def longer(_, socket):
        await socket.send(bytes([Kind.HANDSHAKE]) + bytes(8))

    write_tones(folder / "in.wav", True)
    async with Stub(longer) as stub:
        code, _, lines = await run(folder, *from_file(stub.url))
    assert code == 0 and lines.count("client: connected") == 1, lines


async def the_servers_errors_are_told(folder):
    async def full(_, socket):
        await socket.send(bytes([Kind.ERROR]) + "all 3 places are \x1b[31mtaken".encode())
        await socket.close(Close.TRY_LATER)

    write_tones(folder / "in.wav", True)
    async with Stub(full) as stub:
        refused(await run(folder, *from_file(stub.url)), "the server says: all 3 places are [31mtaken")
        refused(await run(folder, *live(stub.url)[:-1], "--no-echo-cancel"), "taken")


async def nothing_commands_the_terminal(folder):
    async def escape(_, socket):
        await socket.send(bytes([Kind.HANDSHAKE]))
        await socket.send(bytes([Kind.TEXT]) + " red\x1b[31m and \x9b31m caf\u00e9\u009f \u20ac".encode())

    write_tones(folder / "in.wav", True)
    async with Stub(escape) as stub:
        code, out, lines = await run(folder, *from_file(stub.url, "--after", "0"))
    assert code == 0 and out.startswith(" red[31m and 31m caf\u00e9 \u20ac 0 1"), (out, lines)


async def a_full_disk_is_an_error(folder):
    (folder / "out.wav").symlink_to("/dev/full")
    write_tones(folder / "in.wav", *[True] * 60)
    async with Stub() as stub:
        code, _, lines = await run(folder, *from_file(stub.url))
        assert code == 1 and any("error in file" in line for line in lines), lines
        full = await run(folder, *from_file(stub.url, "--text", "/dev/full", "--after", "0", output="none"))
        refused(full, "cannot write /dev/full: No space left")


async def a_file_without_its_end_is_an_error(folder):
    async def end(_, socket):
        await socket.send(bytes([Kind.HANDSHAKE]))
        await socket.close(Close.NORMAL)

    write_tones(folder / "in.wav", *[True] * 30)
    async with Stub(leave_after=5) as stub:
        refused(await run(folder, *from_file(stub.url)), "lost")
        assert len(frames_in(folder / "out.wav")) <= stub.answers, "what was heard is written"
    async with Stub(end) as stub:
        refused(await run(folder, *from_file(stub.url)), "closed", "1000")


async def what_is_not_opus_is_an_error(folder):
    async def wav(_, socket):
        await socket.send(bytes([Kind.HANDSHAKE]))
        for _ in range(20):
            await socket.send(bytes([Kind.AUDIO]) + b"RIFF" * 1024)

    write_tones(folder / "in.wav", True)
    async with Stub(wav) as stub:
        refused(await run(folder, *from_file(stub.url)), "not Ogg Opus")


# --- Microphone and speaker ---------------------------------------------------------------------------------------


async def a_live_conversation_ends_with_an_interrupt(folder):
    async with Stub() as stub, Client(folder, *live(stub.url)) as client:
        await client.says("Ctrl-C ends")
        await eventually(lambda: stub.answers >= 20)
        client.process.send_signal(signal.SIGINT)
        code, out, lines = await client.wait()
        assert code == 0 and out.startswith(" 0 1 2"), (out, lines)
        assert stub.closed == [Close.NORMAL], stub.closed
        figures = figures_of(lines)
        assert figures["microphone_dropped_ms"] == 0 and figures["frames_sent"] >= 20, figures
        assert 0 < figures["playout"]["most_waiting_ms"] <= 300, figures


async def a_live_conversation_is_written_to_a_file(folder):
    async with Stub() as stub, Client(folder, *live(stub.url, "--output", "out.wav")) as client:
        await eventually(lambda: stub.answers >= 10)
        client.process.send_signal(signal.SIGTERM)
        code, _, lines = await client.wait()
        assert code == 0, lines
        assert len(frames_in(folder / "out.wav")) >= 10


async def a_lost_connection_is_made_again(folder):
    async with Stub(leave_after=5) as stub, Client(folder, *live(stub.url)) as client:
        await client.says("connecting again in 0.5 s")
        await eventually(lambda: stub.connections == 2 and stub.answers >= 5)
        client.process.send_signal(signal.SIGINT)
        code, _, lines = await client.wait()
        assert code == 0 and figures_of(lines)["reconnects"] == 1, lines
        assert any("lost" in line for line in lines), lines
        assert lines.count("client: connected; Ctrl-C ends the conversation") == 2, lines


async def an_interrupt_ends_the_waiting_for_a_connection(folder):
    async with Stub(leave_after=5) as stub, Client(folder, *live(stub.url)) as client:
        await client.says("connecting again in 0.5 s")
        stub.server.close()
        await client.says("connecting again in 1.0 s")
        client.process.send_signal(signal.SIGINT)
        code, _, lines = await client.wait()
        assert code == 0, lines


async def an_interrupt_ends_the_connecting(folder):
    async def nothing(_, writer):
        await asyncio.sleep(LIMIT_S)
        writer.close()

    silent = await asyncio.start_server(nothing, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{silent.sockets[0].getsockname()[1]}"
    async with Client(folder, *live(url)) as client:
        await client.says("connecting to")
        await asyncio.sleep(0.3)
        client.process.send_signal(signal.SIGINT)
        code, _, lines = await client.wait()
        assert code == 0, lines
    silent.close()


async def a_server_that_says_nothing_any_more_is_left(folder):
    async def nothing(stub, socket):
        await socket.send(bytes([Kind.HANDSHAKE]))
        await socket.wait_closed()

    async with Stub(nothing, max_queue=None) as stub, Client(folder, *live(stub.url)) as client:
        await client.says("nothing has come from the server for 10 s; connecting again in 0.5 s")
        await eventually(lambda: stub.closed)
        assert stub.connections == 1, "the place is given back before another is asked for"
        await eventually(lambda: stub.connections == 2)
        client.process.send_signal(signal.SIGINT)
        code, _, lines = await client.wait()
        assert code == 0, lines


async def a_stalled_network_costs_the_oldest_sound(folder):
    """A server that takes nothing for a while, with small buffers in between."""

    async def stall(_, socket):
        await socket.send(bytes([Kind.HANDSHAKE]))
        await asyncio.sleep(7)

    listening = socket_module.create_server(("127.0.0.1", 0))
    listening.setsockopt(socket_module.SOL_SOCKET, socket_module.SO_RCVBUF, 4096)
    source = ("--audio-source", "audiotestsrc is-live=true wave=white-noise")
    async with Stub(stall, sock=listening, max_queue=1, read_limit=1024) as stub:
        async with Client(folder, *live(stub.url, *source, "--output", "none")) as client:
            await eventually(lambda: stub.answers >= 40)
            client.process.send_signal(signal.SIGINT)
            code, _, lines = await client.wait()
            figures = figures_of(lines)
            assert code == 0 and 500 < figures["microphone_dropped_ms"] < 7000, lines


async def a_policy_is_not_argued_with(folder):
    async def policy(_, socket):
        await socket.send(bytes([Kind.HANDSHAKE]))
        await socket.send(bytes([Kind.ERROR]) + b"nothing heard for too long")
        await socket.close(Close.POLICY)

    async with Stub(policy) as stub:
        refused(await run(folder, *live(stub.url)[:-1]), "nothing heard for too long")
        assert stub.connections == 1


async def lag_is_kept_in_check(folder):
    """A server that sends each answer three times is faster than any speaker."""
    answer = Stub._answer

    class Hasty(Stub):
        async def _answer(self, socket, frame):
            for _ in range(3):
                await answer(self, socket, frame)

    async with Hasty() as stub, Client(folder, *live(stub.url, "--max-lag", "0.25")) as client:
        await eventually(lambda: stub.answers >= 60)
        client.process.send_signal(signal.SIGINT)
        code, _, lines = await client.wait()
        playout = figures_of(lines)["playout"]
        assert code == 0 and playout["dropped_ms"] > 1000 and playout["most_waiting_ms"] <= 250, lines


async def no_microphone_is_told(folder):
    async with Stub() as stub:
        options = (stub.url, "--output", "none", "--audio-source", "autoaudiosrc filter-caps=audio/x-nothing")
        code, _, lines = await run(folder, *options)
        assert code == 1 and "there is no microphone" in lines[-1], lines  # other lines are the libraries'


# --- moshi-server -------------------------------------------------------------------------------------------------


async def the_servers_frames_are_all_written(folder):
    write_tones(folder / "in.wav", *itertools.islice(itertools.cycle([True, False]), 50))
    with talk.Server() as server:
        code, out, lines = await run(folder, *from_file(server.url, "--after", "0", "--stats", "--seed", "3"))
        assert code == 0 and out.strip(), (out, lines)
        figures = figures_of(lines)
        assert figures["frames_heard"] == figures["frames_sent"] - 1, figures
        assert len(frames_in(folder / "out.wav")) == figures["frames_heard"], figures
        assert any("seed 3" in line for line in lines), lines
        again = await run(folder, *from_file(server.url, "--after", "0", "--seed", "3"))
        assert again[1] == out, "the same seed says the same"


async def the_servers_queue_and_certificate(folder):
    write_tones(folder / "in.wav", *[True] * 5)
    with talk.Server("--ssl", folder / "tls", "--sessions", "1") as server:
        async with talk.Talk(server) as first:
            await first.handshake()
            async with Client(folder, *from_file(server.url, "--insecure")) as client:
                await client.says("place 1 of 1 in the queue")
                await first.socket.close()
                code, _, lines = await client.wait()
                assert code == 0, lines


async def the_server_starts_again(folder):
    with talk.Server() as server:
        port = server.port
        async with Client(folder, *live(f"http://127.0.0.1:{port}")) as client:
            await client.says("Ctrl-C ends")
            await asyncio.to_thread(server.__exit__, None)
            await client.says("connecting again")
            with await asyncio.to_thread(talk.Server, "--port", str(port)):
                await eventually(lambda: client.lines.count("client: connected; Ctrl-C ends the conversation") == 2)
                client.process.send_signal(signal.SIGINT)
                code, _, lines = await client.wait()
                assert code == 0, lines


if __name__ == "__main__":
    main(globals(), vars(client_test_reaching))
