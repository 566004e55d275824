"""Learning rates fall from the head to the embeddings, and nothing else about the optimizer changes."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from architectures import FAMILIES, LAYERS, SEPARATE, classifier, layer_number, of_two_layers
from transformers import TrainingArguments

from bertlab.cli.arguments import ModelArguments, RunArguments
from bertlab.errors import UserError
from bertlab.training import optimizer as optimizers
from bertlab.training import plan
from bertlab.training.optimizer import apply_layerwise_lr_decay, check_optimizer, layerwise_learning_rates
from bertlab.training.trainer import EncoderTrainer

LR = 1e-3
# Final norms, and CANINE's way back to characters.
ABOVE = (
    *("canine.projection.", "canine.final_char_encoder.", "esm.encoder.emb_layer_norm_after.", "esm.contact_head."),
    *("bert.encoder.ln.", "roberta.encoder.LayerNorm.", "roberta_prelayernorm.LayerNorm."),
    *("model.norm.", "model.final_norm.", "model.decoder.layer_norm.", "transformer.decoder.final_layer_norm."),
)
# The final norms of encoders are as deep as the lowest layer of the decoder.
BETWEEN = ("model.encoder.layer_norm.", "transformer.encoder.final_layer_norm.")


def optimizer_of(model, folder: Path, decay: float, **settings) -> torch.optim.Optimizer:
    args = TrainingArguments(
        str(folder), weight_decay=0.01, learning_rate=LR, use_cpu=True, report_to="none", **settings
    )
    return EncoderTrainer(model=model, args=args, run=RunArguments(layerwise_lr_decay=decay)).create_optimizer()


def by_name(model, optimizer: torch.optim.Optimizer, key: str) -> dict[str, float]:
    names = {id(value): name for name, value in model.named_parameters()}
    return {names[id(value)]: group[key] for group in optimizer.param_groups for value in group["params"]}


@pytest.mark.parametrize("architecture", SEPARATE)
def test_each_step_down_multiplies_the_rate(architecture):
    model = of_two_layers(architecture)
    optimizer = torch.optim.SGD([value for value in model.parameters() if value.requires_grad], lr=LR)
    apply_layerwise_lr_decay(optimizer, model, 0.5)
    rates = by_name(model, optimizer, "lr")
    assert rates.keys() == {name for name, value in model.named_parameters() if value.requires_grad}
    count = 4 if model.config.is_encoder_decoder else 2
    for name, rate in rates.items():
        number = layer_number(name)
        if "relative_attention_bias" in name:
            step = count + 1
        elif number is not None:
            step = count - number
        elif name.startswith(BETWEEN):
            step = 2
        else:
            encoder = name.startswith(f"{model.base_model_prefix}.") and ".pooler." not in name
            step = count + 1 if encoder and not name.startswith(ABOVE) else 0
        assert rate == pytest.approx(LR * 0.5**step), name
    assert len({round(rate / LR, 6) for rate in rates.values()}) == count + 2


@pytest.mark.parametrize("family", FAMILIES)
def test_what_decays_is_what_decays_without_it(family, tmp_path):
    model = classifier(family)
    plain = optimizer_of(model, tmp_path, 1.0)
    spread = optimizer_of(model, tmp_path, 0.9)
    assert len(plain.param_groups) == 2 < len(spread.param_groups)
    assert by_name(model, spread, "weight_decay") == by_name(model, plain, "weight_decay")
    for name, decay in by_name(model, spread, "weight_decay").items():
        assert (decay == 0) == (name.endswith("bias") or "norm" in name.lower()), name
    for key in ("betas", "eps", "fused"):
        assert {str(group[key]) for group in spread.param_groups} == {str(plain.param_groups[0][key])}
    assert type(spread) is type(plain)


def test_the_first_group_is_the_head_s_so_that_its_rate_is_logged(tmp_path):
    assert optimizer_of(classifier("bert"), tmp_path, 0.5).param_groups[0]["lr"] == LR


def test_steps_are_those_of_an_optimizer_with_a_rate_for_each_parameter(tmp_path):
    """Against torch's own AdamW given every parameter in a group of its own."""
    ours, theirs = classifier("bert").eval(), classifier("bert").eval()  # without dropout
    optimizer = optimizer_of(ours, tmp_path, 0.5)
    rates, decays = by_name(ours, optimizer, "lr"), by_name(ours, optimizer, "weight_decay")
    reference = torch.optim.AdamW(
        [{"params": [v], "lr": rates[n], "weight_decay": decays[n]} for n, v in theirs.named_parameters()]
    )
    for model, one in ((ours, optimizer), (theirs, reference)):
        for _ in range(3):
            model(input_ids=torch.tensor([[3, 4, 5]]), labels=torch.tensor([1])).loss.backward()
            one.step()
            one.zero_grad()
    for (name, mine), its in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, its, rtol=1e-5, atol=1e-7, msg=name)


