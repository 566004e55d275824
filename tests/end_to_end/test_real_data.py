"""The data sets that the recipes are made for, as downloaded: read whole, trained on for two steps."""

import re
from pathlib import Path

import pytest
from running import classify, predictions, read_json, results

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def small_model(weights: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return BERT's own tokenizer with a BERT of 2 small layers: what is read and cut is that of the real models."""
    import torch
    from transformers import AutoTokenizer, BertConfig, BertModel

    folder = tmp_path_factory.mktemp("models") / "small"
    tokenizer = AutoTokenizer.from_pretrained(weights)
    tokenizer.save_pretrained(folder)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        BertModel(BertConfig(vocab_size=len(tokenizer), **sizes)).save_pretrained(folder)
    return folder


# Enough to pass through every stage; lengths and row counts are those of the whole files.
SHORT = {"max_steps": 2, "max_train_samples": 64, "max_eval_samples": 64, "per_device_train_batch_size": 8}


def _run(folder: Path, small_model: Path, **settings: object) -> dict[str, float]:
    assert classify(folder, model_name_or_path=small_model, **{**SHORT, **settings}) == 0
    return results(folder)


GLUE = {
    # task: (folder, leading metric, rows to predict)
    "cola": ("CoLA", "matthews_correlation", 1063),
    "mrpc": ("MRPC", "f1", 32),
    "sst2": ("SST-2", "accuracy", 32),
    "stsb": ("STS-B", "pearson", 32),
    "rte": ("RTE", "accuracy", 32),
}


@pytest.mark.parametrize("task", GLUE)
def test_a_glue_task_runs_from_its_download(task: str, real_data: Path, small_model: Path, tmp_path: Path):
    name, metric, rows = GLUE[task]
    folder = tmp_path / "run"
    scores = _run(folder, small_model, task=task, data_dir=real_data / "glue" / name, max_predict_samples=rows)
    assert f"eval_{metric}" in scores
    assert scores["eval_samples"] == 64
    rows_predicted = predictions(folder, "test")
    assert [row["idx"] for row in rows_predicted] == [str(index) for index in range(rows)]
    if task == "cola":
        assert {row["label"] for row in rows_predicted} == {""}
        lines = (real_data / "glue" / name / "test.tsv").read_text(encoding="utf-8").splitlines()
        assert len(lines) == 1 + rows


def test_the_byte_order_mark_of_mrpc_is_no_part_of_a_column(real_data: Path):
    path = real_data / "glue" / "MRPC" / "train.tsv"
    from bertlab.data.data_file import DataFile
    from bertlab.data.readers import column_names

    assert path.read_bytes()[:3] == b"\xef\xbb\xbf"
    assert column_names(DataFile(path, delimiter="\t", quoting="none"))[0] == "Quality"


def test_cola_public_is_cut_and_scored_as_in_the_tutorial(real_data: Path, small_model: Path, tmp_path: Path, capsys):
    folder = tmp_path / "run"
    data = real_data / "cola_public"
    settings = {"max_train_samples": None, "max_eval_samples": None, "max_seq_length": 64, "eval_strategy": "no"}
    settings |= {"do_train": True, "do_predict": True}
    _run(folder, small_model, task="cola_public", data_dir=data, **settings)
    table = capsys.readouterr().out
    assert re.search(r"^train +7,695 ", table, re.MULTILINE)
    assert re.search(r"^validation +856 ", table, re.MULTILINE)
    assert re.search(r"^labels in out_of_domain_dev: .*acceptable 354 \(68\.6%\)", table, re.MULTILINE)
    splits = read_json(folder / "run.json")["data"]
    assert splits["train"]["rows"] + splits["validation"]["rows"] == 8551
    assert max(splits[name]["token_length"]["longest"] for name in ("train", "validation")) == 47
    split = read_json(folder / "results.json")["splits"]["out_of_domain_dev"]
    assert split["per_batch"]["size"] == 32
    assert len(split["per_batch"]["matthews_correlation"]) == 17
    assert len(predictions(folder, "out_of_domain_dev")) == 516


def test_imdb_is_read_from_its_gzipped_csv(real_data: Path, small_model: Path, tmp_path: Path):
    settings = {"task": "imdb", "train_file": real_data / "imdb" / "IMDB Dataset.csv.gz", "max_seq_length": 32}
    scores = _run(tmp_path / "run", small_model, **settings)
    assert scores["eval_samples"] == 64
    balance = read_json(tmp_path / "run" / "run.json")["data"]["train"]["balance"]
    assert set(balance) == {"negative", "positive"}
    assert sum(balance.values()) == 64


def test_stars_of_app_reviews_become_three_classes(real_data: Path, small_model: Path, tmp_path: Path):
    settings = {"task": "app_reviews", "train_file": real_data / "app_reviews" / "reviews.csv"}
    scores = _run(tmp_path / "run", small_model, **settings, max_predict_samples=64)
    assert {"eval_accuracy", "eval_f1_macro", "test_accuracy"} <= set(scores)
    assert read_json(tmp_path / "run" / "config.json")["id2label"] == {
        "0": "negative",
        "1": "neutral",
        "2": "positive",
    }
    assert set(read_json(tmp_path / "run" / "run.json")["data"]) == {"train", "validation", "test", "selection"}
