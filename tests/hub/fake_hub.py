# SPDX-License-Identifier: MIT
"""A hub for tests, on the loopback interface: one server that answers as the hub does, one that keeps large files.

What it has are `Repository`s; what goes wrong is asked for by file name in `faults`; what was asked of it is in
`requests`, as (server, method, path, headers).
"""
import hashlib
import http.server
import ssl
import threading
import time
import urllib.parse

LIMIT_S = 20  # of a stall that nobody ends


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def git_sha(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class Repository:
    """Files by path; `bytes` are large files, `str` small ones that lie in git itself."""

    def __init__(self, files, commit="0123456789abcdef0123456789abcdef01234567", token=None, gated=False):
        self.revisions = {"main": commit}
        self.commits = {commit: dict(files)}
        self.token = token
        self.gated = gated
        self.redirects_small = False  # small files are answered at another path of the same host

    def files_of(self, revision):
        commit = self.revisions.get(revision, revision)
        return commit, self.commits.get(commit)


class Fault:
    """What goes wrong with a file, one after the other where it is a list."""

    def __init__(self, cuts=(), statuses=(), damaged=0, stall_at=None, delay=0.0, ranges=True):
        self.cuts = list(cuts)  # bytes of a response after which the connection is cut
        self.statuses = list(statuses)  # answers instead of the file
        self.damaged = damaged  # so many responses have a wrong byte
        self.stall_at = stall_at  # bytes after which nothing comes
        self.delay = delay  # seconds per tenth of the file
        self.ranges = ranges


class FakeHub:
    def __init__(self, prefix="", certificate=None):
        self.prefix = prefix
        self.certificate = certificate  # a file with a key and its certificate: https
        self.repositories = {}
        self.moved = {}  # old name: new name
        self.faults = {}
        self.requests = []
        self.ended = threading.Event()
        self.lock = threading.Lock()
        self.servers = [self.serve(HubHandler), self.serve(StoreHandler)]
        self.endpoint = self.address(0) + prefix
        self.store = self.address(1)

    def serve(self, handler):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.daemon_threads = True
        if self.certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        server.hub = self
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return server

    def address(self, which):
        return ("https" if self.certificate else "http") + "://127.0.0.1:%d" % self.servers[which].server_address[1]

    def asked(self, server="store", method="GET"):
        with self.lock:
            return [r for r in self.requests if r[0] == server and r[1] == method]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.ended.set()
        for server in self.servers:
            server.shutdown()
            server.server_close()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    name = ""

    def log_message(self, *_):
        pass

    @property
    def hub(self):
        return self.server.hub

    def do_HEAD(self):
        self.handle_one()

    def do_GET(self):
        self.handle_one()

    def handle_one(self):
        with self.hub.lock:
            self.hub.requests.append((self.name, self.command, self.path, dict(self.headers.items())))
        try:
            self.answer()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def handle(self):
        try:
            super().handle()
        except OSError:  # a client that went away, or did not like the certificate
            pass

    def reply(self, status, headers, body=b""):
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        if "Content-Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def send_file(self, file, data, headers):
        fault = self.hub.faults.get(file, Fault())
        with self.hub.lock:
            status = fault.statuses.pop(0) if fault.statuses and self.command == "GET" else None
            cut = fault.cuts.pop(0) if fault.cuts and self.command == "GET" else None
            if fault.damaged and self.command == "GET":
                fault.damaged -= 1
                data = data[:-1] + bytes([data[-1] ^ 1])
        if status:
            self.reply(status, {})
            return
        begin = 0
        wanted = self.headers.get("Range", "")
        if wanted.startswith("bytes=") and fault.ranges:
            begin = int(wanted[6:].split("-")[0])
            if begin >= len(data):
                self.reply(416, {"Content-Range": "bytes */%d" % len(data)})
                return
            headers = {**headers, "Content-Range": "bytes %d-%d/%d" % (begin, len(data) - 1, len(data))}
        body = data[begin:]
        self.send_response(206 if begin else 200)
        for key, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.send_body(body, fault, cut)

    def send_body(self, body, fault, cut):
        end = len(body) if cut is None else min(cut, len(body))
        step = max(1, len(body) // 10) if fault.delay else end or 1
        stop = end if fault.stall_at is None else min(end, fault.stall_at)
        for at in range(0, stop, step):
            self.wfile.write(body[at : min(at + step, stop)])
            self.wfile.flush()
            time.sleep(fault.delay)
        if stop < end:
            self.hub.ended.wait(LIMIT_S)
        if end < len(body) or stop < end:
            self.close_connection = True


class HubHandler(Handler):
    """The hub itself: who may read what, which version it is, and where it lies."""

    name = "hub"

    def refuse(self, status, code, message="", headers=None):
        extra = {"X-Error-Code": code} if code else {}
        self.reply(status, {**extra, "X-Error-Message": message or code, **(headers or {})}, b"{}")

    def answer(self):
        path = urllib.parse.urlsplit(self.path).path
        parts = path[len(self.hub.prefix) :].replace("/api/resolve-cache/", "/").split("/")
        if not path.startswith(self.hub.prefix + "/") or len(parts) < 6 or parts[3] != "resolve":
            self.refuse(404, "")
            return
        name, revision = "/".join(parts[1:3]), urllib.parse.unquote(parts[4])
        file = urllib.parse.unquote("/".join(parts[5:]))
        if name in self.hub.moved:
            target = path.replace("/" + name + "/", "/" + self.hub.moved[name] + "/")
            self.reply(307, {"Location": target})
            return
        repository = self.hub.repositories.get(name)
        given = self.headers.get("Authorization", "")
        if repository is None:
            self.refuse(404 if given else 401, "RepoNotFound")
        elif repository.token and not given:
            self.refuse(401, "GatedRepo" if repository.gated else "RepoNotFound", "Access is restricted")
        elif repository.token and given != "Bearer " + repository.token:
            self.refuse(403, "GatedRepo" if repository.gated else "", "You are not in the authorized list")
        else:
            self.answer_file(repository, revision, file)

    def answer_file(self, repository, revision, file):
        commit, files = repository.files_of(revision)
        if files is None:
            self.refuse(404, "RevisionNotFound")
        elif file not in files:
            self.refuse(404, "EntryNotFound", headers={"X-Repo-Commit": commit})
        elif isinstance(files[file], str):
            data = files[file].encode()
            if repository.redirects_small and "/api/resolve-cache/" not in self.path:
                target = self.hub.prefix + "/api/resolve-cache" + self.path[len(self.hub.prefix) :]
                self.reply(307, {"Location": target, "X-Repo-Commit": commit})
                return
            self.send_file(file, data, {"ETag": 'W/"%s"' % git_sha(data), "X-Repo-Commit": commit})
        else:
            data = files[file]
            location = "%s/%s?file=%s&signature=1" % (self.hub.store, sha256(data), urllib.parse.quote(file))
            headers = {"X-Linked-Etag": '"%s"' % sha256(data), "X-Linked-Size": str(len(data)), "ETag": '"pointer"'}
            fault = self.hub.faults.get(file)
            if fault and hasattr(fault, "size"):
                headers["X-Linked-Size"] = str(fault.size)
            self.reply(302, {**headers, "X-Repo-Commit": commit, "Location": location})


class StoreHandler(Handler):
    """Where large files lie: another host, which must never see a token of the hub."""

    name = "store"

    def answer(self):
        url = urllib.parse.urlsplit(self.path)
        query = urllib.parse.parse_qs(url.query)
        if not query:
            self.reply(200, {}, b"a page of somebody else")
            return
        file = query.get("file", [""])[0]
        digest = url.path.strip("/")
        for repository in list(self.hub.repositories.values()):
            for files in list(repository.commits.values()):
                data = files.get(file)
                if isinstance(data, bytes) and sha256(data) == digest and query.get("signature") == ["1"]:
                    self.send_file(file, data, {"ETag": '"store"'})
                    return
        self.reply(403, {})
