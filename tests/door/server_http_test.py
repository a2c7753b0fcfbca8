# SPDX-License-Identifier: MIT
"""moshi-server as a web server and as a service: addresses, who may come in, TLS, loading, stopping, its log and its
metrics. On the fake core."""

import functools
import json
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import door
import talk
from raw_socket import RawSocket, request
from talk import Close

TOKEN = "correct-horse"


@functools.lru_cache(maxsize=None)
def server():
    return talk.Server("--sessions", "2")


def run(*options, **environment):
    """A server that is not to start: (status, standard error)."""
    done = door.run([talk.PROGRAM, *options], door.registry_folder(), **environment)
    return done.returncode, done.stderr


async def converse(server, query="audio=pcm", **headers):
    async with talk.Talk(server, query, **headers) as client:
        await client.handshake()
        await client.converse(5)
        await client.settle(0.1)


def heads():
    for path in ("/", "/health", "/metrics", "/api/info", "/nothing"):
        status, headers, body = server().get(path, method="HEAD")
        assert status == server().get(path)[0] and body == b"", (path, status, body)
        assert "Content-Length" in headers, (path, headers)


def no_such_address():
    for path in (
        "/nothing",
        "/api",
        "/api/",
        "/api/chat/",
        "/api/chat2",
        "/index.html/x",
        "/favicon.ico2",
        "//",
        "/%00",
        "/%ff%fe",
    ):
        assert server().get(path)[0] in (400, 404), (path, server().get(path)[0])


def other_methods():
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "TRACE"):
        for path in ("/", "/health", "/metrics", "/api/info", "/api/chat"):
            status = server().get(path, method=method)[0]
            assert status in (400, 403, 404, 405, 426, 501), (method, path, status)


def conversations_want_a_websocket():
    status, _, body = server().get("/api/chat")
    assert status in (400, 426) and body, (status, body)
    for headers in ({"Upgrade": "websocket"},
                    {"Upgrade": "websocket", "Connection": "Upgrade", "Sec_WebSocket_Version": "12",
                     "Sec_WebSocket_Key": "AAAAAAAAAAAAAAAAAAAAAA=="}):  # fmt: skip
        with RawSocket(server()) as raw:
            raw.send(request(upgrade=False, **headers))
            assert raw.status() in (400, 426), headers
    with RawSocket(server()) as raw:
        raw.send(request(method="POST"))
        assert raw.status() in (400, 405), "POST"


def what_it_says_of_itself():
    info = json.loads(server().get("/api/info")[2])
    assert {"model", "defaults", "sessions", "limits", "version"} <= set(info), info
    assert info["model"]["type"] == "moshi" and info["model"]["speaks"] and info["model"]["writes"], info
    assert info["defaults"]["text_topk"] == 25 and info["sessions"]["places"] == 2, info
    status, headers, body = server().get("/health")
    assert (
        status == 200 and headers["Content-Type"].startswith("application/json") and isinstance(json.loads(body), dict)
    )
    assert headers["Cache-Control"] in ("no-cache", "no-store"), headers


