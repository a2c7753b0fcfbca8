# SPDX-License-Identifier: MIT
"""moshi-client in a room in which the microphone hears the loudspeaker: the model's voice is not sent back to the
model, and who speaks meanwhile is heard."""
import array
import asyncio
import contextlib
import itertools
import math
import signal
import wave

import door
import ogg_opus
from client_program import Client, Stub, main
from talk import FRAME_S, Kind, eventually, websockets

RATE = ogg_opus.RATE
SOUND = "audioconvert ! audioresample ! audio/x-raw,format=F32LE,rate=48000,channels=1"
SAMPLES = f"audioconvert ! audioresample ! audio/x-raw,format=S16LE,rate={RATE},channels=1"
UNBOUND = "queue max-size-buffers=0 max-size-bytes=0"
HELD_MS = 60  # by the loudspeaker, as the client asks of one: what it plays has passed the client so much earlier
ECHO_MS = 30  # from the loudspeaker to the microphone
ECHO_DB = -20
TAKEN_DB = 20  # of it at least: measured are 40, and 2 when the canceller is off
NEAR = 0.3  # of the recording's level: 10 dB above the echo
SECONDS = 8  # that the microphone is heard
LEARNT = 5  # of these the canceller has to learn the room


class Speaker(Stub):
    """A server that hears everything, and speaks without a pause once the microphone is on."""

    async def _converse(self, socket):
        with contextlib.ExitStack() as stack:
            async for data in socket:
                assert data[0] == Kind.AUDIO, data[:10]
                if not self.reader.packets:
                    speaking = asyncio.create_task(self._speak(socket))
                    stack.callback(speaking.cancel)
                self.reader.append(data[1:])

    async def _speak(self, socket):
        now = asyncio.get_running_loop().time
        begun, packets = now(), itertools.cycle(ogg_opus.speech_packets(40))
        with contextlib.suppress(websockets.ConnectionClosed):
            for frame in itertools.count():
                await asyncio.sleep(begun + frame * FRAME_S - now())
                await socket.send(bytes([Kind.AUDIO]) + self.writer.pages(next(packets), next(packets)))

    def seconds_heard(self):
        return sum(map(ogg_opus.packet_samples, self.reader.packets)) / RATE if self.connections else 0


def room(played, near=None):
    """The loudspeaker is a tee that the microphone is a branch of: on a busy machine, too, no sample of the echo is
    lost or comes at another time. There is a little noise, as everywhere: after perfect silence, noise suppression
    takes speech for noise, and does the canceller's work. `played`: the file for what the loudspeaker plays, in
    samples."""
    microphone = [
        f"room. ! {UNBOUND} min-threshold-time={ECHO_MS}000000 ! {SOUND} ! mic.sink_0",
        f"audiotestsrc wave=pink-noise volume=0.001 ! {SOUND} ! mic.sink_1",
    ]
    if near:
        microphone += [f"filesrc location={near} ! wavparse ! {SOUND} ! mic.sink_2"]
    microphone += [f"audiomixer name=mic sink_0::volume={10 ** (ECHO_DB / 20)} sink_0::offset={ECHO_MS}000000"]
    loudspeaker = [
        f"{UNBOUND} max-size-time={HELD_MS}000000 ! tee name=room ! fakesink sync=true",
        f"room. ! {UNBOUND} ! {SAMPLES} ! filesink location={played} async=false",
    ]
    return "--audio-source", " ".join(microphone), "--audio-sink", " ".join(loudspeaker)


async def talk(folder, name, *options, near=None):
    """What was played and what was sent while the microphone was heard, as samples, and the lines on standard error."""
    async with Speaker() as stub, Client(folder, stub.url, *room(name, near), *options) as client:
        await eventually(lambda: stub.closed or stub.seconds_heard() > SECONDS)
        assert not stub.closed, client.lines
        client.process.send_signal(signal.SIGINT)
        code, _, lines = await client.wait()
        assert code == 0, lines
    played, sent = (folder / name).read_bytes(), ogg_opus.decode(stub.reader.packets)
    return array.array("h", played[: len(played) // 2 * 2]), array.array("h", sent), lines


def level(samples, since, until=SECONDS):
    """In dB of full scale, from one second to another."""
    part = samples[since * RATE : until * RATE]
    assert len(part) == (until - since) * RATE, (len(samples), since, until)
    return 10 * math.log10(max(1, sum(sample * sample for sample in part) / len(part)) / 32768**2)


async def the_models_voice_is_taken_out_of_the_microphone(folder):
    left, taken = await asyncio.gather(talk(folder, "left", "--no-echo-cancel"), talk(folder, "taken"))
    assert not any("taken out" in line for line in left[2]), left[2]
    assert any("taken out" in line for line in taken[2]), taken[2]
    echoes = []  # in dB of what was played
    for played, sent, _ in (left, taken):
        assert level(played, LEARNT) > -35, level(played, LEARNT)
        echoes.append(level(sent, LEARNT) - level(played, LEARNT))
    print(f"# the echo, of what was played: {echoes[0]:.1f} dB left alone, {echoes[1]:.1f} dB taken out")
    assert abs(echoes[0] - ECHO_DB) < 2, echoes
    assert echoes[1] < ECHO_DB - TAKEN_DB, echoes


async def who_speaks_meanwhile_is_heard(folder):
    speech = array.array("h", ogg_opus.speech_samples())[12 * RATE :]
    near = array.array("h", [0] * LEARNT * RATE + [round(NEAR * sample) for sample in speech])
    with wave.open(str(folder / "near.wav"), "wb") as out:
        out.setparams((1, 2, RATE, 0, "NONE", ""))
        out.writeframes(near.tobytes())
    played, sent, _ = await talk(folder, "played", "--echo-cancel", near="near.wav")
    assert level(played, LEARNT) > -35, level(played, LEARNT)
    before, passed = (level(sent, *span) - level(near, LEARNT) for span in ((LEARNT - 1, LEARNT), (LEARNT,)))
    print(f"# of what is said over the model's voice: {passed:.1f} dB; sent before it: {before:.1f} dB")
    assert before < -25, before
    assert -8 < passed < 2, passed


if __name__ == "__main__":
    if door.run(["gst-inspect-1.0", "--exists", "webrtcdsp"], door.registry_folder()).returncode:
        door.skip("GStreamer's plugin webrtcdsp is missing (Debian: gstreamer1.0-plugins-bad)")
    main(globals())
