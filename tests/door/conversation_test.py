# SPDX-License-Identifier: MIT
"""The conversation program on files: its sound, its text, and one clear line for whatever is wrong."""
import signal
import subprocess
import time
import wave

import door

CONVERSATION = door.BUILD / "examples" / "moshi-conversation"
INFERENCE = door.BUILD / "examples" / "moshi-inference"
FRAME = 1920


def speech(folder, frames, rest=0):
    door.write_wav(folder / "in.wav", (frames * FRAME + rest) / 24000, rate=24000)
    (folder / "model").mkdir(exist_ok=True)
    return folder / "in.wav"


def conversation(folder, *options, model="model", source="in.wav", output="out.wav", **environment):
    command = [CONVERSATION, "--model", model, "--input", source, "--output", output, *options]
    return door.run(command, folder, **environment)


def samples(path):
    with wave.open(str(path)) as sound:
        assert (sound.getframerate(), sound.getnchannels(), sound.getsampwidth()) == (24000, 1, 2)
        return sound.getnframes()


def refused(done, *words):
    assert done.returncode == 1, (done.returncode, done.stderr)
    last = done.stderr.splitlines()[-1]
    assert last.startswith("conversation: "), done.stderr
    for word in words:
        assert word in last, (word, last)


def inference_text(folder, **environment):
    done = door.run([INFERENCE, "--model", "model", "-b", "1", "--greedy", "in.wav"], folder, **environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.rstrip("\n")


def file_to_file(folder):
    speech(folder, 25)
    done = conversation(folder, "--greedy", "--text", "said.txt")
    assert done.returncode == 0, done.stderr
    assert samples(folder / "out.wav") == 25 * FRAME
    said = inference_text(folder)
    assert said and done.stdout == said + "\n", (done.stdout, said)
    assert (folder / "said.txt").read_text() == said


def rest_of_a_frame(folder):
    speech(folder, 10, rest=500)
    done = conversation(folder, "--greedy")
    assert done.returncode == 0, done.stderr
    assert samples(folder / "out.wav") == 11 * FRAME


def longer_delay(folder):
    speech(folder, 25)
    done = conversation(folder, "--greedy", MOSHI_FAKE_LM_DELAY="2")
    assert done.returncode == 0, done.stderr
    said = inference_text(folder, MOSHI_FAKE_LM_DELAY="2")
    assert said and done.stdout.startswith(said), (done.stdout, said)


def token_ids_without_a_tokenizer(folder):
    speech(folder, 10)
    done = conversation(folder, "--greedy", "--output", "none", "--text", "ids.txt", MOSHI_FAKE_LM_NO_TOKENIZER="1")
    assert done.returncode == 0, done.stderr
    ids = [int(number) for number in done.stdout.split()]
    assert ids == [int(number) for number in inference_text(folder, MOSHI_FAKE_LM_NO_TOKENIZER="1").split()]
    assert [int(number) for number in (folder / "ids.txt").read_text().split()] == ids and len(ids) == 10


def no_voice_wanted(folder):
    speech(folder, 10)
    done = conversation(folder, "--greedy", output="none")
    assert done.returncode == 0, done.stderr
    assert done.stdout == inference_text(folder) + "\n"


def a_seed_of_its_own(folder):
    speech(folder, 40)
    texts = [conversation(folder, "--seed", seed, output="none").stdout for seed in ("5", "5", "6")]
    assert texts[0] == texts[1] != texts[2], texts


def settings(folder):
    speech(folder, 4)
    done = conversation(folder, "--temperature", "0.5", "--top-k", "10", "--text-top-k", "5", "--late-policy", "wait",
                        "--cfg-coef", "1", "--condition", "description=very_good", "--stats", output="none")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "lm: " in done.stderr and "steps" in done.stderr, done.stderr


def wrong_settings(folder):
    speech(folder, 4)
    for option, value in (("--temperature", "warm"), ("--temperature", "-3"), ("--late-policy", "never"), ("--top-k", "x")):
        refused(conversation(folder, option, value), option, value)


def missing_file(folder):
    speech(folder, 1)
    refused(conversation(folder, source="nothing.wav"), "nothing.wav", "no file")


def text_file(folder):
    speech(folder, 1)
    (folder / "words.wav").write_text("This is no sound. " * 100)
    assert conversation(folder, source="words.wav").returncode == 1


def missing_model(folder):
    speech(folder, 1)
    refused(conversation(folder, model="no-model"), "no-model")


def a_translation_that_does_not_end(folder):
    speech(folder, 10)
    done = conversation(folder, "--greedy", "--eos-max-duration", "0.8", MOSHI_FAKE_LM_HIBIKI="1", MOSHI_FAKE_LM_EOS_AFTER="-1")
    assert done.returncode == 0, done.stderr
    assert samples(folder / "out.wav") == 20 * FRAME


def a_translation_without_its_usual_condition(folder):
    speech(folder, 4)
    reminder = "description=very_good"
    assert reminder in conversation(folder, output="none", MOSHI_FAKE_LM_HIBIKI="1").stderr
    done = conversation(folder, "--condition", "description=good", output="none", MOSHI_FAKE_LM_HIBIKI="1")
    assert done.returncode == 0 and reminder not in done.stderr, done.stderr


def load_fails(folder):
    speech(folder, 4)
    refused(conversation(folder, MOSHI_FAKE_LOAD_FAIL="5", MOSHI_FAKE_LOAD_MS="50"), "error in")


def unwritable(folder):
    speech(folder, 1)
    for done in (conversation(folder, "--text", "no/said.txt"), conversation(folder, output="no/said.txt")):
        refused(done, "cannot write no/said.txt")
        assert "Loading" not in done.stderr, "it is told before the work"
    refused(conversation(folder, output="."), "cannot write .")


def a_full_disk(folder):
    speech(folder, 10)
    refused(conversation(folder, "--text", "/dev/full", output="none"), "/dev/full")


def interrupt_while_loading(folder):
    speech(folder, 4)
    with subprocess.Popen([CONVERSATION, "--model", "model", "-i", "in.wav", "-o", "out.wav"], cwd=folder,
                          env=door.environment(folder, MOSHI_FAKE_LOAD_MS="30000"), stderr=subprocess.PIPE) as process:  # fmt: skip
        assert process.stderr.readline()  # loading has begun
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        assert process.wait(door.LIMIT_S) == 1


def interrupt_in_the_middle(folder):
    speech(folder, 1000)
    with subprocess.Popen([CONVERSATION, "--model", "model", "-i", "in.wav", "-o", "out.wav"], cwd=folder,
                          env=door.environment(folder, MOSHI_FAKE_STEP_MS="10"), stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL) as process:  # fmt: skip
        assert process.stdout.read(1)
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        assert process.wait(door.LIMIT_S) == 0
    assert 0 < samples(folder / "out.wav") < 1000 * FRAME


def wrong_usage(folder):
    for arguments in (["in.wav"], ["--model", ".", "in.wav"], ["--loud"], ["--weights", "x"], ["--model", ".", "--condition", "x"],
                      ["--input", "a.wav", "--output", "./a.wav"], ["--input", "a.wav", "-o", "none", "--text", "a.wav"],
                      ["--model", ".", "--input", "a.wav", "--echo-cancel"], ["--model", ".", "--eos-max-duration", "-1"]):  # fmt: skip
        done = door.run([CONVERSATION, *arguments], folder)
        assert done.returncode == 2 and done.stderr.startswith("conversation: "), (arguments, done.returncode, done.stderr)


door.main([
    (function.__name__.replace("_", " "), function)
    for function in (file_to_file, rest_of_a_frame, longer_delay, token_ids_without_a_tokenizer, no_voice_wanted,
                     a_seed_of_its_own, settings, wrong_settings, missing_file, text_file, missing_model,
                     a_translation_that_does_not_end, a_translation_without_its_usual_condition, load_fails, unwritable,
                     a_full_disk, interrupt_while_loading, interrupt_in_the_middle, wrong_usage)
])  # fmt: skip
