"""From text files to sentences on disk: find the files, split them into documents, and these into sentences.

Files are read in pieces of about a million characters, and the sentences go to an Arrow file that is memory-mapped
when it is used: a gigabyte of text needs no more memory than a megabyte.
"""

import functools
import glob
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
import sentencex

from bertlab.console import warning
from bertlab.data.files import open_binary, open_text
from bertlab.errors import UserError

if TYPE_CHECKING:
    from datasets import Dataset

SCHEMA = pa.schema([("sentence", pa.large_string()), ("document", pa.int32()), ("text_hash", pa.uint64())])

# ISO 639-1. sentencex takes any string for a language and treats what it does not know as English, so a
# misspelt code would pass in silence.
_ISO_639_1 = """
aa ab ae af ak am an ar as av ay az ba be bg bh bi bm bn bo br bs ca ce ch co cr cs cu cv cy da de
dv dz ee el en eo es et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz ia id
ie ig ii ik io is it iu ja jv ka kg ki kj kk kl km kn ko kr ks ku kv kw ky la lb lg li ln lo lt lu
lv mg mh mi mk ml mn mr ms mt my na nb nd ne ng nl nn no nr nv ny oc oj om or os pa pi pl ps pt qu
rm rn ro ru rw sa sc sd se sg si sk sl sm sn so sq sr ss st su sv sw ta te tg th ti tk tl tn to tr
ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo za zh zu
"""
LANGUAGES = frozenset(_ISO_639_1.split())

# Endings of what `open_text` would take for one file, plain or packed.
ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")

# A document of more characters is split at the next blank line; of four times as many, where a line ends a sentence;
# of sixteen times as many, at the end of any line.
_PIECE_CHARS = 1 << 20
_BATCH_SENTENCES = 1 << 16
_BATCH_CHARS = 1 << 24
# What sentencex is given at once: 1.2 million characters with 200,000 quotes never closed took it 64 s, in
# windows 3 s. No paragraph of 33 books is longer than this.
_WINDOW_CHARS = 1 << 16

# A form feed begins a page.
_BLANK_LINES = re.compile(r"\n\s*\n|\f")
# Spaces, and what prints nothing but is none to Python: zero-width spaces and joiners, the byte-order mark.
_INVISIBLE = "".join(filter(str.isspace, map(chr, range(0x3001)))) + "\u200b\u200c\u200d\u2060\ufeff"
# What a file is that --text does not read.
_OTHER_KINDS = {
    **dict.fromkeys((".csv", ".tsv", ".parquet", ".xlsx"), "a table"),
    **dict.fromkeys((".json", ".jsonl"), "JSON"),
    **dict.fromkeys((".html", ".htm", ".xml", ".xhtml"), "marked-up text"),
    **dict.fromkeys((".pdf", ".docx", ".epub", ".odt"), "a document of another program"),
}
_SENTENCE_END = re.compile("[.!?…。！？][\"'”’»)\\]]*\\s*$")


