"""Whether a finished fine-tuning run is degenerate (collapsed to one class).

Mosbach et al. (2021) and Dodge et al. (2020) count a run as failed when it is no better than a majority classifier.
Here that is: it predicts one class only, or its training loss in the last epoch is not below that of the best constant
prediction, which is the entropy of the training labels, or their variance in regression.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from bertlab.data.labels import MULTI, REGRESSION, class_weights


def only_class(split: Mapping[str, Any]) -> int | None:
    """Return the class predicted for every example of a split of results.json, or None; None if one class occurs."""
    confusion = split.get("confusion") or []
    actual = [k for k, row in enumerate(confusion) if any(row)]
    predicted = [k for k in range(len(confusion)) if any(row[k] for row in confusion)]
    return predicted[0] if len(predicted) == 1 < len(actual) else None


def is_degenerate(run: Mapping[str, Any], problem_type: str, log: Sequence[Mapping[str, Any]]) -> bool | None:
    """Return True where the training loss of the last epoch is not below the best constant's; None if unknown.

    `run` is run.json and `log` is trainer_state.json's log_history. It is unknown without training, for a loss of
    masked language modeling, and for records of regression without the labels' variance.
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
    counts, rows = train.get("balance", {}), train["labelled"]
    if not counts or not rows:
        return None
    weights = class_weights(problem_type, counts, rows, configuration.get("class_weights", "none"))
    weighted = list(zip(weights or [1.0] * len(counts), (count / rows for count in counts.values()), strict=True))
    if problem_type == MULTI:
        return sum(_entropy([weight * share, 1 - share]) for weight, share in weighted) / len(weighted)
    smoothing = float(configuration.get("label_smoothing_factor", 0))
    return _entropy([weight * ((1 - smoothing) * share + smoothing / len(weighted)) for weight, share in weighted])


def _entropy(weights: Sequence[float]) -> float:
    """Return the cross entropy of the best constant against class weights that may not sum to 1."""
    total = sum(weights)
    return -sum(weight * math.log(weight / total) for weight in weights if weight > 0)
