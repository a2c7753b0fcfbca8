# SPDX-License-Identifier: MIT
"""The page that moshi-server serves: its own, none, or another one, and what Kyutai's own page sends and needs. On the
fake core."""

import functools
import pathlib
import re
import tempfile

import ogg_opus
import talk
from raw_socket import RawSocket, request
from talk import Kind

# As Vite, which Kyutai's page is built with, lays out and names what it builds.
BUILT = {
    "index.html": "text/html",
    "assets/index-DNMrIVFU.js": "text/javascript",
    "assets/index-DNMrIVFU.js.map": "application/json",
    "assets/chunk-B6RSXYnp.mjs": "text/javascript",
    "assets/index-RONkTxOi.css": "text/css",
    "assets/decoderWorker.min.wasm": "application/wasm",
    "assets/favicon.ico": "image/vnd.microsoft.icon",
    "assets/favicon-32x32.png": "image/png",
    "assets/logo.svg": "image/svg+xml",
    "assets/images/demo/image1.jpg": "image/jpeg",
    "assets/font-CQMA63hu.woff2": "font/woff2",
}
# Of our page: they would forbid another one what it needs.
POLICIES = (
    "Content-Security-Policy", "Permissions-Policy", "Cross-Origin-Opener-Policy", "Cross-Origin-Embedder-Policy",
    "Cross-Origin-Resource-Policy",
)  # fmt: skip
# Everything that Kyutai's page can put into the address of a conversation, with its defaults.
QUERY = (
    "worker_auth_id=a&email=b%40example.org&text_temperature=0.7&text_topk=25&audio_temperature=0.8&audio_topk=250"
    "&pad_mult=0&text_seed=244937&audio_seed=198363&repetition_penalty_context=64&repetition_penalty=1"
    "&image_url=%2Fassets%2Fimages%2Fdemo%2Fimage1.jpg&image_resolution=224"
)
FRAMES = 12


@functools.lru_cache(maxsize=None)
def server():
    return talk.Server("--sessions", "2")


def the_page():
    status, headers, body = server().get("/")
    assert status == 200 and headers["Content-Type"].startswith("text/html"), (status, headers)
    assert b"<!doctype html" in body.lower()
    assert "default-src 'none'" in headers["Content-Security-Policy"], headers
    assert headers["X-Content-Type-Options"] == "nosniff", headers
    for path in sorted(set(re.findall(r'(?:src|href)="(?!data:|https?:|#)\.?/?([^"]+)"', body.decode()))):
        status, headers, file = server().get("/" + path)
        assert status == 200 and file, path
        kinds = {
            "js": "text/javascript",
            "css": "text/css",
            "svg": "image/svg+xml",
            "webmanifest": "application/manifest+json",
        }
        assert headers["Content-Type"].startswith(kinds[path.rpartition(".")[2]]), (path, headers["Content-Type"])


def no_way_out_of_the_page():
    with tempfile.TemporaryDirectory() as folder:
        (pathlib.Path(folder) / "page").mkdir()
        (pathlib.Path(folder) / "page" / "index.html").write_text("<!doctype html>mine")
        (pathlib.Path(folder) / "page" / ".hidden").write_text("secret")
        (pathlib.Path(folder) / "secret.txt").write_text("secret")
        (pathlib.Path(folder) / "page" / "link.txt").symlink_to(pathlib.Path(folder) / "secret.txt")
        with talk.Server("--sessions", "1", "--static", f"{folder}/page") as own:
            assert own.get("/")[2] == b"<!doctype html>mine" and own.get("/index.html")[0] == 200
            headers = own.get("/")[1]  # the page's own policies, where it has some
            assert "Content-Security-Policy" not in headers and headers["X-Content-Type-Options"] == "nosniff", headers
            for target in ("/../secret.txt", "/%2e%2e/secret.txt", "/..%2fsecret.txt", "/x/../../secret.txt",
                           "/..\\secret.txt",
                           "//secret.txt", "/" + folder + "/secret.txt", "/./../secret.txt", "/%252e%252e/secret.txt",
                           "/.hidden", "/link.txt", "/page/../../../../../etc/passwd", "/..;/secret.txt"):  # fmt: skip
                with RawSocket(own) as raw:
                    raw.send(request(target, upgrade=False, Connection="close"))
                    status = raw.status()
                    while raw.fill():
                        pass
                    assert status in (400, 403, 404) and b"secret" not in raw.rest and b"root:" not in raw.rest, (
                        target,
                        status,
                    )
    assert server().get("/../../../../etc/passwd")[0] in (400, 404)


