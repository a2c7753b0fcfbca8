# SPDX-License-Identifier: MIT
"""Conversations with moshi-server on the real core: with the embedded models, which repeat what they hear 2 s later and
write whether it was speech, and with a random model, whose draws differ."""

import asyncio
import json
import pathlib
import subprocess
import tempfile
import wave

import door
import ogg_opus
import talk

REAL = {"MOSHI_CORE": str(talk.CORES["real"])}
REPEATED_AFTER = 25  # frames
FRAMES = 250  # 20 s
LEAST_INTELLIGIBLE = 0.7  # STOI against what was said, through the codec and Opus both ways


def write_wav(path, sound):
    with wave.open(str(path), "wb") as out:
        out.setparams((1, 2, 24000, 0, "NONE", ""))
        out.writeframes(sound)


def intelligible(sound):
    """STOI of an answer against what was said. The first frame is not heard, so that the answer begins one earlier."""
    with tempfile.TemporaryDirectory() as folder:
        write_wav(pathlib.Path(folder) / "said.wav", talk.speech_frames(FRAMES))
        write_wav(pathlib.Path(folder) / "heard.wav", sound)
        delay = str((REPEATED_AFTER - 1) * talk.FRAME_S)
        done = door.run([door.BUILD / "examples" / "moshi-quality", "--delay", delay, "said.wav", "heard.wav"], folder)
    assert done.returncode == 0, done.stderr
    return float(dict(line.split() for line in done.stdout.splitlines())["stoi"])


async def converse(server, query, frames=FRAMES):
    async with talk.Talk(server, query) as client:
        await client.handshake()
        await client.converse(frames)
        await client.settle()
        return client


async def the_parrot_repeats():
    with talk.Server("--sessions", "4", core="real") as server:
        pcm, opus = await asyncio.gather(converse(server, "audio=pcm&seed=1"), converse(server, "seed=1"))
    for name, client, sound in (("PCM", pcm, pcm.sound), ("Opus", opus, ogg_opus.decode(opus.reader.packets))):
        assert client.samples == (FRAMES - 1) * talk.FRAME and len(sound) == client.samples * 2, (
            name,
            client.samples,
            len(sound),
        )
        stoi = intelligible(sound)
        print(f"# {name}: STOI {stoi:.3f}, text {''.join(client.text)!r}")
        assert stoi >= LEAST_INTELLIGIBLE, (name, stoi)
        words = "".join(client.text).split()
        assert "speech" in words and set(words) <= {"speech", "silence"}, words


async def what_it_says_of_the_embedded_models():
    with talk.Server("--sessions", "1", core="real") as server:
        info = json.loads(server.get("/api/info")[2])
        assert info["model"]["name"] == "embedded" and info["model"]["speaks"] and info["model"]["writes"], info
        client = await converse(server, "metadata=1", 3)
        assert client.metadata[0]["lm_model_file"].endswith(".safetensors"), client.metadata


async def places_are_measured():
    with talk.Server(core="real") as server:
        places = json.loads(server.get("/api/info")[2])["sessions"]["places"]
        print(f"# {places} places")
        assert places >= 1
        await converse(server, "", 5)


def random_model(folder):
    config = json.loads((door.ROOT / "tests" / "vectors" / "small.json").read_text())["model"]["config"]
    (folder / "mimi.json").write_text(json.dumps(config))
    mimi = [door.BUILD / "lib" / "moshi-random-mimi", "--output", folder / "mimi", "--config", folder / "mimi.json"]
    subprocess.run(mimi, check=True, stdout=subprocess.DEVNULL, env={**door.environment(folder), **REAL})
    lm = [door.BUILD / "lib" / "moshi-random-lm", "--output", folder / "lm", "--config",
          door.ROOT / "tests/configs/lm/mid.json",
          "--mimi", next((folder / "mimi").glob("*.safetensors")), "--mimi-config", folder / "mimi.json"]  # fmt: skip
    subprocess.run(lm, check=True, stdout=subprocess.DEVNULL, env={**door.environment(folder), **REAL})
    return folder / "lm"


async def draws_and_seeds():
    with tempfile.TemporaryDirectory() as folder:
        model = random_model(pathlib.Path(folder))
        with talk.Server("--model", model, "--sessions", "2", core="real") as server:

            async def sound(query):
                client = await converse(server, f"audio=pcm&listen=audio&{query}", 12)
                return client.sound

            one, same, other = [await sound(f"seed={seed}") for seed in (17, 17, 18)]
            assert one == same != other
            cold = [await sound(f"text_temperature=0&audio_temperature=0&seed={seed}") for seed in (17, 18)]
            assert cold[0] == cold[1] != one
            likeliest = [await sound(f"text_topk=1&audio_topk=1&seed={seed}") for seed in (17, 18)]
            assert likeliest == cold
            assert await sound("seed=17&audio_temperature=3") != one
        with talk.Server("--model", model, "--sessions", "2", "--seed", "17", core="real") as server:
            client = await converse(server, "audio=pcm&listen=audio", 12)
            assert client.sound == one


async def an_installation_is_enough():
    """The program finds elements, core and models beside itself; the page is in it."""
    with tempfile.TemporaryDirectory() as folder:
        door.install(folder)
        (program,) = pathlib.Path(folder).rglob("bin/moshi-server")
        nothing = {"GST_PLUGIN_PATH": "", "MOSHI_CORE": "", "LD_LIBRARY_PATH": ""}
        with talk.Server("--sessions", "1", program=program, **nothing) as server:
            status, headers, page = server.get("/")
            assert status == 200 and headers["Content-Type"].startswith("text/html") and b"main.js" in page, headers
            client = await converse(server, "audio=pcm&seed=1", frames=60)
        assert "speech" in "".join(client.text), client.text


talk.main([
    the_parrot_repeats, an_installation_is_enough, what_it_says_of_the_embedded_models, places_are_measured,
    draws_and_seeds,
])  # fmt: skip
