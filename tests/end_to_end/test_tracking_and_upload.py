"""Trackers, upload and --print_parameters: what surrounds a run."""

import contextlib
import importlib.util
import json
import re
import shlex
from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard, parse_eval_result_entries
from running import labelled_sentences, predict, results, to_argv

import run_classification
from bertlab.report import html

pytestmark = pytest.mark.slow

QUICK = to_argv({"max_seq_length": 32, "max_steps": 2, "logging_steps": 1, "disable_tqdm": True, "precision": "fp32"})


@pytest.fixture(autouse=True)
def _without_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plots of a page take longer than so small a run, and nothing here looks at them."""
    monkeypatch.setattr(html, "render", lambda run: "a page")


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


MODEL = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
SCORES = {"README.md", "results.json", "all_results.json", "train_results.json", "eval_results.json"}
RUN = {"run.json", "report.html", "trainer_state.json", "predictions/validation.tsv", "misclassified/validation.tsv"}
TOKEN = "hf_of_nobody_at_all"


def push(argv: list[str], folder: Path, **settings: object) -> int:
    flags = {"save_strategy": "no", "hub_token": TOKEN, **settings, "output_dir": folder}
    return run_classification.main([*argv, "--push_to_hub", *to_argv(flags)])


def test_push_to_hub_uploads_model_tokenizer_card_and_scores_alone(argv, tmp_path, local_hub):
    """No text of the data, no path of this machine, no token, and nothing that lay in the folder before."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine alone", encoding="utf-8")
    assert push(argv, folder, hub_model_id="mine", overwrite_output_dir=True) == 0
    (files,) = local_hub.uploads
    assert files.keys() == MODEL | SCORES
    for name, content in files.items():
        assert str(tmp_path).encode() not in content, name
        assert b"/tiny-bert" not in content, name
        assert TOKEN.encode() not in content, name
    for text, _ in labelled_sentences(16, seed=2):
        assert text.encode() not in b"".join(files.values())
    card = ModelCard(files["README.md"].decode())
    assert "# somebody/mine\n" in card.text
    assert 'model="somebody/mine"' in card.text
    assert "this folder" not in card.text
    assert (card.data.model_name, card.data.base_model, card.data.license) == ("somebody/mine", None, None)
    assert card.data.eval_results


def test_the_other_files_of_a_run_are_uploaded_only_if_asked_for(argv, tmp_path, local_hub, write_csv):
    """Card and scores name no path then either, be it of the data or of a recipe."""
    write_csv(tmp_path / "films" / "train.csv", ("text", "label"), labelled_sentences(16, seed=2))
    write_csv(tmp_path / "films" / "validation.csv", ("text", "label"), labelled_sentences(6, seed=3))
    (tmp_path / "my_recipe.yaml").write_text(f"dataset_name: {tmp_path / 'films'}\n", encoding="utf-8")
    argv = [*argv[4:], "--config", str(tmp_path / "my_recipe.yaml")]
    assert push(argv, tmp_path / "run", push_run_files_to_hub=True) == 0
    (files,) = local_hub.uploads
    assert not [name for name in MODEL | SCORES if str(tmp_path).encode() in files[name]]
    assert str(tmp_path).encode() in files["run.json"]
    assert files.keys() == MODEL | SCORES | RUN