def test_rates_are_named_for_what_trains():
    model = classifier("bert")
    rates = {"head": LR, "layer 3 of 3": LR / 2, "layer 2 of 3": LR / 4, "layer 1 of 3": LR / 8}
    assert layerwise_learning_rates(model, LR, 0.5) == pytest.approx({**rates, "embeddings": LR / 16})
    model.bert.embeddings.requires_grad_(False)
    assert layerwise_learning_rates(model, LR, 0.5) == pytest.approx(rates)


def test_an_optimizer_without_groups_is_refused():
    model = classifier("bert")
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    with pytest.raises(UserError, match=r"SGD takes no learning rate for each group of parameters\. Use --optim"):
        apply_layerwise_lr_decay(optimizer, model, 0.5)


def test_it_works_over_an_adapter(tmp_path):
    pytest.importorskip("peft", reason="needs peft: pip install peft")
    from bertlab.models import lora

    model = lora.add_adapter(classifier("bert"), ModelArguments(lora_rank=2))
    rates = by_name(model, optimizer_of(model, tmp_path, 0.5), "lr")
    assert rates.keys() == {name for name, value in model.named_parameters() if value.requires_grad}
    for name, rate in rates.items():
        step = 0 if "encoder" not in name else LAYERS - int(name.split("layer.")[1][0])
        assert rate == pytest.approx(LR * 0.5**step), name


def test_an_optimizer_of_parts_of_a_model_is_asked_for_with_the_model(monkeypatch):
    class Factory:
        @staticmethod
        def get_optimizer_cls_and_kwargs(args, model=None):
            if model is None:
                raise ValueError("You need to pass a model to initialize galore_adamw optimizer.")
            return torch.optim.SGD, {"lr": args.learning_rate}

    monkeypatch.setattr(optimizers, "Trainer", Factory)
    check_optimizer(TrainingArguments(optim="galore_adamw", use_cpu=True), torch.nn.Linear(2, 2))


@pytest.mark.parametrize(
    ("settings", "warmup", "said"),
    [
        ({"lr_scheduler_kwargs": {"num_decay_steps": 90}}, 20, "Pass num_decay_steps alone, at most 80."),
        ({"lr_scheduler_kwargs": {"num_decay_steps": 80}}, 20, ""),
        ({"lr_scheduler_kwargs": {"num_decay_steps": 10, "num_stable_steps": 10}}, 20, "Pass num_decay_steps alone"),
        ({"lr_scheduler_kwargs": {"num_decay_steps": 70, "num_stable_steps": 10}}, 20, ""),
        ({"eval_strategy": "epoch", "eval_delay": 3}, 0, "--eval_delay 3 is longer than the run"),
        ({"eval_strategy": "epoch", "eval_delay": 2}, 0, ""),
        ({"eval_strategy": "steps", "eval_delay": 3}, 0, ""),
        ({"eval_strategy": "steps", "eval_delay": 101}, 0, "--eval_delay 101 is longer than the run"),
    ],
)
def test_phases_that_do_not_fit_a_run_of_two_epochs_and_100_steps_are_warned_of(settings, warmup, said, capsys):
    args = TrainingArguments(use_cpu=True, lr_scheduler_type="warmup_stable_decay", **settings)
    run = SimpleNamespace(warmup_steps=warmup, steps=100, batches_per_epoch=50)
    plan._warn_of_schedule(args, run)  # type: ignore[arg-type]
    printed = capsys.readouterr().err
    assert said in printed
    assert bool(said) == bool(printed)
