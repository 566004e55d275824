"""Labels as people write them: each row of the table is read and said, or refused with a hint that then works."""

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from running import classify, predict, predictions, read_json, write_lines

from bertlab.commands import check, compare
from bertlab.data import labels
from bertlab.evaluation.evaluate import SplitResult
from bertlab.report import results

NLI = ("entailment", "neutral", "contradiction")
SINGLE, MULTI = "--problem_type single_label_classification", "--problem_type multi_label_classification"


@dataclass(frozen=True)
class Case:
    """Labels of the training rows, flags, and what the data report says of them.

    With a `hint` the flags alone are refused in one line that holds `says` and the hint, and the hint's flags, put
    beside or in place of them, give a report that holds `then`.
    """

    name: str
    labels: Sequence[Any]
    says: tuple[str, ...]
    flags: str = ""
    hint: str = ""
    then: str = ""
    dev: Sequence[Any] = ()
    test: Sequence[Any] = ()
    columns: dict[str, Sequence[Any]] = field(default_factory=dict)
    is_wrong: bool = False


def read(name: str, labels: Sequence[Any], *says: str, **more: Any) -> Case:
    return Case(name, labels, says, **more)


def refused(name: str, labels: Sequence[Any], *says: str, **more: Any) -> Case:
    return Case(name, labels, says, is_wrong=True, **more)


