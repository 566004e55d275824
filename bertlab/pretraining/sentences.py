"""From text files to sentences on disk: split the files into documents, and these into sentences.

Files are read in pieces of about a million characters, and the sentences go to an Arrow file that is memory-mapped
when it is used: a gigabyte of text needs no more memory than a megabyte.
"""

import functools
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa

from bertlab.cli.arguments import NspArguments
from bertlab.data.files import open_binary, open_text
from bertlab.errors import UserError
from bertlab.io import atomic, read_json, write_json
from bertlab.pretraining import cleaning
from bertlab.pretraining.cleaning import Survey
from bertlab.pretraining.splitters import INVISIBLE, sentence_splitter

if TYPE_CHECKING:
    from datasets import Dataset

SCHEMA = pa.schema([("sentence", pa.large_string()), ("document", pa.int32()), ("text_hash", pa.uint64())])

# A document of more characters is split at the next blank line; of four times as many, where a line ends a sentence;
# of sixteen times as many, at the end of any line.
_PIECE_CHARS = 1 << 20
_BATCH_SENTENCES = 1 << 16
_BATCH_CHARS = 1 << 24
# Without --clean this many files are searched for what it would leave out.
SURVEYED_FILES = 20
_SENTENCE_END = re.compile("[.!?…。！？][\"'”’»)\\]]*\\s*$")


def read_documents(
    path: Path, unit: str, encoding: str | None = None, clean: Callable[[Iterable[str]], Iterable[str]] = iter
) -> Iterator[tuple[str, bool]]:
    """Yield the documents of a text file in order, blank ones left out; every line end becomes a newline.

    `unit` is `line` (a line is a document), `block` (text between blank lines) or `file`. A line of zero-width
    characters alone is blank, and comes without them. A document of more than a million characters comes in several
    pieces, so each has a flag that a document begins with it. `clean` gets the file's lines and returns those to read.

    Raises:
        UserError: whatever `open_text` refuses: no text, no such encoding.
    """
    lines: list[str] = []
    size, begins = 0, True
    with open_text(path, encoding) as stream:
        for line in clean(stream):
            blank = not line.strip(INVISIBLE)
            line = "".join(filter(str.isspace, line)) if blank else line
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


def write_sentences(files: Sequence[Path], arguments: NspArguments, arrow_path: Path) -> "Dataset":
    """Write the sentences of text files to an Arrow file and return it, memory-mapped, as a Dataset.

    Remarks on the text are written beside it, for `read_remarks`.

    One row a sentence, in the order of the files: `sentence` (large_string), `document` (int32, counted from 0, never
    falling) and `text_hash` (uint64, equal for equal sentences). The file gets its name when it is complete.

    Raises:
        UserError: an unknown language or encoding, a file that is empty, not text or without a sentence, or only one
            sentence in all.
    """
    from datasets import Dataset
    from datasets.utils import tqdm

    split = sentence_splitter(arguments.sentence_splitter, arguments.language)
    counts, surveys = Counter[str](), list[Survey]()
    rows = 0
    with (
        arrow_stream(arrow_path, SCHEMA) as writer,
        tqdm(total=sum(map(_text_bytes, files)), desc="Sentences", unit="B", unit_scale=True) as bar,
    ):
        for batch, characters in _batches(_documents(files, arguments, split, counts, surveys)):
            writer.write_batch(batch)
            rows += batch.num_rows
            bar.update(characters)
        # Characters are fewer than bytes where the text is not ASCII.
        bar.update(bar.total - bar.n)
        if rows < 2:
            raise UserError(
                f"There is only one sentence in {files[0]}, too few to train on.",
                "Give more text; where each line is a sentence, pass --sentence_splitter line.",
            )
        remarks = cleaning.remarks(counts, surveys, arguments.clean, arguments.document_unit)
        write_json(_remarks_path(arrow_path), {"remarks": remarks})
    return Dataset.from_file(str(arrow_path))


def read_remarks(arrow_path: Path) -> list[str]:
    """Return the remarks on a text whose sentences `write_sentences` wrote."""
    remarks: list[str] = read_json(_remarks_path(arrow_path), "Pass --overwrite_cache.")["remarks"]
    return remarks


def _remarks_path(arrow_path: Path) -> Path:
    return arrow_path.with_suffix(".json")


@contextmanager
def arrow_stream(path: Path, schema: pa.Schema) -> Iterator[pa.RecordBatchStreamWriter]:
    """Open an Arrow stream for writing that gets its name only when it is complete; its folder is made.

    Raises:
        UserError: the folder cannot be made or written to, or the disk is full.
    """
    with (
        atomic(path, "Choose a folder with room.") as temporary,
        temporary.open("wb") as sink,
        pa.ipc.new_stream(sink, schema) as writer,
    ):
        yield writer


def _with_newlines(lines: Iterable[str]) -> str:
    return "".join(lines).replace("\r\n", "\n").replace("\r", "\n")


def _can_split(size: int, line: str) -> bool:
    """Return True where a long document that has `size` characters up to the end of this line is split."""
    return line.isspace() or size > 16 * _PIECE_CHARS or (size > 4 * _PIECE_CHARS and bool(_SENTENCE_END.search(line)))


def _documents(
    files: Iterable[Path],
    arguments: NspArguments,
    split: Callable[[str], list[str]],
    counts: Counter[str],
    surveys: list[Survey],
) -> Iterator[tuple[int, list[str], int]]:
    """Yield document number, sentences and characters read, for each piece of each file.

    What files show is added to `surveys`, and what --clean leaves out to `counts`.
    """
    document, clean, encoding = -1, arguments.clean, arguments.encoding
    for number, path in enumerate(files):
        head = cleaning.read_head(path, encoding)
        if clean or number < SURVEYED_FILES:
            surveys.append(cleaning.survey(head))
        kept = functools.partial(cleaning.clean_lines, found=surveys[-1], steps=clean, counts=counts) if clean else iter
        before, is_new = document, False
        for text, begins in read_documents(path, arguments.document_unit, encoding, kept):
            whole = cleaning.join_hyphens(text, surveys[-1], counts) if "hyphenation" in clean else text
            sentences = split(whole)
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
