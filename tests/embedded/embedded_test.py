# SPDX-License-Identifier: MIT
"""The embedded models on the real core, end to end: speech that can be understood after the codec, and repeated by the
language model. Nothing here names a model."""
import os
import pathlib
import re
import shutil
import struct
import subprocess
import sys
import wave

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "door"))
import door  # noqa: E402

# Least STOI of decoded speech that the codec was not trained on, by codebooks: the models' own less a margin.
LEAST_INTELLIGIBLE = {8: 0.83, 16: 0.835}
LEAST_REPEATED = 0.95  # share of frames that are repeated code for code
LEAST_REPEAT_INTELLIGIBLE = 0.90  # STOI of the decoded repeat against what the codec made of the same frames
REPEAT_FRAMES, FRAME_SECONDS = 25, 0.08
MINUTE = 60.0
PAUSE = 3.0  # seconds of silence in what is repeated, so that there is some to be marked

REAL = {"MOSHI_CORE": str(door.BUILD / "lib" / "libmoshi-core.so"), "MOSHI_DEFAULT_MODEL": ""}
EXAMPLES = door.BUILD / "examples"
SOUND = "wavparse ! audioconvert ! audioresample ! audio/x-raw,format=F32LE,rate=24000,channels=1"
WAV = "audioconvert ! audio/x-raw,format=S16LE ! wavenc"


def recording():
    """A person who reads, of Debian's package pocketsphinx-testdata: set-up makes one file of it."""
    command = [door.ROOT / ".ci" / "setup", "--path", "speech"]
    where = subprocess.run(command, capture_output=True, text=True, check=True)
    return pathlib.Path(where.stdout.strip()) / "speech.wav"


def run(command, folder, **more):
    done = door.run(command, folder, **{**REAL, **more})
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done


def launch(folder, pipeline, **more):
    return run(["gst-launch-1.0", "-q", *pipeline.split()], folder, **more)


def quality(folder, original, decoded, delay=0.0):
    done = run([EXAMPLES / "moshi-quality", "--delay", str(delay), original, decoded], folder)
    return {name: float(value) for name, value in (line.split() for line in done.stdout.splitlines())}


