"""run_nsp.py from the command line to the files it leaves: every objective, every kind of pair, and what follows."""

import csv
import io
import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slow_first_process
import torch
from forking import forked, told_by_accelerate
from nsp_runs import TOPICS, paragraphs, pretrain, write_text
from running import (
    QUIET,
    classify,
    farthest,
    history,
    interrupted_after,
    labelled_sentences,
    predict,
    predictions,
    read_json,
    results,
    to_argv,
    variant,
    weights_of,
)
from transformers import AutoModelForNextSentencePrediction, AutoTokenizer, BertForPreTraining

from bertlab.cli import recipes
from bertlab.models.segment_cosine import BertSegmentCosineForNextSentencePrediction

STEPS = {"max_steps": 3, "per_device_train_batch_size": 8, "max_seq_length": 48}
# No split but the reported one, unless a test asks for it.
PLAIN = {**STEPS, "selection_fraction": 0, "validation_fraction": 0.25}
SCRATCH = {
    "from_scratch": True,
    "train_tokenizer": 150,
    "model_config": [
        *("hidden_size=16", "num_hidden_layers=1", "num_attention_heads=2", "intermediate_size=16"),
        "max_position_embeddings=48",
    ],
}


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_text(tmp_path_factory.mktemp("text") / "notes.txt")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a recipe that sets next to nothing, to run without the default one."""
    path = tmp_path_factory.mktemp("recipe") / "plain.yaml"
    path.write_text("document_unit: line\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def run(text: Path, plain: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run of the next-sentence objective, long enough to learn something."""
    folder = tmp_path_factory.mktemp("runs") / "nsp"
    settings = {**PLAIN, "max_steps": 12, "learning_rate": 3e-3}
    assert pretrain(folder, config=plain, text=text, model_name_or_path=tiny_model, **settings) == 0
    return folder


def _pairs(folder: Path, split: str = "validation") -> list[dict[str, str]]:
    return predictions(folder, split)


def test_a_run_leaves_a_model_that_knows_its_labels(run: Path):
    model = BertSegmentCosineForNextSentencePrediction.from_pretrained(run)
    assert model.config.id2label == {0: "IsNext", 1: "NotNext"}
    assert model.config.label2id == {"IsNext": 0, "NotNext": 1}
    assert "seq_relationship.weight" in weights_of(run)
    inputs = AutoTokenizer.from_pretrained(run)("a cat", "a dog", return_tensors="pt")
    assert model(**inputs).logits.shape == (1, 2)
    assert {path.name for path in run.iterdir()} >= {
        *("all_results.json", "train_results.json", "eval_results.json", "results.json", "run.json"),
        *("predictions", "misclassified", "trainer_state.json", "tokenizer.json"),
    }


def test_predictions_are_written_pair_by_pair(run: Path):
    pairs = _pairs(run)
    assert list(pairs[0]) == ["idx", "label", "prediction", "probability_IsNext", "probability_NotNext"]
    assert [row["idx"] for row in pairs] == [str(index) for index in range(len(pairs))]
    assert {row["label"] for row in pairs} == {"IsNext", "NotNext"}
    right = [row["label"] == row["prediction"] for row in pairs]
    assert results(run)["eval_accuracy"] == pytest.approx(np.mean(right))
    wrong = (run / "misclassified" / "validation.tsv").read_text(encoding="utf-8").splitlines()
    assert len(wrong) == 1 + right.count(False)


def test_a_score_stands_beside_its_baselines(run: Path):
    split = read_json(run / "results.json")["splits"]["validation"]
    assert set(split["baselines"]) == {"majority", "word_overlap", "first_alone", "second_alone", "before_training"}
    assert 0 < split["other"]["recall_at_1"] <= split["other"]["mrr"] <= 1
    assert split["other"]["recall_at_1_chance"] == pytest.approx(0.1, abs=0.01)
    rows = len(_pairs(run))
    follow = sum(row["label"] == "IsNext" for row in _pairs(run))
    assert split["baselines"]["majority"]["metrics"]["accuracy"] in (follow / rows, (rows - follow) / rows)
    assert abs(follow - rows / 2) <= 1
    assert split["baselines"]["word_overlap"]["metrics"]["accuracy"] > 0.5, "sentences of a document share words"


