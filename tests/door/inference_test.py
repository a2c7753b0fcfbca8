# SPDX-License-Identifier: MIT
"""The offline program: frames and files as the reference's tool has them, and one clear line for whatever is wrong."""
import os
import struct
import subprocess

import door

INFERENCE = door.BUILD / "examples" / "moshi-inference"
FRAME = 1920


def inference(folder, source, *options, model=None, **environment):
    (folder / "model").mkdir(exist_ok=True)
    return door.run([INFERENCE, "--model", model or folder / "model", *options, source], folder, **environment)


def speech(folder, frames, rest=0):
    door.write_wav(folder / "in.wav", (frames * FRAME + rest) / 24000, rate=24000)
    return folder / "in.wav"


def refused(done, *words):
    assert done.returncode == 1, (done.returncode, done.stderr)
    lines = done.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("inference: "), done.stderr
    for word in words:
        assert word in lines[0], (word, lines[0])


def wav(path):
    """Format tag, bits and samples of what the program wrote."""
    data = path.read_bytes()
    tag, channels, rate = struct.unpack_from("<HHI", data, 20)
    assert data[:4] == b"RIFF" and (channels, rate) == (1, 24000)
    assert struct.unpack_from("<I", data, 4)[0] == len(data) - 8 and struct.unpack_from("<I", data, 40)[0] == len(data) - 44
    bits = struct.unpack_from("<H", data, 34)[0]
    return tag, bits, (len(data) - 44) * 8 // bits


def frames_of(path):
    return [[int(number) for number in line.split()] for line in path.read_text().splitlines()]


def one_frame_less_for_the_delay(folder):
    done = inference(folder, speech(folder, 20, rest=700), "-b", "1", "--tokens", "t.txt")
    assert done.returncode == 0, done.stderr
    # Every frame makes a step, and the first one two; the rest of a frame is dropped.
    assert "21 steps" in done.stderr, done.stderr
    tokens = frames_of(folder / "t.txt")
    assert len(tokens) == 20 and all(len(frame) == 9 for frame in tokens), tokens
    longer = inference(folder, folder / "in.wav", "-b", "1", "--tokens", "two.txt", MOSHI_FAKE_LM_DELAY="2")
    assert longer.returncode == 0 and len(frames_of(folder / "two.txt")) == 19, longer.stderr
    none = inference(folder, folder / "in.wav", "-b", "1", "--tokens", "none.txt", MOSHI_FAKE_LM_DELAY="0")
    assert none.returncode == 0 and len(frames_of(folder / "none.txt")) == 20, none.stderr


def batch(folder):
    (folder / "model").mkdir()
    speech(folder, 6)
    done = door.run([INFERENCE, "--model", "model", "-b", "3", "--tokens", "t.txt", "in.wav", "out.wav"], folder)
    assert done.returncode == 0, done.stderr
    for i in range(3):
        assert wav(folder / f"out-{i}.wav") == (1, 16, 6 * FRAME)
    assert not (folder / "out.wav").exists()
    different = {(folder / f"t-{i}.txt").read_text() for i in range(3)}
    assert len(different) == 3, "items of a batch have seeds of their own"
    # The first item is what a batch of one is.
    assert inference(folder, folder / "in.wav", "-b", "1", "--tokens", "one.txt").returncode == 0
    assert (folder / "one.txt").read_text() == (folder / "t-0.txt").read_text()


def greedy(folder):
    speech(folder, 6)
    for name in ("a.txt", "b.txt"):
        done = inference(folder, folder / "in.wav", "-b", "2", "--greedy", "--tokens", name)
        assert done.returncode == 0, done.stderr
    texts = {(folder / name).read_text() for name in ("a-0.txt", "a-1.txt", "b-0.txt", "b-1.txt")}
    assert len(texts) == 1, "greedy answers are all the same"


def floats(folder):
    done = door.run([INFERENCE, "--model", ".", "-b", "1", "--float", speech(folder, 4), "out.wav"], folder)
    assert done.returncode == 0, done.stderr
    assert wav(folder / "out.wav") == (3, 32, 4 * FRAME)


def text(folder):
    done = inference(folder, speech(folder, 30), "-b", "1", "--tokens", "t.txt")
    said = [frame[0] for frame in frames_of(folder / "t.txt")]
    words = "".join((" w" if token % 2 == 0 else "x") + str(token) for token in said if token >= 260)
    assert words and done.stdout == words + "\n", (done.stdout, words)


def token_ids_without_a_tokenizer(folder):
    done = inference(folder, speech(folder, 10), "-b", "1", "--tokens", "t.txt", MOSHI_FAKE_LM_NO_TOKENIZER="1")
    assert done.returncode == 0, done.stderr
    assert [int(number) for number in done.stdout.split()] == [frame[0] for frame in frames_of(folder / "t.txt")]


