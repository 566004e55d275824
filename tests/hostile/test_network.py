"""Without a network nothing waits; a Hub that fails is one line of error."""

import importlib
import json
import os
import re
import shutil
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub import constants
from local_hub import LocalHub
from running import ROOT, classify, labelled_sentences, predict, save_classifier, subprocess_of

from bertlab import hub
from bertlab.commands import check

pytestmark = pytest.mark.slow

TOKEN = "hf_abcdefghijklmnopqrstuvwxyz"


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
    assert any(re.match("GET .*/model.safetensors", line) for line in local_hub.requests)
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
        (407, {}, "the proxy wants a password (407)", "Name a folder"),
        (500, {}, "the Hub is out of order (500)", "Try again later"),
        (503, {"Retry-After": "60"}, "the Hub is out of order (503)", "set HF_HUB_OFFLINE=1 if it is in the cache"),
    ],
)
def test_every_refusal_of_the_hub_is_one_line(
    local_hub: LocalHub, refused, monkeypatch, status: int, headers: dict[str, str], problem: str, hint: str
) -> None:
    local_hub.statuses["someone/tiny"] = (status, headers)
    if status == 407:  # given up before the libraries are imported, which read this once
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    error = refused("someone/tiny", "--token", TOKEN)
    assert "the model someone/tiny" in error
    assert problem in error
    assert hint in error
    assert TOKEN not in error


@pytest.mark.parametrize("refusal", [(401, GATED), (403, {"X-Error-Message": "No"})])
def test_the_token_that_a_refusal_asks_for_opens_model_and_data(
    local_hub: LocalHub, run: Path, refused, tiny_model, tmp_path, write_csv, capfd, refusal: tuple[int, dict[str, str]]
) -> None:
    films(tmp_path / "films", write_csv)
    local_hub.repositories |= {"someone/tiny": run, "datasets/someone/films": tmp_path / "films"}
    local_hub.token, local_hub.refusal = TOKEN, refusal
    assert "--token" in refused("someone/tiny", "--token", "hf_of_another")
    assert predict("someone/tiny", "--text", "a good book", "--token", TOKEN) == 0
    data = ("--dataset_name", "someone/films", "--dataset_config_name", "old", "--model_name_or_path", str(tiny_model))
    assert check.main([*data, "--token", "hf_of_another"]) == 2
    assert "--token" in capfd.readouterr().err
    assert check.main([*data, "--token", TOKEN]) == 0


def test_without_the_revision_that_is_not_there_a_model_is_loaded(local_hub: LocalHub, run: Path, refused) -> None:
    local_hub.repositories["someone/tiny"] = run
    local_hub.statuses["nowhere"] = (404, {"X-Error-Code": "RevisionNotFound"})
    assert refused("someone/tiny", "--model_revision", "nowhere").endswith("Check --model_revision, or leave it out.")
    assert predict("someone/tiny", "--text", "a good book") == 0


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
    local_hub: LocalHub, run: Path, refused, name: str, near: str
) -> None:
    (Path(constants.HF_HUB_CACHE) / "models--someone--my-own-model").mkdir(parents=True)
    assert f"Did you mean {near!r}?" in refused(name)
    if name == "roberta-base":
        local_hub.repositories[near] = run
        assert predict(near, "--text", "a good book") == 0


def test_a_name_like_no_other_gets_no_guess(local_hub: LocalHub, refused) -> None:
    error = refused("someone/zzzzqqq")
    assert "Did you mean" not in error
    assert "Names are listed at" in error


@pytest.mark.parametrize("name", ["my model", "modelle/größe"])
def test_a_name_that_no_repository_can_have_is_not_taken_for_a_missing_network(name, local_hub: LocalHub, refused):
    shown = refused(name)
    assert f"the model {name} cannot be loaded: " in shown and "cannot be reached" not in shown
    assert local_hub.requests


def test_a_download_that_breaks_off_says_so_and_can_be_called_again(local_hub: LocalHub, run: Path, refused) -> None:
    local_hub.repositories["someone/tiny"] = run
    local_hub.broken = "model.safetensors"
    error = refused("someone/tiny")
    assert "the download of the model someone/tiny broke off. Run the same command again: files that are whole" in error
    local_hub.broken = ""
    local_hub.requests.clear()
    assert predict("someone/tiny", "--text", "a good book") == 0
    fetched = {line.rpartition("/")[2] for line in local_hub.requests if line.startswith("GET") and "/resolve/" in line}
    assert fetched == {"model.safetensors"}


UNAVAILABLE = (503, {"Retry-After": "1"})


def test_one_bad_answer_is_asked_for_again(local_hub: LocalHub, run: Path, capfd) -> None:
    local_hub.repositories["someone/tiny"] = run
    local_hub.once["/api/models/someone/tiny"] = UNAVAILABLE
    assert predict("someone/tiny", "--text", "a good book") == 0
    assert "cannot be reached" not in capfd.readouterr().err


