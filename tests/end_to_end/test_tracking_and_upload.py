"""Trackers, upload and --print_parameters: what surrounds a run."""

import importlib.util
from concurrent.futures import Future
from pathlib import Path

import pytest
import transformers.trainer
from running import labelled_sentences, to_argv

import run_classification

pytestmark = pytest.mark.slow

QUICK = to_argv({"max_seq_length": 32, "max_steps": 2, "logging_steps": 1, "disable_tqdm": True, "precision": "fp32"})


@pytest.fixture
def argv(tiny_model, tmp_path, write_csv) -> list[str]:
    rows = write_csv(tmp_path / "train.csv", ("text", "label"), labelled_sentences(16, seed=2))
    return [
        "--train_file",
        str(rows),
        "--validation_file",
        str(rows),
        "--model_name_or_path",
        str(tiny_model),
        *QUICK,
    ]


def test_tensorboard_gets_the_losses(argv, tmp_path):
    if importlib.util.find_spec("tensorboard") is None:
        pytest.skip("tensorboard is not installed (pip install tensorboard)")
    folder = tmp_path / "run"
    assert run_classification.main([*argv, "--report_to", "tensorboard", "--output_dir", str(folder)]) == 0
    assert list(folder.rglob("events.out.tfevents.*"))


def test_a_tracker_that_is_not_installed_is_named(argv, tmp_path, capsys):
    assert run_classification.main([*argv, "--report_to", "comet_ml", "--output_dir", str(tmp_path / "run")]) == 2
    assert "error: --report_to comet_ml: it is not installed" in capsys.readouterr().err


def test_push_to_hub_uploads_the_finished_run_with_our_card(argv, tmp_path, monkeypatch):
    """The Hub's client is replaced at its border: what would be uploaded is looked at instead."""
    folder, uploads = tmp_path / "run", []

    class Hub:
        def create_repo(self, repo_id: str, **_: object) -> object:
            return type("Repo", (), {"repo_id": f"somebody/{repo_id}"})()

        def upload_folder(self, **told: object) -> None:
            uploads.append(
                (told["repo_id"], (Path(str(told["folder_path"])) / "README.md").read_text(encoding="utf-8"))
            )

    monkeypatch.setattr(transformers.trainer, "hf_api", Hub)
    words = ["--push_to_hub", "--hub_model_id", "mine", "--save_strategy", "no", "--output_dir", str(folder)]
    assert run_classification.main([*argv, *words]) == 0
    (repository, card), *more = uploads
    assert repository == "somebody/mine"
    assert "model-index" in card
    assert not more


@pytest.mark.parametrize("strategy", [None, "every_save", "all_checkpoints"])
def test_no_upload_holds_the_token(argv, tmp_path, monkeypatch, strategy):
    folder, uploads = tmp_path / "run", []

    class Hub:
        def create_repo(self, repo_id: str, **_: object) -> object:
            return type("Repo", (), {"repo_id": repo_id})()

        def upload_folder(self, **told: object) -> Future[None]:
            assert told["token"] == "hf_of_nobody"
            files = [path for path in Path(str(told["folder_path"])).rglob("*") if path.is_file()]
            uploads.append(files)
            assert not any(b"hf_of_nobody" in path.read_bytes() for path in files)
            done: Future[None] = Future()
            done.set_result(None)
            return done

    monkeypatch.setattr(transformers.trainer, "hf_api", Hub)
    settings = {"hub_strategy": strategy, "hub_token": "hf_of_nobody", "save_strategy": "epoch", "output_dir": folder}
    assert run_classification.main([*argv, "--push_to_hub", *to_argv(settings)]) == 0
    assert len(uploads) == {None: 1, "every_save": 3, "all_checkpoints": 5}[strategy]
    assert not list(folder.rglob("training_args.bin"))


def test_a_failed_upload_leaves_the_run_whole(argv, tmp_path, monkeypatch, capsys):
    class Hub:
        def create_repo(self, repo_id: str, **_: object) -> object:
            return type("Repo", (), {"repo_id": repo_id})()

        def upload_folder(self, **_: object) -> None:
            raise ConnectionError("nobody there")

    monkeypatch.setattr(transformers.trainer, "hf_api", Hub)
    folder = tmp_path / "run"
    assert run_classification.main([*argv, "--push_to_hub", "--save_strategy", "no", "--output_dir", str(folder)]) == 2
    assert "error: --push_to_hub: the upload failed (nobody there); the run is complete" in capsys.readouterr().err
    assert (folder / "run.json").is_file()


def test_print_parameters_lists_them_and_trains_nothing(argv, tmp_path, capsys):
    folder = tmp_path / "run"
    assert run_classification.main([*argv, "--print_parameters", "--freeze_encoder", "--output_dir", str(folder)]) == 0
    said = capsys.readouterr().out
    assert "classifier.weight" in said
    assert "frozen" in said
    assert "41 named parameters" in said
    assert not folder.exists()


def test_bert_base_with_a_classifier_has_201_named_parameters():
    """The tutorials print this number; a model without weights in memory is enough to count them."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    with torch.device("meta"):
        model = BertForSequenceClassification(BertConfig())
    assert len(list(model.named_parameters())) == 201
