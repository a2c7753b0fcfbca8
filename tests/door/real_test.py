# SPDX-License-Identifier: MIT
"""The programs on the real core, with small random models: program, pipeline and offline tool say the same."""
import json
import pathlib
import random
import struct
import tempfile
import wave

import door

EXAMPLES = door.BUILD / "examples"
REAL = {"MOSHI_CORE": str(door.BUILD / "lib" / "libmoshi-core.so")}
CONFIGS = door.ROOT / "tests" / "configs" / "lm"
FRAME = 1920
TEXT_CARD = 500  # of mid.json
PREFIX, SUFFIX = 3, 19  # frames of silence around what a model turns into text


def field(number, payload):
    size = len(payload)
    assert size < 16384
    return bytes([number << 3 | 2]) + (bytes([size]) if size < 128 else bytes([size & 127 | 128, size >> 7])) + payload


def write_tokenizer(path, count):
    """A sentencepiece model whose pieces are <unk>, two control ones, 256 bytes, then words."""
    texts = [("<unk>", 2), ("<s>", 3), ("</s>", 3)] + [(f"<0x{byte:02X}>", 6) for byte in range(256)]
    texts += [(f"\u2581word{n}" if n % 2 else f"é{n}", 1) for n in range(count - len(texts))]
    pieces = b"".join(field(1, field(1, text.encode()) + bytes([3 << 3, kind])) for text, kind in texts)
    path.write_bytes(pieces + field(2, bytes([0x98, 0x02, 1])))  # byte_fallback
    return [text.replace("\u2581", " ").encode() if kind != 6 else bytes([n - 3]) for n, (text, kind) in enumerate(texts)]


def run(command, folder, **more):
    done = door.run(command, folder, **REAL, **more)
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done


def random_lm(folder, name, config, *options):
    run([door.BUILD / "lib" / "moshi-random-lm", "--output", folder / name, "--config", config,
         "--mimi", next((folder / "mimi").glob("*.safetensors")), "--mimi-config", folder / "mimi.json", *options], folder)  # fmt: skip


def make_models(folder):
    """Models that fit each other, and their tokenizer's bytes for each token."""
    config = json.loads((door.ROOT / "tests" / "vectors" / "small.json").read_text())["model"]["config"]
    (folder / "mimi.json").write_text(json.dumps(config))
    run([door.BUILD / "lib" / "moshi-random-mimi", "--output", folder / "mimi", "--config", folder / "mimi.json"], folder)
    pieces = write_tokenizer(folder / "tokenizer.model", TEXT_CARD)
    random_lm(folder, "mid", CONFIGS / "mid.json", "--tokenizer", folder / "tokenizer.model")
    make_speech_to_text(folder, config["quantizer"]["bins"])
    return pieces


def make_speech_to_text(folder, cardinality):
    config = json.loads((CONFIGS / "stt.json").read_text())
    config["card"] = cardinality
    config["stt_config"] = {"audio_silence_prefix_seconds": PREFIX * 0.08, "audio_delay_seconds": SUFFIX * 0.08 - 1}
    (folder / "stt.json").write_text(json.dumps(config))
    write_tokenizer(folder / "stt.model", config["text_card"])
    random_lm(folder, "stt", folder / "stt.json", "--tokenizer", folder / "stt.model")


