# SPDX-License-Identifier: MIT
"""moshi-client: what its command line names, and what does not answer as a server does. Cases of client_test.py."""
import asyncio
import http
import ssl

import talk
from client_program import SINK, SOURCE, Stub, from_file, refused, run, write_tones


async def address_token_and_sampling(folder):
    write_tones(folder / "in.wav", True)
    (folder / "tokens").write_text("# of the server\n\nsecret2\nother\n")
    async with Stub() as stub:
        sampling = "--temperature 0.5 --text-temperature 0.6 --top-k 7 --text-top-k 8 --seed 9 --listen both".split()
        await run(folder, *from_file(stub.url, "--token", "secret", *sampling))
        assert stub.paths[-1] == (
            "/api/chat?audio_temperature=0.5&text_temperature=0.6&audio_topk=7&text_topk=8&seed=9"
            "&text_seed=9&audio_seed=9&metadata=1"
        ), stub.paths
        assert stub.headers[-1]["Authorization"] == "Bearer secret"
        _, port = stub.url.rsplit(":", 1)
        options = ("--host", "127.0.0.1", "--port", port, "--token-file", "tokens", "--input", "in.wav")
        code, _, lines = await run(folder, *options, "--output", "none")
        assert code == 0, lines
        assert stub.headers[-1]["Authorization"] == "Bearer secret2"
        code, _, lines = await run(folder, "--url", stub.url + "/moshi/", "--input", "in.wav", "--output", "none")
        assert code == 0 and stub.paths[-1].startswith("/moshi/api/chat?"), stub.paths


async def refusals_are_explained(folder):
    write_tones(folder / "in.wav", True)
    words = {401: "--token", 403: "let this client in", 404: "no such path", 503: "loading", 302: "https://elsewhere/"}
    for status, word in words.items():
        async with Stub(status=http.HTTPStatus(status)) as stub:
            refused(await run(folder, *from_file(stub.url)), word)
    async with Stub(status=http.HTTPStatus.UNAUTHORIZED) as stub:
        refused(await run(folder, *from_file(stub.url, "--token", "x")), "does not accept this token")
    refused(await run(folder, *from_file(stub.url)), "cannot reach the server")


async def certificates(folder):
    with talk.Server("--ssl", folder):  # makes one
        pass
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    write_tones(folder / "in.wav", True)
    async with Stub(ssl=context) as stub:
        url = stub.url.replace("ws:", "https:")
        refused(await run(folder, *from_file(url)), "certificate", "--insecure")
        code, _, lines = await run(folder, *from_file(url, "--insecure"))
        assert code == 0, lines
        without_scheme = url.partition("://")[2]
        code, _, lines = await run(folder, *from_file(without_scheme, "--insecure"))
        assert code == 0, lines
        refused(await run(folder, *from_file(stub.url)), "https:// in front of its name asks for TLS")
    async with Stub() as stub:
        refused(await run(folder, *from_file(stub.url.replace("ws:", "wss:"))), "http:// in front of its name")


async def others_than_web_servers(folder):
    async def answer(reader, writer):
        await reader.readline()
        writer.write(b"SSH-2.0-OpenSSH\r\n")
        writer.close()

    write_tones(folder / "in.wav", True)
    other = await asyncio.start_server(answer, "127.0.0.1", 0)
    name = f"127.0.0.1:{other.sockets[0].getsockname()[1]}"
    refused(await run(folder, *from_file("http://" + name)), "cannot reach the server")
    refused(await run(folder, *from_file("https://" + name)), "cannot reach the server", "http://")
    other.close()


async def wrong_usage(folder):
    for options, word in (
        (("--listen", "nothing"), "--listen"),
        (("--url", "ftp://x"), "ftp"),
        (("http://x", "--host", "y"), "both"),
        (("http://x", "more"), "more"),
        (("--seed", "1.5"), "whole"),
        (("--temperature", "warm"), "--temperature"),
        (("--max-lag", "0"), "--max-lag"),
        (("--after", "-1"), "--after"),
        (("--port", "0"), "--port"),
        (("--echo-cancel", "--no-echo-cancel"), "not both"),
        (("--echo-cancel", "--input", "in.wav"), "microphone"),
        (("--listen", "text", "--output", "out.wav"), "no sound"),
        (("",), "empty"),
        (("--input", "a", "--output", "./a"), "written over"),
        (("--input", (folder / "a").as_uri(), "--output", "a"), "written over"),
        (("--text", "b", "--output", folder / "b"), "written over"),
        (("--nonsense",), "nonsense"),
    ):
        refused(await run(folder, *options), word, status=2)


async def files_that_are_not_there(folder):
    write_tones(folder / "in.wav", True)
    (folder / "in.txt").write_text("no sound at all\n" * 100)
    async with Stub() as stub:
        refused(await run(folder, stub.url, "--input", "nothing.wav", "--output", "none"), "there is no file")
        refused(await run(folder, *from_file(stub.url, output="no/out.wav")), "cannot write no/out.wav")
        refused(await run(folder, *from_file(stub.url, "--text", "no/said")), "cannot write no/said")
        assert stub.connections == 0
        code, _, lines = await run(folder, stub.url, "--input", "in.txt", "--output", "none")
        assert code == 1 and "error" in lines[-1], lines


async def files_stay_until_a_conversation_begins(folder):
    write_tones(folder / "in.wav", True)
    for name in ("out.wav", "said"):
        (folder / name).write_text("of yesterday")
    async with Stub(status=http.HTTPStatus.NOT_FOUND) as stub:
        refused(await run(folder, *from_file(stub.url, "--text", "said")), "no such path")
    assert {(folder / name).read_text() for name in ("out.wav", "said")} == {"of yesterday"}


async def devices_may_be_named_twice(folder):
    write_tones(folder / "in.wav", True)
    async with Stub() as stub:
        code, _, lines = await run(folder, *from_file(stub.url, "--text", "/dev/null", output="/dev/null"))
        assert code == 0, lines


async def elements_that_are_not_there(folder):
    async with Stub() as stub:
        for source, sink in (("nothing", SINK), (SOURCE, "nothing")):
            options = ("--audio-source", source, "--audio-sink", sink, "--no-echo-cancel")
            refused(await run(folder, stub.url, *options), 'no element "nothing"', "GStreamer's plugins")
        assert stub.connections == 0
