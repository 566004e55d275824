"""run_classification.py from the command line to the files it leaves, on every kind of task."""

import math
import re
import socket
from pathlib import Path

import numpy as np
import pytest
import torch
from running import (
    classify,
    farthest,
    history,
    labelled_sentences,
    predictions,
    read_json,
    results,
    weights_of,
    write_lines,
)

STEPS = {"max_steps": 3, "per_device_train_batch_size": 8}


@pytest.fixture(scope="module")
def finished(sharp_model, write_csv, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run with everything it writes, whose classes are in another order than the alphabet's."""
    folder = tmp_path_factory.mktemp("finished")
    header = ("text", "label")
    files = {
        f"{split}_file": write_csv(folder / f"{split}.csv", header, labelled_sentences(rows, seed=rows))
        for split, rows in (("train", 40), ("validation", 20), ("test", 21))
    }
    settings = {"model_name_or_path": sharp_model, "class_names": ["good", "bad"], "metric_batch_size": 8}
    assert classify(folder / "run", drawn=True, **files, **settings, **STEPS) == 0
    return folder / "run"


def test_two_classes_are_trained_evaluated_and_predicted(finished: Path):
    scores = results(finished)
    for key in ("train_loss", "train_samples", "eval_loss", "eval_accuracy", "eval_f1", "test_accuracy"):
        assert math.isfinite(scores[key]), key
    assert (scores["train_samples"], scores["eval_samples"], scores["test_samples"]) == (40, 20, 21)
    splits = read_json(finished / "results.json")["splits"]
    assert splits["validation"]["metrics"]["accuracy"]["value"] == scores["eval_accuracy"]
    assert splits["validation"]["baselines"]["majority"]["metrics"]["accuracy"] == 0.5
    rows = predictions(finished, "validation")
    assert scores["eval_accuracy"] == np.mean([row["label"] == row["prediction"] for row in rows])


def test_everything_a_run_promises_is_there_and_loads(finished: Path):
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

    present = {path.name for path in finished.iterdir()}
    assert present >= {
        *("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"),
        *("all_results.json", "train_results.json", "eval_results.json", "trainer_state.json"),
        *("results.json", "run.json", "predictions", "misclassified", "report.html", "README.md"),
    }
    model = AutoModelForSequenceClassification.from_pretrained(finished)
    assert model.config.id2label == {0: "good", 1: "bad"}
    assert model.config.label2id == {"good": 0, "bad": 1}
    label = pipeline("text-classification", model=model, tokenizer=AutoTokenizer.from_pretrained(finished))
    assert label("a good film")[0]["label"] in ("bad", "good")
    run = read_json(finished / "run.json")
    assert run["command"][1:3] == ["--precision", "fp32"]
    assert run["configuration"]["per_device_train_batch_size"] == 8
    assert run["plan"]["steps"] == 3
    assert run["data"]["train"]["rows"] == 40
    misclassified = (finished / "misclassified" / "validation.tsv").read_text(encoding="utf-8").splitlines()
    assert misclassified[0].split("\t")[:3] == ["idx", "label", "prediction"]
    wrong = sum(row["label"] != row["prediction"] for row in predictions(finished, "validation"))
    assert len(misclassified) == 1 + wrong


def test_the_metric_is_listed_for_every_batch_of_test_rows(finished: Path):
    per_batch = read_json(finished / "results.json")["splits"]["test"]["per_batch"]
    assert per_batch["size"] == 8
    assert len(per_batch["matthews_correlation"]) == 3


def test_a_finished_run_is_evaluated_with_its_own_label_order(finished: Path, tmp_path: Path):
    before = (finished / "run.json").read_text(encoding="utf-8")
    settings = {"validation_file": finished.with_name("validation.csv"), "do_eval": True}
    assert classify(tmp_path / "again", model_name_or_path=finished, **settings) == 0
    scores = results(tmp_path / "again")
    assert scores["eval_accuracy"] == results(finished)["eval_accuracy"]
    assert scores["eval_loss"] == pytest.approx(results(finished)["eval_loss"], abs=1e-6)
    assert predictions(tmp_path / "again", "validation") == predictions(finished, "validation")
    assert list(predictions(finished, "validation")[0])[3:] == ["probability_good", "probability_bad"]
    assert not [key for key in scores if key.startswith("train_")]
    assert (finished / "run.json").read_text(encoding="utf-8") == before


def test_a_finished_run_predicts_rows_without_labels(finished: Path, make_csv, tmp_path: Path):
    settings = {"test_file": make_csv("new", 7, labelled=False), "do_predict": True}
    assert classify(tmp_path / "again", model_name_or_path=finished, **settings) == 0
    assert len(predictions(tmp_path / "again", "test")) == 7


def test_a_finished_run_is_trained_on_with_its_own_label_order(finished: Path, make_csv, tmp_path: Path):
    settings = {"train_file": make_csv("train", 40), "max_steps": 1, "learning_rate": 0}
    assert classify(tmp_path / "more", model_name_or_path=finished, **settings) == 0
    assert read_json(tmp_path / "more" / "config.json")["id2label"] == {"0": "good", "1": "bad"}
    assert farthest(tmp_path / "more", finished) == 0


def test_labels_are_merged_and_named_by_the_label_map(tiny_model, make_csv, tmp_path: Path):
    from transformers import AutoConfig

    stars = tuple("12345")
    rows = [(text, stars[index % 5]) for index, (text, _) in enumerate(labelled_sentences(50, seed=4))]
    train = tmp_path / "stars.csv"
    train.write_text("text,label\n" + "".join(f"{text},{star}\n" for text, star in rows), encoding="utf-8")
    settings = {
        "label_map": ["1=negative", "2=negative", "3=neutral", "4=positive", "5=positive"],
        "class_names": ["negative", "neutral", "positive"],
        "validation_fraction": 0.2,
    }
    folder = tmp_path / "run"
    assert classify(folder, model_name_or_path=tiny_model, train_file=train, **settings, **STEPS) == 0
    assert AutoConfig.from_pretrained(folder).id2label == {0: "negative", 1: "neutral", 2: "positive"}
    assert set(results(folder)) >= {"eval_accuracy", "eval_f1_macro", "eval_matthews_correlation"}
    predicted = predictions(folder, "validation")
    assert list(predicted[0])[3:] == ["probability_negative", "probability_neutral", "probability_positive"]
    assert [sum(row["label"] == name for row in predicted) for name in ("negative", "neutral", "positive")] == [4, 2, 4]
    for row in predicted:
        assert sum(float(row[name]) for name in list(row)[3:]) == pytest.approx(1, abs=2e-6)


def test_pairs_are_two_segments(tiny_model, write_csv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from bertlab.training import collators

    seen = []
    collate = collators.PaddingCollator.__call__
    monkeypatch.setattr(
        collators.PaddingCollator, "__call__", lambda s, rows: seen.append(collate(s, rows)) or seen[-1]
    )
    rows = [(a, b, y) for (a, y), (b, _) in zip(labelled_sentences(24, 1), labelled_sentences(24, 2), strict=True)]
    train = write_csv(tmp_path / "pairs.csv", ("sentence1", "sentence2", "label"), rows)
    assert classify(tmp_path / "run", model_name_or_path=tiny_model, train_file=train, **STEPS, max_seq_length=64) == 0
    first = {name: value[0].tolist() for name, value in seen[0].items() if value.ndim == 2}
    ends = [i for i, token in enumerate(first["input_ids"]) if token == 3]
    assert len(ends) == 2
    assert sum(first["token_type_ids"]) == ends[1] - ends[0]


def test_a_row_of_json_lines_may_have_several_labels(tiny_model, tmp_path: Path):
    names = ("news", "sport", "music")
    rows = [
        {"text": text, "labels": [name for bit, name in enumerate(names) if index >> bit & 1]}
        for index, (text, _) in enumerate(labelled_sentences(40, seed=5))
    ]
    files = {
        "train_file": write_lines(tmp_path / "train.jsonl", rows),
        "validation_file": write_lines(tmp_path / "dev.jsonl", rows[:16]),
    }
    folder = tmp_path / "run"
    assert classify(folder, model_name_or_path=tiny_model, **files, **STEPS) == 0
    assert read_json(folder / "config.json")["problem_type"] == "multi_label_classification"
    assert set(results(folder)) >= {"eval_f1_micro", "eval_f1_macro", "eval_accuracy", "eval_loss"}
    predicted = predictions(folder, "validation")
    assert [set(filter(None, row["label"].split("|"))) for row in predicted] == [
        set(row["labels"]) for row in rows[:16]
    ]
    for row in predicted:
        likely = {name for name in names if float(row[f"probability_{name}"]) >= 0.5}
        assert set(filter(None, row["prediction"].split("|"))) == likely


def test_decimal_labels_are_a_regression(tiny_model, write_csv, tmp_path: Path, capsys):
    rows = [(text, f"{index % 11 / 2}") for index, (text, _) in enumerate(labelled_sentences(44, seed=6))]
    train = write_csv(tmp_path / "scores.csv", ("text", "label"), rows)
    folder = tmp_path / "run"
    settings = {"validation_fraction": 0.25, "label_column_name": "label"}
    assert classify(folder, model_name_or_path=tiny_model, train_file=train, **settings, **STEPS) == 0
    assert "this is a regression" in capsys.readouterr().err
    scores, predicted = results(folder), predictions(folder, "validation")
    assert list(predicted[0]) == ["idx", "label", "prediction"]
    off = [float(row["label"]) - float(row["prediction"]) for row in predicted]
    assert scores["eval_mse"] == pytest.approx(np.mean(np.square(off)), abs=1e-3)
    assert scores["eval_loss"] == pytest.approx(scores["eval_mse"], abs=1e-5)
    assert -1 <= scores["eval_pearson"] <= 1


def test_a_test_file_without_labels_is_predicted_whole_and_in_order(sharp_model, make_csv, tmp_path: Path, capsys):
    files = {"train_file": make_csv("train", 40), "test_file": make_csv("unlabelled", 37, labelled=False)}
    folder = tmp_path / "run"
    assert classify(folder, model_name_or_path=sharp_model, **files, **STEPS) == 0
    predicted = predictions(folder, "test")
    assert list(predicted[0]) == ["idx", "label", "prediction", "probability_bad", "probability_good"]
    assert [row["idx"] for row in predicted] == [str(index) for index in range(37)]
    assert {row["label"] for row in predicted} == {""}
    assert all((float(row["probability_good"]) > 0.5) == (row["prediction"] == "good") for row in predicted)
    assert "test_accuracy" not in results(folder)
    assert results(folder)["test_samples"] == 37
    assert "test: 37 predictions in" in capsys.readouterr().out
    assert not (folder / "misclassified" / "test.tsv").exists()


def test_several_validation_splits_have_keys_of_their_own(tiny_model, tmp_path: Path):
    """MNLI as GLUE ships it, in miniature: two validation splits and two test splits."""
    names = ("entailment", "neutral", "contradiction")
    data = tmp_path / "MNLI"
    data.mkdir()
    for file, rows in (
        ("train", 30),
        ("dev_matched", 9),
        ("dev_mismatched", 12),
        ("test_matched", 5),
        ("test_mismatched", 6),
    ):
        labelled = "test" not in file
        lines = ["index\tgenre\tsentence1\tsentence2" + "\tgold_label" * labelled]
        for index, (text, _) in enumerate(labelled_sentences(rows, seed=rows)):
            lines.append(
                f"{index}\tfiction\t{text}\tthe boy reads" + ("" if "test" in file else f"\t{names[index % 3]}")
            )
        (data / f"{file}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    folder = tmp_path / "run"
    assert classify(folder, task="mnli", data_dir=data, model_name_or_path=tiny_model, **STEPS) == 0
    scores = results(folder)
    assert scores["eval_samples"] == 9
    assert {"eval_accuracy", "eval_validation_mismatched_accuracy"} <= set(scores)
    assert scores["eval_validation_mismatched_samples"] == 12
    files = {path.stem: len(predictions(folder, path.stem)) for path in (folder / "predictions").iterdir()}
    assert files == {"validation_matched": 9, "validation_mismatched": 12, "test_matched": 5, "test_mismatched": 6}
    assert read_json(folder / "config.json")["id2label"] == {"0": names[0], "1": names[1], "2": names[2]}


def test_the_best_epoch_is_chosen_and_training_stops_on_the_selection_split(tiny_model, make_csv, tmp_path: Path):
    files = {"train_file": make_csv("train", 60), "validation_file": make_csv("dev", 20)}
    settings = {
        "selection_fraction": 0.2,
        "early_stopping_patience": 2,
        "num_train_epochs": 20,
        "learning_rate": 5e-5,
        "metric_for_best_model": "accuracy",
        "per_device_train_batch_size": 8,
    }
    folder = tmp_path / "run"
    assert classify(folder, model_name_or_path=tiny_model, **files, **settings) == 0
    accuracies = history(folder, "eval_accuracy")
    state = read_json(folder / "trainer_state.json")
    best = int(np.argmax(accuracies))
    assert len(accuracies) == best + 1 + 2 < 20
    assert state["best_metric"] == accuracies[best]
    assert state["best_model_checkpoint"].endswith(f"checkpoint-{6 * (best + 1)}")
    assert farthest(folder, folder / f"checkpoint-{6 * (best + 1)}") == 0
    assert read_json(folder / "run.json")["data"]["selection"]["rows"] == 12
    assert list(read_json(folder / "results.json")["splits"]) == ["validation"]


def test_a_run_without_a_split_to_report_on_says_so_or_is_refused(tiny_model, make_csv, tmp_path: Path, capsys):
    settings = {"model_name_or_path": tiny_model, "train_file": make_csv("train", 20)}
    assert classify(tmp_path / "run", do_eval=True, **settings) == 2
    assert "there is no split to evaluate or predict, only train. Hold one out" in capsys.readouterr().err
    with_test = {**settings, "test_file": make_csv("test", 8), "do_eval": True, "max_steps": 1}
    assert classify(tmp_path / "run", **with_test) == 2
    hint = "Add --do_predict, which predicts test, and scores labelled rows."
    assert hint in capsys.readouterr().err
    assert classify(tmp_path / "obeyed", **with_test, do_predict=True) == 0
    assert len(predictions(tmp_path / "obeyed", "test")) == 8
    capsys.readouterr()
    assert not (tmp_path / "run").exists()
    warning = "no split with labels is evaluated, so there will be no score; --validation_fraction 0.1 holds one out."
    assert classify(tmp_path / "run", max_steps=1, **settings) == 0
    assert warning in capsys.readouterr().err
    assert classify(tmp_path / "other", max_steps=1, do_train=True, **settings) == 0
    assert warning not in capsys.readouterr().err


def test_what_a_run_has_no_use_for_is_said(tiny_model, make_csv, tmp_path: Path, capsys):
    settings = {"published": "mse=1", "published_split": "test", "metric_batch_size": 8, "max_steps": 1}
    files = {"train_file": make_csv("train", 20), "validation_file": make_csv("dev", 8)}
    settings |= {"warmup_steps": 5, "learning_rate": 1e-3, "metric_for_best_model": "accuracy"}
    assert classify(tmp_path / "run", model_name_or_path=tiny_model, **files, **settings) == 0
    printed = capsys.readouterr().err
    assert "--published mse is not shown: this run does not measure it." in printed
    assert "--published_split test: this run does not report on such a split." in printed
    assert "--metric_batch_size has no effect: there is no test split." in printed
    assert "--warmup_steps 5 is longer than the run (steps: 1), so the learning rate never reaches 0.001;" in printed
    assert (
        "--metric_for_best_model has no effect: no epoch is selected. --selection_fraction 0.1 selects one." in printed
    )
    warning = "the 20 training examples are fewer than the global batch of 32, so an epoch is one step."
    assert warning in printed
    assert (
        classify(tmp_path / "more", model_name_or_path=tiny_model, per_device_train_batch_size=20, **files, **settings)
        == 0
    )
    assert warning[:30] not in capsys.readouterr().err


def test_balanced_class_weights_raise_the_loss_of_the_rare_class(tiny_model, write_csv, tmp_path: Path):
    rows = [(text, "rare" if index % 8 == 0 else "usual") for index, (text, _) in enumerate(labelled_sentences(64, 1))]
    train = write_csv(tmp_path / "train.csv", ("text", "label"), rows)
    settings = {"train_file": train, "model_name_or_path": tiny_model, "num_train_epochs": 4, "learning_rate": 1e-3}
    settings |= {"per_device_train_batch_size": 16, "test_file": train}
    probabilities = {}
    for how in ("none", "balanced"):
        assert classify(tmp_path / how, **settings, class_weights=how) == 0
        probabilities[how] = np.mean([float(row["probability_rare"]) for row in predictions(tmp_path / how, "test")])
    assert probabilities["none"] < probabilities["balanced"] - 0.05


def test_a_frozen_encoder_stays_as_it_was(tiny_model, make_csv, tmp_path: Path):
    folder = tmp_path / "run"
    settings = {"freeze_encoder": True, "learning_rate": 1e-2, "weight_decay": 0.1}
    assert classify(folder, model_name_or_path=tiny_model, train_file=make_csv("train", 40), **settings, **STEPS) == 0
    before, after = weights_of(tiny_model), weights_of(folder)
    changed = {name for name, old in before.items() if not torch.equal(after[f"bert.{name}"], old)}
    assert changed == {"pooler.dense.weight", "pooler.dense.bias"}
    plan = read_json(folder / "run.json")["plan"]
    assert plan["trainable"] == 32 * 32 + 32 + 2 * 32 + 2 < plan["parameters"]


def test_overwriting_replaces_the_run_and_keeps_foreign_files(tiny_model, make_csv, tmp_path: Path):
    folder = tmp_path / "run"
    (folder / "notes").mkdir(parents=True)
    (folder / "thesis.txt").write_text("mine", encoding="utf-8")
    (folder / "predictions").mkdir()
    (folder / "predictions" / "old.tsv").touch()
    (folder / "checkpoint-99").mkdir()
    settings = {"train_file": make_csv("train", 40), "model_name_or_path": tiny_model, **STEPS}
    assert classify(folder, overwrite_output_dir=True, **settings) == 0
    assert (folder / "thesis.txt").read_text(encoding="utf-8") == "mine"
    assert (folder / "notes").is_dir()
    assert not (folder / "checkpoint-99").exists()
    assert not (folder / "predictions" / "old.tsv").exists()


def test_the_seed_alone_decides_the_weights(tiny_model, make_csv, tmp_path: Path):
    settings = {"train_file": make_csv("train", 40), "model_name_or_path": tiny_model, **STEPS}
    for name, seed in (("one", 1), ("same", 1), ("other", 2)):
        assert classify(tmp_path / name, seed=seed, **settings) == 0
    assert farthest(tmp_path / "one", tmp_path / "same") == 0
    assert farthest(tmp_path / "one", tmp_path / "other") > 1e-3


def test_no_socket_is_opened(tiny_model, make_csv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was asked")

    for name in ("create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.delenv("HF_HUB_OFFLINE")
    files = {"train_file": make_csv("train", 40), "validation_file": make_csv("dev", 20)}
    assert classify(tmp_path / "run", model_name_or_path=tiny_model, **files, **STEPS) == 0


def test_a_model_that_predicts_one_class_says_so(tiny_model, make_csv, tmp_path: Path, capsys):
    """At a learning rate of 0 two classes of equal size stay what the new head makes of them: of one kind."""
    files = {"train_file": make_csv("train", 40), "validation_file": make_csv("dev", 20)}
    assert classify(tmp_path / "run", model_name_or_path=tiny_model, **files, learning_rate=0, max_steps=1) == 0
    said = {row["prediction"] for row in predictions(tmp_path / "run", "validation")}
    told = "warning: validation: the model predicts one class only" in capsys.readouterr().err
    assert told == (len(said) == 1)
    assert told


def test_groups_are_resampled_and_compared_as_a_whole(sharp_model, write_csv, tmp_path, capsys):
    """Ten copies of each sentence: the interval is as wide as that of a tenth of the rows."""
    from bertlab.commands import compare

    rows = [[*row, f"p{number}"] for number, row in enumerate(labelled_sentences(40, seed=1)) for _ in range(10)]
    files = {
        f"{name}_file": write_csv(tmp_path / f"{name}.csv", ("text", "label", "patient"), rows[start : start + 200])
        for name, start in (("train", 0), ("validation", 200))
    }
    settings = {"model_name_or_path": sharp_model, "group_column": "patient", **files, **STEPS}
    assert classify(tmp_path / "run", **settings) == 0
    printed = capsys.readouterr().out
    split = read_json(tmp_path / "run" / "results.json")["splits"]["validation"]
    assert (split["groups"]["count"], split["groups"]["shared"]) == (20, "the group")
    assert 2 < split["groups"]["wider"] < 4.5
    assert re.search(r"200 \(20\s.*groups\)", printed, re.DOTALL)
    assert "20 groups of rows that share the group are resampled, not rows" in printed
    assert {row["group"] for row in predictions(tmp_path / "run", "validation")} == set(map(str, range(20)))
    assert compare.main([str(tmp_path / "run")] * 2) == 0
    assert "On validation 20 groups of rows are resampled, not rows." in capsys.readouterr().out


def test_the_tokenizer_is_saved_alike_whether_its_tokens_come_from_the_cache_or_not(
    tiny_model, make_csv, tmp_path: Path
):
    settings = {"model_name_or_path": tiny_model, "train_file": make_csv("train", 20), "cache_dir": tmp_path / "cache"}
    for name in ("first", "second"):
        assert classify(tmp_path / name, max_steps=1, max_seq_length=24, **settings) == 0
    saved = [read_json(tmp_path / name / "tokenizer.json") for name in ("first", "second")]
    assert saved[0] == saved[1]
    assert (saved[0]["truncation"], saved[0]["padding"]) == (None, None)
