"""A model in PyTorch that labels texts."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bertlab import hub
from bertlab.cli.arguments import ModelArguments
from bertlab.console import warning
from bertlab.data import input_length
from bertlab.data.labels import REGRESSION, SINGLE
from bertlab.errors import UserError, first_line
from bertlab.inference import inference_config
from bertlab.inference.inference_config import InferenceConfig
from bertlab.inference.predictor import Predictor
from bertlab.models import loading, lora
from bertlab.training import memory, precision

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

CLASSIFIER = "AutoModelForSequenceClassification"


@dataclass(frozen=True, kw_only=True)
class TorchPredictor(Predictor):
    """A model in PyTorch, on the device it is on.

    It computes in this machine's 16-bit format, where there is one, unless the training was in fp32.
    """

    model: "PreTrainedModel"

    def forward(self, batch: dict[str, np.ndarray]) -> np.ndarray:
        """Return the logits (rows, outputs), float32, of a padded batch."""
        device = self.model.device
        output = self.model(**{name: torch.from_numpy(values).to(device) for name, values in batch.items()})
        return class_logits(output).float().cpu().numpy()

    @contextmanager
    def inference_mode(self) -> Iterator[None]:
        """Compute without gradients, under autocast where that applies; weights are cast once for all batches."""
        in_float32 = precision.output_layer_in_float32(self.model)
        autocast = _autocast(self.model.device, _precision(self.model.device, self.config.precision))
        with torch.inference_mode(), autocast, in_float32:
            yield


def load_torch_predictor(arguments: ModelArguments, max_seq_length: int | None = None) -> TorchPredictor:
    """Return the predictor of a run's folder, of any model on disk, or of one on the Hub.

    Raises:
        UserError: the model cannot be loaded, is not a classifier, is not whole, or has too few positions.
    """
    name = arguments.model_name_or_path or ""
    hub.go_offline_if_unreachable(name, cache_dir=arguments.cache_dir)
    arguments = lora.at_hand(arguments)
    model_config, tokenizer = loading.load_config_and_tokenizer(arguments, max_seq_length)
    auto_class = _auto_class(model_config, name)
    model, new_weights = loading.load_weights(auto_class, arguments, model_config, tokenizer)
    # Those of an MLM head do not matter here.
    random = [key for key in new_weights if not key.startswith("cls.predictions")]
    if random:
        raise UserError(
            f"{name} holds no {', '.join(random[:3])}, so its predictions would be random.", "Train it first."
        )
    device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    model.eval().to(device or torch.device("cpu"))
    if model.device.type == "cpu":
        memory.keep_freed_memory()
    config = _config(name, model_config, tokenizer, max_seq_length, next_sentence=auto_class.__name__ != CLASSIFIER)
    return _computing(TorchPredictor(model=model, tokenizer=tokenizer, config=config))


def _computing(predictor: TorchPredictor) -> TorchPredictor:
    """Return a predictor that has labelled a text: in float32, if the model (DeBERTa v1) fails in 16 bits.

    Raises:
        UserError: the model fails in float32 as well.
    """
    problem = _failure(predictor)
    if problem is None:
        return predictor
    kind, chosen = predictor.model.config.model_type, _precision(predictor.model.device, predictor.config.precision)
    if chosen == "fp32":
        raise UserError(f"a {kind} model cannot label a text: {problem}.", "Choose another.")
    warning(f"a {kind} model fails in {chosen} ({problem}); it labels texts in fp32.")
    return _computing(replace(predictor, config=replace(predictor.config, precision="fp32")))


def _failure(predictor: TorchPredictor) -> str | None:
    """Return why a text cannot be labelled, or None."""
    # Not too short for CANINE, which pools characters.
    row = ("a text of some length",) * (2 if predictor.config.input_format.pairs else 1)
    try:
        finite = np.isfinite(predictor.logits([row])).all()
    except (RuntimeError, ValueError, TypeError, IndexError, AttributeError) as error:  # of the model's own code
        return first_line(error)
    return None if finite else "its logits are not finite numbers"


def _config(
    name: str,
    model_config: "PretrainedConfig",
    tokenizer: "PreTrainedTokenizerBase",
    max_seq_length: int | None,
    *,
    next_sentence: bool,
) -> InferenceConfig:
    config = inference_config.of_folder(Path(loading.resolve(name)))
    names = tuple(str(label) for _, label in sorted((model_config.id2label or {}).items()))
    # transformers takes one output without a problem type for a number; a model of one label has a type.
    default = REGRESSION if model_config.num_labels == 1 else SINGLE
    longest = input_length.longest_input(tokenizer, model_config, default=loading.USUAL_POSITIONS)
    follows = config.input_format.next_sentence or next_sentence
    return replace(
        config,
        class_names=names,
        problem_type=getattr(model_config, "problem_type", None) or default,
        max_seq_length=max_seq_length or config.max_seq_length or longest,
        input_format=replace(config.input_format, next_sentence=follows, pairs=follows or config.input_format.pairs),
    )


def _auto_class(config: Any, name: str) -> Any:
    import transformers

    architectures: Iterable[str] = config.architectures or []
    for ending, auto_class in (
        ("ForSequenceClassification", getattr(transformers, CLASSIFIER)),
        ("ForNextSentencePrediction", loading.next_sentence_class(config)),
        ("ForPreTraining", transformers.AutoModelForPreTraining),
    ):
        if any(architecture.endswith(ending) for architecture in architectures):
            return auto_class
    raise UserError(
        f"{name} is not a classifier ({', '.join(architectures) or 'no architecture named'}).", "Train it first."
    )


def class_logits(output: Any) -> torch.Tensor:
    """Return the class logits (rows, outputs) of a classifier's or a next-sentence model's output."""
    name = "seq_relationship_logits" if hasattr(output, "seq_relationship_logits") else "logits"
    logits: torch.Tensor = getattr(output, name)
    return logits


def _precision(device: torch.device, trained_in: str | None) -> str:
    """Return this machine's 16-bit format, or fp32 where there is none or the model was trained without."""
    return "fp32" if trained_in == "fp32" else precision.automatic(cpu=device.type == "cpu")[0]


def _autocast(device: torch.device, name: str) -> Any:
    dtype = torch.float16 if name == "fp16" else torch.bfloat16
    return nullcontext() if name == "fp32" else torch.autocast(device.type, dtype=dtype)
