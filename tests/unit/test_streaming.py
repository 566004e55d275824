"""Streamed rows: each once a pass, in the order of seed and buffer, checked as whole files are."""

import itertools
from pathlib import Path

import pytest
from running import classify, labelled_sentences, to_argv, write_lines
from transformers import AutoTokenizer

from bertlab.cli import parser
from bertlab.cli.arguments import DataArguments, ModelArguments, RunArguments
from bertlab.data import dataset, tokenization
from bertlab.data.streaming import Stream
from bertlab.errors import UserError
from bertlab.training.collators import PaddingCollator
from bertlab.training.streaming import StreamedRows

GROUPS = (DataArguments, ModelArguments, RunArguments)
STEPS = {"streaming": True, "max_steps": 6, "class_names": ["bad", "good"], "learning_rate": 5e-3}
STEPS |= {"per_device_train_batch_size": 16, "logging_steps": 1, "seed": 7}


@pytest.fixture(scope="module")
def train(tmp_path_factory: pytest.TempPathFactory, write_csv) -> Path:
    """Return a file of 70 rows."""
    return write_csv(tmp_path_factory.mktemp("stream") / "train.csv", ("text", "label"), labelled_sentences(70, seed=1))


def _load(train: Path | str | None = None, **more) -> Stream:
    values = {"train_file": None if train is None else str(train), "class_names": ["bad", "good"], "streaming": True}
    arguments = DataArguments(**{**values, **more})
    found = dataset.load_splits(arguments, (), training=True, cache_dir=None, token=None)
    assert found.stream is not None
    return found.stream


def _texts(rows) -> list[str]:
    return [row["text"] for row in rows]


def _first(data: StreamedRows, count: int) -> list[str]:
    return _texts(itertools.islice(data, count))


def test_without_a_buffer_rows_come_as_in_the_file_and_again_from_the_start(train: Path):
    wanted = [text for text, _ in labelled_sentences(70, seed=1)]
    data = StreamedRows(_load(train), buffer=0, global_batch=16, seed=1, grouped=True)
    assert _first(data, 150) == (wanted * 3)[:150]
    assert [row["labels"] for row in itertools.islice(data, 4)] == [0, 1, 0, 1]


@pytest.mark.parametrize("grouped", [True, False])
def test_each_buffer_is_shuffled_by_seed_and_number(train: Path, grouped: bool):
    def data(seed: int) -> list[str]:
        return _first(StreamedRows(_load(train), 30, 16, seed, grouped), 112)

    wanted = [text for text, _ in labelled_sentences(70, seed=1)] * 2
    seen = data(1)
    assert seen == data(1) != data(2)
    assert sorted(seen[:32]) == sorted(wanted[:32]), "30 is rounded up to whole global batches"
    # 70 rows end a third buffer of 6; 10 rows of the next pass make a global batch of it, and a buffer begins.
    assert sorted(seen[64:70]) == sorted(wanted[64:70])
    assert seen[70:80] == wanted[:10]
    assert sorted(seen[80:112]) == sorted(wanted[10:42])
    assert seen[:32] != wanted[:32]


@pytest.mark.parametrize("grouped", [True, False])
@pytest.mark.parametrize(("count", "global_batch"), [(500, 32), (500, 20), (37, 8), (3, 16)])
def test_every_row_comes_once_before_any_comes_twice(count: int, global_batch: int, grouped: bool, tmp_path: Path):
    """A buffer of 10,000 rows would hold 20 passes over 500."""
    rows = [{"text": "a dog " * (row % 7 + 1) + str(row), "label": "good"} for row in range(count)]
    stream = _load(write_lines(tmp_path / "train.jsonl", rows))
    seen = _first(StreamedRows(stream, 10_000, global_batch, 1, grouped), 6 * count)
    for start in range(0, 6 * count, count):
        assert len(set(seen[start : start + count])) == count
    assert count < global_batch or seen[:count] != seen[count : 2 * count]


def test_grouped_rows_have_neighbours_of_similar_length(train: Path):
    def spread(grouped: bool) -> int:
        seen = _first(StreamedRows(_load(train), 64, 16, 1, grouped), 64)
        lengths = [len(text) for text in seen]
        return sum(max(lengths[i : i + 16]) - min(lengths[i : i + 16]) for i in range(0, 64, 16))

    assert spread(grouped=True) < spread(grouped=False) / 2