def test_scores_are_split_by_negative_type(run: Path):
    by_type = read_json(run / "results.json")["splits"]["validation"]["by_source"]
    assert set(by_type) == {"next", "other_document"}
    pairs = _pairs(run)
    assert sum(scores["n"] for scores in by_type.values()) == len(pairs)
    follow = [row["prediction"] == "IsNext" for row in pairs if row["label"] == "IsNext"]
    assert by_type["next"]["accuracy"] == pytest.approx(np.mean(follow))
    # All pairs of a type have one label, with which nothing correlates.
    assert by_type["next"]["matthews_correlation"] is None
    assert by_type["next"]["n"] == len(follow)


@pytest.mark.slow
def test_the_notice_says_that_the_head_is_new_only_where_it_is(
    run: Path, text: Path, plain: Path, tiny_model: Path, tmp_path: Path, capsys
):
    head = "no pretrained next-sentence head is used; a new one is trained in this run."
    assert pretrain(tmp_path / "new", config=plain, text=text, model_name_or_path=tiny_model, **PLAIN) == 0
    printed = capsys.readouterr()
    assert head in printed.err
    assert "new, untrained weights: cls.seq_relationship.bias, cls.seq_relationship.weight" in printed.err
    assert printed.out.startswith("1 file, 40 documents, ")
    assert pretrain(tmp_path / "on", config=plain, text=text, model_name_or_path=run, **PLAIN) == 0
    assert "head" not in capsys.readouterr().err
    zero_shot = read_json(tmp_path / "on" / "results.json")["splits"]["validation"]["baselines"]["zero_shot"]
    assert zero_shot["metrics"]["accuracy"] == pytest.approx(results(run)["eval_accuracy"])


@pytest.mark.parametrize("change", [{"do_eval": False}, {"bf16_full_eval": True}], ids=str)
def test_the_score_before_training_changes_nothing_of_it(
    change: dict[str, Any], run: Path, text, plain, tiny_model, tmp_path: Path
):
    """Without it, as in a sweep, whose trials do not score what is reported; or with weights cast for it."""
    settings = {**PLAIN, "max_steps": 12, "learning_rate": 3e-3, **change}
    folder = tmp_path / "run"
    assert pretrain(folder, config=plain, text=text, model_name_or_path=tiny_model, **settings) == 0
    assert farthest(run, folder) == 0


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["mlm", "nsp+mlm"])
def test_mlm_is_scored_from_a_checkpoint(objective: str, text, plain, tiny_model, tmp_path: Path):
    folder = tmp_path / "run"
    settings = {**PLAIN, "objective": objective, "eval_strategy": "steps", "eval_steps": 3}
    assert pretrain(folder, drawn=True, config=plain, text=text, model_name_or_path=tiny_model, **settings) == 0
    metrics = read_json(folder / "eval_results.json")
    assert 1 < metrics["eval_perplexity"] < 1000
    assert metrics["eval_masked_tokens"] > 20
    assert 0 < metrics["eval_most_frequent_token_accuracy"] < 1 < metrics["eval_token_frequency_perplexity"]
    # The same tokens are masked while training goes on and at its end.
    assert history(folder, "eval_masked_accuracy")[-1] == pytest.approx(metrics["eval_masked_accuracy"])
    assert history(folder, "eval_perplexity")[-1] == pytest.approx(metrics["eval_perplexity"], rel=1e-4)
    assert ("eval_accuracy" in metrics) == (objective == "nsp+mlm")
    split = read_json(folder / "results.json")["splits"]["validation"]
    assert ("baselines" in split) == (objective == "nsp+mlm")
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert ("pipeline_tag: fill-mask" in card) == ("bertlab predict" not in card) == (objective == "mlm")
    assert ("| validation |" in card) and ("perplexity" in card or objective != "mlm")
    assert split["other"]["masked_accuracy"] == metrics["eval_masked_accuracy"]
    assert "cls.predictions.bias" in weights_of(folder)
    assert ("cls.seq_relationship.weight" in weights_of(folder)) == (objective == "nsp+mlm")


