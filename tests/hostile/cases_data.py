"""Data: files missing, broken, of another kind or encoding; columns, texts and labels that cannot be right."""

import gzip
import io
import json
import os
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bad_input import GOOD_FILES, PAIRS, ROWS, Case, accepted, refused

HEADER = "text,label\n"
GOOD = HEADER + ROWS


def train(name: str, content: str | bytes, *says: str, typed: str = "", **more: Any) -> Case:
    """Return a case whose train.csv is bad."""
    return refused(name, typed, "train.csv", *says, files={"train.csv": content}, **more)


def named(name: str, file: str, content: Any, *says: str, typed: str = "", **more: Any) -> Case:
    """Return a case whose training file has another name."""
    return refused(name, f"--train_file {file} {typed}", file, *says, files={file: content}, **more)


def evaluated(name: str, trained: Iterable[object], row: str, *says: str, typed: str = "", **more: Any) -> Case:
    """Return a case with labels `trained` in train.csv and a bad row in dev.csv."""
    rows = "".join(f"text {index},{label}\n" for index, label in enumerate(trained))
    files = {"train.csv": HEADER + rows, "dev.csv": HEADER + row}
    return refused(name, f"--validation_file dev.csv {typed}", "dev.csv", *says, files=files, **more)


def lines(*rows: object) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def parquet(columns: dict[str, list[Any]]) -> Any:
    def write(path: Path) -> None:
        import pyarrow
        from pyarrow import parquet as files

        files.write_table(pyarrow.table(columns), path)

    return write


def zipped(members: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return buffer.getvalue()


def flipped(data: bytes) -> bytes:
    """Return the bytes with one in the middle changed."""
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 0xFF]) + data[middle + 1 :]


OBJECTS = [{"text": text, "label": label} for text, label in PAIRS]
BROKEN_LINE_17 = lines(*OBJECTS, *OBJECTS) + '{"text": "a film", "label": "good"\n' + lines(*OBJECTS)

