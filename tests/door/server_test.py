# SPDX-License-Identifier: MIT
"""Conversations with moshi-server as docs/protocol.md has them, on the fake core, which says what it answers."""

import asyncio
import contextlib
import functools
import struct

import fake_model
import ogg_opus
import talk
from talk import Close, Kind

SAMPLING = "text_temperature=0.5&text_topk=11&audio_temperature=0.25&audio_topk=77"
METADATA_TYPES = {
    "text_temperature": (int, float), "text_topk": int, "audio_temperature": (int, float), "audio_topk": int,
    "pad_mult": (int, float), "repetition_penalty_context": int, "repetition_penalty": (int, float),
    "lm_model_file": str, "instance_name": str, "build_info": dict, "seed": int, "listen": str, "audio": str,
    "frame_samples": int, "sample_rate": int, "max_lag_ms": int, "ignored": list,
}  # fmt: skip
# What the reference's page wants to see there; it shows no metadata otherwise.
BUILD_INFO = {
    "build_timestamp", "build_date", "git_branch", "git_timestamp", "git_date", "git_hash", "git_describe",
    "rustc_host_triple", "rustc_version", "cargo_target_triple",
}  # fmt: skip


@functools.lru_cache(maxsize=None)
def server():
    return closing.enter_context(talk.Server("--sessions", "8"))


def frames_of(sound):
    return [sound[start : start + talk.FRAME_BYTES] for start in range(0, len(sound), talk.FRAME_BYTES)]


async def check_answer(client, sound, seed):
    """PCM and text, in their order, are what the model says to this sound, whose first frame it does not hear."""
    wanted = list(fake_model.answer(frames_of(sound)[1:], seed))
    while len(client.sound_and_text()) < len(wanted) + sum(bool(text) for text, _ in wanted):
        await client.receive()
    await client.settle()
    got = client.sound_and_text()
    for index, (text, codes) in enumerate(wanted):
        kind, payload = got.pop(0)
        assert kind == Kind.AUDIO and len(payload) == talk.FRAME_BYTES, (index, kind, len(payload))
        assert list(fake_model.said(payload)) == [(index, codes)], index
        if text:
            assert got and got.pop(0) == (Kind.TEXT, text.encode()), (index, text)
    assert not got, (len(wanted), got[:3])


async def talk_pcm(query="", frames=20):
    async with talk.Talk(server(), "audio=pcm&" + query) as client:
        await client.handshake()
        await client.converse(frames)
        await client.settle()
        return client


async def check_talk(seed, frames):
    """A conversation of its own, to the end."""
    async with talk.Talk(server(), f"audio=pcm&seed={seed}") as client:
        await client.handshake()
        await client.converse(frames)
        await check_answer(client, talk.speech_frames(frames), seed)


async def the_handshake_comes_first():
    for query in ("", "audio=pcm", "metadata=1", "stats=1", "seed=3&listen=text"):
        async with talk.Talk(server(), query) as client:
            assert await client.receive() == (Kind.HANDSHAKE, b""), query
            await client.quiet(0.1)


async def every_sample_and_word_is_the_models():
    for seed in (1, 4242, 2**63 - 1):
        await check_talk(seed, 40)


async def what_is_not_a_whole_frame_waits():
    sound = talk.speech_frames(6)
    async with talk.Talk(server(), "audio=pcm&seed=9") as client:
        await client.handshake()
        for size in (1000, 7000, 2, 400, 3000, len(sound) - 11402):
            await client.send(Kind.AUDIO, sound[:size])
            sound = sound[size:]
        await check_answer(client, talk.speech_frames(6), 9)


async def opus_is_written_as_the_reference_does():
    async with talk.Talk(server()) as client:
        await client.handshake()
        await client.converse(30)
        await client.settle()
    reader = client.reader
    assert client.samples == 29 * talk.FRAME and not reader.rest
    assert reader.headers[0] == b"OpusHead" + struct.pack("<BBHIhB", 1, 1, 3840, 48000, 0, 0), reader.headers
    assert len(reader.headers) == 2 and reader.headers[1].startswith(b"OpusTags")
    heads, pages = reader.pages[:2], reader.pages[2:]
    assert [(granule, flags) for _, granule, flags, _ in heads] == [(0, ogg_opus.FIRST), (0, 0)], heads
    assert all(len(packets) == 1 and flags == 0 for _, _, flags, packets in pages)
    assert all(ogg_opus.packet_samples(packet) == 960 for packet in reader.packets)
    assert [granule for _, granule, _, _ in pages] == [1920 * (n + 1) for n in range(2 * 29)]
    sizes = [payload.count(b"OggS") for _, kind, payload in client.messages if kind == Kind.AUDIO]
    assert sizes == [4] + 28 * [2], sizes


