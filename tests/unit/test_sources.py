"""Which columns are read, how cells become text and labels, and that every source yields the same kind of rows."""

import datetime
import decimal
import json
from pathlib import Path

import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, LargeList, List, Value
from datasets import config as datasets_config
from pyarrow import parquet

from bertlab import hub
from bertlab.cli.arguments import DataArguments
from bertlab.data import cache, dataset, sources
from bertlab.data.columns import Columns, cell_text, choose_columns, clean_text, label_text
from bertlab.errors import UserError


def columns(names: list[str], **settings) -> Columns:
    return choose_columns(names, DataArguments(**settings), "reviews.csv")


def read(**settings) -> sources.RawData:
    return sources.read_source(DataArguments(**settings), None, None, streaming=False)


def refusal(**settings) -> str:
    with pytest.raises(UserError) as caught:
        read(**settings)
    return str(caught.value)


def json_lines(path: Path, rows: list[dict]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(
    ("names", "text", "label"),
    [
        (["sentence", "label"], ("sentence",), "label"),
        (["idx", "text", "labels"], ("text",), "labels"),
        (["verdict", "label"], ("verdict",), "label"),
        (["id", "sentence1", "sentence2", "label"], ("sentence1", "sentence2"), "label"),
        (["premise", "hypothesis"], ("premise", "hypothesis"), None),
        (["question", "sentence", "label"], ("question", "sentence"), "label"),
        (["label", "labels", "review"], ("review",), "label"),
    ],
)
def test_usual_columns_are_guessed(names, text, label):
    found = columns(names)
    assert (found.text, found.label) == (text, label)
    assert {*found.unread, *found.text, found.label} == {*names, label}


def test_columns_that_are_not_read_are_said_unless_the_text_was_named(capsys, tmp_path, write_csv):
    """As fancyzhx/amazon_polarity is: the title is a text, too."""
    path = write_csv(tmp_path / "a.csv", ("label", "title", "content"), [(i % 2, f"t {i}", f"c {i}") for i in range(4)])
    for names in ([], ["title", "content"]):
        arguments = DataArguments(train_file=str(path), text_column_names=names)
        dataset.load_splits(arguments, (), training=True, cache_dir=None, token=None)
    first, second = [line for line in capsys.readouterr().err.splitlines() if line.startswith("info: text")]
    assert "text column: content; not read: title (--text_column_names names all to read); label" in first
    assert "text columns: title, content; label" in second


@pytest.mark.parametrize(
    ("given", "delimiter", "text", "is_pair", "text_column_delimiter"),
    [
        (["a"], None, ("a",), False, None),
        (["a", "b"], None, ("a", "b"), True, None),
        (["a,b"], None, ("a", "b"), True, None),
        (["a, b"], None, ("a", "b"), True, None),
        (["a", "b"], " | ", ("a", "b"), False, " | "),
        (["a", "b"], "", ("a", "b"), False, ""),
        (["a", "b", "c"], None, ("a", "b", "c"), False, " "),
        (["c,d"], None, ("c,d",), False, None),
    ],
)
def test_two_columns_are_a_pair_and_more_are_joined(given, delimiter, text, is_pair, text_column_delimiter):
    found = columns(["a", "b", "c", "c,d", "label"], text_column_names=given, text_column_delimiter=delimiter)
    assert (found.text, found.is_pair, found.text_column_delimiter) == (text, is_pair, text_column_delimiter)


def test_removed_columns_are_not_guessed():
    found = columns(["text", "review", "label"], remove_columns=["review,label"])
    assert found == Columns(("text",), guessed=("text",))


@pytest.mark.parametrize(
    ("names", "settings", "message"),
    [
        (["text", "label"], {"source_column_name": "from"}, "has no column 'from'."),
        (["text", "label"], {"remove_columns": ["id"]}, "has no column 'id'."),
        (["a", "b"], {"text_column_names": ["a", "b", "a"]}, "--text_column_names has 'a' twice. Name each column"),
    ],
)
def test_columns_that_are_not_clear_are_refused(names, settings, message):
    with pytest.raises(UserError) as caught:
        columns(names, **settings)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "how", "clean"),
    [
        ("a<br /><br />b", ["html"], "a  b"),
        ("a<br />b", ["html", "whitespace"], "a b"),
        ("x < 3 and <3 &amp; &lt;i&gt;", ["html"], "x < 3 and <3 & <i>"),
        ('<a href="u">link</a>', ["html", "whitespace"], "link"),
        ("a<!-- no\n<b>text</b> -->b <!-- open", ["html"], "a b <!-- open"),
        (" a \t b\u00a0c\n", ["whitespace"], "a b c"),
        (" a  b ", [], " a  b "),
        ("<br />", ["html"], " "),
    ],
)
def test_text_is_cleaned_as_asked(text, how, clean):
    assert clean_text(text, how) == clean


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (float("nan"), ""),
        (7, "7"),
        (datetime.date(2024, 1, 31), "2024-01-31"),
        (decimal.Decimal("1.50"), "1.50"),
        ("\U0001f600 é", "😀 é"),
    ],
)
def test_a_cell_is_read_as_text(value, text):
    assert cell_text(value, "t.csv, line 2: 'text'") == text


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (["a"], "a list, not text. Write one text in each row, or name another column."),
        ({"en": "a"}, "a nested object, not text."),
        (b"a", "bytes, not text."),
        (object(), "object values, not text."),
        ("\ud83d", "half of a surrogate pair, which is no character."),
    ],
)
def test_a_cell_that_is_no_text_is_refused(value, what):
    for read_cell in (cell_text, label_text):
        cell = [value] if read_cell is label_text else value
        with pytest.raises(UserError) as caught:
            read_cell(cell, "t.csv, line 2: 'text'")
        assert f"t.csv, line 2: 'text' holds {what}" in str(caught.value)


