"""Runs with --lora_rank: what trains, what is saved, and that every way back to the model gives the same logits."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from nsp_runs import pretrain, write_text
from running import classify, farthest, history, labelled_sentences, predict, predictions, read_json
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer, TrainerCallback

from bertlab.cli.arguments import ModelArguments
from bertlab.errors import UserError
from bertlab.models import loading, lora, surgery
from bertlab.report import model_card
from bertlab.report.run_folder import RunFolder

pytestmark = pytest.mark.slow

pytest.importorskip("peft", reason="needs peft: pip install peft")

CLASSES = ("bad", "good", "ugly")
TEXTS = [text for text, _ in labelled_sentences(9, seed=8)]
SETTINGS = {
    "lora_rank": 4,
    "num_train_epochs": 3,
    "learning_rate": 2e-2,
    "per_device_train_batch_size": 8,
    "gradient_accumulation_steps": 2,
    "logging_steps": 1,
    "save_strategy": "steps",
    "save_steps": 1,
    "save_total_limit": 2,
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, write_csv) -> dict[str, Path]:
    """Return files of three classes, two of which differ by a word."""
    folder = tmp_path_factory.mktemp("lora")
    rows = [
        (text, CLASSES[2] if row % 5 == 0 else label) for row, (text, label) in enumerate(labelled_sentences(70, 1))
    ]
    return {
        "train_file": write_csv(folder / "train.csv", ("text", "label"), rows),
        "test_file": write_csv(folder / "test.csv", ("text",), [[text] for text in TEXTS]),
    }


@pytest.fixture(scope="module")
def whole(sharp_model: Path, files, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a finished run that keeps its adapter."""
    folder = tmp_path_factory.mktemp("lora-whole") / "run"
    assert classify(folder, model_name_or_path=sharp_model, **files, **SETTINGS) == 0
    return folder