async def without_a_page():
    with talk.Server("--sessions", "1", "--static", "none") as bare:
        assert bare.get("/")[0] == 404 and bare.get("/health")[0] == 200
        async with talk.Talk(bare, "audio=pcm") as client:
            await client.handshake()
            await client.converse(5)
            await client.settle(0.1)


def a_page_that_was_built():
    with tempfile.TemporaryDirectory() as folder:
        for name in BUILT:
            path = pathlib.Path(folder) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(name)
        with talk.Server("--sessions", "1", "--static", folder) as own:
            for name, kind in BUILT.items():
                status, headers, body = own.get("/" + name)
                assert status == 200 and body == name.encode(), (name, status, body)
                assert headers["Content-Type"].partition(";")[0] == kind, (name, headers["Content-Type"])
                assert headers["X-Content-Type-Options"] == "nosniff" and headers["ETag"], (name, headers)
                assert not [policy for policy in POLICIES if policy in headers], (name, headers)
                assert own.get("/" + name, If_None_Match=headers["ETag"])[0] == 304, name
            assert own.get("/?worker_addr=same")[2] == b"index.html"
            assert own.get("/undefined")[0] == 404  # its background where it has none


async def kyutais_page_talks():
    """Headers alone, then pages of two packets of 20 ms, a serial number of its own."""
    here = f"http://localhost:{server().port}"
    async with talk.Talk(server(), QUERY, Origin=here, Host=here.partition("//")[2]) as client:
        await client.handshake()
        assert client.kinds() == [Kind.HANDSHAKE], "the page takes the first message for the beginning"
        head = ogg_opus.opus_head(skip=3840)
        await client.send(Kind.AUDIO, ogg_opus.page([head], 0, flags=ogg_opus.FIRST, serial=1794741386))
        await client.send(Kind.AUDIO, ogg_opus.page([ogg_opus.opus_tags()], 1, serial=1794741386))
        packets = ogg_opus.speech_packets(20)[: FRAMES * 4]
        for n in range(0, len(packets), 2):
            number = n // 2 + 1
            sent = ogg_opus.page(packets[n : n + 2], number + 1, number * 1920, serial=1794741386)
            await client.send(Kind.AUDIO, sent)
            await client.answers(number // 2 - 4)
        await client.answers(FRAMES - 1)
        await client.settle()
    assert client.samples == (FRAMES - 1) * talk.FRAME, client.samples
    assert client.kinds()[1] == Kind.METADATA and client.kinds().count(Kind.METADATA) == 1, client.kinds()
    assert client.metadata[0]["ignored"] == [], client.metadata


async def kyutais_page_waits():
    """It complains of metadata whose names are not those that it expects."""
    with talk.Server("--sessions", "1") as small:
        async with talk.Talk(small) as first:
            await first.handshake()
            async with talk.Talk(small, QUERY) as page:
                await page.until(Kind.PING)
                assert page.kinds() == [Kind.PING], page.kinds()
                await first.socket.close()
                await page.handshake()
                await page.until_metadata("lm_model_file")
                assert len(page.metadata) == 1, page.metadata


def nothing_is_left():
    assert server().stop() == 0


try:
    talk.main([
        the_page, no_way_out_of_the_page, without_a_page, a_page_that_was_built, kyutais_page_talks, kyutais_page_waits,
        nothing_is_left,
    ])  # fmt: skip
finally:
    if server.cache_info().currsize and server().process.poll() is None:
        server().process.kill()
