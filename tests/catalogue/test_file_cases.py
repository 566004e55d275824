"""Files as people have them: each row of the table is read as it must be, or refused with a hint that then works."""

import io
import json
import re
import shlex
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Image, List, Value

from bertlab.cli import parser
from bertlab.cli.arguments import DataArguments, ModelArguments, RunArguments
from bertlab.cli.entry_point import entry_point
from bertlab.data import sources
from bertlab.errors import UserError

Content = str | bytes | Callable[[Path], Any]
ROWS = (("Rain fell all night", "wet"), ("The sun came out", "dry"), ("A puddle remained", "wet"))
FRAME = pd.DataFrame(ROWS, columns=["text", "label"])
NAMELESS = pd.DataFrame([(text, label, number) for number, (text, label) in enumerate(ROWS)])
BROKEN = (("one\ntwo", "wet"), ("one, or\r\ntwo", "dry"), ("plain, so", "wet"))
QUOTED = (('She said "wait" twice', "wet"), ('"Quoted" at the start', "dry"), ("plain", "wet"))


@dataclass(frozen=True)
class Case:
    """Files, the flags of a run that reads them, and the rows that come of it.

    `says` stands in what is printed. With a `hint` the flags alone are refused with a line that holds `says` and the
    hint, and the hint's flags, put beside or in place of them, read the rows.
    """

    name: str
    flags: str
    files: dict[str, Content]
    rows: tuple[tuple[Any, Any], ...] = ROWS
    says: str = ""
    hint: str = ""
    refused: bool = field(default=False)


def csv_of(rows: Any = ROWS, header: str = "text,label\n", end: str = "\n", **replaced: str) -> str:
    return header + "".join(f"{text},{label}{end}" for text, label in rows)