FILES = [
    refused("unreadable", "", "train.csv cannot be opened: Permission denied", unreadable="train.csv"),
    refused(
        "nsp unreadable", "", "story.txt cannot be opened: Permission denied", unreadable="story.txt", command="nsp"
    ),
    refused("missing", "--train_file trian.csv", "trian.csv does not exist", "'train.csv'"),
    refused("missing folder", "--train_file data/train.csv", "data/train.csv does not exist", "no folder data"),
    refused(
        "a folder",
        "--train_file data",
        "data",
        "folder",
        "a.csv",
        files={"data/a.csv": GOOD},
        obeys="--train_file data/a.csv",
    ),
    refused(
        "a folder with a suffix",
        "--train_file data.csv",
        "data.csv is a folder",
        "a.csv",
        files={"data.csv/a.csv": GOOD},
        obeys="--train_file data.csv/a.csv",
    ),
    refused("another format", "--train_file notes.md", "notes.md: no reader for the suffix '.md'", ".csv"),
    named("a spreadsheet", "train.xlsx", zipped({"xl/a.xml": "<a/>"}), ".xlsx", "Save the sheet as CSV"),
    named("no suffix", "train", GOOD, "no reader", "suffix"),
    refused(
        "a loop of links",
        "--train_file loop.csv",
        "loop.csv cannot be opened",
        files={"loop.csv": lambda path: path.symlink_to(path.name)},
    ),
    refused(
        "a dangling link",
        "--train_file gone.csv",
        "gone.csv does not exist",
        files={"gone.csv": lambda path: path.symlink_to("nowhere.csv")},
        obeys="--train_file train.csv",
    ),
    refused(
        "a pipe",
        "--train_file pipe.csv",
        "pipe.csv",
        "not a plain file",
        files={"pipe.csv": lambda path: os.mkfifo(path)},
    ),
    train("empty", "", "is empty"),
    train("a mark and nothing else", b"\xef\xbb\xbf", "is empty"),
    train("blank lines", "\n\n\n", "only blank lines"),
    train("header only", HEADER, "has no rows"),
    train("one row", HEADER + "a good film,good\n", "every row has the label 'good'", "nothing to learn"),
    train("NUL bytes", HEADER + "a\0b,good\n", "line 2: a NUL character"),
    train(
        "latin-1",
        HEADER.encode() + "un café,good\nb,bad\n".encode("latin-1"),
        "line 2",
        "0xe9",
        "latin-1",
        obeys="--encoding latin-1",
    ),
    train(
        "UTF-16 without mark",
        GOOD.encode("utf-16-le"),
        "line 1: a NUL",
        "--encoding utf-16-le",
        obeys="--encoding utf-16-le",
    ),
    train("wrong encoding named", GOOD, "utf-16", typed="--encoding utf-16", obeys=""),
    refused("unknown encoding", "--encoding utf9", "'utf9' is unknown", "'utf-"),
    train(
        "binary",
        bytes(range(128, 256)) * 20,
        "line 1",
        "not utf-8 text",
        obeys="--encoding latin-1",
        then="has no rows",
    ),
    train("an HTML page", "<!DOCTYPE html>\n<html>\n<body>404, not found</body>\n</html>\n", "HTML page"),
    named("cut gzip", "a.csv.gz", gzip.compress(GOOD.encode())[:-12], "damaged or not a gz file"),
    named("flipped gzip", "a.csv.gz", flipped(gzip.compress(GOOD.encode())), "damaged or not a gz file"),
    named("text called gzip", "a.csv.gz", GOOD, "damaged or not a gz file"),
    named("cut zip", "a.csv.zip", zipped({"a.csv": GOOD})[:-20], "damaged or not a zip file"),
    named("zip of nothing", "a.csv.zip", zipped({}), "holds no file"),
    named("zip of two", "a.csv.zip", zipped({"a.csv": GOOD, "b.csv": GOOD}), "holds 2 files (a.csv, b.csv)"),
    named("text called Parquet", "a.parquet", GOOD, "damaged or not Parquet"),
    named("cut Parquet", "a.parquet", b"PAR1" + bytes(64) + b"PAR1", "damaged or not Parquet"),
    refused("nsp missing", "--text stroy.txt", "stroy.txt", "'story.txt'", command="nsp", obeys="--text story.txt"),
    refused("nsp empty", "--text empty.txt", "empty.txt", "empty", command="nsp", files={"empty.txt": ""}),
    refused(
        "nsp one sentence",
        "--text one.txt",
        "sentence",
        command="nsp",
        files={"one.txt": "The dog ran.\n"},
        obeys="--text one.txt --sentence_splitter line",
        mends={"one.txt": GOOD_FILES["story.txt"].replace(". ", "\n")},
        then="no document of two or more sentences",
    ),
    refused(
        "nsp latin-1",
        "--text old.txt",
        "old.txt, line 2",
        "0xe9",
        "--encoding",
        command="nsp",
        files={"old.txt": b"The dog ran.\nUn caf\xe9 noir.\n" + GOOD_FILES["story.txt"].encode()},
        obeys="--text old.txt --encoding latin-1",
    ),
    refused("nsp empty folder", "--text books", "books", command="nsp", files={"books": lambda path: path.mkdir()}),
]

