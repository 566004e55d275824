"""The metric functions as `evaluate.Metric` objects that need no network and leave no files.

Importing this module imports `evaluate`, which takes seconds: import it inside the function that scores.
"""

import tempfile
from collections.abc import Sequence
from typing import Any

import evaluate
import numpy as np
import numpy.typing as npt
from datasets import Features, Value
from datasets import Sequence as ListOf

from bertlab.data.labels import REGRESSION
from bertlab.evaluation.metrics import METRICS, MetricFunction, Predicted

# The name that Hugging Face's own metrics give to (n, classes) arrays of 0 and 1.
MULTILABEL_CONFIG = "multilabel"


class EvaluateMetric(evaluate.Metric):  # type: ignore[misc]
    """An `evaluate.Metric` of one metric function."""

    def __init__(self, function: MetricFunction, **kwargs: Any) -> None:
        self.function = function
        super().__init__(**kwargs)
        self.info.module_name = function.name

    def _info(self) -> evaluate.MetricInfo:
        labels = Value("float64" if REGRESSION in self.function.problem_types else "int64")
        predictions = Value("float64") if self.function.of_probabilities else labels
        if self.config_name == MULTILABEL_CONFIG:
            labels = ListOf(labels)
        if self.config_name == MULTILABEL_CONFIG or self.function.of_probabilities:
            predictions = ListOf(predictions)
        return evaluate.MetricInfo(
            description=f"{self.function.name}, computed by bertlab.",
            citation="",
            inputs_description="predictions and references of one shape, or probabilities of each class",
            features=Features({"predictions": predictions, "references": labels}),
        )

    def _compute(self, *, predictions: Any = None, references: Any = None, **kwargs: Any) -> dict[str, float]:
        return {self.function.name: self.function(predictions, references)}


def compute(names: Sequence[str], predicted: Predicted, labels: npt.ArrayLike) -> dict[str, float]:
    """Return {name: score} of rows of `METRICS` through `evaluate`, nan for every name when there are no examples.

    Labels are (n,) class ids or float values, or (n, classes) arrays of 0 and 1.

    Raises:
        ValueError: the shapes differ.
    """
    actual = np.asarray(labels)
    if len(actual) == 0:
        return dict.fromkeys(names, float("nan"))
    scores: dict[str, float] = {}
    # evaluate makes a folder even for a metric that keeps everything in memory. One of our own, deleted at once,
    # works where the Hugging Face cache is read-only and cannot collide with another process.
    with tempfile.TemporaryDirectory(prefix="bertlab-metric-") as folder:
        for name in names:
            function = METRICS[name]
            dtype = np.float64 if REGRESSION in function.problem_types else np.int64
            config = MULTILABEL_CONFIG if actual.ndim == 2 else "default"
            metric = EvaluateMetric(function, config_name=config, keep_in_memory=True, cache_dir=folder)
            predictions = function.read(predicted).astype(np.float64 if function.of_probabilities else dtype)
            scores |= metric.compute(predictions=predictions, references=actual.astype(dtype)) or {}
    return scores
