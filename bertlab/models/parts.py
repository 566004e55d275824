"""Where the parts of an encoder are: embeddings, stack of layers, pooler, head; found by shape, not by model type."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from bertlab.errors import UserError

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

POOLER = "pooler"
# Of an encoder, what stands above its layers; all else outside them (embeddings and what goes with them) is below.
ABOVE_LAYERS = (POOLER, "final_norm")


def plain(model: Any) -> "PreTrainedModel":
    """Return the model inside PEFT's wrapper, or the model itself."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def encoder(model: "nn.Module") -> "nn.Module":
    """Return the encoder under a head."""
    return plain(model).base_model


def layers(model: "nn.Module", flag: str) -> "nn.ModuleList":
    """Return the stack of layers, the lowest first; `flag` is what needs it.

    Raises:
        UserError: the model has no such stack, or one layer's weights serve as all of them.
    """
    from torch import nn

    config = plain(model).config
    stacks = [
        module
        for module in encoder(model).modules()
        if isinstance(module, nn.ModuleList) and len(module) == config.num_hidden_layers
    ]
    if not stacks:
        raise UserError(f"{flag}: {config.model_type} keeps no separate layers.", "Leave the flag out.")
    return max(stacks, key=lambda stack: sum(value.numel() for value in stack.parameters()))


def embeddings(model: "nn.Module") -> "nn.Module":
    """Return all embeddings with their normalisation, or the word matrix of a model that keeps them apart."""
    found = getattr(encoder(model), "embeddings", None)
    return plain(model).get_input_embeddings() if found is None else found


def poolers(model: "nn.Module") -> "list[nn.Module]":
    """Return the pooler: in the encoder (BERT), beside the head (DeBERTa), or none (DistilBERT, ModernBERT)."""
    owners = dict.fromkeys((encoder(model), plain(model)))
    found = [getattr(owner, POOLER, None) for owner in owners]
    return [module for module in found if module is not None]


def head(model: "nn.Module") -> "list[nn.Module]":
    """Return the modules with parameters that stand on the encoder and its pooler."""
    below = [encoder(model), *poolers(model)]
    return [child for child in plain(model).children() if child not in below and any(True for _ in child.parameters())]


def own(module: "nn.Module", shared: set[int]) -> "Iterator[nn.Module]":
    """Yield the largest modules in `module`, itself included, that have parameters and none of the `shared` ids."""
    ids = {id(value) for value in module.parameters()}
    if ids and not ids & shared:
        yield module
    elif ids:
        for child in module.children():
            yield from own(child, shared)


def name_of(model: "nn.Module", wanted: "nn.Module") -> str:
    """Return the dotted name of a module inside a model."""
    return next(name for name, module in model.named_modules() if module is wanted)


def layer_depths(model: "nn.Module", flag: str) -> dict[int, int]:
    """Return for the id of every parameter how many steps it lies below the head.

    Head and pooler are 0, the top layer 1, the lowest of n layers n, the embeddings n + 1.

    Raises:
        UserError: the model has no stack of layers.
    """
    stack = layers(model, flag)
    steps = {id(value): 0 for value in plain(model).parameters()}
    for name, value in encoder(model).named_parameters():
        if not name.startswith(ABOVE_LAYERS):
            steps[id(value)] = len(stack) + 1
    for index, layer in enumerate(stack):
        steps.update({id(value): len(stack) - index for value in layer.parameters()})
    return steps
