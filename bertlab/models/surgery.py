"""What is changed about a loaded model before it trains: head, dropout, new top layers, frozen parts, an adapter."""

from typing import TYPE_CHECKING, Any

from bertlab.cli.arguments import ModelArguments
from bertlab.console import info
from bertlab.errors import UserError
from bertlab.models import lora, parts

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

# What configurations call the dropout before the classifier. Some models have the dropout, and no field for it.
HEAD_DROPOUTS = ("classifier_dropout", "seq_classif_dropout", "summary_last_dropout", "classifier_dropout_prob")


def apply_model_surgery(model: "PreTrainedModel", arguments: ModelArguments) -> Any:
    """Return the model with what the flags change about it; with --lora_rank it is wrapped by peft.

    Raises:
        UserError: the model has no such part, or not as many layers.
    """
    if arguments.new_head:
        reinit_weights(model, parts.head(model))
        info(f"new head: {', '.join(parts.module_name(model, part) for part in parts.head(model))}.")
    if arguments.classifier_dropout is not None:
        set_head_dropout(model, arguments.classifier_dropout)
    if arguments.reinit_layers is not None:
        reinit_top_layers(model, arguments.reinit_layers)
    if arguments.freeze_encoder:
        freeze_encoder(model)
    if arguments.freeze_embeddings:
        parts.embeddings(model).requires_grad_(False)
    return model if arguments.lora_rank is None else lora.add_adapter(model, arguments)


def set_head_dropout(model: "PreTrainedModel", dropout: float) -> None:
    """Set the dropout nearest to the classifier, and what the configuration calls it where that has a field for it.

    Raises:
        UserError: there is no dropout above the encoder.
    """
    from torch import nn

    below = set(parts.encoder(model).modules())
    above = [module for module in model.modules() if isinstance(module, nn.Dropout) and module not in below]
    if not above:
        if dropout:
            raise UserError(
                f"--classifier_dropout {dropout}: {model.config.model_type} has no dropout before its classifier.",
                "Pass --classifier_dropout 0.",
            )
        return
    above[-1].p = dropout
    for name in HEAD_DROPOUTS:
        if hasattr(model.config, name):
            setattr(model.config, name, dropout)


def reinit_top_layers(model: "PreTrainedModel", count: int) -> None:
    """Re-initialize the pooler and the top `count` layers; the head stays as it was loaded.

    Zhang et al. 2021, "Revisiting few-sample BERT fine-tuning": the top layers are specialised to pretraining, and
    fine-tuning goes better without what they know.

    Raises:
        UserError: there are fewer layers, or nothing to re-initialize.
    """
    layers = parts.layers(model, "--reinit_layers")
    if count > len(layers):
        raise UserError(f"--reinit_layers {count}: the model has {len(layers)} layers.", f"Pass 0 to {len(layers)}.")
    poolers = parts.poolers(model)
    if not count and not poolers:
        raise UserError("--reinit_layers 0: this model has no pooler.", f"Pass 1 to {len(layers)}.")
    reinit_weights(model, [*poolers, *(module for layer in layers[len(layers) - count :] for module in layer)])
    names = ["the pooler"] * bool(poolers) + [f"the top {count} of {len(layers)} layers"] * bool(count)
    info(f"re-initialized: {' and '.join(names)}.")


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