def test_one_slow_answer_is_waited_for_again(local_hub: LocalHub, run: Path, monkeypatch, capfd) -> None:
    answers = [f"{hub.NO_ANSWER} within 3 s", None]
    monkeypatch.setattr(hub, "_failure_within", lambda *_: answers.pop(0))
    local_hub.repositories["someone/tiny"] = run
    assert predict("someone/tiny", "--text", "a good book") == 0
    assert not answers
    assert "cannot be reached" not in capfd.readouterr().err


def test_a_hub_that_is_out_of_order_is_given_up_where_the_cache_has_the_model(
    local_hub: LocalHub, run: Path, capfd
) -> None:
    local_hub.repositories["someone/tiny"] = run
    assert predict("someone/tiny", "--text", "a good book") == 0
    local_hub.statuses[""] = UNAVAILABLE
    local_hub.requests.clear()
    capfd.readouterr()
    assert predict("someone/tiny", "--text", "a good book") == 0
    error = capfd.readouterr().err
    assert "it answers 503 (Service Unavailable); using only what is on this disk." in error
    assert len(local_hub.requests) == 2


def test_a_model_in_the_cache_without_its_weights_is_asked_for(local_hub: LocalHub, run: Path, refused) -> None:
    local_hub.repositories["someone/tiny"] = run
    local_hub.broken = "model.safetensors"
    refused("someone/tiny")
    local_hub.statuses["/api/models/someone/tiny"] = UNAVAILABLE
    local_hub.broken = ""
    assert predict("someone/tiny", "--text", "a good book") == 0


def test_a_data_set_in_the_cache_is_used_while_the_hub_is_out_of_order(
    local_hub: LocalHub, tiny_model: Path, tmp_path: Path, write_csv, capfd
) -> None:
    """Of another configuration of it the cache has nothing, so that one is asked for."""
    local_hub.repositories["datasets/someone/films"] = films(tmp_path / "films", write_csv)
    settings = {"dataset_name": "someone/films", "model_name_or_path": tiny_model, "max_steps": 1}
    assert classify(tmp_path / "first", **settings, dataset_config_name="old") == 0
    local_hub.statuses[""] = UNAVAILABLE
    assert classify(tmp_path / "other", **settings, dataset_config_name="new") == 2
    assert "the data set someone/films: the Hub cannot be reached (it answers 503" in capfd.readouterr().err
    local_hub.requests.clear()
    assert classify(tmp_path / "again", **settings, dataset_config_name="old") == 0
    assert len(local_hub.requests) == 2


@pytest.mark.parametrize("variable", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_either_variable_keeps_from_the_hub(local_hub: LocalHub, refused, monkeypatch, variable: str) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setenv(variable, "1")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)  # read once, when the library is imported
    assert f"is not in the cache and the Hub cannot be reached ({variable} is set)" in refused("someone/tiny")
    assert not local_hub.requests


def test_a_download_shows_its_progress(local_hub: LocalHub, run: Path, monkeypatch, capfd) -> None:
    monkeypatch.setenv("TQDM_POSITION", "-1")  # bars are shown in a pipe, too
    local_hub.repositories["someone/tiny"] = run
    assert predict("someone/tiny", "--text", "a good book") == 0
    assert re.search(r"model\.safetensors: 100%", capfd.readouterr().err)


def test_converted_weights_are_used_and_found_again_without_the_hub(
    local_hub: LocalHub, run: Path, tmp_path: Path, monkeypatch, capfd
) -> None:
    """A model with pickled weights, and the pull request in which the Hub's bot has converted them."""
    shutil.copytree(run, tmp_path / "pickled", ignore=shutil.ignore_patterns("*.safetensors"))
    (tmp_path / "pickled" / "pytorch_model.bin").write_bytes(b"not read")
    local_hub.repositories |= {"someone/old": tmp_path / "pickled", "someone/old@refs/pr/1": run}
    assert predict("someone/old", "--format", "jsonl", "--text", "a good book") == 0
    first = capfd.readouterr().out
    assert not any("pytorch_model.bin" in line and line.startswith("GET") for line in local_hub.requests)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    local_hub.requests.clear()
    assert predict("someone/old", "--format", "jsonl", "--text", "a good book") == 0
    assert capfd.readouterr().out == first
    assert not local_hub.requests


def test_pickled_weights_that_nobody_converted_are_refused(
    local_hub: LocalHub, run: Path, tmp_path: Path, monkeypatch, refused
) -> None:
    shutil.copytree(run, tmp_path / "pickled", ignore=shutil.ignore_patterns("*.safetensors"))
    (tmp_path / "pickled" / "pytorch_model.bin").write_bytes(b"not read")
    local_hub.repositories["someone/old"] = tmp_path / "pickled"
    error = refused("someone/old", "--token", TOKEN)
    assert "someone/old has no model.safetensors; pickled weights are not read" in error
    assert all("someone/old" in line for line in local_hub.requests)


