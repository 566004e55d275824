"""Files of a run are read here, and written under a temporary name and renamed: a reader never meets half of one."""

import contextlib
import importlib.util
import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np

from bertlab.errors import UserError


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, making its folder; who may read it follows the umask.

    Raises:
        UserError: its folder cannot be made, or it cannot be written there.
    """
    # Not tempfile, whose files are for their owner alone, umask or not.
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError as error:
        _forget(temporary)
        error.filename = error.filename or str(temporary)  # a disk that fills up while writing is named by nobody
        raise UserError(
            f"{path} cannot be written: {error.strerror}.", f"See to {path.parent}, or name another place."
        ) from error
    except BaseException:
        _forget(temporary)
        raise


def _forget(temporary: Path) -> None:
    with contextlib.suppress(OSError):  # a folder that is a file, or may not be written, has no such file
        temporary.unlink()


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file whole or not at all, making its folder.

    Raises:
        UserError: it cannot be written.
    """
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file whole or not at all; numbers that are not finite become null.

    Raises:
        UserError: it cannot be written.
    """
    write_text(path, json.dumps(plain(value), indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path, hint: str = "The run is not whole; train it again.") -> dict[str, Any]:
    """Return the object in a JSON file; `hint` is the way out where there is none.

    Raises:
        UserError: the file is missing, cannot be read or holds something else.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}).", hint) from error
    if not isinstance(found, dict):
        raise UserError(f"{path} holds no JSON object.", hint)
    return found


def plain(value: Any) -> Any:
    """Return a value as JSON gives it back: names as text, arrays as lists, what is not finite or None as None."""
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


# The wide forms are taken for formulas in East Asian settings.
_FORMULA = re.compile(r"'*[=+\-@\t\r\n＝＋－＠].", re.DOTALL)


_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def escape_formula(text: str) -> str:
    """Return a cell that a spreadsheet shows and does not run."""
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def unescape_formula(cell: str) -> str:
    """Return the text that `escape_formula` made a cell of."""
    return cell[1:] if cell[:1] == "'" and _FORMULA.match(cell[1:]) and not _NUMBER.fullmatch(cell[1:]) else cell


def package_folder(name: str) -> Path | None:
    """Return the folder of an installed package, or None; the package is located, never imported."""
    try:
        spec = importlib.util.find_spec(name) if name.isidentifier() else None
    except (ImportError, ValueError):
        return None
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations)))