def find_text_files(patterns: Sequence[str | Path]) -> list[Path]:
    """Return the files that `patterns` name: files, folders (every .txt and .txt.gz inside) and globs.

    The files of a folder or glob are sorted by path, hidden ones left out; a file named twice is read once.

    Raises:
        UserError: nothing is named, a file is missing (with the nearest name), unreadable, an archive of files or not
            plain text, all are empty, a folder has no text file or cannot be listed, or a glob matches nothing.
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
            if kind := _OTHER_KINDS.get(path.suffix.casefold()):
                raise UserError(f"{path} is {kind}, and --text reads plain text.", "Save its text as a .txt file.")
            files.setdefault(path.resolve(), path)
    if not files:
        raise UserError("no text is given.", "Name a file, a folder or a glob: --text book.txt.")
    return _without_empty(list(files.values()))


def _without_empty(files: list[Path]) -> list[Path]:
    """Return the files that are not empty; of a single one its reader says so."""
    empty = [str(path) for path in files if not path.stat().st_size]
    if empty and len(files) > 1:
        if len(empty) == len(files):
            raise UserError(f"all of the files are empty: {', '.join(empty)}.", "Give files with text in them.")
        warning(f"left out because they are empty: {', '.join(empty)}.")
        return [path for path in files if path.stat().st_size]
    return files


def read_documents(path: Path, unit: str, encoding: str | None = None) -> Iterator[tuple[str, bool]]:
    """Yield the documents of a text file in order, blank ones left out; every line end becomes a newline.

    `unit` is `line` (a line is a document), `block` (text between blank lines) or `file`. A document of more than a
    million characters comes in several pieces, so each has a flag that a document begins with it.

    Raises:
        UserError: whatever `open_text` refuses: no text, no such encoding.
    """
    lines: list[str] = []
    size, begins = 0, True
    with open_text(path, encoding) as stream:
        for line in stream:
            blank = line.isspace()
            ends = unit == "line" or (blank and unit == "block")
            if lines or not blank:
                lines.append(line)
                size += len(line)
            if lines and (ends or (size > _PIECE_CHARS and _can_split(size, line))):
                yield _with_newlines(lines), begins
                lines, size, begins = [], 0, False
            begins = begins or ends
    if lines:
        yield _with_newlines(lines), begins


def sentence_splitter(splitter: str, language: str = "en") -> Callable[[str], list[str]]:
    """Return the function from a text to its sentences in order, none of them blank.

    `sentencex` follows the rules of the language, or those of a related one or of English where it has none. `period`
    splits at every full stop, which is dropped with the pieces that are blank. `line` takes each line as a sentence.
    With the other two the lines of a paragraph are joined, and no sentence crosses a blank line. Line ends, tabs and
    runs of spaces become one space.

    Raises:
        UserError: an unknown language.

    Source: https://github.com/wikimedia/sentencex for `sentencex`.
    """
    if splitter == "line":
        return _split_lines
    if splitter == "period":
        return _split_periods
    code = language.strip().casefold().replace("_", "-")
    if code.split("-")[0] not in LANGUAGES:
        raise UserError(f"The language {language!r} is unknown.", "Give a two-letter code, such as en, de, fr or zh.")
    return functools.partial(_split_sentencex, code)


def write_sentences(
    files: Sequence[Path], unit: str, splitter: str, language: str, encoding: str | None, arrow_path: Path
) -> "Dataset":
    """Write the sentences of text files to an Arrow file and return it, memory-mapped, as a Dataset.

    One row a sentence, in the order of the files: `sentence` (large_string), `document` (int32, counted from 0, never
    falling) and `text_hash` (uint64, equal for equal sentences). The file gets its name when it is complete.

    Raises:
        UserError: an unknown language or encoding, a file that is empty, not text or without a sentence, or only one
            sentence in all.
    """
    from datasets import Dataset
    from datasets.utils import tqdm

    split = sentence_splitter(splitter, language)
    rows = 0
    with (
        arrow_stream(arrow_path, SCHEMA) as writer,
        tqdm(total=sum(map(_text_bytes, files)), desc="Sentences", unit="B", unit_scale=True) as bar,
    ):
        for batch, characters in _batches(_documents(files, unit, split, encoding)):
            writer.write_batch(batch)
            rows += batch.num_rows
            bar.update(characters)
        # Characters are fewer than bytes where the text is not ASCII.
        bar.update(bar.total - bar.n)
        if rows < 2:
            raise UserError(
                f"There is only one sentence in {files[0]}, and a pair needs two.",
                "Give more text; where each line is a sentence, pass --sentence_splitter line.",
            )
    return Dataset.from_file(str(arrow_path))


@contextmanager
def arrow_stream(path: Path, schema: pa.Schema) -> Iterator[pa.RecordBatchStreamWriter]:
    """Open an Arrow stream for writing that gets its name only when it is complete; its folder is made.

    Raises:
        UserError: the folder cannot be made or written to, or the disk is full.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.unfinished")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with unfinished.open("wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
            yield writer
        unfinished.replace(path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"{path} cannot be written: {reason}.", "Choose a folder with room.") from None
    finally:
        with suppress(OSError):  # its folder may be a file
            unfinished.unlink()


def _matching(path: Path) -> list[Path]:
    if path.is_dir():
        return _text_files_in(path)
    if path.exists() or not glob.has_magic(str(path)):
        return [path]
    matches = sorted(Path(name) for name in glob.glob(str(path), recursive=True))  # noqa: PTH207 (`**` and absolute)
    files = [match for match in matches if match.is_file()]
    if not files:
        raise UserError(f"No file matches {path}.", "In quotes, ** stands for any depth of folders.")
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
        suffix = min((path.suffix for path in paths if path.suffix), default=None)
        hint = f"Name others by a glob: '{folder}/*{suffix}'." if suffix else "Name another folder, or files."
        raise UserError(f"{folder} has no .txt or .txt.gz file.", hint)
    return texts


