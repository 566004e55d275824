"""The Hub: asked once whether it can be reached, so that its absence costs seconds; its failures said in one line."""

import os
import socket
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Iterable
from pathlib import Path

from bertlab.console import warning
from bertlab.errors import UserError, causes, nearest

# huggingface_hub retries five times with growing pauses: 23 s per file before it gives up.
PROBE_SECONDS = 5.0
# What a misspelt name is compared with, beside what is in the cache; the Hub is not searched.
WELL_KNOWN_MODELS = tuple(
    f"{owner}/{model}"
    for owner, models in (
        ("google-bert", "bert-base-uncased bert-base-cased bert-large-uncased bert-large-cased bert-base-chinese"),
        ("google-bert", "bert-base-multilingual-cased bert-base-multilingual-uncased bert-base-german-cased"),
        ("google", "bert_uncased_L-2_H-128_A-2 bert_uncased_L-4_H-256_A-4 bert_uncased_L-4_H-512_A-8"),
        ("google", "electra-small-discriminator electra-base-discriminator electra-large-discriminator"),
        ("distilbert", "distilbert-base-uncased distilbert-base-cased distilroberta-base"),
        ("FacebookAI", "roberta-base roberta-large xlm-roberta-base xlm-roberta-large"),
        ("albert", "albert-base-v2 albert-large-v2"),
        ("microsoft", "deberta-base deberta-v3-small deberta-v3-base deberta-v3-large mdeberta-v3-base"),
        ("microsoft", "MiniLM-L12-H384-uncased mpnet-base"),
        ("nreimers", "MiniLM-L6-H384-uncased"),
        ("sentence-transformers", "all-MiniLM-L6-v2"),
        ("answerdotai", "ModernBERT-base ModernBERT-large"),
        ("allenai", "scibert_scivocab_uncased"),
    )
    for model in models.split()
)
WELL_KNOWN_DATA = ("nyu-mll/glue", "aps/super_glue", "stanfordnlp/imdb", "stanfordnlp/sst2", "fancyzhx/ag_news")
PROXY_PASSWORD = "the proxy wants a password (407): HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT"
# Statuses that the Hub's client has no type for: what the Hub does, and the way out.
STATUSES = {
    401: ("does not accept the token", "Log in again with `hf auth login`, pass another --token, or unset HF_TOKEN."),
    403: ("refuses access", "Pass --token with a token that has the right to read it."),
    407: ("is behind a proxy that wants a password", "Set HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT."),
    429: ("allows no more requests for now", "Wait some minutes, or log in with `hf auth login` for a higher limit."),
}

# Why the Hub was given up in this process; nothing where the user has said to stay offline.
_given_up: list[str] = []


def is_path(name: str) -> bool:
    """Return True for a name that can only be a folder's, whether that is there or not: the Hub's are OWNER/NAME.

    So is one in runs/, where every run goes that names no other folder.
    """
    return name.startswith((".", "/", "~", "runs/")) or name.count("/") > 1


def is_local(name: str | None) -> bool:
    """Return True if a model or data set name needs no Hub: nothing, a folder, or a path inside a pip package."""
    return name is None or name.startswith("package:") or is_path(name) or Path(name).expanduser().exists()


def go_offline_if_unreachable(*models: str | None, dataset: str | None = None) -> None:
    """Where one of these names needs the Hub, ask about the first; use the cache alone if there is no good answer.

    Must run before `datasets` or `transformers` is imported: they read HF_HUB_OFFLINE once.
    """
    paths = [f"models/{name}" for name in models if not is_local(name)]
    paths += [f"datasets/{dataset}"] if not is_local(dataset) else []
    if offline() or not paths:
        return
    reason = _failure_within(PROBE_SECONDS, f"{_endpoint()}/api/{paths[0]}")
    if reason is not None:
        warning(f"the Hub at {_endpoint()} cannot be asked: {reason}; using only what is already on this disk.")
        _given_up.append(reason)
        os.environ["HF_HUB_OFFLINE"] = "1"