async def tokens():
    with talk.Server("--sessions", "2", "--token", "other", "--token", TOKEN) as guarded:
        assert guarded.get("/health")[0] == 200 and guarded.get("/")[0] == 200
        for path in ("/api/info", "/metrics"):
            assert guarded.get(path)[0] == 401, path
            for headers in ({"Authorization": f"Bearer {TOKEN}"}, {"kyutai_api_key": TOKEN}):
                assert guarded.get(path, **headers)[0] == 200, (path, headers)
            assert guarded.get(f"{path}?token={TOKEN}")[0] == 200, path
        for query, headers, wanted in (
            ("", {}, 401), ("token=", {}, 401), ("token=wrong", {}, 401), (f"token={TOKEN}x", {}, 401),
            (f"token={TOKEN[:-1]}", {}, 401),
            (f"token={TOKEN}", {}, 101), (f"auth_id={TOKEN}", {}, 101), (f"worker_auth_id={TOKEN}", {}, 101),
            ("", {"Authorization": f"Bearer {TOKEN}"}, 101), ("", {"Authorization": f"bearer {TOKEN}"}, 101),
            ("", {"Authorization": "Bearer other"}, 101), ("", {"Authorization": TOKEN}, 401),
            ("", {"Authorization": f"Basic {TOKEN}"}, 401), ("", {"Authorization": "Bearer "}, 401),
            ("", {"kyutai-api-key": TOKEN}, 101),
            ("", {"kyutai-api-key": "wrong"}, 401),
        ):  # fmt: skip
            assert await talk.status_of(guarded, query, **headers) == wanted, (query, headers, wanted)
        refusals = guarded.metrics(kyutai_api_key=TOKEN)['moshi_refusals_total{reason="token"}']
        assert refusals == 11, refusals
        assert not any(TOKEN in line for line in guarded.lines), "a token stands in the log"


async def origins():
    with talk.Server("--sessions", "2", "--origin", "https://voices.example") as strict:
        here = f"localhost:{strict.port}"
        for origin, host, wanted in (
            (None, here, 101), (f"http://{here}", here, 101), (f"https://{here}", here, 101),
            ("https://voices.example", here, 101),
            ("https://voices.example.evil.example", here, 403), ("http://evil.example", here, 403), ("null", here, 403),
            ("https://voices.example:444", here, 403), (f"http://localhost:{strict.port + 1}", here, 403),
            ("https://proxied.example", "proxied.example", 101), (f"http://{here}.evil.example", here, 403),
            ("http://rebound.example", "rebound.example", 403),
        ):  # fmt: skip
            with RawSocket(strict) as raw:
                asked = request(**({} if origin is None else {"Origin": origin})).replace(
                    b"Host: localhost\r\n", f"Host: {host}\r\n".encode()
                )
                raw.send(asked)
                status = raw.status()
                assert status == wanted, (origin, host, status)
        warned = strict.wait_event(lambda event: event.get("event") == "refused" and event)
        assert warned["level"] == "warning" and "--origin" in warned["text"], warned
        assert warned["origin"] == "https://voices.example.evil.example" and warned["host"] == here, warned


