"""The metric functions of `scores.py` as `evaluate.Metric` objects that need no network and leave no files.

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

from bertlab.evaluation.metrics import REGRESSION, MetricFunction, metric_function

MULTILABEL_CONFIG = "multilabel"


class TableMetric(evaluate.Metric):
    """An `evaluate.Metric` for one row of the table of metrics.

    `config_name="multilabel"` expects (n, labels) arrays of 0 and 1, as it does for Hugging Face's own metrics.
    """

    def __init__(self, function: MetricFunction, **kwargs: Any) -> None:
        self.function = function
        super().__init__(**kwargs)
        self.info.module_name = function.name

    def _info(self) -> evaluate.MetricInfo:
        element = Value("float64" if REGRESSION in self.function.problem_types else "int64")
        column = ListOf(element) if self.config_name == MULTILABEL_CONFIG else element
        return evaluate.MetricInfo(
            description=f"{self.function.name}, computed by bertlab.",
            citation="",
            inputs_description="predictions and references of one shape",
            features=Features({"predictions": column, "references": column}),
        )

    def _compute(self, *, predictions: Any = None, references: Any = None, **kwargs: Any) -> dict[str, float]:
        return {self.function.name: self.function(predictions, references)}


def load(name: str, config_name: str = "default") -> TableMetric:
    """Return the metric `name` as an `evaluate.Metric`, the offline counterpart of `evaluate.load`.

    Raises UserError for a name that is not in `METRICS`.
    """
    function = metric_function(name)
    # evaluate makes a folder even for a metric that keeps everything in memory. One of our own, deleted at once,
    # works where the Hugging Face cache is read-only and cannot collide with another process.
    with tempfile.TemporaryDirectory(prefix="bertlab-metric-") as folder:
        return TableMetric(function, config_name=config_name, keep_in_memory=True, cache_dir=folder)


def compute(names: Sequence[str], predictions: npt.ArrayLike, references: npt.ArrayLike) -> dict[str, float]:
    """Return {name: score} through `evaluate`, nan for every name when there are no examples.

    Predictions and references are (n,) class ids or float values, or (n, labels) arrays of 0 and 1. Raises UserError
    for an unknown name or a two-class metric given more classes, ValueError for shapes that do not match the metric.
    """
    predicted, actual = np.asarray(predictions), np.asarray(references)
    functions = [metric_function(name) for name in names]
    if predicted.shape != actual.shape:
        raise ValueError(f"predictions {predicted.shape} and references {actual.shape} do not match")
    if len(actual) == 0:
        return {function.name: float("nan") for function in functions}
    config_name = MULTILABEL_CONFIG if actual.ndim == 2 else "default"
    results: dict[str, float] = {}
    for function in functions:
        dtype = np.float64 if REGRESSION in function.problem_types else np.int64
        columns = {"predictions": predicted.astype(dtype), "references": actual.astype(dtype)}
        results |= load(function.name, config_name).compute(**columns) or {}
    return results
