# SPDX-License-Identifier: MIT
"""Places, the queue, limits, and clients that do not behave: each harms itself alone. On the fake core."""

import asyncio
import contextlib
import time

import fake_model
import ogg_opus
import talk
from raw_socket import RawSocket, frame
from talk import Close, Kind

NO_RATE = ("--messages-per-second", "1000000", "--bytes-per-second", "1000000000")
OK_S = 2  # what is to be at once, on a machine that has other work


def queue_of(client):
    return [entry["queue"] for entry in client.metadata if "queue" in entry]


@contextlib.asynccontextmanager
async def crowd(server, count, query="audio=pcm"):
    """So many clients, one after the other."""
    async with contextlib.AsyncExitStack() as stack:
        yield [await stack.enter_async_context(talk.Talk(server, query)) for _ in range(count)]


async def still_fine(server, seed=3):
    """A conversation with every sample as it must be."""
    async with talk.Talk(server, f"audio=pcm&seed={seed}") as client:
        await client.handshake()
        await client.converse(6)
        frames = [
            talk.speech_frames(6)[start : start + talk.FRAME_BYTES]
            for start in range(0, 6 * talk.FRAME_BYTES, talk.FRAME_BYTES)
        ]
        wanted = [codes for _, codes in fake_model.answer(frames[1:], seed)]
        assert [codes for _, codes in fake_model.said(client.sound)] == wanted


async def places_of_the_queue():
    with talk.Server("--sessions", "2", "--queue", "3") as server:
        async with crowd(server, 2) as talking:
            for client in talking:
                await client.handshake()
            async with talk.Talk(server) as a, talk.Talk(server) as b, talk.Talk(server) as c:
                for client, place in ((a, 1), (b, 2), (c, 3)):
                    while not queue_of(client) or queue_of(client)[-1] != {"place": place, "length": 3}:
                        await client.until_metadata("queue")
                    assert queue_of(client)[0]["place"] == place, client.metadata
                metrics = server.metrics()
                assert metrics["moshi_sessions_active"] == 2 and metrics["moshi_sessions_queued"] == 3, metrics
                await b.socket.close()  # leaves the queue
                assert (await c.until_metadata("queue"))["queue"] == {"place": 2, "length": 2}
                assert (await a.until_metadata("queue"))["queue"] == {"place": 1, "length": 2}
                await talking[1].socket.close()
                await a.handshake()
                assert (await c.until_metadata("queue"))["queue"] == {"place": 1, "length": 1}
                await a.converse(5)
                await talking[0].socket.close()
                await c.handshake()
                await c.converse(5)
                assert Kind.AUDIO not in c.kinds()[: c.kinds().index(Kind.HANDSHAKE)]


async def refused_when_full():
    with talk.Server("--sessions", "1", "--queue", "1") as server:
        async with crowd(server, 2):
            times = []
            for _ in range(20):
                start = time.monotonic()
                code, sentence = await talk.refused(server)
                times.append(time.monotonic() - start)
                assert code == Close.TRY_LATER and sentence, (code, sentence)
            print(f"# refused within {max(times) * 1000:.1f} ms, median {sorted(times)[10] * 1000:.1f} ms")
            assert max(times) < OK_S
            assert server.get("/health")[0] == 503
            assert server.metrics()['moshi_refusals_total{reason="full"}'] == 20, server.metrics()
        await talk.eventually(lambda: server.get("/health")[0] == 200)
        await still_fine(server)


async def nobody_waits_without_a_queue():
    with talk.Server("--sessions", "1", "--queue", "0") as server:
        async with talk.Talk(server) as client:
            await client.handshake()
            assert (await talk.refused(server))[0] == Close.TRY_LATER
        await talk.eventually(lambda: server.get("/health")[0] == 200)
        await still_fine(server)


async def many_come_and_go_in_the_queue():
    with talk.Server("--sessions", "2", "--queue", "40") as server:

        async def one(n):
            async with talk.Talk(server, "audio=pcm") as client:
                if n % 5 == 4:
                    return  # at once
                await client.handshake()
                if n % 5 != 3:
                    await client.converse(3)

        await asyncio.gather(*(one(n) for n in range(40)))
        await talk.eventually(lambda: server.metrics()["moshi_sessions_active"] == 0)
        assert server.metrics()["moshi_sessions_queued"] == 0
        await still_fine(server)


