"""The trainer of a classification run: its rows, its collator, its loss."""

from typing import TYPE_CHECKING, Any

from bertlab import padding, streaming, training
from bertlab.arguments import DataArguments, ModelArguments, RunArguments
from bertlab.cli import Arguments
from bertlab.data import Data

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainingArguments


def build_trainer(
    arguments: Arguments,
    args: "TrainingArguments",
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    encoded: "dict[str, Dataset]",
    loaded: Data,
) -> training.EncoderTrainer:
    """Return the trainer of a run; it has no training rows where the run does not train.

    Raises:
        UserError: a loss is asked for that the labels do not have.
    """
    data_args = arguments[DataArguments]
    collator: Any = padding.PaddingCollator(tokenizer, data_args.fixed_length)
    train = encoded[loaded.train] if loaded.train and args.do_train else None
    if loaded.stream:
        train = streaming.training_set(loaded.stream, args)
        collator = streaming.TokenizingCollator(collator, tokenizer, data_args.max_seq_length)
    weights = arguments[ModelArguments].class_weights
    return training.EncoderTrainer(
        model=model,
        args=args,
        train_dataset=train,
        eval_dataset=training.longest_first(encoded.get(loaded.watched or "")),
        data_collator=collator,
        processing_class=tokenizer,
        compute_loss_func=training.loss_for(loaded.space, train, weights, args.label_smoothing_factor),
        compute_metrics=training.metrics_during_training(loaded.space, loaded.metrics),
        run=arguments[RunArguments],
    )