@pytest.mark.parametrize("objective", ["nsp", "mlm", "nsp+mlm"])
def test_a_bert_is_trained_from_scratch(objective: str, text: Path, plain: Path, tmp_path: Path, capsys):
    folder = tmp_path / "run"
    settings = {**PLAIN, **SCRATCH, "objective": objective, "learning_rate": 1e-3}
    if objective != "nsp":
        settings["whole_word_masking"] = True
    assert pretrain(folder, config=plain, text=text, **settings) == 0
    assert "no pretrained" not in capsys.readouterr().err, "nothing was asked of a checkpoint"
    config, tokenizer = read_json(folder / "config.json"), AutoTokenizer.from_pretrained(folder)
    assert config["hidden_size"] == 16
    assert config["vocab_size"] == len(tokenizer) <= 150
    assert tokenizer.model_max_length == 48
    assert set(tokenizer("a", "b")["token_type_ids"]) == {0, 1}
    found = results(folder)
    assert math.isfinite(found["train_loss"])
    if objective == "nsp+mlm":
        assert isinstance(BertForPreTraining.from_pretrained(folder), BertForPreTraining)
        assert AutoModelForNextSentencePrediction.from_pretrained(folder).config.id2label[1] == "NotNext"
        assert found["train_loss"] > 3, "the losses of both heads, of a model that knows nothing"


def test_mlm_is_learned(text: Path, plain: Path, tmp_path: Path):
    """A text of fifty words is soon known by heart, better than by its most frequent token."""
    folder = tmp_path / "run"
    settings = {**PLAIN, **SCRATCH, "objective": "mlm", "learning_rate": 2e-2, "max_steps": 40, "warmup_steps": 4}
    assert pretrain(folder, config=plain, text=text, **settings, logging_steps=1) == 0
    losses = history(folder, "loss")
    assert np.mean(losses[-8:]) < np.mean(losses[:4]) - 1


def test_examples_are_printed_as_the_model_sees_them(text: Path, plain: Path, tmp_path: Path, capsys):
    settings = {**PLAIN, **SCRATCH, "objective": "nsp+mlm", "show_examples": 2}
    assert pretrain(tmp_path / "run", config=plain, text=text, **settings) == 0
    printed = capsys.readouterr().out.split("\n\n")[-2:]
    for example in printed:
        tokens, segments, targets, label = example.splitlines()
        assert tokens.startswith("tokens: [CLS] ") and tokens.endswith(" [SEP]")
        assert len(segments.split()) - 2 == len(tokens.split()) - 1
        assert set(segments.split()[2:]) == {"0", "1"}
        assert targets.startswith("to predict: ")
        assert label in ("label: 0 (IsNext)", "label: 1 (NotNext)")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "kinds"),
    [
        ({"pairs": "all", "negatives": "same_document"}, {"next", "same_document"}),
        ({"pairs": "one_per_document", "negatives": "any"}, {"next", "any"}),
        ({"pairs": "segments", "negatives": "other_document"}, {"next", "other_document"}),
        ({"pairs": "segments", "negatives": "any", "sentence_splitter": "period"}, {"next", "any"}),
    ],
    ids=lambda value: "-".join(value.values()) if isinstance(value, dict) else None,
)
def test_every_kind_of_pair_is_trained_on(settings: dict[str, Any], kinds: set, plain, tiny_model, tmp_path: Path):
    text = tmp_path / "text.txt"
    text.write_text("\n".join(f"{one} {two}" for one, two in zip(paragraphs(40, 1), paragraphs(40, 2), strict=True)))
    folder = tmp_path / "run"
    settings = {**PLAIN, **settings, "negative_fraction": 0.4, "validation_fraction": 0.6}
    assert pretrain(folder, config=plain, text=text, model_name_or_path=tiny_model, **settings) == 0
    assert set(read_json(folder / "results.json")["splits"]["validation"]["by_source"]) == kinds
    assert {row["label"] for row in _pairs(folder)} == {"IsNext", "NotNext"}


