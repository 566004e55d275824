"""Whether a finished fine-tuning run failed in the literature's sense: it learned nothing.

Mosbach et al. (2021) and Dodge et al. (2020) count a run as failed when it does no better than a majority classifier.
Here that is: one class is all it predicts, or its training loss in the last epoch is not below that of the best
constant prediction, which is the entropy of the training labels, or their variance in regression.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from bertlab.data.labels import MULTI, REGRESSION


def only_class(split: Mapping[str, Any]) -> int | None:
    """Return the class that all rows of a split of results.json are predicted to be, or None; one row tells none."""
    confusion = split.get("confusion")
    if not confusion or split["labelled"] < 2:
        return None
    said = [k for k in range(len(confusion)) if any(row[k] for row in confusion)]
    return said[0] if len(said) == 1 else None


def is_degenerate(run: Mapping[str, Any], problem_type: str, log: Sequence[Mapping[str, Any]]) -> bool | None:
    """Return True where the training loss of the last epoch is not below the best constant's; None if unknown.

    `run` is run.json and `log` is trainer_state.json's log_history. It is unknown without training, for a loss that
    counts masked words as well, and for records of regression that do not hold the labels' variance.
    """
    loss, constant = last_epoch_loss(log), constant_loss(run, problem_type)
    if loss is None or constant is None:
        return None
    return loss >= constant


def last_epoch_loss(log: Sequence[Mapping[str, Any]]) -> float | None:
    """Return the mean of the training losses logged during the last epoch, or None where none was logged."""
    logged = [(entry["epoch"], entry["loss"]) for entry in log if "loss" in entry and "epoch" in entry]
    if not logged:
        return None
    last = max(epoch for epoch, _ in logged)
    losses = [loss for epoch, loss in logged if epoch > last - 1]
    return float(sum(losses) / len(losses))


def constant_loss(run: Mapping[str, Any], problem_type: str) -> float | None:
    """Return the loss of the best prediction that is the same for every training row, or None if it is unknown."""
    configuration = run.get("configuration", {})
    train = run.get("data", {}).get(configuration.get("train_split_name", "train"))
    if train is None or "mlm" in configuration.get("objective", ""):
        return None
    if problem_type == REGRESSION:
        variance: float | None = train.get("label_variance")
        return variance
    counts = list(train.get("balance", {}).values())
    if not counts or not train["labelled"]:
        return None
    shares = [count / train["labelled"] for count in counts]
    if problem_type == MULTI:
        return sum(_entropy([share, 1 - share]) for share in shares) / len(shares)
    return _entropy(_targets(shares, configuration))


def _targets(shares: Sequence[float], configuration: Mapping[str, Any]) -> list[float]:
    """Return how the loss weighs each class: by its share, its class weight and label smoothing, as torch does."""
    smoothing, classes = float(configuration.get("label_smoothing_factor", 0)), len(shares)
    balanced = configuration.get("class_weights") == "balanced"
    weights = [1 / (classes * share) if balanced and share else 1.0 for share in shares]
    return [w * ((1 - smoothing) * share + smoothing / classes) for w, share in zip(weights, shares, strict=True)]


def _entropy(weights: Sequence[float]) -> float:
    """Return the cross entropy of the best constant against class weights that may not sum to 1."""
    total = sum(weights)
    return -sum(weight * math.log(weight / total) for weight in weights if weight > 0)