TABLES = [
    train(
        "wrong delimiter",
        GOOD,
        "'text,label'",
        "--delimiter",
        typed="--delimiter ';' --text_column_names text",
        obeys="--delimiter , --text_column_names text",
    ),
    refused("delimiter of two characters", "--delimiter '||'", "'||'", "not one character"),
    train(
        "a delimiter nobody guesses",
        "text~label\na~x\nb~y\n",
        "'text~label'",
        "--delimiter",
        typed="--text_column_names text",
        obeys="--delimiter ~ --text_column_names text",
    ),
    train(
        "ragged",
        GOOD + "one,two,three\n",
        "line 10: 3 fields, expected 2 (text, label)",
        "--on_missing drop",
        obeys="--on_missing drop",
    ),
    train(
        "every row ragged",
        HEADER + "'Cold, dark',wet\n'Hot, bright',dry\n",
        "no row has a text",
        typed="--on_missing drop",
        obeys="--on_missing error",
        then="line 2: 3 fields, expected 2",
    ),
    train("row too short", GOOD + "lonely\n", "line 10: 1 field, expected 2", obeys="--on_missing drop"),
    train(
        "quote never closed",
        GOOD + '"a film,good\nb,bad\n',
        "line 10",
        "never closed",
        "--quoting none",
        obeys="--quoting none",
    ),
    train("text after a quote", GOOD + '"a" film,good\n', "line 10", "closing double quote", obeys="--quoting none"),
    train(
        "column twice",
        "text,label,text\na,x,b\nc,y,d\n",
        "two columns 'text'",
        "--text_column_names text",
        obeys="--text_column_names text",
    ),
    train(
        "label column twice",
        "text,label,label\na,x,y\nb,y,x\n",
        "two columns 'label'",
        "--label_column_name label",
        typed="--text_column_names text",
        obeys="--text_column_names text --label_column_name label",
    ),
    train(
        "one of a pair twice",
        "sentence1,sentence2,sentence1,label\na,b,c,x\nd,e,f,y\n",
        "two columns 'sentence1'",
        "--text_column_names sentence1 sentence2",
        obeys="--text_column_names sentence1 sentence2",
    ),
    train(
        "column twice in capitals",
        "Text,label,Text\na,x,b\nc,y,d\n",
        "two columns 'Text'",
        obeys="--text_column_names Text",
    ),
    refused(
        "label column twice in another file",
        "--validation_file dev.csv",
        "dev.csv has two columns 'label'",
        files={"dev.csv": "text,label,label\na,good,bad\nb,bad,good\n"},
        obeys="--validation_file dev.csv --label_column_name label",
    ),
    train(
        "column missing",
        "text,score\na,1\nb,2\n",
        "no column 'sentence'",
        "text, score",
        typed="--text_column_names sentence",
    ),
    refused(
        "one of several label columns missing in another file",
        "--label_column_name rude dull --test_file dev.csv",
        "dev.csv has no column 'rude'",
        files={"train.csv": "text,rude,dull\na,0,1\nb,1,0\n", "dev.csv": "text,dull\nc,1\n"},
    ),
    train("column misspelt", GOOD, "no column 'txt'", "'text'", typed="--text_column_names txt"),
    train("label column misspelt", GOOD, "no column 'labels'", "'label'", typed="--label_column_name labels"),
    train(
        "label column absent",
        "text,score\na,1\nb,2\n",
        "no labels",
        "--label_column_name",
        typed="--text_column_names text",
        obeys="--text_column_names text --label_column_name score",
    ),
    train(
        "text and label the same",
        GOOD,
        "'label' is named as text and as label",
        typed="--text_column_names label --label_column_name label",
    ),
    train(
        "which is the text",
        "title,body,label\na,b,x\nc,d,y\n",
        "title, body",
        "--text_column_names",
        obeys="--text_column_names title",
    ),
    refused(
        "column read and removed",
        "--text_column_names text --remove_columns text",
        "'text' is named to be read and to be removed",
    ),
    refused(
        "evaluation column missing",
        "--validation_file dev.csv",
        "dev.csv has no column 'text'",
        "sentence",
        files={"dev.csv": "sentence,label\na,good\n"},
    ),
    refused(
        "evaluation label missing",
        "--validation_file dev.csv",
        "dev.csv",
        "label",
        files={"dev.csv": "text\na\n"},
        obeys="--test_file dev.csv",
    ),
    train(
        "text missing", GOOD + ",good\n", "line 10: the text is missing", "--on_missing drop", obeys="--on_missing drop"
    ),
    train("text of spaces", GOOD + '"   ",good\n', "line 10: the text is missing", obeys="--on_missing drop"),
    train(
        "every text missing",
        "label,text,body\ngood,,a film\nbad,,a book\n",
        "no row has a text",
        obeys="--text_column_names body",
    ),
    train(
        "label missing",
        GOOD + "a film,\n",
        "line 10: the label is missing",
        "--on_missing drop",
        obeys="--on_missing drop",
    ),
]