@pytest.mark.parametrize("objective", ["nsp", "nsp+mlm"])
def test_nothing_is_reported_where_nothing_is_held_out(objective: str, text, plain, tiny_model, tmp_path: Path):
    folder = tmp_path / "run"
    settings = {**PLAIN, "validation_fraction": 0, "objective": objective}
    assert pretrain(folder, config=plain, text=text, model_name_or_path=tiny_model, **settings) == 0
    assert read_json(folder / "results.json")["splits"] == {}
    assert not (folder / "eval_results.json").exists()
    assert set(read_json(folder / "run.json")["data"]) == {"train"}


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["nsp", "mlm", "nsp+mlm"])
def test_the_best_epoch_is_chosen_on_documents_of_their_own(
    objective: str, text, plain, tiny_model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    said: list[str] = []
    monkeypatch.setattr("transformers.trainer.logger.warning", said.append)
    folder = tmp_path / "run"
    settings = {**PLAIN, "objective": objective, "selection_fraction": 0.2, "test_fraction": 0.1}
    settings |= {"max_steps": None, "num_train_epochs": 2, "learning_rate": 1e-3, "per_device_train_batch_size": 32}
    assert pretrain(folder, config=plain, text=text, model_name_or_path=tiny_model, **settings) == 0
    lead = "masked_accuracy" if objective == "mlm" else "accuracy"
    state = read_json(folder / "trainer_state.json")
    assert state["best_metric"] == max(history(folder, f"eval_{lead}"))
    assert len(history(folder, f"eval_{lead}")) == 2
    assert set(read_json(folder / "results.json")["splits"]) == {"validation", "test"}
    assert f"test_{lead}" in results(folder)
    assert said == [], "no weights are missing"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("objective", "model"), [("nsp", "tiny"), ("nsp+mlm", "tiny"), ("mlm", "scratch")], ids=lambda value: value
)
def test_a_resumed_run_equals_the_uninterrupted_one(
    objective: str, model: str, text, plain, tiny_model, tmp_path: Path
):
    settings = {**PLAIN, "config": plain, "text": text, "objective": objective, "max_train_samples": 40}
    settings |= SCRATCH if model == "scratch" else {"model_name_or_path": tiny_model}
    # 40 pairs in global batches of 16 are 3 steps an epoch: step 4 is in the middle of the second of two.
    settings |= {"max_steps": 6, "gradient_accumulation_steps": 2, "learning_rate": 1e-3, "logging_steps": 1}
    settings |= {"save_strategy": "steps", "save_steps": 1, "save_total_limit": 1}
    assert pretrain(tmp_path / "whole", **settings) == 0
    with interrupted_after(4):
        assert pretrain(tmp_path / "stopped", **settings) == 130
    # On another machine the cache is empty: what is learned from the text must come out the same.
    assert pretrain(tmp_path / "stopped", **settings, cache_dir=tmp_path / "cache", resume="auto") == 0
    assert history(tmp_path / "stopped", "loss") == history(tmp_path / "whole", "loss")
    ours, theirs = weights_of(tmp_path / "stopped"), weights_of(tmp_path / "whole")
    assert [name for name in theirs if not torch.equal(ours[name], theirs[name])] == []
    assert len(history(tmp_path / "stopped", "loss")) == 6


