"""The Hub: one request shows whether it can be reached, so that its absence costs seconds; its errors as UserErrors."""

import ast
import os
import re
import ssl
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from bertlab.console import warning
from bertlab.errors import UserError, causes, first_line, nearest

# huggingface_hub retries five times with growing pauses: 23 s per file before it gives up. The probe has two trials.
PROBE_SECONDS = (3.0, 7.0)
PAUSE_SECONDS = 1.0
# Candidates for "Did you mean", besides the models in the cache; the Hub is not searched.
WELL_KNOWN = {
    kind: Path(__file__).with_name(f"well_known_{file}.txt")
    for kind, file in (("model", "models"), ("data set", "data"))
}
NO_ANSWER, OUT_OF_ORDER = "no answer", "it answers 5"
PROXY_PASSWORD = "the proxy wants a password (407): HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT"
# Statuses that huggingface_hub has no type for: what the Hub does, and what to do.
STATUSES = {
    401: ("does not accept the token", "Log in again with `hf auth login`, pass another --token, or unset HF_TOKEN."),
    403: ("refuses access", "Pass --token with a token that has the right to read it."),
    407: ("is behind a proxy that wants a password", "Set HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT."),
    429: ("allows no more requests for now", "Wait some minutes, or log in with `hf auth login` for a higher limit."),
}
# The environment variable with the reason for which this process, and those it starts, went offline.
OFFLINE_REASON = "BERTLAB_OFFLINE_REASON"


def is_path(name: str) -> bool:
    """Return True for a name that can only be a path, existing or not: the Hub's names are OWNER/NAME.

    A name in runs/, the default place of runs, is one too.
    """
    return name.startswith((".", "/", "~", "runs/")) or name.count("/") > 1


def is_local(name: str | None) -> bool:
    """Return True if a model or data set name needs no Hub: nothing, a folder, or a path inside a pip package."""
    return name is None or name.startswith("package:") or is_path(name) or Path(name).expanduser().exists()


def go_offline_if_unreachable(
    *models: str | None, dataset: tuple[str | None, str | None] = (None, None), cache_dir: str | None = None
) -> None:
    """Ask the Hub about the first of these names that needs it; use the cache alone if there is no good answer.

    `dataset` is a name and a configuration. A slow answer, or a status of 500 and above, is asked for again. A Hub that
    is only out of order is given up where the cache has all that is named; else its client is left to try on.

    Must run before `datasets` or `transformers` is imported: they read HF_HUB_OFFLINE once.
    """
    names = [name for name in models if name is not None and not is_local(name)]
    data = None if is_local(dataset[0]) else dataset[0]
    if offline() or not (names or data):
        return
    url = _page("models", names[0]) if names else _page("datasets", data or "")
    reason = _failure_within(PROBE_SECONDS[0], url)
    if reason and reason.startswith((NO_ANSWER, OUT_OF_ORDER)):
        time.sleep(PAUSE_SECONDS)
        reason = _failure_within(PROBE_SECONDS[1], url)
    is_passing = bool(reason and reason.startswith(OUT_OF_ORDER))
    if reason is None or (is_passing and not _is_cached(names, data, dataset[1], cache_dir)):
        return
    warning(f"the Hub at {_endpoint()} cannot be reached: {reason}; using only what is on this disk.")
    os.environ[OFFLINE_REASON] = reason
    os.environ["HF_HUB_OFFLINE"] = "1"
    from huggingface_hub import constants

    constants.HF_HUB_OFFLINE = True  # it has read the variable, if the cache was looked at


def offline() -> bool:
    """Return True if the Hub's libraries use their cache alone."""
    return os.environ.get(_offline_variable(), "").upper() in ("1", "TRUE", "YES", "ON")


def _offline_variable() -> str:
    return "HF_HUB_OFFLINE" if os.environ.get("HF_HUB_OFFLINE") else "TRANSFORMERS_OFFLINE"


