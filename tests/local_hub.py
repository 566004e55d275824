"""A Hub on this machine: serves folders as repositories, takes uploads, and fails on request."""

import base64
import hashlib
import http.server
import json
import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

DATE = "2026-01-01T00:00:00.000Z"
PULL_REQUEST = "refs/pr/1"


def commit_of(repository: str) -> str:
    """Return the commit that a repository, or its pull request, is at."""
    return hashlib.sha1(repository.encode()).hexdigest()


@dataclass
class LocalHub:
    """What is served, and what was asked for.

    `repositories` are folders by name: OWNER/NAME of a model, datasets/OWNER/NAME, and OWNER/NAME@refs/pr/1 for the
    pull request in which the Hub's bot converted a model's weights; `cards` are the metadata of their cards. `statuses`
    are answers (status, headers) by a part of the path instead, "" for all; those in `once` are given one time. Of the
    file that `broken` names, one byte less than announced is sent before the connection ends. `uploads` are the files
    of each commit, by path. With a `token` requests without it get the answer `refusal`.
    """

    repositories: dict[str, Path] = field(default_factory=dict)
    cards: dict[str, dict[str, Any]] = field(default_factory=dict)
    statuses: dict[str, tuple[int, dict[str, str]]] = field(default_factory=dict)
    once: dict[str, tuple[int, dict[str, str]]] = field(default_factory=dict)
    broken: str = ""
    token: str = ""
    refusal: tuple[int, dict[str, str]] = (401, {})
    requests: list[str] = field(default_factory=list)
    uploads: list[dict[str, bytes]] = field(default_factory=list)
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


@contextmanager
def in_its_world(folder: Path) -> Iterator[LocalHub]:
    """Serve a Hub that the libraries of this process ask, with empty caches of their own in `folder`."""
    import datasets
    import transformers.utils.hub
    from huggingface_hub import constants

    from bertlab import hub

    with serving(LocalHub()) as served, pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "0")
        patch.setenv("HF_ENDPOINT", served.url)
        patch.delenv("HF_TOKEN", raising=False)
        patch.setenv(hub.OFFLINE_REASON, "")
        patch.setattr(hub, "PAUSE_SECONDS", 0.0)
        patch.setattr(constants, "HF_HUB_OFFLINE", False)
        patch.setattr(constants, "ENDPOINT", served.url)
        patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", served.url + "/{repo_id}/resolve/{revision}/{filename}")
        patch.setattr("huggingface_hub.hf_api.api.endpoint", served.url)
        patch.setattr(constants, "HF_HUB_CACHE", str(folder / "hub-cache"))
        patch.setattr(transformers.utils.hub, "_hf_api", None)  # made at the first call, with the Hub of then
        patch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
        patch.setattr(datasets.config, "HF_ENDPOINT", served.url)
        patch.setenv("HF_DATASETS_CACHE", str(folder / "datasets-cache"))
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", folder / "datasets-cache")
        # The viewer's own host, which has no place here; `datasets` does without it.
        patch.setattr("datasets.utils._dataset_viewer.get_session", _no_session)
        patch.setattr("huggingface_hub.file_download.time.sleep", lambda _: None)  # 1 s between five trials
        yield served


def _no_session() -> None:
    raise ConnectionError("there is no viewer here")


