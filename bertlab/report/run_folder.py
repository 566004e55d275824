"""A finished run, read back from its folder, for everything that is rendered from it."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from bertlab.data.labels import MULTI, REGRESSION
from bertlab.errors import UserError
from bertlab.evaluation import degenerate
from bertlab.io import no_such_model, read_json
from bertlab.models import lora
from bertlab.report import misclassified, predictions, scores
from bertlab.report.predictions import Predictions
from bertlab.training.output_dir import FINISHED


@dataclass(frozen=True)
class RunFolder:
    """The files of one finished run; `log` and `best_step` are of the Trainer's state, empty without training."""

    path: Path
    results: dict[str, Any]
    run: dict[str, Any]
    log: list[dict[str, Any]]
    best_step: int | None = None

    @classmethod
    def read(cls, path: Path | str, run: dict[str, Any] | None = None) -> "RunFolder":
        """Return the run in a folder; `run` is the content of run.json where it is still to be written.

        Raises:
            UserError: the folder does not exist, is not a finished run, or one of its files cannot be read.
        """
        folder = Path(path)
        if not folder.is_dir():
            raise no_such_model(str(folder))
        for name in ("results.json", "run.json") if run is None else ("results.json",):
            if not (folder / name).is_file():
                inside = [path.parent for form in ("*", "*/*") for path in sorted(folder.glob(f"{form}/{FINISHED}"))]
                hint = "A run writes it at its end; --resume auto finishes one that was stopped."
                raise UserError(
                    f"{folder} is not a finished run: {name} is missing.",
                    f"It holds finished runs: name one of them, such as {inside[0]}." if inside else hint,
                )
        results = read_json(folder / "results.json")
        run = read_json(folder / "run.json") if run is None else run
        if not isinstance(results.get("splits"), dict) or "problem_type" not in results:
            raise UserError(f"{folder / 'results.json'} was not written by this program.", "Name a run's folder.")
        state_file = folder / "trainer_state.json"
        # Without training there is no such file, or one that came with the model from an earlier run.
        trains = (run.get("configuration") or {}).get("do_train", True) is not False
        state = read_json(state_file) if state_file.is_file() and trains else {}
        return cls(folder, results, run, state.get("log_history", []), state.get("best_global_step"))

    @cached_property
    def misclassified(self) -> dict[str, list[Any]]:
        """The misclassified examples of every split.

        Raises:
            UserError: one of their files cannot be read.
        """
        return {name: misclassified.read(self.path, name) for name in self.results["splits"]}

    @property
    def name(self) -> str:
        """The folder's own name, without the path to it."""
        return self.path.resolve().name

    @property
    def kind(self) -> str:
        """The problem type: single_label_classification, multi_label_classification or regression."""
        return str(self.results["problem_type"])

    @property
    def is_regression(self) -> bool:
        """True where the labels are numbers."""
        return self.kind == REGRESSION

    @property
    def is_multi_label(self) -> bool:
        """True where an example can have several labels."""
        return self.kind == MULTI

    @property
    def class_names(self) -> list[str]:
        """The classes in the order of their ids; none in regression."""
        return list(self.results.get("class_names") or [])

    @property
    def metrics(self) -> list[str]:
        """The reported metrics; the first is the primary one."""
        return list(self.results.get("metrics") or [])

    @property
    def thresholds(self) -> dict[str, float]:
        """The fitted threshold of each class, if there are any."""
        return dict(zip(self.class_names, self.results.get("thresholds") or [], strict=False))

    @property
    def seed(self) -> int:
        """The seed of the training."""
        return int(self.run["seed"])

    @property
    def configuration(self) -> dict[str, Any]:
        """Every setting of the run by its flag."""
        return self.run.get("configuration") or {}

    @property
    def data(self) -> dict[str, dict[str, Any]]:
        """The summary of every split, training rows included."""
        return self.run.get("data") or {}

    def fingerprint(self, split: str) -> str | None:
        """Return the hash of the texts and labels of a split, or None where the run did not read it."""
        return self.data.get(split, {}).get("fingerprint")

    @property
    def scored(self) -> dict[str, dict[str, Any]]:
        """The splits that have scores, in order."""
        return scores.scored_splits(self.results)

    @property
    def main_split(self) -> str | None:
        """The scored split the run is judged by, or None."""
        return scores.main_split(self.results)

    @property
    def eval_split(self) -> str:
        """The evaluation split during training."""
        return str(self.run.get("eval_split") or "validation")

    @property
    def evaluations(self) -> list[dict[str, Any]]:
        """The log entries of evaluations during training, in order of steps."""
        return [entry for entry in self.log if any(key.startswith("eval_") for key in entry)]

    @property
    def selected(self) -> dict[str, Any] | None:
        """The log entry of the evaluation whose weights were kept as the best; None where the last ones were kept."""
        loads_best = self.configuration.get("load_best_model_at_end", self.results.get("selection") is not None)
        best = (entry for entry in self.evaluations if entry["step"] == self.best_step)
        return next(best, None) if loads_best else None

    @property
    def is_pair(self) -> bool:
        """True where the input is a pair of texts."""
        return bool(self.run.get("pairs"))

    @property
    def is_trained(self) -> bool:
        """True where this run trained the model."""
        return self.configuration.get("do_train", True) is not False and (self.run.get("plan") or {}).get("steps") != 0

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
        """True for a masked language model, which does not classify texts."""
        return self.architecture.endswith("ForMaskedLM")

    @property
    def is_nsp(self) -> bool:
        """True for a model with a next-sentence head."""
        return self.architecture.endswith(("ForNextSentencePrediction", "ForPreTraining"))

    def is_degenerate(self, split: str) -> bool:
        """Return True where the training loss is no better than a constant's, or all predictions are of one class."""
        if degenerate.only_class(self.results["splits"][split]) is not None:
            return True
        return bool(degenerate.is_degenerate(self.run, self.kind, self.log))

    def training_log(self) -> list[dict[str, Any]]:
        """Return one row per evaluation, or per epoch without any: epoch, step, mean training loss since, eval_*."""
        keys = {"eval_loss", *(f"eval_{name}" for name in self.metrics)}
        log = [entry for entry in self.log if scores.is_number(entry.get("loss")) or keys & entry.keys()]
        rows: list[dict[str, Any]] = []
        losses: list[float] = []
        steps: list[int] = []
        logged = 0
        for entry, following in zip(log, [*log[1:], {}], strict=False):
            if scores.is_number(entry.get("loss")):
                losses.append(entry["loss"])
                # Trainer logs the mean since its last log, over fewer steps just before an evaluation.
                steps.append(max(1, entry["step"] - logged))
                logged = entry["step"]
            measured = {key: value for key, value in entry.items() if key in keys}
            ends_epoch = following.get("epoch", math.inf) > math.ceil(entry["epoch"])
            if measured or (ends_epoch and not self.evaluations):
                mean = float(np.average(losses, weights=steps)) if losses else None
                rows.append({"epoch": entry["epoch"], "step": entry["step"], "loss": mean, **measured})
                losses, steps = [], []
        return rows

    def scores(self, split: str, baseline: str | None = None) -> dict[str, float | None]:
        """Return the score of the model, or of a baseline, by metric on a split, secondary metrics included."""
        results = self.results["splits"].get(split, {})
        if baseline is not None:
            return dict(results.get("baselines", {}).get(baseline, {}).get("metrics", {}))
        metrics = {name: metric["value"] for name, metric in results.get("metrics", {}).items()}
        return {**metrics, **results.get("other", {})}

    def predictions(self, split: str) -> Predictions:
        """Return the predictions for one split, read at each call.

        Raises:
            UserError: the file is missing or cannot be read.
        """
        return predictions.read(self.path, split)


def runs_in(folder: Path) -> list[Path]:
    """Return a finished run's folder itself, or those of all finished runs of a suite."""
    if (folder / FINISHED).is_file():
        return [folder]
    return sorted(path.parent for path in folder.rglob(f"seed*/{FINISHED}")) or [folder]


def refuse_other_data(runs: Sequence[RunFolder], splits: Iterable[str]) -> None:
    """Refuse to average or compare runs that read other rows than the first one.

    Raises:
        UserError: a fingerprint of one of these splits differs.
    """
    for run in runs[1:]:
        for split in splits:
            if run.fingerprint(split) != runs[0].fingerprint(split):
                raise UserError(
                    f"{runs[0].path} and {run.path} did not see the same data (split {split}).",
                    "Delete the folder of the one that is out of date, and train it again.",
                )


def model_name(configuration: dict[str, Any]) -> str:
    """Return the short name of a run's model: the last part of its name, or the package that contains it."""
    name = str(configuration.get("model_name_or_path", "scratch"))
    if configuration.get("from_scratch") in (True, "true"):
        return "scratch"
    if name.startswith("package:"):
        return name.removeprefix("package:").split("/")[0]
    return name.rstrip("/").split("/")[-1]