def _with_newlines(lines: Iterable[str]) -> str:
    return "".join(lines).replace("\r\n", "\n").replace("\r", "\n")


def _can_split(size: int, line: str) -> bool:
    """Return True where a long document that has `size` characters up to the end of this line is split."""
    return line.isspace() or size > 16 * _PIECE_CHARS or (size > 4 * _PIECE_CHARS and bool(_SENTENCE_END.search(line)))


def _split_lines(text: str) -> list[str]:
    return _stripped(_single_spaced(line) for line in text.split("\n"))


def _split_periods(text: str) -> list[str]:
    return _stripped(piece for paragraph in _paragraphs(text) for piece in paragraph.split("."))


def _split_sentencex(language: str, text: str) -> list[str]:
    return _stripped(piece for paragraph in _paragraphs(text) for piece in _segments(language, paragraph))


def _segments(language: str, paragraph: str) -> list[str]:
    """Return what sentencex makes of a paragraph, given to it in windows when it is long.

    The last sentence of a window is given again at the start of the next, so that no window ends a sentence.
    """
    sentences: list[str] = []
    start, size = 0, _WINDOW_CHARS
    while start + size < len(paragraph):
        *whole, last = sentencex.segment(language, paragraph[start : start + size])
        sentences += whole
        # Without a sentence end in the window, only a longer one can find it.
        start, size = (start + size - len(last), _WINDOW_CHARS) if whole else (start, 2 * size)
    return [*sentences, *sentencex.segment(language, paragraph[start:])]


def _paragraphs(text: str) -> list[str]:
    """Return the paragraphs of a text, each on one line.

    Joined first, the lines of a hard-wrapped paragraph are split as if it had never been wrapped.
    """
    return [_single_spaced(paragraph) for paragraph in _BLANK_LINES.split(text)]


def _single_spaced(text: str) -> str:
    """Return a text with line ends, tabs and runs of spaces as one space; faster than split and join."""
    text = text.replace("\n", " ").replace("\t", " ")
    while "  " in text:
        text = text.replace("  ", " ")
    return text


def _stripped(pieces: Iterable[str]) -> list[str]:
    return [sentence for piece in pieces if (sentence := piece.strip(_INVISIBLE))]


def _documents(
    files: Iterable[Path], unit: str, split: Callable[[str], list[str]], encoding: str | None
) -> Iterator[tuple[int, list[str], int]]:
    """Yield document number, sentences and characters read, for each piece of each file."""
    document = -1
    for path in files:
        before, is_new = document, False
        for text, begins in read_documents(path, unit, encoding):
            sentences = split(text)
            is_new = is_new or begins
            # A document of full stops alone has no sentence and gets no number.
            if sentences and is_new:
                document, is_new = document + 1, False
            yield document, sentences, len(text)
        if document == before:
            raise UserError(f"{path} has no sentence.", "Leave it out, or check that it is text.")


def _batches(documents: Iterable[tuple[int, list[str], int]]) -> Iterator[tuple[pa.RecordBatch, int]]:
    """Yield batches of rows for the Arrow file, each with the number of characters read for it."""
    sentences: list[str] = []
    numbers: list[int] = []
    counts: list[int] = []
    characters = 0
    for document, new, read in documents:
        sentences += new
        numbers.append(document)
        counts.append(len(new))
        characters += read
        if len(sentences) >= _BATCH_SENTENCES or characters >= _BATCH_CHARS:
            yield _batch(sentences, np.repeat(numbers, counts)), characters
            sentences, numbers, counts, characters = [], [], [], 0
    if sentences:
        yield _batch(sentences, np.repeat(numbers, counts)), characters


def _batch(sentences: list[str], documents: np.ndarray) -> pa.RecordBatch:
    # Hashed here, where the strings are at hand: a later pass would map the whole file into memory.
    hashes = pd.util.hash_array(np.array(sentences, dtype=object), categorize=False)
    columns = [pa.array(sentences, pa.large_string()), pa.array(documents.astype(np.int32)), pa.array(hashes)]
    return pa.record_batch(columns, schema=SCHEMA)


def _text_bytes(path: Path) -> int:
    """Return the bytes of a file's text, for the progress bar; a .gz file ends with them, modulo 4 GB."""
    size = path.stat().st_size
    if path.suffix.casefold() != ".gz" or size < 18:
        return size
    with open_binary(path) as file:
        file.seek(-4, os.SEEK_END)
        return int.from_bytes(file.read(4), "little")
