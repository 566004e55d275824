"""What is changed about a loaded model before it trains: a new head, new top layers, frozen parts, an adapter."""

from typing import TYPE_CHECKING, Any

from bertlab.cli.arguments import ModelArguments, RunArguments
from bertlab.console import info
from bertlab.errors import UserError
from bertlab.models import lora, parts

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

# What begins from a checkpoint or keeps a part of it has nothing to begin from in a model with random weights.
NEEDS_A_CHECKPOINT = ("freeze_encoder", "freeze_embeddings", "reinit_layers", "new_head", "lora_rank")
OF_LORA = ("lora_alpha", "lora_dropout", "lora_target_modules")


def check(model: ModelArguments, run: RunArguments) -> None:
    """Refuse flags that contradict each other, before anything is read.

    Raises:
        UserError: a part would be both new and frozen, an adapter's setting without an adapter, or peft is missing.
    """
    if model.freeze_encoder and model.reinit_layers:
        raise UserError("--freeze_encoder would keep the layers of --reinit_layers random.", "Leave one out.")
    if run.layerwise_lr_decay == 0:
        raise UserError(
            "--layerwise_lr_decay 0 would train the head alone.", "Pass a number up to 1, or --freeze_encoder."
        )
    if run.layerwise_lr_decay < 1 and model.freeze_encoder:
        raise UserError("--layerwise_lr_decay: with --freeze_encoder only the head trains.", "Leave one out.")
    if model.lora_rank is None:
        told = [name for name in OF_LORA if getattr(model, name)] + ["lora_merge"] * run.lora_merge
        if told:
            raise UserError(f"--{told[0]}: there is no adapter to apply it to.", "Add --lora_rank 8.")
        return
    if model.freeze_encoder:
        raise UserError("--lora_rank trains the layers that --freeze_encoder keeps.", "Leave one out.")
    if model.reinit_layers:
        raise UserError(
            "--lora_rank keeps the layers as they are, which --reinit_layers makes random.", "Leave one out."
        )
    lora.refuse_adapter_as_base(model.model_name_or_path or "", run.lora_merge)


def apply_model_surgery(model: "PreTrainedModel", arguments: ModelArguments) -> Any:
    """Return the model with what the flags change about it; with --lora_rank it is wrapped by peft.

    Raises:
        UserError: the model has no such part, or not as many layers.
    """
    if arguments.new_head:
        reinit_weights(model, parts.head(model))
        info(f"new head: {', '.join(parts.module_name(model, part) for part in parts.head(model))}.")
    if arguments.reinit_layers is not None:
        reinit_top_layers(model, arguments.reinit_layers)
    if arguments.freeze_encoder:
        freeze_encoder(model)
    if arguments.freeze_embeddings:
        parts.embeddings(model).requires_grad_(False)
    return model if arguments.lora_rank is None else lora.add_adapter(model, arguments)


def reinit_top_layers(model: "PreTrainedModel", count: int) -> None:
    """Re-initialise the pooler and the top `count` layers; the head stays as it was loaded.

    Zhang et al. 2021, "Revisiting few-sample BERT fine-tuning": the top layers are specialised to pretraining, and
    fine-tuning goes better without what they know.

    Raises:
        UserError: there are fewer layers, or nothing to re-initialise.
    """
    layers = parts.layers(model, "--reinit_layers")
    if count > len(layers):
        raise UserError(f"--reinit_layers {count}: the model has {len(layers)} layers.", f"Pass 0 to {len(layers)}.")
    poolers = parts.poolers(model)
    if not count and not poolers:
        raise UserError("--reinit_layers 0: this model has no pooler.", f"Pass 1 to {len(layers)}.")
    reinit_weights(model, [*poolers, *list(layers)[len(layers) - count :]])
    names = ["the pooler"] * bool(poolers) + [f"the top {count} of {len(layers)} layers"] * bool(count)
    info(f"re-initialised: {' and '.join(names)}.")


def reinit_weights(model: "PreTrainedModel", modules: "list[nn.Module]") -> None:
    """Draw new weights as the model's own class does; what a head shares with the encoder (word embeddings) stays."""
    import torch

    encoder = parts.encoder(model)
    within = {id(value) for module in modules if module in list(encoder.modules()) for value in module.parameters()}
    kept = {id(value) for value in encoder.parameters()} - within
    with torch.no_grad():
        for module in modules:
            for value in module.parameters():
                # transformers.initialization passes over what carries this mark, as loaded weights do.
                value._is_hf_initialized = id(value) in kept  # type: ignore[attr-defined]
            module.apply(model._init_weights)


def freeze_encoder(model: "PreTrainedModel") -> None:
    """Leave only the pooler and the head trainable."""
    for key, parameter in model.base_model.named_parameters():
        parameter.requires_grad = key.startswith(parts.POOLER)