@pytest.mark.slow
def test_two_nodes_give_the_same_run_as_one_process(text: Path, plain: Path, tiny_model: Path, tmp_path: Path):
    """Though a copy of it is evaluated before training, the model is trained on both processes' rows.

    One of the two reads, pairs and tokenizes; it takes longer than a collective would wait.
    """
    still = variant(tiny_model, tmp_path / "still", hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    settings = {**PLAIN, "config": plain, "text": text, "objective": "nsp+mlm", "model_name_or_path": still}
    settings |= {"max_steps": 4, "max_train_samples": 44, "learning_rate": 5e-3, "logging_steps": 1}
    settings |= {"max_eval_samples": 6, "cache_dir": tmp_path / "cache"}
    one, two = tmp_path / "one", tmp_path / "two"
    assert pretrain(one, **{**settings, "per_device_train_batch_size": 16}) == 0
    # What is there is to be made again, by one process.
    typed = to_argv({**QUIET, **settings, "output_dir": two, "overwrite_cache": True})
    told = told_by_accelerate("multi_node.yaml", "--num_processes", "2")
    # A number of threads above 1 is kept; with 1, each node would take both cores of this machine.
    told["OMP_NUM_THREADS"] = "2"
    node = {**told, "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1", "BERTLAB_WORK_DONE": str(tmp_path / "work")}
    said = forked(slow_first_process.main, typed, tmp_path, [node, node])
    done = Counter((tmp_path / "work").read_text(encoding="utf-8").split())
    assert done == {"parse": 2, "write_sentences": 1, "make_pairs": 3, "_arrow_columns": 3}
    assert read_json(two / "run.json")["plan"]["world_size"] == 2
    assert "unused parameters" not in said
    assert history(two, "loss") == pytest.approx(history(one, "loss"), abs=1e-5)
    assert history(two, "grad_norm") == pytest.approx(history(one, "grad_norm"), rel=1e-4)
    assert len(_pairs(two)) == len(_pairs(one)) >= 4
    ours, theirs = (float(_pairs(run)[0]["probability_IsNext"]) for run in (two, one))
    assert ours == pytest.approx(theirs, abs=1e-5)


def test_the_model_is_a_starting_point_for_classification(run: Path, write_csv, tmp_path: Path, capsys):
    train = write_csv(tmp_path / "train.csv", ("text", "label"), labelled_sentences(24, seed=1))
    folder = tmp_path / "run"
    assert classify(folder, model_name_or_path=run, train_file=train, **STEPS) == 0
    err = capsys.readouterr().err
    assert "new, untrained weights: bert.pooler.dense.bias, bert.pooler.dense.weight, classifier.bias, class" in err
    assert read_json(folder / "config.json")["id2label"] == {"0": "bad", "1": "good"}


@pytest.fixture
def _float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """The runs here are in float32; predict would take bf16 where the processor has it."""
    monkeypatch.setattr("bertlab.training.precision._cpu_flag", lambda: None)


def _sentences_of(run: Path, text: Path, plain: Path) -> list[tuple[str, str]]:
    """Return the pairs of the report split, as the errors' neighbours in the run's own data."""
    from bertlab.cli.arguments import NspArguments
    from bertlab.pretraining import dataset

    arguments = NspArguments(text=[str(text)], validation_fraction=0.25, max_seq_length=48)
    data = dataset.make_splits(dataset.read(arguments, None), arguments, AutoTokenizer.from_pretrained(run))
    return list(zip(*data.texts("validation"), strict=True))


@pytest.mark.usefixtures("_float32")
def test_predict_says_of_pairs_what_the_run_wrote(run: Path, text: Path, plain: Path, capsys):
    pairs = _sentences_of(run, text, plain)[:5]
    capsys.readouterr()
    assert predict(run, "--format", "tsv", *(word for pair in pairs for word in ("--pair", *pair))) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out), delimiter="\t"))
    for row, written in zip(rows, _pairs(run), strict=False):
        assert row["prediction"] == written["prediction"]
        assert float(row["probability_IsNext"]) == pytest.approx(float(written["probability_IsNext"]), abs=1e-4)


@pytest.mark.usefixtures("_float32")
def test_predict_ranks_candidates_by_how_well_they_follow(run: Path, tmp_path: Path, capsys):
    candidates = [f"The {topic.split()[0]} was {topic.split()[1]} again." for topic in TOPICS]
    file = tmp_path / "candidates.txt"
    file.write_text("\n".join(candidates) + "\n", encoding="utf-8")
    first = "A small cat and the dog."
    assert predict(run, "--rank", first, "--file", file) == 0
    header, _, *lines = capsys.readouterr().out.splitlines()
    assert header.split() == ["IsNext", "candidate"]
    probabilities = [float(line.split(maxsplit=1)[0]) for line in lines]
    assert probabilities == sorted(probabilities, reverse=True)
    assert sorted(line.split(maxsplit=1)[1].strip() for line in lines) == sorted(candidates)
    assert predict(run, "--format", "tsv", "--pair", first, lines[0].split(maxsplit=1)[1].strip()) == 0
    row = next(csv.DictReader(io.StringIO(capsys.readouterr().out), delimiter="\t"))
    assert float(row["probability_IsNext"]) == pytest.approx(probabilities[0], abs=1e-3)


