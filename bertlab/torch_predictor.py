"""A model in PyTorch that labels texts."""

import argparse
import json
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bertlab import hub, memory, modeling, precision
from bertlab.arguments import ModelArguments
from bertlab.errors import UserError
from bertlab.predictor import Predictor

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class TorchPredictor(Predictor):
    """A model in PyTorch, on the device it lies on, in the precision it was trained in."""

    model: "PreTrainedModel"
    trained_in: str | None

    def logits(self, inputs: dict[str, np.ndarray]) -> np.ndarray:
        """Return the logits (rows, outputs), float32, of a padded batch."""
        device = self.model.device
        with torch.inference_mode(), autocast(device, self.trained_in):
            output = self.model(**{name: torch.from_numpy(values).to(device) for name, values in inputs.items()})
            return logits_of(output).float().cpu().numpy()


def load(name: str, options: argparse.Namespace) -> TorchPredictor:
    """Return the predictor of a run's folder, of any model on disk, or of one on the Hub.

    Raises:
        UserError: the model cannot be loaded, is not a classifier, or has too few positions.
    """
    hub.go_offline_if_unreachable(name)
    arguments = ModelArguments(
        model_name_or_path=name,
        model_revision=options.revision,
        token=options.token,
        trust_remote_code=options.trust_remote_code,
    )
    config = modeling.load_config(arguments)
    tokenizer = modeling.load_tokenizer(arguments)
    if options.max_seq_length is not None:
        from bertlab import encoding  # imports datasets, which takes a second that most calls can save

        encoding.check_max_length(options.max_seq_length, tokenizer, config)
    model, _ = modeling.load_weights(_auto_class(config, name), arguments, config)
    model.eval().to(_device())
    if model.device.type == "cpu":
        memory.keep_freed_memory()
    told = _told(Path(modeling.resolve(name)))
    names = tuple(str(label) for _, label in sorted((config.id2label or {}).items()))
    kind = getattr(config, "problem_type", None) or "single_label_classification"
    if config.num_labels == 1:
        kind = "regression"
    longest = min(tokenizer.model_max_length, getattr(config, "max_position_embeddings", 512))
    return TorchPredictor(
        model=model,
        tokenizer=tokenizer,
        class_names=names,
        kind=kind,
        max_length=options.max_seq_length or told["max_seq_length"] or longest,
        clean=tuple(told["clean"] or ()),
        temperature=told["temperature"] or 1.0,
        thresholds=tuple(told["thresholds"] or ()),
        trained_in=told["precision"],
    )


def _told(folder: Path) -> dict[str, Any]:
    """Return what a run's folder says beyond the model: longest input, cleaning, precision, what was fitted."""
    run, results = (_read_json(folder / name) for name in ("run.json", "results.json"))
    configuration = run.get("configuration", {})
    told = {name: configuration.get(name) for name in ("max_seq_length", "clean")}
    told["precision"] = run.get("plan", {}).get("precision")
    told.update({name: results.get(name) for name in ("temperature", "thresholds")})
    return told


def _read_json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _auto_class(config: Any, name: str) -> Any:
    import transformers

    architectures: Iterable[str] = config.architectures or []
    for ending, auto in (
        ("ForSequenceClassification", "AutoModelForSequenceClassification"),
        ("ForNextSentencePrediction", "AutoModelForNextSentencePrediction"),
        ("ForPreTraining", "AutoModelForPreTraining"),
    ):
        if any(architecture.endswith(ending) for architecture in architectures):
            return getattr(transformers, auto)
    raise UserError(
        f"{name} is not a classifier ({', '.join(architectures) or 'no architecture named'}).", "Train it first."
    )


def logits_of(output: Any) -> torch.Tensor:
    """Return the class logits (rows, outputs) of a classifier's or a next-sentence model's output."""
    return output.seq_relationship_logits if hasattr(output, "seq_relationship_logits") else output.logits


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def autocast(device: torch.device, trained_in: str | None) -> Any:
    """Return autocast in this machine's 16-bit format, unless there is none or the model was trained without."""
    name, _ = precision.automatic(cpu=device.type == "cpu")
    if "fp32" in (name, trained_in):
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16 if name == "bf16" else torch.float16)
