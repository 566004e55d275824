"""Every format gives the same rows, and a file that cannot be read is refused with its place and a hint."""

import csv
import datetime
import decimal
import gzip
import json
import math
import subprocess
import sys
import tracemalloc
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from bertlab.data import delimited, readers
from bertlab.data.data_file import DataFile, Row
from bertlab.errors import UserError


def written(path: Path, text: str) -> Path:
    path.write_bytes(text.encode())
    return path


def read_rows(path: Path, **options: Any) -> Iterator[Row]:
    return readers.read_rows(DataFile(path, **options))


def column_names(path: Path, **options: Any) -> list[str]:
    return readers.column_names(DataFile(path, **options))


def values(path: Path, **options: Any) -> list[dict[str, Any]]:
    return [row.values for row in read_rows(path, **options)]


def refusal(path: Path, **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        list(read_rows(path, **options))
    return str(caught.value)


def in_parquet(path: Path, **columns: Any) -> Path:
    parquet.write_table(pyarrow.table(columns), path)
    return path


# Delimited text


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.txt", "a.csv.gz", "a.csv.zip", "a.zip", "v1.2.zip", "A.CSV"])
def test_delimited_text_is_read_by_its_suffix(tmp_path: Path, name: str) -> None:
    text = "text,label\ngood,1\nbad,0\n".replace(",", "\t" if ".tsv" in name else ",")
    path = tmp_path / name
    if name.endswith(".gz"):
        path.write_bytes(gzip.compress(text.encode()))
    elif name.endswith(".zip"):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("inner.csv", text)
    else:
        written(path, text)
    assert list(read_rows(path)) == [
        Row(2, {"text": "good", "label": "1"}),
        Row(3, {"text": "bad", "label": "0"}),
    ]
    assert column_names(path) == ["text", "label"]


def test_cells_stay_as_written_and_an_empty_one_is_none(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", 'a,b,c,d\nNA,01,1.0,\n null ,"",True,-\n')
    assert values(path) == [
        {"a": "NA", "b": "01", "c": "1.0", "d": None},
        {"a": " null ", "b": None, "c": "True", "d": "-"},
    ]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_record_of_several_lines_counts_from_its_first(tmp_path: Path, end: str) -> None:
    path = written(tmp_path / "a.csv", end.join(["text,label", '"one', "", 'two",1', "", "three,0"]))
    assert list(read_rows(path)) == [
        Row(2, {"text": f"one{end}{end}two", "label": "1"}),
        Row(6, {"text": "three", "label": "0"}),
    ]


def test_blank_lines_are_skipped_and_counted(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "\n   \ntext,label\n\ngood,1\n \t \nbad,0\n\n")
    assert [(row.line, row.where, row.values["text"]) for row in read_rows(path)] == [
        (5, "line 5", "good"),
        (7, "line 7", "bad"),
    ]


def test_a_header_is_stripped_of_spaces_and_marks(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", '\ufeff\ufeff text , "label"\nx,1\n')
    assert column_names(path, delimiter=",") == ["text", "label"]
    path = written(tmp_path / "b.csv", "\ufeff text ,label \n x ,1\n")
    assert values(path) == [{"text": " x ", "label": "1"}]


def test_a_quote_is_a_character_in_tsv_unless_quoting_is_standard(tmp_path: Path) -> None:
    path = written(tmp_path / "a.tsv", 'text\tlabel\n" he said\t1\n"quoted ""it"""\t0\n')
    assert [row["text"] for row in values(path)] == ['" he said', '"quoted ""it"""']
    path = written(tmp_path / "b.tsv", 'text\tlabel\n"quoted ""it"""\t0\n')
    assert values(path, quoting="standard") == [{"text": 'quoted "it"', "label": "0"}]
    path = written(tmp_path / "c.csv", 'text,label\n6" nails,1\n"x",0\n')
    assert [row["text"] for row in values(path, quoting="none")] == ['6" nails', '"x"']
    assert [row["text"] for row in values(path)] == ['6" nails', "x"]


def test_given_columns_name_a_file_without_header(tmp_path: Path) -> None:
    path = written(tmp_path / "a.tsv", "gj04\t1\t\tOur friends.\n")
    names = ["source", "label", "mark", "sentence"]
    assert list(read_rows(path, columns=tuple(names))) == [
        Row(1, {"source": "gj04", "label": "1", "mark": None, "sentence": "Our friends."})
    ]
    assert column_names(path, columns=tuple(names)) == names


@pytest.mark.parametrize("delimiter", delimited.DELIMITERS)
@pytest.mark.parametrize("suffix", [".csv", ".txt"])
def test_the_delimiter_is_found(tmp_path: Path, delimiter: str, suffix: str) -> None:
    others = delimited.DELIMITERS.replace(delimiter, "")
    rows = [["id", "text", "label"], *([str(i), f'a{others}b "c"', "1"] for i in range(3))]
    path = tmp_path / f"a{suffix}"
    with path.open("w", newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows(rows)
    assert [list(row.values()) for row in values(path)] == rows[1:]
    assert [list(row.values()) for row in values(path, columns=("i", "t", "l"))] == rows


def test_a_file_of_one_column_needs_no_delimiter(tmp_path: Path) -> None:
    assert values(written(tmp_path / "a.csv", "text\none | two\nthree\n")) == [
        {"text": "one | two"},
        {"text": "three"},
    ]
    assert values(written(tmp_path / "b.txt", "one\n"), columns=("text",)) == [{"text": "one"}]


def test_the_delimiter_is_that_of_most_records_not_of_one_line(tmp_path: Path) -> None:
    rows = "".join(f"x{i};1\n" for i in range(50))
    path = written(tmp_path / "a.csv", f"text, plain;label\n{rows}")
    assert values(path)[0] == {"text, plain": "x0", "label": "1"}


@pytest.mark.parametrize("spelling", ["\t", "\\t", "tab"])
def test_the_tab_can_be_spelled_in_a_shell(tmp_path: Path, spelling: str) -> None:
    assert values(written(tmp_path / "a.csv", "a\tb,c\n1\t2\n"), delimiter=spelling) == [{"a": "1", "b,c": "2"}]


@pytest.mark.slow
def test_a_cell_of_ten_megabytes_is_read(tmp_path: Path) -> None:
    cell = "word " * 2_000_000
    path = written(tmp_path / "a.csv", f'text,label\n"{cell}",1\nx,0\n')
    assert [len(row["text"]) for row in values(path)] == [10_000_000, 1]


@pytest.mark.slow
def test_memory_stays_bounded(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.gz"
    line = b"word " * 100 + b",1\n"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(b"text,label\n" + line * 40_000)
    tracemalloc.start()
    count = sum(1 for _ in read_rows(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 40_000
    assert peak < 5_000_000, "the text is 20 MB"


def test_a_header_alone_yields_no_row(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "text,label\n")
    assert values(path) == []
    with pytest.raises(UserError, match=r"a\.csv has no rows\. Give a file with data\."):
        column_names(path)


def test_a_header_in_quotes_is_refused_where_quotes_are_doubled(tmp_path: Path) -> None:
    error = refusal(written(tmp_path / "a.csv", '"""text""","""label"""\nx,1\n'))
    assert "a.csv, line 1: the column names stand in quotes. Read quotes as such: --quoting standard." in error


def test_a_ragged_tsv_gets_a_hint_about_quoting(tmp_path: Path) -> None:
    path = written(tmp_path / "a.tsv", 'text\tlabel\n"one\ttwo"\t1\n"three"\t0\n')
    assert refusal(path).endswith(r"All its lines agree with --delimiter '\t' --quoting standard.")
    assert values(path, quoting="standard")[0] == {"text": "one\ttwo", "label": "1"}


def test_a_ragged_row_is_refused_or_empty(tmp_path: Path) -> None:
    path = written(tmp_path / "a.tsv", "id\ttext\tlabel\n1\tone\t0\n2\ttwo\n \nhalves\t1\n3\tthree\t1\n")
    error = refusal(path)
    assert "a.tsv, line 3: 2 fields, expected 3 (id, text, label)." in error
    assert "Pass --on_missing drop to leave ragged rows out" in error
    rows = list(read_rows(path, ragged_as_empty=True))
    assert [row.line for row in rows] == [2, 3, 5, 6]
    assert [row.values["text"] for row in rows] == ["one", None, None, "three"]
    path = written(tmp_path / "b.tsv", "id\ttext\n1\ta\tb\n2\tc\n")
    assert "line 2: 3 fields, expected 2 (id, text)" in refusal(path)
    assert [row["text"] for row in values(path, ragged_as_empty=True)] == [None, "c"]


def test_a_stray_quote_does_not_swallow_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delimited, "MAX_CELL", 1000)
    path = written(tmp_path / "a.csv", 'text,label\n"bad,0\n' + "more,1\n" * 1000)
    assert "line 2: a cell of more than 1000 characters starts here, as after a quote that" in refusal(path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"delimiter": "||"}, "the delimiter '||' is not one character. Name one, such as ';' or 'tab'."),
        ({"delimiter": ""}, "the delimiter '' is not one character."),
        ({"delimiter": '"'}, "the delimiter '\"' is not one character."),
        ({"columns": ("a", "")}, "--column_names (a, ): a name is empty or repeated. Name each once."),
        ({"columns": ("a", "a")}, "--column_names (a, a): a name is empty or repeated."),
    ],
)
def test_a_setting_that_is_wrong_is_refused_at_once(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    path = written(tmp_path / "a.csv", "a,b\n")
    for entry in (read_rows, column_names):
        with pytest.raises(UserError) as caught:
            entry(path, **options)
        assert message in str(caught.value)


def test_a_suffix_without_reader_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    path = written(tmp_path / "a.md", "x")
    assert refusal(path) == (
        f"{path}: no reader for the suffix '.md'. Known are .csv, .tsv, .txt, .jsonl, .ndjson, .json, .parquet, "
        "text also as .gz and .zip."
    )
    assert refusal(written(tmp_path / "a.xlsx", "x")).endswith("spreadsheets (.xlsx). Save the sheet as CSV.")
    assert "no reader for the suffix ''" in refusal(written(tmp_path / "reviews.gz", "x"))
    assert refusal(tmp_path / "nowhere.md").startswith(f"{tmp_path / 'nowhere.md'} does not exist.")
    assert "Parquet is compressed within. Unpack the .gz first." in refusal(tmp_path / "a.parquet.gz")


def test_a_byte_that_is_not_utf8_is_refused_and_can_be_read_by_its_encoding(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("text,label\ncafé,1\n".encode("latin-1"))
    assert "line 2: not utf-8 text" in refusal(path)
    assert values(path, encoding="latin-1") == [{"text": "café", "label": "1"}]
    assert column_names(path, encoding="latin-1") == ["text", "label"]


# JSON

RECORDS: list[dict[str, Any]] = [
    {"text": "good", "label": 1, "score": 0.5, "ok": True, "tags": ["a", ["b"]]},
    {"text": "", "label": None, "score": -1e300, "ok": False, "tags": []},
]


@pytest.mark.parametrize(
    ("name", "text", "lines", "unit"),
    [
        ("a.jsonl", "\n".join(map(json.dumps, RECORDS)), [1, 2], "line"),
        ("a.ndjson", "\n\n" + "\r\n \n".join(map(json.dumps, RECORDS)), [3, 5], "line"),
        ("a.json", "\n" + "\n\n".join(map(json.dumps, RECORDS)) + "\n", [2, 4], "line"),
        ("b.json", json.dumps(RECORDS), [1, 2], "row"),
        ("c.json", json.dumps(RECORDS, indent=2), [1, 2], "row"),
        ("d.json", json.dumps({"version": 1, "names": ["x"], "data": RECORDS}), [1, 2], "row"),
        ("e.json", json.dumps({"data": RECORDS}, indent=2), [1, 2], "row"),
    ],
)
def test_json_is_read_in_each_of_its_forms(tmp_path: Path, name: str, text: str, lines: list[int], unit: str) -> None:
    path = written(tmp_path / name, text)
    assert list(read_rows(path)) == [Row(line, record, unit) for line, record in zip(lines, RECORDS, strict=True)]
    assert column_names(path) == list(RECORDS[0])


def test_one_json_object_on_a_line_is_one_row(tmp_path: Path) -> None:
    assert values(written(tmp_path / "a.json", '{"text": "x", "ids": [1]}\n')) == [{"text": "x", "ids": [1]}]


def test_an_empty_json_list_yields_no_row(tmp_path: Path) -> None:
    assert values(written(tmp_path / "a.json", "[]")) == []


def test_a_missing_key_is_none_in_every_row(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", '{"a": 1}\n{"b": 2}\n' + '{"a": 3}\n' * 200 + '{"c": 4}\n')
    assert column_names(path) == ["a", "b"]
    rows = values(path)
    assert rows[:3] == [{"a": 1, "b": None}, {"a": None, "b": 2}, {"a": 3, "b": None}]
    assert rows[-1] == {"a": None, "b": None, "c": 4}


def test_nan_and_infinity_are_floats(tmp_path: Path) -> None:
    row = values(written(tmp_path / "a.jsonl", '{"a": NaN, "b": -Infinity}'))[0]
    assert math.isnan(row["a"])
    assert row["b"] == -math.inf


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", "7", "a.json holds no list of objects, expected one."),
        ("a.json", " \n", "a.json holds only blank lines."),
        ("a.jsonl", " \n\n", "a.jsonl holds only blank lines."),
        ("a.jsonl", '{"a":' * 200_000, "a.jsonl, line 1: not readable JSON: nested too deeply."),
        ("a.json", '{"a":' * 200_000, "a.json, line 1: not readable JSON: nested too deeply."),
    ],
)
def test_json_that_is_broken_is_refused(tmp_path: Path, name: str, text: str, message: str) -> None:
    assert message in refusal(written(tmp_path / name, text))


@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.parquet"])
def test_columns_are_refused_where_the_file_names_its_own(tmp_path: Path, name: str) -> None:
    message = refusal(tmp_path / name, columns=("a",))
    assert message.endswith(f"{name} names its own columns. Leave out --column_names.")


# Parquet


def test_parquet_is_read_in_batches(tmp_path: Path) -> None:
    path = in_parquet(tmp_path / "a.parquet", text=[f"t{i}" for i in range(2500)], label=list(range(2500)))
    rows = list(read_rows(path))
    assert rows[2499] == Row(2500, {"text": "t2499", "label": 2499}, "row")
    assert [row.line for row in rows] == list(range(1, 2501))
    assert rows[0].where == "row 1"
    assert column_names(path) == ["text", "label"]


def test_parquet_values_become_pythons_own(tmp_path: Path) -> None:
    path = in_parquet(
        tmp_path / "a.parquet",
        text=["x", None],
        score=[0.5, None],
        flag=[True, None],
        tags=[["a", "b"], None],
        day=[datetime.date(2024, 1, 31), None],
        days=[[datetime.date(2024, 1, 31)], None],
        price=[decimal.Decimal("1.50"), None],
        kind=pyarrow.array(["k", None]).dictionary_encode(),
        nothing=pyarrow.nulls(2),
    )
    assert values(path) == [
        {
            "text": "x",
            "score": 0.5,
            "flag": True,
            "tags": ["a", "b"],
            "day": datetime.date(2024, 1, 31),
            "days": [datetime.date(2024, 1, 31)],
            "price": decimal.Decimal("1.50"),
            "kind": "k",
            "nothing": None,
        },
        dict.fromkeys(column_names(path)),
    ]


def test_parquet_with_a_name_twice_or_none_has_names_as_in_pandas(tmp_path: Path) -> None:
    one = pyarrow.array([1])
    parquet.write_table(pyarrow.Table.from_arrays([one, one, one], ["a", "a", ""]), tmp_path / "a.parquet")
    assert column_names(tmp_path / "a.parquet") == ["a", "a.1", "Unnamed: 2"]


def test_parquet_that_is_damaged_is_refused(tmp_path: Path) -> None:
    path = in_parquet(tmp_path / "a.parquet", text=[f"text number {i}" for i in range(5000)])
    data = bytearray(path.read_bytes())
    (tmp_path / "cut.parquet").write_bytes(data[:-20])
    assert "cut.parquet is damaged or not Parquet: " in refusal(tmp_path / "cut.parquet")
    assert refusal(tmp_path / "cut.parquet").endswith("Fetch or write it again.")
    assert "is damaged or not Parquet: " in refusal(written(tmp_path / "text.parquet", "text"))
    assert "is damaged or not Parquet: " in refusal(written(tmp_path / "empty.parquet", ""))
    data[4:2000] = bytes(1996)
    (tmp_path / "zeroed.parquet").write_bytes(data)
    assert "zeroed.parquet is damaged or not Parquet: " in refusal(tmp_path / "zeroed.parquet")
    assert "does not exist" in refusal(tmp_path / "gone.parquet")


def test_pyarrow_is_imported_for_parquet_only(tmp_path: Path) -> None:
    written(tmp_path / "a.csv", "a,b\n1,2\n")
    code = (
        "import sys, pathlib; from bertlab.data.data_file import DataFile; from bertlab.data.readers import read_rows; "
        f"list(read_rows(DataFile(pathlib.Path({str(tmp_path / 'a.csv')!r})))); sys.exit('pyarrow' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(readers.__file__).parents[2])


# Data sets as they are published

PUBLISHED = [
    ("glue/MRPC/dev.tsv", 408, ["Quality", "#1 ID", "#2 ID", "#1 String", "#2 String"]),
    ("glue/SST-2/train.tsv", 67349, ["sentence", "label"]),
    ("app_reviews/reviews.csv", 8055, ["content", "score", "appId"]),
    ("imdb/IMDB Dataset.csv.gz", 50000, ["review", "sentiment"]),
]


@pytest.mark.parametrize(("name", "count", "names"), PUBLISHED)
def test_published_files_are_read_whole(name: str, count: int, names: list[str], real_data: Path) -> None:
    path = real_data / name
    if not path.exists():
        pytest.skip(f"BERTLAB_DATA names no folder with {name}")
    assert column_names(path) == names
    assert sum(1 for _ in read_rows(path)) == count
