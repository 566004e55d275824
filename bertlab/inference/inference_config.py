"""What predictions depend on beside tokenizer and weights: class names, input format, and what a run has fitted."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from bertlab.cli.arguments import DataArguments, ModelArguments
from bertlab.cli.parser import Invocation
from bertlab.console import info, warning
from bertlab.data import file_layouts
from bertlab.data.labels import SINGLE
from bertlab.io import read_json
from bertlab.models import loading
from bertlab.training.checkpoints import CHECKPOINT

# The metadata of an ONNX file, each as JSON; `problem_type` is plain text, `input_format` was once called `reading`.
METADATA = ("class_names", "max_seq_length", "clean", "temperature", "thresholds", "input_format")


@dataclass(frozen=True)
class InputFormat:
    """How a model's texts were read in training, by the names of the flags; None where that is not known.

    `pairs` is True for a model of two texts at once, `next_sentence` for one of pairs that follow or do not.
    """

    pairs: bool | None = None
    next_sentence: bool | None = None
    text_column_names: tuple[str, ...] = ()
    text_column_delimiter: str | None = None
    label_column_name: tuple[str, ...] = ()
    source_column_name: str | None = None
    quoting: str = "auto"

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "InputFormat":
        """Return the input format that a mapping of flags describes; other keys are ignored."""
        given = {item.name: values[item.name] for item in fields(cls) if values.get(item.name) is not None}
        labels = given.get("label_column_name", ())  # one name in older runs
        names = {"label_column_name": (labels,) if isinstance(labels, str) else tuple(labels)}
        return cls(**{**given, "text_column_names": tuple(given.get("text_column_names", ())), **names})


@dataclass(frozen=True)
class InferenceConfig:
    """All that turns texts into inputs and logits into predictions; `precision` is the one of the training."""

    class_names: tuple[str, ...] = ()
    problem_type: str = SINGLE
    max_seq_length: int | None = None
    clean: tuple[str, ...] = ()
    temperature: float = 1.0
    thresholds: tuple[float, ...] = ()
    input_format: InputFormat = field(default_factory=InputFormat)
    precision: str | None = None

    def to_metadata(self) -> dict[str, str]:
        """Return the metadata of an ONNX file."""
        values = asdict(self)
        encoded = {name: json.dumps(values[name], ensure_ascii=False) for name in METADATA}
        return {"problem_type": self.problem_type, **encoded}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> "InferenceConfig":
        """Return the config that `to_metadata` has encoded.

        Raises:
            KeyError, ValueError, TypeError, AttributeError: the metadata were not written by `to_metadata`.
        """
        metadata = {"input_format": metadata.get("reading", "{}"), **metadata}
        values = {name: json.loads(metadata[name]) for name in METADATA}
        return cls(
            class_names=tuple(values["class_names"]),
            problem_type=metadata["problem_type"],
            max_seq_length=int(values["max_seq_length"]),
            clean=tuple(values["clean"]),
            temperature=float(values["temperature"]),
            thresholds=tuple(values["thresholds"]),
            input_format=InputFormat.from_dict(values["input_format"]),
        )


def of_folder(folder: Path) -> InferenceConfig:
    """Return the config of a run's folder; a checkpoint has that of its run, without temperature and thresholds.

    A folder that no run wrote has the defaults.

    Raises:
        UserError: run.json or results.json is there and cannot be read.
    """
    home = folder.resolve()
    if (home / "run.json").is_file() or not CHECKPOINT.fullmatch(home.name):
        return _of_run(home)
    config = _of_run(home.parent)
    if not (home.parent / "run.json").is_file():
        warning(f"{folder}: its run has not ended, so the length and cleaning of its texts are not known.")
    elif config.temperature != 1.0 or config.thresholds:
        info(f"{folder}: the run's temperature and thresholds were fitted to its last model, so they are not used.")
    return replace(config, temperature=1.0, thresholds=())


def as_trained(data: DataArguments, model: ModelArguments, invocation: Invocation) -> DataArguments:
    """Return the arguments of a run that does not train: how texts are read, and the kind of labels, as in training.

    What the user or a recipe gives is kept.
    """
    config = of_folder(Path(loading.resolve(model.model_name_or_path or "")))
    found: dict[str, Any] = {
        "max_seq_length": config.max_seq_length or data.max_seq_length,
        "clean": list(config.clean),
        "problem_type": loading.problem_type(loading.load_config(model)),
    }
    taken = {name: value for name, value in found.items() if name not in invocation.given}
    changed = {name: value for name, value in taken.items() if value != getattr(data, name)}
    for name, value in changed.items():
        if value != SINGLE:  # for which most labels are taken anyway
            info(f"--{name} {' '.join(value) if isinstance(value, list) else value} is that of the model's training.")
    invocation.settings.update(changed)
    return replace(data, **changed)


def _of_run(folder: Path) -> InferenceConfig:
    run, results = (
        read_json(path) if path.is_file() else {} for path in (folder / "run.json", folder / "results.json")
    )
    configuration = run.get("configuration") or {}
    values = {**configuration, "pairs": run.get("pairs"), "next_sentence": "negatives" in configuration}
    if configuration.get("data_layout"):
        layout = file_layouts.find_layout(configuration["data_layout"])
        values |= {"text_column_names": layout.text, "label_column_name": layout.label}
    return InferenceConfig(
        input_format=InputFormat.from_dict(values),
        max_seq_length=configuration.get("max_seq_length"),
        # What run_nsp.py cleans is around sentences.
        clean=() if "document_unit" in configuration else tuple(configuration.get("clean") or ()),
        precision=(run.get("plan") or {}).get("precision"),
        temperature=results.get("temperature") or 1.0,
        thresholds=tuple(results.get("thresholds") or ()),
    )