@pytest.mark.parametrize(
    ("value", "label"),
    [
        (1, "1"),
        (1.0, "1"),
        ("1", "1"),
        (" yes ", "yes"),
        (0.5, "0.5"),
        (0, "0"),
        (True, "True"),
        ("", None),
        ("  ", None),
        (None, None),
        (float("nan"), None),
        ([1, "b", None, 2.0], ["1", "b", "2"]),
        ([], []),
    ],
)
def test_labels_are_text_however_they_are_stored(value, label):
    assert label_text(value, "t.csv, line 2: 'label'") == label


def test_every_row_has_its_number_line_text_label_and_source(tmp_path, write_csv):
    path = write_csv(
        tmp_path / "t.csv", ["text", "label", "from"], [["a", "x", "s1"], ["two\nlines", "", ""], ["c", 1, 0]]
    )
    raw = read(train_file=str(path), source_column_name="from")
    assert raw.splits["train"][:] == {
        "idx": [0, 1, 2],
        "line": [2, 3, 5],
        "text": ["a", "two\nlines", "c"],
        "label": ["x", None, "1"],
        "source": ["s1", "", "0"],
    }
    assert raw.origin == {"train": str(path)}


@pytest.mark.parametrize(("delimiter", "joined"), [(None, "a b c"), (" | ", "a | b | c"), ("", "abc")])
def test_columns_are_joined_with_the_delimiter_and_an_empty_part_is_left_out(tmp_path, write_csv, delimiter, joined):
    rows = [["a", "b", "c", 1], ["a b c", " ", "", 1], ["", "", " ", 1]]
    path = write_csv(tmp_path / "t.csv", ["x", "y", "z", "label"], rows)
    raw = read(train_file=str(path), text_column_names=["x", "y", "z"], text_column_delimiter=delimiter)
    assert raw.splits["train"]["text"][:] == [joined, "a b c", None]


