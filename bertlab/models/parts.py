"""The parts of a model: embeddings, stack of layers, pooler, head; found by structure, not by model type."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from bertlab.errors import UserError

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

POOLER = "pooler"
# The parts of an encoder above its layers; whatever else is outside the stack belongs to the embeddings.
ABOVE_LAYERS = (POOLER, "final_norm")


def unwrap(model: Any) -> "PreTrainedModel":
    """Return the model inside peft's wrapper, or the model itself."""
    inner: PreTrainedModel = model.get_base_model() if hasattr(model, "get_base_model") else model
    return inner


def encoder(model: "nn.Module") -> "nn.Module":
    """Return the encoder under a head."""
    return unwrap(model).base_model


def layers(model: "nn.Module", flag: str) -> "nn.ModuleList":
    """Return the stack of layers, the lowest first; `flag` is the one that needs it.

    Raises:
        UserError: the model has no such stack, or shares one layer's weights among all of them.
    """
    from torch import nn

    config = unwrap(model).config
    stacks = [
        module
        for module in encoder(model).modules()
        if isinstance(module, nn.ModuleList) and len(module) == config.num_hidden_layers
    ]
    if not stacks:
        raise UserError(f"{flag}: {config.model_type} keeps no separate layers.", "Leave the flag out.")
    return max(stacks, key=lambda stack: sum(value.numel() for value in stack.parameters()))


def embeddings(model: "nn.Module") -> "nn.Module":
    """Return the embeddings with their normalisation, or the word embeddings of a model without such a module."""
    return getattr(encoder(model), "embeddings", None) or unwrap(model).get_input_embeddings()


def poolers(model: "nn.Module") -> "list[nn.Module]":
    """Return the pooler: in the encoder (BERT), beside the head (DeBERTa), or none (DistilBERT, ModernBERT)."""
    owners = dict.fromkeys((encoder(model), unwrap(model)))
    return [owner.get_submodule(POOLER) for owner in owners if getattr(owner, POOLER, None) is not None]


def head(model: "nn.Module") -> "list[nn.Module]":
    """Return the modules with parameters above the encoder and its pooler."""
    below = [encoder(model), *poolers(model)]
    return [child for child in unwrap(model).children() if child not in below and any(True for _ in child.parameters())]


def unshared_modules(module: "nn.Module", shared: set[int]) -> "Iterator[nn.Module]":
    """Yield the largest modules in `module`, itself included, that have parameters and none of the `shared` ids."""
    ids = {id(value) for value in module.parameters()}
    if ids and not ids & shared:
        yield module
    elif ids:
        for child in module.children():
            yield from unshared_modules(child, shared)


def module_name(model: "nn.Module", module: "nn.Module") -> str:
    """Return the dotted name of a module inside a model."""
    return str(next(name for name, other in model.named_modules() if other is module))


def layer_depths(model: "nn.Module", flag: str) -> dict[int, int]:
    """Return for the id of every parameter its depth: head and pooler 0, the top of n layers 1, embeddings n + 1.

    Raises:
        UserError: the model has no stack of layers.
    """
    stack = layers(model, flag)
    depths = {id(value): 0 for value in unwrap(model).parameters()}
    for name, value in encoder(model).named_parameters():
        if not name.startswith(ABOVE_LAYERS):
            depths[id(value)] = len(stack) + 1
    for index, layer in enumerate(stack):
        depths.update({id(value): len(stack) - index for value in layer.parameters()})
    return depths
