"""A model that was fine-tuned for one task begins another: its encoder and pooler, a new head."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from running import classify, labelled_sentences, predictions, read_json, results, weights_of, write_lines

pytestmark = pytest.mark.slow

CLASSES = ("contradiction", "entailment", "neutral")


@pytest.fixture(scope="module")
def first(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory, write_csv: Callable) -> Path:
    """Return a run on three classes of pairs, as MNLI's are."""
    folder = tmp_path_factory.mktemp("first")
    rows = [(text, text, CLASSES[row % 3]) for row, (text, _) in enumerate(labelled_sentences(24, 1))]
    train = write_csv(folder / "train.csv", ("sentence1", "sentence2", "label"), rows)
    settings = {"model_name_or_path": tiny_model, "train_file": train, "learning_rate": 1e-2}
    assert classify(folder / "mnli", **settings, num_train_epochs=1) == 0
    return folder / "mnli"


def _rows(folder: Path, labels: tuple[object, ...]) -> Path:
    rows = [
        {"sentence1": text, "sentence2": text, "label": labels[row % len(labels)]}
        for row, (text, _) in enumerate(labelled_sentences(24, 2))
    ]
    return write_lines(folder / "rows.jsonl", rows)


KINDS = {
    "two classes (RTE)": ("entailment", "not_entailment"),
    "a score (STS-B)": (0.5, 2.0, 4.5),
    "three other classes": ("x", "y", "z"),
    "the same classes": CLASSES,
}


@pytest.mark.parametrize("labels", KINDS.values(), ids=KINDS)
def test_encoder_and_pooler_are_the_earlier_run_s_and_the_head_is_new(labels, first: Path, tmp_path: Path, capsys):
    """At a learning rate of 0 the weights at the end are those at the beginning."""
    settings = {"model_name_or_path": first, "train_file": _rows(tmp_path, labels), "num_train_epochs": 1}
    assert classify(tmp_path / "run", **settings, new_head=True, learning_rate=0) == 0
    assert "info: new head: classifier." in capsys.readouterr().err
    before, after = weights_of(first), weights_of(tmp_path / "run")
    kept = [name for name in before if not name.startswith("classifier")]
    assert len(kept) == len(before) - 2 and "bert.pooler.dense.weight" in kept
    assert [name for name in kept if not torch.equal(before[name], after[name])] == []
    outputs = 1 if isinstance(labels[0], float) else len(labels)
    assert after["classifier.weight"].shape == (outputs, 32)
    assert not set(after["classifier.weight"].flatten().tolist()) & set(before["classifier.weight"].flatten().tolist())
    assert torch.count_nonzero(after["classifier.bias"]) == 0


def test_the_new_task_trains_and_is_scored_by_its_own_names(first: Path, tmp_path: Path):
    rows = _rows(tmp_path, KINDS["two classes (RTE)"])
    settings = {"model_name_or_path": first, "train_file": rows, "validation_file": rows, "new_head": True}
    assert classify(tmp_path / "run", **settings, learning_rate=1e-2, num_train_epochs=2) == 0
    assert "eval_accuracy" in results(tmp_path / "run")
    predicted = {row["prediction"] for row in predictions(tmp_path / "run", "validation")}
    assert predicted <= set(KINDS["two classes (RTE)"])
    before, after = weights_of(first), weights_of(tmp_path / "run")
    assert not torch.equal(before["bert.pooler.dense.weight"], after["bert.pooler.dense.weight"])


@pytest.mark.parametrize(("labels", "outputs"), [(KINDS["two classes (RTE)"], 2), (KINDS["a score (STS-B)"], 1)])
def test_without_the_flag_another_size_is_refused_with_the_way_out(labels, outputs, first, tmp_path: Path, capsys):
    assert classify(tmp_path / "run", model_name_or_path=first, train_file=_rows(tmp_path, labels)) == 2
    printed = capsys.readouterr().err.splitlines()[-1]
    assert printed == (
        f"error: {first}: classifier.bias, classifier.weight has another size than this task needs "
        f"({outputs} outputs). In training --new_head keeps the encoder and trains a new head on it."
    )
    assert not (tmp_path / "run").exists()


def test_without_the_flag_other_names_of_the_same_number_go_on_with_a_warning(first, tmp_path: Path, capsys):
    settings = {"model_name_or_path": first, "train_file": _rows(tmp_path, ("x", "y", "z")), "learning_rate": 0}
    assert classify(tmp_path / "run", **settings, num_train_epochs=1) == 0
    printed = capsys.readouterr().err
    assert "trained for contradiction, entailment, neutral and is now trained for x, y, z; --new_head starts" in printed
    before, after = weights_of(first), weights_of(tmp_path / "run")
    assert torch.equal(before["classifier.weight"], after["classifier.weight"])


def test_a_new_head_has_the_classes_of_the_task_in_its_order(first, tmp_path: Path):
    labels = tuple(reversed(CLASSES))
    settings = {"model_name_or_path": first, "train_file": _rows(tmp_path, labels), "max_steps": 1, "new_head": True}
    assert classify(tmp_path / "run", **settings, class_names=list(labels)) == 0
    assert read_json(tmp_path / "run" / "config.json")["id2label"] == {str(id): name for id, name in enumerate(labels)}
