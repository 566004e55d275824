"""A Hub on this machine: serves folders as repositories, and fails on request."""

import hashlib
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class LocalHub:
    """What is served, and what was asked for.

    `repositories` are folders by name; `statuses` are answers (status, headers) by name instead of a folder, "" for
    all; of the file that `broken` names, one byte less than announced is sent before the connection ends.
    """

    repositories: dict[str, Path] = field(default_factory=dict)
    statuses: dict[str, tuple[int, dict[str, str]]] = field(default_factory=dict)
    broken: str = ""
    requests: list[str] = field(default_factory=list)
    url: str = ""


@contextmanager
def serving(hub: LocalHub) -> Iterator[LocalHub]:
    """Serve in a thread, on a port of its own, as long as the context lasts."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (_Handler,), {"hub": hub}))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    hub: LocalHub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._respond(with_body=False)

    def do_GET(self) -> None:
        self._respond(with_body=True)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._respond(with_body=True)

    def log_message(self, *_: object) -> None:
        pass

    def _respond(self, with_body: bool) -> None:
        self.hub.requests.append(f"{self.command} {self.path}")
        for name, (status, headers) in self.hub.statuses.items():
            if name in self.path:
                return self._send(status, headers, b"", with_body)
        for name, folder in self.hub.repositories.items():
            _, separator, file = self.path.partition(f"/{name}/resolve/main/")
            if separator and (folder / file).is_file():
                return self._send_file(folder / file, with_body)
            if separator:
                return self._send(404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT}, b"", with_body)
            if self.path.startswith(f"/api/models/{name}"):
                return self._send(200, {"Content-Type": "application/json"}, b"[]", with_body)
        return self._send(404, {"X-Error-Code": "RepoNotFound"}, b"", with_body)

    def _send_file(self, path: Path, with_body: bool) -> None:
        content = path.read_bytes()
        headers = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": COMMIT}
        if path.name == self.hub.broken and with_body:
            return self._send(200, headers, content[: len(content) // 2], with_body, length=len(content))
        return self._send(200, headers, content, with_body)

    def _send(
        self, status: int, headers: dict[str, str], body: bytes, with_body: bool, length: int | None = None
    ) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        if with_body:
            self.wfile.write(body)
        if length is not None:
            self.close_connection = True