async def text_follows_the_sound_of_its_frame():
    # What the fake core answers to Opus is not known to the sample: but the same twice.
    orders = []
    for query in ("seed=5", "seed=5", "seed=6"):
        async with talk.Talk(server(), query) as client:
            await client.handshake()
            await client.converse(30)
            await client.settle()
            orders.append(
                [
                    (kind, payload if kind == Kind.TEXT else b"")
                    for _, kind, payload in client.messages
                    if kind in (Kind.AUDIO, Kind.TEXT)
                ]
            )
            assert orders[-1][0][0] == Kind.AUDIO and client.text
    assert orders[0] == orders[1] != orders[2]


async def packets_of_any_duration():
    for milliseconds in (10, 20, 40, 60):
        async with talk.Talk(server()) as client:
            await client.handshake()
            packets = ogg_opus.speech_packets(milliseconds)[: 2400 // milliseconds]
            await client.converse_packets(packets)
            await client.settle()
            assert client.samples == 29 * talk.FRAME, (milliseconds, client.samples)


async def the_longest_packets():
    packets = ogg_opus.speech_packets(20)
    long = [ogg_opus.join_packets(packets[n : n + 6]) for n in range(0, 96, 6)]
    assert [ogg_opus.packet_samples(packet) for packet in long] == 16 * [2880]
    async with talk.Talk(server()) as client:
        await client.handshake()
        await client.converse_packets(long)
        await client.settle()
        assert client.samples == (16 * 2880 // talk.FRAME - 1) * talk.FRAME, client.samples


async def stereo_is_mixed_down():
    packets = ogg_opus.speech_packets(20, channels=2)[:80]
    async with talk.Talk(server()) as client:
        client.writer = ogg_opus.Writer(channels=2)
        await client.handshake()
        await client.converse_packets(packets)
        await client.settle()
        assert client.samples == 19 * talk.FRAME, client.samples


async def a_stream_cut_anywhere():
    data = ogg_opus.Writer().pages(*ogg_opus.speech_packets(40)[:40])
    for size in (1, 13, 100, 4000):
        async with talk.Talk(server()) as client:
            await client.handshake()
            part = data if size > 1 else data[:1000]
            for start in range(0, len(part), size):
                await client.send(Kind.AUDIO, part[start : start + size])
            frames = 20 if size > 1 else sum(map(ogg_opus.packet_samples, ogg_opus.packets_in(part))) // talk.FRAME
            await client.answers(frames - 1)
            await client.settle()
            assert client.samples == (frames - 1) * talk.FRAME, (size, client.samples)


async def many_packets_in_a_page_and_one_over_pages():
    packets = ogg_opus.speech_packets(20)[:80]
    pages = ogg_opus.Writer().pages()
    for number, start in enumerate(range(0, 80, 10)):
        pages += ogg_opus.page(packets[start : start + 10], 2 + number)
    async with talk.Talk(server()) as client:
        await client.handshake()
        await client.send(Kind.AUDIO, pages)
        await client.answers(19)
        cut = ogg_opus.speech_packets(60, bitrate=128000)
        whole = next(packet for packet in cut if len(packet) > 600)
        await client.send(Kind.AUDIO, ogg_opus.page([whole[:510]], 10, complete=False))
        await client.send(Kind.AUDIO, ogg_opus.page([whole[510:]], 11, flags=ogg_opus.CONTINUED))
        await client.send(Kind.AUDIO, ogg_opus.page([ogg_opus.speech_packets(20)[0]], 12))
        await client.answers(20)
        await client.settle()
        assert client.samples == 20 * talk.FRAME, client.samples


async def a_further_head_goes_on_with_the_conversation():
    async with talk.Talk(server()) as client:
        await client.handshake()
        await client.converse(10)
        for serial in (42, 7):
            client.writer = ogg_opus.Writer(serial)
            await client.converse(10)
        await client.settle()
        assert client.samples == 29 * talk.FRAME, client.samples


async def who_only_reads_or_only_listens():
    both = await talk_pcm("seed=8&metadata=0")
    audio = await talk_pcm("seed=8&metadata=0&listen=audio")
    assert set(audio.kinds()) == {Kind.HANDSHAKE, Kind.AUDIO} and audio.sound == both.sound
    async with talk.Talk(server(), "audio=pcm&seed=8&listen=text&stats=1") as text:
        await text.handshake()
        await text.say(20)
        while "".join(text.text) != "".join(both.text):
            assert "".join(both.text).startswith("".join(text.text)), text.text
            await text.receive()
        await text.quiet()
        assert Kind.AUDIO not in text.kinds()


async def a_seed_gives_the_same_answer():
    one, same, other = [await talk_pcm(f"seed={seed}") for seed in (17, 17, 18)]
    assert one.sound == same.sound != other.sound and one.text == same.text != other.text
    pages = [await talk_pcm(f"text_seed={text}&audio_seed={audio}") for text, audio in ((1, 2), (1, 2), (2, 1), (1, 3))]
    assert pages[0].sound == pages[1].sound
    assert len({client.sound for client in pages}) == 3
    unset = [await talk_pcm() for _ in range(2)]
    assert unset[0].sound != unset[1].sound


async def metadata_are_as_documented():
    async with talk.Talk(server(), f"metadata=1&seed=17&audio=pcm&listen=both&{SAMPLING}") as client:
        await client.handshake()
        assert (await client.receive())[0] == Kind.METADATA
        (metadata,) = client.metadata
    assert set(metadata) == set(METADATA_TYPES), set(metadata) ^ set(METADATA_TYPES)
    for name, kind in METADATA_TYPES.items():
        assert isinstance(metadata[name], kind), (name, metadata[name])
    wanted = {"text_temperature": 0.5, "text_topk": 11, "audio_temperature": 0.25, "audio_topk": 77, "seed": 17,
              "audio": "pcm", "listen": "both", "frame_samples": 1920, "sample_rate": 24000, "max_lag_ms": 2000,
              "ignored": [], "pad_mult": 0, "repetition_penalty": 1}  # fmt: skip
    assert {name: metadata[name] for name in wanted} == wanted, metadata
    assert set(metadata["build_info"]) >= BUILD_INFO, metadata["build_info"]
    assert all(isinstance(value, str) for value in metadata["build_info"].values()), metadata["build_info"]


async def metadata_come_when_asked_for():
    for query, wanted in (("", False), ("metadata=0", False), ("stats=0", False), ("listen=text", False),
                          ("metadata=1", True),
                          ("text_topk=5", True), ("seed=4", True), ("text_seed=4&audio_seed=5", True)):  # fmt: skip
        async with talk.Talk(server(), query) as client:
            await client.handshake()
            if wanted:
                await client.until_metadata("lm_model_file")
                assert client.metadata[0]["text_topk"] == (5 if "topk" in query else 25), client.metadata
            await client.settle()
            assert len(client.metadata) == wanted, (query, client.metadata)


async def a_seed_of_the_servers_own_is_told():
    async with talk.Talk(server(), "metadata=1&audio=pcm") as client:
        await client.handshake()
        seed = (await client.until_metadata("lm_model_file"))["seed"]
        await client.converse(10)
        await check_answer(client, talk.speech_frames(10), seed)


async def parameters_that_change_nothing_are_taken():
    for query, ignored in (("pad_mult=0&repetition_penalty=1&repetition_penalty_context=64", []), ("pad_mult=0.0", []),
                           ("pad_mult=1.5", ["pad_mult"]), ("repetition_penalty=1.0&repetition_penalty_context=9", []),
                           ("pad_mult=2&repetition_penalty=1.2", ["pad_mult", "repetition_penalty"])):  # fmt: skip
        async with talk.Talk(server(), "metadata=1&" + query) as client:
            await client.handshake()
            metadata = await client.until_metadata("ignored")
            assert sorted(metadata["ignored"]) == ignored, (query, metadata)


async def names_the_server_does_not_know():
    async with talk.Talk(server(), "email=a%40b.c&image_resolution=512&x&=&%00=%ff&&audio=pcm&seed=3") as client:
        await client.handshake()
        await client.converse(5)


async def values_that_cannot_be_are_named():
    for query in ("text_temperature=-1", "text_temperature=101", "audio_temperature=nan", "audio_temperature=inf",
                  "audio_temperature=warm", "text_temperature=", "text_topk=-1", "text_topk=2.5",
                  "audio_topk=99999999999999",
                  "audio_topk=ten", "seed=-2", "seed=9223372036854775808", "seed=1e3", "seed=0x10", "text_seed=-1",
                  "audio_seed=2147483648", "listen=nothing", "audio=mp3", "max_steps=0", "max_steps=-1", "max_steps=x",
                  "metadata=maybe", "stats=7", "pad_mult=x", "repetition_penalty=x"):  # fmt: skip
        code, sentence = await talk.refused(server(), query)
        name, _, value = query.partition("=")
        assert code == Close.POLICY and name in sentence, (query, code, sentence)
        assert value in sentence, (query, sentence)


async def a_very_long_value_is_not_told_whole():
    code, sentence = await talk.refused(server(), "listen=" + "x" * 5000)
    assert code == Close.POLICY and "listen" in sentence and len(sentence) < 1000, (code, len(sentence))


async def statistics_every_second():
    async with talk.Talk(server(), "stats=1&audio=pcm") as client:
        await client.handshake()
        await client.converse(20)
        await client.until_metadata("stats")
        await client.until_metadata("stats")
    stats = client.metadata[-1]["stats"]
    assert set(stats) == {"frames_in", "frames_out", "dropped_frames", "dropped_samples", "lag_ms", "frame_delay_ms",
                          "sessions"}, stats  # fmt: skip
    assert (stats["frames_in"], stats["frames_out"], stats["dropped_frames"]) in ((20, 19, 0), (19, 19, 0)), stats
    assert set(stats["frame_delay_ms"]) == {"p50", "p99"} and stats["sessions"] == 1, stats
    assert 0 <= stats["frame_delay_ms"]["p50"] <= stats["frame_delay_ms"]["p99"] < 10000, stats
    assert 0 <= stats["lag_ms"] < 80, stats


async def a_conversation_of_so_many_steps():
    async with talk.Talk(server(), "max_steps=12&audio=pcm") as client:
        await client.handshake()
        await client.say(20)
        code, sentence = await client.closed()
        assert code == Close.NORMAL and sentence and client.samples == 12 * talk.FRAME, (code, sentence, client.samples)


async def restart_begins_a_new_conversation():
    async with talk.Talk(server(), "audio=pcm&seed=21") as client:
        await client.handshake()
        for _ in range(3):
            await client.converse(10)
            await check_answer(client, talk.speech_frames(10), 21)
            await client.send_bytes(talk.RESTART)
            await client.settle()
            client.begin_again()


async def restart_of_an_opus_stream():
    async with talk.Talk(server(), "seed=21") as client:
        await client.handshake()
        answers = []
        for _ in range(2):
            client.writer, client.packets = ogg_opus.Writer(), iter(ogg_opus.speech_packets(40))
            await client.converse(10)
            await client.settle()
            assert client.samples == 9 * talk.FRAME, client.samples
            answers.append("".join(client.text))
            await client.send_bytes(talk.RESTART)
            client.begin_again()
        assert answers[0] == answers[1], answers


async def what_is_not_for_the_server_is_let_be():
    before = server().metrics()
    async with talk.Talk(server(), "audio=pcm&seed=2") as client:
        await client.handshake()
        for kind, payload in ((0, b""), (0, bytes(8)), (2, b"hello"), (3, b"\0"), (3, b"\1"), (3, b"\2"), (3, b""),
                              (3, b"\x09"),
                              (4, b"{}"), (4, b"{"), (5, b"x"), (6, b""), (6, b"more"), (1, b"")):  # fmt: skip
            await client.send(kind, payload)
        discarded = [bytes([7, 1]), bytes([255]), b"", bytes([8]) + b"x" * 100, "text", ""]
        for data in discarded:
            await client.send_bytes(data)
        await client.converse(10)
        await check_answer(client, talk.speech_frames(10), 2)
        after = server().metrics()
    more = talk.total(after, "moshi_bad_messages_total") - talk.total(before, "moshi_bad_messages_total")
    assert more >= len(discarded), more


async def what_comes_before_the_handshake_is_dropped():
    # Loudly other sound than what follows: the answer would not be the one to the frames after the handshake.
    with talk.Server("--sessions", "1") as small:
        async with talk.Talk(small, "audio=pcm") as first:
            await first.handshake()
            async with talk.Talk(small, "audio=pcm&seed=6&metadata=1") as second:
                await second.until_metadata("queue")
                await second.say(7, sound=bytes(range(256)) * 105)
                await second.quiet(0.3)
                await first.socket.close()
                await second.handshake()
                await second.converse(10)
                await check_answer(second, talk.speech_frames(10), 6)


async def conversations_do_not_mix():
    await asyncio.gather(*(check_talk(seed, 25 + seed) for seed in range(1, 7)))


async def bad_packets_in_good_pages():
    bad_packets = lambda: talk.total(server().metrics(), "moshi_bad_packets_total")  # noqa: E731
    before = bad_packets()
    async with talk.Talk(server()) as client:
        await client.handshake()
        good = ogg_opus.speech_packets(40)
        for bad in (
            b"",
            b"\xff",
            b"\x03",
            b"\xff\xff\xff\xff",
            bytes(1),
            bytes([0x7B, 0x3F]) + bytes(40),
            b"\x0b\x00" + bytes(9),
        ):
            await client.send(Kind.AUDIO, client.writer.pages(good[0]))
            await client.send(Kind.AUDIO, client.writer.pages(bad))
        await client.converse(10)
        await client.settle()
        assert client.samples >= 12 * talk.FRAME, client.samples
    await talk.eventually(lambda: bad_packets() > before)


async def garbage_within_packets_is_heard_as_something():
    async with talk.Talk(server()) as client:
        await client.handshake()
        for n in range(20):  # TOCs of one frame of 20 ms, of all modes; behind them anything
            packet = bytes([(1, 5, 9, 13, 15, 19, 23, 27, 31)[n % 9] << 3]) + bytes(
                (n * 37 + i * 101) % 256 for i in range(60)
            )
            await client.send_packets(packet)
        await client.converse(10)
        await client.settle()
        assert client.error is None


async def pages_that_are_wrong_are_left_out():
    good = ogg_opus.speech_packets(40)
    stream = ogg_opus.Writer()
    pages = [stream.pages(*good[:2])] + [stream.pages(good[n]) for n in range(2, 40)]
    wrong = bytearray(pages[10])
    wrong[40] ^= 1  # its checksum does not fit any more
    for change in (bytes(wrong), b"", pages[10][:50], pages[10] + b"rubbish between pages", pages[10][:30] + pages[10]):
        async with talk.Talk(server()) as client:
            await client.handshake()
            for number, page in enumerate(pages):
                await client.send(Kind.AUDIO, change if number == 10 else page)
            await client.answers(17)
            assert client.error is None


async def what_is_not_ogg_opus_ends_it():
    vorbis = ogg_opus.page([b"\x01vorbis" + bytes(23)], 0, flags=ogg_opus.FIRST)
    for data in (
        bytes(range(256)) * 300,
        b"RIFF" + bytes(70000),
        vorbis + ogg_opus.page([b"\x03vorbis" + bytes(50)], 1),
    ):
        async with talk.Talk(server()) as client:
            await client.handshake()
            with contextlib.suppress(talk.Closed):
                for start in range(0, len(data), 4000):
                    await client.send(Kind.AUDIO, data[start : start + 4000])
            code, sentence = await client.closed()
            assert code == Close.UNSUPPORTED and "Ogg" in sentence, (code, sentence)


async def odd_samples_of_pcm():
    async with talk.Talk(server(), "audio=pcm&seed=3") as client:
        await client.handshake()
        await client.send(Kind.AUDIO, b"x")
        await client.converse(5)
        assert client.error is None


async def a_client_that_asks_for_nothing_gets_only_what_the_reference_sends():
    async with talk.Talk(server()) as client:
        await client.handshake()
        await client.converse(20)
        await client.until(Kind.PING)
        assert set(client.kinds()) <= {Kind.HANDSHAKE, Kind.AUDIO, Kind.TEXT, Kind.PING}, client.kinds()


async def nothing_is_left():
    await talk.eventually(server().empty)
    assert server().stop() == 0


with contextlib.ExitStack() as closing:
    talk.main([
        the_handshake_comes_first, every_sample_and_word_is_the_models, what_is_not_a_whole_frame_waits,
        opus_is_written_as_the_reference_does, text_follows_the_sound_of_its_frame, packets_of_any_duration,
        the_longest_packets, stereo_is_mixed_down, a_stream_cut_anywhere, many_packets_in_a_page_and_one_over_pages,
        a_further_head_goes_on_with_the_conversation, who_only_reads_or_only_listens, a_seed_gives_the_same_answer,
        metadata_are_as_documented, metadata_come_when_asked_for, a_seed_of_the_servers_own_is_told,
        parameters_that_change_nothing_are_taken, names_the_server_does_not_know, values_that_cannot_be_are_named,
        a_very_long_value_is_not_told_whole, statistics_every_second, a_conversation_of_so_many_steps,
        restart_begins_a_new_conversation, restart_of_an_opus_stream, what_is_not_for_the_server_is_let_be,
        what_comes_before_the_handshake_is_dropped, conversations_do_not_mix, bad_packets_in_good_pages,
        garbage_within_packets_is_heard_as_something, pages_that_are_wrong_are_left_out, what_is_not_ogg_opus_ends_it,
        odd_samples_of_pcm, a_client_that_asks_for_nothing_gets_only_what_the_reference_sends, nothing_is_left,
    ])  # fmt: skip
