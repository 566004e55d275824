"""A finished run, read back from its folder: the facts that everything drawn is drawn from."""

import csv
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from bertlab.data.labels import MULTI, REGRESSION
from bertlab.errors import UserError
from bertlab.io import read_json, unescape_formula
from bertlab.models import lora
from bertlab.report.misclassified import ERROR
from bertlab.report.predictions import LABEL_SEPARATOR
from bertlab.training.output_dir import FINISHED

PROBABILITY = "probability_"
# What baselines are called in front of people; any other goes by its key.
BASELINE_NAMES = {
    "majority": "majority class",
    "mean": "mean of the training labels",
    "bag_of_words": "bag of words",
    "before_training": "this model before training",
    "zero_shot": "zero-shot",
}


@dataclass(frozen=True)
class Predictions:
    """predictions/<split>.tsv by column: as written, and probabilities as an array (rows, classes)."""

    idx: list[str]
    labels: list[str]
    predictions: list[str]
    probabilities: np.ndarray


@dataclass(frozen=True)
class Misclassified:
    """One row of errors/<split>.tsv; `confidence` is a probability, or the absolute error in regression."""

    split: str
    idx: str
    label: str
    prediction: str
    confidence: float
    tokens: int
    truncated: bool
    text: str
    text_pair: str


@dataclass(frozen=True)
class RunFolder:
    """The facts of one finished run. `log` is the Trainer's log_history, empty where nothing was trained."""

    path: Path
    results: dict[str, Any]
    run: dict[str, Any]
    log: list[dict[str, Any]]
    mistakes: dict[str, list[Misclassified]]

    @classmethod
    def read(cls, path: Path | str, run: dict[str, Any] | None = None) -> "RunFolder":
        """Return the facts of the run in a folder; `run` is what run.json will say where it is still to be written.

        Raises:
            UserError: the folder is not there, is not a finished run, or one of its files cannot be read.
        """
        folder = Path(path)
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder.", "Name the --output_dir of a finished run.")
        for name in ("results.json", "run.json") if run is None else ("results.json",):
            if not (folder / name).is_file():
                raise UserError(
                    f"{folder} is not a finished run: {name} is missing.",
                    "A run writes it at its end; --resume auto finishes one that was stopped.",
                )
        results = read_json(folder / "results.json")
        run = read_json(folder / "run.json") if run is None else run
        if not isinstance(results.get("splits"), dict) or "problem_type" not in results:
            raise UserError(f"{folder / 'results.json'} was not written by this program.", "Name a run's folder.")
        state = folder / "trainer_state.json"
        # Without training there is no such file, or one that the model brought with it from an earlier run.
        log = read_json(state).get("log_history", []) if state.is_file() and _trained(run) else []
        mistakes = {name: list(_misclassified(folder / "errors" / f"{name}.tsv", name)) for name in results["splits"]}
        return cls(folder, results, run, log, mistakes)

    @property
    def name(self) -> str:
        """The folder's own name, without the path to it."""
        return self.path.resolve().name

    @property
    def kind(self) -> str:
        """The problem type: single_label_classification, multi_label_classification or regression."""
        return self.results["problem_type"]

    @property
    def is_regression(self) -> bool:
        """True where the model gives a number."""
        return self.kind == REGRESSION

    @property
    def is_multi_label(self) -> bool:
        """True where a row can have several labels."""
        return self.kind == MULTI

    @property
    def class_names(self) -> list[str]:
        """The classes in the order of their ids; none in regression."""
        return list(self.results.get("class_names") or [])

    @property
    def metrics(self) -> list[str]:
        """The reported metrics; the first one leads."""
        return list(self.results.get("metrics") or [])

    @property
    def thresholds(self) -> dict[str, float]:
        """The probability from which on each label is predicted, where these were fitted; else nothing."""
        return dict(zip(self.class_names, self.results.get("thresholds") or [], strict=False))

    @property
    def configuration(self) -> dict[str, Any]:
        """Every setting of the run by its flag."""
        return self.run.get("configuration") or {}

    @property
    def scored(self) -> dict[str, dict[str, Any]]:
        """The splits that have scores, in order."""
        return {name: told for name, told in self.results["splits"].items() if told.get("metrics")}

    @property
    def main_split(self) -> str | None:
        """The scored split the run is judged by: the one of the published value, or the first; None without any."""
        wanted = (self.results.get("published") or {}).get("split")
        return wanted if wanted in self.scored else next(iter(self.scored), None)

    @property
    def eval_split(self) -> str:
        """The split that was scored during training: as recorded, or as follows from the splits there are."""
        recorded = self.run.get("eval_split")
        if recorded:
            return str(recorded)
        if "selection" in (self.run.get("data") or {}):
            return "selection"
        of_validation = (name for name, told in self.results["splits"].items() if told.get("role") == "validation")
        return next(of_validation, "validation")

    @property
    def evaluations(self) -> list[dict[str, Any]]:
        """The log entries that hold scores of the watched split, in order of steps."""
        return [entry for entry in self.log if any(key.startswith("eval_") for key in entry)]

    @cached_property
    def is_pair(self) -> bool:
        """True where the model reads two texts at once."""
        if "pairs" in self.run:
            return bool(self.run["pairs"])
        columns = self.configuration.get("text_column_names") or []
        joined = self.configuration.get("text_column_delimiter")
        seen = any(mistake.text_pair for rows in self.mistakes.values() for mistake in rows)
        return seen or (len(columns) == 2 and not joined)

    @property
    def is_adapter(self) -> bool:
        """True where the folder holds an adapter on another model."""
        return lora.is_adapter(self.path)

    @cached_property
    def architecture(self) -> str:
        """The model class that config.json names (of an adapter: base_config/config.json), or nothing."""
        path = self.path / ("base_config" if self.is_adapter else ".") / "config.json"
        names = read_json(path).get("architectures") if path.is_file() else None
        return str(names[0]) if names else ""

    @property
    def fills_masks(self) -> bool:
        """True for a model of masked words alone, which says nothing of a whole text."""
        return self.architecture.endswith("ForMaskedLM")

    def predictions(self, split: str) -> Predictions:
        """Return the predictions for one split, read anew at each call.

        Raises:
            UserError: the file is missing or cannot be read.
        """
        path = self.path / "predictions" / f"{split}.tsv"
        if not path.is_file():
            raise UserError(f"{path} is missing.", "The run is not whole; train it again.")
        rows = list(_rows(path))
        try:
            probabilities = [[float(v) for k, v in row.items() if k.startswith(PROBABILITY)] for row in rows]
            idx = [row["idx"] for row in rows]
            labels, said = ([unescape_formula(row[name]) for row in rows] for name in ("label", "prediction"))
        except (KeyError, ValueError, TypeError) as error:
            raise UserError(f"{path} cannot be read: {error}.", "The run is not whole; train it again.") from error
        width = len(probabilities[0]) if probabilities else 0
        return Predictions(idx, labels, said, np.asarray(probabilities).reshape(len(rows), width))