JSON = [
    named("broken line 17", "a.jsonl", BROKEN_LINE_17, "a.jsonl, line 17: not JSON", "column"),
    named("broken document", "a.json", '[{"text": "a", "label": 1},\n{"text": "b" "label": 2}]', "line 2", "not JSON"),
    named("empty list", "a.json", "[]", "no rows"),
    named("a word", "a.json", '"text"', "no list of objects"),
    named("list of texts", "a.json", '["a", "b"]', "row 1: a text instead of an object", '{"text"'),
    named("two lists", "a.json", json.dumps({"train": OBJECTS, "dev": OBJECTS}), "2 lists of objects (train, dev)"),
    named("nested object", "a.jsonl", lines({"text": {"title": "a"}, "label": 1}), "line 1", "'text'", "nested object"),
    named(
        "list for a text",
        "a.jsonl",
        lines({"text": ["a", "b"], "label": "x"}, {"text": "b", "label": "y"}),
        "line 1",
        "'text'",
        "list",
    ),
    named(
        "key missing",
        "a.jsonl",
        lines(*OBJECTS, {"label": "good"}),
        "line 9: the text is missing",
        obeys="--train_file a.jsonl --on_missing drop",
    ),
    named(
        "key missing in a list",
        "a.json",
        json.dumps([*OBJECTS, {"label": "good"}]),
        "row 9: the text is missing",
        obeys="--train_file a.json --on_missing drop",
    ),
    named(
        "text missing in Parquet",
        "a.parquet",
        parquet({"text": ["a", None, "b"], "label": ["x", "y", "y"]}),
        "row 2: the text is missing",
        obeys="--train_file a.parquet --on_missing drop",
    ),
    named(
        "label missing in Parquet",
        "a.parquet",
        parquet({"text": ["a", "b", "c"], "label": [1, 0, None]}),
        "row 3: the label is missing",
        obeys="--train_file a.parquet --on_missing drop",
    ),
    named("bytes in Parquet", "a.parquet", parquet({"text": [b"a", b"b"], "label": [1, 0]}), "'text' holds bytes"),
    named("structures in Parquet", "a.parquet", parquet({"text": [{"a": 1}], "label": [1]}), "'text'", "nested"),
    named("half a surrogate pair", "a.jsonl", '{"text": "\\ud83d", "label": 1}\n', "line 1", "surrogate"),
    named("a number too long", "a.jsonl", '{"text": "a", "label": ' + "9" * 5000 + "}\n", "line 1", "digits"),
    named(
        "lists and scalars mixed",
        "a.jsonl",
        lines({"text": "a", "label": ["x"]}, {"text": "b", "label": "y"}),
        "line 2",
        "'y'",
        "all lists or none",
    ),
    named(
        "scalars and lists mixed",
        "a.json",
        json.dumps([{"text": "a", "label": "x"}, {"text": "b", "label": ["y"]}]),
        "row 2",
        "['y']",
    ),
    named(
        "label lists for one class",
        "a.jsonl",
        lines({"text": "a", "label": ["x", "z"]}, {"text": "b", "label": ["y"]}),
        "lists",
        "multi_label_classification",
        typed="--problem_type single_label_classification",
    ),
    named(
        "the same label twice",
        "a.jsonl",
        lines({"text": "a", "label": ["x", "x"]}, {"text": "b", "label": ["y"]}),
        "line 1",
        "'x' twice",
    ),
]