def write_minute(path):
    """A minute of the recording, over and over, with a pause after each time."""
    with wave.open(str(recording())) as sound:
        parameters, data = sound.getparams(), sound.readframes(sound.getnframes())
    size = parameters.sampwidth * parameters.nchannels
    turn = data + bytes(int(PAUSE * parameters.framerate) * size)
    count = int(MINUTE * parameters.framerate) * size
    with wave.open(str(path), "wb") as out:
        out.setparams(parameters)
        out.writeframes((turn * (1 + count // len(turn)))[:count])


def frames_of(path, codebooks):
    data = path.read_bytes()
    return list(struct.iter_unpack(f"<{codebooks}H", data))


def speech_can_be_understood(folder):
    for codebooks, least in LEAST_INTELLIGIBLE.items():
        launch(folder, f"filesrc location={recording()} ! {SOUND} ! mimienc codebooks={codebooks} ! mimidec ! {WAV} "
                       f"! filesink location=decoded.wav")  # fmt: skip
        measured = quality(folder, recording(), "decoded.wav")
        print(f"# {codebooks} codebooks: STOI {measured['stoi']:.3f}, mel distance {measured['mel']:.1f} dB")
        assert measured["stoi"] >= least, (codebooks, measured, least)


def repeat(folder, settings):
    """A minute through encoder, language model and decoder; what was heard and said, as codes, and the text."""
    write_minute(folder / "minute.wav")
    launch(folder, f"filesrc location=minute.wav ! {SOUND} ! mimienc ! tee name=heard "
                   f"heard. ! queue ! filesink location=heard.codes "
                   f"heard. ! queue ! mimidec ! {WAV} ! filesink location=heard.wav "
                   f"heard. ! queue ! moshilm name=lm {settings} ! tee name=said "
                   f"said. ! queue ! filesink location=said.codes "
                   f"said. ! queue ! mimidec ! {WAV} ! filesink location=said.wav "
                   f"lm.text_src ! application/x-moshi-tokens ! filesink location=said.tokens")  # fmt: skip
    heard, said = frames_of(folder / "heard.codes", 8), frames_of(folder / "said.codes", 8)
    assert len(heard) == len(said) == MINUTE / FRAME_SECONDS, (len(heard), len(said))
    same = sum(a == b for a, b in zip(heard, said[REPEAT_FRAMES:])) / (len(heard) - REPEAT_FRAMES)
    measured = quality(folder, "heard.wav", "said.wav", REPEAT_FRAMES * FRAME_SECONDS)
    print(f"# {settings}: {same:.1%} of frames repeated, STOI {measured['stoi']:.3f}")
    assert same >= LEAST_REPEATED, (settings, same)
    assert measured["stoi"] >= LEAST_REPEAT_INTELLIGIBLE, (settings, measured)


def speech_is_repeated_greedily(folder):
    repeat(folder, "sampling=false")


def speech_is_repeated_with_the_default_sampling(folder):
    repeat(folder, "seed=1")


def text_marks_speech_and_silence(folder):
    write_minute(folder / "minute.wav")
    launch(folder, f"filesrc location=minute.wav ! {SOUND} ! mimienc ! moshilm name=lm sampling=false "
                   f"lm.src ! fakesink async=false lm.text_src ! filesink location=said.txt")  # fmt: skip
    words = (folder / "said.txt").read_text().split()
    assert set(words) == {"speech", "silence"}, words
    # Each word says that something has changed: the recording is read at least twice, with a pause after it.
    assert all(one != next_one for one, next_one in zip(words, words[1:])), words
    assert words.count("silence") >= int(MINUTE // 30), words


def elements_play_without_a_model(folder):
    source = "audiotestsrc wave=pink-noise samplesperbuffer=1920 num-buffers=25 ! audio/x-raw,rate=24000,channels=1"
    for pipeline in ("mimienc ! fakesink", "mimienc codebooks=16 ! mimidec ! fakesink",
                     "mimienc ! moshilm ! mimidec ! fakesink"):  # fmt: skip
        launch(folder, f"{source} ! {pipeline}")


def programs_run_without_a_model(folder):
    launch(folder, f"filesrc location={recording()} ! {SOUND} ! {WAV} ! filesink location=in.wav")
    floats = "audioconvert ! audio/x-raw,format=F32LE"
    launch(folder, f"filesrc location=in.wav ! wavparse ! {floats} ! filesink location=in.f32")
    run([EXAMPLES / "moshi-inference", "-b", "1", "--greedy", "in.wav", "offline.wav"], folder)
    run([EXAMPLES / "moshi-conversation", "--greedy", "-i", "in.wav", "-o", "online.wav"], folder)
    assert quality(folder, "offline.wav", "online.wav")["mel"] < 0.5  # dB: one rounds samples, the other cuts them
    core = REAL["MOSHI_CORE"]
    run([EXAMPLES / "moshi-core-api", "--core", core, "in.f32", "decoded.f32"], folder)
    assert (folder / "decoded.f32").stat().st_size > 0
    with open(folder / "in.f32", "rb") as sound:
        codes = subprocess.run([EXAMPLES / "moshi-core-api-c", core, "", "8"], stdin=sound, capture_output=True,
                               text=True, timeout=door.LIMIT_S, check=False, env={**os.environ, **REAL})  # fmt: skip
    assert codes.returncode == 0 and re.match(r"(\d+ ){7}\d+\n", codes.stdout), (codes.stdout[:99], codes.stderr)


def the_demo_uses_them(folder):
    done = run([EXAMPLES / "moshi-demo", "--input", recording(), "--output", "."], folder)
    rows = {line.split()[0]: line.split() for line in done.stdout.splitlines() if line.strip()}
    assert float(rows["decode"][5]) >= LEAST_INTELLIGIBLE[8], done.stdout
    assert float(rows["repeat"][5]) >= LEAST_REPEAT_INTELLIGIBLE, done.stdout
    assert "speech" in (folder / "conversation.txt").read_text(), done.stdout


def installed(folder):
    """Plugin, core and models as `meson install` puts them; returns the environment and the folder of the core."""
    door.install(folder / "root")
    (plugin,) = (folder / "root").rglob("libgstmoshi.so")
    (core,) = (folder / "root").rglob("libmoshi-core.so")
    return {"GST_PLUGIN_PATH": str(plugin.parent), "MOSHI_CORE": str(core)}, core.parent


def an_installation_brings_them(folder):
    environment, core = installed(folder)
    environment.pop("MOSHI_CORE")  # the plugin finds it beside itself
    names = sorted(path.name for path in (core / "embedded").iterdir())
    assert "mimi.safetensors" in names and "README.md" in names and "meson.build" not in names, names
    launch(folder, f"filesrc location={recording()} ! {SOUND} ! mimienc ! moshilm ! mimidec ! fakesink",
           MOSHI_CORE="", **environment)  # fmt: skip


def an_installation_without_them_says_so(folder):
    environment, core = installed(folder)
    pipeline = ["gst-launch-1.0", "audiotestsrc", "num-buffers=9", "!", "mimienc", "!", "moshilm", "!", "fakesink"]
    (core / "embedded" / "parrot.safetensors").unlink()
    done = door.run(pipeline, folder, **{**REAL, **environment})
    assert done.returncode != 0 and "parrot.safetensors" in done.stderr and "install" in done.stderr, done.stderr
    shutil.rmtree(core / "embedded")
    done = door.run(pipeline, folder, **{**REAL, **environment})
    assert done.returncode != 0 and f"{core}/embedded" in done.stderr and "model property" in done.stderr, done.stderr


def the_environment_names_another(folder):
    pipeline = ["gst-launch-1.0", "audiotestsrc", "num-buffers=9", "!", "mimienc", "!", "fakesink"]
    done = door.run(pipeline, folder, **{**REAL, "MOSHI_DEFAULT_MODEL": str(folder / "nothing")})
    assert done.returncode != 0 and "MOSHI_DEFAULT_MODEL" in done.stderr, done.stderr
    shutil.copytree(door.BUILD / "models" / "embedded", folder / "other")
    run(pipeline, folder, MOSHI_DEFAULT_MODEL=str(folder / "other"))


if not recording().exists():
    print("1..0 # SKIP no recording: run .ci/setup demo")
    sys.exit(0)
door.main([
    (function.__name__.replace("_", " "), function)
    for function in (speech_can_be_understood, speech_is_repeated_greedily,
                     speech_is_repeated_with_the_default_sampling, text_marks_speech_and_silence,
                     elements_play_without_a_model, programs_run_without_a_model, the_demo_uses_them,
                     an_installation_brings_them, an_installation_without_them_says_so, the_environment_names_another)
])  # fmt: skip