async def pings_while_nothing_else_is_sent():
    with talk.Server("--sessions", "1") as server:
        async with talk.Talk(server) as talking, talk.Talk(server) as waiting:
            start = time.monotonic()
            for client in (talking, waiting):
                await client.until(Kind.PING)
                await client.until(Kind.PING)
            assert 4 < time.monotonic() - start < 30


async def nothing_heard_for_too_long():
    with talk.Server("--idle", "1.5", "--sessions", "1") as server:
        async with talk.Talk(server) as silent, talk.Talk(server) as waiting:
            code, sentence = await silent.closed()
            assert code == Close.POLICY and sentence, (code, sentence)
            # It is missed while it waits, too; or it got the place by then.
            code, sentence = await waiting.closed()
            assert code == Close.POLICY and sentence, (code, sentence)
        async with talk.Talk(server) as pinging:
            for _ in range(8):
                await pinging.send(Kind.PING)
                await pinging.settle(0.4)
            await pinging.converse(3)
            assert pinging.error is None


async def a_conversation_may_last_so_long():
    with talk.Server("--sessions", "3", "--session-limit", "1") as server:
        async with talk.Talk(server, "audio=pcm") as client:
            await client.handshake()
            start = time.monotonic()
            await client.converse(3)
            code, sentence = await client.closed()
            assert code == Close.NORMAL and sentence and 0.5 < time.monotonic() - start < 20, (code, sentence)


async def a_message_that_is_too_long():
    with talk.Server("--sessions", "3", "--max-message", "5000") as server:
        async with talk.Talk(server, "audio=pcm") as client:
            await client.handshake()
            await client.send(Kind.AUDIO, bytes(4998))
            await client.send(Kind.AUDIO, bytes(6000))
            assert await client.closed() == (Close.TOO_BIG, None)
        with RawSocket(server) as raw:  # of fragments, and one that only says how long it will be
            assert raw.upgrade() == 101
            for n in range(20):
                raw.send(frame(b"\1" + bytes(999), opcode=0 if n else 2, final=n == 19))
            assert raw.close_code() == Close.TOO_BIG
        with RawSocket(server) as raw:  # without end
            assert raw.upgrade() == 101
            for n in range(1000):
                if not raw.send(frame(bytes(1000), opcode=0 if n else 2, final=False)):
                    break
            code = raw.close_code()
            assert code in (Close.TOO_BIG, None), code
        with RawSocket(server) as raw:
            assert raw.upgrade() == 101
            raw.send(frame(b"\1", length=2**62))
            assert raw.close_code() in (Close.TOO_BIG, None)
        await still_fine(server)


async def too_many_messages():
    for options, payload, count in ((("--messages-per-second", "20"), b"", 2000),
                                    (("--bytes-per-second", "10000"), bytes(4000), 200)):  # fmt: skip
        with talk.Server("--sessions", "3", *options) as server:
            async with talk.Talk(server, "audio=pcm") as client:
                await client.handshake()
                with contextlib.suppress(talk.Closed):
                    for _ in range(count):
                        await client.send(Kind.AUDIO, payload)
                code, sentence = await client.closed()
                assert code == Close.POLICY and "too m" in sentence.lower(), (code, sentence)
            await still_fine(server)


async def bursts_of_ten_seconds_are_taken():
    with talk.Server("--sessions", "3", "--messages-per-second", "20") as server:
        async with talk.Talk(server, "audio=pcm") as client:
            await client.handshake()
            for _ in range(150):
                await client.send(Kind.PING)
            await client.converse(5)
            assert client.error is None


async def a_minute_at_once():
    frames = 750
    with talk.Server("--sessions", "3", "--max-lag", "1", *NO_RATE, MOSHI_FAKE_STEP_MS="2") as server:
        async with talk.Talk(server, "stats=1") as client:
            await client.handshake()
            packets = iter(ogg_opus.speech_packets(40) * 4)
            for _ in range(frames // 10):
                await client.send_packets(*(next(packets) for _ in range(20)))
            while True:
                stats = (await client.until_metadata("stats"))["stats"]
                assert stats["lag_ms"] <= 1000 + 200, stats
                if stats["frames_in"] + stats["dropped_frames"] >= frames - 1 and stats["lag_ms"] < 80:
                    break
            assert 0 < stats["dropped_frames"] < frames and stats["frames_out"] == client.samples // talk.FRAME, (
                stats,
                client.samples,
            )
            await client.converse(0)
            dropped = server.metrics()["moshi_dropped_frames_total"]
            assert dropped == stats["dropped_frames"], (dropped, stats)