CASES = (
    # -1 and other marks of no label
    read(
        "minus one beside 0 and 1",
        [-1, 0, 1],
        "0 = -1, 1 = 0, 2 = 1",
        "if it marks rows without a label, --drop_labels",
    ),
    read("minus one and one", ["-1", "1"], "2 classes: 0 = -1, 1 = 1"),
    read("a scale from -2", [-2, -1, 0, 1, 2], "5 classes: 0 = -2, 1 = -1"),
    refused(
        "minus one under named classes",
        [-1, 0, 1],
        "line 1: the label '-1'",
        "--drop_labels -1",
        flags="--class_names bad fair good --on_missing drop",
        hint="--label_map -1=bad 0=fair 1=good",
        then="-1 is bad, 0 is fair, 1 is good",
    ),
    refused(
        "minus one that is dropped",
        [-1, 0, 1],
        "the label '-1'",
        flags="--class_names no yes",
        hint="--drop_labels -1",
        then="0 is no, 1 is yes",
    ),
    refused("minus one beside ids", [0, 1, 2, -1], "the label '-1'", hint="--drop_labels -1", then="3 classes: 0 = 0"),
    refused("minus one beside words", [*NLI, "-1"], "the label '-1'", hint="--drop_labels -1", then="3 classes"),
    refused(
        "a dash in NLI",
        [*NLI, "-"],
        "line 4: the label '-'",
        hint="--drop_labels -",
        then="2 of 8 rows have a label of",
    ),
    refused("a dash kept", [*NLI, "-"], "the label '-'", hint="--label_map -=-", then="4 classes: 0 = -"),
    read("plus and minus", ["+", "-"], "2 classes: 0 = +, 1 = -"),
    read("punctuation to restore", [",", ".", "?"], "3 classes"),
    *(
        refused(
            f"{word} among words",
            ["wet", "dry", word],
            f"the label {word!r}",
            hint=f"--drop_labels {shown}",
            then="2 cl",
        )
        for word, shown in (
            ("NULL", "NULL"),
            ("N/A", "N/A"),
            ("nan", "nan"),
            ("?", "'?'"),
            ("None", "None"),
            ("#N/A", "'#N/A'"),
        )
    ),
    refused("nan among numbers", [1, 2, "nan"], "the label 'nan'", hint="--drop_labels nan", then="2 classes: 0 = 1"),
    refused("nan in a regression", [0.5, 2, "nan"], "the label 'nan'", hint="--drop_labels nan", then="regression"),
    read("none in lower case", ["for", "against", "none"], "3 classes", "'none' is a class", "--drop_labels none"),
    read("a question mark in test", ["wet", "dry"], "labels in test: none", test=["?", "?"]),
    read("minus one as a float in test", ["wet", "dry"], "labels in test: none", test=["-1.0", "-1.0"]),
    read(
        "one label in a test that is labelled in part",
        ["wet", "dry"],
        "WRONG  test: every labelled row has the same label",
        test=["wet", None, "wet"],
    ),
    read("a dash in a labelled test", ["wet", "dry"], "dry 1 (50.0%), wet 1 (50.0%)", test=["wet", "-", "dry"]),
    refused(
        "a dash in dev",
        ["wet", "dry"],
        "dev.jsonl, line 2: the label '-'",
        dev=["wet", "-"],
        hint="--drop_labels -",
        then="wet 1",
    ),
    read("nothing to drop", ["wet", "dry"], "--drop_labels: no row has the label 'west'", flags="--drop_labels west"),
    # names and ids
    refused(
        "names with a comma between them",
        ["wet", "dry"],
        "is none of the 1 classes",
        flags="--class_names dry,wet",
        hint="--class_names dry wet",
        then="2 classes: 0 = dry, 1 = wet",
    ),
    read("a map with a gap", [1, 2, 3], "--label_map leaves '3'", "--drop_labels 3", flags="--label_map 1=low 2=high"),
    refused(
        "a gap under named classes",
        [1, 2, 3],
        "line 3: the label '3' is none of the 2 classes",
        flags="--label_map 1=low 2=high --class_names low high --on_missing drop",
        hint="--drop_labels 3",
        then="1 is low, 2 is high",
    ),
    refused(
        "ids from one",
        [1, 2],
        "the label '2'",
        flags="--class_names no yes",
        hint="--label_map 1=no 2=yes",
        then="2 is yes",
    ),
    refused(
        "a class of dev alone",
        ["a", "b"],
        "the label 'c' is none of the 2 classes (2 rows have 'c')",
        "--drop_labels c",
        dev=["a", "c", "c"],
        hint="--class_names a b c",
        then="3 classes: 0 = a, 1 = b, 2 = c",
    ),
    refused(
        "a class of dev dropped", ["a", "b"], "'c'", dev=["a", "b", "c"], hint="--drop_labels c", then="a 1 (50.0%)"
    ),
    read("a class of dev merged", ["a", "b"], "the label c is b", dev=["a", "c"], flags="--label_map c=b"),
    read("floats", [0.0, 1.0, 2.0], "3 classes: 0 = 0, 1 = 1, 2 = 2"),
    read("float texts", ["0.0", "1.0"], "2 classes: 0 = 0, 1 = 1"),
    refused(
        "many rare classes",
        [f"intent {i}" for i in range(210)],
        "210 different labels",
        hint=SINGLE,
        then="210 classes",
    ),
    read("a scale", list(range(12)), "the 12 numbers from 0 to 11 are classes", "--do_regression"),
    # names that look the same
    refused("case", ["Wet", "wet", "dry"], "differ in case only", hint="--label_map wet=Wet", then="2 classes"),
    refused(
        "three spellings",
        ["Wet", "wet", "WET", "dry"],
        "differ in case",
        hint="--label_map Wet=WET wet=WET",
        then="2 classes",
    ),
    refused(
        "NFC and NFD",
        ["th\u00e9", "the\u0301", "eau"],
        "Unicode form",
        hint="--label_map 'th\u00e9=the\u0301'",
        then="2 classes",
    ),
    refused(
        "zero width", ["wet", "wet\u200b", "dry"], "invisible", hint="--label_map 'wet\u200b=wet'", then="2 classes"
    ),
    refused("full width", ["A1", "\uff211", "b"], "Unicode form", hint="--label_map '\uff211=A1'", then="2 classes"),
    refused(
        "case in dev",
        ["wet", "dry"],
        "the label 'Wet'",
        dev=["Wet", "dry"],
        hint="--label_map Wet=wet",
        then="Wet is wet",
    ),
    refused(
        "case in lists",
        [["Wet"], ["wet", "dry"]],
        "differ in case",
        hint="--label_map wet=Wet",
        then="multi-label: 0 = Wet, 1 = dry",
    ),
    # several labels
    read(
        "vectors of two",
        [[0, 1], [1, 0]],
        "vectors of 0 and 1",
        "multi-label: 0 = 0, 1 = 1",
        "0 2 (50.0%), 1 2 (50.0%)",
    ),
    read("vectors with names", [[0, 1, 1], [1, 0, 0]], "0 = x, 1 = y, 2 = z", "x 2", flags="--class_names x y z"),
    read("vectors of truth", [[True, False], [False, True]], "vectors of 0 and 1"),
    read("vectors of NumPy as text", ["[0 1 0]", "[1. 0. 0.]"], "vectors of 0 and 1", "0 2 (50.0%), 1 2 (50.0%), 2 0"),
    read("vectors of -1 in test", [[0, 1], [1, 0]], "labels in test: none", test=[[-1, -1], [-1, -1]]),
    read(
        "a label of a list dropped",
        [["wet", "x"], ["dry"], ["wet"]],
        "multi-label: 0 = dry, 1 = wet",
        flags="--drop_labels x",
    ),
    read("vectors as text", ["[0, 1, 0]", "[1, 0, 0]"], "vectors of 0 and 1", "0 2 (50.0%), 1 2 (50.0%), 2 0"),
    refused(
        "too few names",
        [[0, 1, 1], [1, 0, 0]],
        "3 times 0 or 1, and 2 classes",
        flags="--class_names x y",
        hint="--class_names",
        then="",
    ),
    read("one each", [["wet"], ["dry"]], "multi-label: 0 = dry, 1 = wet", "every list has one label", SINGLE),
    read("one each as classes", [["wet"], ["dry"]], "2 classes: 0 = dry", flags=SINGLE),
    read("lists as text", ["['wet', 'cold']", "['dry']"], "multi-label: 0 = cold, 1 = dry, 2 = wet"),
    read("JSON lists as text", ['["wet", "very cold"]', "[]"], "multi-label: 0 = very cold, 1 = wet"),
    read(
        "empty lists as text in test",
        ["['wet', 'dry']", "[]"],
        "labels in test: dry 0 (0.0%), wet 1 (50.0%)",
        test=["['wet']", "[]"],
    ),
    read("brackets round a word", ["[wet]", "[dry]"], "2 classes: 0 = [dry], 1 = [wet]"),
    read("commas", ["wet", "cold", "wet,cold"], "look like several", "--label_delimiter , separates", "3 classes"),
    read("slashes", ["wet", "cold", "wet/cold"], "look like several", "--label_delimiter / separates", "3 classes"),
    read("commas as multi-label", ["wet", "cold", "wet,cold"], "look like several", flags=MULTI),
    read("commas split", ["wet", "cold", "wet, cold"], "multi-label: 0 = cold, 1 = wet", flags="--label_delimiter ,"),
    read("no bars", ["wet", "dry"], "no label has the --label_delimiter '|'", flags="--label_delimiter |"),
    read("bars split", ["wet|cold", "dry"], "multi-label: 0 = cold, 1 = dry, 2 = wet", flags="--label_delimiter |"),
    read("a comma in a name", ["Paris, France", "Rome, Italy"], "2 classes: 0 = Paris, France"),
    read(
        "columns of 0 and 1",
        [],
        "label columns: rude, dull; multi-label: 0 = rude, 1 = dull",
        "rude 2 (50.0%), dull 0",
        columns={"rude": [1, 0], "dull": [0, "0.0"]},
        flags="--label_column_name rude dull",
    ),
    refused(
        "columns of numbers",
        [],
        "'rude' is '0.7', neither 0 nor 1",
        columns={"rude": [0.7, 0], "dull": [0, 1]},
        flags="--label_column_name rude dull",
    ),
    refused(
        "columns with an empty cell",
        [],
        "'rude' is empty, neither 0 nor 1",
        columns={"rude": [None, 0], "dull": [0, 1]},
        flags="--label_column_name rude dull",
    ),
    # numbers
    read("decimal commas", ["3,5", "4,0", "0,5"], "3,5 is read as the number 3.5", "regression"),
    read("decimal commas asked", ["3,5", "4", "5"], "3,5 is read as", flags="--do_regression"),
    read("decimal commas, one with a zero before", ["1,250", "0,500", "3,125"], "3,5 is read as", "regression"),
    refused("thousands", ["1,450", "950", "2,518"], "the comma in the label '1,450' may separate thousands. Write nu"),
    read("thousands without a separator", ["1450", "950", "2518.0"], "3 classes: 0 = 950, 1 = 1450, 2 = 2518"),
    refused(
        "thousands asked",
        ["1,450.50", "950", "2,518,000"],
        "'1,450.50' may separate thousands. Write numbers with a decimal point and without thousands separators.",
        flags="--do_regression",
    ),
    refused("thousands in dev", [1450.5, 950], "the comma in the label '1,451' may separate", dev=["1,451", "950"]),
    read("one number in dev", [0.5, 1.5], "WRONG  validation: every row has the same label", dev=[2, 2]),
    read("decimal commas in dev", ["3,5", "4,0"], "regression", dev=["1,451", "950"]),
    refused(
        "thousands or lists",
        ["1,450", "1", "450"],
        "'1,450' may separate thousands",
        hint="--label_delimiter ,",
        then="multi-label: 0 = 1, 1 = 450",
    ),
    refused(
        "numbers or lists",
        ["1", "2", "1,2"],
        "a decimal comma, or two labels",
        hint="--label_delimiter ,",
        then="multi-label",
    ),
    refused("halves or lists", ["0", "5", "0,5"], "--label_delimiter ,", hint="--do_regression", then="regression"),
    refused(
        "ids or lists of them",
        ["0", "1,4", "2", "4"],
        "a decimal comma, or two labels",
        hint="--label_delimiter ,",
        then="multi-label",
    ),
    refused("lists of decimals", [[0.7, 1.0], [0.1, 1.0]], "lists of decimal numbers"),
    read(
        "lists as NumPy writes them",
        ["['a' 'b']", "['a']", "['it' \"it's\"]"],
        "multi-label: 0 = a, 1 = b, 2 = it, 3 = it's",
    ),
    read("tuples as text", ["('a', 'b')", "('a',)"], "multi-label: 0 = a, 1 = b"),
    read("sets as text", ["{'a', 'b'}", "set()", "{'b'}"], "multi-label: 0 = a, 1 = b", "a 2 (33.3%), b 4 (66.7%)"),
    read("a typographic minus", ["\u22121.5", "2.5"], "regression on its numbers"),
    refused(
        "a word among decimals",
        ["0.5", "1.5", "about 2"],
        "'about 2' is no number beside decimal numbers",
        hint="--drop_labels 'about 2'",
        then="regression",
    ),
    refused(
        "zeros before a number",
        ["1", "01", "0"],
        "differ in zeros before the number",
        hint="--label_map 1=01",
        then="2 classes: 0 = 0, 1 = 01",
    ),
    refused("no time", ["wet", "dry", "NaT"], "missing", hint="--drop_labels NaT", then="2 classes"),
    refused(
        "a fault of a spreadsheet", ["wet", "dry", "#VALUE!"], "missing", hint="--drop_labels '#VALUE!'", then="2 cl"
    ),
    refused("no value", ["wet", "dry", "undefined"], "missing", hint="--drop_labels undefined", then="2 classes"),
    refused(
        "a capital with its dot", ["İyi", "iyi", "kötü"], "differ in", hint="--label_map 'İyi=iyi'", then="2 classes"
    ),
    refused("the line of Markdown", ["wet", "dry", "---"], "missing", hint="--drop_labels ---", then="2 classes"),
    read("a delimiter at the end", ["wet;", "dry;"], "0 = dry;, 1 = wet;"),
    refused("one number", [0.5, 0.5], "every row has the label '0.5'"),
    refused("one class", ["wet", "wet"], "every row has the label 'wet'"),
    refused(
        "words for numbers",
        ["10%", "20%", "35%"],
        "the label '10%' is not a finite number. Regression needs numbers; write them without units",
        flags="--do_regression",
    ),
    # columns
    refused(
        "labels under another name",
        [],
        "has no labels to train on. Name the column with --label_column_name mood.",
        columns={"text": ["", ""], "mood": ["good", "bad"]},
        hint="--label_column_name mood",
        then="2 classes: 0 = bad, 1 = good",
    ),
    # text
    read(
        "text by exclusion",
        ["a", "b"],
        "text column: id (the only one left; --text_column_names",
        columns={"text": [], "id": [7, 8]},
    ),
    read("nan as text", ["a", "b"], "2 rows have 'nan' for text", columns={"text": ["nan", "It rains"]}),
    read(
        "a title is missing",
        ["a", "b"],
        "train  4",
        columns={"title": ["", "Rain"]},
        flags="--text_column_names title text --text_column_delimiter :",
    ),
    # the positive class
    read("a positive class", ["no", "yes"], "2 classes", flags="--positive_label no"),
    refused(
        "no such positive class", ["no", "yes"], "--positive_label nope: no such class", flags="--positive_label nope"
    ),
    refused("a positive class of three", list("abc"), "there must be two", flags="--positive_label a"),
)


