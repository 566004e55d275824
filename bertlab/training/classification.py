"""The trainer of a classification run: its rows, its collator, its loss."""

from typing import TYPE_CHECKING, Any

from bertlab.cli.arguments import DataArguments, RunArguments
from bertlab.cli.parser import Arguments
from bertlab.console import warning
from bertlab.data.dataset import Data
from bertlab.training import collators, streaming, trainer
from bertlab.training.loss import ExactLoss

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainingArguments


def warn_unused_flags(run: RunArguments, args: "TrainingArguments", loaded: Data) -> None:
    """Say which flags about scores have nothing to work on in this run, and that it has no split to report on."""
    if (args.do_eval or args.do_predict) and not loaded.evaluation_splits:
        warning("no split is there to report on, so there will be no score; --validation_fraction 0.1 cuts one off.")
    lost = [name for name in run.published if name not in loaded.metrics]
    if lost:
        warning(f"--published {lost[0]} is not shown: this run does not measure it.")
    if run.published_split is not None and run.published_split not in loaded.evaluation_splits:
        warning(f"--published_split {run.published_split}: this run does not report on such a split.")
    if run.metric_batch_size is not None and not loaded.test:
        warning("--metric_batch_size has no effect: there is no test split.")


def training_rows(args: "TrainingArguments", tokenized: "dict[str, Dataset]", loaded: Data) -> Any:
    """Return the rows to train on, encoded or as a stream; None where the run does not train."""
    if loaded.stream:
        return streaming.training_set(loaded.stream, args)
    return tokenized[loaded.train] if loaded.train and args.do_train else None


def build_trainer(
    arguments: Arguments,
    args: "TrainingArguments",
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    train: Any,
    eval_split: "Dataset | None",
    loaded: Data,
    loss: ExactLoss,
) -> trainer.EncoderTrainer:
    """Return the trainer of a run on the rows of `train`, which evaluates those of `watched` meanwhile."""
    data_args = arguments[DataArguments]
    collator: Any = collators.PaddingCollator(tokenizer, data_args.fixed_length)
    if loaded.stream:
        collator = streaming.TokenizingCollator(collator, tokenizer, data_args.max_seq_length)
    return trainer.EncoderTrainer(
        model=model,
        args=args,
        train_dataset=train,
        eval_dataset=trainer.longest_first(eval_split),
        data_collator=collator,
        processing_class=tokenizer,
        compute_loss_func=loss,
        compute_metrics=trainer.metrics_during_training(loaded.schema, loaded.metrics, loss.of_rows),
        run=arguments[RunArguments],
    )
