# SPDX-License-Identifier: MIT
"""The recipes of docs/reach.md, each taken from the page, run, and talked through with the server on the fake core.

Changed in them are, and nothing else: the ports 80, 443 and 8998 into free ones; the folders /etc, /var/cache and ~
into ones of the test, and /usr/local/bin into the build's; and the address 0.0.0.0 into that of loopback. The names of
the recipes, gpu-box and moshi.example.org, are this machine here: for this process and in the configuration of ssh.
"""
import asyncio
import contextlib
import http.client
import os
import pathlib
import re
import shlex
import shutil
import socket
import ssl
import subprocess
import time

import door
import talk

PAGE = (door.ROOT / "docs" / "reach.md").read_text()
NAME = "moshi.example.org"
LIMIT_S = 60


def _at_home(host, *rest, _lookup=socket.getaddrinfo, **named):
    return _lookup("127.0.0.1" if host in (NAME, "gpu-box") else host, *rest, **named)


socket.getaddrinfo = _at_home


# --- The page ----------------------------------------------------------------------------------------------------


def section(heading):
    found = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", PAGE, re.M | re.S)
    assert found, f"docs/reach.md has no section '{heading}'"
    return found.group(1)


def recipe(heading, language):
    found = re.findall(rf"^```{language}\n(.*?)^```", section(heading), re.M | re.S)
    assert len(found) == 1, f"docs/reach.md has {len(found)} blocks of {language} in '{heading}'"
    return found[0]


def commands(heading):
    """The lines of all shell blocks of a section."""
    blocks = re.findall(r"^```sh\n(.*?)^```", section(heading), re.M | re.S)
    return [line for block in blocks for line in re.sub(r"\\\n\s*", " ", block).splitlines() if line.strip()]


def command(heading, beginning):
    found = [line for line in commands(heading) if line.startswith(beginning)]
    assert len(found) == 1, (heading, beginning, found)
    return found[0]


def adapted(text, folder, **ports):
    for port, mine in ports.items():
        text = re.sub(rf"(?<![\w.]){port.removeprefix('p')}\b", str(mine), text)
    text = re.sub(r"(?<![\w.])(/etc|/var/cache)/", rf"{folder}\1/", text)
    text = text.replace("/usr/local/bin/moshi-server", str(talk.PROGRAM)).replace("~/", f"{folder}/home/")
    return text.replace("0.0.0.0", "127.0.0.1")


# --- Programs ----------------------------------------------------------------------------------------------------


def finished(*words):
    return subprocess.run(
        [str(word) for word in words], capture_output=True, text=True, errors="replace", timeout=LIMIT_S, check=False
    )


def output(*words):
    """What a program prints that must not fail."""
    done = finished(*words)
    assert done.returncode == 0, (words, done.stderr)
    return done.stdout


def shell(line):
    return output("bash", "-c", line)


def program(name):
    """What set-up has unpacked for the tests, or what is installed; only if it runs. Otherwise None."""
    folder = pathlib.Path(output(door.ROOT / ".ci" / "setup", "--path", "servers").strip()) / "usr"
    places = [str(folder / "sbin"), str(folder / "bin"), os.environ.get("PATH", ""), "/usr/sbin"]
    path = shutil.which(name, path=os.pathsep.join(places))
    trial = {"nginx": "-v", "caddy": "version", "sshd": "-V", "ssh": "-V"}
    if path and name in trial:
        done = finished(path, trial[name])
        path = None if "loading shared libraries" in done.stderr else path
    return path


