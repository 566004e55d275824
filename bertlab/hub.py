"""The Hub, asked at most once whether it can be reached, so that its absence costs seconds and not minutes."""

import os
import urllib.error
import urllib.request
from pathlib import Path

from bertlab.console import notice
from bertlab.errors import UserError

# huggingface_hub retries five times with growing pauses: 23 s per file before it gives up.
PROBE_SECONDS = 5.0


def is_local(name: str | None) -> bool:
    """Return True if a model or data set name needs no Hub: nothing, a folder, or a path inside a pip package."""
    return name is None or name.startswith("package:") or Path(name).exists()


def go_offline_if_unreachable(*names: str | None) -> None:
    """Where one of these names needs the Hub, ask it for one header, and use the cache alone if there is no answer.

    Must run before `datasets` or `transformers` is imported: they read HF_HUB_OFFLINE once.
    """
    if offline() or all(is_local(name) for name in names):
        return
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    try:
        urllib.request.urlopen(urllib.request.Request(endpoint, method="HEAD"), timeout=PROBE_SECONDS).close()
    except urllib.error.HTTPError:
        return
    except (OSError, ValueError) as error:
        notice(f"the Hub at {endpoint} cannot be reached ({error}); using only what is already on this disk.")
        os.environ["HF_HUB_OFFLINE"] = "1"


def offline() -> bool:
    """Return True if the Hub's libraries are told to use their cache alone."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "TRUE", "YES", "ON")


def dataset_error(name: str, error: Exception) -> UserError:
    """Return what to tell a user whose data set could not be loaded from the Hub."""
    reason = _reason(error)
    if offline():
        return UserError(
            f"the data set {name} is not in the cache and the Hub cannot be asked.",
            "Ways out: --data_dir FOLDER with the files (and a local --model_name_or_path), run once with the "
            "network to fill the cache, or `make demo`, which needs no Hub.",
        )
    return UserError(
        f"the data set {name} cannot be loaded from the Hub: {reason}", "Check --dataset_name and --token."
    )


def model_error(name: str, error: Exception) -> UserError:
    """Return what to tell a user whose model or tokenizer could not be loaded."""
    if offline() and not is_local(name):
        return UserError(
            f"the model {name} is not in the cache and the Hub cannot be asked.",
            "Ways out: --model_name_or_path with a folder or package:IMPORT_NAME/path (and --data_dir, where the "
            "data would come from the Hub too), run once with the network to fill the cache, or `make demo`, which "
            "needs no Hub.",
        )
    return UserError(
        f"--model_name_or_path {name} cannot be loaded: {_reason(error)}", "Name a folder or a Hub model."
    )


def _reason(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return (text[0] if text else type(error).__name__)[:300].rstrip(".") + "."
