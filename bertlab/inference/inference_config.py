"""What a run's folder says beyond the model: how its texts were read, and what was fitted to its scores."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from bertlab.console import info, warning
from bertlab.data import file_layouts
from bertlab.errors import UserError
from bertlab.io import read_json
from bertlab.training.checkpoints import CHECKPOINT


@dataclass(frozen=True)
class InputFormat:
    """How a model's texts were read in training, by the names of the flags; None where nothing is known.

    `pairs` is True for a model of two texts at once, `next_sentence` for one of pairs that follow or do not.
    """

    pairs: bool | None = None
    next_sentence: bool | None = None
    text_column_names: tuple[str, ...] = ()
    text_column_delimiter: str | None = None
    label_column_name: str | None = None
    source_column_name: str | None = None
    quoting: str = "auto"

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> "InputFormat":
        """Return the reading that a mapping of flags tells; what else is in it is passed over."""
        known = {one.name: told[one.name] for one in fields(cls) if told.get(one.name) is not None}
        return cls(**{**known, "text_column_names": tuple(known.get("text_column_names", ()))})

    def as_json(self) -> str:
        """Return what `of` takes back, as JSON."""
        return json.dumps(asdict(self), ensure_ascii=False)


@dataclass(frozen=True)
class InferenceConfig:
    """What a folder says beyond the model; of a folder that no run wrote, nothing."""

    reading: InputFormat = field(default_factory=InputFormat)
    max_seq_length: int | None = None
    clean: tuple[str, ...] = ()
    precision: str | None = None
    temperature: float = 1.0
    thresholds: tuple[float, ...] = ()


def of_folder(folder: Path) -> InferenceConfig:
    """Return what a run's folder says; a checkpoint's is that of its run, without what was fitted at the run's end.

    Raises:
        UserError: run.json or results.json is there and cannot be read.
    """
    home = folder.resolve()
    if (home / "run.json").is_file() or not CHECKPOINT.fullmatch(home.name):
        return _of_run(home)
    found = _of_run(home.parent)
    if not (home.parent / "run.json").is_file():
        warning(f"{folder}: its run has not ended, so texts are not cleaned and are as long as the model can read.")
    elif found.temperature != 1.0 or found.thresholds:
        info(f"{folder}: the run's temperature and thresholds were fitted to its last model, so they are not used.")
    return replace(found, temperature=1.0, thresholds=())


def _of_run(folder: Path) -> InferenceConfig:
    run, results = (_read(folder / name) for name in ("run.json", "results.json"))
    configuration, plan = (_section(folder / "run.json", run, name) for name in ("configuration", "plan"))
    reading = {**configuration, "pairs": run.get("pairs"), "next_sentence": "negatives" in configuration}
    if configuration.get("data_layout"):
        layout = file_layouts.find_layout(configuration["data_layout"])
        reading |= {"text_column_names": layout.text, "label_column_name": layout.label}
    return InferenceConfig(
        reading=InputFormat.of(reading),
        max_seq_length=configuration.get("max_seq_length"),
        clean=tuple(configuration.get("clean") or ()),
        precision=plan.get("precision"),
        temperature=results.get("temperature") or 1.0,
        thresholds=tuple(results.get("thresholds") or ()),
    )


def _read(path: Path) -> dict[str, Any]:
    return read_json(path) if path.is_file() else {}


def _section(path: Path, told: dict[str, Any], name: str) -> dict[str, Any]:
    section = told.get(name) or {}
    if not isinstance(section, dict):
        raise UserError(f"{path}: {name!r} is no object.", "The run is not whole; train it again.")
    return section