def test_an_evaluation_file_without_label_or_source_is_read_without(tmp_path, write_csv):
    train = write_csv(tmp_path / "train.csv", ["text", "label", "from"], [["a", "x", "s"]])
    test = write_csv(tmp_path / "test.csv", ["id", "text"], [["7", "b"]])
    raw = read(train_file=str(train), test_file=str(test), source_column_name="from")
    assert raw.splits["test"].column_names == ["idx", "line", "text"]


def test_label_lists_of_json_stay_lists(tmp_path):
    path = json_lines(
        tmp_path / "t.jsonl",
        [{"text": "a", "labels": None}, {"text": "b", "labels": ["x", 1]}, {"text": "c", "labels": []}],
    )
    assert read(train_file=path).splits["train"]["label"][:] == [None, ["x", "1"], []]


def test_a_cache_of_the_environment_that_cannot_be_made_is_named(tmp_path, write_csv, monkeypatch):
    rows = write_csv(tmp_path / "rows.csv", ("text", "label"), [("a", "x"), ("b", "y")])
    monkeypatch.setattr(datasets_config, "HF_DATASETS_CACHE", rows / "datasets")
    assert f"the cache {rows}/datasets cannot be written: " in refusal(train_file=str(rows))
    obeyed = sources.read_source(DataArguments(train_file=str(rows)), str(tmp_path / "cache"), None, streaming=False)
    assert obeyed.splits["train"]["label"][:] == ["x", "y"]


def test_a_changed_file_is_read_again(tmp_path, write_csv):
    path = tmp_path / "t.csv"
    write_csv(path, ["text", "label"], [["old", 1]])
    assert read(train_file=str(path)).splits["train"]["text"][:] == ["old"]
    write_csv(path, ["text", "label"], [["new", 1]])
    assert read(train_file=str(path)).splits["train"]["text"][:] == ["new"]


def test_split_names_follow_the_flags(tmp_path, write_csv):
    paths = [str(write_csv(tmp_path / f"{n}.csv", ["text", "label"], [[n, 1]])) for n in ("a", "b", "c")]
    flags = {"train_split_name": "tr", "validation_split_name": ["va"], "test_split_name": ["te"]}
    raw = read(train_file=paths[0], validation_file=paths[1], test_file=paths[2], **flags)
    assert list(raw.splits) == ["tr", "va", "te"]
    raw = read(train_file=paths[0], validation_file=paths[1], test_file=paths[2], remove_splits=["validation,test"])
    assert list(raw.splits) == ["train"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "there is no data to work on. Name a --task, a --train_file, a --dataset_name, or --data_dir with"),
        (
            {"train_file": "T", "remove_splits": ["tran"]},
            "--remove_splits: there is no split 'tran'. Did you mean 'tra",
        ),
        ({"train_file": "https://a.b/c.csv"}, "https://a.b/c.csv is an address, not a file. Fetch it first;"),
        ({"train_file": "T", "delimiter": ";"}, "T has no column that is clearly text. It has one, 'text,label';"),
        ({"train_file": "T", "remove_splits": ["train"]}, "--remove_splits leaves no split. The data has train."),
        ({"data_dir": "."}, "--data_dir says where the files are, but not how they are laid out. Name a --task or"),
        ({"data_dir": ".", "data_layout": "glue"}, "--data_layout glue: there is no such layout."),
    ],
)
def test_sources_that_cannot_be_read_are_refused(tmp_path, write_csv, settings, message):
    paths = {
        "T": str(write_csv(tmp_path / "t.csv", ["text", "label"], [["a", 1]])),
    }
    error = refusal(
        **{flag: paths.get(value, value) if flag.endswith("file") else value for flag, value in settings.items()}
    )
    place, _, rest = message.partition(" ")
    assert f"{paths.get(place, place)} {rest}" in error