@pytest.mark.parametrize("pair", [False, True])
def test_only_the_beginning_of_a_streamed_text_is_tokenized(pair: bool, tiny_model, monkeypatch):
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    given = []
    call = tokenization._call_fast
    monkeypatch.setattr(
        tokenization, "_call_fast", lambda columns, *rest: given.append(len(columns[0][0])) or call(columns, *rest)
    )
    texts = [["the boy walked on the hill " * 10_000, "a dog"], *([["good", "the sea " * 40]] if pair else [])]
    rows = [
        {**dict(zip(("text", "text_pair"), row, strict=False)), "labels": index}
        for index, row in enumerate(zip(*texts, strict=True))
    ]
    batch = PaddingCollator(tokenizer, 32)(rows)
    whole = tokenizer(*texts, truncation=True, max_length=32, padding=True, return_tensors="pt")
    assert batch["labels"].tolist() == [0, 1]
    assert {name: batch[name].tolist() for name in whole} == {name: ids.tolist() for name, ids in whole.items()}
    assert given == [pytest.approx(32 * tokenization.CHARACTERS_PER_TOKEN, abs=10)]


def test_rows_of_one_fixed_length_are_known_as_such(tiny_model, train: Path, tmp_path: Path, monkeypatch):
    """Or evaluation batches would hold as many short rows as if they were not padded."""
    shapes = set()
    call = PaddingCollator.__call__
    monkeypatch.setattr(
        PaddingCollator, "__call__", lambda self, rows: shapes.add((len(rows), self.pad_to)) or call(self, rows)
    )
    settings = {**STEPS, "model_name_or_path": tiny_model, "train_file": train, "validation_file": train}
    settings |= {"max_steps": 1, "per_device_eval_batch_size": 8, "pad_to_max_length": True}
    assert classify(tmp_path / "run", **settings) == 0
    tried = (2, 32)  # before training
    assert shapes == {tried, (16, 32), (8, 32), (70 % 8, 32)}


