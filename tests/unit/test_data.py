"""From arguments to checked splits: roles, missing cells, parts held out, limits, and one label schema for all."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from datasets import ClassLabel, Dataset, Features, Value
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bertlab.cli.arguments import DataArguments
from bertlab.data import dataset, readers, sources
from bertlab.data.data_file import DataFile
from bertlab.errors import UserError

Write = Callable[..., str]


@pytest.fixture
def file(tmp_path, write_csv) -> Write:
    """Return a function that writes rows of (text, label) and returns the path."""

    def write(name: str, rows: list, header: tuple[str, ...] = ("text", "label")) -> str:
        return str(write_csv(tmp_path / name, header, rows))

    return write


def load(training: bool = True, model_names: tuple[str, ...] = (), **settings) -> dataset.Data:
    return dataset.load_splits(DataArguments(**settings), model_names, training=training, cache_dir=None, token=None)


def refusal(training: bool = True, **settings) -> str:
    with pytest.raises(UserError) as caught:
        load(training, **settings)
    return str(caught.value)


def rows(count: int, labels: str = "ab") -> list[list[str]]:
    return [[f"text {i}", labels[i % len(labels)]] for i in range(count)]


def texts(loaded: dataset.Data, split: str) -> list[str]:
    return loaded.splits[split]["text"][:]


def test_files_become_labelled_splits_with_roles(file):
    loaded = load(
        train_file=file("train.csv", [["x", "pos"], ["y", "neg"]]),
        validation_file=file("dev.csv", [["z", "pos"]]),
        test_file=file("test.csv", [["w", ""], ["v", "-1"]]),
    )
    assert (loaded.train, loaded.selection, loaded.validation, loaded.test) == (
        "train",
        None,
        ("validation",),
        ("test",),
    )
    assert loaded.splits["train"]["labels"][:] == [1, 0]
    assert loaded.splits["validation"]["labels"][:] == [1]
    assert "labels" not in loaded.splits["test"].column_names
    assert (loaded.eval_split, loaded.evaluation_splits) == ("validation", ("validation", "test"))
    assert loaded.metrics == ("accuracy", "f1", "matthews_correlation")


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_numbers_written_with_a_decimal_point_are_the_same_classes(tmp_path, separator):
    train, dev = tmp_path / "train.csv", tmp_path / "dev.csv"
    train.write_text(separator.join(["text", "label"]) + "\n" + f"a{separator}1.0\nb{separator}2.0\n" * 3)
    dev.write_text(separator.join(["text", "label"]) + "\n" + f"a{separator}2\nb{separator}1\n")
    loaded = load(train_file=str(train), validation_file=str(dev))
    assert loaded.splits["validation"]["labels"][:] == [1, 0]


@pytest.mark.parametrize(
    ("row", "what"), [(["", "a"], "text"), (["  ", "a"], "text"), (["x", ""], "label"), (["x", " "], "label")]
)
def test_missing_cells_are_refused_or_dropped_and_counted(file, capsys, row, what):
    path = file("train.csv", [*rows(4), row, row])
    error = refusal(train_file=path)
    place = f"{path}, line 6: the {what} is missing (2 such rows)."
    assert error.startswith(f"{place} Pass --on_missing drop to leave such rows out.")
    loaded = load(train_file=path, on_missing="drop")
    assert (len(loaded.splits["train"]), loaded.dropped) == (4, {"train": 2})
    assert capsys.readouterr().err.startswith(f"info: {path}: 2 of 6 rows are left out, which lack text")


def test_a_blank_text_of_a_folder_per_class_is_named_by_its_file(tmp_path):
    for name, text in (("neg/1", "bad"), ("neg/2", " \n"), ("pos/1", "good"), ("pos/2", "")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.txt").write_text(text, encoding="utf-8")
    assert refusal(train_file=str(tmp_path)).startswith(
        f"{tmp_path / 'neg' / '2.txt'}: the text is missing (2 such rows)."
    )
    places = [row.where for row in readers.read_rows(DataFile(tmp_path))]
    assert places == ["neg/1.txt", "neg/2.txt", "pos/1.txt", "pos/2.txt"]
    assert len(load(train_file=str(tmp_path), on_missing="drop").splits["train"]) == 2


def test_minus_one_is_a_class_where_nobody_names_the_classes(file):
    path = file("train.csv", rows(4, ["-1", "1"]))
    assert load(train_file=path, validation_file=path).splits["validation"]["labels"][:] == [0, 1, 0, 1]


def test_a_pair_needs_both_segments_and_keeps_its_row_numbers(file):
    test = file("test.csv", [["a", "b"], ["a", ""], ["c", "d"]], ("sentence1", "sentence2"))
    train = file("train.csv", [["a", "b", "0"], ["c", "d", "1"]], ("sentence1", "sentence2", "label"))
    loaded = load(train_file=train, test_file=test, on_missing="drop")
    assert loaded.splits["test"]["idx"][:] == [0, 2]
    assert loaded.splits["test"]["text_pair"][:] == ["b", "d"]


def test_json_labels_follow_the_same_rules(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_text(
        "".join(json.dumps({"text": f"t{i}", "label": value}) + "\n" for i, value in enumerate([1, 2.0, "1"]))
    )
    assert load(train_file=str(path)).splits["train"]["labels"][:] == [0, 1, 0]


@pytest.mark.parametrize(
    ("settings", "sizes"),
    [
        ({}, {"train": 100}),
        ({"validation_fraction": 0.1}, {"train": 90, "validation": 10}),
        ({"test_fraction": 0.05, "selection_fraction": 0.1}, {"train": 85, "test": 5, "selection": 10}),
        ({"validation_fraction": 0.1, "stratify": False, "split_shuffle": False}, {"train": 90, "validation": 10}),
    ],
)
def test_splits_held_out_are_disjoint_and_labelled(file, settings, sizes):
    loaded = load(train_file=file("train.csv", rows(100)), **settings)
    assert {name: len(split) for name, split in loaded.splits.items()} == sizes
    everything = [text for name in sizes for text in texts(loaded, name)]
    assert sorted(everything) == sorted(text for text, _ in rows(100))
    assert all("labels" in split.column_names for split in loaded.splits.values())
    assert loaded.selection == ("selection" if "selection" in sizes else None)


def test_splits_held_out_depend_on_the_split_seed_alone(file):
    path = file("train.csv", rows(60))
    first, again, other = (load(train_file=path, validation_fraction=0.2, split_seed=s) for s in (1, 1, 2))
    assert texts(first, "validation") == texts(again, "validation") != texts(other, "validation")


def test_a_split_held_out_takes_its_place_in_the_named_order(file):
    loaded = load(
        train_file=file("train.csv", rows(20)),
        test_file=file("test.csv", rows(2)),
        test_split_name=["holdout", "test"],
        test_fraction=0.1,
    )
    assert loaded.test == ("holdout", "test")
    assert loaded.origin["test"].endswith("train.csv (held out)")


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    words=st.lists(st.sampled_from("abcdefgh"), min_size=12, max_size=40),
    fraction=st.floats(0.05, 0.4),
    shuffle=st.booleans(),
)
def test_duplicates_are_held_out_together(words, fraction, shuffle):
    from datasets import Dataset

    train = Dataset.from_dict(
        {"text": words, "label": ["xy"[i % 2] for i in range(len(words))], "idx": range(len(words))}
    )
    arguments = DataArguments(
        validation_fraction=fraction, keep_duplicates_together=True, stratify=False, split_shuffle=shuffle
    )
    raw = sources.from_dataset_dict({"train": train}, arguments, "memory")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "read_source", lambda *args, **kwargs: raw)
        try:
            loaded = dataset.load_splits(arguments, (), training=True, cache_dir=None, token=None)
        except UserError as error:
            assert "leaves no training rows" in str(error)
            return
    assert not set(texts(loaded, "train")) & set(texts(loaded, "validation"))
    assert sorted(texts(loaded, "train") + texts(loaded, "validation")) == sorted(words)


def test_limits_take_the_first_rows_of_each_role(file):
    path, dev, test = file("train.csv", rows(30)), file("dev.csv", rows(9)), file("test.csv", rows(9))
    flags = {"train_file": path, "validation_file": dev, "test_file": test}
    loaded = load(**flags, max_train_samples=5, max_eval_samples=4, max_predict_samples=3)
    assert {name: len(split) for name, split in loaded.splits.items()} == {"train": 5, "validation": 4, "test": 3}
    assert texts(loaded, "train") == [f"text {i}" for i in range(5)]
    shuffled = load(**flags, max_train_samples=5, shuffle_train_dataset=True)
    assert texts(shuffled, "train") != texts(loaded, "train") and len(texts(shuffled, "train")) == 5
    assert len(load(**flags, max_train_samples=500).splits["train"]) == 30


def test_of_a_split_that_was_held_out_a_limit_takes_random_rows(file):
    """A file that is sorted by label would else leave one class to choose the epoch by."""
    path = file("train.csv", [[f"text {i}", "ab"[i >= 100]] for i in range(200)])
    flags = {"train_file": path, "selection_fraction": 0.2, "validation_fraction": 0.2, "max_eval_samples": 20}
    first, again = load(**flags), load(**flags)
    for name in ("selection", "validation"):
        assert len(first.splits[name]) == 20 and set(first.splits[name]["labels"][:]) == {0, 1}
        assert texts(first, name) == texts(again, name)


def test_a_limit_that_loses_a_class_gets_a_warning(file, capsys):
    path = file("train.csv", [[f"text {i}", "ab"[i >= 10]] for i in range(20)])
    load(train_file=path, max_train_samples=10)
    error = capsys.readouterr().err
    assert "--max_train_samples 10: the first rows have none of 'b'; --shuffle_train_dataset" in error
    load(train_file=path, max_train_samples=10, shuffle_train_dataset=True)
    assert "have none of" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"train_file": "T", "validation_file": "D", "validation_fraction": 0.1},
            "the data already has a split 'valida",
        ),
        (
            {
                "train_file": "T",
                "validation_file": "D",
                "validation_split_name": ["selection"],
                "selection_fraction": 0.1,
            },
            "--selection_fraction: the data already has a split 'selection'. Leave the flag out",
        ),
        (
            {
                "train_file": "T",
                "validation_file": "D",
                "validation_split_name": ["test"],
                "test_file": "D",
                "test_split_name": ["other"],
                "test_fraction": 0.1,
            },
            "--test_fraction: the data already has a split 'test'. Leave the flag out",
        ),
        (
            {"train_file": "T", "train_split_name": "tr", "validation_split_name": ["dev"]},
            "--validation_split_name: ther",
        ),
        (
            {"validation_file": "D"},
            "there is no training split 'train', only validation. Name it with --train_split_na",
        ),
        (
            {"train_file": "T", "validation_fraction": 0.9, "test_fraction": 0.9},
            "fraction 0.9 leaves no training rows.",
        ),
        (
            {"train_file": "T", "validation_file": "D", "test_file": "D", "test_split_name": ["validation"]},
            "dev.csv are both the split 'validation'. Name splits apart.",
        ),
        (
            {"train_file": "T", "validation_file": "D", "test_split_name": ["validation"]},
            "the split 'validation' is named for validation and for test. Leave it out of",
        ),
    ],
)
def test_splits_that_cannot_be_are_refused(file, settings, message):
    paths = {"T": file("train.csv", rows(20)), "D": file("dev.csv", rows(4))}
    assert message in refusal(
        **{key: paths.get(value, value) if isinstance(value, str) else value for key, value in settings.items()}
    )


def test_what_is_named_twice_is_done_once(file):
    names = {"validation_split_name": ["dev", "dev"], "metric_name": ["accuracy", "f1", "accuracy"]}
    loaded = load(train_file=file("train.csv", rows(4)), validation_file=file("dev.csv", rows(4)), **names)
    assert (loaded.validation, loaded.metrics) == (("dev",), ("accuracy", "f1"))


def test_evaluating_the_training_split_is_possible_with_a_warning(file, capsys):
    loaded = load(train_file=file("train.csv", rows(4)), validation_split_name=["train"])
    assert (loaded.train, loaded.validation) == ("train", ("train",))
    assert "the split 'train' is also named for validation" in capsys.readouterr().err


def test_without_training_the_models_classes_are_used(file):
    loaded = load(False, ("b", "a"), validation_file=file("dev.csv", rows(4)))
    assert loaded.train is None
    assert loaded.splits["validation"]["labels"][:] == [1, 0, 1, 0]


def test_splits_of_unusual_names_are_evaluated_by_the_flag_of_the_hint():
    dev = Dataset.from_dict({"text": ["a", "b"], "label": ["x", "y"]})
    for named in ([], ["dev"]):
        arguments = DataArguments(validation_split_name=named)
        raw = sources.from_dataset_dict({"dev": dev}, arguments, "some/set")
        if named:
            assert dataset.prepare_splits(raw, arguments, ("x", "y"), training=False).validation == ("dev",)
            continue
        with pytest.raises(UserError, match=r"no split to work on\. Name one with --validation_split_name: dev\."):
            dataset.prepare_splits(raw, arguments, ("x", "y"), training=False)


def test_without_training_labels_may_be_lists_as_text(file):
    dev = file("dev.csv", [["x", "['a', 'b']"], ["y", "[]"], ["z", "['b']"]])
    loaded = load(False, ("a", "b"), validation_file=dev)
    assert loaded.splits["validation"]["labels"][:] == [[1, 1], [0, 0], [0, 1]]


def test_the_imdb_recipe_splits_the_real_file_without_leaks(real_data):
    path = Path(real_data) / "imdb" / "IMDB Dataset.csv.gz"
    loaded = load(
        train_file=str(path),
        label_column_name=["sentiment"],
        clean=["html", "whitespace"],
        keep_duplicates_together=True,
        validation_fraction=0.1,
        split_shuffle=False,
        class_names=["negative", "positive"],
    )
    train, validation = (set(texts(loaded, name)) for name in ("train", "validation"))
    assert not train & validation
    assert len(loaded.splits["train"]) + len(loaded.splits["validation"]) == 50_000
    assert not any("<br" in text for text in validation)


def test_rows_that_a_hub_data_set_marks_as_unlabelled_are_dropped_or_refused():
    names = Features({"premise": Value("string"), "hypothesis": Value("string"), "label": ClassLabel(names=["e", "n"])})
    rows = {"premise": ["p"] * 5, "hypothesis": list("abcde"), "label": [0, -1, 1, 0, 1]}
    raw = sources.from_dataset_dict({"train": Dataset.from_dict(rows, features=names)}, DataArguments(), "snli")
    with pytest.raises(UserError, match=r"snli, row 2: the label is missing \(1 such row\)\."):
        dataset.prepare_splits(raw, DataArguments(), (), training=True)
    loaded = dataset.prepare_splits(raw, DataArguments(on_missing="drop"), (), training=True)
    assert (loaded.splits["train"]["labels"][:], loaded.dropped) == ([0, 1, 0, 1], {"train": 1})
