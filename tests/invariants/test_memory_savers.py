"""What saves memory or shapes the learning rate changes nothing else: same weights, same run when resumed."""

import sys
from pathlib import Path

import pytest
import torch
from nsp_runs import pretrain, write_text
from running import classify, history, interrupted_after, read_json, weights_of

from bertlab.training import memory

pytestmark = pytest.mark.slow

TRAINING = {"num_train_epochs": 2, "learning_rate": 5e-3, "logging_steps": 1, "per_device_train_batch_size": 16}


def _assert_same(one: Path, other: Path) -> None:
    ours, theirs = weights_of(one), weights_of(other)
    assert [name for name in theirs if not torch.equal(ours[name], theirs[name])] == []
    assert history(one, "loss") == history(other, "loss")


LAYERS = 2


def _layers_run(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count how often a layer computes, by a part of it: with a forward of ours it would not be checkpointed."""
    from transformers.models.bert.modeling_bert import BertIntermediate

    calls, forward = [], BertIntermediate.forward

    def counted(self, *args, **options):
        calls.append(1)
        return forward(self, *args, **options)

    monkeypatch.setattr(BertIntermediate, "forward", counted)
    return calls


def test_activation_checkpointing_gives_the_same_run(tiny_model, sentences, tmp_path: Path, monkeypatch):
    """With dropout: the layers are computed again under the same random numbers."""
    calls, counts = _layers_run(monkeypatch), []
    for name, on in {"plain": False, "checkpointed": True}.items():
        calls.clear()
        settings = {"model_name_or_path": tiny_model, "train_file": sentences["train_file"], **TRAINING}
        assert classify(tmp_path / name, **settings, save_strategy="no", activation_checkpointing=on) == 0
        counts.append(len(calls) - LAYERS * (1 + on))  # of the two rows that are tried first
    _assert_same(tmp_path / "checkpointed", tmp_path / "plain")
    assert counts[1] == 2 * counts[0], "every layer computes once more, in the backward pass"


def test_it_does_so_for_nsp_and_mlm(tiny_model, tmp_path: Path):
    text = write_text(tmp_path / "text.txt")
    settings = {"model_name_or_path": tiny_model, "text": text, "objective": "nsp+mlm", **TRAINING}
    for name, on in {"plain": False, "checkpointed": True}.items():
        more = {"max_train_samples": 32, "max_eval_samples": 8}
        assert pretrain(tmp_path / name, **settings, **more, activation_checkpointing=on) == 0
    _assert_same(tmp_path / "checkpointed", tmp_path / "plain")


def test_a_model_that_cannot_is_refused(sentences, tiny_model, tmp_path: Path, monkeypatch, capsys):
    from transformers import BertForSequenceClassification

    monkeypatch.setattr(BertForSequenceClassification, "supports_gradient_checkpointing", False)
    settings = {"model_name_or_path": tiny_model, "train_file": sentences["train_file"]}
    assert classify(tmp_path / "run", **settings, activation_checkpointing=True) == 2
    assert "--activation_checkpointing: bert models cannot do it. Leave it out." in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore:torch.utils.checkpoint")
@pytest.mark.parametrize(("setting", "says"), [("effort=1", "effort"), ("every_n_layers=0", "zero")])
def test_settings_that_checkpointing_cannot_do_with_are_refused(setting, says, sentences, tiny_model, tmp_path, capsys):
    settings = {"model_name_or_path": tiny_model, "train_file": sentences["train_file"], **TRAINING}
    kwargs = {"activation_checkpointing": True, "activation_checkpointing_kwargs": setting}
    assert classify(tmp_path / "run", **settings, **kwargs) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert says in error and error.endswith("Leave --activation_checkpointing_kwargs out.")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="malloc of another system")
def test_a_run_that_takes_half_of_the_memory_returns_what_it_frees(
    tiny_model, sentences, tmp_path, monkeypatch, capsys
):
    settings = {"model_name_or_path": tiny_model, "train_file": sentences["train_file"], **TRAINING}
    settings |= {"save_strategy": "no", "use_cpu": True}
    assert classify(tmp_path / "plain", **settings) == 0
    said = "training has taken more than half of the memory"
    assert said not in capsys.readouterr().err
    monkeypatch.setattr(memory, "machine_mb", lambda: 1.0)
    assert classify(tmp_path / "scarce", **settings) == 0
    assert capsys.readouterr().err.count(said) == 1
    _assert_same(tmp_path / "scarce", tmp_path / "plain")
    # What the warning says takes less.
    settings |= {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 2}
    assert classify(tmp_path / "smaller", **settings) == 0
    plans = [read_json(tmp_path / name / "run.json")["plan"] for name in ("scarce", "smaller")]
    assert plans[0]["global_batch"] == plans[1]["global_batch"] and plans[0]["steps"] == plans[1]["steps"]


def test_frozen_embeddings_stay_and_all_else_moves(tiny_model, sentences, tmp_path: Path):
    settings = {"model_name_or_path": tiny_model, "train_file": sentences["train_file"], **TRAINING}
    assert classify(tmp_path / "run", **settings, save_strategy="no", freeze_embeddings=True, weight_decay=0.1) == 0
    before, after = weights_of(tiny_model), weights_of(tmp_path / "run")
    same = {name for name in before if torch.equal(before[name], after[f"bert.{name}"])}
    assert same == {name for name in before if name.startswith("embeddings.")}
    plan = read_json(tmp_path / "run" / "run.json")["plan"]
    assert plan["parameters"] - plan["trainable"] == sum(before[name].numel() for name in same)


def test_new_top_layers_follow_the_seed_through_the_script(tiny_model, sentences, tmp_path: Path, capsys):
    settings = {"model_name_or_path": tiny_model, "train_file": sentences["train_file"], "learning_rate": 0}
    for name, seed in {"one": 1, "again": 1, "two": 2}.items():
        run = {"max_steps": 1, "save_strategy": "no", "seed": seed}
        assert classify(tmp_path / name, **settings, **run, reinit_layers=1) == 0
    assert "info: re-initialized: the pooler and the top 1 of 2 layers." in capsys.readouterr().err
    one, again, two = (weights_of(tmp_path / name) for name in ("one", "again", "two"))
    new = {name for name, value in weights_of(tiny_model).items() if not torch.equal(value, one[f"bert.{name}"])}
    assert all(name.startswith(("encoder.layer.1.", "pooler.")) for name in new) and len(new) == 7
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not any(torch.equal(one[f"bert.{name}"], two[f"bert.{name}"]) for name in new)


def test_the_plan_says_how_the_rate_falls_and_the_log_has_the_head_s(tiny_model, sentences, tmp_path: Path, capsys):
    settings = {"model_name_or_path": tiny_model, "train_file": sentences["train_file"], **TRAINING}
    settings |= {"learning_rate": 1e-4, "warmup_steps": 0.2, "save_strategy": "no"}
    assert classify(tmp_path / "run", **settings, layerwise_lr_decay=0.5) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "; learning rate 0.0001 (head) … 1.25e-05 (embeddings)" in shown
    rates = read_json(tmp_path / "run" / "run.json")["plan"]["learning_rates"]
    assert rates == pytest.approx({"head": 1e-4, "layer 2 of 2": 5e-5, "layer 1 of 2": 2.5e-5, "embeddings": 1.25e-5})
    # 10 steps, 2 of them warm-up, then a straight line to 0.
    expected = [0, 0.5, 1, *(1 - step / 8 for step in range(1, 8))]
    assert history(tmp_path / "run", "learning_rate") == pytest.approx([1e-4 * share for share in expected])


def test_a_run_with_falling_rates_is_resumed_bit_for_bit(tiny_model, sentences, tmp_path: Path, capsys):
    saving = {"save_strategy": "steps", "save_steps": 1, "layerwise_lr_decay": 0.8, "weight_decay": 0.1}
    settings = {"model_name_or_path": tiny_model, "train_file": sentences["train_file"], **TRAINING, **saving}
    assert classify(tmp_path / "whole", **settings) == 0
    with interrupted_after(6):
        assert classify(tmp_path / "run", **settings) == 130
    assert classify(tmp_path / "run", **settings, resume="must") == 0
    _assert_same(tmp_path / "run", tmp_path / "whole")