@pytest.mark.usefixtures("_float32")
def test_a_model_of_both_heads_predicts_pairs(text: Path, plain: Path, tmp_path: Path, capsys):
    folder = tmp_path / "run"
    assert pretrain(folder, config=plain, text=text, **PLAIN, **SCRATCH, objective="nsp+mlm") == 0
    capsys.readouterr()
    assert predict(folder, "--pair", "A cat.", "A dog.") == 0
    assert capsys.readouterr().out.splitlines()[-1].split()[0] in ("IsNext", "NotNext")


def test_the_recipe_without_config_is_the_meditations(text: Path, tiny_model: Path, tmp_path: Path, capsys):
    import run_nsp

    settings = ["--text", str(text), "--model_name_or_path", str(tiny_model)]
    assert run_nsp.main([*settings, "--print_config"]) == 0
    unnamed = capsys.readouterr().out
    recipe = recipes.CONFIGS / "nsp" / "meditations.yaml"
    assert run_nsp.main([*settings, "--config", str(recipe), "--print_config"]) == 0
    assert unnamed == capsys.readouterr().out
    for entry in recipes.read_recipe(recipe):
        assert f"\n{entry.name}: " in f"\n{unnamed}"


def test_the_recipe_without_config_runs(text: Path, tiny_model: Path, tmp_path: Path):
    folder = tmp_path / "run"
    assert pretrain(folder, text=text, model_name_or_path=tiny_model, **STEPS) == 0
    assert set(read_json(folder / "run.json")["data"]) == {"train", "validation", "selection"}
    assert read_json(folder / "run.json")["recipe"] == "meditations"


@pytest.mark.slow
def test_a_folder_and_a_glob_are_read_whole(plain: Path, tiny_model: Path, tmp_path: Path, capsys):
    books = tmp_path / "books"
    books.mkdir()
    for seed, name in enumerate(("one.txt", "two.txt", "three.txt")):
        write_text(books / name, seed=seed)
    settings = {
        **PLAIN,
        "max_steps": 1,
        "document_unit": "file",
        "negatives": "any",
        "config": plain,
        "model_name_or_path": tiny_model,
    }
    for index, pattern in enumerate((books, f"{books}/t*.txt")):
        assert pretrain(tmp_path / f"run{index}", text=pattern, **settings) == 0
        printed = capsys.readouterr()
        assert printed.out.startswith("3 files, 3 doc" if index == 0 else "2 files, 2 doc")


@pytest.mark.slow
def test_the_demo_trains_on_the_weights_of_a_package(weights: str, tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(recipes.CONFIGS.parent)
    folder = tmp_path / "run"
    settings = {"max_steps": 2, "per_device_train_batch_size": 4, "max_eval_samples": 8, "max_train_samples": 16}
    recipe = recipes.CONFIGS / "demo" / "nsp.yaml"
    assert pretrain(folder, config=recipe, **settings) == 0
    assert "no pretrained next-sentence head" in capsys.readouterr().err
    assert len(_pairs(folder)) == 8
    assert read_json(folder / "run.json")["recipe"] == "demo/nsp"


def test_the_tutorial_counts_the_sentences_and_pairs_of_the_meditations(
    real_data: Path, tiny_model: Path, tmp_path: Path, capsys
):
    text = real_data / "meditations" / "clean.txt"
    if not text.is_file():
        pytest.skip(f"needs {text}")
    recipe = recipes.CONFIGS / "nsp" / "meditations_tutorial.yaml"
    settings = {"max_steps": 1, "max_seq_length": 64, "per_device_train_batch_size": 2}
    folder = tmp_path / "run"
    assert pretrain(folder, config=recipe, text=text, model_name_or_path=tiny_model, **settings) == 0
    out = capsys.readouterr().out
    assert "1,372 sentences" in out
    assert "317 pairs (317 train), any negatives" in out
    assert read_json(folder / "run.json")["data"]["train"]["rows"] == 317