def split_labels(text: str, class_names: Sequence[str]) -> list[str]:
    """Return the class names in a cell of a row that can have several, written in the order of `class_names`.

    Names that hold the separator themselves are found whole; what is no class is returned as it stands.
    """
    found, rest = [], text
    for name in class_names:
        if rest == name or rest.startswith(name + LABEL_SEPARATOR):
            found.append(name)
            rest = rest[len(name) + len(LABEL_SEPARATOR) :]
    return [*found, rest] if rest else found


def _trained(run: dict[str, Any]) -> bool:
    return (run.get("configuration") or {}).get("do_train", True) is not False


def _misclassified(path: Path, split: str) -> Iterator[Misclassified]:
    if not path.is_file():
        return
    try:
        for row in _rows(path):
            yield Misclassified(
                split=split,
                idx=row["idx"],
                label=unescape_formula(row["label"]),
                prediction=unescape_formula(row["prediction"]),
                # Earlier versions called an absolute error a confidence.
                confidence=float(row[ERROR] if ERROR in row else row["confidence"]),
                tokens=int(row["tokens"]),
                truncated=row["truncated"] == "yes",
                text=unescape_formula(row["text"]),
                text_pair=unescape_formula(row["text_pair"]),
            )
    except (KeyError, ValueError, TypeError) as error:
        raise UserError(f"{path} cannot be read: {error}.", "The run is not whole; train it again.") from error


def _rows(path: Path) -> Iterator[dict[str, str]]:
    # The default limit of 128 KiB a cell is less than a long document; 32-bit platforms cannot take sys.maxsize.
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            yield from csv.DictReader(stream, delimiter="\t")
    except (OSError, csv.Error, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}.", "The run is not whole; train it again.") from error


def runs_in(folder: Path) -> list[Path]:
    """Return a finished run's folder itself, or those of all finished runs of a suite."""
    found = [] if (folder / FINISHED).is_file() else sorted(path.parent for path in folder.rglob(f"seed*/{FINISHED}"))
    return found or [folder]


def model_name(configuration: dict[str, Any]) -> str:
    """Return what a run's model is called: the last part of its name, or that of the package it came in."""
    name = str(configuration.get("model_name_or_path", "scratch"))
    if configuration.get("from_scratch") in (True, "true"):
        return "scratch"
    return (
        name.removeprefix("package:").split("/")[0] if name.startswith("package:") else name.rstrip("/").split("/")[-1]
    )