def packed(**members: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in members.items():
            archive.writestr(name.replace("__", "/").replace("_", "."), text)
    return buffer.getvalue()


def per_class(path: Path) -> None:
    for number, (text, label) in enumerate(ROWS):
        (path / label).mkdir(parents=True, exist_ok=True)
        (path / label / f"{number}.txt").write_text(text, encoding="utf-8")


def labelled(path: Path) -> None:
    features = Features({"text": Value("string"), "label": ClassLabel(names=["wet", "dry"])})
    Dataset.from_list([{"text": t, "label": n} for t, n in ROWS], features).to_parquet(path)


def tagged(path: Path) -> None:
    features = Features({"text": Value("string"), "labels": List(ClassLabel(names=["wet", "dry"]))})
    Dataset.from_list([{"text": "a", "labels": ["wet"]}, {"text": "b", "labels": ["dry", "wet"]}], features).to_parquet(
        path
    )


def illustrated(path: Path) -> None:
    features = Features({"text": Value("string"), "label": Value("string"), "image": Image()})
    picture = {"bytes": b"\xff", "path": None}
    Dataset.from_list([{"text": t, "label": n, "image": picture} for t, n in ROWS], features).save_to_disk(path)


def parquet(**columns: Any) -> Callable[[Path], Any]:
    return lambda path: FRAME.assign(**columns).iloc[[2, 1, 0]].iloc[::-1].iloc[[0, 1, 2]].to_parquet(path)


def typed(label: Any) -> Callable[[Path], Any]:
    return lambda path: pd.DataFrame({"text": ["a", "b", "c"], "label": label}).iloc[::1].to_parquet(path)


def in_json(**options: Any) -> Callable[[Path], Any]:
    return lambda path: FRAME.to_json(path, **options)


LINES = "".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in ROWS)
BY_CLASS = (ROWS[1], ROWS[0], ROWS[2])
CSV, TSV = "--train_file a.csv", "--train_file a.tsv"
SEVERAL = (("a", "1"), ("b", "0"), ("c", None))
CASES = [
    # Quoting
    Case(
        "TSV of pandas",
        TSV,
        {"a.tsv": lambda path: pd.DataFrame(QUOTED, columns=["text", "label"]).to_csv(path, sep="\t", index=False)},
        QUOTED,
        "quoted as in CSV",
    ),
    Case(
        "TSV of pandas, every cell quoted",
        TSV,
        {"a.tsv": lambda path: FRAME.to_csv(path, sep="\t", index=False, quoting=1)},
        says="quoted as in CSV",
    ),
    Case(
        "TSV of pandas, a tab and a line break within",
        TSV,
        {"a.tsv": 'text\tlabel\n"one\ttwo\nthree"\tx\nb\ty\n'},
        (("one\ttwo\nthree", "x"), ("b", "y")),
        "quoted as in CSV",
    ),
    Case(
        "TSV of pandas, a line break within",
        TSV,
        {"a.tsv": lambda path: pd.DataFrame(BROKEN, columns=["text", "label"]).to_csv(path, sep="\t", index=False)},
        BROKEN,
        "quoted as in CSV",
    ),
    Case(
        "TSV of Excel, which quotes commas",
        TSV,
        {"a.tsv": 'text\tlabel\r\n"Good, but slow"\tx\r\n"A ""no"", twice"\ty\r\nplain; so\tx\r\n'},
        (("Good, but slow", "x"), ('A "no", twice', "y"), ("plain; so", "x")),
        "quoted as in CSV",
    ),
    Case(
        "TSV with direct speech, and a comma without quotes",
        TSV,
        {"a.tsv": 'text\tlabel\n"Well, stop."\tx\nCold, dark\ty\n'},
        (('"Well, stop."', "x"), ("Cold, dark", "y")),
    ),
    Case(
        "TSV with quotes as characters",
        TSV,
        {"a.tsv": 'text\tlabel\n"Stop." he said\tx\nA 6" nail\ty\n'},
        (('"Stop." he said', "x"), ('A 6" nail', "y")),
    ),
    Case(
        "TSV with direct speech alone",
        TSV,
        {"a.tsv": 'text\tlabel\n"Stop."\tx\n"Go."\ty\n'},
        (('"Stop."', "x"), ('"Go."', "y")),
    ),
    Case(
        "TSV of pandas, quotes kept",
        f"{TSV} --quoting none",
        {"a.tsv": 'text\tlabel\n"a ""b"""\tx\nc\ty\n'},
        (('"a ""b"""', "x"), ("c", "y")),
    ),
    Case(
        "a blank before an opening quote",
        CSV,
        {"a.csv": 'label, text\nx, "Hello, you"\ny, "Good bye"\n'},
        (("Hello, you", "x"), ("Good bye", "y")),
        "blanks before a cell",
    ),
    Case(
        "backslash escapes",
        CSV,
        {"a.csv": 'text,label\n"He said \\"no\\", twice",x\n"a\\\\b",y\n'},
        (('He said "no", twice', "x"), ("a\\b", "y")),
        "backslash",
    ),
    Case(
        "backslash escapes beside other backslashes",
        CSV,
        {"a.csv": 'text,label\n"a \\"b\\" in C:\\new, \\alpha\\n",x\n"ends in \\\\",y\nno \\"quotes\\" round it,y\n'},
        (('a "b" in C:\\new, \\alpha\\n', "x"), ("ends in \\", "y"), ('no "quotes" round it', "y")),
        r"\" is read as a quote within a cell, and \\ as one backslash",
    ),
    Case(
        "a backslash without quotes",
        CSV,
        {"a.csv": 'text,label\nC:\\new,x\n"a, b\\n",y\n'},
        (("C:\\new", "x"), ("a, b\\n", "y")),
    ),
    Case(
        "a quote never closed",
        CSV,
        {"a.csv": csv_of() + 'A 6" nail,dry\n"An inch,wet\n'},
        (*ROWS, ('A 6" nail', "dry"), ('"An inch', "wet")),
        "never closed",
        "--quoting none",
    ),
    Case(
        "a quote never closed, commas within others",
        CSV,
        {"a.csv": csv_of() + '"a, b",dry\n"An inch,wet\n'},
        says="never closed",
        refused=True,
    ),
    # Delimiters and headers
    Case("the line of Excel", CSV, {"a.csv": "sep=;\n" + csv_of().replace(",", ";")}),
    Case("the line of Excel, with a tab", CSV, {"a.csv": "sep=\t\n" + csv_of().replace(",", "\t")}),
    Case("the line of Excel, another delimiter", CSV, {"a.csv": '"sep=^"\n' + csv_of().replace(",", "^")}),
    Case(
        "another delimiter named",
        f"{CSV} --delimiter ';'",
        {"a.csv": csv_of().replace(",", "|") + "one;two|wet\n"},
        (*ROWS, ("one;two", "wet")),
        "line 5: 2 fields",
        "--delimiter '|' --quoting none",
    ),
    Case(
        "a record too long",
        CSV,
        {"a.csv": csv_of() + "Cold, dark and long,wet\n"},
        says="line 5: 3 fields",
        hint="--on_missing drop",
    ),
    Case("a record too short", CSV, {"a.csv": csv_of() + "Cold\n"}, says="line 5: 1 field", hint="--on_missing drop"),
    Case(
        "a lone carriage return",
        CSV,
        {"a.csv": csv_of() + 'Cold\rand long,wet\n"Cold\ragain",wet\n'},
        (*ROWS, ("Cold and long", "wet"), ("Cold\ragain", "wet")),
    ),
    Case(
        "columns without a name",
        CSV,
        {"a.csv": csv_of(header="text,label,,,\n", end=",,,\n")},
        says="Unnamed: 2, Unnamed: 3",
    ),
    Case("a delimiter at the end of each row", CSV, {"a.csv": csv_of(end=",\n")}),
    Case("a delimiter at the end of the header", CSV, {"a.csv": csv_of(header="text,label,\n")}),
    Case("a name twice, not read", CSV, {"a.csv": "text,label,note,note\n" + csv_of(header="", end=",n,m\n")}),
    Case(
        "a name twice, read",
        CSV,
        {"a.csv": "text,label,text\n" + csv_of(header="", end=",other\n")},
        says="two columns 'text'",
        hint="--text_column_names text",
    ),
    Case("the index of pandas", CSV, {"a.csv": lambda path: FRAME.to_csv(path)}, says="Unnamed: 0"),
    Case(
        "the index of pandas in files that were put together",
        f"{CSV} --on_missing drop",
        {"a.csv": 2 * f"\ufeff{FRAME.to_csv()}"},
        (*ROWS, *ROWS),
    ),
    Case(
        "the index of pandas beside an unusual text",
        CSV,
        {"a.csv": lambda path: FRAME.rename(columns={"text": "comment"}).to_csv(path)},
    ),
    Case(
        "the index of pandas as a column",
        CSV,
        {"a.csv": lambda path: FRAME.rename(columns={"text": "comment"}).reset_index().to_csv(path, index=False)},
    ),
    Case(
        "no header",
        TSV,
        {"a.tsv": "".join(f"{label}\t{text}\n" for text, label in ROWS)},
        says="looks like data",
        hint="--column_names label text",
    ),
    Case(
        "no header, a number before",
        CSV,
        {"a.csv": "".join(f"{i},{t},{n}\n" for i, (t, n) in enumerate(ROWS))},
        says="looks like data",
        hint="--column_names column_1 text label",
    ),
    *(
        Case(
            f"columns without names in {name}{more}",
            f"--train_file {name}{more}",
            {name: write},
            says="" if more else f"{names}: which holds the text? Name it with --text_column_names.",
            refused=not more,
        )
        for name, names, write in (
            ("a.csv", "the columns 0, 1, 2", lambda path: NAMELESS.to_csv(path, index=False)),
            ("b.csv", "Unnamed: 0, 0, 1, 2", lambda path: NAMELESS.to_csv(path)),
            ("a.json", "the columns 0, 1, 2", lambda path: NAMELESS.to_json(path, orient="records")),
            ("a.parquet", "the columns 0, 1, 2", lambda path: NAMELESS.rename(columns=str).to_parquet(path)),
        )
        for more in ("", " --text_column_names 0 --label_column_name 1")
    ),
    Case(
        "names with commas between them",
        f"{CSV} --column_names text, label,id",
        {"a.csv": csv_of(header="", end=",7\n")},
    ),
    Case(
        "names for a file that has them",
        f"{CSV} --column_names text label",
        {"a.csv": csv_of()},
        says="names its own columns",
        refused=True,
    ),
    Case(
        "a title is missing",
        f"{CSV} --text_column_names title text --text_column_delimiter ' / '",
        {"a.csv": "title,text,label\n,a,x\nA,b,y\nB,,x\n"},
        (("a", "x"), ("A / b", "y"), ("B", "x")),
    ),
    Case(
        "two files in one",
        CSV,
        {"a.csv": csv_of() + csv_of()},
        (*ROWS, *ROWS),
    ),
    *(
        Case(
            f"one column, {name}",
            f"--test_file {name}",
            {name: "text\nFine, thanks, bye\nA\ttab; or so\n\nA | B\n" + more},
            tuple((text, None) for text in ("Fine, thanks, bye", "A\ttab; or so", "A | B", *read)),
        )
        for name, more, read in (
            ("a.csv", "plain\n", ["plain"]),
            ("a.tsv", '"I, too."\n', ['"I, too."']),
            ("a.txt", '"one, or\ntwo"\n', ["one, or\ntwo"]),
        )
    ),
    Case(
        "one column, a delimiter in each line",
        "--test_file a.csv",
        {"a.csv": "text\nWell, bad\nGood, but slow\n"},
        says="2 fields, expected 1 (text). If the first line is no header, take it out; if each line is a text, "
        "write it in double quotes.",
        refused=True,
    ),
    Case(
        "one column, each line in quotes",
        "--test_file a.csv",
        {"a.csv": 'text\n"Well, bad"\n"Good, but slow"\n'},
        (("Well, bad", None), ("Good, but slow", None)),
    ),
    Case("a comment first", CSV, {"a.csv": "# by us\n" + csv_of()}, says="is no header, take it out", refused=True),
    Case(
        "no header, one column always the same",
        CSV,
        {"a.csv": "".join(f"{n},x,{t}\n" for t, n in (*ROWS, *ROWS))},
        (*ROWS, *ROWS),
        "looks like data",
        "--column_names label column_2 text",
    ),
    Case(
        "names in capitals in the second file",
        f"{CSV} --validation_file b.csv",
        {"a.csv": csv_of(), "b.csv": csv_of(header="Text,LABEL\n")},
        (*ROWS, *ROWS),
    ),
    Case(
        "no header in the second file",
        f"{CSV} --validation_file b.csv",
        {"a.csv": csv_of(), "b.csv": csv_of((*ROWS, *ROWS), header="")},
        says="write the line of column names",
        refused=True,
    ),
    # JSON
    *(
        Case(f"JSON of pandas, {orient}", "--train_file a.json", {"a.json": in_json(orient=orient)})
        for orient in ("columns", "index", "split", "records", "table")
    ),
    Case(
        "JSON of pandas, values",
        "--train_file a.json",
        {"a.json": in_json(orient="values")},
        refused=True,
        says="instead of an object",
    ),
    Case("one record", "--test_file a.json", {"a.json": '{"text": "Alone", "tags": []}'}, (("Alone", None),)),
    Case(
        "one record over lines",
        "--test_file a.json",
        {"a.json": '{\n  "text": "Alone",\n  "spans": [{"a": 1}]\n}'},
        (("Alone", None),),
    ),
    Case(
        "a comma after each object",
        "--train_file a.jsonl",
        {"a.jsonl": LINES.replace("}\n", "},\n")},
        says="line 1: not JSON: a comma",
        refused=True,
    ),
    Case(
        "JSON of lists, a column each",
        "--train_file a.json",
        {"a.json": json.dumps({"text": [text for text, _ in ROWS], "label": [label for _, label in ROWS]})},
    ),
    Case(
        "JSON lines that are a document",
        "--train_file a.jsonl",
        {"a.jsonl": in_json(orient="records"), "a.json": in_json(orient="records")},
        says="is one JSON document",
        refused=True,
    ),
    Case("lists, one a line", "--train_file a.jsonl", {"a.jsonl": '["a", 1]\n["b", 0]\n'}, says="a list", refused=True),
    Case("names in capitals", CSV, {"a.csv": csv_of(header="Text,LABEL\n")}),
    Case("names in capitals beside others", CSV, {"a.csv": csv_of(header="text,label,Text\n", end=",other\n")}),
    Case(
        "a blank and a quote within quotes",
        CSV,
        {"a.csv": 'text,label\n" ""Wait"" she said",wet\n'},
        ((' "Wait" she said', "wet"),),
    ),
    Case(
        "a comma after the last object",
        "--train_file a.json",
        {"a.json": "[" + LINES.replace("}\n", "},\n") + "]"},
        says="a comma",
        refused=True,
    ),
    Case(
        "nested values that nobody reads",
        "--train_file a.jsonl",
        {"a.jsonl": LINES.replace("}\n", ', "meta": {"user": {"id": [1]}}, "spans": [{"a": 1}]}\n')},
    ),
    # Parquet and data sets
    Case("Parquet with class names", "--train_file a.parquet", {"a.parquet": labelled}),
    Case(
        "Parquet with lists of class names",
        "--train_file a.parquet",
        {"a.parquet": tagged},
        (("a", ["wet"]), ("b", ["dry", "wet"])),
    ),
    Case(
        "Parquet with an index",
        "--train_file a.parquet",
        {
            "a.parquet": lambda path: (
                FRAME.rename(columns={"text": "comment"}).set_index(pd.Index([5, 3, 9])).to_parquet(path)
            )
        },
    ),
    Case(
        "Parquet with bytes that nobody reads",
        "--train_file a.parquet",
        {"a.parquet": parquet(image=[b"\xff", b"\0", b""], box=[{"x": 1}] * 3)},
    ),
    Case(
        "categories",
        "--train_file a.parquet",
        {"a.parquet": typed(pd.Categorical(["lo", "hi", "lo"]))},
        (("a", "lo"), ("b", "hi"), ("c", "lo")),
    ),
    Case(
        "truth values",
        "--train_file a.parquet",
        {"a.parquet": typed([True, False, True])},
        (("a", "True"), ("b", "False"), ("c", "True")),
    ),
    Case("whole numbers as floats", "--train_file a.parquet", {"a.parquet": typed([1.0, 0.0, None])}, SEVERAL),
    Case(
        "small numbers, one missing",
        "--train_file a.parquet",
        {"a.parquet": typed(pd.array([1, 0, None], dtype="Int8"))},
        SEVERAL,
    ),
    Case("a clone of the Hub", "--dataset_name ./clone", {"clone/data/train-00000-of-00001.parquet": labelled}),
    Case(
        "save_to_disk",
        "--dataset_name ./saved",
        {"saved": lambda path: DatasetDict(train=Dataset.from_pandas(FRAME)).save_to_disk(path)},
    ),
    Case(
        "save_to_disk with pictures that nobody reads, and that are none",
        "--dataset_name ./saved",
        {"saved": illustrated},
    ),
    Case(
        "save_to_disk of one split",
        "--dataset_name ./saved",
        {"saved": lambda path: Dataset.from_pandas(FRAME).save_to_disk(path)},
    ),
    Case(
        "save_to_disk as a file",
        "--train_file saved",
        {"saved": lambda path: Dataset.from_pandas(FRAME).save_to_disk(path)},
        says="save_to_disk wrote",
        hint="--dataset_name saved",
    ),
    Case(
        "quotes as characters in text with tabs",
        "--train_file a.txt --column_names label text",
        {"a.txt": 'x\t"Quoted start, and more\ny\tsaid "no" again\n'},
        (('"Quoted start, and more', "x"), ('said "no" again', "y")),
    ),
    Case(
        "a folder per class of other files",
        "--train_file pages",
        {"pages/wet/a.html": "<p>", "pages/dry/b.html": "<p>"},
        says="pages is a folder, not a file. A folder per class is read where texts are .txt.",
        refused=True,
    ),
    Case("a folder per class", "--train_file reviews", {"reviews": per_class}, BY_CLASS),
    Case(
        "a folder per class, two texts empty",
        "--train_file reviews --on_missing drop",
        {"reviews": per_class, "reviews/wet/y.txt": "\ufeff", "reviews/wet/z.txt": ""},
        BY_CLASS,
    ),
    Case(
        "a folder per class, hidden files and capitals",
        "--train_file reviews",
        {
            "reviews": per_class,
            "reviews/wet/._0.txt": "\0",
            "reviews/.ipynb_checkpoints/0.txt": "Rain",
            "reviews/cold/9.TXT": "Ice",
        },
        (("Ice", "cold"), *BY_CLASS),
    ),
    Case(
        "a folder per class, and what is left out of it",
        "--train_file reviews",
        {"reviews": per_class, "reviews/cold/2020/9.txt": "Ice", "reviews/wet/8.md": "Rain", "reviews/readme": "By us"},
        BY_CLASS,
        "reviews: left out: cold, wet/8.md. Only .txt files directly in the folder of a class are read.",
    ),
    Case(
        "a folder per class as a data set",
        "--dataset_name ./reviews",
        {"reviews/train": per_class},
        BY_CLASS,
        "a folder per class",
        "--train_file reviews/train",
    ),
    # What the system adds, and other formats
    Case(
        "a zip of macOS", "--train_file a.zip", {"a.zip": packed(a_csv=csv_of(), _DS_Store="\0", __MACOSX___a_csv="\0")}
    ),
    Case("an archive called CSV", CSV, {"a.csv": packed(xl__sheet_xml="<a/>")}, says="Office file (xlsx", refused=True),
    Case("a workbook", "--train_file a.xlsx", {"a.xlsx": packed(xl__sheet_xml="<a/>")}, says="(.xlsx)", refused=True),
    Case("a pointer", CSV, {"a.csv": "version https://git-lfs.github.com/spec/v1\n"}, says="Git LFS", refused=True),
    Case(
        "a folder of nothing",
        "--train_file .",
        {".ci/a": "", ".git/b": ""},
        says=". is a folder, not a file.",
        refused=True,
    ),
]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(files: dict[str, Content]) -> None:
    for name, content in files.items():
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        if callable(content):
            content(path)
        else:
            path.write_bytes(content.encode() if isinstance(content, str) else content)