LABELS = [
    train("one class", HEADER + "a,x\nb,x\nc,x\n", "every row has the label 'x'", "label column"),
    train("NaN label", HEADER + "a,1\nb,0\nc,nan\n", "line 4", "'nan'", obeys="--drop_labels nan"),
    train(
        "NaN in regression",
        HEADER + "a,1.5\nb,0\nc,nan\n",
        "line 4",
        "'nan' is not a finite number",
        typed="--do_regression",
        obeys="--do_regression --drop_labels nan",
    ),
    train(
        "infinite in regression",
        HEADER + "a,1.5\nb,inf\nc,2\n",
        "line 3",
        "'inf' is not a finite number",
        typed="--do_regression",
        obeys="--do_regression --drop_labels inf",
    ),
    train(
        "words in regression",
        HEADER + "a,1.5\nb,high\nc,2\n",
        "line 3",
        "'high' is not a finite number",
        typed="--do_regression",
        obeys="--do_regression --drop_labels high",
    ),
    train(
        "decimals for classes",
        HEADER + "".join(f"t {i},{i / 7:.3f}\n" for i in range(9)),
        "decimal",
        "--problem_type regression",
        typed="--problem_type single_label_classification",
        obeys="--problem_type regression",
    ),
    train(
        "a label a row",
        HEADER + "".join(f"text {i},{i} %\n" for i in range(12)),
        "12 different labels in 12 rows",
        obeys="--problem_type single_label_classification",
    ),
    train(
        "case differs",
        HEADER + "a,Good\nb,good\nc,bad\n",
        "'Good' and 'good' differ in case only",
        "--label_map",
        obeys="--label_map good=Good",
    ),
    train(
        "spaces differ",
        HEADER + "a,very  good\nb,very good\nc,bad\n",
        "'very  good'",
        "space",
        "--label_map",
        obeys="--label_map 'very good=very  good'",
    ),
    train(
        "10,000 classes",
        HEADER + "".join(f"text {i},class {i}\n" for i in range(10_000)),
        "10000 different labels in 10000 rows",
        "--label_column_name",
        obeys="--problem_type single_label_classification",
    ),
    refused(
        "undeclared class",
        "--class_names god bda",
        "line 2: the label 'good'",
        "--class_names god bda",
        obeys="--class_names god bda good bad",
    ),
    refused("class names repeated", "--class_names bad good good", "--class_names", "'good'"),
    evaluated(
        "unknown in evaluation",
        ["good", "bad"],
        "a,godo\n",
        "line 2: the label 'godo'",
        "'good'",
        "--label_map",
        obeys="--validation_file dev.csv --class_names bad good godo",
    ),
    evaluated(
        "case in evaluation",
        ["good", "bad"],
        "a,Good\n",
        "line 2: the label 'Good'",
        "'good'",
        obeys="--validation_file dev.csv --label_map Good=good",
    ),
    evaluated(
        "numbers in evaluation",
        ["neg", "pos"],
        "a,0\nb,1\n",
        "line 2: the label '0'",
        "--class_names neg pos",
        obeys="--validation_file dev.csv --class_names neg pos",
    ),
    evaluated(
        "numbers above in evaluation",
        ["neg", "pos"],
        "a,2\nb,neg\n",
        "line 2: the label '2'",
        obeys="--validation_file dev.csv --drop_labels 2",
    ),
    evaluated(
        "words in evaluation",
        ["0", "1"],
        "a,pos\n",
        "line 2: the label 'pos'",
        "0, 1",
        obeys="--validation_file dev.csv --class_names 0 1 pos",
    ),
    evaluated(
        "missing in evaluation",
        ["good", "bad"],
        "a,\nb,good\n",
        "line 2: the label is missing",
        obeys="--validation_file dev.csv --on_missing drop",
    ),
    evaluated(
        "unknown of GLUE in evaluation",
        ["0", "1"],
        "a,-1\nb,0\n",
        "line 2: the label '-1'",
        "--drop_labels -1",
        obeys="--validation_file dev.csv --drop_labels -1",
    ),
    evaluated(
        "words in evaluated regression",
        ["0.5", "1"],
        "a,high\nb,1\n",
        "line 2",
        "not a finite number",
        notes=("the labels are decimal",),
        obeys="--validation_file dev.csv --drop_labels high",
    ),
    refused(
        "list in evaluation",
        "--validation_file dev.jsonl",
        "dev.jsonl",
        "line 1",
        "list",
        files={"dev.jsonl": lines({"text": "a", "label": ["good", "bad"]})},
        obeys="--validation_file dev.jsonl --problem_type multi_label_classification",
    ),
    refused(
        "row in evaluation",
        "--validation_file dev.parquet",
        "dev.parquet, row 2: the label 'fair'",
        files={"dev.parquet": parquet({"text": ["a", "b"], "label": ["good", "fair"]})},
        obeys="--validation_file dev.parquet --class_names bad good fair",
    ),
]

