"""The parts of a model: embeddings, stack of layers, pooler, head; found by structure, not by model type."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from bertlab.errors import UserError

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

POOLER = "pooler"


def unwrap(model: Any) -> "PreTrainedModel":
    """Return the model inside peft's wrapper, or the model itself."""
    inner: PreTrainedModel = model.get_base_model() if hasattr(model, "get_base_model") else model
    return inner


def encoder(model: "nn.Module") -> "nn.Module":
    """Return the encoder under a head."""
    return unwrap(model).base_model


def layers(model: "nn.Module", flag: str) -> "list[list[nn.Module]]":
    """Return the modules of each layer, the lowest first, a decoder's above its encoder's; `flag` needs them.

    Raises:
        UserError: the model has no such stack, or shares one layer's weights among all of them.
    """
    config, base = unwrap(model).config, encoder(model)
    halves = [base.get_submodule(name) for name in ("encoder", "decoder")] if config.is_encoder_decoder else [base]
    found = [layer for half in halves for layer in _stack(half)]
    if len(found) < config.num_hidden_layers:
        raise UserError(f"{flag}: {config.model_type} keeps no separate layers.", "Leave the flag out.")
    return found


def _stack(module: "nn.Module") -> "list[list[nn.Module]]":
    """Return the modules of each layer, which XLM keeps in four lists side by side, and others in one."""
    from torch import nn

    siblings = ([part for part in owner.children() if isinstance(part, nn.ModuleList)] for owner in module.modules())
    lists = max(siblings, key=lambda lists: sum(value.numel() for part in lists for value in part.parameters()))
    return [list(layer) for layer in zip(*lists, strict=False)]


def word_embeddings(model: "nn.Module") -> "nn.Module | None":
    """Return the word embeddings, or None for a model of characters (CANINE)."""
    try:
        return unwrap(model).get_input_embeddings()
    except NotImplementedError:
        return None


def embeddings(model: "nn.Module") -> "nn.Module":
    """Return the embeddings with their normalization, or the word embeddings of a model without such a module."""
    base = encoder(model)
    return getattr(base, "embeddings", None) or word_embeddings(model) or base.get_submodule("char_embeddings")


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

    What is registered before the layers belongs to the embeddings, and what comes after them is above the last one.

    Raises:
        UserError: the model has no stack of layers.
    """
    from torch import nn

    stack = layers(model, flag)
    within = {
        module: len(stack) - index for index, layer in enumerate(stack) for part in layer for module in part.modules()
    }
    depths = {id(value): 0 for value in unwrap(model).parameters()}
    bottom = outside = len(stack) + 1
    for name, module in encoder(model).named_modules():
        if name.startswith(POOLER):
            continue
        if isinstance(module, nn.Embedding):
            # Also of relative positions: T5 has them in its lowest layer, DeBERTa behind the layers, then their norm.
            depth = outside = bottom
        elif module in within:
            depth = within[module]
            outside = depth - 1
        else:
            # BART registers the norm of its embeddings behind the layers, before the final norm of mBART.
            depth = bottom if "embed" in name else outside
        depths.update({id(value): depth for value in module.parameters(recurse=False)})
    return depths
