# SPDX-License-Identifier: MIT
"""The cache that fetch_model() shares with the hub's own client: each finds, resumes and waits for what the other does.

hub_client.py BUILD_DIR, with a Python that has huggingface_hub. Prints a JSON line for each check.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import traceback

HERE = pathlib.Path(__file__).resolve().parent
LIMIT_S = 180


def check(report, build):
    """Runs this file as a process of its own: the client reads its environment when it is imported."""
    command = [sys.executable, __file__, build]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    results = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    for result in results:
        report.check("cache shared with the hub's client: " + result["name"], result["problem"])
    if done.returncode or not results:
        report.check("cache shared with the hub's client: ran to its end", done.stderr[-500:] or "nothing ran")


def main():
    for name in [n for n in os.environ if n.startswith("HF_") or "proxy" in n.lower()]:
        del os.environ[name]
    os.environ.update(HF_HUB_DISABLE_PROGRESS_BARS="1", HF_HUB_DISABLE_TELEMETRY="1", HF_HUB_DISABLE_IMPLICIT_TOKEN="1")
    sys.path.insert(0, str(HERE.parent / "hub"))
    import hub_test
    import huggingface_hub

    for name, function in cases(hub_test, huggingface_hub):
        problem = None
        try:
            with tempfile.TemporaryDirectory() as folder:
                function(pathlib.Path(folder))
        except Exception:  # a broken case must not hide the others
            problem = traceback.format_exc()[-700:]
        print(json.dumps({"name": name, "problem": problem}), flush=True)


def cases(hub_test, client):
    case_of, content = hub_test.Case, hub_test.content

    def download(case, file, **options):
        options = {"repo_id": hub_test.NAME, "cache_dir": case.cache, "endpoint": case.hub.endpoint, **options}
        return client.hf_hub_download(filename=file, **options)

    def it_finds_ours(folder):
        with case_of(folder) as case:
            files = case.fetched("--lm")
            asked = len(case.hub.asked())
            for key, file in (("config", "config.json"), ("lm_weights", "lm.safetensors"), ("tokenizer", "text.model")):
                assert download(case, file, local_files_only=True) == files[key]
                assert download(case, file) == files[key]
            assert len(case.hub.asked()) == asked, "nothing comes twice"
            known = client.scan_cache_dir(case.cache)
            assert not known.warnings and len(known.repos) == 1, known
            assert next(iter(known.repos)).nb_files == len(hub_test.LM_FILES)

    def we_find_its(folder):
        with case_of(folder) as case:
            for file in hub_test.LM_FILES:
                download(case, file)
            asked = len(case.hub.requests)
            case.variables["HF_HUB_OFFLINE"] = "1"
            found = case.fetched("--lm", "--find")
            assert content(found["lm_weights"]) == hub_test.WEIGHTS and content(found["tokenizer"]) == hub_test.TEXT
            case.variables.clear()
            assert case.fetched("--lm") == found and len(case.hub.requests) == asked

    def we_add_to_its(folder):
        with case_of(folder) as case:
            path = download(case, "lm.safetensors")
            assert case.fetched("--lm")["lm_weights"] == path
            assert len([r for r in case.hub.asked() if "lm.safetensors" in r[2]]) == 1

    def revisions_with_slashes(folder):
        with case_of(folder) as case:
            repository = case.hub.repositories[hub_test.NAME]
            repository.revisions["refs/pr/1"] = hub_test.OTHER_COMMIT
            repository.commits[hub_test.OTHER_COMMIT] = {**hub_test.LM_FILES, "lm.safetensors": hub_test.TEXT}
            found = case.fetched("--lm", model=hub_test.NAME + "@refs/pr/1")
            options = {"revision": "refs/pr/1", "local_files_only": True}
            assert download(case, "lm.safetensors", **options) == found["lm_weights"]
            assert content(download(case, "lm.safetensors")) == hub_test.WEIGHTS

    def what_the_hub_has_not(folder):
        with case_of(folder, {"model.safetensors": hub_test.WEIGHTS}) as case:
            case.fetched("--lm")
            known = client.try_to_load_from_cache(hub_test.NAME, "config.json", cache_dir=case.cache)
            assert known is client._CACHED_NO_EXIST, known
        with case_of(folder / "other", {"model.safetensors": hub_test.WEIGHTS, hub_test.MIMI: hub_test.CODEC}) as case:
            for file in ("model.safetensors", hub_test.MIMI, "config.json", hub_test.TOKENIZER):
                try:
                    download(case, file)
                except client.errors.EntryNotFoundError:
                    pass
            assert case.fetched("--lm", "--find")["tokenizer"] == ""

    def it_resumes_ours(folder):
        with case_of(folder) as case:
            case.hub.faults["lm.safetensors"] = hub_test.Fault(cuts=[60_000])
            case.refused(hub_test.NETWORK, arguments=("--lm", "--retries", 0))
            assert content(download(case, "lm.safetensors")) == hub_test.WEIGHTS
            assert case.hub.asked()[-1][3]["Range"] == "bytes=60000-"

    def we_resume_its(folder):
        big = hub_test.data(5, 1 << 20) * 25  # it writes pieces of ten megabytes
        with case_of(folder, {**hub_test.LM_FILES, "lm.safetensors": big}) as case:
            case.hub.faults["lm.safetensors"] = hub_test.Fault(cuts=[15_000_000])
            try:
                download(case, "lm.safetensors")
                raise AssertionError("the client goes on by itself: this check needs another way to stop it")
            except OSError:
                pass
            left = case.partial(big).stat().st_size
            assert 0 < left < len(big), left
            assert content(case.fetched("--lm")["lm_weights"]) == big
            assert any(headers.get("Range") == "bytes=%d-" % left for *_, headers in case.hub.asked())

    def both_at_once(folder):
        with case_of(folder) as case:
            case.hub.faults["lm.safetensors"] = hub_test.Fault(delay=0.1)
            ours = case.start("--lm")
            theirs = download(case, "lm.safetensors")
            result = case.result(ours)
            assert result["status"] == hub_test.OK and result["files"]["lm_weights"] == theirs, result
            assert content(theirs) == hub_test.WEIGHTS
            assert len([r for r in case.hub.asked() if "lm.safetensors" in r[2]]) == 1, "one waits for the other"

    functions = (it_finds_ours, we_find_its, we_add_to_its, revisions_with_slashes, what_the_hub_has_not,
                 it_resumes_ours, we_resume_its, both_at_once)  # fmt: skip
    return [(function.__name__.replace("_", " "), function) for function in functions]


if __name__ == "__main__":
    main()