BROKEN = {
    "text": ({"text": " ", "label": "good"}, "line 3: the text is missing. Pass --on_missing drop"),
    "label": ({"text": "a cat", "label": None}, "line 3: the label is missing. Pass --on_missing drop"),
    "unknown": (
        {"text": "a cat", "label": "goood"},
        "line 3: the label 'goood' is none of the 2 classes. Did you mean",
    ),
    "not JSON": ('{"text": ', "line 3: not JSON"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_row_is_one_line_with_its_place(kind: str, tiny_model, tmp_path: Path, capsys):
    row, message = BROKEN[kind]
    rows = [{"text": "a dog", "label": "bad"}, {"text": "a cat", "label": "good"}]
    file = write_lines(tmp_path / "train.jsonl", [*rows, *([] if isinstance(row, str) else [row])])
    if isinstance(row, str):
        file.write_text(file.read_text(encoding="utf-8") + row + "\n", encoding="utf-8")
    settings = {**STEPS, "model_name_or_path": tiny_model, "train_file": file}
    assert classify(tmp_path / "run", **settings) == 2
    err = capsys.readouterr().err
    assert f"error: {file}, {message}" in err
    assert "Traceback" not in err
    if "--on_missing drop" in message:
        assert classify(tmp_path / "run", **settings, on_missing="drop", overwrite_output_dir=True) == 0


def test_incomplete_rows_can_be_left_out(tmp_path: Path, capsys):
    rows = [{"text": "a dog", "label": "bad"}, {"text": "", "label": "good"}, {"text": "a cat", "label": None}]
    stream = _load(write_lines(tmp_path / "train.jsonl", rows), on_missing="drop")
    assert _texts(stream.pass_over()) == ["a dog"]
    assert "left out and not counted" in capsys.readouterr().err
    nothing = _load(write_lines(tmp_path / "none.jsonl", rows[1:]), on_missing="drop")
    with pytest.raises(UserError, match="no row has both text and label"):
        next(iter(StreamedRows(nothing, 4, 2, 1, grouped=True)))


def test_labels_can_be_left_out_and_the_rows_that_are_left_are_counted(tmp_path: Path, capsys):
    labels = ("bad", "odd", "good", "good")
    rows = [{"text": str(index), "label": label} for index, label in enumerate(labels)]
    files = {"train_file": str(write_lines(tmp_path / "train.jsonl", rows))}
    files["validation_file"] = str(write_lines(tmp_path / "dev.jsonl", rows[2:]))
    stream = _load(drop_labels=["odd"], max_train_samples=2, **files)
    assert _texts(stream.pass_over()) == ["0", "2"]
    assert "no row has the label" not in capsys.readouterr().err, "of the stream, no label is known"


def test_pairs_numbers_and_several_labels_are_read_as_without_a_stream(tmp_path: Path):
    pair = write_lines(tmp_path / "pair.jsonl", [{"sentence1": "a", "sentence2": "b", "label": 2.5}])
    assert next(_load(pair, class_names=[], do_regression=True).pass_over()) == {
        "text": "a",
        "text_pair": "b",
        "labels": 2.5,
    }
    several = write_lines(tmp_path / "several.jsonl", [{"text": "a", "label": ["good", "bad"]}])
    multi = _load(several, problem_type="multi_label_classification")
    assert next(multi.pass_over())["labels"] == [1.0, 1.0]
    mapped = write_lines(tmp_path / "mapped.jsonl", [{"text": "a", "label": 5}])
    stream = _load(mapped, class_names=[], label_map={"1": "bad", "5": "good"})
    assert next(stream.pass_over())["labels"] == 1


@pytest.mark.parametrize(
    ("rows", "settings"),
    [
        ([{"text": "a", "bad": 0, "good": 1}], {"class_names": [], "label_column_name": ["bad", "good"]}),
        ([{"text": "a", "label": ["good"]}], {}),
        ([{"text": "a", "label": "['good']"}], {}),
        ([{"text": "a", "label": "[0, 1]"}], {}),
    ],
    ids=["columns", "lists", "text", "vectors"],
)
def test_the_first_rows_say_that_there_are_several_labels(rows: list[dict], settings: dict, tmp_path: Path):
    stream = _load(write_lines(tmp_path / "train.jsonl", rows), **settings)
    assert (stream.schema.kind, stream.schema.class_names) == ("multi_label_classification", ("bad", "good"))
    assert next(stream.pass_over())["labels"] == [0, 1]


def test_numbers_whose_comma_may_separate_thousands_are_refused(tmp_path: Path):
    rows = [{"text": "a", "label": "1,450"}, {"text": "b", "label": "2,518"}]
    with pytest.raises(UserError, match="may separate thousands"):
        _load(write_lines(tmp_path / "train.jsonl", rows), class_names=[], do_regression=True)


def test_a_blank_text_of_a_folder_per_class_is_named_by_its_file(tmp_path: Path):
    for name, text in (("bad/1", "a dog"), ("good/2", " ")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.txt").write_text(text)
    with pytest.raises(UserError, match=f"^{tmp_path / 'good' / '2.txt'}: the text is missing"):
        list(_load(tmp_path).pass_over())


def test_rows_without_a_label_column_are_refused_at_once(tmp_path: Path):
    with pytest.raises(UserError, match=r"has no labels to train on\. Name the column with --label_column_name"):
        _load(write_lines(tmp_path / "train.jsonl", [{"text": "a cat"}]))


def test_a_data_set_is_streamed_by_its_name(tmp_path: Path, write_csv):
    """A folder of files is read as a data set of the Hub is, without the network."""
    for split, rows in (("train", 9), ("test", 5), ("validation", 3)):
        write_csv(tmp_path / "set" / f"{split}.csv", ("text", "label"), labelled_sentences(rows, seed=rows))
    settings = {"class_names": ["bad", "good"], "streaming": True, "remove_splits": ["validation"]}
    arguments = DataArguments(dataset_name=str(tmp_path / "set"), **settings)
    found = dataset.load_splits(arguments, (), training=True, cache_dir=None, token=None)
    assert _texts(found.stream.pass_over()) == [text for text, _ in labelled_sentences(9, seed=9)]
    assert {name: len(split) for name, split in found.splits.items()} == {"test": 5}
    assert found.splits["test"]["labels"][:] == [0, 1, 0, 1, 0]


def test_a_data_set_that_goes_away_while_it_is_read_is_one_line(tmp_path: Path, write_csv):
    train = tmp_path / "set" / "train.csv"
    write_csv(train, ("text", "label"), labelled_sentences(9, seed=9))
    arguments = DataArguments(dataset_name=str(tmp_path / "set"), class_names=["bad", "good"], streaming=True)
    found = dataset.load_splits(arguments, (), training=True, cache_dir=None, token=None)
    train.unlink()
    with pytest.raises(UserError, match=r"--dataset_name .*set cannot be loaded: "):
        next(found.stream.pass_over())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"class_names": None}, "no training labels are counted, so nothing says which classes there are"),
        ({"train_file": None, "validation_file": "dev.csv"}, "there is no training split 'train', only validation"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_a_stream_cannot_do_is_refused(change: dict, message: str, tiny_model, train, tmp_path: Path, capsys):
    if "validation_file" in change:
        change = {**change, "validation_file": train}
    settings = {**STEPS, "model_name_or_path": tiny_model, "train_file": train, **change}
    assert classify(tmp_path / "run", **settings) == 2
    assert message in capsys.readouterr().err


def test_a_stream_is_not_opened_where_nothing_is_trained(train: Path):
    arguments = parser.parse(
        to_argv({"validation_file": train, "streaming": True, "do_eval": True, "max_steps": 1}), GROUPS, "usage"
    )
    found = dataset.load_splits(arguments[DataArguments], ("bad", "good"), training=False, cache_dir=None, token=None)
    assert found.stream is None
    assert list(found.splits) == ["validation"]