def hub_set(**splits: list) -> dict[str, Dataset]:
    names = ClassLabel(names=["bad", "good"])
    kind = List(names) if isinstance(next(iter(splits.values()))[0], list) else names
    features = Features({"sentence": Value("string"), "label": kind, "idx": Value("int32")})
    return {
        split: Dataset.from_dict(
            {"sentence": [f"{split} {i}" for i in range(len(ids))], "label": ids, "idx": range(len(ids))},
            features=features,
        )
        for split, ids in splits.items()
    }


def test_a_hub_data_set_has_the_same_rows_with_labels_by_name():
    raw = sources.from_dataset_dict(hub_set(train=[1, 0], test=[-1, -1]), DataArguments(), "some/set")
    assert raw.class_names == ("bad", "good")
    assert raw.splits["train"][:] == {
        "idx": [0, 1],
        "line": [0, 0],
        "text": ["train 0", "train 1"],
        "label": ["good", "bad"],
    }
    assert raw.splits["test"]["label"][:] == [None, None]
    assert raw.origin == {"train": "some/set", "test": "some/set"}


def test_lists_of_class_labels_keep_their_names():
    raw = sources.from_dataset_dict(hub_set(train=[[1, 0], [0]]), DataArguments(), "some/set")
    assert raw.class_names == ("bad", "good")
    assert raw.splits["train"]["label"][:] == [["good", "bad"], ["bad"]]


def test_each_split_of_a_hub_data_set_has_its_own_names_of_classes():
    """As `class_encode_column` numbers them where it is called for one split after the other."""
    data = {
        "train": Dataset.from_dict({"text": list("abc"), "label": ["art", "law", "war"]}),
        "validation": Dataset.from_dict({"text": list("de"), "label": ["law", "war"]}),
    }
    encoded = {split: rows.class_encode_column("label") for split, rows in data.items()}
    raw = sources.from_dataset_dict(encoded, DataArguments(), "some/set")
    assert {split: rows["label"][:] for split, rows in raw.splits.items()} == {
        "train": ["art", "law", "war"],
        "validation": ["law", "war"],
    }


@pytest.mark.parametrize("indicators", [[], ["rude", "dull"]])
def test_class_labels_beside_the_label_are_read_by_name_and_columns_of_0_and_1_as_numbers(tmp_path, indicators):
    names = {"rude": ["polite", "rude"], "dull": ["no", "yes"], "topic": ["art", "law"], "label": ["bad", "good"]}
    features = Features({"text": Value("string"), **{column: ClassLabel(names=of) for column, of in names.items()}})
    columns = {"text": ["a", "b"], "rude": [0, 1], "dull": [1, 1], "topic": [0, 1], "label": [0, 1]}
    data = Dataset.from_dict(columns, features=features)
    data.to_parquet(tmp_path / "train.parquet")
    settings = {"text_column_names": ["topic", "text"], "text_column_delimiter": ": ", "source_column_name": "topic"}
    settings["label_column_name"] = indicators
    for raw in (
        sources.from_dataset_dict({"train": data}, DataArguments(**settings), "some/set"),
        read(train_file=str(tmp_path / "train.parquet"), **settings),
    ):
        assert raw.splits["train"]["text"][:] == ["art: a", "law: b"]
        assert raw.splits["train"]["source"][:] == ["art", "law"]
        assert raw.splits["train"]["label"][:] == ([["dull"], ["rude", "dull"]] if indicators else ["bad", "good"])


def test_a_column_that_is_gone_from_a_parquet_file_may_be_left_in_its_description(tmp_path):
    """As `drop_columns` of pyarrow leaves it."""
    hub_set(train=[1, 0])["train"].to_parquet(tmp_path / "train.parquet")
    parquet.write_table(parquet.read_table(tmp_path / "train.parquet").drop_columns("label"), tmp_path / "test.parquet")
    raw = read(**{f"{split}_file": str(tmp_path / f"{split}.parquet") for split in ("train", "test")})
    assert raw.splits["test"].column_names == ["idx", "line", "text"]


