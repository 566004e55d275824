"""A model in PyTorch that labels texts."""

import argparse
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bertlab import hub
from bertlab.cli.arguments import ModelArguments
from bertlab.data import input_length
from bertlab.errors import UserError
from bertlab.inference import inference_config
from bertlab.inference.predictor import Predictor
from bertlab.models import loading
from bertlab.training import memory, precision

if TYPE_CHECKING:
    from transformers import PreTrainedModel

CLASSIFIER = "AutoModelForSequenceClassification"


@dataclass(frozen=True)
class TorchPredictor(Predictor):
    """A model in PyTorch, on the device it lies on.

    It computes in this machine's 16-bit format, where there is one, unless `trained_in` says fp32.
    """

    model: "PreTrainedModel"
    trained_in: str | None

    def logits(self, inputs: dict[str, np.ndarray]) -> np.ndarray:
        """Return the logits (rows, outputs), float32, of a padded batch."""
        device = self.model.device
        output = self.model(**{name: torch.from_numpy(values).to(device) for name, values in inputs.items()})
        return logits_of(output).float().cpu().numpy()

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Compute without gradients, in 16 bits where that is wanted; weights are cast once for all batches."""
        with torch.inference_mode(), autocast(self.model.device, self.trained_in):
            yield


def load(name: str, options: argparse.Namespace) -> TorchPredictor:
    """Return the predictor of a run's folder, of any model on disk, or of one on the Hub.

    Raises:
        UserError: the model cannot be loaded, is not a classifier, is not whole, or has too few positions.
    """
    hub.go_offline_if_unreachable(name)
    arguments = ModelArguments(
        model_name_or_path=name,
        model_revision=options.revision,
        token=options.token,
        trust_remote_code=options.trust_remote_code,
    )
    config = loading.load_config(arguments)
    tokenizer = loading.load_tokenizer(arguments)
    if options.max_seq_length is not None:
        input_length.check_max_length(options.max_seq_length, tokenizer, config)
    model, new = loading.load_weights(_auto_class(config, name), arguments, config)
    _refuse_random(name, new)
    model.eval().to(_device())
    if model.device.type == "cpu":
        memory.keep_freed_memory()
    told = inference_config.of_folder(Path(loading.resolve(name)))
    names = tuple(str(label) for _, label in sorted((config.id2label or {}).items()))
    # transformers takes one output without a problem type for a number; one label of several kinds has a type.
    usual = "regression" if config.num_labels == 1 else "single_label_classification"
    longest = input_length.longest_input(tokenizer, config, unstated=loading.USUAL_POSITIONS)
    follows = told.reading.next_sentence or _auto_class(config, name).__name__ != CLASSIFIER
    return TorchPredictor(
        model=model,
        tokenizer=tokenizer,
        class_names=names,
        kind=getattr(config, "problem_type", None) or usual,
        max_length=options.max_seq_length or told.max_seq_length or longest,
        clean=told.clean,
        temperature=told.temperature,
        thresholds=told.thresholds,
        reading=replace(told.reading, next_sentence=follows, pairs=follows or told.reading.pairs),
        text_column_delimiter=None,
        trained_in=told.precision,
    )


def _refuse_random(name: str, new: Iterable[str]) -> None:
    """Refuse a model some of whose weights were drawn just now; those that name masked words say nothing here."""
    random = [key for key in new if not key.startswith("cls.predictions")]
    if random:
        raise UserError(
            f"{name} holds no {', '.join(random[:3])}, so its predictions would be random.", "Train it first."
        )


def _auto_class(config: Any, name: str) -> Any:
    import transformers

    architectures: Iterable[str] = config.architectures or []
    for ending, auto in (
        ("ForSequenceClassification", CLASSIFIER),
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