def ip6():
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::1", 0))
        return True
    return False


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def listens(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


@contextlib.contextmanager
def running(words, log, *ports, **options):
    """A program, from when it listens on its ports until the end of the `with`."""
    with open(log, "w", encoding="utf-8") as out:
        process = subprocess.Popen(
            [str(word) for word in words], stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, **options
        )
    try:
        end = time.monotonic() + LIMIT_S
        for port in ports:
            while not listens(port):
                assert process.poll() is None, pathlib.Path(log).read_text("utf-8", "replace")
                assert time.monotonic() < end, f"nothing listens on {port}"
                time.sleep(0.02)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def authority(folder):
    """A certificate for NAME, signed by way of one in between, in Let's Encrypt's folders; gives the authority's."""
    live = folder / "etc" / "letsencrypt" / "live" / NAME
    live.mkdir(parents=True)
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    root, between = folder / "root", folder / "between"
    made = ["-keyout", f"{root}.key", "-out", f"{root}.pem"]
    output("openssl", "req", "-x509", *key, *made, "-subj", "/CN=Root", "-days", 2)
    for name, path, signer, more in (
        ("/CN=Between", between, root, "basicConstraints=critical,CA:TRUE"),
        ("/CN=" + NAME, live / "leaf", between, f"subjectAltName=DNS:{NAME}"),
    ):
        (folder / "more").write_text(more + "\n")
        output("openssl", "req", *key, "-keyout", f"{path}.key", "-out", f"{path}.csr", "-subj", name)
        output("openssl", "x509", "-req", "-in", f"{path}.csr", "-CA", f"{signer}.pem", "-CAkey", f"{signer}.key",
                "-CAcreateserial", "-extfile", folder / "more", "-out", f"{path}.pem", "-days", 2)  # fmt: skip
    (live / "fullchain.pem").write_text((live / "leaf.pem").read_text() + (folder / "between.pem").read_text())
    (live / "leaf.pem").rename(live / "cert.pem")
    (live / "leaf.key").rename(live / "privkey.pem")
    return folder / "root.pem"


# --- Talking through it --------------------------------------------------------------------------------------------


class Reached:
    """What talk.Talk wants of a server, for another address of it. `trusted`: the only certificate that is."""

    def __init__(self, url, trusted=None):
        self.url = url
        self.context = ssl.create_default_context(cafile=trusted) if trusted else None

    def get(self, path, **headers):
        return talk.Server.get(self, path, **headers)


async def conversation(reached, query="audio=pcm", **headers):
    """Frame by frame, so that what holds messages back is found out."""
    async with talk.Talk(reached, query, **headers) as client:
        await client.handshake()
        await client.converse(6, window=0)
        assert client.samples == 5 * talk.FRAME, client.samples


def talks(reached, server, *, origin=None, token=None):
    """The page and conversations, as a browser and as a program, and neither for strangers."""
    origin = origin or reached.url
    allowed = {"Authorization": f"Bearer {token}"} if token else {}
    assert reached.get("/health")[0] == 200
    status, headers, body = reached.get("/")
    assert status == 200 and "text/html" in headers["content-type"] and b"<html" in body.lower(), (status, headers)

    async def all_of_it():
        await conversation(reached, **allowed)
        await conversation(reached, f"audio=pcm&token={token}" if token else "audio=pcm", Origin=origin)
        await conversation(reached, "", Origin=origin, **allowed)
        assert await talk.status_of(reached, Origin="https://elsewhere.example", **allowed) == 403
        if token:
            assert await talk.status_of(reached) == 401
            assert await talk.status_of(reached, Authorization="Bearer wrong") == 401

    asyncio.run(asyncio.wait_for(all_of_it(), 4 * LIMIT_S))
    assert server.process.poll() is None


async def silence(reached, token):
    """Who says nothing, and waits, hears from the server all the same: time-outs may stay as they are."""
    async with talk.Talk(reached, Authorization=f"Bearer {token}") as client:
        await client.until(talk.Kind.PING)


def addresses(proxied, server, token):
    """The proxy says who the client is, and the client cannot."""
    forged = {"X_Forwarded_For": "203.0.113.7", "Authorization": f"Bearer {token}"}
    asyncio.run(conversation(proxied, **forged))
    assert not any("203.0.113.7" in line for line in server.lines), server.lines
    asyncio.run(conversation(server, **forged))  # what a proxy on this machine says is believed
    server.wait_event(lambda event: "203.0.113.7" in str(event))


def started(*options, **environment):
    """As the recipes have it, but without measuring how many conversations this machine carries."""
    return talk.Server("--sessions", 4, *options, **environment)


def token_file(folder, token="0123456789abcdef"):
    (folder / "tokens").write_text(token + "\n")
    return token, ("--token-file", folder / "tokens")


def nginx(folder, backend, path=None):
    """Starts the recipe, for a path if there is one; the ports of HTTPS and HTTP."""
    https, http = free_port(), free_port()
    text = recipe("nginx", "nginx")
    if path:
        text = text.replace("location / {", f"location {path} {{").replace("127.0.0.1:8998;", "127.0.0.1:8998/;")
    text = adapted(text, folder, p443=https, p80=http, p8998=backend)
    if not ip6():
        text = re.sub(r"^.*\[::\].*\n", "", text, flags=re.M)
    (folder / "moshi").write_text(text)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    own = "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in kinds)
    user = "user root;\n" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(
        f"daemon off;\npid {folder}/pid;\nerror_log stderr;\n{user}events {{}}\n"
        f"http {{\naccess_log {folder}/access.log;\n{own}include {folder}/moshi;\n}}\n"
    )
    words = [program("nginx"), "-p", folder, "-e", "stderr", "-c", folder / "nginx.conf"]
    done = finished(*words, "-t")
    assert done.returncode == 0 and "[warn]" not in done.stderr, done.stderr
    return running(words, folder / "nginx.log", https, http), https, http


def redirects(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT_S)
    connection.request("GET", "/?a=b", headers={"Host": NAME})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    assert answer.status in (301, 308), answer.status
    return answer.headers["location"]


def behind_nginx(folder):
    trusted = authority(folder)
    token, options = token_file(folder)
    with started(*options) as server:
        process, https, http = nginx(folder, server.port)
        with process:
            reached = Reached(f"https://{NAME}:{https}", trusted)
            talks(reached, server, token=token)
            assert reached.get("/metrics", Authorization=f"Bearer {token}")[0] == 404
            assert redirects(http) == f"https://{NAME}/?a=b"
            asyncio.run(silence(reached, token))
            addresses(reached, server, token)
        assert token not in (folder / "access.log").read_text()


def behind_nginx_under_a_path(folder):
    (path,) = re.findall(r"`location (\S+)` with `proxy_pass http://127.0.0.1:8998/;`", section("nginx"))
    trusted = authority(folder)
    with started() as server:
        process, https, _ = nginx(folder, server.port, path)
        with process:
            origin = f"https://{NAME}:{https}"
            talks(Reached(origin + path.rstrip("/"), trusted), server, origin=origin)


def behind_caddy(folder):
    token, options = token_file(folder)
    with started(*options) as server:
        https, http = free_port(), free_port()
        text = adapted(recipe("Caddy", "caddyfile"), folder, p8998=server.port)
        # No authority gives a certificate for this name: one of Caddy's own, on ports of its own.
        text = f"{{\nhttp_port {http}\nhttps_port {https}\nadmin off\nlocal_certs\nskip_install_trust\n}}\n" + text
        (folder / "Caddyfile").write_text(text)
        variables = {**os.environ, "HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
        words = [program("caddy"), "run", "--config", folder / "Caddyfile", "--adapter", "caddyfile"]
        with running(words, folder / "caddy.log", https, http, env=variables):
            trusted = folder / "caddy" / "pki" / "authorities" / "local" / "root.crt"
            reached = Reached(f"https://{NAME}:{https}", trusted)
            wait_certificate(https, reached.context)
            talks(reached, server, token=token)
            assert reached.get("/metrics", Authorization=f"Bearer {token}")[0] == 404
            assert redirects(http).endswith("/?a=b")
            addresses(reached, server, token)


def wait_certificate(port, context):
    """Caddy listens before it has its certificate."""
    end = time.monotonic() + LIMIT_S
    while True:
        with contextlib.suppress(ssl.SSLError), socket.create_connection(("127.0.0.1", port), LIMIT_S) as plain:
            with context.wrap_socket(plain, server_hostname=NAME):
                return
        assert time.monotonic() < end, "no certificate"
        time.sleep(0.05)


# --- SSH ---------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def ssh_server(folder):
    """An sshd for one throw-away key, under an account that can do nothing; gives the file for ssh's -F."""
    root = os.geteuid() == 0
    user = "nobody" if root else output("id", "-un").strip()
    folder.chmod(0o755)
    for name in ("key", "host"):
        output("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name)
    if root:
        shutil.chown(folder / "host", user)
    shutil.copy(program("sshd"), folder / "sshd")  # it starts itself anew, also as that user
    port = free_port()
    settings = {"Port": port, "ListenAddress": "127.0.0.1", "HostKey": folder / "host", "PidFile": "none"}
    settings |= {"AuthorizedKeysFile": folder / "key.pub", "StrictModes": "no", "UsePAM": "yes"}
    for part in ("session", "auth"):  # since OpenSSH 9.8 and 10
        helper = pathlib.Path(program("sshd")).parent.parent / "lib" / "openssh" / f"sshd-{part}"
        if helper.exists():
            shutil.copy(helper, folder / helper.name)
            settings[f"Sshd{part.title()}Path"] = folder / helper.name
    (folder / "sshd_config").write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
    (folder / "known").write_text(f"[127.0.0.1]:{port} {(folder / 'host.pub').read_text()}")
    (folder / "ssh_config").write_text(
        f"Host gpu-box {NAME}\nHostName 127.0.0.1\nPort {port}\nUser {user}\nIdentityFile {folder}/key\n"
        f"IdentitiesOnly yes\nBatchMode yes\nUserKnownHostsFile {folder}/known\n"
    )
    account = {"user": user, "group": "nogroup", "extra_groups": []} if root else {}
    words = [folder / "sshd", "-D", "-e", "-f", folder / "sshd_config"]
    with running(words, folder / "sshd.log", port, **account):
        yield folder / "ssh_config"


def forward(line, configuration, ports, folder):
    """A printed ssh line: its first port, the one that it opens, and the other become ours."""
    here, there = ports
    words = shlex.split(line.replace("8998", str(here), 1).replace("8998", str(there), 1))
    return running([words[0], "-F", configuration, *words[1:]], folder / "ssh.log", here)


def through_ssh(folder):
    line = command("SSH to the server", "ssh ")
    port = free_port()
    with started() as server, ssh_server(folder) as configuration:
        with forward(line, configuration, (port, server.port), folder):
            talks(Reached(f"http://localhost:{port}"), server)


def from_behind_a_router(folder):
    trusted = authority(folder)
    line = command("SSH from the server", "ssh ")
    port = free_port()
    with started() as server, ssh_server(folder) as configuration:
        with forward(line, configuration, (port, server.port), folder):
            talks(Reached(f"http://localhost:{port}"), server)
            if program("nginx"):
                process, https, _ = nginx(folder, port)
                with process:
                    talks(Reached(f"https://{NAME}:{https}", trusted), server)


# --- Certificates ------------------------------------------------------------------------------------------------


def options_of(line, folder, port):
    words = shlex.split(adapted(line, folder, p8998=port))
    assert words[0] == "moshi-server", line
    return words[1:]


def own_certificate(folder):
    heading = "A certificate made at the start"
    options = options_of(command(heading, "moshi-server "), folder, 0)
    certificate, key = folder / "home" / "moshi-tls" / "cert.pem", folder / "home" / "moshi-tls" / "key.pem"
    shown = command(heading, "openssl ")
    prints = []
    for _ in range(2):  # the second time it is there
        with started(*options) as server:
            prints.append(shell(adapted(shown, folder)).strip().rpartition("=")[2])
            assert any(prints[0] in line for line in server.lines), (prints, server.lines)
            read = ["openssl", "x509", "-in", certificate, "-noout"]
            for name in ("localhost", socket.gethostname()):
                assert "does match" in output(*read, "-checkhost", name)
            assert "does match" in output(*read, "-checkip", "127.0.0.1")
            output(*read, "-checkend", 30 * 24 * 3600)
            assert key.stat().st_mode & 0o777 == 0o600
            talks(Reached(f"https://localhost:{server.port}", certificate), server)
            if shutil.which("curl"):
                assert shell(adapted(command(heading, "curl "), folder, p8998=server.port)).startswith("{")
    assert prints[0] == prints[1], prints


def certificate_of_an_authority(folder):
    trusted = authority(folder)
    heading = "A certificate of an authority"
    *copying, start = commands(heading)
    for line in copying:
        shell(adapted(line, folder))
    with started(*options_of(start, folder, free_port())) as server:
        talks(Reached(f"https://{NAME}:{server.port}", trusted), server)


# --- A service ---------------------------------------------------------------------------------------------------


def unit(folder):
    path = folder / "moshi-server.service"
    path.write_text(adapted(recipe("As a service", "ini"), folder))
    return path


def unit_is_valid(folder):
    (folder / "etc" / "moshi").mkdir(parents=True)
    done = finished("systemd-analyze", "verify", "--man=no", unit(folder))
    assert done.returncode == 0 and not done.stderr, done.stderr


def unit_starts_the_server(folder):
    """Its command line and environment, without the rest of systemd."""
    lines = [line.partition("=") for line in unit(folder).read_text().splitlines()]
    (start,) = [value for name, _, value in lines if name == "ExecStart"]
    settings = [word for name, _, value in lines if name == "Environment" for word in shlex.split(value)]
    variables = dict(word.partition("=")[::2] for word in settings)
    for value in variables.values():
        assert value.startswith(str(folder)), value  # in the unit's cache folder
    token, _ = token_file(folder)
    words = shlex.split(start.replace("${CREDENTIALS_DIRECTORY}", str(folder)))
    assert words[0] == str(talk.PROGRAM), words
    variables.pop("GST_REGISTRY")
    with started(*words[1:], **variables) as server:
        talks(Reached(server.url), server, token=token)
        assert server.stop() == 0, server.lines[-10:]


def needing(function, *programs):
    """The case, or one that is skipped and says why, in TAP."""
    name = function.__name__.replace("_", " ")
    missing = [wanted for wanted in programs if not program(wanted)]
    if not missing:
        return name, function
    return f"{name} # SKIP there is no {' and no '.join(missing)}", lambda _folder: None


if __name__ == "__main__":
    door.main(
        [
            needing(behind_nginx, "nginx", "openssl"),
            needing(behind_nginx_under_a_path, "nginx", "openssl"),
            needing(behind_caddy, "caddy"),
            needing(through_ssh, "sshd", "ssh"),
            needing(from_behind_a_router, "sshd", "ssh", "openssl"),
            needing(own_certificate, "openssl"),
            needing(certificate_of_an_authority, "openssl"),
            needing(unit_is_valid, "systemd-analyze"),
            needing(unit_starts_the_server),
        ]
    )
