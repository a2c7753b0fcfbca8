# SPDX-License-Identifier: MIT
"""The demo program: its files and table, and one clear line and the right exit status for whatever is wrong."""
import shutil
import wave

import door

DEMO = door.BUILD / "examples" / "moshi-demo"
FRAME_BYTES = 11  # 8 codes of 11 bits


def demo(folder, source, *options, model=None, **environment):
    (folder / "model").mkdir(exist_ok=True)
    command = [DEMO, "--input", source, "--model", model or folder / "model", "--output", folder / "out", *options]
    return door.run(command, folder, **environment)


def refused(done, *words):
    assert done.returncode == 1, (done.returncode, done.stderr)
    lines = done.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("demo: "), done.stderr
    for word in words:
        assert word in lines[0], (word, lines[0])


def encodes_and_decodes(folder):
    door.write_wav(folder / "in.wav", 2.05)
    done = demo(folder, folder / "in.wav")
    assert done.returncode == 0, done.stderr
    rows = {line.split()[0]: line.split() for line in done.stdout.splitlines() if line.strip()}
    assert rows["input"][1] == "2.05", done.stdout
    assert rows["encode"][1:4] == ["26", "2.08", "1.10"], done.stdout
    assert rows["decode"][1:3] == ["26", "2.08"], done.stdout
    assert (folder / "out" / "speech.mimi").stat().st_size == 26 * FRAME_BYTES
    with wave.open(str(folder / "out" / "decoded.wav")) as sound:
        assert (sound.getframerate(), sound.getnchannels(), sound.getnframes()) == (24000, 1, 26 * 1920)
    with wave.open(str(folder / "out" / "input.wav")) as sound:
        assert (sound.getframerate(), sound.getnchannels(), sound.getnframes()) == (24000, 1, round(2.05 * 24000))


def codebooks(folder):
    door.write_wav(folder / "in.wav", 0.8)
    done = demo(folder, folder / "in.wav", "--codebooks", "16")
    assert done.returncode == 0, done.stderr
    assert (folder / "out" / "speech.mimi").stat().st_size == 10 * 2 * FRAME_BYTES
    assert "codebooks=(int)16" in done.stdout, done.stdout


def embedded_models_talk_too(folder):
    door.write_wav(folder / "in.wav", 2.05)
    command = [DEMO, "--input", folder / "in.wav", "--output", folder / "out"]
    done = door.run(command, folder)
    assert done.returncode == 0, done.stderr
    rows = {line.split()[0]: line.split() for line in done.stdout.splitlines() if line.strip()}
    # The recording and 25 frames of silence; a rest of a frame between the two is filled up.
    assert rows["repeat"][1] in ("51", "52"), done.stdout
    with wave.open(str(folder / "out" / "conversation.wav")) as sound:
        assert sound.getnframes() > (26 + 24) * 1920
    text = (folder / "out" / "conversation.txt").read_text()
    assert text and text in done.stdout, done.stdout
    named = door.run([*command, "--model", folder], folder)
    assert named.returncode == 0 and "repeat" not in named.stdout, named.stdout


def odd_name(folder):
    source = folder / "a b'c \"d\" #1 ü.wav"
    door.write_wav(source, 0.1)
    done = demo(folder, source)
    assert done.returncode == 0, done.stderr


def missing_file(folder):
    refused(demo(folder, folder / "nothing.wav"), "nothing.wav", "no file")


def result_as_input(folder):
    door.write_wav(folder / "decoded.wav", 0.1)
    before = (folder / "decoded.wav").read_bytes()
    refused(demo(folder, folder / "decoded.wav", "--output", folder), "decoded.wav", "twice")
    assert (folder / "decoded.wav").read_bytes() == before


def text_file(folder):
    (folder / "words.wav").write_text("This is no sound. " * 100)
    refused(demo(folder, folder / "words.wav"), "words.wav")


def empty_file(folder):
    (folder / "empty.wav").touch()
    refused(demo(folder, folder / "empty.wav"), "empty.wav")


def folder_as_input(folder):
    refused(demo(folder, folder), "not a file")


def picture_only(folder):
    door.run(["gst-launch-1.0", "-q", "videotestsrc", "num-buffers=3", "!", "jpegenc", "!", "avimux", "!", "filesink",
              "location=film.avi"], folder)  # fmt: skip
    assert (folder / "film.avi").stat().st_size > 0
    refused(demo(folder, folder / "film.avi"), "film.avi", "no audio stream")


def missing_model(folder):
    door.write_wav(folder / "in.wav", 0.1)
    refused(demo(folder, folder / "in.wav", model=folder / "no-model"), "no-model")


def load_fails(folder):
    door.write_wav(folder / "in.wav", 0.1)
    refused(demo(folder, folder / "in.wav", MOSHI_FAKE_LOAD_FAIL="5", MOSHI_FAKE_LOAD_MS="50"), "cannot encode")


def encoding_fails(folder):
    door.write_wav(folder / "in.wav", 1)
    refused(demo(folder, folder / "in.wav", MOSHI_FAKE_FAIL_FRAME="5"), "cannot encode")


def plugin_beside_the_program(folder):
    door.write_wav(folder / "in.wav", 0.1)
    done = demo(folder, folder / "in.wav", GST_PLUGIN_PATH="")
    assert done.returncode == 0, done.stderr


def no_plugin(folder):
    door.write_wav(folder / "in.wav", 0.1)
    (folder / "model").mkdir()
    alone = shutil.copy(DEMO, folder / "moshi-demo")
    command = [alone, "--input", folder / "in.wav", "--model", folder / "model", "--output", folder / "out"]
    refused(door.run(command, folder, GST_PLUGIN_PATH=str(folder)), "mimienc", "GST_PLUGIN_PATH")


def wrong_usage(folder):
    for arguments in ([], ["--model", "y"], ["--input", "x", "--model", "y", "z"], ["--loud"]):
        done = door.run([DEMO, *arguments], folder)
        assert done.returncode == 2 and done.stderr.startswith("demo: "), (arguments, done.returncode, done.stderr)


door.main([
    (function.__name__.replace("_", " "), function)
    for function in (encodes_and_decodes, codebooks, embedded_models_talk_too, odd_name, missing_file, result_as_input, text_file, empty_file,
                     folder_as_input, picture_only, missing_model, load_fails, encoding_fails, plugin_beside_the_program, no_plugin, wrong_usage)
])  # fmt: skip
