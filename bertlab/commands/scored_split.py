"""The texts and labels that a finished run was scored on, read again from their source."""

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from bertlab.cli.arguments import DataArguments, NspArguments
from bertlab.errors import UserError
from bertlab.inference.predictor import Row
from bertlab.report import provenance
from bertlab.report.run_folder import RunFolder

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from bertlab.data.dataset import Data
    from bertlab.data.labels import LabelSchema

T = TypeVar("T")


@dataclass(frozen=True)
class ScoredSplit:
    """One split of a run: its texts or pairs, its labels or None, and the metrics of the run."""

    name: str
    rows: list[Row]
    labels: np.ndarray | None
    schema: "LabelSchema"
    metrics: tuple[str, ...]


def scored_split(run: RunFolder, tokenizer: "PreTrainedTokenizerBase") -> ScoredSplit:
    """Return the split that a run is judged by, or its first one where none has labels.

    Raises:
        UserError: the data is not where the run found it, or no longer the same.
    """
    name = run.main_split or next(iter(run.results["splits"]), "")
    data = _load(run, tokenizer)
    if name not in data.splits:
        raise UserError(f"{run.path}: the data has no split {name!r} any more.", "Restore the data.")
    split = data.splits[name]
    recorded = ((run.run.get("data") or {}).get(name) or {}).get("fingerprint")
    if provenance.fingerprint(split, data.read) != recorded:
        raise UserError(
            f"{run.path}: the split {name!r} is no longer the one that the run was scored on.", "Restore it."
        )
    labels = np.asarray(split["labels"][:]) if "labels" in split.column_names else None
    return ScoredSplit(name, list(zip(*data.texts(name), strict=True)), labels, data.schema, data.metrics)


def _load(run: RunFolder, tokenizer: "PreTrainedTokenizerBase") -> "Data":
    if "negatives" in run.configuration:
        from bertlab.pretraining.dataset import make_splits, read

        arguments = _arguments(NspArguments, run.configuration)
        return make_splits(read(arguments, run.configuration.get("cache_dir")), arguments, tokenizer)
    from bertlab.data.dataset import load_splits

    return load_splits(
        _arguments(DataArguments, run.configuration),
        run.class_names,
        training=bool(run.configuration.get("do_train", True)),
        cache_dir=run.configuration.get("cache_dir"),
        token=None,
    )


def _arguments(group: type[T], configuration: dict[str, Any]) -> T:
    names = {field.name for field in dataclasses.fields(group)}  # type: ignore[arg-type]
    return group(**{name: value for name, value in configuration.items() if name in names})
