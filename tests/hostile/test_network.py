"""Without a network nothing waits; a Hub that fails is one line of error."""

import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import datasets
import pytest
import transformers.utils.hub
from huggingface_hub import constants
from local_hub import LocalHub, serving
from running import ROOT, classify, labelled_sentences, predict, subprocess_of

from bertlab import hub

TOKEN = "hf_abcdefghijklmnopqrstuvwxyz"


@pytest.fixture
def local_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[LocalHub]:
    """Return a Hub on this machine that the libraries ask, with an empty cache of their own."""
    with serving(LocalHub()) as served:
        monkeypatch.setenv("HF_HUB_OFFLINE", "0")
        monkeypatch.setenv("HF_ENDPOINT", served.url)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        monkeypatch.setenv(hub.OFFLINE_REASON, "")
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "ENDPOINT", served.url)
        monkeypatch.setattr(transformers.utils.hub, "_hf_api", None)  # made at the first call, with the Hub of then
        monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(datasets.config, "HF_ENDPOINT", served.url)
        template = served.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
        yield served


@pytest.fixture
def refused(capfd: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Return a function that runs `predict` and returns its one line of error."""

    def run(*argv: object) -> str:
        assert predict(*argv, "--text", "a good book") == 2
        error = capfd.readouterr().err
        assert "Traceback" not in error
        (line,) = [line for line in error.splitlines() if line.startswith("error: ")]
        return line.removeprefix("error: ")

    return run


def test_a_model_of_the_hub_is_fetched_once_and_then_needs_no_hub(
    local_hub: LocalHub, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the other tests break does work: otherwise they would prove nothing."""
    local_hub.repositories["someone/tiny"] = run
    assert predict("someone/tiny", "--format", "jsonl", "--text", "a good book") == 0
    first = capsys.readouterr().out
    assert any(line == "GET /someone/tiny/resolve/main/model.safetensors" for line in local_hub.requests)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    local_hub.requests.clear()
    assert predict("someone/tiny", "--format", "jsonl", "--text", "a good book") == 0
    assert capsys.readouterr().out == first
    assert not local_hub.requests


GATED = {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access to model someone/tiny is restricted."}
BAD_TOKEN = {"X-Error-Message": "Invalid credentials in Authorization header"}


@pytest.mark.parametrize(
    ("status", "headers", "problem", "hint"),
    [
        (401, GATED, "is gated: its owner has to grant access", "Ask for it at http"),
        (403, GATED, "is gated: its owner has to grant access", "with the token of that account"),
        (401, {}, "is not on the Hub, or it is private", "A private one needs --token or HF_TOKEN"),
        (401, BAD_TOKEN, "the Hub does not accept the token (401)", "`hf auth login`"),
        (403, {"X-Error-Message": "Forbidden"}, "the Hub refuses access (403)", "--token"),
        (404, {"X-Error-Code": "RepoNotFound"}, "is not on the Hub, or it is private", "A private one needs --token"),
        (404, {"X-Error-Code": "RevisionNotFound"}, "has no such revision", "--model_revision"),
        (407, {}, "the proxy wants a password (407)", "Pass --model"),
        (500, {}, "it answers 500 (Internal Server Error)", "Pass --model_name_or_path with a folder"),
        (503, {"Retry-After": "60"}, "it answers 503 (Service Unavailable)", "run once with the network"),
    ],
)
def test_every_refusal_of_the_hub_is_one_line(
    local_hub: LocalHub, refused, monkeypatch, status: int, headers: dict[str, str], problem: str, hint: str
) -> None:
    local_hub.statuses["someone/tiny"] = (status, headers)
    if status == 407 or status >= 500:  # given up before the libraries are imported, which read this once
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    error = refused("someone/tiny", "--token", TOKEN)
    assert "the model someone/tiny" in error
    assert problem in error
    assert hint in error
    assert TOKEN not in error


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("google-bert/bert-base-uncase", "google-bert/bert-base-uncased"),
        ("bert-base-cased", "google-bert/bert-base-cased"),
        ("bert-bse-cased", "google-bert/bert-base-cased"),
        ("roberta-base", "FacebookAI/roberta-base"),
        ("microsoft/deberta-v3-bse", "microsoft/deberta-v3-base"),
        ("someone/my-own-modle", "someone/my-own-model"),
    ],
)
def test_a_name_that_is_not_on_the_hub_is_answered_with_the_nearest(
    local_hub: LocalHub, refused, name: str, near: str
) -> None:
    (Path(constants.HF_HUB_CACHE) / "models--someone--my-own-model").mkdir(parents=True)
    assert f"Did you mean {near!r}?" in refused(name)


def test_a_name_like_no_other_gets_no_guess(local_hub: LocalHub, refused) -> None:
    error = refused("someone/zzzzqqq")
    assert "Did you mean" not in error
    assert "Names are listed at" in error


def test_a_download_that_breaks_off_says_so_and_can_be_called_again(
    local_hub: LocalHub, run: Path, refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda _: None)  # 1 s between five trials
    local_hub.repositories["someone/tiny"] = run
    local_hub.broken = "model.safetensors"
    error = refused("someone/tiny")
    assert "the download of the model someone/tiny broke off. Run the same command again." in error
    local_hub.broken = ""
    assert predict("someone/tiny", "--text", "a good book") == 0


