"""The optimizer: settings that it does not know, and learning rates that fall from a model's head to its embeddings."""

import copy
import re
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.optim import Optimizer
from transformers import Trainer
from transformers.training_args import OptimizerNames

from bertlab.errors import UserError
from bertlab.models import parts

if TYPE_CHECKING:
    from transformers import TrainingArguments

FLAG = "--layerwise_lr_decay"


def check_optimizer(args: "TrainingArguments", model: Any) -> None:
    """Refuse an optimizer that is not installed or cannot be made, and settings of it that change nothing.

    Raises:
        UserError: it is one of these.
    """
    name, flag = OptimizerNames(args.optim).value, f"--optim_args {args.optim_args}"
    if name.endswith("layerwise"):
        return  # to ask for it attaches it to the model's gradients
    pairs = args.optim_args.replace(" ", "").split(",") if args.optim_args else []
    if not all(re.fullmatch("[^=]+=[^=]+", pair) for pair in pairs):
        raise UserError(f"{flag}: not of the form key=value,key=value.", "For example momentum=0.9,nesterov=true.")
    try:
        made, settings = found = Trainer.get_optimizer_cls_and_kwargs(args, model)
        if made.__module__.startswith("torch.optim"):
            made([nn.Parameter(torch.zeros(1))], **settings)
        for pair in pairs:
            others = copy.copy(args)
            others.optim_args = ",".join(other for other in pairs if other != pair)
            if Trainer.get_optimizer_cls_and_kwargs(others, model) == found:
                raise UserError(f"{flag}: {pair} changes nothing about {name}.", "Leave it out.")
    except (ImportError, ValueError) as error:
        reason = str(error).rstrip(".")
        mended = "Install it" if isinstance(error, ImportError) else "Change that"
        raise UserError(f"--optim {name}: {reason}.", f"{mended}, or leave --optim out.") from error


def layerwise_learning_rates(model: nn.Module, learning_rate: float, decay: float) -> dict[str, float]:
    """Return the learning rate of the head, of each layer and of the embeddings, as far as they have trained weights.

    The method is that of ELECTRA's fine-tuning (Clark et al. 2020): each depth below the head multiplies by `decay`.

    Raises:
        UserError: the model has no stack of layers.
    """
    depths, layers = parts.layer_depths(model, FLAG), len(parts.layers(model, FLAG))
    trained = sorted({depths[id(value)] for value in model.parameters() if value.requires_grad})
    names = ["head", *(f"layer {layers - index} of {layers}" for index in range(layers)), "embeddings"]
    return {names[depth]: learning_rate * decay**depth for depth in trained}


def apply_layerwise_lr_decay(optimizer: Optimizer, model: nn.Module, decay: float) -> None:
    """Split each parameter group of a new optimizer by depth, and lower the rate of each part.

    All else about a group stays, weight decay first of all. Groups come from the head down, so that the rate that
    Trainer logs, the first group's, is the head's.

    Raises:
        UserError: this kind of optimizer does not train the model by parameter groups, or the model has no layers.
    """
    _refuse_other_optimizers(optimizer, model)
    depths = parts.layer_depths(model, FLAG)
    by_depth: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for group in optimizer.param_groups:
        parameters = defaultdict(list)
        for value in group["params"]:
            parameters[depths[id(value)]].append(value)
        for depth, values in parameters.items():
            by_depth[depth].append({**group, "params": values, "lr": group["lr"] * decay**depth})
    optimizer.param_groups[:] = [group for depth in sorted(by_depth) for group in by_depth[depth]]


def _refuse_other_optimizers(optimizer: Optimizer, model: nn.Module) -> None:
    # LOMO steps inside the backward pass, and layer-wise GaLore and APOLLO keep an optimizer for each parameter.
    held = {id(value) for group in optimizer.param_groups for value in group["params"]}
    trained = {id(value) for value in model.parameters() if value.requires_grad}
    if held != trained or "lomo" in type(optimizer).__name__.lower():
        raise UserError(
            f"{FLAG}: {type(optimizer).__name__} takes no learning rate for each group of parameters.",
            "Use --optim adamw_torch_fused.",
        )
