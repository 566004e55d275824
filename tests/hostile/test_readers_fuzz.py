"""Whatever a file holds, the readers yield rows or raise UserError; what csv and json write reads back the same."""

import csv
import gzip
import io
import json
import random
import re
import string
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from bertlab.data import files, readers
from bertlab.data.columns import Columns
from bertlab.data.data_file import SUFFIXES, DataFile, Row
from bertlab.data.delimited import DELIMITERS
from bertlab.data.files import open_text
from bertlab.errors import UserError

pytestmark = pytest.mark.slow

# The folder is shared by the examples of one test, each of which overwrites its file there.
fuzz = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

TEXT_SUFFIXES = [suffix for suffix in SUFFIXES if suffix != ".parquet"]
PACKERS: dict[str, Callable[[bytes], bytes]] = {"": bytes, ".gz": gzip.compress}
# Characters that formats give a meaning to, and some that look like line ends to str.splitlines().
PIECES = st.sampled_from([*",;\t|\"'\n\r{}[]: \\\ufeff\x0b\x0c\x1c\x85\u2028\xa0", "\r\n", '""', "é", "a", "1"])
SOUP = st.lists(PIECES, max_size=60).map("".join)
LETTERS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
CELLS = st.one_of(LETTERS, SOUP)
# Python's writer quotes a lone carriage return only where it is part of the line end.
CSV_STYLES = [{"quoting": csv.QUOTE_MINIMAL}, {"quoting": csv.QUOTE_ALL, "lineterminator": "\n"}]
NAMES = st.lists(st.text(string.ascii_letters, min_size=1, max_size=8), min_size=1, max_size=5, unique=True)


def zipped(data: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inner.csv", data)
    return buffer.getvalue()


def read_rows(path: Path, **options: Any) -> Iterator[Row]:
    return readers.read_rows(DataFile(path, **options))


def rows_or_refusal(path: Path, **options: Any) -> list[Row]:
    """Return the rows, or none after a UserError; any other exception fails the test."""
    try:
        rows = list(read_rows(path, **options))
        names = readers.column_names(DataFile(path, **options)) if rows else []
    except UserError as error:
        assert "\n" not in str(error)
        return []
    for row in rows if names else ():
        text_or_refusal(names, row)
    assert all(set(names) <= set(row.values) for row in rows)
    assert [row.line for row in rows] == sorted({row.line for row in rows})
    return rows


def text_or_refusal(names: list[str], row: Row) -> None:
    try:
        texts = Columns(tuple(names[:1]), label=names[-1]).row(row.values, 0, row.line, row.where)
    except UserError as error:
        assert re.search("holds|all lists or none", str(error))
    else:
        assert all(isinstance(texts[name], str | None) for name in ("text", "label"))
        json.dumps(texts, ensure_ascii=False).encode()


@fuzz
@given(data=st.binary(max_size=300), suffix=st.sampled_from(SUFFIXES), packing=st.sampled_from(["", ".gz", ".zip"]))
def test_any_bytes_are_rows_or_a_refusal(tmp_path: Path, data: bytes, suffix: str, packing: str) -> None:
    path = tmp_path / f"a{suffix}{packing}"
    path.write_bytes(data)
    rows_or_refusal(path)


@fuzz
@given(
    text=st.one_of(SOUP, LETTERS),
    suffix=st.sampled_from(TEXT_SUFFIXES),
    quoting=st.sampled_from(["auto", "none", "standard"]),
    delimiter=st.sampled_from([None, *DELIMITERS, " ", "a", "é"]),
    packing=st.sampled_from(["", ".gz"]),
)
@example(text='a,b\n"', suffix=".csv", quoting="auto", delimiter=None, packing="")
@example(text='{"a": [', suffix=".json", quoting="auto", delimiter=None, packing="")
def test_any_text_is_rows_or_a_refusal(
    tmp_path: Path, text: str, suffix: str, quoting: str, delimiter: str | None, packing: str
) -> None:
    path = tmp_path / f"a{suffix}{packing}"
    path.write_bytes(PACKERS[packing](text.encode()))
    rows_or_refusal(path, quoting=quoting, delimiter=delimiter)


@fuzz
@given(data=st.binary(max_size=60), encoding=st.one_of(st.sampled_from(files.COMMON_ENCODINGS), LETTERS))
@example(data=b"+2-", encoding="utf-7")
@example(data=b"a", encoding="undefined")
def test_any_encoding_is_text_or_a_refusal(tmp_path: Path, data: bytes, encoding: str) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(data)
    try:
        with open_text(path, encoding) as stream:
            assert "\0" not in stream.read()
    except UserError:
        pass


@fuzz
@given(names=NAMES, data=st.data(), delimiter=st.sampled_from(DELIMITERS), style=st.sampled_from(CSV_STYLES))
def test_a_table_that_csv_writes_reads_back_the_same(
    tmp_path: Path, names: list[str], data: st.DataObject, delimiter: str, style: dict[str, Any]
) -> None:
    table = data.draw(st.lists(st.lists(CELLS, min_size=len(names), max_size=len(names)), max_size=8))
    path = tmp_path / "a.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=delimiter, **style).writerows([names, *table])
    rows = list(read_rows(path, delimiter=delimiter))
    assert [[cell or "" for cell in row.values.values()] for row in rows] == table
    assert all(list(row.values) == names for row in rows)
    if len(names) > 1:
        assert list(read_rows(path)) == rows, "the delimiter is found"


@fuzz
@given(
    table=st.lists(
        st.dictionaries(
            LETTERS,
            st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), CELLS, st.lists(CELLS)),
            max_size=4,
        ),
        max_size=8,
    ),
    ascii_only=st.booleans(),
)
def test_a_table_that_json_writes_reads_back_the_same(
    tmp_path: Path, table: list[dict[str, Any]], ascii_only: bool
) -> None:
    names = {key: None for record in table for key in record}
    (tmp_path / "a.json").write_text(json.dumps(table, ensure_ascii=ascii_only), encoding="utf-8")
    assert [row.values for row in read_rows(tmp_path / "a.json")] == [{**names, **record} for record in table]
    lines = "".join(json.dumps(record, ensure_ascii=ascii_only) + "\n" for record in table)
    (tmp_path / "a.jsonl").write_text(lines, encoding="utf-8", newline="")
    if table:
        found = [(row.line, row.values) for row in read_rows(tmp_path / "a.jsonl")]
        assert found == [(i, {**names, **record}) for i, record in enumerate(table, 1)]