def _is_cached(models: list[str], dataset: str | None, configuration: str | None, cache_dir: str | None) -> bool:
    """Return True if the cache has the weights of the first model, something of the others, and the data set."""
    from huggingface_hub import constants

    wanted = [(name, "*.json" if index else "*.safetensors") for index, name in enumerate(models)]
    data = Path(cache_dir or os.environ.get("HF_DATASETS_CACHE") or f"{constants.HF_HOME}/datasets")
    return all(_snapshots(name, cache_dir, pattern) for name, pattern in wanted) and (
        dataset is None or any(data.glob(f"{dataset.replace('/', '___')}/{configuration or '*'}"))
    )


def _snapshots(model: str, cache_dir: str | None, pattern: str) -> list[Path]:
    """Return the snapshots of a model in the cache that have a file of a pattern."""
    from huggingface_hub import constants

    folder = Path(cache_dir or constants.HF_HUB_CACHE) / f"models--{model.replace('/', '--')}" / "snapshots"
    return sorted({file.parent for file in folder.glob(f"*/{pattern}")})


def converted_weights(model: str, token: str | None, cache_dir: str | None) -> str | None:
    """Return where the safetensors of a model with pickled weights are: the pull request of the Hub's bot, or None.

    transformers finds it only online, and where there is none posts model and token to a Space that would convert it.
    """
    from huggingface_hub import HfApi
    from transformers.safetensors_conversion import previous_pr

    if offline():
        return next((folder.name for folder in _snapshots(model, cache_dir, "*.safetensors")), None)
    found = previous_pr(HfApi(token=token), model, "Adding `safetensors` variant of this model", token)  # type: ignore[arg-type]
    return found.git_reference if found and found.author == "SFconvertbot" else None


def card_metadata(model: str | None, dataset: str | None) -> dict[str, Any]:
    """Return what the Hub's cards of a base model and of a data set say of licence and language.

    The licence is the base model's, the language that of the data, or else of the base model.
    """
    from huggingface_hub import HfApi

    def card(ask: Callable[[str], Any], name: str | None) -> dict[str, Any]:
        with suppress(Exception):  # whatever the client raises, the card does without
            return dict(ask(name).card_data.to_dict()) if name else {}
        return {}

    base, data = card(HfApi().model_info, model), card(HfApi().dataset_info, dataset)
    known = {key: base.get(key) for key in ("license", "license_name", "license_link")}
    known["language"] = data.get("language") or base.get("language")
    return {key: value for key, value in known.items() if value}


def dataset_error(name: str, error: Exception) -> UserError:
    """Return the error for a data set that could not be loaded from the Hub or a folder."""
    from datasets.exceptions import DatasetNotFoundError

    if "scripts are no longer supported" in str(error):
        return UserError(
            f"--dataset_name {name} is a loading script; a script could run any code, so none is ever run.",
            "Name the files it would load: --train_file (CSV, TSV, JSON, JSON lines or Parquet).",
        )
    if is_local(name):
        return UserError(f"--dataset_name {name} cannot be loaded: {first_line(error)}.", "Name files: --train_file.")
    if offline():
        return UserError(
            f"the data set {name} is not in the cache and the Hub cannot be reached ({_why_offline()}).",
            _did_you_mean("data set", name)
            + "Name its files with --train_file, or for a --task their folder with --data_dir (and a local "
            "--model_name_or_path), run once with the network, or try `make demo`, which needs no Hub.",
        )
    if isinstance(error, DatasetNotFoundError):  # raised `from None`: of huggingface_hub's error only the text is left
        return _gated("data set", name) if "gated" in str(error) else _unknown_name("data set", name)
    reason = _failure_within(PROBE_SECONDS[0], _page("datasets", name)) if "hf://" in str(error) else None
    if reason:  # `datasets` takes files for missing that the Hub does not list
        return UserError(f"the data set {name}: the Hub cannot be reached ({reason}).", "Try again later.")
    listed = re.search(r"(?:available configs|Available): (\[.*\])", str(error))
    if listed:
        return _configuration_error(name, ast.literal_eval(listed[1]), str(error))
    return _hub_error("data set", name, error) or UserError(
        f"the data set {name} cannot be loaded from the Hub: {first_line(error)}.", "Check --dataset_name and --token."
    )