def write(name: str, labels: Sequence[Any], columns: dict[str, Sequence[Any]] | None = None) -> None:
    """Write two rows of each label, or of each row of `columns`, as JSON lines; an empty column is left out."""
    columns = {"text": [], "label": labels, **(columns or {})}
    rows = max(map(len, columns.values()))
    if "id" not in columns and not columns["text"]:
        columns["text"] = [""] * rows
    lines = [
        {
            key: (values[i % rows] or f"{name} says {i} things") if key == "text" else values[i % rows]
            for key, values in columns.items()
            if values
        }
        for i in range(2 * rows if name == "train" else rows)
    ]
    write_lines(Path(f"{name}.jsonl"), lines)


def report(flags: Sequence[str], model: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Return exit status and all that `check` prints."""
    argv = ["--train_file", "train.jsonl", "--model_name_or_path", str(model), "--max_seq_length", "16", *flags]
    for role, name in (("validation", "dev"), ("test", "test")):
        if Path(f"{name}.jsonl").exists():
            argv += [f"--{role}_file", f"{name}.jsonl"]
    status = check.main(argv)
    captured = capsys.readouterr()
    return status, captured.err + captured.out


def together(flags: Sequence[str], hint: Sequence[str]) -> list[str]:
    """Return flags with those of a hint, which replace the ones of the same name."""
    kept, skipping = [], False
    for word in flags:
        skipping = word == hint[0] if word.startswith("--") else skipping
        kept += [] if skipping else [word]
    return [*kept, *hint]


@pytest.fixture(autouse=True)
def in_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_labels_are_read_and_said_or_refused_with_a_hint_that_works(
    case: Case, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write("train", case.labels, case.columns)
    if case.dev:
        write("dev", case.dev)
    if case.test:
        write("test", case.test)
    flags = shlex.split(case.flags)
    status, printed = report(flags, tiny_model, capsys)
    assert status == (2 if case.is_wrong else 0), printed
    assert not [part for part in (*case.says, case.hint) if part not in printed], printed
    if case.then:
        status, printed = report(together(flags, shlex.split(case.hint)), tiny_model, capsys)
        assert status == 0 and case.then in printed, printed


@pytest.mark.parametrize(("hint", "then"), [("--drop_labels", "dry 8 (50.0%), wet 8"), ("--label_map", "3 classes")])
def test_a_torn_line_whose_second_half_fits_the_columns_is_refused(
    hint: str, then: str, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = "".join(f"{('wet', 'dry')[i % 2]},report {i}\n" for i in range(15))
    Path("train.csv").write_text(
        f"label,text\n{rows}dry,it rained here\nand there it did, said she\n", encoding="utf-8"
    )
    argv = ["--train_file", "train.csv", "--model_name_or_path", str(tiny_model), "--max_seq_length", "16"]
    assert check.main(argv) == 2
    refusal = capsys.readouterr().err
    assert "train.csv, line 18: the label 'and there it did' occurs in one row only" in refusal
    words = {"--drop_labels": "'and there it did'", "--label_map": "'and there it did=and there it did'"}
    assert f"{hint} {words[hint]}" in refusal
    check.main([*argv, hint, *shlex.split(words[hint])])
    assert then in "".join(capsys.readouterr())


def test_the_last_line_of_a_sheet_is_no_class(tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = "".join(f"report {i},{('wet', 'dry')[i % 2]}\n" for i in range(14))
    Path("train.csv").write_text(f"text,label\n{rows}Total,14\n", encoding="utf-8")
    argv = ["--train_file", "train.csv", "--model_name_or_path", str(tiny_model), "--max_seq_length", "16"]
    assert check.main(argv) == 2
    assert "line 16: the label '14' occurs in one row only" in capsys.readouterr().err
    assert check.main([*argv, "--drop_labels", "14"]) == 0


@pytest.mark.parametrize(("ordered", "says"), [(True, "0 = low, 1 = mid, 2 = high"), (False, "0 = high, 1 = low")])
def test_ordered_categories_keep_their_order(
    ordered: bool, says: str, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = pd.Categorical(["mid", "high", "low", "mid"], ["low", "mid", "high", "never"], ordered=ordered)
    pd.DataFrame({"text": list("abcd"), "label": labels}).to_parquet("train.parquet", row_group_size=2)
    argv = ["--train_file", "train.parquet", "--model_name_or_path", str(tiny_model), "--max_seq_length", "16"]
    assert check.main(argv) == 0
    assert f"3 classes: {says}" in capsys.readouterr().err


@pytest.fixture(scope="module")
def runs(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return two runs of the same rows, without and with --positive_label."""
    folder = tmp_path_factory.mktemp("positive")
    rows = [{"text": f"row {i}", "label": ("no", "yes")[i % 3 == 0]} for i in range(24)]
    file = write_lines(folder / "train.jsonl", rows)
    settings = {"train_file": file, "validation_fraction": 0.5, "max_steps": 1, "model_name_or_path": tiny_model}
    metrics = ["f1", "precision", "recall", "f1_macro"]
    for name, more in (("second", {}), ("first", {"positive_label": "no"})):
        assert classify(folder / name, drawn=name == "first", metric_name=metrics, **settings, **more) == 0
    return {"second": folder / "second", "first": folder / "first"}


def test_f1_says_which_class_it_is_of(runs: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    results = {name: read_json(folder / "results.json") for name, folder in runs.items()}
    assert [results[name]["positive_class"] for name in ("second", "first")] == ["yes", "no"]
    for result in results.values():
        split = result["splits"]["validation"]
        of_class = split["per_class"][result["positive_class"]]
        for metric in ("f1", "precision", "recall"):
            assert split["metrics"][metric]["value"] == pytest.approx(of_class[metric])
    assert len({r["splits"]["validation"]["metrics"]["f1_macro"]["value"] for r in results.values()}) == 1
    for page in ("README.md", "report.html"):
        assert "F1 of class" in (runs["first"] / page).read_text(encoding="utf-8")
    capsys.readouterr()
    assert compare.main([str(runs["first"]), str(runs["second"])]) == 0
    captured = capsys.readouterr()
    assert "f1 of class 'no'" in captured.out
    assert "the positive class of B is 'yes'; here that of A, 'no', is scored" in captured.err


def test_f1_of_several_labels_is_the_micro_average(tiny_model: Path, tmp_path: Path) -> None:
    rows = [{"text": f"row {i}", "label": ["a", "b"][: 1 + i % 2]} for i in range(12)]
    file = write_lines(tmp_path / "train.jsonl", rows)
    settings = {"train_file": file, "validation_fraction": 0.5, "max_steps": 1, "metric_name": ["f1", "f1_micro"]}
    assert classify(tmp_path / "out", model_name_or_path=tiny_model, **settings) == 0
    metrics = read_json(tmp_path / "out" / "results.json")["splits"]["validation"]["metrics"]
    assert metrics["f1"]["value"] == metrics["f1_micro"]["value"]


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (
            ["--do_train", "--do_eval"],
            "no split with labels is evaluated, so there will be no score; --validation_split_name",
        ),
        (["--validation_split_name", "test"], "the split test is for validation, so not for test."),
    ],
)
def test_data_without_a_validation_split(
    flags: list[str], says: str, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import run_classification

    write("train", ["wet", "dry"])
    write("test", ["wet", "dry"])
    argv = ["--train_file", "train.jsonl", "--test_file", "test.jsonl", "--model_name_or_path", str(tiny_model)]
    argv += ["--max_steps", "1", "--max_seq_length", "16", "--output_dir", "out", "--disable_tqdm", "true", "--use_cpu"]
    from running import drawing

    with drawing(False):
        assert run_classification.main([*argv, *flags]) == 0
    printed = capsys.readouterr()
    assert says in printed.err
    assert ("accuracy" in printed.out) is ("test" in flags)


def test_the_limit_of_evaluation_rows_holds_for_a_part_of_train(
    tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write("train", ["wet", "dry"] * 5)
    status, printed = report(["--validation_fraction", "0.5", "--max_eval_samples", "4"], tiny_model, capsys)
    assert status == 0 and "validation  4 " in printed


def test_torn_and_long_records_are_the_same_rows_everywhere(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = "rain,wet\nsun,dry\nthe rain\nfell,wet\na,b,c,d\nsun\rand wind,dry\n"
    Path("train.csv").write_text(f"text,label\n{rows}", encoding="utf-8", newline="")
    argv = ["--train_file", "train.csv", "--model_name_or_path", str(tiny_model), "--max_seq_length", "16"]
    check.main(argv)
    printed = capsys.readouterr()
    assert "2 of 6 rows are left out" in printed.err and "dry 2 (50.0%), wet 2 (50.0%)" in printed.out
    run = {"train_file": "train.csv", "model_name_or_path": tiny_model, "max_steps": 1, "on_missing": "drop"}
    assert classify(tmp_path / "out", **run) == 0
    printed = capsys.readouterr()
    assert "2 of 6 rows are left out" in printed.err and "dry 2 (50.0%), wet 2 (50.0%)" in printed.out
    assert predict(tmp_path / "out", "--file", "train.csv", "--format", "jsonl") == 0
    predicted = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["text"] for row in predicted if row["label"]] == ["rain", "sun", "fell", "sun and wind"]
    assert len(predicted) == 6


@pytest.mark.parametrize(("kind", "what"), [(labels.MULTI, "temperature and thresholds are"), (labels.SINGLE, "the t")])
def test_what_is_not_fitted_for_want_of_rows_is_said(kind: str, what: str, capsys: pytest.CaptureFixture[str]) -> None:
    schema = labels.LabelSchema(kind, ("a", "b"), {})
    few = np.zeros((3, 2), dtype=np.float32)
    result = SplitResult("selection", "selection", few, few, few if kind == labels.MULTI else few[:, 0], {})
    assert results.fit(result, schema) == results.Fitted()
    said = capsys.readouterr().err
    assert f"{what}" in said and "not fitted: the selection split has fewer than" in said


def test_a_table_called_txt_is_one_in_predict_as_well(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("a.txt").write_text("text\tlabel\nIt rains\twet\nThe sun\tdry\n", encoding="utf-16")
    assert classify(tmp_path / "out", train_file="a.txt", model_name_or_path=tiny_model, max_steps=1) == 0
    capsys.readouterr()
    assert predict(tmp_path / "out", "--file", "a.txt", "--format", "jsonl") == 0
    assert [json.loads(line)["text"] for line in capsys.readouterr().out.splitlines()] == ["It rains", "The sun"]


def test_a_folder_per_class_is_read_in_predict_as_well(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, text in (("wet", "It rains"), ("dry", "The sun")):
        Path("days", name).mkdir(parents=True)
        Path("days", name, "0.txt").write_text(text, encoding="utf-8")
    assert classify(tmp_path / "out", train_file="days", model_name_or_path=tiny_model, max_steps=1) == 0
    capsys.readouterr()
    assert predict(tmp_path / "out", "--file", "days", "--format", "jsonl") == 0
    assert [json.loads(line)["text"] for line in capsys.readouterr().out.splitlines()] == ["The sun", "It rains"]


def test_vectors_are_read_as_such_where_nothing_is_trained(tiny_model: Path, tmp_path: Path) -> None:
    write("train", [[0, 1], [1, 0], [0, 1]])
    settings = {"model_name_or_path": tiny_model, "max_steps": 1, "validation_file": "train.jsonl"}
    assert classify(tmp_path / "out", train_file="train.jsonl", **settings) == 0
    again = {**settings, "model_name_or_path": tmp_path / "out", "do_eval": True}
    assert classify(tmp_path / "again", **again) == 0
    labels = [row["label"] for row in predictions(tmp_path / "again", "validation")]
    assert labels == ["1", "0", "1"] * 2


def test_of_a_task_with_two_validation_splits_those_that_are_there_are_evaluated(
    tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    header = "index\tsentence1\tsentence2\tgold_label\n"
    rows = "".join(f"{i}\tIt rains {i}.\tIt is wet {i}.\t{name}\n" for i, name in enumerate([*NLI, "-"]))
    Path("MNLI").mkdir()
    Path("MNLI/dev_matched.tsv").write_text(header + rows, encoding="utf-8")
    argv = ["--task", "mnli", "--data_dir", "MNLI", "--model_name_or_path", str(tiny_model), "--max_seq_length", "16"]
    assert check.main([*argv, "--drop_labels", "-"]) == 0
    printed = capsys.readouterr()
    assert "no file of the split" in printed.err
    assert "validation_matched  3 " in printed.out