@pytest.fixture(scope="module")
def merged(sharp_model: Path, files, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the same run with --lora_merge."""
    folder = tmp_path_factory.mktemp("lora-merged") / "run"
    assert classify(folder, model_name_or_path=sharp_model, **files, **SETTINGS, lora_merge=True) == 0
    return folder


def _logits(model, folder: Path) -> np.ndarray:
    batch = AutoTokenizer.from_pretrained(folder)(TEXTS, padding=True, return_tensors="pt")
    with torch.inference_mode():
        return model.eval()(**batch).logits.numpy()


def _written(folder: Path) -> np.ndarray:
    return np.asarray([[float(row[f"probability_{name}"]) for name in CLASSES] for row in predictions(folder, "test")])


def _ours(folder: Path):
    arguments = ModelArguments(model_name_or_path=str(folder))
    config, tokenizer = loading.load_config(arguments), loading.load_tokenizer(arguments)
    return loading.load_weights(AutoModelForSequenceClassification, arguments, config, tokenizer)[0]


def test_the_run_learns_and_its_folder_holds_the_adapter_alone(whole: Path, sharp_model: Path):
    losses = history(whole, "loss")
    assert losses[-1] < 0.9 * losses[0]
    names = {path.name for path in whole.iterdir()}
    assert names >= {"adapter_model.safetensors", "adapter_config.json", "base_config", "tokenizer.json", "run.json"}
    assert not names & {"model.safetensors", "config.json"}
    sizes = [path.stat().st_size for path in (whole / "adapter_model.safetensors", sharp_model / "model.safetensors")]
    assert sizes[0] < sizes[1] / 3
    saved = load_file(whole / "adapter_model.safetensors")
    assert {name.split(".lora_")[0].split("layer.")[1] for name in saved if "lora_A" in name} == {
        f"{layer}.{part}"
        for layer in (0, 1)
        for part in (
            *("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"),
            *("intermediate.dense", "output.dense"),
        )
    }
    assert {name.removeprefix("base_model.model.") for name in saved if "lora_" not in name} == {
        *("bert.pooler.dense.weight", "bert.pooler.dense.bias", "classifier.weight", "classifier.bias"),
    }
    assert read_json(whole / "adapter_config.json")["base_model_name_or_path"] == str(sharp_model)


def test_the_plan_and_the_versions_say_what_was_trained(whole: Path):
    run = read_json(whole / "run.json")
    saved = load_file(whole / "adapter_model.safetensors")
    assert run["plan"]["trainable"] == sum(value.numel() for value in saved.values())
    assert run["plan"]["trainable"] < 0.2 * run["plan"]["parameters"]
    assert "peft" in run["versions"]
    assert run["configuration"]["lora_rank"] == 4


def test_the_parameters_are_listed_with_what_trains(sharp_model, files, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    settings = {"model_name_or_path": sharp_model, "lora_rank": 2, "lora_target_modules": ["query", "value"]}
    assert classify(tmp_path / "run", train_file=files["train_file"], **settings, print_parameters=True) == 0
    lines = capsys.readouterr().out.splitlines()
    trains = {line.split()[0] for line in lines if line.endswith(" yes")}
    assert {name.split("self.")[1] for name in trains if "lora_" in name} == {
        f"{part}.lora_{side}.default.weight" for part in ("query", "value") for side in "AB"
    }
    assert all("lora_" in name or ".modules_to_save." in name for name in trains)
    assert lines[-1].endswith(f"trainable parameters: {2 * 2 * 2 * (32 + 32) + 32 * 32 + 32 + 3 * 32 + 3:,}")


def test_a_merged_run_is_an_ordinary_one(merged: Path, sharp_model: Path):
    names = {path.name for path in merged.iterdir()}
    assert names >= {"model.safetensors", "config.json"}
    assert not names & {"adapter_model.safetensors", "adapter_config.json", "base_config"}
    keys, ordinary = (
        load_file(merged / "model.safetensors").keys(),
        load_file(sharp_model / "model.safetensors").keys(),
    )
    assert keys == {*(f"bert.{name}" for name in ordinary), "classifier.weight", "classifier.bias"}
    config = AutoConfig.from_pretrained(merged)
    assert list(config.id2label.values()) == list(CLASSES)


def test_every_way_back_gives_the_logits_of_the_run(whole: Path, merged: Path):
    """PEFT's own, transformers', ours, and the merged model, against the probabilities that the run wrote."""
    import peft

    config = AutoConfig.from_pretrained(whole / "base_config")
    base = read_json(whole / "adapter_config.json")["base_model_name_or_path"]
    plain = AutoModelForSequenceClassification.from_pretrained(base, num_labels=3)
    models = {
        "peft": peft.PeftModel.from_pretrained(plain, str(whole)),
        "transformers": AutoModelForSequenceClassification.from_pretrained(whole, config=config),
        "ours": _ours(whole),
        "merged": AutoModelForSequenceClassification.from_pretrained(merged),
    }
    logits = {name: _logits(model, whole) for name, model in models.items()}
    assert list(models["transformers"].config.id2label.values()) == list(CLASSES)
    for name, values in logits.items():
        np.testing.assert_allclose(values, logits["peft"], atol=1e-5, err_msg=name)
        np.testing.assert_allclose(torch.tensor(values).softmax(-1), _written(whole), atol=2e-6, err_msg=name)
    np.testing.assert_allclose(_written(merged), _written(whole), atol=2e-6)
    assert np.ptp(_written(whole)[:, 0]) > 1e-2, "the model tells rows apart, or this proves nothing"


@pytest.mark.parametrize("kind", ["whole", "merged"])
def test_predict_reads_the_folder(kind: str, request, monkeypatch, capsys):
    monkeypatch.setattr("bertlab.training.precision._cpu_flag", lambda: None)
    folder = request.getfixturevalue(kind)
    capsys.readouterr()
    assert predict(folder, "--format", "jsonl", "--text", *TEXTS) == 0
    rows = [json.loads(line)["probabilities"] for line in capsys.readouterr().out.splitlines()]
    np.testing.assert_allclose([[row[name] for name in CLASSES] for row in rows], _written(folder), atol=2e-6)


def test_the_code_on_the_model_card_runs(whole: Path, monkeypatch, capsys):
    text = model_card.render(RunFolder.read(whole))
    assert "library_name: peft" in text
    code = text.split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(whole.parent)
    capsys.readouterr()
    exec(code, {})
    shown = capsys.readouterr().out
    assert any(f"'label': '{name}'" in shown for name in CLASSES), shown
    assert RunFolder.read(whole).architecture == "BertForSequenceClassification"


def test_the_base_is_found_again_by_its_name(whole: Path, sharp_model: Path, tmp_path: Path, monkeypatch):
    """The folder that was recorded is gone; the name, here of a package, leads to the model."""
    site = tmp_path / "site" / "weights_for_lora"
    site.mkdir(parents=True)
    (site / "__init__.py").touch()
    shutil.copytree(sharp_model, site / "model")
    monkeypatch.syspath_prepend(tmp_path / "site")
    folder = Path(shutil.copytree(whole, tmp_path / "moved"))
    _change(folder / "adapter_config.json", base_model_name_or_path=str(tmp_path / "gone"))
    _change(folder / "base_config" / "base_model.json", name="package:weights_for_lora/model")
    np.testing.assert_array_equal(_logits(_ours(folder), folder), _logits(_ours(whole), whole))
    for name in (str(tmp_path / "gone"), "models/gone"):  # a name like the second might be one on the Hub
        _change(folder / "base_config" / "base_model.json", name=name)
        gone = f"{folder} is an adapter on {tmp_path / 'gone'}, which is not there. Put that"
        with pytest.raises(UserError, match=gone):
            _ours(folder)


def test_a_base_whose_weights_have_changed_is_refused(whole: Path, sharp_model: Path, files, tmp_path: Path):
    folder, base = (Path(shutil.copytree(path, tmp_path / path.name)) for path in (whole, sharp_model))
    _change(folder / "adapter_config.json", base_model_name_or_path=str(base))
    _ours(folder)
    weights = load_file(base / "model.safetensors")
    name = next(iter(weights))
    save_file({**weights, name: weights[name] + 1}, base / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=f"{folder} is an adapter on {base}, whose weights have changed since"):
        _ours(folder)
    train = {"train_file": files["train_file"], "max_steps": 1, "lora_rank": 4, "lora_merge": True}
    assert classify(tmp_path / "merged", model_name_or_path=base, **train) == 0
    save_file(weights, base / "model.safetensors", metadata={"format": "pt"})
    _ours(folder)
    shutil.rmtree(base)
    assert predict(tmp_path / "merged", "--text", "the dog") == 0


def test_an_adapter_of_another_maker_is_explained(whole: Path, tmp_path: Path):
    folder = Path(shutil.copytree(whole, tmp_path / "other"))
    shutil.rmtree(folder / "base_config")
    with pytest.raises(UserError, match=f"{folder} holds an adapter without base_config/.* merge_and_unload"):
        loading.load_config(ModelArguments(model_name_or_path=str(folder)))


def _change(path: Path, **values: str) -> None:
    path.write_text(json.dumps({**read_json(path), **values}), encoding="utf-8")


def _stop(sharp_model: Path, files, folder: Path, **settings) -> None:
    def interrupt(self, args, state, control, **_):
        if state.global_step == 7:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainerCallback, "on_save", interrupt)
        assert classify(folder, model_name_or_path=sharp_model, **files, **SETTINGS, **settings) == 130


def test_a_resumed_run_equals_the_uninterrupted_one(whole, sharp_model, files, tmp_path: Path, capsys):
    folder = tmp_path / "run"
    _stop(sharp_model, files, folder, lora_dropout=0.1)
    assert classify(tmp_path / "once", model_name_or_path=sharp_model, **files, **SETTINGS, lora_dropout=0.1) == 0
    shutil.copytree(folder, tmp_path / "copy")
    resumed = {"model_name_or_path": sharp_model, **files, "resume": "auto", "lora_dropout": 0.1}
    assert classify(folder, **resumed, **SETTINGS) == 0
    ours, theirs = (load_file(path / "adapter_model.safetensors") for path in (folder, tmp_path / "once"))
    assert [name for name in theirs if not torch.equal(ours[name], theirs[name])] == []
    assert history(folder, "loss") == history(tmp_path / "once", "loss")
    assert predictions(folder, "test") == predictions(tmp_path / "once", "test")
    capsys.readouterr()
    assert classify(tmp_path / "copy", **SETTINGS | resumed | {"lora_rank": 2}) == 2
    assert "checkpoint-7 is from another run: lora_rank 4 → 2" in capsys.readouterr().err


def test_accumulation_changes_nothing(sharp_model, files, tmp_path: Path):
    """16 × 1 against 4 × 4: PEFT's wrapper hides nothing from the exact loss."""
    model = _without_dropout(sharp_model, tmp_path / "model")
    shared = {**SETTINGS, "learning_rate": 5e-3, "save_strategy": "no", "save_steps": None, "lora_merge": True}
    for name, (batch, accumulation) in {"16x1": (16, 1), "4x4": (4, 4)}.items():
        cut = {"per_device_train_batch_size": batch, "gradient_accumulation_steps": accumulation}
        assert classify(tmp_path / name, model_name_or_path=model, **files, **{**shared, **cut}) == 0
    assert history(tmp_path / "16x1", "loss") == pytest.approx(history(tmp_path / "4x4", "loss"), abs=1e-5)
    assert history(tmp_path / "16x1", "grad_norm") == pytest.approx(history(tmp_path / "4x4", "grad_norm"), rel=1e-4)
    assert farthest(tmp_path / "16x1", tmp_path / "4x4") < 1e-4


def _without_dropout(model: Path, folder: Path) -> Path:
    shutil.copytree(model, folder)
    _change(folder / "config.json", hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    return folder


def test_the_best_epoch_is_loaded_again(sharp_model, files, tmp_path: Path):
    settings = {**SETTINGS, "save_strategy": "epoch", "save_steps": None, "selection_fraction": 0.2}
    assert classify(tmp_path / "run", model_name_or_path=sharp_model, **files, **settings) == 0
    best = Path(read_json(tmp_path / "run" / "trainer_state.json")["best_model_checkpoint"])
    ours, theirs = (load_file(path / "adapter_model.safetensors") for path in (tmp_path / "run", best))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_another_run_begins_from_an_adapter(whole: Path, files, tmp_path: Path, capsys, write_csv):
    """The encoder of a run with --lora_rank, adapter added, under a new head of two classes."""
    train = write_csv(tmp_path / "two.csv", ("text", "label"), labelled_sentences(20, 3))
    settings = {"model_name_or_path": whole, "train_file": train, "num_train_epochs": 1}
    assert classify(tmp_path / "refused", **settings) == 2
    assert "has another size than this task needs (2 outputs). In training --new_head" in capsys.readouterr().err
    assert classify(tmp_path / "run", **settings, learning_rate=0, new_head=True) == 0
    ours, theirs = load_file(tmp_path / "run" / "model.safetensors"), _ours(whole).state_dict()
    same = [name for name in ours if name.startswith("bert.")]
    assert len(same) == len(ours) - 2
    assert all(torch.equal(ours[name], theirs[name]) for name in same)
    assert classify(tmp_path / "again", **settings, new_head=True, lora_rank=2) == 2
    assert "an adapter on an adapter cannot be loaded again. Add --lora_merge" in capsys.readouterr().err
    assert classify(tmp_path / "again", **settings, new_head=True, lora_rank=2, lora_merge=True) == 0


def test_an_earlier_adapter_does_not_stay_next_to_an_ordinary_model(whole, sharp_model, files, tmp_path: Path):
    folder = Path(shutil.copytree(whole, tmp_path / "run"))
    settings = {"model_name_or_path": sharp_model, "train_file": files["train_file"], "max_steps": 1}
    assert classify(folder, **settings, overwrite_output_dir=True) == 0
    assert not any((folder / name).exists() for name in (*lora.ADAPTER_FILES, lora.BASE_CONFIG))


@pytest.mark.parametrize("objective", ["nsp", "nsp+mlm"])
def test_nsp_and_mlm_train_with_an_adapter(objective: str, tiny_model, tmp_path: Path, capsys):
    text = write_text(tmp_path / "text.txt")
    settings = {"model_name_or_path": tiny_model, "text": text, "objective": objective, "num_train_epochs": 1}
    assert pretrain(tmp_path / "run", **settings, lora_rank=2) == 0
    saved = load_file(tmp_path / "run" / "adapter_model.safetensors")
    assert any("seq_relationship" in name for name in saved)
    assert not any("word_embeddings" in name or "decoder.weight" in name for name in saved)
    capsys.readouterr()
    assert predict(tmp_path / "run", "--format", "jsonl", "--pair", "the cat", "the dog") == 0
    assert set(json.loads(capsys.readouterr().out)["probabilities"]) == {"IsNext", "NotNext"}


def test_an_unknown_target_module_is_refused(sharp_model: Path):
    model = AutoModelForSequenceClassification.from_pretrained(sharp_model)
    arguments = ModelArguments(model_name_or_path=str(sharp_model), lora_rank=2, lora_target_modules=["qurey"])
    with pytest.raises(UserError, match=r"no linear module 'qurey'\. Did you mean 'query'"):
        surgery.apply_model_surgery(model, arguments)


def test_a_checkpoint_that_lacks_a_layer_is_refused(sharp_model: Path, files, tmp_path: Path, capsys):
    folder = Path(shutil.copytree(sharp_model, tmp_path / "model"))
    weights = load_file(folder / "model.safetensors")
    del weights["encoder.layer.1.output.dense.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    settings = {"model_name_or_path": folder, "train_file": files["train_file"], "lora_rank": 2}
    assert classify(tmp_path / "run", **settings) == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.endswith(
        "lacks bert.encoder.layer.1.output.dense.weight, which would stay random. Leave --lora_rank out."
    )
    assert classify(tmp_path / "run", **{**settings, "lora_rank": None, "max_steps": 1}) == 0