def _configuration_error(name: str, configurations: list[str], text: str) -> UserError:
    unknown = re.search(r"BuilderConfig '(.*)' not found", text)
    problem = f"has no configuration {unknown[1]!r}." if unknown else "has several configurations, and none is named."
    near = nearest(unknown[1], configurations) if unknown else None
    hint = f"Did you mean {near!r}? " if near else ""
    return UserError(
        f"the data set {name} {problem}", f"{hint}--dataset_config_name takes {', '.join(configurations)}."
    )


def model_error(name: str, error: Exception) -> UserError:
    """Return the error for a model or tokenizer that could not be loaded."""
    if "custom code" in str(error) or "trust_remote_code" in str(error):
        return custom_code_error(name)
    if not is_local(name) and "does not appear to have a file named" in str(error) and "safetensors" in str(error):
        return UserError(
            f"{name} has no model.safetensors; pickled weights are not read, since they can run code.",
            "Convert it at https://huggingface.co/spaces/safetensors/convert, or name another model.",
        )
    if not is_local(name) and offline():
        near = nearest(name, _cached_models())
        return UserError(
            f"the model {name} is not in the cache and the Hub cannot be reached ({_why_offline()}).",
            (f"Did you mean {near!r}, which is in the cache? " if near else "")
            + "Name a folder or package:IMPORT_NAME/path in its place (and files, if the data is on the Hub too), run "
            "once with the network to fill the cache, or try `make demo`, which needs no Hub.",
        )
    return (None if is_local(name) else _hub_error("model", name, error)) or UserError(
        f"the model {name} cannot be loaded: {first_line(error)}.", "Name a folder or a Hub model."
    )


def custom_code_error(name: str) -> UserError:
    """Return the error for a model or tokenizer with Python code of its own."""
    return UserError(
        f"{name} names code of its own in its configuration (auto_map), which would run on this machine.",
        "Choose a model that transformers knows, or read that code and pass --trust_remote_code.",
    )


def upload_error(error: Exception) -> UserError:
    """Return the error for a repository that cannot be created on the Hub before training begins."""
    from huggingface_hub.errors import HFValidationError

    hint = f"Make a token at {_endpoint()}/settings/tokens and pass it as --hub_token, or log in with `hf auth login`."
    status = _status(error)
    if status in (401, 403):
        reason = f"the Hub takes uploads only with a token that may write ({status})."
    elif isinstance(error, HFValidationError) or (400 <= status < 500 and status not in STATUSES):
        answer = getattr(error, "server_message", None) or first_line(error)
        reason, hint = f"{answer.rstrip('.')}.", "Name the repository: --hub_model_id OWNER/NAME."
    else:
        explained = _hub_error("repository", "of --hub_model_id", error)
        reason, hint = (explained.problem, explained.hint) if explained else (f"{first_line(error)}.", hint)
    return UserError(f"--push_to_hub: nothing can be uploaded: {reason}", hint)


def _endpoint() -> str:
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


def _page(kind: str, name: str) -> str:
    """Return where the Hub tells of a model or data set; a name that it would not take is asked for as well."""
    return f"{_endpoint()}/api/{kind}/{urllib.parse.quote(name)}"


def _why_offline() -> str:
    return os.environ.get(OFFLINE_REASON) or f"{_offline_variable()} is set"


def _failure_within(seconds: float, url: str) -> str | None:
    """Request one header; return why the Hub cannot be used, or None.

    In a thread of its own: no time limit of a socket holds for the resolution of a name, which may take half a minute.
    """
    answer: list[str | None] = []
    thread = threading.Thread(target=lambda: answer.append(_failure(seconds, url)), daemon=True)
    thread.start()
    thread.join(1.2 * seconds)
    return answer[0] if answer else f"{NO_ANSWER} within {seconds:g} s"


def _failure(seconds: float, url: str) -> str | None:
    try:
        # An opener of its own: urlopen keeps the proxies of its first call.
        urllib.request.build_opener().open(urllib.request.Request(url, method="HEAD"), timeout=seconds).close()
    except urllib.error.HTTPError as error:
        if error.code == 407:
            return PROXY_PASSWORD
        # A name that is unknown, gated or private is for the Hub's own client to explain.
        return f"{OUT_OF_ORDER}{error.code % 100:02} ({error.reason})" if error.code >= 500 else None
    except (OSError, ValueError) as error:
        return _connection_failure(getattr(error, "reason", error), seconds)
    return None


