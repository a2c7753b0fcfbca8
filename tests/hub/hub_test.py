# SPDX-License-Identifier: MIT
"""Fetching models from a hub that the test plays: hub_test.py BUILD_DIR. Each case has a cache and a hub of its own."""
import json
import os
import pathlib
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "door"))

import door  # noqa: E402  (found by the line above)
from fake_hub import FakeHub, Fault, Repository, git_sha, sha256  # noqa: E402

FETCH = door.BUILD / "tests" / "hub" / "hub-fetch"
MIMI = "tokenizer-e351c8d8-checkpoint125.safetensors"
TOKENIZER = "tokenizer_spm_32k_3.model"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
OTHER_COMMIT = "89abcdef0123456789abcdef0123456789abcdef"
NAME = "owner/name"
CONFIG = json.dumps({"moshi_name": "lm.safetensors", "tokenizer_name": "text.model", "mimi_name": "mimi.safetensors"})
OK, NOT_FOUND, READ, FORMAT, CANCELLED, NOT_FETCHED, NETWORK, NOT_AUTHORIZED = 0, 2, 3, 4, 10, 15, 16, 17


def data(seed, count):
    return bytes((seed + n * n // 7) % 256 for n in range(count))


WEIGHTS, CODEC, TEXT = data(1, 200_000), data(2, 100_000), data(3, 5_000)
LM_FILES = {"config.json": CONFIG, "lm.safetensors": WEIGHTS, "text.model": TEXT, "mimi.safetensors": CODEC}


class Case:
    """A cache, a hub, and calls of the program that fetches."""

    def __init__(self, folder, files=None, prefix="", certificate=None, **repository):
        self.folder = folder
        self.cache = folder / "hub"
        self.hub = FakeHub(prefix, certificate)
        self.hub.repositories[NAME] = Repository(LM_FILES if files is None else files, **repository)
        self.variables = {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.hub.__exit__()

    def environment(self):
        foreign = ("HF_", "HUGGING", "TRANSFORMERS_")
        kept = {k: v for k, v in os.environ.items() if not k.lower().endswith("proxy") and not k.startswith(foreign)}
        mine = {"HF_ENDPOINT": self.hub.endpoint, "HF_HUB_CACHE": str(self.cache), "HF_HOME": str(self.folder / "home")}
        return {**kept, **mine, **self.variables}

    def start(self, *arguments, model=NAME):
        command = [FETCH, "--model", model, *map(str, arguments)] if model else [FETCH, *map(str, arguments)]
        out = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        return subprocess.Popen(command, env=self.environment(), **out)

    def result(self, process):
        out = process.communicate(timeout=door.LIMIT_S)[0]
        lines = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
        assert lines and "status" in lines[-1], out
        self.progress = [line for line in lines if "done" in line]
        self.logs = [line["log"] for line in lines if "log" in line]
        return lines[-1]

    def fetch(self, *arguments, model=NAME):
        return self.result(self.start(*arguments, model=model))

    def fetched(self, *arguments, model=NAME):
        result = self.fetch(*arguments, model=model)
        assert result["status"] == OK, result
        return result["files"]

    def refused(self, status, *parts, arguments=("--lm",), model=NAME):
        result = self.fetch(*arguments, model=model)
        assert result["status"] == status, result
        assert len(result["message"]) < 512, "longer than MoshiError has room for"
        for part in parts:
            assert part in result["message"], (part, result["message"])
        return result["message"]

    @property
    def repository(self):
        return self.cache / "models--owner--name"

    def partial(self, content=WEIGHTS):
        return self.repository / "blobs" / (sha256(content) + ".incomplete")


def content(path):
    return pathlib.Path(path).read_bytes()


def all_of_a_language_model(folder):
    with Case(folder) as case:
        files = case.fetched("--lm")
        assert content(files["lm_weights"]) == WEIGHTS and content(files["tokenizer"]) == TEXT
        assert content(files["mimi_weights"]) == CODEC and json.loads(content(files["config"])) == json.loads(CONFIG)
        assert case.progress[-1]["done"] == case.progress[-1]["total"] == sum(map(len, LM_FILES.values()))
        done = [line["done"] for line in case.progress]
        assert done == sorted(done), done
        snapshot = case.repository / "snapshots" / COMMIT
        assert os.readlink(snapshot / "lm.safetensors") == "../../blobs/" + sha256(WEIGHTS)
        assert os.readlink(snapshot / "config.json") == "../../blobs/" + git_sha(CONFIG.encode())
        assert (case.repository / "refs" / "main").read_text() == COMMIT
        assert not list(case.repository.glob("blobs/*.incomplete"))
        before = len(case.hub.requests)
        assert case.fetched("--lm") == files and len(case.hub.requests) == before, "all is there: nothing is asked"


def only_what_the_codec_needs(folder):
    with Case(folder) as case:
        assert content(case.fetched()["mimi_weights"]) == CODEC
        assert [p.name for p in (case.repository / "snapshots" / COMMIT).iterdir() if "lm" in p.name] == []
        case.fetched("--lm")
        assert len(case.hub.asked()) == 3, "the codec's file is not fetched again"


def a_legacy_repository(folder):
    with Case(folder, {"model.safetensors": WEIGHTS, MIMI: CODEC}) as case:
        files = case.fetched("--lm")
        assert files["config"] == "" and files["tokenizer"] == "" and content(files["lm_weights"]) == WEIGHTS
        assert (case.repository / ".no_exist" / COMMIT / "config.json").is_file()
        assert (case.repository / ".no_exist" / COMMIT / TOKENIZER).is_file()
        before = len(case.hub.requests)
        assert content(case.fetched()["mimi_weights"]) == CODEC and len(case.hub.requests) == before


def the_other_name_of_the_codec(folder):
    with Case(folder, {"mimi-pytorch-e351c8d8@125.safetensors": CODEC}) as case:
        assert content(case.fetched()["mimi_weights"]) == CODEC
    with Case(folder / "none", {"readme": "x"}) as case:
        case.refused(NOT_FOUND, NAME, "mimi", arguments=())


def names_in_folders_and_other_repositories(folder):
    config = {"moshi_name": "deep/er/lm.safetensors", "mimi_name": "hf://other/codec/a b/mimi+1.safetensors",
              "tokenizer_name": "hf://other/codec/text.model", "lora_name": "lora.safetensors"}  # fmt: skip
    files = {"config.json": json.dumps(config), "deep/er/lm.safetensors": WEIGHTS, "lora.safetensors": TEXT}
    with Case(folder, files) as case:
        others = {"a b/mimi+1.safetensors": CODEC, "text.model": TEXT}
        case.hub.repositories["other/codec"] = Repository(others, OTHER_COMMIT)
        found = case.fetched("--lm")
        assert content(found["mimi_weights"]) == CODEC and content(found["lora"]) == TEXT
        link = case.repository / "snapshots" / COMMIT / "deep" / "er" / "lm.safetensors"
        assert os.readlink(link) == "../../../../blobs/" + sha256(WEIGHTS)
        assert (case.cache / "models--other--codec" / "refs" / "main").read_text() == OTHER_COMMIT


def replacements_from_the_hub(folder):
    with Case(folder) as case:
        better = "hf://a/b/better.safetensors"
        others = {"better.safetensors": CODEC, "c.json": "{}", "t.model": TEXT}
        case.hub.repositories["a/b"] = Repository(others, OTHER_COMMIT)
        found = case.fetched("--lm", "--weights", better, "--tokenizer", "hf://a/b/t.model")
        assert content(found["lm_weights"]) == CODEC and "models--a--b" in found["tokenizer"]
        found = case.fetched("--lm", "--config", "hf://a/b/c.json", "--weights", better, model="")
        assert found["directory"].endswith("models--a--b/snapshots/" + OTHER_COMMIT)
        assert content(found["config"]) == b"{}"
        found = case.fetched("--weights", "hf://owner/name/mimi.safetensors", model="")
        assert content(found["mimi_weights"]) == CODEC


def revisions(folder):
    with Case(folder) as case:
        repository = case.hub.repositories[NAME]
        repository.revisions["refs/pr/1"] = OTHER_COMMIT
        repository.commits[OTHER_COMMIT] = {**LM_FILES, "lm.safetensors": TEXT}
        assert content(case.fetched("--lm", model=NAME + "@refs/pr/1")["lm_weights"]) == TEXT
        assert (case.repository / "refs" / "refs" / "pr" / "1").read_text() == OTHER_COMMIT
        assert content(case.fetched("--lm", model=NAME + "@" + COMMIT)["lm_weights"]) == WEIGHTS
        assert not (case.repository / "refs" / COMMIT).exists()
        case.refused(NOT_FOUND, "no revision", "v9", model=NAME + "@v9")


def a_branch_that_moved(folder):
    with Case(folder) as case:
        case.fetched()
        repository = case.hub.repositories[NAME]
        repository.revisions["main"] = OTHER_COMMIT
        config = json.dumps({**json.loads(CONFIG), "moshi_name": "new.safetensors"})
        repository.commits[OTHER_COMMIT] = {**LM_FILES, "config.json": config, "new.safetensors": TEXT + WEIGHTS}
        files = case.fetched("--lm")
        assert content(files["lm_weights"]) == TEXT + WEIGHTS, "one version, not a mix of two"
        assert OTHER_COMMIT in files["mimi_weights"] and OTHER_COMMIT in files["config"]
        paths = " ".join(request[2] for request in case.hub.asked())
        assert paths.count("mimi.safetensors") == 1, "the same content is not fetched again"


def a_branch_that_moves_on_the_way(folder):
    with Case(folder) as case:
        repository = case.hub.repositories[NAME]
        case.hub.faults["text.model"] = Fault(delay=0.05)
        repository.commits[OTHER_COMMIT] = {**LM_FILES, "mimi.safetensors": TEXT}
        process = case.start("--lm")
        while not case.hub.asked():
            assert process.poll() is None
            time.sleep(0.01)
        repository.revisions["main"] = OTHER_COMMIT
        result = case.result(process)
        assert result["status"] == OK and content(result["files"]["mimi_weights"]) == CODEC, result
        assert (case.repository / "refs" / "main").read_text() == COMMIT


def moved_repository(folder):
    with Case(folder) as case:
        case.hub.moved["old/place"] = NAME
        files = case.fetched("--lm", model="old/place")
        assert "models--old--place" in files["lm_weights"] and content(files["lm_weights"]) == WEIGHTS


def endpoint_with_a_path(folder):
    with Case(folder, prefix="/mirror/of/hub") as case:
        case.hub.endpoint += "/"
        assert content(case.fetched("--lm")["lm_weights"]) == WEIGHTS


def redirects_within_the_hub(folder):
    with Case(folder, token="hf_secret") as case:
        case.variables["HF_TOKEN"] = "hf_secret"
        case.hub.repositories[NAME].redirects_small = True
        assert json.loads(content(case.fetched("--lm")["config"])) == json.loads(CONFIG)
        assert any("/api/" in path for _, _, path, _ in case.hub.asked("hub"))


def what_is_no_hub(folder):
    with Case(folder) as case:
        case.variables["HF_ENDPOINT"] = case.hub.store
        case.refused(NETWORK, "not a hub", case.hub.store, "HF_ENDPOINT")
        case.variables["HF_ENDPOINT"] = "ftp://127.0.0.1"
        case.refused(1, "HF_ENDPOINT", "ftp://127.0.0.1")
        case.variables["HF_ENDPOINT"] = "http://127.0.0.1:1"
        message = case.refused(NETWORK, "http://127.0.0.1:1", "config.json")
        assert "connect" in message.lower(), message


def untrusted_certificate(folder):
    certificate = folder / "self-signed.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
    files = ["-keyout", certificate, "-out", folder / "certificate"]
    subprocess.run([*command.split(), *files], check=True, capture_output=True)
    certificate.write_text(certificate.read_text() + (folder / "certificate").read_text())
    with Case(folder, certificate=certificate) as case:
        message = case.refused(NETWORK, case.hub.endpoint)
        assert "certificate" in message.lower(), message
        assert not case.hub.requests


def token_goes_to_the_hub_alone(folder):
    with Case(folder, token="hf_secret", gated=True) as case:
        case.refused(NOT_AUTHORIZED, NAME, "HF_TOKEN", "https://huggingface.co/" + NAME)
        case.variables["HF_TOKEN"] = "hf_wrong"
        message = case.refused(NOT_AUTHORIZED, NAME)
        assert "hf_wrong" not in message
        case.variables["HF_TOKEN"] = " hf_secret\n"
        case.fetched("--lm")
        assert case.hub.asked() and all("Authorization" not in headers for *_, headers in case.hub.asked())
        assert any("Authorization" in headers for *_, headers in case.hub.asked("hub"))


def token_from_a_file(folder):
    with Case(folder, token="hf_secret") as case:
        (folder / "home").mkdir()
        (folder / "home" / "token").write_text("hf_secret\n")
        case.fetched()
        (folder / "elsewhere").write_text("hf_wrong")
        case.variables["HF_TOKEN_PATH"] = str(folder / "elsewhere")
        case.refused(NOT_AUTHORIZED)


def what_the_hub_has_not(folder):
    with Case(folder, {"config.json": CONFIG, "mimi.safetensors": CODEC}) as case:
        case.refused(NOT_FOUND, NAME, "lm.safetensors", "moshi_name")
        case.refused(NOT_AUTHORIZED, "no/such", "no such model", model="no/such")
        case.variables["HF_TOKEN"] = "hf_any"
        case.refused(NOT_FOUND, "no/such", model="no/such")
        case.refused(NOT_FOUND, "neither a directory", model="no such thing")


def offline(folder):
    with Case(folder) as case:
        case.refused(NOT_FETCHED, NAME, "hf download", arguments=("--lm", "--find"))
        for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
            case.variables = {name: "1"}
            case.refused(NOT_FOUND, NAME, "HF_HUB_OFFLINE", "hf download")
        assert not case.hub.requests
        case.variables = {}
        files = case.fetched("--lm")
        asked = len(case.hub.requests)
        case.variables = {"HF_HUB_OFFLINE": "yes"}
        assert case.fetched("--lm") == files and len(case.hub.requests) == asked


def connection_cut_in_the_middle(folder):
    with Case(folder) as case:
        case.hub.faults["lm.safetensors"] = Fault(cuts=[70_000, 1, 50_000])
        assert content(case.fetched("--lm")["lm_weights"]) == WEIGHTS
        ranges = [h.get("Range") for _, _, path, h in case.hub.asked() if "lm.safetensors" in path]
        assert ranges == [None, "bytes=70000-", "bytes=70001-", "bytes=120001-"], ranges


def connection_cut_for_good(folder):
    with Case(folder) as case:
        case.hub.faults["lm.safetensors"] = Fault(cuts=[60_000] + [0] * 9)
        case.refused(NETWORK, "lm.safetensors", "60000 of 200000", "kept", arguments=("--lm", "--retries", 3))
        assert case.partial().stat().st_size == 60_000
        assert not (case.repository / "refs").exists(), "a part of a model is not the model"
        case.hub.faults.clear()
        assert content(case.fetched("--lm")["lm_weights"]) == WEIGHTS
        assert case.hub.asked()[-1][3].get("Range") is None and any(
            h.get("Range") == "bytes=60000-" for *_, h in case.hub.asked())  # fmt: skip


def server_errors_pass(folder):
    with Case(folder) as case:
        case.hub.faults["lm.safetensors"] = Fault(statuses=[503, 429, 500])
        assert content(case.fetched("--lm")["lm_weights"]) == WEIGHTS
    with Case(folder / "other") as case:
        case.hub.faults["mimi.safetensors"] = Fault(statuses=[502] * 9)
        case.refused(NETWORK, "mimi.safetensors", "502", arguments=("--retries", 2))


def server_without_ranges(folder):
    with Case(folder) as case:
        case.hub.faults["lm.safetensors"] = Fault(cuts=[70_000], ranges=False)
        assert content(case.fetched("--lm")["lm_weights"]) == WEIGHTS


def damaged_once(folder):
    with Case(folder) as case:
        case.hub.faults["lm.safetensors"] = Fault(damaged=1)
        case.hub.faults["config.json"] = Fault(damaged=1)
        assert content(case.fetched("--lm")["lm_weights"]) == WEIGHTS
        assert sum("damaged" in line for line in case.logs) == 2, case.logs


def damaged_always(folder):
    with Case(folder) as case:
        case.hub.faults["lm.safetensors"] = Fault(damaged=9)
        case.refused(FORMAT, "lm.safetensors", NAME, "checksum", sha256(WEIGHTS))
        assert not case.partial().exists() and not (case.repository / "blobs" / sha256(WEIGHTS)).exists()
    with Case(folder / "small") as case:
        case.hub.faults["config.json"] = Fault(damaged=9)
        case.refused(FORMAT, "config.json", git_sha(CONFIG.encode()))


def wrong_partial_files(folder):
    for number, left in enumerate((b"rubbish", WEIGHTS + b"more", bytes(len(WEIGHTS)), WEIGHTS, WEIGHTS[:-1])):
        with Case(folder / str(number)) as case:
            case.partial().parent.mkdir(parents=True)
            case.partial().write_bytes(left)
            assert content(case.fetched("--lm")["lm_weights"]) == WEIGHTS, number
            asked = [r for r in case.hub.asked() if "lm.safetensors" in r[2]]
            assert len(asked) == {0: 2, 1: 1, 2: 1, 3: 0, 4: 1}[number], (number, asked)


def announced_size_is_wrong(folder):
    for size, status, part in ((len(WEIGHTS) - 1, NETWORK, "more came"), (10**15, READ, "1000000000")):
        with Case(folder / str(size)) as case:
            fault = Fault()
            fault.size = size
            case.hub.faults["lm.safetensors"] = fault
            case.refused(status, part, arguments=("--lm", "--retries", 1))


def range_that_cannot_be(folder):
    with Case(folder) as case:
        fault = Fault(cuts=[1000])
        fault.size = len(WEIGHTS) + 5
        case.hub.faults["lm.safetensors"] = fault
        case.partial().parent.mkdir(parents=True)
        case.partial().write_bytes(WEIGHTS + b"more")
        case.refused(NETWORK, "lm.safetensors", arguments=("--lm", "--retries", 2))


def stalled(folder):
    with Case(folder) as case:
        case.hub.faults["lm.safetensors"] = Fault(stall_at=30_000)
        case.refused(NETWORK, "30000 of 200000", arguments=("--lm", "--stall-ms", 1000, "--retries", 0))
        at_the_stall = [line for line in case.progress if line["file"] == "lm.safetensors"]
        assert len(at_the_stall) >= 2, "progress goes on where nothing comes"


def cancelled(folder):
    with Case(folder) as case:
        case.hub.faults["lm.safetensors"] = Fault(stall_at=30_000)
        case.refused(CANCELLED, "kept", arguments=("--lm", "--cancel-at", 30_000 + len(CONFIG)))
        assert case.partial().stat().st_size == 30_000
        case.hub.faults.clear()
        case.fetched("--lm")
        assert any(h.get("Range") == "bytes=30000-" for *_, h in case.hub.asked())
    with Case(folder / "at once") as case:
        case.refused(CANCELLED, arguments=("--lm", "--cancel-after", 1))


def two_processes_at_once(folder):
    with Case(folder) as case:
        case.hub.faults["lm.safetensors"] = Fault(delay=0.05)
        processes = [case.start("--lm") for _ in range(3)]
        results = [case.result(process) for process in processes]
        assert [result["status"] for result in results] == [OK] * 3, results
        assert content(results[0]["files"]["lm_weights"]) == WEIGHTS
        assert len([r for r in case.hub.asked() if "lm.safetensors" in r[2]]) == 1, "one fetches, the others wait"


def the_other_process_dies(folder):
    with Case(folder) as case:
        case.hub.faults["lm.safetensors"] = Fault(stall_at=50_000)
        first = case.start("--lm")
        while not (case.partial().exists() and case.partial().stat().st_size == 50_000):
            assert first.poll() is None
            time.sleep(0.01)
        second = case.start("--lm")
        case.hub.faults.clear()
        first.kill()
        first.communicate()
        result = case.result(second)
        assert result["status"] == OK and content(result["files"]["lm_weights"]) == WEIGHTS
        assert case.hub.asked()[-1] and any(h.get("Range") == "bytes=50000-" for *_, h in case.hub.asked())


def cache_that_cannot_be_written(folder):
    with Case(folder) as case:
        case.cache.write_text("a file, not a directory")
        case.refused(READ, str(case.cache), "HF_HUB_CACHE")


def names_that_lead_out_of_the_cache(folder):
    for key in ("moshi_name", "tokenizer_name", "mimi_name", "lora_name"):
        for name in ("../../../../escaped", "/etc/passwd", "hf://owner/name/../../x"):
            config = json.dumps({**json.loads(CONFIG), key: name})
            with Case(folder / key / str(len(name)), {**LM_FILES, "config.json": config}) as case:
                case.refused(FORMAT, name)


def broken_configuration(folder):
    with Case(folder, {**LM_FILES, "config.json": "{"}) as case:
        case.refused(FORMAT, "config.json", "not valid JSON")


if __name__ == "__main__":
    door.main([
        (function.__name__.replace("_", " "), function)
        for function in (
            all_of_a_language_model, only_what_the_codec_needs, a_legacy_repository, the_other_name_of_the_codec,
            names_in_folders_and_other_repositories, replacements_from_the_hub, revisions, a_branch_that_moved,
            a_branch_that_moves_on_the_way, moved_repository, endpoint_with_a_path,
            redirects_within_the_hub, what_is_no_hub, untrusted_certificate, token_goes_to_the_hub_alone,
            token_from_a_file, what_the_hub_has_not, offline,
            connection_cut_in_the_middle, connection_cut_for_good, server_errors_pass, server_without_ranges,
            damaged_once, damaged_always, wrong_partial_files, announced_size_is_wrong, range_that_cannot_be, stalled,
            cancelled, two_processes_at_once, the_other_process_dies, cache_that_cannot_be_written,
            names_that_lead_out_of_the_cache, broken_configuration)
    ])  # fmt: skip
