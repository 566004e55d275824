"""New heads, new layers and frozen parts are those that the flags name, in every family of models."""

import pytest
import torch
from architectures import ARCHITECTURES, FAMILIES, LAYERS, SEPARATE, classifier, layer_number, of_two_layers
from running import refusal
from torch import nn

from bertlab.cli.arguments import ModelArguments, RunArguments
from bertlab.models import lora, surgery

HAVE_POOLER = ("bert", "deberta-v2")
LAYER = {"distilbert": "transformer.layer", "modernbert": "layers"}
EMBEDDINGS = {
    "canine": ".char_embeddings.",
    "eurobert": ".embed_tokens.",
    "xlnet": ".word_embedding.",
    **dict.fromkeys(("bart", "mbart", "t5", "mt5"), ".shared."),
}


def changed(model, family: str, **settings) -> set[str]:
    """Return the names of the weights that adapting a model has changed, seeded."""
    before = classifier(family).state_dict()
    torch.manual_seed(1)
    surgery.apply_model_surgery(model, ModelArguments(**settings))
    return {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("count", [1, LAYERS])
def test_the_pooler_and_the_top_layers_are_made_new_and_nothing_else(family, count, capfd):
    model = classifier(family)
    prefix = f"{model.base_model_prefix}.{LAYER.get(family, 'encoder.layer')}"
    top = tuple(f"{prefix}.{index}." for index in range(LAYERS - count, LAYERS))
    matrices = {name for name, value in model.named_parameters() if value.dim() == 2 and name.startswith(top)}
    names = changed(model, family, reinit_layers=count)
    assert matrices <= names
    assert all(name.startswith(top) or "pooler" in name for name in names)
    assert any("pooler" in name for name in names) == (family in HAVE_POOLER)
    pooler = "the pooler and " if family in HAVE_POOLER else ""
    assert f"info: re-initialized: {pooler}the top {count} of 3 layers." in capfd.readouterr().err


@pytest.mark.parametrize("architecture", SEPARATE)
def test_the_whole_top_layer_is_drawn_as_its_class_draws_it_and_nothing_else(architecture):
    """Weights that were trained to be 7 everywhere come back, attention and feed-forward, and those of a pooler."""
    model, fresh = of_two_layers(architecture), dict(of_two_layers(architecture).named_parameters())
    with torch.no_grad():
        for value in model.parameters():
            value.fill_(7.0)
            value._is_hf_initialized = True
    torch.manual_seed(1)
    surgery.reinit_top_layers(model, 1)
    top = 3 if model.config.is_encoder_decoder else 1
    for name, value in model.named_parameters():
        if "pooler" in name:
            assert (value != 7).all(), name
        elif layer_number(name) != top:
            assert (value == 7).all(), name
        elif fresh[name].numel() > 1 and fresh[name].std() > 0:
            assert float(value.detach().std() / fresh[name].detach().std()) == pytest.approx(1, abs=0.25), name
            assert abs(float(value.detach().mean() - fresh[name].detach().mean())) < 0.05, name
        else:
            assert torch.equal(value, fresh[name]), name


def test_below_the_layers_of_a_decoder_come_those_of_its_encoder(capfd):
    model, before = (of_two_layers("bart", encoder_layers=3) for _ in range(2))
    surgery.reinit_top_layers(model, 3)
    changes = zip(model.named_parameters(), before.parameters(), strict=True)
    names = {name.removeprefix("model.")[:16] for (name, value), old in changes if not torch.equal(value, old)}
    assert names == {"decoder.layers.1", "decoder.layers.0", "encoder.layers.2"}
    assert "info: re-initialized: the top 3 of 5 layers." in capfd.readouterr().err


def test_the_seed_decides_the_new_weights():
    def new(seed: int) -> torch.Tensor:
        model = classifier("bert")
        torch.manual_seed(seed)
        surgery.reinit_top_layers(model, 1)
        return model.bert.encoder.layer[2].output.dense.weight

    assert torch.equal(new(1), new(1))
    assert not torch.equal(new(1), new(2))


def test_none_means_the_pooler_alone():
    assert changed(classifier("bert"), "bert", reinit_layers=0) == {"bert.pooler.dense.weight"}
    message = refusal(surgery.reinit_top_layers, classifier("roberta"), 0)
    assert message == "--reinit_layers 0: this model has no pooler. Pass 1 to 3."
    top = changed(classifier("roberta"), "roberta", reinit_layers=1)
    assert top and all(".layer.2." in name for name in top)


def test_more_layers_than_there_are_is_refused():
    message = refusal(surgery.reinit_top_layers, classifier("bert"), 4)
    assert message == "--reinit_layers 4: the model has 3 layers. Pass 0 to 3."


def test_a_model_that_shares_its_layers_is_refused():
    message = refusal(surgery.reinit_top_layers, classifier("albert"), 1)
    assert message == "--reinit_layers: albert keeps no separate layers. Leave the flag out."


@pytest.mark.parametrize("family", FAMILIES)
def test_a_new_head_leaves_encoder_and_pooler(family):
    model = classifier(family)
    matrices = {n for n, v in model.named_parameters() if v.dim() == 2 and ("classifier" in n or n.startswith("head"))}
    assert changed(model, family, new_head=True) == matrices
    assert matrices


def test_a_new_head_leaves_the_word_vectors_it_shares():
    from transformers import BertConfig, BertForPreTraining

    config = BertConfig(vocab_size=99, hidden_size=16, num_hidden_layers=1, num_attention_heads=2)
    model = BertForPreTraining(config)
    before = {name: value.clone() for name, value in model.named_parameters()}
    surgery.apply_model_surgery(model, ModelArguments(new_head=True))
    names = {name for name, value in model.named_parameters() if not torch.equal(value, before[name])}
    assert names == {"cls.predictions.transform.dense.weight", "cls.seq_relationship.weight"}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_frozen_embeddings_get_no_gradient_and_all_else_does(architecture):
    model = of_two_layers(architecture)
    before = {name for name, value in model.named_parameters() if not value.requires_grad}
    surgery.apply_model_surgery(model, ModelArguments(freeze_embeddings=True))
    frozen = {name for name, value in model.named_parameters() if not value.requires_grad} - before
    part = EMBEDDINGS.get(architecture, ".embeddings.")
    assert frozen == {name for name, _ in model.named_parameters() if part in name} - before
    assert frozen


def test_lora_without_peft_names_the_package(monkeypatch):
    monkeypatch.setattr("bertlab.models.lora.package_folder", lambda name: None)
    message = refusal(lora.refuse_adapter_on_adapter, ModelArguments(lora_rank=2), RunArguments())
    assert message == "LoRA needs the package peft, which is not installed. pip install peft"


@pytest.mark.parametrize("family", [*FAMILIES, "albert"])
def test_an_adapter_is_loaded_again_and_merged(family, tmp_path):
    pytest.importorskip("peft", reason="needs peft: pip install peft")
    model = classifier(family, classes=3)
    model.save_pretrained(tmp_path / "base")
    model.name_or_path = str(tmp_path / "base")
    adapted = lora.add_adapter(model, ModelArguments(model_name_or_path=model.name_or_path, lora_rank=2))
    with torch.no_grad():
        for value in adapted.parameters():
            if value.requires_grad:
                value.normal_(std=0.1)
    adapted.save_pretrained(tmp_path / "run")
    lora.save_base_config(adapted, tmp_path / "run")
    tokens = torch.tensor([[1, 5, 7, 9, 2]])
    merged = lora.load_merged(tmp_path / "run", str, {})
    with torch.inference_mode():
        torch.testing.assert_close(merged.eval()(tokens).logits, adapted.eval()(tokens).logits, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("architecture", sorted(set(ARCHITECTURES) - {"eurobert"}))
def test_the_dropout_before_the_classifier_is_set_and_of_nothing_else(architecture):
    """In every architecture, whether or not its configuration has a name for it."""
    model = of_two_layers(architecture)
    dropouts = {name: module for name, module in model.named_modules() if isinstance(module, nn.Dropout)}
    before = {name: module.p for name, module in dropouts.items()}
    surgery.apply_model_surgery(model, ModelArguments(classifier_dropout=0.37))
    (name,) = (name for name, module in dropouts.items() if module.p != before[name])
    assert dropouts[name].p == 0.37
    assert dropouts[name] not in set(model.base_model.modules())
    assert "pooler" not in name
    named = [value for key, value in model.config.to_dict().items() if key in surgery.HEAD_DROPOUTS]
    assert set(named) <= {0.37}


def test_a_model_without_dropout_before_its_classifier_takes_a_dropout_of_0():
    model = of_two_layers("eurobert")
    message = refusal(surgery.set_head_dropout, model, 0.3)
    assert message == (
        "--classifier_dropout 0.3: eurobert has no dropout before its classifier. Pass --classifier_dropout 0."
    )
    surgery.set_head_dropout(model, 0)