def offline() -> bool:
    """Return True if the Hub's libraries are told to use their cache alone."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "TRUE", "YES", "ON")


def dataset_error(name: str, error: Exception) -> UserError:
    """Return what to tell a user whose data set could not be loaded from the Hub or a folder."""
    if "scripts are no longer supported" in str(error):
        return UserError(
            f"--dataset_name {name} is a loading script; a script could run any code, so none is ever run.",
            "Name the files it would load: --train_file (CSV, TSV, JSON, JSON lines or Parquet).",
        )
    if is_local(name):
        return UserError(f"--dataset_name {name} cannot be loaded: {_reason(error)}", "Name files: --train_file.")
    if offline():
        return UserError(
            f"the data set {name} is not in the cache and the Hub cannot be asked ({_why_offline()}).",
            "Ways out: --data_dir FOLDER with the files (and a local --model_name_or_path), run once with the "
            "network to fill the cache, or `make demo`, which needs no Hub.",
        )
    return _hub_error("data set", name, error) or UserError(
        f"the data set {name} cannot be loaded from the Hub: {_reason(error)}", "Check --dataset_name and --token."
    )


def model_error(name: str, error: Exception) -> UserError:
    """Return what to tell a user whose model or tokenizer could not be loaded."""
    if "custom code" in str(error) or "trust_remote_code" in str(error):
        return custom_code_error(name)
    if not is_local(name) and offline():
        near = nearest(name, _cached_models())
        return UserError(
            f"the model {name} is not in the cache and the Hub cannot be asked ({_why_offline()}).",
            (f"Did you mean {near!r}, which is in the cache? " if near else "")
            + "Ways out: --model_name_or_path with a folder or package:IMPORT_NAME/path (and --data_dir, where the "
            "data would come from the Hub too), run once with the network to fill the cache, or `make demo`, which "
            "needs no Hub.",
        )
    known = None if is_local(name) else _hub_error("model", name, error)
    return known or UserError(
        f"--model_name_or_path {name} cannot be loaded: {_reason(error)}", "Name a folder or a Hub model."
    )


def custom_code_error(name: str) -> UserError:
    """Return the refusal of a model or tokenizer that brings Python code of its own."""
    return UserError(
        f"{name} names code of its own in its configuration (auto_map), which would run on this machine.",
        "Choose a model that transformers knows, or read that code and pass --trust_remote_code.",
    )


def upload_error(error: Exception) -> UserError:
    """Return what to tell a user whose repository cannot be made on the Hub before training begins."""
    known = _hub_error("repository", "of --hub_model_id", error)
    reason = known.problem if known else _reason(error)
    return UserError(
        f"--push_to_hub: nothing can be uploaded: {reason}", "Log in with `hf auth login`, or leave the flag out."
    )


def _endpoint() -> str:
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


def _why_offline() -> str:
    return _given_up[-1] if _given_up else "HF_HUB_OFFLINE is set"


def _failure_within(seconds: float, url: str) -> str | None:
    """Ask for one header; return why there is no use in asking for more, or None.

    In a thread of its own: no time limit reaches into the resolution of a name, which may take half a minute.
    """
    answer: list[str | None] = []
    thread = threading.Thread(target=lambda: answer.append(_failure(seconds, url)), daemon=True)
    thread.start()
    thread.join(1.2 * seconds)
    return answer[0] if answer else f"no answer within {seconds:g} s"


def _failure(seconds: float, url: str) -> str | None:
    try:
        # An opener of its own: urlopen keeps the proxies of its first call.
        urllib.request.build_opener().open(urllib.request.Request(url, method="HEAD"), timeout=seconds).close()
    except urllib.error.HTTPError as error:
        if error.code == 407:
            return PROXY_PASSWORD
        # A name that is unknown, gated or private is for the Hub's own client to explain.
        return f"it answers {error.code} ({error.reason})" if error.code >= 500 else None
    except (OSError, ValueError) as error:
        return _connection_failure(getattr(error, "reason", error), seconds)
    return None


def _connection_failure(cause: object, seconds: float) -> str:
    proxy = " through the proxy of HTTPS_PROXY" if urllib.request.getproxies() else ""
    if isinstance(cause, socket.gaierror):
        return f"the host's name cannot be resolved{proxy} (DNS)"
    if isinstance(cause, TimeoutError):
        return f"no answer within {seconds:g} s{proxy}"
    if isinstance(cause, ConnectionRefusedError):
        return f"the connection{proxy} is refused"
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({cause.verify_message}); SSL_CERT_FILE names another set"
    if "407" in str(cause):
        return PROXY_PASSWORD
    return f"{cause}{proxy}".strip() or type(cause).__name__


def _hub_error(what: str, name: str, error: Exception) -> UserError | None:
    """Return the line for a failure that the Hub's client names by a type or a status, or None for any other.

    Types go by their names: huggingface_hub has changed the library that defines them.
    """
    types = {base.__name__ for cause in causes(error) for base in type(cause).__mro__}
    status = next((found for found in map(_status, causes(error)) if found), 0)
    if "GatedRepoError" in types:
        page = f"{_endpoint()}/{'datasets/' if what == 'data set' else ''}{name}"
        return UserError(
            f"the {what} {name} is gated: its owner has to grant access ({status}).",
            f"Ask for it at {page}, then `hf auth login`, --token or HF_TOKEN with the token of that account.",
        )
    if "RevisionNotFoundError" in types:
        return UserError(f"the {what} {name} has no such revision.", "Check --model_revision, or leave it out.")
    # To a stranger the Hub answers 401 for what is private and for what does not exist.
    unknown = status == 401 and not any("credentials" in str(cause) for cause in causes(error))
    if unknown or types & {"RepositoryNotFoundError", "DatasetNotFoundError"}:
        return _unknown_name(what, name)
    if status in STATUSES:
        problem, hint = STATUSES[status]
        return UserError(f"the {what} {name}: the Hub {problem} ({status}).", hint)
    if status >= 500:
        return UserError(
            f"the {what} {name}: the Hub is out of order ({status}).",
            "Try again later, or set HF_HUB_OFFLINE=1 if it is in the cache.",
        )
    if "ProxyError" in types:
        return UserError(
            f"the {what} {name}: the proxy refuses ({_reason(list(causes(error))[-1])})",
            "Check HTTPS_PROXY and NO_PROXY.",
        )
    broken = "Consistency check failed" in str(error)
    if broken or types & {"RemoteProtocolError", "ReadError", "ReadTimeout"}:
        return UserError(f"the download of the {what} {name} broke off.", "Call again: it goes on where it stopped.")
    if types & {"ConnectError", "ConnectTimeout", "TimeoutException", "LocalEntryNotFoundError"}:
        return UserError(
            f"the {what} {name}: the Hub at {_endpoint()} cannot be reached any more.",
            "Check the network and HTTPS_PROXY, or set HF_HUB_OFFLINE=1 if it is in the cache.",
        )
    return None


def _unknown_name(what: str, name: str) -> UserError:
    known = WELL_KNOWN_DATA if what == "data set" else (*WELL_KNOWN_MODELS, *_cached_models())
    near = _moved(name, known) or nearest(name, known)
    hint = f"Did you mean {near!r}? " if near else f"Names are listed at {_endpoint()}/models. "
    return UserError(
        f"the {what} {name} is not on the Hub, or it is private.", hint + "A private one needs --token or HF_TOKEN."
    )


def _moved(name: str, known: Iterable[str]) -> str | None:
    """Return the known name with the same part after the owner: names without an owner have been given one."""
    return next((full for full in known if full.rpartition("/")[2] == name.rpartition("/")[2]), None)


def _cached_models() -> list[str]:
    """Return the names of the models in the local cache."""
    from huggingface_hub import constants

    folders = sorted(Path(constants.HF_HUB_CACHE).glob("models--*"))
    return [folder.name.removeprefix("models--").replace("--", "/") for folder in folders]


def _status(error: BaseException) -> int:
    return getattr(getattr(error, "response", None), "status_code", 0)


def _reason(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return (text[0] if text else type(error).__name__)[:300].rstrip(".") + "."