def test_the_card_says_what_the_hub_knows_of_base_model_and_data(
    argv, tmp_path, local_hub, tiny_model, monkeypatch, write_csv
):
    """A copy of the model at each save is the model's files alone."""
    write_csv(tmp_path / "films" / "train.csv", ("text", "label"), labelled_sentences(16, seed=2))
    write_csv(tmp_path / "films" / "validation.csv", ("text", "label"), labelled_sentences(6, seed=3))
    local_hub.repositories |= {"someone/tiny": tiny_model, "datasets/someone/films": tmp_path / "films"}
    local_hub.cards |= {
        "someone/tiny": {"license": "apache-2.0", "language": ["en", "de"]},
        "datasets/someone/films": {"license": "cc-by-nc-4.0", "language": "en"},
    }
    flags = {"model_name_or_path": "someone/tiny", "dataset_name": "someone/films", "precision": "fp32"}
    flags |= {"max_seq_length": 32, "max_steps": 2, "disable_tqdm": True, "use_cpu": True}
    settings = {
        "save_strategy": "epoch",
        "hub_strategy": "every_save",
        "hub_model_id": "group/films",
        "hub_benchmark_task": "films",
    }
    assert push(to_argv(flags), tmp_path / "run", **settings) == 0
    *saves, last = local_hub.uploads
    assert saves
    assert all(files.keys() == MODEL for files in saves)
    card = ModelCard(last["README.md"].decode()).data
    assert (card.base_model, card.datasets, card.model_name) == ("someone/tiny", ["someone/films"], "group/films")
    assert (card.license, card.language) == ("apache-2.0", "en")
    assert {(result.dataset_type, result.dataset_split) for result in card.eval_results} == {
        ("someone/films", "validation")
    }
    (entry,) = parse_eval_result_entries(yaml.safe_load(last[".eval_results/bertlab.yaml"]))
    accuracy = results(tmp_path / "run")["eval_accuracy"]
    assert (entry.dataset_id, entry.task_id, entry.value) == (
        "someone/films",
        "films",
        pytest.approx(accuracy, abs=1e-6),
    )
    assert entry.notes == "accuracy of the split validation"
    assert not list((tmp_path / "run").rglob("training_args.bin"))


@pytest.mark.parametrize("strategy", ["checkpoint", "all_checkpoints"])
def test_checkpoints_are_not_uploaded(argv, tmp_path, strategy, capsys):
    assert push(argv, tmp_path / "run", hub_strategy=strategy) == 2
    assert f"--hub_strategy {strategy} is not supported: a checkpoint names paths" in capsys.readouterr().err


def test_an_adapter_on_a_model_that_nobody_else_has_is_not_uploaded(argv, tmp_path, local_hub, capsys):
    """Its configuration names the base model's folder."""
    assert push(argv, tmp_path / "run", lora_rank=2) == 2
    assert "error: --push_to_hub: others cannot load an adapter on" in capsys.readouterr().err
    assert push(argv, tmp_path / "run", lora_rank=2, lora_merge=True) == 0
    assert local_hub.uploads[0].keys() == MODEL | SCORES


def test_an_uploaded_adapter_is_whole(argv, tmp_path, local_hub, tiny_model, capsys):
    """Its card's code loads it, on a base model of the Hub."""
    local_hub.repositories["someone/tiny"] = tiny_model
    argv = ["someone/tiny" if word == str(tiny_model) else word for word in argv]
    assert push(argv, tmp_path / "run", lora_rank=2) == 0
    (files,) = local_hub.uploads
    local_hub.repositories["somebody/run"] = tmp_path / "uploaded"
    for name, content in files.items():
        path = tmp_path / "uploaded" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (code,) = re.findall(r"```python\n(.*?)```", files["README.md"].decode(), flags=re.DOTALL)
    capsys.readouterr()
    exec(code, {})
    assert "'label': '" in capsys.readouterr().out
    assert "bertlab predict somebody/run --text" in files["README.md"].decode()
    assert predict("somebody/run", "--text", "a good film", "--format", "jsonl") == 0
    of_the_hub = json.loads(capsys.readouterr().out)["probabilities"]
    assert predict(tmp_path / "run", "--text", "a good film", "--format", "jsonl") == 0
    # The precision of the run is not uploaded.
    assert of_the_hub == pytest.approx(json.loads(capsys.readouterr().out)["probabilities"], abs=0.001)


def test_a_failed_upload_leaves_the_run_whole_and_its_hint_uploads_the_same(argv, tmp_path, local_hub, capsys):
    from huggingface_hub.cli.hf import app

    folder = tmp_path / "a run"
    local_hub.statuses["/commit/"] = (403, {"X-Error-Message": "nobody may"})
    assert push(argv, folder) == 2
    assert "Name the repository: --hub_model_id OWNER/NAME." in capsys.readouterr().err
    assert push(argv, folder, hub_model_id="mine") == 2
    error = capsys.readouterr().err
    assert "error: --push_to_hub: the upload failed (" in error
    assert TOKEN not in error
    assert (folder / "run.json").is_file()
    local_hub.statuses.clear()
    program, *words = shlex.split(error.split("`")[1])
    assert program == "hf"
    with contextlib.suppress(SystemExit):
        app(words)
    assert local_hub.uploads[0].keys() == MODEL | SCORES


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