def write_noise(path, frames, rest=0):
    """Noise that comes and goes: every frame differs."""
    numbers = random.Random(3)
    with wave.open(str(path), "wb") as out:
        out.setparams((1, 2, 24000, 0, "NONE", ""))
        samples = [int(numbers.gauss(0, 6000 * ((n // 6000) % 3))) for n in range(frames * FRAME + rest)]
        out.writeframes(b"".join(struct.pack("<h", max(-32768, min(32767, sample))) for sample in samples))
    return path


def tokens_of(path):
    return [[int(number) for number in line.split()] for line in path.read_text().splitlines()]


def shown(tokens):
    """What the first padding tokens of the model leave of a text."""
    return b"".join(PIECES[token] for token in tokens if token not in (0, 3))


def inference(folder, *options, model="mid"):
    return run([EXAMPLES / "moshi-inference", "--model", MODELS / model, "--tokens", "t.txt", *options], folder)


def offline(folder):
    source = write_noise(folder / "in.wav", 30, rest=100)
    done = inference(folder, "-b", "1", "--greedy", source, "out.wav")
    tokens = tokens_of(folder / "t.txt")
    assert len(tokens) == 30 and {len(frame) for frame in tokens} == {9}
    assert len({tuple(frame) for frame in tokens}) > 20, "the tokens do not vary"
    assert (folder / "out.wav").stat().st_size == 44 + 2 * 30 * FRAME
    said = shown(frame[0] for frame in tokens).decode(errors="replace")
    assert said in done.stdout, (said, done.stdout)


def batch(folder):
    source = write_noise(folder / "in.wav", 12)
    inference(folder, "-b", "3", source)
    texts = [(folder / f"t-{i}.txt").read_text() for i in range(3)]
    assert len(set(texts)) == 3
    inference(folder, "-b", "1", source)
    assert (folder / "t.txt").read_text() == texts[0]


def conversation_says_the_same(folder):
    source = write_noise(folder / "in.wav", 30)
    inference(folder, "-b", "1", "--greedy", source)
    tokens = tokens_of(folder / "t.txt")
    run([EXAMPLES / "moshi-conversation", "--model", MODELS / "mid", "--greedy", "-i", source, "-o", "out.wav", "-t", "said.txt"],
        folder)  # fmt: skip
    with wave.open(str(folder / "out.wav")) as sound:
        assert sound.getnframes() == 30 * FRAME
    expected = shown(frame[0] for frame in tokens).decode(errors="replace")
    said = (folder / "said.txt").read_bytes().decode(errors="replace")
    # A character that the end cuts is not shown.
    assert said and said == expected.rstrip("\ufffd"), (said, expected)


def pipeline_says_the_same(folder):
    source = write_noise(folder / "in.wav", 30)
    inference(folder, "-b", "1", "--greedy", source)
    run(["gst-launch-1.0", "filesrc", f"location={source}", "!", "wavparse", "!", "audioconvert", "!", "mimienc",
         f"model={MODELS / 'mid'}", "!", "moshilm", "name=lm", f"model={MODELS / 'mid'}", "sampling=false",
         "lm.src", "!", "audio/x-mimi,stream-format=codes", "!", "filesink", "location=out.codes",
         "lm.text_src", "!", "application/x-moshi-tokens", "!", "filesink", "location=out.tokens"], folder)  # fmt: skip
    text, codes = (folder / "out.tokens").read_bytes(), (folder / "out.codes").read_bytes()
    assert len(text) == 30 * 4 and len(codes) == 30 * 8 * 2, (len(text), len(codes))
    frames = [list(struct.unpack_from("<i", text, 4 * n) + struct.unpack_from("<8H", codes, 16 * n)) for n in range(30)]
    assert frames == tokens_of(folder / "t.txt")


def speech_to_text(folder):
    source = write_noise(folder / "in.wav", 20)
    offline_text = inference(folder, source, model="stt").stdout.rstrip("\n")
    assert len(tokens_of(folder / "t.txt")) == PREFIX + 20 + SUFFIX
    done = run([EXAMPLES / "moshi-conversation", "--model", MODELS / "stt", "-i", source, "-o", "none", "--stats"], folder)
    assert f"steps=(guint64){1 + PREFIX + 20 + SUFFIX}" in done.stderr, done.stderr
    # A character that the end cuts is not shown.
    assert offline_text and done.stdout.rstrip("\n") == offline_text.rstrip("\ufffd"), (done.stdout, offline_text)


def no_sound_from_a_model_without_a_voice(folder):
    source = write_noise(folder / "in.wav", 4)
    done = run([EXAMPLES / "moshi-conversation", "--model", MODELS / "stt", "-i", source, "-o", "out.wav"], folder)
    assert "only writes" in done.stderr and "WARNING" not in done.stderr, done.stderr
    assert (folder / "out.wav").stat().st_size == 0


def tokenizer_that_is_none(folder):
    source = write_noise(folder / "in.wav", 2)
    (folder / "bad.model").write_text("This is no tokenizer.")
    for program, more in (("moshi-inference", [source]), ("moshi-conversation", ["-i", source, "-o", "none"])):
        done = door.run([EXAMPLES / program, "--model", MODELS / "mid", "--tokenizer", "bad.model", *more], folder, **REAL)
        assert done.returncode == 1 and "bad.model" in done.stderr, (program, done.stderr)


with tempfile.TemporaryDirectory(prefix="moshi-real-") as name:
    MODELS = pathlib.Path(name)
    PIECES = make_models(MODELS)
    door.main([
        (function.__name__.replace("_", " "), function)
        for function in (offline, batch, conversation_says_the_same, pipeline_says_the_same, speech_to_text,
                         no_sound_from_a_model_without_a_voice, tokenizer_that_is_none)
    ])  # fmt: skip
