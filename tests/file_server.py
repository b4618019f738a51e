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
    breaks: list = field(default_factory=list)  # bytes after which the next answers break off
    requests: list = field(default_factory=list)
    address: str = ""


class Handler(http.server.BaseHTTPRequestHandler):
    served: Served

    def log_message(self, *_):
        pass

    def do_GET(self):
        served = self.served
        served.requests.append((self.command, self.path, dict(self.headers)))
        if served.status:
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
        ranged = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(ranged[1]) if ranged else 0
        self.send_response(206 if ranged else 200)
        if ranged:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start:][: self.served.breaks.pop(0) if self.served.breaks else None])
        self.close_connection = True


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