class _Handler(http.server.BaseHTTPRequestHandler):
    hub: LocalHub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._respond()

    def do_GET(self) -> None:
        self._respond()

    def do_POST(self) -> None:
        self._respond(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    def log_message(self, *_: object) -> None:
        pass

    def _respond(self, body: bytes = b"") -> None:
        self.hub.requests.append(f"{self.command} {self.path}")
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
        for answers, forget in ((self.hub.once, True), (self.hub.statuses, False)):
            for part in [part for part in answers if part in self.path]:
                return self._send(*(answers.pop(part) if forget else answers[part]))
        if self.hub.token and self.headers.get("Authorization") != f"Bearer {self.hub.token}":
            return self._send(*self.hub.refusal)
        if path.startswith("/api/"):
            return self._answer(path.removeprefix("/api/"), body)
        name, _, place = path.strip("/").partition("/resolve/")
        for repository, folder in self.hub.repositories.items():
            base = repository.partition("@")[0]
            file = next((place[len(r) + 1 :] for r in _revisions(repository) if place.startswith(f"{r}/")), "")
            if base == name and file and (folder / file).is_file():
                return self._send_file(repository, folder / file)
            if base == name and file:
                return self._send(404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit_of(repository)})
        return self._send(404, {"X-Error-Code": "RepoNotFound"})

    def _answer(self, path: str, body: bytes) -> None:
        """Answer a request to the API."""
        if path == "repos/create":
            asked = json.loads(body)
            name = f"{asked.get('organization') or 'somebody'}/{asked['name']}"
            return self._send_json({"url": f"{self.hub.url}/{name}", "name": name, "id": name})
        if path == "validate-yaml":
            return self._send_json({"errors": [], "warnings": []})
        if "/preupload/" in path:
            files = [file["path"] for file in json.loads(body)["files"]]
            modes = [{"path": file, "uploadMode": "regular", "shouldIgnore": False, "oid": None} for file in files]
            return self._send_json({"files": modes})
        if "/commit/" in path:
            entries = [json.loads(line) for line in body.splitlines()]
            files = [entry["value"] for entry in entries if entry["key"] == "file"]
            self.hub.uploads.append({file["path"]: base64.b64decode(file["content"]) for file in files})
            name = path.removeprefix("models/").partition("/commit/")[0]
            return self._send_json({"commitUrl": f"{self.hub.url}/{name}/commit/1", "commitOid": commit_of(name)})
        return self._describe(path.removeprefix("models/"), body)

    def _describe(self, path: str, body: bytes) -> None:
        """Answer what a repository holds; anything else than its files, discussions and commits is its description."""
        for name in sorted(self.hub.repositories, key=len, reverse=True):
            if path != name and not path.startswith(f"{name}/"):
                continue
            what, _, rest = path.removeprefix(name).strip("/").partition("/")
            if what == "tree":
                inside = next(rest[len(r) + 1 :] for r in _revisions(name) if rest.startswith(r))
                folder = self.hub.repositories[name] / inside
                recursive = "recursive=true" in self.path.lower()
                found = sorted(folder.rglob("*") if recursive else folder.glob("*"))
                if not folder.is_dir():
                    return self._send(404, {"X-Error-Code": "EntryNotFound"})
                return self._send_json([_entry(self.hub.repositories[name], file) for file in found])
            if what == "paths-info":
                asked = [self.hub.repositories[name] / file for file in json.loads(body)["paths"]]
                return self._send_json([_entry(self.hub.repositories[name], file) for file in asked if file.exists()])
            if what == "discussions":
                return self._send_json(_discussions(name, f"{name}@{PULL_REQUEST}" in self.hub.repositories))
            if what == "commits":
                repository = name if rest == "main" else f"{name}@{rest}"
                parents = [repository] if rest == "main" else [repository, name]
                return self._send_json([_commit(commit_of(each)) for each in parents])
            at = f"{name}@{rest}" if f"{name}@{rest}" in self.hub.repositories else name
            files = sorted(file for file in self.hub.repositories[at].rglob("*") if file.is_file())
            siblings = [{"rfilename": str(file.relative_to(self.hub.repositories[at]))} for file in files]
            card = self.hub.cards.get(name)
            return self._send_json(
                {"id": name.removeprefix("datasets/"), "sha": commit_of(at), "siblings": siblings, "tags": []}
                | {"private": False, "gated": False, "cardData": card}
            )
        return self._send(404, {"X-Error-Code": "RepoNotFound"})

    def _send_file(self, repository: str, path: Path) -> None:
        content = path.read_bytes()
        headers = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": commit_of(repository)}
        if path.name == self.hub.broken and self.command == "GET":
            return self._send(200, headers, content[: len(content) // 2], length=len(content))
        return self._send(200, headers, content)

    def _send_json(self, content: object) -> None:
        self._send(200, {"Content-Type": "application/json"}, json.dumps(content).encode())

    def _send(self, status: int, headers: dict[str, str], body: bytes = b"", length: int | None = None) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        if length is not None:
            self.close_connection = True


def _revisions(repository: str) -> tuple[str, str]:
    """Return the names of what a repository, or its pull request, is at: a branch and a commit."""
    return repository.partition("@")[2] or "main", commit_of(repository)


def _entry(folder: Path, path: Path) -> dict[str, Any]:
    name = str(path.relative_to(folder))
    if path.is_dir():
        return {"type": "directory", "path": name, "oid": commit_of(name), "size": 0}
    return {"type": "file", "path": name, "oid": commit_of(name), "size": path.stat().st_size}


def _commit(sha: str) -> dict[str, Any]:
    return {"id": sha, "authors": [], "date": DATE, "title": "a commit", "message": ""}


def _discussions(name: str, converted: bool) -> dict[str, Any]:
    conversion = {
        "title": "Adding `safetensors` variant of this model",
        "num": 1,
        "status": "open",
        "isPullRequest": True,
        "author": {"name": "SFconvertbot"},
        "createdAt": DATE,
        "repo": {"name": name, "type": "model"},
    }
    found = [conversion] if converted else []
    return {"discussions": found, "count": len(found), "start": 0}