async def tls_with_a_certificate_of_its_own():
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(2):  # made, then found
            with talk.Server("--sessions", "2", "--ssl", f"{folder}/tls") as safe:
                assert safe.url.startswith("https://")
                assert safe.get("/")[0] == 200
                await converse(safe)
                await converse(safe, "")
                with RawSocket(safe) as raw:  # plain HTTP to it
                    raw.send(request("/health", upgrade=False))
                    assert raw.status() in (0, 400)
                with RawSocket(safe) as raw:
                    raw.send(bytes(range(256)) * 10)
                await converse(safe)
        key = pathlib.Path(folder) / "tls" / "key.pem"
        assert key.stat().st_mode & 0o077 == 0
        text = subprocess.run(
            ["openssl", "x509", "-noout", "-text", "-in", f"{folder}/tls/cert.pem"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert "DNS:localhost" in text and "IP Address:127.0.0.1" in text, text
        key.write_text("nonsense")
        status, error = run("--port", "0", "--ssl", f"{folder}/tls")
        assert status == 1 and "key.pem" in error or "tls" in error, (status, error)


async def loading_then_ready():
    with talk.Server("--sessions", "1", wait=False, MOSHI_FAKE_LOAD_MS="1500") as slow:
        slow.wait_listening()
        status, _, body = slow.get("/health")
        assert status == 503 and json.loads(body), (status, body)
        assert slow.get("/")[0] == 200 and slow.get("/metrics")[0] == 200 and slow.get("/api/info")[0] == 503
        assert await talk.status_of(slow) == 503
        slow.wait_ready()
        assert slow.get("/api/info")[0] == 200
        await converse(slow)
        assert slow.metrics()['moshi_refusals_total{reason="loading"}'] == 1


def loading_fails():
    for knobs in ({"MOSHI_FAKE_LOAD_FAIL": "5"}, {"MOSHI_FAKE_OPEN_FAIL": "5"}):
        status, error = run("--port", "0", "--log", "text", **knobs)
        assert status == 1, (status, error)
        assert "error" in error.lower() and len(error.splitlines()) < 10, error
    status, error = run("--port", "0", "--model", "no-such-folder")
    assert status == 1 and "no-such-folder" in error, (status, error)
    status, error = run("--port", "0", MOSHI_CORE="/nowhere/libmoshi-core.so")
    assert status == 1 and "MOSHI_CORE" in error, (status, error)


def no_plugin():
    with tempfile.TemporaryDirectory() as folder:
        alone = shutil.copy(talk.PROGRAM, folder)  # the build's finds the plugin beside itself
        done = door.run([alone, "--port", "0"], folder, GST_PLUGIN_PATH=folder)
    assert done.returncode == 1 and "GST_PLUGIN_PATH" in done.stderr, (done.returncode, done.stderr)


def the_port_is_in_use():
    status, error = run("--port", str(server().port))
    assert status == 1 and str(server().port) in error and "Loading" not in error, (status, error)


def a_host_that_is_none():
    status, error = run("--port", "0", "--host", "no.such.host.invalid")
    assert status == 1 and "no.such.host.invalid" in error, (status, error)


def wrong_usage():
    for options in (["--loud"], ["word"], ["--port", "x"], ["--port", "70000"], ["--port", "-1"], ["--sessions", "0"],
                    ["--sessions", "-3"],
                    ["--queue", "-1"], ["--max-lag", "-1"], ["--max-lag", "nan"], ["--max-lag", "soon"],
                    ["--log", "loud"],
                    ["--temperature", "-1"], ["--seed", "x"], ["--idle", "-1"], ["--token", ""], ["--max-message", "0"],
                    ["--origin", "no origin"], ["--host", ""], ["--condition", "x"], ["--drain", "-1"]):  # fmt: skip
        status, error = run(*options)
        assert status == 2 and error.startswith("moshi-server: "), (options, status, error)
        assert options[0].strip("-") in error, (options, error)
    status, _ = run("--help")
    assert status == 0


async def stop_while_someone_talks():
    with talk.Server("--sessions", "2", "--drain", "1") as stopping:
        async with talk.Talk(stopping, "audio=pcm") as client:
            await client.handshake()
            await client.converse(5)
            start = time.monotonic()
            stopping.process.send_signal(signal.SIGTERM)
            code, sentence = await client.closed()
            assert code == Close.GOING_AWAY and sentence, (code, sentence)
            assert 0.3 < time.monotonic() - start, "it was not given its second"
        assert stopping.process.wait(talk.LIMIT_S) == 0


async def who_leaves_while_it_stops_is_the_last():
    with talk.Server("--drain", "300", "--sessions", "1") as stopping:
        async with talk.Talk(stopping, "audio=pcm") as client, talk.Talk(stopping, "audio=pcm") as waiting:
            await client.handshake()
            stopping.process.send_signal(signal.SIGTERM)
            code, _ = await waiting.closed()  # has nothing to wait for any more
            assert code == Close.GOING_AWAY, code
            await client.converse(5)
            try:
                assert stopping.get("/health")[0] == 503
                assert await talk.status_of(stopping) == 503
            except OSError:
                pass  # it listens no longer: as good
            await client.converse(5)
        assert stopping.process.wait(talk.LIMIT_S) == 0


async def a_second_signal_does_not_wait():
    for first, second in ((signal.SIGTERM, signal.SIGTERM), (signal.SIGINT, signal.SIGINT)):
        with talk.Server("--sessions", "2", "--drain", "300") as stopping:
            async with talk.Talk(stopping, "audio=pcm") as client:
                await client.handshake()
                stopping.process.send_signal(first)
                stopping.wait_event(lambda event: event.get("event") == "stopping")  # two at once are one
                await client.converse(5)
                stopping.process.send_signal(second)
                assert (await client.closed())[0] == Close.GOING_AWAY
            assert stopping.process.wait(talk.LIMIT_S) == 0


def stop_when_idle():
    for _ in range(2):
        with talk.Server("--sessions", "4") as idle:
            assert idle.stop() == 0


def stop_while_loading():
    with talk.Server(wait=False, MOSHI_FAKE_LOAD_MS="100000") as loading:
        loading.wait_listening()
        start = time.monotonic()
        assert loading.stop() in (0, 1) and time.monotonic() - start < 20


def stop_before_it_listens():
    with talk.Server(wait=False) as early:
        time.sleep(0.01)
        early.process.send_signal(signal.SIGINT)
        early.fine = (0, -signal.SIGINT)  # before it can handle one


async def stop_with_a_client_that_does_not_answer():
    with talk.Server("--sessions", "2", "--drain", "0.5") as stopping:
        with RawSocket(stopping, receive_buffer=4096) as raw:
            assert raw.upgrade() == 101
            assert stopping.stop() == 0


async def the_same_port_at_once():
    with talk.Server("--sessions", "2", "--drain", "0") as first:
        async with talk.Talk(first, "audio=pcm") as client:
            await client.handshake()
            first.process.send_signal(signal.SIGTERM)
            assert (await client.closed())[0] == Close.GOING_AWAY
            first.process.wait(talk.LIMIT_S)
            with talk.Server("--sessions", "2", "--port", str(first.port)) as second:
                assert second.port == first.port
                await converse(second)


async def killed_and_started_again():
    with talk.Server("--sessions", "4") as first:
        async with talk.Talk(first, "audio=pcm") as client:
            await client.handshake()
            first.process.kill()
            code, _ = await client.closed()
            assert code == 1006, code
            first.process.wait(talk.LIMIT_S)
            with talk.Server("--sessions", "2", "--port", str(first.port)) as second:
                await converse(second)
        first.fine = (-signal.SIGKILL,)


def both_addresses_of_localhost():
    assert server().get("/health")[0] == 200
    try:
        with socket.create_connection(("::1", server().port), timeout=talk.LIMIT_S) as six:
            six.sendall(request("/health", upgrade=False, Connection="close"))
            assert six.recv(100).startswith(b"HTTP/1.1 200")
    except OSError as error:
        assert (
            not pathlib.Path("/proc/net/if_inet6").exists() or "::1" not in str(error) or "refused" not in str(error)
        ), error


async def the_log_is_json():
    with talk.Server("--sessions", "4") as logged:
        await converse(logged, "audio=pcm&x=%0a%22%1b[31m")
        await talk.refused(logged, "audio=%0d%0a%1b[31m")
        with RawSocket(logged) as raw:
            assert raw.upgrade(User_Agent='a"b\\c\x1b[31m', X_Forwarded_For="1.2.3.4") == 101
        logged.wait_event(lambda event: event.get("event") == "session-end")
        assert logged.stop() == 0
    for line in logged.lines:
        event = json.loads(line)
        assert {"time", "level", "event"} <= set(event) and event["level"] in ("info", "warning", "error"), line
        assert line.isprintable() and re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", event["time"]), line
    events = [json.loads(line)["event"] for line in logged.lines]
    for wanted in ("listening", "ready", "session-start", "session-end"):
        assert wanted in events, (wanted, events)


async def the_log_is_words():
    process = subprocess.Popen(
        [talk.PROGRAM, "--port", "0"], env=door.environment(door.registry_folder()), stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        for line in process.stderr:
            assert not line.startswith("{"), line
            if re.search(r"http://localhost:\d+", line):
                break
        else:
            raise AssertionError("no address in the log")
    finally:
        process.terminate()
        _, rest = process.communicate(timeout=talk.LIMIT_S)
    assert process.returncode == 0, rest


async def the_counters_add_up():
    with talk.Server("--sessions", "1", "--queue", "0") as counted:
        before = counted.metrics()
        assert before["moshi_sessions_capacity"] == 1 and talk.total(before, "moshi_session_ends_total") == 0
        for _ in range(3):
            await converse(counted)
            counted.wait_ready()  # its place is free again
        async with talk.Talk(counted, "audio=pcm") as client:
            await client.handshake()
            await client.converse(7)
            await client.settle()
            await talk.refused(counted)
            now = counted.metrics()
            assert now["moshi_sessions_active"] == 1 and now["moshi_sessions_queued"] == 0
        await talk.refused(counted, "seed=x")
        await talk.eventually(lambda: counted.metrics()["moshi_sessions_active"] == 0)
        after = counted.metrics()
        assert talk.total(after, "moshi_session_ends_total") == 4, after
        assert (
            after['moshi_refusals_total{reason="full"}'] == 1 and after['moshi_refusals_total{reason="query"}'] == 1
        ), after
        assert after["moshi_frames_out_total"] == 3 * 4 + 6, after
        assert after["moshi_frames_in_total"] - after["moshi_frames_out_total"] in range(0, 5), after
        assert after["moshi_frame_delay_seconds_count"] == after["moshi_frames_out_total"], after
        assert after["moshi_join_latency_seconds_count"] == 4, after
        assert (
            after["moshi_bytes_out_total"] >= 18 * talk.FRAME_BYTES
            and after["moshi_bytes_in_total"] >= 22 * talk.FRAME_BYTES
        ), after
        for name in ("moshi_frame_delay_seconds", "moshi_join_latency_seconds"):
            buckets = [
                (float(re.search('le="([^"]+)"', key).group(1)), value)
                for key, value in after.items()
                if key.startswith(name + "_bucket")
            ]
            counts = [value for _, value in sorted(buckets)]
            assert counts == sorted(counts) and counts[-1] == after[name + "_count"], (name, buckets)
        status, headers, _ = counted.get("/metrics")
        assert status == 200 and headers["Content-Type"].startswith("text/plain; version=0.0.4"), headers
        for key, value in before.items():
            assert not key.endswith(("_total", "_count", "_sum")) or after[key] >= value, key


def connections_leave_nothing():
    files = server().resources()[1]
    for target in ("/", "/health", "/metrics", "/nothing", "*", "/api/chat", "/api/info"):
        for way in range(3):
            for _ in range(10):
                with RawSocket(server()) as raw:
                    raw.send(request(target, upgrade=way == 2))
                    if way:
                        assert raw.status(), target
    end = time.monotonic() + talk.LIMIT_S
    while server().resources()[1] > files + 1:
        assert time.monotonic() < end, (files, server().resources())
        time.sleep(0.05)


def nothing_is_left():
    assert server().stop() == 0


try:
    talk.main([
        heads, no_such_address, other_methods, conversations_want_a_websocket,
        what_it_says_of_itself, tokens, origins, tls_with_a_certificate_of_its_own, loading_then_ready, loading_fails,
        no_plugin,
        the_port_is_in_use, a_host_that_is_none, wrong_usage, stop_while_someone_talks,
        who_leaves_while_it_stops_is_the_last,
        a_second_signal_does_not_wait, stop_when_idle, stop_while_loading, stop_before_it_listens,
        stop_with_a_client_that_does_not_answer, the_same_port_at_once, killed_and_started_again,
        both_addresses_of_localhost,
        the_log_is_json, the_log_is_words, the_counters_add_up, connections_leave_nothing, nothing_is_left,
    ])  # fmt: skip
finally:
    if server.cache_info().currsize and server().process.poll() is None:
        server().process.kill()