async def a_client_that_never_reads():
    with talk.Server("--sessions", "3", "--unsent-bytes", "100000", "--max-lag", "1", *NO_RATE) as server:
        async with talk.Talk(server, "audio=pcm&seed=5") as other:
            await other.handshake()
            with RawSocket(server, receive_buffer=4096) as raw:
                assert raw.upgrade("/api/chat?audio=pcm") == 101
                sound = talk.speech_frames(10)
                message = frame(bytes([Kind.AUDIO]) + sound)
                await other.converse(3)
                before, peak = server.resources()[0], 0
                end = time.monotonic() + talk.LIMIT_S
                sent = 0
                while not (metrics := server.metrics())["moshi_dropped_output_total"]:
                    assert time.monotonic() < end, metrics
                    raw.send(message)
                    sent += 1
                    await other.converse(1)  # is not kept waiting
                for _ in range(100):
                    raw.send(message)
                    await other.converse(1)
                    peak = max(peak, server.resources()[0])
                print(f"# {sent} messages until output was dropped; memory grew by {peak - before} kB")
                assert peak - before < 30000, (before, peak)
            samples = other.samples
            await other.converse(5)
            assert other.samples == samples + 5 * talk.FRAME
            indices = [index for index, _ in fake_model.said(other.sound)]
            assert indices == [n % 4096 for n in range(len(indices))]
        await talk.eventually(lambda: server.metrics()["moshi_sessions_active"] == 0)


async def clients_that_vanish():
    with talk.Server("--sessions", "3", "--queue", "3") as server:
        before = server.resources()
        whole = frame(bytes([Kind.AUDIO]) + bytes(1000))
        ways = (b"", b"\x82", b"\x82\xfe\x01", whole[:9], whole[:500], whole, whole + whole[:3], frame(b"", opcode=8),
                frame(b"\3", opcode=8), frame(b"x" * 100, opcode=9))  # fmt: skip
        for data in ways:
            for end in ("close", "reset", "half"):
                with RawSocket(server) as raw:
                    assert raw.upgrade() == 101, (data, end)
                    raw.send(data)
                    if end == "reset":
                        raw.reset()
                    elif end == "half":
                        raw.socket.shutdown(1)
                        while raw.read_frame():
                            pass
        await talk.eventually(lambda: server.metrics()["moshi_sessions_active"] == 0)
        await still_fine(server)
        await talk.eventually(lambda: server.resources()[1] <= before[1])


async def frames_that_no_websocket_may_send():
    with talk.Server("--sessions", "3", "--queue", "10") as server:
        for data in (frame(b"\1x", masked=False), frame(b"\1x", reserved=4), frame(b"\1x", opcode=3),
                     frame(b"\1x", opcode=11),
                     frame(b"x" * 126, opcode=9), frame(b"", opcode=9, final=False), frame(b"\1x", opcode=0),
                     frame(b"\1", final=False) + frame(b"\1"), frame(b"\xff\xfe", opcode=1),
                     frame(b"x", opcode=8)):  # fmt: skip
            with RawSocket(server) as raw:
                assert raw.upgrade() == 101
                raw.send(data)
                raw.send(frame(bytes([Kind.PING])) * 3)
                raw.socket.shutdown(1)
                raw.close_code()  # or none: it only must end
        await still_fine(server)


async def pings_of_the_websocket_are_answered():
    with talk.Server("--sessions", "4") as server:
        async with talk.Talk(server) as client:
            await client.handshake()
            await asyncio.wait_for(await client.socket.ping(b"are you there"), talk.LIMIT_S)


async def half_a_request():
    with talk.Server("--sessions", "4") as server:
        parts = [RawSocket(server) for _ in range(60)]
        for n, raw in enumerate(parts):
            raw.send((b"", b"GET", b"GET /api/chat HTTP/1.1\r\n", b"GET /api/chat HTTP/1.1\r\nHost: local")[n % 4])
        for n in range(5):  # slowly on
            for raw in parts[3::4]:
                raw.send(b"h")
            await asyncio.sleep(0.05)
        start = time.monotonic()
        await still_fine(server)
        assert server.get("/health")[0] == 200 and time.monotonic() - start < 20
        for raw in parts:
            raw.socket.close()
        await still_fine(server)


