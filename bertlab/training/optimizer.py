"""Learning rates that fall from the head of a model to its embeddings."""

from collections import defaultdict
from typing import Any

from torch import nn
from torch.optim import Optimizer

from bertlab.errors import UserError
from bertlab.models import parts

FLAG = "--layerwise_lr_decay"


def layerwise_learning_rates(model: nn.Module, learning_rate: float, decay: float) -> dict[int, float]:
    """Return the learning rate at every step below the head that has something to train, the head's first.

    The method is that of ELECTRA's fine-tuning (Clark et al. 2020): each step down multiplies the rate by `decay`.

    Raises:
        UserError: the model has no stack of layers.
    """
    steps = parts.layer_depths(model, FLAG)
    trained = {steps[id(value)] for value in model.parameters() if value.requires_grad}
    return {step: learning_rate * decay**step for step in sorted(trained)}


def apply_layerwise_lr_decay(optimizer: Optimizer, model: nn.Module, decay: float) -> None:
    """Split each parameter group of a new optimizer by depth, and lower the rate of each part.

    All else about a group stays, weight decay first of all. Groups come from the head down, so that the rate that
    Trainer logs, the first group's, is the head's.

    Raises:
        UserError: this kind of optimizer does not train the model by parameter groups, or the model has no layers.
    """
    _refuse_other_optimizers(optimizer, model)
    steps = parts.layer_depths(model, FLAG)
    split_groups: list[tuple[int, dict[str, Any]]] = []
    for group in optimizer.param_groups:
        values = defaultdict(list)
        for value in group["params"]:
            values[steps[id(value)]].append(value)
        split_groups += [
            (step, {**group, "params": found, "lr": group["lr"] * decay**step}) for step, found in values.items()
        ]
    optimizer.param_groups[:] = [group for _, group in sorted(split_groups, key=lambda part: part[0])]


def depth_name(model: nn.Module, step: int) -> str:
    """Return what lies `step` steps below the head, in words."""
    count = len(parts.layers(model, FLAG))
    if step == 0:
        return "head"
    return "embeddings" if step > count else f"layer {count - step + 1} of {count}"


def _refuse_other_optimizers(optimizer: Optimizer, model: nn.Module) -> None:
    # LOMO steps inside the backward pass, and layer-wise GaLore and APOLLO keep an optimizer for each parameter.
    held = {id(value) for group in optimizer.param_groups for value in group["params"]}
    trained = {id(value) for value in model.parameters() if value.requires_grad}
    if held != trained or "lomo" in type(optimizer).__name__.lower():
        raise UserError(
            f"{FLAG}: {type(optimizer).__name__} takes no learning rate for each group of parameters.",
            "Use --optim adamw_torch_fused.",
        )