def films(folder: Path, write_csv) -> Path:
    """Write a data set with the configurations old and new."""
    for name in ("old", "new"):
        write_csv(folder / name / "train.csv", ("text", "label"), labelled_sentences(16, seed=2))
    configurations = [{"config_name": name, "data_files": f"{name}/train.csv"} for name in ("old", "new")]
    (folder / "README.md").write_text(f"---\nconfigs: {json.dumps(configurations)}\n---\n", encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("configuration", "says"),
    [
        (None, "has several configurations, and none is named. --dataset_config_name takes old, new."),
        ("nwe", "has no configuration 'nwe'. Did you mean 'new'? --dataset_config_name takes old, new."),
        ("xyz", "has no configuration 'xyz'. --dataset_config_name takes old, new."),
    ],
)
def test_the_configurations_of_a_data_set_are_named(
    local_hub: LocalHub, tiny_model: Path, tmp_path: Path, write_csv, capfd, configuration: str | None, says: str
) -> None:
    local_hub.repositories["datasets/someone/films"] = films(tmp_path / "films", write_csv)
    names = {"dataset_name": "someone/films", "dataset_config_name": configuration}
    assert classify(tmp_path / "run", model_name_or_path=tiny_model, **names) == 2
    error = capfd.readouterr().err
    assert f"error: the data set someone/films {says}" in error
    (named,) = re.findall(r"--dataset_config_name takes (\w+),", error)
    data = ("--dataset_name", "someone/films", "--dataset_config_name", named)
    assert check.main([*data, "--model_name_or_path", str(tiny_model)]) == 0


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("imdb", "Did you mean 'stanfordnlp/imdb'?"),
        ("glue", "Did you mean 'nyu-mll/glue'?"),
        ("ag_news", "Did you mean 'fancyzhx/ag_news'?"),
        ("amazon_polarity", "Did you mean 'fancyzhx/amazon_polarity'?"),
        ("someone/zzzzqqq", "/datasets. A private one needs --token or HF_TOKEN."),
    ],
)
def test_a_data_set_that_is_not_on_the_hub_is_answered_with_the_nearest(
    local_hub: LocalHub, tiny_model: Path, tmp_path: Path, write_csv, capfd, name: str, hint: str
) -> None:
    assert classify(tmp_path / "run", model_name_or_path=tiny_model, dataset_name=name) == 2
    (error,) = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error: ")]
    assert f"the data set {name} is not on the Hub" in error
    assert hint in error
    if name == "imdb":
        (near,) = re.findall(r"Did you mean '(.*?)'", error)
        local_hub.repositories[f"datasets/{near}"] = films(tmp_path / "films", write_csv)
        data = ("--dataset_name", near, "--dataset_config_name", "old", "--model_name_or_path", str(tiny_model))
        assert check.main(list(data)) == 0


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
    assert "the Hub cannot be reached (no answer within 7 s)" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_upload_that_cannot_begin_stops_before_training(
    local_hub: LocalHub, tiny_model: Path, tmp_path: Path, write_csv, capfd
) -> None:
    local_hub.token, local_hub.refusal = "hf_that_may_write", (401, BAD_TOKEN)
    rows = write_csv(tmp_path / "rows.csv", ("text", "label"), labelled_sentences(16, seed=4))
    settings = {"max_steps": 1, "push_to_hub": True, "hub_token": TOKEN, "model_name_or_path": tiny_model}
    assert classify(tmp_path / "run", train_file=rows, validation_file=rows, **settings) == 2
    error = capfd.readouterr().err
    assert "error: --push_to_hub: nothing can be uploaded: the Hub takes uploads only with a token that may" in error
    assert "/settings/tokens and pass it as --hub_token, or log in" in error
    assert TOKEN not in error
    assert not list((tmp_path / "run").rglob("*.safetensors"))
    files = {"train_file": rows, "validation_file": rows, "overwrite_output_dir": True}
    assert classify(tmp_path / "run", **files, **{**settings, "hub_token": local_hub.token}) == 0
    assert local_hub.uploads


def test_an_upload_without_a_network_says_that_the_hub_cannot_be_reached() -> None:
    from huggingface_hub.errors import HTTPError

    client = importlib.import_module(HTTPError.__module__.partition(".")[0])  # httpx or its successor
    said = str(hub.upload_error(client.ConnectError("Name or service not known")))
    problem = "--push_to_hub: nothing can be uploaded: the repository of --hub_model_id: the Hub at "
    assert said.startswith(problem) and "can no longer be reached. Check the network" in said


@pytest.mark.parametrize(("status", "kind"), [(404, "RepositoryNotFoundError"), (402, "HfHubHTTPError")])
def test_what_the_hub_says_against_a_new_repository_is_told(status: int, kind: str) -> None:
    from huggingface_hub import errors

    client = importlib.import_module(errors.HTTPError.__module__.partition(".")[0])
    response = client.Response(status, request=client.Request("POST", "https://huggingface.co/api/repos/create"))
    error = getattr(errors, kind)("Client error", response=response, server_message="There is no namespace 'nobody'.")
    assert str(hub.upload_error(error)) == (
        "--push_to_hub: nothing can be uploaded: There is no namespace 'nobody'. "
        "Name the repository: --hub_model_id OWNER/NAME."
    )


@pytest.fixture(scope="module")
def run(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a classifier's folder: the tiny model with a head that was never trained."""
    return save_classifier(tiny_model, tmp_path_factory.mktemp("network") / "run")