async def requests_that_are_none():
    with talk.Server("--sessions", "4") as server:
        for data in (b"\r\n\r\n", b"GET\r\n\r\n", b"GET /\r\n\r\n", b"\0" * 5000, b"GET / HTTP/9.9\r\n\r\n",
                     bytes(range(256)) * 20,
                     b"GET " + b"/x" * 50000 + b" HTTP/1.1\r\n\r\n",
                     b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 20000 + b"\r\n",
                     b"POST /api/chat HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n",
                     b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n" + bytes(200000),
                     b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"):  # fmt: skip
            with RawSocket(server) as raw:
                raw.send(data)
                with contextlib.suppress(OSError):
                    raw.socket.shutdown(1)
                    raw.status()
        await still_fine(server)


async def one_conversation_fails():
    with talk.Server("--sessions", "3", MOSHI_FAKE_FAIL_FRAME="20") as server:
        async with talk.Talk(server, "audio=pcm&seed=3") as other, talk.Talk(server, "audio=pcm") as failing:
            for client in (other, failing):
                await client.handshake()
            await other.converse(8)
            with contextlib.suppress(talk.Closed):
                await failing.converse(30)
            code, sentence = await failing.closed()
            assert code == Close.FAILED and sentence, (code, sentence)
            await other.converse(8)
            assert [index for index, _ in fake_model.said(other.sound)] == list(range(15))
        await still_fine(server)
        assert server.wait_event(lambda event: event.get("level") in ("error", "warning") and event), server.lines
        assert talk.total(server.metrics(), 'moshi_session_ends_total{reason="failed"}') == 1, server.metrics()


async def conversations_that_cannot_begin():
    with talk.Server("--sessions", "2", MOSHI_FAKE_SESSION_FAIL="5") as server:
        async with talk.Talk(server, "audio=pcm") as client:
            with contextlib.suppress(talk.Closed):
                await client.handshake()
            code, sentence = await client.closed()
            assert code == Close.FAILED and sentence, (code, sentence)
    with talk.Server("--sessions", "2", MOSHI_FAKE_SESSIONS_MAX="3") as server:  # one for each element
        async with talk.Talk(server, "audio=pcm") as first, talk.Talk(server, "audio=pcm") as second:
            await first.handshake()
            with contextlib.suppress(talk.Closed):
                await first.converse(3)
            code, sentence = (None, None)
            with contextlib.suppress(talk.Closed):
                await second.handshake()
                await second.say(5)
            if not first.error:
                code, sentence = await second.closed()
                assert code == Close.FAILED and sentence, (code, sentence)
                await first.converse(5)


async def a_slow_model_is_late_and_says_so():
    with talk.Server("--sessions", "1", "--max-lag", "0.5", *NO_RATE, MOSHI_FAKE_STEP_MS="40") as server:
        async with talk.Talk(server, "audio=pcm&stats=1") as client:
            await client.handshake()
            await client.say(60)
            stats = (await client.until_metadata("stats"))["stats"]
            assert stats["dropped_frames"] > 0 and stats["lag_ms"] <= 700, stats
            await client.settle(1)
            assert client.samples // talk.FRAME + stats["dropped_frames"] >= 58, (client.samples, stats)


async def a_machine_that_does_not_keep_up_is_told_so():
    """What it is measured to carry is less than one conversation; one is let in all the same."""
    with talk.Server(MOSHI_FAKE_STEP_MS="120") as server:
        warning = server.wait_event(lambda event: event.get("event") == "slow" and event)
        assert warning["level"] == "warning" and 0 < warning["real_time"] < 1, warning
        assert server.metrics()["moshi_sessions_capacity"] == 1
        async with talk.Talk(server, "audio=pcm") as client:
            await client.handshake()
            await client.converse(4)


def cases():
    return [
        places_of_the_queue, refused_when_full, nobody_waits_without_a_queue, many_come_and_go_in_the_queue,
        pings_while_nothing_else_is_sent, nothing_heard_for_too_long, a_conversation_may_last_so_long,
        a_message_that_is_too_long, too_many_messages, bursts_of_ten_seconds_are_taken, a_minute_at_once,
        a_client_that_never_reads, clients_that_vanish, frames_that_no_websocket_may_send,
        pings_of_the_websocket_are_answered, half_a_request, requests_that_are_none, one_conversation_fails,
        conversations_that_cannot_begin, a_slow_model_is_late_and_says_so,
        a_machine_that_does_not_keep_up_is_told_so,
    ]  # fmt: skip


talk.main(cases())
