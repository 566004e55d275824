"""The trainer of a classification run: its rows, its collator, its loss."""

from typing import TYPE_CHECKING, Any

from bertlab import padding, streaming, training
from bertlab.arguments import DataArguments, RunArguments
from bertlab.cli import Arguments
from bertlab.data import Data
from bertlab.losses import ExactLoss

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainingArguments


def training_rows(args: "TrainingArguments", encoded: "dict[str, Dataset]", loaded: Data) -> Any:
    """Return the rows to train on, encoded or as a stream; None where the run does not train."""
    if loaded.stream:
        return streaming.training_set(loaded.stream, args)
    return encoded[loaded.train] if loaded.train and args.do_train else None


def build_trainer(
    arguments: Arguments,
    args: "TrainingArguments",
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    train: Any,
    watched: "Dataset | None",
    loaded: Data,
    loss: ExactLoss,
) -> training.EncoderTrainer:
    """Return the trainer of a run on the rows of `train`, which evaluates those of `watched` meanwhile."""
    data_args = arguments[DataArguments]
    collator: Any = padding.PaddingCollator(tokenizer, data_args.fixed_length)
    if loaded.stream:
        collator = streaming.TokenizingCollator(collator, tokenizer, data_args.max_seq_length)
    return training.EncoderTrainer(
        model=model,
        args=args,
        train_dataset=train,
        eval_dataset=training.longest_first(watched),
        data_collator=collator,
        processing_class=tokenizer,
        compute_loss_func=loss,
        compute_metrics=training.metrics_during_training(loaded.space, loaded.metrics, loss),
        run=arguments[RunArguments],
    )