@pytest.mark.parametrize(
    ("status", "headers", "problem", "hint"),
    [
        (404, {"X-Error-Code": "RepoNotFound"}, "is not on the Hub, or it is private.", "Did you mean 'nyu-mll/glue'?"),
        (401, GATED, "is gated: its owner has to grant access.", "/datasets/nyu-mll/gleu, then `hf auth login`"),
        (403, GATED, "is gated: its owner has to grant access.", "/datasets/nyu-mll/gleu, then `hf auth login`"),
    ],
)
def test_a_data_set_is_refused_as_a_model_is(
    local_hub: LocalHub, tiny_model: Path, tmp_path: Path, capfd, status: int, headers, problem: str, hint: str
) -> None:
    local_hub.statuses["nyu-mll/gleu"] = (status, headers)
    assert classify(tmp_path / "run", dataset_name="nyu-mll/gleu", model_name_or_path=tiny_model) == 2
    (error,) = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error: ")]
    assert error.startswith(f"error: the data set nyu-mll/gleu {problem}")
    assert hint in error
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("endpoint", "proxy", "reason"),
    [
        ("http://127.0.0.1:9", None, "Connection refused"),
        ("http://hub.invalid", None, "Name or service not known"),
        ("http://hub.invalid", "http://127.0.0.1:9", "Connection refused (through the proxy of HTTPS_PROXY)"),
        ("https://huggingface.co", "http://user:passw0rd@127.0.0.1:9", "Connection refused (through the proxy"),
        ("no-address", None, "unknown url type"),
    ],
)
def test_a_hub_that_cannot_be_reached_is_given_up(
    endpoint: str, proxy: str | None, reason: str, refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    monkeypatch.setenv(hub.OFFLINE_REASON, "")
    if "invalid" in endpoint and not proxy:  # what a resolver answers; the tests' own may not be asked
        monkeypatch.setattr(socket, "getaddrinfo", _unresolved)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, proxy) if proxy else monkeypatch.delenv(name, raising=False)
    if proxy:
        monkeypatch.setenv("NO_PROXY", "")
        monkeypatch.setenv("no_proxy", "")
    error = refused("someone/tiny")
    assert "the model someone/tiny is not in the cache and the Hub cannot be reached" in error
    assert reason in error
    assert "passw0rd" not in error
    assert os.environ["HF_HUB_OFFLINE"] == "1"


def _unresolved(*_: object, **__: object) -> None:
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


def test_a_resolver_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """No time limit of a socket holds for the resolution of a name."""
    answer = threading.Event()
    monkeypatch.setattr(hub, "_failure", lambda *_: answer.wait())
    assert hub._failure_within(0.2, "http://hub.invalid") == "no answer within 0.2 s"
    answer.set()


def test_local_data_and_model_ask_nobody(local_hub: LocalHub, tiny_model: Path, tmp_path: Path, write_csv) -> None:
    rows = write_csv(tmp_path / "rows.csv", ("text", "label"), labelled_sentences(16, seed=4))
    files = {"train_file": rows, "validation_file": rows}
    settings = {"max_steps": 1, "model_name_or_path": tiny_model, "save_strategy": "no"}
    assert classify(tmp_path / "run", **files, **settings) == 0
    assert predict(tmp_path / "run", "--text", "a good book") == 0
    assert not local_hub.requests


@pytest.mark.launch
def test_a_hub_that_never_answers_costs_seconds_in_a_process_of_its_own(tmp_path: Path) -> None:
    """From the outside, with nothing replaced: a server that takes the connection and is silent."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        done = subprocess_of(
            [sys.executable, "-m", "bertlab", "predict", "someone/tiny", "--text", "a"],
            cwd=ROOT,
            HF_ENDPOINT=endpoint,
            HF_HUB_OFFLINE=None,
            HF_HOME=str(tmp_path),
        )
    assert done.returncode == 2
    assert "the Hub cannot be reached (no answer within 5 s)" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_upload_that_cannot_begin_stops_before_training(
    local_hub: LocalHub, tiny_model: Path, tmp_path: Path, write_csv, capfd
) -> None:
    local_hub.statuses["/api/repos/create"] = (401, BAD_TOKEN)
    rows = write_csv(tmp_path / "rows.csv", ("text", "label"), labelled_sentences(16, seed=4))
    settings = {"max_steps": 1, "push_to_hub": True, "hub_token": TOKEN, "model_name_or_path": tiny_model}
    assert classify(tmp_path / "run", train_file=rows, validation_file=rows, **settings) == 2
    error = capfd.readouterr().err
    assert "error: --push_to_hub: nothing can be uploaded" in error
    assert TOKEN not in error
    assert not list((tmp_path / "run").rglob("*.safetensors"))


@pytest.fixture(scope="module")
def run(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a classifier's folder: the tiny model with a head that was never trained."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder = tmp_path_factory.mktemp("network") / "run"
    AutoModelForSequenceClassification.from_pretrained(tiny_model, num_labels=2).save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny_model).save_pretrained(folder)
    return folder