def test_large_lists_are_lists():
    """Data sets that come from Polars have them."""
    features = Features({"text": Value("string"), "label": LargeList(Value("string"))})
    data = Dataset.from_dict({"text": ["a"], "label": [["x", "y"]]}, features=features)
    raw = sources.from_dataset_dict({"train": data}, DataArguments(), "some/set")
    assert raw.splits["train"]["label"][:] == [["x", "y"]]


def test_a_message_names_the_split_of_a_data_set(monkeypatch):
    data = DatasetDict(hub_set(train=[1, 0], validation=[1, -1]))
    monkeypatch.setattr("datasets.load_dataset", lambda *a, **k: data)
    arguments = DataArguments(dataset_name="some/set")
    with pytest.raises(UserError, match=r"^the split validation of some/set, row 2: the label is missing"):
        dataset.load_splits(arguments, (), training=True, cache_dir=None, token=None)


def test_a_column_of_a_hub_data_set_that_is_no_text_is_refused():
    features = Features({"tokens": List(Value("string")), "label": Value("string")})
    data = {"train": Dataset.from_dict({"tokens": [["a", "b"]], "label": ["x"]}, features=features)}
    with pytest.raises(UserError, match="some/set, row 1: 'tokens' holds a list, not text"):
        sources.from_dataset_dict(data, DataArguments(), "some/set")


def test_the_hub_is_asked_by_name_and_its_absence_is_explained(monkeypatch):
    monkeypatch.setattr("datasets.load_dataset", lambda *a, **k: DatasetDict(hub_set(train=[1, 0], extra=[1, 1])))
    assert list(read(dataset_name="some/set", remove_splits=["extra"]).splits) == ["train"]

    def fails(*args, **kwargs):
        raise ConnectionError("no route")

    monkeypatch.setattr("datasets.load_dataset", fails)
    error = refusal(dataset_name="some/set")
    assert error.startswith(
        "the data set some/set is not in the cache and the Hub cannot be reached (HF_HUB_OFFLINE is"
    )
    assert "folder with --data_dir" in error
    assert "Did you mean 'stanfordnlp/imdb'?" in refusal(dataset_name="imdb")
    assert "Did you mean" not in refusal(dataset_name="stanfordnlp/imdb")
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    assert refusal(dataset_name="some/set").startswith("the data set some/set: the Hub at https")


def test_a_saved_data_set_is_cached_outside_its_folder(tmp_path):
    DatasetDict(hub_set(train=[1, 0], test=[-1, -1])).save_to_disk(tmp_path / "saved")
    before = sorted(tmp_path.rglob("*"))
    arguments = DataArguments(dataset_name=str(tmp_path / "saved"))
    for _ in range(2):
        raw = sources.read_source(arguments, str(tmp_path / "cache"), None, streaming=False)
        assert raw.splits["train"]["label"][:] == ["good", "bad"]
    assert [path for path in sorted(tmp_path.rglob("*")) if tmp_path / "cache" not in (path, *path.parents)] == before
    folders = {cache.cache_folder(split) for split in raw.splits.values()}
    assert len(folders) == 2 and {folder.parent for folder in folders} == {tmp_path / "cache"}


def test_only_a_data_set_that_is_not_local_needs_the_hub():
    assert sources.hub_name(DataArguments(dataset_name="a/b")) == "a/b"
    assert sources.hub_name(DataArguments(dataset_name="a/b", data_dir="x")) is None
    assert sources.hub_name(DataArguments(dataset_name="a/b", test_file="x")) is None
    assert hub.is_local(None) and hub.is_local("package:x/y") and hub.is_local(".") and not hub.is_local("a/b")


@pytest.mark.parametrize("name", ["../out", "a/b", "a\\b", "a\0b", ".hidden", "", " ", "x" * 201])
def test_a_split_of_any_source_that_no_file_can_be_named_after_is_refused(name):
    with pytest.raises(UserError, match="cannot be the name of a file"):
        sources.RawData({name: None}, {}, (), Columns(("text",)))