JSON_VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), LETTERS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(LETTERS, inner, max_size=3)),
    max_leaves=12,
)


@fuzz
@given(value=JSON_VALUES, suffix=st.sampled_from([".json", ".jsonl"]), cut=st.integers(0, 200))
def test_any_json_whole_or_cut_is_rows_or_a_refusal(tmp_path: Path, value: Any, suffix: str, cut: int) -> None:
    path = tmp_path / f"a{suffix}"
    text = json.dumps(value)
    path.write_text(text, encoding="utf-8")
    rows_or_refusal(path)
    path.write_text(text[:cut], encoding="utf-8")
    rows_or_refusal(path)


@pytest.mark.parametrize("name", ["a.csv.gz", "a.csv.zip", "a.zip", "a.parquet", "a.csv", "a.jsonl"])
def test_a_flipped_or_cut_file_is_rows_or_a_refusal(tmp_path: Path, name: str) -> None:
    path, good = tmp_path / name, sound(tmp_path, name)
    chance = random.Random(0)
    for _ in range(300):
        data = bytearray(good)
        for _ in range(chance.randint(0, 3)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        path.write_bytes(data[: chance.choice([len(data), chance.randrange(len(data))])])
        rows_or_refusal(path)


def sound(folder: Path, name: str) -> bytes:
    """Return the bytes of a good file of the kind that `name` says."""
    table = [{"text": f"review {i}", "label": i % 2} for i in range(50)]
    text = "".join(["text,label\n", *(f"{row['text']},{row['label']}\n" for row in table)]).encode()
    if name.endswith(".parquet"):
        parquet.write_table(pyarrow.Table.from_pylist(table), folder / "sound.parquet")
        return (folder / "sound.parquet").read_bytes()
    if name.endswith(".jsonl"):
        return "".join(json.dumps(row) + "\n" for row in table).encode()
    return {".gz": gzip.compress, ".zip": zipped}.get(Path(name).suffix, bytes)(text)