def _connection_failure(cause: object, seconds: float) -> str:
    if "407" in str(cause):
        return PROXY_PASSWORD
    proxy = " (through the proxy of HTTPS_PROXY)" if urllib.request.getproxies() else ""
    if isinstance(cause, TimeoutError):
        return f"{NO_ANSWER} within {seconds:g} s{proxy}"
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {cause.verify_message}; SSL_CERT_FILE names another set"
    return f"{getattr(cause, 'strerror', None) or cause or type(cause).__name__}{proxy}"


def _hub_error(kind: str, name: str, error: Exception) -> UserError | None:
    """Return the error for what huggingface_hub raised by a type or a status, or None for any other error."""
    from huggingface_hub import errors

    chain = list(causes(error))

    def is_a(*types: type[BaseException]) -> bool:
        return any(isinstance(cause, types) for cause in chain)

    status = _status(error)
    if is_a(errors.GatedRepoError):
        return _gated(kind, name)
    if is_a(errors.RevisionNotFoundError):
        return UserError(f"the {kind} {name} has no such revision.", "Check --model_revision, or leave it out.")
    # To a stranger the Hub answers 401 for what is private and for what does not exist.
    unknown = status == 401 and not any("credentials" in str(cause) for cause in chain)
    if unknown or is_a(errors.RepositoryNotFoundError):
        return _unknown_name(kind, name)
    if status in STATUSES:
        problem, hint = STATUSES[status]
        return UserError(f"the {kind} {name}: the Hub {problem} ({status}).", hint)
    if status >= 500:
        return UserError(
            f"the {kind} {name}: the Hub is out of order ({status}).",
            "Try again later, or set HF_HUB_OFFLINE=1 if it is in the cache.",
        )
    # ConnectError, like HTTPError, is httpx's or its successor's, whichever this huggingface_hub uses.
    if is_a(errors.LocalEntryNotFoundError, ConnectionError) or any(type(c).__name__ == "ConnectError" for c in chain):
        return UserError(
            f"the {kind} {name}: the Hub at {_endpoint()} can no longer be reached.",
            "Check the network and HTTPS_PROXY, or set HF_HUB_OFFLINE=1 if it is in the cache.",
        )
    if is_a(errors.HTTPError) or "Consistency check failed" in str(error):
        return UserError(
            f"the download of the {kind} {name} broke off.",
            "Run the same command again: files that are whole are kept, the one that broke off starts again.",
        )
    return None


def _status(error: Exception) -> int:
    """Return the status that the Hub answered with, or 0."""
    from huggingface_hub.errors import HfHubHTTPError

    return next((cause.response.status_code for cause in causes(error) if isinstance(cause, HfHubHTTPError)), 0)


def _gated(kind: str, name: str) -> UserError:
    page = f"{_endpoint()}/{'datasets/' if kind == 'data set' else ''}{name}"
    return UserError(
        f"the {kind} {name} is gated: its owner has to grant access.",
        f"Ask for it at {page}, then `hf auth login`, --token or HF_TOKEN with the token of that account.",
    )


def _unknown_name(kind: str, name: str) -> UserError:
    page = f"{_endpoint()}/{'datasets' if kind == 'data set' else 'models'}"
    hint = _did_you_mean(kind, name) or f"Names are listed at {page}. "
    return UserError(
        f"the {kind} {name} is not on the Hub, or it is private.", hint + "A private one needs --token or HF_TOKEN."
    )


def _did_you_mean(kind: str, name: str) -> str:
    """Return a question for the nearest well-known name of a model or data set, or nothing."""
    names = WELL_KNOWN[kind].read_text(encoding="utf-8").split() + (_cached_models() if kind == "model" else [])
    # The Hub has given an owner to names without one.
    same = (full for full in names if full.rpartition("/")[2] == name.rpartition("/")[2] and full != name)
    near = next(same, None) or nearest(name, names)
    return f"Did you mean {near!r}? " if near and near != name else ""


def _cached_models() -> list[str]:
    """Return the names of the models in the local cache."""
    from huggingface_hub import constants

    folders = sorted(Path(constants.HF_HUB_CACHE).glob("models--*"))
    return [folder.name.removeprefix("models--").replace("--", "/") for folder in folders]
