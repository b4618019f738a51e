"""An HTTP server on this machine that serves a few files, well or badly, and a proxy before it."""

import http.server
import re
import sys
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, IncompleteRead
from urllib.parse import urlsplit


@dataclass
class Served:
    """Files by path, how they are served, and what has been asked for."""

    files: dict = field(default_factory=dict)
    redirects: dict = field(default_factory=dict)
    status: int | None = None
    ranges: bool = True
    tag: str | None = '"first"'
    conditional: bool = True  # whether If-Range is looked at
    breaks: list = field(default_factory=list)  # bytes after which the next answers break off
    hold: threading.Event | None = None  # waited for before an answer breaks off
    announced: int | None = None  # Content-Length, if it is a lie; none is sent if it is negative
    head: bool = True
    requests: list = field(default_factory=list)
    address: str = ""

    def gets(self):
        return [request for request in self.requests if request[0] == "GET"]


class Handler(http.server.BaseHTTPRequestHandler):
    served: Served

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        self.answer()

    def answer(self):
        served = self.served
        served.requests.append((self.command, self.path, dict(self.headers)))
        if self.command == "HEAD" and not served.head:
            self.send_error(405)
        elif served.status:
            self.send_error(served.status)
        elif self.path in served.redirects:
            self.send_response(302)
            self.send_header("Location", served.redirects[self.path])
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif self.path not in served.files:
            self.send_error(404)
        else:
            self.send_file(served.files[self.path])

    def send_file(self, content):
        start = self.first_byte()
        if start >= len(content) > 0 and start:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = content[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if self.served.tag:
            self.send_header("ETag", self.served.tag)
        length = len(body) if self.served.announced is None else self.served.announced
        if length >= 0:
            self.send_header("Content-Length", str(length))
        self.end_headers()
        if self.command == "GET":
            limit = self.served.breaks.pop(0) if self.served.breaks else None
            self.wfile.write(body[:limit])
            if limit is not None and self.served.hold:
                self.served.hold.wait(60)
        self.close_connection = True

    def first_byte(self):
        found = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        changed = self.served.conditional and self.headers.get("If-Range", self.served.tag) != self.served.tag
        return int(found[1]) if found and self.served.ranges and not changed else 0


class ProxyHandler(http.server.BaseHTTPRequestHandler):
    """Answers for any host with what the server has under the same path; tunnels (CONNECT) are refused."""

    served: Served
    seen: list

    def log_message(self, *_):
        pass

    def do_CONNECT(self):
        self.seen.append(("CONNECT", self.path))
        self.send_error(403)

    def do_GET(self):
        self.seen.append((self.command, self.path))
        server = HTTPConnection(urlsplit(self.served.address).netloc)
        server.request("GET", urlsplit(self.path).path, headers=dict(self.headers))
        answer = server.getresponse()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            self.send_header(name, value)
        self.end_headers()
        with suppress(IncompleteRead):
            while block := answer.read1(1 << 16):
                self.wfile.write(block)
        server.close()
        self.close_connection = True


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        """A client may leave in the middle; anything else is shown."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


@contextmanager
def _running(handler):
    with Server(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def serving():
    """Serve; gives a `Served` to fill."""
    served = Served()
    with _running(type("ThisHandler", (Handler,), {"served": served})) as served.address:
        yield served


@contextmanager
def proxying(served):
    """Run a proxy; gives its address, and the list of what it is asked for."""
    seen = []
    with _running(type("ThisProxy", (ProxyHandler,), {"served": served, "seen": seen})) as address:
        yield address, seen