def a_model_that_ends_itself(folder):
    done = inference(folder, speech(folder, 10), "-b", "2", "--tokens", "t.txt", MOSHI_FAKE_LM_HIBIKI="1")
    assert done.returncode == 0, done.stderr
    # The mark of the end is heard right after the recording; the end token is part of what was said, the last of it.
    tokens = frames_of(folder / "t-0.txt")
    assert tokens[-1][0] == 2 and len(tokens) == 10 + 1 + 3, tokens
    assert all(frame[0] != 2 for frame in tokens[:-1])


def a_model_that_does_not_end(folder):
    done = inference(folder, speech(folder, 10), "-b", "1", "--tokens", "t.txt", "--eos-max-duration", "0.8",
                     MOSHI_FAKE_LM_HIBIKI="1", MOSHI_FAKE_LM_EOS_AFTER="-1")  # fmt: skip
    assert done.returncode == 0 and "not ended" in done.stderr, done.stderr
    assert len(frames_of(folder / "t.txt")) == 20


def a_model_that_only_writes(folder):
    done = door.run([INFERENCE, "--model", ".", "--tokens", "t.txt", speech(folder, 10), "out.wav"], folder, MOSHI_FAKE_LM_OWN="0")
    assert done.returncode == 0, done.stderr
    assert "only writes" in done.stderr and not (folder / "out.wav").exists()
    assert [len(frame) for frame in frames_of(folder / "t.txt")] == [1] * 10


def missing_file(folder):
    refused(inference(folder, folder / "nothing.wav"), "nothing.wav", "no file")


def text_file(folder):
    (folder / "words.wav").write_text("This is no sound. " * 100)
    refused(inference(folder, folder / "words.wav"), "words.wav")


def missing_model(folder):
    refused(inference(folder, speech(folder, 2), model=folder / "no-model"), "no-model")


def load_fails(folder):
    refused(inference(folder, speech(folder, 2), MOSHI_FAKE_LOAD_FAIL="5"), "")


def unwritable(folder):
    # It is told before the work.
    refused(inference(folder, speech(folder, 2), "-b", "1", "--tokens", folder / "no" / "t.txt"), "cannot write", "t.txt")
    refused(door.run([INFERENCE, "--model", "model", "in.wav", "no/out.wav"], folder), "cannot write no/out.wav")
    done = inference(folder, folder / "in.wav", "-b", "1", "--tokens", "/dev/full")
    assert done.returncode == 1 and "cannot write /dev/full" in done.stderr, done.stderr


def pipes_have_no_names(folder):
    """`--tokens >(one) in.wav >(another)`: these are not the same."""
    speech(folder, 2)
    pipes = [os.pipe() for _ in range(2)]
    tokens, sound = (f"/dev/fd/{write}" for _, write in pipes)
    done = subprocess.run(
        [INFERENCE, "--model", ".", "-b", "1", "--tokens", tokens, "in.wav", sound], cwd=folder, capture_output=True,
        env=door.environment(folder), text=True, pass_fds=[write for _, write in pipes], timeout=door.LIMIT_S, check=False,
    )  # fmt: skip
    for _, write in pipes:
        os.close(write)
    assert done.returncode == 0, done.stderr
    for read, _ in pipes:
        with open(read, "rb") as pipe:
            assert pipe.read()


def no_core(folder):
    refused(inference(folder, speech(folder, 2), MOSHI_CORE=str(folder / "no-core.so")), "no-core.so", "MOSHI_CORE")


def wrong_usage(folder):
    for arguments in ([], ["--moshi-weight", "x", "a"], ["--model", "."], ["a", "b", "c"], ["--model", ".", "a", "b", "c"], ["--loud"],
                      ["--model", ".", "a", "./a"], ["--model", ".", "a", "b", "--tokens", "b"], ["--model", ".", "-b", "0", "a"], ["--model", ".", "--condition", "x", "a"],
                      ["--model", ".", "--precision", "f99", "a"]):  # fmt: skip
        done = door.run([INFERENCE, *arguments], folder)
        assert done.returncode == 2 and done.stderr.startswith("inference: "), (arguments, done.returncode, done.stderr)


door.main([
    (function.__name__.replace("_", " "), function)
    for function in (one_frame_less_for_the_delay, batch, greedy, floats, text, token_ids_without_a_tokenizer,
                     a_model_that_ends_itself, a_model_that_does_not_end, a_model_that_only_writes, missing_file, text_file,
                     missing_model, load_fails, unwritable, pipes_have_no_names, no_core, wrong_usage)
])  # fmt: skip