HUGE = "film " * 30_000
LONG = (("a good film", "good"), (HUGE.strip() + "!", "bad"))
# Odd, and right to accept: each is read row for row.
ACCEPTED = [
    accepted(
        "byte-order mark", "", PAIRS, "bad 4 (50.0%), good 4", files={"train.csv": b"\xef\xbb\xbf" + GOOD.encode()}
    ),
    accepted("UTF-16 with mark", "", PAIRS, files={"train.csv": GOOD.encode("utf-16")}),
    accepted("UTF-16 named", "--encoding utf-16-le", PAIRS, files={"train.csv": GOOD.encode("utf-16-le")}),
    accepted(
        "latin-1 named",
        "--encoding latin-1",
        (("un café", "x"), ("b", "y")),
        files={"train.csv": "text,label\nun café,x\nb,y\n".encode("latin-1")},
    ),
    accepted("huge field", "", LONG, files={"train.csv": HEADER + "".join(f"{t},{n}\n" for t, n in LONG)}),
    accepted("semicolons", "", PAIRS, files={"train.csv": GOOD.replace(",", ";")}),
    accepted("Windows line ends", "", PAIRS, files={"train.csv": GOOD.replace("\n", "\r\n")}),
    accepted("no newline at the end", "", PAIRS, files={"train.csv": GOOD.rstrip("\n")}),
    accepted(
        "index of pandas",
        "",
        PAIRS,
        "bad 4",
        notes=("train.csv: Unnamed: 0 had no name",),
        files={"train.csv": ",text,label\n" + "".join(f"{i},{t},{n}\n" for i, (t, n) in enumerate(PAIRS))},
    ),
    accepted(
        "quotes over lines",
        "",
        (('one\ntwo "three"', "x"), ("b", "y")),
        files={"train.csv": 'text,label\n"one\ntwo ""three""",x\nb,y\n'},
    ),
    accepted(
        "whole decimals",
        "",
        (("a", "1.0"), ("b", "2.0"), ("c", "1")),
        "1 2 (66.7%), 2 1 (33.3%)",
        files={"train.csv": HEADER + "a,1.0\nb,2.0\nc,1\n"},
    ),
    accepted(
        "numbers and texts",
        "--train_file a.jsonl",
        (("a", 1), ("b", 0), ("c", "1")),
        "0 1 (33.3%), 1 2",
        files={"a.jsonl": lines(*[{"text": t, "label": n} for t, n in (("a", 1), ("b", 0), ("c", "1"))])},
    ),
    accepted(
        "truth values",
        "--train_file a.jsonl",
        (("a", True), ("b", False)),
        "False 1",
        files={"a.jsonl": lines({"text": "a", "label": True}, {"text": "b", "label": False})},
    ),
    accepted(
        "declared ids",
        "--class_names neg pos",
        (("a", "0"), ("b", "1")),
        "neg 1 (50.0%), pos 1",
        files={"train.csv": HEADER + "a,0\nb,1\n"},
    ),
]

CASES: list[Case] = [*FILES, *TABLES, *JSON, *LABELS, *ACCEPTED]
