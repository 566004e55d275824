"""Files of a run, written to a temporary name and renamed: no reader meets half a file."""

import contextlib
import importlib.util
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bertlab.errors import UserError, did_you_mean


@contextlib.contextmanager
def atomic(path: Path, hint: str = "") -> Iterator[Path]:
    """Yield a temporary path to write a file to, which is renamed at the end; its folder is created.

    `hint` is that of the error.

    Raises:
        UserError: the folder cannot be created, or the file cannot be written there.
    """
    # Not tempfile: only the owner may read its files, whatever the umask.
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
    except OSError as error:
        error.filename = error.filename or str(temporary)  # a full disk names no file
        hint = hint or f"Make {path.parent} writable, or name another place."
        raise UserError(f"{path} cannot be written: {error.strerror or error}.", hint) from error
    finally:
        with contextlib.suppress(OSError):  # renamed, or its folder could not be created
            temporary.unlink()


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically, creating its folder.

    Raises:
        UserError: it cannot be written.
    """
    with atomic(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file atomically, creating its folder.

    Raises:
        UserError: it cannot be written.
    """
    write_bytes(path, text.encode("utf-8"))


def no_such_model(name: str, label: str | None = None) -> UserError:
    """Return the error for a folder of a model, or of a run, that is not there, with those beside it."""
    folder = Path(name)
    beside = [path.parent.name for path in folder.parent.glob("*/config.json")]
    hint = did_you_mean(folder.name, beside, folder.parent) or "Name the folder of a model or of a finished run."
    return UserError(f"{label or name}: no such folder.", hint)


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file atomically; numbers that are not finite become null.

    Raises:
        UserError: it cannot be written.
    """
    write_text(path, json.dumps(plain(value), indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path, hint: str = "The run is incomplete; train it again.") -> dict[str, Any]:
    """Return the object in a JSON file; `hint` is that of the error.

    Raises:
        UserError: the file is missing, cannot be read or holds something else.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}).", hint) from error
    if not isinstance(value, dict):
        raise UserError(f"{path} holds no JSON object.", hint)
    return value


def plain(value: Any) -> Any:
    """Return a value as JSON can hold it: keys as text, arrays as lists, numbers that are not finite as None."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value if isinstance(value, (str, int, float, bool)) or value is None else str(value)


# Spreadsheets take the full-width forms for formulas in East Asian locales.
_FORMULA = re.compile(r"'*[=+\-@\t\r\n＝＋－＠].", re.DOTALL)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def escape_formula(text: str) -> str:
    """Return a cell that a spreadsheet shows as text instead of evaluating it."""
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def unescape_formula(cell: str) -> str:
    """Return the text that `escape_formula` escaped."""
    return cell[1:] if cell[:1] == "'" and escape_formula(cell[1:]) == cell else cell


def package_folder(name: str) -> Path | None:
    """Return the folder of an installed package, or None, without importing it."""
    try:
        spec = importlib.util.find_spec(name) if name.isidentifier() else None
    except (ImportError, ValueError):
        return None
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations)))
