"""The files of --text: those named, in a folder, or matching a glob; found without the libraries that read them."""

import glob
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from bertlab.console import warning
from bertlab.data.files import COMPRESSED_SUFFIXES, EmptyFileError, open_binary, open_text
from bertlab.errors import UserError
from bertlab.pretraining.splitters import INVISIBLE

# Endings of what `open_text` would take for one file, plain or packed.
ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
# What a file is that --text does not read.
OTHER_KINDS = {
    **dict.fromkeys((".csv", ".tsv", ".parquet", ".xlsx", ".xls", ".ods"), "a table"),
    **dict.fromkeys((".json", ".jsonl"), "JSON"),
    **dict.fromkeys((".html", ".htm", ".xml", ".xhtml"), "marked-up text"),
    **dict.fromkeys(
        (".pdf", ".docx", ".doc", ".rtf", ".pptx", ".ppt", ".epub", ".odt"), "a document of another program"
    ),
}


def find_text_files(patterns: Sequence[str | Path]) -> list[Path]:
    """Return the files that `patterns` name: files, folders (every .txt and .txt.gz inside) and globs.

    The files of a folder or glob are sorted by path, hidden ones left out; a file named twice is read once.

    Raises:
        UserError: nothing is named, a file is missing (with the nearest name), unreadable, an archive of files or not
            plain text, a folder has no text file or cannot be listed, or a glob matches nothing.
    """
    files: dict[Path, Path] = {}
    for pattern in patterns:
        if not os.fspath(pattern).strip():
            # Path("") is the current folder, and all that is below it: an unset variable in a script.
            raise UserError("--text names an empty path.", "Name files, folders or globs; . is this folder.")
        # Path.expanduser would raise for a user that does not exist.
        for path in _matching(Path(os.path.expanduser(pattern))):  # noqa: PTH111
            open_binary(path).close()
            if path.name.casefold().endswith(ARCHIVES):
                raise UserError(f"{path} is an archive of files.", "Unpack it and name the folder.")
            if kind := _other_kind(path):
                raise UserError(f"{path} is {kind}, and --text reads plain text.", "Save its text as a .txt file.")
            files.setdefault(path.resolve(), path)
    if not files:
        raise UserError("no text is given.", "Name a file, a folder or a glob: --text book.txt.")
    return list(files.values())


def without_blank(files: list[Path], encoding: str | None = None) -> list[Path]:
    """Return the files that are not blank, with a warning that names the others; of a single one its reader says so.

    Raises:
        UserError: all of several are blank, or `open_text` refuses one.
    """
    blank = [path for path in files if _is_blank(path, encoding)] if len(files) > 1 else []
    if blank:
        names = ", ".join(map(str, blank))
        if len(blank) == len(files):
            raise UserError(f"all of the files are blank: {names}.", "Give files with text in them.")
        warning(f"left out because they are blank: {names}.")
    return [path for path in files if path not in blank]


def _is_blank(path: Path, encoding: str | None) -> bool:
    """Return True for a file that is empty, or has blank lines alone."""
    try:
        with open_text(path, encoding) as stream:
            return not any(line.strip(INVISIBLE) for line in stream)
    except EmptyFileError:
        return True


def _matching(path: Path) -> list[Path]:
    # Path.is_dir and Path.exists would raise for a name that is too long: a text in place of its file.
    if os.path.isdir(path):  # noqa: PTH112
        return _text_files_in(path)
    if os.path.exists(path) or not glob.has_magic(str(path)):  # noqa: PTH110
        return [path]
    matches = sorted(Path(name) for name in glob.glob(str(path), recursive=True))  # noqa: PTH207 (`**` and absolute)
    files = [match for match in matches if match.is_file()]
    if not files:
        raise UserError(f"no file matches {path}.", "In quotes, ** stands for any depth of folders.")
    return files


def _text_files_in(folder: Path) -> list[Path]:
    """Return the .txt and .txt.gz files under a folder, sorted, without hidden ones such as macOS's ._a."""

    def refuse(error: OSError) -> None:
        # os.walk would leave out a folder that it may not list.
        raise UserError(f"{error.filename} cannot be listed: {error.strerror}.", "Name its files, or another folder.")

    paths: list[Path] = []
    for root, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths += [Path(root, name) for name in names if not name.startswith(".")]
    texts = sorted(path for path in paths if path.name.casefold().endswith((".txt", ".txt.gz")))
    if not texts:
        suffixes = Counter(path.suffix for path in sorted(paths) if path.suffix).most_common()
        other = next((suffix for suffix, _ in suffixes if _is_text(next(p for p in paths if p.suffix == suffix))), None)
        hint = f"Name others by a glob: '{glob.escape(str(folder))}/**/*{other}'."
        hint = hint if other else "Name another folder, or files."
        raise UserError(f"{folder} has no .txt or .txt.gz file.", hint)
    return texts


def _other_kind(path: Path) -> str | None:
    """Return what a file is by its suffix, or that of the file packed in it, where --text does not read it."""
    unpacked = path.with_suffix("") if path.suffix.casefold() in COMPRESSED_SUFFIXES else path
    return OTHER_KINDS.get(unpacked.suffix.casefold())


def _is_text(path: Path) -> bool:
    """Return True where --text would read the beginning of a file."""
    if _other_kind(path):
        return False
    try:
        with open_text(path) as stream:
            return bool(stream.read(1))
    except UserError:
        return False