def parse(flags: list[str]) -> parser.Arguments:
    return parser.parse(flags, (DataArguments, ModelArguments, RunArguments), "")


def read(flags: list[str]) -> tuple[tuple[Any, Any], ...]:
    """Return text and label of every row that a run with these flags reads, without those --on_missing drops."""
    data = parse(flags)[DataArguments]
    sources.check_exists(data)
    raw = sources.read_source(data, None, None, streaming=False)
    rows = [(row["text"], row.get("label")) for split in raw.splits.values() for row in split]
    return tuple(row for row in rows if row[0] is not None)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_file_is_read_or_its_refusal_helps(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    write(case.files)
    flags = shlex.split(case.flags)
    if case.hint or case.refused:
        with pytest.raises(UserError) as caught:
            read(flags)
        assert case.says in str(caught.value)
        assert case.hint in str(caught.value)
        assert ".git" not in caught.value.hint or "lfs" in caught.value.hint
        if case.refused:
            return
        added = shlex.split(case.hint)
        again = flags.index(added[0]) if added[0] in flags else len(flags)
        flags = added if "--dataset_name" in [*flags, *added] else [*flags[:again], *flags[again + 2 :], *added]
    assert read(flags) == case.rows
    printed = capsys.readouterr().err
    if not case.hint:
        assert case.says in printed
    assert len(printed.splitlines()) <= 2, "a remark is made once a file"


@pytest.mark.parametrize("name", ["a.txt", "a.train"])
def test_a_fasttext_file_becomes_a_table_by_its_hint(name: str) -> None:
    write({"FILE": "".join(f"__label__{label} {text}\n" for text, label in ROWS)})
    Path(name).write_bytes(Path("FILE").read_bytes())
    with pytest.raises(UserError, match="fastText") as caught:
        read(["--train_file", name])
    command = re.search(r"sed .* FILE\.tsv", caught.value.hint)
    subprocess.run(["bash", "-c", command[0]], check=True)  # type: ignore[index]
    assert read(["--train_file", "FILE.tsv", "--column_names", "label", "text"]) == ROWS


MISSING = {
    "run_classification --task colaa": "--task colaa",
    "run_classification --train_file gone.csv --model_name_or_path ./m": "gone.csv does not exist",
    "run_classification --dataset_name ./absent --model_name_or_path ./m": "absent: no such folder",
    "run_classification --task cola --data_dir nowhere": "--data_dir nowhere",
    "run_classification --train_file a.csv --model_name_or_path ./away": "./away: no such folder",
    "run_classification --train_file a.csv": "no model is named",
    "run_nsp --text gone.txt --model_name_or_path ./m": "gone.txt does not exist",
    "check --task colaa": "--task colaa",
    "check --train_file gone.csv --model_name_or_path ./m": "gone.csv does not exist",
    "check --train_file a.csv --model_name_or_path ./away": "./away: no such folder",
    "predict ./away --text a": "./away: no such folder",
    "predict ./away --file gone.csv": "gone.csv does not exist",
    "predict ./home --file gone.csv": "gone.csv does not exist",
}


def test_what_is_missing_is_refused_before_heavy_imports() -> None:
    write({"a.csv": csv_of(), "home/config.json": "{}"})
    code = (
        "import sys, run_classification, run_nsp; from bertlab.commands import check, predict\n"
        "for typed in sys.argv[1:]:\n"
        "    script, *argv = typed.split()\n"
        "    assert globals()[script].main(argv) == 2, typed\n"
        "    heavy = {'torch', 'transformers', 'datasets', 'pandas', 'pyarrow', 'sklearn', 'onnxruntime'}\n"
        "    assert not heavy & set(sys.modules), (typed, heavy & set(sys.modules))"
    )
    environment = {"PYTHONPATH": str(Path(sources.__file__).parents[2]), "PATH": "/usr/bin:/bin"}
    done = subprocess.run([sys.executable, "-c", code, *MISSING], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    for says, line in zip(MISSING.values(), done.stderr.splitlines(), strict=True):
        assert says in line


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_output_that_is_no_terminal_is_utf_8(encoding: str) -> None:
    code = (
        "from bertlab.cli.entry_point import entry_point\n"
        "from bertlab.console import say, info\n"
        "def main():\n    say('体育 ⚽ \\udcff'); info('财经'); return 0\n"
        "raise SystemExit(entry_point(main)())"
    )
    environment = {"PYTHONPATH": str(Path(sources.__file__).parents[2]), "PYTHONIOENCODING": encoding}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True)
    assert done.stdout.decode() == "体育 ⚽ \\udcff\n"
    assert done.stderr.decode() == "info: 财经\n"


def test_a_terminal_of_another_encoding_shows_escapes(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.TextIOWrapper):
        def isatty(self) -> bool:
            return True

    screen = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", Terminal(screen, encoding="cp1252", errors="strict"))
    entry_point(lambda: print("café 体") or 0)()  # type: ignore[func-returns-value]
    assert screen.getvalue() == "café \\u4f53\n".encode("cp1252")


@pytest.mark.parametrize(
    ("typed", "hint"),
    [
        ("--lr 3e-5", "--learning_rate"),
        ("--batch_size 8", "--per_device_train_batch_size"),
        ("--epochs 2.0", "--num_train_epochs"),
    ],
)
def test_a_name_of_other_programs_gets_ours(typed: str, hint: str) -> None:
    name, text = typed.split()
    with pytest.raises(UserError, match=hint):
        parse([name, text])
    assert parse([hint, text]).training[hint[2:]] == float(text)


@pytest.mark.parametrize("name", ["num_labels", "do_lower_case", "n_gpu"])
def test_a_flag_that_other_programs_need_is_to_be_left_out(name: str) -> None:
    with pytest.raises(UserError, match=rf"--{name}: no such flag\. Leave it out: "):
        parse([f"--{name}"])


def test_no_flag_that_is_refused_is_offered() -> None:
    with pytest.raises(UserError, match="no such flag") as caught:
        parse(["--enable_jit_checkpoints"])
    assert "'enable_jit_checkpoint'" not in caught.value.hint


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("--validation_split_percentage 5", {"validation_fraction": 0.05}),
        ("--checkpointing_steps epoch", {"save_strategy": "epoch"}),
        ("--checkpointing_steps 200", {"save_strategy": "steps", "save_steps": 200}),
        ("--text_column_name review", {"text_column_names": ["review"]}),
    ],
)
def test_names_of_the_example_scripts_work(typed: str, expected: dict[str, Any]) -> None:
    settings = parse(typed.split()).invocation.settings
    assert {name: settings[name] for name in expected} == expected


@pytest.mark.parametrize("typed", ["--length_column_name n", "--include_for_metrics loss", "--enable_jit_checkpoint"])
def test_a_flag_that_would_do_nothing_is_refused(typed: str) -> None:
    with pytest.raises(UserError, match="is not supported"):
        parse(typed.split())
    parse([])


@pytest.mark.parametrize("typed", ["--deepspeed ds.json", "--lr_scheduler_kwargs {key: 1}"])
def test_the_hint_for_broken_json_works_for_any_flag(typed: str) -> None:
    flag, text = typed.split(maxsplit=1)
    with pytest.raises(UserError) as caught:
        parse([flag, text])
    example = re.search("'(.*)'", caught.value.hint)
    assert parse([flag, example[1].replace("value", "1")])  # type: ignore[index]
